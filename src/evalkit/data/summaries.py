"""From pupils to sums: what gaps, value-added and county panels need, and nothing of a pupil.

Records of any size are read in one pass on the engine where they live. What is estimated from the
sums is no concern of this module.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from evalkit.core.checks import refuse_text_or_repeats
from evalkit.core.errors import OptionError, check_option, some
from evalkit.core.provenance import TIERS, Provenance
from evalkit.data.sums import Summaries as Summaries


def summaries(
    source: Any,
    *,
    keys: Sequence[str],
    score: str,
    provenance: Provenance,
    prior: Sequence[str] = (),
    controls: Sequence[str] = (),
    weight: str | None = None,
    bands: Sequence[float] | None = None,
    grid: float | None = None,
    drop_null_keys: bool = False,
    floor: int | None = None,
    memory: str | None = None,
) -> Summaries:
    r"""Collapse pupil records to sums by cell, in one pass on the engine where they live.

    **Estimand.** None: these are the pupils' counts, means and cross-products, not an estimate.
    **Assumptions.** A row counts if the score, the prior scores, the controls and the weight are
    all present. Null and NaN are both missing; rows left out are counted by cell and reason.
    **Estimator.** In each cell :math:`W=\sum w_i`, :math:`\bar z=\sum w_iz_i/W` and
    :math:`C=\sum w_i(z_i-\bar z)(z_i-\bar z)'` with :math:`z=` (controls, priors, score), from sums
    :math:`F,S` about a centre :math:`c`: :math:`\bar z=c+F/W`, :math:`C=S-FF'/W`, rounded once.
    **Contribution.** What least squares asks of pupils follows exactly, clustered errors included,
    while effects and clusters are made of whole cells; ranks and quantiles follow from ``grid``.
    **Reference.** Chan, Golub and LeVeque (1983), American Statistician 37(3), for adding centred
    sums; Dekker (1971), Numerische Mathematik 18, for the compensated last step.
    **Checked against.** Rational arithmetic (twelve digits; on a grid every bit) and regressions on
    the pupils (1e-9), with pandas, polars, Arrow, DuckDB and Spark, see
    ``tests/test_summaries_laws.py`` and ``tests/test_summed.py``.
    **Fails when.** A question needs more than two moments of pupils: logit, quantiles off a grid,
    errors robust to heteroskedastic pupils within a cell that is not clustered.

    The same table comes from every engine: bit for bit where values lie on a grid (whole or half
    points, 0/1, or the steps of ``grid``), within a relative 1e-12 elsewhere. On a grid that holds
    while a cell's sum of squares, in steps, stays below 2**53.

    Parameters
    ----------
    source : frame or path
        pandas, polars (lazy too), Arrow, a DuckDB relation, a Spark DataFrame, a mapping of
        columns; or the path or glob of Parquet or CSV files (or a list of them), which DuckDB
        reads without holding them in memory.
    keys : sequence of str
        A row's cell: county, school, year, grade, subject, group, ...
    score : str
        The outcome; ``names`` is ``(*controls, *prior, score)``.
    provenance : {"real", "documented", "restricted", "synthetic"}
        Evidence tier of the records.
    prior, controls : sequence of str
        Prior scores and other numeric columns, whose cross-products are kept.
    weight : str, optional
        Positive weights (default: one).
    bands : sequence of float, optional
        Scores at which a performance band begins, rising; a score on a cut belongs above it.
    grid : float, optional
        Step that every score is a whole multiple of. Scores are then counted one by one
        (``histogram``), and decimal fractions such as 0.1 sum exactly.
    drop_null_keys : bool
        Leave out rows with an empty key, and count them, instead of refusing them.
    floor : int, optional
        Fewest pupils that may be shown together; cells with fewer are withheld and counted, as by
        :meth:`Summaries.release`.
    memory : str, optional
        What DuckDB may use for a path (default: "1GB"); beyond it, it spills to disk.

    Returns
    -------
    Summaries

    Raises
    ------
    SummaryError
        With the column, the file or the cell, and the remedy.

    Examples
    --------
    >>> import evalkit as ek
    >>> pupils = {"school": ["a", "a", "b", "b"], "math": [50.0, 60.0, 70.5, None]}
    >>> sums = ek.summaries(pupils, keys=["school"], score="math", provenance="synthetic")
    >>> sums
    Summaries of math by school (synthetic): 3 pupils in 2 cells
      1 rows left out: math is missing
    >>> sums.mean[:, 0], sums.cross[:, 0, 0]
    (array([55. , 70.5]), array([50.,  0.]))
    """
    from evalkit.data.collapse import run
    from evalkit.data.gather import Request

    check_option("provenance", provenance, TIERS)
    for option, listed in (("keys", keys), ("prior", prior), ("controls", controls)):
        refuse_text_or_repeats(option, listed)
    names = (*controls, *prior, score)
    _refuse_roles(keys, names, weight)
    cuts = _cuts(bands)
    if grid is not None and not (_is_number(grid) and 0 < grid < np.inf):
        raise OptionError(f"grid={grid!r} must be a positive step")
    request = Request(tuple(keys), names, weight, cuts, grid, drop_null_keys)
    parts = [
        Summaries(
            cells=found.cells,
            names=names,
            moments=found.moments,
            step=np.array([1.0] * (len(names) - 1) + [grid or 1.0]),
            cuts=None if cuts is None else np.array(cuts),
            bands=found.bands,
            histogram=found.histogram,
            missing=found.missing,
            weighting=weight,
            provenance=provenance,
        )
        for found in run(source, request, memory)
    ]
    whole = total(parts)
    return whole if floor is None else whole.release(floor=floor)


def total(parts: Sequence[Summaries]) -> Summaries:
    """Add many, two by two, so that no long sum meets short ones again and again."""
    while len(parts) > 1:
        pairs = [a + b for a, b in zip(parts[::2], parts[1::2], strict=False)]
        parts = [*pairs, *parts[len(pairs) * 2 :]]
    return parts[0]


def _refuse_roles(keys: Sequence[str], names: Sequence[str], weight: str | None) -> None:
    if not keys:
        raise OptionError("keys is empty; name at least one column that makes the cells")
    used = [*keys, *names, *([weight] if weight else [])]
    for name in used:
        if not isinstance(name, str):
            raise OptionError(f"{name!r} is no column name; name columns by text")
    twice = [name for name in dict.fromkeys(used) if used.count(name) > 1]
    if twice:
        raise OptionError(
            f"column {some(twice)} has two roles among keys, controls, prior, score and weight; "
            "a column has one. Copy it under another name if you need both."
        )


def _cuts(bands: Sequence[float] | None) -> tuple[float, ...] | None:
    if bands is None:
        return None
    if isinstance(bands, str) or not np.iterable(bands) or not all(map(_is_number, bands)):
        raise OptionError(f"bands={bands!r} must hold the scores at which a band begins")
    cuts = tuple(map(float, bands))
    if not (cuts and np.isfinite(cuts).all() and (np.diff(cuts) > 0).all()):
        raise OptionError(f"bands={list(cuts)} must hold finite cuts that rise")
    return cuts


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float, np.number))
