"""Cells of cohort and period from changes of the units seen in both periods.

For covariates, gaps, or both; without either, mean paths of cohorts say the same faster.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from evalkit.core.adoption import Starts
from evalkit.core.arrays import Codes, Groups, Matrix, Vector
from evalkit.core.errors import IdentificationError
from evalkit.core.panel import Panel
from evalkit.core.scores import Rows, Scores
from evalkit.did.group_time import Cell, Made, Source, reasons
from evalkit.engines.doubly_robust import Method, Side, compare


@dataclass(frozen=True, slots=True, eq=False)
class _Cohort:
    """Units of one cohort, and their contributions to the cells that they take part in.

    Attributes
    ----------
    at : Codes (n,)
    y : Matrix (n, T)
        NaN where a unit is not seen.
    x : Matrix (n, T or 1, p)
        An intercept and covariates by period, or once if they are constant.
    weight : Vector (n,)
    psi : Matrix (n, d + 1)
        Contributions to ``cells``, and the weight.
    cells : list of int
    """

    at: Codes
    y: Matrix
    x: Matrix
    weight: Vector
    psi: Matrix
    cells: list[int] = field(default_factory=list)

    def side(self, cell: Cell, at: int, *, complete: bool) -> tuple[Codes | slice, Side]:
        """The units seen in both periods of a cell, with the covariates of period ``at`` and the
        outcomes of all periods if ``complete``, else of the two."""
        at = 0 if self.x.shape[1] == 1 else at
        if complete:
            return slice(None), Side(self.y, self.x[:, at], self.weight)
        pair = self.y[:, [cell.t, cell.base]]
        rows = np.flatnonzero(~np.isnan(pair).any(axis=1))
        return rows, Side(pair[rows], self.x[rows, at], self.weight[rows])

    def put(self, rows: Codes | slice, ks: list[int], part: Matrix) -> None:
        """Keep contributions of some units to the cells ``ks``."""
        self.psi[rows, len(self.cells) : len(self.cells) + len(ks)] = part
        self.cells.extend(ks)


def from_changes(
    panel: Panel,
    cells: Sequence[Cell],
    covariates: Sequence[str],
    method: Method,
    source: Source = "base",
) -> Made:
    """Cells from changes of the units seen in both periods, with covariates of one of them.

    On a complete panel, cells that share treated, controls and covariates are estimated together.
    Contributions are kept by cohort, for the cells that the cohort takes part in.
    """
    starts, complete = Starts.of(panel), panel.balanced
    cohorts = _cohorts(panel, starts, cells, covariates)
    fixed = cohorts[0].x.shape[1] == 1
    at = [cell.base if source == "base" else min(cell.base, cell.t) for cell in cells]
    batches: dict[tuple[object, ...], list[int]] = {}
    for k, cell in enumerate(cells):
        key = (-1 if fixed else at[k]) if complete else k
        batches.setdefault((cell.g, cell.controls, key), []).append(k)
    theta, counts = np.full(len(cells), np.nan), np.zeros((len(cells), 2), np.intp)
    failed: list[tuple[Cell, str]] = []
    for ks in batches.values():
        own = cells[ks[0]]
        members = [cohorts[c] for c in (own.g, *own.controls)]
        rows, sides = zip(
            *(each.side(own, at[ks[0]], complete=complete) for each in members), strict=True
        )
        t, base = ([cells[k].t for k in ks], [cells[k].base for k in ks]) if complete else (0, 1)
        change = np.zeros((sides[0].y.shape[1], len(ks)))
        change[t, range(len(ks))], change[base, range(len(ks))] = 1.0, -1.0
        ends = np.cumsum([len(side.y) for side in sides])
        counts[ks] = ends[0], ends[-1] - ends[0]
        try:
            theta[ks], one, zero = compare(
                sides[0],
                _together(sides[1:]),
                change,
                method=method if covariates else "reg",
                names=["the intercept", *covariates],
            )
        except IdentificationError as wrong:
            failed += [(cells[k], str(wrong)) for k in ks]
            continue
        parts = [one, *np.split(zero, ends[1:-1] - ends[0])]
        for each, mine, part in zip(members, rows, parts, strict=True):
            each.put(mine, ks, part)
    return Made(theta, _scores(cohorts, len(cells), panel.n_units), counts, reasons(starts, failed))


def _cohorts(
    panel: Panel, starts: Starts, cells: Sequence[Cell], covariates: Sequence[str]
) -> list[_Cohort]:
    columns = [panel.with_outcome(panel.column(name)).wide() for name in covariates]
    if panel.balanced and all((column == column[:, :1]).all() for column in columns):
        columns = [column[:, :1] for column in columns]
    outcome = panel.wide()
    weight = panel.unit_weight
    once = columns[0].shape[1] if columns else 1
    cohorts = []
    for c, at in enumerate(Groups(starts.code, len(starts.start)).rows()):
        x = np.stack([np.ones((len(at), once)), *(column[at] for column in columns)], axis=2)
        width = sum(c == cell.g or c in cell.controls for cell in cells)
        psi = np.zeros((len(at), width + 1))
        psi[:, -1] = weight[at]
        cohorts.append(_Cohort(at, outcome[at], x, weight[at], psi))
    return cohorts


def _together(sides: Sequence[Side]) -> Side:
    if len(sides) == 1:
        return sides[0]
    columns = zip(*((side.y, side.x, side.weight) for side in sides), strict=True)
    return Side(*map(np.concatenate, columns))


def _scores(cohorts: list[_Cohort], k: int, units: int) -> Scores:
    rows = Rows([each.psi for each in cohorts], [each.at for each in cohorts], units)
    lin = np.zeros((rows.columns[-1].stop, k))
    for each, columns in zip(cohorts, rows.columns, strict=True):
        lin[columns.start + np.arange(len(each.cells)), each.cells] = 1.0
    return Scores(rows, lin)
