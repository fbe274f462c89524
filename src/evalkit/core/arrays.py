"""Arrays between the doors: type aliases, read-only copies and the one grouping primitive."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Vector: TypeAlias = npt.NDArray[np.float64]
Matrix: TypeAlias = npt.NDArray[np.float64]
Flags: TypeAlias = npt.NDArray[np.bool_]
Codes: TypeAlias = npt.NDArray[np.intp]
Labels: TypeAlias = npt.NDArray[Any]

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
    codes = (np.cumsum(seen) - 1)[offset]
    labels = np.empty(int(np.count_nonzero(seen)), values.dtype)
    labels[codes] = values
    return codes, labels


def _offset(values: Labels) -> Codes | None:
    """Distance of whole numbers from the least of them; infinity lies one beyond the largest."""
    if values.dtype.kind not in "iuf" or not len(values):
        return None
    low, high = values.min(), values.max()
    finite = values
    if np.isposinf(high):
        infinite = np.isposinf(values)
        high = values[~infinite].max(initial=low)
        finite = np.where(infinite, high + 1, values)
    if not (np.isfinite(low) and float(high) - float(low) < NARROW * len(values) + 1000):
        return None
    offset = (finite - low).astype(np.intp)
    return offset if values.dtype.kind != "f" or (offset + low == finite).all() else None


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
        counts = np.bincount(self.codes, minlength=self.size)
        return np.split(order, np.cumsum(counts)[:-1])

    def within(self, other: Groups) -> bool:
        """True if no group of ``self`` has rows in two groups of ``other``."""
        last = np.empty(self.size, np.intp)
        last[self.codes] = other.codes
        return bool((last[self.codes] == other.codes).all())


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
