"""A figure on its way into a chapter: stamped with its provenance, its data left behind as CSV."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from evalkit.core.errors import OptionError
from evalkit.core.provenance import Provenance, combine
from evalkit.show import register, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARKERS = "oDs^Pv"  # told apart without colour, in the order of style.CYCLE
DIGITS = 10  # significant digits of the data behind a figure


@dataclass(frozen=True, slots=True)
class Drawing:
    """A figure with the data behind it and their provenance."""

    figure: Figure
    data: pd.DataFrame
    provenance: Provenance

    def show(self, *, name: str, alt: str, caption: str, records: str | int | None = None) -> None:
        """Stamp, save the data, register and display; see :func:`show`."""
        show(
            self.figure,
            name=name,
            alt=alt,
            caption=caption,
            data=self.data,
            provenance=self.provenance,
            records=records,
        )


def show(
    figure: Figure,
    *,
    name: str,
    alt: str,
    caption: str,
    data: pd.DataFrame,
    provenance: Provenance | None = None,
    records: str | int | None = None,
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
    records : str or int, optional
        Column of ``data`` that counts the records behind each number drawn, or the least of these
        counts. Needed where the chapter's data are restricted; a figure below the floor is refused.
    """
    import matplotlib.pyplot as plt
    from IPython.display import Image, display

    if not alt.strip() or not caption.strip():
        raise OptionError(
            f"figure {name!r} needs an alt text that states the finding and a caption"
        )
    book = register.current()
    book.book("figure", name)
    least = int(data[records].min()) if isinstance(records, str) else records
    book.enough(f"figure {name!r}", least)
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
    text, colour = style.STAMPS[provenance], style.TIER_COLOURS[provenance]
    figure.text(
        0.995, -0.02, text, ha="right", va="top", fontsize=8, color=colour, fontweight="bold"
    )
    if provenance == "synthetic":
        figure.text(
            0.5, 0.5, "SYNTHETIC", ha="center", va="center", rotation=24, alpha=0.12,
            fontsize=56, color=colour, fontweight="bold",
        )  # fmt: skip


def canvas(title: str, size: tuple[float, float] = (8.0, 4.4)) -> tuple[Figure, Axes]:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=size, layout="constrained")
    axes.set_title(title, wrap=True)
    return figure, axes


def legend(figure: Figure) -> None:
    """One legend below all panels, if there is more than one series to tell apart."""
    found: dict[str, Any] = {}
    for axes in figure.axes:
        handles, labels = axes.get_legend_handles_labels()
        found |= zip(map(str, labels), handles, strict=True)
    if len(found) > 1:
        figure.legend(list(found.values()), list(found), loc="outside lower left", ncols=3)
