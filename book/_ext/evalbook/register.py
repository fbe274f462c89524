"""The claim register as the book reads it: `results/<notebook>.json`, one file a notebook."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

FIELDS = ("display", "se", "interval", "unit")


@dataclass(frozen=True)
class Claim:
    key: str
    notebook: str
    value: float
    low: float | None
    high: float | None
    display: str
    se: str | None
    interval: str | None
    unit: str
    provenance: str
    data: dict[str, str]

    def text(self, part: str) -> str | None:
        """What the role prints for one of FIELDS; None where the claim has no such part."""
        return {
            "display": self.display,
            "se": self.se,
            "interval": self.interval,
            "unit": self.unit,
        }[part]


@dataclass(frozen=True)
class Figure:
    name: str
    notebook: str
    alt: str
    caption: str
    csv: str
    provenance: str


@dataclass
class Register:
    files: list[Path] = field(default_factory=list)
    provenance: dict[str, str] = field(default_factory=dict)  # notebook -> tier
    claims: dict[str, Claim] = field(default_factory=dict)
    figures: list[Figure] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def split(self, text: str) -> tuple[str, str]:
        """`key` or `key.field` to (key, field); a key that holds a dot wins over a field."""
        key, dot, part = text.rpartition(".")
        if text not in self.claims and dot and part in FIELDS:
            return key, part
        return text, "display"

    def data(self) -> dict[tuple[str, str], list[str]]:
        """Each (data set, sha256) with the notebooks that claim from it."""
        used: dict[tuple[str, str], list[str]] = {}
        for claim in self.claims.values():
            for name, digest in claim.data.items():
                notebooks = used.setdefault((name, digest), [])
                if claim.notebook not in notebooks:
                    notebooks.append(claim.notebook)
        return dict(sorted(used.items()))


def read(folder: Path) -> Register:
    register = Register()
    for path in sorted(folder.glob("*.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(record, dict) or "notebook" not in record:
            continue
        register.files.append(path)
        notebook = str(record["notebook"])
        register.provenance[notebook] = str(record.get("provenance", ""))
        for key, entry in record.get("claims", {}).items():
            if key in register.claims:
                first = register.claims[key].notebook
                register.problems.append(
                    f"claim {key!r} is made by {first} and again by {notebook}; rename one of them"
                )
            register.claims[key] = _claim(key, notebook, entry)
        for name, entry in record.get("figures", {}).items():
            register.figures.append(
                Figure(
                    name=name,
                    notebook=notebook,
                    alt=entry["alt"],
                    caption=entry["caption"],
                    csv=entry.get("csv", ""),
                    provenance=entry["provenance"],
                )
            )
    return register


def _claim(key: str, notebook: str, entry: dict[str, Any]) -> Claim:
    return Claim(
        key=key,
        notebook=notebook,
        value=entry["value"],
        low=entry.get("low"),
        high=entry.get("high"),
        display=entry["display"],
        se=entry.get("se_display"),
        interval=entry.get("interval_display"),
        unit=entry.get("unit", ""),
        provenance=entry["provenance"],
        data=dict(entry.get("data") or {}),
    )


def of(env: BuildEnvironment) -> Register:
    """The register of this build, read once."""
    found: Register = env.app.evalbook_register  # type: ignore[attr-defined]
    return found


def _load(app: Sphinx) -> None:
    app.evalbook_register = read(Path(app.srcdir) / "results")  # type: ignore[attr-defined]


def setup(app: Sphinx) -> None:
    app.connect("builder-inited", _load)
