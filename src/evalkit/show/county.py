"""Pictures of what a county study holds, and of what leaves it; nothing is counted here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from evalkit.core.provenance import Provenance
from evalkit.data.county.describe import adoption
from evalkit.data.county.study import CountyStudy
from evalkit.show import style
from evalkit.show.drawing import MARKERS, Drawing


def calendar(study: CountyStudy, words: Mapping[str, str], *, title: str) -> Drawing:
    """Draw in how many counties each measure is in force, by test year.

    Parameters
    ----------
    study : CountyStudy
    words : mapping of str to str
        Row of the catalogue to the words of its label; other rows are not drawn.
    title : str
        The answer that the figure gives.
    """
    import matplotlib.pyplot as plt

    counted = adoption(study)
    counted = counted[counted["measure_id"].isin(list(words))].reset_index(drop=True)
    figure, axes = plt.subplots(figsize=(8.0, 4.4), layout="constrained")
    axes.set_title(title, wrap=True)
    for at, (row, label) in enumerate(words.items()):
        mine = counted[counted["measure_id"] == row]
        shift = 0.06 * (at - len(words) / 2)  # measures that always start together stay visible
        axes.plot(
            mine["year"] + shift, mine["counties"], marker=MARKERS[at % len(MARKERS)],
            color=style.CYCLE[at % len(style.CYCLE)], lw=1.4, ms=5, label=label,
        )  # fmt: skip
    axes.set_xlabel("test year (summer)")
    axes.set_ylabel("counties under the measure")
    axes.set_ylim(bottom=0)
    axes.legend(fontsize=9)
    return Drawing(figure, counted, study.provenance)


def road(
    stations: Sequence[tuple[str, int, str]], *, inside: int, title: str, provenance: Provenance
) -> Drawing:
    """Draw the way of records from desk to book, and the line that some of them never cross.

    Parameters
    ----------
    stations : sequence of tuple of str, int and str
        Name of each station, how many things stand there, and what they are, on lines.
    inside : int
        Stations on the county's side of the line.
    title : str
        The answer that the figure gives.
    provenance : {"real", "documented", "restricted", "synthetic"}
        Evidence tier of the records.
    """
    import matplotlib.pyplot as plt
    import pandas as pd
    from matplotlib.patches import FancyBboxPatch

    figure, axes = plt.subplots(figsize=(8.0, 3.0), layout="constrained")
    axes.set_title(title, wrap=True)
    for at, (name, count, words) in enumerate(stations):
        colour = style.ORANGE if at < inside else style.BLUE
        axes.add_patch(
            FancyBboxPatch(
                (at - 0.38, 0.0), 0.76, 1.0, boxstyle="round,pad=0,rounding_size=0.06",
                fc=style.PAPER, ec=colour, lw=1.6,
            )
        )  # fmt: skip
        axes.text(at, 0.84, name, ha="center", va="center", color=colour, fontweight="bold")
        axes.text(at, 0.58, f"{count:,}", ha="center", va="center", fontsize=17)
        axes.text(at, 0.24, words, ha="center", va="center", fontsize=9, color=style.MUTED)
        if at:
            axes.annotate(
                "", (at - 0.39, 0.5), (at - 0.61, 0.5),
                arrowprops={"arrowstyle": "-|>", "color": style.INK, "lw": 1.4},
            )  # fmt: skip
    axes.axvline(inside - 0.5, color=style.INK, lw=1.2, ls=(0, (4, 3)))
    for x, words, side in ((inside - 0.56, "stays in the county", "right"),
                           (inside - 0.44, "may leave", "left")):  # fmt: skip
        axes.text(x, 1.16, words, ha=side, va="center", fontsize=10, fontweight="bold")
    axes.set(xlim=(-0.5, len(stations) - 0.5), ylim=(-0.08, 1.3))
    axes.axis("off")
    frame = pd.DataFrame(stations, columns=["station", "count", "what"])
    frame["what"] = frame["what"].str.replace("\n", " ")
    frame["leaves"] = frame.index >= inside
    return Drawing(figure, frame, provenance)
