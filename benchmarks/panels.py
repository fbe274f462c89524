"""Generated panels for the benchmarks: seeded, with known truth, about nobody."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

SEED = 20240607
COHORTS, NEVER = 8, 0.35


def staggered(units: int, periods: int) -> pd.DataFrame:
    """Sorted by ``id`` and ``time``, balanced; ``g`` is 0, ``start`` empty and ``rel`` -1 for the
    never-treated; covariates and the cluster ``cl`` are constant within units."""
    rng = np.random.default_rng(SEED)
    x = rng.standard_normal((units, 3))
    propensity = 0.5 * x[:, 0] + rng.logistic(size=units)
    dates = np.unique(np.linspace(3, periods, COHORTS).round().astype(int))
    late = propensity >= np.quantile(propensity, NEVER)
    g = np.where(late, rng.choice(dates, units), 0)
    clusters = max(31, min(340, units // 10))
    cl = rng.integers(0, clusters, units)
    time = np.arange(1, periods + 1)
    noise = rng.standard_normal((units, periods))
    for t in range(1, periods):
        noise[:, t] = 0.5 * noise[:, t - 1] + np.sqrt(0.75) * noise[:, t]
    noise += 0.2 * rng.standard_normal((clusters, periods))[cl]
    level = rng.standard_normal(units) + 0.3 * x[:, 0]
    common = np.cumsum(0.1 + 0.05 * rng.standard_normal(periods))
    on = (g[:, None] > 0) & (time >= g[:, None])
    effect = np.where(on, (0.3 + 0.05 * (time - g[:, None])) * (1 + 0.02 * g[:, None]), 0.0)
    y = level[:, None] + common + 0.08 * np.outer(x[:, 0], time) + noise + effect
    frame = {
        "id": np.repeat(np.arange(1, units + 1), periods),
        "time": np.tile(time, units),
        "g": np.repeat(g, periods),
        "y": y.ravel(),
        **{f"x{j + 1}": np.repeat(x[:, j], periods) for j in range(3)},
        "cl": np.repeat(cl, periods),
        "d": on.ravel().astype(np.int64),
    }
    out = pd.DataFrame(frame)
    out["start"] = out["g"].where(out["g"] > 0).astype(float)
    out["rel"] = np.where(out["g"] > 0, out["time"] - out["g"], -1)
    return out


def block(controls: int, periods: int, treated: int = 20) -> pd.DataFrame:
    """One adoption date, for synthetic control: ``start``, ``treat``, ``post``."""
    rng = np.random.default_rng(SEED)
    units, before = treated + controls, int(0.65 * periods)
    factors = 0.3 * rng.standard_normal((periods, 2)).cumsum(axis=0)
    load = rng.standard_normal((units, 2))
    load[:treated] += 0.5
    time = np.arange(1, periods + 1)
    treat = np.arange(units) < treated
    d = treat[:, None] & (time > before)
    level = rng.standard_normal((units, 1))
    y = level + load @ factors.T + 0.5 * rng.standard_normal((units, periods)) + 0.8 * d
    return pd.DataFrame(
        {
            "id": np.repeat(np.arange(units), periods),
            "time": np.tile(time, units),
            "y": y.ravel(),
            "d": d.ravel().astype(int),
            "treat": np.repeat(treat, periods).astype(int),
            "post": np.tile(time > before, units).astype(int),
            "start": np.repeat(np.where(treat, before + 1.0, np.nan), periods),
        }
    )


def placed(units: int, periods: int) -> pd.DataFrame:
    """Towns on a square grid of 11 km, those of the south-west corner treated from one date on,
    with effects on towns within 30 km; a second outcome ``other`` without effects, controls, and
    ``pupils`` of whom ``seen`` are tested, fewer under treatment."""
    rng = np.random.default_rng(SEED)
    side = int(np.ceil(np.sqrt(units)))
    north, east = np.divmod(np.arange(units), side)
    treat = (north < side // 3) & (east < side // 2)
    near = ~treat & (north < side // 3 + 3) & (east < side // 2 + 3)
    time, before = np.arange(1, periods + 1), periods // 2
    after = time > before
    x = rng.standard_normal((units, 3)) + 0.3 * treat[:, None]
    y = rng.standard_normal((units, 1)) + 0.1 * time + rng.standard_normal((units, periods))
    y += (0.5 * treat + 0.2 * near)[:, None] * after + 0.05 * x[:, :1] * time
    tested = np.where(treat[:, None] & after, 0.9, 0.95)
    frame = {
        "id": np.repeat(np.arange(1, units + 1), periods),
        "time": np.tile(time, units),
        "y": y.ravel(),
        "other": rng.standard_normal(units * periods),
        "start": np.repeat(np.where(treat, before + 1.0, np.nan), periods),
        "latitude": np.repeat(36 + 0.1 * north, periods),
        "longitude": np.repeat(118 + 0.1 * east, periods),
        **{f"x{j + 1}": np.repeat(x[:, j], periods) for j in range(3)},
        "seen": (rng.random((units, periods)) < tested).ravel().astype(int),
    }
    return pd.DataFrame(frame)


def panel(frame: pd.DataFrame, **options: Any) -> Any:
    """Any of them as evalkit reads it."""
    import evalkit as ek

    return ek.Panel.from_frame(
        frame,
        outcome="y",
        unit="id",
        time="time",
        cohort="start",
        provenance="synthetic",
        **options,
    )
