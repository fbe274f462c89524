"""County employment and the minimum wage (mpdta), on which every staggered estimator prints."""

from __future__ import annotations

import evalkit as ek

X = ["log_population"]


def mpdta():
    """500 counties, 2003 to 2007; ``adopted`` is missing for never treated."""
    return ek.sources.minimum_wage()


def panel(frame=None, **options):
    """The panel of mpdta, or of a changed copy of it."""
    given = {
        "outcome": "log_employment", "unit": "county", "time": "year", "cohort": "adopted",
        "covariates": X, "provenance": "real",
    }  # fmt: skip
    return ek.Panel.from_frame(mpdta() if frame is None else frame, **{**given, **options})


def with_terms(frame):
    """Three regressors of a joint test: treated, the year before, and years since adoption."""
    since = frame["year"] - frame["adopted"]
    return frame.assign(
        treated=(since >= 0).astype(int),
        just_before=(since == -1).astype(int),
        years_since=since.clip(lower=0).fillna(0),
    )
