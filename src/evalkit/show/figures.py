"""Figures: each answers one question, carries its provenance and leaves its data behind as CSV."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from evalkit.core.errors import OptionError
from evalkit.core.provenance import Provenance, combine
from evalkit.inference.infer import Inference
from evalkit.show import register, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DIGITS = 10  # significant digits of the data behind a figure


@dataclass(frozen=True, slots=True)
class Drawing:
    """A figure with the data behind it and their provenance."""

    figure: Figure
    data: pd.DataFrame
    provenance: Provenance

    def show(self, *, name: str, alt: str, caption: str) -> None:
        """Stamp, save the data, register and display; see :func:`show`."""
        show(
            self.figure,
            name=name,
            alt=alt,
            caption=caption,
            data=self.data,
            provenance=self.provenance,
        )


def show(
    figure: Figure,
    *,
    name: str,
    alt: str,
    caption: str,
    data: pd.DataFrame,
    provenance: Provenance | None = None,
) -> None:
    """Display a figure in a chapter and leave its data and description behind.

    Parameters
    ----------
    figure : matplotlib Figure
        It is stamped with its evidence tier and closed.
    name : str
        Label of the figure, unique in the chapter.
    alt : str
        What the figure shows, for a reader who cannot see it: state the finding.
    caption : str
        Caption in MyST Markdown.
    data : pandas.DataFrame
        The numbers drawn, written to ``results/figures/<chapter>.<name>.csv``.
    provenance : {"real", "documented", "restricted", "synthetic"}, optional
        Default: that of the chapter, with which it is combined.
    """
    import matplotlib.pyplot as plt
    from IPython.display import Image, display

    if not alt.strip() or not caption.strip():
        raise OptionError(
            f"figure {name!r} needs an alt text that states the finding and a caption"
        )
    book = register.current()
    tier = combine(provenance or book.provenance, book.provenance)
    stamp(figure, tier)
    path = book.folder / "figures" / f"{book.chapter}.{name}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    data.assign(provenance=tier).to_csv(
        path, index=False, float_format=f"%.{DIGITS}g", lineterminator="\n"
    )
    entry = {"alt": alt, "caption": caption, "csv": f"figures/{path.name}", "provenance": tier}
    book.add("figure", name, entry)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", bbox_inches="tight", metadata={"Software": None})
    plt.close(figure)
    shown = {"name": name, "alt": alt, "caption": caption, "provenance": tier}
    display(Image(data=buffer.getvalue(), format="png"), metadata={"evalkit": shown})


def stamp(figure: Figure, provenance: Provenance) -> None:
    """Print the evidence tier on the figure; a synthetic one is marked across the picture."""
    text = {
        "real": "real data",
        "documented": "documented facts, no outcome",
        "restricted": "restricted data",
        "synthetic": "SYNTHETIC DATA, known truth",
    }[provenance]
    colour = style.TIER_COLOURS[provenance]
    figure.text(
        0.995, -0.02, text, ha="right", va="top", fontsize=8, color=colour, fontweight="bold"
    )
    if provenance == "synthetic":
        figure.text(
            0.5, 0.5, "SYNTHETIC", ha="center", va="center", rotation=24, alpha=0.12,
            fontsize=56, color=colour, fontweight="bold",
        )  # fmt: skip


def _canvas(title: str, size: tuple[float, float] = (8.0, 4.4)) -> tuple[Figure, Axes]:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=size, layout="constrained")
    axes.set_title(title, wrap=True)
    return figure, axes


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
    named = {"": results} if isinstance(results, Inference) else dict(results)
    figure, axes = _canvas(title)
    drawn = _effects(axes, named, reference=reference, start=start)
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    if len(named) > 1:
        axes.legend(loc="best")
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
    import matplotlib.pyplot as plt

    figure, grid = plt.subplots(
        1, len(panels), figsize=(8.0, 4.2), layout="constrained", sharey=True, squeeze=False
    )
    figure.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize=12)
    frames = []
    for axes, (heading, named) in zip(grid[0], panels.items(), strict=True):
        drawn = _effects(axes, named, reference=reference, start=start)
        axes.set_title(heading, fontsize=10, fontweight="normal", pad=6)
        axes.set_xlabel(xlabel)
        frames.append(drawn.assign(panel=heading))
    grid[0, 0].set_ylabel(ylabel)
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower left", ncols=len(labels))
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
    from matplotlib.ticker import MaxNLocator

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
        axes.plot(period + shift, frame["estimate"], "o", color=colour, ms=5, label=name)
        frames.append(frame.assign(series=name))
    if reference is not None:
        axes.plot([reference], [0], "o", mfc=style.PAPER, mec=style.MUTED, ms=6)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return pd.concat(frames, ignore_index=True)


def forest(
    frame: pd.DataFrame,
    *,
    title: str,
    xlabel: str,
    provenance: Provenance,
    group: str | None = None,
) -> Drawing:
    """Draw one row per design: estimate and interval, with published values as diamonds.

    Parameters
    ----------
    frame : pandas.DataFrame
        Columns ``label``, ``estimate``, ``conf_low``, ``conf_high`` (NaN: no interval known) and,
        with ``group``, the column that colours the rows.
    """
    groups = list(dict.fromkeys(frame[group])) if group else [""]
    figure, axes = _canvas(title, (8.0, 0.9 + 0.34 * len(frame)))
    rows = np.arange(len(frame))[::-1]
    axes.axvline(0, color=style.MUTED, lw=0.8)
    for at, name in enumerate(groups):
        mine = (frame[group] == name).to_numpy() if group else np.full(len(frame), True)
        colour = style.CYCLE[at % len(style.CYCLE)]
        axes.hlines(
            rows[mine], frame["conf_low"][mine], frame["conf_high"][mine], color=colour, lw=2
        )
        axes.plot(
            frame["estimate"][mine], rows[mine], "oDs^"[at % 4], color=colour, ms=6, label=name
        )
    axes.set_yticks(rows, frame["label"])
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(xlabel)
    if group:
        figure.legend(loc="outside lower right", ncols=len(groups))
    return Drawing(figure, frame.reset_index(drop=True), provenance)


def lines(
    frame: pd.DataFrame,
    *,
    x: str,
    title: str,
    panels: Mapping[str, Sequence[str]],
    provenance: Provenance,
    errors: Mapping[str, str] | None = None,
    start: float | None = None,
) -> Drawing:
    """Draw one small panel per entry of ``panels``: its y-axis label and the columns to draw.

    ``errors`` maps a column to the column holding half the width of its interval.
    """
    import matplotlib.pyplot as plt
    from matplotlib.ticker import MaxNLocator

    figure, grid = plt.subplots(
        1, len(panels), figsize=(8.0, 3.6), layout="constrained", squeeze=False
    )
    figure.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize=12)
    for axes, (label, columns) in zip(grid[0], panels.items(), strict=True):
        for at, column in enumerate(columns):
            colour = style.CYCLE[at % len(style.CYCLE)]
            axes.plot(frame[x], frame[column], "o-", color=colour, ms=4, label=column)
            if errors and column in errors:
                half = frame[errors[column]]
                axes.fill_between(
                    frame[x], frame[column] - half, frame[column] + half, color=colour, alpha=0.15
                )
        if start is not None:
            axes.axvline(start - 0.5, color=style.MUTED, lw=0.8, ls=(0, (4, 3)))
        axes.set_ylabel(label)
        axes.set_xlabel(x)
        axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if len(columns) > 1:
            axes.legend(loc="best")
    return Drawing(figure, frame, provenance)


def frame_of(result: Inference, **columns: Any) -> pd.DataFrame:
    """The table of an inference as plain columns, with constant columns added."""
    return result.table.reset_index().assign(**columns)
