r"""How many clusters stand on each side of a comparison, for every coordinate of an estimate.

Contributions cannot say it: the residual of a cluster that is alone on its side is zero. Not for
judging the count: ``evalkit.inference`` does that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, reduce
from typing import Protocol

import numpy as np

from evalkit.core.adoption import Starts
from evalkit.core.arrays import Codes, Flags, Groups, Labels, Matrix, Vector, encode
from evalkit.core.labels import Index
from evalkit.core.panel import Panel


@dataclass(frozen=True, slots=True, eq=False)
class Loads:
    r"""Share of ``G`` clusters in the two sides of ``k`` coordinates.

    The loads of one mean sum to one. Where groups of clusters have means of their own, a mean hides
    the share :math:`l` of the noise of a cluster that has this share of its group.

    Attributes
    ----------
    clusters : Labels (G,)
        Sorted.
    sides : array (2, G, k)
        Treated and untreated.
    repeat : Vector (G,)
        Clusters that a row stands for.
    own, hidden : Vector (k,)
        Sum over treated groups of squared loads, and the part of it that the means hide.
    """

    clusters: Labels
    sides: Matrix
    repeat: Vector
    own: Vector
    hidden: Vector

    @classmethod
    def of(cls, cluster: Labels, treated: Matrix, controls: Matrix) -> Loads:
        """The loads of units ``(N, k)``, whose sides have one mean each."""
        codes, labels = encode(cluster)
        sides = np.stack([Groups(codes, len(labels)).sum(side) for side in (treated, controls)])
        own, hidden = _hidden(sides[0], np.ones(len(labels)))
        return cls(labels, sides, np.ones(len(labels)), own, hidden)

    def combined(self, matrix: Matrix, *, apart: bool = True) -> Loads:
        """Loads of the combinations ``(k, m)`` of the coordinates; weights are not negative."""
        del apart
        own, hidden = self.own @ matrix**2, self.hidden @ matrix**2
        return Loads(self.clusters, self.sides @ matrix, self.repeat, own, hidden)

    def plus(self, other: Loads) -> Loads:
        """Loads of a sum of two estimates, over the union of their clusters."""
        clusters = np.unique(np.concatenate([self.clusters, other.clusters]))
        sides = np.zeros((2, len(clusters), self.sides.shape[2]))
        for part in (self, other):
            sides[:, np.searchsorted(clusters, part.clusters)] += part.sides
        own, hidden = self.own + other.own, self.hidden + other.hidden
        return Loads(clusters, sides, np.ones(len(clusters)), own, hidden)

    def standing(self) -> Standing:
        r"""The numbers of clusters; of equal ones :math:`(\sum l_g^2)^2/\sum l_g^4`."""
        squares = self.sides * self.sides
        square, fourth = ((self.repeat @ power).T for power in (squares, squares * squares))
        number = (self.repeat @ (self.sides > 0)).T
        with np.errstate(divide="ignore", invalid="ignore"):
            equal = np.where(fourth > 0, square**2 / fourth, 0.0)
            group = np.where(self.hidden > 0, self.own / self.hidden, 0.0)
        return Standing(np.rint(number).astype(np.intp), equal, group, square)


def _hidden(loads: Matrix, repeat: Vector) -> tuple[Vector, Vector]:
    """Squared loads ``(G, k)`` of one group, summed, and what its mean hides of them."""
    total = repeat @ loads
    return repeat @ loads**2, (repeat @ loads**3) / np.where(total > 0, total, 1.0)


@dataclass(frozen=True, slots=True, eq=False)
class Standing:
    """Clusters behind ``k`` coordinates.

    Attributes
    ----------
    clusters : Codes (k, 2)
        Treated and untreated ones.
    equal : Matrix (k, 2)
        Number of equal clusters that would leave as few degrees of freedom.
    group : Vector (k,)
        Treated clusters of a typical group with a mean of its own.
    square : Matrix (k, 2)
        Sum of squared loads: the variance of each side, for clusters of variance one.
    """

    clusters: Codes
    equal: Matrix
    group: Vector
    square: Matrix

    def dof(self) -> Vector:
        """Degrees of freedom ``(k,)`` of a difference of two means (Satterthwaite 1946)."""
        with np.errstate(divide="ignore", invalid="ignore"):
            own = np.stack([self.equal[:, 0] * (1 - 1 / self.group), self.equal[:, 1] - 1], axis=1)
            dof: Vector = self.square.sum(axis=1) ** 2 / (self.square**2 / own).sum(axis=1)
        return dof


class Source(Protocol):
    """Knows the loads of ``K`` coordinates, asked for combinations ``matrix`` ``(K, k)`` of them.

    Unless clusters are to be told ``apart``, equal ones may be one row.
    """

    def combined(self, matrix: Matrix, *, apart: bool = True) -> Loads: ...


@dataclass(frozen=True, slots=True, eq=False)
class Sides:
    """The two sides of every coordinate, carried through the algebra of estimates.

    Sources are asked when somebody counts; until then a combination costs a small product. What
    counts in a combination is the size of a weight, not its sign.

    Attributes
    ----------
    parts : tuple of (Source, Matrix)
        Each source, and the combinations of its coordinates.
    pooled : bool
        The treated have one mean, or averages over their means carry the noise of the shares: no
        noise of a cluster is hidden by the mean of a small group.
    """

    parts: tuple[tuple[Source, Matrix], ...]
    pooled: bool = False

    @classmethod
    def of(cls, source: Source, k: int) -> Sides:
        """The ``k`` coordinates of one source."""
        return cls(((source, np.eye(k)),))

    def take(self, positions: list[int]) -> Sides:
        """Some coordinates."""
        return replace(self, parts=tuple((source, m[:, positions]) for source, m in self.parts))

    def dot(self, matrix: Matrix) -> Sides:
        """Combinations ``theta @ matrix``."""
        scale = np.abs(matrix)
        return replace(self, parts=tuple((source, m @ scale) for source, m in self.parts))

    def plus(self, other: Sides) -> Sides:
        """Sum or difference of two estimates of the same coordinates."""
        together = dict(self.parts)
        for source, m in other.parts:
            together[source] = together[source] + m if source in together else m
        return Sides(tuple(together.items()), self.pooled and other.pooled)

    def loads(self, *, apart: bool = True) -> Loads:
        """Loads of all coordinates."""
        apart = apart or len(self.parts) > 1
        made = reduce(Loads.plus, (source.combined(m, apart=apart) for source, m in self.parts))
        if not self.pooled:
            return made
        own, hidden = _hidden(made.sides[0], made.repeat)
        return replace(made, own=own, hidden=hidden)

    def settled(self) -> Sides:
        """The same sides, known by cluster, so that no panel need travel."""
        loads = self.loads()
        return replace(Sides.of(loads, loads.sides.shape[2]), pooled=self.pooled)

    def standing(self) -> Standing:
        """How many clusters stand behind each coordinate."""
        return self.loads(apart=False).standing()


def adopters(
    panel: Panel,
    index: Index,
    *,
    never: bool = False,
    pooled: bool = False,
    eligible: Flags | None = None,
) -> Sides:
    """The sides of an estimate of the effects of adoption; options as of :class:`Adoption`."""
    sides = Sides.of(Adoption(panel, index, never, eligible), len(index))
    return replace(sides, pooled=pooled)


def beside(parts: Sequence[Sides | None]) -> Sides | None:
    """The sides of stacked estimates; None unless all are known."""
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None
    size = [part.parts[0][1].shape[1] for part in known]
    place = np.split(np.eye(sum(size)), np.cumsum(size)[:-1])
    return reduce(Sides.plus, (part.dot(rows) for part, rows in zip(known, place, strict=True)))


@dataclass(frozen=True, eq=False)
class Adoption:
    """Adopters against those who have not adopted, for the coordinates of an index.

    A key with a ``cohort`` speaks of its units, one with an ``event`` of units at that distance
    from adoption, any other of all treated observations; with a ``time``, of that period.

    Attributes
    ----------
    panel : Panel
    index : Index
        Names of the ``K`` coordinates.
    never : bool
        Compared with the never-treated only.
    eligible : Flags (N,), optional
        Of a triple difference, whose keys have a ``side``.
    """

    panel: Panel
    index: Index
    never: bool = False
    eligible: Flags | None = None

    def combined(self, matrix: Matrix, *, apart: bool = True) -> Loads:
        """Loads of the combinations ``(K, k)`` of the coordinates."""
        panel, (code, size) = self.panel, self._groups
        if not apart and _alike(panel):  # a row for each group
            used, number, each = self._of_equals
            sides = each @ matrix
            square = sides[0] * sides[0]
            return Loads(used, sides, number, number @ square, square.sum(axis=0))
        cluster, labels = encode(panel.cluster)
        pair, met = encode(cluster * size + code)
        mass, per_mass = _mass(panel, pair, len(met)), self._per_mass @ matrix
        sides = np.zeros((2, len(labels), matrix.shape[1]))
        own, hidden = np.zeros((2, matrix.shape[1]))
        for group, at in enumerate(Groups(met % size, size).rows()):
            treated, controls = (mass[at] @ side[group] for side in per_mass)
            sides[0, met[at] // size] += treated
            sides[1, met[at] // size] += controls
            moved = _hidden(treated, np.ones(len(at)))
            own, hidden = own + moved[0], hidden + moved[1]
        return Loads(labels, sides, np.ones(len(labels)), own, hidden)

    @cached_property
    def _groups(self) -> tuple[Codes, int]:
        """Cohort of each unit ``(N,)``, by side if there are two, and how many there are."""
        starts = Starts.of(self.panel)
        if self.eligible is None:
            return starts.code, len(starts.start)
        return starts.code + len(starts.start) * self.eligible, 2 * len(starts.start)

    @cached_property
    def _of_equals(self) -> tuple[Codes, Vector, Matrix]:
        """Groups with units, how many, and what each unit loads ``(2, groups, K)``, if all units
        have one weight in every period."""
        code, size = self._groups
        number = np.bincount(code, minlength=size)
        used = np.flatnonzero(number)
        each = self.panel.weight[0] * self._per_mass.sum(axis=2)[:, used]
        return used, number[used].astype(float), each

    @cached_property
    def _per_mass(self) -> Matrix:
        """Load per mass ``(2, groups, T, K)``."""
        starts, (code, size) = Starts.of(self.panel), self._groups
        clock, date = starts.clock, starts.earliest[:, None]
        mass = _mass(self.panel, code, size).reshape(-1, len(date), len(clock))
        free = np.isinf(date) & np.isfinite(clock) if self.never else date > clock
        out = np.empty((2, *mass.shape, len(self.index)))
        for kind, inside in enumerate(mass):
            cells = self._cells(starts, kind if len(mass) > 1 else None) * inside[:, :, None]
            total = cells.sum(axis=(0, 1))
            share = cells / np.where(total > 0, total, 1.0)
            untreated = free * inside
            beside = share * _inverse(untreated.sum(axis=0) - untreated)
            out[0, kind] = share * _inverse(inside)
            out[1, kind] = free[:, :, None] * (beside.sum(axis=0) - beside)
        return out.reshape(2, size, len(clock), -1)

    def _cells(self, starts: Starts, kind: int | None) -> Flags:
        """Treated cells of each coordinate ``(C, T, K)``."""
        clock, event = starts.clock, starts.event
        levels = self.index.levels
        if "event" in levels:
            return np.asarray(event[:, :, None] == np.array(self.index.level("event"), float))
        if "time" in levels:
            period = clock[:, None] == np.array(self.index.level("time"), float)
            cells = np.isfinite(event)[:, :, None] & period
        else:
            cells = np.repeat((event >= 0)[:, :, None], len(self.index), axis=2)
        if "cohort" in levels:
            place = {label: c for c, label in enumerate(starts.labels)}
            cohort = np.array([place.get(key, -1) for key in self.index.level("cohort")])
            cells &= (cohort == np.arange(len(event))[:, None])[:, None]
        if kind is not None:
            other = ("eligible", "ineligible")[kind]
            cells &= np.array([side != other for side in self.index.level("side")])
        return np.asarray(cells, bool)


@dataclass(frozen=True, eq=False)
class Pairs(Adoption):
    """Whole cohorts against each other, whatever the period.

    Attributes
    ----------
    each : Matrix (2, groups, K)
        Load of a unit of weight one of each cohort, on the treated and on the untreated side.
    """

    each: Matrix = field(kw_only=True)

    @cached_property
    def _per_mass(self) -> Matrix:
        periods = self.panel.n_periods
        return np.repeat(self.each[:, :, None] / periods, periods, axis=2)


def _alike(panel: Panel) -> bool:
    """True if every unit is its own cluster, of one weight, and seen in every period."""
    own = panel.cluster is panel.units or np.array_equal(panel.cluster, panel.units)
    return bool(own and panel.balanced and (panel.weight == panel.weight[0]).all())


def _mass(panel: Panel, group: Codes, groups: int) -> Matrix:
    """Weight of the rows of each group of units, by period ``(groups, T)``."""
    periods = panel.n_periods
    if _alike(panel):
        number = np.bincount(group, minlength=groups)
        return np.outer(number, np.full(periods, panel.weight[0]))
    cell = group[panel.unit] * periods + panel.time
    mass = np.bincount(cell, panel.weight, minlength=groups * periods)
    return mass.astype(float, copy=False).reshape(groups, periods)


def _inverse(mass: Matrix) -> Matrix:
    """One over the mass of cells ``(C, T, 1)``, zero where there is none."""
    positive = mass > 0
    out: Matrix = np.where(positive, 1 / np.where(positive, mass, 1.0), 0.0)
    return out[:, :, None]
