"""Each unit's mean after an event minus its mean before, as one sum over its rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evalkit.core.arrays import Flags, Labels, Matrix, Vector
from evalkit.core.errors import OptionError
from evalkit.core.panel import Panel


@dataclass(frozen=True, eq=False)
class Change:
    """Changes of ``N`` units, those seen both before and after.

    Attributes
    ----------
    delta : Vector (N,)
        Mean after minus mean before; 0.0 where ``both`` is False.
    both : Labels (N,)
        True for units seen on both sides.
    weight : Vector (N,)
        Unit weights.
    row : Vector (n,)
        Weight of each row, so that ``delta`` is the sum of ``row * y`` by unit.
    """

    delta: Vector
    both: Labels
    weight: Vector
    row: Vector

    @classmethod
    def of(cls, panel: Panel, after: Flags, used: Flags | None = None) -> Change:
        """Changes between the rows ``after`` ``(n,)`` and the other ``used`` rows of each unit."""
        weight = panel.unit_weight
        if (panel.weight != weight[panel.unit]).any():
            at = int(np.flatnonzero(panel.weight != weight[panel.unit])[0])
            raise OptionError(
                f"weights change within units (unit {panel.units[panel.unit[at]]!s}); "
                "a change before to after needs one weight per unit"
            )
        used = np.ones_like(after) if used is None else used
        n_after = np.bincount(panel.unit, after & used, minlength=panel.n_units)
        n_before = np.bincount(panel.unit, ~after & used, minlength=panel.n_units)
        both = (n_after > 0) & (n_before > 0)
        share = np.where(after, n_after[panel.unit], -n_before[panel.unit])
        counted = both[panel.unit] & used
        row = np.divide(1.0, share, out=np.zeros(len(share)), where=counted)
        delta = np.bincount(panel.unit, row * panel.y, minlength=panel.n_units)
        return cls(delta.astype(float, copy=False), both, weight, row)

    @property
    def notes(self) -> tuple[str, ...]:
        """What was dropped, in words."""
        dropped = int((~self.both).sum())
        return (f"{dropped} units dropped: not seen both before and after",) if dropped else ()


@dataclass(frozen=True, eq=False)
class ChangeWeights:
    """Row weights of estimates linear in the changes of units.

    Parameters
    ----------
    change : Change
    panel : Panel
    lin : Matrix (N, k)
        Weight of each unit's change.
    """

    change: Change
    panel: Panel
    lin: Matrix

    def weights(self) -> Matrix:
        """Weights ``(n, k)`` with ``weights.T @ y == theta``."""
        out: Matrix = self.change.row[:, None] * self.lin[self.panel.unit]
        return out
