"""Arrays between the doors: type aliases, read-only copies and the one grouping primitive."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Vector: TypeAlias = npt.NDArray[np.float64]
Matrix: TypeAlias = npt.NDArray[np.float64]
Flags: TypeAlias = npt.NDArray[np.bool_]
Codes: TypeAlias = npt.NDArray[np.intp]
Labels: TypeAlias = npt.NDArray[Any]

LONG = 4  # rows of a run from which it is worth adding up at once
NARROW = 4  # a table of whole numbers may be this many times longer than what it counts


def frozen(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return ``values`` read-only, copied unless nobody else can write to it."""
    out = values if not values.flags.writeable else values.copy()
    out.flags.writeable = False
    return out


def sealed(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Make an array that nobody else holds read-only, without a copy."""
    values.flags.writeable = False
    return values


def encode(values: Labels) -> tuple[Codes, Labels]:
    """Return integer codes ``(n,)`` and the sorted distinct labels they point to.

    Whole numbers within a narrow range (infinity among them) are counted, all others sorted.
    """
    values = np.asarray(values).reshape(-1)
    offset = _offset(values)
    if offset is None:
        labels, codes = np.unique(values, return_inverse=True)
        return codes.reshape(-1).astype(np.intp), labels
    seen = np.zeros(int(offset.max()) + 1, bool)
    seen[offset] = True
    table = np.empty(len(seen), values.dtype)
    table[offset] = values
    return offset if seen.all() else (np.cumsum(seen) - 1)[offset], table[seen]


def _offset(values: Labels) -> Codes | None:
    """Distance of whole numbers from the least of them; infinity lies one beyond the largest."""
    if values.dtype.kind not in "iuf" or not len(values):
        return None
    low, high = values.min(), values.max()
    finite = values
    if high == np.inf:
        infinite = values == np.inf
        high = values[~infinite].max(initial=low)
        finite = np.where(infinite, high + 1, values)
    if not (np.isfinite(low) and float(high) - float(low) < NARROW * len(values) + 1000):
        return None
    if values.dtype.kind != "f":  # in the long type: the distance may not fit the short one
        return np.asarray(np.subtract(values, low, dtype=np.intp, casting="unsafe"), np.intp)
    offset = (finite - low).astype(np.intp)
    return offset if (offset + low == finite).all() else None


@dataclass(frozen=True, slots=True, eq=False)
class Groups:
    """A partition of ``n`` rows into ``size`` groups.

    Parameters
    ----------
    codes : Codes (n,)
        Group of each row, ``0 .. size - 1``.
    size : int
        Number of groups.

    Examples
    --------
    >>> import numpy as np
    >>> Groups(np.array([0, 1, 0]), 2).sum(np.array([1.0, 2.0, 3.0]))
    array([4., 2.])
    """

    codes: Codes
    size: int

    @classmethod
    def of(cls, values: Labels) -> Groups:
        """Group rows by equal values."""
        codes, labels = encode(values)
        return cls(codes, len(labels))

    def sum(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Sum rows by group: ``(n,) -> (size,)`` or ``(n, k) -> (size, k)``."""
        if values.ndim == 1:
            return np.bincount(self.codes, values, minlength=self.size).astype(float, copy=False)
        columns = [np.bincount(self.codes, column, minlength=self.size) for column in values.T]
        return np.stack(columns, axis=1) if columns else np.zeros((self.size, 0))

    def rows(self) -> list[Codes]:
        """Row numbers of each group, in row order."""
        small = self.codes.astype(np.uint16) if self.size <= 1 << 16 else self.codes
        order = np.argsort(small, kind="stable")  # sixteen bits are sorted by counting
        ends = np.cumsum(np.bincount(self.codes, minlength=self.size)).tolist()
        return [order[start:end] for start, end in pairwise([0, *ends])]

    def within(self, other: Groups) -> bool:
        """True if no group of ``self`` has rows in two groups of ``other``."""
        last = np.empty(self.size, np.intp)
        last[self.codes] = other.codes
        return bool((last[self.codes] == other.codes).all())


@dataclass(frozen=True, slots=True, eq=False)
class Runs:
    """Groups whose rows may stand together: a run of them is added up at once, which is faster.

    Parameters
    ----------
    starts : Codes (r,) or None
        First row of each run; None where runs are too short to be worth it.
    groups : Groups
        Group of each run, or of each row.

    Examples
    --------
    >>> import numpy as np
    >>> Runs.of(np.array([1, 1, 1, 1, 0, 0, 0, 0]), 2).sum(np.arange(8.0))
    array([22.,  6.])
    """

    starts: Codes | None
    groups: Groups

    @classmethod
    def of(cls, codes: Codes, size: int) -> Runs:
        """Find the runs of the groups ``codes`` ``(n,)``."""
        starts = np.flatnonzero(np.append(True, codes[1:] != codes[:-1]))
        if len(starts) * LONG > len(codes):
            return cls(None, Groups(codes, size))
        return cls(starts, Groups(codes[starts], size))

    def sum(self, values: Vector) -> Vector:
        """Sum rows ``(n,)`` by group ``(size,)``."""
        return self.groups.sum(
            values if self.starts is None else np.add.reduceat(values, self.starts)
        )


def product(values: npt.NDArray[np.float64], matrix: Matrix) -> npt.NDArray[np.float64]:
    """``values @ matrix``, where a missing (NaN) coordinate of ``values`` ``(..., k)`` spoils only
    the combinations that give it weight.

    Examples
    --------
    >>> import numpy as np
    >>> product(np.array([np.nan, 2.0]), np.array([[0.0, 1.0], [1.0, 1.0]]))
    array([ 2., nan])
    """
    missing = np.isnan(values).reshape(-1, values.shape[-1]).any(axis=0)
    if not missing.any():
        return np.asarray(values @ matrix, float)
    out = np.asarray(np.where(missing, 0.0, values) @ matrix, float)
    out[..., (matrix[missing] != 0).any(axis=0)] = np.nan
    return out


def cross(codes: list[Codes]) -> Codes:
    """Codes of the interaction of several partitions, without gaps."""
    joint = codes[0]
    for more in codes[1:]:
        joint = joint * (int(more.max(initial=0)) + 1) + more
    return encode(joint)[0]
