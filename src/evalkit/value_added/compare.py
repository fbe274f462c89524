"""Do the methods agree? Values of the same units by several of them, and who moves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from evalkit.core.errors import CombinationError, OptionError
from evalkit.core.estimate import Estimate
from evalkit.core.known import Known
from evalkit.core.provenance import Provenance, combine
from evalkit.value_added.model import Multilevel

if TYPE_CHECKING:
    import pandas as pd

Measure: TypeAlias = "Estimate | Known | Multilevel | pd.Series[float]"


@dataclass(frozen=True, slots=True, eq=False)
class Agreement:
    """How several measures rank the same units.

    Attributes
    ----------
    values : pandas.DataFrame
        Units by measure; units that a measure does not give are left out of all.
    pairs : pandas.DataFrame
        One row per pair of measures: correlation, rank correlation, mean and largest move in ranks,
        and the units that change their part (fifth, unless asked otherwise).
    dropped : int
        Units left out.
    provenance : {"real", "documented", "restricted", "synthetic"}
    """

    values: pd.DataFrame
    pairs: pd.DataFrame
    dropped: int
    provenance: Provenance

    @property
    def ranks(self) -> pd.DataFrame:
        """Ranks by each measure, 1 for the largest value."""
        return self.values.rank(ascending=False)

    def __repr__(self) -> str:
        left = f"; {self.dropped} left out" if self.dropped else ""
        return (
            f"{self.values.shape[1]} measures of {len(self.values)} units ({self.provenance}){left}"
            f"\n{self.pairs.round(3).to_string(index=False)}"
        )

    def _repr_html_(self) -> str:
        head, *_ = repr(self).split("\n")
        return f"<p>{head}</p>{self.pairs.round(3).to_html(border=0, index=False)}"


def compare(
    measures: Mapping[str, Measure], *, parts: int = 5, provenance: Provenance | None = None
) -> Agreement:
    """Set measures of the same units side by side.

    Parameters
    ----------
    measures : mapping of str to Estimate, Known, Multilevel or pandas.Series
        At least two. Of a ``Multilevel`` the shrunken effects of its finest level are taken; a
        series is indexed by unit.
    parts : int
        Equal parts that a league table is cut into.
    provenance : {"real", "documented", "restricted", "synthetic"}, optional
        Evidence tier of series, which carry none themselves.

    Returns
    -------
    Agreement

    Raises
    ------
    CombinationError
        If fewer than three units are common to all.

    Examples
    --------
    >>> import pandas as pd, evalkit as ek
    >>> a, b = pd.Series([1.0, 2.0, 3.0], list("xyz")), pd.Series([1.0, 3.0, 2.0], list("xyz"))
    >>> both = ek.value_added.compare({"one": a, "other": b}, parts=3, provenance="synthetic")
    >>> both.pairs["rank_correlation"].tolist(), both.pairs["moved"].tolist()
    ([0.5], [2])
    """
    import pandas as pd

    if len(measures) < 2:
        raise OptionError("a comparison needs at least two measures")
    series = {name: _series(name, measure) for name, measure in measures.items()}
    kinds = {name: one.index.inferred_type for name, one in series.items()}
    if len(set(kinds.values())) > 1:
        raise CombinationError(f"the measures label units by different types: {kinds}")
    values = pd.concat(series, axis=1, join="outer")
    kept = values.dropna()
    if len(kept) < max(3, parts):
        raise CombinationError(
            f"{len(kept)} units are common to all measures; at least {max(3, parts)} are needed"
        )
    ranks = kept.rank(ascending=False)
    place = np.ceil(ranks * parts / len(kept))
    rows = []
    for one, other in combinations(kept.columns, 2):
        move = (ranks[one] - ranks[other]).abs()
        rows.append(
            {
                "first": one,
                "second": other,
                "correlation": kept[one].corr(kept[other]),
                "rank_correlation": ranks[one].corr(ranks[other]),
                "mean_move": move.mean(),
                "largest_move": move.max(),
                "moved": int((place[one] != place[other]).sum()),
            }
        )
    tiers = [m.meta.provenance for m in measures.values()
             if isinstance(m, (Estimate, Known, Multilevel))]  # fmt: skip
    if provenance is not None:
        tiers.append(provenance)
    if not tiers:
        raise OptionError("series carry no evidence tier; give provenance=...")
    return Agreement(
        kept,
        pd.DataFrame(rows),
        len(values) - len(kept),
        combine(*tiers),
    )


def _series(name: str, measure: Measure) -> pd.Series[float]:
    import pandas as pd

    if isinstance(measure, Multilevel):
        return measure.effects().set_index("unit")["shrunken"]
    if isinstance(measure, (Estimate, Known)):
        keys = [key[0] if len(key) == 1 else key for key in measure.index.keys]
        return pd.Series(measure.theta, index=pd.Index(keys))
    if isinstance(measure, pd.Series):
        if measure.index.has_duplicates:
            raise CombinationError(f"{name!r} has units that repeat; give each one value")
        return measure
    raise OptionError(
        f"{name!r} is a {type(measure).__name__}; give an Estimate, Known, Multilevel or a series "
        "indexed by unit"
    )
