"""Errors that depend on each other in two directions, or across all units and over time.

Each function gives what ``infer`` gives, with another covariance.
"""

from __future__ import annotations

from typing import get_args

import numpy as np

from evalkit.core.arrays import Codes, Groups, Matrix, Vector, cross, encode
from evalkit.core.checks import check_whole, refuse_text_or_repeats
from evalkit.core.errors import (
    CombinationError,
    IdentificationError,
    OptionError,
    check_option,
    some,
)
from evalkit.core.estimate import Estimate
from evalkit.core.panel import Panel
from evalkit.inference.few import Few, doubt
from evalkit.inference.infer import Inference, guarded, judge, warn

ROUNDING = 1e-12  # a variance this small beside that of independent clusters is none


def two_way_clusters(
    estimate: Estimate,
    panel: Panel,
    *,
    by: tuple[str, str],
    level: float = 0.95,
    few: Few = "withhold",
) -> Inference:
    r"""Judge an estimate with errors correlated within two crossing partitions.

    :math:`V=V_A+V_B-V_{A\cap B}`, each clustered with its own factor G/(G-1); the reference is t
    with the smaller number of clusters less one.

    Parameters
    ----------
    estimate : Estimate
        Any, if both partitions are constant within units; from one least-squares design, if one of
        them (``"time"``) is not.
    panel : Panel
        The one it was made from.
    by : pair of str
        Two categories of the panel; ``"unit"``, ``"time"`` and ``"cluster"`` always exist.
    level, few
        As in :func:`infer`.

    Returns
    -------
    Inference

    Raises
    ------
    CombinationError
        A partition that changes within units, and no least-squares design.
    IdentificationError
        If the covariance is not positive for a coordinate.

    References
    ----------
    Cameron, Gelbach and Miller (2011), Journal of Business and Economic Statistics 29(2), eq. 2.11.

    Examples
    --------
    >>> import numpy as np, evalkit as ek
    >>> rng = np.random.default_rng(1)
    >>> frame = {"town": np.repeat(np.arange(40), 12), "year": np.tile(np.arange(12), 40),
    ...          "score": rng.normal(size=480), "start": np.repeat([6.0, np.nan], 240)}
    >>> panel = ek.Panel.from_frame(frame, outcome="score", unit="town", time="year",
    ...                             cohort="start", provenance="synthetic")
    >>> ek.two_way_clusters(ek.did.two_way(panel), panel, by=("unit", "time")).method
    'clustered by unit and time, 40 clusters, t reference'
    """
    refuse_text_or_repeats("by", by)
    if len(by) != 2:
        raise OptionError(f"by={by} must name two partitions, such as ('unit', 'time')")
    one, two = by
    if one == two:
        raise OptionError(f"by={by} names one partition twice; use infer for one-way clusters")
    psi, codes = _crossing(estimate, panel, by)
    parts = [*codes, cross(list(codes))]
    sizes = [int(part.max()) + 1 for part in parts]
    if min(sizes[:2]) < 2:
        raise IdentificationError(f"{one} has {sizes[0]} labels and {two} {sizes[1]}; a partition "
                                  "needs two or more")  # fmt: skip
    covariance = np.zeros((len(estimate), len(estimate)))
    for part, size, sign in zip(parts, sizes, (1.0, 1.0, -1.0), strict=True):
        s = Groups(part, size).sum(psi)
        covariance += sign * size / (size - 1) * s.T @ s
    dof = np.full(len(estimate), min(sizes[:2]) - 1.0)
    return judged(estimate, covariance, dof, f"clustered by {one} and {two}", level, few)


def driscoll_kraay(
    estimate: Estimate,
    panel: Panel,
    *,
    lags: int | None = None,
    level: float = 0.95,
    few: Few = "withhold",
) -> Inference:
    r"""Judge an estimate with errors correlated across all units, and over a few periods.

    With :math:`h_t` the contributions of period t,
    :math:`V=\frac{T}{T-1}\sum_{l=-L}^{L}(1-\frac{|l|}{L+1})\sum_th_th_{t-l}'`; the reference is
    t(T - 1). It needs many periods: below twenty or so its errors are too small.

    Parameters
    ----------
    estimate : Estimate
        From one least-squares design.
    panel : Panel
        The one it was made from.
    lags : int, optional
        L; default :math:`\lfloor4(T/100)^{2/9}\rfloor`, the rule of Newey and West.
    level, few
        As in :func:`infer`.

    Returns
    -------
    Inference

    Raises
    ------
    CombinationError
        Without a least-squares design.

    References
    ----------
    Driscoll and Kraay (1998), Review of Economics and Statistics 80(4).

    Examples
    --------
    >>> import numpy as np, evalkit as ek
    >>> rng = np.random.default_rng(1)
    >>> frame = {"town": np.repeat(np.arange(20), 30), "year": np.tile(np.arange(30), 20),
    ...          "score": rng.normal(size=600), "x": rng.normal(size=600)}
    >>> panel = ek.Panel.from_frame(frame, outcome="score", unit="town", time="year",
    ...                             covariates=["x"], provenance="synthetic")
    >>> ek.driscoll_kraay(ek.did.regression(panel, on=["x"]), panel).method
    'Driscoll-Kraay, 3 lags, 30 periods, 20 clusters, t reference'
    """
    periods = panel.n_periods
    if periods < 2:
        raise IdentificationError("the panel has one period; there is no dependence over time")
    width = int(4 * (periods / 100) ** (2 / 9)) if lags is None else lags
    check_whole("lags", width, 0, "it counts periods")
    if not 0 <= width < periods:
        raise OptionError(f"lags={lags} must lie between 0 and {periods - 1}, the periods less one")
    h = Groups(panel.time, periods).sum(_by_row(estimate, panel))
    covariance = h.T @ h
    for lag in range(1, width + 1):
        gamma = h[lag:].T @ h[:-lag]
        covariance += (1 - lag / (width + 1)) * (gamma + gamma.T)
    covariance *= periods / (periods - 1)
    kind = f"Driscoll-Kraay, {width} lags, {periods} periods"
    return judged(estimate, covariance, np.full(len(estimate), periods - 1.0), kind, level, few)


def judged(
    estimate: Estimate, covariance: Matrix, dof: Vector, kind: str, level: float, few: Few
) -> Inference:
    """The inference of a covariance that need not be positive, with the doubts that it raises."""
    check_option("few", few, get_args(Few))
    if not 0 < level < 1:
        raise OptionError(f"level={level} must lie between 0 and 1, for example 0.95")
    own = np.diag(estimate.vcov())
    wrong = (np.diag(covariance) <= ROUNDING * own) & (own > 0)
    if wrong.any():
        keys = [key for key, bad in zip(estimate.index.keys, wrong, strict=True) if bad]
        raise IdentificationError(
            f"the covariance is not positive for {some(' '.join(map(str, key)) for key in keys)}: "
            "too little is known about so much dependence. Use a shorter reach, or cluster"
        )
    found = doubt(estimate, "CR1", estimate.n_clusters)
    warn(found, few)
    clean = np.where(np.eye(len(estimate), dtype=bool), np.maximum(covariance, 0.0), covariance)
    return guarded(judge(estimate, clean, dof, kind, level, found), found, few)


def _by_row(estimate: Estimate, panel: Panel) -> Matrix:
    """Contributions of rows ``(n, k)``."""
    if estimate.leverage is None or estimate.combination is None:
        raise CombinationError(
            f"contributions of rows need an estimate from one least-squares design; "
            f"{estimate.meta.method} is not. Use conley, or cluster by what holds whole units"
        )
    psi = estimate.leverage.by_row() @ estimate.combination
    if len(psi) != len(panel.y):
        raise OptionError(
            f"the estimate has {len(psi)} rows and the panel {len(panel.y)}; give its own panel"
        )
    return psi


def _crossing(
    estimate: Estimate, panel: Panel, by: tuple[str, str]
) -> tuple[Matrix, tuple[Codes, Codes]]:
    """Contributions, and the two partitions of what they belong to: units, or rows."""
    codes = [panel.category(name).codes for name in by]
    own = [np.zeros(panel.n_units, np.intp) for _ in by]
    for mine, rows in zip(own, codes, strict=True):
        mine[panel.unit] = rows
    if all((mine[panel.unit] == rows).all() for mine, rows in zip(own, codes, strict=True)):
        at = positions(estimate, panel)
        return estimate.psi, (encode(own[0][at])[0], encode(own[1][at])[0])
    return _by_row(estimate, panel), (codes[0], codes[1])


def positions(estimate: Estimate, panel: Panel) -> Codes:
    """Where the units of the estimate stand in the panel."""
    at = np.searchsorted(panel.units, estimate.units)
    at = np.minimum(at, panel.n_units - 1)
    strange = estimate.units[panel.units[at] != estimate.units]
    if len(strange):
        raise OptionError(f"the panel has no unit {strange[0]!s}; give the estimate's own panel")
    return at
