"""The register of a chapter: every claim and figure it makes, written where the book finds them.

A notebook is one process and one chapter, so the register is one module-level value.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evalkit.core.errors import EvalkitError, OptionError, check_option
from evalkit.core.provenance import TIERS, Provenance
from evalkit.data.county.folder import FLOOR


class RegisterError(EvalkitError, RuntimeError):
    """A claim or figure was made outside a chapter, or twice."""


@dataclass(slots=True)
class Register:
    """Claims and figures of one chapter, kept in step with ``results/<chapter>.json``."""

    chapter: str
    provenance: Provenance
    data: Mapping[str, str]
    folder: Path
    floor: int = 0
    claims: dict[str, dict[str, Any]] = field(default_factory=dict)
    figures: dict[str, dict[str, Any]] = field(default_factory=dict)

    def book(self, kind: str, name: str) -> dict[str, dict[str, Any]]:
        """The claims or figures; refuse a name that the chapter has used."""
        book = self.claims if kind == "claim" else self.figures
        if name in book:
            raise RegisterError(f"{kind} {name!r} is made twice in chapter {self.chapter!r}")
        return book

    def add(self, kind: str, name: str, entry: dict[str, Any]) -> None:
        """Record an entry under a name that is new to the chapter."""
        self.book(kind, name)[name] = entry
        self.write()

    def enough(self, what: str, records: int | None) -> None:
        """Refuse what would leave restricted data with too few records behind it, or unsaid."""
        if not self.floor:
            return
        if records is None:
            raise RegisterError(
                f"{what} is computed on restricted records; say how many stand behind it at the "
                "least: records="
            )
        if records < self.floor:
            raise RegisterError(
                f"{what} has {records} records behind it, fewer than {self.floor}; leave it out, "
                "or make it coarser"
            )

    def write(self) -> None:
        """Write the register so that a reader never sees half a file."""
        self.folder.mkdir(parents=True, exist_ok=True)
        content = {
            "notebook": self.chapter,
            "provenance": self.provenance,
            "claims": self.claims,
            "figures": self.figures,
        }
        path = self.folder / f"{self.chapter}.json"
        part = path.with_suffix(".json.part")
        text = json.dumps(content, ensure_ascii=False, indent=1, sort_keys=True)
        part.write_text(text + "\n", encoding="utf-8")
        part.replace(path)


_open: list[Register] = []


def chapter(
    name: str,
    *,
    provenance: Provenance,
    data: Mapping[str, str] | None = None,
    floor: int = 0,
) -> None:
    """Open a notebook: set the figure style and start its register.

    Parameters
    ----------
    name : str
        Name of the notebook without its ending.
    provenance : {"real", "documented", "restricted", "synthetic"}
        Evidence tier of the chapter.
    data : mapping of str to str, optional
        Data sets used and their sha256, written into every claim.
    floor : int
        Where ``provenance`` is restricted: least number of records behind whatever the chapter
        shows. At least 10.

    Examples
    --------
    >>> import os, tempfile, evalkit as ek
    >>> os.environ["EVALKIT_RESULTS"] = tempfile.mkdtemp()
    >>> ek.chapter("example", provenance="synthetic")
    """
    from evalkit.show import style

    check_option("provenance", provenance, TIERS)
    if not name.isidentifier():
        raise OptionError(f"chapter {name!r} must be the notebook's name without its ending")
    style.apply()
    least = max(floor, FLOOR) if provenance == "restricted" else 0
    _open[:] = [Register(name, provenance, dict(data or {}), results_folder(), least)]
    _open[0].write()


def current() -> Register:
    """The register of the open chapter."""
    if not _open:
        raise RegisterError("no chapter is open; call ek.chapter(name, provenance=...) first")
    return _open[0]


def is_open() -> bool:
    """True inside a chapter."""
    return bool(_open)


def results_folder() -> Path:
    """``EVALKIT_RESULTS``, or ``results`` beside the notebooks folder."""
    named = os.environ.get("EVALKIT_RESULTS")
    if named:
        return Path(named)
    here = Path.cwd()
    return (here.parent if here.name == "notebooks" else here) / "results"
