"""From pupils to sums: what gaps, value-added and county panels need, and nothing of a pupil.

``summaries`` reads records of any size in one pass on the engine where they live; the object adds,
collapses and travels. What is estimated from it is no concern of this module.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from evalkit.core.arrays import Codes, Labels, Matrix, Vector, frozen
from evalkit.core.door import refuse_text_or_repeats
from evalkit.core.errors import CombinationError, OptionError, check_option, some
from evalkit.core.panel import Panel
from evalkit.core.provenance import TIERS, Provenance, combine
from evalkit.data.cells import Cells
from evalkit.data.histogram import Histogram
from evalkit.data.means import panel
from evalkit.data.missing import Missing
from evalkit.data.moments import Moments, Stack
from evalkit.data.store import read, write

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True, eq=False)
class Summaries:
    """Sums of ``p`` variables in ``m`` cells: everything is exact to add, nothing is a pupil.

    Build it with :func:`summaries`; ``a + b`` merges two of them. Cells are sorted by their keys
    and hold at least one complete row.

    Parameters
    ----------
    cells : Cells
        Keys and their labels.
    names : tuple of str
        The ``p`` variables: controls, prior scores, and the score last.
    moments : Moments
        Sums and cross-products, in steps of ``step``.
    step : Vector (p,)
        Length of a step of each variable; 1 unless a grid was declared.
    cuts : Vector (B - 1,) or None
        Scores at which a performance band begins.
    bands : Matrix (m, B) or None
        Pupils by band (sums of weights, where there are weights).
    histogram : Histogram or None
        Pupils by score.
    missing : Missing
        Rows left out, by cell and reason.
    weighting : str or None
        Column of the weights.
    provenance : {"real", "documented", "restricted", "synthetic"}
        Evidence tier; every estimate made from the sums carries it.
    notes : tuple of str
        What was withheld or merged.
    """

    cells: Cells
    names: tuple[str, ...]
    moments: Moments
    step: Vector
    cuts: Vector | None
    bands: Matrix | None
    histogram: Histogram | None
    missing: Missing
    weighting: str | None
    provenance: Provenance
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("step", "cuts", "bands"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, frozen(getattr(self, name)))

    def __len__(self) -> int:
        return len(self.cells)

    @property
    def keys(self) -> tuple[str, ...]:
        """Names of the keys."""
        return self.cells.keys

    @property
    def labels(self) -> tuple[Labels, ...]:
        """Labels of the cells, one array ``(m,)`` per key."""
        return self.cells.labels

    def label(self, key: str) -> Labels:
        """Labels of one key ``(m,)``."""
        return self.cells.label(key)

    @property
    def score(self) -> str:
        """Name of the score, the last variable."""
        return self.names[-1]

    @property
    def n(self) -> Codes:
        """Complete rows of each cell ``(m,)``."""
        return self.moments.n

    @property
    def weight(self) -> Vector:
        """Sum of weights ``(m,)``; the number of rows, without weights."""
        return self.moments.weight

    @property
    def weight2(self) -> Vector:
        """Sum of squared weights ``(m,)``."""
        return self.moments.weight2

    @property
    def mean(self) -> Matrix:
        """Weighted means ``(m, p)``, computed when asked for."""
        return self.moments.mean() * self.step

    @property
    def cross(self) -> Stack:
        """Centred cross-products ``(m, p, p)``, sums of w (z - mean)(z - mean)', when asked for."""
        return self.moments.cross() * (self.step[:, None] * self.step)

    def at(self, name: str) -> int:
        """Position of a variable."""
        if name not in self.names:
            raise OptionError(f"no variable {name!r}; the sums hold {', '.join(self.names)}")
        return self.names.index(name)

    def __add__(self, other: Summaries) -> Summaries:
        """All rows of both: what one pass over both would have given."""
        if not isinstance(other, Summaries):
            return NotImplemented
        _refuse_unlike(self, other)
        cells, mine, theirs = self.cells.union(other.cells)
        codes = np.concatenate([mine, theirs])
        joined = replace(
            self,
            moments=self.moments.joined(other.moments),
            bands=None
            if self.bands is None or other.bands is None
            else np.concatenate([self.bands, other.bands]),
            histogram=None
            if self.histogram is None or other.histogram is None
            else self.histogram.joined(other.histogram),
        )
        return replace(
            joined._grouped(cells, codes),
            missing=self.missing + other.missing,
            provenance=combine(self.provenance, other.provenance),
            notes=_both(self, other),
        )

    def by(self, *keys: str) -> Summaries:
        """Collapse to fewer keys; the same as a pass over the rows with these keys."""
        return replace(self._grouped(*self.cells.by(keys)), missing=self.missing.by(keys))

    def select(self, **levels: Any) -> Summaries:
        """Keep the cells whose keys match a value, a collection of values, or a predicate."""
        rows = self.cells.positions(levels)
        if not len(rows):
            raise OptionError(f"nothing matches {levels!r}; the first cell is {self.cells.name(0)}")
        return replace(self.take(rows), missing=self.missing.select(levels))

    def take(self, rows: Codes) -> Summaries:
        """The cells at these positions, which must be in order; what is missing stays."""
        return replace(
            self,
            cells=self.cells.take(rows),
            moments=self.moments.take(rows),
            bands=None if self.bands is None else self.bands[rows],
            histogram=None if self.histogram is None else self.histogram.take(rows),
        )

    def _grouped(self, cells: Cells, codes: Codes) -> Summaries:
        size = len(cells)
        bands = None
        if self.bands is not None:
            bands = np.zeros((size, self.bands.shape[1]))
            np.add.at(bands, codes, self.bands)
        return replace(
            self,
            cells=cells,
            moments=self.moments.grouped(codes, size),
            bands=bands,
            histogram=None if self.histogram is None else self.histogram.grouped(codes, size),
        )

    def to_parquet(self, path: str | Path) -> None:
        """Write the sums, with keys, provenance and schema version; the file is whole or absent."""
        write({field.name: getattr(self, field.name) for field in fields(self)}, Path(path))

    @classmethod
    def from_parquet(cls, path: str | Path) -> Summaries:
        """Read what :meth:`to_parquet` wrote; a newer schema version is refused."""
        return cls(**read(Path(path)))

    def panel(
        self,
        *,
        time: str,
        unit: str | None = None,
        cluster: str | None = None,
        cohort: str | Mapping[Any, Any] | None = None,
        outcome: str | None = None,
    ) -> Panel:
        """Cell means as a panel, weighted by their pupils; see :func:`evalkit.data.means.panel`."""
        return panel(self, time=time, unit=unit, cluster=cluster, cohort=cohort, outcome=outcome)

    @property
    def table(self) -> pd.DataFrame:
        """One row per cell: keys, n, weight, missing rows, means, sds and shares by band.

        The sd divides by W - 1 (n - 1 without weights); it is empty for a single pupil.
        """
        import pandas as pd

        columns: dict[str, Any] = dict(zip(self.keys, self.labels, strict=True))
        columns["n"] = self.n
        if self.weighting:
            columns["weight"] = self.weight
        columns["missing"] = self.missing.among(self.cells)
        mean, cross = self.mean, self.cross
        dof = np.where((self.n > 1) & (self.weight > 1), self.weight - 1, np.nan)
        for at, name in enumerate(self.names):
            columns[f"mean_{name}"] = mean[:, at]
            columns[f"sd_{name}"] = np.sqrt(cross[:, at, at] / dof)
        if self.bands is not None:
            shares = self.bands / self.bands.sum(axis=1, keepdims=True)
            columns |= {f"share_{band}": shares[:, band] for band in range(shares.shape[1])}
        return pd.DataFrame(columns)

    def __repr__(self) -> str:
        kept = f"{int(self.n.sum())} pupils in {len(self)} cells"
        head = (
            f"Summaries of {', '.join(self.names)} by {', '.join(self.keys)} "
            f"({self.provenance}): {kept}"
        )
        return "\n  ".join([head, *self.missing.ledger(), *self.notes])


def _both(a: Summaries, b: Summaries) -> tuple[str, ...]:
    mixed = (
        (f"{a.provenance} and {b.provenance} records together",)
        if a.provenance != b.provenance
        else ()
    )
    return tuple(dict.fromkeys((*a.notes, *b.notes, *mixed)))


def _refuse_unlike(a: Summaries, b: Summaries) -> None:
    def bins(s: Summaries) -> object:
        return s.histogram is not None, None if s.cuts is None else tuple(s.cuts)

    for what, mine, theirs in (
        ("keys", a.keys, b.keys),
        ("variables", a.names, b.names),
        ("weights", a.weighting, b.weighting),
        ("grids", tuple(a.step), tuple(b.step)),
        ("bands or histograms", bins(a), bins(b)),
    ):
        if mine != theirs:
            raise CombinationError(
                f"the {what} differ: {mine} and {theirs}. Sums add up only if both were made with "
                "the same keys, variables, weights, grid and bands."
            )


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
    memory: str = "1GB",
) -> Summaries:
    r"""Collapse pupil records to sums by cell, in one pass on the engine where they live.

    A row counts if the score, the prior scores, the controls and the weight are all present; null
    and NaN are both missing, and rows left out are counted by cell and reason. The same table comes
    from every engine: bit for bit where scores lie on a grid (whole or half points, 0/1, or the
    steps of ``grid``), within a relative 1e-12 elsewhere.

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
    memory : str
        What DuckDB may use for paths, as in "1GB"; beyond it, it spills to disk.

    Returns
    -------
    Summaries

    Raises
    ------
    SummaryError
        With the column, the file or the cell, and the remedy.

    References
    ----------
    Chan, Golub and LeVeque (1983), American Statistician 37(3), for adding centred sums; Dekker
    (1971), Numerische Mathematik 18, for the compensated last step.

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
    from evalkit.data.collapse import Request, run

    check_option("provenance", provenance, TIERS)
    for option, listed in (("keys", keys), ("prior", prior), ("controls", controls)):
        refuse_text_or_repeats(option, listed)
    names = (*controls, *prior, score)
    _refuse_roles(keys, names, weight)
    cuts = None if bands is None else tuple(map(float, bands))
    _refuse_bins(cuts, grid)
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
    return total(parts)


def total(parts: Sequence[Summaries]) -> Summaries:
    """Add many, two by two, so that no long sum meets short ones again and again."""
    while len(parts) > 1:
        parts = [sum(parts[at + 1 : at + 2], parts[at]) for at in range(0, len(parts), 2)]
    return parts[0]


def _refuse_roles(keys: Sequence[str], names: Sequence[str], weight: str | None) -> None:
    if not keys:
        raise OptionError("keys is empty; name at least one column that makes the cells")
    used = [*keys, *names, *([weight] if weight else [])]
    twice = [name for name in dict.fromkeys(used) if used.count(name) > 1]
    if twice:
        raise OptionError(
            f"column {some(twice)} has two roles among keys, controls, prior, score and weight; "
            "a column has one. Copy it under another name if you need both."
        )


def _refuse_bins(cuts: Sequence[float] | None, grid: float | None) -> None:
    if cuts is not None and not (cuts and all(np.diff([-np.inf, *cuts, np.inf]) > 0)):
        raise OptionError(f"bands={list(cuts)} must hold finite cuts that rise")
    if grid is not None and not (np.isfinite(grid) and grid > 0):
        raise OptionError(f"grid={grid} must be a positive step")
