"""Simulate the committed study anew and compare every byte (`make data`); `--save` replaces it."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from evalkit.data import simulate

FOLDER = Path(__file__).resolve().parent.parent / "data/synthetic"
SMALL = simulate.Assumptions(schools=24)  # of 71: the repository stays small
PUPILS_OF, PUPILS_SINCE = range(1, 7), 2022


def write(folder: Path) -> list[str]:
    """Write the study; the names of its files."""
    written = simulate.write(folder, SMALL, pupils_of=PUPILS_OF, pupils_since=PUPILS_SINCE)
    return sorted(path.name for path in written)


def changed(folder: Path) -> list[str]:
    """Files of the committed study that differ from a fresh one, which is written to `folder`."""
    return [
        name
        for name in write(folder)
        if not (FOLDER / name).is_file()
        or (FOLDER / name).read_bytes() != (folder / name).read_bytes()
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--save", action="store_true", help="replace what is committed")
    if parser.parse_args().save:
        print(f"evalkit: wrote {len(write(FOLDER))} files to data/synthetic")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        different = changed(Path(folder))
    for name in different:
        print(f"evalkit: data/synthetic/{name} is not what its assumptions give", file=sys.stderr)
    if not different:
        print("evalkit: data/synthetic is byte for byte what its assumptions give")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
