"""Reads the columns of a foreign frame and refuses what a panel cannot hold.

Not for choosing rows: the panel decides what it drops, and counts it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from evalkit.core.arrays import Codes, Labels, Vector
from evalkit.core.errors import OptionError, PanelError, some

if TYPE_CHECKING:
    import pandas as pd

_NUMBERS = {"integer", "floating", "mixed-integer-float", "decimal", "boolean", "empty"}
_MIXED = {"mixed", "mixed-integer"}


class Door:
    """The columns of a frame, read one by one; the first data row is row 1 in every message."""

    def __init__(self, frame: Any) -> None:
        self.frame = frame
        self.columns = [str(name) for name in getattr(frame, "columns", frame)]

    def require(self, names: Sequence[str]) -> None:
        """Refuse a frame without these columns, or without rows."""
        absent = [name for name in dict.fromkeys(names) if name not in self.columns]
        if absent:
            raise PanelError(
                f"no column {some(absent)}; the frame has {some(self.columns, 12)}. "
                "Check the spelling, or rename the column."
            )
        repeated = [name for name in dict.fromkeys(names) if self.columns.count(name) > 1]
        if repeated:
            raise PanelError(f"two columns are called {some(repeated)}; rename one of them.")
        lengths = {name: len(self.frame[name]) for name in dict.fromkeys(names)}
        if len(set(lengths.values())) > 1:
            listed = some((f"{name} has {length}" for name, length in lengths.items()), 12)
            raise PanelError(f"the columns differ in length: {listed}. Give each row every column.")
        if not lengths[names[0]]:
            raise PanelError("the frame has no rows")

    def _series(self, name: str) -> pd.Series[Any]:
        import pandas as pd

        column = self.frame[name]
        if isinstance(column, pd.Series):
            return column
        return pd.Series(np.asarray(column) if hasattr(column, "dtype") else column)

    def is_number(self, name: str) -> bool:
        """True if a column holds numbers, or booleans, or nothing."""
        import pandas as pd

        return pd.api.types.infer_dtype(self._series(name), skipna=True) in _NUMBERS

    def number(self, name: str, *, infinite: bool = False) -> Vector:
        """A numeric column ``(n,)``, NaN where it is empty."""
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
        values = column.to_numpy(dtype=float, na_value=np.nan)
        wild = np.flatnonzero(np.isinf(values))
        if len(wild) and not infinite:
            raise PanelError(
                f"column {name!r} is infinite in {len(wild)} rows (rows {some(wild + 1)}). "
                "Correct the values, or make them empty."
            )
        return values

    def label(self, name: str) -> tuple[Codes, Labels]:
        """Codes ``(n,)`` of a complete column and its sorted labels."""
        codes, labels = self._encoded(name)
        missing = np.flatnonzero(codes < 0)
        if len(missing):
            raise PanelError(
                f"column {name!r} is empty in rows {some(missing + 1)}; every row needs a value. "
                "Fill it in, or drop the rows."
            )
        return codes, labels

    def _encoded(self, name: str) -> tuple[Codes, Labels]:
        import pandas as pd

        column = self._series(name)
        if isinstance(column.dtype, pd.CategoricalDtype):
            column = column.astype(column.cat.categories.dtype)
        if pd.api.types.infer_dtype(column, skipna=True) in _MIXED:
            kinds = sorted({type(value).__name__ for value in column})
            raise PanelError(f"column {name!r} mixes {some(kinds)}; use one type for all rows.")
        codes, uniques = pd.factorize(column, sort=True)
        if pd.api.types.is_datetime64_any_dtype(uniques.dtype):
            labels = np.asarray(uniques)
        else:
            labels = np.array(uniques.tolist())
        if labels.dtype.kind == "f":
            if np.isinf(labels).any():
                rows = np.flatnonzero(np.isinf(labels)[codes]) + 1
                raise PanelError(f"column {name!r} is infinite in rows {some(rows)}. Correct it.")
            if not (labels % 1).any():
                labels = labels.astype(np.int64)
        return codes.astype(np.intp), labels

    def date(self, name: str, times: Labels, never: float) -> Vector:
        """First treated period ``(n,)``: a number like ``times``, or a position in text times."""
        if times.dtype.kind in "iuf":
            try:
                values = self.number(name, infinite=True)
            except PanelError as wrong:
                raise PanelError(
                    f"{wrong} It must hold periods like those of the time column, empty for never."
                ) from wrong
            return np.where(np.isnan(values), never, values)
        codes, labels = self._encoded(name)
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
        return np.where(codes >= 0, position[codes].astype(float), never)


def _is_number(value: Any) -> bool:
    return value is None or isinstance(value, (int, float, np.number, np.bool_)) or value != value


@dataclass(frozen=True, slots=True)
class Owner:
    """Which unit each sorted row belongs to, for columns that must be constant within units."""

    unit: Codes
    units: Labels
    first: Codes
    rows: Codes

    def constant(self, name: str, column: Labels, rule: str) -> Labels:
        """The value of each unit ``(N,)``; refuse a column that changes within a unit."""
        start = self.first[self.unit]
        differs = column != column[start]
        if differs.any():
            at = int(np.flatnonzero(differs)[0])
            raise PanelError(
                f"column {name!r}: unit {self.units[self.unit[at]]!s} has "
                f"{plain(column[start[at]])} (row {self.rows[start[at]] + 1}) and "
                f"{plain(column[at])} (row {self.rows[at] + 1}); {rule}. "
                "Correct the file, or drop the unit."
            )
        return column[self.first]


def compact(codes: Codes, labels: Labels, rows: Codes) -> tuple[Codes, Labels]:
    """Codes of the kept rows, renumbered without the labels that no row uses any more."""
    kept = codes[rows]
    used = np.bincount(kept, minlength=len(labels)) > 0
    if used.all():
        return kept, labels
    return (np.cumsum(used) - 1)[kept], labels[used]


def as_number(times: Labels) -> Vector:
    return times.astype(float) if times.dtype.kind in "iuf" else np.arange(len(times), dtype=float)


def refuse_text_or_repeats(option: str, names: Sequence[str]) -> None:
    """Refuse one text where a sequence of names is meant, and a name that stands twice."""
    if isinstance(names, str):
        raise OptionError(f"{option} takes a sequence of names: {option}=[{names!r}]")
    repeated = [name for name in dict.fromkeys(names) if list(names).count(name) > 1]
    if repeated:
        raise OptionError(f"{option} names {some(repeated)} twice")


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


def refuse_duplicates(
    unit: str, time: str, cell: Codes, units: Labels, times: Labels, rows: Codes
) -> None:
    same = np.flatnonzero(np.diff(cell) == 0)
    if len(same):
        at = int(same[0])
        who, when = divmod(int(cell[at]), len(times))
        raise PanelError(
            f"{unit} {units[who]!s} has two rows in {time} {times[when]!s} "
            f"(rows {rows[at] + 1} and {rows[at + 1] + 1}; {len(same)} such pairs in all). "
            "Keep one row per unit and period."
        )


def refuse_weights(name: str, weights: Vector, rows: Codes) -> None:
    wrong = np.flatnonzero(weights <= 0)
    if len(wrong):
        at = wrong[0]
        raise PanelError(
            f"weight column {name!r} must be positive; row {rows[at] + 1} holds {weights[at]:g} "
            f"({len(wrong)} such rows). Correct the weights, or drop the rows."
        )


def read_dates(
    door: Door, names: Sequence[str], owner: Owner, times: Labels, never: float
) -> tuple[Vector, Vector | None]:
    """Adoption dates of units ``(N,)`` and, from two columns, the first possible ones."""
    if len(names) > 2:
        raise OptionError(
            f"cohort={some(names)} names {len(names)} columns; give one date, or the earliest and "
            "the latest"
        )
    rule = "a unit has one adoption date"
    dates = [
        owner.constant(name, door.date(name, times, never)[owner.rows], rule) for name in names
    ]
    latest = dates[-1]
    refuse_outside(names[-1], latest, times, owner.units)
    if len(names) == 1:
        return latest, None
    earliest = dates[0]
    wrong = np.flatnonzero((earliest > latest) | (np.isinf(latest) & np.isfinite(earliest)))
    if len(wrong):
        at = wrong[0]
        raise PanelError(
            f"unit {owner.units[at]!s} adopts between {plain(earliest[at])} ({names[0]!r}) and "
            f"{plain(latest[at])} ({names[1]!r}, row {owner.rows[owner.first[at]] + 1}; "
            f"{len(wrong)} such units): the earliest date must not lie after the latest. Correct "
            "them, or leave both empty if the unit never adopts."
        )
    return latest, earliest


def switched_on(
    name: str, on: Vector, owner: Owner, time: Codes, times: Labels, never: float
) -> tuple[Vector, list[str]]:
    """First period of each unit ``(N,)`` in which an indicator is one, and what is doubtful."""
    wrong = np.flatnonzero((on != 0) & (on != 1))
    if len(wrong):
        at = wrong[0]
        raise PanelError(
            f"column {name!r} must hold 0 or 1; row {owner.rows[at] + 1} holds {on[at]:g} "
            f"({len(wrong)} such rows). Name a dose in dose=..., an adoption date in cohort=..."
        )
    same = np.diff(owner.unit) == 0
    back = np.flatnonzero(same & (np.diff(on) < 0))
    if len(back):
        at = back[0]
        raise PanelError(
            f"column {name!r}: unit {owner.units[owner.unit[at]]!s} is treated in "
            f"{times[time[at]]!s} (row {owner.rows[at] + 1}) and no longer in "
            f"{times[time[at + 1]]!s} (row {owner.rows[at + 1] + 1}); "
            f"{len(np.unique(owner.unit[back]))} such units. A panel needs treatment that stays "
            "on: drop the rows after the switch back; or make the column a covariate and use "
            f"evalkit.did.regression(panel, on=[{name!r}]), which takes any indicator."
        )
    starts = np.flatnonzero((on == 1) & ~np.concatenate([[False], same & (on[:-1] == 1)]))
    dates = np.full(len(owner.units), never)
    dates[owner.unit[starts]] = as_number(times)[time[starts]]
    later = starts[starts > 0]
    gap = same[later - 1] & (time[later] - time[later - 1] > 1)
    if not gap.any():
        return dates, []
    return dates, [
        f"{int(gap.sum())} units are not seen in the period before their first treated row, "
        "which dates their adoption"
    ]


def refuse_outside(name: str, cohorts: Vector, times: Labels, units: Labels) -> None:
    clock = as_number(times)
    outside = (cohorts < clock[0]) | (np.isfinite(cohorts) & (cohorts > clock[-1]))
    if outside.any():
        at = int(np.flatnonzero(outside)[0])
        raise PanelError(
            f"column {name!r}: unit {units[at]!s} adopts in {cohorts[at]:g}, outside the sample "
            f"{times[0]!s} to {times[-1]!s} ({int(outside.sum())} such units). Leave it empty if "
            "the unit is untreated throughout, or extend the sample."
        )


def plain(value: Any) -> str:
    if isinstance(value, float):
        return "never" if np.isinf(value) else f"{value:g}"
    return str(value)
