"""The study of what is done where a comparison is not clean: unseen selection, movers, spillovers,
picks on the past; each beside an estimate that takes the comparison to be clean.

Each method meets worlds as it assumes and, where named so, one that is not. Errors are independent
between units, or between towns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from scipy.special import ndtri

import evalkit as ek
from simulations.study import Answer, Design, Judge, Method, Study, World

Array: TypeAlias = np.ndarray[Any, Any]

EFFECT, SIZE = "effect", 0.5
PUPILS, REGISTER, PLACES, TOWNS = (
    (1000, 10_000),
    (4000,),
    (1000,),
    (400,),
)  # units of the four worlds


def answers(found: ek.Inference, targets: Mapping[str, int]) -> dict[str, Answer]:
    """What is said of some targets, by their places."""
    return {name: Answer.of(found, k) for name, k in targets.items()}


# Selection by what is not seen.

SEEN, CHOSEN = np.array([1.0, 0.5]), np.array([0.5, 0.3])  # of controls on score and on lessons


@dataclass(frozen=True, slots=True)
class Lessons:
    """Pupils, with what only a simulation knows of them."""

    panel: ek.Panel
    delta: float
    r2max: float


@dataclass(frozen=True, slots=True)
class Unseen:
    """Lessons are chosen by two controls and, ``delta`` times as much, by an unseen ability."""

    delta: float

    def draw(self, rng: np.random.Generator, n: int) -> World:
        controls, (ability, chance, noise) = rng.normal(size=(2, n)), rng.normal(size=(3, n))
        pull = self.delta * (SEEN @ CHOSEN) / (SEEN @ SEEN)
        lessons = CHOSEN @ controls + pull * ability + chance
        score = SEEN @ controls + ability + noise
        data, null = (self._data(controls, lessons, score, pull, b) for b in (SIZE, 0.0))
        return World(data, {EFFECT: {"population": SIZE}}, null)

    def _data(
        self, controls: Array, lessons: Array, score: Array, pull: float, effect: float
    ) -> Lessons:
        explained = np.sum((SEEN + effect * CHOSEN) ** 2) + (1 + effect * pull) ** 2 + effect**2
        n = len(score)
        panel = ek.Panel.from_frame(
            {
                "pupil": np.arange(n),
                "year": np.zeros(n, int),
                "home": controls[0],
                "early": controls[1],
                "lessons": lessons,
                "score": score + effect * lessons,
            },
            outcome="score",
            unit="pupil",
            time="year",
            covariates=["home", "early", "lessons"],
            provenance="synthetic",
        )
        return Lessons(panel, self.delta, float(explained / (explained + 1)))


def adjusted(**assumed: Any) -> Callable[[Lessons], ek.Estimate]:
    """Oster's adjustment, as assumed; else informed of the delta and the R2 that are true."""

    def estimate(data: Lessons) -> ek.Estimate:
        options: dict[str, Any] = assumed or {"delta": data.delta, "r2max": data.r2max}
        controls = ["home", "early"]
        return ek.oster(data.panel, on="lessons", covariates=controls, absorb=(), **options)

    return estimate


def coefficient(term: int) -> Judge:
    return lambda data, made: answers(ek.infer(made), {EFFECT: term})


# Pupils who come or leave.

STAYING, SHARED = 0.7, 0.05  # share always on the register; of variance, by town and town-year


@dataclass(frozen=True, slots=True)
class Movers:
    """Towns of a hundred pupils, half of them treated in the second year. Treatment moves the share
    ``moved`` in or out: the weakest, so that all who move are weaker than all who do not and the
    effect is at an end of the bounds; or pupils of any kind."""

    moved: float
    weakest: bool = True

    def draw(self, rng: np.random.Generator, n: int) -> World:
        pupil = np.arange(n)
        town, year = pupil // 100, 1 + pupil % 2
        treated = town % 2 == 0
        common = rng.normal(size=(3, town.max() + 1))[:, town]
        between = common[0] + np.where(year == 1, common[1], common[2])
        kind = np.sqrt(SHARED) * between + np.sqrt(1 - 2 * SHARED) * rng.normal(size=n)
        reached = treated & (year == 2)
        rank = -kind if self.weakest else rng.normal(size=n)
        seen = rank < ndtri(STAYING + self.moved * reached)
        untreated = kind + 0.3 * treated + 0.1 * year
        panel = ek.Panel.from_frame(
            {
                "pupil": pupil,
                "year": year,
                "town": town,
                "start": np.where(treated, 2.0, np.nan),
                "score": untreated + SIZE * reached,
                "seen": seen.astype(float),
            },
            outcome="score",
            unit="pupil",
            time="year",
            cohort="start",
            cluster="town",
            covariates=["seen"],
            provenance="synthetic",
        )
        truth = dict(zip(("low", "high", EFFECT), (*self.ends(), SIZE), strict=True))
        return World(
            panel,
            {name: {"population": value} for name, value in truth.items()},
            panel.with_outcome(untreated),
        )

    def ends(self) -> tuple[float, float]:
        """The bounds in the population, exactly: one cell is cut from ``many`` to ``few`` seen."""
        few, many = sorted((STAYING, STAYING + self.moved))
        wide = many if self.weakest else 1.0  # the best share of all pupils that is in this cell
        kept = wide * few / many
        whole = _slice(1 - few, 1.0) if self.weakest else 0.0  # the mean of the other cell
        worst, best = _slice(1 - wide, 1 - wide + kept) - whole, _slice(1 - kept, 1.0) - whole
        low, high = (worst, best) if self.moved >= 0 else (-best, -worst)
        return SIZE + low, SIZE + high


def _slice(low: float, high: float) -> float:
    """Mean of a standard normal number between two of its quantiles."""
    a, b = np.exp(-(ndtri([low, high]) ** 2) / 2) / np.sqrt(2 * np.pi)
    return float((a - b) / (high - low))


def untrimmed(panel: ek.Panel, made: ek.CompositionBounds) -> Mapping[str, Answer]:
    return answers(made.judged, {EFFECT: 2})


def trimmed(panel: ek.Panel, made: ek.CompositionBounds) -> Mapping[str, Answer]:
    """Each end with its own interval; for the effect the untrimmed estimate, and the interval of
    the bounds with the test that goes with it."""
    low, high = made.conf_low, made.conf_high
    said = answers(made.judged, {"low": 0, "high": 1, EFFECT: 2})
    ends = {name: replace(said[name], p_value=np.nan) for name in ("low", "high")}
    p_value = float(low <= 0 <= high)
    return {**ends, EFFECT: Answer(said[EFFECT].estimate, np.nan, low, high, p_value)}


# Effects on neighbours.

KM, WEST, NEAR, FAR = 111.195, 60.0, 20.0, 40.0  # of a degree; where treatment and rings end
SPILLED = (0.3, 0.15)
REACH = 8.0  # km within which noise is much the same; 30 km reach over all that is correlated
TREATED, RINGS = "treated", ("near", "far")


@dataclass(frozen=True, slots=True)
class Places:
    """Towns anywhere on 160 by 100 km; those within 60 km of the western end are treated in the
    fourth of five years, or with ``waves`` half of them, the southern, a year earlier. Of the
    others those within 20 km of a treated town get ``spilled[0]``, those within 40 km
    ``spilled[1]``, as soon as a town within 40 km is treated. A share ``local`` of the variance is
    common to towns near each other."""

    spilled: tuple[float, float] = (0.0, 0.0)
    waves: bool = False
    local: float = 0.0

    def draw(self, rng: np.random.Generator, n: int) -> World:
        at = rng.uniform(size=(n, 2)) * [160.0, 100.0]
        treated = at[:, 0] < WEST
        apart = np.linalg.norm(at[:, None] - at[treated], axis=2)
        date = np.where(at[treated, 1] < 50.0, 3.0 if self.waves else 4.0, 4.0)
        within = np.where(apart <= FAR, date, np.inf).min(axis=1)
        near, far = (~treated & (apart.min(axis=1) <= end) for end in (NEAR, FAR))
        far &= ~near
        effect = SIZE * treated + self.spilled[0] * near + self.spilled[1] * far
        since = within.copy()
        since[treated] = date
        untreated = serial(rng, n, 5)
        if self.local:
            around = smooth(rng, at, 5)
            untreated = np.sqrt(1 - self.local) * untreated + np.sqrt(self.local) * around
        start = np.full(n, np.nan)
        start[treated] = date
        columns = {
            "latitude": at[:, [1]] / KM,  # at the equator, where degrees are alike
            "longitude": at[:, [0]] / KM,
            "start": start[:, None],
        }
        after = np.arange(1, 6) >= since[:, None]
        panel = towns(untreated + effect[:, None] * after, columns)
        sizes = zip((TREATED, *RINGS), (SIZE, *self.spilled), strict=True)
        truth = {name: {"population": size} for name, size in sizes}
        return World(panel, truth, panel.with_outcome(untreated.ravel()))


def serial(rng: np.random.Generator, n: int, periods: int, rho: float = 0.6) -> Array:
    """Stationary first-order autoregressions ``(n, periods)`` with variance one."""
    e = rng.normal(size=(n, periods))
    for t in range(1, periods):
        e[:, t] = rho * e[:, t - 1] + np.sqrt(1 - rho**2) * e[:, t]
    return e


def smooth(rng: np.random.Generator, at: Array, periods: int, waves: int = 400) -> Array:
    """A normal field of variance one at some places ``(n, periods)``, anew in each period, whose
    correlation is ``exp(-d²/2r²)`` at the distance d, with r the REACH: a sum of random waves."""
    way, phase = rng.normal(size=(2, waves)) / REACH, rng.uniform(size=(waves, 1)) * 2 * np.pi
    shape = np.sqrt(2 / waves) * np.cos((at @ way).T + phase)
    return np.asarray(shape.T @ rng.normal(size=(waves, periods)))


def towns(y: Array, columns: Mapping[str, Array]) -> ek.Panel:
    """Outcomes by town and year, and columns ``(n, 1)`` of towns."""
    n, periods = y.shape
    wide = {"town": np.arange(n)[:, None], "year": np.arange(1, periods + 1), "y": y, **columns}
    return ek.Panel.from_frame(
        {name: np.broadcast_to(values, y.shape).ravel() for name, values in wide.items()},
        outcome="y",
        unit="town",
        time="year",
        cohort="start",
        covariates=[name for name in columns if name != "start"],
        provenance="synthetic",
    )


def rings(*ends: float) -> Callable[[ek.Panel], ek.Estimate]:
    return lambda panel: ek.spillover_rings(panel, ek.did.two_way, rings=ends)


def averaged(panel: ek.Panel) -> ek.Estimate:
    return ek.aggregate(ek.did.callaway_santanna(panel))


def rings_of_waves(panel: ek.Panel) -> ek.Estimate:
    return ek.spillover_rings(panel, averaged, rings=(NEAR, FAR))


def near_each_other(panel: ek.Panel, made: ek.Estimate) -> Mapping[str, Answer]:
    """Judged as errors that towns within 30 km share."""
    places = zip((TREATED, *RINGS), range(len(made)), strict=False)
    return answers(ek.conley(made, panel, cutoff=30.0, kernel="bartlett"), dict(places))


def by_ring(panel: ek.Panel, made: ek.Estimate) -> Mapping[str, Answer]:
    """The treated, then as many rings as there are."""
    places = zip((TREATED, *RINGS), range(len(made)), strict=False)
    return answers(ek.infer(made), dict(places))


# Pilots that are picked on their past.

AFTER, BEFORE = "event 1", "event -3"


@dataclass(frozen=True, slots=True)
class Picked:
    """A fifth of the towns is picked in the third of six years: those with the lowest score, or
    (``lasting``) those with the lowest level, about which scores move."""

    lasting: bool

    def draw(self, rng: np.random.Generator, n: int) -> World:
        level = rng.normal(size=n)
        score = level[:, None] + serial(rng, n, 6)
        rank = level if self.lasting else score[:, 2]
        picked = rank < np.quantile(rank, 0.2)
        effect = SIZE * np.outer(picked, [0, 0, 0, 1, 1, 1])
        panel = towns(score + effect, {"start": np.where(picked, 4.0, np.nan)[:, None]})
        truth = {AFTER: {"population": SIZE}, BEFORE: {"population": 0.0}}
        return World(panel, truth, panel.with_outcome(score.ravel()))


def cells(panel: ek.Panel) -> ek.Estimate:
    return ek.did.callaway_santanna(panel, base="universal")


def year_before(panel: ek.Panel, made: ek.Estimate) -> Mapping[str, Answer]:
    return by_event(ek.aggregate(made, by="event"))


def mirrored(panel: ek.Panel, made: ek.Estimate) -> Mapping[str, Answer]:
    return by_event(ek.aggregate(ek.mirrored(made), by="event"))


def rest(panel: ek.Panel, made: ek.Estimate) -> Mapping[str, Answer]:
    return by_event(made.select(part="rest"))


def by_event(made: ek.Estimate) -> Mapping[str, Answer]:
    """One period after the first, and the first of all, where they are estimated."""
    events = list(made.index.level("event"))
    places = {name: events.index(e) for name, e in ((AFTER, 1), (BEFORE, -3)) if e in events}
    return answers(ek.infer(made), places)


LESSONS = {
    "unseen_none": ("nothing unseen selects", Unseen(0.0).draw),
    "unseen_equal": ("what is not seen selects as controls do", Unseen(1.0).draw),
    "unseen_more": ("what is not seen selects one and a half times as much", Unseen(1.5).draw),
    "unseen_double": ("what is not seen selects twice as much", Unseen(2.0).draw),
}
MOVERS = {
    "weak_come": ("treatment brings in the weakest", Movers(0.2).draw),
    "weak_leave": ("treatment drives out the weakest", Movers(-0.2).draw),
    "any_come": ("treatment brings in pupils of any kind", Movers(0.2, weakest=False).draw),
    "nobody_moves": ("treatment moves nobody", Movers(0.0).draw),
}
SPILLS = {
    "no_spillover": ("neighbours of treated towns gain nothing", Places().draw),
    "spillover": ("neighbours of treated towns gain, too", Places(SPILLED).draw),
}
STAGGERED = {
    "spillover_in_waves": ("the same, adopted in two waves", Places(SPILLED, waves=True).draw),
}
LOCAL = {
    "spillover_local": ("the same, half of the noise is local", Places(SPILLED, local=0.5).draw),
}
PICKS = {
    "picked_on_score": ("pilots are picked on their last score", Picked(lasting=False).draw),
    "picked_on_level": ("pilots are picked on what lasts of it", Picked(lasting=True).draw),
}
WORLDS = {
    PUPILS: LESSONS,
    REGISTER: MOVERS,
    PLACES: {**SPILLS, **STAGGERED, **LOCAL},
    TOWNS: PICKS,
}

BOUNDS = Study(
    "bounds",
    {
        name: Design(about, draw, sizes=sizes)
        for sizes, some in WORLDS.items()
        for name, (about, draw) in some.items()
    },
    {
        "oster": Method(
            adjusted(delta=1.0),
            {"controlled": coefficient(1), "adjusted": coefficient(2)},
            designs=tuple(LESSONS),
        ),
        "oster_informed": Method(adjusted(), {"adjusted": coefficient(2)}, designs=tuple(LESSONS)),
        "composition_bounds": Method(
            lambda panel: ek.composition_bounds(panel, seen="seen"),
            {"untrimmed": untrimmed, "trimmed": trimmed},
            designs=tuple(MOVERS),
        ),
        "two_way": Method(ek.did.two_way, {"CR1": by_ring}, designs=tuple(SPILLS)),
        "spillover_rings": Method(
            rings(NEAR, FAR),
            {"CR1": by_ring, "conley": near_each_other},
            designs=(*SPILLS, *LOCAL),
            only={"conley": tuple(LOCAL)},
        ),
        "callaway_santanna_average": Method(averaged, {"CR1": by_ring}, designs=tuple(STAGGERED)),
        "callaway_santanna_rings": Method(
            rings_of_waves, {"CR1": by_ring}, designs=tuple(STAGGERED)
        ),
        "one_ring": Method(rings(NEAR), {"CR1": by_ring}, designs=tuple(SPILLS)),
        "callaway_santanna": Method(
            cells, {"year before": year_before, "mirrored": mirrored}, designs=tuple(PICKS)
        ),
        "mean_reversion": Method(ek.mean_reversion, {"rest": rest}, designs=tuple(PICKS)),
    },
    sizes={n: 500 for sizes in WORLDS for n in sizes},
)
