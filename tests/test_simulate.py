"""The simulated study: draws with names, truth from potential outcomes, rules of who is chosen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import data as tool
from evalkit.core.errors import OptionError
from evalkit.data.county import folder as folders
from evalkit.data.simulate import Assumptions, panel, pupils, write
from evalkit.data.simulate import county as counties
from evalkit.data.simulate.draws import choice, gamma, normal, uniform
from evalkit.data.simulate.effects import dose
from evalkit.data.simulate.panel import of_county
from evalkit.data.simulate.pupils import cell_means
from evalkit.data.simulate.resources import difference_rate

ROOT = Path(__file__).resolve().parent.parent
SMALL = Assumptions(counties=20, prefectures=5, schools=16)
# Nothing varies but what measures do: the trivial estimator must find the truth.
STILL = replace(
    SMALL, county_sd=0.0, value_added_sd=0.0, class_sd=0.0, leaver_prior=0.0, bundled=0.0,
    managed=0.0, rotation=0.0, funding=0.0, lead=0.0, neighbour=0.0, seat=0.0, village=0.0,
    tilt=0.0, noise=0.0, leaving=0.0, retained=0.0,
)  # fmt: skip
ROUNDING = 1e-6  # the truth is written with six decimals


@pytest.fixture(scope="module")
def made():
    return panel(SMALL)


# --- Draws ------------------------------------------------------------------------------------


def test_a_draw_depends_on_its_names_alone():
    together = uniform(3, "pupil", np.arange(5)[:, None], np.arange(7))
    assert together.shape == (5, 7)
    assert together[3, 2] == uniform(3, "pupil", 3, 2)
    others = [uniform(4, "pupil", 3, 2), uniform(3, "school", 3, 2), uniform(3, "pupil", 2, 3)]
    assert together[3, 2] not in others


def test_draws_have_the_moments_of_their_distributions():
    many = np.arange(200_000)
    error = 4 / np.sqrt(len(many))
    u, z = uniform(1, "u", many), normal(1, "z", many)
    assert u.min() > 0
    assert u.max() < 1
    assert abs(u.mean() - 0.5) < error
    assert abs(np.corrcoef(u[1:], u[:-1])[0, 1]) < error
    assert abs(z.mean()) < error
    assert abs(z.var() - 1) < 2 * error
    assert abs((z**4).mean() - 3) < 12 * error
    g = gamma(1, "g", many, mean=700.0, spread=0.45)
    assert abs(g.mean() / 700 - 1) < error
    assert abs(g.std() / g.mean() - 0.45) < error
    assert abs(np.mean(choice((("a", 0.3), ("b", 0.7)), u) == "a") - 0.3) < error


# --- Bytes and independence -------------------------------------------------------------------


def test_the_same_assumptions_give_the_same_bytes_and_another_seed_other_ones(tmp_path):
    a = replace(SMALL, counties=2)
    for name in ("one", "two"):
        write(tmp_path / name, a, pupils_of=[1], pupils_since=2024)
    write(tmp_path / "other", replace(a, seed=1), pupils_of=[1], pupils_since=2024)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes(), path.name
    assert folders.check(tmp_path / "one") == {}
    files = [(tmp_path / n / "school_cohort.parquet").read_bytes() for n in ("one", "other")]
    assert files[0] != files[1]


def test_a_county_is_the_same_alone_as_among_others(made):
    alone = of_county(counties.county(SMALL, 7))
    ids = alone["school"]["school_id"]
    for table in ("school", "school_year", "school_cohort"):
        among = made[table][made[table]["school_id"].isin(ids)].reset_index(drop=True)
        pd.testing.assert_frame_equal(among, alone[table], check_dtype=False)


def test_the_pupils_of_a_county_come_in_any_order_and_add_up_to_the_cohorts(tmp_path, made):
    first = [path.read_bytes() for path in pupils(tmp_path, SMALL, counties=[2, 1])]
    again = [path.read_bytes() for path in pupils(tmp_path, SMALL, counties=[1, 2])]
    assert first == again[::-1]
    people = pd.read_parquet(tmp_path / "S001.parquet")
    keys = ["school_id", "year", "grade", "subject"]
    mine = people.groupby(keys)["score"].agg(["size", "mean", "std"])
    published = made["school_cohort"].set_index(keys).loc[mine.index]
    assert (mine["size"] == published["n_tested"]).all()
    assert np.abs(mine["mean"] - published["mean"]).max() <= 0.00051
    assert np.abs(mine["std"] - published["sd"]).max() <= 0.00051


def test_changing_one_assumption_moves_its_truth_and_nothing_unrelated(made):
    changed = panel(replace(SMALL, member=0.2))
    for table in ("county", "town", "school", "school_year", "group_membership", "measure_event"):
        pd.testing.assert_frame_equal(changed[table], made[table])
    budget = made["county_year"].columns.drop("cert_stage")  # recognition depends on the scores
    pd.testing.assert_frame_equal(changed["county_year"][budget], made["county_year"][budget])
    member = made["truth"]["measure"] == "group_member"
    pd.testing.assert_frame_equal(changed["truth"][~member], made["truth"][~member])
    ratio = changed["truth"]["att"][member] / made["truth"]["att"][member]
    np.testing.assert_allclose(ratio, 0.2 / 0.06, rtol=1e-4)
    moved = changed["school_cohort"]["mean"] != made["school_cohort"]["mean"]
    spells = made["group_membership"]
    joined = spells[spells["role"] != "lead"].set_index("school_id")["start"].str[:4].astype(int)
    rows = made["school_cohort"][moved]
    assert (rows["school_id"].map(joined) < rows["year"]).all()


# --- Truth ------------------------------------------------------------------------------------


def test_the_truth_is_the_mean_difference_of_potential_outcomes(made):
    """By brute force over pupils: what a measure adds, averaged over those under it."""
    a = replace(SMALL, counties=4)
    found = [counties.county(a, number) for number in range(1, 5)]
    truth = panel(a)["truth"].set_index(["outcome", "measure", "cohort", "year", "subgroup"])["att"]
    count = 0
    for (outcome, measure, cohort, year, subgroup), att in truth.items():
        if outcome != "score":
            continue
        effects = []
        for one in found:
            who = one.pupils
            here = (one.begun[measure][who.school] == cohort) & (who.year + a.first == year)
            here &= {
                "all": True, "low_prior": one.low, "high_prior": ~one.low,
                "urban": one.places.stratum[who.school] == 0,
                "town": one.places.stratum[who.school] == 1,
                "rural": one.places.stratum[who.school] == 2,
                "primary": one.places.junior[who.school] == 0,
                "junior": one.places.junior[who.school] == 1,
            }[subgroup]  # fmt: skip
            size = one.effects[measure][who.school, who.year] * one.multiplier()
            effects.append(size[here])
        assert abs(np.concatenate(effects).mean() - att) <= ROUNDING
        count += 1
    assert count > 100


def test_effects_add_up_to_what_separates_the_potential_outcomes():
    found = counties.county(SMALL, 3)
    total = sum(found.effects.values())[found.pupils.school, found.pupils.year]
    difference = found.treated - found.untreated
    np.testing.assert_allclose(difference, (total * found.multiplier())[:, None] + 0 * difference)


def test_nobody_treated_means_no_effect_anywhere():
    truth = panel(replace(SMALL.quiet(), counties=3))["truth"]
    assert (truth["att"] == 0).all()


def test_the_trivial_estimator_finds_the_truth_where_nothing_else_varies():
    """Members before and after, less schools in no group: two means, no model, no noise."""
    a = replace(STILL, member=0.5)
    found = [counties.county(a, number) for number in range(1, a.counties + 1)]
    rows = []
    for number, one in enumerate(found):
        school = one.pupils.school
        kept = (one.places.opens == a.first)[school]  # those without a past cannot be compared
        start = one.begun["group_member"][school]
        year, y = one.pupils.year + a.first, one.treated[:, 0]
        unit = 1000 * number + school
        frame = pd.DataFrame({"unit": unit, "year": year, "y": y, "start": start})
        rows.append(frame[kept])
    means = pd.concat(rows).groupby(["unit", "start", "year"])["y"].mean().reset_index()
    truth = panel(a)["truth"].query("measure == 'group_member' and subgroup == 'all'")
    never = means[np.isinf(means["start"])].groupby("year")["y"].mean()
    count = 0
    for row in truth.itertuples():
        mine = means[means["start"] == row.cohort].groupby("year")["y"].mean()
        if mine.empty:
            continue
        did = (mine[row.year] - mine[row.cohort - 1]) - (never[row.year] - never[row.cohort - 1])
        assert abs(did - row.att) <= ROUNDING
        count += 1
    assert count > 10


def test_the_county_truth_and_the_cohort_truth_tell_the_same_story(made):
    """All counties that manage teachers: pupils times county effects give the average effect."""
    by_county = made["truth_county"].query("measure == 'county_managed'")
    truth = made["truth"].query("measure == 'county_managed' and subgroup == 'rural'")
    tested = (
        made["school_cohort"]
        .query("subject == 'math'")
        .merge(made["school"][["school_id", "county_code", "stratum"]])
    )
    n = tested.groupby(["county_code", "year", "stratum"])["n_tested"].sum()
    rural = by_county[by_county["stratum"] == "rural"].set_index(["county_code", "year", "stratum"])
    year = 2024
    rural = rural[rural.index.get_level_values("year") == year]
    weighted = (rural["effect"] * n.reindex(rural.index)).sum() / n.reindex(rural.index).sum()
    rows = truth[truth["year"] == year]
    assert abs(np.average(rows["att"], weights=rows["treated"]) - weighted) < 1e-5


def test_retention_is_an_outcome_with_a_truth(made):
    rows = made["truth"].query("outcome == 'retention'")
    expected = SMALL.retained * (rows["year"] - rows["cohort"] + 1)
    np.testing.assert_allclose(rows["att"], expected, atol=ROUNDING)


# --- Who is chosen ----------------------------------------------------------------------------


def test_weak_schools_join_strong_schools_lead_and_the_past_fakes_an_effect():
    """Chosen on a noisy score, members rise without any effect; chosen at random, they do not."""
    rise = {}
    for chosen in (True, False):
        a = replace(
            SMALL.quiet(), counties=40, select_on_past=chosen, value_added_sd=0.25, drift=0.2
        )
        gains, before = [], []
        for number in range(1, 41):
            one = counties.county(a, number)
            start = one.calendar.groups
            if not np.isfinite(start):
                continue
            at = int(start) - a.first
            means = counties.cell_means(a, one.pupils, one.untreated.mean(axis=1))
            members, others = one.calendar.role == 2, one.calendar.role == 0
            gap = np.nanmean(means[members], axis=0) - np.nanmean(means[others], axis=0)
            gains.append(gap[at + 2] - gap[at - 1])
            before.append(gap[at - 1])
        rise[chosen] = (np.mean(gains), np.std(gains) / np.sqrt(len(gains)), np.mean(before))
    assert rise[True][2] < -0.3
    assert rise[True][0] > 3 * rise[True][1]
    assert abs(rise[False][0]) < 3 * rise[False][1]


def test_each_county_has_at_most_one_pilot_town_and_the_city_leaves_provincial_counties_out(made):
    towns = made["town"]
    per_county = towns[towns["pilot_level"] != "none"].groupby("county_code").size()
    assert (per_county == 1).all()
    assert set(towns["pilot_level"]) == {"none", "city", "province"}


def test_county_management_and_exchange_always_start_together(made):
    starts = made["truth_event"].set_index("unit_id").groupby("measure_id")["first_year"]
    managed, exchange = starts.get_group("C13"), starts.get_group("W33")
    assert len(managed) > 5
    pd.testing.assert_series_equal(managed, exchange)


def test_half_of_the_prefectures_bundle_group_schooling_with_funding():
    a = Assumptions(schools=8)
    starts = [counties.county(a, n).calendar for n in range(1, 137, 4)]
    known = [(c.groups, c.money) for c in starts if np.isfinite(c.groups)]
    same = np.mean([groups == money for groups, money in known])
    assert 0.3 < same < 0.8


def test_windows_hold_the_true_start_and_most_events_are_dated(made):
    events = made["measure_event"].merge(made["truth_event"])
    true = (events["first_year"] - 1).astype(str) + "-09-01"
    assert (events["start_latest"] >= true).all()
    assert (events["start_earliest"].fillna("0000") <= true).all()
    exact = events["start_earliest"] == events["start_latest"]
    assert 0.7 < exact.mean() < 0.9
    assert events["start_earliest"].isna().any()


def test_recognition_requires_a_low_difference_rate_and_a_creation(made):
    schools = made["school"][["school_id", "county_code"]]
    years = made["county_year"].set_index(["county_code", "year"])["cert_stage"]
    seen = 0
    for code, rows in made["school_cohort"].merge(schools).groupby("county_code"):
        stage = years[code]
        reached = stage.index[stage == 3]
        if len(reached):
            assert difference_rate(rows)[reached[0]] < SMALL.recognition
            assert (stage.diff().dropna() >= 0).all()
            seen += 1
    assert seen


def test_small_schools_are_funded_as_schools_of_three_hundred():
    """The four doses of the documents' floor: 400 yuan times 300 over the pupils."""
    one = counties.county(SMALL, 1)
    sizes = np.array([50.0, 100.0, 150.0, 200.0, 300.0, 900.0] + [400.0] * 10)
    years = len(SMALL.years)
    p = replace(one.places, pupils=np.repeat(sizes[:, None], years, axis=1),
                junior=np.zeros(16, np.intp), opens=np.full(16, 2012))  # fmt: skip
    got = dose(SMALL, p, np.full(16, 2020.0))
    assert got[:6].tolist() == [2400.0, 1200.0, 800.0, 600.0, 400.0, 400.0]


def test_tests_change_in_scale_and_difficulty_from_year_to_year(made):
    means = made["school_cohort"].groupby(["grade", "subject", "year"])["mean"].mean()
    assert means.groupby(["grade", "subject"]).std().min() > 1.0


# --- Nothing real -----------------------------------------------------------------------------


def test_no_real_name_or_code_carries_a_simulated_outcome(made):
    real = pd.read_csv(ROOT / "data/measures/jurisdictions.csv", dtype=str)
    names = {*real["name_zh"], *real["city_zh"], *real["name_en"], *real["city_en"]}
    assert made["county"]["name_zh"].str.fullmatch(r"虚构\d{3}").all()
    assert not names & set(made["county"]["name_zh"])
    for table in made.values():
        for column in table.columns.intersection(["county_code", "school_id", "unit_id"]):
            assert table[column].str.match(r"S\d{3}").all()
        for column in table.columns.intersection(["prefecture_code"]):
            assert table[column].str.match(r"P\d{2}").all()


BAD = {
    "no such county": ({}, [21], "county 21 is none of the 20"),
    "county zero": ({}, [0], "counted from 1"),
    "too many schools": ({"schools": 1000}, [], "schools=1000"),
    "no counties": ({"counties": 0}, [], "counties=0"),
    "no year": ({"first": 2014, "last": 2013}, [], "first=2014, last=2013: the last test year"),
}


@pytest.mark.parametrize(("changes", "of", "words"), BAD.values(), ids=BAD.keys())
def test_a_study_that_cannot_be_is_refused(changes, of, words):
    with pytest.raises(OptionError, match=words):
        panel(replace(SMALL, **changes), pupils_of=of)


# Studies that end before a measure starts, begin when most have begun, and lie between.
SHORT = [(2012, 2012), (2012, 2013), (2012, 2014), (2020, 2021), (2024, 2024), (2017, 2019)]


@pytest.mark.parametrize(("first", "last"), SHORT)
@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_study_of_few_years_and_counties_passes_its_contract(first, last, number, tmp_path):
    write(tmp_path, replace(SMALL, first=first, last=last, counties=number))
    assert folders.check(tmp_path) == {}
    school = pd.read_parquet(tmp_path / "school_cohort.parquet")
    assert set(school["year"]) == set(range(first, last + 1))


def test_members_who_join_in_the_first_year_are_the_weakest_of_it():
    """No score lies before, so that of the first year tells; a later one never does."""
    a = replace(SMALL, first=2020, last=2022, groups=((2020, 1.0),), bundled=0.0, member=0.0)
    found = counties.county(a, 1)
    past = cell_means(a, found.pupils, found.untreated.mean(axis=1))
    role, junior = found.calendar.role, found.places.junior
    for level in (0, 1):
        here = junior == level
        first = [past[here & (role == k), 0] for k in (1, 2, 0)]
        if all(map(len, first)):
            assert first[1].max() < first[2].min() < first[0].max()


# --- The committed study ----------------------------------------------------------------------


def test_the_committed_study_passes_its_contract_and_is_small():
    folder = ROOT / "data/synthetic"
    assert folders.check(folder) == {}
    assert folders.manifest(folder).provenance == "synthetic"
    sizes = [path.stat().st_size for path in folder.iterdir()]
    assert max(sizes) < 2e6
    assert sum(sizes) < 5e6


@pytest.mark.slow
def test_the_committed_study_is_byte_for_byte_what_its_assumptions_give(tmp_path):
    assert tool.changed(tmp_path) == []
    kept = {path.name for path in tool.FOLDER.iterdir()} - {"README.md"}
    assert kept == {path.name for path in tmp_path.iterdir()}
