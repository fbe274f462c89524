"""The panel: integer-coded arrays, checked once at the door and trusted ever after.

Not for cleaning data: what cannot be used is refused, or dropped and counted in the ledger.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from evalkit.core.adoption import Starts
from evalkit.core.arrays import Codes, Labels, Matrix, Vector, encode, frozen, sealed
from evalkit.core.checks import check_names, refuse_text_or_repeats
from evalkit.core.door import Door, as_number, missing, refuse_shrunken
from evalkit.core.errors import OptionError, PanelError, check_option, some
from evalkit.core.order import Order, compact, counted, read_dates, read_switch, refuse_weights
from evalkit.core.provenance import TIERS, Provenance

NEVER = np.inf


@dataclass(frozen=True, slots=True)
class Category:
    """A categorical column: codes ``(n,)`` and the labels they point to."""

    codes: Codes
    labels: Labels


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
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
    earliest : Vector (N,) or None
        First period in which the unit may be treated, where only a window is known: it is treated
        for sure from ``cohort`` on. None if every date is known.
    whole : Panel or None
        The panel with the rows inside the windows, which this one leaves out.
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
    earliest: Vector | None = None
    whole: Panel | None = None

    def __post_init__(self) -> None:
        for name in ("y", "unit", "time", "units", "times", "cohort", "weight", "cluster", "x"):
            object.__setattr__(self, name, frozen(getattr(self, name)))
        if self.earliest is not None:
            object.__setattr__(self, "earliest", frozen(self.earliest))

    @classmethod
    def from_frame(
        cls,
        frame: Any,
        *,
        outcome: str,
        unit: str | None,
        time: str | None,
        provenance: Provenance,
        cohort: str | tuple[str, str] | None = None,
        treatment: str | None = None,
        cluster: str | None = None,
        weight: str | None = None,
        covariates: Sequence[str] = (),
        dose: str | None = None,
        categories: Sequence[str] = (),
    ) -> Panel:
        """Check a data frame and turn it into a panel.

        Parameters
        ----------
        frame : pandas or polars DataFrame, Arrow table or mapping of columns
            One row per unit and period. It is read, never changed.
        outcome, unit, time : str
            Column names. Units and periods may be integers, dates or text. Dates and text are
            counted by position: from each period to the next is one, whatever lies between.
            Without units (None) each row is a unit of its own; without periods there is one.
        provenance : {"real", "documented", "restricted", "synthetic"}
            Evidence tier of the data.
        cohort : str or (str, str), optional
            First treated period of the unit; empty, NaN or inf means never treated. Two columns
            hold the earliest and the latest date it can be: rows from the first to before the
            second are of unknown status and left out, and counted. Units are treated alike if they
            share both ends; their cohort is labelled by a :class:`evalkit.Window`.
        treatment : str, optional
            Instead of ``cohort``: 1 in the rows in which the unit is treated, else 0. It must stay
            on; the first row with a 1 is the adoption date, whether or not its outcome is known.
            Units that enter after the panel begins, already treated, are left out and counted.
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
        refuse_shrunken(frame, outcome)
        for option, listed in (("covariates", covariates), ("categories", categories)):
            refuse_text_or_repeats(option, listed)
        door = Door(frame)
        if cohort and treatment:
            raise OptionError("give cohort= or treatment=, not both: they say the same")
        dates: tuple[str, ...] = () if cohort is None else (cohort,)  # type: ignore[assignment]
        if isinstance(cohort, (tuple, list)):
            dates = tuple(cohort)
        columns = {"outcome": outcome, "unit": unit, "time": time, "treatment": treatment}
        check_names(**columns, cluster=cluster, weight=weight, dose=dose)
        for name in dates:
            check_names(cohort=name)
        numeric = [outcome, *covariates, *(name for name in (dose, weight, treatment) if name)]
        grouping = [*(name for name in (unit, time, cluster) if name is not None), *categories]
        door.require([*grouping, *numeric, *dates])
        values = {name: door.number(name) for name in dict.fromkeys(numeric)}
        gaps = missing(values)
        ledger = [f"{int(gap.sum())} rows dropped: {name} is missing" for name, gap in gaps.items()]
        kept = ~np.any(list(gaps.values()), axis=0) if gaps else None
        if kept is not None and not kept.any():
            raise PanelError(f"no row is complete: {some(ledger)}")
        cohorts, earliest = None, None
        if treatment:
            on = values[treatment]
            order, cohorts, notes = read_switch(door, treatment, on, unit, time, kept, NEVER)
            ledger += notes
        else:
            order = Order.of(door, unit, time, kept)
        ledger += counted(order.times)
        weights = order.pick(values[weight])[0] if weight else np.broadcast_to(1.0, len(order.unit))
        if weight:
            refuse_weights(weight, weights, order)
        if dates:
            cohorts, earliest = read_dates(door, dates, order, NEVER)
        elif cohorts is None:
            cohorts = np.broadcast_to(NEVER, len(order.units))
        units = clusters = sealed(order.units)
        if cluster:
            clusters = order.label(door, cluster, "a unit belongs to one cluster")
        doses = order.constant(dose, values[dose], "a unit has one dose") if dose else None
        always = int((cohorts <= as_number(order.times)[0]).sum())
        if always:
            ledger.append(f"{always} units are treated in every period")
        panel = cls(
            y=sealed(order.pick(values[outcome])[0]),
            unit=order.unit,
            time=order.time,
            units=units,
            times=order.times,
            cohort=sealed(cohorts),
            weight=sealed(weights),
            cluster=clusters,
            x=sealed(order.pick(*(values[name] for name in covariates)).T),
            names=tuple(covariates),
            dose=None if doses is None else sealed(doses),
            categories={
                name: Category(*map(sealed, compact(*door.label(name), order.rows)))
                for name in categories
            },
            outcome=outcome,
            provenance=provenance,
            ledger=tuple(ledger),
        )
        return panel if earliest is None else panel.adopting(cohorts, earliest)

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
        return as_number(self.times)

    @property
    def unit_weight(self) -> Vector:
        """Weight of each unit's first row ``(N,)``."""
        return self.weight[np.searchsorted(self.unit, np.arange(self.n_units))]

    @property
    def treated(self) -> Vector:
        """1.0 in rows at or after the unit's adoption, else 0.0; shape ``(n,)``."""
        return (self.clock[self.time] >= self.cohort[self.unit]).astype(float)

    @property
    def event(self) -> Vector:
        """Periods since adoption ``(n,)``, negative before it (before the window), -inf if never.

        With a window, -1 is the last period surely untreated and 0 the first surely treated one.
        """
        clock, first = self.clock[self.time], self.cohort[self.unit]
        if self.earliest is not None:
            first = np.where(clock < first, self.earliest[self.unit], first)
        event: Vector = clock - first
        return event

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
        if self.balanced:
            return self.y.reshape(self.n_units, self.n_periods)
        out = np.full((self.n_units, self.n_periods), np.nan)
        out[self.unit, self.time] = self.y
        return out

    def where(self, rows: Labels) -> Panel:
        """The panel of the rows ``(n,)`` that are True; labels keep their meaning."""
        if not np.any(rows):
            raise PanelError("no row is left; keep at least one")
        units = np.unique(self.unit[rows])
        times = np.unique(self.time[rows])
        cohort, earliest = self._shifted(self.cohort, times)[units], None
        if self.earliest is not None:
            earliest = self._shifted(self.earliest, times)[units]
            earliest = None if np.array_equal(earliest, cohort) else earliest
        return replace(
            self,
            y=self.y[rows],
            unit=np.searchsorted(units, self.unit[rows]),
            time=np.searchsorted(times, self.time[rows]),
            units=self.units[units],
            times=self.times[times],
            cohort=cohort,
            earliest=earliest,
            whole=None,
            weight=self.weight[rows],
            cluster=self.cluster[units],
            x=self.x[rows],
            dose=None if self.dose is None else frozen(self.dose[units]),
            categories={
                name: Category(frozen(c.codes[rows]), c.labels)
                for name, c in self.categories.items()
            },
        )

    def _shifted(self, dates: Vector, times: Codes) -> Vector:
        if self.times.dtype.kind in "iuf":
            return dates
        finite = np.isfinite(dates)
        position = np.searchsorted(times, np.where(finite, dates, 0)).astype(float)
        return np.where(finite, position, NEVER)

    def adopting(self, cohort: Vector, earliest: Vector | None = None) -> Panel:
        """The same rows under other adoption dates ``(N,)``, or windows, whose rows are left out.

        Both are on the scale of ``clock``; what a window leaves out is kept in ``whole``.
        """
        if earliest is None or np.array_equal(earliest, cohort):
            return replace(self, cohort=cohort, earliest=None, whole=None)
        dated = replace(self, cohort=cohort, earliest=earliest, whole=None)
        clock = self.clock[self.time]
        inside = (clock >= earliest[self.unit]) & (clock < cohort[self.unit])
        if not inside.any():
            return replace(dated, whole=dated)
        note = (
            f"{int(inside.sum())} rows dropped: inside the adoption windows of "
            f"{len(np.unique(self.unit[inside]))} units"
        )
        return replace(dated.where(~inside), whole=dated, ledger=(*self.ledger, note))

    def with_outcome(self, y: Vector, outcome: str | None = None) -> Panel:
        """The same panel with another outcome ``(n,)``."""
        values = np.asarray(y, float)
        if values.shape != self.y.shape or not np.isfinite(values).all():
            raise PanelError(
                f"the outcome must hold {len(self.y)} finite numbers, one per row of the panel; "
                f"got shape {values.shape}"
            )
        return replace(self, y=values, outcome=outcome or self.outcome, whole=None)

    def __repr__(self) -> str:
        treated = int(np.isfinite(self.cohort).sum())
        cohorts = int(np.isfinite(Starts.of(self).start).sum())
        windows = 0 if self.earliest is None else int((self.earliest < self.cohort).sum())
        noun = "cohort" if cohorts == 1 else "cohorts"
        within = f", {windows} of them within a window" if windows else ""
        adopters = f"; {treated} treated in {cohorts} {noun}{within}" if treated else ""
        shape = "balanced" if self.balanced else "unbalanced"
        head = (
            f"Panel {self.outcome!r} ({self.provenance}): {len(self.y)} rows, "
            f"{self.n_units} units x {self.n_periods} periods, {shape}{adopters}"
        )
        return "\n  ".join([head, *self.ledger])
