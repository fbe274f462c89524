"""Value-added: what schools, classes and counties add to their pupils' scores."""

from evalkit.value_added.checks import forecast_test, past_score_test, switchers
from evalkit.value_added.crossed import crossed
from evalkit.value_added.drift import Drift, drift
from evalkit.value_added.errors_in_variables import errors_in_variables
from evalkit.value_added.fixed import fixed
from evalkit.value_added.left_out import leave_one_out
from evalkit.value_added.model import Multilevel
from evalkit.value_added.multilevel import multilevel
from evalkit.value_added.pupils import pupils

__all__ = [
    "Drift",
    "Multilevel",
    "crossed",
    "drift",
    "errors_in_variables",
    "fixed",
    "forecast_test",
    "leave_one_out",
    "multilevel",
    "past_score_test",
    "pupils",
    "switchers",
]
