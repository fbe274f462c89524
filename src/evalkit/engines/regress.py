"""Least squares and two-stage least squares with absorbed effects, and what follows from the fit:
contributions of units, row weights, leverage-adjusted scores and degrees of freedom.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import qr, solve_triangular
from scipy.linalg.lapack import dtrtri

from evalkit.core.arrays import Codes, Groups, Matrix, Vector
from evalkit.core.errors import CombinationError, IdentificationError, some
from evalkit.core.origin import Imposed, Part
from evalkit.engines.absorb import Absorber
from evalkit.engines.imposed import impose
from evalkit.engines.leverage import Batch, Clustered, Design, spectrum
from evalkit.engines.pivoted import pivoted_qr

SINGULAR = 1e-9  # a regressor keeping less than this share of its length adds nothing
CHUNK = 1 << 20  # numbers of the design whose spectra are found at once


@dataclass(frozen=True, eq=False)
class Fit(Design):
    r"""A weighted least-squares fit of ``p`` coefficients with effects absorbed.

    With :math:`\tilde X` the regressors after absorption (for 2SLS their projection on the
    instruments), :math:`A=(\tilde X'W\tilde X)^{-1}` and residuals :math:`e`:
    :math:`\hat\beta=A\tilde X'Wy`, and row :math:`r` contributes :math:`w_r e_r\,\tilde x_rA`.

    Parameters
    ----------
    beta : Vector (p,)
    x : Matrix (n, p)
        Regressors after absorption (and projection).
    residual : Vector (n,)
    weight : Vector (n,)
    bread : Matrix (p, p)
        :math:`A`.
    unit : Groups
        Unit of each row.
    effects : sequence of Groups
        Absorbed effects.
    rank : int
        Rank of the absorbed effects.
    instrumented : bool
        True for 2SLS.
    rows : int, optional
        Pupils that the rows stand for, if they are not rows themselves.
    """

    beta: Vector
    x: Matrix
    residual: Vector
    weight: Vector
    bread: Matrix
    unit: Groups
    effects: Sequence[Groups]
    rank: int
    instrumented: bool = False
    rows: int | None = None

    def contributions(self) -> Matrix:
        """Contributions of units ``(N, p)``."""
        scores = self.x * (self.weight * self.residual)[:, None]
        return self.unit.sum(scores) @ self.bread

    def by_row(self) -> Matrix:
        """Contributions of rows ``(n, p)``."""
        return (self.x * (self.weight * self.residual)[:, None]) @ self.bread

    def weights(self) -> Matrix:
        """Row weights ``(n, p)``: ``weights.T @ y == beta``."""
        return (self.x * self.weight[:, None]) @ self.bread

    def degrees(self, cluster: Codes) -> tuple[int, int]:
        """Rows and parameters, where effects nested in clusters count as one constant."""
        rows = clusters(self.unit, cluster)
        parameters = len(self.beta) + outside(self.effects, self.weight, self.rank, rows)
        return self.rows or len(self.weight), parameters

    def imposed(self, cluster: Codes, part: Part, combination: Vector) -> Imposed:
        """Residuals under nulls about one combination ``(p,)``, summed over parts of clusters."""
        if self.instrumented:
            raise CombinationError(
                "the wild bootstrap is defined here for least squares, not for instrumented "
                "regressions; test the reduced form, or use anderson_rubin"
            )
        lead = self.x @ (self.bread @ combination)
        scale = combination @ self.bread @ combination
        root = np.linalg.cholesky(self.bread)
        residuals = self.residual, lead / scale
        return impose(
            self.x @ root, lead, residuals, self.weight, self.effects,
            self.unit, clusters(self.unit, cluster), part,
        )  # fmt: skip

    def _cut(self, cluster: Codes) -> Clustered:
        if self.instrumented:
            raise CombinationError(
                "CR2 and CR3 are defined here for least squares, not for instrumented regressions; "
                "use CR1S"
            )
        rows = clusters(self.unit, cluster)
        half = np.sqrt(self.weight)[:, None]
        columns, nested = [self.x], []
        for effect in self.effects:
            if effect.within(rows):
                nested.append(effect)
            else:
                columns.append((effect.codes[:, None] == np.arange(effect.size)).astype(float))
        design = np.hstack(columns)
        if nested:
            design = Absorber(nested, self.weight).residual(design)
        basis, _, _ = orthonormal(half * design)
        return Clustered(
            lambda: _spectra(basis, rows),
            rows.sum(basis * (half * self.residual[:, None])),
            (basis.T @ (half * self.x)) @ self.bread,
        )


def clusters(unit: Groups, cluster: Codes) -> Groups:
    """Rows by cluster, from the cluster ``(N,)`` of each unit."""
    return Groups(cluster[unit.codes], int(cluster.max()) + 1)


def outside(effects: Sequence[Groups], weight: Vector, rank: int, rows: Groups) -> int:
    """Rank of the effects, where those nested in the clusters ``rows`` count as one constant."""
    nested = [effect for effect in effects if effect.within(rows)]
    return rank - Absorber(nested, weight).rank + 1 if nested else rank


def orthonormal(columns: Matrix) -> tuple[Matrix, Matrix, Codes]:
    """A basis ``(n, d)`` of the span of some columns, the triangle ``(d, d)`` that makes columns of
    it, and which of the columns those are."""
    q, r, pivot = pivoted_qr(columns)
    size = np.abs(np.diag(r))
    d = int((size > SINGULAR * size[0]).sum())
    return q[:, :d], r[:d, :d], pivot[:d]


def _spectra(basis: Matrix, clusters: Groups) -> Iterator[Batch]:
    """Spectra of clusters of equal numbers of rows, as many at a time as fit in CHUNK numbers."""
    rows = clusters.rows()
    size = np.array([len(at) for at in rows])
    for r in np.unique(size):
        alike = np.flatnonzero(size == r)
        step = max(1, CHUNK // (r * basis.shape[1]))
        for start in range(0, len(alike), step):
            members = alike[start : start + step]
            yield members, *spectrum(basis[np.stack([rows[g] for g in members])])


def least_squares(
    y: Vector,
    x: Matrix,
    *,
    names: Sequence[str],
    effects: Sequence[Groups],
    weight: Vector,
    unit: Groups,
) -> Fit:
    """Regress ``y`` ``(n,)`` on ``x`` ``(n, p)`` with ``effects`` absorbed.

    Raises
    ------
    IdentificationError
        Naming the regressors that the effects or the other regressors explain completely.
    """
    absorber = Absorber(effects, weight)
    z = absorber.residual(np.column_stack([y, x]))
    y_, x_ = z[:, 0], z[:, 1:]
    refuse_singular(x, x_, weight, names)
    beta, bread = _solve(x_, y_, weight)
    return Fit(beta, x_, y_ - x_ @ beta, weight, bread, unit, effects, absorber.rank)


def undemeaned(y: Vector, x: Matrix, weight: Vector, unit: Groups) -> Fit:
    """Regress ``y`` on the columns of ``x`` as they are, with no effect absorbed."""
    beta, bread = _solve(x, y, weight)
    return Fit(beta, x, y - x @ beta, weight, bread, unit, [], 0)


def two_stage(
    y: Vector,
    endogenous: Matrix,
    exogenous: Matrix,
    instruments: Matrix,
    *,
    names: Sequence[str],
    instrument_names: Sequence[str],
    effects: Sequence[Groups],
    weight: Vector,
    unit: Groups,
) -> Fit:
    """Two-stage least squares with absorbed effects; ``names`` lists endogenous, then exogenous.

    Raises
    ------
    IdentificationError
        If regressors or instruments are collinear, or instruments are too few.
    """
    if instruments.shape[1] < endogenous.shape[1]:
        raise IdentificationError(
            f"{endogenous.shape[1]} endogenous regressors need at least as many instruments, "
            f"got {instruments.shape[1]}"
        )
    absorber = Absorber(effects, weight)
    raw = np.column_stack([y, endogenous, exogenous, instruments])
    z = absorber.residual(raw)
    m, p = endogenous.shape[1], endogenous.shape[1] + exogenous.shape[1]
    y_, x_, outside = z[:, 0], z[:, 1 : 1 + p], z[:, 1 + m :]
    refuse_singular(raw[:, 1 : 1 + p], x_, weight, names)
    refuse_singular(raw[:, 1 + m :], outside, weight, [*names[m:], *instrument_names])
    first, _ = _solve(outside, x_[:, :m], weight)
    fitted = np.column_stack([outside @ first, x_[:, m:]])
    refuse_singular(x_, fitted, weight, names)
    beta, bread = _solve(fitted, y_, weight)
    return Fit(
        beta, fitted, y_ - x_ @ beta, weight, bread, unit, effects, absorber.rank, instrumented=True
    )


def _solve(x: Matrix, y: Matrix, weight: Vector) -> tuple[Matrix, Matrix]:
    """Coefficients and ``(x'Wx)^{-1}``."""
    half = np.sqrt(weight)[:, None]
    return solved(half * x, half[:, 0] * y if y.ndim == 1 else half * y)


def solved(x: Matrix, y: Matrix) -> tuple[Matrix, Matrix]:
    """Coefficients and ``(x'x)^{-1}`` by QR."""
    q, r = qr(x, mode="economic", check_finite=False)
    inverse = solve_triangular(r, np.eye(len(r)))
    return inverse @ (q.T @ y), inverse @ inverse.T


def refuse_singular(raw: Matrix, x: Matrix, weight: Vector, names: Sequence[str]) -> None:
    """Raise, naming the columns, unless ``x`` has full column rank."""
    if len(names):
        half = np.sqrt(weight)[:, None]
        refuse_dependent(np.linalg.norm(half * raw, axis=0), half * x, names)


def refuse_dependent(before: Vector, x: Matrix, names: Sequence[str]) -> None:
    """Raise, naming them, unless the columns of ``x`` kept some of their length and are free."""
    _factored(before, x, names)


def solved_free(
    before: Vector, x: Matrix, y: Vector, names: Sequence[str]
) -> tuple[Vector, Matrix]:
    """:func:`solved`, of columns that :func:`refuse_dependent` lets pass."""
    scale, (q, r, pivot) = _factored(before, x, names)
    inverse = np.empty_like(r)
    inverse[pivot] = dtrtri(r)[0] / scale[pivot][:, None]
    return inverse @ (q.T @ y), inverse @ inverse.T


def _factored(
    before: Vector, x: Matrix, names: Sequence[str]
) -> tuple[Vector, tuple[Matrix, Matrix, Codes]]:
    """Lengths ``(p,)`` of free columns, and the pivoted QR of the columns by their lengths."""
    after = np.linalg.norm(x, axis=0)
    wild = ~np.isfinite(after)
    if wild.any():
        raise IdentificationError(
            f"{some(np.array(names)[wild])}: numbers or weights are too large to be squared; "
            "give them in a larger unit"
        )
    gone = after <= SINGULAR * np.where(before > 0, before, 1.0)
    if gone.any():
        raise IdentificationError(
            f"{some(np.array(names)[gone])} has no variation left once the effects are absorbed; "
            "remove it, or absorb fewer effects. What is constant within units can move their "
            "trends: by_time= or baseline=, where the estimator has it"
        )
    q, r, pivot = pivoted_qr(x / after)
    size = np.abs(np.diag(r))
    rank = int((size > SINGULAR * size[0]).sum())
    if rank < len(names):
        # The null space of R says which columns each redundant one is made of.
        coefficients = solve_triangular(r[:rank, :rank], r[:rank, rank:])
        involved = np.abs(coefficients).max(axis=1) > SINGULAR**0.5
        redundant = np.array(names)[pivot[rank:]]
        partners = np.array(names)[pivot[:rank][involved]]
        raise IdentificationError(
            f"the regressors are collinear: {some(redundant)} is a combination of "
            f"{some(partners)}. Remove one of them."
        )
    return after, (q, r, pivot)
