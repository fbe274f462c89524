"""Names of the coordinates of an estimate, light until somebody wants a pandas index."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, Any, TypeAlias

from evalkit.core.errors import OptionError, some

if TYPE_CHECKING:
    import pandas as pd

Key: TypeAlias = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Index:
    """Index of ``k`` coordinates.

    Parameters
    ----------
    levels : tuple of str
        Names of the levels, for example ``("cohort", "time")``.
    keys : tuple of tuples
        One key per coordinate, with one value per level.
    """

    levels: tuple[str, ...]
    keys: tuple[Key, ...]

    def __post_init__(self) -> None:
        if {*map(len, self.keys)} - {len(self.levels)}:
            raise OptionError(f"every key needs one value per level of {self.levels}")
        if len(set(self.keys)) != len(self.keys):
            raise OptionError(f"the keys of an index differ; repeated among {some(self.keys)}")

    @classmethod
    def flat(cls, level: str, values: Iterable[Any]) -> Index:
        """Index with one level."""
        return cls((level,), tuple((value,) for value in values))

    def __len__(self) -> int:
        return len(self.keys)

    def level(self, name: str) -> tuple[Any, ...]:
        """Values of one level, one per coordinate."""
        if name not in self.levels:
            raise OptionError(f"no level {name!r}; this index has {', '.join(self.levels)}")
        at = self.levels.index(name)
        return tuple(map(itemgetter(at), self.keys))

    def positions(self, wanted: dict[str, Any]) -> list[int]:
        """Positions whose levels match: a value, a collection of values, or a predicate."""
        keep = list(range(len(self.keys)))
        for name, want in wanted.items():
            values = self.level(name)
            keep = [at for at in keep if matches(values[at], want)]
        if not keep:
            raise OptionError(f"nothing matches {wanted!r}; the keys are {some(self.keys)}")
        return keep

    def take(self, positions: list[int]) -> Index:
        """Index of the given positions, in that order."""
        return Index(self.levels, tuple(self.keys[at] for at in positions))

    def to_pandas(self) -> pd.Index[Any]:
        """A pandas ``Index`` or ``MultiIndex``."""
        import pandas as pd

        if len(self.levels) == 1:
            flat: pd.Index[Any] = pd.Index([key[0] for key in self.keys], name=self.levels[0])
            return flat
        return pd.MultiIndex.from_tuples(self.keys, names=list(self.levels))


def matches(value: Any, want: Any | Callable[[Any], bool]) -> bool:
    """True if ``value`` equals ``want``, is one of it, or satisfies it."""
    if callable(want):
        return bool(want(value))
    if isinstance(want, (list, tuple, set, frozenset, range)):
        return value in want
    return bool(value == want)
