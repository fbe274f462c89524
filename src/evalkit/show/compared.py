"""Pictures of several estimators on one panel: what they say above, how far they differ below."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from evalkit.show import style
from evalkit.show.drawing import MARKERS, Drawing, legend

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from evalkit.inference.compare import Comparison


def comparison(result: Comparison, *, title: str, label: str) -> Drawing:
    """Draw estimates side by side with intervals, and their differences below.

    One coordinate is drawn as rows, with the differences of all pairs. Several are drawn over the
    last level of the index, which must hold numbers, with the differences of the first estimator
    from each other one in the colour of that one.

    Parameters
    ----------
    result : Comparison
        From :func:`evalkit.compare`.
    title : str
        The answer the figure gives.
    label : str
        Name of the effect, with its unit.
    """
    together = result.together.table.reset_index()
    differences = result.differences.table.reset_index()
    names = list(dict.fromkeys(together["estimator"]))
    if len(together) == len(names):
        both = differences["first"] + " minus " + differences["second"]
        frames = together.assign(series=together["estimator"]), differences.assign(series=both)
        figure = _rows(title, label, *frames)
    else:
        mine = differences[differences["first"] == names[0]]
        frames = together.assign(series=together["estimator"]), mine.assign(series=mine["second"])
        figure = _columns(title, label, *frames, level=result.together.index.levels[-1])
    parts = [f.assign(part=p) for f, p in zip(frames, ("estimate", "difference"), strict=True)]
    return Drawing(figure, pd.concat(parts, ignore_index=True), result.together.provenance)


def _rows(title: str, label: str, above: pd.DataFrame, below: pd.DataFrame) -> Figure:
    import matplotlib.pyplot as plt

    share = [len(above), len(below)]
    figure, grid = plt.subplots(
        2, 1, figsize=(8.0, 1.8 + 0.32 * sum(share)), layout="constrained", height_ratios=share
    )
    figure.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize=12)
    for axes, frame, what in zip(grid, (above, below), ("", "difference in "), strict=True):
        at = np.arange(len(frame))[::-1]
        axes.axvline(0, color=style.MUTED, lw=0.8)
        axes.hlines(at, frame["conf_low"], frame["conf_high"], color=style.BLUE, lw=2)
        axes.plot(frame["estimate"], at, "o", color=style.BLUE, ms=6)
        axes.set_yticks(at, frame["series"])
        axes.set_ylim(-0.6, len(frame) - 0.4)
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel(what + label)
    return figure


def _columns(
    title: str, label: str, above: pd.DataFrame, below: pd.DataFrame, *, level: str
) -> Figure:
    import matplotlib.pyplot as plt
    from matplotlib.ticker import MaxNLocator

    figure, grid = plt.subplots(
        2, 1, figsize=(8.0, 6.2), layout="constrained", height_ratios=[3, 2], sharex=True
    )
    figure.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize=12)
    names = list(dict.fromkeys(above["series"]))
    for axes, frame in zip(grid, (above, below), strict=True):
        axes.axhline(0, color=style.MUTED, lw=0.8)
        for k, name in enumerate(names):
            _series(axes, frame[frame["series"] == name], level, k, len(names))
    grid[0].set_ylabel(label)
    grid[1].set_ylabel(f"{names[0]}\nminus the other")
    grid[1].set_xlabel(level)
    grid[1].xaxis.set_major_locator(MaxNLocator(integer=True))
    legend(figure)
    return figure


def _series(axes: Axes, frame: pd.DataFrame, level: str, k: int, of: int) -> None:
    if frame.empty:
        return
    turn, step = divmod(k, len(style.CYCLE))
    colour, marker = style.CYCLE[step], MARKERS[(step + turn) % len(MARKERS)]
    x = frame[level].to_numpy(float) + (k - (of - 1) / 2) * 0.6 / max(of, 4)
    axes.vlines(x, frame["conf_low"], frame["conf_high"], color=colour, lw=2)
    axes.plot(x, frame["estimate"], marker, color=colour, ms=5, label=frame["series"].iloc[0])
