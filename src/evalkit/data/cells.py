"""Cells: the distinct combinations of some keys, sorted; where rows, tables and cells meet.

Not for what a cell holds: moments, bands and histograms are aligned to cells by position.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from evalkit.core.arrays import Codes, Labels, encode, frozen
from evalkit.core.errors import CombinationError, OptionError, some
from evalkit.core.labels import matches

_KINDS = {"i": "numbers", "f": "numbers", "U": "text", "b": "true or false", "M": "dates"}


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """Distinct combinations of keys, sorted by the first key, then the second, and so on.

    Parameters
    ----------
    keys : tuple of str
        Names of the keys.
    labels : tuple of Labels (m,)
        One array per key.
    """

    keys: tuple[str, ...]
    labels: tuple[Labels, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", tuple(map(frozen, self.labels)))

    @classmethod
    def of(cls, keys: Sequence[str], columns: Sequence[Labels]) -> tuple[Cells, Codes]:
        """The cells of rows, and the cell of each row ``(n,)``.

        Examples
        --------
        >>> import numpy as np
        >>> cells, codes = Cells.of(["town"], [np.array(["b", "a", "b"])])
        >>> cells.labels[0].tolist(), codes.tolist()
        (['a', 'b'], [1, 0, 1])
        """
        joint, size = np.zeros(len(columns[0]), np.int64), 1
        for column in columns:
            codes, width = _ranked(column)
            if size * width > 2**62:
                joint = encode(joint)[0].astype(np.int64)  # without gaps: no overflow
                size = len(joint)
            joint, size = joint * width + codes, size * width
        _, first, codes = np.unique(joint, return_index=True, return_inverse=True)
        return cls(tuple(keys), tuple(column[first] for column in columns)), codes

    def __len__(self) -> int:
        return len(self.labels[0])

    def label(self, key: str) -> Labels:
        """Labels of one key ``(m,)``."""
        self.require([key])
        return self.labels[self.keys.index(key)]

    def require(self, keys: Sequence[str]) -> None:
        """Refuse keys that are not there, or that repeat."""
        unknown = [key for key in keys if key not in self.keys]
        if unknown:
            raise OptionError(f"no key {some(unknown)}; the keys are {', '.join(self.keys)}")
        if len(set(keys)) != len(keys):
            raise OptionError(f"a key stands twice in {some(keys)}; name each once")

    def by(self, keys: Sequence[str]) -> tuple[Cells, Codes]:
        """The coarser cells of fewer keys, and the coarser cell of each cell ``(m,)``."""
        self.require(keys)
        if not keys:
            raise OptionError(f"name at least one key; the keys are {', '.join(self.keys)}")
        return Cells.of(keys, [self.label(key) for key in keys])

    def union(self, other: Cells) -> tuple[Cells, Codes, Codes]:
        """All cells of both, and where those of each went."""
        columns = []
        for key, mine, theirs in zip(self.keys, self.labels, other.labels, strict=True):
            if len(mine) and len(theirs) and _kind(mine) != _kind(theirs):
                raise CombinationError(
                    f"key {key!r} holds {_kind(mine)} on one side ({mine[0]!s}) and "
                    f"{_kind(theirs)} on the other ({theirs[0]!s}). Use one type for both."
                )
            columns.append(np.concatenate([a for a in (mine, theirs) if len(a)] or [mine]))
        cells, codes = Cells.of(self.keys, columns)
        return cells, codes[: len(self)], codes[len(self) :]

    def take(self, rows: Codes) -> Cells:
        """The cells at these positions, which must be in order."""
        return Cells(self.keys, tuple(column[rows] for column in self.labels))

    def positions(self, wanted: dict[str, Any]) -> Codes:
        """Positions whose labels match: a value, a collection of values, or a predicate."""
        keep = np.ones(len(self), bool)
        for key, want in wanted.items():
            values, codes = np.unique(self.label(key), return_inverse=True)
            keep &= np.array([matches(value, want) for value in values.tolist()], bool)[codes]
        return np.flatnonzero(keep)

    def name(self, at: int) -> str:
        """One cell in words, for messages."""
        return ", ".join(
            f"{key} {column[at]!s}" for key, column in zip(self.keys, self.labels, strict=True)
        )


def _ranked(column: Labels) -> tuple[Codes, int]:
    """Codes in the order of the labels, and how many there may be; integers need no sorting."""
    if column.dtype.kind == "i" and len(column):
        low, high = int(column.min()), int(column.max())
        if high - low < 2**31:
            return (column - low).astype(np.intp), high - low + 1
    codes, labels = encode(column)
    return codes, max(len(labels), 1)


def _kind(labels: Labels) -> str:
    return _KINDS.get(labels.dtype.kind, "objects")
