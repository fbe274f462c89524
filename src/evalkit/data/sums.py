"""The sums themselves: cells with moments, bands and histograms, which add, collapse and travel.

Not for reading records (``summaries``), and not for what is estimated from them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from evalkit.core.arrays import Codes, Labels, Matrix, Vector, frozen
from evalkit.core.errors import CombinationError, OptionError
from evalkit.core.panel import Panel
from evalkit.core.provenance import Provenance, combine
from evalkit.data.cells import Cells
from evalkit.data.histogram import Histogram
from evalkit.data.means import panel
from evalkit.data.missing import Missing
from evalkit.data.moments import Moments, Stack
from evalkit.data.release import release
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
            joined.grouped(cells, codes),
            missing=self.missing + other.missing,
            provenance=combine(self.provenance, other.provenance),
            notes=_both(self, other),
        )

    def by(self, *keys: str) -> Summaries:
        """Collapse to fewer keys; the same as a pass over the rows with these keys."""
        return replace(self.grouped(*self.cells.by(keys)), missing=self.missing.by(keys))

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

    def grouped(self, cells: Cells, codes: Codes) -> Summaries:
        """Sums of groups of cells; what is missing stays as it is."""
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

    def release(
        self, *, floor: int, merge: str | None = None, published: Sequence[Sequence[str]] = ()
    ) -> Summaries:
        """Without the cells that show too few pupils; see :func:`evalkit.data.release.release`."""
        return release(self, floor=floor, merge=merge, published=published)

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
        """Keys, n, weight, missing rows, means, sds and shares by band of each cell.

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
