"""The gap along a socio-economic gradient: between two percentiles of it."""

from __future__ import annotations

import numpy as np

from evalkit.core.arrays import Codes, Flags, Groups, Vector
from evalkit.core.checks import check_whole, is_number
from evalkit.core.errors import OptionError
from evalkit.core.estimate import Estimate
from evalkit.core.panel import Panel
from evalkit.gaps.levels import Levels
from evalkit.gaps.sample import Names, Sample, Undefined, Wrong, answer, in_one_cluster, sample

SINGULAR = 1e-10  # a power with less of its own, relative to the first, is a sum of the others


def gradient(
    panel: Panel,
    *,
    along: str,
    high: float = 0.9,
    low: float = 0.1,
    degree: int = 3,
    by: Names = None,
    unit: Names = None,
    undefined: Undefined = "refuse",
) -> Estimate:
    r"""Expected outcome at a high percentile of status minus that at a low one.

    **Estimand.** :math:`E[Y\mid R=high]-E[Y\mid R=low]`, with R the percentile of status within the
    coordinate: the 90/10 gap, in outcome units. It can be compared where the scales or categories
    of status differ.
    **Assumptions.** A polynomial in R is near enough to the conditional mean.
    **Estimator.** :math:`R_i` is the share below plus half of the share at :math:`x_i`; weighted
    least squares of y on :math:`1,R,\dots,R^{degree}`; the difference of two fitted values.
    **Contribution.** Of least squares, and of the ranks: moving the weight of unit i moves the rank
    of everybody above it.
    **Reference.** Reardon (2011) for the 90/10 gap and its cubic.
    **Checked against.** Least squares by hand (1e-10); the delete-one jackknife, ranks included.
    **Fails when.** Status has few values, so that percentiles lie between categories and the
    polynomial guesses; ``degree`` must be below their number. The shares of categories change: the
    percentile of a category moves.

    Parameters
    ----------
    panel : Panel
        With ``along`` among its covariates.
    along : str
        Status: a number, or categories in their order as numbers.
    high, low : float
        Percentiles, between 0 and 1.
    degree : int
        Of the polynomial.
    by, unit, undefined
        As in :func:`gap`.

    Returns
    -------
    Estimate
        One coordinate per combination of ``by``.

    Raises
    ------
    IdentificationError
        Fewer values of status than the polynomial needs, unless ``undefined="nan"``.

    Examples
    --------
    >>> import numpy as np, evalkit as ek
    >>> status = np.arange(20.0)
    >>> frame = {"i": range(20), "t": [0] * 20, "y": 3 + 2 * (status + 0.5) / 20, "ses": status}
    >>> panel = ek.Panel.from_frame(frame, outcome="y", unit="i", time="t", covariates=["ses"],
    ...                             provenance="synthetic")
    >>> ek.gaps.gradient(panel, along="ses").theta.round(6)
    array([1.6])
    """
    if not (is_number(low) and is_number(high) and 0 <= low < high <= 1):
        raise OptionError(f"low={low} and high={high} must rise between 0 and 1")
    check_whole("degree", degree, 1)
    rows = sample(panel, unit)
    groups, index = rows.coordinates(by)
    x = panel.column(along)
    levels = Levels.of(x, groups)
    count = levels.end - levels.start
    contrast = high ** np.arange(degree + 1) - low ** np.arange(degree + 1)
    theta, psi, steep = np.zeros(len(index)), np.zeros(len(x)), np.zeros(len(index), bool)
    for k, mine in enumerate(groups.rows()):
        if count[k] > degree:
            one = Levels.of(x[mine], Groups(np.zeros(len(mine), np.intp), 1))
            theta[k], psi[mine], steep[k] = _difference(rows, mine, one, contrast)
    few: Flags = count <= degree
    return answer(
        rows,
        index,
        theta,
        (rows.unit, groups.codes, psi),
        [Wrong(few, f"{along} has fewer than {degree + 1} values, which a polynomial of degree "
                    f"{degree} needs"),
         Wrong(steep, f"powers of ranks up to {degree} cannot be told apart; use a lower degree")],
        in_one_cluster(rows, groups),
        undefined=undefined,
        estimand=f"gap between percentiles {100 * high:g} and {100 * low:g} of {along}",
        method=f"polynomial of degree {degree} in ranks",
    )  # fmt: skip


def _difference(
    rows: Sample, mine: Codes, levels: Levels, contrast: Vector
) -> tuple[float, Vector, bool]:
    w, y = rows.weight[mine] / rows.weight[mine].sum(), rows.value[mine]
    r = levels.middle(levels.mass(w))[levels.code]
    powers = np.arange(len(contrast))
    p = r[:, None] ** powers
    slope = powers * r[:, None] ** np.maximum(powers - 1, 0)
    # Orthogonal columns, so that powers of ranks lose no digits.
    q, upper = np.linalg.qr(np.sqrt(w)[:, None] * p)
    size = np.abs(np.diag(upper))
    if size.min() < SINGULAR * size.max():
        return np.nan, np.zeros(len(mine)), True
    beta = np.linalg.solve(upper, q.T @ (np.sqrt(w) * y))
    e = y - p @ beta
    along = np.linalg.solve(upper, np.linalg.solve(upper.T, contrast))
    pull = w * (e * (slope @ along) - (p @ along) * (slope @ beta))
    mass = levels.mass(pull)
    above = (mass.sum() - levels.below(mass) - mass / 2)[levels.code]
    return float(contrast @ beta), w * ((p @ along) * e + above - (pull * r).sum()), False
