"""Pictures of what a conclusion rests on: bounds by violation, every specification, power."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from evalkit.core.errors import OptionError
from evalkit.core.provenance import combine
from evalkit.inference.multiverse import Multiverse
from evalkit.inference.power_curve import PowerCurve
from evalkit.inference.sensitivity import Sensitivity
from evalkit.show import style
from evalkit.show.drawing import MARKERS, Drawing, canvas, legend

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def bounds(
    found: Mapping[str, Sensitivity], *, title: str, ylabel: str, xlabel: str = "bound m"
) -> Drawing:
    """Draw intervals by how far parallel trends may fail; crosses mark breakdown values.

    Parameters
    ----------
    found : mapping of str to Sensitivity
        Series by name, all under one restriction.
    title, ylabel, xlabel : str
        The answer that the figure gives, and axis labels with units.
    """
    if len({one.restriction for one in found.values()}) != 1:
        raise OptionError("one picture shows one restriction; draw the others apart")
    figure, axes = canvas(title)
    axes.axhline(0, color=style.MUTED, lw=0.8)
    points = np.unique(np.concatenate([one.m for one in found.values()]))
    width = 0.1 * float(np.diff(points).min()) if len(points) > 1 else 0.1
    frames = []
    for at, (name, one) in enumerate(found.items()):
        colour, marker = style.CYCLE[at % len(style.CYCLE)], MARKERS[at % len(MARKERS)]
        shift = (at - (len(found) - 1) / 2) * width
        axes.vlines(one.m + shift, one.conf_low, one.conf_high, color=colour, lw=2.4)
        middle = np.full(len(one.m), one.original.estimate[0])
        axes.plot(one.m + shift, middle, marker, color=colour, ms=5, label=name)
        breakdown = one.breakdown
        if 0 < breakdown <= points[-1]:
            axes.plot(breakdown, 0, "x", color=colour, ms=9, mew=2)
        frames.append(one.table.assign(series=name, breakdown=breakdown))
    axes.set_xticks(points)
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    legend(figure)
    tier = combine(*(one.provenance for one in found.values()))
    return Drawing(figure, pd.concat(frames, ignore_index=True), tier)


def specification_curve(many: Multiverse, *, title: str, ylabel: str) -> Drawing:
    """Draw every estimate in order, significant ones in colour, above the choices behind each.

    Parameters
    ----------
    many : Multiverse
    title, ylabel : str
        The answer that the figure gives, and the axis label with units.
    """
    import matplotlib.pyplot as plt

    names = [name for name, labels in many.declared.choices.items() if len(labels) > 1]
    table = many.table.sort_values("estimate", kind="stable").dropna(subset="estimate")
    rows = [(name, label) for name in names for label in many.declared.choices[name]]
    height = 2.6 + 0.19 * (len(rows) + len(names))
    figure, (top, below) = plt.subplots(
        2, 1, figsize=(8.0, height), layout="constrained", sharex=True,
        height_ratios=(2.4, 0.19 * (len(rows) + len(names))),
    )  # fmt: skip
    figure.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize=12, wrap=True)
    at = np.arange(len(table))
    counts = (table["p_value"] < 1 - many.declared.level).to_numpy()
    top.axhline(0, color=style.MUTED, lw=0.8)
    for mine, colour, label in (
        (~counts, style.SKY, "not significant"),
        (counts, style.ORANGE, "significant by itself"),
    ):
        some = table[mine]
        top.vlines(at[mine], some["conf_low"], some["conf_high"], color=colour, lw=0.7, alpha=0.35)
        top.plot(at[mine], some["estimate"], ".", color=colour, ms=3, label=label)
    top.set_ylabel(ylabel)
    top.legend(loc="upper left", ncols=2, markerscale=3)
    _choices(below, table, names, rows, counts)
    below.set_xlabel("specifications, by estimate")
    return Drawing(figure, table.reset_index(drop=True), many.provenance)


def _choices(
    axes: Axes, table: pd.DataFrame, names: list[str], rows: list[tuple[str, str]], counts: object
) -> None:
    """One line for each label; a tick where a specification has it."""
    places, labels, line = [], [], 0.0
    at = np.arange(len(table))
    for name in names:
        axes.text(
            -0.005, -line, name, transform=axes.get_yaxis_transform(), ha="right", va="center",
            fontsize=8, fontweight="bold",
        )  # fmt: skip
        line += 1
        for label in [label for one, label in rows if one == name]:
            mine = (table[name] == label).to_numpy()
            for which, colour in ((~np.asarray(counts), style.SKY), (counts, style.ORANGE)):
                both = mine & np.asarray(which)
                axes.vlines(at[both], -line - 0.35, -line + 0.35, color=colour, lw=0.7)
            places.append(-line)
            labels.append(label)
            line += 1
    axes.set_yticks(places, labels, fontsize=8)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(-line + 0.3, 0.7)
    axes.grid(visible=False)


def power(
    curves: Mapping[str, PowerCurve], *, title: str, xlabel: str, aim: float = 0.8
) -> Drawing:
    """Draw the share of panels in which an effect is found, by its size.

    Parameters
    ----------
    curves : mapping of str to PowerCurve
        Of one coordinate each.
    title, xlabel : str
        The answer that the figure gives, and the axis label with units.
    aim : float
        Power that a line marks.
    """
    figure, axes = canvas(title)
    axes.axhline(aim, color=style.MUTED, lw=0.8, ls=(0, (4, 3)))
    frames = []
    for at, (name, curve) in enumerate(curves.items()):
        if curve.power.shape[1] != 1:
            raise OptionError(f"curve {name!r} has {curve.power.shape[1]} coordinates; take one")
        colour, marker = style.CYCLE[at % len(style.CYCLE)], MARKERS[at % len(MARKERS)]
        low, high = (curve.power[:, 0] + s * 1.96 * curve.error[:, 0] for s in (-1, 1))
        axes.fill_between(curve.effects, low, high, color=colour, alpha=0.15, lw=0)
        line = f"{marker}-"
        axes.plot(curve.effects, curve.power[:, 0], line, color=colour, ms=4, label=name)
        frames.append(curve.table.assign(series=name))
    axes.set_ylim(0, 1)
    axes.set_xlabel(xlabel)
    axes.set_ylabel("probability that the effect is found")
    legend(figure)
    tier = combine(*(curve.provenance for curve in curves.values()))
    return Drawing(figure, pd.concat(frames, ignore_index=True), tier)
