"""The panel: integer-coded arrays, checked once at the door and trusted ever after.

Not for cleaning data: what cannot be used is refused, or dropped and counted in the ledger.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from evalkit.core.arrays import Codes, Groups, Labels, Matrix, Vector, encode, frozen
from evalkit.core.errors import PanelError, check_option, some
from evalkit.core.provenance import TIERS, Provenance

NEVER = np.inf


@dataclass(frozen=True, slots=True)
class Category:
    """A categorical column: codes ``(n,)`` and the labels they point to."""

    codes: Codes
    labels: Labels


@dataclass(frozen=True, slots=True, eq=False)
class Panel:
    """Long panel sorted by unit and time: ``n`` rows, ``N`` units, ``T`` periods.

    Build it with :meth:`from_frame`; the fields are read-only.

    Parameters
    ----------
    y : Vector (n,)
        Outcome, in the unit of its column.
    unit, time : Codes (n,)
        Codes into ``units`` and ``times``.
    units, times : Labels (N,), (T,)
        Sorted labels.
    cohort : Vector (N,)
        First treated period of each unit as a value of ``times``; ``inf`` = never treated.
    weight : Vector (n,)
        Positive row weights.
    cluster : Labels (N,)
        Cluster label of each unit.
    x : Matrix (n, p)
        Covariates, named by ``names``.
    dose : Vector (N,) or None
        Continuous dose of each unit.
    categories : mapping of str to Category
        Further categorical columns, for absorbed effects and subgroups.
    outcome : str
        Name of the outcome column.
    provenance : {"real", "documented", "restricted", "synthetic"}
        Evidence tier; every estimate made from the panel carries it.
    ledger : tuple of str
        What was dropped or assumed at the door, with counts.
    """

    y: Vector
    unit: Codes
    time: Codes
    units: Labels
    times: Labels
    cohort: Vector
    weight: Vector
    cluster: Labels
    x: Matrix
    names: tuple[str, ...]
    dose: Vector | None
    categories: Mapping[str, Category]
    outcome: str
    provenance: Provenance
    ledger: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        for name in ("y", "unit", "time", "units", "times", "cohort", "weight", "cluster", "x"):
            object.__setattr__(self, name, frozen(getattr(self, name)))

    @classmethod
    def from_frame(
        cls,
        frame: Any,
        *,
        outcome: str,
        unit: str,
        time: str,
        provenance: Provenance,
        cohort: str | None = None,
        cluster: str | None = None,
        weight: str | None = None,
        covariates: Sequence[str] = (),
        dose: str | None = None,
        categories: Sequence[str] = (),
    ) -> Panel:
        """Check a data frame and turn it into a panel.

        Parameters
        ----------
        frame : pandas.DataFrame, polars.DataFrame or mapping of columns
            One row per unit and period. It is read, never changed.
        outcome, unit, time : str
            Column names. Units and periods may be integers, dates or text.
        provenance : {"real", "documented", "restricted", "synthetic"}
            Evidence tier of the data.
        cohort : str, optional
            First treated period of the unit; empty, NaN or inf means never treated.
        cluster : str, optional
            Cluster of the unit (default: the unit itself).
        weight : str, optional
            Positive row weights (default: one).
        covariates : sequence of str
            Numeric columns.
        dose : str, optional
            Numeric dose, constant within the unit.
        categories : sequence of str
            Categorical columns that estimators may absorb or split by.

        Raises
        ------
        PanelError
            With the column, the rows (the first data row is row 1) and the remedy.

        Examples
        --------
        >>> import evalkit as ek
        >>> frame = {"town": ["a", "a", "b", "b"], "year": [1, 2, 1, 2],
        ...          "score": [1.0, 3.0, 1.0, 2.0], "start": [2, 2, None, None]}
        >>> panel = ek.Panel.from_frame(frame, outcome="score", unit="town", time="year",
        ...                             cohort="start", provenance="synthetic")
        >>> panel
        Panel 'score' (synthetic): 4 rows, 2 units x 2 periods, balanced; 1 treated in 1 cohort
        """
        check_option("provenance", provenance, TIERS)
        door = _Door(frame)
        numeric = [outcome, *covariates, *([dose] if dose else []), *([weight] if weight else [])]
        door.require([outcome, unit, time, *filter(None, [cohort, cluster]), *numeric, *categories])
        values = {name: door.number(name) for name in dict.fromkeys(numeric)}
        labels = {
            name: door.label(name)
            for name in dict.fromkeys([unit, time, *filter(None, [cluster]), *categories])
        }

        missing = {name: int(np.isnan(column).sum()) for name, column in values.items()}
        used = ~np.any([np.isnan(column) for column in values.values()], axis=0)
        ledger = [
            f"{count} rows dropped: {name} is missing" for name, count in missing.items() if count
        ]
        if not used.any():
            raise PanelError(
                f"no row is complete in {some(values)}; every row has a missing value somewhere"
            )
        rows = np.flatnonzero(used)
        unit_codes, units = encode(labels[unit][rows])
        time_codes, times = encode(labels[time][rows])
        order = np.lexsort((time_codes, unit_codes))
        rows, unit_codes, time_codes = rows[order], unit_codes[order], time_codes[order]
        _refuse_duplicates(unit, time, unit_codes, time_codes, units, times, rows)

        groups = Groups(unit_codes, len(units))
        first = np.concatenate([[0], np.flatnonzero(np.diff(unit_codes)) + 1])
        if weight:
            _refuse_weights(weight, values[weight][rows], rows)
        cohorts = np.full(len(units), NEVER)
        if cohort:
            dates = door.date(cohort, times)[rows]
            _refuse_varying(
                cohort, dates, first, groups, units, rows, "a unit has one adoption date"
            )
            cohorts = dates[first]
            _refuse_outside(cohort, cohorts, times, units)
        clusters = units
        if cluster:
            column = labels[cluster][rows]
            _refuse_varying(
                cluster, column, first, groups, units, rows, "a unit belongs to one cluster"
            )
            clusters = column[first]
        doses = None
        if dose:
            column = values[dose][rows]
            _refuse_varying(dose, column, first, groups, units, rows, "a unit has one dose")
            doses = frozen(column[first])
        always = int((cohorts <= _as_number(times)[0]).sum()) if cohort else 0
        if always:
            ledger.append(f"{always} units are treated in every period")
        return cls(
            y=values[outcome][rows],
            unit=unit_codes,
            time=time_codes,
            units=units,
            times=times,
            cohort=cohorts,
            weight=values[weight][rows] if weight else np.ones(len(rows)),
            cluster=clusters,
            x=np.stack([values[name][rows] for name in covariates], axis=1)
            if covariates
            else np.zeros((len(rows), 0)),
            names=tuple(covariates),
            dose=doses,
            categories={
                name: Category(*map(frozen, encode(labels[name][rows]))) for name in categories
            },
            outcome=outcome,
            provenance=provenance,
            ledger=tuple(ledger),
        )

    @property
    def n_units(self) -> int:
        """Number of units ``N``."""
        return len(self.units)

    @property
    def n_periods(self) -> int:
        """Number of periods ``T``."""
        return len(self.times)

    @property
    def balanced(self) -> bool:
        """True if every unit is observed in every period."""
        return len(self.y) == self.n_units * self.n_periods

    @property
    def clock(self) -> Vector:
        """Periods as numbers ``(T,)``: the labels, or their order where they are text."""
        return _as_number(self.times)

    @property
    def treated(self) -> Vector:
        """1.0 in rows at or after the unit's adoption, else 0.0; shape ``(n,)``."""
        return (self.clock[self.time] >= self.cohort[self.unit]).astype(float)

    def column(self, name: str) -> Vector:
        """One covariate ``(n,)`` by name."""
        if name not in self.names:
            known = some(self.names) or "none"
            raise PanelError(
                f"the panel has no covariate {name!r} (it has {known}); "
                "name it in Panel.from_frame(..., covariates=[...])"
            )
        return self.x[:, self.names.index(name)]

    def category(self, name: str) -> Category:
        """One categorical column by name; ``unit``, ``time`` and ``cluster`` always exist."""
        if name == "unit":
            return Category(self.unit, self.units)
        if name == "time":
            return Category(self.time, self.times)
        if name == "cluster":
            codes, labels = encode(self.cluster)
            return Category(codes[self.unit], labels)
        if name not in self.categories:
            known = some(["unit", "time", "cluster", *self.categories])
            raise PanelError(
                f"the panel has no category {name!r} (it has {known}); "
                "name it in Panel.from_frame(..., categories=[...])"
            )
        return self.categories[name]

    def wide(self) -> Matrix:
        """Outcome as ``(N, T)``, NaN where a unit is not observed."""
        out = np.full((self.n_units, self.n_periods), np.nan)
        out[self.unit, self.time] = self.y
        return out

    def where(self, rows: Labels) -> Panel:
        """The panel of the rows ``(n,)`` that are True; labels keep their meaning."""
        units = np.unique(self.unit[rows])
        times = np.unique(self.time[rows])
        return replace(
            self,
            y=self.y[rows],
            unit=np.searchsorted(units, self.unit[rows]),
            time=np.searchsorted(times, self.time[rows]),
            units=self.units[units],
            times=self.times[times],
            cohort=self._shifted(times)[units],
            weight=self.weight[rows],
            cluster=self.cluster[units],
            x=self.x[rows],
            dose=None if self.dose is None else frozen(self.dose[units]),
            categories={
                name: Category(frozen(c.codes[rows]), c.labels)
                for name, c in self.categories.items()
            },
        )

    def _shifted(self, times: Codes) -> Vector:
        if self.times.dtype.kind in "iuf":
            return self.cohort
        finite = np.isfinite(self.cohort)
        position = np.searchsorted(times, np.where(finite, self.cohort, 0)).astype(float)
        return np.where(finite, position, NEVER)

    def with_outcome(self, y: Vector, outcome: str | None = None) -> Panel:
        """The same panel with another outcome ``(n,)``."""
        return replace(self, y=np.asarray(y, float), outcome=outcome or self.outcome)

    def __repr__(self) -> str:
        cohorts = self.cohort[np.isfinite(self.cohort)]
        noun = "cohort" if len(np.unique(cohorts)) == 1 else "cohorts"
        treated = (
            f"; {len(cohorts)} treated in {len(np.unique(cohorts))} {noun}" if len(cohorts) else ""
        )
        shape = "balanced" if self.balanced else "unbalanced"
        head = (
            f"Panel {self.outcome!r} ({self.provenance}): {len(self.y)} rows, "
            f"{self.n_units} units x {self.n_periods} periods, {shape}{treated}"
        )
        return "\n  ".join([head, *self.ledger])


class _Door:
    """Reads the columns of a foreign frame and refuses what a panel cannot hold."""

    def __init__(self, frame: Any) -> None:
        self.frame = frame
        self.columns = [str(name) for name in getattr(frame, "columns", frame)]

    def require(self, names: Sequence[str]) -> None:
        absent = [name for name in dict.fromkeys(names) if name not in self.columns]
        if absent:
            raise PanelError(
                f"no column {some(absent)}; the frame has {some(self.columns, 12)}. "
                "Check the spelling, or rename the column."
            )

    def number(self, name: str) -> Vector:
        column = np.asarray(self.frame[name])
        if column.dtype == object or column.dtype.kind in "USmM":
            wrong = [at for at, value in enumerate(column) if not _is_number(value)]
            if wrong or column.dtype.kind in "USmM":
                at = wrong[0] if wrong else 0
                raise PanelError(
                    f"column {name!r} must be numeric; row {at + 1} holds {column[at]!r}. "
                    "Convert the column to numbers, with empty for missing."
                )
            column = np.array([np.nan if _is_missing(value) else value for value in column])
        values = column.astype(float)
        infinite = np.flatnonzero(np.isinf(values))
        if len(infinite):
            raise PanelError(
                f"column {name!r} is infinite in {len(infinite)} rows "
                f"(rows {some(infinite + 1)}). Correct the values, or make them empty."
            )
        return values

    def label(self, name: str) -> Labels:
        column = np.asarray(self.frame[name])
        missing = np.flatnonzero([_is_missing(value) for value in column])
        if len(missing):
            raise PanelError(
                f"column {name!r} is empty in rows {some(missing + 1)}; every row needs a value. "
                "Fill it in, or drop the rows."
            )
        if column.dtype == object:
            kinds = {type(value).__name__ for value in column}
            if len(kinds) > 1:
                raise PanelError(
                    f"column {name!r} mixes {some(sorted(kinds))}; use one type for all rows."
                )
            column = np.array(column.tolist())
        if column.dtype.kind == "f" and (column == np.round(column)).all():
            column = column.astype(np.int64)
        return column

    def date(self, name: str, times: Labels) -> Vector:
        column = np.asarray(self.frame[name])
        missing = np.array([_is_missing(value) for value in column])
        if times.dtype.kind in "iuf":
            if not all(_is_number(value) for value in column):
                at = next(at for at, value in enumerate(column) if not _is_number(value))
                raise PanelError(
                    f"column {name!r} must hold periods like those of the time column; "
                    f"row {at + 1} holds {column[at]!r}. Use the same coding, empty for never."
                )
            return np.array(
                [
                    NEVER if gone else float(value)
                    for value, gone in zip(column, missing, strict=True)
                ]
            )
        known = set(times.tolist())
        wrong = [
            at
            for at in np.flatnonzero(~missing)
            if times.dtype.type(column[at]).item() not in known
        ]
        if wrong:
            raise PanelError(
                f"column {name!r}, row {wrong[0] + 1}: {column[wrong[0]]!r} is no period of the "
                "time column. Use one of its values, empty for never."
            )
        out = np.full(len(column), NEVER)
        out[~missing] = np.searchsorted(times, column[~missing].astype(times.dtype))
        return out


def _is_missing(value: Any) -> bool:
    return value is None or value is np.ma.masked or bool(value != value) or str(value) == "<NA>"


def _is_number(value: Any) -> bool:
    return _is_missing(value) or isinstance(value, (int, float, np.number, np.bool_))


def _as_number(times: Labels) -> Vector:
    return times.astype(float) if times.dtype.kind in "iuf" else np.arange(len(times), dtype=float)


def _refuse_duplicates(
    unit: str,
    time: str,
    unit_codes: Codes,
    time_codes: Codes,
    units: Labels,
    times: Labels,
    rows: Codes,
) -> None:
    same = (np.diff(unit_codes) == 0) & (np.diff(time_codes) == 0)
    if same.any():
        at = int(np.flatnonzero(same)[0])
        raise PanelError(
            f"{unit} {units[unit_codes[at]]!s} has two rows in {time} {times[time_codes[at]]!s} "
            f"(rows {rows[at] + 1} and {rows[at + 1] + 1}; {int(same.sum())} such pairs in all). "
            "Keep one row per unit and period."
        )


def _refuse_weights(name: str, weights: Vector, rows: Codes) -> None:
    wrong = np.flatnonzero(weights <= 0)
    if len(wrong):
        at = wrong[0]
        raise PanelError(
            f"weight column {name!r} must be positive; row {rows[at] + 1} holds {weights[at]:g} "
            f"({len(wrong)} such rows). Correct the weights, or drop the rows."
        )


def _refuse_varying(
    name: str,
    column: Labels,
    first: Codes,
    groups: Groups,
    units: Labels,
    rows: Codes,
    rule: str,
) -> None:
    differs = column != column[first][groups.codes]
    if differs.any():
        at = int(np.flatnonzero(differs)[0])
        start = int(first[groups.codes[at]])
        raise PanelError(
            f"column {name!r}: unit {units[groups.codes[at]]!s} has {_plain(column[start])} "
            f"(row {rows[start] + 1}) and {_plain(column[at])} (row {rows[at] + 1}); {rule}. "
            "Correct the file, or drop the unit."
        )


def _refuse_outside(name: str, cohorts: Vector, times: Labels, units: Labels) -> None:
    clock = _as_number(times)
    outside = np.isfinite(cohorts) & ((cohorts < clock[0]) | (cohorts > clock[-1]))
    if outside.any():
        at = int(np.flatnonzero(outside)[0])
        raise PanelError(
            f"column {name!r}: unit {units[at]!s} adopts in {cohorts[at]:g}, outside the sample "
            f"{times[0]!s} to {times[-1]!s} ({int(outside.sum())} such units). Leave it empty if "
            "the unit is untreated throughout, or extend the sample."
        )


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return "never" if np.isinf(value) else f"{value:g}"
    return str(value)
