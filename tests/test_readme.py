"""What the README shows of the package runs as it stands there."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import evalkit as ek

README = (Path(__file__).resolve().parent.parent / "README.md").read_text("utf-8")


def test_the_example_of_the_readme_runs(capsys):
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    rng = np.random.default_rng(1)
    county = np.repeat(np.arange(240), 8)
    frame = pd.DataFrame(
        {
            "county": county,
            "year": np.tile(np.arange(2012, 2020), 240),
            "first_year": np.repeat(rng.choice([2014, 2015, 2016, np.nan], 240), 8),
            "prefecture": county // 3,
            "score": rng.normal(size=1920),
        }
    )
    exec(example, {"frame": frame})
    assert "difference in average ATT(g, t)" in capsys.readouterr().out


@pytest.mark.parametrize("door", ["chapter", "claim", "figures", "tables"])
def test_a_door_that_needs_an_extra_names_it(door, monkeypatch):
    monkeypatch.setattr("evalkit.find_spec", lambda name: None if name == "seaborn" else name)
    monkeypatch.delitem(vars(ek), door, raising=False)
    with pytest.raises(ImportError, match=rf"evalkit.{door} needs seaborn.*evalkit\[show\]"):
        getattr(ek, door)
