"""Pictures of what a county study holds; the numbers are counted in ``data/county/describe``."""

from __future__ import annotations

from collections.abc import Mapping

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
