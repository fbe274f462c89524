"""What will be analysed, written down and hashed before any result is seen."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import TypeAlias

from evalkit.core.errors import OptionError, some

Choice: TypeAlias = dict[str, str]


@dataclass(frozen=True, slots=True)
class Declaration:
    """The choices that will be made in every combination, fixed before any result is seen.

    Parameters
    ----------
    choices : mapping of str to sequence of str
        Names of the choices, and the labels each may take.
    data : mapping of str to str
        Names of the tables with their sha256, so that a declaration belongs to its data.
    without : sequence of mappings
        Combinations that make no sense; each names labels of some of the choices.
    level : float
        At which an estimate counts as significant.

    Examples
    --------
    >>> import evalkit as ek
    >>> plan = ek.Declaration({"outcome": ["grade 4", "grade 7"], "weights": ["none", "pupils"]})
    >>> len(plan), plan.digest[:12]
    (4, '4e98540fc386')
    """

    choices: Mapping[str, Sequence[str]]
    data: Mapping[str, str] = field(default_factory=dict)
    without: Sequence[Mapping[str, str]] = ()
    level: float = 0.95

    def __post_init__(self) -> None:
        empty = [name for name, labels in self.choices.items() if not len(labels)]
        if not self.choices or empty:
            raise OptionError(
                f"the declaration is empty{f': {some(empty)} has no label' if empty else ''}; give "
                'each choice the labels it may take, {"outcome": ["grade 4", "grade 7"]}'
            )
        for name, labels in self.choices.items():
            if isinstance(labels, str) or len(set(labels)) < len(labels):
                raise OptionError(f"choice {name!r} needs a list of different labels: {labels!r}")
        for excluded in self.without:
            wrong = [k for k, v in excluded.items() if v not in self.choices.get(k, ())]
            if wrong or not excluded:
                raise OptionError(f"without names {some(wrong) or 'nothing'}: {dict(excluded)!r}")
        if not 0 < self.level < 1:
            raise OptionError(f"level={self.level} must lie between 0 and 1, for example 0.95")
        if not len(self):
            raise OptionError("the declaration is empty: without leaves no combination")

    def __iter__(self) -> Iterator[Choice]:
        for labels in product(*self.choices.values()):
            made = dict(zip(self.choices, labels, strict=True))
            if not any(excluded.items() <= made.items() for excluded in self.without):
                yield made

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def only(self, labels: Mapping[str, str]) -> Declaration:
        """The part of the declaration with these labels."""
        unknown = [k for k, v in labels.items() if v not in self.choices.get(k, ())]
        if unknown:
            raise OptionError(f"{some(unknown)} is not declared so; the choices are {self.choices}")
        kept = {k: [labels[k]] if k in labels else v for k, v in self.choices.items()}
        without = [
            excluded for excluded in self.without
            if all(labels.get(k, v) == v for k, v in excluded.items())
        ]  # fmt: skip
        return Declaration(kept, self.data, without, self.level)

    @property
    def text(self) -> str:
        """What is declared, as JSON with a fixed order."""
        held = {
            "choices": {name: list(labels) for name, labels in self.choices.items()},
            "data": dict(self.data),
            "without": [dict(excluded) for excluded in self.without],
            "level": self.level,
        }
        return json.dumps(held, indent=1, sort_keys=True, ensure_ascii=False) + "\n"

    @property
    def digest(self) -> str:
        """sha256 of the text."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def register(self, path: str | Path) -> Declaration:
        """Write the declaration down, or hold it against what was written before.

        Raises
        ------
        OptionError
            If the file holds another declaration: the choices changed after they were registered.
        """
        file = Path(path)
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(self.text, encoding="utf-8")
        written = file.read_text(encoding="utf-8")
        if written != self.text:
            raise OptionError(
                f"{file.name} registers another declaration (sha256 "
                f"{hashlib.sha256(written.encode()).hexdigest()[:12]}, this one is "
                f"{self.digest[:12]}). Restore the choices, or register the new ones under another "
                "name and report both"
            )
        return self

    def __repr__(self) -> str:
        sizes = " x ".join(f"{len(labels)} {name}" for name, labels in self.choices.items())
        return f"Declaration of {len(self)} specifications: {sizes} (sha256 {self.digest[:12]})"
