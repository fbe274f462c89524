"""What a law is asked of, made once per estimator and panel."""

import pytest

from panels import RECIPES
from test_laws.over import Sample

_made: dict[tuple[str, str], Sample] = {}


@pytest.fixture
def sample(request: pytest.FixtureRequest) -> Sample:
    """A case on a panel; all of it is read-only but the frame, which the laws copy."""
    case, name = request.param
    if (case.name, name) not in _made:
        recipe = RECIPES[name]
        frame = recipe.frame()
        panel = recipe.panel(frame)
        _made[case.name, name] = Sample(case, recipe, frame, panel, case.run(panel))
    return _made[case.name, name]
