"""Two groups side by side in each coordinate: their moments and what each row adds to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from evalkit.core.arrays import Flags, Groups, Vector
from evalkit.core.errors import IdentificationError, OptionError, some
from evalkit.core.estimate import Estimate
from evalkit.core.labels import Index
from evalkit.gaps.sample import (
    Data,
    Moments,
    Names,
    Need,
    Sample,
    Undefined,
    Wrong,
    answer,
    in_one_cluster,
    moments,
    sample,
)


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """One of the two groups: its label, its rows ``(m,)`` and its moments ``(k,)``."""

    label: Any
    rows: Flags
    at: Moments


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """A sample with a high and a low group in each of ``k`` coordinates.

    Parameters
    ----------
    rows : Sample
    groups : Groups
        Coordinate of each row.
    index : Index
        Names of the coordinates.
    between : str
        Column that holds the groups.
    high, low : Side
    """

    rows: Sample
    groups: Groups
    index: Index
    between: str
    high: Side
    low: Side

    def mean(self, side: Side) -> Vector:
        """What each row adds to the error of a group's mean: w (y - mean) / W."""
        k = self.groups.codes
        share = self.rows.weight / side.at.w[k]
        return np.where(side.rows, share * (self.rows.value - side.at.mean[k]), 0.0)

    def variance(self, side: Side) -> Vector:
        """What each row adds to the error of a group's variance: w ((y - mean)^2 - v) / W."""
        k = self.groups.codes
        square = (self.rows.value - side.at.mean[k]) ** 2 - side.at.variance[k]
        return np.where(
            side.rows, (self.rows.weight * square + self.rows.within) / side.at.w[k], 0.0
        )

    def flat(self, *who: Side) -> list[Wrong]:
        """Coordinates in which a group that is divided by has no variance."""
        return [
            Wrong(
                (side.at.n < 2) | ~(side.at.variance > 0),
                f"{self.between} {side.label} has no variance to divide by",
            )
            for side in who
        ]

    @property
    def words(self) -> str:
        """The two groups in words."""
        return f"{self.high.label} minus {self.low.label} {self.between}"

    def empty(self) -> list[Wrong]:
        """Coordinates without one of the groups."""
        return [
            Wrong(side.at.n == 0, f"no unit has {self.between} = {side.label!r}")
            for side in (self.high, self.low)
        ]

    def hidden(self) -> Flags:
        """Coordinates in which one of the groups is all in one cluster."""
        one, two = (in_one_cluster(self.rows, self.groups, s.rows) for s in (self.high, self.low))
        return one | two

    def answer(
        self,
        theta: Vector,
        psi: Vector,
        wrong: Sequence[Wrong],
        *,
        undefined: Undefined,
        estimand: str,
        method: str,
    ) -> Estimate:
        """The estimate; an empty group comes before every other reason."""
        return answer(
            self.rows,
            self.index,
            theta,
            (self.rows.unit, self.groups.codes, psi * self.rows.scale),
            [*self.empty(), *wrong],
            self.hidden(),
            undefined=undefined,
            estimand=f"{estimand}, {self.words}",
            method=method,
        )


def pair(
    data: Data,
    between: str,
    high: Any,
    low: Any,
    by: Names,
    unit: Names,
    *,
    need: Need = "moments",
    used: Sequence[str] = (),
) -> Pair:
    """The two groups of a panel or of sums, by the columns ``by``."""
    for option, label in (("high", high), ("low", low)):
        if np.ndim(label):
            raise OptionError(f"{option}={label!r} holds several labels; a gap takes one group")
    if high == low:
        raise OptionError(f"high and low are both {high!r}; a gap needs two groups")
    rows = sample(data, unit, need=need)
    groups, index = rows.coordinates(by, used=(between, *used))
    return Pair(
        rows, groups, index, between, *(side(rows, groups, between, x) for x in (high, low))
    )


def side(rows: Sample, groups: Groups, between: str, label: Any) -> Side:
    """One group: its rows and its moments."""
    category = rows.column(between)
    found = np.asarray(category.labels == label)
    if not found.any():
        raise IdentificationError(
            f"no unit has {between} = {label!r}; the groups are {some(category.labels)}"
        )
    mine = found[category.codes]
    return Side(label, mine, moments(rows, groups, mine))
