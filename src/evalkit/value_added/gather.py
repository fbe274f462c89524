"""From pupils, or from their sums, to what a variance model reads: cross-products by finest unit.

A panel of pupils and summaries of them give the same arrays, up to rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from evalkit.core.arrays import Codes, Groups, Labels, Matrix, Vector, encode
from evalkit.core.errors import IdentificationError, OptionError, some
from evalkit.core.panel import Panel
from evalkit.core.provenance import Provenance
from evalkit.data.summaries import Summaries
from evalkit.engines.variance_components import Stack

Level: TypeAlias = str | tuple[str, ...]
Data: TypeAlias = Panel | Summaries

COMPANY = 2  # rows below which a unit shows no error of its own
FLAT = 1e-12  # a deviation this small beside the mean is rounding
ALIKE = 1e-9  # share of a column's length that the others must leave unexplained


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Pupils, or cells of pupils: ``R`` rows of ``c`` columns ``[1 x y]``, centred and scaled.

    Parameters
    ----------
    n : Vector (R,)
        Pupils of each row.
    z : Matrix (R, c)
        Weighted sums of the columns; the first is the weight.
    within : Stack (R, c, c) or None
        What each row adds to cross-products beyond ``z z' / weight`` (cells only).
    codes : tuple of Codes (R,)
        Unit of each row, per grouping.
    labels : tuple of Labels
        Units of each grouping.
    centre, scale : Vector (c,)
        A raw column is ``centre + scale * column``; the outcome is not scaled.
    names : tuple of str
        The regressors, the intercept first.
    single : bool
        True if every row is one pupil of weight one.
    log_weights : Vector (R,) or None
        Sums of log weights, which the likelihood of single pupils has; None where it is unknown.
    """

    n: Vector
    z: Matrix
    within: Stack | None
    codes: tuple[Codes, ...]
    labels: tuple[Labels, ...]
    centre: Vector
    scale: Vector
    names: tuple[str, ...]
    single: bool
    log_weights: Vector | None
    outcome: str
    provenance: Provenance
    ledger: tuple[str, ...]

    @property
    def weight(self) -> Vector:
        """Sum of weights of each row ``(R,)``."""
        return self.z[:, 0]

    @property
    def mean(self) -> Matrix:
        """Means of the columns in each row ``(R, c)``."""
        return self.z if self.single else self.z / self.weight[:, None]

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
        return replace(self, z=self.z * share[:, None], within=within, single=False)

    def raw(self) -> tuple[Matrix, Vector]:
        """Coefficients on raw columns are ``turn @ beta + shift``."""
        p = len(self.names)
        turn = np.diag(1 / self.scale[:p])
        turn[0, 1:] = -self.centre[1:p] / self.scale[1:p]
        shift = np.zeros(p)
        shift[0] = self.centre[p]
        return turn, shift

    def cross(self) -> Matrix:
        """Cross-products over all rows ``(c, c)``."""
        cross: Matrix = self.z.T @ self.mean
        return cross if self.within is None else cross + self.within.sum(axis=0)

    def sums(self, groups: Groups, r: int) -> Stack:
        """``Z_j'[1 x y]`` of each unit ``(m, r, c)``, for the first ``r`` columns."""
        out = np.empty((groups.size, r, self.z.shape[1]))
        mean = self.mean
        for a in range(r):
            for b in range(a, self.z.shape[1]):
                column = self.z[:, b] if a == 0 else mean[:, a] * self.z[:, b]
                if a and self.within is not None:
                    column = column + self.within[:, a, b]
                out[:, a, b] = groups.sum(column)
                if a < b < r:
                    out[:, b, a] = out[:, a, b]
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
        n, within, single = np.ones(len(data.y)), None, bool((data.weight == 1).all())
        log_weights = np.zeros(len(n)) if single else np.log(data.weight)
        outcome, ledger = data.outcome, data.ledger
    else:
        at = [*map(data.at, names), data.at(data.score)]
        columns, single = list(data.mean[:, at].T), False
        n, within = data.n.astype(float), data.cross[:, at][:, :, at]
        log_weights = None if data.weighting else np.zeros(len(data))
        outcome, ledger = data.score, (*data.missing.ledger(), *data.notes)
    z, within, centre, scale = _centred(columns, within, data.weight, single, names)
    units = [units_of(data, level) for level in levels]
    return Rows(
        n=n, z=z, within=within, single=single, log_weights=log_weights,
        codes=tuple(codes for codes, _ in units), labels=tuple(labels for _, labels in units),
        centre=centre, scale=scale, names=("(intercept)", *names),
        outcome=outcome, provenance=data.provenance, ledger=ledger,
    )  # fmt: skip


def _centred(
    columns: Sequence[Vector],
    within: Stack | None,
    weight: Vector,
    single: bool,
    names: Sequence[str],
) -> tuple[Matrix, Stack | None, Vector, Vector]:
    """Weighted sums of the intercept and the columns, each about its mean, in its deviations."""
    total, c = float(weight.sum()), len(columns) + 1
    z = np.empty((c, len(weight))).T  # column by column
    z[:, 0] = weight
    centre, scale = np.zeros(c), np.ones(c)
    for k, column in enumerate(columns, start=1):
        centre[k] = (column.sum() if single else weight @ column) / total
        about = column - centre[k]
        square = float(about @ (about if single else weight * about))
        if within is not None:
            square += float(within[:, k - 1, k - 1].sum())
        z[:, k] = about if single else weight * about
        if k <= len(names):
            scale[k] = np.sqrt(square / total)
            if scale[k] <= FLAT * max(abs(centre[k]), scale[k]):
                raise IdentificationError(
                    f"{names[k - 1]!r} is the same for all pupils; leave it out"
                )
            z[:, k] /= scale[k]
    if within is not None:
        framed = np.zeros((len(within), c, c))
        framed[:, 1:, 1:] = within / np.outer(scale[1:], scale[1:])
        within = framed
    return z, within, centre, scale


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
