"""Means and spreads of many groups, thousands of counties say, from counts by performance band."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from evalkit.core.arrays import Codes, Groups, Matrix, Vector, encode, frozen
from evalkit.core.checks import check_whole, is_number
from evalkit.core.errors import IdentificationError, OptionError
from evalkit.core.estimate import Estimate
from evalkit.core.labels import Index
from evalkit.core.origin import Meta
from evalkit.core.sparse import contributions
from evalkit.engines.ordered import ordered_probit, prepared
from evalkit.gaps.bands import MOST, tally
from evalkit.gaps.sample import Data, Names, Sample, crossed, in_one_cluster, joint, listed, sample
from evalkit.gaps.solved import STATUS, Solved

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True, eq=False)
class Hetop:
    """Group means and spreads, and how each was obtained.

    Parameters
    ----------
    estimate : Estimate
        ``mean`` and ``sd`` of each group, last index level ``statistic``; empty where a group gave
        only a bound.
    icc : Estimate
        Share of variance between groups, ``raw`` and ``corrected`` for the noise of group means,
        for each combination of ``by``.
    groups : Index
        The groups.
    n : Vector (g,)
        Pupils.
    mean, sd : Vector (g,)
        As in ``estimate``, with the bound where that is empty.
    status : tuple of str (g,)
        ``estimated``, ``spread pooled``, ``all in the lowest band``, ``all in the highest band`` or
        ``not converged``.
    cuts : Matrix (P, K - 1)
        Cuts on the scale of the means; NaN for bands that nobody is in.
    loglik : Vector (P,)
    """

    estimate: Estimate
    icc: Estimate
    groups: Index
    n: Vector
    mean: Vector
    sd: Vector
    status: tuple[str, ...]
    cuts: Matrix
    loglik: Vector

    @property
    def table(self) -> pd.DataFrame:
        """One row for each group, with its pupils, mean, sd and status."""
        import pandas as pd

        columns = {"n": self.n, "mean": self.mean, "sd": self.sd, "status": self.status}
        return pd.DataFrame(columns, index=self.groups.to_pandas())

    def __repr__(self) -> str:
        meta = self.estimate.meta
        counts = [f"{self.status.count(s)} {s}" for s in STATUS if s in self.status]
        return "\n  ".join(
            [
                f"Hetop of {meta.outcome!r} ({meta.provenance}): {len(self.groups)} groups, "
                f"{int(self.n.sum())} pupils",
                "; ".join(counts),
                *meta.notes,
            ]
        )


def hetop(
    data: Data,
    *,
    group: Names,
    cuts: Sequence[float] | None = None,
    few: int = 0,
    by: Names = None,
    unit: Names = None,
) -> Hetop:
    r"""Group means and standard deviations of the scores behind counts by band.

    **Estimand.** :math:`\mu_g` and :math:`\sigma_g`, in standard deviations of all pupils of a
    combination of ``by``, whose mean is zero; on the scale of the cuts, where these are given.
    **Assumptions.** Some rising change of scale makes every group normal; the bands have the same
    cuts for all.
    **Estimator.** Maximum likelihood of :math:`\Pr(band\le k\mid g)=\Phi((c_k-\mu_g)/\sigma_g)`.
    A group with pupils in fewer than three bands, or with fewer than ``few``, takes the mean log
    spread of the others; a group all in the lowest (highest) band has only a bound, the lowest
    (highest) mean of the others, and no weight in the likelihood.
    **Contribution.** Score of each pupil times the inverse of the observed information; cuts,
    common scale and shares of groups included. NaN on purpose for the mean and sd of a group that
    lies in a single cluster, whose own error cannot be seen.
    **Reference.** Reardon, Shear, Castellano and Ho (2017); Shear and Reardon (2021) for small
    groups; rules for sparse ones and the corrected share as in R HETOP.
    **Checked against.** R HETOP 0.2-6 on mlmRev's Exam in four bands (-log-likelihood 5200.0599,
    share .16432, corrected .15811; 1e-5); R ordinal 2022.11 ``clm`` with a scale (1e-6); direct
    maximisation by hand (1e-7).
    **Fails when.** Groups are far from normal on any common scale, or bands so unequal that most
    pupils of most groups are in one.

    Parameters
    ----------
    data : Panel or Summaries
        The outcome of a panel is the band, as a number; sums need ``bands=``.
    group : str or sequence of str
        Categories or keys that make the groups.
    cuts : sequence of float, optional
        Known cuts, one fewer than bands; the groups are then on their scale, and each stands alone.
    few : int
        Groups with fewer pupils than this take the mean log spread of the others.
    by, unit
        As in :func:`gap`. For sums, no unit means that pupils are independent.

    Returns
    -------
    Hetop

    Raises
    ------
    IdentificationError
        If no group has pupils in two bands, or if the outcome is a score.

    Examples
    --------
    >>> import numpy as np, evalkit as ek
    >>> counts = np.array([[30, 40, 20, 10], [10, 30, 40, 20], [0, 10, 30, 60]])
    >>> frame = {"i": range(300), "t": [0] * 300, "county": np.repeat(["a", "b", "c"], 100),
    ...          "band": np.repeat([1, 2, 3, 4] * 3, counts.reshape(-1))}
    >>> panel = ek.Panel.from_frame(frame, outcome="band", unit="i", time="t",
    ...                             categories=["county"], provenance="synthetic")
    >>> ek.gaps.hetop(panel, group="county").mean.round(2)
    array([-0.67, -0.07,  0.74])
    """
    check_whole("few", few, 0, "it counts pupils")
    names = listed(group)
    if not names:
        raise OptionError("group names no column; name the one that makes the groups")
    rows = sample(data, unit, need="bands")
    problems, index = rows.coordinates(by, used=names)
    band, values = encode(rows.value)
    if not 2 <= len(values) <= MOST:
        raise IdentificationError(
            f"the outcome has {len(values)} values; a band takes 2 to {MOST}. Cut the score first"
        )
    _check_cuts(cuts, len(values))
    columns = [rows.column(name) for name in names]
    member, first = joint([column.codes for column in columns])
    cell = (problems.codes, member, band)
    shape = (problems.size, len(first), len(values))
    counts = tally(rows.weight, cell, shape)
    n = tally(rows.count, cell, shape).sum(axis=2)
    known = None if cuts is None else np.array(cuts, float)
    bands, extreme, place = prepared(counts, known, n < few)
    if not bands.used.any():
        raise IdentificationError("every group is all in one band; there is nothing to compare")
    mass = counts.sum(axis=2)
    solved = Solved.of(ordered_probit(bands), mass, n, extreme, standard=cuts is None)
    p, g = np.nonzero(mass)
    labels = [column.labels[column.codes[first]].tolist() for column in columns]
    keys = [[*index.keys[i], *(label[j] for label in labels)] for i, j in zip(p, g, strict=True)]
    skip = int(index.levels == ("term",))  # a single problem has no name of its own
    groups = Index((*index.levels, *names)[skip:], tuple(tuple(key[skip:]) for key in keys))
    return _report(rows, cell, solved, place, groups, index, (p, g))


def _report(
    rows: Sample,
    cell: tuple[Codes, Codes, Codes],
    solved: Solved,
    place: Codes,
    groups: Index,
    index: Index,
    at: tuple[Codes, Codes],
) -> Hetop:
    p, g, band = cell
    weight = rows.weight * rows.scale
    where = (p, g, place[p, band])
    meta = Meta(
        "group means and standard deviations",
        "heteroskedastic ordered probit",
        rows.outcome,
        int(rows.count.sum()),
        rows.provenance,
        rows.ledger,
    )
    status = solved.status[at]
    known = np.isin(status, (0, 1))
    theta = np.where(known[:, None], np.stack([solved.mean[at], solved.sd[at]], axis=1), np.nan)
    cells = Groups(np.ravel_multi_index((p, g), solved.n.shape), solved.n.size)
    alone = in_one_cluster(rows, cells).reshape(solved.n.shape)[at]
    scores = solved.scores(rows, weight, where, at, known, alone)
    note = f"{int(alone.sum())} groups lie in a single cluster: their own error cannot be seen"
    estimate = Estimate(
        theta.reshape(-1),
        scores,
        rows.units,
        rows.cluster,
        crossed(groups, "statistic", ["mean", "sd"]),
        replace(meta, notes=(*meta.notes, note)) if alone.any() else meta,
    )
    share, table = solved.shares()
    psi = np.where(np.isnan(share)[p], 0.0, weight[:, None] * table[where])
    spot = p[:, None] * 2 + np.arange(2)
    return Hetop(
        estimate=estimate,
        icc=Estimate(
            share.reshape(-1),
            contributions(np.repeat(rows.unit, 2), spot.reshape(-1), psi.reshape(-1),
                          rows.units, 2 * len(index)),
            rows.units,
            rows.cluster,
            crossed(index, "share", ["raw", "corrected"]),
            replace(meta, estimand="share of variance between groups"),
        ),
        groups=groups,
        n=frozen(solved.n[at]),
        mean=frozen(solved.mean[at]),
        sd=frozen(solved.sd[at]),
        status=tuple(STATUS[code] for code in status),
        cuts=frozen(solved.cuts),
        loglik=frozen(solved.fit.loglik),
    )  # fmt: skip


def _check_cuts(cuts: Sequence[float] | None, bands: int) -> None:
    if cuts is None:
        return
    numbers = not isinstance(cuts, str) and np.iterable(cuts) and all(map(is_number, cuts))
    given = np.array(cuts if numbers else [], float)
    rising = np.isfinite(given).all() and (np.diff(given) > 0).all()
    if given.shape != (bands - 1,) or not rising:
        raise OptionError(
            f"cuts={cuts} must hold {bands - 1} finite rising numbers for {bands} bands"
        )
