"""The command ``evalkit``: check a folder of a county study, write an empty one."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import evalkit
from evalkit.core.errors import EvalkitError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 0 if all is well, 1 if a folder breaks its contract, 2 for a wrong call."""
    about = "Check a folder of a county study, or write an empty one."
    parser = argparse.ArgumentParser(prog="evalkit", description=about)
    parser.add_argument("--version", action="version", version=f"evalkit {evalkit.__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, words in (
        ("check", "hold a folder to the contract of the county study; print every broken rule"),
        ("template", "write empty tables with their headers, and a README of the columns"),
    ):
        commands.add_parser(name, help=words, description=words).add_argument("folder")
    chosen = parser.parse_args(arguments)
    try:
        return _check(chosen.folder) if chosen.command == "check" else _template(chosen.folder)
    except (EvalkitError, OSError) as wrong:
        sys.stderr.write(f"evalkit: {wrong}\n")
        return 1


def _check(folder: str) -> int:
    from evalkit.data.county.folder import check

    broken = check(folder)
    for table, lines in broken.items():
        sys.stdout.write(f"{table}\n" + "".join(f"  - {line}\n" for line in lines))
    count = sum(map(len, broken.values()))
    told = {0: "no rule is broken", 1: "1 rule is broken"}.get(count, f"{count} rules are broken")
    sys.stdout.write(f"evalkit: {told}\n")
    return 1 if count else 0


def _template(folder: str) -> int:
    from evalkit.data.county.folder import template

    written = template(folder)
    sys.stdout.write("".join(f"{path}\n" for path in written))
    return 0
