"""Figures: each answers one question, carries its provenance and leaves its data behind as CSV."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from evalkit.core.adoption import Window
from evalkit.core.door import as_number
from evalkit.core.errors import OptionError, some
from evalkit.core.provenance import Provenance, combine
from evalkit.inference.infer import Inference
from evalkit.show import style
from evalkit.show.compared import comparison as comparison
from evalkit.show.drawing import MARKERS, canvas, legend
from evalkit.show.drawing import Drawing as Drawing
from evalkit.show.drawing import show as show
from evalkit.show.drawing import stamp as stamp
from evalkit.show.points import decomposition as decomposition
from evalkit.show.points import dots as dots
from evalkit.show.robustness import bounds as bounds
from evalkit.show.robustness import power as power
from evalkit.show.robustness import specification_curve as specification_curve

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from evalkit.did.comparison import SyntheticWeights


def event_study(
    results: Mapping[str, Inference] | Inference,
    *,
    title: str,
    ylabel: str,
    xlabel: str = "year",
    reference: float | None = None,
    start: float | None = None,
) -> Drawing:
    """Draw effects by period with pointwise intervals, and bands where they were computed.

    Parameters
    ----------
    results : Inference or mapping of str to Inference
        Coordinates are read from the last index level.
    title : str
        The answer the figure gives.
    ylabel, xlabel : str
        Axis labels with units.
    reference : float, optional
        Period that is zero by construction, drawn as a hollow mark.
    start : float, optional
        First treated period; a line separates before from after.
    """
    from matplotlib.ticker import MaxNLocator

    named = {"": results} if isinstance(results, Inference) else dict(results)
    figure, axes = canvas(title)
    drawn = _effects(axes, named, reference=reference, start=start)
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    legend(figure)
    provenance = combine(*(result.provenance for result in named.values()))
    return Drawing(figure, drawn, provenance)


def event_studies(
    panels: Mapping[str, Mapping[str, Inference]],
    *,
    title: str,
    ylabel: str,
    xlabel: str = "year",
    reference: float | None = None,
    start: float | None = None,
) -> Drawing:
    """Draw several event studies side by side on one scale, with one legend below.

    Parameters
    ----------
    panels : mapping of str to mapping of str to Inference
        Heading of each panel, and its series by name, in the same order in every panel.
    title, ylabel, xlabel, reference, start
        As in :func:`event_study`.
    """
    figure, grid = _panels(title, list(panels), sharey=True)
    frames = []
    for axes, (heading, named) in zip(grid, panels.items(), strict=True):
        drawn = _effects(axes, named, reference=reference, start=start)
        axes.set_xlabel(xlabel)
        frames.append(drawn.assign(panel=heading))
    grid[0].set_ylabel(ylabel)
    legend(figure)
    tiers = [result.provenance for named in panels.values() for result in named.values()]
    return Drawing(figure, pd.concat(frames, ignore_index=True), combine(*tiers))


def _effects(
    axes: Axes,
    named: Mapping[str, Inference],
    *,
    reference: float | None,
    start: float | None,
) -> pd.DataFrame:
    """Draw the series of one event study and return the numbers drawn."""
    axes.axhline(0, color=style.MUTED, lw=0.8)
    if start is not None:
        axes.axvline(start - 0.5, color=style.MUTED, lw=0.8, ls=(0, (4, 3)))
    frames = []
    width = 0.16
    for at, (name, result) in enumerate(named.items()):
        frame = result.table.reset_index()
        period = frame[frame.columns[result.index_levels - 1]].to_numpy(float)
        shift = (at - (len(named) - 1) / 2) * width
        colour = style.CYCLE[at % len(style.CYCLE)]
        if "band_low" in frame:
            axes.vlines(
                period + shift, frame["band_low"], frame["band_high"], color=colour, lw=1, alpha=0.5
            )
        axes.vlines(period + shift, frame["conf_low"], frame["conf_high"], color=colour, lw=2.4)
        marker = MARKERS[at % len(MARKERS)]
        axes.plot(period + shift, frame["estimate"], marker, color=colour, ms=5, label=name)
        frames.append(frame.assign(series=name))
    if reference is not None:
        axes.plot([reference], [0], "o", mfc=style.PAPER, mec=style.MUTED, ms=6)
    return pd.concat(frames, ignore_index=True)


def forest(
    frame: pd.DataFrame,
    *,
    title: str,
    xlabel: str,
    provenance: Provenance,
    group: str | None = None,
    quoted: str | None = None,
) -> Drawing:
    """Draw one row per design: estimate and interval, with quoted values hollow.

    Parameters
    ----------
    frame : pandas.DataFrame
        Columns ``label``, ``estimate``, ``conf_low``, ``conf_high`` (NaN: no interval known) and,
        with ``group``, the column that colours the rows.
    quoted : str, optional
        Column that is true where a row quotes somebody else; such rows are drawn hollow. Name them
        in ``group``, so that the legend tells them apart.
    """
    groups = list(dict.fromkeys(frame[group])) if group else [""]
    figure, axes = canvas("", (8.0, 1.1 + 0.3 * len(frame)))
    figure.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize=12)
    rows = np.arange(len(frame))[::-1]
    axes.axvline(0, color=style.MUTED, lw=0.8)
    for at, name in enumerate(groups):
        mine = (frame[group] == name).to_numpy() if group else np.full(len(frame), True)
        colour = style.CYCLE[at % len(style.CYCLE)]
        axes.hlines(
            rows[mine], frame["conf_low"][mine], frame["conf_high"][mine], color=colour, lw=2
        )
        hollow = quoted is not None and frame[quoted][mine].all()
        axes.plot(
            frame["estimate"][mine], rows[mine], MARKERS[at % len(MARKERS)], color=colour, ms=6,
            mfc=style.PAPER if hollow else colour, label=name,
        )  # fmt: skip
    axes.set_yticks(rows, frame["label"])
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(xlabel)
    if group:
        figure.legend(loc="outside lower left", ncols=min(3, len(groups)))
    return Drawing(figure, frame.reset_index(drop=True), provenance)


def paths(
    panels: Mapping[str, Mapping[str, Inference]],
    *,
    title: str,
    xlabel: str = "year",
    start: float | None = None,
) -> Drawing:
    """Draw estimates over time as lines with their intervals, one panel per quantity, from zero.

    Parameters
    ----------
    panels : mapping of str to mapping of str to Inference
        Heading of each panel, with units, and its series by name; times are read from the last
        index level. A name has one colour in all panels.
    title : str
        The answer the figure gives.
    start : float, optional
        First treated period; a line separates before from after.
    """
    figure, grid = _panels(title, list(panels))
    names = list(dict.fromkeys(name for named in panels.values() for name in named))
    frames = []
    for axes, (heading, named) in zip(grid, panels.items(), strict=True):
        axes.axhline(0, color=style.MUTED, lw=0.8)
        if start is not None:
            axes.axvline(start - 0.5, color=style.MUTED, lw=0.8, ls=(0, (4, 3)))
        for name, result in named.items():
            frame = result.table.reset_index()
            times = frame[frame.columns[result.index_levels - 1]]
            colour = style.CYCLE[names.index(name) % len(style.CYCLE)]
            axes.plot(times, frame["estimate"], "o-", color=colour, ms=4, label=name)
            axes.fill_between(
                times, frame["conf_low"], frame["conf_high"], color=colour, alpha=0.15, lw=0
            )
            frames.append(frame.assign(panel=heading, series=name))
        axes.set_xlabel(xlabel)
    legend(figure)
    tiers = [result.provenance for named in panels.values() for result in named.values()]
    return Drawing(figure, pd.concat(frames, ignore_index=True), combine(*tiers))


def _panels(title: str, headings: Sequence[str], *, sharey: bool = False) -> tuple[Figure, Any]:
    """Axes side by side, each with its heading, under one title."""
    import matplotlib.pyplot as plt
    from matplotlib.ticker import MaxNLocator

    figure, grid = plt.subplots(
        1, len(headings), figsize=(8.0, 4.2), layout="constrained", sharey=sharey, squeeze=False
    )
    figure.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize=12)
    for axes, heading in zip(grid[0], headings, strict=True):
        axes.set_title(heading, fontsize=10, fontweight="normal", pad=6)
        bins = 16 // len(headings) if len(headings) < 4 else 3  # so that years do not touch
        axes.xaxis.set_major_locator(MaxNLocator(nbins=bins, integer=True))
    return figure, grid[0]


def synthetic_weights(
    weights: SyntheticWeights,
    *,
    title: str,
    ylabel: str,
    cohort: int | float | Window | None = None,
    top: int = 12,
) -> Drawing:
    """Draw a cohort beside its weighted controls, with both kinds of weights.

    ``cohort`` defaults to the first; the ``top`` largest unit weights are drawn. The synthetic path
    is moved by the mean gap that the time weights leave.
    """
    import matplotlib.pyplot as plt

    cohorts = [c.cohort for c in weights.comparisons]
    if cohort is not None and cohort not in cohorts:
        raise OptionError(f"no cohort {cohort}; the weights have {some(cohorts)}")
    mine = weights.comparisons[0 if cohort is None else cohorts.index(cohort)]
    frames = (weights.paths(), weights.times(), weights.units())
    path, time, unit = (frame[frame["cohort"] == mine.cohort] for frame in frames)
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(8.0, 4.4), layout="constrained", width_ratios=(3, 2)
    )
    figure.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize=12)
    x = as_number(weights.periods)
    for at, column in enumerate(("treated", "synthetic")):
        left.plot(x, path[column], color=style.CYCLE[at], label=column)
    low, high = left.get_ylim()
    height = 0.25 * (high - low) * time["weight"] / max(time["weight"].max(), 1e-12)
    left.bar(x[: len(time)], height, bottom=low, color=style.SKY, alpha=0.5, label="time weight")
    left.axvline(x[len(time) - 1 : len(time) + 1].mean(), color=style.MUTED, lw=0.8, ls="--")
    if weights.periods.dtype.kind not in "iuf":
        left.set_xticks(x, weights.periods)
    left.set_ylabel(ylabel)
    left.legend(loc="best")
    used = unit[unit["weight"] != 0].sort_values("weight", key=np.abs, kind="stable").tail(top)
    right.barh(used["unit"].astype(str), used["weight"], color=style.BLUE)
    right.set_title("unit weight", fontsize=10, fontweight="normal")
    data = pd.concat([path, time, unit], keys=["path", "time", "unit"], names=["part"])
    return Drawing(figure, data.reset_index("part", drop=False), weights.meta.provenance)
