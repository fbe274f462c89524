"""How well all other pupils foresee those of each school, under a fitted multilevel model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from evalkit.core.errors import IdentificationError, OptionError
from evalkit.engines.prediction import leave_out
from evalkit.engines.variance_components import Nested
from evalkit.value_added.gather import Data, gather
from evalkit.value_added.model import Multilevel
from evalkit.value_added.multilevel import errors
from evalkit.value_added.tree import Tree

if TYPE_CHECKING:
    import pandas as pd


def leave_one_out(fit: Multilevel, data: Data) -> pd.DataFrame:
    r"""Predict the pupils of each finest unit from all the others, with the variances as fitted.

    The sum of ``deviance`` compares models: lower foresees better. ``per_pupil`` is a unit's
    squared surprise per pupil, near one where the model holds; a unit far above it does not follow
    the model that the others follow.

    Parameters
    ----------
    fit : Multilevel
        Of nested levels.
    data : Panel or Summaries
        What it was fitted to.

    Returns
    -------
    pandas.DataFrame
        One row per finest unit: ``n``, ``deviance`` (minus twice the log density given the others)
        and ``per_pupil``; empty where the coefficients are not identified without the unit.

    Examples
    --------
    >>> import evalkit as ek
    >>> pupils = {"school": [1, 1, 1, 2, 2, 2, 3, 3, 3],
    ...           "math": [1.0, 2.0, 3.0, 3.0, 5.0, 4.0, 2.0, 2.0, 4.0]}
    >>> panel = ek.value_added.pupils(pupils, score="math", keys=["school"], provenance="synthetic")
    >>> fit = ek.value_added.multilevel(panel, levels=["school"])
    >>> ek.value_added.leave_one_out(fit, panel).round(2)
       unit  n  deviance  per_pupil
    0     1  3     10.21       0.98
    1     2  3     10.85       1.20
    2     3  3      9.74       0.82
    """
    import pandas as pd

    if not isinstance(fit.solution.criterion.effects, Nested):
        raise OptionError("units are left out of nested levels; crossed factors share their pupils")
    rows = gather(data, fit.levels, fit.columns)
    tree = Tree.of(rows, [block.name for block in fit.blocks])
    block = fit.blocks[0]
    if not np.array_equal(tree.labels[0], block.labels) or rows.pupils != fit.meta.n_obs:
        raise IdentificationError("the data are not those of the fit: units or pupils differ")
    extra = None if rows.log_weights is None else -rows.log_weights
    if fit.csem is not None:
        share = 1 / (1 + errors(data, fit.csem) / fit.residual_variance)
        rows, extra = (
            rows.weighted(share),
            None if extra is None else extra - rows.n * np.log(share),
        )
    deviance, square = leave_out(
        fit.solution, rows.sums(tree.finest, len(rows.scale))[tree.order], block.n
    )
    deviance = deviance + (np.nan if extra is None else tree.finest.sum(extra)[tree.order])
    return pd.DataFrame(
        {
            "unit": block.labels,
            "n": block.n.astype(int),
            "deviance": deviance,
            "per_pupil": square / block.n,
        }
    )
