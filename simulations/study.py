"""What a simulation study is: designs with a known truth, methods that answer, and how often.

To add a study, make its designs and methods, put them into a `Study` and name it in `studies.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias
from zlib import crc32

import numpy as np

from evalkit import Inference
from evalkit.core.provenance import Provenance

SEED = 20261122
LEVEL = 0.05  # of the tests whose size is measured

Value: TypeAlias = float | np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class World:
    """One drawn data set and what is true of it.

    ``truth`` holds, for each target (what is to be estimated), its value in each sense that a
    method may claim, for example ``{"average": {"population": 0.5, "sample": 0.47}}``. ``null`` is
    the same draw without any effect, where a test of no effect should reject at its level; the data
    themselves, if they have none.
    """

    data: Any
    truth: Mapping[str, Mapping[str, Value]]
    null: Any = None


@dataclass(frozen=True, slots=True)
class Design:
    """A way to draw worlds: ``draw(rng, n)``. What ``facts(n)`` says becomes columns.

    ``sizes`` are those in which it is drawn (default: those of the study).
    """

    about: str
    draw: Callable[[np.random.Generator, int], World]
    facts: Callable[[int], Mapping[str, float]] = lambda n: {}
    sizes: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a method says of one target: numbers, or vectors of equal length whose scores are
    averaged within a draw. ``p_value`` is that of the test of no effect; NaN where none is given.
    """

    estimate: Value
    std_error: Value
    low: Value
    high: Value
    p_value: Value = np.nan

    @classmethod
    def of(cls, found: Inference, at: int = 0) -> Answer:
        """What inference says of one coordinate."""
        parts = (found.estimate, found.std_error, found.conf_low, found.conf_high, found.p_value)
        return cls(*(float(part[at]) for part in parts))


Judge: TypeAlias = Callable[[Any, Any], Mapping[str, Answer]]


@dataclass(frozen=True, slots=True)
class Method:
    """``estimate(data)``, then one or more ``judges[inference](data, made) -> {target: Answer}``.

    ``truths`` are the senses of the truth its answers are held against; the first is the one that
    its intervals claim to cover. ``designs`` and ``sizes`` restrict where it runs (default:
    everywhere), ``only`` the designs in which an inference is made, ``draws`` how often (default:
    as the study says).
    """

    estimate: Callable[[Any], Any]
    judges: Mapping[str, Judge]
    truths: tuple[str, ...] = ("population",)
    designs: tuple[str, ...] | None = None
    sizes: tuple[int, ...] | None = None
    only: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    draws: int | None = None

    def judging(self, design: str) -> Mapping[str, Judge]:
        """The judges that are asked in a design."""
        return {
            k: judge for k, judge in self.judges.items() if design in self.only.get(k, (design,))
        }


class Cell(NamedTuple):
    """The unit of work: one method on the draws of one design at one size."""

    design: str
    n: int
    method: str


@dataclass(frozen=True, slots=True)
class Study:
    """Designs x methods x sizes; ``sizes`` maps each ``n`` to its number of draws.

    ``provenance`` is that of the outcomes; what is done to them is invented.
    """

    name: str
    designs: Mapping[str, Design]
    methods: Mapping[str, Method]
    sizes: Mapping[int, int]
    provenance: Provenance = "synthetic"

    def cells(self) -> Iterator[Cell]:
        """Every cell, in the order of the stored table."""
        for name, design in self.designs.items():
            for n in self.sizes:
                for label, method in self.methods.items():
                    here = method.designs is None or name in method.designs
                    if here and all(
                        some is None or n in some for some in (design.sizes, method.sizes)
                    ):
                        yield Cell(name, n, label)

    def draws(self, cell: Cell) -> int:
        """How many draws the stored row of a cell rests on."""
        return self.methods[cell.method].draws or self.sizes[cell.n]

    def world(self, cell: Cell, draw: int) -> World:
        """Draw number ``draw``: the same for every method, whatever else is drawn, wherever."""
        key = crc32(f"{self.name}/{cell.design}".encode())
        rng = np.random.default_rng([SEED, key, cell.n, draw])
        return self.designs[cell.design].draw(rng, cell.n)
