"""The study of several measures at once: counties adopt them on calendars like the documented ones.

The outcome is the gap between urban and village schools, in SDs of pupils' scores; a measure that
closes it has a negative effect. Truths are those of the measures' own observations: ``own`` is the
mean effect of the measure on those under it, ``projection`` the coefficient of the measure in the
least-squares projection of all effects together on the measures in force.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np

import evalkit as ek
from evalkit.data.simulate import Assumptions
from evalkit.data.simulate.assumptions import Waves
from simulations.study import Answer, Design, Method, Study, World

Array: TypeAlias = np.ndarray[Any, Any]
Made: TypeAlias = Mapping[str, ek.Estimate]  # by measure

CALENDARS = Assumptions()
# Up to the last year in which a tenth of the counties is without any measure, so that all methods
# use the same observations.
YEARS = np.arange(2012, 2020)
EFFECTS = {"groups": -0.03, "funding": -0.02, "teachers": -0.04, "creation": 0.0}
NOISE, SERIAL, COUNTIES = 0.075, 0.3, 0.25  # SDs and autocorrelation as in data/synthetic
WIDEST = 2  # years of a window


class Adopted(NamedTuple):
    """A panel with the first years of each measure; ``earliest`` where a window is known."""

    panel: ek.Panel
    starts: Mapping[str, Mapping[int, float]]
    earliest: Mapping[str, Mapping[int, float]] | None


@dataclass(frozen=True, slots=True)
class Measures:
    """Counties adopt groups and funding in one year in half of the draws, and the others apart.

    ``grows``: an effect begins at a half and gains a half each year. ``early``: those who start a
    measure before 2018 gain so many times as much, the others as much less. ``targeted``: what
    county management gains in addition, as a multiple, where groups and funding are bundled.
    ``undated``: share of starts of which only a window is known. ``exchange``: a fifth measure that
    always comes with county management. ``sized``: the same draw without effects is drawn too.
    """

    grows: bool = False
    early: float = 1.0
    targeted: float = 0.0
    undated: float = 0.0
    exchange: bool = False
    sized: bool = False

    def draw(self, rng: np.random.Generator, n: int) -> World:
        a = CALENDARS
        bundled = rng.uniform(size=n) < a.bundled
        together = _drawn(rng, a.bundle, n)
        dates = {
            "groups": np.where(bundled, together, _drawn(rng, a.groups, n)),
            "funding": np.where(bundled, together, _drawn(rng, a.money, n)),
            "teachers": _drawn(rng, a.teachers, n),
            "creation": _drawn(rng, a.certificates, n),
        }
        effects = {name: self._effect(name, dates[name], bundled) for name in EFFECTS}
        if self.exchange:
            dates["exchange"] = dates["teachers"]
        untreated = _untreated(rng, n)
        windows = {name: _window(rng, date, self.undated) for name, date in dates.items()}
        seen = np.ones((n, len(YEARS)), bool)
        for first, last in windows.values():
            seen &= ~((first[:, None] <= YEARS) & (last[:, None] > YEARS))
        latest = {name: last for name, (_, last) in windows.items()}
        truth = _truth(effects, latest, seen)
        null = _adopted(untreated, windows) if self.sized else None
        return World(_adopted(untreated + sum(effects.values()), windows), truth, null)

    def _effect(self, name: str, date: Array, bundled: Array) -> Array:
        """Effects ``(n, T)`` of a measure."""
        event = YEARS - date[:, None]
        size = EFFECTS[name] * np.where(date < 2018, self.early, 1 / self.early)
        if name == "teachers":
            size = size * (1 + self.targeted * bundled)
        growth = (np.maximum(event, 0) + 1) / 2 if self.grows else 1.0
        out: Array = np.where(event >= 0, size[:, None] * growth, 0.0)
        return out


def _drawn(rng: np.random.Generator, waves: Waves, n: int) -> Array:
    """First years, one a county."""
    years, shares = zip(*waves, strict=True)
    return rng.choice(np.array(years, float), size=n, p=shares)


def _untreated(rng: np.random.Generator, n: int) -> Array:
    """Gaps without any measure ``(n, T)``: counties differ, years have a trend, errors fade."""
    error = rng.normal(size=(n, len(YEARS)))
    for t in range(1, len(YEARS)):
        error[:, t] = SERIAL * error[:, t - 1] + np.sqrt(1 - SERIAL**2) * error[:, t]
    out: Array = COUNTIES * rng.normal(size=(n, 1)) + 0.01 * (YEARS - YEARS[0]) + NOISE * error
    return out


def _window(rng: np.random.Generator, date: Array, undated: float) -> tuple[Array, Array]:
    """First and last possible year of each start."""
    width = np.where(
        rng.uniform(size=len(date)) < undated, rng.integers(0, WIDEST, len(date)) + 1, 0
    )
    after = rng.integers(0, width + 1)
    return date + after - width, date + after


def _truth(
    effects: Mapping[str, Array], dates: Mapping[str, Array], seen: Array
) -> Mapping[str, Mapping[str, float]]:
    """Both senses of the truth, over the observations that are seen."""
    on = {name: seen & (date[:, None] <= YEARS) for name, date in dates.items()}
    treated = np.any(list(on.values()), axis=0)
    exposure = np.stack([rows[treated] for rows in on.values()], axis=1).astype(float)
    total = sum(effects.values(), np.zeros(seen.shape))[treated]
    projected = np.linalg.lstsq(exposure, total, rcond=None)[0]
    return {
        name: {"own": float(effects[name][on[name]].mean()), "projection": float(one)}
        for name, one in zip(on, projected, strict=True)
        if name in effects
    }


def _adopted(y: Array, windows: Mapping[str, tuple[Array, Array]]) -> Adopted:
    """The records as an analyst has them."""
    n = len(y)
    on = {
        name: (np.tile(YEARS, n) >= np.repeat(last, len(YEARS))).astype(float)
        for name, (_, last) in windows.items()
    }
    panel = ek.Panel.from_frame(
        {"county": np.repeat(np.arange(n), len(YEARS)), "year": np.tile(YEARS, n),
         "gap": y.ravel(), **on},
        outcome="gap", unit="county", time="year", covariates=list(on), provenance="synthetic",
    )  # fmt: skip
    first, last = (
        {name: dict(enumerate(pair[end].tolist())) for name, pair in windows.items()}
        for end in (0, 1)
    )
    return Adopted(panel, last, None if first == last else first)


# --- Methods --------------------------------------------------------------------------------------


def by_measure(data: Adopted) -> Made:
    """One coefficient a measure."""
    found = ek.did.several_measures(
        data.panel, starts=data.starts, earliest=data.earliest, by="measure"
    )
    return {name: found.select(measure=name) for name in data.starts}


def by_event(data: Adopted) -> Made:
    """One coefficient a measure and event time, averaged over the observations of the measure."""
    found = ek.did.several_measures(data.panel, starts=data.starts, earliest=data.earliest)
    average = ek.aggregate(found, by="measure")
    return {name: average.select(measure=name) for name in data.starts}


def dummies(data: Adopted) -> Made:
    """The two-way regression on the dummies of all measures."""
    found = ek.did.regression(data.panel, on=list(data.starts))
    return {name: found.select(term=name) for name in data.starts}


def alone(data: Adopted) -> Made:
    """Each measure as if there were no other."""
    panel = data.panel
    made = {}
    for name, dates in data.starts.items():
        first = np.array([dates[unit] for unit in panel.units.tolist()])
        made[name] = ek.aggregate(ek.did.imputation(panel.adopting(first)))
    return made


def clustered(data: Adopted, made: Made) -> Mapping[str, Answer]:
    """CR1 by county, for all measures."""
    return {name: Answer.of(ek.infer(one, few="show")) for name, one in made.items()}


JUDGES = {"CR1": clustered}
ALIKE, UNLIKE = ("additive", "growing"), ("early_gain_more", "targeted")
DESIGNS = {
    "additive": Design("effects add up and are the same everywhere", Measures(sized=True).draw),
    "growing": Design("effects gain a half each year", Measures(grows=True, sized=True).draw),
    "early_gain_more": Design(
        "as growing, and early adopters gain twice as much", Measures(grows=True, early=2.0).draw
    ),
    "targeted": Design(
        "county management does three times as much beside a bundle", Measures(targeted=2.0).draw
    ),
    "windows": Design("as additive, a fifth of starts are windows", Measures(undated=0.2).draw),
    "inseparable": Design(
        "exchange always comes with county management", Measures(exchange=True).draw
    ),
}  # fmt: skip

MEASURES = Study(
    "measures",
    DESIGNS,
    {
        "several_measures": Method(
            by_measure, JUDGES, truths=("projection", "own"), designs=(*ALIKE, "inseparable")
        ),
        "several_by_event": Method(
            by_event, JUDGES, truths=("own",), designs=(*ALIKE, *UNLIKE, "windows")
        ),
        "all_dummies": Method(dummies, JUDGES, truths=("own",), designs=(*ALIKE, *UNLIKE)),
        "one_alone": Method(alone, JUDGES, truths=("own",), designs=("additive",)),
    },
    sizes={136: 250},
)
