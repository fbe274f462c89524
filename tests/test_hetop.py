"""Ordered probit of many groups against HETOP's numbers, R's clm, a slow twin and its rules."""

import time

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import evalkit as ek
import probit
from evalkit.core.errors import IdentificationError, OptionError
from evalkit.engines.ordered import ordered_probit, prepared
from exam import exam, exam_frame, golden

TWIN = 5e-6  # where a search without derivatives stops


def counted(table, by=None):
    """Sums of groups by bands; ``by`` names the year of each row."""
    rows = pd.DataFrame(table, columns=[f"n{k}" for k in range(len(table[0]))])
    bands = list(rows)
    rows["county"] = [f"c{i:04d}" for i in range(len(rows))] if by is None else by[0]
    if by is not None:
        rows["year"] = by[1]
    keys = ["county"] if by is None else ["year", "county"]
    return ek.band_counts(rows, keys=keys, bands=bands, provenance="synthetic")


def drawn(groups, seed=0, size=(40, 400), cuts=(-1, -0.3, 0.4, 1.2)):
    """Counts of normal groups, with their means and standard deviations."""
    rng = np.random.default_rng(seed)
    mean, sd = rng.normal(0, 0.4, groups), np.exp(rng.normal(0, 0.15, groups))
    z = (np.array(cuts) - mean[:, None]) / sd[:, None]
    edge = np.full((groups, 1), np.inf)
    share = np.diff(stats.norm.cdf(np.hstack([-edge, z, edge])))
    n = rng.integers(*size, groups)
    return np.array([rng.multinomial(a, q) for a, q in zip(n, share, strict=True)]), mean, sd


def test_exam_in_four_bands_is_what_hetop_gave():
    """R HETOP 0.2-6, as in the brief; its search stops at 1e-6."""
    found = ek.gaps.hetop(exam("band"), group="school", by=[])
    assert -found.loglik[0] == pytest.approx(5200.0599, abs=1e-4)
    np.testing.assert_allclose(found.icc.theta, [0.164318, 0.158112], atol=2e-6)
    assert found.status.count("estimated") == 64
    assert found.status.count("spread pooled") == 1  # the school with two pupils


def test_the_twenty_largest_schools_are_what_clm_gives():
    """R ordinal: locations and log scales against the first school, to where its search stops."""
    frame = exam_frame()
    large = frame["school"].value_counts().index[:20]
    part = frame[frame["school"].isin(large)]
    found = ek.gaps.hetop(exam("band", frame=part), group="school", by=[])
    assert found.loglik[0] == pytest.approx(golden()["schools_loglik"], abs=1e-8)
    location = (found.mean - found.mean[0]) / found.sd[0]
    scale = np.log(found.sd / found.sd[0])
    for at in range(1, 20):
        assert location[at] == pytest.approx(golden()[f"schools_beta_{at + 1}"], abs=1e-6)
        assert scale[at] == pytest.approx(golden()[f"schools_zeta_{at + 1}"], abs=1e-6)


@pytest.mark.parametrize("bands", [3, 4, 5])
def test_groups_are_those_of_a_slow_twin(bands):
    table, _, _ = drawn(3, seed=bands, cuts=(-1, -0.3, 0.4, 1.2)[: bands - 1])
    mean, sd, _, best = probit.fit(table)
    found = ek.gaps.hetop(counted(table), group="county")
    expected = probit.standard(mean, sd, table)
    np.testing.assert_allclose(found.mean, expected[0], atol=TWIN)
    np.testing.assert_allclose(found.sd, expected[1], atol=TWIN)
    assert found.loglik[0] >= best - 1e-8


def test_a_sparse_group_takes_the_mean_log_spread_of_the_others():
    table = [[20, 30, 20, 9], [10, 40, 30, 20], [0, 7, 8, 0], [5, 20, 40, 25]]
    mean, sd, _, best = probit.fit(table, pooled=[False, False, True, False])
    found = ek.gaps.hetop(counted(table), group="county")
    expected = probit.standard(mean, sd, table)
    np.testing.assert_allclose(found.mean, expected[0], atol=TWIN)
    np.testing.assert_allclose(found.sd, expected[1], atol=TWIN)
    assert found.loglik[0] >= best - 1e-8
    assert found.status[2] == "spread pooled"
    assert np.log(found.sd[2]) == pytest.approx(np.log(found.sd[[0, 1, 3]]).mean(), rel=1e-10)


def test_small_groups_can_be_given_the_spread_of_the_others():
    table, _, _ = drawn(6, seed=9)
    n = table.sum(axis=1)
    few = int(np.sort(n)[2])
    found = ek.gaps.hetop(counted(table), group="county", few=few)
    assert [s == "spread pooled" for s in found.status] == (n < few).tolist()


def test_known_cuts_give_each_group_alone_on_their_scale():
    table, _, _ = drawn(4, seed=10)
    cuts = [-1.0, -0.3, 0.4, 1.2]
    found = ek.gaps.hetop(counted(table), group="county", cuts=cuts)
    for at, row in enumerate(table):
        alone = ek.gaps.hetop(counted([row]), group="county", cuts=cuts)
        assert alone.mean[0] == pytest.approx(found.mean[at], rel=1e-9)
        mean, sd, _, _ = probit.fit([row], cuts=cuts)
        assert (found.mean[at], found.sd[at]) == pytest.approx((mean[0], sd[0]), abs=TWIN)
    covariance = found.estimate.select(statistic="mean").vcov()
    np.testing.assert_allclose(covariance, np.diag(np.diag(covariance)), atol=1e-15)


def test_years_together_are_years_alone():
    one, two = drawn(5, seed=11)[0], drawn(5, seed=12)[0]
    by = [f"c{i}" for i in range(5)] * 2, [2019] * 5 + [2020] * 5
    both = ek.gaps.hetop(counted(np.vstack([one, two]), by), group="county")
    assert both.groups.levels == ("year", "county")
    for year, table in ((2019, one), (2020, two)):
        alone = ek.gaps.hetop(counted(table), group="county")
        mine = both.estimate.select(year=year)
        np.testing.assert_allclose(mine.theta, alone.estimate.theta, rtol=1e-8, atol=1e-10)
        np.testing.assert_allclose(mine.vcov(), alone.estimate.vcov(), rtol=1e-7, atol=1e-12)
        np.testing.assert_allclose(both.icc.select(year=year).theta, alone.icc.theta, rtol=1e-8)


@pytest.mark.parametrize("sparse", [False, True])
def test_contributions_are_what_one_more_pupil_does(sparse):
    """The corrected share only to the order of one over the pupils of a group: its correction is
    taken as given."""
    table = drawn(5, seed=13)[0].astype(float)
    if sparse:
        table[2] = [0, 30, 20, 0, 0]
    made = ek.gaps.hetop(counted(table.astype(int)), group="county")
    units, step = made.estimate.units.tolist(), 1e-3
    for group, band in ((2, 1), (2, 2), (0, 3)):
        unit = units.index(f"county c{group:04d}: {band}")
        moved = []
        for sign in (1, -1):
            other = table.copy()
            other[group, band] += sign * step
            moved.append(_solved(other))
        for estimate, at in ((made.estimate, 0), (made.icc, 1)):
            slope = (moved[0][at] - moved[1][at]) / (2 * step)
            found = estimate.psi[unit] / np.sqrt(table[group, band])
            loose = [1e-5] * len(slope) if at == 0 else [1e-5, 0.1]
            for one, two, tolerance in zip(found, slope, loose, strict=True):
                assert one == pytest.approx(two, rel=tolerance, abs=1e-8)


def test_contributions_add_up_to_nothing_over_all_pupils():
    made = ek.gaps.hetop(exam("band", cluster=None), group="school", by=[])
    for estimate in (made.estimate, made.icc):
        psi = estimate.psi[:, ~np.isnan(estimate.psi).any(axis=0)]
        assert np.abs(psi.sum(axis=0)).max() < 1e-12


def test_a_group_inside_one_cluster_has_no_error_of_its_own_to_show():
    """Schools clustered by themselves: what varies within them cannot be seen from outside."""
    clustered = ek.gaps.hetop(exam("band"), group="school", by=[])
    error = ek.infer(clustered.estimate).std_error
    assert np.isnan(error).all()
    assert "65 groups lie in a single cluster" in clustered.estimate.meta.notes[-1]
    alone = ek.gaps.hetop(exam("band", cluster=None), group="school", by=[])
    assert np.isfinite(ek.infer(alone.estimate).std_error).mean() > 0.98
    # The share of variance between schools does have an error of schools, and it is the larger.
    by_school, by_pupil = (ek.infer(h.icc).std_error for h in (clustered, alone))
    assert (by_school > by_pupil).all()


def _solved(counts):
    """Estimates and shares of a table with parts of pupils."""
    from evalkit.gaps.solved import Solved

    bands, extreme, _ = prepared(counts[None])
    n = counts.sum(axis=1)[None]
    solved = Solved.of(ordered_probit(bands), n, n, extreme, standard=True)
    both = np.stack([solved.mean[0], solved.sd[0]], axis=1).reshape(-1)
    return both, solved.shares()[0][0]


def test_truth_is_found_in_large_groups():
    table, mean, sd = drawn(30, seed=14, size=(20_000, 30_000))
    found = ek.gaps.hetop(counted(table), group="county")
    truth = probit.standard(mean, sd, table)
    error = ek.infer(found.estimate).std_error.reshape(-1, 2)
    for at in (0, 1):
        z = (found.estimate.theta.reshape(-1, 2)[:, at] - truth[at]) / error[:, at]
        assert 0.6 < z.std() < 1.5


def test_the_corrected_share_is_the_published_formula():
    table, _, _ = drawn(8, seed=15, size=(6, 30))
    found = ek.gaps.hetop(counted(table), group="county")
    n = table.sum(axis=1)
    share, total = n / n.sum(), n.sum()
    tilde = 1 / np.mean(1 / (n - 1))
    ratio = tilde / (1 + tilde)
    between = share @ found.mean**2 - ratio / total * ((1 - share) @ found.sd**2)
    within = ratio * (share @ found.sd**2)
    np.testing.assert_allclose(found.icc.theta[1], between / (between + within), rtol=1e-10)
    assert found.icc.theta[0] == pytest.approx(share @ found.mean**2, rel=1e-10)


def test_a_group_all_in_an_outer_band_has_a_bound_and_says_so():
    table = [[20, 30, 20, 9], [12, 0, 0, 0], [0, 0, 0, 4], [5, 20, 40, 25]]
    found = ek.gaps.hetop(counted(table), group="county")
    assert found.status[1:3] == ("all in the lowest band", "all in the highest band")
    assert found.mean[1] == found.mean.min() == found.mean[0]
    assert found.mean[2] == found.mean.max() == found.mean[3]
    empty = np.isnan(found.estimate.theta.reshape(-1, 2)).any(axis=1)
    assert empty.tolist() == [False, True, True, False]
    assert "1 all in the lowest band" in repr(found)
    share = np.array(table).sum(axis=1) / np.sum(table)
    assert share @ found.mean == pytest.approx(0, abs=1e-12)
    assert share @ (found.mean**2 + found.sd**2) == pytest.approx(1, rel=1e-12)


def test_a_group_of_one_pupil_has_no_corrected_share():
    table = [[20, 30, 20, 9], [0, 1, 0, 0], [5, 20, 40, 25]]
    found = ek.gaps.hetop(counted(table), group="county")
    assert np.isfinite(found.icc.theta[0])
    assert np.isnan(found.icc.theta[1])


def test_whole_weights_are_repeated_pupils_but_for_the_noise_of_means():
    frame = exam_frame().query("school <= 12")
    weight = np.random.default_rng(18).integers(1, 4, len(frame))
    repeated = frame.loc[frame.index.repeat(weight)].reset_index(drop=True)
    repeated["pupil"] = range(len(repeated))
    one = ek.gaps.hetop(exam("band", frame=frame.assign(w=weight * 1.0), weight="w"),
                        group="school", by=[])  # fmt: skip
    two = ek.gaps.hetop(exam("band", frame=repeated), group="school", by=[])
    np.testing.assert_allclose(one.mean, two.mean, atol=1e-10)
    np.testing.assert_allclose(one.sd, two.sd, atol=1e-10)
    assert one.icc.theta[0] == pytest.approx(two.icc.theta[0], rel=1e-10)
    assert one.icc.theta[1] < two.icc.theta[1]  # fewer pupils, more noise to take off
    assert one.n.sum() == len(frame)


def test_what_has_no_maximum_is_never_a_number():
    """Two bands that nobody is in between leave the likelihood rising without end."""
    table = [[7, 0, 3, 2], [7, 4, 3, 0], [5, 7, 2, 0]]
    found = ek.gaps.hetop(counted(table), group="county")
    assert set(found.status) == {"not converged"}
    assert np.isnan(found.estimate.theta).all()
    assert np.isnan(found.icc.theta).all()
    assert np.isfinite(found.estimate.psi).all()


def test_two_bands_have_one_spread_for_all():
    found = ek.gaps.hetop(counted([[40, 60], [20, 80]]), group="county")
    assert found.sd[0] == found.sd[1]
    assert set(found.status) == {"spread pooled"}
    difference = (found.mean[1] - found.mean[0]) / found.sd[0]
    assert difference == pytest.approx(stats.norm.ppf(0.8) - stats.norm.ppf(0.6), rel=1e-9)


def test_three_thousand_counties_take_seconds():
    """Under two seconds of processor time; about 0.3 on the machine of the brief."""
    table, _, _ = drawn(3000, seed=16, size=(30, 3000))
    sums = counted(table)
    start = time.process_time()
    found = ek.gaps.hetop(sums, group="county")
    assert time.process_time() - start < 2
    assert "not converged" not in found.status
    assert type(found.estimate.scores).__name__ == "Sparse"


def test_what_cannot_be_fitted_is_refused():
    table, _, _ = drawn(3, seed=17)
    with pytest.raises(OptionError, match="cuts="):
        ek.gaps.hetop(counted(table), group="county", cuts=[0.0, 1.0])
    with pytest.raises(OptionError, match="group names no column"):
        ek.gaps.hetop(counted(table), group=[])
    with pytest.raises(IdentificationError, match="all in one band"):
        ek.gaps.hetop(counted([[5, 0, 0], [0, 0, 5]]), group="county")
    with pytest.raises(IdentificationError, match="Cut the score first"):
        ek.gaps.hetop(exam(), group="school")
