"""Pictures of units that are compared: league tables with their doubt, and where variance lies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from evalkit.core.arrays import Vector
from evalkit.core.errors import OptionError
from evalkit.core.provenance import Provenance
from evalkit.inference.ranks import Ranks
from evalkit.show import style
from evalkit.show.figures import Drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

REACH = ("above", "neither", "below")
COLOURS = {"above": style.BLUE, "neither": style.MUTED, "below": style.ORANGE}


def caterpillar(
    frame: pd.DataFrame, *, title: str, ylabel: str, xlabel: str, provenance: Provenance
) -> Drawing:
    """Draw units in order of their value, each with its interval, coloured by which side of zero.

    Parameters
    ----------
    frame : pandas.DataFrame
        Columns ``estimate``, ``low`` and ``high``, one row per unit.
    title : str
        The answer the figure gives.
    ylabel, xlabel : str
        What is drawn, with its unit; what the units are.
    """
    ordered = frame.sort_values("estimate", kind="stable").reset_index(drop=True)
    side = np.select([ordered["low"] > 0, ordered["high"] < 0], ["above", "below"], REACH[1])
    axes = _axes(title)
    axes.axhline(0, color=style.MUTED, lw=0.8)
    for name in REACH:
        mine = np.flatnonzero(side == name)
        if not len(mine):
            continue
        rows = ordered.iloc[mine]
        axes.vlines(mine, rows["low"], rows["high"], color=COLOURS[name], lw=1.3)
        label = "interval holds the mean" if name == REACH[1] else f"interval {name} the mean"
        axes.plot(mine, rows["estimate"], "o", color=COLOURS[name], ms=3, label=label)
    axes.set_xticks([])
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    _legend(axes)
    return Drawing(axes.figure, ordered.assign(side=side), provenance)  # type: ignore[arg-type]


def shrinkage(
    frame: pd.DataFrame, *, title: str, ylabel: str, xlabel: str, provenance: Provenance
) -> Drawing:
    """Draw an arrow from each unit's raw value to its shrunken one, over the unit's pupils.

    Parameters
    ----------
    frame : pandas.DataFrame
        Columns ``n``, ``raw`` and ``shrunken``, one row per unit.
    title, ylabel, xlabel
        As in :func:`caterpillar`.
    """
    axes = _axes(title)
    axes.axhline(0, color=style.MUTED, lw=0.8)
    for row in frame.itertuples():
        axes.annotate(
            "", (row.n, row.shrunken), (row.n, row.raw),
            arrowprops={"arrowstyle": "-|>", "color": style.MUTED, "lw": 0.8, "shrinkA": 0,
                        "shrinkB": 0, "mutation_scale": 7},
        )  # fmt: skip
    axes.plot(frame["n"], frame["raw"], "o", mfc=style.PAPER, mec=style.ORANGE, ms=4, label="raw")
    axes.plot(frame["n"], frame["shrunken"], "o", color=style.BLUE, ms=3.5, label="shrunken")
    axes.set_xscale("log")
    ticks = [t for t in (1, 2, 5, 10, 20, 50, 100, 200, 500) if t <= 1.2 * frame["n"].max()]
    axes.set_xticks(ticks, [str(t) for t in ticks])
    axes.minorticks_off()
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    _legend(axes)
    return Drawing(axes.figure, frame.reset_index(drop=True), provenance)  # type: ignore[arg-type]


def rank_sets(sets: Ranks, *, title: str, xlabel: str) -> Drawing:
    """Draw the set of ranks that each unit may have, units in order of their point rank.

    Parameters
    ----------
    sets : Ranks
    title : str
        The answer the figure gives.
    xlabel : str
        What the units are, and in what order.
    """
    frame = sets.table.reset_index().sort_values("rank", kind="stable").reset_index(drop=True)
    axes = _axes(title)
    at = np.arange(1, len(frame) + 1)
    axes.vlines(at, frame["low"], frame["high"], color=style.SKY, lw=2.6)
    axes.plot(at, frame["rank"], "o", color=style.INK, ms=2.6, label="rank in the table")
    axes.plot([], [], "-", color=style.SKY, lw=2.6, label=f"{sets.level:.0%} set of ranks")
    axes.set_ylim(len(frame) + 1, 0)
    axes.set_yticks([1, *range(10, len(frame) + 1, 10 if len(frame) < 100 else 20)])
    axes.set_xticks([])
    axes.set_xlabel(xlabel)
    axes.set_ylabel("rank (1 = largest)")
    _legend(axes)
    return Drawing(axes.figure, frame, sets.meta.provenance)  # type: ignore[arg-type]


def shares(
    models: Mapping[str, pd.DataFrame],
    *,
    title: str,
    xlabel: str,
    provenance: Provenance,
    names: Mapping[str, str] | None = None,
) -> Drawing:
    """Draw where variance lies, one bar per model.

    Parameters
    ----------
    models : mapping of str to pandas.DataFrame
        Label of each bar, and ``variance`` of a multilevel model (levels and their shares).
    title, xlabel
        As in :func:`caterpillar`.
    names : mapping of str to str, optional
        Words for the levels.
    """
    words = dict(names or {})
    parts = {
        label: frame[frame["effect"] == "intercept"].set_index("level")["share"]
        for label, frame in models.items()
    }
    levels = list(dict.fromkeys(level for part in parts.values() for level in part.index))[::-1]
    if not levels:
        raise OptionError("the models have no levels to draw")
    axes = _axes(title, height=1.6 + 0.55 * len(parts))
    left = np.zeros(len(parts))
    colours = [style.MUTED, style.SKY, style.BLUE, style.ORANGE, style.PURPLE]
    order = ["residual", *(level for level in levels[::-1] if level != "residual")]
    for level, colour in zip(order, colours, strict=False):
        width = np.array([float(part.get(level, 0.0)) for part in parts.values()])
        label = words.get(level, level)
        axes.barh(list(parts), width, left=left, color=colour, label=label, height=0.6)
        _name_shares(axes, left, width)
        left += width
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.set_xlabel(xlabel)
    axes.tick_params(axis="y", length=0)
    _legend(axes)
    drawn = pd.concat(parts, names=["model"]).rename("share").reset_index()
    return Drawing(axes.figure, drawn, provenance)  # type: ignore[arg-type]


def _name_shares(axes: Axes, left: Vector, width: Vector) -> None:
    """Print each share in its part of the bar, where there is room."""
    for row, (start, size) in enumerate(zip(left, width, strict=True)):
        if size >= 0.04:
            axes.text(start + size / 2, row, f"{size:.0%}", ha="center", va="center",
                      color=style.PAPER, fontsize=9, fontweight="bold")  # fmt: skip


def _legend(axes: Axes) -> None:
    """Names below the picture, small enough to leave the right corner to the evidence tier."""
    axes.figure.legend(
        *axes.get_legend_handles_labels(), loc="outside lower left", ncols=4, fontsize=9,
        columnspacing=1.4, handletextpad=0.5,
    )  # fmt: skip


def _axes(title: str, height: float = 4.4) -> Axes:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(8.0, height), layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize=12, wrap=True)
    return axes
