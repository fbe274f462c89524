"""Pictures of weights: the comparisons behind an average, and what each cell counts for."""

from __future__ import annotations

import numpy as np
import pandas as pd

from evalkit.core.errors import CombinationError
from evalkit.core.estimate import Estimate
from evalkit.core.provenance import Provenance
from evalkit.show import style
from evalkit.show.drawing import MARKERS, Drawing


def decomposition(
    parts: Estimate, *, title: str, ylabel: str, xlabel: str = "weight, %"
) -> Drawing:
    """Draw each comparison by its weight; a line marks the weighted mean.

    Parameters
    ----------
    parts : Estimate
        Made by :func:`evalkit.did.bacon`: levels ``type``, ``treated``, ``control``, and a mass.
    title, ylabel, xlabel : str
        The answer that the figure gives, and axis labels with units.
    """
    import matplotlib.pyplot as plt

    if parts.mass is None or parts.index.levels != ("type", "treated", "control"):
        raise CombinationError(
            f"a picture of comparisons needs the parts of evalkit.did.bacon, not an estimate by "
            f"{parts.meta.method}"
        )
    weight, value = 100 * parts.mass.theta, parts.theta
    kinds = np.array(parts.index.level("type"))
    mean = float(value @ parts.mass.theta)
    figure, axes = plt.subplots(figsize=(8.0, 4.6), layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize=12, wrap=True)
    axes.axhline(0, color=style.MUTED, lw=0.8)
    axes.axhline(mean, color=style.INK, lw=1.2, ls=(0, (4, 3)))
    axes.annotate(
        "weighted mean", (1, mean), xycoords=("axes fraction", "data"), xytext=(0, 3),
        textcoords="offset points", ha="right", fontsize=9,
    )  # fmt: skip
    for at, kind in enumerate(dict.fromkeys(kinds.tolist())):
        colour, marker = style.CYCLE[at % len(style.CYCLE)], MARKERS[at % len(MARKERS)]
        mine = np.flatnonzero(kinds == kind)
        axes.plot(weight[mine], value[mine], marker, color=colour, ms=8, label=kind)
        for k in mine:
            _, treated, control = parts.index.keys[k]
            above = value - value[k]
            crowded = (weight > weight[k]) & (weight < weight[k] + 0.15 * weight.max())
            below = (crowded & (above > 0) & (above < 0.12 * np.ptp(value))).any()
            below |= 0 < mean - value[k] < 0.12 * np.ptp(value)
            axes.annotate(
                f"{treated} vs {'never' if control == np.inf else control}",
                (weight[k], value[k]), xytext=(7, -12 if below else 4), fontsize=8.5,
                textcoords="offset points", color=colour,
            )  # fmt: skip
    axes.margins(y=0.12)
    axes.set_xlim(0, 1.2 * weight.max())
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    figure.legend(loc="outside lower left", ncols=3)
    data = pd.DataFrame(list(parts.index.keys), columns=list(parts.index.levels))
    data = data.assign(estimate=value, weight=parts.mass.theta)
    return Drawing(figure, data, parts.meta.provenance)


def dots(
    frame: pd.DataFrame, *, title: str, xlabel: str, ylabel: str, provenance: Provenance
) -> Drawing:
    """Draw one row per label and one mark per column, without intervals.

    Parameters
    ----------
    frame : pandas.DataFrame
        Labels in the index, from the top down; one column of numbers per series.
    title, xlabel, ylabel : str
        The answer that the figure gives, and axis labels with units.
    """
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(8.0, 1.6 + 0.33 * len(frame)), layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize=12, wrap=True)
    rows = np.arange(len(frame))[::-1]
    values = frame.to_numpy(float)
    axes.hlines(rows, values.min(axis=1), values.max(axis=1), color=style.GRID, lw=3, zorder=0)
    axes.axvline(0, color=style.MUTED, lw=0.8)
    for at, name in enumerate(frame.columns):
        colour, marker = style.CYCLE[at % len(style.CYCLE)], MARKERS[at % len(MARKERS)]
        axes.plot(values[:, at], rows, marker, color=colour, ms=7, label=str(name))
    axes.set_yticks(rows, [str(label) for label in frame.index])
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    figure.legend(loc="outside lower left", ncols=3)
    data = frame.rename_axis("label").reset_index()
    return Drawing(figure, data, provenance)
