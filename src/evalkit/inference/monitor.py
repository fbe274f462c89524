"""Early warning: which series come near a limit, how early they are seen, and how often in vain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from evalkit.core.arrays import Flags, Matrix, Vector
from evalkit.core.checks import check_estimate, check_real, check_whole
from evalkit.core.door import refuse_number_words
from evalkit.core.errors import OptionError
from evalkit.core.estimate import Estimate
from evalkit.core.labels import Key
from evalkit.core.provenance import Provenance

if TYPE_CHECKING:
    import pandas as pd


BLOCK = 512


@dataclass(frozen=True, slots=True, eq=False)
class Monitor:
    """What a warning rule would have said, year by year, and how it did.

    Attributes
    ----------
    table : pandas.DataFrame
        One row per series and period: value, its probability to be above the first warning level,
        light (``green``, ``amber`` above the level, ``red`` above the limit, ``unknown``) and what
        became of an alarm (``hit``, ``false``, ``open``).
    rates : pandas.DataFrame
        One row per warning level: alarms that were hits, false or still open; the share of judged
        alarms that were false; onsets of a breach, those that were warned of, and by how many
        periods.
    limit : float
    horizon : int
    provenance : {"real", "documented", "restricted", "synthetic"}
    """

    table: pd.DataFrame
    rates: pd.DataFrame
    limit: float
    horizon: int
    provenance: Provenance

    def __repr__(self) -> str:
        return (
            f"Monitor of limit {self.limit:g}, {self.horizon} periods ahead ({self.provenance})\n"
            f"{self.rates.round(3).to_string()}"
        )


def monitor(
    estimate: Estimate,
    *,
    limit: float,
    warn: float | Sequence[float],
    certainty: float = 0.5,
    horizon: int = 2,
    over: str = "time",
) -> Monitor:
    r"""Hold every series to warning levels below a limit, and count what the warnings were worth.

    An alarm is raised where :math:`\Pr(index > warn)>` ``certainty``, the index being normal
    around its estimate; at one half, where the estimate itself is above. Where the error cannot be
    seen (NaN), the probability is NaN, and only one half can raise an alarm. An alarm in a period
    without breach is a hit if the series breaches the limit within ``horizon`` periods, false if it
    does not, and open while the horizon is not over. The onset of a breach is warned of by the
    earliest alarm in the ``horizon`` periods before it; onsets in the first period are not counted.

    Parameters
    ----------
    estimate : Estimate
        Of an index that should stay low, with ``over`` among its levels; all other levels together
        name a series.
    limit : float
        Above it is a breach.
    warn : float or sequence of float
        Warning levels, at most the limit.
    certainty : float
        Between 0 and 1; a higher one gives fewer false alarms and later ones.
    horizon : int
        Periods ahead that an alarm speaks of, counted among those that any series has: a year
        without any is passed over.
    over : str
        Level that holds the periods.

    Returns
    -------
    Monitor

    Raises
    ------
    OptionError
        A level above the limit, an unknown index level, or fewer than two periods.

    Examples
    --------
    >>> import numpy as np, evalkit as ek
    >>> frame = {"school": np.tile(np.arange(4), 4), "year": np.repeat([1, 2, 3, 4], 4),
    ...          "y": np.concatenate([[10, 10, 10, 10 + d] for d in (4, 7, 9, 14)]).astype(float)}
    >>> panel = ek.Panel.from_frame(frame, outcome="y", unit="school", time="year",
    ...                             provenance="synthetic")
    >>> watched = ek.monitor(ek.gaps.spread(panel, metric="cv"), limit=0.4, warn=0.25)
    >>> watched.rates[["hits", "false_alarms", "onsets", "warned", "lead"]].values.tolist()
    [[2.0, 0.0, 1.0, 1.0, 2.0]]
    """
    import pandas as pd

    check_estimate(estimate)
    levels = _levels(warn)
    _check(estimate, limit, levels, certainty, horizon, over)
    series, periods, place = _grid(estimate, over)
    value = np.full((len(series), len(periods)), np.nan)
    error = np.full_like(value, np.nan)
    value[place] = estimate.theta
    error[place] = _errors(estimate)
    breach: Flags = value > limit
    outcomes, rates = [], []
    for level in levels:
        alarm = value > level if certainty == 0.5 else _above(value, error, level) > certainty
        outcome, rate = _judged(alarm, breach, np.isnan(value), periods, horizon)
        outcomes.append(outcome)
        rates.append({"warn": level, **rate})
    first = levels[0]
    light = np.where(breach, "red", np.where(value > first, "amber", "green"))
    light = np.where(np.isnan(value), "unknown", light)
    names = [name for name in estimate.index.levels if name != over]
    where = [(*key, period) for key in series for period in periods]
    table = pd.DataFrame(
        {
            "value": value.reshape(-1),
            "probability": _above(value, error, first).reshape(-1),
            "light": light.reshape(-1),
            "alarm": outcomes[0].reshape(-1),
        },
        index=pd.MultiIndex.from_tuples(where, names=[*names, over])
        if names
        else pd.Index(periods, name=over),
    )
    return Monitor(
        table, pd.DataFrame(rates).set_index("warn"), limit, horizon, estimate.meta.provenance
    )


def _levels(warn: float | Sequence[float]) -> Vector:
    try:
        levels = np.atleast_1d(np.asarray(warn, float))
    except (TypeError, ValueError) as wrong:
        raise OptionError(f"warn={warn!r} must be one or several numbers") from wrong
    if levels.ndim > 1 or np.isinf(levels).any():
        raise OptionError(f"warn={warn!r} must be one or several finite numbers")
    return levels


def _check(
    estimate: Estimate, limit: float, levels: Any, certainty: float, horizon: int, over: str
) -> None:
    estimate.index.level(over)
    check_real("limit", limit)
    if not (levels.size and (levels <= limit).all()):
        raise OptionError(f"warn={levels.tolist()} must lie at or below the limit {limit:g}")
    check_real("certainty", certainty, 0, 1)
    check_whole("horizon", horizon, 1, "it counts periods")


def _grid(estimate: Estimate, over: str) -> tuple[list[Key], list[Any], tuple[Any, Any]]:
    at = estimate.index.levels.index(over)
    rest = [key[:at] + key[at + 1 :] for key in estimate.index.keys]
    series = list(dict.fromkeys(rest))
    try:
        periods = sorted({key[at] for key in estimate.index.keys})
    except TypeError as wrong:
        raise OptionError(f"level {over!r} mixes numbers and text; use one type") from wrong
    if isinstance(periods[0], str):
        refuse_number_words(f"level {over!r}", np.array(periods))
    if len(periods) < 2:
        raise OptionError(f"there is one {over}; a warning needs at least two")
    row = {key: i for i, key in enumerate(series)}
    column = {period: j for j, period in enumerate(periods)}
    where = (
        np.array([row[key] for key in rest]),
        np.array([column[key[at]] for key in estimate.index.keys]),
    )
    return series, periods, where


def _errors(estimate: Estimate) -> Vector:
    """Standard errors ``(k,)``, in blocks, since no covariance of thousands is needed."""
    k = len(estimate)
    blocks = [list(range(at, min(at + BLOCK, k))) for at in range(0, k, BLOCK)]
    return np.concatenate([np.sqrt(np.diag(estimate.take(block).vcov())) for block in blocks])


def _above(value: Matrix, error: Matrix, level: float) -> Matrix:
    from scipy.special import ndtr

    with np.errstate(divide="ignore", invalid="ignore"):
        z = (value - level) / error
    z = np.where(error == 0, np.where(value > level, np.inf, -np.inf), z)
    return np.where(np.isnan(value), np.nan, ndtr(z))


def _judged(
    alarm: Flags, breach: Flags, unknown: Flags, periods: Sequence[Any], horizon: int
) -> tuple[Any, dict[str, float]]:
    """What became of each alarm, and the rates of the rule."""
    outcome = np.full(alarm.shape, "", dtype="<U5")
    last = alarm.shape[1] - 1
    onsets, leads = 0, []
    for i, t in zip(*np.nonzero(alarm & ~breach), strict=True):
        ahead = slice(t + 1, t + 1 + horizon)
        if breach[i, ahead].any():
            outcome[i, t] = "hit"
        else:
            over = t + horizon <= last and not unknown[i, ahead].any()
            outcome[i, t] = "false" if over else "open"
    for i, t in zip(*np.nonzero(breach[:, 1:] & ~breach[:, :-1]), strict=True):
        if unknown[i, t]:
            continue
        onsets += 1
        before = np.arange(max(t + 1 - horizon, 0), t + 1)
        warned = before[alarm[i, before] & ~breach[i, before]]
        if len(warned):
            leads.append(t + 1 - warned[0])
    hits, false = int((outcome == "hit").sum()), int((outcome == "false").sum())
    return outcome, {
        "hits": hits,
        "false_alarms": false,
        "open": int((outcome == "open").sum()),
        "false_rate": false / (hits + false) if hits + false else np.nan,
        "onsets": onsets,
        "warned": len(leads),
        "lead": float(np.mean(leads)) if leads else np.nan,
    }
