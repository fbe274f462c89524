"""Estimates whose errors are known and independent: a table that somebody published, or effects
that follow from a variance model. Where contributions of units exist, use an ``Estimate``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from evalkit.core.arrays import Vector, frozen
from evalkit.core.errors import OptionError, some
from evalkit.core.labels import Index
from evalkit.core.origin import Meta

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """``k`` estimates with the variances of their independent errors.

    Parameters
    ----------
    theta : Vector (k,)
        Estimates.
    variance : Vector (k,)
        Positive variances of their errors.
    index : Index
        Names of the coordinates.
    meta : Meta

    Examples
    --------
    >>> import numpy as np
    >>> from evalkit.core.labels import Index
    >>> from evalkit.core.origin import Meta
    >>> meta = Meta("school effect", "published", "math", 120, "synthetic")
    >>> Known(np.array([1.0, 3.0]), np.array([0.2, 0.1]), Index.flat("school", ["a", "b"]), meta)
    2 estimates of school effect on 'math' by published (synthetic), errors known
    """

    theta: Vector
    variance: Vector
    index: Index
    meta: Meta

    def __post_init__(self) -> None:
        for name in ("theta", "variance"):
            value = np.asarray(getattr(self, name), float)
            if value.shape != (len(self.index),):
                raise OptionError(
                    f"{name} has shape {value.shape}; it needs a number for each of the "
                    f"{len(self.index)} keys"
                )
            wrong = np.flatnonzero(~np.isfinite(value) | ((value <= 0) & (name == "variance")))
            if len(wrong):
                keys = some(" ".join(map(str, self.index.keys[at])) for at in wrong)
                must = "positive" if name == "variance" else "finite"
                raise OptionError(f"{name} must be {must}; it is {value[wrong[0]]:g} for {keys}")
            object.__setattr__(self, name, frozen(value))

    @classmethod
    def of(cls, theta: Any, variance: Any, *, level: str, labels: Any, meta: Meta) -> Known:
        """From arrays and one label each."""
        return cls(theta, variance, Index.flat(level, np.asarray(labels).tolist()), meta)

    def __len__(self) -> int:
        return len(self.theta)

    def take(self, positions: list[int]) -> Known:
        """Keep the coordinates at these positions, in this order."""
        return Known(
            self.theta[positions], self.variance[positions], self.index.take(positions), self.meta
        )

    def select(self, **levels: Any) -> Known:
        """Keep the coordinates whose levels match a value, a collection or a predicate."""
        return self.take(self.index.positions(levels))

    def to_frame(self) -> pd.DataFrame:
        """Estimates and the standard deviations of their errors."""
        import pandas as pd

        columns = {"estimate": self.theta, "sd": np.sqrt(self.variance)}
        return pd.DataFrame(columns, index=self.index.to_pandas())

    def __repr__(self) -> str:
        meta = self.meta
        return (
            f"{len(self)} estimates of {meta.estimand} on {meta.outcome!r} by {meta.method} "
            f"({meta.provenance}), errors known"
        )
