"""Residuals under a null hypothesis by cluster: all that the wild bootstrap needs of a regression.

With draws v that multiply residuals u, the score of a cluster is the sum of ``w l (vu - fit)`` over
its rows, where l is the loading of the tested combination and ``fit`` that of vu on the design.
Effects nested in clusters drop out, since l is orthogonal to each of their categories; the other
effects enter through sums by category.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from evalkit.core.arrays import Groups, Matrix, Vector
from evalkit.core.origin import Imposed, Part
from evalkit.engines.absorb import Absorber

REDUNDANT = 1e-13  # share of a category's weight left by the others below which it adds nothing
SMALL = 1e-24  # squared reach, beside the largest, that is rounding


def impose(
    x: Matrix,
    lead: Vector,
    residuals: Sequence[Vector],
    weight: Vector,
    effects: Sequence[Groups],
    unit: Groups,
    cluster: Groups,
    part: Part,
) -> Imposed:
    """Sums over parts of clusters.

    Parameters
    ----------
    x : Matrix (n, p)
        Regressors after absorption, with ``x'Wx`` the identity.
    lead : Vector (n,)
        The tested combination of coefficients is the sum of ``weight * lead * y``.
    residuals : pair of Vector (n,)
        At the estimate, and what a unit of distance to the null adds.
    weight : Vector (n,)
    effects : sequence of Groups
    unit, cluster : Groups
        Of the rows.
    part : {"cluster", "unit", "row"}
    """
    parts = {"cluster": cluster, "unit": unit}.get(part)
    if parts is None:
        parts = Groups(np.arange(len(lead)), len(lead))
    owner = np.zeros(parts.size, np.intp)
    owner[parts.codes] = cluster.codes
    nested = [effect for effect in effects if effect.within(cluster)]
    others = [effect for effect in effects if effect not in nested]
    across = Across(nested, others, weight, dense=part != "cluster")
    reach = np.hstack([cluster.sum(x * (weight * lead)[:, None]), across.sums(cluster, lead)])
    moved = [
        np.hstack([parts.sum(x * (weight * u)[:, None]), across.sums(parts, u)]) for u in residuals
    ]
    value, vectors = np.linalg.eigh(reach.T @ reach)
    basis = vectors[:, value > SMALL * value.max()]
    return Imposed(
        owner,
        np.stack([parts.sum(weight * lead * u) for u in residuals]),
        np.stack([z @ basis for z in moved]),
        reach @ basis,
    )


class Across:
    """Categories of effects that cut across clusters, in coordinates that are orthonormal once the
    nested effects are taken out.

    Sums over clusters need no rows: what is summed is orthogonal to the nested effects. Sums over
    finer parts need the categories with the nested effects taken out, ``dense`` ``(n, R)``.
    """

    def __init__(
        self, nested: Sequence[Groups], others: Sequence[Groups], weight: Vector, *, dense: bool
    ) -> None:
        self.others, self.weight = others, weight
        self.rows: Matrix | None = None
        if others and (dense or len(nested) > 1):
            dummies = np.hstack([(e.codes[:, None] == np.arange(e.size)) * 1.0 for e in others])
            self.rows = Absorber(nested, weight).residual(dummies) if nested else dummies
            gram = self.rows.T @ (self.rows * weight[:, None])
        else:
            gram = self._gram(nested)
        self.root = self._root(gram)

    def _by(self, group: Groups, values: Vector) -> Matrix:
        """Sums by group and category ``(size, R)``."""
        blocks = [
            np.bincount(
                group.codes * e.size + e.codes, values, minlength=group.size * e.size
            ).reshape(group.size, e.size)
            for e in self.others
        ]
        return np.hstack(blocks) if blocks else np.zeros((group.size, 0))

    def _gram(self, nested: Sequence[Groups]) -> Matrix:
        """``D'WD`` of the categories, less what the nested effect explains."""
        if not self.others:
            return np.zeros((0, 0))
        gram = np.vstack([self._by(e, self.weight) for e in self.others])
        for effect in nested:
            joint, mass = self._by(effect, self.weight), effect.sum(self.weight)
            gram -= joint.T @ (joint / np.where(mass > 0, mass, 1.0)[:, None])
        return gram

    def _root(self, gram: Matrix) -> Matrix:
        """``F`` with ``FF'`` the pseudo-inverse of ``gram``."""
        if not self.others:
            return gram
        mass = np.concatenate([e.sum(self.weight) for e in self.others])
        scale = np.sqrt(np.where(mass > 0, mass, 1.0))
        value, vectors = np.linalg.eigh(gram / np.outer(scale, scale))
        keep = value > REDUNDANT * len(gram)
        out: Matrix = vectors[:, keep] / np.sqrt(value[keep]) / scale[:, None]
        return out

    def sums(self, group: Groups, values: Vector) -> Matrix:
        """Weighted sums of ``values`` ``(n,)`` by group in each coordinate."""
        if self.rows is None:
            return self._by(group, self.weight * values) @ self.root
        return group.sum(self.rows * (self.weight * values)[:, None]) @ self.root
