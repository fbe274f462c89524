"""Cells of cohort and period: which comparisons there are, and two ways to make them.

From cohort mean paths (balanced, no covariates), or from records that are seen once; changes of
units seen twice have a module of their own. No aggregation here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from evalkit.core.adoption import Starts, plain
from evalkit.core.arrays import Codes, Groups, Matrix, Vector
from evalkit.core.errors import IdentificationError, some
from evalkit.core.labels import Index
from evalkit.core.panel import Panel
from evalkit.core.scores import Scores
from evalkit.engines.cohorts import Cohorts
from evalkit.engines.doubly_robust import Method, four_groups

Control: TypeAlias = Literal["never", "not_yet"]
Base: TypeAlias = Literal["varying", "universal"]
Source: TypeAlias = Literal["base", "earlier"]


class Cell(NamedTuple):
    """One comparison: cohort ``g`` in period ``t`` against period ``base`` (positions)."""

    g: int
    t: int
    base: int
    controls: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Made:
    """Cells as estimated; ``counts`` ``(K, 2)`` are treated and comparison units (or records).

    A cell that cannot be estimated is NaN, contributes nothing, and has its reason in ``failed``.
    """

    theta: Vector
    scores: Scores
    counts: Codes
    failed: tuple[str, ...] = ()


def plan(
    starts: Starts, control: Control, anticipation: int, base: Base
) -> tuple[list[Cell], list[str]]:
    """The comparisons to make, and in words those that cannot be made."""
    clock, earliest = starts.clock.tolist(), starts.earliest.tolist()
    never = tuple(c for c, date in enumerate(earliest) if date == np.inf)
    cells, lost = [], []
    for g, date in enumerate(earliest):
        if date == np.inf:
            continue
        before = sum([now + anticipation < date for now in clock])
        if not before:
            lost.append(f"cohort {starts.labels[g]} left out: no period before its treatment")
            continue
        without, surely = [], starts.start[g]
        for t, now in enumerate(clock):
            if date <= now < surely:  # inside the window
                continue
            exposed = now + anticipation >= date
            b = before - 1 if exposed or base == "universal" else t - 1
            if b < 0 or b == t:
                continue
            against = never
            if control == "not_yet":
                last = clock[max(t, b)] + anticipation
                against = tuple(c for c, other in enumerate(earliest) if other > last and c != g)
            if against:
                cells.append(Cell(g, t, b, against))
            else:
                without.append(plain(clock[t]))
        if without:
            lost.append(
                f"cohort {starts.labels[g]}: no untreated unit is left in {some(without, 20)}"
            )
    return cells, lost


def from_paths(cohorts: Cohorts, cells: Sequence[Cell]) -> Made:
    """Cells from cohort mean paths; contributions stay factored."""
    m, mass, k = cohorts.mean, cohorts.mass, np.arange(len(cells))
    *places, controls = zip(*cells, strict=True)
    g, t, b = np.array(places)
    against = np.zeros((cohorts.size, len(cells)))
    column = np.repeat(k, list(map(len, controls)))
    against[list(chain.from_iterable(controls)), column] = 1.0
    change = m[:, t] - m[:, b]
    each = against / (mass @ against)
    expected = mass @ (each * change)
    lin = np.zeros((cohorts.size, len(cohorts.clock) + 1, len(cells)))
    lin[g, t, k], lin[g, b, k] = 1 / mass[g], -1 / mass[g]
    lin[:, t, k] -= each
    lin[:, b, k] += each
    lin[:, -1] = -each * (change - expected)
    size = np.array([len(at) for at in cohorts.at])
    counts = np.stack([size[g], (size @ against).astype(np.intp)], axis=1)
    return Made(change[g, k] - expected, cohorts.scores(lin), counts)


def from_records(
    panel: Panel, cells: Sequence[Cell], covariates: Sequence[str], method: Method
) -> Made:
    """Cells from rows taken as records of repeated cross-sections; contributions per unit."""
    starts, n, periods = Starts.of(panel), panel.n_units, panel.n_periods
    code = starts.code[panel.unit]
    at = Groups(code * periods + panel.time, len(starts.start) * periods).rows()
    x = _design(panel, covariates)
    theta, psi = np.full(len(cells), np.nan), np.zeros((n, len(cells)))
    counts = np.zeros((len(cells), 2), np.intp)
    failed: list[tuple[Cell, str]] = []
    for k, cell in enumerate(cells):
        groups = (cell.g, *cell.controls)
        rows = np.concatenate([at[c * periods + s] for c in groups for s in (cell.base, cell.t)])
        treated = (code[rows] == cell.g).astype(float)
        counts[k] = treated.sum(), (1 - treated).sum()
        try:
            theta[k], part = four_groups(
                panel.y[rows],
                treated,
                (panel.time[rows] == cell.t).astype(float),
                x[rows],
                panel.weight[rows],
                method=method if covariates else "reg",
                names=["the intercept", *covariates],
            )
        except IdentificationError as wrong:
            failed.append((cell, str(wrong)))
            continue
        psi[:, k] = np.bincount(panel.unit[rows], part, minlength=n)
    return Made(theta, Scores.dense(psi), counts, reasons(starts, failed))


@dataclass(frozen=True, eq=False)
class CellWeights:
    """Row weights of cells without covariates, on a panel that does not collapse to cohorts."""

    panel: Panel
    cells: Sequence[Cell]
    records: bool

    def weights(self) -> Matrix:
        """Weights ``(n, K)`` with ``weights.T @ y == theta``."""
        panel, start = self.panel, Starts.of(self.panel)
        code, out = start.code[panel.unit], np.zeros((len(panel.y), len(self.cells)))
        for k, cell in enumerate(self.cells):
            at = {s: panel.time == s for s in (cell.t, cell.base)}
            both = np.bincount(panel.unit, at[cell.t] | at[cell.base], panel.n_units) == 2
            parts = [
                (sign * side, at[s] & group & (self.records | both[panel.unit]))
                for s, sign in ((cell.t, 1.0), (cell.base, -1.0))
                for side, group in ((1.0, code == cell.g), (-1.0, np.isin(code, cell.controls)))
            ]
            if all(rows.any() for _, rows in parts):
                for sign, rows in parts:
                    out[rows, k] = sign * panel.weight[rows] / panel.weight[rows].sum()
        return out


def refuse_changing_weights(panel: Panel) -> None:
    """Refuse weights that change within units, where changes of units are compared."""
    first = panel.unit_weight[panel.unit]
    differs = np.flatnonzero(panel.weight != first)
    if len(differs):
        at = differs[0]
        raise IdentificationError(
            f"the weight of unit {panel.units[panel.unit[at]]} changes from {first[at]:g} to "
            f"{panel.weight[at]:g}; changes of units need one weight per unit. "
            "Average it, or use callaway_santanna(..., unbalanced='records')."
        )


def _design(panel: Panel, covariates: Sequence[str]) -> Matrix:
    return np.column_stack([np.ones(len(panel.y)), *(panel.column(name) for name in covariates)])


def reasons(starts: Starts, failed: Sequence[tuple[Cell, str]]) -> tuple[str, ...]:
    """Why cells are not estimated: one line for the periods of a cohort that share a reason."""
    shared: dict[tuple[int, str], list[Cell]] = {}
    for cell, why in failed:
        shared.setdefault((cell.g, why), []).append(cell)
    lines = []
    for (g, why), cells in shared.items():
        periods, bases = (
            some(dict.fromkeys(plain(starts.clock[at]) for at in sorted(found)), 20)
            for found in ([c.t for c in cells], [c.base for c in cells])
        )
        lines.append(
            f"cohort {starts.labels[g]} in {periods} (against {bases}) is not estimated: {why}"
        )
    return tuple(lines)


def alone(index: Index, counts: Codes) -> list[str]:
    """Which cohorts, and which periods of comparison, are one unit: its noise is nowhere seen."""
    lines = []
    for side, column, what in (("treated", 0, "cohort"), ("comparison", 1, "time")):
        single = counts[:, column] == 1
        if single.any():
            names = [name for name, one in zip(index.level(what), single, strict=True) if one]
            lines.append(
                f"one {side} unit only in {some(dict.fromkeys(names), 20)}: its own noise is in no "
                "standard error; judge by evalkit.placebo or randomisation"
            )
    return lines
