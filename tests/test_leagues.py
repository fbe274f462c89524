"""Pictures of league tables: order, sides, arrows, sets of ranks and shares are the data's."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

mpl.use("Agg")

import evalkit as ek
from evalkit.core.errors import OptionError
from evalkit.show import leagues, style
from evalkit.show.drawing import stamp

WORDS = {"title": "It is so", "ylabel": "score", "xlabel": "schools", "provenance": "real"}


@pytest.fixture(autouse=True)
def look():
    with mpl.rc_context():
        style.apply()
        yield
        mpl.pyplot.close("all")


def names(drawing):
    return [text.get_text() for text in drawing.figure.legends[0].get_texts()]


def test_a_caterpillar_stands_in_order_and_colours_by_the_side_of_zero():
    frame = pd.DataFrame({"estimate": [0.5, -1.0, 0.1], "low": [0.2, -1.5, -0.1],
                          "high": [0.8, -0.5, 0.3]})  # fmt: skip
    drawing = leagues.caterpillar(frame, **WORDS)
    assert drawing.data["side"].tolist() == ["below", "neither", "above"]
    assert drawing.data["estimate"].is_monotonic_increasing
    assert len(names(drawing)) == 3
    alone = leagues.caterpillar(frame.iloc[:1], **WORDS)
    assert names(alone) == ["interval above the mean"]


def test_the_names_of_a_caterpillar_leave_the_evidence_tier_free():
    frame = pd.DataFrame({"estimate": [0.5, -1.0, 0.1], "low": [0.2, -1.5, -0.1],
                          "high": [0.8, -0.5, 0.3]})  # fmt: skip
    figure = leagues.caterpillar(frame, **WORDS).figure
    stamp(figure, "real")
    figure.canvas.draw()
    tier = figure.texts[-1].get_window_extent()
    assert figure.legends[0].get_window_extent().x1 < tier.x0


def test_an_arrow_runs_from_the_raw_to_the_shrunken_value():
    frame = pd.DataFrame({"n": [2, 90], "raw": [-0.9, 0.4], "shrunken": [-0.2, 0.38]})
    drawing = leagues.shrinkage(frame, **WORDS)
    arrows = drawing.figure.axes[0].texts
    assert [(a.xyann[1], a.xy[1]) for a in arrows] == [(-0.9, -0.2), (0.4, 0.38)]
    assert [t.get_text() for t in drawing.figure.axes[0].get_xticklabels()][:3] == ["1", "2", "5"]


def test_sets_of_ranks_are_drawn_from_end_to_end():
    known = ek.Known.of([0.0, 0.1, 3.0], [0.2, 0.2, 0.2], labels=["a", "b", "c"],
                        provenance="documented")  # fmt: skip
    drawing = leagues.rank_sets(ek.ranks(known), title="It is so", xlabel="schools")
    ends = drawing.figure.axes[0].collections[0].get_segments()
    np.testing.assert_array_equal([end[:, 1] for end in ends], [[1, 1], [2, 3], [2, 3]])
    assert drawing.provenance == "documented"
    assert "95% set of ranks" in names(drawing)


def shares(**parts):
    rows = [(level, "intercept", share) for level, share in parts.items()]
    slopes = [("school", "year", np.nan)]
    return pd.DataFrame([*rows, *slopes], columns=["level", "effect", "share"])


def test_shares_fill_the_bar_and_are_printed_where_there_is_room():
    models = {"one": shares(school=0.2, county=0.01, residual=0.79),
              "two": shares(school=0.3, residual=0.7)}  # fmt: skip
    words = {name: word for name, word in WORDS.items() if name != "ylabel"}
    drawing = leagues.shares(models, names={"residual": "pupils"}, **words)
    axes = drawing.figure.axes[0]
    ends = pd.Series([bar.get_x() + bar.get_width() for bar in axes.patches])
    assert ends.max() == pytest.approx(1.0)
    assert {text.get_text() for text in axes.texts} == {"79%", "20%", "70%", "30%"}
    assert names(drawing) == ["pupils", "school", "county"]
    assert drawing.data["share"].sum() == pytest.approx(2.0)


def test_shares_of_no_model_are_refused():
    words = {name: word for name, word in WORDS.items() if name != "ylabel"}
    with pytest.raises(OptionError, match="no levels"):
        leagues.shares({}, **words)
