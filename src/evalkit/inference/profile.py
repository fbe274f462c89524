"""Intervals of variances by profile likelihood: they need no normal approximation, and may end at
zero.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from evalkit.core.errors import OptionError
from evalkit.engines.profile import interval

if TYPE_CHECKING:
    import pandas as pd

    from evalkit.value_added.model import Multilevel


def profile(fit: Multilevel, *, level: float = 0.95) -> pd.DataFrame:
    r"""Intervals for every variance of a multilevel model.

    An end is where the deviance, minimised over all other parameters, has risen by the quantile of
    chi-squared with one degree of freedom. The interval ignores that a variance is not negative, so
    that one which begins at zero is no test of zero. For that, refit without the level: half the
    chance that chi-squared with one degree of freedom exceeds the rise of the deviance (REML with
    the same regressors) is the p-value.

    Effects are taken as normal. Intervals for the variance of skewed effects hold the truth far
    too seldom, and more units do not help; those for the effects themselves suffer little.

    Parameters
    ----------
    fit : Multilevel
    level : float
        Coverage.

    Returns
    -------
    pandas.DataFrame
        ``fit.variance`` with ``low`` and ``high`` (variances), ``sd_low`` and ``sd_high``.

    References
    ----------
    Bates, Maechler, Bolker and Walker (2015), section 5.1; for the test of zero, Self and Liang
    (1987).

    Examples
    --------
    >>> import evalkit as ek
    >>> pupils = {"school": [1, 1, 1, 2, 2, 2, 3, 3, 3],
    ...           "math": [1.0, 2.0, 3.0, 3.0, 5.0, 4.0, 2.0, 2.0, 4.0]}
    >>> panel = ek.value_added.pupils(pupils, score="math", keys=["school"], provenance="synthetic")
    >>> fit = ek.value_added.multilevel(panel, levels=["school"])
    >>> ek.profile(fit)[["level", "low", "high"]].round(2)
          level   low   high
    0    school  0.00  17.81
    1  residual  0.43   4.37
    """
    from scipy.special import chdtri

    if not 0 < level < 1:
        raise OptionError(f"level={level} must lie between 0 and 1, for example 0.95")
    if fit.csem is not None:
        raise OptionError(
            "profiles are not defined here for fits with csem, whose weights move with the "
            "residual variance; bootstrap the schools instead"
        )
    solution, rise = fit.on_raw_columns(), float(chdtri(1, 1 - level))
    ends = [
        interval(solution, at, k, rise)
        for at, block in enumerate(fit.blocks)
        for k in range(len(block.effects))
    ]
    low, high = np.array([*ends, interval(solution, None, 0, rise)]).T
    return fit.variance.assign(low=low, high=high, sd_low=np.sqrt(low), sd_high=np.sqrt(high))
