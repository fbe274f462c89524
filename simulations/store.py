"""Where results live: chunks of draws while a study runs, tables that the book prints after it.

A finished chunk is written whole or not at all, under a folder named by the code that made it, so
that an interrupted run goes on where it stopped and never mixes two states of the code.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from simulations.run import Chunk
from simulations.study import Cell

if TYPE_CHECKING:
    import pandas as pd

ROOT = Path(__file__).resolve().parent.parent
TABLES = ROOT / "data" / "simulations"
DIGITS = 6  # significant digits of the stored tables
FINE = 10  # of the stored first draws
RTOL, ATOL = 1e-5, 1e-9  # what rounding of the last stored digit, or of another BLAS, may move
MEASURED = ("seconds",)  # of this machine and run: stored, never compared
NAMES = ("design", "n", "estimator", "inference", "target", "truth", "draw")


def digest() -> str:
    """Short hash of everything that decides a draw: package, studies, lock, Python."""
    found = hashlib.sha256("{}.{}".format(*sys.version_info[:2]).encode())
    paths = [ROOT / "requirements.lock"]
    for folder in ("src/evalkit", "simulations"):
        paths += sorted((ROOT / folder).rglob("*.py"))
    for path in paths:
        found.update(f"\0{path.relative_to(ROOT)}\0".encode() + path.read_bytes())
    return found.hexdigest()[:16]


def cache() -> Path:
    """The folder of the chunks that the present code has made."""
    return ROOT / ".cache" / "simulations" / digest()


def chunk_path(folder: Path, study: str, cell: Cell, start: int, stop: int) -> Path:
    name = re.sub(r"[^A-Za-z0-9.]+", "-", f"{study}.{cell.design}.{cell.n}.{cell.method}")
    return folder / f"{name}.{start}-{stop}.npz"


def save(path: Path, part: Chunk) -> None:
    """Write a chunk, so that no reader ever sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    named: dict[str, Any] = {json.dumps(key): values for key, values in part.scores.items()}
    unfinished = path.with_suffix(".part")
    with unfinished.open("wb") as file:
        np.savez(file, draws=part.draws, reasons=np.array(part.reasons, dtype=str), **named)
    unfinished.replace(path)


def load(path: Path) -> Chunk:
    with np.load(path) as kept:
        scores = {tuple(json.loads(n)): kept[n] for n in kept.files if n.startswith("[")}
        return Chunk(int(kept["draws"]), scores, tuple(kept["reasons"].tolist()))


def table(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Rows as the stored file holds them: rounded, in the order they came."""
    import pandas as pd

    return _parsed(io.StringIO(_text(pd.DataFrame(rows))))


def read(path: Path) -> pd.DataFrame | None:
    """A stored table, or None."""
    return _parsed(path) if path.is_file() else None


def write(path: Path, frame: pd.DataFrame) -> None:
    """Store a table, so that no reader ever sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".csv.part")
    unfinished.write_text(_text(frame), "utf-8", newline="\n")
    unfinished.replace(path)


def _text(frame: pd.DataFrame) -> str:
    digits = FINE if "draw" in frame else DIGITS
    return frame.to_csv(index=False, float_format=f"%.{digits}g", lineterminator="\n")


def _parsed(source: io.StringIO | Path) -> pd.DataFrame:
    import pandas as pd

    return pd.read_csv(source, keep_default_na=False, na_values=[""])


def only(frame: pd.DataFrame | None, cells: Sequence[Cell]) -> pd.DataFrame | None:
    """The rows of some cells."""
    if frame is None:
        return None
    wanted = set(map(tuple, cells))
    return frame[[cell in wanted for cell in _cells(frame)]]


def merged(old: pd.DataFrame | None, new: pd.DataFrame, cells: Sequence[Cell]) -> pd.DataFrame:
    """The stored table with the rows of its present cells replaced; cells that are gone go.

    ``cells`` are all cells of the study, in the order of the table.
    """
    import pandas as pd

    frame = new
    if old is not None:
        fresh = set(_cells(new))
        stays = [cell not in fresh for cell in _cells(old)]
        frame = pd.concat([old[stays], new], ignore_index=True)
    order = {tuple(cell): at for at, cell in enumerate(cells)}
    at = np.array([order.get(cell, -1) for cell in _cells(frame)])
    frame = frame.assign(at=at)[at >= 0].sort_values("at", kind="stable")
    return frame.drop(columns="at").reset_index(drop=True)


def _cells(frame: pd.DataFrame) -> list[tuple[str, int, str]]:
    return list(zip(frame["design"], frame["n"], frame["estimator"], strict=True))


def differences(new: pd.DataFrame, old: pd.DataFrame | None) -> Iterator[str]:
    """One line for each number, beyond rounding, and each row in which two tables differ."""
    if old is None:
        yield "no table is stored"
        return
    names = [name for name in NAMES if name in new]
    fresh, kept = (
        {tuple(row[name] for name in names): row for row in _records(frame)} for frame in (new, old)
    )
    for key in [*fresh, *(key for key in kept if key not in fresh)]:
        label = ", ".join(str(part) for part in key if part != "")
        if key not in kept:
            yield f"{label}: not stored"
        elif key not in fresh:
            yield f"{label}: stored, but no study makes it"
        else:
            for column in sorted({*map(str, {*fresh[key], *kept[key]})} - {*names, *MEASURED}):
                now, then = fresh[key].get(column, ""), kept[key].get(column, "")
                if not _same(now, then):
                    yield f"{label}: {column} is {now}, stored {then}"


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows, with empty text for what is missing."""
    full = frame.astype(object).where(frame.notna(), "")
    return [{str(name): value for name, value in row.items()} for row in full.to_dict("records")]


def _same(now: Any, then: Any) -> bool:
    if isinstance(now, int | float) and isinstance(then, int | float):
        return bool(np.isclose(now, then, rtol=RTOL, atol=ATOL))
    return bool(now == then)
