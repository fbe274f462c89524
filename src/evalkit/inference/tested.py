"""What a test that needs no normal reference found: p-values, intervals, and what they assume."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from evalkit.core.arrays import Vector
from evalkit.core.labels import Index
from evalkit.core.origin import Meta
from evalkit.core.provenance import Provenance

if TYPE_CHECKING:
    import pandas as pd

TIE = 1e-9  # statistics that differ by less, relative to their size, are equal but for rounding
FAR = 60  # doublings of the first step after which an interval is called unbounded
HALVINGS = 40  # of the step that holds the end of an interval


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
    draws: Vector
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


def beyond(draws: Vector, statistic: Vector | float) -> Vector:
    """Share of draws ``(B, k)`` as far from zero as the statistic ``(k,)``, ties included."""
    far: Vector = (np.abs(draws) >= np.abs(statistic) * (1 - TIE)).mean(axis=0)
    return far


def kept(p_value: float, level: float) -> bool:
    """Whether a null stands: it is rejected if its p-value is at most ``1 - level``."""
    return p_value > 1 - level + TIE


def ends(accepted: Callable[[float], bool], centre: float, step: float) -> tuple[float, float]:
    """Interval of nulls around ``centre`` that a test accepts, by doubling and halving ``step``."""
    return _end(accepted, centre, -step), _end(accepted, centre, step)


def _end(accepted: Callable[[float], bool], centre: float, step: float) -> float:
    inside, outside = centre, centre + step
    for _ in range(FAR):
        if not accepted(outside):
            break
        inside, outside = outside, centre + 2 * (outside - centre)
    else:
        return float(np.copysign(np.inf, step))
    for _ in range(HALVINGS):
        middle = (inside + outside) / 2
        if accepted(middle):
            inside = middle
        else:
            outside = middle
    return outside
