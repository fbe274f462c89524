"""Parquet and CSV files: read out of core, and refused by name where their parts do not agree."""

from __future__ import annotations

import gzip

import duckdb
import numpy as np
import pandas as pd
import pytest

import evalkit as ek
from evalkit.core.errors import SummaryError
from evalkit.data.files import expand
from test_summaries import ASK, pupils, same_bits


def parquet(folder, frame, name="a.parquet"):
    frame.to_parquet(folder / name, index=False)
    return folder / name


def summed(source, **more):
    return ek.summaries(source, **{**ASK, **more})


@pytest.mark.parametrize("kind", ["parquet", "csv", "csv.gz"])
def test_files_give_the_table_of_the_frame(tmp_path, kind):
    frame, more = pupils(), {"weight": "weight", "grid": 0.5, "bands": [30.0, 60.0]}
    for at in range(3):
        part, path = frame[at::3], tmp_path / f"part-{at}.{kind}"
        part.to_parquet(path) if kind == "parquet" else part.to_csv(path, index=False)
    whole = summed(frame, **more)
    same_bits(summed(tmp_path / f"*.{kind}", **more), whole)
    same_bits(summed(sorted(tmp_path.iterdir()), **more), whole)
    if kind == "parquet":
        same_bits(summed(str(tmp_path), **more), whole)


def test_a_path_may_hold_quotes_and_a_column_may_be_a_word_of_sql(tmp_path):
    folder = tmp_path / "it's"
    folder.mkdir()
    frame = pupils().rename(columns={"county": "group", "math": 'the "score"'})
    path = parquet(folder, frame, "what's new.parquet")
    ask = {**ASK, "keys": ["group", "school"], "score": 'the "score"'}
    same_bits(ek.summaries(path, **ask), ek.summaries(frame, **ask))
    frame.to_csv(folder / "b.csv", index=False)
    same_bits(ek.summaries(folder / "b.csv", **ask), ek.summaries(frame, **ask))


def test_a_score_that_is_whole_in_the_first_file_is_not_rounded_in_the_second(tmp_path):
    """DuckDB alone takes the integer type of the first file for all."""
    first = pd.DataFrame({"school": [1, 1], "math": [1, 2]})
    second = pd.DataFrame({"school": [1, 1], "math": [1.25, 2.25]})
    parquet(tmp_path, first, "a.parquet")
    parquet(tmp_path, second, "b.parquet")
    duck = duckdb.connect().read_parquet(str(tmp_path / "*.parquet")).sum("math").fetchall()[0][0]
    assert duck == 6
    sums = ek.summaries(tmp_path, keys=["school"], score="math", provenance="synthetic")
    assert sums.mean[0, 0] * 4 == 6.5


def test_a_key_in_the_folder_name_is_a_key(tmp_path):
    for year in (2014, 2015):
        (tmp_path / f"year={year}").mkdir()
        parquet(tmp_path / f"year={year}", pupils(50, year))
    sums = summed(tmp_path, keys=["year", "school"])
    assert np.unique(sums.label("year")).tolist() == [2014, 2015]
    assert sums.n.sum() == summed(pd.concat([pupils(50, 2014), pupils(50, 2015)])).n.sum()


def test_codes_with_leading_zeros_stay_text_and_numbers_become_integers(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("code,year,math\n010203,2014,1\n10203,2015,2\n", encoding="utf-8")
    sums = ek.summaries(path, keys=["code", "year"], score="math", provenance="synthetic")
    assert sums.label("code").tolist() == ["010203", "10203"]
    assert sums.label("year").tolist() == [2014, 2015]


def test_true_and_false_are_one_and_zero_and_an_empty_cell_is_missing(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes("\ufeffschool,math,poor\n1,1,true\n1,2,FALSE\n1,,true\n".encode())
    sums = ek.summaries(
        path, keys=["school"], score="math", controls=["poor"], provenance="synthetic"
    )
    assert sums.mean[0].tolist() == [0.5, 1.5]
    assert sums.missing.ledger() == ("1 rows left out: math is missing",)


def test_a_pass_larger_than_its_memory_spills_to_disk(tmp_path):
    """More cells than fit: 0.4 million of them, with 14 sums of 8 bytes each, in 60 MB."""
    frame = pd.DataFrame({"pupil": np.arange(400_000), "math": np.arange(400_000) % 7.0})
    path = parquet(tmp_path, frame)
    ask = {"keys": ["pupil"], "score": "math", "provenance": "synthetic"}
    assert len(ek.summaries(path, **ask, memory="60MB")) == 400_000
    with pytest.raises(SummaryError, match="memory='1MB'"):
        ek.summaries(path, **ask, memory="1MB")
    with pytest.raises(SummaryError, match="memory='lots' is no size"):
        ek.summaries(path, **ask, memory="lots")


# --- What is refused -----------------------------------------------------------------------------


def two(folder, second, name="b.parquet"):
    parquet(folder, pupils(60))
    second.to_parquet(folder / name, index=False)
    return folder


def truncated(folder):
    path = parquet(folder, pupils(600))
    path.write_bytes(path.read_bytes()[:-40])
    parquet(folder, pupils(60), "b.parquet")
    return folder


def torn(folder):
    """The footer is there, and the data before it are not."""
    path = parquet(folder, pupils(60_000))
    whole = path.read_bytes()
    path.write_bytes(whole[:200] + b"\0" * 2000 + whole[2200:])
    return path


def csv(folder, text, name="a.csv"):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


HEADER = "county,school,math,prior,female\n"
REFUSED = {
    "no such file": (lambda at: at / "none.parquet", ["no file matches", "none.parquet", "path"]),
    "no such glob": (lambda at: str(at / "*.csv"), ["no file matches", "*.csv"]),
    "an empty folder": (lambda at: at, ["no file matches"]),
    "another kind of file": (
        lambda at: csv(at, "x", "a.xlsx"), ["a.xlsx", "neither .parquet nor .csv", "convert"]),
    "Parquet and CSV together": (
        lambda at: [parquet(at, pupils(9)), csv(at, HEADER)], ["mixed", "add the sums"]),
    "a part without the score": (
        lambda at: two(at, pupils(60).drop(columns="math")),
        ["b.parquet", "no column 'math'", "county, school, prior", "Every part"]),
    "a part with text scores": (
        lambda at: two(at, pupils(60).astype({"math": str})),
        ["b.parquet", "'math'", "must be numeric", "text", "Convert"]),
    "a part with text ids": (
        lambda at: two(at, pupils(60).astype({"county": str})),
        ["'county'", "numbers in", "a.parquet", "text in", "b.parquet", "one type"]),
    "dates as scores": (
        lambda at: parquet(at, pupils(9).assign(math=pd.Timestamp("2020-01-01"))),
        ["a.parquet", "'math'", "must be numeric"]),
    "a truncated Parquet": (truncated, ["a.parquet", "not a whole Parquet file", "copy it again"]),
    "a torn Parquet": (torn, ["a.parquet"]),
    "text that is called Parquet": (
        lambda at: csv(at, HEADER, "a.parquet"), ["a.parquet", "not a whole Parquet file"]),
    "a CSV without the score": (
        lambda at: csv(at, "county,school\n1,2\n"),
        ["a.csv", "no column female, prior, math", "it has county, school"]),
    "words among CSV scores": (
        lambda at: csv(at, HEADER + "1,a,50,50,0\n1,a,absent,50,1\n"),
        ["a.csv", "'math'", "row 2", "'absent'", "Convert"]),
    "words in a later CSV": (
        lambda at: [csv(at, HEADER + "1,a,50,50,0\n"),
                    csv(at, HEADER + "1,a,50,50,0\n1,a,50,n/a,0\n", "b.csv")],
        ["b.csv", "'prior'", "row 2", "'n/a'"]),
    "an empty CSV": (lambda at: csv(at, ""), ["a.csv", "empty"]),
    "a CSV with a header only": (lambda at: csv(at, HEADER), ["no rows"]),
    "a CSV in GBK": (
        lambda at: csv(at, (HEADER + "1,实验,50,50,0\n").encode("gbk")),
        ["a.csv", "not UTF-8", "byte", "GBK"]),
    "a compressed CSV in GBK": (
        lambda at: csv(at, gzip.compress((HEADER + "1,实验,5,5,0\n").encode("gbk")), "a.csv.gz"),
        ["a.csv.gz", "not UTF-8"]),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_files_that_cannot_be_summed_are_refused_by_name(tmp_path, case):
    made, words = REFUSED[case]
    with pytest.raises(SummaryError) as refused:
        summed(made(tmp_path))
    for word in words:
        assert word in str(refused.value)


def test_each_file_is_read_once_however_often_it_is_named(tmp_path):
    path = parquet(tmp_path, pupils(9))
    assert expand([path, str(tmp_path / "*.parquet"), tmp_path]) == [str(path)]
