"""Staggered estimators on mpdta against numbers made elsewhere, to every digit printed there.

Numbers printed here were computed for the project's brief with R did 2.5.1, fixest 0.14.2,
bacondecomp 0.1.3, TwoWayFEWeights 2.0.4, didimputation 0.5.0, did2s 1.2.1 and etwfe; a printed
number stands for an interval, half a unit of its last digit either way. The parity file holds 2,100
numbers of moderndid 0.4.1 (``goldens/make_callaway_santanna.py``), equal to R did to 5e-11.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import evalkit as ek
from mpdta import mpdta, panel

CSV = Path(__file__).parent / "goldens" / "callaway_santanna.csv"
# The file holds eleven digits; the propensity model is solved to 1e-11 by both.
PARITY = 1e-10
# R prints eight digits of a fit that its iterations leave 3e-9 away from the exact solution.
ITERATED = 1e-8


def agrees(value, printed):
    """Equal to a number printed as text, to its last digit."""
    digits = len(printed.split(".")[1])
    # A hair is added because a printed half may have been rounded either way.
    assert abs(float(value) - float(printed)) <= 0.5001 * 10**-digits, f"{value} is not {printed}"


def agree(estimate, printed, vcov="CR0"):
    """All coordinates and standard errors, printed as "value (error) value (error) ..."."""
    result = ek.infer(estimate, vcov=vcov)
    cells = printed.replace("(", "").replace(")", "").replace(",", "").split()
    assert len(cells) == 2 * len(estimate)
    for at, (value, error) in enumerate(zip(cells[::2], cells[1::2], strict=True)):
        agrees(result.estimate[at], value)
        agrees(result.std_error[at], error)


def equal(estimate):
    """The plain average of all coordinates."""
    return ek.aggregate(estimate, weights=dict.fromkeys(estimate.index.keys, 1.0))


def known(estimate):
    """The weights of an estimate as known numbers, without their sampling noise."""
    return dict(zip(estimate.index.keys, estimate.mass.theta, strict=True))


def after(estimate, by):
    """Average by event time from adoption on."""
    return ek.aggregate(estimate, by=by).select(event=lambda e: e >= 0)


# --- Callaway and Sant'Anna -------------------------------------------------------------------

CELLS = [(g, t) for g in (2004, 2006, 2007) for t in range(2004, 2008)]
SPECIFICATIONS = [
    *(("never", "never", (), method) for method in ("dr", "ipw", "reg")),
    *(("not yet", "not_yet", (), method) for method in ("dr", "ipw", "reg")),
    ("never, dr", "never", ("lpop",), "dr"),
    ("not yet, dr", "not_yet", ("lpop",), "dr"),
    ("never, ipw", "never", ("lpop",), "ipw"),
    ("never, reg", "never", ("lpop",), "reg"),
]
# By specification; event times -3 to 1; the years are the calendar averages of 2006 and 2007.
PRINTED = {
    "never": {
        "cells": """
            -.010503 (.023251) -.070423 (.030985) -.137259 (.036436) -.100811 (.034359)
            .006520 (.023327) -.002751 (.019559) -.004595 (.017755) -.041224 (.020229)
            .030507 (.015034) -.002726 (.016396) -.031087 (.017878) -.026054 (.016655)
            """,
        "pretest": "7.7912 .16812",
        "simple": "-.039951 (.012034)",
        "group": "-.031018 (.012446)",
        "dynamic": "-.077240 (.019965)",
        "event": """
            .030507 (.015034) -.000563 (.013292) -.024459 (.014236)
            -.019932 (.011826) -.050957 (.016893)
            """,
        "calendar": "-.041700 (.015972)",
        "years": "-.048816 -.037059",
    },
    "not yet": {
        "cells": """
            -.019372 (.022310) -.078319 (.030390) -.136274 (.035403) -.100811 (.034359)
            -.002563 (.022530) -.001939 (.019042) .004661 (.016336) -.041224 (.020229)
            .029759 (.014534) -.002411 (.016031) -.031087 (.017878) -.026054 (.016655)
            """,
        "pretest": "7.7909 .16814",
        "simple": "-.039764 (.012052)",
        "group": "-.030462 (.012575)",
        "dynamic": "-.077399 (.019560)",
        "event": """
            .029759 (.014534) -.002446 (.013120) -.024269 (.014464)
            -.018922 (.012045) -.053589 (.016946)
            """,
        "calendar": "-.044267 (.015571)",
        "years": "-.042318 -.037059",
    },
    "never, dr": {
        "cells": """
            -.014530 (.022129) -.076422 (.028671) -.140448 (.035378) -.106904 (.032886)
            -.000472 (.022223) -.006203 (.018496) .000961 (.019400) -.041294 (.019721)
            .026728 (.014066) -.004577 (.015718) -.028447 (.018181) -.028781 (.016239)
            """,
        "pretest": "6.8418 .23267",
        "simple": "-.041752 (.011503)",
        "group": "-.032820 (.011898)",
        "dynamic": "-.080354 (.018958)",
        "event": """
            .026728 (.014066) -.003616 (.012928) -.023244 (.014485)
            -.021060 (.011494) -.053003 (.016346)
            """,
        "calendar": "-.044177 (.015038)",
        "years": "-.046176 -.039582",
    },
    "not yet, dr": {
        "cells": """
            -.021183 (.021648) -.081603 (.028342) -.138192 (.034228) -.106904 (.032886)
            -.007455 (.021836) -.004563 (.018291) .008661 (.016839) -.041294 (.019721)
            .026933 (.013914) -.004201 (.015548) -.028447 (.018181) -.028781 (.016239)
            """,
        "pretest": "6.8343 .23326",
        "simple": "-.041352 (.011428)",
        "group": "-.032264 (.011983)",
        "dynamic": "-.079993 (.018494)",
        "event": """
            .026933 (.013914) -.004962 (.012805) -.022861 (.014612)
            -.020144 (.011632) -.054730 (.016400)
            """,
        "calendar": "-.045665 (.014698)",
        "years": "-.040290 -.039582",
    },
    "never, ipw": {
        "cells": """
            -.014548 (.022115) -.076450 (.028649) -.140465 (.035371) -.106933 (.032889)
            -.000869 (.022153) -.006397 (.018457) .001208 (.019488) -.041308 (.019721)
            .026556 (.014044) -.004661 (.015669) -.028340 (.018189) -.028895 (.016246)
            """,
        "pretest": "6.7988 .23604",
        "simple": "-.041777 (.011500)",
        "group": "-.032875 (.011893)",
        "dynamic": "-.080377 (.018954)",
        "event": """
            .026556 (.014044) -.003774 (.012896) -.023207 (.014493)
            -.021088 (.011498) -.053022 (.016347)
            """,
        "calendar": "-.044170 (.015035)",
        "years": "-.046016 -.039666",
    },
    "never, reg": {
        "cells": """
            -.014911 (.022056) -.076996 (.028360) -.141080 (.034836) -.107544 (.032738)
            -.002066 (.022122) -.006968 (.018346) .000766 (.019196) -.041536 (.019717)
            .026366 (.014019) -.004760 (.015670) -.028502 (.018132) -.028789 (.016168)
            """,
        "pretest": "6.8613 .23116",
        "simple": "-.041969 (.011445)",
        "group": "-.032929 (.011860)",
        "dynamic": "-.080782 (.018746)",
        "event": """
            .026366 (.014019) -.004130 (.012917) -.023465 (.014442)
            -.021147 (.011481) -.053356 (.016293)
            """,
        "calendar": "-.044532 (.014885)",
        "years": "-.046516 -.039705",
    },
}
each_specification = pytest.mark.parametrize(
    ("name", "control", "covariates", "method"), SPECIFICATIONS, ids=lambda value: str(value)
)


def cells(control, covariates, method):
    return ek.did.callaway_santanna(panel(), control=control, covariates=covariates, method=method)


@each_specification
def test_group_time_effects_are_those_of_r_did(name, control, covariates, method):
    estimate = cells(control, covariates, method)
    assert list(estimate.index.keys) == CELLS
    agree(estimate, PRINTED[name]["cells"])


@each_specification
def test_the_pretest_is_that_of_r_did(name, control, covariates, method):
    estimate = cells(control, covariates, method)
    before = [at for at, (g, t) in enumerate(estimate.index.keys) if t < g]
    test = ek.wald(estimate.take(before), vcov="CR0")
    statistic, p_value = PRINTED[name]["pretest"].split()
    assert test.k == 5
    agrees(test.statistic, statistic)
    agrees(test.p_value, p_value)


@each_specification
def test_averages_are_those_of_r_did(name, control, covariates, method):
    estimate = cells(control, covariates, method)
    event = ek.aggregate(estimate, by="event")
    calendar = ek.aggregate(estimate, by="time")
    agree(ek.aggregate(estimate), PRINTED[name]["simple"])
    agree(ek.aggregate(ek.aggregate(estimate, by="cohort")), PRINTED[name]["group"])
    agree(event.select(event=range(-3, 2)), PRINTED[name]["event"])
    agree(equal(event.select(event=lambda e: e >= 0)), PRINTED[name]["dynamic"])
    agree(equal(calendar), PRINTED[name]["calendar"])
    for value, text in zip(
        calendar.select(time=[2006, 2007]).theta, PRINTED[name]["years"].split(), strict=True
    ):
        agrees(value, text)


def test_late_event_times_are_single_cells_with_their_errors():
    estimate = cells("never", (), "dr")
    late = ek.aggregate(estimate, by="event").select(event=[2, 3])
    np.testing.assert_allclose(late.theta, estimate.select(cohort=2004, time=[2006, 2007]).theta)
    agree(late, "-.137259 (.036436) -.100811 (.034359)")


@pytest.mark.parametrize(
    ("control", "last", "printed"),
    [
        ("never", 1, "-0.00656415 (0.01425536) -0.05095737 (0.01689348)"),
        ("never", 2, "-0.01050325 (0.02325104) -0.07042316 (0.03098477) -0.13725874 (0.03643566)"),
        ("not_yet", 1, "-0.00335020 (0.01333392) -0.05358935 (0.01694639)"),
    ],
)
def test_balanced_event_times_are_those_of_moderndid(control, last, printed):
    """aggte(type="dynamic", balance_e=last) of moderndid 0.4.1, cut to eight digits."""
    estimate = cells(control, (), "dr")
    agree(ek.aggregate(estimate, by="event", horizons=range(last + 1)), printed)


def test_effects_by_cohort_and_errors_by_year_are_those_of_r_did():
    estimate = cells("never", (), "dr")
    by_cohort = "-.079749 (.026368) -.022910 (.016703) -.026054 (.016655)"
    agree(ek.aggregate(estimate, by="cohort"), by_cohort)
    by_year = ek.aggregate(estimate, by="time").select(time=[2006, 2007])
    agree(by_year, "-.048816 (.020126) -.037059 (.013747)")


def test_the_error_clustered_by_state_is_that_of_r_did():
    estimate = ek.did.callaway_santanna(panel(cluster="state"), covariates=["lpop"])
    agrees(ek.infer(ek.aggregate(estimate), vcov="CR0").std_error[0], ".0164110550")


def test_the_band_is_the_plug_in_band_of_the_brief():
    """2.660 was simulated there; R's own 2.541 divides by a larger bootstrap error instead."""
    event = ek.aggregate(cells("never", (), "dr"), by="event")
    assert abs(ek.infer(event, vcov="CR0", band=True).crit - 2.660) < 0.005


def changed(case):
    """The edge cases, by the rules of the script that made the file."""
    frame = mpdta()
    county, year, start = frame["countyreal"], frame["year"], frame["start"]
    holes = frame[(county // 3 + 3 * year) % 11 > 0]
    records = {"unit": "row"}
    numbered = frame.assign(row=np.arange(len(frame)))
    return {
        "mpdta": lambda: (frame, {}, {}),
        "weights": lambda: (frame, {"weight": "weight"}, {}),
        "states": lambda: (frame, {"cluster": "state"}, {}),
        "no never": lambda: (frame[start > 0], {}, {}),
        "always": lambda: (
            frame.assign(start=start.where((start != 2004) | (county % 4 != 1), 2003)), {}, {}),
        "gap": lambda: (frame[year != 2005], {}, {}),
        "single": lambda: (
            frame[(start != 2006) | (county == county[start == 2006].min())], {}, {}),
        "holes dropped": lambda: (holes, {}, {"unbalanced": "balanced"}),
        "holes as records": lambda: (holes, {}, {"unbalanced": "records"}),
        "records": lambda: (numbered, records, {"unbalanced": "records"}),
        "weighted records": lambda: (
            numbered, {**records, "weight": "weight"}, {"unbalanced": "records"}),
    }[case]()  # fmt: skip


def averages(estimate):
    """Every average that the file holds."""
    event, calendar = ek.aggregate(estimate, by="event"), ek.aggregate(estimate, by="time")
    cohort = ek.aggregate(estimate, by="cohort")
    return {
        "cohort": cohort,
        "event": event,
        "time": calendar,
        "overall": ek.aggregate(estimate),
        "overall cohort": ek.aggregate(cohort),
        "overall event": equal(event.select(event=lambda e: e >= 0)),
        "overall time": equal(calendar),
    }


def golden(case):
    table = pd.read_csv(CSV, keep_default_na=False)
    return table[table["case"] == case].groupby(
        ["control", "method", "covariates", "base", "anticipation"]
    )


@pytest.mark.parametrize(
    "case",
    [
        "mpdta",
        "weights",
        "states",
        "no never",
        "always",
        "gap",
        "single",
        "holes dropped",
        "holes as records",
        "records",
        "weighted records",
    ],
)
def test_every_number_of_the_parity_file_is_reached(case):
    frame, columns, options = changed(case)
    data = panel(frame, **columns)
    for (control, method, covariates, base, anticipation), rows in golden(case):
        estimate = ek.did.callaway_santanna(
            data, control=control, method=method, covariates=[covariates] if covariates else [],
            base=base, anticipation=anticipation, **options,
        )  # fmt: skip
        mine = {("cell", *map(str, key)): pair for key, pair in pairs(estimate)}
        for by, average in averages(estimate).items():
            for key, pair in pairs(average):
                mine[(by, "", "" if "overall" in by else str(key[0]))] = pair
        theirs = {
            (row.by, row.cohort, row.time): (row.estimate, row.std_error)
            for row in rows.itertuples()
        }
        assert theirs.keys() <= mine.keys()
        for key, pair in theirs.items():
            np.testing.assert_allclose(mine[key], pair, rtol=0, atol=PARITY, err_msg=str(key))


def pairs(estimate):
    result = ek.infer(estimate, vcov="CR0")
    return zip(
        estimate.index.keys, zip(result.estimate, result.std_error, strict=True), strict=True
    )


def test_the_parity_file_holds_the_specifications_it_is_said_to_hold():
    table = pd.read_csv(CSV, keep_default_na=False)
    cells = table[(table["case"] == "mpdta") & (table["by"] == "cell")]
    assert golden("mpdta").ngroups == 48
    assert len(cells) == 480  # the universal base itself, where both are zero, is no cell
    assert len(table) == 2100


# --- The others -------------------------------------------------------------------------------


def test_two_way_fixed_effects_are_those_of_fixest():
    estimate = ek.did.two_way(panel())
    agree(estimate, "-.03654894 (.01326516)", vcov="CR1S")


def test_sun_abraham_is_that_of_fixest():
    """Shares taken as known, small-sample factor of regressions, as sunab has it."""
    estimate = ek.did.sun_abraham(panel())
    event = ek.aggregate(estimate, by="event", weights=known(estimate))
    assert [key[0] for key in event.index.keys] == [-4, -3, -2, 0, 1, 2, 3]
    agree(
        event,
        ".003306 (.024555), .025022 (.018154), .024459 (.014267), -.019932 (.011858), "
        "-.050957 (.016871), -.137259 (.036589), -.100811 (.034504)",
        vcov="CR1S",
    )
    treated = estimate.take([at for at, (g, t) in enumerate(estimate.index.keys) if t >= g])
    agree(ek.aggregate(treated, weights=known(treated)), "-.039951 (.011796)", vcov="CR1S")


def test_imputation_is_that_of_didimputation_and_did2s():
    """Static -.04770992 in both; errors of didimputation with singletons kept."""
    estimate = ek.did.imputation(panel())
    static = ek.infer(ek.aggregate(estimate), vcov="CR0")
    agrees(static.estimate[0], "-.04770992")
    agrees(static.std_error[0], ".01322249")
    event = ek.infer(ek.aggregate(estimate, by="event"), vcov="CR0")
    values = (-0.03106692, -0.05223485, -0.13607811, -0.10470747)
    np.testing.assert_allclose(event.estimate, values, rtol=0, atol=ITERATED)
    for error, text in zip(
        event.std_error, (".01357725", ".01881243", ".03534197", ".03376585"), strict=True
    ):
        agrees(error, text)


def test_with_sampled_treated_units_imputation_has_the_errors_of_did2s():
    """Static error of did2s 1.2.1; by event those of diff-diff 3.13.0 TwoStageDiD, cut to eight."""
    estimate = ek.did.imputation(panel(), treated="sampled")
    agrees(ek.infer(ek.aggregate(estimate), vcov="CR0").std_error[0], ".01347841")
    event = ek.infer(ek.aggregate(estimate, by="event"), vcov="CR0")
    wanted = (".01364307", ".01896384", ".03534197", ".03376585")
    for error, text in zip(event.std_error, wanted, strict=True):
        agrees(error, text)


def test_extended_two_way_effects_are_those_of_etwfe():
    """etwfe takes the cohort means of the covariate as given; our contributions do not, so its
    errors are those of the same regression written out."""
    estimate = ek.did.extended_two_way(panel(), baseline=["lpop"])
    data = mpdta()
    means = data.drop_duplicates("countyreal").groupby("start")["lpop"].mean()
    cells = {}
    for g, t in estimate.index.keys:
        cells[f"{g} {t}"] = 1.0 * ((data["start"] == g) & (data["year"] == t))
        cells[f"{g} {t} lpop"] = cells[f"{g} {t}"] * (data["lpop"] - means[g])
    written = ek.did.regression(
        panel(data.assign(**cells), covariates=["lpop", *cells]), on=list(cells), by_time=["lpop"]
    ).take(list(range(0, len(cells), 2)))
    np.testing.assert_allclose(written.theta, estimate.theta, atol=1e-10)
    weights = known(estimate)
    event = written.relabel(estimate.index)
    keys = sorted({t - g for g, t in event.index.keys})
    matrix = [[weights[k] * (k[1] - k[0] == e) for k in event.index.keys] for e in keys]
    matrix = np.array(matrix) / np.sum(matrix, axis=1, keepdims=True)
    agree(
        event.contrast(matrix, [str(e) for e in keys]),
        "-.033212 (.013347), -.057346 (.017125), -.137870 (.030745), -.109539 (.032270)",
        vcov="CR1S",
    )


def test_the_comparisons_behind_two_way_effects_are_those_of_bacondecomp():
    parts = ek.did.bacon(panel())
    agrees(ek.aggregate(parts).theta[0], "-.03654894")
    by = ek.aggregate(parts, by="type")
    expected = {
        "earlier vs later": ("-.01978382", ".08330135"),
        "later vs earlier": (".00460366", ".05392423"),
        "treated vs never": ("-.04073970", ".86277442"),
    }
    assert by.index.level("type") == tuple(expected)
    for theta, (kind, (value, weight)) in zip(by.theta, expected.items(), strict=True):
        agrees(theta, value)
        agrees(parts.mass.select(type=kind).theta.sum(), weight)


def test_the_weights_of_two_way_effects_are_those_of_twowayfeweights():
    data = panel()
    view = ek.negative_weights(ek.did.two_way(data), data)
    assert (view.positive, view.negative) == (271, 20)
    agrees(view.negative_sum, "-.01085101")
    # The package takes the sample deviation of 291 weights, the paper that of the population.
    agrees(view.sigma * np.sqrt(290 / 291), ".08266356")
