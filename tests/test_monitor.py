"""Early warning against histories whose verdicts are known."""

import numpy as np
import pytest

import evalkit as ek
from evalkit.core.errors import OptionError, PanelError
from evalkit.core.estimate import Estimate
from evalkit.core.labels import Index
from evalkit.core.origin import Meta


def history(rows, error=0.01, start=2010):
    """An index by county and year; every value has the same standard error."""
    names = list(rows)
    keys = tuple((c, start + t) for c in names for t in range(len(rows[c])))
    theta = np.concatenate([np.asarray(rows[c], float) for c in names])
    kept = np.isfinite(theta)
    index = Index(("county", "time"), tuple(k for k, ok in zip(keys, kept, strict=True) if ok))
    psi = np.eye(int(kept.sum())) * error
    units = np.arange(len(index))
    meta = Meta("coefficient", "made", "index", len(units), "synthetic")
    return Estimate(theta[kept], psi, units, units, index, meta)


ROWS = {
    "rises": [0.30, 0.36, 0.42, 0.46, 0.55, 0.60],  # warned of two years ahead, breach in 2014
    "jumps": [0.30, 0.30, 0.30, 0.60, 0.60, 0.60],  # breach in 2013 without warning
    "nears": [0.30, 0.44, 0.44, 0.30, 0.30, 0.30],  # alarms in 2011 and 2012, in vain
    "late": [0.30, 0.30, 0.30, 0.30, 0.30, 0.45],  # an alarm whose horizon is not over
    "always": [0.60, 0.60, 0.60, 0.60, 0.60, 0.60],  # in breach from the start: nothing to warn of
}


def rates(estimate, **changes):
    options = {"limit": 0.5, "warn": 0.4, "horizon": 2}
    return ek.monitor(estimate, **{**options, **changes})


def test_known_histories_have_known_verdicts():
    found = rates(history(ROWS))
    row = found.rates.iloc[0]
    assert (row["hits"], row["false_alarms"], row["open"]) == (2, 2, 1)
    assert (row["onsets"], row["warned"], row["lead"]) == (2, 1, 2)
    assert row["false_rate"] == 0.5
    alarms = found.table["alarm"]
    assert alarms.loc[("rises", 2012)] == alarms.loc[("rises", 2013)] == "hit"
    assert alarms.loc[("nears", 2011)] == alarms.loc[("nears", 2012)] == "false"
    assert alarms.loc[("late", 2015)] == "open"
    assert set(alarms.loc["always"]) == set(alarms.loc["jumps"]) == {""}


def test_lights_are_green_amber_and_red():
    lights = rates(history(ROWS)).table["light"]
    assert lights.loc["rises"].tolist() == ["green", "green", "amber", "amber", "red", "red"]


def test_a_lower_warning_level_warns_earlier_and_in_vain_more_often():
    found = rates(history(ROWS), warn=[0.29, 0.35, 0.4, 0.5]).rates
    assert found["lead"].iloc[0] >= found["lead"].dropna().iloc[-1]
    assert found["warned"].is_monotonic_decreasing
    assert found["false_alarms"].is_monotonic_decreasing
    assert found.loc[0.5, "hits"] == 0


def test_certainty_asks_for_more_than_an_estimate_above_the_level():
    rows = {"near": [0.41, 0.41, 0.55]}
    assert rates(history(rows, error=0.02)).rates["hits"].iloc[0] == 2
    assert rates(history(rows, error=0.02), certainty=0.9).rates["hits"].iloc[0] == 0
    assert rates(history(rows, error=0.001), certainty=0.9).rates["hits"].iloc[0] == 2
    probability = rates(history(rows, error=0.02)).table["probability"]
    assert probability.iloc[0] == pytest.approx(0.6915, abs=1e-4)  # half a standard error above


def test_a_year_that_is_missing_is_unknown_and_judges_no_alarm():
    found = rates(history({"gap": [0.45, np.nan, 0.3, 0.3], "full": [0.3] * 4}))
    assert found.table.loc[("gap", 2011), "light"] == "unknown"
    assert found.table.loc[("gap", 2010), "alarm"] == "open"


def test_a_balance_index_can_be_watched_by_indicator():
    from counties import panel, schools

    made = ek.gaps.balance(panel(schools(years=4)), standard="2017")
    found = ek.monitor(made, limit=0.5, warn=0.3)
    assert found.table.index.names == ["county", "indicator", "time"]
    assert len(found.table) == len(made)
    assert found.provenance == "synthetic"
    assert "Monitor of limit 0.5" in repr(found)


def test_errors_in_blocks_are_those_of_the_covariance(monkeypatch):
    made = history(ROWS)
    monkeypatch.setattr("evalkit.inference.monitor.BLOCK", 7)
    one = rates(made, certainty=0.8).table["probability"]
    monkeypatch.setattr("evalkit.inference.monitor.BLOCK", 512)
    np.testing.assert_array_equal(one, rates(made, certainty=0.8).table["probability"])


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"warn": 0.6}, "at or below the limit"),
        ({"warn": []}, "at or below the limit"),
        ({"warn": [[0.1, 0.2]]}, "one or several finite numbers"),
        ({"warn": -np.inf}, "one or several finite numbers"),
        ({"certainty": 1.0}, "certainty="),
        ({"horizon": 0}, "horizon="),
        ({"over": "month"}, "no level 'month'"),
    ],
)
def test_rules_that_make_no_sense_are_refused(wrong, why):
    with pytest.raises(OptionError, match=why):
        rates(history(ROWS), **wrong)
    with pytest.raises(OptionError, match="at least two"):
        rates(history({"one": [0.3]}))


def test_an_error_that_cannot_be_seen_gives_no_probability_and_no_alarm():
    made = history({"rises": [0.1, 0.45, 0.6], "jumps": [0.1, 0.1, 0.6]}, error=np.nan)
    found = rates(made, certainty=0.9)
    assert found.table["probability"].isna().all()
    assert (found.table["alarm"] == "").all()
    assert rates(made).table["alarm"].loc[("rises", 2011)] == "hit"  # at one half none is needed


def test_a_value_at_the_warning_level_is_not_above_it():
    found = rates(history({"at": [0.4, 0.6]}))
    assert found.table["light"].iloc[0] == "green"
    assert found.table["alarm"].iloc[0] == ""


def test_periods_that_are_numbers_in_text_are_refused_where_text_reorders_them():
    made = history({"at": [0.1, 0.2, 0.3]}, start=9)
    keys = tuple((c, str(t)) for c, t in made.index.keys)
    with pytest.raises(PanelError, match="level 'time' holds numbers as text"):
        rates(made.relabel(Index(("county", "time"), keys)))
