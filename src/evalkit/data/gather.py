"""From an engine's rows to sorted arrays, and what a sum cannot hold is refused on the way."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import narwhals as nw
import numpy as np

from evalkit.core.arrays import Codes, Flags, Labels, Matrix, Vector
from evalkit.core.errors import SummaryError, some
from evalkit.data.cells import Cells
from evalkit.data.histogram import Histogram
from evalkit.data.missing import Missing
from evalkit.data.moments import Moments

if TYPE_CHECKING:
    Table: TypeAlias = nw.DataFrame[Any]

Column: TypeAlias = Callable[[str], Vector]

LOSS = 100.0  # a sum of squares may exceed the spread so many times: two digits of sixteen
EPS = float(np.finfo(float).eps)
_INTEGER = re.compile(r"0|-?[1-9]\d{0,17}")


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
    bands: Matrix | None
    missing: Missing
    histogram: Histogram | None = None


def has_nan(table: Table, request: Request) -> bool:
    """True if a NaN that the engine takes for a value has spoiled a sum."""
    names = [f"x{i}" for i in range(len(request.numeric))]
    return any(np.isnan(table[name].to_numpy()).any() for name in names)


def gather(table: Table, request: Request) -> Collapsed:
    """Sorted arrays from the engine's rows."""
    cells, order, keyless = _keyed(table, request)
    column = _reader(table, order)
    _refuse_values(column, request, cells)
    n, rows = column("n").astype(np.intp), column("rows").astype(np.intp)
    missing = _missing(column, request, cells, rows - n, keyless)
    full = np.flatnonzero(n)
    if not len(full):
        raise SummaryError(f"no row is complete: {some(missing.ledger()) or 'there are no rows'}")
    if len(full) < len(n):
        cells, n, column = cells.take(full), n[full], _reader(table, order[full])
    moments, bands = _moments(table, column, request, n), None
    if request.cuts is not None:
        reached = [moments.weight, *(column(f"b{i}") for i in range(len(request.cuts)))]
        bands = np.stack([*reached, np.zeros(len(n))], axis=1)
        bands = bands[:, :-1] - bands[:, 1:]
    return Collapsed(cells, moments, bands, missing)


def _reader(table: Table, rows: Codes) -> Column:
    """Columns of numbers by name, at these rows."""
    return lambda name: np.asarray(table[name].to_numpy(), float)[rows]


def loses_digits(moments: Moments) -> bool:
    """True if some spread is so small against its distance from zero that it must be summed anew.

    Not where the sums are whole numbers of some power of two, and below 2**53 of them: then they
    are exact, however far from zero. Nor where pupils differ, from a centre near them, by no more
    than their own last digits: a county's income, say, that all its pupils have.
    """
    total = np.diagonal(moments.second, axis1=1, axis2=2)
    spread = total - moments.first**2 / moments.weight[:, None]
    last_digits = moments.weight[:, None] * (100 * EPS * moments.centre) ** 2
    doubtful = (total > LOSS * spread) & (moments.n > 1)[:, None]
    doubtful &= (moments.centre == 0) | (np.abs(spread) > last_digits)
    for v in np.flatnonzero(doubtful.any(axis=0)):
        first, second = moments.first[:, v], total[:, v]
        for unit in 2.0 ** np.arange(13):
            whole = not ((first * unit) % 1).any() and not ((second * unit * unit) % 1).any()
            if whole and (second * unit * unit).max() < 2.0**53:
                break
        else:
            return True
    return False


def histogram(table: Table, request: Request, cells: Cells) -> Histogram:
    """Counts by score; ``cells`` are those of the pass."""
    found = [_labels(table[f"k{i}"], request) for i in range(len(request.keys))]
    full = np.flatnonzero(~np.any([null for _, null in found], axis=0))
    columns = [c[full].astype(of.dtype) for (c, _), of in zip(found, cells.labels, strict=True)]
    codes = Cells.of(request.keys, columns)[1]
    score = table[f"z{len(request.names) - 1}"].to_numpy()
    step = np.asarray(score, float)[full].astype(np.intp)
    order = np.lexsort((step, codes))
    count = np.asarray(table["count"].to_numpy(), float)[full][order]
    return Histogram(len(cells), codes[order], step[order], count, request.grid or 1.0)


def _keyed(table: Table, request: Request) -> tuple[Cells, Codes, int]:
    """Sorted cells, the engine's row of each, and how many records have no key."""
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
    if len(cells) < len(kept):
        at = int(np.flatnonzero(np.bincount(codes) > 1)[0])
        raise SummaryError(
            f"two cells read the same, {cells.name(at)}: their keys differ only in what cannot be "
            "seen, such as a trailing zero byte. Correct the keys."
        )
    order = np.empty(len(kept), np.intp)
    order[codes] = kept
    return cells, order, int(table["rows"].to_numpy()[empty].sum())


def _labels(series: nw.Series[Any], request: Request) -> tuple[Labels, Flags]:
    """Labels of a key and where it is empty; whole numbers are integers on every engine."""
    null = np.asarray(series.is_null().to_numpy(), bool)
    kind = series.dtype
    if kind.is_float():
        values = np.where(null, np.nan, np.asarray(series.to_numpy(), float))
        null = np.isnan(values)
        if (np.abs(values[~null]) >= 2.0**53).any():
            raise SummaryError(
                "a key holds numbers beyond 2**53 in floating point, which has lost their last "
                "digits. Give ids as integers or text."
            )
        whole = not (values[~null] % 1).any()
        return (np.where(null, 0, values).astype(np.int64) if whole else values), null
    if kind.is_integer() and kind not in (nw.UInt64, nw.Int128, nw.UInt128):
        return np.asarray(series.fill_null(0).to_numpy(), np.int64), null
    if kind.is_integer() or kind.is_decimal():
        held = [0 if value is None else value for value in series.to_list()]
        if any(value % 1 for value in held):
            return np.array(held, float), null
        if max(map(abs, held), default=0) >= 2**63:
            raise SummaryError("a key holds integers beyond 64 bits. Give such ids as text.")
        return np.array(list(map(int, held)), np.int64), null
    if kind == nw.Boolean:
        return np.asarray(series.fill_null(False).to_numpy(), bool), null
    if kind == nw.Date:
        return series.to_numpy().astype("datetime64[D]"), null
    if kind.is_temporal():
        return series.to_numpy().astype("datetime64[us]"), null
    words = ["" if value is None else str(value) for value in series.to_list()]
    if request.text_keys and all(_INTEGER.fullmatch(word) for word in words if word):
        return np.array([int(word or 0) for word in words], np.int64), null
    return np.array(words, str), null


def _missing(column: Column, request: Request, cells: Cells, lost: Codes, keyless: int) -> Missing:
    short = np.flatnonzero(lost)
    rows = column("rows")[short]
    held = [column(f"h{i}")[short] for i in range(len(request.numeric))]
    counts = np.stack([rows - some_held for some_held in held], axis=1).astype(np.intp)
    return Missing(cells.take(short), request.numeric, lost[short], counts, keyless)


def _moments(table: Table, column: Column, request: Request, n: Codes) -> Moments:
    p = len(request.names)
    first, centre, second = np.empty((len(n), p)), np.zeros((len(n), p)), np.empty((len(n), p, p))
    for i in range(p):
        first[:, i] = column(f"s{i}")
        if f"c{i}" in table.columns:
            centre[:, i] = np.nan_to_num(column(f"c{i}"))  # no centre: no complete row
        for j in range(i, p):
            second[:, i, j] = second[:, j, i] = column(f"p{i}_{j}")
    weight, weight2 = (column("w"), column("w2")) if request.weight else [n.astype(float)] * 2
    # A single pupil is a centre of its own, so that adding another loses no digit.
    one = n == 1
    centre[one] += first[one] / weight[one, None]
    first[one], second[one] = 0.0, 0.0
    return Moments(n, weight, weight2, centre, first, second)


def _refuse_values(column: Column, request: Request, cells: Cells) -> None:
    """Refuse what a sum cannot hold: infinities, weights that are not positive, scores off grid."""
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
    for i, name in enumerate(request.names):
        wild = np.flatnonzero(~np.isfinite(column(f"p{i}_{i}")))
        if len(wild):
            raise SummaryError(
                f"column {name!r} is infinite, or too large to square, in {len(wild)} cells "
                f"({cells.name(wild[0])}). Correct the values, or make them empty."
            )
    if request.grid:
        off = column("off")
        if off.any():
            raise SummaryError(
                f"column {request.names[-1]!r} is off the grid of {request.grid:g} in "
                f"{int(off.sum())} rows ({cells.name(int(np.flatnonzero(off)[0]))}). "
                "Give the step that all scores are whole multiples of, or leave grid out."
            )
