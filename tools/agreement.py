"""Hold re-executed results against the committed ones.

Each claim within its own tolerance, the data behind figures to rounding, everything else exactly:
the tolerance for floats that nbval lacks.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

RTOL = 1e-9  # rounding of another processor or BLAS, far below any digit that is printed
ATOL = 1e-12  # the same for a number that is zero but for rounding
MEASURED = ("value", "se", "low", "high")  # the fields that a claim's relative tolerance is for


def differences(got: Mapping[str, bytes], committed: Mapping[str, bytes]) -> Iterator[str]:
    """Yield one line for each difference between two sets of files (path -> content)."""
    for path in sorted({*got, *committed}):
        if path not in got:
            yield f"{path}: committed, but no notebook wrote it"
        elif path not in committed:
            yield f"{path}: written, but not committed"
        elif path.endswith(".json"):
            yield from in_claims(path, json.loads(got[path]), json.loads(committed[path]))
        elif path.endswith(".csv"):
            yield from in_rows(path, got[path].decode(), committed[path].decode())
        elif got[path] != committed[path]:
            yield f"{path}: other bytes"


def in_claims(path: str, got: Any, committed: Any) -> Iterator[str]:
    for part in sorted({*got, *committed} - {"claims"}):
        if got.get(part) != committed.get(part):
            yield f"{path}: {part} is {got.get(part)!r}, committed {committed.get(part)!r}"
    for name in sorted({*got["claims"], *committed["claims"]}):
        if name not in got["claims"]:
            yield f"{path}: claim {name} is committed, but the notebook does not make it"
        elif name not in committed["claims"]:
            yield f"{path}: claim {name} is not committed"
        else:
            new, old = got["claims"][name], committed["claims"][name]
            for field in sorted({*new, *old}):
                now, then = new.get(field), old.get(field)
                if now != then and not (
                    field in MEASURED and close(now, then, old["tolerance"], ATOL)
                ):
                    yield f"{path}: {name}.{field} is {now!r}, committed {then!r}"


def in_rows(path: str, got: str, committed: str) -> Iterator[str]:
    new, old = list(csv.reader(got.splitlines())), list(csv.reader(committed.splitlines()))
    if len(new) != len(old):
        yield f"{path}: {len(new)} lines, committed {len(old)}"
        return
    for line, (row, before) in enumerate(zip(new, old, strict=True), 1):
        equal = len(row) == len(before) and all(
            text == was or close(number(text), number(was), RTOL, ATOL)
            for text, was in zip(row, before, strict=True)
        )
        if not equal:
            yield f"{path}: line {line} is {','.join(row)}, committed {','.join(before)}"
            return


def number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def close(a: Any, b: Any, rtol: float, atol: float) -> bool:
    """Floats within tolerance (nan equals nan), anything else equal."""
    if isinstance(a, float) and isinstance(b, float):
        return math.isclose(a, b, rel_tol=rtol, abs_tol=atol) or (math.isnan(a) and math.isnan(b))
    return bool(a == b)
