"""Pictures of bounds, of every specification and of power: what is drawn is what was found."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest

import evalkit as ek
from evalkit.core.errors import OptionError


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def panel():
    rng = np.random.default_rng(1)
    late = np.repeat([1.0, 0.0], 180) * np.tile([0, 0, 0, 1, 1, 1], 60)
    frame = {"town": np.repeat(np.arange(60), 6), "year": np.tile(np.arange(6), 60),
             "score": rng.normal(size=360) + late,
             "start": np.repeat([3.0, np.nan], 180)}  # fmt: skip
    return ek.Panel.from_frame(frame, outcome="score", unit="town", time="year", cohort="start",
                               provenance="synthetic")  # fmt: skip


def test_bounds_are_drawn_with_their_breakdown_value():
    study = ek.did.event_study(panel())
    found = {"all": ek.sensitivity.relative_magnitudes(study, m=[0, 1])}
    drawn = ek.figures.bounds(found, title="t", ylabel="y")
    assert drawn.provenance == "synthetic"
    assert drawn.data["conf_low"].tolist() == found["all"].conf_low.tolist()
    assert drawn.data["breakdown"].nunique() == 1
    mixed = found | {"other": ek.sensitivity.smoothness(study, m=[0, 1])}
    with pytest.raises(OptionError, match="one restriction"):
        ek.figures.bounds(mixed, title="t", ylabel="y")


def test_a_specification_curve_is_in_order_and_names_open_choices_only():
    p = panel()
    plan = ek.Declaration({"years": ["all", "late"], "units": ["towns"]})
    samples = {"all": p, "late": p.where(p.time > 0)}
    many = ek.multiverse(plan, lambda c: ek.did.two_way(samples[c["years"]]), draws=99)
    drawn = ek.figures.specification_curve(many, title="t", ylabel="y")
    assert drawn.data["estimate"].is_monotonic_increasing
    labels = [tick.get_text() for tick in drawn.figure.axes[1].get_yticklabels()]
    assert labels == ["all", "late"]


def test_power_is_drawn_for_one_coordinate():
    curve = ek.power_curve(panel(), ek.did.two_way, effects=[0.5, 1.0], draws=20)
    drawn = ek.figures.power({"two-way": curve}, title="t", xlabel="x")
    assert drawn.data["power"].tolist() == curve.power[:, 0].tolist()
    cells = ek.power_curve(panel(), ek.did.event_study, effects=[0.5], draws=4)
    with pytest.raises(OptionError, match="5 coordinates"):
        ek.figures.power({"event study": cells}, title="t", xlabel="x")
