"""A line on the terminal while something takes more than a second; nothing anywhere else."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")
PATIENCE = 1.0  # seconds before the first line, and a tenth of it between lines


def progress(steps: Iterable[T], total: int, label: str) -> Iterator[T]:
    """Pass ``steps`` through, showing how many of ``total`` are done.

    It writes to standard error, and only if that is a terminal: notebooks and logs stay the same
    on every run.

    Examples
    --------
    >>> list(progress(range(3), 3, "draws"))
    [0, 1, 2]
    """
    start = last = time.monotonic()
    shown = False
    for done, step in enumerate(steps):
        now = time.monotonic()
        if now - start > PATIENCE and now - last > PATIENCE / 10 and sys.stderr.isatty():
            left = (now - start) / done * (total - done) if done else float("nan")
            sys.stderr.write(f"\r{label}: {done} of {total}, {left:.0f} s left ")
            sys.stderr.flush()
            last, shown = now, True
        yield step
    if shown:
        sys.stderr.write("\r" + " " * 60 + "\r")
        sys.stderr.flush()
