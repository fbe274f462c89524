"""Reads the columns of a foreign frame and refuses what a panel cannot hold.

Not for choosing rows: the panel decides what it drops, and counts it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from evalkit.core.arrays import Codes, Flags, Labels, Vector, encode
from evalkit.core.errors import PanelError, some

if TYPE_CHECKING:
    import pandas as pd

_NUMBERS = {"integer", "floating", "mixed-integer-float", "decimal", "boolean", "empty"}
_MIXED = {"mixed", "mixed-integer"}
_KINDS = {"M": "dates", "U": "text", "O": "text"}  # of labels; all others are numbers


class Door:
    """The columns of a frame, read one by one; the first data row is row 1 in every message."""

    def __init__(self, frame: Any) -> None:
        self.frame = _frame(frame)
        self.columns = getattr(self.frame, "columns", self.frame)
        self.read: dict[str, Any] = {}
        self.rows = 0

    def require(self, names: Sequence[str]) -> None:
        """Refuse a frame without these columns, or without rows."""
        names = list(dict.fromkeys(names))
        absent = [name for name in names if name not in self.columns]
        if absent:
            raise PanelError(
                f"no column {some(absent)}; the frame has {some(self.columns, 12)}. "
                "Check the spelling, or rename the column."
            )
        unique = getattr(self.columns, "is_unique", True)
        repeated = [] if unique else [name for name in names if list(self.columns).count(name) > 1]
        if repeated:
            raise PanelError(f"two columns are called {some(repeated)}; rename one of them.")
        self.read = {name: _array(self.frame[name]) for name in names}
        lengths = {name: len(column) for name, column in self.read.items()}
        if len(set(lengths.values())) > 1:
            listed = some((f"{name} has {length}" for name, length in lengths.items()), 12)
            raise PanelError(f"the columns differ in length: {listed}. Give each row every column.")
        self.rows = lengths[names[0]]
        if not self.rows:
            raise PanelError("the frame has no rows")

    def _series(self, name: str) -> pd.Series[Any]:
        import pandas as pd

        column = self.read[name]
        if not isinstance(column, pd.Series):
            column = pd.Series(np.asarray(column) if hasattr(column, "dtype") else column)
        if isinstance(column.dtype, pd.CategoricalDtype):
            return pd.Series(column.cat.categories).reindex(column.cat.codes)
        if isinstance(column.dtype, pd.PeriodDtype):
            return pd.Series(column.dt.to_timestamp())
        return column

    def is_number(self, name: str) -> bool:
        """True if a column holds numbers, or booleans, or nothing."""
        import pandas as pd

        if self.plain(name) is not None:
            return True
        return pd.api.types.infer_dtype(self._series(name), skipna=True) in _NUMBERS

    def plain(self, name: str) -> Labels | None:
        """The column where it is a plain array of numbers, which needs no reading."""
        column = self.read[name]
        return column if isinstance(column, np.ndarray) and column.dtype.kind in "iuf" else None

    def number(self, name: str, *, infinite: bool = False) -> Vector:
        """A numeric column ``(n,)``, NaN where it is empty."""
        plain = self.plain(name)
        values = self._number(name) if plain is None else plain.astype(float, copy=False)
        if not infinite and not np.isfinite(total(values)):
            wild = np.flatnonzero(np.isinf(values))
            if len(wild):
                raise PanelError(
                    f"column {name!r} is infinite in {len(wild)} rows (rows {some(wild + 1)}). "
                    "Correct the values, or make them empty."
                )
        return values

    def _number(self, name: str) -> Vector:
        import pandas as pd

        column = self._series(name)
        kind = pd.api.types.infer_dtype(column, skipna=True)
        if kind not in _NUMBERS:
            wrong = [at for at, value in enumerate(column) if not _is_number(value)]
            at = wrong[0] if wrong else 0
            raise PanelError(
                f"column {name!r} must be numeric; row {at + 1} holds {column.iloc[at]!r}. "
                "Convert the column to numbers, with empty for missing."
            )
        return column.to_numpy(dtype=float, na_value=np.nan)

    def label(self, name: str) -> tuple[Codes, Labels]:
        """Codes ``(n,)`` of a complete column and its sorted labels."""
        plain = self.plain(name)
        if plain is not None and (plain.dtype.kind != "f" or np.isfinite(total(plain))):
            codes, labels = encode(plain)
            return codes, whole(labels)
        codes, labels = self._encoded(name)
        missing = np.flatnonzero(codes < 0)
        if len(missing):
            raise PanelError(
                f"column {name!r} is empty in rows {some(missing + 1)}; every row needs a value. "
                "Fill it in, or drop the rows."
            )
        return codes, labels

    def each_row(self) -> tuple[Codes, Labels]:
        """Codes and labels, the row numbers, of rows that are units of their own."""
        return np.arange(self.rows), np.arange(1, self.rows + 1)

    def one_period(self) -> tuple[Codes, Labels]:
        """Codes and label, zero, of rows that are all of one period."""
        return np.broadcast_to(np.intp(0), self.rows), np.zeros(1, np.int64)

    def refuse_order(self, name: str, labels: Labels) -> None:
        """Refuse periods whose order is not that of their labels, which is all that is kept."""
        if labels.dtype.kind not in "UO":
            return
        declared = _declared(self.read[name])
        known = set(labels.tolist())
        if declared is not None and [v for v in declared if v in known] != labels.tolist():
            raise PanelError(
                f"column {name!r} declares the order {some(declared)}, but periods in words are "
                f"put in the order of the alphabet: {some(labels)}. Number the periods, or use "
                "dates."
            )
        refuse_number_words(f"column {name!r}", labels)

    def grid(self, unit: str, time: str) -> tuple[Labels, Labels] | None:
        """Units and periods of a frame that is sorted by unit and time and has every period of
        every unit, if it is one; then nothing needs sorting."""
        units, times = self.plain(unit), self.plain(time)
        if units is None or times is None:
            return None
        periods = int(np.argmax(units != units[0])) or len(units)
        if len(units) % periods:
            return None
        units, times = units.reshape(-1, periods), times.reshape(-1, periods)
        who, when = units[:, 0], times[0]
        if (
            (who[1:] > who[:-1]).all()
            and (when[1:] > when[:-1]).all()
            and (units == who[:, None]).all()
            and (times == when).all()
            and np.isfinite(float(who[-1]) + float(when[-1]))
        ):
            return whole(who), whole(when)
        return None

    def _encoded(self, name: str) -> tuple[Codes, Labels]:
        """Codes ``(n,)``, -1 where the column is empty, and sorted labels."""
        import pandas as pd

        column = self.read[name]
        if isinstance(getattr(column, "dtype", None), pd.CategoricalDtype):
            given = column.cat.codes.to_numpy()
            seen = np.zeros(len(column.cat.categories) + 1, bool)
            seen[given] = True  # the last for -1
            place = np.full(len(seen), -1)
            used = np.flatnonzero(seen[:-1])
            place[used], labels = self._sorted(name, pd.Series(column.cat.categories[used]))
            codes = place[given]
        else:
            codes, labels = self._sorted(name, self._series(name))
        if labels.dtype.kind == "f" and np.isinf(labels).any():
            rows = np.flatnonzero(np.isinf(labels)[codes]) + 1
            raise PanelError(f"column {name!r} is infinite in rows {some(rows)}. Correct it.")
        return codes, whole(labels)

    def _sorted(self, name: str, column: pd.Series[Any]) -> tuple[Codes, Labels]:
        import pandas as pd

        if pd.api.types.infer_dtype(column, skipna=True) in _MIXED:
            kinds = sorted({type(value).__name__ for value in column})
            raise PanelError(f"column {name!r} mixes {some(kinds)}; use one type for all rows.")
        codes, uniques = pd.factorize(column, sort=True)
        if pd.api.types.is_datetime64_any_dtype(uniques.dtype):
            labels = np.asarray(uniques)
        else:
            labels = np.array(uniques.tolist())
        return codes.astype(np.intp), labels

    def date(self, name: str, times: Labels) -> Vector:
        """First treated period ``(n,)``: a number like ``times``, or a position in text times;
        NaN where it is empty."""
        if times.dtype.kind in "iuf":
            try:
                return self.number(name, infinite=True)
            except PanelError as wrong:
                raise PanelError(
                    f"{wrong} It must hold periods like those of the time column, empty for never."
                ) from wrong
        codes, labels = self._encoded(name)
        if not len(labels):
            return np.full(len(codes), np.nan)
        kinds = [_KINDS.get(each.dtype.kind, "numbers") for each in (labels, times)]
        if kinds[0] != kinds[1]:
            raise PanelError(
                f"column {name!r} holds {kinds[0]} and the time column {kinds[1]}. Give both the "
                "same periods, None or NaN for never."
            )
        position = np.searchsorted(times, labels)
        known = np.array(
            [
                at < len(times) and times[at] == label
                for at, label in zip(position, labels, strict=True)
            ]
        )
        wrong_rows = np.flatnonzero((codes >= 0) & ~known[codes])
        if len(wrong_rows):
            at = wrong_rows[0]
            raise PanelError(
                f"column {name!r}, row {at + 1}: {str(labels[codes[at]])!r} is no period of the "
                "time column. Use one of its values, empty for never."
            )
        return np.where(codes >= 0, position[codes].astype(float), np.nan)


def _frame(frame: Any) -> Any:
    """A frame with columns that can be read by name: Arrow tables and lazy frames are collected."""
    if hasattr(frame, "iloc") or isinstance(frame, Mapping):
        return frame
    import narwhals as nw

    found = nw.from_native(frame, pass_through=True)
    if isinstance(found, nw.LazyFrame):
        found = found.collect()
    if not isinstance(found, nw.DataFrame):
        raise PanelError(
            f"cannot read a panel from {type(frame).__name__}; give a data frame (pandas, polars, "
            "Arrow) or a mapping from names to columns"
        )
    return found.to_pandas() if found.implementation.is_pyarrow() else found.to_native()


def _declared(column: Any) -> list[Any] | None:
    """The order that an ordered categorical or an Enum declares."""
    import narwhals as nw

    found = nw.from_native(column, series_only=True, pass_through=True)
    if isinstance(found, nw.Series) and isinstance(found.dtype, nw.Enum):
        return list(found.dtype.categories)
    return None


def refuse_number_words(where: str, labels: Labels) -> None:
    """Refuse periods in words that the alphabet puts in an order which is not that of time."""
    words = [str(label) for label in labels.tolist()]
    try:
        order: list[Any] = [float(word) for word in words]
    except ValueError:  # the numbers in the words count, by their size
        split = [re.split(r"(\d+)", word) for word in words]
        order = [tuple(int(p) if p.isdecimal() else p for p in parts) for parts in split]
    years = [word[-4:] for word in words if re.search(r"\D\d{4}$", word)]
    late = [word for word in words if re.search(r"\D\d{1,2}\D+\d{4}$", f" {word}")]
    if order != sorted(set(order)) or years != sorted(years) or late:
        raise PanelError(
            f"{where} holds numbers as text, which the alphabet puts in a wrong order: "
            f"{some(late or words)}. Convert it to numbers or dates, or write 2015-09."
        )


def _is_number(value: Any) -> bool:
    return value is None or isinstance(value, (int, float, np.number, np.bool_)) or value != value


def _array(column: Any) -> Any:
    """A column of plain numbers as an array; any other as it is."""
    dtype = getattr(column, "dtype", None)
    if not isinstance(dtype, np.dtype) or dtype.kind not in "iuf":
        return column
    return column.to_numpy() if hasattr(column, "to_numpy") else np.asarray(column)


def total(values: Labels) -> float:
    """The sum: finite if no value is empty or infinite, in one pass."""
    with np.errstate(over="ignore", invalid="ignore"):
        return float(values.sum())


def missing(columns: dict[str, Vector]) -> dict[str, Flags]:
    """Empty rows ``(n,)`` of the columns that have any."""
    return {name: np.isnan(v) for name, v in columns.items() if np.isnan(total(v))}


def whole(labels: Labels) -> Labels:
    """Labels that are whole numbers as integers of one size."""
    if (labels.dtype.kind == "f" and not (labels % 1).any()) or labels.dtype.kind == "i":
        return labels.astype(np.int64)
    return np.array(labels.tolist()) if labels.dtype.kind == "u" else labels.copy()


def as_number(times: Labels) -> Vector:
    return times.astype(float) if times.dtype.kind in "iuf" else np.arange(len(times), dtype=float)


def refuse_shrunken(frame: Any, outcome: str) -> None:
    """Refuse an outcome that its table, or its name, says to be shrunken.

    The name counts because a join of tables loses what they know.
    """
    if outcome in ("shrunken", *getattr(frame, "attrs", {}).get("shrunken", ())):
        raise PanelError(
            f"column {outcome!r} is shrunken: each value is pulled to the mean, so that every "
            "difference between units, a treatment effect among them, comes out too small. Use the "
            "raw column with precision weights (value_added.outcome)."
        )
