"""Words for a table of progress: well above, above, average, below, well below."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from evalkit.core.errors import OptionError
from evalkit.core.estimate import Estimate
from evalkit.core.known import Known
from evalkit.inference.covariance import Vcov
from evalkit.inference.judged import judge

if TYPE_CHECKING:
    import pandas as pd

NAMES = ("well below", "below", "average", "above", "well above")


def progress_bands(
    data: Estimate | Known, *, cut: float = 0.5, level: float = 0.95, vcov: Vcov = "CR1"
) -> pd.DataFrame:
    """Band of each unit: what its interval and its size allow to say.

    Average: the interval holds zero. Above or below: it does not. Well above or below: it does not,
    and the value is ``cut`` or more away from zero. Two units with the same value may stand in
    different bands because one is smaller; that says how sure we are, not how good they are.

    Parameters
    ----------
    data : Estimate or Known
        For example ``progress(...).known``, with errors as English school tables state them.
    cut : float
        In units of the measure; English tables use half a grade.
    level : float
        Coverage of the intervals.
    vcov : {"CR0", "CR1", ...}
        As in :func:`infer`, for an ``Estimate``.

    Returns
    -------
    pandas.DataFrame
        ``estimate``, ``std_error``, ``low``, ``high`` and ``band``, an ordered category.

    Examples
    --------
    >>> import evalkit as ek
    >>> schools = ek.Known.of([0.9, 0.3, 0.1], [0.1, 0.1, 0.1], labels=["a", "b", "c"],
    ...                       provenance="synthetic")
    >>> ek.progress_bands(schools)["band"].tolist()
    ['well above', 'above', 'average']
    """
    import pandas as pd
    from scipy.special import ndtri

    if not 0 < level < 1:
        raise OptionError(f"level={level} must lie between 0 and 1, for example 0.95")
    if not cut > 0:
        raise OptionError(f"cut={cut} must be positive, in units of the measure")
    units = judge(data, vcov, 1)
    half = float(ndtri(0.5 + level / 2)) * units.std_error
    low, high = units.theta - half, units.theta + half
    sure = (low > 0).astype(int) - (high < 0).astype(int)
    place = 2 + sure + sure * (np.abs(units.theta) >= cut)
    return pd.DataFrame(
        {
            "estimate": units.theta,
            "std_error": units.std_error,
            "low": low,
            "high": high,
            "band": pd.Categorical(np.array(NAMES)[place], categories=NAMES, ordered=True),
        },
        index=units.index.to_pandas(),
    )
