"""Effects of several measures that units adopt at dates of their own, often in bundles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import numpy as np

from evalkit.core.adoption import plain
from evalkit.core.arrays import Flags, Groups, Labels, Matrix, Vector
from evalkit.core.checks import check_panel, check_whole, refuse_text_or_repeats
from evalkit.core.errors import IdentificationError, OptionError, PanelError, check_option, some
from evalkit.core.estimate import Estimate
from evalkit.core.labels import Index, Key
from evalkit.core.origin import Meta
from evalkit.core.panel import NEVER, Panel
from evalkit.core.scores import Scores
from evalkit.core.sides import Loads, Sides
from evalkit.core.threads import one_thread
from evalkit.engines.imputed import Sample, impute
from evalkit.engines.placed import placed

By: TypeAlias = Literal["event", "measure", "bundle"]

BLIND = 1e-8  # singular values below this share of the largest are directions nobody can see


@one_thread
def several_measures(
    panel: Panel,
    *,
    starts: Mapping[str, Any],
    earliest: Mapping[str, Any] | None = None,
    by: By = "event",
    longest: int | None = None,
    interactions: Sequence[tuple[str, str]] = (),
    covariates: Sequence[str] = (),
    trends: bool = False,
    minimum_controls: int = 1,
) -> Estimate:
    r"""Effects of several measures at once, by imputation from observations without any of them.

    **Estimand.** The coefficients of the linear projection of the effects
    :math:`\tau_{it}=Y_{it}-Y_{it}(0)` of all measures together on the measures in force: on
    :math:`1\{t-g_{im}=e\}` for measure m and event time e; on :math:`1\{t\ge g_{im}\}`; or on the
    set of measures in force, which assumes nothing of how effects add up.
    **Assumptions.** Outcomes without any measure are unit plus period effects (plus covariates and
    unit trends, if asked); no anticipation. Coefficients of a measure are its effects where effects
    add up and depend on event time alone; the effects of bundles need neither.
    **Estimator.** :math:`\hat\tau_{it}` by :func:`imputation` with the first adoption of any
    measure; then :math:`\hat\beta=(D'WD)^{-1}D'W\hat\tau` over treated observations.
    **Contribution.** :math:`\psi_i=\sum_tv_{it}\tilde\varepsilon_{it}` with
    :math:`v=WD(D'WD)^{-1}` on treated and :math:`v=-W_0Z_0(Z_0'W_0Z_0)^{-1}Z_1'v_1` on untreated
    observations; :math:`\tilde\varepsilon` are the residuals of the two stages. Treated
    observations count as drawn with their units.
    **Reference.** Borusyak, Jaravel and Spiess (2024), Review of Economic Studies 91(6), section 3;
    Goldsmith-Pinkham, Hull and Kolesar (2024), American Economic Review 114(12), on what a
    regression on several treatments mixes.
    **Checked against.** Both stages written out with dense dummies (1e-10); :func:`imputation` for
    one measure (1e-10); known truth.
    **Fails when.** The calendar cannot tell measures apart: it is refused, and they are named.
    With effects that differ between units, a coefficient mixes in the differences that go with the
    other measures; compare ``by="bundle"``.

    Parameters
    ----------
    panel : Panel
        Its own adoption dates are not used.
    starts : mapping of str to mapping, or pandas.DataFrame
        For each measure, the first treated period of each unit: a dictionary or a series by unit,
        or a frame with one row per unit and one column per measure. Empty, NaN, inf or no entry
        means never.
    earliest : mapping, optional
        In the same form, the earliest period in which a measure may have begun, where only a window
        is known. Rows inside a window are left out, and counted.
    by : {"event", "measure", "bundle"}
        One coefficient for each measure and event time, for each measure, or for each set of
        measures in force.
    longest : int, optional
        With ``by="event"``, the event time in which all later ones are counted.
    interactions : sequence of (str, str)
        Pairs of measures that get coefficients of their own where both are in force, from the later
        date on, named ``"a x b"``; :func:`wald` tests that effects add up.
    covariates, trends, minimum_controls
        As in :func:`imputation`.

    Returns
    -------
    Estimate
        Index levels ``measure`` and ``event``, ``measure`` alone, or ``bundle``. Its ``mass`` is
        the number (or weight) of observations behind each, taken as given, so that
        ``aggregate(by="measure")`` averages over observations. Notes say the rank
        and the condition number of the exposure, and for each measure its units, observations and
        how many of these are under another measure too.

    Raises
    ------
    IdentificationError
        No observation without any measure, a measure without an observation that can be imputed, or
        measures that the calendar does not tell apart (named, with what would separate them).
    PanelError
        Dates of units that the panel does not have, or dates outside its calendar type.

    Examples
    --------
    >>> import evalkit as ek
    >>> frame = {"town": ["a"] * 3 + ["b"] * 3 + ["c"] * 3, "year": [1, 2, 3] * 3,
    ...          "score": [0.0, 2.0, 5.0, 0.0, 0.0, 3.0, 0.0, 0.0, 0.0]}
    >>> panel = ek.Panel.from_frame(frame, outcome="score", unit="town", time="year",
    ...                             provenance="synthetic")
    >>> found = ek.did.several_measures(
    ...     panel, starts={"group": {"a": 2}, "funding": {"a": 3, "b": 3}}, by="measure")
    >>> dict(zip(found.index.level("measure"), found.theta.round(12).tolist()))
    {'group': 2.0, 'funding': 3.0}
    """
    check_panel(panel)
    check_option("by", by, get_args(By))
    refuse_text_or_repeats("covariates", covariates)
    check_whole("minimum_controls", minimum_controls, 1)
    if longest is not None:
        check_whole("longest", longest, 0, "it counts periods")
    if panel.earliest is not None:
        raise OptionError("the panel has adoption windows of its own; give windows in earliest=")
    given = entries(panel, "starts", starts)
    first = {} if earliest is None else entries(panel, "earliest", earliest)
    rows, notes = _outside(panel, given, first)
    inner = panel if rows.all() else panel.where(rows)
    dates = _together(dates_of(inner, given), interactions)
    inner = inner.adopting(np.min(list(dates.values()), axis=0))
    if not (inner.treated > 0).any():
        raise IdentificationError("no observation is under any measure; check the dates in starts=")
    fit = impute(Sample.of_rows(inner, covariates, trends=trends), inner.clock, minimum_controls)
    used = np.zeros(len(inner.y), bool)
    used[np.concatenate([cell.rows for cell in fit.cells])] = True
    exposure = Exposure.of(inner, dates, used, by, longest)
    _refuse_bundles(exposure, inner, dates, by)
    names = [" ".join(map(str, key)) for key in exposure.index.keys]
    made = fit.project(names, exposure.columns)
    meta = Meta(
        "effects of several measures",
        f"imputation, projected on {'bundles' if by == 'bundle' else 'measures'}",
        panel.outcome,
        len(panel.y),
        panel.provenance,
        (*panel.ledger, *notes, *fit.lost, *_report(exposure, inner, dates)),
    )
    scores, of = Scores.dense(made.psi), (inner.units, inner.cluster, exposure.index, meta)
    out = Estimate(
        made.beta,
        scores,
        *of,
        origin=made,
        combination=np.eye(len(made.beta)),
        mass=Estimate(exposure.columns.T @ inner.weight, Scores.dense(0 * made.psi), *of),
        sides=_sides(inner, exposure),
    )
    return placed(out, rows)


# --- Dates --------------------------------------------------------------------------------------


def entries(panel: Panel, option: str, given: Mapping[str, Any]) -> dict[str, dict[Any, Any]]:
    """The dates that are not empty, by measure and unit."""
    import pandas as pd

    known = set(panel.units.tolist())
    found: dict[str, dict[Any, Any]] = {}
    for name, column in _items(option, given):
        dates = dict(pairs := _items(f"{option}, measure {name!r},", column))
        if str(name) in found or len(dates) < len(pairs):
            raise PanelError(f"{option}, measure {name!r}: the name, or a unit, stands twice")
        strange = [unit for unit in dates if unit not in known]
        if strange:
            raise PanelError(
                f"{option}, measure {name!r}: the panel has no unit {some(strange)}; its units "
                f"are {some(panel.units.tolist())}. Index dates by unit, of the same type."
            )
        found[str(name)] = {
            unit: value
            for unit, value in dates.items()
            if not (pd.api.types.is_scalar(value) and (pd.isna(value) or value in ("", np.inf)))
        }
    return found


def _items(where: str, given: Any) -> list[tuple[Any, Any]]:
    if not hasattr(given, "items"):
        raise OptionError(
            f"{where} is {type(given).__name__}; give each measure a mapping from unit to date"
        )
    return list(given.items())


def dates_of(panel: Panel, given: dict[str, dict[Any, Any]]) -> dict[str, Vector]:
    """First treated period of each unit by measure ``(N,)``, ``inf`` where never."""
    place = {unit: at for at, unit in enumerate(panel.units.tolist())}
    found = {}
    for name, column in given.items():
        found[name] = np.full(len(place), NEVER)
        for unit, value in column.items():
            if unit in place:
                found[name][place[unit]] = _position(panel.times, name, unit, value)
    if not found:
        raise OptionError("starts= or earliest= names no measure; give each dates by unit")
    return found


def _position(times: Labels, name: str, unit: Any, value: Any) -> float:
    """A date on the scale of the panel's clock."""
    import pandas as pd

    if times.dtype.kind not in "iuf":
        words = times.dtype.kind != "M"
        date = str(value) if words else np.datetime64(pd.to_datetime(value, errors="coerce"))
        at = np.flatnonzero((times.astype(str) if words else times) == date)
        if not len(at):
            raise PanelError(
                f"measure {name!r}, unit {unit!s}: {value!s} is no period of the panel "
                f"({times[0]!s} to {times[-1]!s}); write dates as the periods are written"
            )
        return float(at[0])
    try:
        return float(value)
    except (TypeError, ValueError):
        raise PanelError(
            f"measure {name!r}, unit {unit!s}: {value!r} is no number, and the periods are numbers "
            f"({times[0]!s} to {times[-1]!s})"
        ) from None


def _outside(
    panel: Panel, starts: dict[str, dict[Any, Any]], earliest: dict[str, dict[Any, Any]]
) -> tuple[Flags, list[str]]:
    """Rows outside all windows, and in words how many are inside."""
    rows, clock = np.ones(len(panel.y), bool), panel.clock[panel.time]
    latest = dates_of(panel, starts)
    for name, first in (dates_of(panel, earliest) if earliest else {}).items():
        if name not in latest:
            raise OptionError(f"earliest names {name!r}, starts only {some(latest)}")
        late = np.flatnonzero(np.isfinite(first) & (first > latest[name]))
        if len(late):
            raise PanelError(
                f"measure {name!r}, unit {panel.units[late[0]]!s}: earliest "
                f"{plain(first[late[0]])} is after its start {plain(latest[name][late[0]])}"
            )
        open_ = np.isfinite(first) & (first < latest[name])
        inside = (
            open_[panel.unit] & (clock >= first[panel.unit]) & (clock < latest[name][panel.unit])
        )
        rows &= ~inside
    note = f"{int((~rows).sum())} rows dropped: inside the adoption window of a measure"
    return rows, [] if rows.all() else [note]


def _together(
    dates: dict[str, Vector], interactions: Sequence[tuple[str, str]]
) -> dict[str, Vector]:
    """The measures, and each interaction as one that begins with the later of its two."""
    out = dict(dates)
    for pair in interactions:
        unknown = [name for name in pair if name not in dates]
        if len(pair) != 2 or unknown or pair[0] == pair[1]:
            raise OptionError(f"interaction {pair!r}: name two measures among {some(dates)}")
        out[f"{pair[0]} x {pair[1]}"] = np.maximum(dates[pair[0]], dates[pair[1]])
    return out


# --- Exposure -----------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Exposure:
    """What is in force in the treated observations that are used.

    Attributes
    ----------
    index : Index
        Of the ``k`` coefficients.
    columns : Matrix (n, k)
        Indicators, zero in rows that are not used.
    active : Flags (n, m)
        Measures in force in used rows.
    used : Flags (n,)
    """

    index: Index
    columns: Matrix
    active: Flags
    used: Flags

    @classmethod
    def of(
        cls, panel: Panel, dates: dict[str, Vector], used: Flags, by: By, longest: int | None
    ) -> Exposure:
        """One indicator for each coefficient that some used row has."""
        clock = panel.clock[panel.time]
        event = np.stack([clock - date[panel.unit] for date in dates.values()], axis=1)
        active = (event >= 0) & used[:, None]
        absent = [name for m, name in enumerate(dates) if not active[:, m].any()]
        if absent:
            raise IdentificationError(
                f"{some(absent)}: no observation under it can be imputed. Leave it out, or add "
                "periods before adoption and units that stay without any measure."
            )
        keys: list[Key] = []
        columns: list[Vector | Flags] = []
        if by == "bundle":
            sets = np.unique(active[used], axis=0)
            for one in sets[np.lexsort(sets.T[::-1])][::-1]:
                keys.append((" + ".join(name for name, on in zip(dates, one, strict=True) if on),))
                columns.append(used & (active == one).all(axis=1))
            return cls(Index(("bundle",), tuple(keys)), _stacked(columns), active, used)
        for m, name in enumerate(dates):
            if by == "measure":
                keys.append((name,))
                columns.append(active[:, m])
                continue
            since = event[:, m] if longest is None else np.minimum(event[:, m], longest)
            for e in np.unique(since[active[:, m]]):
                keys.append((name, plain(e)))
                columns.append(active[:, m] & (since == e))
        levels = ("measure", "event") if by == "event" else ("measure",)
        return cls(Index(levels, tuple(keys)), _stacked(columns), active, used)

    def singular(self, weight: Vector) -> tuple[Vector, Matrix]:
        """Singular values of the columns, scaled to length one, and right singular vectors."""
        x = self.columns[self.used] * np.sqrt(weight[self.used])[:, None]
        _, values, right = np.linalg.svd(x / np.linalg.norm(x, axis=0), full_matrices=True)
        padded = np.zeros(len(right))
        padded[: len(values)] = values
        return padded, right


def _stacked(columns: Sequence[Vector | Flags]) -> Matrix:
    return np.stack(columns, axis=1).astype(float)


def _refuse_bundles(exposure: Exposure, panel: Panel, dates: dict[str, Vector], by: By) -> None:
    """Refuse what the calendar cannot tell apart, and say what would."""
    values, right = exposure.singular(panel.weight)
    blind = values <= BLIND * values[0]
    if not blind.any():
        return
    lost = np.abs(right[blind]).max(axis=0) > np.sqrt(BLIND)
    keys = [key for key, gone in zip(exposure.index.keys, lost, strict=True) if gone]
    names = list(dict.fromkeys(key[0] for key in keys))
    told = [f"{a} and {b}: {_apart(dates[a], dates[b])}" for a, b in _pairs(names)]
    where = "" if by == "measure" else f" (at {some((' '.join(map(str, k)) for k in keys), 8)})"
    ways = "by='measure', longest=, " if by == "event" else ""
    raise IdentificationError(
        f"the calendar does not tell apart {some(names, 12)}{where}: rank {int((~blind).sum())} "
        f"of {len(values)}. {'. '.join(told[:5])}. Units that adopt one of them alone, or in "
        f"another year, would; else ask for less: {ways}by='bundle', or one measure made of both."
    )


def _pairs(names: Sequence[str]) -> list[tuple[str, str]]:
    return [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]


def _apart(one: Vector, other: Vector) -> str:
    either, both = np.isfinite(one) | np.isfinite(other), np.isfinite(one) & np.isfinite(other)
    lags = np.unique(other[both] - one[both])
    if len(lags) == 1 and lags[0]:
        when = (
            f"{plain(abs(lags[0]))} periods {'later' if lags[0] > 0 else 'earlier'} for the other"
        )
        return f"{both.sum()} of {either.sum()} units that adopt either adopt both, always {when}"
    at_once = both & (one == other)
    return f"{at_once.sum()} of {either.sum()} units that adopt either adopt both at once"


def _report(exposure: Exposure, panel: Panel, dates: dict[str, Vector]) -> list[str]:
    """Rank, condition and overlap, in words."""
    values = exposure.singular(panel.weight)[0]
    lines = [f"exposure: rank {len(values)}, condition number {values[0] / values[-1]:.3g}"]
    for m, name in enumerate(dates):
        mine = exposure.active[:, m]
        others = np.delete(exposure.active, m, axis=1).any(axis=1)
        lines.append(
            f"{name}: {len(np.unique(panel.unit[mine]))} units, {mine.sum()} observations, "
            f"{(mine & others).sum()} of them under another measure"
        )
    return lines


def _sides(panel: Panel, exposure: Exposure) -> Sides:
    """Clusters of the treated of each coefficient, and of the untreated of the same periods."""
    unit, time = Groups(panel.unit, panel.n_units), Groups(panel.time, panel.n_periods)
    mass = exposure.columns * panel.weight[:, None]
    free = np.where(panel.treated > 0, 0.0, panel.weight)[:, None]
    per = time.sum(mass) / time.sum(free)  # cells that are used have untreated units beside them
    adopters, controls = unit.sum(mass), unit.sum(free * per[panel.time])
    loads = Loads.of(
        panel.cluster, adopters / adopters.sum(axis=0), controls / controls.sum(axis=0)
    )
    return Sides.of(loads, mass.shape[1])
