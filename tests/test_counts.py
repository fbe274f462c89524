"""Published counts by band become sums like those of the pupils behind them."""

import numpy as np
import pandas as pd
import pytest

import evalkit as ek
from evalkit.core.errors import OptionError, PanelError, SummaryError

FRAME = pd.DataFrame(
    {
        "county": ["b", "a", "a", "b", "b"],
        "group": ["x", "x", "y", "y", "x"],
        "low": [3, 0, 4, 1, 2],
        "middle": [5, 2, 0, 1, 0],
        "high": [0, 1, 2, 0, 4],
    }
)
BANDS = ["low", "middle", "high"]


def counted(frame=FRAME, keys=("county", "group"), bands=BANDS):
    return ek.band_counts(frame, keys=list(keys), bands=list(bands), provenance="documented")


def test_counts_are_the_sums_of_one_row_per_pupil():
    rows = [
        {"county": c, "group": g, "band": k}
        for c, g, *counts in FRAME.itertuples(index=False)
        for k, n in enumerate(counts)
        for _ in range(n)
    ]
    pupils = ek.summaries(
        pd.DataFrame(rows), keys=["county", "group"], score="band", bands=[1, 2], grid=1.0,
        provenance="documented",
    )  # fmt: skip
    made = counted()
    for name in ("n", "weight", "weight2", "mean", "cross", "bands", "cuts"):
        np.testing.assert_array_equal(getattr(made, name), getattr(pupils, name))
    for name in ("cell", "value", "count"):
        np.testing.assert_array_equal(
            getattr(made.histogram, name), getattr(pupils.histogram, name)
        )
    both = made + pupils
    np.testing.assert_array_equal(both.bands, 2 * made.bands)
    assert both.provenance == "documented"


def test_rows_without_pupils_are_left_out_and_counted():
    made = counted(pd.concat([FRAME, FRAME.iloc[[0]].assign(county="c", low=0, middle=0)]))
    assert len(made) == len(counted())
    assert made.notes == ("1 rows without pupils were left out",)


def wrong(column, value):
    frame = FRAME.astype({column: float})
    frame.loc[2, column] = value
    return frame


@pytest.mark.parametrize("value", [-1, 2.5, np.nan])
def test_what_is_no_count_is_refused_with_column_and_row(value):
    with pytest.raises(SummaryError, match="column 'middle', row 3"):
        counted(wrong("middle", value))


def test_other_nonsense_is_refused():
    with pytest.raises(PanelError, match="no column top"):
        counted(bands=["low", "top"])
    with pytest.raises(OptionError, match="two bands"):
        counted(bands=["low"])
    with pytest.raises(SummaryError, match="no pupil"):
        counted(FRAME.assign(low=0, middle=0, high=0))
    with pytest.raises(PanelError, match="'low' must be numeric"):
        counted(FRAME.assign(low="*"))
