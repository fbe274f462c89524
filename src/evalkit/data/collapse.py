"""One definition of the pass over the records, for every engine that narwhals speaks to.

The engine is asked for `len` and `sum` over prepared columns and nothing else, since those are what
engines agree on: NaN is made null and numbers are made double first, and what comes back is
sorted and typed here. Not for opening files: that is ``files``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import narwhals as nw
import numpy as np

from evalkit.core.arrays import Codes, Labels, Vector
from evalkit.core.errors import SummaryError, some
from evalkit.data.cells import Cells
from evalkit.data.histogram import Histogram
from evalkit.data.missing import Missing
from evalkit.data.moments import Moments

Frame: TypeAlias = "nw.DataFrame[Any] | nw.LazyFrame[Any]"
Column: TypeAlias = Callable[[str], Vector]

LOSS = 100.0  # a sum of squares may exceed the spread so many times: two digits of sixteen
CHUNK = 1 << 20  # rows of a frame in memory that are prepared at once
_INTEGER = re.compile(r"0|-?[1-9]\d{0,17}")
_TINY = 1e-6  # of a step: what a decimal fraction may be off its grid in binary
_col = nw.col


@dataclass(frozen=True, slots=True)
class Request:
    """What to sum: keys, ``p`` variables (the score last), weight, cuts and grid of the score.

    ``text_keys``: keys come as text, and are integers if all of them are written as one.
    """

    keys: tuple[str, ...]
    names: tuple[str, ...]
    weight: str | None
    cuts: tuple[float, ...] | None
    grid: float | None
    drop_null_keys: bool
    text_keys: bool = False

    @property
    def numeric(self) -> tuple[str, ...]:
        """Columns that must hold numbers."""
        return (*self.names, *([self.weight] if self.weight else []))

    @property
    def edges(self) -> tuple[float, ...]:
        """Where bands begin, in steps of the score."""
        if self.grid is None:
            return self.cuts or ()
        return tuple(float(np.ceil(cut / self.grid - 1e-9)) for cut in self.cuts or ())


@dataclass(frozen=True, slots=True, eq=False)
class Collapsed:
    """What one pass found."""

    cells: Cells
    moments: Moments
    bands: Any
    histogram: Histogram | None
    missing: Missing


def check(frame: Frame, request: Request) -> None:
    """Refuse columns that are absent, or not of a kind that can be summed or grouped by."""
    schema = frame.collect_schema()
    absent = [name for name in (*request.keys, *request.numeric) if name not in schema]
    if absent:
        raise SummaryError(
            f"no column {some(absent)}; the records have {some(schema, 12)}. "
            "Check the spelling, or rename the column."
        )
    for name in request.numeric:
        if not (schema[name].is_numeric() or schema[name] == nw.Boolean):
            raise SummaryError(
                f"column {name!r} must be numeric; it is {schema[name]}. "
                "Convert it to numbers, with empty for missing."
            )
    for name in request.keys:
        if schema[name].is_nested() or schema[name] in (nw.Object, nw.Unknown, nw.Binary):
            raise SummaryError(
                f"key {name!r} is {schema[name]}; a key holds integers, text, dates or true and "
                "false, one type for all rows. Convert it."
            )


def collapse(frame: Frame, request: Request) -> Collapsed:
    """Sum one frame; a second pass, about each cell's own mean, only where digits would be lost."""
    prepared = _prepared(frame, request)
    found = _Found.of(_aggregated(prepared, request), request)
    if _loses_digits(found.moments):
        found = _Found.of(_aggregated(_centred(prepared, request), request), request)
    return Collapsed(
        found.cells,
        found.moments,
        found.bands,
        _histogram(prepared, request, found.cells),
        found.missing,
    )


def _prepared(frame: Frame, request: Request) -> Frame:
    """Keys ``k0, k1, ...``, complete values ``z0, z1, ...``, their centres, and what is missing."""
    schema = frame.collect_schema()
    text = (nw.Categorical, nw.Enum)
    keys = {
        f"k{i}": _col(key).cast(nw.String) if schema[key] in text else _col(key)
        for i, key in enumerate(request.keys)
    }
    values = {}
    for i, name in enumerate(request.numeric):
        x = _col(name).cast(nw.Float64)
        values[f"x{i}"] = nw.when(~x.is_nan()).then(x)
    t = frame.select(**keys, **values)
    p, ok = len(request.names), ~_col("x0").is_null()
    for name in list(values)[1:]:
        ok = ok & ~_col(name).is_null()
    made = {f"m{i}": _col(name).is_null().cast(nw.Float64) for i, name in enumerate(values)}
    made |= {f"z{i}": nw.when(ok).then(_col(f"x{i}")) for i in range(p)}
    if request.grid:
        steps = _col(f"x{p - 1}") / request.grid
        made[f"z{p - 1}"] = nw.when(ok).then(steps.round(0))
        made["off"] = ((steps - steps.round(0)).abs() > _TINY).cast(nw.Float64)
    if request.weight:
        made["w"] = nw.when(ok).then(_col(f"x{p}"))
        made["bad"] = (_col(f"x{p}") <= 0).cast(nw.Float64)
    return t.with_columns(ok=ok.cast(nw.Float64), **made).drop(*values)


def _centred(prepared: Frame, request: Request) -> Frame:
    """The same with each cell's own mean taken away; ``c0, c1, ...`` say what that was.

    The mean is rounded to single precision, or to a step of the grid: it then has few digits, and
    differences from it stay exact where scores lie on a grid.
    """
    keys, p = [f"k{i}" for i in range(len(request.keys))], len(request.names)
    w = _col("w") if request.weight else _col("ok")
    total = prepared.with_columns(**{f"t{i}": w * _col(f"z{i}") for i in range(p)}, u=w)
    sums = total.group_by(keys).agg(*[_col(f"t{i}").sum() for i in range(p)], _col("u").sum())
    mean = {f"c{i}": _col(f"t{i}") / _col("u") for i in range(p)}
    single = {c: x.cast(nw.Float32).cast(nw.Float64) for c, x in mean.items()}
    if request.grid:
        single[f"c{p - 1}"] = mean[f"c{p - 1}"].round(0)
    centres = sums.filter(_col("u") > 0).select(*keys, **single)
    joined = prepared.join(centres, on=keys, how="left")  # type: ignore[arg-type]
    return joined.with_columns(**{f"z{i}": _col(f"z{i}") - _col(f"c{i}") for i in range(p)})


def _aggregated(t: Frame, request: Request) -> nw.DataFrame[Any]:
    """One row per cell, in memory."""
    keys, p = [f"k{i}" for i in range(len(request.keys))], len(request.names)
    centred = "c0" in t.collect_schema()
    made, take = {}, ["ok", *[f"m{i}" for i in range(len(request.numeric))]]
    take += ["off"] if request.grid else []
    if request.weight:
        made["w2"] = _col("w") * _col("w")
        take += ["w", "bad"]
    for i in range(p):
        weighted = _col("w") * _col(f"z{i}") if request.weight else _col(f"z{i}")
        made[f"s{i}"] = weighted
        made |= {f"p{i}_{j}": weighted * _col(f"z{j}") for j in range(i, p)}
    if request.cuts is not None:
        z = _col(f"z{p - 1}") + _col(f"c{p - 1}") if centred else _col(f"z{p - 1}")
        w = _col("w") if request.weight else _col("ok")
        made |= {f"b{i}": nw.when(z >= edge).then(w) for i, edge in enumerate(request.edges)}
    by = [*keys, *(f"c{i}" for i in range(p) if centred)]
    grouped = t.with_columns(**made).group_by(by)
    out = grouped.agg(nw.len().alias("rows"), *[_col(name).sum() for name in [*take, *made]])
    return _collected(out)


def _collected(t: Frame) -> nw.DataFrame[Any]:
    if isinstance(t, nw.DataFrame):
        return t
    return t.collect("pandas" if t.implementation.is_spark_like() else None)


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    cells: Cells
    moments: Moments
    bands: Any
    missing: Missing

    @classmethod
    def of(cls, table: nw.DataFrame[Any], request: Request) -> _Found:
        """Sorted arrays from the engine's rows."""
        r = len(request.numeric)
        cells, column, keyless = _keyed(table, request)
        _refuse_values(column, request, cells)
        n = column("ok").astype(np.intp)
        lost = column("rows").astype(np.intp) - n
        counts = np.stack([column(f"m{i}").astype(np.intp) for i in range(r)], axis=1)
        short, full = np.flatnonzero(lost), np.flatnonzero(n)
        missing = Missing(cells.take(short), request.numeric, lost[short], counts[short], keyless)
        if not len(full):
            raise SummaryError(
                f"no row is complete: {some(missing.ledger()) or 'there are no rows'}"
            )
        moments = _moments(table, column, request, n).take(full)
        bands = None
        if request.cuts is not None:
            reached = [moments.weight, *(column(f"b{i}")[full] for i in range(len(request.cuts)))]
            bands = np.stack([*reached, np.zeros(len(full))], axis=1)
            bands = bands[:, :-1] - bands[:, 1:]
        return cls(cells.take(full), moments, bands, missing)


def _keyed(table: nw.DataFrame[Any], request: Request) -> tuple[Cells, Column, int]:
    """Sorted cells, a reader of the engine's columns in that order, and rows without a key."""
    columns, empty = [], np.zeros(len(table), bool)
    for i, key in enumerate(request.keys):
        labels, null = _labels(table[f"k{i}"], request)
        columns.append(labels)
        empty |= null
        if null.any() and not request.drop_null_keys:
            rows = int(table["rows"].to_numpy()[null].sum())
            raise SummaryError(
                f"key {key!r} is empty in {rows} rows; every row belongs to a cell. "
                "Fill it in, or leave those rows out with drop_null_keys=True."
            )
    kept = np.flatnonzero(~empty)
    cells, codes = Cells.of(request.keys, [labels[kept] for labels in columns])
    order = kept[np.argsort(codes, kind="stable")]

    def column(name: str) -> Vector:
        values = table[name].to_numpy().astype(float)[order]
        return np.where(np.isnan(values), 0.0, values)

    return cells, column, int(table["rows"].to_numpy()[empty].sum())


def _labels(series: nw.Series[Any], request: Request) -> tuple[Labels, Any]:
    """Labels of a key and where it is empty; whole numbers are integers on every engine."""
    null = series.is_null().to_numpy().astype(bool)
    kind = series.dtype
    if kind.is_float() or kind.is_decimal():
        values = np.where(null, np.nan, series.to_numpy().astype(float))
        null = np.isnan(values)
        whole = not (values[~null] % 1).any()
        return (np.where(null, 0, values).astype(np.int64) if whole else values), null
    if kind.is_integer():
        return series.fill_null(0).to_numpy().astype(np.int64), null
    if kind == nw.Boolean:
        return series.fill_null(False).to_numpy().astype(bool), null
    if kind == nw.Date:
        return series.to_numpy().astype("datetime64[D]"), null
    if kind.is_temporal():
        return series.to_numpy().astype("datetime64[us]"), null
    words = ["" if value is None else str(value) for value in series.to_list()]
    if request.text_keys and all(_INTEGER.fullmatch(word) for word in words if word):
        return np.array([int(word or 0) for word in words]), null
    return np.array(words), null


def _moments(table: nw.DataFrame[Any], column: Column, request: Request, n: Codes) -> Moments:
    p = len(request.names)
    second = np.empty((len(n), p, p))
    for i in range(p):
        for j in range(i, p):
            second[:, i, j] = second[:, j, i] = column(f"p{i}_{j}")
    zero = np.zeros(len(n))
    return Moments(
        n,
        column("w") if request.weight else n.astype(float),
        column("w2") if request.weight else n.astype(float),
        np.stack([column(f"c{i}") if f"c{i}" in table.columns else zero for i in range(p)], axis=1),
        np.stack([column(f"s{i}") for i in range(p)], axis=1),
        second,
    )


def _refuse_values(column: Column, request: Request, cells: Cells) -> None:
    """Refuse what a sum cannot hold: infinities, weights that are not positive, scores off grid."""
    p = len(request.names)
    for i, name in enumerate(request.names):
        wild = np.flatnonzero(~np.isfinite(column(f"p{i}_{i}")))
        if len(wild):
            raise SummaryError(
                f"column {name!r} is infinite, or too large to square, in {len(wild)} cells "
                f"({cells.name(wild[0])}). Correct the values, or make them empty."
            )
    if request.weight:
        bad = column("bad")
        if bad.any():
            raise SummaryError(
                f"weight column {request.weight!r} must be positive; it is zero or negative in "
                f"{int(bad.sum())} rows ({cells.name(int(np.flatnonzero(bad)[0]))}). "
                "Correct the weights, or drop the rows."
            )
        if not np.isfinite(column("w2")).all():
            raise SummaryError(f"weight column {request.weight!r} is infinite. Correct it.")
    if request.grid and column("off").any():
        off = column("off")
        raise SummaryError(
            f"column {request.names[p - 1]!r} is off the grid of {request.grid:g} in "
            f"{int(off.sum())} rows ({cells.name(int(np.flatnonzero(off)[0]))}). "
            "Give the step that all scores are whole multiples of, or leave grid out."
        )


def _loses_digits(moments: Moments) -> bool:
    """True if some spread is so small against its distance from zero that it must be summed anew.

    Not where the sums are whole numbers of some power of two, and below 2**53 of them: then they
    are exact, however far from zero.
    """
    spread = np.diagonal(moments.cross(), axis1=1, axis2=2)
    total = np.diagonal(moments.second, axis1=1, axis2=2)
    for v in np.flatnonzero(((total > LOSS * spread) & (moments.n > 1)[:, None]).any(axis=0)):
        first, second = moments.first[:, v], total[:, v]
        for unit in 2.0 ** np.arange(13):
            whole = not ((first * unit) % 1).any() and not ((second * unit * unit) % 1).any()
            if whole and (second * unit * unit).max() < 2.0**53:
                break
        else:
            return True
    return False


def _histogram(prepared: Frame, request: Request, cells: Cells) -> Histogram | None:
    if request.grid is None:
        return None
    keys, z = [f"k{i}" for i in range(len(request.keys))], f"z{len(request.names) - 1}"
    w = "w" if request.weight else "ok"
    kept = prepared.filter(_col("ok") == 1)
    table = _collected(kept.group_by(*keys, z).agg(_col(w).sum()))
    columns = [_labels(table[f"k{i}"], request) for i in range(len(request.keys))]
    full = np.flatnonzero(~np.any([null for _, null in columns], axis=0))
    labels = [c[full].astype(of.dtype) for (c, _), of in zip(columns, cells.labels, strict=True)]
    codes = Cells.of(request.keys, labels)[1]
    step = table[z].to_numpy().astype(float)[full].astype(np.intp)
    count = table[w].to_numpy().astype(float)[full]
    order = np.lexsort((step, codes))
    return Histogram(len(cells), codes[order], step[order], count[order], request.grid)


def run(source: Any, request: Request, memory: str) -> Iterator[Collapsed]:
    """Sum the records, piece by piece where they are in memory; a path is opened by DuckDB."""
    if _is_path(source):
        from evalkit.data.files import are_csv, expand, opened

        files = expand(source)
        request = replace(request, text_keys=are_csv(files))
        with opened(files, request.keys, request.numeric, memory) as relation:
            yield collapse(nw.from_native(relation), request)
        return
    if isinstance(source, Mapping):
        import pandas as pd

        source = pd.DataFrame(source)
    try:
        frame: Frame = nw.from_native(source)
    except TypeError as wrong:
        raise SummaryError(
            f"cannot read records from {type(source).__name__}; give a data frame (pandas, polars, "
            "Arrow, DuckDB, Spark), or the path of Parquet or CSV files"
        ) from wrong
    check(frame, request)
    if isinstance(frame, nw.LazyFrame) or frame.implementation.is_polars():
        yield collapse(frame.lazy(), request)
    else:
        for start in range(0, max(len(frame), 1), CHUNK):
            yield collapse(frame[start : start + CHUNK], request)


def _is_path(source: Any) -> bool:
    listed = source if isinstance(source, (list, tuple)) else [source]
    return bool(listed) and all(isinstance(item, (str, Path)) for item in listed)
