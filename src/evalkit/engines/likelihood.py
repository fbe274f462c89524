"""Variances of random effects by ML or REML, with the boundary checked on the variance scale.

A variance of zero is accepted only with a non-negative gradient there (the Karush-Kuhn-Tucker
condition). On the scale of standard deviations the gradient at zero is always zero: an optimiser
that trusts it may stop there for no reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal, TypeAlias

import numpy as np
from scipy.linalg.lapack import dtrtri

from evalkit.core.arrays import Matrix, Vector
from evalkit.core.errors import IdentificationError
from evalkit.engines.newton import minimise
from evalkit.engines.variance_components import Effects, Stack, Sweep

Method: TypeAlias = Literal["reml", "ml"]

START = 0.3  # standard deviation of every effect at the start, in residual standard deviations
SCORINGS, LOW = 5, 1e-3  # steps of scoring before Newton's, and the share of the start they keep
NEAR = 0.1  # gain of a step of scoring from which on Newton's are better
FAINT = 1e-5  # information on an effect, in units of its variance, below which zero is tried
SLACK = 1e-9  # a gradient this small beside its own terms is zero
TRIES = 20


@dataclass(frozen=True, slots=True, eq=False)
class Point:
    r"""The criterion at given variances :math:`\Theta_l` (of residual variance one).

    ``value`` is minus twice the log likelihood; ``gradients`` are its derivatives by
    :math:`\Theta_l`, symmetric ``(q, q)``; ``beta`` has covariance ``scale`` :math:`A`, with
    :math:`A=` ``bread``; ``rss`` is :math:`(y-X\beta)'V^{-1}(y-X\beta)`.
    """

    value: float
    gradients: tuple[Matrix, ...]
    beta: Vector
    bread: Matrix
    rss: float
    scale: float
    sweep: Sweep

    @property
    def residual(self) -> Vector:
        """``[-beta, 1]``, which turns sums of ``[X y]`` into sums of residuals."""
        return np.append(-self.beta, 1.0)


@dataclass(frozen=True, slots=True, eq=False)
class Criterion:
    """Minus twice the (restricted) log likelihood of ``n`` rows as a function of the variances.

    Parameters
    ----------
    effects : Nested or Crossed
    n, p : int
        Rows and coefficients.
    method : {"reml", "ml"}
    constant : float
        Added to the value: what scaling the columns or weighting the rows did to it.
    """

    effects: Effects
    n: int
    p: int
    method: Method
    constant: float = 0.0

    @property
    def widths(self) -> tuple[int, ...]:
        """Random columns of each block."""
        return self.effects.widths

    @property
    def degrees(self) -> int:
        """Rows, less the coefficients for REML."""
        return self.n - (self.p if self.method == "reml" else 0)

    def at(self, factors: Sequence[Matrix], scale: float | None = None) -> Point:
        r"""The criterion where :math:`\Theta_l=` ``factors[l] @ factors[l].T``.

        With residual variance :math:`s^2` given as ``scale``, or at its best value,
        :math:`f=d\log(2\pi s^2)+r/s^2+\log|V|\;[+\log|X'V^{-1}X|]`, where :math:`d=n` for ML and
        :math:`n-p` for REML, and
        :math:`\partial f/\partial\Theta_l=\sum_jZ_j'V^{-1}Z_j-E_j\,[\,A\;[+]\;vv'/s^2\,]E_j'`,
        :math:`E_j=Z_j'V^{-1}[X\,y]`, :math:`v=[-\beta,1]`.
        """
        sweep = self.effects.sweep(factors)
        p = self.p
        root = np.linalg.cholesky(sweep.total)
        rss = float(root[p, p] ** 2)
        inverse = dtrtri(root[:p, :p], lower=1)[0]
        bread = inverse.T @ inverse
        beta = inverse.T @ root[p, :p]
        degrees = self.degrees
        if scale is None:
            scale = rss / degrees
        value = degrees * np.log(2 * np.pi * scale) + rss / scale + sweep.logdet + self.constant
        seen = np.zeros_like(root)
        if self.method == "reml":
            value += 2 * float(np.log(root.diagonal()[:p]).sum())
            seen[:p, :p] = bread
        v = np.append(-beta, 1.0)
        seen += v[:, None] * v / scale
        gradients = tuple(
            own.sum(axis=0) - _sandwich(reach, seen)
            for own, reach in zip(sweep.precision, sweep.reach, strict=True)
        )
        return Point(float(value), gradients, beta, bread, rss, scale, sweep)

    def unpack(self, x: Vector) -> list[Matrix]:
        """Lower triangular factors from their entries, block after block, row after row."""
        factors, first = [], 0
        for q in self.widths:
            factor, inside = np.zeros((q, q)), _triangle(q)
            factor[inside] = x[first : first + len(inside[0])]
            factors.append(factor)
            first += len(inside[0])
        return factors

    def pack(self, factors: Sequence[Matrix]) -> Vector:
        """The entries of :meth:`unpack`."""
        return np.concatenate([factor[_triangle(len(factor))] for factor in factors])

    def by_entries(self, x: Vector, scale: float | None = None) -> tuple[Point, Vector]:
        """The point and its derivative by the entries of the factors."""
        factors = self.unpack(x)
        point = self.at(factors, scale)
        return point, self.pack([2 * g @ f for g, f in zip(point.gradients, factors, strict=True)])


_triangle = cache(np.tril_indices)


def _sandwich(reach: Stack, seen: Matrix) -> Matrix:
    """Sum over units of ``E_j seen E_j'``, from one product of all units."""
    _, q, c = reach.shape
    flat = reach.reshape(len(reach), q * c)
    products = (flat.T @ flat).reshape(q, c, q, c)
    out: Matrix = np.einsum("acbd,cd->ab", products, seen)
    return (out + out.T) / 2


@dataclass(frozen=True, slots=True, eq=False)
class Solution:
    r"""The fitted variances: ``factors`` :math:`\Lambda_l`, the ``point`` there, and ``kkt``.

    ``kkt`` holds, per block, the smallest derivative of the criterion in a direction in which the
    variance is zero, relative to its first term (NaN where no direction is zero).
    """

    criterion: Criterion
    factors: tuple[Matrix, ...]
    point: Point
    kkt: Vector

    @property
    def variances(self) -> tuple[Matrix, ...]:
        r"""Covariances of the effects of each block, :math:`s^2\Lambda_l\Lambda_l'`."""
        return tuple(self.point.scale * factor @ factor.T for factor in self.factors)


def fit(criterion: Criterion, *, scale: float | None = None) -> Solution:
    """Minimise the criterion over all variances; ``scale`` holds the residual variance if known."""
    quick = replace(criterion, effects=criterion.effects.condensed())
    found = settle(quick, _scored(quick, scale), scale=scale)
    if quick.effects is criterion.effects:
        return found
    return replace(found, criterion=criterion, point=criterion.at(found.factors, scale))


def _scored(criterion: Criterion, scale: float | None) -> list[Matrix]:
    r"""A few steps of Fisher scoring, block by block: :math:`\sum_jF_j\,\Delta\,F_j=-G`."""
    factors = [START * np.eye(q) for q in criterion.widths]
    point = criterion.at(factors, scale)
    for _ in range(SCORINGS):
        trial = []
        for factor, g, own in zip(factors, point.gradients, point.sweep.precision, strict=True):
            q = len(factor)
            flat = own.reshape(len(own), q * q)
            twice = (flat.T @ flat).reshape(q, q, q, q).swapaxes(1, 2).reshape(q * q, q * q)
            change = np.linalg.lstsq(twice, -g.ravel(), rcond=None)[0].reshape(q, q)
            value, axes = np.linalg.eigh(factor @ factor.T + (change + change.T) / 2)
            trial.append(triangular(axes * np.sqrt(np.maximum(value, LOW * START**2))))
        last, point = point, criterion.at(trial, scale)
        if not point.value < last.value:
            break
        factors = trial
        if last.value - point.value < NEAR:
            break
    return factors


def settle(
    criterion: Criterion, factors: Sequence[Matrix], *, scale: float | None = None
) -> Solution:
    """Minimise from ``factors``; a variance ends at zero only where the gradient holds it there."""

    def smooth(x: Vector) -> tuple[float, Vector]:
        try:
            point, slope = criterion.by_entries(x, scale)
        except np.linalg.LinAlgError:
            return np.inf, np.zeros_like(x)
        return point.value, slope

    units = _units(criterion)
    made = list(factors)
    released = [False] * len(made)
    for _ in range(TRIES):
        free = criterion.pack([np.tile((f != 0).any(axis=0), (len(f), 1)) for f in made]) != 0
        made = criterion.unpack(minimise(smooth, criterion.pack(made), free))
        lowered = [f if held else _without_faint(f, unit)
                   for f, unit, held in zip(made, units, released, strict=True)]  # fmt: skip
        if any(_rank(low) < _rank(f) for low, f in zip(lowered, made, strict=True)):
            made = lowered
            continue
        point = criterion.at(made, scale)
        kkt, least, ways = _held(point, made, units)
        worst = int(np.argmin(np.where(np.isnan(least), np.inf, least)))
        if not least[worst] < -SLACK:
            return Solution(criterion, tuple(made), point, kkt)
        released[worst] = True
        made[worst] = _off_zero(criterion, made, worst, ways[worst], point.value, scale)
    raise IdentificationError(
        "the variances did not settle on or off zero; use fewer random effects"
    )


def _rank(factor: Matrix) -> int:
    return int((factor != 0).any(axis=0).sum())


def _units(criterion: Criterion) -> list[Vector]:
    """Per block, what turns an effect into root-information units of a mean unit."""
    zero = criterion.effects.sweep([np.zeros((q, q)) for q in criterion.widths])
    return [np.sqrt(np.diagonal(own.mean(axis=0))) for own in zero.precision]


def _without_faint(factor: Matrix, unit: Vector) -> Matrix:
    """The factor without directions whose variance is next to nothing."""
    value, axes = np.linalg.eigh((scaled := unit[:, None] * factor) @ scaled.T)
    if value[0] > FAINT or not factor.any():
        return factor
    kept = axes * np.sqrt(np.where(value > FAINT, value, 0.0))
    return triangular(kept) / unit[:, None]


def triangular(root: Matrix) -> Matrix:
    """A lower triangular factor of ``root @ root.T``, with zero columns where it is singular."""
    left = root @ root.T
    out = np.zeros_like(left)
    least = 1e-12 * max(float(np.diag(left).max()), 1e-300)
    for j in range(len(left)):
        if left[j, j] > least:
            out[j:, j] = left[j:, j] / np.sqrt(left[j, j])
            left = left - np.outer(out[:, j], out[:, j])
    return out


def _held(
    point: Point, factors: Sequence[Matrix], units: Sequence[Vector]
) -> tuple[Vector, Vector, list[Vector]]:
    """Per singular block, the least derivative where the variance is zero, the least in any
    direction (both relative to their first term), and that direction."""
    kkt, least = np.full((2, len(factors)), np.nan)
    ways = []
    for block, (g, factor, unit) in enumerate(zip(point.gradients, factors, units, strict=True)):
        scaled = g / np.outer(unit, unit)
        terms = point.sweep.precision[block].sum(axis=0) / np.outer(unit, unit)
        value, axes = np.linalg.eigh(scaled)
        ways.append(axes[:, 0] / unit)
        rank = _rank(factor)
        if rank < len(factor):
            empty = np.linalg.svd(unit[:, None] * factor)[0][:, rank:]
            size = float(np.linalg.eigvalsh(terms)[-1])
            kkt[block] = np.linalg.eigvalsh(empty.T @ scaled @ empty)[0] / size
            least[block] = value[0] / size
    return kkt, least, ways


def _off_zero(
    criterion: Criterion,
    factors: Sequence[Matrix],
    block: int,
    way: Vector,
    value: float,
    scale: float | None,
) -> Matrix:
    """The factor of one block after a step along ``way`` that lowers the criterion."""
    trial = list(factors)
    for halvings in range(60):
        more = np.column_stack([factors[block], way * 0.5 ** (halvings / 2)])
        trial[block] = triangular(more)
        if criterion.at(trial, scale).value < value:
            return trial[block]
    return factors[block]
