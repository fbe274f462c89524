"""A line on a terminal while something takes long, and nothing anywhere else."""

from __future__ import annotations

import io
import sys
import time

import pytest

from evalkit.core import progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(progress, "PATIENCE", 0.02)


def test_a_long_call_shows_how_far_it_is_and_wipes_its_line(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with progress.watched("reading", lambda: 40.0):
        time.sleep(0.2)
    said = sys.stderr.getvalue()
    assert "reading: 40 %, 0 s" in said
    assert said.endswith(" " * 60 + "\r")


def test_a_call_that_fails_stops_its_display(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with pytest.raises(KeyboardInterrupt), progress.watched("reading"):
        raise KeyboardInterrupt
    assert sys.stderr.getvalue() == ""


def test_nothing_is_said_where_nobody_looks(monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with progress.watched("reading"):
        time.sleep(0.1)
    assert list(progress.progress(range(3), 3, "draws")) == [0, 1, 2]
    assert sys.stderr.getvalue() == ""
