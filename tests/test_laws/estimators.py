"""The estimators that the laws are held over. A new estimator joins with one line in ``CASES``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

import evalkit as ek
from evalkit.core.estimate import Estimate
from evalkit.core.panel import Panel
from panels import START

ALL = ("balanced", "text", "unbalanced", "clustered", "weighted", "unit_weighted", "staggered")
PLAIN = ("balanced", "text", "clustered", "unit_weighted")
VARIANT = ("balanced", "weighted", "staggered")  # enough for another form of the same design
BOTH = ("unit", "time")


@dataclass(frozen=True)
class Case:
    """An estimator and what the laws may ask of it.

    ``panels`` names recipes of ``panels.py``. ``absorbs`` says whether effects of units and of
    periods cancel. ``degree`` is the power of c by which theta grows when the outcome is multiplied
    by c: one number, one per coordinate, or None if it grows by no power. ``block`` gives rows to
    which c is added and what that does to theta: ``(panel, estimate) -> (direction (n,),
    shift (k,))``; None if the law has no such form. ``towns`` is how many make leverage small
    enough for the jackknife; ``exact`` is False where psi takes estimated weights as given, and the
    jackknife does not; ``copies`` is False where a published tuning parameter counts units, or
    where a copy of a row would have to be a new draw of its measurement error.
    ``linear`` says that ``weights.T @ y == theta``; ``design``, that CR2 and CR3 exist.
    """

    name: str
    run: Callable[[Panel], Estimate]
    panels: tuple[str, ...] = ALL
    absorbs: tuple[str, ...] = BOTH
    linear: bool = True
    design: bool = True
    degree: float | tuple[float, ...] | None = 1.0
    block: Callable[[Panel, Estimate], tuple[Any, Any]] | None = None
    towns: int = 120
    exact: bool = True
    copies: bool = True


def treated(panel: Panel, estimate: Estimate) -> tuple[Any, Any]:
    """c added to treated rows moves effects after adoption by c and nothing before."""
    events = estimate.index.keys
    return panel.treated, np.array([float(key[0] == "treated x post" or (
        not isinstance(key[0], str) and key[0] >= 0)) for key in events])  # fmt: skip


def staged(panel: Panel, estimate: Estimate) -> tuple[Any, Any]:
    """c added to treated rows moves cells after adoption by c and placebo cells not at all."""
    return panel.treated, np.array([float(t - g >= 0) for g, t in estimate.index.keys])


def constant(panel: Panel, estimate: Estimate) -> tuple[Any, Any]:
    """c added to treated rows moves the constant of a projection by c and no slope."""
    return panel.treated, np.array([float(key[0] == "constant") for key in estimate.index.keys])


def after_the_pick(panel: Panel, estimate: Estimate) -> tuple[Any, Any]:
    """c added to treated rows moves what is seen after adoption and its rest, not the pick."""
    keys = estimate.index.keys
    return panel.treated, np.array([float(part != "pick" and event >= 0) for part, event in keys])


def every_pair(panel: Panel, estimate: Estimate) -> tuple[Any, Any]:
    """c added to treated rows moves every comparison by c: its control does not change."""
    return panel.treated, np.ones(len(estimate))


def nothing_before(panel: Panel, estimate: Estimate) -> tuple[Any, Any]:
    """c added to treated rows moves no lead."""
    return panel.treated, np.zeros(len(estimate))


def by_cohort(panel: Panel, estimate: Estimate) -> tuple[Any, Any]:
    """c added to treated rows moves the effect on every cohort by c."""
    return panel.treated, np.ones(len(estimate))


def eligible(panel: Panel, estimate: Estimate) -> tuple[Any, Any]:
    """c added to the treated eligible moves their level and the difference from adoption on."""
    shift = [float(side != "ineligible" and t - g >= 0) for side, g, t in estimate.index.keys]
    return panel.treated * (panel.category("seat").codes == 1), np.array(shift)


def some_dose(panel: Panel, estimate: Estimate) -> tuple[Any, Any]:
    """c added to units with a dose moves levels of the curve by c and no slope."""
    after = panel.clock[panel.time] >= START
    shift = [float(key[0] == "ATT") for key in estimate.index.keys]
    return np.isfinite(panel.cohort)[panel.unit] * after, np.array(shift)


def dosed(panel: Panel, estimate: Estimate) -> tuple[Any, Any]:
    """c times the dose added after the start moves slopes from then on by c."""
    after = panel.clock[panel.time] >= START
    shift = [float(key[0] == "dose x post" or (not isinstance(key[0], str) and key[0] >= START))
             for key in estimate.index.keys]  # fmt: skip
    return panel.dose[panel.unit] * after, np.array(shift)


def regressor(name: str) -> Callable[[Panel, Estimate], tuple[Any, Any]]:
    """c times a regressor added to the outcome moves its coefficient by c."""
    return lambda panel, estimate: (
        panel.column(name),
        np.array([float(key[0] == name) for key in estimate.index.keys]),
    )


def exposed(panel: Panel, estimate: Estimate) -> tuple[Any, Any]:
    """c times the exposure moves the effect by c, and the reduced form by c first stages."""
    return panel.column("money"), np.array([1.0, estimate.theta[2], 0.0])


def urban(panel: Panel, estimate: Estimate) -> tuple[Any, Any]:
    """c added to the high group moves every gap by c."""
    group = panel.category("group")
    return (group.labels[group.codes] == "urban").astype(float), np.ones(len(estimate))


def in_units_of_two(panel: Panel, estimate: Estimate) -> tuple[Any, Any]:
    """c added to the high group moves a gap in units of two by c / 2."""
    direction, shift = urban(panel, estimate)
    return direction, shift / 2


def not_between(panel: Panel, estimate: Estimate) -> tuple[Any, Any]:
    """c added to the high group of every school moves the gap within, and not that between."""
    shift = [float(part != "between") for *_, part in estimate.index.keys]
    return urban(panel, estimate)[0], np.array(shift)


def everybody(panel: Panel, estimate: Estimate) -> tuple[Any, Any]:
    """c added to everybody moves every mean by c."""
    return np.ones(len(panel.y)), np.ones(len(estimate))


def unmoved(panel: Panel, estimate: Estimate) -> tuple[Any, Any]:
    """c added to everybody moves no spread."""
    return np.ones(len(panel.y)), np.zeros(len(estimate))


def _iv(panel: Panel, **options: Any) -> Estimate:
    return ek.did.regression(
        panel, on=["x", "endogenous"], instruments=["z"], endogenous=["endogenous"], **options
    )


def _triple(panel: Panel, **options: Any) -> Estimate:
    return ek.did.triple_difference(panel, eligible="seat", **options)


def _share(panel: Panel) -> Estimate:
    """Outcomes of about fifty as if they were percentages."""
    return ek.did.extended_two_way(panel.with_outcome(panel.y / 100), family="logit")


def _curve(panel: Panel) -> Estimate:
    dose = np.where(np.isfinite(panel.cohort), 0.5 + np.arctan(panel.dose) / np.pi, 0.0)
    return ek.did.dose_curve(replace(panel, dose=dose), start=START, at=[0.3, 0.5], degree=1)


def _several(panel: Panel) -> Estimate:
    """The panel's own adoption, and a second measure that seats take a year later."""
    first = dict(zip(panel.units.tolist(), panel.cohort.tolist(), strict=True))
    seats = panel.units[np.unique(panel.unit[panel.category("seat").codes == 1])].tolist()
    second = {unit: first[unit] + 1 for unit in seats}
    return ek.did.several_measures(panel, starts={"law": first, "money": second}, by="measure")


def _banded(panel: Panel) -> Panel:
    """The quarter of all rows that a row is in, as its outcome."""
    return panel.with_outcome(np.searchsorted(np.quantile(panel.y, [0.25, 0.5, 0.75]), panel.y))


def _apart(panel: Panel) -> Panel:
    """Counties whose outcomes differ: near equality between them nothing is of first order."""
    return panel.with_outcome(panel.y * (1 + 0.2 * panel.category("county").codes))


def _entropy(panel: Panel, metric: str) -> Estimate:
    return ek.gaps.inequality(_apart(panel), metric=metric, within="county", by=[])


def _stocked(panel: Panel) -> Panel:
    """Schools whose books and rooms follow the outcome."""
    stock = np.stack([panel.y, panel.y**2], axis=1)
    return replace(panel, x=stock, names=("books", "rooms"))


STOCK = ek.standards.Standard(
    "law", "", "", tuple(ek.standards.Indicator(n, n, n, n) for n in ("books", "rooms")),
    {"primary": 0.5}, True, "made up",
)  # fmt: skip
SIDES = {"between": "group", "high": "urban", "low": "rural"}
DATED = (*ALL, "windows")
STEADY = tuple(name for name in DATED if name != "weighted")  # one weight per unit
COHORTS = (*PLAIN, "staggered", "windows")
EQUAL = {"unit_weights": "uniform", "time_weights": "uniform"}
COUNTY_YEAR = ("unit", ("county", "time"))

EFFECTS = [
    Case("regression", lambda p: ek.did.regression(p, on=["x", "money"]), block=regressor("x")),
    Case("regression pooled", lambda p: ek.did.regression(p, on=["x"], absorb=()), absorbs=(),
         block=regressor("x")),
    Case("regression by year", lambda p: ek.did.regression(p, on=["x"], by_time=["base"]),
         VARIANT, block=regressor("x")),
    Case("two-stage", _iv, design=False, block=regressor("endogenous")),
    Case("two by two", lambda p: ek.did.two_by_two(p), PLAIN, linear=False, design=False,
         block=treated),
    Case("two by two with gaps", lambda p: ek.did.two_by_two(p), ("unbalanced",), ("unit",),
         linear=False, design=False, block=treated),
    Case("two-way", lambda p: ek.did.two_way(p), DATED, block=treated),
    Case("two-way with controls", lambda p: ek.did.two_way(p, covariates=["x"], by_time=["base"]),
         VARIANT, block=treated),
    Case("two-way county by year", lambda p: ek.did.two_way(p, absorb=COUNTY_YEAR),
         VARIANT, block=treated),
    Case("event study", lambda p: ek.did.event_study(p), DATED, block=treated),
    Case("event study with controls", lambda p: ek.did.event_study(p, covariates=["x"]),
         VARIANT, block=treated),
    Case("Callaway-Sant'Anna", lambda p: ek.did.callaway_santanna(p), STEADY, design=False,
         block=staged),
    Case("Callaway-Sant'Anna, not yet treated",
         lambda p: ek.did.callaway_santanna(p, control="not_yet", base="universal"), STEADY,
         design=False, block=staged),
    Case("Callaway-Sant'Anna, doubly robust",
         lambda p: ek.did.callaway_santanna(p, covariates=["base"]), STEADY, linear=False,
         design=False, block=staged),
    Case("Callaway-Sant'Anna, improved",
         lambda p: ek.did.callaway_santanna(p, covariates=["base"], method="dr_improved"),
         ("balanced", "clustered", "unbalanced", "windows"), linear=False, design=False,
         block=staged),
    Case("Callaway-Sant'Anna, regression",
         lambda p: ek.did.callaway_santanna(p, covariates=["z"], method="reg"), STEADY,
         linear=False, design=False, block=staged),
    Case("Callaway-Sant'Anna, weighting",
         lambda p: ek.did.callaway_santanna(p, covariates=["z"], method="ipw"), STEADY,
         linear=False, design=False, block=staged),
    Case("Callaway-Sant'Anna from records",
         lambda p: ek.did.callaway_santanna(p, unbalanced="records"), absorbs=("time",),
         design=False, block=staged),
    Case("imputation", lambda p: ek.did.imputation(p), DATED, design=False, block=staged),
    Case("imputation with a covariate", lambda p: ek.did.imputation(p, covariates=["z"]),
         design=False, block=staged),
    Case("imputation with unit trends", lambda p: ek.did.imputation(p, trends=True),
         design=False, block=staged),
    Case("imputation, projected",
         lambda p: ek.did.imputation(p, project=["base", "seat"]), DATED, design=False,
         block=constant, towns=240),
    Case("several measures", _several, (*PLAIN, "staggered"), design=False),
    Case("Sun-Abraham", lambda p: ek.did.sun_abraham(p), DATED, block=staged),
    Case("extended two-way", lambda p: ek.did.extended_two_way(p), DATED, block=staged),
    Case("extended two-way, Poisson", lambda p: ek.did.extended_two_way(p, family="poisson"), DATED,
         (), linear=False, design=False, block=staged),
    Case("extended two-way, Poisson, covariates",
         lambda p: ek.did.extended_two_way(p, family="poisson", baseline=["base"]), VARIANT, (),
         linear=False, design=False, block=staged),
    Case("extended two-way, logit", _share, DATED, (), linear=False, design=False, degree=None,
         block=lambda p, e: (p.treated, staged(p, e)[1] / 100)),
    Case("imputation pre-trends", lambda p: ek.did.imputation_pretrends(p, leads=1), DATED,
         block=nothing_before),
    Case("Callaway-Sant'Anna, seen in every period",
         lambda p: ek.did.callaway_santanna(p, unbalanced="balanced"), PLAIN, design=False,
         block=staged),
    Case("Goodman-Bacon", lambda p: ek.did.bacon(p), (*PLAIN, "staggered"), design=False,
         block=every_pair),
    Case("extended two-way, covariates", lambda p: ek.did.extended_two_way(p, baseline=["base"]),
         VARIANT, linear=False, design=False, block=staged),
    Case("triple difference", _triple, (*PLAIN, "staggered"), design=False, block=eligible),
    Case("triple difference with gaps", _triple, ("unbalanced", "windows"), linear=False,
         design=False, block=eligible, towns=240),
    Case("triple difference, not yet", lambda p: _triple(p, control="not_yet"), ("staggered",),
         linear=False, design=False, block=eligible, exact=False),
    Case("triple difference, covariates", lambda p: _triple(p, covariates=["base"], method="reg"),
         PLAIN, linear=False, design=False, block=eligible, towns=240),
    Case("triple difference, doubly robust", lambda p: _triple(p, covariates=["base"]),
         ("balanced", "text"), linear=False, design=False, block=eligible, towns=480),
    Case("dose curve", _curve, (*PLAIN, "staggered"), design=False, block=some_dose),
    Case("dose curve with gaps", _curve, ("unbalanced",), ("unit",), design=False,
         block=some_dose),
    Case("synthetic did, uniform", lambda p: ek.did.synthetic_did(p, **EQUAL), COHORTS,
         design=False, block=by_cohort),
    Case("synthetic did", lambda p: ek.did.synthetic_did(p), COHORTS, ("unit",), linear=False,
         design=False, copies=False, block=by_cohort),
    Case("synthetic did, covariates", lambda p: ek.did.synthetic_did(p, covariates=["x"]), COHORTS,
         ("unit",), linear=False, design=False, copies=False, block=by_cohort),
    Case("synthetic control", lambda p: ek.did.synthetic_control(p), COHORTS, ("time",),
         linear=False, design=False, exact=False, block=by_cohort),
    Case("synthetic control, ridge", lambda p: ek.did.synthetic_control(p, ridge=1.0), COHORTS,
         ("time",), linear=False, design=False, exact=False, block=by_cohort),
    Case("dose event study", lambda p: ek.did.dose_event_study(p, reference=START - 1),
         block=dosed),
    Case("dose event study county by year",
         lambda p: ek.did.dose_event_study(p, reference=START - 1, absorb=COUNTY_YEAR),
         VARIANT, block=dosed),
    Case("dose response", lambda p: ek.did.dose_response(p, start=START, by_time=["base"]),
         block=dosed),
    Case("dose iv", lambda p: ek.did.dose_iv(p, exposure="money", start=START), linear=False,
         design=False, degree=(1.0, 1.0, 0.0), block=exposed),
]  # fmt: skip
VALUE_ADDED = [
    Case("fixed effects of counties",
         lambda p: ek.value_added.fixed(p, effect="county", on=["x"]), absorbs=(), block=unmoved),
    Case("fixed effects, errors in variables",
         lambda p: ek.value_added.fixed(p, effect="county", on=["x", "z"], reliability={"x": 0.8}),
         VARIANT, absorbs=(), linear=False, design=False, copies=False, block=unmoved),
    Case("errors in variables",
         lambda p: ek.value_added.errors_in_variables(p, on=["x", "z"], reliability={"x": 0.8}),
         absorbs=(), design=False, block=regressor("z")),
    Case("errors in variables within units",
         lambda p: ek.value_added.errors_in_variables(
             p, on=["x", "z"], reliability={"x": 0.9}, within="unit"),
         VARIANT, absorbs=("unit",), design=False, copies=False, block=regressor("z")),
    Case("progress by bands",
         lambda p: ek.value_added.progress(p, effect="county", prior="base", bands=3).estimate,
         absorbs=(), linear=False, design=False, exact=False, block=unmoved),
]  # fmt: skip
GAPS = [
    Case("gap", lambda p: ek.gaps.gap(p, between="group", high="urban", low="rural"),
         absorbs=("time",), linear=False, design=False, block=urban),
    Case("ratio of means", lambda p: ek.gaps.gap(p, metric="ratio", **SIDES), VARIANT, absorbs=(),
         linear=False, design=False, degree=0.0),
    Case("ratio of variances", lambda p: ek.gaps.gap(p, metric="log_variance_ratio", **SIDES),
         VARIANT, absorbs=("time",), linear=False, design=False, degree=0.0, copies=False),
    Case("standardised gap", lambda p: ek.gaps.standardised_gap(p, **SIDES), absorbs=("time",),
         linear=False, design=False, degree=0.0, copies=False),
    Case("standardised gap, everybody's spread",
         lambda p: ek.gaps.standardised_gap(p, scale="total", small_sample=True, **SIDES), VARIANT,
         absorbs=("time",), linear=False, design=False, degree=0.0, copies=False),
    Case("standardised gap, one group's spread",
         lambda p: ek.gaps.standardised_gap(p, scale="low", **SIDES), VARIANT, absorbs=("time",),
         linear=False, design=False, degree=0.0, copies=False, towns=240),
    Case("standardised gap, known spread",
         lambda p: ek.gaps.standardised_gap(p, scale=2.0, **SIDES), VARIANT, absorbs=("time",),
         linear=False, design=False, block=in_units_of_two),
    Case("quantile gap", lambda p: ek.gaps.quantile_gap(p, at=[0.25, 0.5], **SIDES), VARIANT,
         absorbs=("time",), linear=False, design=False, block=urban, exact=False, copies=False),
    Case("ordinal gap", lambda p: ek.gaps.ordinal_gap(p, **SIDES), absorbs=("time",), linear=False,
         design=False, degree=0.0),
    Case("probability to outscore",
         lambda p: ek.gaps.ordinal_gap(p, metric="probability", **SIDES), VARIANT,
         absorbs=("time",), linear=False, design=False, degree=0.0),
    Case("gap of bands", lambda p: ek.gaps.band_gap(_banded(p), by=[], **SIDES), VARIANT,
         absorbs=(), linear=False, design=False, degree=0.0, exact=False),
    Case("ordered probit",
         lambda p: ek.gaps.hetop(_banded(p), group="county", by=[]).estimate, VARIANT, absorbs=(),
         linear=False, design=False, degree=0.0, exact=False),
    Case("split of a gap", lambda p: ek.gaps.gap_split(p, within="county", by=[], **SIDES),
         absorbs=(), linear=False, design=False, block=not_between, exact=False),
    Case("gradient", lambda p: ek.gaps.gradient(p, along="base"), VARIANT, absorbs=("time",),
         linear=False, design=False, block=unmoved, towns=240),
    Case("gradient, straight", lambda p: ek.gaps.gradient(p, along="base", degree=1), VARIANT,
         absorbs=("time",), linear=False, design=False, block=unmoved),
    Case("Theil's L", lambda p: _entropy(p, "theil_l"), VARIANT, absorbs=(), linear=False,
         design=False, degree=0.0),
    Case("Theil's T", lambda p: _entropy(p, "theil_t"), VARIANT, absorbs=(), linear=False,
         design=False, degree=0.0),
    Case("entropy of order two", lambda p: _entropy(p, "ge2"), VARIANT, absorbs=(), linear=False,
         design=False, degree=0.0),
    Case("Gini", lambda p: ek.gaps.inequality(p, metric="gini"), VARIANT, absorbs=(),
         linear=False, design=False, degree=0.0),
    Case("difference rate",
         lambda p: ek.gaps.difference_rate(p, school="unit", readings=["cv_means"]), VARIANT,
         absorbs=(), linear=False, design=False, degree=0.0),
    Case("balance", lambda p: ek.gaps.balance(_stocked(p), standard=STOCK, by="time"), VARIANT,
         absorbs=(), linear=False, design=False, degree=0.0),
    Case("mean", lambda p: ek.gaps.spread(p, metric="mean"), VARIANT, absorbs=(), linear=False,
         design=False, block=everybody),
    Case("spread", lambda p: ek.gaps.spread(p, metric="sd"), absorbs=("time",), linear=False,
         design=False, block=unmoved),
    Case("relative spread", lambda p: ek.gaps.spread(p, metric="cv"), VARIANT, absorbs=(),
         linear=False, design=False, degree=0.0),
]  # fmt: skip
SENSITIVITY = [
    Case("Oster", lambda p: ek.oster(p, covariates=["x"]), VARIANT, linear=False, design=False,
         degree=(1.0, 1.0, 1.0, 0.0), towns=480),
    Case("regression to the mean", lambda p: ek.mean_reversion(p), PLAIN, absorbs=("time",),
         linear=False, design=False, block=after_the_pick),
]  # fmt: skip
CASES = [*EFFECTS, *VALUE_ADDED, *GAPS, *SENSITIVITY]
