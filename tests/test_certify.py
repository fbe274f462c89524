"""A printed number is compared to its last digit, and one that is missed cannot pass."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import evalkit as ek
from evalkit.core.errors import AgreementError, OptionError
from made import estimate

PUBLISHED = Path(__file__).parent.parent / "data" / "published"


def reference(**changes):
    row = {"case": "c", "coordinate": "k", "statistic": "value", "printed": "-.0401",
           "tolerance": np.nan, "status": "run"}  # fmt: skip
    return pd.DataFrame([row | changes])


def events():
    made = estimate([0.1, -0.2], [[0.04, 0.01], [0.01, 0.09]], terms=["-1", "0"])
    return ek.infer(made, band=True)


@pytest.mark.parametrize("value", [-0.0401, -0.04005, -0.04015])
def test_a_number_within_half_a_unit_of_the_last_digit_passes(value):
    table = ek.certify(reference(), {"c": value})
    assert table["verdict"].to_list() == ["pass"]
    assert table["gap"][0] == pytest.approx(value + 0.0401)
    assert table["tolerance"][0] == pytest.approx(0.5e-4)


@pytest.mark.parametrize("value", [-0.040049, -0.040151, 0.0401, np.nan, np.inf])
def test_any_other_number_is_refused_by_name(value):
    with pytest.raises(AgreementError, match="1 of 1 reference numbers are missed") as refused:
        ek.certify(reference(), {"c": value})
    assert "c, k, value: printed -.0401" in str(refused.value)


def test_a_whole_number_is_met_only_by_itself():
    ek.certify(reference(printed="271"), {"c": {"k": 271}})
    with pytest.raises(AgreementError):
        ek.certify(reference(printed="271"), {"c": {"k": 272}})


def test_a_tolerance_of_the_row_replaces_that_of_its_digits():
    ek.certify(reference(tolerance=0.01), {"c": -0.05})
    with pytest.raises(AgreementError):
        ek.certify(reference(tolerance=1e-9), {"c": -0.04010001})


def test_every_digit_of_the_stored_references_counts():
    """One unit more in the last digit of any row that is compared, and the row is missed."""
    table = ek.load(PUBLISHED / "did.csv", ek.contracts.REFERENCE)
    table = table[~table["status"].str.startswith("not") & table["tolerance"].isna()]
    ours = {f"{i}": float(printed) for i, printed in enumerate(table["printed"])}
    exact = table.assign(case=list(ours))
    assert (ek.certify(exact, ours)["verdict"] == "pass").all()
    moved = {i: v + 10.0 ** -len(p.partition(".")[2])
             for (i, v), p in zip(ours.items(), table["printed"], strict=True)}  # fmt: skip
    with pytest.raises(AgreementError, match=f"{len(table)} of {len(table)}"):
        ek.certify(exact, moved)


@pytest.mark.parametrize("status", ["not offered", "not comparable"])
def test_what_is_not_compared_says_so_and_needs_no_number(status):
    table = ek.certify(reference(status=status), {})
    assert table["verdict"].to_list() == [status]
    assert np.isnan(table["ours"][0])


def test_numbers_are_found_by_coordinate_and_statistic():
    made = events()
    test = ek.wald(estimate([0.1, -0.2], [[0.04, 0.01], [0.01, 0.09]]))
    for at, (event,) in enumerate(made.keys):
        for statistic in ("estimate", "std_error", "p_value"):
            row = {"coordinate": event, "statistic": statistic}
            printed = f"{getattr(made, statistic)[at]:.8f}"
            ek.certify(reference(**row, printed=printed), {"c": made})
    ek.certify(reference(statistic="crit", printed=f"{made.crit:.6f}"), {"c": made})
    ek.certify(reference(statistic="p_value", printed=f"{test.p_value:.6f}"), {"c": test})


@pytest.mark.parametrize(
    ("changes", "computed", "words"),
    [
        ({}, {"d": 1.0}, "no case 'c' was computed; there are d"),
        ({}, {"c": {"other": 1.0}}, "has no 'k'; it has other"),
        ({"statistic": "estimate"}, {"c": events}, "has no 'k'; it has"),
        ({"statistic": "median"}, {"c": events}, "has no 'median': Inference"),
    ],
)
def test_a_number_that_was_not_computed_is_an_error(changes, computed, words):
    made = {case: value() if callable(value) else value for case, value in computed.items()}
    with pytest.raises(OptionError, match=words):
        ek.certify(reference(**changes), made)
