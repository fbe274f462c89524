"""Chapters, claims, figures and tables: what they write, what they refuse, what they stamp."""

from __future__ import annotations

import json
from dataclasses import replace

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

mpl.use("Agg")

import evalkit as ek
from evalkit.core.errors import CombinationError, DoubtWarning, OptionError
from evalkit.show import register
from evalkit.show.claims import number
from evalkit.show.register import RegisterError
from made import META, estimate
from panels import RECIPES

SHA = "a" * 64


@pytest.fixture
def shown(monkeypatch):
    """What a notebook would display: pairs of content and metadata."""
    import IPython.display

    caught = []
    monkeypatch.setattr(
        IPython.display, "display", lambda *parts, **options: caught.append((parts, options))
    )
    return caught


@pytest.fixture
def chapter(results):
    ek.chapter("trial", provenance="real", data={"mathpnl": SHA})
    yield results
    register._open.clear()


def read(results):
    return json.loads((results / "trial.json").read_text(encoding="utf-8"))


def effect(theta=1.2345, provenance="real"):
    from dataclasses import replace

    return estimate([theta], [[0.25]], 60, meta=replace(META, provenance=provenance))


def test_a_chapter_starts_an_empty_register(chapter):
    assert read(chapter) == {
        "notebook": "trial", "provenance": "real", "claims": {}, "figures": {},
    }  # fmt: skip


def test_opening_a_chapter_again_starts_afresh(chapter):
    ek.claim("a", 1.0, unit="points")
    ek.chapter("trial", provenance="real")
    assert read(chapter)["claims"] == {}


@pytest.mark.parametrize("name", ["", "my chapter", "a/b", "chapter.ipynb", "../up"])
def test_a_chapter_is_named_like_its_notebook(results, name):
    with pytest.raises(OptionError, match="chapter"):
        ek.chapter(name, provenance="real")
    assert not results.exists()


def test_a_chapter_has_a_tier(results):
    with pytest.raises(OptionError, match="provenance"):
        ek.chapter("trial", provenance="true")


def test_outside_a_chapter_nothing_can_be_claimed_or_shown(monkeypatch):
    monkeypatch.setattr(register, "_open", [])
    with pytest.raises(RegisterError, match=r"ek\.chapter"):
        ek.claim("a", 1.0, unit="points")


def test_a_claim_of_a_number_is_written_with_every_field(chapter):
    made = ek.claim("share", 0.12345, unit="per cent", digits=1)
    entry = read(chapter)["claims"]["share"]
    assert entry == {
        "value": 0.12345, "display": "0.1", "se": None, "se_display": None, "low": None,
        "high": None, "interval_display": None, "unit": "per cent", "digits": 1,
        "provenance": "real", "data": {"mathpnl": SHA}, "tolerance": made.tolerance,
    }  # fmt: skip


def test_a_claim_of_an_estimate_carries_error_and_interval(chapter):
    result = ek.infer(effect())
    ek.claim("effect", effect(), unit="points", digits=2)
    entry = read(chapter)["claims"]["effect"]
    assert entry["value"] == result.estimate[0]
    assert entry["se"] == result.std_error[0]
    assert (entry["low"], entry["high"]) == (result.conf_low[0], result.conf_high[0])
    assert entry["display"] == "1.23"
    assert entry["se_display"] == "0.50"
    assert entry["interval_display"] == "0.23 to 2.24"


def test_a_claim_of_an_inference_keeps_its_correction(chapter):
    result = ek.infer(effect(), vcov="CR0", level=0.5)
    assert ek.claim("effect", result, unit="points").se == pytest.approx(0.5, rel=1e-12)
    assert read(chapter)["claims"]["effect"]["low"] == result.conf_low[0]


def test_a_claim_has_one_coordinate(chapter):
    with pytest.raises(OptionError, match="needs one coordinate, got 2"):
        ek.claim("two", estimate([1, 2], np.eye(2)), unit="points")
    assert read(chapter)["claims"] == {}


def test_a_key_is_claimed_once(chapter):
    ek.claim("a", 1.0, unit="points")
    with pytest.raises(RegisterError, match="claim 'a' is made twice in chapter 'trial'"):
        ek.claim("a", 2.0, unit="points")
    assert read(chapter)["claims"]["a"]["value"] == 1.0


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_claim_is_a_finite_number(chapter, value):
    with pytest.raises(OptionError, match="finite"):
        ek.claim("nothing", value, unit="points")


@pytest.mark.parametrize("key", ["", "two words", "a.se", "a`b", "a/b"])
def test_a_key_can_be_written_in_a_role(chapter, key):
    with pytest.raises(OptionError, match="key"):
        ek.claim(key, 1.0, unit="points")


def test_a_synthetic_estimate_makes_a_synthetic_claim(chapter):
    ek.claim("effect", effect(provenance="synthetic"), unit="points")
    assert read(chapter)["claims"]["effect"]["provenance"] == "synthetic"


def test_a_claim_cannot_be_called_better_than_its_estimate_or_its_chapter(chapter):
    made = ek.claim("a", effect(provenance="synthetic"), unit="points", provenance="real")
    assert made.provenance == "synthetic"
    ek.chapter("trial", provenance="synthetic")
    assert ek.claim("b", effect(), unit="points", provenance="real").provenance == "synthetic"


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (1.005, 2, "1.00"), (2.675, 1, "2.7"), (-0.004, 2, "0.00"), (-0.005001, 2, "−0.01"),
        (1234567.8, 0, "1,234,568"), (-3.0, 1, "−3.0"), (0.0, 0, "0"), (-0.4, 0, "0"),
        (1e-12, 3, "0.000"),
    ],
)  # fmt: skip
def test_numbers_are_printed_with_fixed_decimals_and_a_true_minus(value, digits, text):
    assert number(value, digits) == text


def test_the_file_is_the_same_bytes_on_every_run(results):
    def once():
        ek.chapter("trial", provenance="real", data={"b": SHA, "a": SHA})
        ek.claim("z", effect(), unit="points")
        ek.claim("a", 0.1 + 0.2, unit="份")
        return (results / "trial.json").read_bytes()

    assert once() == once()
    assert once().endswith(b"}\n")
    assert "份".encode() in once()
    assert not list(results.glob("*.part"))


DATA = pd.DataFrame({"year": [1, 2], "estimate": [0.1, 1 / 3]})
TEXT = {"alt": "Effects rise from 0.1 to 0.3.", "caption": "Effects by year."}


def figure():
    import matplotlib.pyplot as plt

    fig, axes = plt.subplots()
    axes.plot(DATA["year"], DATA["estimate"])
    return fig


def test_a_figure_writes_its_data_and_registers_its_words(chapter, shown):
    ek.figures.show(figure(), name="rise", data=DATA, **TEXT)
    entry = read(chapter)["figures"]["rise"]
    assert entry == {**TEXT, "csv": "figures/trial.rise.csv", "provenance": "real"}
    text = (chapter / entry["csv"]).read_text(encoding="utf-8")
    assert text == "year,estimate,provenance\n1,0.1,real\n2,0.3333333333,real\n"


def test_a_figure_is_displayed_as_png_with_its_words_in_the_metadata(chapter, shown):
    ek.figures.show(figure(), name="rise", data=DATA, **TEXT)
    ((image,), options) = shown[0]
    assert image.data.startswith(b"\x89PNG")
    assert options["metadata"] == {"evalkit": {"name": "rise", **TEXT, "provenance": "real"}}


def test_a_figure_is_the_same_bytes_twice(results, shown):
    for _ in range(2):
        ek.chapter("trial", provenance="real")
        ek.figures.show(figure(), name="rise", data=DATA, **TEXT)
    one, two = (parts[0].data for parts, _ in shown)
    assert one == two


def test_a_figure_is_named_once(chapter, shown):
    ek.figures.show(figure(), name="rise", data=DATA, **TEXT)
    before = (chapter / "figures" / "trial.rise.csv").read_bytes()
    with pytest.raises(RegisterError, match="figure 'rise' is made twice"):
        ek.figures.show(figure(), name="rise", data=DATA * 2, **TEXT)
    assert (chapter / "figures" / "trial.rise.csv").read_bytes() == before
    assert len(shown) == 1


@pytest.mark.parametrize("gone", ["alt", "caption"])
def test_a_figure_needs_words(chapter, shown, gone):
    with pytest.raises(OptionError, match="alt text that states the finding and a caption"):
        ek.figures.show(figure(), name="rise", data=DATA, **{**TEXT, gone: "  "})
    assert read(chapter)["figures"] == {}
    assert not (chapter / "figures").exists()


def words_on(fig):
    return [text.get_text() for text in fig.texts]


@pytest.mark.parametrize("tier", ["real", "documented", "restricted", "synthetic"])
def test_every_figure_is_stamped_with_its_tier(tier):
    fig = figure()
    ek.figures.stamp(fig, tier)
    stamped = " ".join(words_on(fig))
    assert tier.lower() in stamped.lower()
    assert ("SYNTHETIC" in words_on(fig)) == (tier == "synthetic")


def test_a_synthetic_figure_in_a_real_chapter_is_stamped_synthetic(chapter, shown):
    fig = figure()
    ek.figures.show(fig, name="rise", data=DATA, provenance="synthetic", **TEXT)
    assert "SYNTHETIC" in words_on(fig)
    assert read(chapter)["figures"]["rise"]["provenance"] == "synthetic"
    assert "synthetic" in (chapter / "figures" / "trial.rise.csv").read_text(encoding="utf-8")


def test_the_chapter_of_a_synthetic_study_cannot_show_a_real_figure(results, shown):
    ek.chapter("trial", provenance="synthetic")
    ek.figures.show(figure(), name="rise", data=DATA, provenance="real", **TEXT)
    assert read(results)["figures"]["rise"]["provenance"] == "synthetic"


def test_figures_are_closed_once_shown(chapter, shown):
    import matplotlib.pyplot as plt

    plt.close("all")
    ek.figures.show(figure(), name="rise", data=DATA, **TEXT)
    assert plt.get_fignums() == []


def events(provenance="real"):
    from dataclasses import replace

    made = estimate([0.1, 0.2, 0.5], np.eye(3) / 50, meta=replace(META, provenance=provenance))
    return ek.infer(made.contrast(np.eye(3), _years()), band=True)


def _years():
    from evalkit.core.labels import Index

    return Index.flat("time", [1992, 1993, 1995])


def test_an_event_study_draws_what_it_leaves_behind(chapter):
    drawing = ek.figures.event_study(
        {"raw": events(), "controls": events("synthetic")}, title="It rises", ylabel="points",
        reference=1994, start=1995,
    )  # fmt: skip
    assert drawing.provenance == "synthetic"
    assert list(drawing.data["series"]) == ["raw"] * 3 + ["controls"] * 3
    np.testing.assert_array_equal(drawing.data["estimate"][:3], events().estimate)
    axes = drawing.figure.axes[0]
    assert axes.get_title(loc="left") == "It rises"
    assert axes.get_ylabel() == "points"


def test_an_event_study_of_one_inference_needs_no_name(chapter):
    drawing = ek.figures.event_study(events(), title="It rises", ylabel="points")
    assert len(drawing.data) == 3
    assert drawing.figure.axes[0].get_legend() is None


def test_a_claim_of_few_treated_clusters_has_no_interval_to_print(chapter):
    cohorts = (2003.0,) * 3 + (np.nan,) * 27
    panel = replace(RECIPES["balanced"], cohorts=cohorts).panel(towns=30)
    with pytest.warns(DoubtWarning, match="3 treated clusters"):
        made = ek.claim("few", ek.did.two_way(panel), unit="points")
    entry = read(chapter)["claims"]["few"]
    assert entry["se"] > 0
    assert entry["low"] is entry["interval_display"] is None
    assert "interval withheld" in repr(made)


def test_a_forest_takes_rows_without_an_interval(chapter):
    rows = pd.DataFrame(
        {
            "label": ["ours", "published"],
            "estimate": [0.1, 0.4],
            "conf_low": [-0.2, np.nan],
            "conf_high": [0.4, np.nan],
            "who": ["ours", "others"],
        }
    )
    drawing = ek.figures.forest(
        rows, title="Designs differ", xlabel="points", provenance="real", group="who"
    )
    labels = [tick.get_text() for tick in drawing.figure.axes[0].get_yticklabels()]
    assert labels == ["ours", "published"]
    pd.testing.assert_frame_equal(drawing.data, rows)


def test_a_table_prints_title_numbers_note_and_tier(chapter, shown):
    frame = pd.DataFrame({"design": ["a", "b"], "estimate": [-1.234, np.nan], "n": [1200, 3]})
    ek.tables.show(frame, name="designs", title="Designs", note="By district.", digits=1)
    ((content,), options) = shown[0]
    assert options["raw"]
    html = content["text/html"]
    for words in (
        "Designs",
        "By district.",
        "−1.2",
        "Evidence: real",
        "tier-real",
        "table-designs",
    ):
        assert words in html
    assert "nan" not in html.lower().replace("tenance", "")
    assert "−1.2" in content["text/plain"]


def test_a_synthetic_table_says_so(chapter, shown):
    ek.tables.show(pd.DataFrame({"a": [1.0]}), name="t", title="T", provenance="synthetic")
    assert "SYNTHETIC" in shown[0][0][0]["text/html"]


def test_a_table_leaves_the_frame_as_it_was(chapter, shown):
    frame = pd.DataFrame({"a": [1.23456]})
    ek.tables.show(frame, name="t", title="T")
    assert frame["a"][0] == 1.23456


def test_a_table_is_the_same_bytes_twice(chapter, shown):
    for _ in range(2):
        ek.tables.show(pd.DataFrame({"a": [1.0], "b": ["x"]}), name="t", title="T")
    one, two = (parts[0]["text/html"] for parts, _ in shown)
    assert one == two


def test_regressions_set_estimates_over_errors_with_counts_beneath():
    one, two = ek.infer(effect()), ek.infer(estimate([2.0], [[1.0]], 200, terms=["b1"]), vcov="CR0")
    table = ek.tables.regressions({"(1)": one, "(2)": two}, digits=2)
    assert table[""].tolist() == [
        "b0", "", "b1", "", "rows", "units", "clusters", "standard errors",
    ]  # fmt: skip
    assert table["(1)"].tolist() == ["1.23", "(0.50)", "", "", "400", "60", "60", "CR1"]
    assert table["(2)"].tolist() == ["", "", "2.00", "(1.00)", "400", "200", "200", "CR0"]


def test_a_regression_table_without_columns_is_refused():
    with pytest.raises(OptionError, match="at least one column"):
        ek.tables.regressions({})


def test_panels_of_event_studies_share_a_scale_and_one_legend(chapter):
    both = {"grade 4": {"a": events(), "b": events()}, "grade 7": {"a": events(), "b": events()}}
    drawing = ek.figures.event_studies(both, title="Both rise", ylabel="points", start=0)
    assert drawing.data["panel"].unique().tolist() == ["grade 4", "grade 7"]
    assert len({axes.get_ylim() for axes in drawing.figure.axes}) == 1
    assert len(drawing.figure.legends) == 1


def test_paths_give_a_name_one_colour_in_every_panel(chapter):
    drawing = ek.figures.paths({"one": {"a": events()}, "two": {"b": events(), "a": events()}},
                               title="They part")  # fmt: skip
    colours = {
        (line.get_label(), line.get_color())
        for axes in drawing.figure.axes
        for line in axes.get_lines()
        if line.get_label() in {"a", "b"}
    }
    assert len(colours) == 2
    assert drawing.provenance == "real"


def test_a_table_of_estimates_has_a_row_per_inference():
    table = ek.tables.estimates({("math", "raw"): ek.infer(effect())}, names=["outcome", "design"])
    assert table.columns.tolist() == ["outcome", "design", "estimate", "SE", "low", "high"]
    assert table.iloc[0, :3].tolist() == ["math", "raw", 1.2345]


def test_a_table_of_estimates_shows_the_ends_of_a_set():
    from evalkit.inference.anderson_rubin import RatioSet

    split = RatioSet(1.0, ((-np.inf, -2.0), (3.0, np.inf)), 0.95, 2.5)
    table = ek.tables.estimates({("raw",): ek.infer(effect())}, names=["design"],
                                sets={("raw",): split})  # fmt: skip
    assert table[["AR low", "AR high", "first-stage F"]].iloc[0].tolist() == [-np.inf, np.inf, 2.5]


def test_a_row_with_two_coordinates_is_refused():
    with pytest.raises(OptionError, match="one coordinate"):
        ek.tables.estimates({("raw",): events()}, names=["design"])


def test_standard_errors_stand_side_by_side():
    made = {("raw",): effect()}
    table = ek.tables.standard_errors(made, names=["design"], kinds=["CR0", "CR1"])
    assert table.columns.tolist() == ["design", "estimate", "CR0", "CR1", "p CR1"]
    assert table["CR1"].iloc[0] > table["CR0"].iloc[0]


def test_folded_tables_show_one_line_each_and_escape_what_they_hold(chapter, shown):
    frame = pd.DataFrame({"case": ["a < b"], "value": [-1.25], "n": [3]})
    ek.tables.folded({"One: 1 number": frame, "Two": frame}, name="long", digits=1)
    ((content,), _) = shown[0]
    html = content["text/html"]
    assert html.count("<details>") == html.count('tabindex="0"') == 2
    assert "<summary>One: 1 number</summary>" in html
    assert "<td>a &lt; b</td>" in html
    assert html.count('<td class="number">') == 4
    assert "tier-real" in html
    assert 'id="table-long"' in html
    assert "−1.2" in content["text/plain"]


def adoption():
    rng = np.random.default_rng(3)
    frame = {"town": np.repeat(np.arange(30), 5), "year": np.tile(np.arange(5), 30),
             "score": rng.normal(size=150), "start": np.repeat([2.0, 3.0, np.nan], 50)}  # fmt: skip
    return ek.Panel.from_frame(frame, outcome="score", unit="town", time="year", cohort="start",
                               provenance="synthetic")  # fmt: skip


def test_comparisons_are_drawn_at_their_weights_with_their_mean(chapter):
    panel = adoption()
    parts = ek.did.bacon(panel)
    drawing = ek.figures.decomposition(parts, title="Mostly never", ylabel="points")
    assert drawing.provenance == "synthetic"
    np.testing.assert_array_equal(drawing.data["estimate"], parts.theta)
    np.testing.assert_array_equal(drawing.data["weight"], parts.mass.theta)
    axes = drawing.figure.axes[0]
    mean = [line.get_ydata()[0] for line in axes.get_lines() if line.get_linestyle() == "--"]
    np.testing.assert_allclose(mean, ek.did.two_way(panel).theta)
    words = {text.get_text() for text in axes.texts}
    assert {"2 vs never", "3 vs never", "2 vs 3", "3 vs 2", "weighted mean"} == words


def test_a_picture_of_comparisons_needs_a_decomposition(chapter):
    with pytest.raises(CombinationError, match=r"parts of evalkit\.did\.bacon"):
        ek.figures.decomposition(ek.did.two_way(adoption()), title="", ylabel="")


def test_dots_have_a_row_for_each_label_and_a_mark_for_each_column(chapter):
    frame = pd.DataFrame({"one": [1.0, -2.0], "two": [3.0, 4.0]}, index=["top", "bottom"])
    drawing = ek.figures.dots(frame, title="They differ", xlabel="%", ylabel="", provenance="real")
    axes = drawing.figure.axes[0]
    labels = [tick.get_text() for tick in axes.get_yticklabels()]
    assert labels == ["top", "bottom"]
    marks = {line.get_label(): line for line in axes.get_lines() if line.get_label() in frame}
    assert list(marks["one"].get_xdata()) == [1.0, -2.0]
    assert marks["one"].get_ydata()[0] > marks["one"].get_ydata()[1]
    assert drawing.data.columns.tolist() == ["label", "one", "two"]


def test_results_go_beside_the_notebooks_folder_unless_told_otherwise(monkeypatch, tmp_path):
    monkeypatch.delenv("EVALKIT_RESULTS", raising=False)
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    assert register.results_folder() == tmp_path / "results"
    monkeypatch.chdir(tmp_path)
    assert register.results_folder() == tmp_path / "results"
