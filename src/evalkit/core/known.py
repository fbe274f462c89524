"""Estimates whose errors are known and independent: a table that somebody published, or effects
that follow from a variance model. Where contributions of units exist, use an ``Estimate``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from evalkit.core.arrays import Vector, frozen
from evalkit.core.errors import OptionError, check_option, some
from evalkit.core.labels import Index
from evalkit.core.origin import Meta
from evalkit.core.provenance import TIERS, Provenance

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
    >>> import evalkit as ek
    >>> ek.Known.of([1.0, 3.0], [0.4, 0.3], labels=["a", "b"], provenance="synthetic")
    2 estimates of effect on 'outcome' by given (synthetic), errors known
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
    def of(
        cls,
        theta: Any,
        error: Any,
        *,
        labels: Any,
        provenance: Provenance,
        level: str = "unit",
        estimand: str = "effect",
        outcome: str = "outcome",
        method: str = "given",
    ) -> Known:
        """From a table: estimates, the standard deviations of their errors, and labels."""
        check_option("provenance", provenance, TIERS)
        keys, deviation = np.asarray(labels).tolist(), np.asarray(error, float)
        if deviation.shape != (len(keys),) or not (deviation > 0).all():
            raise OptionError(
                f"error holds {len(keys)} positive standard deviations, one per label; got "
                f"{some(np.atleast_1d(deviation).tolist())}"
            )
        meta = Meta(estimand, method, outcome, len(keys), provenance)
        return cls(theta, deviation**2, Index.flat(level, keys), meta)

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
