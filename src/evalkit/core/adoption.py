"""When units adopt: on a date, or at some time in a window of which only the ends are known."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

from evalkit.core.arrays import Codes, Flags, Matrix, Vector, cross, encode
from evalkit.core.checks import check_panel

if TYPE_CHECKING:
    from evalkit.core.panel import Panel

_found: WeakKeyDictionary[Panel, Starts] = WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class Window:
    """Label of a cohort untreated before ``earliest`` and treated from ``latest`` on.

    A period less a window is the time since adoption: from the end of the window, before it from
    its start.

    Examples
    --------
    >>> import evalkit as ek
    >>> print(ek.Window(2004, 2006), sorted([2007, ek.Window(2004, 2006), 2006]))
    2004-2006 [Window(earliest=2004, latest=2006), 2006, 2007]
    >>> 2003 - ek.Window(2004, 2006), 2007 - ek.Window(2004, 2006)
    (-1, 1)
    """

    earliest: int | float
    latest: int | float

    def __str__(self) -> str:
        return f"{self.earliest}-{self.latest}"

    def __rsub__(self, time: Any) -> Any:
        return time - (self.latest if time >= self.latest else self.earliest)

    def __lt__(self, other: Any) -> bool:
        return _ends(self) < _ends(other)

    def __gt__(self, other: Any) -> bool:
        return _ends(self) > _ends(other)


def _ends(cohort: Any) -> tuple[float, float]:
    if isinstance(cohort, Window):
        return cohort.latest, cohort.earliest
    return cohort, cohort


def plain(value: float) -> int | float:
    """A period as an int where it is one, for index keys."""
    number = float(value)
    return int(number) if number.is_integer() else number


@dataclass(frozen=True, eq=False)
class Starts:
    """Adoption cohorts of a panel: the units that share a date, or a window.

    Attributes
    ----------
    start, earliest : Vector (G,)
        First period in which the cohort is surely treated (``inf``: never), in order, and first
        period in which it may be; equal where the date is known.
    code : Codes (N,)
        Cohort of each unit.
    clock : Vector (T,)
        Periods.
    """

    start: Vector
    earliest: Vector
    code: Codes
    clock: Vector

    @classmethod
    def of(cls, panel: Panel) -> Starts:
        """The cohorts of a panel, found once."""
        check_panel(panel)
        if panel not in _found:
            _found[panel] = cls._of(panel)
        return _found[panel]

    @classmethod
    def _of(cls, panel: Panel) -> Starts:
        if panel.earliest is None:
            code, start = encode(panel.cohort)
            return cls(start, start, code, panel.clock)
        code = cross([encode(panel.cohort)[0], encode(panel.earliest)[0]])
        first = np.unique(code, return_index=True)[1]
        return cls(panel.cohort[first], panel.earliest[first], code, panel.clock)

    @cached_property
    def labels(self) -> list[int | float | Window]:
        """Keys of the cohorts: a date, or a window."""
        ends = zip(map(plain, self.start), map(plain, self.earliest), strict=True)
        return [late if late == early else Window(early, late) for late, early in ends]

    def known(self, g: int | np.intp) -> Flags:
        """Periods ``(T,)`` in which it is known whether the cohort is treated."""
        known: Flags = (self.clock < self.earliest[g]) | (self.clock >= self.start[g])
        return known

    @cached_property
    def event(self) -> Matrix:
        """:attr:`evalkit.Panel.event` by cohort and period ``(G, T)``."""
        start, earliest = self.start[:, None], self.earliest[:, None]
        event: Matrix = self.clock - np.where(self.clock < start, earliest, start)
        return event
