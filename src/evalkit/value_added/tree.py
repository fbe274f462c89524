"""Units of nested levels: which lies in which, in an order in which children stand together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evalkit.core.arrays import Codes, Flags, Labels, Runs, Vector
from evalkit.core.errors import IdentificationError, some
from evalkit.value_added.gather import Rows


@dataclass(frozen=True, slots=True, eq=False)
class Tree:
    """Units of each level, in the order of their parents.

    Parameters
    ----------
    finest : Runs
        Finest unit of each row, in the order of the rows' labels.
    order : Codes (m,)
        Where each finest unit of the tree stands there.
    labels : tuple of Labels
        Per level.
    parents : tuple of Codes
        Per level below the top, the unit above each unit; non-decreasing.
    starts : tuple of Codes
        Per level below the top, the first child of each unit above.
    pupils : tuple of Vector
        Per level, the pupils of each unit.
    """

    finest: Runs
    order: Codes
    labels: tuple[Labels, ...]
    parents: tuple[Codes, ...]
    starts: tuple[Codes, ...]
    pupils: tuple[Vector, ...]

    @classmethod
    def of(cls, rows: Rows, names: Sequence[str]) -> Tree:
        """Nest the units of the rows; refuse a unit in two units of the level above."""
        above: list[Codes] = []
        for at in range(len(names) - 1):
            codes, higher = rows.codes[at], rows.codes[at + 1]
            parent = np.empty(len(rows.labels[at]), np.intp)
            parent[codes] = higher
            _refuse_unnested(rows, at, names, parent[codes] != higher)
            above.append(parent)
        order = np.arange(len(rows.labels[-1]))
        labels = [rows.labels[-1]]
        parents: list[Codes] = []
        starts: list[Codes] = []
        for at in range(len(names) - 2, -1, -1):
            place = np.empty(len(order), np.intp)
            place[order] = np.arange(len(order))
            parent = place[above[at]]
            order = np.argsort(parent, kind="stable")
            labels.insert(0, rows.labels[at][order])
            parents.insert(0, parent[order])
            starts.insert(0, np.searchsorted(parents[0], np.arange(len(place))))
        finest = Runs.of(rows.codes[0], len(order))
        pupils = [finest.sum(rows.n)[order]]
        for start in starts:
            pupils.append(np.add.reduceat(pupils[-1], start))
        return cls(finest, order, tuple(labels), tuple(parents), tuple(starts), tuple(pupils))

    def refuse_single(self, names: Sequence[str]) -> None:
        """Refuse a level that nothing tells apart from the one below it, or with a single unit."""
        children = [self.pupils[0], *(
            np.diff(np.append(start, len(parent)))
            for start, parent in zip(self.starts, self.parents, strict=True)
        )]  # fmt: skip
        below = ["pupil", *names]
        for name, lower, counts in zip(names, below, children, strict=False):
            if len(counts) == 1:
                raise IdentificationError(
                    f"all rows are in one unit of {name!r}; leave that level out"
                )
            if (counts <= 1).all():
                raise IdentificationError(
                    f"every unit of {name!r} has a single {lower}: the two cannot be told apart. "
                    "Leave one of them out."
                )


def _refuse_unnested(rows: Rows, at: int, names: Sequence[str], wrong: Flags) -> None:
    if not wrong.any():
        return
    row = int(np.flatnonzero(wrong)[0])
    mine = rows.codes[at] == rows.codes[at][row]
    units = rows.labels[at + 1][np.unique(rows.codes[at + 1][mine])]
    torn = len(np.unique(rows.codes[at][wrong]))
    low, high = names[at], names[at + 1]
    raise IdentificationError(
        f"{low} {rows.labels[at][rows.codes[at][row]]!s} lies in {high} {some(units)} "
        f"({torn} such units); a unit lies in one unit of the level above. If ids repeat across "
        f"units of {high!r}, use levels=[({high!r}, {low!r}), {high!r}]; else correct the file."
    )
