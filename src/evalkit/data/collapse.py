"""One definition of the pass over the records, for every engine that narwhals speaks to.

The engine is asked for `len`, `count` and `sum` over prepared columns and nothing else, since those
are what engines agree on once numbers are doubles and missing is null. Not for opening
files (``files``), and not for what becomes of the engine's rows (``gather``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import narwhals as nw
import numpy as np
from narwhals.exceptions import DuplicateError

from evalkit.core.errors import OptionError, SummaryError, some
from evalkit.core.progress import progress, watched
from evalkit.data.gather import Collapsed, Request, gather, has_nan, histogram, loses_digits

Frame: TypeAlias = "nw.DataFrame[Any] | nw.LazyFrame[Any]"

MEMORY = "1GB"  # what DuckDB may use for a path, beyond which it spills to disk
CHUNK = 1 << 20  # rows of a frame in memory that are prepared at once
BEYOND = (
    "column {} holds integers beyond 2**53, which have no double of their own. Give smaller "
    "numbers; an id is a key."
)
_TINY = 1e-6  # of a step: what a decimal fraction may be off its grid in binary
_col = nw.col


def run(source: Any, request: Request, memory: str | None) -> Iterator[Collapsed]:
    """Sum the records, piece by piece where they are in memory; a path is opened by DuckDB."""
    if _is_path(source):
        from evalkit.data.files import are_csv, expand, opened

        files = expand(source)
        request = replace(request, text_keys=are_csv(files))
        with opened(files, request.keys, request.numeric, memory or MEMORY) as relation:
            yield collapse(nw.from_native(relation), request)
        return
    if memory is not None:
        raise OptionError("memory is what DuckDB may use to read a path; leave it out for a frame")
    frame = _frame(source)
    check(frame, request)
    frame = _uncategorised(frame, request)
    if isinstance(frame, nw.LazyFrame) or frame.implementation.is_polars():
        with watched("reading the records"):
            yield collapse(frame.lazy(), request)
    else:
        starts = range(0, max(len(frame), 1), CHUNK)
        for start in progress(starts, len(starts), "pieces of the records"):
            yield collapse(frame[start : start + CHUNK], request)


def _frame(source: Any) -> Frame:
    """The records as narwhals sees them."""
    try:
        if isinstance(source, Mapping):
            import pandas as pd

            source = pd.DataFrame(source)
        frame: Frame = nw.from_native(source)
        frame.collect_schema()
    except DuplicateError as wrong:
        raise SummaryError(
            "two columns of the records have one name; rename one of them"
        ) from wrong
    except ValueError as wrong:
        raise SummaryError(f"the columns make no table ({wrong}); give each row all") from wrong
    except TypeError as wrong:
        raise SummaryError(
            f"cannot read records from {type(source).__name__}; give a data frame (pandas, polars, "
            "Arrow, DuckDB, Spark), or the path of Parquet or CSV files"
        ) from wrong
    return frame


def _uncategorised(frame: Frame, request: Request) -> Frame:
    """Categoricals of pandas that hold numbers or dates as what they hold."""
    if isinstance(frame, nw.LazyFrame) or not frame.implementation.is_pandas():
        return frame
    import pandas as pd

    native, changed = frame.to_native(), {}
    for key in request.keys:
        dtype = native[key].dtype
        if isinstance(dtype, pd.CategoricalDtype) and not _is_text(dtype.categories):
            held = pd.Series(dtype.categories).reindex(native[key].cat.codes)
            changed[key] = held.set_axis(native.index)
    return nw.from_native(native.assign(**changed)) if changed else frame


def _is_text(categories: Any) -> bool:
    return all(isinstance(value, str) for value in categories)


def _is_path(source: Any) -> bool:
    listed = source if isinstance(source, (list, tuple)) else [source]
    return bool(listed) and all(isinstance(item, (str, Path)) for item in listed)


def check(frame: Frame, request: Request) -> None:
    """Refuse columns that are absent, or not of a kind that can be summed or grouped by."""
    schema = frame.collect_schema()
    absent = [name for name in (*request.keys, *request.numeric) if name not in schema]
    if absent:
        raise SummaryError(
            f"no column {some(absent)}; the records have {some(schema, 12) or 'none'}. "
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
    """Sum one frame, in one pass unless that would not do.

    A second pass makes NaN null, if a sum came out as NaN; another sums about each cell's mean, if
    digits would be lost about zero, or still are about a mean in single precision. Few data need
    either.
    """
    whole = [name for name in request.names if frame.collect_schema()[name].is_integer()]
    try:
        prepared = _prepared(frame, request, nan=False)
        table = _aggregated(prepared, request)
    except ValueError as wrong:  # Arrow makes no double of an integer that would lose digits
        if "Integer value" not in str(wrong):
            raise
        raise SummaryError(BEYOND.format(some(map(repr, whole)))) from wrong
    for name in whole:
        at = request.names.index(name)
        if (np.asarray(table[f"p{at}_{at}"].to_numpy(), float) >= 2.0**106).any():
            raise SummaryError(BEYOND.format(repr(name)))
    if has_nan(table, request):
        prepared = _prepared(frame, request, nan=True)
        table = _aggregated(prepared, request)
    found = gather(table, request)
    for single in (True, False):
        if loses_digits(found.moments):
            centred = _centred(prepared, request, single=single)
            found = gather(_aggregated(centred, request), request)
    if request.grid is None:
        return found
    return replace(found, histogram=histogram(_by_score(prepared, request), request, found.cells))


def _prepared(frame: Frame, request: Request, *, nan: bool) -> Frame:
    """Keys ``k``, values ``x``, where the row is complete ``z`` and ``w``, and bands ``b``."""
    schema, p = frame.collect_schema(), len(request.names)
    text = (nw.Categorical, nw.Enum)
    keys = {
        f"k{i}": _col(key).cast(nw.String) if schema[key] in text else _col(key)
        for i, key in enumerate(request.keys)
    }
    keys = {
        k: key + 0.0 if schema[name].is_float() else key  # one zero, whatever its sign
        for (k, key), name in zip(keys.items(), request.keys, strict=True)
    }
    values = {}
    for i, name in enumerate(request.numeric):
        x = _col(name).cast(nw.Float64)
        values[f"x{i}"] = nw.when(~x.is_nan()).then(x) if nan else x
    t = frame.select(**keys, **values)
    complete = ~_col("x0").is_null()
    for name in list(values)[1:]:
        complete = complete & ~_col(name).is_null()
    made = {f"z{i}": nw.when(complete).then(_col(f"x{i}")) for i in range(p)}
    score = _col(f"x{p - 1}")
    if request.grid:
        steps = score / request.grid
        score = steps.round(0) + 0.0
        made[f"z{p - 1}"] = nw.when(complete).then(score)
        made["off"] = nw.when((steps - score).abs() > _TINY).then(score)
    if request.weight:
        weight = _col(f"x{p}")
        made["w"] = nw.when(complete).then(weight)
        made["bad"] = nw.when(weight <= 0).then(weight)
    for i, edge in enumerate(request.edges):
        made[f"b{i}"] = nw.when(complete & (score >= edge)).then(
            _col(f"x{p}" if request.weight else "x0")
        )
    return t.with_columns(**made)


def _centred(prepared: Frame, request: Request, *, single: bool) -> Frame:
    """The same with each cell's own mean taken away; ``c0, c1, ...`` say what that was.

    A mean in single precision, or rounded to a step of the grid, has few digits: differences from
    it stay exact where scores lie on a grid.
    """
    keys, p = [f"k{i}" for i in range(len(request.keys))], len(request.names)
    values = [f"z{i}" for i in range(p)]
    if request.weight:
        t = prepared.with_columns(**{f"t{i}": _col("w") * _col(f"z{i}") for i in range(p)})
        total = [_col(f"t{i}").sum().alias(z) for i, z in enumerate(values)]
        sums = t.group_by(keys).agg(*total, _col("w").sum().alias("u"))
    else:
        total = [_col(z).sum() for z in values]
        sums = prepared.group_by(keys).agg(*total, _col("z0").count().alias("u"))
    centre = {f"c{i}": _col(z) / _col("u") for i, z in enumerate(values)}
    if single:
        centre = {c: mean.cast(nw.Float32).cast(nw.Float64) for c, mean in centre.items()}
    if request.grid:
        centre[f"c{p - 1}"] = (_col(values[-1]) / _col("u")).round(0)
    centres = sums.filter(_col("u") > 0).select(*keys, **centre)
    joined = prepared.join(centres, on=keys, how="left")  # type: ignore[arg-type]
    return joined.with_columns(**{z: _col(z) - _col(f"c{i}") for i, z in enumerate(values)})


def _aggregated(t: Frame, request: Request) -> nw.DataFrame[Any]:
    """One row per cell, in memory."""
    p, centres = len(request.names), [c for c in t.columns if c.startswith("c")]
    keys = [f"k{i}" for i in range(len(request.keys))]
    counts = {f"h{i}": f"x{i}" for i in range(len(request.numeric))}
    counts |= {"n": "z0", **({"off": "off"} if request.grid else {})}
    bands = [f"b{i}" for i in range(len(request.edges))]
    sums, made = [], {}
    if request.weight:
        counts["bad"] = "bad"
        sums = ["w", "w2", *bands]
        made["w2"] = _col("w") * _col("w")
    else:
        counts |= {band: band for band in bands}
    for i in range(p):
        weighted = _col("w") * _col(f"z{i}") if request.weight else _col(f"z{i}")
        made[f"s{i}"] = weighted
        made |= {f"p{i}_{j}": weighted * _col(f"z{j}") for j in range(i, p)}
    grouped = t.with_columns(**made).group_by([*keys, *centres])
    return _collected(
        grouped.agg(
            nw.len().alias("rows"),
            *[_col(name).count().alias(count) for count, name in counts.items()],
            *[_col(f"x{i}").sum() for i in range(len(request.numeric))],  # NaN shows in them
            *[_col(name).sum() for name in dict.fromkeys([*sums, *made])],
        )
    )


def _by_score(prepared: Frame, request: Request) -> nw.DataFrame[Any]:
    """One row per cell and score that occurs in it: their number ``count``."""
    keys, z = [f"k{i}" for i in range(len(request.keys))], f"z{len(request.names) - 1}"
    kept = prepared.filter(~_col(z).is_null()).group_by([*keys, z])
    count = _col("w").sum() if request.weight else nw.len()
    return _collected(kept.agg(count.alias("count")))


def _collected(t: Frame) -> nw.DataFrame[Any]:
    if isinstance(t, nw.DataFrame):
        return t
    return t.collect("pyarrow" if t.implementation.is_spark_like() else None)
