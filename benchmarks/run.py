"""Run a suite of benchmarks: `python benchmarks/run.py did [--tasks cs imputation] [--calls 5]`."""

from __future__ import annotations

import argparse
from importlib import import_module

import harness


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("suite")
    parser.add_argument("--tasks", nargs="*", help="default: all")
    parser.add_argument("--calls", type=int, default=5)
    parser.add_argument("--sizes", nargs="*", type=int, help="numbers of units; default: all")
    parser.add_argument("--serve", nargs=4, help=argparse.SUPPRESS)
    given = parser.parse_args()
    suite = import_module(given.suite).suite
    if given.serve:
        task, peer, units, periods = given.serve
        harness.serve(suite, task, peer, int(units), int(periods))
    else:
        tasks = given.tasks or [*suite.tasks, "import"]
        harness.run(suite, tasks, given.calls, given.sizes or [])


if __name__ == "__main__":
    main()
