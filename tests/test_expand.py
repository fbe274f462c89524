"""Pupils drawn by DuckDB from the cells of a simulated study: exact counts, the cells' moments."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest
from scipy.special import ndtr

import evalkit as ek
from evalkit.core.errors import OptionError, SummaryError
from evalkit.data.county.folder import Manifest
from evalkit.data.simulate.expand import CELL, WIDER

SMALL = ek.simulate.Assumptions(seed=5, counties=4, prefectures=2, schools=10)  # 1e5 pupils
ASK = {"keys": CELL, "score": "score", "prior": ["prior_score"], "provenance": "synthetic"}
SYNTHETIC = Path(__file__).parent.parent / "data" / "synthetic" / "school_cohort.parquet"
ERRORS = 4  # standard errors that a mean over all draws may be off
HALF_POINTS = 1 / 48  # variance that rounding to half points adds


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    where = tmp_path_factory.mktemp("study")
    ek.simulate.write(where, SMALL, pupils_of=[1])
    return ek.county_study(where)


@pytest.fixture(scope="module")
def drawn(study, tmp_path_factory):
    where = tmp_path_factory.mktemp("pupils")
    ek.simulate.expand(study, where)
    return where


def rows(folder):
    files = f"{folder}/*.parquet"
    return duckdb.sql(f"select * from '{files}' order by {', '.join(CELL)}, pupil").df()


def test_counts_are_those_of_the_cells_and_moments_are_within_sampling_error(study, drawn):
    sums = ek.summaries(drawn / "*.parquet", **ASK)
    cells = study.table("school_cohort").set_index(CELL)
    found = sums.table.set_index(CELL).loc[cells.index]
    assert len(sums) == len(cells)
    assert (found["n"].to_numpy() == cells["n_tested"].to_numpy()).all()
    assert found["n"].sum() > 1e5
    n, sd = cells["n_tested"].to_numpy(float), cells["sd"].to_numpy(float)
    spread = np.sqrt(sd**2 + HALF_POINTS)
    off = found["mean_score"].to_numpy() - cells["mean"].to_numpy(float)
    z = off / spread * np.sqrt(n)
    assert abs(z.mean()) < ERRORS / np.sqrt(len(z))
    assert abs(z.var() - 1) < ERRORS * np.sqrt(2 / len(z))
    chi = ((n - 1) * found["sd_score"].to_numpy() ** 2 / spread**2).sum() / (n - 1).sum()
    assert abs(chi - 1) < ERRORS * np.sqrt(2 / (n - 1).sum())
    off = found["mean_prior_score"].to_numpy() - cells["mean_prior"].to_numpy(float)
    prior = off / (WIDER * sd) * np.sqrt(n)
    assert abs(prior.var() - 1) < ERRORS * np.sqrt(2 / len(z))


def test_what_a_cut_at_the_ends_of_the_test_would_do_is_what_the_docstring_says():
    cells = pd.read_parquet(SYNTHETIC)
    n, mean, sd = (cells[name].to_numpy(float) for name in ("n_tested", "mean", "sd"))
    share, lost = above(mean, sd)
    assert f"{np.average(share, weights=n):.2%} of scores" in ek.simulate.expand.__doc__
    assert f"mean scores by {np.average(lost, weights=n):.3f} marks" in ek.simulate.expand.__doc__
    assert f"{lost.max():.1f}" == "0.8"
    prior = np.average(above(cells["mean_prior"].to_numpy(float), WIDER * sd)[0], weights=n)
    assert f"{prior:.2%} of prior scores" in ek.simulate.expand.__doc__
    assert np.average(above(100 - mean, sd)[0], weights=n) < 1e-6


def above(mean, sd):
    """Share of normal scores above 100, and by how much a cut there lowers the mean."""
    z = (mean - 100) / sd
    return ndtr(z), sd * (z * ndtr(z) + np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi))


def test_prior_scores_go_with_scores_as_they_do_for_simulated_pupils(study, drawn):
    within = []
    for frame in (study.table("pupil_test"), rows(drawn)):
        values = frame[["prior_score", "score"]].astype(float)
        within.append(values - values.groupby([frame[key] for key in CELL]).transform("mean"))
    true, mine = within
    assert abs(true.corr().iloc[0, 1] - mine.corr().iloc[0, 1]) < 0.02
    assert abs(np.divide(*true.std()) - np.divide(*mine.std())) < 0.05


def test_the_draws_of_different_cells_and_pupils_are_unrelated(study, drawn):
    """Draws standardised by their cell: along pupils, across subjects, and as a distribution."""
    frame = rows(drawn).merge(study.table("school_cohort")[[*CELL, "mean", "sd"]])
    frame["z"] = (frame["score"] - frame["mean"]) / frame["sd"]
    error = ERRORS / np.sqrt(len(frame))
    z = frame["z"].to_numpy(float)
    assert abs(np.corrcoef(z[1:], z[:-1])[0, 1]) < error
    across = frame.pivot_table("z", [*CELL[:3], "pupil"], "subject").corr()
    assert abs(across.iloc[0, 1]) < error * np.sqrt(2)
    assert abs((z**3).mean()) < error * np.sqrt(15)
    assert abs((z**4).mean() - 3 * (1 + 2 * HALF_POINTS / 100)) < error * np.sqrt(96)


@pytest.mark.parametrize(
    "options", [{"threads": 1}, {"threads": 2}, {"part": 10_000}, {"part": 1}], ids=str
)
def test_neither_threads_nor_the_size_of_a_part_change_a_row(study, drawn, options, tmp_path):
    few = study if options.get("part") != 1 else None
    files = ek.simulate.expand(few or first_year(study, tmp_path), tmp_path / "pupils", **options)
    if few is None:  # a file for each cell
        assert len(files) == len(first_year(study, tmp_path).table("school_cohort"))
        kept = rows(drawn).query("year == 2012").reset_index(drop=True)
        pd.testing.assert_frame_equal(rows(tmp_path / "pupils"), kept)
        return
    pd.testing.assert_frame_equal(rows(tmp_path / "pupils"), rows(drawn))
    if "threads" in options:
        (one,) = drawn.glob("*.parquet")
        assert files[0].read_bytes() == one.read_bytes()


def first_year(study, tmp_path):
    """The same study with the tests of its first year alone."""
    where = tmp_path / "first"
    where.mkdir(exist_ok=True)
    Manifest("synthetic", "test").write(where)
    study.table("school").to_csv(where / "school.csv", index=False)
    tests = study.table("school_cohort").query("year == 2012")
    tests.to_csv(where / "school_cohort.csv", index=False)
    return ek.county_study(where)


def test_more_pupils_of_a_cell_begin_with_the_same_and_another_seed_with_others(
    study, drawn, tmp_path
):
    small = first_year(study, tmp_path)
    ek.simulate.expand(small, tmp_path / "twice", times=2)
    ek.simulate.expand(small, tmp_path / "other", seed=2)
    base = rows(drawn).query("year == 2012").reset_index(drop=True)
    twice = rows(tmp_path / "twice")
    assert len(twice) == 2 * len(base)
    both = base.merge(twice, on=[*CELL, "pupil"], suffixes=("", "_twice"))
    assert (both["score"] == both["score_twice"]).all()
    assert (rows(tmp_path / "other")["score"] != base["score"]).mean() > 0.9


def test_gaps_and_effects_follow_from_the_sums(study, drawn):
    keys = ["county_code", "stratum", "school_id", "year"]
    sums = ek.summaries(drawn / "*.parquet", keys=keys, score="score", provenance="synthetic")
    found = ek.gaps.gap(
        sums, by="year", between="stratum", high="urban", low="rural", unit="school_id"
    )
    means = rows(drawn).pivot_table("score", "year", "stratum")
    np.testing.assert_allclose(found.theta, means["urban"] - means["rural"], rtol=1e-10)
    half = {
        school: 2018 if at % 2 else None
        for at, school in enumerate(study.table("school")["school_id"])
    }
    panel = sums.panel(time="year", unit="school_id", cohort=half)
    event = ek.aggregate(ek.did.callaway_santanna(panel, unbalanced="records"), by="event")
    assert np.isfinite(event.theta).all()


def test_what_cannot_be_drawn_is_refused(study, drawn, tmp_path, monkeypatch):
    with pytest.raises(OptionError, match="holds Parquet files already"):
        ek.simulate.expand(study, drawn)
    for option in ("times", "part", "threads"):
        with pytest.raises(OptionError, match=option):
            ek.simulate.expand(study, tmp_path / "none", **{option: 0})
    real = replace(study, manifest=replace(study.manifest, provenance="restricted"))
    with pytest.raises(OptionError, match="would pass for records"):
        ek.simulate.expand(real, tmp_path / "none")
    monkeypatch.setitem(sys.modules, "duckdb", None)
    with pytest.raises(SummaryError, match=r"needs DuckDB: pip install 'evalkit\[engines\]'"):
        ek.simulate.expand(study, tmp_path / "none")
    assert not (tmp_path / "none").exists()
