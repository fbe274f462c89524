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


def frozen(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return ``values`` read-only, copied unless nobody else can write to it."""
    out = values if not values.flags.writeable else values.copy()
    out.flags.writeable = False
    return out


def encode(values: Labels) -> tuple[Codes, Labels]:
    """Return integer codes ``(n,)`` and the sorted distinct labels they point to."""
    labels, codes = np.unique(values, return_inverse=True)
    return codes.reshape(-1).astype(np.intp), labels


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
        order = np.argsort(self.codes, kind="stable")
        counts = np.bincount(self.codes, minlength=self.size)
        return np.split(order, np.cumsum(counts)[:-1])

    def within(self, other: Groups) -> bool:
        """True if no group of ``self`` has rows in two groups of ``other``."""
        pairs = np.unique(self.codes * other.size + other.codes)
        return len(pairs) == len(np.unique(self.codes))


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
