"""All that can be defended with few treated clusters, side by side, each with its measured size."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from evalkit.core.arrays import Vector
from evalkit.core.checks import check_draws, check_level, check_seed
from evalkit.core.errors import (
    CombinationError,
    DoubtWarning,
    IdentificationError,
)
from evalkit.core.estimate import Estimate
from evalkit.core.panel import Panel
from evalkit.core.provenance import Provenance
from evalkit.core.sides import Standing
from evalkit.inference.controls import conley_taber, ferman_pinto
from evalkit.inference.few import doubt
from evalkit.inference.infer import Inference, infer
from evalkit.inference.randomisation import Assigned, Rule, randomisation
from evalkit.inference.resample import Estimator, jackknife, quietly
from evalkit.inference.size import measured_size
from evalkit.inference.tested import Tested
from evalkit.inference.wild import wild_bootstrap

if TYPE_CHECKING:
    import pandas as pd

Found: TypeAlias = tuple[Vector, Vector, Vector]
INNER = 399  # draws of a bootstrap inside a measured size


@dataclass(frozen=True, slots=True, eq=False)
class FewTreated:
    """P-values and intervals of several methods for ``k`` coordinates.

    Attributes
    ----------
    estimate : Estimate
    standing : Standing or None
        Clusters behind each coordinate.
    table : pandas.DataFrame
        One row per coordinate and method: p-value, interval, the share of true nulls that the
        method rejected at ``1 - level`` on the panel's own noise (NaN: not measured), and what it
        assumes; or why it has no answer.
    """

    estimate: Estimate
    standing: Standing | None
    table: pd.DataFrame
    level: float
    words: str

    @property
    def provenance(self) -> Provenance:
        """Evidence tier."""
        return self.estimate.meta.provenance

    def __repr__(self) -> str:
        meta = self.estimate.meta
        head = f"{meta.estimand} on {meta.outcome!r} by {meta.method} ({meta.provenance})"
        return "\n".join([head, self.words, self.table.round(4).to_string(index=False)])


def few_treated(
    panel: Panel,
    estimator: Estimator,
    *,
    rule: Rule = "complete",
    by: Assigned = "cluster",
    within: str | None = None,
    size: str | None = None,
    level: float = 0.95,
    draws: int = 200,
    seed: int = 1,
) -> FewTreated:
    """Judge an estimate by every method that few treated clusters leave, and measure each.

    Parameters
    ----------
    panel : Panel
    estimator : callable
        ``Panel -> Estimate``; any.
    rule, by, within
        Of the assignment, as in :func:`randomisation`.
    size : str, optional
        Covariate with the size of a unit, as in :func:`ferman_pinto`.
    level : float
        Coverage of the intervals.
    draws : int
        Panels without effect on which each test is measured (:func:`measured_size`); 0 for none.
    seed : int

    Returns
    -------
    FewTreated

    Examples
    --------
    >>> import numpy as np, evalkit as ek
    >>> rng = np.random.default_rng(1)
    >>> frame = {"town": np.repeat(np.arange(24), 2), "year": np.tile([1, 2], 24),
    ...          "score": rng.normal(size=48), "start": np.repeat([2.0] * 2 + [np.nan] * 22, 2)}
    >>> panel = ek.Panel.from_frame(frame, outcome="score", unit="town", time="year",
    ...                             cohort="start", provenance="synthetic")
    >>> ek.few_treated(panel, ek.did.two_way, draws=0).table["method"].to_list()[:2]
    ['t test, CR1', 't test, CR3']
    """
    import pandas as pd

    check_draws(draws, 0, "some hundreds measure a size, and 0 leaves sizes out")
    check_seed(seed)
    check_level(level)
    estimate = quietly(estimator, panel)
    rows = []
    for name, run, assumes in _methods(estimator, estimate, rule, by, within, size, level, seed):
        try:
            p_value, low, high = run(panel, 9999)
        except (CombinationError, IdentificationError) as wrong:
            nothing = np.full(len(estimate), np.nan)
            p_value = low = high = nothing
            rate, assumes = nothing, f"no answer: {wrong}"
        else:
            rate = _size(panel, estimator, run, 1 - level, draws, seed, len(estimate), name)
        for k, key in enumerate(estimate.index.keys):
            levels = dict(zip(estimate.index.levels, key, strict=True))
            found = {"p_value": p_value[k], "conf_low": low[k], "conf_high": high[k]}
            rows.append(
                {**levels, "method": name, **found, "measured_size": rate[k], "assumes": assumes}
            )
    table = pd.DataFrame(rows).sort_values(
        list(estimate.index.levels), kind="stable", ignore_index=True
    )
    standing = None if estimate.sides is None else estimate.sides.standing()
    words = f"level {level:.0%}; sizes at {1 - level:.2g} from {draws} panels (seed {seed})"
    return FewTreated(estimate, standing, table, level, words)


Run: TypeAlias = Callable[[Panel, int], Found]


def _methods(
    estimator: Estimator,
    estimate: Estimate,
    rule: Rule,
    by: Assigned,
    within: str | None,
    size: str | None,
    level: float,
    seed: int,
) -> list[tuple[str, Run, str]]:
    """Name, test and assumption of each method."""
    design = estimate.leverage is not None
    found = doubt(estimate, "CR1", estimate.n_clusters)
    many = "ten clusters or more on each side" + (": not so here" if found.flags.any() else "")
    alike = "treated clusters as noisy as untreated ones"

    def usual(p: Panel, draws: int) -> Found:
        del draws
        return _ends(infer(quietly(estimator, p), level=level, few="show"))

    def corrected(p: Panel, draws: int) -> Found:
        del draws
        if design:
            return _ends(_corrected(quietly(estimator, p), level))
        table = jackknife(p, estimator, level=level).table
        low, high = (table[end].to_numpy() for end in ("conf_low", "conf_high"))
        return table["p_value"].to_numpy(), low, high

    def wild(p: Panel, draws: int) -> Found:
        made = quietly(estimator, p)
        return _ends(wild_bootstrap(made, draws=draws, seed=seed, level=level))

    def dealt(p: Panel, draws: int) -> Found:
        return _ends(
            randomisation(
                p, estimator, rule=rule, by=by, within=within,
                draws=min(draws, 999), seed=seed, level=level,
            )
        )  # fmt: skip

    def taken(p: Panel, draws: int) -> Found:
        return _ends(conley_taber(p, estimator, draws=draws, seed=seed, level=level))

    def sized(p: Panel, draws: int) -> Found:
        return _ends(ferman_pinto(p, estimator, size=size, draws=draws, seed=seed, level=level))

    place = "" if within is None else f" within {within}"
    return [
        ("t test, CR1", usual, many),
        (
            f"t test, {'CR3' if design else 'jackknife'}",
            corrected,
            f"two treated clusters or more; {alike}, if very few",
        ),
        (
            "wild bootstrap" if design else "multiplier bootstrap",
            wild,
            "timid with very few treated clusters" if design else many,
        ),
        (
            f"randomisation ({rule}{place})",
            dealt,
            "this rule assigned treatment: the size is exact",
        ),
        ("Conley-Taber", taken, f"many untreated clusters; {alike}"),
        ("Ferman-Pinto", sized, f"many untreated clusters; {alike}, given their size"),
    ]


def _ends(found: Inference | Tested) -> Found:
    return found.p_value, found.conf_low, found.conf_high


def _corrected(estimate: Estimate, level: float) -> Inference:
    """The t test of CR3, unless a cluster stands alone."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DoubtWarning)
        made = infer(estimate, vcov="CR3", level=level)
    if made.withheld is not None and made.withheld.all():
        raise IdentificationError("a cluster stands alone on its side")
    return made


def _size(
    panel: Panel,
    estimator: Estimator,
    run: Run,
    size: float,
    draws: int,
    seed: int,
    k: int,
    name: str,
) -> Vector:
    """Rejections of true nulls; NaN where they are known by design, or cannot be measured."""
    if draws < 2 or name.startswith("randomisation"):
        return np.full(k, np.nan)
    try:
        measured = measured_size(
            panel, estimator, test=lambda p: run(p, INNER)[0], size=size, draws=draws, seed=seed
        )
    except IdentificationError:
        return np.full(k, np.nan)
    return measured.rate
