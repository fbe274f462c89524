"""Shared by all tests: the folder on the import path, and one derandomised hypothesis profile."""

import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).parent))
collect_ignore_glob = ["goldens/*.py"]  # they need the packages whose numbers they store

settings.register_profile(
    "evalkit",
    derandomize=True,  # a failure seen once is seen by everybody
    deadline=None,  # a shared machine may pause any example
    max_examples=25,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("evalkit")


def pytest_terminal_summary(terminalreporter):
    """Say at the very end that Spark was not tested, where nobody can miss it."""
    reasons = {
        str(report.longrepr[2])
        for report in terminalreporter.getreports("skipped")
        if isinstance(report.longrepr, tuple) and "Spark:" in str(report.longrepr[2])
    }
    for reason in sorted(reasons):
        terminalreporter.write_sep("!", f"SPARK WAS NOT TESTED. {reason}", red=True, bold=True)


@pytest.fixture(autouse=True)
def _figures():
    """Close what a test has drawn."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.fixture
def results(tmp_path, monkeypatch):
    """A folder of its own for claims and figures."""
    folder = tmp_path / "results"
    monkeypatch.setenv("EVALKIT_RESULTS", str(folder))
    return folder
