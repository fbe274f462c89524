"""Writes sensitivity.csv: intervals under relative magnitudes and smoothness by moderndid 0.4.1.

Run with a Python that has moderndid: ``python tests/goldens/make_sensitivity.py``. Studies: the
Medicaid example of the HonestDiD README (``ehec``, in moderndid), and made ones from the formulas
below, which tests/test_sensitivity.py repeats. Relative magnitudes simulate their first critical
value: a row keeps the mean over seeds, and as noise the largest distance from it plus a grid step.
"""

from __future__ import annotations

import csv
import warnings
from pathlib import Path

import moderndid
import numpy as np
import pandas as pd
from moderndid.didhonest import compute_conditional_cs_rm, compute_flci

SEEDS = range(3)
POINTS = 1000


def ehec():
    """Estimates and covariance of the README: two-way effects, by state, 2013 the reference."""
    rows = moderndid.load_ehec().to_pandas()
    rows = rows[(rows.year < 2016) & ((rows.yexp2 != 2015) | rows.yexp2.isna())]
    years = [2008, 2009, 2010, 2011, 2012, 2014, 2015]
    treated = (rows.yexp2 == 2014).to_numpy(float)
    effects = [pd.get_dummies(rows[name], dtype=float).to_numpy() for name in ("stfips", "year")]
    x = np.column_stack([*((rows.year == year) * treated for year in years),
                         effects[0], effects[1][:, 1:]])  # fmt: skip
    bread = np.linalg.inv(x.T @ x)
    beta = bread @ x.T @ rows.dins.to_numpy()
    errors = rows.dins.to_numpy() - x @ beta
    states = rows.stfips.to_numpy()
    sums = np.array([x[states == s].T @ errors[states == s] for s in np.unique(states)])
    g, n, k = len(sums), len(rows), len(years) + 8
    meat = bread @ sums.T @ sums @ bread * g / (g - 1) * (n - 1) / (n - k)
    return beta[:7], meat[:7, :7]


def made(p, q, curve):
    """A smooth violation and an effect, with the covariance of a random walk plus noise."""
    t = np.r_[np.arange(-p, 0), np.arange(1, q + 1)]
    beta = 0.01 * curve * t**2 / p + 0.02 * np.sin(3 * t) + np.where(t > 0, 0.5, 0)
    same = np.sign(t)[:, None] == np.sign(t)
    walk = np.where(same, np.minimum(np.abs(t)[:, None], np.abs(t)), 0)
    return beta, 0.01 * (0.3 * walk + 0.5 + 0.5 * np.eye(p + q))


def cases():
    average = {q: np.full(q, 1 / q) for q in (2, 3, 4, 5, 10)}
    beta, sigma = ehec()
    yield "ehec first", beta, sigma, 5, np.array([1.0, 0]), (0.5, 1, 1.5, 2), (0, 0.01, 0.02, 0.03)
    yield "ehec average", beta, sigma, 5, average[2], (0.5, 1, 2), (0, 0.01, 0.05)
    yield "made 3 and 4", *made(3, 4, 1.0), 3, average[4], (0.5, 1, 2), (0, 0.02, 0.1)
    yield "made 6 and 3", *made(6, 3, -1.0), 6, np.array([0.5, -0.25, 1.0]), (0.5, 1), (0, 0.05)
    yield "made 1 and 2", *made(1, 2, 1.0), 1, average[2], (0.5, 1), (0, 0.1)
    yield "made 10 and 10", *made(10, 10, 0.5), 10, average[10], (1,), (0, 0.02)


def main():
    warnings.simplefilter("ignore")
    path = Path(__file__).with_name("sensitivity.csv")
    with path.open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        out.writerow(["case", "restriction", "m", "conf_low", "conf_high", "noise", "source"])
        for name, beta, sigma, p, weights, magnitudes, bends in cases():
            q = len(beta) - p
            for m in bends:
                found = compute_flci(beta, sigma, m, p, q, weights[:, None], alpha=0.05)
                low, high = found.flci
                out.writerow([name, "smoothness", m, float(low), float(high), 0, "moderndid 0.4.1"])
            for m in magnitudes:
                ends = []
                for seed in SEEDS if len(beta) < 20 else [0]:
                    made_by = compute_conditional_cs_rm(
                        beta,
                        sigma,
                        p,
                        q,
                        l_vec=weights[:, None],
                        m_bar=m,
                        grid_points=POINTS,
                        seed=seed,
                    )
                    kept = made_by["grid"][made_by["accept"] > 0]
                    ends.append([kept.min(), kept.max()])
                step = made_by["grid"][1] - made_by["grid"][0]
                low, high = np.mean(ends, axis=0)
                noise = np.abs(np.array(ends) - [low, high]).max() + step
                out.writerow([name, "relative magnitudes", m, low, high, noise, "moderndid 0.4.1"])
            file.flush()


if __name__ == "__main__":
    main()
