"""The stored tables are those of the present code: none is missing, and its first draws come again.

`make simulate` makes all of it again; this is what can be checked in seconds.
"""

from __future__ import annotations

import pandas as pd
import pytest

import evalkit as ek
from simulations import store
from simulations.run import FIRST, chunk, first, rows
from simulations.studies import STUDIES

AGAIN = 1e-7  # a draw on another processor or BLAS; the stored ones have ten digits
STUDY = pytest.mark.parametrize("study", STUDIES.values(), ids=list(STUDIES))
# A whole cell of the others takes a minute or more; `make simulate` alone makes it again.
QUICK = ("did", "inference", "bounds", "value_added", "gaps", "placebo_michigan")


def stored(study, part=""):
    table = store.read(store.TABLES / f"{study.name}{part}.csv")
    assert table is not None, f"run `make simulate ONLY={study.name} SAVE=1`"
    return table


def cells_of(table):
    return set(zip(table["design"], table["n"], table["estimator"], strict=True))


def smallest(study):
    """A cell for each design and method, where it is cheapest."""
    found = {}
    for cell in study.cells():
        if study.methods[cell.method].draws is None:
            found.setdefault((cell.design, cell.method), cell)
    return list(found.values())


def check(study, cells):
    """Draw the first draws of cells again and hold them against the stored answers."""
    names = [*store.NAMES[:5], "draw"]
    before = stored(study, ".first").set_index(names).sort_index()
    made = [row for cell in cells for row in first(cell, chunk(study, cell, 0, FIRST))]
    now = pd.DataFrame(made).set_index(names)
    then = before.loc[now.index, list(now.columns)]
    pd.testing.assert_frame_equal(now, then, rtol=AGAIN, atol=AGAIN, check_dtype=False)


@STUDY
def test_every_cell_of_a_study_is_stored_and_no_other(study):
    assert cells_of(stored(study)) == {tuple(cell) for cell in study.cells()}


@STUDY
def test_a_row_rests_on_as_many_draws_as_the_study_says(study):
    table = stored(study).set_index(["design", "n", "estimator"])["draws"]
    for cell in study.cells():
        assert set(table.loc[[tuple(cell)]]) == {study.draws(cell)}, cell


@STUDY
def test_a_stored_table_keeps_its_contract(study):
    ek.load(store.TABLES / f"{study.name}.csv", ek.contracts.SIMULATION)


@STUDY
def test_the_present_code_makes_the_first_draws_again(study):
    check(study, smallest(study))


@pytest.mark.slow
@STUDY
def test_the_present_code_makes_the_first_draws_of_every_cell_again(study):
    check(study, list(study.cells()))


@pytest.mark.slow
@pytest.mark.parametrize("name", QUICK)
def test_the_present_code_makes_one_whole_cell_again(name):
    """The first few draws could agree by luck where a later one does not."""
    study = STUDIES[name]
    quick = stored(study).sort_values(["n", "seconds"]).iloc[0]
    cell = next(c for c in study.cells() if tuple(c) == tuple(quick[["design", "n", "estimator"]]))
    new = store.table(rows(study, cell, [chunk(study, cell, 0, study.draws(cell))]))
    assert not list(store.differences(new, store.only(stored(study), [cell])))


@STUDY
def test_a_table_of_other_numbers_would_be_found(study):
    cells = smallest(study)[:1]
    moved = stored(study, ".first").assign(estimate=lambda t: t["estimate"] + 1e-4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "read", lambda path: moved)
        with pytest.raises(AssertionError):
            check(study, cells)


def test_the_card_of_imputation_gives_the_sizes_that_are_stored():
    worlds = ["homogeneous", "dynamic", "cohort_heterogeneous", "independent_errors",
              "persistent_errors", "unbalanced", "weighted"]  # fmt: skip
    rows = stored(STUDIES["did"]).query(
        "estimator == 'imputation' and target == 'average' and truth == 'sample'"
        " and design in @worlds"
    )
    assert (rows.groupby("n").size() == len(worlds)).all()
    size = rows.groupby("n")["size"].mean()
    card = " ".join(ek.did.imputation.__doc__.split())
    assert f"{size[500]:.1%} of true nulls at 500 units" in card
    assert f"{size[136]:.1%} at 136 and {size[50]:.1%} at 50" in card


def test_the_readme_explains_every_column():
    text = (store.TABLES / "README.md").read_text("utf-8")
    for path in store.TABLES.glob("*.csv"):
        for column in store.read(path).columns:
            assert f"`{column}`" in text, f"{path.name}: {column}"
