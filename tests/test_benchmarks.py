"""What is stored of a benchmark was measured: a placeholder cannot stand in its place."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

import evalkit as ek
from benchmarks import summaries as benchmark
from evalkit.core.errors import ContractError

ROOT = Path(__file__).resolve().parent.parent
STORED = ROOT / "data" / "benchmarks" / "summaries.csv"
BY_HAND = "SQL by hand"


@pytest.fixture
def passes() -> pd.DataFrame:
    return ek.load(STORED, ek.contracts.PASSES)


def test_every_pass_through_evalkit_shows_the_bits_of_its_sums(passes):
    assert (passes["bits"].isna() == (passes["engine"] == BY_HAND)).all()


def test_engines_agree_in_the_bits_of_a_size_and_sizes_do_not(passes):
    bits = passes.dropna(subset="bits").groupby("pupils")["bits"].unique()
    assert bits.map(len).eq(1).all()
    assert bits.map(lambda found: found[0]).is_unique


def test_the_clock_and_the_processor_are_two_measurements(passes):
    assert (passes["seconds"] != passes["processor"]).any()


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("bits", "ab"),
        ("version", "DuckDB 1"),
        ("machine", "2 cores"),
        ("date", "today"),
        ("provenance", "real"),
    ],
)
def test_a_placeholder_breaks_the_contract(passes, column, value):
    passes.loc[passes["engine"] != BY_HAND, column] = value
    with pytest.raises(ContractError, match=column):
        ek.load(passes, ek.contracts.PASSES)


def test_the_script_stores_no_placeholder_and_keeps_what_it_did_not_measure(passes, tmp_path):
    path, row = tmp_path / "summaries.csv", passes.astype(object).iloc[1].to_dict()
    path.write_bytes(STORED.read_bytes())
    with pytest.raises(ContractError, match="version"):
        benchmark.save([row | {"version": "DuckDB 1"}], path)
    assert path.read_bytes() == STORED.read_bytes()
    benchmark.save([row], path)
    assert ek.load(path, ek.contracts.PASSES).equals(passes)


def test_the_pupils_drawn_are_those_of_the_study_and_each_size_has_every_step():
    table = ek.load(STORED.with_name("expand.csv"), ek.contracts.EXPANSIONS)
    tested = pd.read_parquet(ROOT / "data/synthetic/school_cohort.parquet")["n_tested"].sum()
    assert (table["pupils"] % tested == 0).all()
    for _, steps in table.groupby("pupils")["step"]:
        assert steps.tolist() == ["write", "sum", "estimate"]
    sums = table[table["step"] == "sum"]
    assert len(set(sums["cells"])) == 1
    assert (table["seconds"] != table["processor"]).any()
