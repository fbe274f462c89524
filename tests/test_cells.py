"""Closed forms for cell-constant regressors, and designs read in blocks, against every row."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest
from hypothesis import assume, given, settings

import evalkit as ek
from evalkit.core.arrays import encode
from evalkit.core.errors import DoubtWarning, IdentificationError
from evalkit.engines.cells import CellFit
from evalkit.engines.imputed import Sample, impute
from evalkit.engines.imputed_cells import impute_cells
from evalkit.engines.regress import Fit
from evalkit.engines.table import Table
from panels import Recipe
from test_laws.test_small_panels import small_panels

regression = import_module("evalkit.did.regression")  # the room shows its function by this name

SAME = 1e-10  # two exact solutions of one well-conditioned problem, outcomes of size 50
# Panels of a few units may be nearly singular, and their corrections have leverages near one.
SMALL = 1e-8
COHORTS = (2002, 2004, np.nan, np.nan)
RECIPES = {
    "balanced": Recipe(cohorts=COHORTS),
    "clusters": Recipe(cohorts=COHORTS, clusters=True),
    "unit weights": Recipe(cohorts=COHORTS, weights="unit", clusters=True),
    "gaps": Recipe(cohorts=COHORTS, missing=0.15),
    "gaps and clusters": Recipe(cohorts=COHORTS, missing=0.15, clusters=True),
    "gaps and weights": Recipe(cohorts=COHORTS, missing=0.15, weights="row", clusters=True),
    "one cohort": Recipe(clusters=True),
    "windows": Recipe(cohorts=COHORTS, clusters=True, windows=True),
}
CLOSED = {
    "two_way": lambda p: ek.did.two_way(p),
    "event_study": lambda p: ek.did.event_study(p),
    "sun_abraham": lambda p: ek.did.sun_abraham(p),
    "extended_two_way": lambda p: ek.did.extended_two_way(p),
}
BLOCKS = {
    "event_study": lambda p: ek.did.event_study(p, covariates=["x"]),
    "by year": lambda p: ek.did.event_study(p, by_time=["base"]),
    "sun_abraham": lambda p: ek.did.sun_abraham(p, covariates=["x", "z"]),
    "extended_two_way": lambda p: ek.did.extended_two_way(p, baseline=["base"]),
}


def written_out(run, panel):
    """The same estimate with every row of its design."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CellFit, "of", classmethod(lambda cls, *_: None))
        patch.setattr(regression, "_wide", lambda *_: False)
        return run(panel)


def close(a, b, tolerance=SAME):
    scale = max(1.0, float(np.abs(b).max(initial=0)))
    np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * scale)


def agree(fast, plain, tolerance=SAME):
    assert fast.index == plain.index
    close(fast.theta, plain.theta, tolerance)
    close(fast.psi, plain.psi, tolerance)
    if plain.origin is None:
        return
    assert type(fast.origin) is not Fit
    close(fast.weights, plain.weights, tolerance)
    close(fast.leverage.by_row(), plain.leverage.by_row(), tolerance)
    codes = encode(fast.cluster)[0]
    one, two = (
        each.leverage.imposed(codes, "unit", each.combination[:, 0]) for each in (fast, plain)
    )
    close(one.score, two.score, tolerance)
    close(one.moved @ one.reach.T, two.moved @ two.reach.T, tolerance)
    for kind in ("CR1S", "CR2", "CR3"):
        one, two = (ek.infer(each, vcov=kind, few="show") for each in (fast, plain))
        error = np.sqrt(np.diag(two.vcov))
        close(one.vcov / np.outer(error, error), two.vcov / np.outer(error, error), 1e-8)
        close(one.dof, two.dof, 1e-7)


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES.keys())
@pytest.mark.parametrize("run", CLOSED.values(), ids=CLOSED.keys())
def test_closed_forms_equal_the_regression_on_every_row(run, recipe):
    panel = recipe.panel()
    agree(run(panel), written_out(run, panel))


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES.keys())
@pytest.mark.parametrize("run", BLOCKS.values(), ids=BLOCKS.keys())
def test_designs_read_in_blocks_equal_the_regression_on_every_row(run, recipe, monkeypatch):
    monkeypatch.setattr("evalkit.engines.blocks.CHUNK", 1000)
    monkeypatch.setattr(regression, "_wide", lambda *_: True)
    panel = recipe.panel()
    agree(run(panel), written_out(run, panel))


def _answer(run, panel):
    try:
        return run(panel)
    except IdentificationError as wrong:
        return str(wrong)


@pytest.mark.parametrize("name", CLOSED)
@settings(max_examples=60)
@given(panel=small_panels())
def test_closed_forms_equal_the_regression_on_small_panels(name, panel):
    run = CLOSED[name]
    fast, plain = _answer(run, panel), written_out(lambda p: _answer(run, p), panel)
    if isinstance(plain, str) or isinstance(fast, str):
        # The same refusal; among tied columns, rounding decides which is called the combination.
        assert str(fast).partition(":")[0] == str(plain).partition(":")[0]
        return
    assume(np.abs(plain.weights).max() < 1e4)
    close(fast.theta, plain.theta, SMALL)
    close(fast.psi, plain.psi, SMALL)
    close(fast.weights, plain.weights, SMALL)


def imputed(panel, minimum=1):
    """Imputed cells by closed form, and from observations."""
    plain = impute(Sample.of_rows(panel, (), trends=False), panel.clock, minimum)
    return impute_cells(panel, minimum), plain


def same_cells(fast, plain, tolerance=SAME):
    assert [(cell.cohort, cell.time) for cell in plain.cells] == list(
        zip(fast.g.tolist(), fast.t.tolist(), strict=True)
    )
    assert fast.counts.tolist() == plain.counts.tolist()
    close(fast.theta, plain.theta, tolerance)
    close(fast.mass, plain.mass, tolerance)
    close(fast.scores.psi(), plain.scores().psi(), tolerance)
    close(fast.drawn().psi(), plain.drawn().psi(), tolerance)
    close(fast.origin.weights(), plain.weights(), tolerance)


FEW = [("balanced", 17), ("gaps and weights", 17)]  # towns untreated to the end: 16


@pytest.mark.parametrize(("name", "minimum"), [*((name, 1) for name in RECIPES), *FEW])
def test_imputed_cells_equal_those_from_observations(name, minimum):
    recipe = replace(RECIPES[name], cohorts=(2000, *RECIPES[name].cohorts))
    fast, plain = imputed(recipe.panel(), minimum)
    same_cells(fast, plain)
    assert [line.partition("(")[0] for line in fast.lost] == [
        line.partition("(")[0] for line in plain.lost
    ]
    if recipe.missing or recipe.windows:
        assert fast.lost == plain.lost


@settings(max_examples=60)
@given(panel=small_panels())
def test_imputed_cells_equal_those_from_observations_on_small_panels(panel):
    try:
        ek.did.imputation(panel)
    except IdentificationError:
        assume(False)
    fast, plain = imputed(panel)
    assume(np.abs(plain.weights()).max() < 1e4)
    same_cells(fast, plain, SMALL)


@pytest.mark.parametrize("kind", ["CR2", "CR3"])
@pytest.mark.parametrize("recipe", [RECIPES["balanced"], RECIPES["gaps"]], ids=["balanced", "gaps"])
def test_a_cluster_that_stands_alone_is_found_by_both(recipe, kind):
    frame = recipe.frame()
    alone = frame.assign(start=np.where(frame["town"] == 0, 2003.0, np.nan))
    panel = recipe.panel(alone)
    with pytest.warns(DoubtWarning, match="single cluster identifies"):
        fast = ek.infer(ek.did.two_way(panel), vcov=kind)
    with pytest.warns(DoubtWarning, match="single cluster identifies"):
        plain = ek.infer(written_out(ek.did.two_way, panel), vcov=kind)
    close(fast.vcov, plain.vcov)


def test_periods_in_parts_that_no_unit_connects_are_absorbed():
    """Two sets of towns seen in different years: one period effect of each set is redundant."""
    recipe = Recipe(cohorts=(2001, 2004, np.nan, np.nan))
    frame = recipe.frame(48)
    early, start = frame["town"] % 8 < 4, frame["start"]
    seen = np.where(early, frame["year"] < 2003, frame["year"] >= 2003)
    mine = start.isna() | (early & (start == 2001)) | (~early & (start == 2004))
    panel = recipe.panel(frame[seen & mine])
    agree(ek.did.two_way(panel), written_out(ek.did.two_way, panel))


def test_estimates_by_closed_form_share_the_rows_of_the_panel():
    panel = RECIPES["unit weights"].panel()
    event, cells = ek.did.event_study(panel), ek.did.sun_abraham(panel)
    assert event.scores.rows is cells.scores.rows is ek.did.callaway_santanna(panel).scores.rows


@pytest.mark.parametrize(("each", "made"), [(1, False), (2, True)])
def test_a_table_that_would_be_mostly_holes_is_not_made(each, made):
    rows = np.arange(24)
    frame = {"i": rows // each, "t": rows % 6, "y": rows * 1.0}
    panel = ek.Panel.from_frame(frame, outcome="y", unit="i", time="t", provenance="synthetic")
    assert (Table.of(panel) is not None) == made
