"""Value-added by multilevel models: pupils in classes in schools in counties, exact from sums."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import get_args

import numpy as np
from scipy.optimize import brentq, minimize_scalar

from evalkit.core.arrays import Matrix, Vector
from evalkit.core.errors import IdentificationError, OptionError, PanelError, check_option, some
from evalkit.core.panel import Panel
from evalkit.engines.likelihood import Criterion, Method, Solution, fit
from evalkit.engines.variance_components import Nested
from evalkit.value_added.gather import (
    Data,
    Level,
    Rows,
    gather,
    name_of,
    refuse_collinear,
    regressors,
)
from evalkit.value_added.model import Multilevel, blocks_of, finish
from evalkit.value_added.tree import Tree

MOST_LEVELS = 3  # above the pupil
WIDE = 12.0  # e-foldings below the variance of scores in which the residual's is sought
ROUGH, FINE = 1e-3, 1e-11  # of the log residual variance: where the search ends, and the root
STENCIL = 0.01  # step of the differences that make the derivative by it
EXACT = 1e-12  # share of a score's variance that counts as none


def multilevel(
    data: Data,
    *,
    levels: Sequence[Level],
    on: Sequence[str] | None = None,
    slopes: Mapping[str, Sequence[str]] | None = None,
    csem: str | None = None,
    method: Method = "reml",
) -> Multilevel:
    r"""Effects of schools (and of classes below, counties above) on scores, given prior scores.

    **Estimand.** The effect :math:`u_j` of each unit among units like it, and the variance of such
    effects, for pupils with equal covariates. It is a cause only if pupils with equal covariates
    are as good as assigned to units by lot.
    **Assumptions.** Effects and residuals are independent draws of mean zero, unrelated to the
    covariates; variances are the same everywhere. Normality matters for intervals, not for the
    predictions being the best linear ones.
    **Estimator.** :math:`y=X\beta+\sum_lZ_lu_l+e`, :math:`u_l\sim(0,I\otimes\Theta_l)`, the
    variances by REML or ML; :math:`\hat u=\Theta Z'V^{-1}(y-X\hat\beta)`, whose error has variance
    :math:`\Theta-\Theta Z'PZ\Theta`.
    **Contribution.** None: errors follow from the variance model. ``raw`` gives effects with known
    errors; :func:`fixed` gives contributions of pupils.
    **Reference.** Goldstein (2011), chapter 2; Henderson (1975); Bates et al. (2015), eq. 41.
    **Checked against.** lme4 1.1-31 (deviances 1e-8, variances 1e-6 relative), dense matrices
    (1e-9).
    **Fails when.** Better schools choose better pupils beyond the covariates; prior scores are
    noisy (see :func:`evalkit.value_added.errors_in_variables`); a league table is read off the
    predictions without their errors.

    Parameters
    ----------
    data : Panel or Summaries
        Pupils, or sums of them: the answer is the same, and ``multilevel(a + b)`` of two counties'
        sums is the fit on all their pupils.
    levels : sequence of str or tuple of str
        One to three levels above the pupil, the finest first. A tuple makes units of combinations,
        ``("county", "school")``, where ids of schools repeat across counties.
    on : sequence of str, optional
        Regressors (default: all covariates).
    slopes : mapping of level to sequence of str, optional
        Regressors whose slope differs between the units of a level.
    csem : str, optional
        Covariate of the panel (or key of the sums) with the standard error of measurement of each
        score: its square is known variance beside the residual's. Zero where a score is exact.
    method : {"reml", "ml"}

    Returns
    -------
    Multilevel

    Raises
    ------
    IdentificationError
        A unit in two units of the level above; a level that cannot be told from the one below;
        collinear regressors; scores that the units explain completely.

    Warns
    -----
    DoubtWarning
        If a variance is zero; the gradient there shows that it is the optimum.

    Examples
    --------
    >>> import evalkit as ek
    >>> pupils = {"school": [1, 1, 1, 2, 2, 2, 3, 3, 3],
    ...           "math": [1.0, 2.0, 3.0, 3.0, 5.0, 4.0, 2.0, 2.0, 4.0]}
    >>> panel = ek.value_added.pupils(pupils, score="math", keys=["school"], provenance="synthetic")
    >>> fit = ek.value_added.multilevel(panel, levels=["school"])
    >>> fit.effects()[["unit", "raw", "shrunken"]].round(3)
       unit    raw  shrunken
    0     1 -0.889    -0.571
    1     2  1.111     0.714
    2     3 -0.222    -0.143
    """
    check_option("method", method, get_args(Method))
    _refuse_levels(levels)
    names = [name_of(level) for level in levels]
    chosen = _slopes(names, slopes or {})
    random = list(dict.fromkeys(name for some_names in chosen for name in some_names))
    rows = gather(data, levels, _ordered(data, on, random, csem))
    tree = Tree.of(rows, names)
    columns = [[0, *(1 + random.index(name) for name in names_)] for names_ in chosen]
    tree.refuse_single(names)
    bases = tuple(np.eye(1 + len(random))[:, at] for at in columns)
    effects = nested(rows, tree, bases)
    refuse_collinear(effects.cross, rows.names)
    _refuse_exact(effects, names[0])
    if csem is None:
        solution = fit(_criterion(rows, effects, method))
    else:
        solution = _with_known_errors(rows, tree, bases, method, errors(data, csem))
    blocks = blocks_of(rows, names, columns, tree.labels, tree.pupils, tree.parents)
    return finish(rows, solution, blocks, _ordered(data, on, [], csem), levels, csem)


def nested(rows: Rows, tree: Tree, bases: tuple[Matrix, ...]) -> Nested:
    """Sums of the rows by the units of the tree."""
    sums = rows.sums(tree.finest, len(bases[0]))[tree.order]
    return Nested(rows.cross(), sums, tree.starts, bases)


def _criterion(rows: Rows, effects: Nested, method: Method, more: float = 0.0) -> Criterion:
    """What is minimised; ``more`` is added to its constant."""
    return Criterion(effects, rows.pupils, len(rows.names), method, rows.constant(method) + more)


def errors(data: Data, csem: str) -> Vector:
    """Known error variance of the scores of each row, from their standard errors."""
    found = data.column(csem) if isinstance(data, Panel) else data.label(csem)
    values = np.asarray(found, float)
    wrong = np.flatnonzero(~(values >= 0))
    if len(wrong):
        at = int(wrong[0])
        where = (
            f"unit {data.units[data.unit[at]]!s}"
            if isinstance(data, Panel)
            else data.cells.name(at)
        )
        raise PanelError(
            f"{csem!r} holds standard errors of measurement, which are not negative; "
            f"{where} has {values[at]:g} ({len(wrong)} such rows)"
        )
    return values**2


def _with_known_errors(
    rows: Rows, tree: Tree, bases: tuple[Matrix, ...], method: Method, noise: Vector
) -> Solution:
    """The fit where pupil ``i`` has residual variance :math:`s^2+v_i`: weights, given :math:`s^2`.

    The criterion is minimised over the one number :math:`s^2`, around fits of all the others.
    """
    n, cross = rows.n, rows.cross()
    top = float(np.log(cross[-1, -1] / cross[0, 0]))

    def seen(log_scale: float) -> Criterion:
        ratio = noise / np.exp(log_scale)
        more = float(n @ np.log1p(ratio))
        weighted = rows.weighted(1 / (1 + ratio))
        return _criterion(weighted, nested(weighted, tree, bases), method, more)

    def at(log_scale: float) -> Solution:
        return fit(seen(log_scale), scale=float(np.exp(log_scale)))

    def slope(log_scale: float) -> float:
        """At a minimum over the rest, only the direct derivative counts."""
        factors = at(log_scale).factors
        points = [log_scale + k * STENCIL for k in (-2, -1, 1, 2)]
        values = [seen(z).at(factors, float(np.exp(z))).value for z in points]
        return float(np.dot([1, -8, 8, -1], values)) / (12 * STENCIL)

    found = minimize_scalar(lambda z: at(z).point.value, bounds=(top - WIDE, top),
                            method="bounded", options={"xatol": ROUGH})  # fmt: skip
    if found.x < top - WIDE + 0.1:
        raise IdentificationError(
            "the standard errors of measurement leave no residual variance: they are larger than "
            "the scores' own scatter around the model. Check their unit."
        )
    step = 2 * ROUGH
    while slope(found.x - step) * slope(found.x + step) > 0 and step < 1:
        step *= 2
    return at(brentq(slope, found.x - step, found.x + step, xtol=FINE))


def _refuse_levels(levels: Sequence[Level]) -> None:
    if isinstance(levels, str):
        raise OptionError(f"levels takes a sequence, the finest first: levels=[{levels!r}]")
    names = [name_of(level) for level in levels]
    if not 1 <= len(names) <= MOST_LEVELS or len(set(names)) < len(names):
        raise OptionError(
            f"levels={names}: name one to {MOST_LEVELS} different levels, the finest first"
        )


def _slopes(names: Sequence[str], slopes: Mapping[str, Sequence[str]]) -> list[tuple[str, ...]]:
    """Per level, the regressors with a random slope."""
    for level, chosen in slopes.items():
        check_option("level of slopes", level, names)
        if isinstance(chosen, str):
            raise OptionError(f"slopes takes sequences of regressors: {{{level!r}: [{chosen!r}]}}")
    return [tuple(slopes.get(name, ())) for name in names]


def _ordered(
    data: Data, on: Sequence[str] | None, random: Sequence[str], csem: str | None
) -> list[str]:
    """The regressors, those with random slopes first."""
    fixed = [name for name in regressors(data) if name != csem] if on is None else list(on)
    absent = [name for name in random if name not in fixed]
    if absent:
        raise OptionError(
            f"{some(absent)} has a random slope but is no regressor; the regressors are "
            f"{some(fixed) or 'none'}"
        )
    return [*random, *(name for name in fixed if name not in random)]


def _refuse_exact(effects: Nested, finest: str) -> None:
    """Refuse scores that the finest units and the regressors explain without a rest."""
    m, cross = effects.sums[:, 0, :], effects.cross
    p = len(cross) - 1
    within = cross - m.T @ (m / m[:, :1])
    value, axes = np.linalg.eigh(within[1:p, 1:p])
    kept = value > EXACT * np.diag(cross)[1:p].max(initial=0.0)
    part = axes[:, kept].T @ within[1:p, p]
    rest = within[p, p] - float(part @ (part / value[kept]))
    if rest <= EXACT * cross[p, p]:
        raise IdentificationError(
            f"within units of {finest!r} the regressors explain every score without a rest: there "
            "is no residual variance to judge effects by. Check that the score is not made from "
            "the regressors, and that rows are pupils, not means."
        )
