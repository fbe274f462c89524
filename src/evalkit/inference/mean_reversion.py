"""What a pick on past outcomes brings about by itself: regression to the mean, period by period.

Not for an estimator's own placebo effects under such a pick: that is ``placebo_dates``.
"""

from __future__ import annotations

import numpy as np

from evalkit.core.adoption import Starts, plain
from evalkit.core.arrays import Vector
from evalkit.core.checks import check_panel, check_whole
from evalkit.core.errors import IdentificationError, PanelError, some
from evalkit.core.estimate import Estimate
from evalkit.core.labels import Index
from evalkit.core.origin import Meta
from evalkit.core.panel import Panel
from evalkit.core.scores import Scores
from evalkit.core.sides import adopters

ROUNDING = 1e-13  # of the outcomes: a spread this small is none
PARTS = ("seen", "pick", "rest")


def mean_reversion(panel: Panel, *, window: int = 1) -> Estimate:
    r"""Split the gap between pilots and others into what picking brings and the rest.

    **Estimand.** Change of the gap between treated and never-treated from the ``window`` before
    adoption to each other period: as ``seen``; as a ``pick`` by the outcome in the window would
    bring it without any reform; and the ``rest``.
    **Assumptions.** None for the split. If pilots were picked on the outcome in the window and on
    nothing else that lasts, and outcomes are linear in it, the ``rest`` is the effect after
    adoption, and zero before it.
    **Estimator.** With :math:`z` a unit's mean in the window,
    :math:`d=\bar z_1-\bar z_0` and :math:`b_t=\mathrm{cov}(y_t,z)/\mathrm{var}(z)` among the
    never-treated, whom the reform has not touched and whose slope a pick on :math:`z` leaves as it
    is: seen :math:`\bar y_{1t}-\bar y_{0t}-d`, pick :math:`(b_t-1)d`, rest their difference.
    **Contribution.** Of means and of a slope, joined by the product rule.
    **Reference.** Galton (1886); Chay, McEwan and Urquiola (2005); Daw and Hatfield (2018).
    **Checked against.** Least squares of :math:`y_t` on treatment and :math:`z` where the slopes of
    both groups agree; pilots picked from autoregressive outcomes; the jackknife.
    **Fails when.** Pilots were picked on more than the window shows: test the rest before adoption
    by :func:`wald`. That it is zero there does not prove the story.

    Parameters
    ----------
    panel : Panel
        One adoption date, and never-treated units. Weights are those of the unit.
    window : int
        Last periods before adoption whose mean is what pilots were picked on.

    Returns
    -------
    Estimate
        Index levels ``part`` and ``event``, the periods since adoption outside the window.

    Raises
    ------
    IdentificationError
        Several adoption dates, too few periods or units, or a window without any spread.
    PanelError
        If the weight of a unit changes.

    Examples
    --------
    >>> import numpy as np, evalkit as ek
    >>> rng = np.random.default_rng(1)
    >>> score = rng.normal(size=(400, 4))
    >>> pilots = np.where(score[:, 2] < np.quantile(score[:, 2], 0.2), 3.0, np.nan)
    >>> frame = {"town": np.repeat(np.arange(400), 4), "year": np.tile(np.arange(4), 400),
    ...          "score": score.ravel(), "start": np.repeat(pilots, 4)}
    >>> panel = ek.Panel.from_frame(frame, outcome="score", unit="town", time="year",
    ...                             cohort="start", provenance="synthetic")
    >>> after = ek.mean_reversion(panel).select(event=0)  # no reform did this
    >>> bool(after.theta[0] > 1), bool(abs(after.theta[2]) < 0.2)
    (True, True)
    """
    check_panel(panel)
    check_whole("window", window, 1)
    panel, start, dropped = _complete(panel)
    first = int(np.searchsorted(panel.clock, start))
    others = [t for t in range(panel.n_periods) if not first - window <= t < first]
    if first < window or not others:
        raise IdentificationError(
            f"{first} periods lie before adoption in {plain(start)} and {panel.n_periods - first} "
            f"after; window={window} needs as many before, and one period more"
        )
    treated, y = np.isfinite(panel.cohort), panel.wide()
    one, none = (_share(panel.unit_weight, side) for side in (treated, ~treated))
    scale = np.abs(y).max()
    y = y - none @ y  # their level cancels, but not to the last digit
    z = y[:, first - window : first].mean(axis=1)
    if np.ptp(z[~treated]) <= ROUNDING * scale:
        raise IdentificationError(
            "the never-treated do not differ in the window: nothing can be picked on. Widen it"
        )
    about = z - none @ z
    bread = none @ about**2
    d, psi_d = one @ z - none @ z, one * (z - one @ z) - none * about
    values, rows = np.empty((3, len(others))), np.empty((3, len(others), panel.n_units))
    for at, t in enumerate(others):
        gap = one @ y[:, t] - none @ y[:, t]
        psi_gap = one * (y[:, t] - one @ y[:, t]) - none * (y[:, t] - none @ y[:, t])
        slope = float(none @ (about * y[:, t]) / bread)
        psi_slope = none * about * (y[:, t] - none @ y[:, t] - slope * about) / bread
        values[:, at] = gap - d, (slope - 1) * d, gap - slope * d
        rows[:2, at] = psi_gap - psi_d, (slope - 1) * psi_d + d * psi_slope
    rows[2] = rows[0] - rows[1]
    events = [plain(panel.clock[t] - start) for t in others]
    index = Index(("part", "event"), tuple((part, e) for part in PARTS for e in events))
    note = [f"{dropped} units dropped: not seen in every period"] if dropped else []
    return Estimate(
        theta=values.ravel(),
        scores=Scores.dense(rows.reshape(-1, panel.n_units).T),
        units=panel.units,
        cluster=panel.cluster,
        index=index,
        meta=Meta(
            "change of the gap, and what a pick on the past makes of it",
            f"regression to the mean from a window of {window}",
            panel.outcome,
            len(panel.y),
            panel.provenance,
            (*panel.ledger, *note),
        ),
        sides=adopters(panel, index, pooled=True),
    )


def _complete(panel: Panel) -> tuple[Panel, float, int]:
    """The units seen in every period, their adoption date, and how many others there are."""
    starts = Starts.of(panel)
    dated = [starts.labels[g] for g in np.flatnonzero(np.isfinite(starts.start))]
    if len(dated) != 1 or panel.earliest is not None:
        raise IdentificationError(
            f"units adopt in {some(dated) or 'no period'}: regression to the mean has one pick, "
            "and one known date. Keep one cohort with the never-treated"
        )
    whole = np.bincount(panel.unit, minlength=panel.n_units) == panel.n_periods
    treated = np.isfinite(panel.cohort)
    for side, name in ((treated, "treated"), (~treated, "never-treated")):
        if (whole & side).sum() < 2:
            raise IdentificationError(
                f"{int((whole & side).sum())} {name} units are seen in every period; two or more "
                "are needed"
            )
    kept = panel if whole.all() else panel.where(whole[panel.unit])
    varies = np.flatnonzero(kept.weight != kept.unit_weight[kept.unit])
    if len(varies):
        raise PanelError(
            f"the weight of unit {kept.units[kept.unit[varies[0]]]!s} changes in "
            f"{kept.times[kept.time[varies[0]]]!s}; give each unit one weight"
        )
    return kept, float(starts.start[0]), int((~whole).sum())


def _share(weight: Vector, side: np.ndarray) -> Vector:
    mine = np.where(side, weight, 0.0)
    shares: Vector = mine / mine.sum()
    return shares
