"""Value-added that drifts from year to year: forecasts of a year from the unit's other years."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import numpy as np

from evalkit.core.arrays import Codes, Groups, Labels, Matrix, Vector, encode, frozen
from evalkit.core.errors import IdentificationError, OptionError, check_option, some
from evalkit.core.origin import Meta
from evalkit.core.panel import Panel
from evalkit.engines.autocovariance import Wide, same_cell
from evalkit.engines.regress import least_squares
from evalkit.value_added.gather import Level, name_of, units_of

if TYPE_CHECKING:
    import pandas as pd

Leave: TypeAlias = Literal["year", "pair"]


@dataclass(frozen=True, slots=True)
class Components:
    """Variance of residuals, of pupils within classes, of classes within unit and year, and the
    covariance of two classes of one unit and year.

    Where no unit has two classes in a year the last is zero, and the variance of classes holds what
    units have in common only for one year.
    """

    total: float
    individual: float
    classroom: float
    same_year: float


@dataclass(frozen=True, slots=True, eq=False)
class Drift:
    """Forecasts of value-added, year by year.

    Attributes
    ----------
    wide : Wide
        Mean residuals by unit and year, their pupils and precisions.
    forecast, error : Matrix (J, T)
        Leave-year-out forecast and the deviation of what it misses; NaN for a unit without another
        year.
    lags : Vector
        Covariances of means at lags 1, 2, ...; ``pairs`` counts the pairs behind each.
    parts : Components
        Where the variance of residuals lies.
    residual : Vector (n,)
        Score less what the covariates explain, row by row of the panel.
    unit, units : Codes (n,), Labels (J,)
        Unit of each row.
    meta : Meta
    """

    wide: Wide
    forecast: Matrix
    error: Matrix
    lags: Vector
    pairs: Codes
    parts: Components
    residual: Vector
    unit: Codes
    units: Labels
    name: str
    on: tuple[str, ...]
    panel: Panel
    meta: Meta

    @property
    def signal(self) -> float:
        """Variance of a unit's effect in a year (with its class, where units have only one)."""
        return self.parts.same_year or self.parts.classroom

    @property
    def table(self) -> pd.DataFrame:
        """One row per unit and year: pupils, mean residual, forecast and what it misses."""
        import pandas as pd

        j, t = np.nonzero(self.wide.seen)
        frame = pd.DataFrame(
            {
                self.name: self.units[j],
                "year": self.panel.times[t],
                "n": self.wide.n[j, t],
                "raw": self.wide.mean[j, t],
                "forecast": self.forecast[j, t],
                "forecast_sd": self.error[j, t],
            }
        )
        frame.attrs.update(shrunken=("forecast",), provenance=self.meta.provenance)
        return frame

    @property
    def stability(self) -> pd.DataFrame:
        """One row per lag: pairs, covariance of means, and correlation of means and of effects.

        The correlation of effects divides by the variance of effects; it is empty where no unit has
        two classes in a year, since that variance is then mixed with the classes'.
        """
        import pandas as pd

        seen = self.wide.seen
        spread = float(np.average(self.wide.mean[seen] ** 2, weights=self.wide.n[seen]))
        own = self.parts.same_year
        effects = self.lags / own if own > 0 else np.nan * self.lags
        return pd.DataFrame(
            {
                "lag": np.arange(1, len(self.lags) + 1),
                "pairs": self.pairs,
                "covariance": self.lags,
                "correlation": self.lags / spread,
                "of_effects": effects,
            }
        )

    def without(self, leave: Leave) -> Matrix:
        """Forecasts ``(J, T)`` from all years but the year itself, or but it and the one before.

        ``"pair"`` also gives, in ``without_next``, the forecast of the earlier year of each pair.
        """
        check_option("leave", leave, get_args(Leave))
        return self.forecast if leave == "year" else self._forecast(2)

    def without_next(self) -> Matrix:
        """Forecasts ``(J, T)`` from all years but the year itself and the one after."""
        return self._forecast(-2)

    def _forecast(self, leave: int) -> Matrix:
        return self.wide.forecasts(self.lags, self.parts.same_year, leave)[0]

    def __repr__(self) -> str:
        meta = self.meta
        listed = ", ".join(
            f"{name.replace('_', ' ')} {value:.5g}" for name, value in asdict(self.parts).items()
        )
        return "\n".join(
            [
                f"{meta.estimand} on {meta.outcome!r} by {meta.method} ({meta.provenance})",
                f"{meta.n_obs} rows, {len(self.units)} units, {self.panel.n_periods} years",
                f"variances: {listed}",
                self.stability.round(5).to_string(index=False),
                *meta.notes,
            ]
        )

    def _repr_html_(self) -> str:
        first, second, third, *_ = repr(self).split("\n")
        table = self.stability.round(4).to_html(border=0, index=False)
        return f"<p>{first}<br>{second}<br>{third}</p>{table}"


def drift(
    panel: Panel,
    *,
    unit: Level,
    classes: Level | None = None,
    on: Sequence[str] | None = None,
    limit: int | None = None,
) -> Drift:
    r"""Forecast each unit's value-added in a year from its other years (Chetty-Friedman-Rockoff).

    **Estimand.** The best linear forecast of a unit's effect in year :math:`t` from the residuals
    of its pupils in other years.
    **Assumptions.** Effects are stationary: covariances depend on the distance of years alone.
    Reading forecasts as causes needs pupils not to be sorted to units on what the covariates miss;
    :func:`forecast_test`, :func:`switchers` and :func:`past_score_test` can speak against it.
    **Estimator.** Residuals from a regression within units; means :math:`\bar A_{jt}` weight
    classes by :math:`h=1/(\sigma^2_\theta+\sigma^2_\epsilon/n)`;
    :math:`\hat\mu_{jt}=\phi'V^{-1}\bar A_{j,-t}`, with :math:`\phi` and :math:`V` made of the
    covariances at each lag, over all pairs of years.
    **Contribution.** None: forecasts are shrunken. Their tests return estimates.
    **Reference.** Chetty, Friedman and Rockoff (2014), appendix A.
    **Checked against.** A slow program of loops (1e-10); simulated drift.
    **Fails when.** Few units are seen in several years; effects trend; covariances at long lags
    rest on few pairs and make a matrix that is not definite (such forecasts are left empty).

    Parameters
    ----------
    panel : Panel
        Pupils by year.
    unit : str or tuple of str
        Teacher or school.
    classes : str or tuple of str, optional
        Classes within unit and year (default: one each).
    on : sequence of str, optional
        Regressors (default: all covariates).
    limit : int, optional
        Lag from which covariances are held equal.

    Returns
    -------
    Drift

    Raises
    ------
    IdentificationError
        If too few units are seen in two years.

    Examples
    --------
    >>> import numpy as np, evalkit as ek
    >>> rng = np.random.default_rng(2)
    >>> teacher, year = np.repeat(np.arange(40), 60), np.tile(np.repeat([1, 2, 3], 20), 40)
    >>> frame = {"teacher": teacher, "year": year, "pupil": np.arange(2400),
    ...          "math": rng.normal(size=40)[teacher] + rng.normal(size=2400)}
    >>> panel = ek.value_added.pupils(frame, score="math", keys=["teacher"], pupil="pupil",
    ...                               year="year", provenance="synthetic")
    >>> made = ek.value_added.drift(panel, unit="teacher")
    >>> made.stability["correlation"].round(2).tolist()
    [0.96, 0.98]
    """
    if limit is not None and limit < 1:
        raise OptionError(f"limit={limit}; it is a lag of one year or more")
    if not (panel.weight == 1).all():
        raise OptionError("drift counts pupils equally; build the panel without weight")
    codes, units = units_of(panel, unit)
    names = list(panel.names if on is None else on)
    residual = _residual(panel, Groups(codes, len(units)), names)
    shape = len(units), panel.n_periods
    cell = Groups(codes * shape[1] + panel.time, shape[0] * shape[1])
    room = cell.codes if classes is None else units_of(panel, classes)[0]
    rooms = Groups(*_joint(cell.codes, room))
    n, home = rooms.sum(np.ones(len(residual))), np.empty(rooms.size, np.intp)
    home[rooms.codes] = cell.codes
    where = Groups(home, cell.size)
    parts, twice = _components(residual, rooms, where, len(names))
    mean = rooms.sum(residual) / n
    with np.errstate(divide="ignore", invalid="ignore"):
        h = 1 / (parts.classroom + parts.individual / n)
        precision = where.sum(h)
        wide = Wide(
            (where.sum(h * mean) / precision).reshape(shape),
            where.sum(n).reshape(shape),
            precision.reshape(shape),
            panel.clock,
        )
    lags, pairs = wide.covariances(limit)
    if not len(lags) or np.isnan(lags).all():
        raise IdentificationError(
            f"fewer than three units of {name_of(unit)!r} are seen in two years one apart; drift "
            "needs units over several years"
        )
    forecast, explained = wide.forecasts(lags, parts.same_year, 1)
    signal = parts.same_year or parts.classroom
    with np.errstate(invalid="ignore"):
        error = np.sqrt(np.where(signal >= explained, signal - explained, np.nan))
    return Drift(
        wide=wide,
        forecast=frozen(forecast),
        error=frozen(error),
        lags=frozen(lags),
        pairs=frozen(pairs),
        parts=parts,
        residual=frozen(residual),
        unit=codes,
        units=units,
        name=name_of(unit),
        on=tuple(names),
        panel=panel,
        meta=_meta(panel, unit, wide, forecast, twice, units),
    )


def _joint(a: Codes, b: Codes) -> tuple[Codes, int]:
    """Codes of the combinations that occur, and how many there are."""
    codes, labels = encode(a * (int(b.max()) + 1) + b)
    return codes, len(labels)


def _components(
    residual: Vector, rooms: Groups, where: Groups, slopes: int
) -> tuple[Components, int]:
    n = rooms.sum(np.ones(len(residual)))
    mean = rooms.sum(residual) / n
    inside = residual - mean[rooms.codes]
    spare = len(residual) - rooms.size - slopes
    if spare < 1:
        raise IdentificationError(
            "every class has a single pupil: pupils cannot be told from classes. Use larger units."
        )
    total = float(residual @ residual) / (len(residual) - slopes - 1)
    individual = float(inside @ inside) / spare
    same_year, twice = same_cell(mean, n, where)
    same_year = max(same_year, 0.0)
    classroom = max(total - individual - same_year, 0.0)
    return Components(total, individual, classroom, same_year), twice


def _residual(panel: Panel, unit: Groups, names: Sequence[str]) -> Vector:
    """Scores less what the covariates explain within units, about their mean."""
    y = panel.y
    if names:
        x = np.stack([panel.column(name) for name in names], axis=1)
        fit = least_squares(
            y, x, names=names, effects=[unit], weight=panel.weight,
            unit=Groups(panel.unit, panel.n_units),
        )  # fmt: skip
        y = y - x @ fit.beta
    centred: Vector = y - y.mean()
    return centred


def _meta(
    panel: Panel, unit: Level, wide: Wide, forecast: Matrix, twice: int, units: Labels
) -> Meta:
    notes = list(panel.ledger)
    alone = np.flatnonzero(wide.seen.sum(axis=1) == 1)
    if len(alone):
        notes.append(
            f"{len(alone)} units of {name_of(unit)} are seen in one year only and have no "
            f"forecast: {some(units[alone])}"
        )
    lost = int((wide.seen & np.isnan(forecast)).sum()) - len(alone)
    if lost > 0:
        notes.append(f"{lost} forecasts are empty: the covariances of their years are not definite")
    if not twice:
        notes.append("no unit has two classes in a year: classes and units of a year are mixed")
    return Meta(
        f"value-added of {name_of(unit)}", "drifting value-added", panel.outcome, len(panel.y),
        panel.provenance, tuple(notes),
    )  # fmt: skip
