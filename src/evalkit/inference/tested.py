"""What a test that needs no normal reference found: p-values, intervals, and what they assume."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from evalkit.core.arrays import Matrix, Vector
from evalkit.core.labels import Index
from evalkit.core.origin import Meta
from evalkit.core.provenance import Provenance

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True, eq=False)
class Tested:
    """P-values and intervals of ``k`` coordinates, by inverting one test.

    Attributes
    ----------
    estimate, statistic, p_value, conf_low, conf_high : Vector (k,)
        The p-value is two-sided; an interval may be unbounded.
    draws : Matrix (B, k)
        Statistics under the null hypothesis of no effect.
    smallest : float
        The least p-value that the number of draws allows.
    method, assumes : str
        How it was made, and what it needs to be right.
    """

    estimate: Vector
    statistic: Vector
    p_value: Vector
    conf_low: Vector
    conf_high: Vector
    draws: Matrix
    smallest: float
    method: str
    assumes: str
    level: float
    index: Index
    meta: Meta

    @property
    def provenance(self) -> Provenance:
        """Evidence tier."""
        return self.meta.provenance

    @property
    def index_levels(self) -> int:
        """Number of levels of the index."""
        return len(self.index.levels)

    @property
    def table(self) -> pd.DataFrame:
        """Tidy frame, one row per coordinate."""
        import pandas as pd

        names = ("estimate", "statistic", "p_value", "conf_low", "conf_high")
        columns: dict[str, Any] = {name: getattr(self, name) for name in names}
        return pd.DataFrame(columns, index=self.index.to_pandas())

    def __repr__(self) -> str:
        meta = self.meta
        lines = [
            f"{meta.estimand} on {meta.outcome!r} by {meta.method} ({meta.provenance})",
            f"{self.method}; {self.level:.0%}; no p-value can be below {self.smallest:.2g}",
            f"assumes: {self.assumes}",
            self.table.round(4).to_string(),
        ]
        if self.smallest > 1 - self.level:
            lines.append(
                f"too few draws are possible for a test at {1 - self.level:.2g}: nothing can be "
                "rejected, and every interval is unbounded"
            )
        return "\n".join(lines)
