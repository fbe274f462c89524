"""What a difference rate between schools (差异率) can mean: each reading under its own name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias, get_args

import numpy as np

from evalkit.core.arrays import Codes, Flags, Groups, Vector
from evalkit.core.errors import OptionError, check_option
from evalkit.core.estimate import Estimate
from evalkit.core.labels import Index
from evalkit.gaps.levels import Levels
from evalkit.gaps.pair import Pair, side
from evalkit.gaps.sample import (
    Data,
    Names,
    Sample,
    Undefined,
    Wrong,
    answer,
    crossed,
    in_one_cluster,
    joint,
    moments,
    sample,
)

Reading: TypeAlias = Literal[
    "gap_ratio",
    "cv_means",
    "cv_means_corrected",
    "icc",
    "icc_raw",
    "range_ratio",
    "range_ratio_corrected",
]
READINGS: tuple[Reading, ...] = get_args(Reading)
RATIOS = ("gap_ratio", "cv_means", "cv_means_corrected", "range_ratio", "range_ratio_corrected")
PUPILS = ("cv_means_corrected", "icc", "icc_raw", "range_ratio_corrected")


def difference_rate(
    data: Data,
    *,
    school: Names,
    readings: Sequence[Reading] | None = None,
    between: str | None = None,
    high: Any = None,
    low: Any = None,
    by: Names = None,
    undefined: Undefined = "refuse",
) -> Estimate:
    r"""How far schools differ in their scores, in every sense that a limit of 0.15 may have.

    **Estimand.** With schools j of pupil shares :math:`p_j` and means :math:`\theta_j` around
    :math:`\mu`, pupil variance :math:`\sigma^2` within schools: ``cv_means``
    :math:`\sqrt{\sum p_j(\theta_j-\mu)^2}/\mu`; ``icc`` :math:`\tau^2/(\tau^2+\sigma^2)`, the share
    of variance between schools; ``range_ratio``, the 90th less the 10th percentile of school means
    over :math:`\mu`; ``gap_ratio`` :math:`(\mu_{high}-\mu_{low})/\mu_{high}`, good urban schools
    against town schools. The documents give a limit and no formula.
    **Assumptions.** Schools are draws from a population; one :math:`\sigma^2` for all. All but
    ``icc`` need raw marks, with a zero that means nothing right.
    **Estimator.** Plug-in; ``icc`` by analysis of variance, negative values kept, and ``icc_raw``
    the plug-in. The noise of school means, :math:`\hat\sigma^2\sum p_j(1-p_j)/n_j`, is in the
    plug-in figures: ``_corrected`` takes it off the variance of means, and shrinks the range in the
    same proportion.
    **Contribution.** Of each school, by the delta rule; of percentiles as in
    :func:`quantile_gap`.
    **Reference.** Donner (1986) for the share of variance; the readings are those of documents and
    of public code.
    **Checked against.** The formulas by hand (1e-12); R lme4 1.1-31 on balanced schools, where its
    share is that of the analysis of variance (1e-6); the delete-one jackknife.
    **Fails when.** Few schools: percentiles of ten schools are two schools. One reading is read as
    another: on STAR the coefficient is below the limit and the share of variance above it.

    Parameters
    ----------
    data : Panel or Summaries
        Scores of pupils; means of schools do for ``cv_means``, ``range_ratio`` and ``gap_ratio``.
    school : str or sequence of str
        The schools: ``"school"``, or ``["county", "school"]`` where ids are unique within counties
        only; ``"unit"`` for a panel of schools.
    readings : sequence of str, optional
        Which (default: all that the arguments allow); each is a coordinate.
    between, high, low : str, label, label, optional
        The column of urban and town schools and its two labels, for ``gap_ratio``.
    by, undefined
        As in :func:`gap`.

    Returns
    -------
    Estimate
        One coordinate per combination of ``by`` and reading; last index level ``reading``.

    Raises
    ------
    IdentificationError
        A single school, scores that are negative, or an empty group, unless ``undefined="nan"``.
        A corrected figure is empty where noise explains all of the spread.

    Examples
    --------
    >>> import evalkit as ek
    >>> frame = {"i": range(6), "t": [0] * 6, "y": [70.0, 72.0, 74.0, 78.0, 80.0, 82.0],
    ...          "school": [1, 1, 1, 2, 2, 2]}
    >>> panel = ek.Panel.from_frame(frame, outcome="y", unit="i", time="t", categories=["school"],
    ...                             provenance="synthetic")
    >>> rates = ek.gaps.difference_rate(panel, school="school", readings=["cv_means", "icc"])
    >>> rates.theta.round(3)
    array([0.053, 0.885])
    """
    asked = _asked(readings, between)
    rows = sample(data, school)
    groups, index = rows.coordinates(by, used=() if between is None else (between,))
    with np.errstate(divide="ignore", invalid="ignore"):
        schools = _schools(rows, groups)
        made = [
            _gap_ratio(rows, groups, between, (high, low))
            if name == "gap_ratio"
            else _between_schools(schools, name)
            for name in asked
        ]
    width = len(asked)
    wrong, parts, noisy = [], [], 0
    for at, (name, one) in enumerate(zip(asked, made, strict=True)):
        empty = np.isnan(one.theta)
        if name.endswith("_corrected"):
            noisy += int((empty & schools.drowned).sum())
        parts.append(
            (one.unit, one.coordinate * width + at, np.where(empty[one.coordinate], 0.0, one.psi))
        )
        for each in (*_below_zero(rows, groups, name), *one.wrong):
            where = np.zeros((groups.size, width), bool)
            where[:, at] = each.where
            wrong.append(Wrong(where.reshape(-1), each.why))
    unit, spot, psi = (np.concatenate(part) for part in zip(*parts, strict=True))
    out = answer(
        rows,
        crossed(index, "reading", list(asked)),
        np.stack([one.theta for one in made], axis=1).reshape(-1),
        (unit, spot, psi),
        wrong,
        np.repeat(in_one_cluster(rows, groups), width),
        undefined=undefined,
        estimand="difference rate between schools",
        method="moments of school means",
    )
    note = f"{noisy} corrected figures are empty: noise explains all of the spread between schools"
    return replace(out, meta=replace(out.meta, notes=(*out.meta.notes, note))) if noisy else out


NEGATIVE = (
    "scores are negative, so that a ratio to their mean has no meaning; give raw marks, or ask for "
    "readings=['icc']"
)


def _below_zero(rows: Sample, groups: Groups, name: Reading) -> list[Wrong]:
    below = np.bincount(groups.codes, rows.value < 0, groups.size) > 0
    return [Wrong(below, NEGATIVE)] if name in RATIOS else []


def _asked(readings: Sequence[Reading] | None, between: str | None) -> tuple[Reading, ...]:
    if readings is None:
        return tuple(name for name in READINGS if between is not None or name != "gap_ratio")
    if isinstance(readings, str) or not readings or len(set(readings)) < len(readings):
        raise OptionError(f"readings={readings!r} must be a list of different names")
    for name in readings:
        check_option("readings", name, READINGS)
    if "gap_ratio" in readings and between is None:
        raise OptionError("gap_ratio needs between=, high= and low=: urban against town schools")
    return tuple(readings)


@dataclass(frozen=True, slots=True, eq=False)
class _Made:
    """One reading ``(k,)``, with entries of contributions, and where it has no answer."""

    theta: Vector
    unit: Codes
    coordinate: Codes
    psi: Vector
    wrong: list[Wrong]


@dataclass(frozen=True, slots=True, eq=False)
class _Schools:
    """``c`` schools in coordinates, and the moments of their means; ``d_`` marks what each adds."""

    unit: Codes
    groups: Groups
    share: Vector
    mean: Vector
    mu: Vector
    d_mu: Vector
    means: Vector
    d_means: Vector
    pupils: Vector
    d_pupils: Vector
    inner: Vector
    d_inner: Vector
    noise: Vector
    d_noise: Vector
    spare: Vector
    freedom: Vector

    @property
    def number(self) -> Vector:
        """Schools of each coordinate."""
        return np.bincount(self.groups.codes, minlength=self.groups.size).astype(float)

    @property
    def drowned(self) -> Flags:
        """Coordinates in which the noise of means is as large as their variance."""
        return np.asarray(self.means <= self.noise)


def _schools(rows: Sample, groups: Groups) -> _Schools:
    codes, first = joint([groups.codes, rows.unit])
    cells = Groups(codes, len(first))
    of, k = moments(rows, cells), Groups(groups.codes[first], groups.size)
    at = k.codes
    share = of.w / k.sum(of.w)[at]
    base = k.sum(share * of.mean)
    mu = base + k.sum(share * (of.mean - base[at]))
    square = (of.mean - mu[at]) ** 2
    means = k.sum(share * square)
    # Pupils within schools: n - 1 of each, or what weights leave of it.
    lost = cells.sum(rows.weight2) / of.w
    inside, freedom = of.w * of.variance, of.w - lost
    pupils = k.sum(inside) / k.sum(freedom)
    inner = k.sum(share * of.variance)
    each = lost / of.w
    rough = k.sum(share * each)
    fine = rough - k.sum(share**2 * each)
    d_pupils = (inside - pupils[at] * freedom) / k.sum(freedom)[at]
    return _Schools(
        unit=rows.unit[first],
        groups=k,
        share=share,
        mean=of.mean,
        mu=mu,
        d_mu=share * (of.mean - mu[at]),
        means=means,
        d_means=share * (square - means[at]),
        pupils=pupils,
        d_pupils=d_pupils,
        inner=inner,
        d_inner=share * (of.variance - inner[at]),
        noise=pupils * fine,
        d_noise=d_pupils * fine[at] + pupils[at] * share * (each - rough[at]),
        spare=1 - k.sum(share**2),
        freedom=k.sum(freedom),
    )


def _between_schools(schools: _Schools, name: Reading) -> _Made:
    k, mu = schools.groups.codes, schools.mu
    wrong = [Wrong(schools.number < 2, "there is a single school")]
    if name in PUPILS:
        why = "every school is a single row, which hides how pupils vary; give their scores or sums"
        wrong.append(Wrong(~(schools.freedom > 1e-9 * schools.number), why))
    variance, noise = schools.means, schools.d_means
    if name.endswith("_corrected"):
        variance, noise = variance - schools.noise, noise - schools.d_noise
    if name in ("icc", "icc_raw"):
        inside, d_inside = schools.inner, schools.d_inner
        if name == "icc":
            inside, d_inside = schools.pupils, schools.d_pupils
            variance = (variance - schools.noise) / schools.spare
            noise = (noise - schools.d_noise) / schools.spare[k]
        whole = variance + inside
        theta = variance / whole
        psi = (noise - theta[k] * (noise + d_inside)) / whole[k]
    elif name.startswith("cv_means"):
        wrong += [Wrong(mu <= 0, NEGATIVE), Wrong(~(schools.means > 0), "all schools are equal")]
        theta = np.sqrt(variance) / mu
        psi = theta[k] * (noise / (2 * variance[k]) - schools.d_mu / mu[k])
    else:
        wrong += [Wrong(mu <= 0, NEGATIVE), Wrong(~(schools.means > 0), "all schools are equal")]
        reach, d_reach = _range(schools)
        shrink = np.sqrt(variance / schools.means)
        theta = shrink * reach / mu
        relative = noise / variance[k] - schools.d_means / schools.means[k]
        psi = theta[k] * (d_reach / reach[k] + relative / 2 - schools.d_mu / mu[k])
    return _Made(theta, schools.unit, k, psi, wrong)


def _range(schools: _Schools) -> tuple[Vector, Vector]:
    """90th less 10th percentile of school means ``(k,)``, and what each school adds."""
    levels = Levels.of(schools.mean, schools.groups)
    one = np.ones(len(schools.mean))
    mass, number, k = levels.mass(one), schools.number, schools.groups.codes
    reach, psi = np.zeros(len(number)), np.zeros(len(one))
    for p, sign in ((0.9, 1.0), (0.1, -1.0)):
        q = levels.quantile(mass, np.full(len(number), p))
        slope = levels.sparsity(mass, p, number)
        under = (schools.mean <= q[k]).astype(float)
        reach += sign * q
        psi += sign * slope[k] * ((schools.groups.sum(under) / number)[k] - under) / number[k]
    return reach, psi


def _gap_ratio(rows: Sample, groups: Groups, between: str | None, ends: tuple[Any, Any]) -> _Made:
    high, low = (side(rows, groups, str(between), label) for label in ends)
    two = Pair(rows, groups, Index.flat("term", range(groups.size)), str(between), high, low)
    k = groups.codes
    theta = 1 - low.at.mean / high.at.mean
    psi = ((1 - theta)[k] * two.mean(high) - two.mean(low)) / high.at.mean[k]
    wrong = [*two.empty(), Wrong(high.at.mean <= 0, NEGATIVE)]
    return _Made(theta, rows.unit, k, psi, wrong)
