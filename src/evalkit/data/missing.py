"""Rows left out because something is missing: how many, where and for which reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from evalkit.core.arrays import Codes, Groups, frozen
from evalkit.data.cells import Cells


@dataclass(frozen=True, slots=True, eq=False)
class Missing:
    """Rows left out, by cell and reason. A cell may have no complete row, and stand only here.

    Parameters
    ----------
    cells : Cells
        Cells that have a row left out, ``m`` of them.
    reasons : tuple of str
        The variables, and the weight.
    rows : Codes (m,)
        Rows left out.
    counts : Codes (m, r)
        Rows in which each variable is missing; a row that lacks two counts twice.
    keyless : int
        Rows dropped because a key is empty; they belong to no cell.
    """

    cells: Cells
    reasons: tuple[str, ...]
    rows: Codes
    counts: Codes
    keyless: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "rows", frozen(self.rows))
        object.__setattr__(self, "counts", frozen(self.counts))

    def __len__(self) -> int:
        return int(self.rows.sum()) + self.keyless

    def __add__(self, other: Missing) -> Missing:
        cells, mine, theirs = self.cells.union(other.cells)
        return Missing(
            cells,
            self.reasons,
            np.concatenate([self.rows, other.rows]),
            np.concatenate([self.counts, other.counts]),
            self.keyless + other.keyless,
        )._grouped(cells, np.concatenate([mine, theirs]))

    def by(self, keys: Sequence[str]) -> Missing:
        """By fewer keys."""
        return self._grouped(*self.cells.by(keys))

    def select(self, wanted: dict[str, Any]) -> Missing:
        """Of the cells that match; rows without a key are in none."""
        at = self.cells.positions(wanted)
        return Missing(self.cells.take(at), self.reasons, self.rows[at], self.counts[at])

    def among(self, cells: Cells) -> Codes:
        """Rows left out in each of ``cells`` ``(m,)``."""
        union, mine, theirs = self.cells.union(cells)
        rows = np.zeros(len(union), np.intp)
        rows[mine] = self.rows
        return rows[theirs]

    def ledger(self) -> tuple[str, ...]:
        """One line per reason."""
        lines = [
            f"{int(count)} rows left out: {reason} is missing"
            for reason, count in zip(self.reasons, self.counts.sum(axis=0), strict=True)
            if count
        ]
        return (*lines, *([f"{self.keyless} rows left out: a key is empty"] * (self.keyless > 0)))

    def _grouped(self, cells: Cells, codes: Codes) -> Missing:
        groups = Groups(codes, len(cells))
        return Missing(
            cells,
            self.reasons,
            groups.sum(self.rows.astype(float)).astype(np.intp),
            groups.sum(self.counts.astype(float)).astype(np.intp),
            self.keyless,
        )
