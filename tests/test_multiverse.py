"""Declared specifications: run once, judged together, and never dropped in silence."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import evalkit as ek
from evalkit.core.errors import IdentificationError, OptionError
from evalkit.inference.multiverse import joint, step_down

PLAN = {"outcome": ["y", "z"], "years": ["all", "late"], "cluster": ["town", "district"]}


def towns(seed=1, n=60, effect=0.0):
    rng = np.random.default_rng(seed)
    rows = pd.DataFrame({"town": np.repeat(np.arange(n), 4), "year": np.tile(np.arange(4), n)})
    shared = rng.normal(size=n)[rows["town"]] + rng.normal(size=n // 3)[rows["town"] // 3]
    late = (rows["town"] < n // 2) & (rows["year"] >= 2)
    rows["y"] = shared + rng.normal(size=len(rows)) + effect * late
    rows["z"] = rows["y"] + rng.normal(size=len(rows))
    rows["start"] = np.where(rows["town"] < n // 2, 2.0, np.nan)
    rows["district"] = rows["town"] // 3
    return rows


def runner(rows, asked=None):
    def run(choice):
        if asked is not None:
            asked.append(dict(choice))
        frame = rows if choice["years"] == "all" else rows[rows["year"] > 0]
        panel = ek.Panel.from_frame(
            frame, outcome=choice["outcome"], unit="town", time="year", cohort="start",
            cluster=choice["cluster"], provenance="synthetic",
        )  # fmt: skip
        return ek.did.two_way(panel)

    return run


def test_each_specification_is_judged_as_by_itself():
    many = ek.multiverse(ek.Declaration(PLAN), runner(towns()), draws=99)
    for j, choice in enumerate(many.declared):
        alone = ek.infer(runner(towns())(choice))
        for name in ("estimate", "std_error", "p_value", "conf_low", "conf_high"):
            assert getattr(many, name)[j] == getattr(alone, name)[0]
    assert list(many.table["cluster"]) == ["town", "district"] * 4
    assert many.provenance == "synthetic"


def test_the_sums_by_the_coarsest_clusters_give_the_joint_covariance():
    many = ek.multiverse(ek.Declaration(PLAN), runner(towns()), draws=99)
    assert len(many.sums) == 20
    by_district = {j: c for j, c in enumerate(many.declared) if c["cluster"] == "district"}
    parts = {str(j): runner(towns())(c) for j, c in by_district.items()}
    together = ek.stack(parts).vcov()
    at = list(by_district)
    assert (many.sums.T @ many.sums)[np.ix_(at, at)] == pytest.approx(together, rel=1e-10)


def test_units_that_the_coarsest_sample_lacks_stand_with_their_cluster():
    """Town 0 is missing where districts are clusters in one sample, and present in the others."""
    rows = towns()
    plan = ek.Declaration({"sample": ["short", "all"], "cluster": ["district", "town"]})

    def run(choice):
        frame = rows if choice["sample"] == "all" else rows[~rows["town"].isin([0, 3, 4, 5])]
        return runner(frame)({"years": "all", "outcome": "y", "cluster": choice["cluster"]})

    many = ek.multiverse(plan, run, draws=99)
    parts = {str(j): run({**c, "cluster": "district"}) for j, c in enumerate(plan)}
    assert len(many.sums) == 20
    assert many.sums.T @ many.sums == pytest.approx(ek.stack(parts).vcov(), rel=1e-9)


def test_two_processes_and_an_interrupted_run_give_the_same_bytes(tmp_path):
    plan = ek.Declaration(PLAN)
    one = ek.multiverse(plan, runner(towns()), draws=99)
    two = ek.multiverse(plan, runner(towns()), draws=99, workers=2)
    asked = []
    kept = ek.multiverse(plan, runner(towns(), asked), draws=99, store=tmp_path)
    assert len(asked) == 8
    for path in list(tmp_path.iterdir())[:3]:
        path.unlink()
    again = ek.multiverse(plan, runner(towns(), asked), draws=99, store=tmp_path)
    assert len(asked) == 11
    for other in (two, kept, again):
        assert other.table.equals(one.table)
        assert other.joint == one.joint


def test_the_step_down_is_that_of_a_loop():
    rng = np.random.default_rng(1)
    t, null = rng.normal(size=7) * 2, rng.normal(size=(199, 7))
    order, expected, worst = np.argsort(-np.abs(t)), np.zeros(7), 0.0
    for i, j in enumerate(order):
        rest = np.abs(null[:, order[i:]]).max(axis=1)
        worst = max(worst, (1 + (rest >= abs(t[j])).sum()) / 200)
        expected[j] = worst
    assert step_down(t, null) == pytest.approx(expected)


def test_the_joint_statistics_are_those_of_a_loop():
    rng = np.random.default_rng(2)
    t, null = rng.normal(size=9) - 1.5, rng.normal(size=(99, 9))
    crit = np.full(9, 1.96)
    found = joint(t, null, crit)

    def three(curve):
        side = 1 if np.median(curve) >= 0 else -1
        return [abs(np.median(curve)), np.mean(side * curve >= 1.96), np.abs(curve).max()]

    mine, theirs = np.array(three(t)), np.array([three(curve) for curve in null])
    expected = (1 + (theirs >= mine).sum(axis=0)) / 100
    assert [p for _, p in found.values()] == pytest.approx(expected)
    assert found["median t"][0] == pytest.approx(np.median(t))


def test_a_part_of_the_curve_is_judged_as_if_it_had_been_declared_alone():
    many = ek.multiverse(ek.Declaration(PLAN), runner(towns()), draws=99)
    part = many.only(outcome="z")
    alone = ek.multiverse(ek.Declaration({**PLAN, "outcome": ["z"]}), runner(towns()), draws=99)
    assert part.table.equals(alone.table)
    assert part.joint == alone.joint
    assert part.declared.digest == alone.declared.digest
    with pytest.raises(OptionError, match="not declared so"):
        many.only(outcome="w")


def test_a_clear_effect_is_found_and_the_best_of_many_looks_is_corrected():
    strong = ek.multiverse(ek.Declaration(PLAN), runner(towns(effect=1.5)), draws=999)
    assert all(p < 0.01 for _, p in strong.joint.values())
    nothing = ek.multiverse(ek.Declaration(PLAN), runner(towns(seed=3)), draws=999)
    assert (nothing.adjusted >= nothing.p_value - 0.02).all()


@pytest.mark.slow
def test_the_size_of_the_joint_tests():
    """Two hundred panels of many towns without effect: each test rejects about one in twenty."""
    plan = ek.Declaration({k: v for k, v in PLAN.items() if k != "cluster"} | {"cluster": ["town"]})
    p = np.array([
        [x for _, x in ek.multiverse(plan, runner(towns(seed=s, n=120)), draws=99).joint.values()]
        for s in range(100, 300)
    ])  # fmt: skip
    rejected = (p <= 0.05).mean(axis=0)
    assert (np.abs(rejected - 0.05) < 3.5 * np.sqrt(0.05 * 0.95 / 200)).all(), rejected


def test_what_fails_is_counted_and_reported():
    def run(choice):
        if choice["outcome"] == "z":
            raise IdentificationError("no such outcome")
        return runner(towns())(choice)

    many = ek.multiverse(ek.Declaration(PLAN), run, draws=99)
    assert np.isnan(many.estimate).sum() == 4
    assert set(many.failed.values()) == {"no such outcome"}
    assert "4 failed: no such outcome" in repr(many)
    with pytest.raises(OptionError, match="4 specifications failed"):
        ek.permuted(many, lambda rng: run)


def test_permutation_agrees_where_treatment_was_dealt_out():
    rows = towns(effect=1.5)
    plan = ek.Declaration(PLAN | {"cluster": ["town"]})
    many = ek.multiverse(plan, runner(rows), draws=99)

    def again(rng):
        dealt = dict(enumerate(rng.permutation(rows.groupby("town")["start"].first().to_numpy())))
        return runner(rows.assign(start=rows["town"].map(dealt)))

    found = ek.permuted(many, again, draws=39)
    assert found["median t"] == (pytest.approx(many.joint["median t"][0]), 1 / 40)


def test_the_shares_by_choice():
    many = ek.multiverse(ek.Declaration(PLAN), runner(towns()), draws=99)
    shares = many.shares()
    assert set(shares["specifications"]) == {4}
    assert list(shares["choice"]) == ["outcome"] * 2 + ["years"] * 2 + ["cluster"] * 2


def test_a_declaration_is_registered_once(tmp_path):
    path = tmp_path / "declared" / "grid.json"
    plan = ek.Declaration(PLAN, data={"table": "abc"})
    assert plan.register(path) is plan
    assert json.loads(path.read_text())["choices"] == PLAN
    ek.Declaration(PLAN, data={"table": "abc"}).register(path)
    for other in (
        ek.Declaration(PLAN), ek.Declaration(PLAN | {"years": ["all"]}, data={"table": "abc"}),
        replace(plan, level=0.9), replace(plan, without=[{"outcome": "z"}]),
    ):  # fmt: skip
        with pytest.raises(OptionError, match="registers another declaration"):
            other.register(path)


def test_without_leaves_out_combinations():
    plan = ek.Declaration(PLAN, without=[{"outcome": "z", "years": "late"}])
    assert len(plan) == 6
    assert {"outcome": "z", "years": "late", "cluster": "town"} not in list(plan)
    assert repr(plan).startswith("Declaration of 6 specifications: 2 outcome x 2 years")


WRONG = {
    "an empty grid": ({}, {}, ["empty", "labels it may take"]),
    "a choice without labels": ({"outcome": []}, {}, ["outcome", "has no label"]),
    "labels twice": ({"outcome": ["y", "y"]}, {}, ["different labels"]),
    "one text": ({"outcome": "y"}, {}, ["list of different labels"]),
    "nothing left": ({"outcome": ["y"]}, {"without": [{"outcome": "y"}]}, ["no combination"]),
    "an unknown exclusion": ({"outcome": ["y"]}, {"without": [{"sex": "f"}]}, ["without", "sex"]),
    "a level": ({"outcome": ["y"]}, {"level": 95}, ["level=95"]),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_declaration_that_makes_no_sense_is_refused(wrong):
    choices, options, words = WRONG[wrong]
    with pytest.raises(OptionError) as refused:
        ek.Declaration(choices, **options)
    for word in words:
        assert word in str(refused.value)


def test_runs_that_make_no_sense_are_refused():
    plan = ek.Declaration(PLAN)
    with pytest.raises(OptionError, match="workers=0"):
        ek.multiverse(plan, runner(towns()), workers=0)
    with pytest.raises(OptionError, match="declare the choices first"):
        ek.multiverse(PLAN, runner(towns()))
    with pytest.raises(OptionError, match="draws=1"):
        ek.multiverse(plan, runner(towns()), draws=1)

    def fails(choice):
        raise IdentificationError("never")

    with pytest.raises(IdentificationError, match="every one of 8 specifications failed: never"):
        ek.multiverse(plan, fails)

    rows = towns().assign(other=lambda f: f["town"] % 7)
    crossed = ek.Declaration({**PLAN, "cluster": ["district", "other"]})
    with pytest.raises(IdentificationError, match="not parts of the coarsest"):
        ek.multiverse(crossed, runner(rows))


def test_more_than_one_coordinate_is_a_failure_that_is_said():
    rows = towns()

    def run(choice):
        panel = ek.Panel.from_frame(rows, outcome="y", unit="town", time="year", cohort="start",
                                    provenance="synthetic")  # fmt: skip
        return ek.did.event_study(panel)

    with pytest.raises(IdentificationError, match="3 coordinates"):
        ek.multiverse(ek.Declaration({"only": ["one"]}), run)
