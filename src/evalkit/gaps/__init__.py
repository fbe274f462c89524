"""Gaps and spread of an outcome, as estimates."""

from evalkit.gaps.gap import gap
from evalkit.gaps.spread import spread

__all__ = ["gap", "spread"]
