"""Least squares on pupils from their sums: the same coefficients, contributions and leverages.

Least squares sees of the pupils of a cell only how many they are, their means and cross-products,
as long as effects and clusters are made of whole cells. So each cell is given to the
engine as a handful of stand-ins with just these; a rotation, not an approximation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.linalg import helmert

from evalkit.core.arrays import Codes, Groups, Matrix, Vector
from evalkit.core.errors import OptionError, some
from evalkit.data.summaries import Summaries
from evalkit.engines.regress import Fit, least_squares


def least_squares_of_sums(
    sums: Summaries,
    *,
    on: Sequence[str],
    absorb: Sequence[Sequence[str]],
    unit: Sequence[str],
    outcome: str | None = None,
    beside: Matrix | None = None,
    beside_names: Sequence[str] = (),
) -> Fit:
    r"""Regress a variable of the sums on others, with effects of the keys absorbed.

    Parameters
    ----------
    sums : Summaries
        ``m`` cells.
    on : sequence of str
        Regressors among the variables.
    absorb : sequence of sequences of str
        Effects: each a list of keys, whose combinations have an intercept.
    unit : sequence of str
        Keys that make the units of the contributions; a cluster is a union of units.
    outcome : str, optional
        Variable on the left-hand side (default: the score).
    beside : Matrix (m, k), optional
        Regressors that are the same for all pupils of a cell, named ``beside_names``.

    Returns
    -------
    Fit
        As from the pupils: coefficients of ``on``, then of ``beside``.

    Raises
    ------
    IdentificationError
        Naming regressors that the effects or the others explain completely.

    Examples
    --------
    >>> import evalkit as ek
    >>> pupils = {"school": [1, 1, 1, 2, 2], "math": [1.0, 2.0, 3.0, 1.0, 3.0],
    ...           "prior": [0.0, 1.0, 2.0, 0.0, 2.0]}
    >>> sums = ek.summaries(pupils, keys=["school"], score="math", prior=["prior"],
    ...                     provenance="synthetic")
    >>> least_squares_of_sums(sums, on=["prior"], absorb=[["school"]], unit=["school"]).beta
    array([1.])
    """
    y = outcome or sums.score
    if y in on or len(set(on)) < len(on):
        raise OptionError(f"on={list(on)} names {some([y])} or a regressor twice")
    rows, weight, cell = stand_ins(sums, [sums.at(name) for name in (y, *on)])
    x = rows[:, 1:] if beside is None else np.hstack([rows[:, 1:], beside[cell]])

    def groups(keys: Sequence[str]) -> Groups:
        cells, codes = sums.cells.by(keys)
        return Groups(codes[cell], len(cells))

    fit = least_squares(
        rows[:, 0],
        x,
        names=[*on, *beside_names],
        effects=[groups(keys) for keys in absorb] or [Groups(np.zeros(len(x), np.intp), 1)],
        weight=weight,
        unit=groups(unit),
    )
    return replace(fit, rows=int(sums.n.sum()))


def stand_ins(sums: Summaries, variables: Sequence[int]) -> tuple[Matrix, Vector, Codes]:
    r"""Rows with the weight, means and cross-products of each cell, in the chosen ``q`` variables.

    With :math:`C=RR'` the cross-products of a cell of weight :math:`W`, and :math:`h_k` the rows
    of a :math:`(q+1)\times q` matrix of orthonormal columns that sum to zero, stand-in k has weight
    :math:`W/(q+1)` and values :math:`\bar z+\sqrt{(q+1)/W}\,Rh_k`. The root-weighted pupils of the
    cell, intercept included, are a rotation of them: every fit and hat matrix follows.

    Returns
    -------
    tuple
        Values ``(m (q + 1), q)``, weights, and the cell of each row.
    """
    at, q = np.array(variables), len(variables)
    value, vectors = np.linalg.eigh(sums.cross[:, at[:, None], at])
    root = vectors * np.sqrt(np.maximum(value, 0.0))[:, None, :]
    spread = np.einsum("kj,mij->mki", helmert(q + 1).T, root)
    spread *= np.sqrt((q + 1) / sums.weight)[:, None, None]
    rows = (sums.mean[:, None, at] + spread).reshape(-1, q)
    cell = np.repeat(np.arange(len(sums)), q + 1)
    return rows, (sums.weight / (q + 1))[cell], cell
