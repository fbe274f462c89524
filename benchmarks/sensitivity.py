"""Times an interval under relative magnitudes against the packages that make one.

Run ``PYTHONPATH=src python benchmarks/sensitivity.py`` with a Python that has the packages. What
counts is processor time; a first call on a small study loads and compiles, and is not timed.
``units`` and ``periods`` are the periods before and after the reference. It writes
``data/benchmarks/sensitivity.csv``.
"""

from __future__ import annotations

import csv
import time
import warnings
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

STORED = Path(__file__).resolve().parent.parent / "data" / "benchmarks" / "sensitivity.csv"
SIZES = [(5, 2), (10, 10)]
M, POINTS = 1.0, 1000
CALLS = 3
SLOW = 20.0  # processor seconds of a call after which it is not repeated
NOISE = 0.02  # of the length: the peer simulates a critical value and walks a grid
COLUMNS = (
    "task", "what", "peer", "version", "units", "periods", "cpu_seconds", "calls", "low", "high",
    "agrees", "ratio", "note",
)  # fmt: skip

Array = np.ndarray[Any, Any]
Interval = tuple[float, float]


def study(p: int, q: int) -> tuple[Array, Array]:
    """A smooth violation and an effect, with the covariance of a random walk plus noise."""
    t = np.r_[np.arange(-p, 0), np.arange(1, q + 1)]
    beta = 0.005 * t**2 / p + 0.02 * np.sin(3 * t) + np.where(t > 0, 0.5, 0)
    same = np.sign(t)[:, None] == np.sign(t)
    walk = np.where(same, np.minimum(np.abs(t)[:, None], np.abs(t)), 0)
    return beta, 0.01 * (0.3 * walk + 0.5 + 0.5 * np.eye(p + q))


def by_evalkit(beta: Array, sigma: Array, p: int) -> Interval:
    import evalkit as ek
    from evalkit.core.labels import Index
    from evalkit.core.origin import Meta

    q = len(beta) - p
    psi = np.repeat(np.linalg.cholesky(sigma).T, 16, axis=0) / 4
    units = np.arange(len(psi))
    meta = Meta("effect", "made by hand", "score", len(psi), "synthetic")
    event = ek.Estimate(beta, psi, units, units,
                        Index.flat("event", [*range(-p - 1, -1), *range(q)]), meta)  # fmt: skip
    found = ek.sensitivity.relative_magnitudes(event, m=[M], vcov="CR0")
    return float(found.conf_low[0]), float(found.conf_high[0])


def by_moderndid(beta: Array, sigma: Array, p: int) -> Interval:
    from moderndid.didhonest import compute_conditional_cs_rm

    q = len(beta) - p
    made = compute_conditional_cs_rm(
        beta, sigma, p, q, l_vec=np.full((q, 1), 1 / q), m_bar=M, grid_points=POINTS
    )
    kept = made["grid"][made["accept"] > 0]
    return float(kept.min()), float(kept.max())


PEERS: dict[str, Callable[[Array, Array, int], Interval]] = {
    "evalkit": by_evalkit,
    "moderndid": by_moderndid,
}


def timed(run: Callable[[Array, Array, int], Interval], p: int, q: int) -> tuple[float, int, Any]:
    """Least processor seconds of a few calls, how many, and the answer."""
    spent: list[float] = []
    while len(spent) < CALLS and (not spent or spent[-1] < SLOW):
        began = time.process_time()
        answer = run(*study(p, q), p)
        spent.append(time.process_time() - began)
    return min(spent), len(spent), answer


def main() -> None:
    warnings.simplefilter("ignore")
    rows = []
    for p, q in SIZES:
        made = {}
        for peer, run in PEERS.items():
            run(*study(2, 2), 2)
            made[peer] = timed(run, p, q)
        ours = made["evalkit"]
        for peer, (seconds, calls, (low, high)) in made.items():
            gap = max(abs(low - ours[2][0]), abs(high - ours[2][1]))
            rows.append({
                "task": "relative_magnitudes", "what": f"95% interval of the average, m = {M:g}",
                "peer": peer, "version": metadata.version(peer) if peer != "evalkit" else "",
                "units": p, "periods": q, "cpu_seconds": f"{seconds:.4g}", "calls": calls,
                "low": f"{low:.6g}", "high": f"{high:.6g}",
                "agrees": gap <= NOISE * (ours[2][1] - ours[2][0]),
                "ratio": f"{seconds / ours[0]:.3g}",
                "note": "" if peer == "evalkit" else f"grid of {POINTS} effects, 1000 simulations",
            })  # fmt: skip
    STORED.parent.mkdir(parents=True, exist_ok=True)
    with STORED.open("w", newline="", encoding="utf-8") as file:
        out = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        out.writeheader()
        out.writerows(rows)


if __name__ == "__main__":
    main()
