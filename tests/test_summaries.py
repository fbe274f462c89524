"""From pupils to sums: the same table from every engine, every partition and every order."""

from __future__ import annotations

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import evalkit as ek

ENGINES = {
    "pandas": lambda frame: frame,
    "pandas nullable": lambda frame: frame.convert_dtypes(),
    "pandas Arrow": lambda frame: frame.convert_dtypes(dtype_backend="pyarrow"),
    "polars": pl.from_pandas,
    "polars lazy": lambda frame: pl.from_pandas(frame).lazy(),
    "Arrow": lambda frame: pa.Table.from_pandas(frame, preserve_index=False),
    "DuckDB": lambda frame: duckdb.connect().from_arrow(pa.Table.from_pandas(frame)),
}


def pupils(n=3000, seed=1):
    """Half-point scores with gaps, two covariates, weights that double precision holds exactly."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "county": rng.integers(0, 4, n),
            "school": rng.choice(["east", "north", "西"], n),
            "math": rng.integers(0, 201, n) / 2,
            "prior": rng.integers(0, 201, n) / 2,
            "female": rng.random(n) < 0.5,
            "weight": rng.integers(1, 9, n) / 4,
        }
    )
    frame.loc[rng.random(n) < 0.05, "math"] = np.nan
    frame.loc[rng.random(n) < 0.05, "prior"] = np.nan
    return frame


ASK = {
    "keys": ["county", "school"],
    "score": "math",
    "prior": ["prior"],
    "controls": ["female"],
    "provenance": "synthetic",
}


def same_bits(a, b):
    assert a.names == b.names
    for mine, theirs in zip(a.labels, b.labels, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    for part in ("n", "weight", "weight2", "mean", "cross", "bands"):
        np.testing.assert_array_equal(getattr(a, part), getattr(b, part), err_msg=part)
    for part in ("cell", "step", "count"):
        if a.histogram is not None:
            np.testing.assert_array_equal(getattr(a.histogram, part), getattr(b.histogram, part))
    for part in ("rows", "counts", "keyless"):
        np.testing.assert_array_equal(getattr(a.missing, part), getattr(b.missing, part))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("more", [{}, {"weight": "weight"}, {"grid": 0.5, "bands": [30, 60]}])
def test_every_engine_gives_the_same_bits_for_scores_on_a_grid(engine, more):
    frame = pupils()
    same_bits(
        ek.summaries(ENGINES[engine](frame), **ASK, **more), ek.summaries(frame, **ASK, **more)
    )


def test_parts_add_up_to_the_whole_bit_for_bit():
    frame, more = pupils(), {"grid": 0.5, "bands": [30.0, 60.0]}
    parts = [ek.summaries(frame[start::3], **ASK, **more) for start in range(3)]
    whole = ek.summaries(frame, **ASK, **more)
    same_bits(parts[0] + parts[1] + parts[2], whole)
    same_bits(parts[2] + (parts[0] + parts[1]), whole)


def test_fewer_keys_are_a_pass_with_fewer_keys():
    frame, more = pupils(), {"grid": 0.5, "bands": [30.0, 60.0]}
    same_bits(
        ek.summaries(frame, **ASK, **more).by("school"),
        ek.summaries(frame, **{**ASK, "keys": ["school"]}, **more),
    )


def test_a_file_gives_back_what_was_written(tmp_path):
    sums = ek.summaries(pupils(), **ASK, grid=0.5, bands=[60])
    sums.to_parquet(tmp_path / "sums.parquet")
    back = ek.Summaries.from_parquet(tmp_path / "sums.parquet")
    same_bits(back, sums)
    assert back.provenance == "synthetic"
    assert repr(back) == repr(sums)
