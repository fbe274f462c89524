"""Gaps, ordinal gaps, inequality and official balance indices of an outcome, as estimates."""

from evalkit.gaps.balance import balance
from evalkit.gaps.bands import band_gap
from evalkit.gaps.difference_rate import difference_rate
from evalkit.gaps.gap import gap
from evalkit.gaps.gradient import gradient
from evalkit.gaps.hetop import Hetop, hetop
from evalkit.gaps.inequality import inequality
from evalkit.gaps.ordinal import ordinal_gap
from evalkit.gaps.quantiles import quantile_gap
from evalkit.gaps.split import gap_split
from evalkit.gaps.spread import spread
from evalkit.gaps.standardised import standardised_gap

__all__ = [
    "Hetop",
    "balance",
    "band_gap",
    "difference_rate",
    "gap",
    "gap_split",
    "gradient",
    "hetop",
    "inequality",
    "ordinal_gap",
    "quantile_gap",
    "spread",
    "standardised_gap",
]
