"""Cells of cohort and period: which comparisons there are, and three ways to make them.

From cohort mean paths (balanced, no covariates), from changes of units seen twice, or from records
that are seen once. No aggregation here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from evalkit.core.adoption import Starts, plain
from evalkit.core.arrays import Codes, Flags, Groups, Matrix, Vector
from evalkit.core.errors import IdentificationError, some
from evalkit.core.labels import Index
from evalkit.core.panel import Panel
from evalkit.core.scores import Scores
from evalkit.engines.cohorts import Cohorts
from evalkit.engines.doubly_robust import Method, four_groups, two_period

Control: TypeAlias = Literal["never", "not_yet"]
Base: TypeAlias = Literal["varying", "universal"]
Source: TypeAlias = Literal["base", "earlier"]


@dataclass(frozen=True, slots=True)
class Cell:
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
    clock, start, earliest = starts.clock, starts.start, starts.earliest
    cells, lost = [], []
    for g in map(int, np.flatnonzero(np.isfinite(start))):
        before = np.flatnonzero(clock + anticipation < earliest[g])
        if not len(before):
            lost.append(f"cohort {starts.label(g)} left out: no period before its treatment")
            continue
        without = []
        for t in map(int, np.flatnonzero(starts.known(g))):
            exposed = clock[t] + anticipation >= earliest[g]
            b = int(before[-1]) if exposed or base == "universal" else t - 1
            if b < 0 or b == t:
                continue
            if control == "never":
                against = np.flatnonzero(np.isinf(start))
            else:
                against = np.flatnonzero(earliest > clock[max(t, b)] + anticipation)
                against = against[against != g]
            if len(against):
                cells.append(Cell(g, t, b, tuple(int(c) for c in against)))
            else:
                without.append(plain(clock[t]))
        if without:
            lost.append(
                f"cohort {starts.label(g)}: no untreated unit is left in {some(without, 20)}"
            )
    return cells, lost


def from_paths(cohorts: Cohorts, cells: Sequence[Cell]) -> Made:
    """Cells from cohort mean paths; contributions stay factored."""
    m, mass = cohorts.mean, cohorts.mass
    size = np.bincount(cohorts.code, minlength=cohorts.size)
    theta = np.empty(len(cells))
    counts = np.empty((len(cells), 2), np.intp)
    lin = np.zeros((cohorts.size, len(cohorts.clock) + 1, len(cells)))
    for k, cell in enumerate(cells):
        change = m[:, cell.t] - m[:, cell.base]
        against = list(cell.controls)
        pooled = mass[against].sum()
        expected = mass[against] @ change[against] / pooled
        theta[k] = change[cell.g] - expected
        counts[k] = size[cell.g], size[against].sum()
        lin[cell.g, [cell.t, cell.base], k] = np.array([1.0, -1.0]) / mass[cell.g]
        lin[against, cell.t, k] -= 1 / pooled
        lin[against, cell.base, k] += 1 / pooled
        lin[against, -1, k] = -(change[against] - expected) / pooled
    return Made(theta, Scores(cohorts.rows, lin), counts)


def from_changes(
    panel: Panel,
    cells: Sequence[Cell],
    covariates: Sequence[str],
    method: Method,
    source: Source = "base",
) -> Made:
    """Cells from changes of the units seen in both periods, with covariates of one of them.

    On a complete panel, cells that share treated, controls and covariates are estimated together.
    """
    starts, n = Starts.of(panel), panel.n_units
    outcome = panel.wide()
    seen = ~np.isnan(outcome)
    weight = panel.unit_weight
    x = np.full((n, panel.n_periods, 1 + len(covariates)), np.nan)
    x[panel.unit, panel.time] = _design(panel, covariates)
    complete = bool(seen.all())
    fixed = complete and bool((x == x[:, :1]).all())
    batches: dict[tuple[object, ...], list[int]] = {}
    for k, cell in enumerate(cells):
        at = cell.base if source == "base" else min(cell.base, cell.t)
        own = (-1 if fixed else at) if complete else k
        batches.setdefault((cell.g, cell.controls, own), []).append(k)
    theta, psi = np.full(len(cells), np.nan), np.zeros((n, len(cells)))
    counts = np.zeros((len(cells), 2), np.intp)
    failed: list[tuple[Cell, str]] = []
    for ks in batches.values():
        g, b, against = cells[ks[0]].g, [cells[k].base for k in ks], cells[ks[0]].controls
        t = [cells[k].t for k in ks]
        at = b[0] if source == "base" else min(b[0], t[0])
        both = seen[:, t[0]] & seen[:, b[0]]
        units = np.flatnonzero(np.isin(starts.code, [g, *against]) & both)
        treated = (starts.code[units] == g).astype(float)
        counts[ks] = treated.sum(), (1 - treated).sum()
        try:
            theta[ks], part = two_period(
                outcome[units][:, t] - outcome[units][:, b],
                treated,
                x[units, at],
                weight[units],
                method=method if covariates else "reg",
                names=["the intercept", *covariates],
            )
        except IdentificationError as wrong:
            failed += [(cells[k], str(wrong)) for k in ks]
            continue
        psi[np.ix_(units, np.array(ks))] = part
    return Made(theta, Scores.dense(psi), counts, _reasons(starts, failed))


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
    return Made(theta, Scores.dense(psi), counts, _reasons(starts, failed))


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


def period_counts(panel: Panel, starts: Starts, pairs: Codes, controls: Flags) -> Codes:
    """Units of the cells ``pairs`` ``(K, 2)`` of cohort and period, and ``controls`` ``(n,)`` then.

    Returns ``(K, 2)``.
    """
    g, t = pairs.T
    cell = starts.code[panel.unit] * panel.n_periods + panel.time
    own = np.bincount(cell, minlength=len(starts.start) * panel.n_periods)
    against = np.bincount(panel.time[controls], minlength=panel.n_periods)
    return np.stack([own[g * panel.n_periods + t], against[t]], axis=1)


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


def _reasons(starts: Starts, failed: Sequence[tuple[Cell, str]]) -> tuple[str, ...]:
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
            f"cohort {starts.label(g)} in {periods} (against {bases}) is not estimated: {why}"
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
