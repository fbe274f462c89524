"""The rows of a frame in order of unit and period, what must be constant within a unit, and when
units adopt.

Refuses with the column, the unit and the rows; the first data row is row 1 in every message.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from evalkit.core.arrays import NARROW, Codes, Flags, Labels, Vector, sealed
from evalkit.core.door import Door, as_number, total, whole
from evalkit.core.errors import OptionError, PanelError, some

UNEVEN = 1.5  # a step between dates may be so many times another: months and years differ by less


@dataclass(frozen=True, slots=True)
class Order:
    """The kept rows of a frame in order of unit and period.

    Attributes
    ----------
    rows : Codes (n,) or slice
        Rows of the frame.
    unit, time : Codes (n,)
    units, times : Labels (N,), (T,)
    count : Codes (N,) or int
        Rows of each unit.
    """

    rows: Codes | slice
    unit: Codes
    time: Codes
    units: Labels
    times: Labels
    count: Codes | int

    @classmethod
    def of(cls, door: Door, unit: str | None, time: str | None, kept: Flags | None) -> Order:
        """Sort the rows ``kept`` (None: all); refuse two rows of one unit and period."""
        grid = None
        if unit is not None and time is not None and kept is None:
            grid = door.grid(unit, time)
        if grid is not None:
            units, times = grid
            who = np.repeat(np.arange(len(units)), len(times))
            when = np.repeat(np.arange(len(times))[None], len(units), axis=0).reshape(-1)
            return cls(slice(None), sealed(who), sealed(when), units, times, len(times))
        who, units = door.each_row() if unit is None else door.label(unit)
        when, times = door.one_period() if time is None else door.label(time)
        if time is not None:
            door.refuse_order(time, times)
        rows: Codes | slice = slice(None) if kept is None else np.flatnonzero(kept)
        who, units = compact(who, units, rows)
        when, times = compact(when, times, rows)
        if unit is None:
            return cls(rows, sealed(who), sealed(when), units, times, 1)
        cell = who * len(times) + when
        if (cell[1:] <= cell[:-1]).any():
            order = _sorted(cell, len(units) * len(times))
            rows, cell = order if isinstance(rows, slice) else rows[order], cell[order]
            refuse_duplicates(unit, time or "period", cell, units, times, rows)
            who, when = who[order], when[order]
        count = np.bincount(who, minlength=len(units))
        return cls(rows, sealed(who), sealed(when), units, times, count)

    @property
    def first(self) -> Codes:
        """First row of each unit ``(N,)``."""
        if isinstance(self.count, int):
            return np.arange(0, len(self.unit), self.count)
        return np.cumsum(self.count) - self.count

    def pick(self, *columns: Labels) -> Labels:
        """The kept rows of columns of the frame, in order, ``(columns, n)``; a copy."""
        out = np.empty((len(columns), len(self.unit)))
        for at, column in enumerate(columns):
            out[at] = column[self.rows]
        return out

    def row(self, at: int) -> int:
        """Number of an ordered row in the frame, where the first is 1."""
        return int(at if isinstance(self.rows, slice) else self.rows[at]) + 1

    def constant(
        self, name: str, column: Labels, rule: str, labels: Labels | None = None
    ) -> Labels:
        """The value of each unit ``(N,)``; refuse a column that changes within a unit.

        ``column`` is in the frame's order, NaN where it is empty; with ``labels`` it holds codes.
        """
        column = column[self.rows]
        if isinstance(self.count, int):
            wide = column.reshape(-1, self.count)
            own, differs = wide[:, 0].copy(), (wide != wide[:, :1]).reshape(-1)
        else:
            own = column[self.first]
            differs = column != np.repeat(own, self.count)
        if differs.any():
            empty = column != column
            differs &= ~(empty & np.repeat(empty[self.first], self.count))
        if differs.any():
            at = int(np.argmax(differs))
            here, start = self.unit[at], int(self.first[self.unit[at]])
            seen = [column[i] if labels is None else labels[column[i]] for i in (start, at)]
            raise PanelError(
                f"column {name!r}: unit {self.units[here]!s} has "
                f"{plain(seen[0])} (row {self.row(start)}) and "
                f"{plain(seen[1])} (row {self.row(at)}); {rule}. "
                "Correct the file, or drop the unit."
            )
        return own if labels is None else labels[own]

    def label(self, door: Door, name: str, rule: str) -> Labels:
        """The label of each unit ``(N,)`` in a complete column that is constant within units."""
        plain = door.plain(name)
        if plain is not None and np.isfinite(total(plain)):
            return sealed(whole(self.constant(name, plain, rule)))
        codes, labels = door.label(name)
        return sealed(self.constant(name, codes, rule, labels))


def _sorted(cell: Codes, cells: int) -> Codes:
    """Order of the rows by cell; they are placed, not compared, where there is room for it."""
    if cells <= NARROW * len(cell):
        place = np.full(cells, -1)
        place[cell] = np.arange(len(cell))
        order = place[place >= 0]
        if len(order) == len(cell):  # else two rows share a cell
            return order
    return np.argsort(cell, kind="stable")


def compact(codes: Codes, labels: Labels, rows: Codes | slice) -> tuple[Codes, Labels]:
    """Codes of the kept rows, renumbered without the labels that no row uses any more."""
    if isinstance(rows, slice):  # all of them
        return codes, labels
    kept = codes[rows]
    used = np.bincount(kept, minlength=len(labels)) > 0
    if used.all():
        return kept, labels
    return (np.cumsum(used) - 1)[kept], labels[used]


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


def refuse_weights(name: str, weights: Vector, order: Order) -> None:
    if not weights.min() > 0:
        wrong = np.flatnonzero(weights <= 0)
        at = int(wrong[0])
        raise PanelError(
            f"weight column {name!r} must be positive; row {order.row(at)} holds {weights[at]:g} "
            f"({len(wrong)} such rows). Correct the weights, or drop the rows."
        )


def read_dates(
    door: Door, names: Sequence[str], order: Order, never: float
) -> tuple[Vector, Vector | None]:
    """Adoption dates of units ``(N,)`` and, from two columns, the first possible ones."""
    if len(names) > 2:
        raise OptionError(
            f"cohort={some(names)} names {len(names)} columns; give one date, or the earliest and "
            "the latest"
        )
    rule = "a unit has one adoption date"
    dates = []
    for name in names:
        found = order.constant(name, door.date(name, order.times), rule)
        dates.append(np.where(np.isnan(found), never, found))
    latest = dates[-1]
    refuse_outside(names[-1], latest, order.times, order.units)
    if len(names) == 1:
        return latest, None
    earliest = dates[0]
    wrong = np.flatnonzero((earliest > latest) | (np.isinf(latest) & np.isfinite(earliest)))
    if len(wrong):
        at = wrong[0]
        raise PanelError(
            f"unit {order.units[at]!s} adopts between {plain(earliest[at])} ({names[0]!r}) and "
            f"{plain(latest[at])} ({names[1]!r}, row {order.row(order.first[at])}; "
            f"{len(wrong)} such units): the earliest date must not lie after the latest. Correct "
            "them, or leave both empty if the unit never adopts."
        )
    return latest, earliest


def read_switch(
    door: Door,
    name: str,
    on: Vector,
    unit: str | None,
    time: str | None,
    kept: Flags | None,
    never: float,
) -> tuple[Order, Vector, list[str]]:
    """The kept rows, the first period in which each unit ``(N,)`` is treated, and what is doubtful.

    The date comes from all rows in which the indicator is known, not from those alone that are
    kept. Units that enter the panel after it begins, already treated, have no known date: they are
    left out.
    """
    order = Order.of(door, unit, time, kept)
    full = order if kept is None else Order.of(door, unit, time, ~np.isnan(on))
    dates, notes = switched_on(name, full.pick(on)[0], full, never)
    first = full.first
    entry = as_number(full.times)[full.time[first]]
    late = (dates == entry) & (full.time[first] > 0)
    if late.any():
        rows = np.arange(len(on))[full.rows][late[full.unit]]
        before, kept = len(order.unit), np.ones(len(on), bool) if kept is None else kept.copy()
        kept[rows] = False
        if not kept.any():
            raise PanelError(f"column {name!r}: every unit is treated from its first row on")
        order = Order.of(door, unit, time, kept)
        notes.append(
            f"{before - len(order.unit)} rows dropped: {int(late.sum())} units enter the panel "
            "already treated, so that their date is not known; give it in cohort=..."
        )
    dates = dates[np.searchsorted(full.units, order.units)]
    return order, _within(dates, full.times, order.times, never), notes


def counted(times: Labels) -> list[str]:
    """Say how periods are counted, where that is by position or across a gap."""
    kind = times.dtype.kind
    if len(times) < 2 or kind == "b":
        return []
    if kind in "iuf":
        steps = times[1:].astype(float) - times[:-1]
        wide = np.flatnonzero(steps > UNEVEN * steps.min())
        if not len(wide):
            return []
        gaps = some((f"{plain(times[at])} and {plain(times[at + 1])}" for at in wide), 3)
        return [f"no period between {gaps}: times since adoption count what lies between"]
    if kind != "M":
        listed = some((f"{at} is {label}" for at, label in enumerate(times)), 12)
        return [f"periods are counted by position: {listed}"]
    steps = np.diff(times.astype("datetime64[us]").astype(np.int64))
    differ = ", though the distances between their dates differ"
    days = (times == times.astype("datetime64[D]")).all()
    first, last = np.datetime_as_string(times[[0, -1]], unit="D" if days else "auto")
    return [
        f"periods are counted by position{differ if steps.max() > UNEVEN * steps.min() else ''}: "
        f"0 is {first}, {len(times) - 1} is {last}"
    ]


def _within(dates: Vector, full: Labels, times: Labels, never: float) -> Vector:
    """Dates among all periods as dates among those that have a kept row."""
    clock = as_number(times)
    if times.dtype.kind not in "iuf":
        at = np.searchsorted(times, full)  # the first kept period from each one on
        place = np.where(np.isfinite(dates), dates, 0).astype(np.intp)
        dates = np.where(np.isfinite(dates), at[place].astype(float), never)
    return np.where(dates > clock[-1], never, np.maximum(dates, clock[0]))


def switched_on(name: str, on: Vector, order: Order, never: float) -> tuple[Vector, list[str]]:
    """First period of each unit ``(N,)`` in which an indicator is one, and what is doubtful."""
    wrong = np.flatnonzero((on != 0) & (on != 1))
    if len(wrong):
        at = wrong[0]
        raise PanelError(
            f"column {name!r} must hold 0 or 1; row {order.row(at)} holds {on[at]:g} "
            f"({len(wrong)} such rows). Name a dose in dose=..., an adoption date in cohort=..."
        )
    unit, time, times = order.unit, order.time, order.times
    same = np.diff(unit) == 0
    back = np.flatnonzero(same & (np.diff(on) < 0))
    if len(back):
        at = back[0]
        raise PanelError(
            f"column {name!r}: unit {order.units[unit[at]]!s} is treated in "
            f"{times[time[at]]!s} (row {order.row(at)}) and no longer in "
            f"{times[time[at + 1]]!s} (row {order.row(at + 1)}); "
            f"{len(np.unique(unit[back]))} such units. A panel needs treatment that stays "
            "on: drop the rows from the switch back on, for callaway_santanna and imputation; or "
            "make the column a covariate and use "
            f"evalkit.did.regression(panel, on=[{name!r}]), which takes any indicator."
        )
    starts = np.flatnonzero((on == 1) & ~np.concatenate([[False], same & (on[:-1] == 1)]))
    dates = np.full(len(order.units), never)
    dates[unit[starts]] = as_number(times)[time[starts]]
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
        return f"{value:g}" if np.isfinite(value) else "never"
    return str(value)
