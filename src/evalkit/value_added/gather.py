"""From pupils, or from their sums, to what a variance model reads: cross-products by finest unit.

A panel of pupils and summaries of them give the same arrays, up to rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from evalkit.core.arrays import Codes, Labels, Matrix, Runs, Vector, encode
from evalkit.core.errors import IdentificationError, OptionError, some
from evalkit.core.panel import Panel
from evalkit.core.provenance import Provenance
from evalkit.data.summaries import Summaries
from evalkit.engines.variance_components import Stack

Level: TypeAlias = str | tuple[str, ...]
Data: TypeAlias = Panel | Summaries

BLOCK = 1 << 14  # rows at a time
COMPANY = 2  # rows below which a unit shows no error of its own
FLAT = 1e-12  # a deviation this small beside the mean is rounding
ALIKE = 1e-9  # share of a column's length that the others must leave unexplained


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Pupils, or cells of pupils: ``R`` rows of ``c`` columns ``[1 x y]``.

    Whatever is made of them is centred and scaled: a raw column is ``centre + scale * column``
    (the outcome is not scaled).

    Parameters
    ----------
    n : Vector (R,)
        Pupils of each row.
    columns : tuple of Vector (R,)
        Raw values, or means of cells, of the columns but the first.
    weight : Vector (R,) or None
        Sum of weights of each row; None where every row is one pupil of weight one.
    within : Stack (R, c - 1, c - 1) or None
        Cross-products of each row about its mean (cells only), raw.
    codes : tuple of Codes (R,)
        Unit of each row, per grouping.
    labels : tuple of Labels
        Units of each grouping.
    centre, scale : Vector (c,)
    products : Matrix (c, c) or None
        Raw cross-products about ``centre``; None where they have to be summed anew.
    names : tuple of str
        The regressors, the intercept first.
    log_weights : Vector (R,) or None
        Sums of log weights, which the likelihood of single pupils has; None where it is unknown.
    """

    n: Vector
    columns: tuple[Vector, ...]
    weight: Vector | None
    within: Stack | None
    codes: tuple[Codes, ...]
    labels: tuple[Labels, ...]
    centre: Vector
    scale: Vector
    products: Matrix | None
    names: tuple[str, ...]
    log_weights: Vector | None
    outcome: str
    provenance: Provenance
    ledger: tuple[str, ...]

    @property
    def pupils(self) -> int:
        """Number of pupils."""
        return int(self.n.sum())

    def constant(self, method: str) -> float:
        """What weights and, for REML, scaling the regressors took from the criterion."""
        scaled = 2 * float(np.log(self.scale).sum()) if method == "reml" else 0.0
        return scaled - (0.0 if self.log_weights is None else float(self.log_weights.sum()))

    def weighted(self, share: Vector) -> Rows:
        """The rows with weights multiplied by ``share`` ``(R,)``."""
        within = None if self.within is None else self.within * share[:, None, None]
        weight = share if self.weight is None else self.weight * share
        return replace(self, weight=weight, within=within, products=None)

    def raw(self) -> tuple[Matrix, Vector]:
        """Coefficients on raw columns are ``turn @ beta + shift``."""
        p = len(self.names)
        turn = np.diag(1 / self.scale[:p])
        turn[0, 1:] = -self.centre[1:p] / self.scale[1:p]
        shift = np.zeros(p)
        shift[0] = self.centre[p]
        return turn, shift

    def sums_of_rows(self) -> Matrix:
        """Weighted sums of the columns in each row ``(R, c)``; the first is the weight."""
        weight = np.ones(len(self.n)) if self.weight is None else self.weight
        z = np.empty((len(self.scale), len(weight))).T
        z[:, 0] = weight
        for k, column in enumerate(self.columns, start=1):
            z[:, k] = weight * (column - self.centre[k]) / self.scale[k]
        return z

    def cross(self) -> Matrix:
        """Cross-products over all rows ``(c, c)``."""
        products = self.products
        if products is None:
            products = _cross(self.columns, self.weight, self.within, self.centre)
        return products / np.outer(self.scale, self.scale)

    def sums(self, units: Runs, r: int) -> Stack:
        """``Z_j'[1 x y]`` of each unit ``(m, r, c)``, for the first ``r`` columns."""
        c, buffer = len(self.scale), np.empty(len(self.n))
        out = np.empty((units.groups.size, r, c))
        for a in range(r):
            factor = self.weight
            if a:
                factor = (self.columns[a - 1] - self.centre[a]) * (
                    1.0 if self.weight is None else self.weight
                )
            for b in range(a, c):
                out[:, a, b] = self._sum(units, factor, a, b, buffer)
                if a < b < r:
                    out[:, b, a] = out[:, a, b]
        return out / np.outer(self.scale[:r], self.scale)

    def _sum(self, units: Runs, factor: Vector | None, a: int, b: int, buffer: Vector) -> Vector:
        if b == 0:
            return units.sum(self.n if factor is None else factor)
        np.subtract(self.columns[b - 1], self.centre[b], out=buffer)
        if factor is not None:
            np.multiply(buffer, factor, out=buffer)
        if a and self.within is not None:
            np.add(buffer, self.within[:, a - 1, b - 1], out=buffer)
        return units.sum(buffer)


def _cross(
    columns: Sequence[Vector], weight: Vector | None, within: Stack | None, centre: Vector
) -> Matrix:
    """Cross-products of ``[1 columns]`` about ``centre``, in blocks that stay in the cache."""
    c, n = len(columns) + 1, len(columns[0])
    out, block = np.zeros((c, c)), np.ones((c, min(BLOCK, n)))
    for first in range(0, n, BLOCK):
        last = min(first + BLOCK, n)
        z = block[:, : last - first]
        for k, column in enumerate(columns, start=1):
            np.subtract(column[first:last], centre[k], out=z[k])
        out += z @ z.T if weight is None else (z * weight[first:last]) @ z.T
    if within is not None:
        out[1:, 1:] += within.sum(axis=0)
    return out


def name_of(level: Level) -> str:
    """A level in words."""
    return level if isinstance(level, str) else " / ".join(level)


def regressors(data: Data) -> tuple[str, ...]:
    """All variables but the score."""
    if isinstance(data, Panel):
        return data.names
    if isinstance(data, Summaries):
        return data.names[:-1]
    raise OptionError(
        "value-added is estimated from a Panel (value_added.pupils, Panel.from_frame) or from "
        f"Summaries (summaries), not from {type(data).__name__}"
    )


def gather(data: Data, levels: Sequence[Level], on: Sequence[str] | None) -> Rows:
    """Read the rows of a panel or of sums, with the unit of each in every one of ``levels``.

    Raises
    ------
    IdentificationError
        If regressors are collinear, naming them.
    """
    names = regressors(data) if on is None else tuple(on)
    log_weights: Vector | None
    if isinstance(data, Panel):
        columns = [*map(data.column, names), data.y]
        n, within = np.broadcast_to(1.0, len(data.y)), None
        weight = None if (data.weight == 1).all() else data.weight
        log_weights = np.broadcast_to(0.0, len(n)) if weight is None else np.log(weight)
        outcome, ledger = data.outcome, data.ledger
    else:
        at = [*map(data.at, names), data.at(data.score)]
        columns, weight = list(data.mean[:, at].T), data.weight
        n, within = data.n.astype(float), data.cross[:, at][:, :, at]
        log_weights = None if data.weighting else np.zeros(len(data))
        outcome, ledger = data.score, (*data.missing.ledger(), *data.notes)
    centre, scale, products = _standards(columns, weight, within, names)
    units = [units_of(data, level) for level in levels]
    return Rows(
        n=n, columns=tuple(columns), weight=weight, within=within, log_weights=log_weights,
        codes=tuple(codes for codes, _ in units), labels=tuple(labels for _, labels in units),
        centre=centre, scale=scale, products=products, names=("(intercept)", *names),
        outcome=outcome, provenance=data.provenance, ledger=ledger,
    )  # fmt: skip


def _standards(
    columns: Sequence[Vector], weight: Vector | None, within: Stack | None, names: Sequence[str]
) -> tuple[Vector, Vector, Matrix]:
    """Means of the columns, deviations of the regressors, cross-products; refuse a constant."""
    total = len(columns[0]) if weight is None else float(weight.sum())
    centre, scale = np.zeros(len(columns) + 1), np.ones(len(columns) + 1)
    for k, column in enumerate(columns, start=1):
        centre[k] = float(column.sum() if weight is None else weight @ column) / total
    products = _cross(columns, weight, within, centre)
    spread = np.sqrt(np.diag(products) / total)
    for k, name in enumerate(names, start=1):
        scale[k] = spread[k]
        if scale[k] <= FLAT * max(abs(centre[k]), scale[k]):
            raise IdentificationError(f"{name!r} is the same for all pupils; leave it out")
    return centre, scale, products


def units_of(data: Data, level: Level) -> tuple[Codes, Labels]:
    """Unit of each row, and the units' labels, without units that no row uses."""
    parts = [level] if isinstance(level, str) else list(level)
    columns = [_column(data, part) for part in parts]
    codes, labels = columns[0]
    if len(columns) > 1:
        codes, first = _joint([c for c, _ in columns])
        keys = zip(*(words[c[first]] for c, words in columns), strict=True)
        labels = np.array([" / ".join(map(str, key)) for key in keys])
        return codes, labels
    used = np.bincount(codes, minlength=len(labels)) > 0
    if not used.all():
        codes, labels = (np.cumsum(used) - 1)[codes], labels[used]
    return codes, labels


def _column(data: Data, name: str) -> tuple[Codes, Labels]:
    if isinstance(data, Panel):
        category = data.category(name)
        return category.codes, category.labels
    return encode(data.label(name))


def _joint(columns: Sequence[Codes]) -> tuple[Codes, Codes]:
    """Codes of the combinations that occur, and the first row of each."""
    codes = columns[0]
    for more in columns[1:]:
        codes = encode(codes * (int(more.max()) + 1) + more)[0]
    _, first, codes = np.unique(codes, return_index=True, return_inverse=True)
    return codes.astype(np.intp), first


def refuse_collinear(cross: Matrix, names: Sequence[str]) -> None:
    """Raise, naming the columns, unless the regressors have full rank."""
    from scipy.linalg import qr

    p = len(names)
    size = np.sqrt(np.diag(cross)[:p])
    scaled = cross[:p, :p] / np.outer(size, size)
    value, axes = np.linalg.eigh(scaled)
    if value[0] > ALIKE:
        return
    weak = axes[:, value <= ALIKE]
    _, _, pivot = qr(weak.T, pivoting=True)
    redundant = sorted(int(at) for at in pivot[: weak.shape[1]])
    partners = [at for at in range(p) if at not in redundant and np.abs(weak[at]).max() > 1e-3]
    raise IdentificationError(
        f"the regressors are collinear: {some(names[at] for at in redundant)} is a combination of "
        f"{some(names[at] for at in partners)}. Remove one of them."
    )


def with_company(panel: Panel, effect: Level) -> tuple[Panel, list[str]]:
    """The panel without units of a single row, which are named."""
    codes, labels = units_of(panel, effect)
    counts = np.bincount(codes)
    alone = np.flatnonzero(counts < COMPANY)
    if len(labels) - len(alone) < 2:
        raise IdentificationError(
            f"{len(labels) - len(alone)} units of {name_of(effect)!r} have two rows or more; "
            "effects are compared between at least two"
        )
    if not len(alone):
        return panel, []
    note = (
        f"{len(alone)} units of {name_of(effect)} left out, as a single row shows no error of its "
        f"own: {some(labels[alone])}"
    )
    return panel.where(counts[codes] >= COMPANY), [note]
