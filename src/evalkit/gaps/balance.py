"""The official index of balance between schools: their coefficient of variation (校际差异系数)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from evalkit.core.arrays import Flags, Groups, Vector
from evalkit.core.estimate import Estimate
from evalkit.core.panel import Panel
from evalkit.data.standards import Standard, require_indicators, standard_of
from evalkit.gaps.sample import (
    Names,
    Sample,
    Undefined,
    Wrong,
    answer,
    crossed,
    in_one_cluster,
    moments,
    sample,
)

COMPOSITE = "composite"


def balance(
    panel: Panel,
    *,
    standard: str | Standard,
    by: Names = ("county", "time"),
    undefined: Undefined = "refuse",
) -> Estimate:
    r"""Coefficient of variation between schools of every indicator of an official standard.

    **Estimand.** :math:`CV=\sqrt{\sum_jp_j(x_j-\mu)^2}/\mu`, :math:`\mu=\sum_jp_jx_j`, with
    :math:`p_j` the school's share of the county's pupils and :math:`x_j` what it has per pupil; the
    2012 standard takes the plain mean of its eight, ``composite``.
    **Assumptions.** For the contributions: schools are draws from a population. The official figure
    itself counts every school and has no such error.
    **Estimator.** The same of the table, weighted by pupils as the method note does.
    **Contribution.** Of each school, by the delta rule, as in :func:`spread`; none where schools
    are equal or there is one.
    **Reference.** Method notes on the two standards, listed with ``evalkit.standards``.
    **Checked against.** The worked example of the method note (books of five schools, .515, printed
    .52; .489 without weights); four composites published for Hefei (.592, .314, .417, .493).
    **Fails when.** The indicator counts few things, backbone teachers of small schools say: chance
    alone then makes a large coefficient. A public computation of the index leaves the weights out,
    and passes counties that fail.

    Parameters
    ----------
    panel : Panel
        Of schools, weighted by pupils, with the indicators as covariates: see
        ``evalkit.standards.school_panel``.
    standard : {"2012", "2017"} or Standard
        Limits are applied by ``evalkit.compliance``.
    by : str or sequence of str
    undefined : {"refuse", "nan"}
        As in :func:`gap`.

    Returns
    -------
    Estimate
        One coordinate per combination of ``by`` and indicator; last index level ``indicator``.

    Raises
    ------
    IdentificationError
        An indicator that no school has anything of, unless ``undefined="nan"``.

    Examples
    --------
    >>> import evalkit as ek
    >>> books = ek.standards.Indicator("books", "books per pupil", "生均图书册数", "books")
    >>> one = ek.standards.Standard("example", "method note", "", (books,),
    ...                             {"primary": 0.65}, False, "worked example")
    >>> frame = {"school_id": range(5), "county_code": ["c"] * 5, "year": [2012] * 5,
    ...          "pupils": [45, 37, 89, 76, 55], "books": [279, 137, 935, 160, 402]}
    >>> panel = ek.standards.school_panel(frame, standard=one, provenance="documented", smallest=0)
    >>> ek.gaps.balance(panel, standard=one).theta.round(3)
    array([0.515])
    """
    chosen = standard_of(standard)
    require_indicators(panel, chosen)
    rows = sample(panel)
    groups, index = rows.coordinates(by)
    names = [*chosen.names, *([COMPOSITE] if chosen.composite else [])]
    width = len(names)
    theta, psi = np.zeros((len(index), width)), np.zeros((len(panel.y), width))
    wrong: list[Wrong] = []
    for at, name in enumerate(chosen.names):
        theta[:, at], psi[:, at], none = _coefficient(rows, groups, panel.column(name))
        where = np.zeros((len(index), width), bool)
        where[:, [at, -1] if chosen.composite else [at]] = none[:, None]
        why = f"no school has any {name}, and a coefficient of variation divides by the mean"
        wrong.append(Wrong(where.reshape(-1), why))
    if chosen.composite:
        theta[:, -1], psi[:, -1] = theta[:, :-1].mean(axis=1), psi[:, :-1].mean(axis=1)
    spot = groups.codes[:, None] * width + np.arange(width)
    return answer(
        rows,
        crossed(index, "indicator", names),
        theta.reshape(-1),
        (np.repeat(rows.unit, width), spot.reshape(-1), psi.reshape(-1)),
        wrong,
        np.repeat(in_one_cluster(rows, groups), width),
        undefined=undefined,
        estimand=f"coefficient of variation between schools, standard {chosen.name}",
        method="moments weighted by pupils",
    )


def _coefficient(rows: Sample, groups: Groups, x: Vector) -> tuple[Vector, Vector, Flags]:
    """Coefficient ``(k,)`` of one indicator, what each row adds, and where its mean is zero."""
    at, k = moments(replace(rows, value=x), groups), groups.codes
    centred, share = x - at.mean[k], rows.weight / at.w[k]
    with np.errstate(divide="ignore", invalid="ignore"):
        cv = np.sqrt(at.variance) / at.mean
        relative = (centred**2 - at.variance[k]) / (2 * at.variance[k]) - centred / at.mean[k]
    flat = at.variance <= 0
    return cv, np.where(flat[k], 0.0, share * cv[k] * relative), at.mean <= 0
