"""Pictures of stored simulations: a grid of designs by methods, and curves over the sample size.

Not for running any: the tables are made by ``simulations/`` and read here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
import pandas as pd

from evalkit.core.errors import OptionError, some
from evalkit.core.provenance import Provenance, combine
from evalkit.show import style
from evalkit.show.drawing import MARKERS, Drawing

NAMES = ("design", "n", "estimator", "inference", "target", "truth")
KEPT = [*NAMES, "draws", "failed", "bias", "rmse", "coverage", "coverage_mc", "size"]

# Upper end of each class, what the legend calls it, colour of the cell and of its text.
Classes: TypeAlias = Sequence[tuple[float, str, str, str]]
FAR, SOME, MORE = style.ORANGE, "#f7cfae", "#cfe3f5"
COVERAGE: Classes = (
    (0.85, "far too low (under 85%)", FAR, style.PAPER),
    (0.93, "too low (85 to 93%)", SOME, style.INK),
    (0.97, "as claimed (93 to 97%)", style.PAPER, style.INK),
    (np.inf, "cautious (over 97%)", MORE, style.INK),
)
BIAS: Classes = (
    (0.05, "under 5%, either way", style.PAPER, style.INK),
    (0.15, "5 to 15%", SOME, style.INK),
    (np.inf, "over 15%", FAR, style.PAPER),
)
SIZE: Classes = (
    (0.03, "too rarely (under 3%)", MORE, style.INK),
    (0.07, "as claimed (3 to 7%)", style.PAPER, style.INK),
    (0.15, "too often (7 to 15%)", SOME, style.INK),
    (np.inf, "far too often (over 15%)", FAR, style.PAPER),
)
COST: Classes = (
    (1.1, "within 10% of the best", style.PAPER, style.INK),
    (1.5, "10 to 50% more error", SOME, style.INK),
    (np.inf, "over 50% more error", FAR, style.PAPER),
)


def grid(
    table: pd.DataFrame,
    *,
    value: str,
    rows: Mapping[str, Mapping[str, str]],
    columns: Mapping[str, str],
    by: str = "estimator",
    classes: Classes,
    form: str,
    title: str,
    blank: tuple[str, str] = ("none", "no answer"),
) -> Drawing:
    """Draw one number for each design and method, coloured by class, the number always printed.

    Parameters
    ----------
    table : pandas.DataFrame
        One row for each pair of ``design`` and ``by``; a missing ``value`` or pair is blank.
    value : str
        Column to print; its absolute value decides the class.
    rows : mapping of str to mapping
        Heading of each group of designs, and in it the label of each design.
    columns : mapping of str to str
        Label of each method.
    by : str
        Column that tells the methods apart.
    classes
        Upper end of each class, its words in the legend, and two colours.
    form : str
        How to print a number, for example ``"{:.0%}"``.
    title : str
        The answer that the figure gives.
    blank : tuple of str
        What a blank cell says, and what the legend calls it.
    """
    import matplotlib.pyplot as plt
    from matplotlib.patches import Patch, Rectangle

    found = table.set_index(["design", by])[value]
    if not found.index.is_unique:
        repeated = found.index[found.index.duplicated()].unique()
        raise OptionError(f"several rows of one design and {by}: {some(repeated)}; pick one")
    lines = sum(1 + len(group) for group in rows.values())
    figure, axes = plt.subplots(figsize=(8.0, 0.34 * lines + 1.9), layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize=12, wrap=True)
    ends = [upper for upper, *_ in classes]
    ticks, at = {}, 0
    for heading, group in rows.items():
        axes.text(-0.6, at, heading, ha="right", va="center", fontsize=9, fontweight="bold")
        for design, label in group.items():
            at += 1
            ticks[at] = label
            for column, method in enumerate(columns):
                number = float(found.get((design, method), np.nan))
                _, _, fill, ink = (
                    classes[int(np.searchsorted(ends, abs(number)))]
                    if (np.isfinite(number))
                    else (0.0, "", style.GRID, style.MUTED)
                )
                axes.add_patch(Rectangle((column - 0.5, at - 0.5), 1, 1, fc=fill, ec=style.GRID))
                text = form.format(number).replace("-", "−") if np.isfinite(number) else blank[0]
                axes.text(column, at, text, ha="center", va="center", color=ink, fontsize=9)
        at += 1
    axes.set(xlim=(-0.5, len(columns) - 0.5), ylim=(at - 0.4, -0.6))
    axes.set_yticks(list(ticks), list(ticks.values()), fontsize=9)
    axes.set_xticks(range(len(columns)), list(columns.values()), fontsize=9)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    patches = [Patch(fc=fill, ec=style.MUTED, lw=0.5, label=words) for _, words, fill, _ in classes]
    if found.reindex([(d, e) for g in rows.values() for d in g for e in columns]).isna().any():
        patches.append(Patch(fc=style.GRID, ec=style.MUTED, lw=0.5, label=blank[1]))
    figure.legend(handles=patches, loc="outside lower left", ncols=3, fontsize=9)
    shown = [design for group in rows.values() for design in group]
    drawn = table[table["design"].isin(shown) & table[by].isin(list(columns))]
    return Drawing(figure, _kept(drawn, value), _tier(drawn))


def by_size(
    table: pd.DataFrame,
    *,
    value: str,
    panels: Mapping[str, str],
    lines: Mapping[str, str],
    by: str = "estimator",
    aim: float | None = None,
    xlabel: str = "units",
    ylabel: str,
    title: str,
) -> Drawing:
    """Draw a score over the number of units: a panel for each design, a line for each method.

    Bars are two Monte Carlo standard errors either way, where the table has them.

    Parameters
    ----------
    table : pandas.DataFrame
        Rows of stored simulations, one for each design, size and ``by``.
    value : str
        Column to draw.
    panels, lines : mapping of str to str
        Heading of each design, and label of each value of ``by``.
    by : str
        Column that tells the lines apart.
    aim : float, optional
        Where the score should be; a dashed line.
    xlabel, ylabel, title : str
        Labels with units, and the answer that the figure gives.
    """
    import matplotlib.pyplot as plt

    figure, grid_ = plt.subplots(
        1, len(panels), figsize=(8.0, 4.2), layout="constrained", sharey=True, squeeze=False
    )
    figure.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize=12, wrap=True)
    sizes = sorted(table["n"].unique())
    frames = []
    for axes, (design, heading) in zip(grid_[0], panels.items(), strict=True):
        axes.set_title(heading, fontsize=10, fontweight="normal", pad=6)
        if aim is not None:
            axes.axhline(aim, color=style.MUTED, lw=0.8, ls=(0, (4, 3)))
        for at, (name, label) in enumerate(lines.items()):
            mine = table[(table["design"] == design) & (table[by] == name)].sort_values("n")
            if not mine["n"].is_unique:
                raise OptionError(f"several rows of {name} at one size in {design}; pick one")
            noise = 2 * mine[f"{value}_mc"] if f"{value}_mc" in mine else None
            place = np.searchsorted(sizes, mine["n"]) + 0.06 * (at - (len(lines) - 1) / 2)
            colour, mark = style.CYCLE[at % len(style.CYCLE)], MARKERS[at % len(MARKERS)]
            axes.errorbar(
                place, mine[value], noise, marker=mark, ms=5, lw=1.4, color=colour, label=label
            )
            frames.append(mine)
        axes.set_xticks(range(len(sizes)), [f"{n}" for n in sizes])
        axes.set_xlabel(xlabel)
    grid_[0][0].set_ylabel(ylabel)
    handles, labels = grid_[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower left", ncols=4)
    drawn = pd.concat(frames)
    return Drawing(figure, _kept(drawn, value), _tier(drawn))


def _tier(frame: pd.DataFrame) -> Provenance:
    """That of the outcomes, as the table says: methods are also tried on real records."""
    return combine(*frame["provenance"].unique())


def _kept(frame: pd.DataFrame, value: str) -> pd.DataFrame:
    names = [name for name in dict.fromkeys([*KEPT, value]) if name in frame]
    return frame[names].reset_index(drop=True)
