"""Sums as a Parquet file: what a county sends instead of pupils, with its keys and provenance."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from evalkit.core.errors import SummaryError
from evalkit.data.cells import Cells
from evalkit.data.histogram import Histogram
from evalkit.data.missing import Missing
from evalkit.data.moments import Moments

SCHEMA = 1  # raise it whenever an older reader would misread a file


def write(parts: dict[str, Any], path: Path) -> None:
    """Write the parts of a ``Summaries``; the file is whole, or not there."""
    pa, pq = _arrow()
    moments: Moments = parts["moments"]
    missing: Missing = parts["missing"]
    cells, full, short = parts["cells"].union(missing.cells)
    m, p = len(cells), len(parts["names"])

    def spread(values: Any, rows: Any) -> Any:
        out = np.zeros(m, values.dtype)
        out[rows] = values
        return pa.array(out)

    table = {f"key_{i}": pa.array(column) for i, column in enumerate(cells.labels)}
    for name in ("n", "weight", "weight2"):
        table[name] = spread(getattr(moments, name), full)
    for i in range(p):
        table[f"centre_{i}"] = spread(moments.centre[:, i], full)
        table[f"first_{i}"] = spread(moments.first[:, i], full)
        for j in range(i, p):
            table[f"second_{i}_{j}"] = spread(moments.second[:, i, j], full)
    if parts["bands"] is not None:
        for band, column in enumerate(parts["bands"].T):
            table[f"band_{band}"] = spread(column, full)
    table["missing"] = spread(missing.rows, short)
    for i in range(len(missing.reasons)):
        table[f"missing_{i}"] = spread(missing.counts[:, i], short)
    histogram: Histogram | None = parts["histogram"]
    if histogram is not None:
        held = np.zeros(m + 1, np.int32)
        held[full + 1] = np.bincount(histogram.cell, minlength=histogram.size)
        ends = pa.array(np.cumsum(held, dtype=np.int32))
        table["steps"] = pa.ListArray.from_arrays(ends, pa.array(histogram.step))
        table["counts"] = pa.ListArray.from_arrays(ends, pa.array(histogram.count))
    about = {
        "schema": SCHEMA,
        "keys": list(cells.keys),
        "names": list(parts["names"]),
        "step": parts["step"].tolist(),
        "grid": None if histogram is None else histogram.grid,
        "cuts": None if parts["cuts"] is None else parts["cuts"].tolist(),
        "weighting": parts["weighting"],
        "provenance": parts["provenance"],
        "keyless": missing.keyless,
        "notes": list(parts["notes"]),
    }
    with _whole(path) as unfinished:
        pq.write_table(pa.table(table, metadata={"evalkit": json.dumps(about)}), unfinished)


def read(path: Path) -> dict[str, Any]:
    """The parts of a ``Summaries``, or the reason why the file holds none."""
    pa, pq = _arrow()
    if not path.is_file():
        raise SummaryError(f"{path}: no such file; check the path")
    try:
        table = pq.read_table(path)
    except (pa.ArrowInvalid, OSError) as wrong:
        raise SummaryError(f"{path}: not a whole Parquet file; write or copy it again") from wrong
    text = (table.schema.metadata or {}).get(b"evalkit")
    if text is None:
        raise SummaryError(
            f"{path}: a Parquet file, but not of sums; records are read by ek.summaries(path, ...)"
        )
    about = json.loads(text)
    if about["schema"] > SCHEMA:
        raise SummaryError(
            f"{path}: written with schema {about['schema']}; this evalkit reads up to {SCHEMA}. "
            "Update evalkit."
        )
    return _parts(table, about)


def _parts(table: Any, about: dict[str, Any]) -> dict[str, Any]:
    def column(name: str) -> Any:
        return table[name].to_numpy()

    p = len(about["names"])
    reasons = (*about["names"], *([about["weighting"]] if about["weighting"] else []))
    labels = tuple(_labels(table[f"key_{i}"]) for i in range(len(about["keys"])))
    cells, n, lost = Cells(tuple(about["keys"]), labels), column("n"), column("missing")
    full, short = np.flatnonzero(n), np.flatnonzero(lost)
    second = np.empty((len(n), p, p))
    for i in range(p):
        for j in range(i, p):
            second[:, i, j] = second[:, j, i] = column(f"second_{i}_{j}")
    moments = Moments(
        n.astype(np.intp),
        column("weight"),
        column("weight2"),
        np.stack([column(f"centre_{i}") for i in range(p)], axis=1),
        np.stack([column(f"first_{i}") for i in range(p)], axis=1),
        second,
    )
    counts = np.stack([column(f"missing_{i}") for i in range(len(reasons))], axis=1)
    missing = Missing(
        cells.take(short),
        reasons,
        lost[short].astype(np.intp),
        counts[short].astype(np.intp),
        about["keyless"],
    )
    bands = [name for name in table.column_names if name.startswith("band_")]
    return {
        "cells": cells.take(full),
        "names": tuple(about["names"]),
        "moments": moments.take(full),
        "step": np.array(about["step"]),
        "cuts": None if about["cuts"] is None else np.array(about["cuts"]),
        "bands": np.stack([column(name)[full] for name in bands], axis=1) if bands else None,
        "histogram": _histogram(table, about["grid"], full),
        "missing": missing,
        "weighting": about["weighting"],
        "provenance": about["provenance"],
        "notes": tuple(about["notes"]),
    }


def _histogram(table: Any, grid: float | None, full: Any) -> Histogram | None:
    if grid is None:
        return None
    steps, counts = (table[name].combine_chunks() for name in ("steps", "counts"))
    held = np.diff(steps.offsets.to_numpy())[full]
    return Histogram(
        len(full),
        np.repeat(np.arange(len(full)), held),
        steps.flatten().to_numpy().astype(np.intp),
        counts.flatten().to_numpy(),
        grid,
    )


def _labels(column: Any) -> Any:
    values = column.to_numpy()
    return np.array(values.tolist()) if values.dtype == object else values


@contextmanager
def _whole(path: Path) -> Iterator[str]:
    """A file beside ``path`` that takes its place once it is written, and else goes away."""
    if not path.parent.is_dir():
        raise SummaryError(f"{path.parent}: no such folder; make it first")
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield str(unfinished)
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def _arrow() -> tuple[Any, Any]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as wrong:
        raise SummaryError("Parquet files need pyarrow: pip install 'evalkit[engines]'") from wrong
    return pa, pq
