"""How sure it is that a county meets a standard, if its schools are draws from a population."""

from __future__ import annotations

from typing import TYPE_CHECKING
from zlib import crc32

import numpy as np

from evalkit.core.arrays import Matrix, Vector
from evalkit.core.checks import check_draws, check_panel, check_seed
from evalkit.core.errors import check_option
from evalkit.core.panel import Panel
from evalkit.data.standards import Stage, Standard, standard_of
from evalkit.gaps.balance import COMPOSITE, balance
from evalkit.gaps.sample import Names, sample

if TYPE_CHECKING:
    import pandas as pd

ALL = "all"


def pass_probability(
    panel: Panel,
    *,
    standard: str | Standard,
    stage: Stage,
    seed: int = 1,
    draws: int = 999,
    by: Names = ("county", "time"),
) -> pd.DataFrame:
    r"""Share of bootstrap samples of a county's schools whose coefficients keep the limits.

    The official verdict counts every school and is what it is. This figure says how much it owes to
    which schools happen to stand in the county: near one half, a school more or less decides.

    Parameters
    ----------
    panel : Panel
        Of schools of one stage: see ``evalkit.standards.school_panel``.
    standard : {"2012", "2017"} or Standard
    stage : {"primary", "junior"}
    seed : int
        Draws are keyed by the county and year, so that other counties and the order of rows do not
        move them.
    draws : int
    by : str or sequence of str

    Returns
    -------
    pandas.DataFrame
        One row per combination of ``by`` and judged indicator, and one for ``all`` of them
        together: coefficient, limit, whether it passes, the share of draws that do
        (``probability``) and its Monte Carlo error. Where the coefficient is undefined, ``passes``
        is NA and the probability NaN; NaN too where a county has one school, which any sample
        repeats.

    Raises
    ------
    OptionError
        A stage that the standard has no limit for, or indicators that the panel lacks.

    Examples
    --------
    >>> import evalkit as ek
    >>> books = ek.standards.Indicator("books", "books per pupil", "生均图书册数", "books")
    >>> one = ek.standards.Standard("example", "method note", "", (books,),
    ...                             {"primary": 0.50}, False, "worked example")
    >>> frame = {"school_id": range(5), "county_code": ["c"] * 5, "year": [2012] * 5,
    ...          "pupils": [45, 37, 89, 76, 55], "books": [279, 137, 935, 160, 402]}
    >>> panel = ek.standards.school_panel(frame, standard=one, provenance="documented", smallest=0)
    >>> found = ek.pass_probability(panel, standard=one, stage="primary", seed=1)
    >>> bool(found["passes"].iloc[0]), bool(0.3 < found["probability"].iloc[0] < 0.9)
    (False, True)
    """
    import pandas as pd

    check_panel(panel)
    chosen = standard_of(standard)
    check_option("stage", stage, chosen.limit)
    check_draws(draws, remedy="some hundreds for a probability")
    check_seed(seed)
    estimate = balance(panel, standard=chosen, by=by, undefined="nan")
    groups, index = sample(panel).coordinates(by)
    limit, width = chosen.limit[stage], len(chosen.names)
    judged = [COMPOSITE] if chosen.composite else list(chosen.names)
    cv = estimate.theta.reshape(len(index), -1)
    cv = cv[:, width:] if chosen.composite else cv
    x = np.stack([panel.column(name) for name in chosen.names], axis=1)
    rows = []
    for at, mine in enumerate(groups.rows()):
        rng = np.random.default_rng([seed, crc32("\n".join(map(str, index.keys[at])).encode())])
        drawn = _coefficients(x[mine], panel.weight[mine], rng, draws)
        drawn = drawn.mean(axis=1, keepdims=True) if chosen.composite else drawn
        fine = drawn <= limit
        share = [*fine.mean(axis=0), fine.all(axis=1).mean()]
        worst = float(np.max(cv[at]))
        for name, value, p in zip([*judged, ALL], [*cv[at], worst], share, strict=True):
            passes = pd.NA if np.isnan(value) else value <= limit
            p = np.nan if np.isnan(value) or len(mine) == 1 else p
            rows.append((*index.keys[at], name, value, limit, passes, p))
    names = [*index.levels, "indicator", "cv", "limit", "passes", "probability"]
    table = pd.DataFrame(rows, columns=names).set_index(names[:-4])
    table["passes"] = table["passes"].astype("boolean")
    table["mc_error"] = np.sqrt(table["probability"] * (1 - table["probability"]) / draws)
    table.attrs["provenance"] = panel.provenance
    return table


def _coefficients(x: Matrix, weight: Vector, rng: np.random.Generator, draws: int) -> Matrix:
    """Coefficients ``(draws, indicators)`` of schools drawn with replacement.

    Schools are drawn in the order of their values, so that their labels do not matter.
    """
    order = np.lexsort((weight, *x.T[::-1]))
    x, weight = x[order], weight[order]
    n = len(x)
    counts = rng.multinomial(n, np.full(n, 1 / n), size=draws) * weight
    share = counts / counts.sum(axis=1, keepdims=True)
    centre = x.mean(axis=0)
    mean = share @ (x - centre)
    variance = np.maximum(share @ (x - centre) ** 2 - mean**2, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.sqrt(variance) / (mean + centre))
