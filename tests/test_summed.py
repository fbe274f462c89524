"""Least squares from sums is least squares on pupils, small-sample corrections included."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import evalkit as ek
from evalkit.core.estimate import Estimate
from evalkit.core.labels import Index
from evalkit.core.origin import Meta
from evalkit.engines.summed import least_squares_of_sums

SAME = 1e-9  # both factorise the same normal equations from differently rounded rows


def pupils(n=1500, seed=3):
    rng = np.random.default_rng(seed)
    school = rng.integers(0, 25, n)
    frame = pd.DataFrame(
        {
            "id": np.arange(n),
            "school": school,
            "year": rng.integers(2015, 2018, n),
            "prior": rng.normal(size=n),
            "female": rng.integers(0, 2, n).astype(float),
            "weight": rng.random(n) + 0.5,
            "one": 1.0,
        }
    )
    frame["treated"] = ((school < 9) & (frame["year"] > 2015)).astype(float)
    frame["math"] = (
        frame["prior"] * 0.7
        + school / 9
        + frame["treated"] / 2
        + rng.normal(size=n) * (1 + school % 3)
    )
    frame.loc[0, "school"] = 99  # a cell of one pupil
    return frame


@pytest.mark.parametrize("weight", ["one", "weight"])
@pytest.mark.parametrize("absorb", [[["school", "year"]], [["school"], ["year"]], []])
@pytest.mark.parametrize("vcov", ["CR0", "CR1S", "CR2", "CR3"])
def test_a_regression_from_sums_is_the_one_on_pupils(weight, absorb, vcov):
    frame = pupils()
    names = ["prior", "female", *(["treated"] if len(absorb) == 2 else [])]
    panel = ek.Panel.from_frame(
        frame, outcome="math", unit="id", time="year", cluster="school", weight=weight,
        covariates=names, categories=["school"], provenance="synthetic",
    )  # fmt: skip
    as_panel = [tuple("time" if key == "year" else key for key in keys) for keys in absorb]
    a = ek.infer(ek.did.regression(panel, on=names, absorb=as_panel), vcov=vcov)
    sums = ek.summaries(
        frame, keys=["school", "year", "treated"], score="math", controls=["prior", "female"],
        weight=None if weight == "one" else weight, provenance="synthetic",
    )  # fmt: skip
    beside = sums.label("treated")[:, None].astype(float) if "treated" in names else None
    fit = least_squares_of_sums(
        sums, on=["prior", "female"], absorb=absorb, unit=["school"], beside=beside,
        beside_names=["treated"] if beside is not None else [],
    )  # fmt: skip
    schools = sums.cells.by(["school"])[0].label("school")
    b = ek.infer(
        Estimate(
            fit.beta, fit.contributions(), schools, schools, Index.flat("term", names),
            Meta("", "", "math", fit.rows, "synthetic"), origin=fit, combination=np.eye(len(names)),
        ),
        vcov=vcov,
    )  # fmt: skip
    for part in ("estimate", "vcov", "dof"):
        np.testing.assert_allclose(getattr(b, part), getattr(a, part), rtol=SAME)
