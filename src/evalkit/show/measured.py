"""Pictures of gap metrics: verdicts beside a limit, and how many places keep one."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from evalkit.core.arrays import Vector
from evalkit.core.provenance import Provenance, combine
from evalkit.inference.infer import Inference
from evalkit.show import style
from evalkit.show.drawing import MARKERS, Drawing


def verdicts(
    panels: Mapping[str, Mapping[str, Inference]],
    *,
    limit: float,
    title: str,
    xlabel: str,
) -> Drawing:
    """Draw figures of several kinds, each in its panel, on their sides of one limit.

    Parameters
    ----------
    panels : mapping of str to mapping of str to Inference
        Heading of each panel, and its rows by label, each with one coordinate; the same rows in
        every panel.
    limit : float
        A dashed line; what is at or above it is filled and of another colour and shape.
    title, xlabel : str
        The answer that the figure gives, and what is drawn.
    """
    import matplotlib.pyplot as plt

    labels = list(dict.fromkeys(label for rows in panels.values() for label in rows))
    figure, grid = plt.subplots(
        1, len(panels), figsize=(8.0, 1.7 + 0.28 * len(labels)), layout="constrained",
        sharex=True, sharey=True, squeeze=False,
    )  # fmt: skip
    figure.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize=12, wrap=True)
    place = {label: -at for at, label in enumerate(labels)}
    frames = []
    for axes, (heading, rows) in zip(grid[0], panels.items(), strict=True):
        axes.set_title(heading, fontsize=10, fontweight="normal", pad=6)
        axes.axvline(0, color=style.GRID, lw=0.8)
        axes.axvline(limit, color=style.INK, lw=0.9, ls=(0, (4, 3)))
        frame = pd.concat([one.table.assign(label=label) for label, one in rows.items()])
        frame = frame.assign(panel=heading, limit=limit, keeps=frame["estimate"] < limit)
        for keeps, colour, marker in ((True, style.BLUE, MARKERS[0]), (False, style.ORANGE, "D")):
            mine = frame[frame["keeps"] == keeps]
            y = [place[label] for label in mine["label"]]
            axes.hlines(y, mine["conf_low"], mine["conf_high"], color=colour, lw=2)
            face = style.PAPER if keeps else colour
            name = "below the limit" if keeps else "at or above it"
            axes.plot(mine["estimate"], y, marker, color=colour, mfc=face, ms=6, label=name)
        frames.append(frame)
    grid[0][0].set_yticks(list(place.values()), list(place))
    for axes in grid[0]:
        axes.tick_params(axis="y", length=0)
    figure.supxlabel(xlabel, fontsize=10)
    handles, names = grid[0][0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower left", ncols=2)
    tiers = [one.provenance for rows in panels.values() for one in rows.values()]
    kept = ["panel", "label", "estimate", "conf_low", "conf_high", "limit", "keeps"]
    return Drawing(figure, pd.concat(frames, ignore_index=True)[kept], combine(*tiers))


def cumulative(
    values: Mapping[str, Vector],
    *,
    limit: float,
    title: str,
    xlabel: str,
    ylabel: str,
    provenance: Provenance,
) -> Drawing:
    """Draw for each series the share of places whose figure is at or below x.

    Parameters
    ----------
    values : mapping of str to Vector
        One figure per place.
    limit : float
        A dashed line.
    title, xlabel, ylabel : str
        The answer that the figure gives, and what is drawn.
    provenance : {"real", "documented", "restricted", "synthetic"}
    """
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(8.0, 4.2), layout="constrained")
    axes.set_title(title, wrap=True)
    axes.axvline(limit, color=style.INK, lw=0.9, ls=(0, (4, 3)))
    frames = []
    for at, (name, held) in enumerate(values.items()):
        x = np.sort(np.asarray(held, float))
        share = np.arange(1, len(x) + 1) / len(x)
        colour = style.CYCLE[at % len(style.CYCLE)]
        axes.step(np.r_[0.0, x], np.r_[0.0, share], where="post", color=colour, lw=1.8)
        axes.plot(x[-1], 1.0, MARKERS[at % len(MARKERS)], color=colour, ms=6, label=name)
        frames.append(pd.DataFrame({"series": name, "value": x, "share": share}))
    axes.set(xlabel=xlabel, ylabel=ylabel, xlim=(0, None), ylim=(0, 1.03))
    axes.yaxis.set_major_formatter(lambda share, _: f"{100 * share:.0f}%")
    figure.legend(loc="outside lower left", ncols=len(values))
    return Drawing(figure, pd.concat(frames, ignore_index=True).assign(limit=limit), provenance)
