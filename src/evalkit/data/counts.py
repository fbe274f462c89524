"""Published tables of pupils by performance band, as sums.

The band's number, from 0, stands for the score: its moments and histogram are exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from evalkit.core.arrays import Codes
from evalkit.core.checks import refuse_text_or_repeats
from evalkit.core.door import Door
from evalkit.core.errors import OptionError, SummaryError, check_option, some
from evalkit.core.provenance import TIERS, Provenance
from evalkit.data.cells import Cells
from evalkit.data.histogram import Histogram
from evalkit.data.missing import Missing
from evalkit.data.moments import Moments
from evalkit.data.summaries import Summaries


def band_counts(
    frame: Any, *, keys: Sequence[str], bands: Sequence[str], provenance: Provenance
) -> Summaries:
    """Sums from a table that holds one row per cell and one column of counts per band.

    Parameters
    ----------
    frame : pandas.DataFrame, polars.DataFrame or mapping of columns
        One row per county, school, year, group, ...; rows with the same keys add up.
    keys : sequence of str
        Columns that make the cells.
    bands : sequence of str
        Columns of counts, from the lowest band to the highest.
    provenance : {"real", "documented", "restricted", "synthetic"}
        Evidence tier of the counts.

    Returns
    -------
    Summaries
        With the band, from 0, as the score.

    Raises
    ------
    SummaryError
        A count that is empty, negative or no whole number, with column and row.

    Examples
    --------
    >>> import evalkit as ek
    >>> frame = {"county": ["a", "b"], "basic": [20, 5], "good": [30, 45]}
    >>> ek.band_counts(frame, keys=["county"], bands=["basic", "good"], provenance="synthetic")
    Summaries of band by county (synthetic): 100 pupils in 2 cells
    """
    check_option("provenance", provenance, TIERS)
    for option, listed in (("keys", keys), ("bands", bands)):
        refuse_text_or_repeats(option, listed)
    if not keys or len(bands) < 2:
        raise OptionError("name at least one key and two bands")
    door = Door(frame)
    door.require([*keys, *bands])
    counts = np.stack([_whole(door, name) for name in bands], axis=1)
    labels = [door.label(name) for name in keys]
    some_pupils = np.flatnonzero(counts.sum(axis=1) > 0)
    if not len(some_pupils):
        raise SummaryError(f"the bands {some(bands)} hold no pupil; check the columns")
    columns = [names[codes[some_pupils]] for codes, names in labels]
    cells, codes = Cells.of(keys, columns)
    total = np.zeros((len(cells), len(bands)))
    np.add.at(total, codes, counts[some_pupils])
    number, n = np.arange(len(bands)), total.sum(axis=1)
    cell, step = np.nonzero(total)
    empty = len(counts) - len(some_pupils)
    return Summaries(
        cells=cells,
        names=("band",),
        moments=Moments(
            n.astype(np.intp),
            n,
            n,
            np.zeros((len(n), 1)),
            total @ number[:, None],
            (total @ number[:, None] ** 2)[..., None],
        ),
        step=np.ones(1),
        cuts=number[1:].astype(float),
        bands=total,
        histogram=Histogram(len(cells), cell, step, total[cell, step], 1.0),
        missing=_nothing(cells),
        weighting=None,
        provenance=provenance,
        notes=(f"{empty} rows without pupils were left out",) if empty else (),
    )


def _whole(door: Door, name: str) -> Any:
    counts = door.number(name)
    wrong = np.flatnonzero(~((counts >= 0) & (counts % 1 == 0)))
    if len(wrong):
        held = counts[wrong[0]]
        raise SummaryError(
            f"column {name!r}, row {wrong[0] + 1} holds {'nothing' if np.isnan(held) else held:}: "
            "counts are whole numbers of pupils, zero where there are none. If cells are "
            "suppressed, leave the group out or merge bands"
        )
    return counts


def _nothing(cells: Cells) -> Missing:
    none: Codes = np.zeros(0, np.intp)
    return Missing(cells.take(none), ("band",), none, np.zeros((0, 1), np.intp))
