"""Pictures of stored simulations: every number is printed, and what gave no answer says so."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb

mpl.use("Agg")

from evalkit.core.errors import OptionError
from evalkit.show import simulated, style

ROWS = {"it holds": {"plain": "nothing wrong"}, "it does not": {"drift": "other trends"}}
COLUMNS = {"one": "first", "two": "second"}


def table():
    return pd.DataFrame(
        {
            "design": ["plain", "plain", "drift", "elsewhere"],
            "n": 20,
            "estimator": ["one", "two", "one", "one"],
            "coverage": [0.951, 0.71, 0.99, 0.5],
            "coverage_mc": 0.01,
            "provenance": "synthetic",
        }
    )


def grid(frame, **options):
    given = {
        "value": "coverage", "rows": ROWS, "columns": COLUMNS, "form": "{:.0%}",
        "classes": simulated.COVERAGE, "title": "It falls",
    }  # fmt: skip
    return simulated.grid(frame, **{**given, **options})


def texts(figure):
    return [text.get_text() for text in figure.axes[0].texts]


def test_a_grid_prints_every_number_and_says_where_there_is_none():
    drawing = grid(table())
    assert {"95%", "71%", "99%", "none", "it holds", "it does not"} <= set(texts(drawing.figure))
    words = [text.get_text() for text in drawing.figure.legends[0].get_texts()]
    assert words[-1] == "no answer"
    other = grid(table(), blank=("–", "not drawn")).figure
    assert "–" in texts(other)
    assert "none" not in texts(other)
    assert other.legends[0].get_texts()[-1].get_text() == "not drawn"
    assert drawing.provenance == "synthetic"


def test_a_grid_keeps_the_rows_that_it_draws_and_no_others():
    drawing = grid(table())
    assert list(drawing.data["design"]) == ["plain", "plain", "drift"]


def test_a_picture_carries_the_tier_of_the_rows_that_it_draws():
    assert grid(table().assign(provenance="real")).provenance == "real"
    mixed = table().assign(provenance=["real", "synthetic", "real", "real"])
    assert grid(mixed).provenance == "synthetic"


def test_the_columns_of_a_grid_may_be_ways_to_judge_one_estimator():
    frame = table().assign(inference=lambda t: t["estimator"], estimator="same")
    assert texts(grid(frame, by="inference").figure) == texts(grid(table()).figure)


@pytest.mark.parametrize(
    ("value", "fill"),
    [(0.5, simulated.FAR), (0.9, simulated.SOME), (0.95, style.PAPER), (1.0, simulated.MORE)],
)
def test_the_class_of_a_number_decides_its_colour(value, fill):
    drawing = grid(table().head(1).assign(coverage=value))
    patch = drawing.figure.axes[0].patches[0]
    assert patch.get_facecolor()[:3] == to_rgb(fill)


def test_a_negative_bias_has_the_class_of_its_size_and_a_true_minus():
    drawing = grid(table().assign(coverage=[-0.2, 0.01, 0.1, 0]), classes=simulated.BIAS)
    assert "−20%" in texts(drawing.figure)
    assert drawing.figure.axes[0].patches[0].get_facecolor()[:3] == to_rgb(simulated.FAR)


def test_a_curve_stands_at_each_size_with_its_monte_carlo_error():
    frame = pd.concat([table().head(1).assign(n=n, coverage=0.9) for n in (20, 500)])
    drawing = simulated.by_size(
        frame, value="coverage", panels=ROWS["it holds"], lines={"one": "first"}, aim=0.95,
        ylabel="coverage", title="It stays",
    )  # fmt: skip
    bars = drawing.figure.axes[0].collections[0].get_segments()
    np.testing.assert_allclose([bar[:, 1] for bar in bars], [[0.88, 0.92]] * 2)
    assert [label.get_text() for label in drawing.figure.axes[0].get_xticklabels()] == ["20", "500"]


def test_two_rows_for_one_place_are_refused():
    twice = pd.concat([table(), table()])
    with pytest.raises(OptionError, match="several rows of one design and estimator"):
        grid(twice)
    with pytest.raises(OptionError, match="several rows of one at one size in plain"):
        simulated.by_size(
            twice, value="coverage", panels=ROWS["it holds"], lines={"one": "first"}, ylabel="",
            title="",
        )  # fmt: skip
