"""Loops a law over the estimators that it speaks of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pytest

from evalkit.core.estimate import Estimate
from evalkit.core.panel import Panel
from panels import RECIPES, Recipe
from test_laws.estimators import CASES, Case


@dataclass(frozen=True)
class Sample:
    """A case on a panel."""

    case: Case
    recipe: Recipe
    frame: pd.DataFrame
    panel: Panel
    estimate: Estimate

    def again(self, frame: pd.DataFrame, **changes: object) -> Estimate:
        """The estimate from another frame of the same make."""
        return self.case.run(self.recipe.panel(frame, **changes))

    def with_outcome(self, y: object) -> Estimate:
        """The estimate for another outcome in the panel's row order."""
        return self.case.run(self.panel.with_outcome(y))


def over(
    cases: Callable[[Case], bool] = lambda case: True,
    panels: Callable[[Recipe], bool] = lambda recipe: True,
) -> Any:
    """Parametrise ``sample`` over the declared panels of the cases that a law holds for."""
    pairs = [
        (case, name)
        for case in CASES
        for name in case.panels
        if cases(case) and panels(RECIPES[name])
    ]
    ids = [f"{case.name}, {name}" for case, name in pairs]
    return pytest.mark.parametrize("sample", pairs, indirect=True, ids=ids)
