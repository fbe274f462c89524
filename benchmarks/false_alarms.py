"""How often diff-diff finds an effect where nothing happened, on the worlds of the inference study.

Run ``PYTHONPATH=src:. python benchmarks/false_alarms.py`` with a Python that has diff-diff. The
worlds are those of the designs ``normal_1`` to ``normal_10`` of ``simulations/inference.py``: 30
counties, of which so many adopt, and an effect of zero. The test is the package's own: the average
over all treated cells by ``CallawaySantAnna`` with its defaults, its error and its 5% test. It
writes ``data/benchmarks/false_alarms.csv``; ``size_mc`` is the Monte Carlo error of ``size``.
"""

from __future__ import annotations

import csv
import math
from importlib import metadata
from pathlib import Path

import numpy as np
import pandas as pd
from diff_diff import CallawaySantAnna

from simulations.inference import INFERENCE, PEERS
from simulations.study import LEVEL, Cell

STORED = Path(__file__).resolve().parent.parent / "data" / "benchmarks" / "false_alarms.csv"
PACKAGE, DRAWS, COUNTIES = "diff-diff", 400, 30
COLUMNS = (
    "design", "clusters", "treated", "package", "version", "draws", "rejected", "size", "size_mc",
    "provenance",
)  # fmt: skip


def rejects(cell: Cell, draw: int) -> bool:
    """Whether the package's 5% test finds an effect in one world."""
    panel = INFERENCE.world(cell, draw).data
    start = np.where(np.isfinite(panel.cohort), panel.cohort, 0).astype(int)
    frame = pd.DataFrame(
        {
            "county": panel.unit,
            "year": panel.times[panel.time].astype(int),
            "y": panel.y,
            "start": start[panel.unit],
        }
    )
    made = CallawaySantAnna().fit(frame, "y", "county", "year", "start")
    return bool(made.overall_p_value <= LEVEL)


def row(design: str) -> dict[str, object]:
    cell = Cell(design, COUNTIES, "callaway_santanna")
    rejected = sum(rejects(cell, draw) for draw in range(DRAWS))
    size = rejected / DRAWS
    return {
        "design": design,
        "clusters": COUNTIES,
        "treated": int(design.removeprefix("normal_")),
        "package": PACKAGE,
        "version": metadata.version(PACKAGE),
        "draws": DRAWS,
        "rejected": rejected,
        "size": f"{size:.4f}",
        "size_mc": f"{math.sqrt(size * (1 - size) / DRAWS):.4f}",
        "provenance": "synthetic",
    }


def main() -> None:
    with STORED.open("w", newline="") as file:
        table = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        table.writeheader()
        for design in PEERS:
            table.writerow(made := row(design))
            print(made, flush=True)


if __name__ == "__main__":
    main()
