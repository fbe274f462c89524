"""Regression on prior scores that carry measurement error: the slope without attenuation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from evalkit.core.arrays import Groups, Vector
from evalkit.core.errors import OptionError, PanelError, some
from evalkit.core.estimate import Estimate
from evalkit.core.labels import Index
from evalkit.core.origin import Meta
from evalkit.core.panel import Panel
from evalkit.core.scores import Scores
from evalkit.engines.corrected import Corrected, corrected
from evalkit.value_added.gather import Level, units_of


def errors_in_variables(
    panel: Panel,
    *,
    on: Sequence[str] | None = None,
    reliability: Mapping[str, float] | None = None,
    csem: Mapping[str, str] | None = None,
    within: Level | None = None,
) -> Estimate:
    r"""Slopes on regressors whose measurement error is known.

    **Estimand.** The slope of the score on the true values behind noisy regressors.
    **Assumptions.** Errors are independent of true values, of each other and of the residual;
    reliabilities are those of these pupils (a selected group has a lower one).
    **Estimator.** :math:`\hat\beta=(\tilde X'W\tilde X-S_u)^{-1}\tilde X'Wy`; for a reliability
    :math:`r`, :math:`S_u=(1-r)\sum w(x-\bar x)^2` of the total variance (less what the absorbed
    effect takes of an error); for standard errors :math:`c_i`, :math:`S_u=\sum w_ic_i^2`.
    **Contribution.** :math:`A(w_re_r\tilde x_r+s_r\circ\hat\beta)`, :math:`s_r` being the row's
    part of :math:`S_u`.
    **Reference.** Fuller (1987), section 2.2; Lockwood and McCaffrey (2014).
    **Checked against.** eivreg of R eivtools 0.1-8 on the London schools (slope, robust and
    clustered errors, every digit printed).
    **Fails when.** The reliability is wrong, or not much above what the controls explain of the
    noisy score: the estimate then explodes.

    Parameters
    ----------
    panel : Panel
        Pupils.
    on : sequence of str, optional
        Regressors (default: all covariates but those named in ``csem``).
    reliability : mapping of regressor to float, optional
        Share of the variance that is not error, as test manuals give it.
    csem : mapping of regressor to str, optional
        Covariate with the standard error of measurement of each pupil's value.
    within : str or tuple of str, optional
        Effect to absorb, such as the school.

    Returns
    -------
    Estimate
        One coordinate per regressor; index level ``term``.

    Raises
    ------
    IdentificationError
        If the corrected cross-products are not positive definite.

    Examples
    --------
    >>> import numpy as np, evalkit as ek
    >>> rng = np.random.default_rng(1)
    >>> true = rng.normal(size=4000)
    >>> frame = {"before": true + 0.5 * rng.normal(size=4000), "math": true + rng.normal(size=4000)}
    >>> panel = ek.value_added.pupils(frame, score="math", prior=["before"],
    ...                               provenance="synthetic")
    >>> slopes = [ek.value_added.errors_in_variables(panel, reliability={"before": r}).theta[0]
    ...           for r in (1.0, 0.8)]
    >>> [round(float(slope), 2) for slope in slopes]
    [0.84, 1.05]
    """
    names, fit = fit_corrected(panel, on, reliability, csem, within)
    return Estimate(
        theta=fit.beta,
        scores=Scores.dense(fit.contributions()),
        units=panel.units,
        cluster=panel.cluster,
        index=Index.flat("term", names),
        meta=Meta(
            "slope on true values",
            "errors in variables",
            panel.outcome,
            len(panel.y),
            panel.provenance,
            panel.ledger,
        ),
        origin=fit,
        combination=np.eye(len(names)),
    )


def fit_corrected(
    panel: Panel,
    on: Sequence[str] | None,
    reliability: Mapping[str, float] | None,
    csem: Mapping[str, str] | None,
    within: Level | None,
) -> tuple[list[str], Corrected]:
    """The names of the regressors and the corrected fit."""
    exact, errors = dict(reliability or {}), dict(csem or {})
    names = [n for n in panel.names if n not in errors.values()] if on is None else list(on)
    unknown = [name for name in [*exact, *errors] if name not in names]
    if unknown or set(exact) & set(errors):
        raise OptionError(
            f"{some(unknown or set(exact) & set(errors))}: a reliability or csem belongs to one "
            f"regressor, and one of the two is enough; the regressors are {some(names) or 'none'}"
        )
    if not names:
        raise OptionError("there is no regressor; name covariates in Panel.from_frame or pupils")
    effect = Groups(np.zeros(len(panel.y), np.intp), 1)
    if within is not None:
        codes, labels = units_of(panel, within)
        effect = Groups(codes, len(labels))
    fit = corrected(
        panel.y,
        np.stack([panel.column(name) for name in names], axis=1),
        names=names,
        effect=effect,
        weight=panel.weight,
        unit=Groups(panel.unit, panel.n_units),
        reliability=exact,
        noise={name: _variance(panel, column) for name, column in errors.items()},
    )
    return names, fit


def _variance(panel: Panel, column: str) -> Vector:
    values = panel.column(column)
    wrong = np.flatnonzero(values < 0)
    if len(wrong):
        at = int(wrong[0])
        raise PanelError(
            f"{column!r} holds standard errors of measurement, which are not negative; unit "
            f"{panel.units[panel.unit[at]]!s} has {values[at]:g} ({len(wrong)} such rows)"
        )
    return values**2
