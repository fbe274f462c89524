"""Profile likelihood of one variance: how far it can move before the criterion rises by so much.

Not for choosing the rise: that is a quantile, and belongs to inference.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from scipy.optimize import brentq

from evalkit.core.arrays import Matrix, Vector
from evalkit.core.errors import IdentificationError
from evalkit.engines.likelihood import LOW, START, Criterion, Solution
from evalkit.engines.newton import minimise
from evalkit.engines.variance_components import Nested

FAR = 60  # doublings of a standard deviation before its profile is called flat
EXACT = 1e-9  # relative, of the standard deviation at the end of the interval


def interval(
    solution: Solution, block: int | None, column: int, rise: float
) -> tuple[float, float]:
    """Ends of the variances whose profiled criterion lies within ``rise`` of its minimum.

    Parameters
    ----------
    solution : Solution
    block, column : int
        Which effect; block None is the residual.
    rise : float
        For a 95% interval, the 95% quantile of chi-squared with one degree of freedom.
    """
    criterion, start = _first(solution, block, column)
    held = solution.point.scale if block is None else float(
        solution.variances[block][column, column])  # fmt: skip
    criterion = replace(criterion, effects=criterion.effects.condensed())
    excess = _excess(criterion, start, float(np.log(solution.point.scale) / 2), block,
                     solution.point.value, rise)  # fmt: skip
    root = float(np.sqrt(held))
    least = max(root, START * LOW * float(np.sqrt(solution.point.scale)))
    high = _bracket(excess, least, 2.0)
    top = float(brentq(excess, root, high, rtol=EXACT, xtol=EXACT * high)) ** 2
    if block is not None and (root == 0 or excess(0.0) <= 0):
        return 0.0, top
    low = _bracket(excess, root, 0.5) if block is None else 0.0
    return float(brentq(excess, low, root, rtol=EXACT, xtol=EXACT * root)) ** 2, top


def _bracket(excess: Callable[[float], float], sd: float, factor: float) -> float:
    for _ in range(FAR):
        sd *= factor
        if excess(sd) > 0:
            return sd
    raise IdentificationError("the profile of a variance stays flat; the data do not bound it")


def _first(solution: Solution, block: int | None, column: int) -> tuple[Criterion, Vector]:
    """The criterion with the profiled column first in its block: its entry is the deviation."""
    criterion, factors = solution.criterion, list[Matrix](solution.factors)
    if block is not None and column:
        effects = criterion.effects
        if not isinstance(effects, Nested):
            raise TypeError("crossed effects have one column")
        order = [column, *(at for at in range(effects.widths[block]) if at != column)]
        bases = list(effects.bases)
        bases[block] = bases[block][:, order]
        criterion = replace(criterion, effects=replace(effects, bases=tuple(bases)))
        turned = (factors[block] @ factors[block].T)[np.ix_(order, order)]
        root = np.linalg.cholesky(turned + (LOW * START) ** 2 * np.eye(len(order)))
        factors[block] = np.asarray(root, float)
    x = criterion.pack(factors)
    # A variance that was zero may leave zero once another is held.
    diagonal = criterion.pack([np.eye(q) for q in criterion.widths]) == 1
    return criterion, np.where(diagonal & (x == 0), LOW * START, x)


def _excess(
    criterion: Criterion, x: Vector, log_sd: float, block: int | None, least: float, rise: float
) -> Callable[[float], float]:
    """Root of the profiled criterion above ``least``, less that of ``rise``, by a deviation.

    The root is nearly a line, which is solved in few steps. Every search starts from the fit: near
    zero the criterion has no slope to leave it by.
    """
    at = -1 if block is None else sum(q * (q + 1) // 2 for q in criterion.widths[:block])
    free = np.arange(len(x) + 1) != at % (len(x) + 1)

    def excess(sd: float) -> float:
        def smooth(z: Vector) -> tuple[float, Vector]:
            entries, scale = z[:-1].copy(), float(np.exp(2 * z[-1]))
            if block is not None:
                entries[at] = sd / np.sqrt(scale)
            try:
                point, slope = criterion.by_entries(entries, scale)
            except np.linalg.LinAlgError:
                return np.inf, np.zeros_like(z)
            last = 2 * (criterion.degrees - point.rss / scale)
            if block is not None:
                last -= entries[at] * slope[at]
            return point.value, np.append(slope, last)

        start = np.append(x, log_sd)
        if block is None:
            start = np.append(x * np.exp(log_sd) / sd, np.log(sd))
        above = smooth(minimise(smooth, start, free))[0] - least
        return float(np.sqrt(max(above, 0.0)) - np.sqrt(rise))

    return excess
