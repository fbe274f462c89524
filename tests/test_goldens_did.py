"""Every number of ``data/published/did.csv`` and of the 2,100 in ``callaway_santanna.csv`` is ours.

The first holds what R packages print on mpdta, castle and california_prop99, to every digit, each
with its source; the chapter *Parity certificate* shows it. The second was made by moderndid 0.4.1
(``goldens/make_callaway_santanna.py``), which equals R did 2.5.1 to 5e-11. How a printed number is
compared is tested in ``test_certify.py``.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import evalkit as ek
from mpdta import X, mpdta, panel
from panels import medicaid

PUBLISHED = Path(__file__).parent.parent / "data" / "published"
REFERENCE = ek.load(PUBLISHED / "did.csv", ek.contracts.REFERENCE)
# The file holds eleven digits; the propensity model is solved to 1e-11 by both.
PARITY = 1e-10
OPTIONS = {
    "never": {},
    "not yet": {"control": "not_yet"},
    "never, population, dr": {"covariates": X},
    "not yet, population, dr": {"covariates": X, "control": "not_yet"},
    "never, population, ipw": {"covariates": X, "method": "ipw"},
    "never, population, reg": {"covariates": X, "method": "reg"},
}


def castle(start, **options):
    return ek.Panel.from_frame(
        ek.sources.castle_doctrine(), outcome="log_homicide", unit="state", time="year",
        cohort=start, provenance="real", **options,
    )  # fmt: skip


def equal(estimate):
    """The plain average of all coordinates."""
    return ek.aggregate(estimate, weights=dict.fromkeys(estimate.index.keys, 1.0))


def known(estimate):
    """The weights of an estimate as known numbers, without their sampling noise."""
    return dict(zip(estimate.index.keys, estimate.mass.theta, strict=True))


def cr0(estimate):
    return ek.infer(estimate, vcov="CR0", few="show")


# --- Numbers printed by R packages --------------------------------------------------------------


def averages(cells):
    """The cells, and every average of them that R did prints."""
    event, cohort = ek.aggregate(cells, by="event"), ek.aggregate(cells, by="cohort")
    calendar = ek.aggregate(cells, by="time")
    return {
        "cells": cells,
        "events": event,
        "cohorts": cohort,
        "years": calendar,
        "overall": ek.aggregate(cells),
        "cohorts, overall": ek.aggregate(cohort),
        "events, overall": equal(event.select(event=lambda e: e >= 0)),
        "years, overall": equal(calendar),
    }


def group_time(name, **method):
    cells = ek.did.callaway_santanna(panel(), **OPTIONS[name], **method)
    before = [at for at, (g, t) in enumerate(cells.index.keys) if t < g]
    return {
        **{f"{name}: {part}": cr0(made) for part, made in averages(cells).items()},
        f"{name}: pretest": ek.wald(cells.take(before), vcov="CR0"),
    }


def by_state():
    cells = ek.did.callaway_santanna(panel(cluster="state"), covariates=X)
    return {"never, population, dr, by state: overall": cr0(ek.aggregate(cells))}


def bands():
    """Critical values by the recipe of R did: Rademacher weights, errors from interquartile ranges.

    Mammen's weights, which it is sometimes said to use, would give 2.36 where R prints 2.227.
    """
    names = ("never", "never, population, dr")
    made = {name: averages(ek.did.callaway_santanna(panel(), **OPTIONS[name])) for name in names}
    places = [(name, part) for name in names for part in ("cells", "events", "cohorts")]
    psi = [made[name][part].psi for name, part in places]
    rng, ends = np.random.default_rng(1), np.cumsum([one.shape[1] for one in psi])[:-1]
    signs = (2.0 * rng.integers(0, 2, (10_000, 500), dtype=np.int8) - 1 for _ in range(10))
    drawn = np.vstack([sign @ np.hstack(psi) for sign in signs])
    low, high = np.quantile(drawn, [0.25, 0.75], axis=0)
    ratios = np.split(np.abs(drawn) / ((high - low) / 1.3489795), ends, axis=1)
    out = {
        f"{name}: {part}, simulated": float(np.quantile(ratio.max(axis=1), 0.95))
        for (name, part), ratio in zip(places, ratios, strict=True)
    }
    plug_in = ek.infer(made["never"]["events"], vcov="CR0", band=True, few="show")
    return out | {"never: events, plug-in": plug_in}


def two_way():
    data = panel()
    estimate = ek.did.two_way(data)
    state = ek.did.two_way(panel(cluster="state"))
    rows = mpdta().assign(row=range(2500), d=lambda f: 1.0 * (f["year"] >= f["adopted"]))
    alone = ek.did.regression(
        panel(rows, unit="row", cohort=None, covariates=["d"], categories=["county"]),
        on=["d"], absorb=("county", "time"),
    ).relabel(estimate.index)  # fmt: skip
    left = (data.y - estimate.theta[0] * data.treated).reshape(500, 5)
    left = left - left.mean(axis=0) - left.mean(axis=1, keepdims=True) + left.mean()
    weights = estimate.weights[:, 0]
    iid = float(np.sqrt((left**2).sum() / (2500 - 505) * (weights @ weights)))
    every_row = ek.infer(alone, vcov="CR1S", few="show")
    return {
        "two-way": ek.infer(estimate, vcov="CR1S", few="show"),
        **{
            f"two-way, {kind}": ek.infer(estimate, vcov=kind, few="show") for kind in ("CR0", "CR1")
        },
        **{
            f"two-way by state, {v}": ek.infer(state, vcov=v, few="show")
            for v in ("CR0", "CR1", "CR2")
        },
        **{f"two-way, HC1{by}": every_row for by in ("", ", by R")},
        **{f"two-way, iid{by}": iid for by in ("", ", by R")},
    }


def sun_abraham():
    """Shares taken as known, small-sample factor of regressions, as sunab has it."""
    cells = ek.did.sun_abraham(panel())
    after = cells.take([at for at, (g, t) in enumerate(cells.index.keys) if t >= g])
    event = ek.aggregate(cells, by="event", weights=known(cells))
    assert [key[0] for key in event.index.keys] == [-4, -3, -2, 0, 1, 2, 3]
    return {
        "sun-abraham: events": ek.infer(event, vcov="CR1S", few="show"),
        "sun-abraham: overall": ek.infer(ek.aggregate(after, weights=known(after)), vcov="CR1S"),
    }


def decompositions():
    data = panel()
    view = ek.negative_weights(ek.did.two_way(data), data)
    out = {
        "castle, two-way": cr0(ek.did.two_way(castle("adopted"))),
        "negative weights": {
            "positive": view.positive,
            "negative": view.negative,
            "negative_sum": view.negative_sum,
            # The package takes the sample deviation of 291 weights, the paper the population's.
            "sigma": view.sigma * np.sqrt(290 / 291),
        },
    }
    for name, one in (("bacon", data), ("castle, bacon", castle("adopted"))):
        parts = ek.did.bacon(one)
        kinds = ek.aggregate(parts, by="type")
        out[name] = cr0(kinds)
        out[f"{name}, sum"] = cr0(ek.aggregate(parts))
        out[f"{name}, weights"] = {
            kind: parts.mass.select(type=kind).theta.sum() for kind in kinds.index.level("type")
        }
    return out


def imputation():
    cells, sampled = ek.did.imputation(panel()), ek.did.imputation(panel(), treated="sampled")
    late = ek.did.imputation(castle("first_full_year", weight="population"), treated="sampled")
    return {
        "imputation: overall": cr0(ek.aggregate(cells)),
        "imputation: events": cr0(ek.aggregate(cells, by="event")),
        "two-stage: overall": cr0(ek.aggregate(sampled)),
        "castle, two-stage, a year late, weighted: overall": cr0(ek.aggregate(late)),
    }


def extended():
    """etwfe takes the cohort means of the covariate as given; our contributions do not, so its
    errors are those of the same regression written out."""
    estimate = ek.did.extended_two_way(panel(), baseline=X)
    data = mpdta()
    means = data.drop_duplicates("county").groupby("adopted")[X[0]].mean()
    cells = {}
    for g, t in estimate.index.keys:
        cells[f"{g} {t}"] = 1.0 * ((data["adopted"] == g) & (data["year"] == t))
        cells[f"{g} {t} x"] = cells[f"{g} {t}"] * (data[X[0]] - means[g])
    written = ek.did.regression(
        panel(data.assign(**cells), covariates=[*X, *cells]), on=list(cells), by_time=X
    ).take(list(range(0, len(cells), 2)))
    np.testing.assert_allclose(written.theta, estimate.theta, atol=1e-10)
    event = [t - g for g, t in estimate.index.keys]
    share = np.equal.outer(range(4), event) * estimate.mass.theta
    mean = written.contrast(share / share.sum(axis=1, keepdims=True), ["0", "1", "2", "3"])
    return {"extended two-way, population: events": ek.infer(mean, vcov="CR1S", few="show")}


def synthetic():
    california = ek.Panel.from_frame(
        ek.sources.cigarette_tax(), outcome="packs", unit="state", time="year", cohort="adopted",
        provenance="real",
    )  # fmt: skip
    steps = {"solver": "frank-wolfe"}
    uniform = {"unit_weights": "uniform", "time_weights": "uniform"}
    return {
        "synthetic DiD": cr0(ek.did.synthetic_did(california, **steps)),
        "synthetic control": cr0(ek.did.synthetic_control(california, **steps)),
        "DiD": cr0(ek.did.synthetic_did(california, **uniform)),
    }


def violated():
    """Bounds of the first effect of the Medicaid expansion, as the README of HonestDiD has them."""
    asked = {
        "smoothness": (ek.sensitivity.smoothness, [0, 0.01, 0.02, 0.03]),
        "relative magnitudes": (ek.sensitivity.relative_magnitudes, [0.5, 1, 1.5, 2]),
    }
    made = {}
    for name, (bound, sizes) in asked.items():
        found = bound(medicaid(), m=sizes, weights={0: 1.0}, vcov="CR1S")
        lows, highs = (
            {f"{m:g} {end}": v for m, v in zip(sizes, values, strict=True)}
            for end, values in (("low", found.conf_low), ("high", found.conf_high))
        )
        made[f"honest DiD, {name}"] = lows | highs
    return made


@cache
def computed():
    others = (by_state, bands, two_way, sun_abraham, decompositions, imputation, extended,
              synthetic, violated)  # fmt: skip
    made = [*(group_time(name) for name in OPTIONS), *(run() for run in others)]
    return {case: value for part in made for case, value in part.items()}


COMPARED = REFERENCE[~REFERENCE["status"].str.startswith("not")]


@pytest.mark.parametrize("case", COMPARED["case"].unique())
def test_a_printed_number_is_ours(case):
    rows = REFERENCE[REFERENCE["case"] == case]
    assert set(ek.certify(rows, computed())["verdict"]) <= {"pass"}


@pytest.mark.parametrize(
    ("name", "last", "printed"),
    [
        ("never", 1, "-0.00656415 0.01425536 -0.05095737 0.01689348"),
        ("never", 2, "-0.01050325 0.02325104 -0.07042316 0.03098477 -0.13725874 0.03643566"),
        ("not yet", 1, "-0.00335020 0.01333392 -0.05358935 0.01694639"),
    ],
)
def test_balanced_event_times_are_those_of_moderndid(name, last, printed):
    """aggte(type="dynamic", balance_e=last) of moderndid 0.4.1, cut to eight digits."""
    cells = ek.did.callaway_santanna(panel(), **OPTIONS[name])
    made = cr0(ek.aggregate(cells, by="event", horizons=range(last + 1)))
    both = np.column_stack([made.estimate, made.std_error]).ravel()
    np.testing.assert_allclose(both, [float(x) for x in printed.split()], rtol=0, atol=0.5e-8)


def test_with_sampled_treated_units_events_have_the_errors_of_diff_diff():
    """TwoStageDiD of diff-diff 3.13.0, cut to eight digits; the static error is in the table."""
    event = cr0(ek.aggregate(ek.did.imputation(panel(), treated="sampled"), by="event"))
    wanted = (0.01364307, 0.01896384, 0.03534197, 0.03376585)
    np.testing.assert_allclose(event.std_error, wanted, rtol=0, atol=0.5e-8)


@pytest.mark.parametrize("name", ["never", "not yet"])
@pytest.mark.parametrize("method", ["ipw", "reg"])
def test_without_covariates_every_method_prints_the_same(name, method):
    rows = REFERENCE[REFERENCE["case"].str.startswith(f"{name}: ")]
    rows = rows[~rows["case"].str.contains("simulated|plug-in")]
    assert len(rows) > 40
    ek.certify(rows, group_time(name, method=method))


@pytest.mark.parametrize(
    ("made", "options"),
    [
        (panel, {}),
        (panel, {"cluster": "state"}),
        (lambda **o: castle("adopted", **o), {"weight": "population"}),
    ],
    ids=["mpdta", "mpdta by state", "castle, weighted"],
)
def test_linearmodels_has_the_same_two_way_regression(made, options):
    """Absorbed effects are no parameters and C / (C - 1) is applied: our CR1."""
    from linearmodels.panel import PanelOLS

    data = made(**options)
    label = {"unit": data.units[data.unit], "time": data.times[data.time]}
    columns = {"y": data.y, "d": data.treated, "w": data.weight,
               "c": np.unique(data.cluster, return_inverse=True)[1][data.unit]}  # fmt: skip
    table = pd.DataFrame(label | columns).set_index(["unit", "time"])
    theirs = PanelOLS(
        table["y"], table[["d"]], weights=table["w"], entity_effects=True, time_effects=True
    ).fit(
        cov_type="clustered", clusters=table[["c"]], debiased=True, group_debias=True,
        auto_df=False, count_effects=False,
    )  # fmt: skip
    ours = ek.infer(ek.did.two_way(data), few="show")
    np.testing.assert_allclose(ours.estimate, theirs.params, rtol=0, atol=PARITY)
    np.testing.assert_allclose(ours.std_error, theirs.std_errors, rtol=0, atol=PARITY)


def test_the_table_of_references_holds_what_it_is_said_to_hold():
    assert len(REFERENCE) == 406
    assert REFERENCE["status"].value_counts().to_dict() == {
        "run": 386, "not offered": 2, "run here": 8, "printed": 9, "not comparable": 1,
    }  # fmt: skip
    silent = REFERENCE["tolerance"].notna() & REFERENCE["note"].isna()
    assert not silent.any(), "a tolerance needs its reason"
    silent = REFERENCE["status"].str.startswith("not") & REFERENCE["note"].isna()
    assert not silent.any(), "a row that is not compared needs its reason"


# --- The store of 2,100 numbers -----------------------------------------------------------------


def changed(case):
    """The edge cases, by the rules of the script that made the file."""
    frame = mpdta()
    frame["weight"] = 1 + (frame["county"] % 7) / 4
    county, year, start = frame["county"], frame["year"], frame["adopted"]
    holes = frame[(county // 3 + 3 * year) % 11 > 0]
    records = {"unit": "row"}
    numbered = frame.assign(row=np.arange(len(frame)))
    return {
        "mpdta": lambda: (frame, {}, {}),
        "weights": lambda: (frame, {"weight": "weight"}, {}),
        "states": lambda: (frame, {"cluster": "state"}, {}),
        "no never": lambda: (frame[start > 0], {}, {}),
        "always": lambda: (
            frame.assign(adopted=start.where((start != 2004) | (county % 4 != 1), 2003)), {}, {}),
        "gap": lambda: (frame[year != 2005], {}, {}),
        "single": lambda: (
            frame[(start != 2006) | (county == county[start == 2006].min())], {}, {}),
        "holes dropped": lambda: (holes, {}, {"unbalanced": "balanced"}),
        "holes as records": lambda: (holes, {}, {"unbalanced": "records"}),
        "records": lambda: (numbered, records, {"unbalanced": "records"}),
        "weighted records": lambda: (
            numbered, {**records, "weight": "weight"}, {"unbalanced": "records"}),
    }[case]()  # fmt: skip


STORED = {
    "cells": "cell", "events": "event", "cohorts": "cohort", "years": "time",
    "overall": "overall", "cohorts, overall": "overall cohort",
    "events, overall": "overall event", "years, overall": "overall time",
}  # fmt: skip


def golden(case):
    table = pd.read_csv(PUBLISHED / "callaway_santanna.csv", keep_default_na=False)
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
            data, control=control, method=method, covariates=X if covariates else [], base=base,
            anticipation=anticipation, **options,
        )  # fmt: skip
        mine = {}
        for part, average in averages(estimate).items():
            for key, pair in pairs(average):
                cell = map(str, key) if part == "cells" else ("", str(key[0]))
                mine[STORED[part], *("", "") if "overall" in part else cell] = pair
        theirs = {
            (row.by, row.cohort, row.time): (row.estimate, row.std_error)
            for row in rows.itertuples()
        }
        assert theirs.keys() <= mine.keys()
        for key, pair in theirs.items():
            np.testing.assert_allclose(mine[key], pair, rtol=0, atol=PARITY, err_msg=str(key))


def pairs(estimate):
    result = cr0(estimate)
    return zip(
        estimate.index.keys, zip(result.estimate, result.std_error, strict=True), strict=True
    )


def test_the_parity_file_holds_the_specifications_it_is_said_to_hold():
    table = pd.read_csv(PUBLISHED / "callaway_santanna.csv", keep_default_na=False)
    cells = table[(table["case"] == "mpdta") & (table["by"] == "cell")]
    assert golden("mpdta").ngroups == 48
    assert len(cells) == 480  # the universal base itself, where both are zero, is no cell
    assert len(table) == 2100
