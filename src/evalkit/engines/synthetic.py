"""One treated cohort against weighted controls and weighted earlier periods.

Difference-in-differences, synthetic control and synthetic DiD are this one comparison with some of
the weights pinned. Not for staggered adoption or inference: one block, arrays in, weights out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from evalkit.core.arrays import Matrix, Vector
from evalkit.core.errors import IdentificationError
from evalkit.engines.simplex import frank_wolfe, simplex_ridge

Solver: TypeAlias = Literal["exact", "frank-wolfe"]
Ridge: TypeAlias = "float | Literal['cross-validated'] | None"

TINY = 1e-6  # penalty that only makes the minimum unique, in units of the noise
DECREASE = 1e-5  # end of the Frank-Wolfe steps, in units of the noise
PENALTIES, SMALLEST = 21, 1e-8  # grid of the cross-validation, relative to the largest eigenvalue


@dataclass(frozen=True, slots=True)
class Recipe:
    """Which weights are fitted, and how.

    ``unit`` and ``time`` say where the weights come from; ``level`` lets the weighted controls miss
    the level of the treated; ``zeta`` is the unit penalty (None: ``(N1 T1)^(1/4)`` times the noise
    if ``level``, else ``TINY`` times it); ``ridge`` augments the unit weights.
    """

    unit: Literal["fitted", "uniform"]
    time: Literal["fitted", "uniform", "none"]
    level: bool
    zeta: float | None
    ridge: Ridge
    solver: Solver


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Outcomes of one comparison: controls ``(N0, T)``, their ``share`` ``(N0,)`` and the path of
    the ``n_treated`` treated ``(T,)``, treated after the first ``before`` periods."""

    control: Matrix
    share: Vector
    target: Vector
    before: int
    n_treated: int


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """Unit weights ``(N0,)``, time weights ``(T0,)``, the noise and the penalties behind them."""

    unit: Vector
    time: Vector
    noise: float
    zeta: float
    ridge: float


def fit(block: Block, recipe: Recipe) -> Fitted:
    """The weights of a block.

    Raises
    ------
    IdentificationError
        Without noise before adoption there is no penalty, and the weights are not unique.
    """
    share = block.share / block.share.mean()
    before, after = block.before, block.control.shape[1] - block.before
    sigma = noise(block.control[:, :before], share)
    fitted = recipe.unit == "fitted" or recipe.time == "fitted"
    if fitted and not sigma > 0 and not (recipe.zeta and recipe.time != "fitted"):
        raise IdentificationError(
            f"no noise before adoption (earlier periods: {before}, controls: {len(share)}); the "
            "standard deviation of the controls' changes sets the penalty. Use uniform weights, "
            "or extend the sample"
        )
    scale = (block.n_treated * after) ** 0.25 if recipe.level else TINY
    zeta = scale * sigma if recipe.zeta is None else recipe.zeta
    past, target = block.control[:, :before].T, block.target[:before]
    unit, ridge = share / share.sum(), 0.0
    if recipe.unit == "fitted":
        unit = unit_weights(past, target, share, zeta, recipe, sigma)
        if recipe.ridge is not None:
            ridge = (
                cross_validated(past, target, share, zeta, recipe, sigma)
                if recipe.ridge == "cross-validated"
                else recipe.ridge
            )
            unit = augmented(unit, past, target, share, ridge)
    time = np.full(before, 1 / before if recipe.time == "uniform" else 0.0)
    if recipe.time == "fitted":
        root = np.sqrt(share)[:, None]
        both = np.column_stack([past.T, block.control[:, before:].mean(axis=1)])
        both = root * (both - share @ both / share.sum())
        time = _solve(both[:, :-1], both[:, -1], TINY * sigma, None, recipe.solver, sigma)
    return Fitted(unit, time, sigma, zeta, ridge)


def noise(past: Matrix, share: Vector) -> float:
    """Standard deviation of the changes of controls ``(N0, T0)`` from one period to the next."""
    change = np.diff(past, axis=1)
    if change.size < 2:
        return float("nan")
    deviation = change - share @ change.mean(axis=1) / share.sum()
    return float(np.sqrt(share @ (deviation**2).sum(axis=1) / (change.size - 1)))


def unit_weights(
    past: Matrix, target: Vector, share: Vector, zeta: float, recipe: Recipe, sigma: float
) -> Vector:
    """Weights of controls ``past`` ``(T0, N0)`` whose average follows ``target`` ``(T0,)``."""
    if recipe.level:
        past, target = past - past.mean(axis=0), target - target.mean()
    return _solve(past, target, zeta, share, recipe.solver, sigma)


def _solve(
    a: Matrix, b: Vector, zeta: float, share: Vector | None, solver: Solver, sigma: float
) -> Vector:
    eta = len(b) * zeta**2
    if solver == "exact":
        return simplex_ridge(a, b, eta, share)
    return frank_wolfe(a, b, eta, share=share, decrease=DECREASE * sigma)


def augmented(unit: Vector, past: Matrix, target: Vector, share: Vector, ridge: float) -> Vector:
    """Synthetic control weights corrected for the imbalance left, by ridge regression.

    Ben-Michael, Feller and Rothstein (2021), eq. 10; the corrections sum to zero.
    """
    x = past - (past @ share / share.sum())[:, None]
    gram = (x * share) @ x.T + ridge * np.eye(len(target))
    corrected: Vector = unit + share * (x.T @ np.linalg.solve(gram, target - past @ unit))
    return corrected


def cross_validated(
    past: Matrix, target: Vector, share: Vector, zeta: float, recipe: Recipe, sigma: float
) -> float:
    """Largest ridge penalty within one standard error of the best, leaving out one period each.

    The rule of Ben-Michael, Feller and Rothstein (2021), section 5.3. Cost: T0 weights.
    """
    periods = len(target)
    if periods < 3:
        raise IdentificationError(
            f"{periods} periods before adoption are too few to cross-validate the ridge; name "
            "its penalty, ridge=..."
        )
    x = past - (past @ share / share.sum())[:, None]
    largest = float(np.linalg.eigvalsh((x * share) @ x.T)[-1])
    grid = largest * np.logspace(0, np.log10(SMALLEST), PENALTIES)
    error = np.empty((PENALTIES, periods))
    for t in range(periods):
        rest = np.arange(periods) != t
        unit = unit_weights(past[rest], target[rest], share, zeta, recipe, sigma)
        for at, ridge in enumerate(grid):
            w = augmented(unit, past[rest], target[rest], share, ridge)
            error[at, t] = (target[t] - past[t] @ w) ** 2
    mean = error.mean(axis=1)
    best = int(mean.argmin())
    spread = error[best].std(ddof=1) / np.sqrt(periods)
    return float(grid[mean <= mean[best] + spread].max())
