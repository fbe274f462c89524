"""Randomisation: what the estimator would have found, had the treated been drawn otherwise.

Valid with any number of treated units, if treatment was assigned by the rule that is stated.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from math import factorial, prod
from typing import Literal, TypeAlias, get_args

import numpy as np

from evalkit.core.arrays import Codes, Flags, Groups, Labels, Matrix, Vector, encode, frozen
from evalkit.core.errors import IdentificationError, OptionError, check_option
from evalkit.core.estimate import Estimate
from evalkit.core.panel import Panel
from evalkit.core.progress import progress
from evalkit.inference.inversion import Curves, check_test
from evalkit.inference.resample import FUTILE, Estimator, quietly
from evalkit.inference.tested import Tested

Rule: TypeAlias = Literal["complete", "dates"]
Assigned: TypeAlias = Literal["cluster", "unit"]
LINEAR = 1e-8  # how far an estimate may miss a constant effect, relative to it, and be inverted


def randomisation(
    panel: Panel,
    estimator: Estimator,
    *,
    rule: Rule,
    by: Assigned = "cluster",
    within: str | None = None,
    studentise: bool = True,
    interval: bool = True,
    draws: int = 999,
    seed: int = 1,
    level: float = 0.95,
) -> Tested:
    r"""Test that treatment did nothing, by assigning it again under the rule that assigned it.

    If it did nothing, outcomes would be the same under every assignment, and the estimate is one
    draw among :math:`\hat\theta_b`: :math:`p=(1+\#\{|t_b|\ge|t|\})/(1+B)` with
    :math:`t=\hat\theta/\mathrm{SE}`. If there are no more different assignments than ``draws``,
    each is made once: no chance is left, and the seed has no effect. An interval holds the constant
    effects :math:`\tau` that are not rejected when :math:`\tau` is taken off the treated outcomes.

    Parameters
    ----------
    panel : Panel
        With adoption dates, or doses, or both: what one has moves together.
    estimator : callable
        ``Panel -> Estimate``; any.
    rule : {"complete", "dates"}
        Who could have been treated when. ``complete``: the dates (never among them) were dealt out
        among all. ``dates``: who is treated was decided, and the order of the dates was by chance.
    by : {"cluster", "unit"}
        What was drawn: whole clusters of the panel, or units.
    within : str, optional
        Category in whose labels the draws were made separately, for example a prefecture; with
        ``by="unit"`` also ``"cluster"``, where for instance one town was drawn in each county. The
        number treated at each date stays what it is in every label.
    studentise : bool
        Compare t statistics, so that the test stays right in large samples where effects differ
        between units; or the estimates themselves.
    interval : bool
        Invert the test, which takes as many estimates again.
    draws, seed, level
        As in :func:`wild_bootstrap`.

    Returns
    -------
    Tested
        Intervals are NaN if none was asked for, for placebo coordinates, for estimators that are
        not linear in the outcome, and for doses.

    Raises
    ------
    IdentificationError
        A cluster of units with different dates, one possible assignment, or an estimate without a
        standard error to studentise by.

    References
    ----------
    Fisher (1935); Imbens and Rubin (2015), chapter 5; MacKinnon and Webb (2020) on few treated
    clusters; Wu and Ding (2021) on studentising.

    Examples
    --------
    >>> import numpy as np, evalkit as ek
    >>> rng = np.random.default_rng(1)
    >>> frame = {"town": np.repeat(np.arange(8), 2), "year": np.tile([1, 2], 8),
    ...          "score": rng.normal(size=16), "start": np.repeat([2.0] * 2 + [np.nan] * 6, 2)}
    >>> panel = ek.Panel.from_frame(frame, outcome="score", unit="town", time="year",
    ...                             cohort="start", provenance="synthetic")
    >>> ek.randomisation(panel, ek.did.two_way, rule="complete").method
    'randomisation, all 28 ways to deal the dates out among 8 clusters'
    """
    check_option("rule", rule, get_args(Rule))
    check_option("by", by, get_args(Assigned))
    check_test(draws, seed, level)
    lottery = Lottery.of(panel, rule, by, within)
    estimate = quietly(estimator, panel)
    exact = lottery.count <= draws
    scale = float(np.ptp(panel.y)) or 1.0
    effect = scale * panel.treated
    shifts = np.zeros(len(estimate), bool)
    if interval:
        shifts = _shifts(estimator, panel, estimate, effect)
    chosen = lottery.all() if exact else lottery.some(seed)
    made = _again(
        estimator, lottery, chosen, estimate, effect, bool(shifts.any()),
        lottery.count if exact else draws,
    )  # fmt: skip
    curves = _curves(made, estimate, scale, shifts, studentise, exact)
    found = curves.results(estimate, level)
    for end in ("conf_low", "conf_high"):
        found[end] = frozen(np.where(shifts, found[end], np.nan))
    how = (
        f"all {lottery.count} ways to {lottery.words}"
        if exact
        else f"{draws} random ways to {lottery.words} (seed {seed}{made.note})"
    )
    return Tested(
        **found,
        method=f"randomisation{'' if studentise else ' of estimates'}, {how}",
        assumes="treatment was assigned by this rule; the null is that it changed no outcome",
    )


@dataclass(frozen=True, slots=True, eq=False)
class Lottery:
    """Tickets (dates and doses) dealt out among groups of units.

    Attributes
    ----------
    panel : Panel
    group : Codes (N,)
        Group of each unit.
    ticket : Codes (m,)
        Ticket of each group; its dates and doses stand in ``tickets`` ``(tickets, 2)``.
    urns : list of Codes
        Groups among which tickets are dealt.
    words : str
        The rule.
    """

    panel: Panel
    group: Codes
    ticket: Codes
    tickets: Matrix
    urns: list[Codes]
    words: str

    @classmethod
    def of(cls, panel: Panel, rule: Rule, by: Assigned, within: str | None) -> Lottery:
        """Read the tickets off the panel; refuse what the rule could not have made."""
        group, names = (
            encode(panel.cluster) if by == "cluster" else (np.arange(panel.n_units), panel.units)
        )
        dose = np.zeros(panel.n_units) if panel.dose is None else panel.dose
        tickets, held = np.unique(
            np.stack([panel.cohort, dose], axis=1), axis=0, return_inverse=True
        )
        held = held.reshape(-1)
        ticket = np.zeros(len(names), np.intp)
        ticket[group] = held
        mixed = names[group[ticket[group] != held]]
        if len(mixed):
            raise IdentificationError(
                f"cluster {mixed[0]!s} has units with different dates or doses ({len(set(mixed))} "
                "such clusters), so that clusters cannot have been drawn. Use by='unit', with "
                "within='cluster' if units were drawn in each cluster"
            )
        stratum = _strata(panel, group, names, within)
        in_play = np.isfinite(tickets[ticket, 0]) if rule == "dates" else np.full(len(names), True)
        urns = [at[in_play[at]] for at in Groups.of(stratum).rows()]
        what = "deal the dates out among" if rule == "complete" else "order the dates of"
        label = "" if within is None else f" within {within}"
        words = f"{what} {int(in_play.sum())} {by}s{label}"
        out = cls(panel, group, ticket, tickets, [at for at in urns if len(at)], words)
        if out.count == 1:
            raise IdentificationError(
                f"there is one way to {words}: nothing was left to chance under this rule"
            )
        return out

    @property
    def count(self) -> int:
        """Number of different assignments."""
        ways = 1
        for urn in self.urns:
            held = Counter(self.ticket[urn].tolist())
            ways *= factorial(len(urn)) // prod(factorial(number) for number in held.values())
        return ways

    def all(self) -> Iterator[Codes]:
        """Every assignment ``(m,)``, the one that was made among them."""
        each = [list(_arrangements(Counter(self.ticket[urn].tolist()))) for urn in self.urns]
        for dealt in product(*each):
            out = self.ticket.copy()
            for urn, tickets in zip(self.urns, dealt, strict=True):
                out[urn] = tickets
            yield out

    def some(self, seed: int) -> Iterator[Codes]:
        """Random assignments, without end."""
        rng = np.random.default_rng(seed)
        while True:
            out = self.ticket.copy()
            for urn in self.urns:
                out[urn] = rng.permutation(self.ticket[urn])
            yield out

    def drawn(self, ticket: Codes) -> Panel:
        """The panel under another assignment."""
        cohort, dose = self.tickets[ticket[self.group]].T
        panel = self.panel
        return replace(panel, cohort=cohort, dose=None if panel.dose is None else frozen(dose))


def _strata(panel: Panel, group: Codes, names: Labels, within: str | None) -> Codes:
    """Label of each group, of the category in which it was drawn."""
    if within is None:
        return np.zeros(len(names), np.intp)
    category = panel.category(within)
    out = np.zeros(len(names), np.intp)
    out[group[panel.unit]] = category.codes
    crossed = np.flatnonzero(out[group[panel.unit]] != category.codes)
    if len(crossed):
        name = names[group[panel.unit[crossed[0]]]]
        raise OptionError(
            f"{name!s} has several labels of {within!r}; what is drawn lies in one of them"
        )
    return out


def _arrangements(held: Counter[int]) -> Iterator[tuple[int, ...]]:
    """Every order of tickets of which some are alike."""
    if not held:
        yield ()
    for ticket in sorted(held):
        rest = held - Counter([ticket])
        for tail in _arrangements(rest):
            yield (ticket, *tail)


@dataclass(frozen=True, slots=True, eq=False)
class Made:
    """Estimates of ``B`` assignments: of the outcome, and of a constant effect under the real one.

    ``theta`` ``(2, B, k)``, and ``square`` ``(3, B, k)``: squared errors and their cross-products.
    """

    theta: Matrix
    square: Matrix
    note: str


def _shifts(estimator: Estimator, panel: Panel, estimate: Estimate, effect: Vector) -> Flags:
    """True ``(k,)`` where a constant effect moves the estimate by as much, and no contribution."""
    if not effect.any():
        return np.zeros(len(estimate), bool)
    moved = quietly(estimator, panel.with_outcome(panel.y + effect))
    size = effect.max()
    by = np.abs(moved.theta - estimate.theta - size) <= LINEAR * size
    s, t = estimate.cluster_sums(), moved.cluster_sums()
    same: Flags = by & (np.abs(t - s).max(axis=0) <= LINEAR * size)
    return same


def _again(
    estimator: Estimator,
    lottery: Lottery,
    chosen: Iterator[Codes],
    estimate: Estimate,
    effect: Vector,
    inverted: bool,
    draws: int,
) -> Made:
    """Estimate under each assignment; one that the estimator cannot answer is drawn again.

    The constant effect is estimated too if the test is to be ``inverted``.
    """
    theta, square = np.empty((2, draws, len(estimate))), np.empty((3, draws, len(estimate)))
    clusters = Groups.of(lottery.panel.cluster)
    failed = 0
    for b in progress(range(draws), draws, "randomisation"):
        while True:
            try:
                panel = lottery.drawn(next(chosen))
                outcomes = [panel, panel.with_outcome(effect)] if inverted else [panel]
                parts = [quietly(estimator, p) for p in outcomes]
                if any(part.index != estimate.index for part in parts):
                    raise IdentificationError("some coordinates are missing")
                break
            except StopIteration as none:
                raise IdentificationError("the estimator fails for every assignment") from none
            except IdentificationError as wrong:
                failed += 1
                if failed > FUTILE * (b + 10) or lottery.count <= draws:
                    raise IdentificationError(
                        f"under another assignment the estimator says: {wrong}. Average inside it, "
                        "or draw within=... so that every assignment can be estimated"
                    ) from wrong
        s, e = (_sums(part, clusters) for part in (parts[0], parts[-1]))
        theta[:, b] = parts[0].theta, parts[-1].theta
        square[:, b] = (s**2).sum(axis=0), (s * e).sum(axis=0), (e**2).sum(axis=0)
    return Made(theta, square, f", {failed} drawn again" if failed else "")


def _sums(estimate: Estimate, clusters: Groups) -> Matrix:
    """Contributions by cluster ``(G, k)``; the clusters of the panel need no search."""
    if len(estimate.units) == len(clusters.codes):
        return clusters.sum(estimate.psi)
    return estimate.cluster_sums()


def _curves(
    made: Made, estimate: Estimate, scale: float, shifts: Flags, studentise: bool, exact: bool
) -> Curves:
    """With an effect of ``theta - d`` taken off: ``theta_b`` less that many effects."""
    keep = shifts / scale
    outcome, effect = made.theta[0], made.theta[1] * keep
    top = np.stack([outcome - estimate.theta * effect, effect])
    k = len(estimate)
    if not studentise:
        bottom = np.zeros((k, 3, len(outcome)))
        bottom[:, 0] = 1.0
        return Curves(top.transpose(2, 0, 1), bottom, np.ones(k), exact)
    error = np.sqrt((estimate.cluster_sums() ** 2).sum(axis=0))
    if not (error > 0).all():
        raise IdentificationError(
            "the estimate has no standard error to studentise by (one unit on a side); use "
            "studentise=False"
        )
    own, mixed, square = made.square[0], made.square[1] * keep, made.square[2] * keep**2
    theta = estimate.theta
    bottom = np.stack(
        [
            own - 2 * theta * mixed + theta**2 * square,
            2 * (mixed - theta * square),
            square,
        ]
    )
    return Curves(top.transpose(2, 0, 1), bottom.transpose(2, 0, 1), error, exact)
