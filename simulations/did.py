"""The study of difference-in-differences: designs, estimators and how their errors are judged."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Literal, TypeAlias

import evalkit as ek
from evalkit.inference.resample import Resampled
from simulations.study import Answer, Design, Method, Study
from simulations.worlds import AVERAGE, LEVEL, ON, SLOPE, TWO_AFTER, TWO_BEFORE, Dose, Setting

Made: TypeAlias = Mapping[str, ek.Estimate]  # by target
Estimator: TypeAlias = Callable[[ek.Panel], ek.Estimate]
Judge: TypeAlias = Callable[[ek.Panel, Made], Mapping[str, Answer]]

LARGE = 60  # units above which CR2 and CR3 are left out for their cost
START = 5  # of the reform in the designs with a dose

GROWS = Setting(level=(0.2, 0.2, 0.2), growth=(0.15, 0.15, 0.15), spread=0.2)
DIFFERS = Setting(level=(0.6, 0.4, 0.2), growth=(0.2, 0.1, 0.0), spread=0.2)
DRIFTS = Setting(drift=0.05, slopes=0.05)

ABSORBING: Mapping[str, tuple[str, Setting]] = {
    "homogeneous": ("one effect for all, at once", Setting()),
    "dynamic": ("the effect grows with time since adoption", GROWS),
    "cohort_heterogeneous": ("early adopters gain more, and ever more", DIFFERS),
    "anticipation": ("half of the effect shows a period early", Setting(early=0.5)),
    "independent_errors": ("as homogeneous, errors without memory", Setting(serial=0.0)),
    "persistent_errors": ("as homogeneous, errors that hardly fade", Setting(serial=0.95)),
    "violated_trends": ("adopters drift upwards anyway", DRIFTS),
    "few_clusters": ("twelve clusters adopt as one and share shocks", Setting(clusters=12)),
    "covariate_trends": (
        "a covariate moves both adoption and trends",
        Setting(selection=1.0, pull=1.0),
    ),
    "reversals": ("half of the adopters stop after three periods", replace(GROWS, stops=0.5)),
    "unbalanced": ("as cohort_heterogeneous, 15% of rows lost", replace(DIFFERS, missing=0.15)),
    "weighted": ("as cohort_heterogeneous, units of unlike size", replace(DIFFERS, weights=0.5)),
    "few_treated": (
        "three adopters, at one date",
        Setting(treated=3, starts=(6,), level=(0.5,), growth=(0.0,)),
    ),
}
OTHER: Mapping[str, tuple[str, Setting | Dose]] = {
    "shared_trends": (
        "adopters drift, eligible or not; only the eligible gain",
        replace(DRIFTS, eligible=True),
    ),
    "dose": ("every unit of dose adds the same", Dose()),
    "dose_selected": ("who takes more gains more from any dose", Dose(selected=0.5)),
}
PROVINCE = 136  # units, as many as a province has counties
DESIGNS = {
    name: Design(about, setting.draw, setting.facts)
    for name, (about, setting) in {**ABSORBING, **OTHER}.items()
}


# --- Answers ------------------------------------------------------------------------------------


def judged(vcov: Literal["CR1", "CR2", "CR3"]) -> Judge:
    """Intervals and tests by `ek.infer`, also those that it withholds unless they are asked for.

    CR2 and CR3, which cost more, in panels of few units.
    """

    def judge(panel: ek.Panel, made: Made) -> Mapping[str, Answer]:
        if vcov != "CR1" and panel.n_units > LARGE:
            return {}
        found = {id(one): ek.infer(one, vcov=vcov, few="show") for one in made.values()}
        return {target: Answer.of(found[id(one)]) for target, one in made.items()}

    return judge


def resampled(found: Resampled, p_value: float) -> Answer:
    row = found.table.iloc[0]
    names = ("estimate", "std_error", "conf_low", "conf_high")
    estimate, error, low, high = (float(row[name]) for name in names)
    return Answer(estimate, error, low, high, p_value)


def placebo(panel: ek.Panel, made: Made) -> Mapping[str, Answer]:
    """Placebo adoptions: a normal interval, and a test by rank."""
    found = ek.placebo(panel, synthetic, seed=1, draws=AGAIN)
    return {AVERAGE: resampled(found, float(found.table["rank_p_value"].iloc[0]))}


def bootstrap(panel: ek.Panel, made: Made) -> Mapping[str, Answer]:
    """Units drawn with replacement, weights fitted anew in each draw."""
    found = ek.bootstrap(panel, synthetic, seed=1, draws=AGAIN)
    return {AVERAGE: resampled(found, float(found.table["p_value"].iloc[0]))}


def jackknife(panel: ek.Panel, made: Made) -> Mapping[str, Answer]:
    """Each unit left out in turn, with the weights of the whole panel."""
    pinned = ek.did.SyntheticWeights.behind(made[AVERAGE])

    def again(part: ek.Panel) -> ek.Estimate:
        return ek.aggregate(ek.did.synthetic_did(part, pinned=pinned))

    found = ek.jackknife(panel, again)
    return {AVERAGE: resampled(found, float(found.table["p_value"].iloc[0]))}


CR1: Mapping[str, Judge] = {"CR1": judged("CR1")}
CLUSTERED: Mapping[str, Judge] = {"CR1": judged("CR1"), "CR2": judged("CR2"), "CR3": judged("CR3")}


# --- Estimators ---------------------------------------------------------------------------------


def staggered(cells: ek.Estimate) -> Made:
    """Averages of group-time effects: over all treated observations, and by event time."""
    average = ek.aggregate(cells)
    return {AVERAGE: average, ON: average, **by_event(ek.aggregate(cells, by="event"))}


def by_event(events: ek.Estimate) -> Made:
    """The event times that are compared, as far as the estimate has them."""
    wanted = {TWO_AFTER: 2, TWO_BEFORE: -2}
    seen = events.index.level("event")
    return {target: events.select(event=e) for target, e in wanted.items() if e in seen}


def two_way(panel: ek.Panel, by_time: Sequence[str] = ()) -> Made:
    return dict.fromkeys((AVERAGE, ON), ek.did.two_way(panel, by_time=by_time))


def synthetic(panel: ek.Panel) -> ek.Estimate:
    return ek.aggregate(ek.did.synthetic_did(panel))


def until_stop(panel: ek.Panel) -> ek.Panel:
    """Without what was observed after a unit stopped."""
    return panel.where((panel.treated == 0) | (panel.column("on") == 1))


def by_count(panel: ek.Panel) -> Made:
    """Group-time effects until the stop, weighted by the units that are still treated."""
    cells = ek.did.callaway_santanna(until_stop(panel))
    assert cells.counts is not None
    cohort, time = cells.index.level("cohort"), cells.index.level("time")
    after = cells.take([k for k, (g, t) in enumerate(zip(cohort, time, strict=True)) if t >= g])
    assert after.counts is not None
    weights = dict(zip(after.index.keys, after.counts[:, 0], strict=True))
    return {ON: ek.aggregate(after, weights=weights)}


def per_period(panel: ek.Panel) -> list[str]:
    """The columns of the covariate in each period."""
    return [name for name in panel.names if name[0] == "x" and name != "x"]


def triple(panel: ek.Panel) -> Made:
    cells = ek.did.triple_difference(panel, eligible="eligible", value=True)
    return staggered(cells.select(side="difference"))


def curve(panel: ek.Panel) -> Made:
    found = ek.did.dose_curve(panel, start=START, degree=1).select(dose="average")
    return {LEVEL: found.select(parameter="ATT"), SLOPE: found.select(parameter="ACRT")}


def by_dose(panel: ek.Panel) -> Made:
    slopes = ek.did.dose_event_study(panel, reference=START - 1)
    return {SLOPE: ek.aggregate(slopes.select(time=lambda t: t >= START))}


SAMPLE = ("sample", "population")  # imputation's intervals are for the observations at hand
BASIC = tuple(ABSORBING)
SMALL = dict.fromkeys(("CR2", "CR3"), ("homogeneous", "few_clusters", "few_treated"))
COVARIATE = ("homogeneous", "covariate_trends")
DOSE = ("dose", "dose_selected")
AGAIN = 100  # estimates in one draw of a method that resamples
FEWER = 200  # draws of such a method

METHODS = {
    "two_way": Method(two_way, CLUSTERED, designs=BASIC, only=SMALL),
    "event_study": Method(lambda p: by_event(ek.did.event_study(p)), CR1, designs=BASIC),
    "callaway_santanna": Method(
        lambda p: staggered(ek.did.callaway_santanna(p)), CR1, designs=BASIC
    ),
    "callaway_santanna_not_yet": Method(
        lambda p: staggered(ek.did.callaway_santanna(p, control="not_yet")), CR1, designs=BASIC
    ),
    "sun_abraham": Method(lambda p: staggered(ek.did.sun_abraham(p)), CR1, designs=BASIC),
    "extended_two_way": Method(lambda p: staggered(ek.did.extended_two_way(p)), CR1, designs=BASIC),
    "imputation": Method(
        lambda p: staggered(ek.did.imputation(p)), CR1, truths=SAMPLE, designs=BASIC
    ),
    "two_by_two": Method(lambda p: {AVERAGE: ek.did.two_by_two(p)}, CR1, designs=("few_treated",)),
    "imputation_sampled": Method(
        lambda p: staggered(ek.did.imputation(p, treated="sampled")), CR1, designs=BASIC
    ),
    "synthetic_did": Method(
        lambda p: dict.fromkeys((AVERAGE, ON), synthetic(p)), CR1, designs=BASIC
    ),
    "synthetic_control": Method(
        lambda p: dict.fromkeys((AVERAGE, ON), ek.aggregate(ek.did.synthetic_control(p))),
        CR1,
        designs=BASIC,
    ),
    # Covariates.
    "two_way_covariate": Method(lambda p: two_way(p, ["x"]), CR1, designs=COVARIATE),
    "callaway_santanna_dr": Method(
        lambda p: staggered(ek.did.callaway_santanna(p, covariates=["x"])), CR1, designs=COVARIATE
    ),
    "callaway_santanna_dr_improved": Method(
        lambda p: staggered(ek.did.callaway_santanna(p, covariates=["x"], method="dr_improved")),
        CR1,
        designs=COVARIATE,
    ),
    "callaway_santanna_ipw": Method(
        lambda p: staggered(ek.did.callaway_santanna(p, covariates=["x"], method="ipw")),
        CR1,
        designs=COVARIATE,
    ),
    "callaway_santanna_reg": Method(
        lambda p: staggered(ek.did.callaway_santanna(p, covariates=["x"], method="reg")),
        CR1,
        designs=COVARIATE,
    ),
    "extended_two_way_covariate": Method(
        lambda p: staggered(ek.did.extended_two_way(p, baseline=["x"])), CR1, designs=COVARIATE
    ),
    "imputation_covariate": Method(
        lambda p: staggered(ek.did.imputation(p, covariates=per_period(p))),
        CR1,
        truths=SAMPLE,
        designs=("covariate_trends",),
    ),
    # An assumption told to the estimator.
    "callaway_santanna_anticipation": Method(
        lambda p: staggered(ek.did.callaway_santanna(p, anticipation=1)),
        CR1,
        designs=("homogeneous", "anticipation"),
    ),
    "sun_abraham_anticipation": Method(
        lambda p: staggered(ek.did.sun_abraham(p, reference=-2)),
        CR1,
        designs=("homogeneous", "anticipation"),
    ),
    "imputation_trends": Method(
        lambda p: staggered(ek.did.imputation(p, trends=True)),
        CR1,
        truths=SAMPLE,
        designs=("homogeneous", "violated_trends"),
    ),
    # Treatment that stops.
    "regression_on": Method(
        lambda p: {ON: ek.did.regression(p, on=["on"])}, CR1, designs=("reversals",)
    ),
    "callaway_santanna_until_stop": Method(by_count, CR1, designs=("reversals",)),
    "imputation_until_stop": Method(
        lambda p: {ON: ek.aggregate(ek.did.imputation(until_stop(p)))},
        CR1,
        truths=SAMPLE,
        designs=("reversals",),
    ),
    # A second difference, a dose.
    "triple_difference": Method(triple, CR1, designs=("shared_trends",)),
    "callaway_santanna_eligible": Method(
        lambda p: staggered(ek.did.callaway_santanna(p.where(p.category("eligible").codes == 1))),
        CR1,
        designs=("shared_trends",),
    ),
    "dose_response": Method(
        lambda p: {SLOPE: ek.did.dose_response(p, start=START)}, CR1, designs=DOSE
    ),
    "dose_event_study": Method(by_dose, CR1, designs=DOSE),
    "dose_curve": Method(curve, CR1, designs=DOSE),
    # The errors of synthetic DiD by estimating again.
    "synthetic_did_again": Method(
        lambda p: {AVERAGE: synthetic(p)},
        {"jackknife": jackknife, "bootstrap": bootstrap, "placebo": placebo},
        designs=("homogeneous", "few_treated"),
        sizes=(PROVINCE,),
        only={"placebo": ("few_treated",)},
        draws=FEWER,
    ),
}

DID = Study("did", DESIGNS, METHODS, sizes={20: 200, 50: 200, PROVINCE: 200, 500: 200})
