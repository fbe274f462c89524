"""The gap along a gradient against least squares by hand and the jackknife."""

import numpy as np
import pytest

import evalkit as ek
from evalkit.core.errors import IdentificationError, OptionError
from exam import exam, exam_frame


def sloped(**changes):
    frame = exam_frame().assign(status=lambda f: f["intake"].round(1))
    return exam(frame=frame.iloc[:600], covariates=["status"], **changes)


@pytest.mark.parametrize("degree", [1, 3])
def test_the_gap_is_a_difference_of_fitted_values(degree):
    panel = sloped()
    x, y = panel.column("status"), panel.y
    rank = np.array([((x < v).sum() + 0.5 * (x == v).sum()) / len(x) for v in x])
    fit = np.polynomial.Polynomial.fit(rank, y, degree)
    found = ek.gaps.gradient(panel, along="status", degree=degree)
    assert found.theta[0] == pytest.approx(fit(0.9) - fit(0.1), rel=1e-9)
    other = ek.gaps.gradient(panel, along="status", degree=degree, high=0.75, low=0.25)
    assert other.theta[0] == pytest.approx(fit(0.75) - fit(0.25), rel=1e-9)


def test_contributions_know_that_ranks_are_estimated():
    """The jackknife re-ranks everybody; contributions that did not would miss a tenth of it."""
    panel = sloped(cluster=None)
    made = ek.gaps.gradient(panel, along="status")
    units = np.arange(0, 600, 7)
    changes = np.array([
        made.theta[0] - ek.gaps.gradient(panel.where(panel.unit != u), along="status").theta[0]
        for u in units
    ])  # fmt: skip
    distance = np.linalg.norm(changes - made.psi[units, 0]) / np.linalg.norm(changes)
    assert distance < 0.02
    assert abs(made.psi.sum()) < 1e-13


def test_a_rising_change_of_status_changes_nothing():
    frame = exam_frame().assign(status=lambda f: f["intake"].round(1))
    frame["bent"] = np.exp(frame["status"])
    one, two = (
        ek.gaps.gradient(exam(frame=frame, covariates=[name]), along=name)
        for name in ("status", "bent")
    )
    assert one.theta.tobytes() == two.theta.tobytes()
    assert one.psi.tobytes() == two.psi.tobytes()


def test_categories_in_their_order_will_do_while_there_are_enough():
    panel = exam(frame=exam_frame().assign(c=lambda f: f["band"] * 1.0), covariates=["c"])
    assert np.isfinite(ek.gaps.gradient(panel, along="c", degree=3).theta).all()
    with pytest.raises(IdentificationError, match="fewer than 5 values"):
        ek.gaps.gradient(panel, along="c", degree=4)


def test_percentiles_and_degrees_that_make_no_sense_are_refused():
    for wrong in ({"high": 0.1, "low": 0.9}, {"high": 1.2}, {"degree": 0}):
        with pytest.raises(OptionError):
            ek.gaps.gradient(sloped(), along="status", **wrong)
