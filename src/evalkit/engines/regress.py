"""Least squares and two-stage least squares with absorbed effects, and what follows from the fit:
contributions of units, row weights, leverage-adjusted scores and degrees of freedom.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import qr, solve_triangular

from evalkit.core.arrays import Codes, Flags, Groups, Matrix, Vector
from evalkit.core.errors import CombinationError, IdentificationError, some
from evalkit.core.origin import Imposed, Part
from evalkit.engines.absorb import Absorber
from evalkit.engines.imposed import impose

SINGULAR = 1e-9  # a regressor keeping less than this share of its length adds nothing
EDGE = 1e-10  # a leverage this close to one marks a direction that the cluster alone identifies


@dataclass(frozen=True, eq=False)
class Fit:
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
        rows = self._clusters(cluster)
        nested = [effect for effect in self.effects if effect.within(rows)]
        inside = Absorber(nested, self.weight).rank if nested else 0
        return self.rows or len(self.residual), len(self.beta) + self.rank - inside + bool(nested)

    def adjusted(self, kind: str, cluster: Codes) -> Matrix:
        r"""Cluster contributions ``(G, p)``: :math:`A\tilde X_g'W_g\,B_g\,e_g`.

        With :math:`H` the hat matrix of regressors and effects, :math:`B_g=(I-H_{gg})^{-1/2}`
        for CR2 and :math:`(I-H_{gg})^{-1}` for CR3 (symmetric, with the pseudo-inverse where the
        cluster alone identifies a direction). Cost: the cube of each cluster's rows.
        """
        half, q, parts = self._half_weighted(cluster)
        residual = half[:, 0] * self.residual
        x = half * self.x
        return np.stack(
            [self.bread @ (x[rows].T @ _power(q[rows], kind, residual[rows])) for rows in parts]
        )

    def satterthwaite(self, kind: str, cluster: Codes, combination: Matrix) -> Vector:
        r"""Degrees of freedom ``(k,)`` of the columns of ``combination`` ``(p, k)``.

        :math:`\nu=(\sum_g M_{gg})^2/\sum_{gh}M_{gh}^2` with
        :math:`M_{gh}=a_g'(I-H)_{gh}a_h` and :math:`a_g=B_g\tilde X_gA\,l`
        (Pustejovsky and Tipton 2018, eq. 12, working covariance proportional to 1/weight).
        """
        half, q, parts = self._half_weighted(cluster)
        loadings = (half * self.x) @ self.bread @ combination
        k = combination.shape[1]
        own = np.empty((len(parts), k))
        cross = np.empty((len(parts), q.shape[1], k))
        for g, rows in enumerate(parts):
            a = _power(q[rows], kind, loadings[rows])
            own[g] = (a**2).sum(axis=0)
            cross[g] = q[rows].T @ a
        lost = (cross**2).sum(axis=1)
        trace = (own - lost).sum(axis=0)
        square = (own**2 - 2 * own * lost).sum(axis=0)
        for j in range(k):
            inner = cross[:, :, j].T @ cross[:, :, j]
            square[j] += (inner**2).sum()
        dof: Vector = trace**2 / square
        return dof

    def identified_by_one(self, cluster: Codes, combination: Matrix) -> Flags:
        """True ``(k,)`` where part of a combination's loading lies in a direction of leverage one.

        Dropping that cluster would lose the combination, so its residuals say nothing about it.
        """
        half, q, parts = self._half_weighted(cluster)
        loadings = (half * self.x) @ self.bread @ combination
        alone = np.zeros(combination.shape[1], dtype=bool)
        for rows in parts:
            value, vectors = np.linalg.eigh(np.eye(len(rows)) - q[rows] @ q[rows].T)
            lost = vectors[:, value <= EDGE].T @ loadings[rows]
            alone |= (lost**2).sum(axis=0) > SINGULAR * (loadings**2).sum(axis=0)
        return alone

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
            self.unit, self._clusters(cluster), part,
        )  # fmt: skip

    def _clusters(self, cluster: Codes) -> Groups:
        return Groups(cluster[self.unit.codes], int(cluster.max()) + 1)

    def _half_weighted(self, cluster: Codes) -> tuple[Matrix, Matrix, list[Codes]]:
        """Root weights, an orthonormal basis of the design off nested effects, rows by cluster."""
        if self.instrumented:
            raise CombinationError(
                "CR2 and CR3 are defined here for least squares, not for instrumented regressions; "
                "use CR1S"
            )
        rows = self._clusters(cluster)
        nested = [effect for effect in self.effects if effect.within(rows)]
        half = np.sqrt(self.weight)[:, None]
        columns = [self.x]
        for effect in self.effects:
            if effect not in nested:
                columns.append((effect.codes[:, None] == np.arange(effect.size)).astype(float))
        design = np.hstack(columns)
        if nested:
            design = Absorber(nested, self.weight).residual(design)
        q, r, _ = qr(half * design, mode="economic", pivoting=True)
        size = np.abs(np.diag(r))
        basis: Matrix = np.asarray(q[:, : int((size > SINGULAR * size[0]).sum())], float)
        return half, basis, rows.rows()


def _power(q: Matrix, kind: str, z: Matrix) -> Matrix:
    """``(I - qq')`` to the power -1/2 (CR2) or -1 (CR3), pseudo-inverted, times ``z``."""
    value, vectors = np.linalg.eigh(np.eye(len(q)) - q @ q.T)
    keep = value > EDGE
    power = np.zeros_like(value)
    power[keep] = value[keep] ** (-0.5 if kind == "CR2" else -1.0)
    out: Matrix = (vectors * power) @ (vectors.T @ z)
    return out


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
    """Coefficients and ``(x'Wx)^{-1}`` by QR of the root-weighted design."""
    half = np.sqrt(weight)[:, None]
    q, r = qr(half * x, mode="economic")
    target = half[:, 0] * y if y.ndim == 1 else half * y
    inverse = solve_triangular(r, np.eye(len(r)))
    return inverse @ (q.T @ target), inverse @ inverse.T


def refuse_singular(raw: Matrix, x: Matrix, weight: Vector, names: Sequence[str]) -> None:
    """Raise, naming the columns, unless ``x`` has full column rank."""
    if not len(names):
        return
    half = np.sqrt(weight)[:, None]
    before = np.linalg.norm(half * raw, axis=0)
    after = np.linalg.norm(half * x, axis=0)
    gone = after <= SINGULAR * np.where(before > 0, before, 1.0)
    if gone.any():
        raise IdentificationError(
            f"{some(np.array(names)[gone])} has no variation left once the effects are absorbed; "
            "remove it, or absorb fewer effects. What is constant within units can move their "
            "trends: by_time= or baseline=, where the estimator has it"
        )
    _, r, pivot = qr(half * x / after, mode="economic", pivoting=True)
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
