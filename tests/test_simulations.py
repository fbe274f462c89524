"""The simulation harness: the same draws however they are run, scores that are right, tables that
the present code would make again.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from math import erf, sqrt

import numpy as np
import pytest

from evalkit.core.errors import DoubtWarning, IdentificationError
from simulations import __main__ as command
from simulations import store
from simulations.run import SCORES, Chunk, chunk, rows, summary
from simulations.study import Answer, Cell, Design, Method, Study, World

EXACT = 1e-12  # the same floats, in another order of addition

# --- A study that can be checked by hand: the mean of normal numbers -----------------------------


def normal(shift):
    def draw(rng, n):
        z = rng.normal(size=n)
        truth = {"mean": {"population": shift, "sample": shift + z.mean()}}
        return World(z + shift, truth, null=z)

    return draw


def mean(width=1.959964):
    def judge(data, made):
        error = 1 / sqrt(len(data))
        p = 1 - erf(abs(made) / error / sqrt(2))
        return {"mean": Answer(made, error, made - width * error, made + width * error, p)}

    return judge


METHODS = {
    "mean": Method(np.mean, {"normal": mean(), "none": mean(0.0)}, truths=("population", "sample")),
    "rare": Method(np.mean, {"normal": mean()}, designs=("high",), sizes=(4,), draws=5),
}
TOY = Study("toy", {"zero": Design("none", normal(0.0)), "high": Design("some", normal(0.5))},
            METHODS, sizes={4: 2000, 9: 100})  # fmt: skip
CELL = Cell("high", 4, "mean")


def scored(**changes):
    """One draw by a method whose parts may be replaced."""
    study = replace(TOY, methods={"mean": replace(METHODS["mean"], **changes)})
    return chunk(study, CELL, 0, 20)


def table(study=TOY, cells=None, draws=40):
    made = []
    for cell in cells or study.cells():
        made += rows(study, cell, [chunk(study, cell, 0, draws)])
    return store.table(made)


def test_a_draw_is_the_same_alone_in_company_and_for_every_method():
    whole = chunk(TOY, CELL, 0, 10)
    parts = [chunk(TOY, CELL, start, start + 5) for start in (0, 5)]
    for key, values in whole.scores.items():
        again = np.concatenate([part.scores[key] for part in parts])
        np.testing.assert_array_equal(again[:, :-1], values[:, :-1])  # all but the seconds
    other = chunk(TOY, Cell("high", 4, "rare"), 0, 10)
    key = ("normal", "mean", "population")
    np.testing.assert_array_equal(other.scores[key][:, :-1], whole.scores[key][:, :-1])


def test_designs_sizes_and_draws_have_their_own_numbers():
    at = [Cell("zero", 4, "mean"), Cell("high", 4, "mean"), Cell("high", 9, "mean")]
    seen = {TOY.world(cell, draw).data[0] for cell in at for draw in range(50)}
    assert len(seen) == 150


def test_cells_follow_the_restrictions_of_their_method():
    listed = [cell for cell in TOY.cells() if cell.method == "rare"]
    assert listed == [Cell("high", 4, "rare")]
    assert (TOY.draws(listed[0]), TOY.draws(CELL)) == (5, 2000)


def test_cells_follow_the_sizes_of_their_design():
    few = replace(TOY.designs["high"], sizes=(4,))
    study = replace(TOY, designs={**TOY.designs, "high": few})
    assert {(cell.design, cell.n) for cell in study.cells()} == {
        ("zero", 4),
        ("zero", 9),
        ("high", 4),
    }


def test_a_right_interval_covers_and_a_right_test_has_its_size():
    made = rows(TOY, CELL, [chunk(TOY, CELL, 0, 2000)])
    row = next(r for r in made if (r["inference"], r["truth"]) == ("normal", "population"))
    assert abs(row["coverage"] - 0.95) < 4 * row["coverage_mc"]
    assert abs(row["size"] - 0.05) < 4 * row["size_mc"]
    assert abs(row["bias"]) < 4 * row["bias_mc"]
    assert row["rmse"] == pytest.approx(0.5, rel=0.1)
    assert row["se"] == pytest.approx(0.5)


def test_each_sense_of_the_truth_has_its_row_and_the_first_is_stated():
    made = {(r["inference"], r["truth"]): r for r in rows(TOY, CELL, [chunk(TOY, CELL, 0, 50)])}
    assert made["normal", "population"]["stated"]
    assert not made["normal", "sample"]["stated"]
    assert made["normal", "sample"]["rmse"] == pytest.approx(0, abs=EXACT)
    assert made["none", "population"]["coverage"] == 0


def test_the_summary_is_what_its_names_say():
    error = np.array([0.2, -0.1, 0.3, np.nan])
    values = np.full((4, len(SCORES)), np.nan)
    columns = dict(zip(SCORES, values.T, strict=True))
    columns["truth"][:3], columns["estimate"][:3] = 1.0, 1.0 + error[:3]
    columns["squared"][:3], columns["std_error"][:3] = error[:3] ** 2, [0.1, 0.1, np.nan]
    columns["covered"][:3], columns["rejected"][:3] = [1, 0, np.nan], [0, 0, 1]
    columns["warned"][:3], columns["seconds"][:3] = [0, 1, 1], [1, 2, 9]
    made = summary(values)
    assert (made["draws"], made["failed"], made["withheld"]) == (4, 1, 1)
    assert (made["true"], made["bias"]) == (1.0, pytest.approx(0.4 / 3))
    assert made["sd"] == pytest.approx(error[:3].std())
    assert made["bias_mc"] == pytest.approx(error[:3].std() / sqrt(3))
    assert made["rmse"] == pytest.approx(sqrt(0.14 / 3))
    assert (made["coverage"], made["coverage_mc"]) == (0.5, pytest.approx(0.5 / sqrt(2)))
    assert made["size"] == pytest.approx(1 / 3)
    assert (made["se"], made["seconds"]) == (pytest.approx(0.1), 2)
    assert made["warned"] == pytest.approx(2 / 3)


def test_answers_about_many_numbers_are_averaged_within_a_draw():
    def many(data, made):
        low = np.array([made - 9, made + 9])
        return {"mean": Answer(np.array([made, made]), 1.0, low, low + 18, np.array([0.01, 0.9]))}

    scores = scored(judges={"two": many}).scores["two", "mean", "population"]
    column = dict(zip(SCORES, scores.T, strict=True))
    assert set(column["covered"]) == {0.5}
    assert set(column["rejected"]) == {0.5}


def test_a_failed_draw_is_counted_with_its_reason():
    def fails(data):
        if data[0] > 0.5:
            raise IdentificationError(f"unit {data[0]} cannot be used; leave it out")
        return float(np.mean(data))

    made = scored(estimate=fails)
    row = summary(made.scores["normal", "mean", "population"])
    assert 0 < row["failed"] == len(made.reasons) < row["draws"]
    assert set(made.reasons) == {"unit # cannot be used"}


def test_a_cell_in_which_every_draw_fails_has_a_row_that_says_so():
    def refuse(data):
        raise IdentificationError("no such thing. Do something else")

    study = replace(TOY, methods={"mean": replace(METHODS["mean"], estimate=refuse)})
    (row,) = rows(study, CELL, [chunk(study, CELL, 0, 7)])
    assert (row["draws"], row["failed"], row["reason"]) == (7, 7, "no such thing")


def test_doubt_is_counted_and_any_other_warning_stops_the_study():
    def doubts(data):
        warnings.warn("few", DoubtWarning, stacklevel=1)
        return float(np.mean(data))

    def divides(data):
        return float(np.mean(data / (data - data)))

    values = scored(estimate=doubts).scores["normal", "mean", "population"]
    assert summary(values)["warned"] == 1
    with pytest.raises(RuntimeWarning, match=r"invalid value|divide by zero"):
        scored(estimate=divides)


def test_an_error_that_evalkit_did_not_raise_stops_the_study():
    with pytest.raises(ZeroDivisionError):
        scored(estimate=lambda data: 1 / 0)


# --- Files ----------------------------------------------------------------------------------------


def test_a_chunk_comes_back_as_it_was_saved(tmp_path):
    made = replace(chunk(TOY, CELL, 0, 5), reasons=("one", "two"))
    path = store.chunk_path(tmp_path, "toy", CELL, 0, 5)
    store.save(path, made)
    back = store.load(path)
    assert (back.draws, back.reasons) == (5, ("one", "two"))
    for key, values in made.scores.items():
        np.testing.assert_array_equal(back.scores[key], values)


def test_an_interruption_leaves_no_half_file(tmp_path, monkeypatch):
    def stopped(*args, **kwargs):
        args[0].write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez", stopped)
    path = store.chunk_path(tmp_path, "toy", CELL, 0, 5)
    with pytest.raises(KeyboardInterrupt):
        store.save(path, Chunk(0, {}, ()))
    assert not path.exists()


def test_what_is_done_is_not_done_again(tmp_path, monkeypatch):
    job = command.Job(TOY, (CELL,), 40, tmp_path)
    path = job.path(CELL, 0, 40)
    store.save(path, chunk(TOY, CELL, 0, 40))
    monkeypatch.setattr(command, "ProcessPoolExecutor", None)  # calling it would fail
    before = path.stat().st_mtime_ns
    job.make()
    assert path.stat().st_mtime_ns == before


def moved(column, value):
    new = table()
    old = new.copy()
    old[column] = old[column].astype(object)
    old.loc[1, column] = value
    return list(store.differences(new, old))


def test_equal_tables_do_not_differ_and_time_is_not_compared():
    assert not list(store.differences(table(), table()))
    assert not moved("seconds", 99.0)


@pytest.mark.parametrize("column", ["bias", "coverage", "size", "failed", "reason", "stated"])
def test_a_moved_number_is_a_difference(column):
    (line,) = moved(column, 0.123)
    assert f"{column} is" in line
    assert "stored 0.123" in line


def test_rows_that_came_or_went_are_differences():
    new = table()
    assert any("not stored" in line for line in store.differences(new, new.iloc[1:]))
    assert any("no study makes it" in line for line in store.differences(new.iloc[1:], new))
    assert list(store.differences(new, None)) == ["no table is stored"]


def test_saving_some_cells_replaces_their_rows_and_keeps_the_others():
    old = table(draws=10)
    new = table(cells=[CELL], draws=20)
    made = store.merged(old, new, list(TOY.cells()))
    assert set(made[made["estimator"] == "rare"]["draws"]) == {10}
    mine = made[(made["design"] == "high") & (made["n"] == 4) & (made["estimator"] == "mean")]
    assert set(mine["draws"]) == {20}
    assert len(made) == len(old)
    assert list(made["design"]) == list(old["design"])
    gone = [cell for cell in TOY.cells() if cell.method != "rare"]
    assert "rare" not in set(store.merged(old, new, gone)["estimator"])


def test_words_choose_cells_and_unknown_words_are_refused(capsys):
    assert command.chosen(TOY, ["toy", "high", "4"]) == (CELL, Cell("high", 4, "rare"))
    assert command.chosen(TOY, []) == tuple(TOY.cells())
    with pytest.raises(SystemExit):
        command.main(["--only", "no_such_design"])
    assert "unknown: no_such_design; known are" in capsys.readouterr().err
