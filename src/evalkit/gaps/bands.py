"""The gap between two groups when all that is known of a score is its band."""

from __future__ import annotations

from typing import Any

import numpy as np

from evalkit.core.arrays import Codes, Flags, Vector, encode
from evalkit.core.errors import IdentificationError
from evalkit.core.estimate import Estimate
from evalkit.engines.ordered import Ordered, Stack, ordered_probit, prepared
from evalkit.gaps.pair import pair
from evalkit.gaps.sample import Data, Names, Undefined, Wrong

MOST = 50  # bands; more are a score


def band_gap(
    data: Data,
    *,
    between: str,
    high: Any,
    low: Any,
    by: Names = None,
    unit: Names = None,
    undefined: Undefined = "refuse",
) -> Estimate:
    r"""The ordinal gap V from counts by performance band.

    **Estimand.** :math:`V=\sqrt2\,\Phi^{-1}(\Pr(Y_1>Y_0))` of the scores behind the bands.
    **Assumptions.** Some rising change of scale makes both groups normal; the bands have the same
    cuts for both.
    **Estimator.** Heteroskedastic ordered probit of the two groups, cuts estimated:
    :math:`\hat V=(\hat\mu_1-\hat\mu_0)/\sqrt{(\hat\sigma_1^2+\hat\sigma_0^2)/2}`. A group with
    pupils in fewer than three bands takes the spread of the other; if both have, the spreads are
    equal, as they must be with two bands.
    **Contribution.** Score of each pupil times the inverse of the observed information, by the
    delta rule.
    **Reference.** Ho and Reardon (2012); Reardon, Shear, Castellano and Ho (2017) for the model.
    **Checked against.** Direct maximisation by hand (1e-8); R ordinal 2022.11 ``clm`` with a
    scale (1e-6); mlmRev's Exam in four bands (V .1978).
    **Fails when.** A group is all in the lowest or highest band, or the groups do not overlap: V
    has no bound, and the coordinate is refused or left empty. With two bands the answer rests on
    equal spreads alone.

    Parameters
    ----------
    data : Panel or Summaries
        With ``between`` among its categories or keys. The outcome of a panel is the band, as a
        number; sums need ``bands=``.
    between : str
        Category that holds the groups.
    high, low : label
        The two groups.
    by, unit, undefined
        As in :func:`gap`. For sums, no unit means that pupils are independent.

    Returns
    -------
    Estimate
        One coordinate per combination of ``by``.

    Raises
    ------
    IdentificationError
        An empty group, groups without bound, or more bands than a score has, unless
        ``undefined="nan"``.

    Examples
    --------
    >>> import numpy as np, evalkit as ek
    >>> counts = {"rural": [30, 40, 20, 10], "urban": [10, 30, 40, 20]}
    >>> frame = {"i": range(200), "t": [0] * 200, "g": ["rural"] * 100 + ["urban"] * 100,
    ...          "band": np.repeat([1, 2, 3, 4] * 2, sum(counts.values(), []))}
    >>> panel = ek.Panel.from_frame(frame, outcome="band", unit="i", time="t", categories=["g"],
    ...                             provenance="synthetic")
    >>> ek.gaps.band_gap(panel, between="g", high="urban", low="rural").theta.round(3)
    array([0.688])
    """
    two = pair(data, between, high, low, by, unit, need="bands")
    band, names = encode(two.rows.value)
    if len(names) > MOST:
        raise IdentificationError(
            f"the outcome has {len(names)} values, which is a score and no band; use ordinal_gap, "
            f"or make at most {MOST} bands of it"
        )
    side = np.where(two.high.rows, 1, np.where(two.low.rows, 0, -1))
    mine = np.flatnonzero(side >= 0)
    p, g, k = two.groups.codes[mine], side[mine], band[mine]
    counts = tally(two.rows.weight[mine], (p, g, k), (len(two.index), 2, len(names)))
    bands, extreme, place = prepared(counts)
    fit = ordered_probit(bands)
    theta, table = _v(fit)
    psi = np.zeros(len(side))
    psi[mine] = two.rows.weight[mine] * table[p, g, place[p, k]]
    return two.answer(
        theta,
        psi,
        _unbounded(counts, extreme, fit),
        undefined=undefined,
        estimand="V",
        method="heteroskedastic ordered probit",
    )


def tally(weight: Vector, at: tuple[Codes, ...], shape: tuple[int, ...]) -> Stack:
    """Weight in each cell of ``shape``."""
    total = np.bincount(np.ravel_multi_index(at, shape), weight, int(np.prod(shape)))
    return total.astype(float, copy=False).reshape(shape)


def _v(fit: Ordered) -> tuple[Vector, Stack]:
    """V of each problem ``(P,)`` and what a pupil of a group in a band adds, ``(P, 2, K)``."""
    sd = np.exp(fit.s)
    mean, sign = fit.b * sd, np.array([-1.0, 1.0])
    q = np.sqrt((sd**2).mean(axis=1))
    v = (mean * sign).sum(axis=1) / q
    slope = np.stack(
        [
            sign * sd / q[:, None],
            sign * mean / q[:, None] - v[:, None] * (sd / q[:, None]) ** 2 / 2,
        ],
        axis=2,
    )
    own, shared, reach = fit.influence()
    across = np.einsum("pgi,pgis->ps", slope, reach)
    return v, np.einsum("pgki,pgi->pgk", own, slope) + np.einsum("pgks,ps->pgk", shared, across)


def _unbounded(counts: Stack, extreme: Codes, fit: Ordered) -> list[Wrong]:
    k = counts.shape[2]
    seen = counts > 0
    lowest = np.where(seen.any(axis=2), seen.argmax(axis=2), 0)
    highest = k - 1 - seen[..., ::-1].argmax(axis=2)
    apart: Flags = (highest[:, 0] < lowest[:, 1]) | (highest[:, 1] < lowest[:, 0])
    return [
        Wrong(seen.any(axis=1).sum(axis=1) < 2, "all pupils are in one band"),
        Wrong(
            (extreme != 0).any(axis=1) | apart,
            "a group is all in the lowest or highest band, or the groups do not overlap: V has no "
            "bound",
        ),
        Wrong(~fit.converged, "the likelihood has no maximum that could be found"),
    ]
