"""The directive `{benchmarks}`: what was timed, beside whom, and where evalkit falls short.

It reads `data/benchmarks/<suite>.csv`, one row per task, size and package, and the machine's
description in the `.json` beside it.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from docutils import nodes
from docutils.nodes import Node
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from . import tables

Row: TypeAlias = dict[str, str]
OURS = "evalkit"
MILLION = 1_000_000  # units of the largest panels


@dataclass(frozen=True)
class Compared:
    """One task at one size: our row, and the fastest other that gets the same number."""

    ours: Row
    rival: Row | None

    @property
    def times(self) -> float | None:
        """How many times as long the rival takes."""
        return float(self.rival["ratio"]) if self.rival else None

    @property
    def missed(self) -> bool:
        """Slower than we ask of ourselves."""
        return bool(self.ours["aim"]) and (self.times or 0.0) < float(self.ours["aim"])

    @property
    def heavy(self) -> bool:
        """More memory than three outcomes or 200 MB, or than 2 GB on the largest panels."""
        units, outcomes = int(self.ours["units"]), 24e-6 * int(self.ours["units"])
        allowed = max(200.0, outcomes * int(self.ours["periods"]))
        return float(self.ours["peak_mb"]) > (2000 if units >= MILLION else allowed)


def compared(rows: Sequence[Row]) -> Iterator[Compared]:
    """Every task and size that evalkit was timed on, the imports apart."""
    for ours in rows:
        if ours["peer"] != OURS or not ours["units"]:
            continue
        size = [ours[key] for key in ("task", "units", "periods")]
        rivals = [
            row
            for row in rows
            if [row[key] for key in ("task", "units", "periods")] == size
            and row["peer"] != OURS
            and row["cpu_seconds"]
            and row["agrees"] != "no"
        ]
        rival = min(rivals, key=lambda row: float(row["cpu_seconds"]), default=None)
        yield Compared(ours, rival)


def answer(rows: Sequence[Row]) -> str:
    """What the table says, in a sentence."""
    every = list(compared(rows))
    beside = [each for each in every if each.rival]
    times = [each.times or 0.0 for each in beside]
    slower, asked = sum(t < 1 for t in times), [each for each in beside if each.ours["aim"]]
    met = sum(not each.missed for each in asked)
    light = sum(not each.heavy for each in every)
    return (
        f"In {len(beside)} comparisons of a task and a size, the fastest other package that gets "
        f"the same number takes {min(times):.3g} to {max(times):.3g} times the processor time of "
        f"evalkit. evalkit is the slower one in {slower}. It reaches what it asks of itself in "
        f"{met} of {len(asked)}. In {light} of {len(every)} tasks and sizes it adds no more to "
        f"memory than three times the outcome or 200 MB, or 2 GB at a million units.{growth(every)}"
    )


def growth(every: Sequence[Compared]) -> str:
    """How much longer ten times as many units take, from the largest size but one on."""
    seconds = {
        (each.ours["task"], each.ours["units"], each.ours["periods"]): float(
            each.ours["cpu_seconds"]
        )
        for each in every
    }
    times = [
        spent / seconds[task, str(int(units) // 10), periods]
        for (task, units, periods), spent in seconds.items()
        if int(units) >= MILLION and (task, str(int(units) // 10), periods) in seconds
    ]
    if not times:
        return ""
    return (
        f" From 100,000 to a million units time grows {min(times):.3g} to {max(times):.3g} times."
    )


def imports(rows: Sequence[Row]) -> nodes.table:
    """What loading a package costs beyond numpy."""
    mine = [row for row in rows if not row["units"] and row["cpu_seconds"]]
    body = [(row["peer"], row["version"], row["cpu_seconds"]) for row in mine]
    return tables.build(["Package", "Version", "s"], body, ["benchmarks"])


def size(row: Row) -> str:
    return f"{int(row['units']):,} × {row['periods']}"


def overview(rows: Sequence[Row]) -> nodes.table:
    body = []
    for each in compared(rows):
        ours, rival, times = each.ours, each.rival, each.times
        verdict: tables.Cell = ""
        memory = f"{float(ours['peak_mb']):.0f}"
        if times is not None:
            verdict = f"{times:.3g}"
            if each.missed or times < 1:
                verdict = nodes.strong(verdict, f"{verdict} (slower)" if times < 1 else verdict)
        body.append(
            (
                ours["what"],
                size(ours),
                ours["cpu_seconds"],
                nodes.strong(memory, memory) if each.heavy else memory,
                f"{rival['peer']} {rival['version']}" if rival else "",
                rival["cpu_seconds"] if rival else "",
                verdict,
                ours["aim"],
            )
        )
    heads = ["Task", "Size", "evalkit, s", "MB", "Fastest other with the same number", "its s",
             "times", "aim"]  # fmt: skip
    return tables.build(heads, body, ["benchmarks"])


def cell(row: Row | None) -> str:
    """Seconds, memory, and what is to be known about the number."""
    if row is None:
        return ""
    if not row["cpu_seconds"]:
        return row["note"].partition(":")[0] or "not tried"
    text = f"{row['cpu_seconds']} s, {float(row['peak_mb']):.0f} MB"
    return text if row["agrees"] != "no" else f"{text}; another number ({row['largest_gap']})"


def details(rows: Sequence[Row]) -> Iterator[nodes.table]:
    """One table per task: every package at every size."""
    tasks = dict.fromkeys(row["task"] for row in rows if row["units"])
    for task in tasks:
        mine = [row for row in rows if row["task"] == task]
        sizes = list(dict.fromkeys(size(row) for row in mine))
        body = []
        for peer in dict.fromkeys(row["peer"] for row in mine):
            found = {size(row): row for row in mine if row["peer"] == peer}
            version = next(iter(found.values()))["version"]
            body.append((peer, version, *(cell(found.get(at)) for at in sizes)))
        made = tables.build(["Package", "Version", *sizes], body, ["benchmarks"])
        made.insert(0, nodes.title("", mine[0]["what"]))
        yield made


class Benchmarks(SphinxDirective):
    """`{benchmarks} suite part`: `answer`, `overview`, `details`, `imports` or `machine`."""

    required_arguments = 2

    def run(self) -> list[Node]:
        suite, part = self.arguments
        path = Path(self.env.srcdir) / "data" / "benchmarks" / f"{suite}.csv"
        self.env.note_dependency(str(path))
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        if part == "answer":
            text = answer(rows)
            return [nodes.paragraph("", "", nodes.strong(text, text))]
        if part == "machine":
            about = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
            packages = about.pop("packages")
            pairs = [(key.replace("_", " "), str(value)) for key, value in about.items()]
            pairs += [(name, version) for name, version in packages.items() if version]
            return [tables.build(["", "Measured on"], pairs, ["key-value"])]
        if part == "imports":
            return [imports(rows)]
        return list(details(rows)) if part == "details" else [overview(rows)]


def setup(app: Sphinx) -> None:
    app.add_directive("benchmarks", Benchmarks)
