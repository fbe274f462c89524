"""What the estimator finds at dates when nothing had happened yet: for the treated themselves, or
for those who then stood where the treated stood when they were picked."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, TypeAlias, get_args

import numpy as np

from evalkit.core.arrays import Codes, Flags, Vector
from evalkit.core.errors import IdentificationError, OptionError, check_option
from evalkit.core.estimate import Estimate, stack
from evalkit.core.panel import Panel
from evalkit.inference.resample import Estimator, quietly

Who: TypeAlias = Literal["treated", "ranked"]


def placebo_dates(
    panel: Panel, estimator: Estimator, *, who: Who = "treated", window: int = 1
) -> Estimate:
    r"""Estimate effects at every date before the first adoption, on what was observed before it.

    With ``who="treated"`` the real treated adopt at the placebo date: a placebo in time. With
    ``who="ranked"`` it asks what a reform without effect would show if pilots are picked on past
    outcomes. Each treated unit had a rank among all units, by its mean outcome in the ``window``
    periods before it adopted; at a placebo date those units adopt that have the same ranks then.
    If the worst (or best) are picked, they come back towards the mean without any reform, and the
    placebo effects show by how much. They overstate it if many are picked: the controls are those
    who were not, and fall back as the others rise. With a share :math:`p` of all units picked, the
    rise itself is :math:`1-p` times the placebo effect. Subtract that, or do better: compare with
    controls that have the same past.

    Judge the result with :func:`infer`; its covariance over dates is exact, and :func:`wald` tests
    all dates at once.

    Parameters
    ----------
    panel : Panel
        With at least three periods before the first adoption, and adoption dates that differ from
        never for some units and not for others.
    estimator : callable
        ``Panel -> Estimate``; any.
    who : {"treated", "ranked"}
    window : int
        Periods whose mean ranks the units.

    Returns
    -------
    Estimate
        Its first index level is ``placebo``, the date.

    Raises
    ------
    IdentificationError
        With too few periods before the first adoption, or nobody treated or untreated.

    References
    ----------
    Ashenfelter (1978) on the dip before a programme; Daw and Hatfield (2018), Health Services
    Research 53(6), on matching and regression to the mean.

    Examples
    --------
    >>> import numpy as np, evalkit as ek
    >>> rng = np.random.default_rng(1)
    >>> score = rng.normal(size=(60, 6))
    >>> worst = np.where(score[:, 4] < np.quantile(score[:, 4], 0.3), 5.0, np.nan)
    >>> frame = {"town": np.repeat(np.arange(60), 6), "year": np.tile(np.arange(6), 60),
    ...          "score": score.ravel(), "start": np.repeat(worst, 6)}
    >>> panel = ek.Panel.from_frame(frame, outcome="score", unit="town", time="year",
    ...                             cohort="start", provenance="synthetic")
    >>> back = ek.placebo_dates(panel, ek.did.callaway_santanna, who="ranked")
    >>> bool(back.select(time=lambda t: t >= 1).theta.mean() > 0.3)
    True
    """
    check_option("who", who, get_args(Who))
    if window < 1:
        raise OptionError(f"window={window} must be one or more periods")
    treated = np.isfinite(panel.cohort)
    if not treated.any() or treated.all():
        raise IdentificationError(
            f"{int(treated.sum())} of {panel.n_units} units are treated; a placebo in time needs "
            "treated and untreated ones. Name the adoption column in Panel.from_frame(cohort=...)"
        )
    before = panel.clock < panel.cohort[treated].min()
    periods = np.flatnonzero(before)
    least = 1 + (window if who == "ranked" else 1)
    if len(periods) < least:
        raise IdentificationError(
            f"{len(periods)} periods lie before the first adoption; placebo dates need {least} or "
            "more"
        )
    past = panel.where(before[panel.time])
    kept = np.searchsorted(panel.units, past.units)
    parts: dict[str, Estimate] = {}
    for at in periods[least - 1 :]:
        chosen = treated
        if who == "ranked":
            chosen = _like(panel, treated, int(at), window)
        cohort = np.where(chosen[kept], panel.clock[at], np.inf)
        made = quietly(estimator, replace(past, cohort=cohort))
        parts[panel.times[at].item()] = made
    return stack(parts, level="placebo")


def _level(panel: Panel, stop: Codes, window: int) -> Vector:
    """Mean outcome ``(N,)`` in the ``window`` periods before ``stop`` ``(N,)``; NaN without any."""
    mine = (panel.time < stop[panel.unit]) & (panel.time >= stop[panel.unit] - window)
    total = np.bincount(panel.unit[mine], panel.y[mine], minlength=panel.n_units)
    count = np.bincount(panel.unit[mine], minlength=panel.n_units)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _like(panel: Panel, treated: Flags, at: int, window: int) -> Flags:
    """As many units as are treated, with the ranks before period ``at`` that the treated had
    before they adopted."""
    then = _level(panel, np.full(panel.n_units, at), window)
    order = np.argsort(then, kind="stable")[: int(np.isfinite(then).sum())]
    places = np.empty(0, int)
    for date in np.unique(panel.cohort[treated]):
        stop = int(np.searchsorted(panel.clock, date))
        now = _level(panel, np.full(panel.n_units, stop), window)
        mine = now[treated & (panel.cohort == date)]
        mine, seen = mine[np.isfinite(mine)], np.sort(now[np.isfinite(now)])
        share = np.searchsorted(seen, mine) / max(len(seen) - 1, 1)
        places = np.append(places, np.rint(share * (len(order) - 1)).astype(int))
    if not len(places):
        raise IdentificationError(
            f"no treated unit was observed in the {window} periods before it adopted; "
            "widen the window"
        )
    chosen = np.zeros(panel.n_units, bool)
    chosen[order[_apart(np.sort(places), len(order))]] = True
    return chosen


def _apart(places: Codes, size: int) -> Codes:
    """Places that differ, as near as can be: ties move up, and down from the end."""
    out = places.copy()
    for i in range(1, len(out)):
        out[i] = max(out[i], out[i - 1] + 1)
    out[-1] = min(out[-1], size - 1)
    for i in range(len(out) - 2, -1, -1):
        out[i] = min(out[i], out[i + 1] - 1)
    return out
