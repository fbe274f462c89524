"""What can speak against forecasts of value-added: their slope, movers, and scores of the past.

Each is a regression on the forecast, returned as an estimate; the forecast is taken as given.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from evalkit.core.arrays import Codes, Groups, Labels, Matrix, Vector, encode
from evalkit.core.errors import IdentificationError, OptionError, PanelError, some
from evalkit.core.estimate import Estimate
from evalkit.core.labels import Index
from evalkit.core.origin import Meta
from evalkit.core.scores import Scores
from evalkit.engines.regress import least_squares
from evalkit.value_added.drift import Drift
from evalkit.value_added.gather import Level, name_of, units_of


def forecast_test(made: Drift, *, cluster: Level | None = None) -> Estimate:
    r"""Slope of residuals on the leave-year-out forecast: one if forecasts are unbiased.

    A slope below one says that forecasts promise too much. It is not a test to rely on. The
    covariances behind the forecasts come from the same pupils, so that the slope is close to one
    nearly by construction, and sorting that lasts passes. The error of the slope takes forecasts as
    given; it is too large, and the test would hardly reject.

    Parameters
    ----------
    made : Drift
    cluster : str or tuple of str, optional
        Clusters that hold whole units, such as the school (default: the unit).

    Returns
    -------
    Estimate
        One coordinate, ``forecast``; its units are those of the drift.

    References
    ----------
    Chetty, Friedman and Rockoff (2014), section III.

    Examples
    --------
    >>> import numpy as np, evalkit as ek
    >>> rng = np.random.default_rng(2)
    >>> teacher, year = np.repeat(np.arange(40), 60), np.tile(np.repeat([1, 2, 3], 20), 40)
    >>> frame = {"teacher": teacher, "year": year, "pupil": np.arange(2400),
    ...          "math": rng.normal(size=40)[teacher] + rng.normal(size=2400)}
    >>> panel = ek.value_added.pupils(frame, score="math", keys=["teacher"], pupil="pupil",
    ...                               year="year", provenance="synthetic")
    >>> slope = ek.value_added.forecast_test(ek.value_added.drift(panel, unit="teacher"))
    >>> slope.theta.round(1)
    array([1.])
    """
    x = made.forecast[made.unit, made.panel.time]
    return _slope(made, made.residual, x, cluster, "slope of residuals on forecasts")


def past_score_test(
    made: Drift, *, past: str, cluster: Level | None = None, beside: Sequence[str] | None = None
) -> Estimate:
    r"""Slope of a past score on the forecast, given the regressors: zero without sorting.

    A teacher cannot change the past. A slope that is not zero may come from sorting on something
    the regressors miss, or from units that taught the same pupils before, or whose pupils had a
    class in common then. The test can fail where pupils were assigned by lot.

    Parameters
    ----------
    made : Drift
    past : str
        Covariate of the panel that is no regressor of the drift, such as the score two years ago.
    cluster : str or tuple of str, optional
        As in :func:`forecast_test`.
    beside : sequence of str, optional
        Regressors held fixed (default: those of the drift).

    Returns
    -------
    Estimate

    References
    ----------
    Rothstein (2010); Chetty, Friedman and Rockoff (2014), section IV; Goldhaber and Chaplin (2015).

    Examples
    --------
    >>> import numpy as np, evalkit as ek
    >>> rng = np.random.default_rng(2)
    >>> teacher, year = np.repeat(np.arange(40), 60), np.tile(np.repeat([1, 2, 3], 20), 40)
    >>> frame = {"teacher": teacher, "year": year, "pupil": np.arange(2400),
    ...          "past": rng.normal(size=2400),
    ...          "math": rng.normal(size=40)[teacher] + rng.normal(size=2400)}
    >>> panel = ek.value_added.pupils(frame, score="math", controls=["past"], keys=["teacher"],
    ...                               pupil="pupil", year="year", provenance="synthetic")
    >>> made = ek.value_added.drift(panel, unit="teacher", on=[])
    >>> abs(ek.value_added.past_score_test(made, past="past").theta[0]) < 0.1
    np.True_
    """
    held = list(made.on if beside is None else beside)
    if past in held:
        raise OptionError(f"{past!r} is a regressor of the drift; a test needs a score outside it")
    columns = [made.panel.column(name) for name in held]
    x = made.forecast[made.unit, made.panel.time]
    return _slope(
        made, made.panel.column(past), x, cluster, f"slope of {past} on forecasts", held, columns
    )


def switchers(made: Drift, *, within: Level, years: bool = True) -> Estimate:
    r"""Slope of changes in mean residuals on changes in mean forecasts, as units come and go.

    Cells are those of ``within`` (school, school and grade) and year. When a teacher with high
    forecasts leaves, do scores fall by as much? Forecasts of the two years leave both out.

    Parameters
    ----------
    made : Drift
    within : str or tuple of str
        Where units move between.
    years : bool
        Absorb an effect of each year.

    Returns
    -------
    Estimate
        One coordinate, ``forecast``; its units are the cells' places.

    References
    ----------
    Chetty, Friedman and Rockoff (2014), section V.

    Examples
    --------
    >>> import numpy as np, evalkit as ek
    >>> rng = np.random.default_rng(2)
    >>> teacher, year = np.repeat(np.arange(60), 60), np.tile(np.repeat([1, 2, 3], 20), 60)
    >>> school = (teacher + (teacher % 3 == 0) * (year - 1) * 7) % 20
    >>> frame = {"teacher": teacher, "year": year, "school": school, "pupil": np.arange(3600),
    ...          "math": rng.normal(size=60)[teacher] + rng.normal(size=3600)}
    >>> panel = ek.value_added.pupils(frame, score="math", keys=["teacher", "school"],
    ...                               pupil="pupil", year="year", provenance="synthetic")
    >>> made = ek.value_added.drift(panel, unit="teacher")
    >>> ek.value_added.switchers(made, within="school").theta.round(1)
    array([1.1])
    """
    panel, size = made.panel, made.panel.n_periods
    codes, places = units_of(panel, within)
    cell = Groups(codes * size + panel.time, len(places) * size)

    def means(values: Vector) -> tuple[Matrix, Matrix]:
        """Mean by place and year over rows with a value, and how many they are."""
        known = ~np.isnan(values)
        n = cell.sum(known.astype(float))
        with np.errstate(invalid="ignore"):
            mean = cell.sum(np.where(known, values, 0.0)) / n
        return mean.reshape(-1, size), n.reshape(-1, size)

    late, early = made.without("pair"), made.without_next()
    now = late[made.unit, panel.time]
    before = early[made.unit, panel.time]
    both = ~np.isnan(now) | ~np.isnan(before)
    score, _ = means(np.where(both, made.residual, np.nan))
    (q_now, n_now), (q_before, n_before) = means(now), means(before)
    step = np.diff(panel.clock) == 1
    change = (score[:, 1:] - score[:, :-1])[:, step]
    moved = (q_now[:, 1:] - q_before[:, :-1])[:, step]
    weight = (n_now[:, 1:] + n_before[:, :-1])[:, step]
    kept = ~np.isnan(change) & ~np.isnan(moved) & (weight > 0)
    if kept.sum() < 3:
        raise IdentificationError(
            f"fewer than three changes of {name_of(within)!r} from one year to the next have "
            "forecasts; switchers need units seen in at least three years"
        )
    place, year = np.nonzero(kept)
    used, labels = encode(places[place])
    effect = Groups(encode(year)[0], len(np.unique(year))) if years else _one(len(year))
    return _fit(
        made, change[kept], moved[kept][:, None], ["forecast"], effect, weight[kept],
        used, labels, labels, "slope of changes in residuals on changes in forecasts",
    )  # fmt: skip


def _one(n: int) -> Groups:
    return Groups(np.zeros(n, np.intp), 1)


def _slope(
    made: Drift,
    y: Vector,
    x: Vector,
    cluster: Level | None,
    estimand: str,
    held: Sequence[str] = (),
    columns: Sequence[Vector] = (),
) -> Estimate:
    """Slope over the rows with a forecast, with contributions of the drift's units."""
    kept = ~np.isnan(x)
    if not kept.any():
        raise IdentificationError("no row has a forecast: no unit is seen in a second year")
    codes, labels = encode(made.units[made.unit[kept]])
    above = labels if cluster is None else _above(made, cluster, kept, codes, labels)
    design = np.column_stack([x, *columns])[kept]
    return _fit(made, y[kept], design, ["forecast", *held], _one(int(kept.sum())),
                np.ones(int(kept.sum())), codes, labels, above, estimand)  # fmt: skip


def _above(made: Drift, cluster: Level, kept: Vector, codes: Codes, labels: Labels) -> Labels:
    """Cluster of each unit, which must lie in one."""
    member, names = units_of(made.panel, cluster)
    member = member[kept]
    first = np.unique(codes, return_index=True)[1]
    wrong = member != member[first][codes]
    if wrong.any():
        torn = labels[np.unique(codes[wrong])]
        raise PanelError(
            f"{made.name} {some(torn)} lies in several clusters of {name_of(cluster)!r}; a cluster "
            "holds whole units. Cluster at a coarser level."
        )
    out: Labels = names[member[first]]
    return out


def _fit(
    made: Drift,
    y: Vector,
    x: Matrix,
    names: Sequence[str],
    effect: Groups,
    weight: Vector,
    unit: Codes,
    units: Labels,
    cluster: Labels,
    estimand: str,
) -> Estimate:
    fit = least_squares(y, x, names=names, effects=[effect], weight=weight,
                        unit=Groups(unit, len(units)))  # fmt: skip
    return Estimate(
        theta=fit.beta[:1],
        scores=Scores.dense(fit.contributions()[:, :1]),
        units=units,
        cluster=cluster,
        index=Index.flat("term", ["forecast"]),
        meta=Meta(estimand, "least squares on forecasts", made.meta.outcome, len(y),
                  made.meta.provenance, made.meta.notes),
        origin=fit,
        combination=np.eye(len(names))[:, :1],
    )  # fmt: skip
