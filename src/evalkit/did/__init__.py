"""Difference-in-differences: pure functions from a panel to an estimate."""

from evalkit.did.callaway_santanna import callaway_santanna
from evalkit.did.comparison import SyntheticWeights
from evalkit.did.continuous import dose_curve
from evalkit.did.decomposition import bacon
from evalkit.did.dose import dose_event_study, dose_iv, dose_response
from evalkit.did.imputation import imputation, imputation_pretrends
from evalkit.did.regression import regression
from evalkit.did.saturated import extended_two_way, sun_abraham
from evalkit.did.several import several_measures
from evalkit.did.synthetic import synthetic_control, synthetic_did
from evalkit.did.triple_difference import triple_difference
from evalkit.did.two_way import event_study, two_by_two, two_way

__all__ = [
    "SyntheticWeights",
    "bacon",
    "callaway_santanna",
    "dose_curve",
    "dose_event_study",
    "dose_iv",
    "dose_response",
    "event_study",
    "extended_two_way",
    "imputation",
    "imputation_pretrends",
    "regression",
    "several_measures",
    "sun_abraham",
    "synthetic_control",
    "synthetic_did",
    "triple_difference",
    "two_by_two",
    "two_way",
]
