"""Value-added where units do not nest: schools by neighbourhoods, pupils of two schools."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias, get_args

import numpy as np
import scipy.sparse as sp

from evalkit.core.arrays import Groups, Labels, Vector
from evalkit.core.errors import (
    IdentificationError,
    OptionError,
    PanelError,
    check_option,
    some,
)
from evalkit.core.panel import Panel
from evalkit.engines.crossed import Crossed, incidence
from evalkit.engines.likelihood import Criterion, Method, fit
from evalkit.value_added.gather import Data, Level, gather, name_of, refuse_collinear, regressors
from evalkit.value_added.model import Multilevel, blocks_of, finish

Shares: TypeAlias = Mapping[str, str]

WHOLE = 1e-6  # how far the shares of a pupil may be from one


def crossed(
    data: Data,
    *,
    factors: Sequence[Level],
    on: Sequence[str] | None = None,
    shares: Mapping[str, Shares] | None = None,
    method: Method = "reml",
) -> Multilevel:
    r"""Random effects of units that cross, and of schools that pupils were in for part of the time.

    **Estimand.** The effects of the units of each factor, given those of the others.
    **Assumptions.** As for :func:`multilevel`; a pupil with shares :math:`w_{ij}` of several
    schools gets :math:`\sum_jw_{ij}u_j`.
    **Estimator.** :math:`y=X\beta+\sum_fZ_fu_f+e`, random intercepts, by REML or ML; the largest
    factor is eliminated by formula, the others by a dense Cholesky factor.
    **Contribution.** None: errors follow from the variance model.
    **Reference.** Raudenbush (1993); Browne, Goldstein and Rasbash (2001) for multiple membership.
    **Checked against.** lme4 1.1-31 on ScotsSec and Penicillin (variances 1e-5 relative, as exact
    as its optimiser); dense matrices (1e-9).
    **Fails when.** Two factors are nearly the same partition; all factors but the largest have more
    than 5,000 units together: cost grows with the cube of that number.

    Parameters
    ----------
    data : Panel or Summaries
        Sums need the factors among their keys.
    factors : sequence of str or tuple of str
        Groupings with one unit for each pupil.
    on : sequence of str, optional
        Regressors (default: all covariates but the shares).
    shares : mapping of str to mapping of str to str, optional
        Multiple membership: ``{"school": {"school_1": "share_1", "school_2": "share_2"}}`` makes a
        factor ``school`` of categories of the panel and the covariates that hold their shares.
    method : {"reml", "ml"}

    Returns
    -------
    Multilevel
        Its blocks are the factors, the largest first, then the multiple memberships.

    Raises
    ------
    IdentificationError
        Factors that cannot be told apart; collinear regressors.
    PanelError
        Shares of a pupil that are negative or do not add up to one, with the row.

    Examples
    --------
    >>> import evalkit as ek
    >>> pupils = {"school": [1, 1, 2, 2, 3, 3, 1, 2, 3], "area": [1, 2, 3, 1, 2, 3, 3, 2, 1],
    ...           "math": [1.0, 4.0, 6.0, 3.0, 5.0, 9.0, 4.0, 5.0, 6.0]}
    >>> panel = ek.value_added.pupils(pupils, score="math", keys=["school", "area"],
    ...                               provenance="synthetic")
    >>> fit = ek.value_added.crossed(panel, factors=["school", "area"])
    >>> fit.effects("area")["shrunken"].round(2).tolist()
    [-1.14, -0.09, 1.22]
    """
    check_option("method", method, get_args(Method))
    if isinstance(factors, str):
        raise OptionError(f"factors takes a sequence: factors=[{factors!r}]")
    names = [name_of(factor) for factor in factors]
    parts = dict(shares or {})
    if not names + list(parts) or len({*names, *parts}) < len(names) + len(parts):
        raise OptionError(f"name different factors; got {[*names, *parts]}")
    fixed = _regressors(data, on, parts)
    rows = gather(data, factors, fixed)
    sizes = [len(labels) for labels in rows.labels]
    order = sorted(range(len(sizes)), key=lambda at: -sizes[at])
    groups = [Groups(rows.codes[at], sizes[at]) for at in order]
    labels = [rows.labels[at] for at in order]
    small, counts = [incidence(group) for group in groups[1:]], [g.sum(rows.n) for g in groups]
    for part in parts.values():
        z, units = _membership(data, part)
        small.append(z)
        labels.append(units)
        counts.append(np.asarray(z.sum(axis=0), float).ravel())
    named = [*(names[at] for at in order), *parts]
    _refuse_alike(named, groups, counts)
    effects = Crossed(
        rows.cross(), rows.sums_of_rows(), groups[0] if groups else None, tuple(small)
    )
    refuse_collinear(effects.cross, rows.names)
    solution = fit(Criterion(effects, rows.pupils, len(rows.names), method, rows.constant(method)))
    blocks = blocks_of(rows, named, [[0]] * len(named), labels, counts)
    return finish(rows, solution, blocks, fixed, factors)


def _regressors(data: Data, on: Sequence[str] | None, parts: Mapping[str, Shares]) -> list[str]:
    if on is not None:
        return list(on)
    used = {share for part in parts.values() for share in part.values()}
    return [name for name in regressors(data) if name not in used]


def _membership(data: Data, part: Shares) -> tuple[sp.csr_array, Labels]:
    """Shares of each pupil in each unit, and the units."""
    if not isinstance(data, Panel):
        raise OptionError("shares differ between pupils; give their records in a Panel, not sums")
    categories = [data.category(name) for name in part]
    weights = np.column_stack([data.column(name) for name in part.values()])
    wrong = np.flatnonzero((weights < 0).any(axis=1) | (np.abs(weights.sum(axis=1) - 1) > WHOLE))
    if len(wrong):
        at = int(wrong[0])
        raise PanelError(
            f"the shares {some(part.values())} must not be negative and must add up to one for "
            f"each pupil; {data.units[data.unit[at]]!s} has {some(weights[at].tolist())} "
            f"({len(wrong)} such rows). Divide by their sum, or drop the rows."
        )
    labels = np.unique(np.concatenate([category.labels for category in categories]))
    n = len(weights)
    columns = np.concatenate([np.searchsorted(labels, c.labels)[c.codes] for c in categories])
    rows = np.tile(np.arange(n), len(categories))
    kept = weights.T.ravel() > 0
    z = sp.csr_array((weights.T.ravel()[kept], (rows[kept], columns[kept])), shape=(n, len(labels)))
    used = np.flatnonzero(np.asarray(z.sum(axis=0)).ravel() > 0)
    return z[:, used], labels[used]


def _refuse_alike(names: Sequence[str], groups: Sequence[Groups], counts: Sequence[Vector]) -> None:
    for name, n in zip(names, counts, strict=True):
        if len(n) == 1:
            raise IdentificationError(f"all rows are in one unit of {name!r}; leave it out")
    for at, group in enumerate(groups):
        if (counts[at] <= 1).all():
            raise IdentificationError(
                f"every unit of {names[at]!r} has a single pupil: its effects cannot be told from "
                "residuals. Leave that factor out."
            )
        for other in range(at):
            if group.within(groups[other]) and groups[other].within(group):
                raise IdentificationError(
                    f"factors {names[other]!r} and {names[at]!r} group the pupils in the same way; "
                    "leave one of them out"
                )
