"""The study of value-added: variances, effects, ranks, noisy prior scores, forecasts, and the
effect of a measure on value-added, raw and shrunken. ``n`` counts schools, counties, teachers or
estimates, as the design says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Literal, TypeAlias

import numpy as np

import evalkit as ek
from simulations import schools
from simulations.schools import Followed, Schools, Table, Teachers
from simulations.study import Answer, Design, Judge, Method, Study

Array: TypeAlias = np.ndarray[Any, Any]
Answers: TypeAlias = Mapping[str, Answer]
Vcov: TypeAlias = Literal["CR1", "CR2"]
Units: TypeAlias = tuple[ek.Known, Array]

Z = 1.959963984540054  # normal quantile of a 95% interval
DRAWS = 2000  # of normal errors, in joint sets of ranks
BEST = 5
FEW, LARGE = (20,), (100,)  # sizes of methods that cost much, or need many units
HALF = 500  # draws of methods that take tens of milliseconds or more


def interval(value: Any, deviation: Any) -> Answer:
    """A normal interval around a value."""
    centre, sd = np.asarray(value, float), np.asarray(deviation, float)
    return Answer(centre, sd, centre - Z * sd, centre + Z * sd)


def inferred(made: ek.Estimate, *, vcov: Vcov = "CR1", tested: bool = True) -> Answer:
    """An interval, and a test of zero where zero is of interest, by contributions."""
    answer = Answer.of(ek.infer(made, vcov=vcov))
    return answer if tested else replace(answer, p_value=np.nan)


# --- Multilevel models --------------------------------------------------------------------------


def multilevel(panel: ek.Panel) -> Any:
    keys = [name for name in ("school", "county") if name in panel.categories]
    return ek.value_added.multilevel(panel, levels=keys)


def by_profile(panel: ek.Panel, fit: Any) -> Answers:
    """Intervals of variances by profile likelihood."""
    names = {"school": schools.BETWEEN, "county": schools.ABOVE, "residual": schools.WITHIN}
    return {
        names[row["level"]]: Answer(row["variance"], np.nan, row["low"], row["high"])
        for row in ek.profile(fit).to_dict("records")
    }


def by_model(panel: ek.Panel, fit: Any) -> Answers:
    """Intervals of predictions and of the slope under the model."""
    effects = fit.effects("school").sort_values("unit")
    slope = fit.coefficients.set_index("term").loc["before"]
    return {
        schools.EFFECTS: interval(effects["shrunken"], effects["prediction_sd"]),
        schools.COEFFICIENT: interval(slope["estimate"], slope["sd"]),
    }


# --- Estimates with known errors ----------------------------------------------------------------


def as_given(units: Units, known: ek.Known) -> Answers:
    return {schools.EFFECTS: interval(known.theta, np.sqrt(known.variance))}


def shrunken(units: Units, made: Any) -> Answers:
    return {schools.EFFECTS: Answer(made.value, made.std_error, made.low, made.high)}


def each_rank(units: Units, sets: Any) -> Answers:
    return {schools.RANK: Answer(sets.rank, np.nan, sets.low, sets.high)}


def together(units: Units, sets: Any) -> Answers:
    """How many units the sets miss: they hold together if none is missed."""
    rank = units[1]
    missed = float(((rank < sets.low) | (rank > sets.high)).sum())
    lost = float((~sets.among_best & (rank <= BEST)).sum())
    return {
        schools.ALL_RANKS: Answer(missed, np.nan, missed, np.inf),
        schools.BEST: Answer(lost, np.nan, lost, np.inf),
    }


def joint(units: Units) -> Any:
    return ek.ranks(units[0], simultaneous=True, best=BEST, draws=DRAWS)


def pulled_by(method: Any) -> Callable[[Units], Any]:
    return lambda units: ek.shrink(units[0], method=method)


# --- Noisy prior scores, forecasts, designs -----------------------------------------------------


def corrected(**errors: Any) -> Callable[[ek.Panel], ek.Estimate]:
    return lambda panel: ek.value_added.errors_in_variables(panel, on=["before"], **errors)


def slope(panel: ek.Panel, made: ek.Estimate) -> Answers:
    return {schools.COEFFICIENT: inferred(made)}


def forecast(panel: ek.Panel) -> Any:
    rooms = len(np.unique(panel.category("room").codes))
    classes = ("teacher", "time", "room") if rooms > 1 else None
    return ek.value_added.drift(panel, unit="teacher", classes=classes, on=["before"])


def foreseen(panel: ek.Panel, made: Any) -> Answers:
    """Intervals of the forecasts, and the tests that may speak against them."""
    answers = {
        schools.FORECAST: inferred(ek.value_added.forecast_test(made), tested=False),
        schools.SWITCHERS: inferred(ek.value_added.switchers(made, within="school"), tested=False),
        schools.PAST: inferred(ek.value_added.past_score_test(made, past="past")),
    }
    return {schools.FORECASTS: interval(made.forecast, made.error), **answers}


def raw(weights: Any) -> Callable[[Followed], ek.Estimate]:
    """The effect of the measure on raw value-added, by school and year."""

    def made(data: Followed) -> ek.Estimate:
        panel = ek.value_added.outcome(
            data.pupils, unit="school", cohort=data.start, weights=weights
        )
        return ek.did.two_way(panel)

    return made


def pulled(data: Followed) -> ek.Estimate:
    """The same on predictions, which evalkit refuses: the columns go around its door."""
    fit = ek.value_added.multilevel(data.pupils, levels=[("school", "time")])
    effects = fit.effects()
    school, year = np.array([label.split(" / ") for label in effects["unit"]], int).T
    columns = {
        "school": school,
        "year": year,
        "value": effects["shrunken"].to_numpy(),
        "start": [np.nan if data.start[s] is None else data.start[s] for s in school.tolist()],
    }
    panel = ek.Panel.from_frame(columns, outcome="value", unit="school", time="year",
                                cohort="start", provenance="synthetic")  # fmt: skip
    return ek.did.two_way(panel)


def att(vcov: Vcov) -> Judge:
    return lambda data, made: {schools.ATT: inferred(made, vcov=vcov)}


MODELS: Mapping[str, tuple[str, Schools]] = {
    "schools": ("normal effects of variance 0.15", Schools()),
    "skewed_schools": ("exponential effects of the same variance", Schools(shape="skewed")),
    "alike": ("schools do not differ", Schools(variance=0.0)),
    "counties": ("six schools in each county, which differ by 0.02", Schools(county=0.02)),
    "alike_counties": ("six schools in each county; counties are alike", Schools(county=0.0)),
}
TABLES: Mapping[str, tuple[str, Table]] = {
    "table": ("normal effects", Table()),
    "skewed_table": ("exponential effects", Table("skewed")),
    "spike_table": ("nine in ten effects are zero", Table("spike")),
    "equal_table": ("all effects are equal", Table(spread=0.0)),
}
DRIFTING: Mapping[str, tuple[str, Teachers]] = {
    "drift": ("one class a year, no shocks", Teachers()),
    "drift_classes": ("two classes a year with shocks", Teachers(classes=2, shocks=0.05)),
}
WORLDS: Mapping[str, tuple[str, Schools | Table | Teachers]] = {**MODELS, **TABLES, **DRIFTING}
DESIGNS = {
    **{name: Design(about, world.draw) for name, (about, world) in WORLDS.items()},
    "noisy_prior": Design("a prior score of reliability 0.8", schools.noisy_prior),
    "adopting": Design("half of the schools adopt a measure", schools.adopting),
}
SPREAD = tuple(name for name in TABLES if name != "equal_table")
EIV: Mapping[str, Mapping[str, Any]] = {
    "errors ignored": {},
    "reliability": {"reliability": {"before": 0.8}},
    "standard errors of measurement": {"csem": {"before": "csem"}},
}
CR: Mapping[str, Judge] = {"CR1": att("CR1"), "CR2": att("CR2")}
METHODS = {
    "multilevel": Method(
        multilevel,
        {"profile": by_profile, "model": by_model},
        designs=tuple(name for name, (_, world) in MODELS.items() if world.county is None),
        only={"model": ("schools", "skewed_schools")},
        draws=HALF,
    ),
    "three levels": Method(
        multilevel,
        {"profile": by_profile, "model": by_model},
        designs=tuple(name for name, (_, world) in MODELS.items() if world.county is not None),
        sizes=LARGE,
        only={"model": ("counties",)},
        draws=250,
    ),
    "estimates": Method(lambda units: units[0], {"normal": as_given}, designs=SPREAD),
    **{
        f"shrink {method}": Method(
            pulled_by(method),
            {"robust" if method == "robust" else "normal": shrunken},
            designs=SPREAD,
            sizes=FEW if method == "robust" else None,
            draws=200 if method == "robust" else None,
        )
        for method in ("reml", "moments", "robust")
    },
    "ranks": Method(
        lambda units: ek.ranks(units[0]), {"marginal": each_rank}, designs=tuple(TABLES),
        sizes=FEW, draws=HALF,
    ),
    "joint ranks": Method(
        joint, {"simultaneous": together}, designs=tuple(TABLES), sizes=FEW, draws=HALF
    ),
    **{
        name: Method(corrected(**errors), {"CR1": slope}, designs=("noisy_prior",))
        for name, errors in EIV.items()
    },
    "forecasts": Method(
        forecast, {"CR1": foreseen}, designs=tuple(DRIFTING), sizes=LARGE, draws=HALF
    ),
    **{
        f"raw, {weights} weights": Method(raw(weights), CR, designs=("adopting",), draws=HALF)
        for weights in ("row", "equal")
    },
    "shrunken": Method(pulled, CR, designs=("adopting",), draws=HALF),
}  # fmt: skip

VALUE_ADDED = Study("value_added", DESIGNS, METHODS, sizes={20: 1000, 100: 1000})
