r"""Eligible against ineligible units over cohorts: the arithmetic of triple differences.

A task compares cohort g with one control cohort c. It has two parts, the change of the eligible and
that of the ineligible of g beyond those of c; their difference is the triple difference.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evalkit.core.adoption import Starts
from evalkit.core.arrays import Codes, Matrix, Vector, encode
from evalkit.core.errors import IdentificationError
from evalkit.core.scores import Scores
from evalkit.engines.cohorts import Cohorts
from evalkit.engines.doubly_robust import Method, two_period

SOLVABLE = 1e-12  # least eigenvalue of the correlation of control cohorts, relative to the largest


@dataclass(frozen=True, slots=True)
class Task:
    """Comparison for the planned cell ``cell``: cohort ``g`` against ``c``, ``t`` against ``base``.

    All are positions.
    """

    cell: int
    g: int
    c: int
    t: int
    base: int


@dataclass(frozen=True, eq=False)
class Crossed:
    """``G`` cohorts crossed with eligibility.

    Attributes
    ----------
    paths : Cohorts
        The cells that have units, as cohorts of their own; outcomes are NaN where not seen.
    at : Codes (G, 2)
        Position among the ``paths`` of the ineligible and the eligible of a cohort, -1 if none.
    size : Codes (G, 2)
        Their number of units.
    """

    paths: Cohorts
    at: Codes
    size: Codes

    @classmethod
    def of(cls, starts: Starts, q: Codes, outcome: Matrix, weight: Vector) -> Crossed:
        """Cross the cohorts with ``q`` ``(N,)``, 1 for eligible units and 0 for the others."""
        pair, cells = 2 * starts.code + q, 2 * len(starts.start)
        code, label = encode(pair)
        at = np.full(cells, -1)
        at[label] = np.arange(len(label))
        size = np.bincount(pair, minlength=cells)
        start, earliest = starts.start[label // 2], starts.earliest[label // 2]
        paths = Cohorts(start, code, weight, outcome, starts.clock, earliest)
        return cls(paths, at.reshape(-1, 2), size.reshape(-1, 2))


def from_paths(crossed: Crossed, tasks: list[Task]) -> tuple[Vector, Scores]:
    """Parts of ``K`` tasks ``(2K,)``, all eligible ones first, from mean paths; scores factored."""
    paths, n = crossed.paths, len(tasks)
    m, mass = paths.mean, paths.mass
    theta = np.empty(2 * n)
    lin = np.zeros((paths.size, len(paths.clock) + 1, 2 * n))
    for k, task in enumerate(tasks):
        pair = [task.t, task.base]
        for q, at in ((1, k), (0, n + k)):
            one, zero = crossed.at[task.g, q], crossed.at[task.c, q]
            theta[at] = (m[one, task.t] - m[one, task.base]) - (
                m[zero, task.t] - m[zero, task.base]
            )
            lin[one, pair, at] = np.array([1.0, -1.0]) / mass[one]
            lin[zero, pair, at] = np.array([-1.0, 1.0]) / mass[zero]
    return theta, paths.scores(lin)


def from_units(
    crossed: Crossed, tasks: list[Task], values: Matrix, names: list[str], method: Method
) -> tuple[Vector, Matrix, dict[int, str]]:
    r"""The same parts from units seen in both periods, and why some tasks failed.

    They are at the covariates of the eligible of g: with :math:`DiD(g1,cq)` of the eligible of g
    against cell (c, q), the parts are :math:`DiD(g1,c1)` and :math:`DiD(g1,c0)-DiD(g1,g0)`.

    Parameters
    ----------
    values : Matrix (N, T, p)
        Covariates; those of the base period enter. None (p = 0): an intercept only.
    names : list of str
        Their names.

    Returns
    -------
    theta : Vector (2K,)
    psi : Matrix (N, 2K)
    failed : dict of int to str
        Reason by task.
    """
    paths, n = crossed.paths, len(tasks)
    seen = ~np.isnan(paths.outcome)
    complete = bool(seen.all())
    fixed = complete and bool((values == values[:, :1]).all())
    # Differences-in-differences that share units and covariates are estimated together: each batch
    # holds the changes (t, base) it needs and where they enter, with sign.
    batches: dict[tuple[int, int, int, int], dict[tuple[int, int], list[tuple[int, float]]]] = {}
    for k, task in enumerate(tasks):
        target = int(crossed.at[task.g, 1])
        own = (-1, -1 if fixed else task.base) if complete else (task.t, task.base)
        for rival, column, sign in (
            (crossed.at[task.c, 1], k, 1.0),
            (crossed.at[task.c, 0], n + k, 1.0),
            (crossed.at[task.g, 0], n + k, -1.0),
        ):
            changes = batches.setdefault((target, int(rival), *own), {})
            changes.setdefault((task.t, task.base), []).append((column, sign))
    theta, psi = np.zeros(2 * n), np.zeros((len(paths.code), 2 * n))
    failed: dict[int, str] = {}
    for (target, rival, _, _), changes in batches.items():
        t, b = np.array(list(changes)).T
        both = seen[:, t[0]] & seen[:, b[0]]
        keep = np.flatnonzero(((paths.code == target) | (paths.code == rival)) & both)
        try:
            att, part = two_period(
                paths.outcome[keep][:, t] - paths.outcome[keep][:, b],
                (paths.code[keep] == target).astype(float),
                np.column_stack([np.ones(len(keep)), values[keep, b[0]]]),
                paths.weight[keep],
                method=method,
                names=["the intercept", *names],
            )
        except IdentificationError as wrong:
            for uses in changes.values():
                failed.update({column % n: str(wrong) for column, _ in uses})
            continue
        for j, uses in enumerate(changes.values()):
            for column, sign in uses:
                theta[column] += sign * att[j]
                psi[keep, column] += sign * part[:, j]
    return theta, psi, failed


def counted(crossed: Crossed, tasks: list[Task], cells: list[int], failed: dict[int, str]) -> Codes:
    """Units on the two sides of ``C`` cells, ``(3C, 2)``: differences, eligible, ineligible.

    The difference has the eligible of g on one side, and the three other kinds on the other.
    """
    seen, at = ~np.isnan(crossed.paths.outcome), crossed.at
    out = np.zeros((3, len(cells), 2), np.intp)
    for j, cell in enumerate(cells):
        mine = [task for k, task in enumerate(tasks) if task.cell == cell and k not in failed]
        if not mine:
            continue
        both = seen[:, mine[0].t] & seen[:, mine[0].base]
        size = np.bincount(crossed.paths.code[both], minlength=crossed.paths.size)
        zero, one = size[at[mine[0].g]]
        zeros, ones = size[at[[task.c for task in mine]]].sum(axis=0)
        out[:, j] = [(one, zero + ones + zeros), (one, ones), (zero, zeros)]
    return out.reshape(-1, 2)


def combine(
    tasks: list[Task], scores: Scores, failed: dict[int, str]
) -> tuple[Matrix, list[int], list[int]]:
    """Average the tasks of each cell with least variance of their differences.

    Returns
    -------
    combination : Matrix (2K, 3C)
        From parts to the differences of ``C`` cells, then their eligible and ineligible sides;
        zero for a cell that has no average.
    cells : list of int (C,)
        The planned cells.
    singular : list of int
        Those whose control cohorts have a singular covariance.
    """
    n = len(tasks)
    by_cell: dict[int, list[int]] = {}
    for k, task in enumerate(tasks):
        by_cell.setdefault(task.cell, []).extend([] if k in failed else [k])
    out = np.zeros((2, n, 3, len(by_cell)))
    singular = []
    for j, (cell, ks) in enumerate(by_cell.items()):
        v = _efficient(scores, ks, n)
        if v is None:
            singular.append(cell)
            continue
        out[0, ks, 0, j] = out[0, ks, 1, j] = out[1, ks, 2, j] = v
        out[1, ks, 0, j] = -v
    return out.reshape(2 * n, 3 * len(by_cell)), list(by_cell), singular


def _efficient(scores: Scores, ks: list[int], n: int) -> Vector | None:
    r"""Weights :math:`\Omega^{-1}1/(1'\Omega^{-1}1)` of the differences ``ks``, if defined."""
    if len(ks) < 2:
        return np.ones(len(ks))
    pick = np.zeros((2, n, len(ks)))
    pick[0, ks, np.arange(len(ks))], pick[1, ks, np.arange(len(ks))] = 1.0, -1.0
    omega = scores.dot(pick.reshape(2 * n, -1)).gram()
    scale = np.sqrt(np.diag(omega))
    if (scale == 0).any():
        return None
    spectrum = np.linalg.eigvalsh(omega / np.outer(scale, scale))
    if spectrum[0] <= SOLVABLE * spectrum[-1]:
        return None
    v = np.linalg.solve(omega, np.ones(len(ks)))
    out: Vector = v / v.sum()
    return out
