"""What the estimator finds in outcomes that the treatment cannot have moved."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from evalkit.core.checks import check_panel, refuse_text_or_repeats
from evalkit.core.errors import OptionError, PanelError
from evalkit.core.estimate import Estimate, stack
from evalkit.core.panel import Panel
from evalkit.inference.resample import Estimator, quietly

ROUNDING = 1e-12  # of a column: an estimate and an error this small are none


def placebo_outcomes(panel: Panel, estimator: Estimator, *, outcomes: Sequence[str]) -> Estimate:
    r"""Estimate the same effects on outcomes that should not move.

    What the treatment cannot have changed, such as the score in a grade it did not reach or the
    share of girls, moves only if treated and comparison units part for another reason. All are
    estimated on the same rows, so their covariance is exact: :func:`infer` judges each,
    :func:`wald` all of them at once, whatever their units.

    Parameters
    ----------
    panel : Panel
    estimator : callable
        ``Panel -> Estimate``; any. The placebo outcomes are not to be among its controls.
    outcomes : sequence of str
        Covariates of the panel, each of which takes the outcome's place.

    Returns
    -------
    Estimate
        Its first index level is ``placebo``, the outcome.

    Raises
    ------
    OptionError
        Without an outcome, or with the panel's own.
    PanelError
        If the panel lacks a column, or the estimator leaves nothing of it.

    References
    ----------
    Rosenbaum (2002), Observational Studies, section 6; Lipsitch, Tchetgen Tchetgen and Cohen
    (2010), Epidemiology 21(3), on negative controls.

    Examples
    --------
    >>> import numpy as np, evalkit as ek
    >>> rng = np.random.default_rng(1)
    >>> frame = {"town": np.repeat(np.arange(40), 2), "year": np.tile([1, 2], 40),
    ...          "score": rng.normal(size=80), "girls": rng.normal(size=80),
    ...          "rain": rng.normal(size=80), "start": np.repeat([2.0, np.nan], 40)}
    >>> panel = ek.Panel.from_frame(frame, outcome="score", unit="town", time="year",
    ...                             cohort="start", covariates=["girls", "rain"],
    ...                             provenance="synthetic")
    >>> still = ek.placebo_outcomes(panel, ek.did.two_way, outcomes=["girls", "rain"])
    >>> ek.wald(still).k
    2
    """
    check_panel(panel)
    refuse_text_or_repeats("outcomes", outcomes)
    if not len(outcomes):
        raise OptionError("name covariates that should not move in outcomes=[...]")
    if panel.outcome in outcomes:
        raise OptionError(
            f"{panel.outcome!r} is the outcome itself; name others that the treatment cannot move"
        )
    parts: dict[str, Estimate] = {}
    for name in outcomes:
        parts[name] = made = quietly(estimator, panel.with_outcome(panel.column(name), name))
        scale = ROUNDING * np.abs(panel.column(name)).max()
        if (np.abs(made.theta) <= scale).all() and (np.abs(made.cluster_sums()) <= scale).all():
            raise PanelError(
                f"the estimator leaves nothing of {name!r}, which does not vary within what it "
                "absorbs or is among its controls; name a column that could move"
            )
    return stack(parts, level="placebo")
