"""What a difference-in-differences says if treatment moves who is seen: pupils who come or leave.

Not for outcomes missing for other reasons, which differ between pupils as before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

import numpy as np

from evalkit.core.arrays import Flags, Groups, Vector
from evalkit.core.checks import check_level, check_names, check_panel
from evalkit.core.errors import IdentificationError, PanelError, check_option
from evalkit.core.estimate import Estimate
from evalkit.core.labels import Index
from evalkit.core.origin import Meta
from evalkit.core.panel import Panel
from evalkit.core.provenance import Provenance
from evalkit.core.scores import Scores
from evalkit.core.sides import adopters
from evalkit.did.two_way import require_one_date
from evalkit.inference.covariance import clusters_of, covariance
from evalkit.inference.few import Few, doubt
from evalkit.inference.infer import Inference, guarded, judge, warn

if TYPE_CHECKING:
    import pandas as pd

TERMS = ("low", "high", "untrimmed", "change in share seen")
ROUNDING = 1e-12  # of a share
CELLS = ((True, True), (True, False), (False, True), (False, False))  # treated, after


@dataclass(frozen=True, slots=True, eq=False)
class CompositionBounds:
    """Bounds of an effect on those who are seen with or without treatment.

    Attributes
    ----------
    estimate : Estimate
        ``low`` and ``high`` end of the bounds, the ``untrimmed`` difference-in-differences, and the
        ``change in share seen``, with their contributions.
    judged : Inference
        Of these four.
    conf_low, conf_high : float
        Interval for the effect itself, which lies between the bounds; NaN where withheld.
    trimmed : float
        Share of one cell that was left out, from either end.
    cell : str
        Which.
    """

    estimate: Estimate
    judged: Inference
    conf_low: float
    conf_high: float
    trimmed: float
    cell: str

    @property
    def low(self) -> float:
        """Lower end."""
        return float(self.estimate.theta[0])

    @property
    def high(self) -> float:
        """Upper end."""
        return float(self.estimate.theta[1])

    @property
    def provenance(self) -> Provenance:
        """Evidence tier."""
        return self.estimate.meta.provenance

    @property
    def table(self) -> pd.DataFrame:
        """One row for each of the four coordinates."""
        return self.judged.table

    def __repr__(self) -> str:
        meta = self.estimate.meta
        lines = [
            f"{meta.estimand} on {meta.outcome!r} by {meta.method} ({meta.provenance})",
            f"{self.trimmed:.2%} of the {self.cell} trimmed; bounds {self.low:.4f} to "
            f"{self.high:.4f}, {self.judged.level:.0%} interval {self.conf_low:.4f} to "
            f"{self.conf_high:.4f} for an effect between them",
            self.table.round(4).to_string(),
            *meta.notes,
        ]
        return "\n".join([*lines, *([self.judged.caution] if self.judged.caution else [])])


def composition_bounds(
    panel: Panel, *, seen: str, level: float = 0.95, few: Few = "withhold"
) -> CompositionBounds:
    r"""Bound an effect where treatment changes who is seen, by trimming.

    **Estimand.** ATT, after adoption, on those who are seen whether or not there is treatment.
    **Assumptions.** Shares seen, and the outcomes of those always seen, would have moved in
    parallel; without treatment the same kind of pupil is seen before and after; treatment moves
    pupils one way only, in or out.
    **Estimator.** With :math:`p` the shares seen in the four cells (treated or not, after or
    before), :math:`q=p_{10}+p_{01}-p_{00}` would have been seen. If :math:`p_{11}>q`, the treated
    after adoption hold newcomers, a share :math:`1-q/p_{11}`: without its highest (lowest)
    outcomes of this share their mean gives the ``low`` (``high``) end. If :math:`p_{11}<q`, a share
    :math:`1-p_{11}/q` of the treated before adoption left, and it is their mean that is trimmed.
    **Contribution.** Of a trimmed mean :math:`m=Q-E(Q-Y)_+/\kappa` of the lowest share
    :math:`\kappa`: :math:`-((Q-Y_i)_+-E(Q-Y)_+)/\kappa` and :math:`(Q-m)/\kappa` times that of
    :math:`\kappa`, the shares being estimated.
    **Reference.** Lee (2009), propositions 1a, 2 and 3; Rathnayake, Negi, Bartalotti and Zhao
    (2024) for difference-in-differences; Imbens and Manski (2004) and Stoye (2009), lemma 3, for
    the interval.
    **Checked against.** Every subset of a small cell; the jackknife; a simulation with a known
    effect.
    **Fails when.** Treatment moves some pupils in and others out. Where the share seen hardly
    changes the bounds have a kink, and where no outcomes lie about the cut its error is not of
    first order: the interval is then only approximate.

    Parameters
    ----------
    panel : Panel
        A row for each pupil on the register, from repeated cross-sections or followed, with one
        adoption date and never-treated pupils. The outcome of those not seen is not read, but may
        not be empty, since a panel leaves out rows without one: fill in 0.
    seen : str
        Covariate: 1 where the outcome was seen, else 0.
    level, few
        As in :func:`infer`, with CR1; the interval
        :math:`[\text{low}-c\,s_l,\text{high}+c\,s_h]` has
        :math:`\Phi(c+(\text{high}-\text{low})/\max(s_l,s_h))-\Phi(-c)=\text{level}`, with the t
        reference of :func:`infer`.

    Returns
    -------
    CompositionBounds

    Raises
    ------
    IdentificationError
        Several adoption dates, a cell in which nobody is seen, or a share that would be no share.
    PanelError
        If ``seen`` holds other values than 0 and 1, or rows without an outcome were left out.

    Examples
    --------
    >>> import numpy as np, evalkit as ek
    >>> rng = np.random.default_rng(1)
    >>> town, year = np.repeat(np.arange(40), 50), np.tile([1, 2], 1000)
    >>> stays = rng.uniform(size=2000) < 0.7
    >>> newcomer = (town < 20) & (year == 2) & ~stays & (rng.uniform(size=2000) < 0.5)
    >>> frame = {"pupil": np.arange(2000), "year": year, "town": town,
    ...          "start": np.where(town < 20, 2.0, np.nan),
    ...          "score": rng.normal(size=2000) - 1.5 * newcomer,
    ...          "seen": (stays | newcomer).astype(float)}
    >>> panel = ek.Panel.from_frame(frame, outcome="score", unit="pupil", time="year",
    ...                             cohort="start", cluster="town", covariates=["seen"],
    ...                             provenance="synthetic")
    >>> found = ek.composition_bounds(panel, seen="seen")  # in truth there is no effect
    >>> found.low < 0 < found.high, bool(found.estimate.theta[2] < -0.2)
    (True, True)
    """
    check_panel(panel)
    check_names(seen=seen)
    check_option("few", few, get_args(Few))
    check_level(level)
    estimate, trimmed, cell = _bounds(panel, seen)
    clusters = clusters_of(estimate)
    found = doubt(estimate, "CR1", clusters)
    warn(found, few)
    covered, dof = covariance(estimate, "CR1", clusters)
    judged = guarded(judge(estimate, covered, dof, "CR1", level, found), found, few)
    low, high = np.nan, np.nan
    if judged.withheld is None:
        (low, high), error = estimate.theta[:2], judged.std_error[:2]
        c = critical((high - low) / max(error.max(), np.finfo(float).tiny), level, float(dof[0]))
        low, high = low - c * error[0], high + c * error[1]
    return CompositionBounds(estimate, judged, float(low), float(high), trimmed, cell)


def critical(width: float, level: float, dof: float) -> float:
    """The c of Imbens and Manski for an effect between ends that are ``width`` errors apart."""
    from scipy.optimize import brentq
    from scipy.special import ndtr, stdtr

    def below(x: float) -> float:
        return float(ndtr(x) if np.isinf(dof) else stdtr(dof, x))

    def excess(c: float) -> float:
        return below(c + width) - below(-c) - level

    most = 1.0
    while excess(most) < 0:
        most *= 2
    return float(brentq(excess, 0.0, most, xtol=1e-12)) if excess(0.0) < 0 else 0.0


def _bounds(panel: Panel, seen: str) -> tuple[Estimate, float, str]:
    """The four coordinates, the share trimmed, and where."""
    cells = _cells(panel, seen)
    (p11, s11), (p10, s10), (p01, s01), (p00, s00) = (cells[key].share() for key in CELLS)
    q, sq = p10 + p01 - p00, s10 + s01 - s00
    if not 0 < q <= 1 + ROUNDING:
        raise IdentificationError(
            f"{q:.4g} of the treated would have been seen after adoption, from shares of {p10:.4g} "
            f"before it and a change of {p01 - p00:.4g} in the comparison; that is no share"
        )
    newcomers = p11 > q
    many, few, s_many, s_few = (p11, q, s11, sq) if newcomers else (q, p11, sq, s11)
    keep, s_keep = few / many, s_few / many - few / many**2 * s_many
    cut, sign = cells[True, newcomers], 1.0 if newcomers else -1.0
    whole = [
        (-sign, *cells[True, not newcomers].mean()),
        (-1.0, *cells[False, True].mean()),
        (1.0, *cells[False, False].mean()),
    ]
    ends = [cut.lowest(keep, s_keep, side) for side in (sign, -sign)]
    theta, psi = [], []
    for value, own in (*ends, cut.mean()):
        theta.append(sign * value + sum(by * m for by, m, _ in whole))
        psi.append(sign * own + sum(by * s for by, _, s in whole))
    theta.append(p11 - q)
    psi.append(s11 - sq)
    index = Index.flat("term", TERMS)
    shares = ", ".join(f"{p:.4g}" for p in (p11, p10, p01, p00))
    estimate = Estimate(
        theta=np.array(theta),
        scores=Scores.dense(Groups(panel.unit, panel.n_units).sum(np.stack(psi, axis=1))),
        units=panel.units,
        cluster=panel.cluster,
        index=index,
        meta=Meta(
            "ATT on those always seen",
            "trimming bounds",
            panel.outcome,
            sum(int(np.count_nonzero(cell.seen)) for cell in cells.values()),
            panel.provenance,
            (*panel.ledger, f"shares seen {shares}: treated after, before; others after, before"),
        ),
        sides=adopters(panel, index, pooled=True),
    )
    return estimate, 1 - keep, f"treated {'after' if newcomers else 'before'} adoption"


def _cells(panel: Panel, seen: str) -> dict[tuple[bool, bool], _Cell]:
    """The four cells, by treated and after."""
    starts = require_one_date(panel, "composition bounds need")
    flag = panel.column(seen)
    lost = [note for note in panel.ledger if note.endswith(f" {panel.outcome} is missing")]
    if lost:
        raise PanelError(
            f"{lost[0]}: those not seen are among them, so that too few would be counted. Fill in "
            f"any outcome where {seen!r} is 0, for example 0; it is not read"
        )
    strange = np.flatnonzero((flag != 0) & (flag != 1))
    if len(strange):
        row = strange[0]
        raise PanelError(
            f"{seen!r} of unit {panel.units[panel.unit[row]]!s} in "
            f"{panel.times[panel.time[row]]!s} is {flag[row]:g}; it must be 1 where the outcome "
            "was seen, else 0"
        )
    used = starts.known(0)[panel.time]
    treated = np.isfinite(panel.cohort)[panel.unit]
    after = panel.clock[panel.time] >= starts.start[0]
    return {
        key: _Cell.of(panel, used & (treated == key[0]) & (after == key[1]), flag > 0, key)
        for key in CELLS
    }


@dataclass(frozen=True, slots=True, eq=False)
class _Cell:
    """One of the four cells: means, and what each row of the panel adds to their error.

    Attributes
    ----------
    y, all, seen : Vector (n,)
        Outcomes, and the weights of the cell's rows and of those seen; zero elsewhere.
    """

    y: Vector
    all: Vector
    seen: Vector

    @classmethod
    def of(cls, panel: Panel, rows: Flags, seen: Flags, key: tuple[bool, bool]) -> _Cell:
        """The cell ``key``: treated or not, after or before."""
        if not (rows & seen).any():
            raise IdentificationError(
                f"nobody is seen among the {'treated' if key[0] else 'never-treated'} "
                f"{'after' if key[1] else 'before'} adoption"
            )
        mass = np.where(rows, panel.weight, 0.0)
        return cls(np.where(seen, panel.y, 0.0), mass, np.where(seen, mass, 0.0))

    def share(self) -> tuple[float, Vector]:
        """Share seen."""
        share = float(self.seen.sum() / self.all.sum())
        return share, (self.seen - share * self.all) / self.all.sum()

    def mean(self) -> tuple[float, Vector]:
        """Mean of those seen."""
        w = self.seen / self.seen.sum()
        value = float(w @ self.y)
        return value, w * (self.y - value)

    def lowest(self, keep: float, s_keep: Vector, sign: float) -> tuple[float, Vector]:
        """Mean of the lowest share ``keep``; of the highest, with ``sign`` -1."""
        w, y = self.seen / self.seen.sum(), sign * self.y
        order = np.argsort(y, kind="stable")
        order = order[w[order] > 0]
        at = int(np.searchsorted(np.cumsum(w[order]), keep * (1 - ROUNDING)))
        quantile = y[order[min(at, len(order) - 1)]]
        below = np.maximum(quantile - y, 0.0)
        mass = float(w @ below)
        value = quantile - mass / keep
        psi = -w * (below - mass) / keep + (quantile - value) / keep * s_keep
        return sign * value, sign * psi
