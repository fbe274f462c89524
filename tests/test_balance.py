"""The official coefficient against the examples that documents print, and by hand."""

import numpy as np
import pytest

import evalkit as ek
from counties import BOOKS, HEFEI, NOTE, note_panel, panel, schools
from evalkit.core.errors import IdentificationError, OptionError

EXACT = 1e-11


def coefficient(x, w):
    """The formula of the method note, term by term."""
    mean = sum(a * b for a, b in zip(x, w, strict=True)) / sum(w)
    terms = (b / sum(w) * (a - mean) ** 2 for a, b in zip(x, w, strict=True))
    return np.sqrt(sum(terms)) / mean


def test_the_worked_example_of_the_method_note():
    """Printed .52; .515 to three digits; without weights .489, with another divisor .546."""
    found = ek.gaps.balance(note_panel(), standard=BOOKS).theta[0]
    assert found == pytest.approx(0.515, abs=5e-4)
    assert f"{found:.2f}" == "0.52"
    per = np.array(NOTE["books"]) / np.array(NOTE["pupils"])
    assert per.std() / per.mean() == pytest.approx(0.489, abs=5e-4)
    assert per.std(ddof=1) / per.mean() == pytest.approx(0.546, abs=5e-4)


@pytest.mark.parametrize(("coefficients", "printed"), HEFEI)
def test_a_composite_is_the_plain_mean_that_hefei_published(coefficients, printed):
    """Two schools of equal size with 1 + c and 1 - c have the coefficient c."""
    chosen = ek.standards.BASIC_2012
    frame = {"school_id": [1, 2], "county_code": ["h", "h"], "year": [2013, 2013],
             "pupils": [100, 100]}  # fmt: skip
    for one, c in zip(chosen.indicators, coefficients, strict=True):
        frame[one.column] = [2000 + 1000 * c, 2000 - 1000 * c]
    both = ek.standards.school_panel(frame, standard="2012", provenance="documented")
    found = ek.gaps.balance(both, standard="2012")
    np.testing.assert_allclose(2 * found.theta[:8], coefficients, rtol=EXACT)
    assert found.index.keys[-1][-1] == "composite"
    assert 2 * found.theta[-1] == pytest.approx(printed, abs=5.01e-4)


def test_coefficients_of_every_county_and_year_are_those_by_hand():
    frame = schools()
    found = ek.gaps.balance(panel(frame), standard="2017")
    for (county, year, name), value in zip(found.index.keys, found.theta, strict=True):
        rows = frame[(frame["county_code"] == county) & (frame["year"] == year)]
        one = next(i for i in ek.standards.QUALITY_2017.indicators if i.name == name)
        x = one.per * rows[one.column] / rows["pupils"]
        assert value == pytest.approx(
            coefficient(x.to_numpy(), rows["pupils"].to_numpy()), rel=EXACT
        )


def test_it_is_the_spread_of_the_same_outcome_contributions_included():
    made = panel(schools())
    found = ek.gaps.balance(made, standard="2017").select(indicator="rooms")
    other = ek.gaps.spread(
        made.with_outcome(made.column("rooms")), metric="cv", by=["county", "time"]
    )
    np.testing.assert_allclose(found.theta, other.theta, rtol=EXACT)
    np.testing.assert_allclose(found.psi, other.psi, atol=1e-15)


def test_the_references_for_california_are_found_again():
    """Brief: computers per 100 pupils over districts of four counties, weighted by pupils, and
    dollars per pupil over those of the eight counties with the most."""
    frame = ek.sources.california_districts().assign(
        year=1999, per=lambda f: 100 * f["computers"] / f["pupils"]
    )
    made = ek.Panel.from_frame(
        frame, outcome="per", unit="district", time="year", weight="pupils",
        categories=["county"], provenance="real",
    )  # fmt: skip
    found = ek.gaps.spread(made, metric="cv", by="county", undefined="nan")
    wanted = {"Kern": 0.307, "Los Angeles": 0.311, "Sonoma": 0.404, "Tulare": 0.437}
    for county, value in wanted.items():
        assert found.select(county=county).theta[0] == pytest.approx(value, abs=5e-4)
    spending = made.with_outcome(frame.sort_values("district")["spending"].to_numpy())
    other = ek.gaps.spread(spending, metric="cv", by="county", undefined="nan")
    large = frame["county"].value_counts().index[:8].tolist()
    values = other.select(county=large).theta
    assert min(values) == pytest.approx(0.045, abs=5e-4)
    assert max(values) == pytest.approx(0.128, abs=5e-4)


def test_equal_schools_have_a_coefficient_of_zero():
    frame = schools()
    frame["room_m2"] = 6.0 * frame["pupils"]
    part = ek.gaps.balance(panel(frame), standard="2017").select(indicator="rooms")
    np.testing.assert_allclose(part.theta, 0, atol=1e-15)
    assert not part.psi.any()


def test_a_single_school_has_a_coefficient_of_zero_whose_error_cannot_be_seen():
    frame = schools()
    alone = frame[(frame["county_code"] != "c0") | (frame["school_id"] == 0)]
    found = ek.gaps.balance(panel(alone), standard="2017")
    one, others = found.select(county="c0"), found.select(county=["c1", "c2", "c3"])
    np.testing.assert_array_equal(one.theta, 0)
    assert np.isnan(ek.infer(one).std_error).all()
    assert np.isfinite(ek.infer(others).std_error).all()
    assert "14 coordinates cannot be seen" in found.meta.notes[-1]


def test_what_cannot_be_divided_or_is_not_there_is_refused():
    frame = schools()
    none = frame.assign(media_rooms=0.0)
    with pytest.raises(IdentificationError, match="no school has any media"):
        ek.gaps.balance(panel(none), standard="2017")
    with pytest.raises(OptionError, match=r"no indicator .*computers"):
        ek.gaps.balance(panel(frame), standard="2012")
    with pytest.raises(OptionError, match="standard='2015'"):
        ek.gaps.balance(panel(frame), standard="2015")
