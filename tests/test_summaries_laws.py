"""Laws of the sums: exact arithmetic, any partition, any order, any engine."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import evalkit as ek
from evalkit.data import collapse
from test_summaries import ENGINES, same_bits

# A rounded sum of n terms of one sign errs by less than n units in the last place; twelve digits
# are what is promised for scores off a grid.
TWELVE = 1e-12
# Pupils who are told apart by the last digits of a double only are not told apart.
LAST = 10 * np.finfo(float).eps


def rows(values):
    """Pupils of a few cells; prior and score may be missing, weights are halves."""
    row = st.tuples(
        st.sampled_from(["a", "b", "c"]),
        st.integers(1, 3),
        st.none() | values,
        st.none() | values,
        st.integers(1, 6).map(lambda w: w / 2),
    )
    some_complete = st.lists(row, min_size=1, max_size=40).filter(
        lambda r: any(p is not None and s is not None for _, _, p, s, _ in r)
    )
    return some_complete.map(
        lambda r: pd.DataFrame(r, columns=["town", "grade", "prior", "math", "weight"]).astype(
            {"prior": float, "math": float, "weight": float}
        )
    )


HALVES = rows(st.integers(-200, 200).map(lambda k: k / 2))
FAR = rows(st.floats(-10, 10).map(lambda noise: 1e6 + noise))
# Products of numbers below 1e-150 are none that a double can hold.
MIXED = rows(
    (st.floats(-1, 1) | st.floats(999, 1001) | st.floats(-1e6, 1e6)).map(
        lambda x: x if abs(x) > 1e-150 else 0.0
    )
)
ASK = {"keys": ["town", "grade"], "score": "math", "prior": ["prior"], "provenance": "synthetic"}


def exact(frame, weight):
    """Means and cross-products of each cell in rational arithmetic, rounded at the very end."""
    out = {}
    complete = frame.dropna(subset=["prior", "math"])
    for cell, part in complete.groupby(["town", "grade"]):
        z = [[Fraction(v) for v in row] for row in part[["prior", "math"]].to_numpy().tolist()]
        w = [Fraction(v) for v in part["weight"]] if weight else [Fraction(1)] * len(z)
        mean = [sum(a * r[k] for a, r in zip(w, z, strict=True)) / sum(w) for k in range(2)]
        cross = [
            [sum(a * (r[j] - mean[j]) * (r[k] - mean[k]) for a, r in zip(w, z, strict=True))
             for k in range(2)] for j in range(2)
        ]  # fmt: skip
        out[cell] = len(z), float(sum(w)), mean, cross
    return out


def close_to_exact(sums, truth):
    assert [*zip(*(labels.tolist() for labels in sums.labels), strict=True)] == [*truth]
    mean, cross = sums.mean, sums.cross
    for at, (n, total, m, c) in enumerate(truth.values()):
        assert (sums.n[at], sums.weight[at]) == (n, total)
        for k in range(2):
            assert abs(mean[at, k] - m[k]) <= TWELVE * max(abs(m[k]), abs(c[k][k]) ** 0.5)
            for j in range(2):
                scale = (float(c[j][j]) * float(c[k][k])) ** 0.5
                last_digits = total * abs(float(m[j]) * float(m[k])) * LAST**2
                assert abs(cross[at, j, k] - c[j][k]) <= TWELVE * scale + last_digits


@pytest.mark.parametrize("engine", ["pandas", "polars", "Arrow", "DuckDB"])
@pytest.mark.parametrize("weight", [None, "weight"])
@given(frame=FAR)
def test_scores_far_from_zero_keep_twelve_digits(engine, weight, frame):
    sums = ek.summaries(ENGINES[engine](frame), **ASK, weight=weight)
    close_to_exact(sums, exact(frame, weight))


@given(frame=MIXED)
def test_scores_of_any_size_keep_twelve_digits_when_parts_are_added(frame):
    parts = [part for start in range(3) if len(part := frame[start::3].dropna())]
    made = [ek.summaries(part, **ASK) for part in parts]
    whole = made[0]
    for part in made[1:]:
        whole = whole + part
    close_to_exact(whole, exact(frame, None))


@given(frame=HALVES)
def test_scores_on_a_grid_are_rounded_once(frame):
    sums = ek.summaries(frame, **ASK, weight="weight")
    mean, cross = sums.mean, sums.cross
    for at, (_, _, m, c) in enumerate(exact(frame, "weight").values()):
        assert mean[at].tolist() == [float(value) for value in m]
        assert cross[at].tolist() == [[float(value) for value in row] for row in c]


@given(frame=HALVES, order=st.randoms(use_true_random=False), engine=st.sampled_from([*ENGINES]))
def test_no_order_partition_or_engine_changes_a_bit(frame, order, engine):
    more = {"weight": "weight", "grid": 0.5, "bands": [-10.0, 0.0, 10.0]}
    whole = ek.summaries(frame, **ASK, **more)
    at = list(range(len(frame)))
    order.shuffle(at)
    same_bits(
        ek.summaries(ENGINES[engine](frame.iloc[at].reset_index(drop=True)), **ASK, **more), whole
    )
    cut = order.randint(0, len(at))
    a, b = (frame.iloc[sorted(half)] for half in (at[:cut], at[cut:]))
    if len(a.dropna()) and len(b.dropna()):
        a, b = (ek.summaries(half, **ASK, **more) for half in (a, b))
        same_bits(a + b, whole)
        same_bits(b + a, whole)
        same_bits((a + b).by("grade"), a.by("grade") + b.by("grade"))
        same_bits(whole.by("grade"), ek.summaries(frame, **{**ASK, "keys": ["grade"]}, **more))


def test_a_value_that_all_pupils_of_a_cell_share_has_no_spread_and_asks_for_one_pass_more():
    frame = pd.DataFrame({"town": ["a"] * 50, "grade": 1, "prior": 34521.37, "math": 1.0})
    passes = []
    with pytest.MonkeyPatch.context() as patch:
        aggregated = collapse._aggregated
        patch.setattr(
            collapse, "_aggregated", lambda *given: passes.append(1) or aggregated(*given)
        )
        sums = ek.summaries(frame, **ASK)
    assert len(passes) == 2
    assert sums.cross[0, 0, 0] <= 50 * (LAST * 34521.37) ** 2


@given(frame=HALVES)
def test_the_records_are_not_touched(frame):
    before = frame.copy(deep=True)
    ek.summaries(frame, **ASK, weight="weight", grid=0.5)
    pd.testing.assert_frame_equal(frame, before)


@given(frame=HALVES)
def test_quantiles_and_bands_of_a_histogram_are_those_of_the_pupils(frame):
    sums = ek.summaries(frame, **{**ASK, "prior": []}, grid=0.5, bands=[-10, 0.25, 10])
    at = [0.0, 0.1, 0.5, 0.9, 1.0]
    for method in ("linear", "inverted_cdf"):
        quantiles = sums.histogram.quantiles(at, method=method)
        groups = frame.dropna(subset=["math"]).groupby(["town", "grade"])["math"]
        for row, (_, scores) in zip(quantiles, groups, strict=True):
            np.testing.assert_allclose(
                row, np.quantile(scores, at, method=method), rtol=0, atol=1e-12
            )
    np.testing.assert_array_equal(sums.histogram.bands([-10, 0.25, 10]), sums.bands)


@given(frame=HALVES)
def test_weighted_quantiles_of_a_histogram_are_those_of_the_pupils(frame):
    sums = ek.summaries(frame, **{**ASK, "prior": []}, grid=0.5, weight="weight")
    at = [0.0, 0.1, 0.5, 0.9, 1.0]
    quantiles = sums.histogram.quantiles(at, method="inverted_cdf")
    groups = frame.dropna(subset=["math"]).groupby(["town", "grade"])
    for row, (_, part) in zip(quantiles, groups, strict=True):
        by_hand = np.quantile(part["math"], at, method="inverted_cdf", weights=part["weight"])
        np.testing.assert_array_equal(row, by_hand)
