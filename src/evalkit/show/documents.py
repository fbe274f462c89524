"""Pictures of the catalogue of documented measures: when, where, and how much is known.

Draws and lays out; what the windows mean is decided in ``data/catalogue``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from evalkit.data.catalogue import CONTEXT, NOWHERE, Exposure, placed, windows
from evalkit.data.contracts import FAMILIES
from evalkit.show import style
from evalkit.show.figures import Drawing
from evalkit.show.listing import grouped

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CITIES = {
    "370200": ("青岛 Qingdao", style.BLUE, "o"),
    "370700": ("潍坊 Weifang", style.ORANGE, "s"),
    "370300": ("淄博 Zibo", style.GREEN, "D"),
    "440300": ("深圳福田 Futian, Shenzhen", style.PURPLE, "^"),
    NOWHERE: ("某区 unnamed district", style.MUTED, "v"),
}
STATES = {  # how much of a start is known: colour of the cell, colour of its text
    "within a year": (style.BLUE, "#ffffff"),
    "within several years": ("#9cc4e4", style.INK),
    "no earliest date": ("#f4d9b8", style.INK),
}
FADE = 2.0  # years over which the bar of a window without an earliest date fades


def family_labels(measures: pd.DataFrame) -> dict[str, str]:
    """Chinese and English name of each family, in order of the catalogue."""
    named = measures[measures["measure_family"] != CONTEXT]
    chinese = dict(zip(named["measure_family"], named["measure_family_zh"], strict=True))
    return {family: f"{chinese[family]}  {FAMILIES[family]}" for family in chinese}


def place_labels(jurisdictions: pd.DataFrame) -> dict[str, str]:
    """Chinese and English name of each place by its code: counties, cities and the unnamed one."""
    labels = {NOWHERE: "某区 unnamed"}
    for row in jurisdictions.to_dict("records"):
        labels[row["city_code"]] = f"{row['city_zh']} {row['city_en']}"
        labels[row["gbt2260_code"]] = f"{row['name_zh']} {row['name_en']}"
    return labels


def _year(date: pd.Timestamp) -> float:
    """A date as a decimal year."""
    return float(date.year + (date.day_of_year - 1) / 365.25)


def timeline(measures: pd.DataFrame, jurisdictions: pd.DataFrame, *, title: str) -> Drawing:
    """Draw the window in which each family of measures first began, a bar for each city.

    A window without an earliest date fades to the left; an adoption known to the day is a mark.

    Parameters
    ----------
    measures, jurisdictions : pandas.DataFrame
        The catalogue and the table of counties.
    title : str
        The answer that the figure gives.
    """
    import matplotlib.pyplot as plt

    found = windows(placed(measures, by="city", jurisdictions=jurisdictions))
    labels = family_labels(measures)
    order = sorted(labels, key=lambda name: -(found["measure_family"] == name).sum())
    figure, axes = plt.subplots(figsize=(8.0, 0.44 * len(order) + 1.6), layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize=12, wrap=True)
    for at, family in enumerate(order):
        if at % 2:
            axes.axhspan(at - 0.5, at + 0.5, color=style.GRID, alpha=0.35, lw=0)
        for window in found[found["measure_family"] == family].to_dict("records"):
            slot = list(CITIES).index(window["place"])
            _, colour, mark = CITIES[window["place"]]
            _bar(axes, window["first"], window["last"], at + 0.16 * (slot - 2), colour, mark)
    axes.set_yticks(range(len(order)), [labels[family] for family in order])
    axes.set_ylim(len(order) - 0.5, -0.5)
    axes.set_xlim(2011.8, 2025)
    axes.set_xlabel("year in which the measure began")
    axes.tick_params(axis="y", length=0)
    axes.set_xticks(range(2012, 2025, 2))
    for label, colour, mark in CITIES.values():
        axes.plot([], [], color=colour, lw=3, marker=mark, ms=5, label=label)
    _legend(figure, *axes.get_legend_handles_labels())
    named = found.assign(
        family=found["measure_family"].map(labels),
        place=found["place"].map({code: label for code, (label, _, _) in CITIES.items()}),
        first=found["first"].dt.strftime("%Y-%m-%d"),
        last=found["last"].dt.strftime("%Y-%m-%d"),
    )
    return Drawing(figure, named[["family", "place", "first", "last", "rows"]], "documented")


def _legend(
    figure: Figure, handles: Sequence[Artist], labels: Sequence[str], *, columns: int = 3
) -> None:
    """A legend below the axes, in room kept for it."""
    # Without its own transform it would move when a tight save enlarges the figure.
    figure.legend(
        handles, labels, loc="lower center", ncols=columns, fontsize=9,
        bbox_to_anchor=(0, 0, 1, 1), bbox_transform=figure.transFigure,
    )  # fmt: skip
    height = 0.22 * -(-len(labels) // columns) + 0.2
    kept = height / figure.get_figheight()
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.set(rect=(0, kept, 1, 1 - kept))  # type: ignore[call-arg]


def _bar(
    axes: Axes, first: pd.Timestamp, last: pd.Timestamp, height: float, colour: str, mark: str
) -> None:
    """One window: solid if both ends are known, fading to the left if the earliest is not."""
    from matplotlib.colors import to_rgba

    end = _year(last)
    if pd.notna(first):
        axes.hlines(height, _year(first), end, color=colour, lw=3)
    else:
        edges = np.linspace(end - FADE, end, 13)
        shades = [to_rgba(colour, alpha) for alpha in np.linspace(0.08, 1, 12)]
        axes.hlines(np.full(12, height), edges[:-1], edges[1:], colors=shades, lw=3)
        axes.plot(end - FADE, height, marker="<", ms=4, color=colour, mfc=style.PAPER)
    axes.plot(end, height, marker=mark, ms=4.5, color=colour)


def exposure_map(
    exposure: Exposure, measures: pd.DataFrame, jurisdictions: pd.DataFrame, *, title: str
) -> Drawing:
    """Draw which place documents which family, and how exactly its start is known.

    A place with one family has no column: a note below the cells names it, its family and start.

    Parameters
    ----------
    exposure : Exposure
        By jurisdiction.
    measures, jurisdictions : pandas.DataFrame
        For the labels.
    title : str
        The answer that the figure gives.
    """
    import matplotlib.pyplot as plt
    from matplotlib.patches import Patch, Rectangle

    families, places = family_labels(measures), place_labels(jurisdictions)
    named = exposure.documented
    columns = sorted(range(len(exposure.places)), key=lambda j: -named[j].sum())
    drawn = [j for j in columns if named[j].sum() > 1]
    order = sorted(range(len(exposure.families)), key=lambda f: -int(named[:, f].sum()))
    figure, axes = plt.subplots(figsize=(6.0, 0.4 * len(order) + 2.4), layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize=12, wrap=True)
    rows = []
    for x, j in enumerate(columns):
        for y, f in enumerate(order):
            if not exposure.documented[j, f]:
                continue
            first, last = pd.Timestamp(exposure.first[j, f]), pd.Timestamp(exposure.last[j, f])
            state = _state(first, last)
            text = _span(first, last)
            fill, ink = STATES[state]
            if j in drawn:
                axes.add_patch(Rectangle((x - 0.47, y - 0.46), 0.94, 0.92, fc=fill, lw=0))
                axes.text(x, y, text, ha="center", va="center", fontsize=9.5, color=ink)
            rows.append((places[exposure.places[j]], families[exposure.families[f]], text, state))
    axes.set_xlim(-0.5, len(drawn) - 0.5)
    axes.set_ylim(len(order) - 0.5, -0.5)
    lines = [families[exposure.families[f]].replace("  ", "\n") for f in order]
    axes.set_yticks(range(len(order)), lines, fontsize=9, linespacing=1.0)
    heads = [places[exposure.places[j]].replace(" ", "\n") for j in drawn]
    axes.set_xticks(range(len(drawn)), heads, fontsize=9)
    axes.xaxis.tick_top()
    frame = pd.DataFrame(rows, columns=["place", "family", "start", "known"])
    _note(axes, frame[~frame["place"].duplicated(keep=False)])
    axes.tick_params(length=0)
    for side in axes.spines.values():
        side.set_visible(False)
    axes.hlines(np.arange(len(order) - 1) + 0.5, -0.5, len(drawn) - 0.5, color=style.GRID, lw=0.6)
    keys = [Patch(fc=fill, label=f"start known {state}") for state, (fill, _) in STATES.items()]
    keys[-1].set_label("no earliest date: begun by the year shown")
    _legend(figure, keys, [str(key.get_label()) for key in keys], columns=1)
    return Drawing(figure, frame, "documented")


def _note(axes: Axes, single: pd.DataFrame) -> None:
    """Below the cells: the places that document one family, by family and start."""
    if single.empty:
        return
    parts = [
        f"{str(family).split('  ')[1]}, {start}: " + ", ".join(rows["place"].str.split().str[-1])
        for (family, start), rows in single.groupby(["family", "start"], sort=False)
    ]
    lines = ["One family only, in counties without a column:", *parts]
    axes.set_xlabel("\n".join(lines), fontsize=9, loc="right", color=style.MUTED)
    axes.xaxis.set_label_position("bottom")


def _state(first: pd.Timestamp, last: pd.Timestamp) -> str:
    if pd.isna(first):
        return "no earliest date"
    return "within a year" if (last - first).days <= 366 else "within several years"


def _span(first: pd.Timestamp, last: pd.Timestamp) -> str:
    if pd.isna(first):
        return f"≤{last.year}"
    return str(last.year) if first.year == last.year else f"{first.year % 100}–{last.year % 100}"


def tile_map(measures: pd.DataFrame, jurisdictions: pd.DataFrame, *, title: str) -> Drawing:
    """Draw the counties of the four cities as tiles, with the rows that name each county.

    Parameters
    ----------
    measures, jurisdictions : pandas.DataFrame
        The catalogue and the table of counties.
    title : str
        The answer that the figure gives.
    """
    import matplotlib.pyplot as plt
    from matplotlib.patches import Patch, Rectangle

    frame = named_rows(measures, jurisdictions)
    cities = ["370200", "370700", "370300", "440300"]
    figure, grid = plt.subplots(2, 2, figsize=(8.0, 8.0), layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize=12, wrap=True)
    colours = {"none": "#f3f5f8", "some": "#9cc4e4", "own": style.BLUE}
    for axes, code in zip(grid.ravel(), cities, strict=True):
        tiles = frame[frame["city_code"] == code]
        wide = int(tiles["city_wide"].iloc[0])
        for row in tiles.to_dict("records"):
            kind = "own" if row["own"] else "some" if row["named"] else "none"
            ink = "#ffffff" if kind == "own" else style.INK
            x, y = row["tile_col"], row["tile_row"]
            axes.add_patch(
                Rectangle(
                    (x - 0.46, y - 0.46), 0.92, 0.92, fc=colours[kind], ec=style.MUTED, lw=0.6
                )
            )
            axes.text(x, y - 0.2, row["name_zh"], ha="center", va="center", color=ink, fontsize=10)
            axes.text(
                x, y + 0.06, row["name_en"], ha="center", va="center", color=ink, fontsize=7.5
            )
            if kind != "none":
                count = row["own"] + row["named"]
                words = f"{count} row" + ("s" if count > 1 else "")
                axes.text(x, y + 0.3, words, ha="center", va="center", color=ink, fontsize=7.5)
        city = f"{tiles['city_zh'].iloc[0]} {tiles['city_en'].iloc[0]}"
        axes.set_title(f"{city}: {wide} rows for the whole city", weight="normal", fontsize=10.5)
        axes.set_xlim(-0.6, 4.6)
        axes.set_ylim(3.6, -0.6)
        axes.set_aspect("equal")
        axes.axis("off")
    keys = [
        Patch(fc=colours["own"], label="has rows of its own"),
        Patch(fc=colours["some"], label="named in a row about its city"),
        Patch(fc=colours["none"], ec=style.MUTED, label="not named"),
    ]
    _legend(figure, keys, [str(key.get_label()) for key in keys])
    kept = ["gbt2260_code", "name_zh", "name_en", "city_en", "own", "named", "city_wide"]
    return Drawing(figure, frame[kept], "documented")


def named_rows(measures: pd.DataFrame, jurisdictions: pd.DataFrame) -> pd.DataFrame:
    """Count for each county the rows about it, the city rows that name it and the city's rows."""
    own = measures["gbt2260_code"].value_counts()
    named = measures["named_codes"].dropna().str.split(";").explode().value_counts()
    codes = jurisdictions["gbt2260_code"]
    return jurisdictions.assign(
        own=codes.map(own).fillna(0).astype(int),
        named=codes.map(named).fillna(0).astype(int),
        city_wide=jurisdictions["city_code"].map(own).fillna(0).astype(int),
    )


def doses(measures: pd.DataFrame, words: Mapping[str, str]) -> pd.DataFrame:
    """A table of the rows named in ``words``: what each figure is, before, after and its source.

    Parameters
    ----------
    measures : pandas.DataFrame
        The catalogue.
    words : mapping of str to str
        Row id to what the figure measures, in the order of the table.
    """
    rows = measures.set_index("id").loc[list(words)].reset_index()
    return pd.DataFrame(
        {
            "what": list(words.values()),
            "where": rows["jurisdiction_zh"] + " " + rows["jurisdiction_en"],
            "before": rows["value_prior"].fillna("").map(grouped),
            "stated": rows["value"].map(grouped),
            "unit": rows["unit"],
            "state": rows["target_or_realised"],
            "row": rows["id"],
        }
    )
