"""Value-added: what schools, classes and counties add to their pupils' scores."""

from evalkit.value_added.checks import forecast_test, past_score_test, switchers
from evalkit.value_added.compare import Agreement, compare
from evalkit.value_added.crossed import crossed
from evalkit.value_added.drift import Drift, drift
from evalkit.value_added.errors_in_variables import errors_in_variables
from evalkit.value_added.fixed import fixed
from evalkit.value_added.left_out import leave_one_out
from evalkit.value_added.model import Multilevel
from evalkit.value_added.multilevel import multilevel
from evalkit.value_added.outcome import outcome
from evalkit.value_added.percentiles import Growth, growth_percentiles
from evalkit.value_added.progress import Progress, progress
from evalkit.value_added.pupils import pupils

__all__ = [
    "Agreement",
    "Drift",
    "Growth",
    "Multilevel",
    "Progress",
    "compare",
    "crossed",
    "drift",
    "errors_in_variables",
    "fixed",
    "forecast_test",
    "growth_percentiles",
    "leave_one_out",
    "multilevel",
    "outcome",
    "past_score_test",
    "progress",
    "pupils",
    "switchers",
]
