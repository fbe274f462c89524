"""A line on the terminal while something takes more than a second; nothing anywhere else."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
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
            _write(f"{label}: {done} of {total}, {left:.0f} s left ")
            last, shown = now, True
        yield step
    if shown:
        _write(" " * 60 + "\r")


@contextmanager
def watched(label: str, percent: Callable[[], float] | None = None) -> Iterator[None]:
    """Show that one long call goes on, and how far it is if ``percent`` can say.

    Like :func:`progress`: after a second, and only on a terminal.

    Examples
    --------
    >>> with watched("a pass over the records"):
    ...     total = sum(range(3))
    """
    if not sys.stderr.isatty():
        yield
        return
    over = threading.Event()

    def show() -> None:
        start = time.monotonic()
        wait = PATIENCE
        while not over.wait(wait):
            done = percent() if percent else -1.0
            far = f"{done:.0f} %, " if done > 0 else ""
            _write(f"{label}: {far}{time.monotonic() - start:.0f} s ")
            wait = PATIENCE / 10
        if wait < PATIENCE:
            _write(" " * 60 + "\r")

    display = threading.Thread(target=show, daemon=True)
    display.start()
    try:
        yield
    finally:
        over.set()
        display.join()


def _write(line: str) -> None:
    sys.stderr.write("\r" + line)
    sys.stderr.flush()
