"""The study of gap metrics: pupils in schools, two groups, and counties known by bands alone.

Truths are those of the population from which schools and pupils are drawn, by formula. Intervals
are those of `ek.infer`, with schools as clusters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Any, TypeAlias

import numpy as np
from scipy.optimize import brentq
from scipy.stats import norm

import evalkit as ek
from simulations.study import Answer, Design, Method, Study, World

Array: TypeAlias = np.ndarray[Any, Any]
Made: TypeAlias = Mapping[str, ek.Estimate]  # by target

D, V, BANDS = "d", "V", "V from bands"
TOTAL, WITHIN, BETWEEN = "total", "within schools", "between schools"
QUANTILES = {"10th percentile": 0.1, "median": 0.5, "90th percentile": 0.9}
HIGHEST, LOWEST, WIDEST, NARROWEST = "highest mean", "lowest mean", "widest SD", "narrowest SD"
RAW, CORRECTED = "share between, raw", "share between, corrected"
CUTS = (-0.5, 0.25, 1.0)  # of the bands


@dataclass(frozen=True, slots=True)
class Schools:
    """Two groups of about n pupils each, in schools of two kinds.

    Scores of the high group are higher by ``within`` in every school; pupils of a group are normal
    with the SDs ``spreads`` (high, low), schools with SD ``school``. In schools of the first kind
    ``share`` of the pupils belong to the high group, in those of the second 1 - ``share``; the
    first are better by ``apart``. There are 20 schools up to 200 pupils, 50 above.
    """

    within: float = 0.5
    spreads: tuple[float, float] = (1.0, 1.0)
    school: float = 0.3
    share: float = 0.7
    apart: float = 0.0

    def draw(self, rng: np.random.Generator, n: int) -> World:
        schools = 20 if n <= 100 else 50
        school = np.resize(np.arange(schools), 2 * n)
        first = school % 2 == 0
        high = rng.uniform(size=2 * n) < np.where(first, self.share, 1 - self.share)
        y = (
            self.within * high
            + self.apart * first
            + self.school * rng.normal(size=schools)[school]
            + np.where(high, *self.spreads) * rng.normal(size=2 * n)
        )
        columns = {
            "pupil": np.arange(2 * n),
            "year": np.zeros(2 * n, int),
            "score": y,
            "school": school,
            "group": np.where(high, "high", "low"),
        }
        panel = ek.Panel.from_frame(
            columns,
            outcome="score",
            unit="pupil",
            time="year",
            cluster="school",
            categories=["group", "school"],
            provenance="synthetic",
        )
        return World(panel, {k: {"population": v} for k, v in schools_truth(self).items()})


@cache
def schools_truth(s: Schools) -> Mapping[str, float]:
    """The true value of each metric over all pupils of all schools."""
    # Each group is a mixture of two normals, one for each kind of school.
    odds = {"high": (s.share, 1 - s.share), "low": (1 - s.share, s.share)}
    means = {"high": (s.within + s.apart, s.within), "low": (s.apart, 0.0)}
    sd = dict(zip(odds, np.hypot(s.spreads, s.school), strict=True))
    mean = {g: float(np.dot(odds[g], means[g])) for g in odds}
    variance = [sd[g] ** 2 + s.share * (1 - s.share) * s.apart**2 for g in odds]
    total = mean["high"] - mean["low"]
    pairs = product(zip(odds["high"], means["high"], strict=True),
                    zip(odds["low"], means["low"], strict=True))  # fmt: skip
    wins = sum(p * q * norm.cdf((a - b) / np.hypot(sd["high"], sd["low"]))
               for (p, a), (q, b) in pairs)  # fmt: skip

    def quantile(group: str, at: float) -> float:
        def excess(y: float) -> float:
            return float(
                np.dot(odds[group], norm.cdf((y - np.array(means[group])) / sd[group])) - at
            )

        return float(brentq(excess, -10, 10, xtol=1e-12))

    ordinal = float(np.sqrt(2) * norm.ppf(wins))
    return {
        TOTAL: total,
        WITHIN: s.within,
        BETWEEN: total - s.within,
        D: float(total / np.sqrt(np.mean(variance))),
        V: ordinal,
        BANDS: ordinal,
        **{name: quantile("high", p) - quantile("low", p) for name, p in QUANTILES.items()},
    }


@dataclass(frozen=True, slots=True)
class Counties:
    """Normal counties of n pupils each, of whom only the band is known.

    Means lie evenly on [-``apart``, ``apart``], SDs on [1 - ``unlike``, 1 + ``unlike``], dealt so
    that they are unrelated to the means.
    """

    apart: float = 0.6
    unlike: float = 0.25
    number: int = 25

    def scale(self) -> tuple[Array, Array]:
        """Means and SDs, in SDs of all pupils around their mean."""
        mean = np.linspace(-self.apart, self.apart, self.number)
        sd = np.linspace(1 - self.unlike, 1 + self.unlike, self.number)
        sd = sd[(7 * np.arange(self.number)) % self.number]
        whole = np.sqrt(np.mean(mean**2) + np.mean(sd**2))
        return mean / whole, sd / whole

    def draw(self, rng: np.random.Generator, n: int) -> World:
        mean, sd = self.scale()
        county = np.repeat(np.arange(self.number), n)
        y = mean[county] + sd[county] * rng.normal(size=len(county))
        columns = {
            "pupil": np.arange(len(y)),
            "year": np.zeros(len(y), int),
            "band": np.searchsorted(CUTS, y),
            "county": county,
        }
        panel = ek.Panel.from_frame(
            columns,
            outcome="band",
            unit="pupil",
            time="year",
            categories=["county"],
            provenance="synthetic",
        )
        truth = {HIGHEST: mean.max(), LOWEST: mean.min(), WIDEST: sd.max(), NARROWEST: sd.min()}
        truth |= dict.fromkeys((RAW, CORRECTED), np.mean(mean**2))
        return World(panel, {k: {"population": float(v)} for k, v in truth.items()})


# --- Answers ------------------------------------------------------------------------------------

PAIR: dict[str, Any] = {"between": "group", "high": "high", "low": "low"}


def banded(panel: ek.Panel) -> ek.Panel:
    """The same pupils, of whom only the band is known."""
    return panel.with_outcome(np.searchsorted(CUTS, panel.y).astype(float))


def quantiles(panel: ek.Panel) -> Made:
    found = ek.gaps.quantile_gap(panel, at=list(QUANTILES.values()), **PAIR)
    return {name: found.select(quantile=p) for name, p in QUANTILES.items()}


def split(panel: ek.Panel) -> Made:
    found = ek.gaps.gap_split(panel, within="school", **PAIR)
    names = {TOTAL: "total", WITHIN: "within", BETWEEN: "between"}
    return {target: found.select(component=part) for target, part in names.items()}


def counties(number: int, sd: Array) -> Callable[[ek.Panel], Made]:
    """The groups at the ends, and the share between groups, from bands."""
    ends = {HIGHEST: (number - 1, "mean"), LOWEST: (0, "mean"),
            WIDEST: (int(sd.argmax()), "sd"), NARROWEST: (int(sd.argmin()), "sd")}  # fmt: skip

    def estimate(panel: ek.Panel) -> Made:
        fit = ek.gaps.hetop(panel, group="county", by=[])
        rows = {name: fit.estimate.select(county=county, statistic=what)
                for name, (county, what) in ends.items()}  # fmt: skip
        shares = {RAW: "raw", CORRECTED: "corrected"}
        return rows | {name: fit.icc.select(share=share) for name, share in shares.items()}

    return estimate


def judge(panel: ek.Panel, made: Made) -> Mapping[str, Answer]:
    """Intervals by `ek.infer`."""
    return {target: Answer.of(ek.infer(one)) for target, one in made.items()}


def asked(estimate: Callable[[ek.Panel], Made], designs: Iterable[str],
          sizes: tuple[int, ...]) -> Method:  # fmt: skip
    return Method(estimate, {"CR1": judge}, designs=tuple(designs), sizes=sizes)


SCHOOLS = {
    "even": ("groups of equal spread, schools alike", Schools()),
    "spreads": ("the low group varies more", Schools(spreads=(0.8, 1.2))),
    "sorted": ("the high group goes to better schools", Schools(within=0.3, apart=0.6)),
}
COUNTIES = {"counties": ("25 counties, by bands", Counties())}
DESIGNS = {name: Design(about, one.draw) for name, (about, one) in SCHOOLS.items()}
DESIGNS |= {name: Design(about, one.draw) for name, (about, one) in COUNTIES.items()}
PUPILS, ANY = (50, 500), (20, 50, 500)

GAPS = Study(
    "gaps",
    DESIGNS,
    {
        "standardised_gap": asked(
            lambda p: {D: ek.gaps.standardised_gap(p, **PAIR)}, SCHOOLS, PUPILS
        ),
        "quantile_gap": asked(quantiles, SCHOOLS, PUPILS),
        "ordinal_gap": asked(lambda p: {V: ek.gaps.ordinal_gap(p, **PAIR)}, SCHOOLS, PUPILS),
        "band_gap": asked(lambda p: {BANDS: ek.gaps.band_gap(banded(p), **PAIR)}, SCHOOLS, PUPILS),
        "gap_split": asked(split, SCHOOLS, PUPILS),
        "hetop": asked(counties(25, Counties().scale()[1]), COUNTIES, ANY),
    },
    sizes={20: 300, 50: 300, 500: 300},
)
