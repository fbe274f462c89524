"""Panels with known effects: a setting in plain numbers, and a world drawn from it.

Units are drawn from a population: their adoption, their covariate, their errors and, where effects
differ between units, their effect. The truth of the population is a formula; that of the sample is
the mean effect on the treated observations that were drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias

import numpy as np

import evalkit as ek
from simulations.study import World

Array: TypeAlias = np.ndarray[Any, Any]

# What is to be estimated: the mean effect on adopters from adoption on, or only while the treatment
# is on; two periods after adoption; two periods before, where there is none.
AVERAGE, ON, TWO_AFTER, TWO_BEFORE = "average", "while treated", "event 2", "event -2"
LEVEL, SLOPE = "level", "slope"  # of a dose: the mean effect, and that of one unit of dose more


@dataclass(frozen=True, slots=True)
class Setting:
    """A population of units in ``periods`` periods; outcomes in SDs of the untreated error.

    Untreated outcomes are a unit effect N(0, 1), higher by ``apart`` among adopters, a common trend
    of ``common`` a period, and errors of variance 1 with first-order serial correlation ``serial``.
    Of all units ``treated`` adopt (a whole number: exactly so many), in equal shares in each of
    ``starts``. The effect at event time e is ``level + growth * e`` of the cohort, plus ``spread``
    times a standard normal number of the unit; the period before adoption has ``early`` times the
    effect at adoption.

    Parameters
    ----------
    drift : float
        What adopters gain each period without any treatment.
    slopes : float
        SD over units of linear trends of their own.
    clusters : int
        If any, whole clusters adopt, and ``shared`` of the error variance is common to a cluster.
    selection, pull : float
        Log-odds of adopting per SD of a covariate, and what a SD of it adds to the untreated
        outcome from the first period to the last, along a parabola.
    stops, lasts, remains : float, int, float
        Share of adopters who stop after ``lasts`` periods, and the share of their last effect that
        stays with them.
    missing : float
        Share of rows lost at random.
    weights : float
        SD of the log of unit weights; error variances are their inverse, and units with larger
        weights have larger effects (the unit's number behind ``spread`` is its log weight).
    eligible : bool
        A random half of the units is eligible; only they gain, while ``drift`` moves both halves.
    """

    periods: int = 10
    starts: Sequence[int] = (4, 6, 8)
    treated: float = 0.5
    level: Sequence[float] = (0.5, 0.5, 0.5)
    growth: Sequence[float] = (0.0, 0.0, 0.0)
    spread: float = 0.0
    early: float = 0.0
    serial: float = 0.6
    apart: float = 0.5
    common: float = 0.2
    drift: float = 0.0
    slopes: float = 0.0
    clusters: int = 0
    shared: float = 0.5
    selection: float = 0.0
    pull: float = 0.0
    stops: float = 0.0
    lasts: int = 3
    remains: float = 0.5
    missing: float = 0.0
    weights: float = 0.0
    eligible: bool = False

    def facts(self, n: int) -> Mapping[str, float]:
        """Columns of the stored table that describe the design."""
        return {"treated_share": self.treated if self.treated < 1 else self.treated / n}

    def effect(self, cohort: Array, event: Array, unit: Any, stopped: Any) -> Array:
        """Effect on units of a cohort at an event time; ``unit`` the number behind ``spread``."""
        over = stopped & (event >= self.lasts)
        clock = np.where(over, self.lasts - 1, np.maximum(event, 0))
        share = np.where(over, self.remains, np.where(event == -1, self.early, event >= 0))
        level, growth = np.array(self.level), np.array(self.growth)
        out: Array = share * (level[cohort] + growth[cohort] * clock + self.spread * unit)
        return out

    def draw(self, rng: np.random.Generator, n: int) -> World:
        """A world of ``n`` units."""
        time = np.arange(1, self.periods + 1)
        x, number = rng.normal(size=n), rng.normal(size=n)
        weight = np.exp(self.weights * number)
        cluster = self._clusters(rng, n)
        start = self._starts(rng, x, cluster)
        adopter = np.isfinite(start)
        stopped = adopter & (rng.uniform(size=n) < self.stops)
        eligible = rng.uniform(size=n) < 0.5 if self.eligible else np.full(n, True)
        untreated = (
            (rng.normal(size=n) + self.apart * adopter)[:, None]
            + self.common * time
            + (self.slopes * rng.normal(size=n) + self.drift * adopter)[:, None] * (time - 1)
            + self.pull * x[:, None] * ((time - 1) / (self.periods - 1)) ** 2
            + self.errors(rng, cluster) / np.sqrt(weight)[:, None]
        )
        event = time - start[:, None]
        cohort = np.searchsorted(self.starts, np.where(adopter, start, self.starts[0]))
        effect = self.effect(cohort[:, None], event, number[:, None], stopped[:, None])
        effect = np.where((adopter & eligible)[:, None], effect, 0.0)
        seen = rng.uniform(size=effect.shape) >= self.missing
        after = (event >= 0) & seen & eligible[:, None]
        on = after & ~(stopped[:, None] & (event >= self.lasts))
        groups = {AVERAGE: after, ON: on, TWO_AFTER: after & (event == 2)}
        groups[TWO_BEFORE] = (event == -2) & seen & eligible[:, None]
        w = np.broadcast_to(weight[:, None], effect.shape)
        truth = {
            target: {"population": value, "sample": _mean(effect, w * groups[target])}
            for target, value in population(self).items()
        }
        rows = {
            "unit": np.arange(n)[:, None],
            "time": time,
            "y": untreated + effect,
            "x": x[:, None],
            "start": start[:, None],
            "weight": w,
            "cluster": cluster[:, None],
            "on": on,
            "eligible": eligible[:, None],
        }
        data = self._panel({k: np.broadcast_to(v, effect.shape)[seen] for k, v in rows.items()})
        return World(data, truth, data.with_outcome(untreated[seen]))

    def _clusters(self, rng: np.random.Generator, n: int) -> Array:
        """Every cluster has a unit; the others fall anywhere, so that sizes differ."""
        if not self.clusters:
            return np.arange(n)
        rest = rng.integers(0, self.clusters, n - self.clusters)
        return np.concatenate([np.arange(self.clusters), rest])

    def _starts(self, rng: np.random.Generator, x: Array, cluster: Array) -> Array:
        """First treated period of each unit, inf for never."""
        starts = np.array(self.starts, float)
        if self.clusters or self.treated >= 1:
            many = self.clusters or len(x)
            k = round(self.treated * (many if self.treated < 1 else 1))
            dealt = np.concatenate([np.resize(starts, k), np.full(many - k, np.inf)])
            return rng.permutation(dealt)[cluster]
        odds = self.treated / (1 - self.treated) * np.exp(self.selection * x)
        adopter = rng.uniform(size=len(x)) < odds / (1 + odds)
        return np.where(adopter, starts[rng.integers(0, len(starts), len(x))], np.inf)

    def errors(self, rng: np.random.Generator, cluster: Array) -> Array:
        """Errors ``(n, T)``: serially correlated, with a part that clusters share."""
        own = self._serial(rng, len(cluster))
        if not self.clusters:
            return own
        common = self._serial(rng, self.clusters)[cluster]
        out: Array = np.sqrt(1 - self.shared) * own + np.sqrt(self.shared) * common
        return out

    def _serial(self, rng: np.random.Generator, n: int) -> Array:
        """Stationary first-order autoregressions ``(n, T)`` with variance 1."""
        error = rng.normal(size=(n, self.periods))
        error[:, 1:] *= np.sqrt(1 - self.serial**2)
        for t in range(1, self.periods):
            error[:, t] += self.serial * error[:, t - 1]
        return error

    def _panel(self, rows: Mapping[str, Array]) -> ek.Panel:
        """The rows at the door, with the covariate also period by period where it moves trends."""
        columns, names = dict(rows), ["x"]
        if self.pull:
            columns |= {
                f"x{t}": rows["x"] * (rows["time"] == t) for t in range(2, self.periods + 1)
            }
            names += [f"x{t}" for t in range(2, self.periods + 1)]
        return ek.Panel.from_frame(
            columns,
            outcome="y",
            unit="unit",
            time="time",
            cohort="start",
            covariates=[*names, "on"] if self.stops else names,
            categories=["eligible"] if self.eligible else [],
            cluster="cluster" if self.clusters else None,
            weight="weight" if self.weights else None,
            provenance="synthetic",
        )


@cache
def population(s: Setting) -> Mapping[str, float]:
    """The true value of each target over the population of a setting, exactly."""
    cohort, event = np.meshgrid(range(len(s.starts)), range(s.periods), indexing="ij")
    seen = event <= s.periods - np.array(s.starts)[cohort]
    unit = s.weights  # mean, by the units' weights, of the number behind `spread`
    on, off = (s.effect(cohort, event, unit, stopped) for stopped in (False, True))
    gone = np.where(event >= s.lasts, s.stops, 0.0)
    effect = (1 - gone) * on + gone * off
    out = {
        AVERAGE: float(effect[seen].mean()),
        TWO_AFTER: float(effect[seen & (event == 2)].mean()),
        TWO_BEFORE: 0.0,
    }
    if s.stops:
        out[ON] = float(((1 - gone) * on)[seen].sum() / (1 - gone)[seen].sum())
    return out


@dataclass(frozen=True, slots=True)
class Dose:
    """A reform in period 5 that meets every unit with a dose: none for ``without`` of them, else
    uniform on [0.2, 1.8]. A unit of dose adds ``response``, plus ``selected`` for each unit by
    which the unit's dose is above 1. Untreated outcomes are those of :class:`Setting`."""

    response: float = 0.5
    selected: float = 0.0
    without: float = 0.3
    start: int = 5
    untreated: Setting = Setting()

    def facts(self, n: int) -> Mapping[str, float]:
        """Columns of the stored table that describe the design."""
        return {"treated_share": 1 - self.without}

    def draw(self, rng: np.random.Generator, n: int) -> World:
        """A world of ``n`` units. The slope is the average response over the treated units."""
        time = np.arange(1, self.untreated.periods + 1)
        dose = np.where(rng.uniform(size=n) < self.without, 0.0, rng.uniform(0.2, 1.8, n))
        response = self.response + self.selected * (dose - 1)
        base = rng.normal(size=n)[:, None] + self.untreated.common * time
        y = base + self.untreated.errors(rng, np.arange(n))
        effect = (response * dose)[:, None] * (time >= self.start)
        taken = dose > 0
        variance = 1.6**2 / 12
        level = self.response + self.selected * variance  # E[response x dose], with E[dose] = 1
        truth = {
            LEVEL: {"population": level, "sample": float((response * dose)[taken].mean())},
            SLOPE: {"population": self.response, "sample": float(response[taken].mean())},
        }
        data, null = (self._panel(dose, time, values) for values in (y + effect, y))
        return World(data, truth, null)

    def _panel(self, dose: Array, time: Array, y: Array) -> ek.Panel:
        n = len(dose)
        columns = {
            "unit": np.repeat(np.arange(n), len(time)),
            "time": np.tile(time, n),
            "y": y.ravel(),
            "dose": np.repeat(dose, len(time)),
        }
        named = {"outcome": "y", "unit": "unit", "time": "time", "dose": "dose"}
        return ek.Panel.from_frame(columns, **named, provenance="synthetic")


def _mean(effect: Array, weight: Array) -> float:
    """Weighted mean; NaN where nobody was drawn."""
    total = weight.sum()
    return float((effect * weight).sum() / total) if total else np.nan
