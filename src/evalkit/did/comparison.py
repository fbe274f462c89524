"""A cohort against its weighted controls, and all cohorts of an estimate with their weights.

Not for fitting weights: the engine does that.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from evalkit.core.adoption import Starts, Window
from evalkit.core.arrays import Codes, Flags, Labels, Matrix, Vector, frozen
from evalkit.core.errors import IdentificationError, OptionError
from evalkit.core.estimate import Estimate
from evalkit.core.labels import Index
from evalkit.core.origin import Meta
from evalkit.core.panel import Panel
from evalkit.core.scores import Rows, Scores
from evalkit.core.sides import Loads, Sides
from evalkit.engines.synthetic import Fitted

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """One cohort and the weights it is compared with.

    Attributes
    ----------
    cohort : int, float or Window
        First treated period.
    treated, controls : Codes (N1,), (N0,)
        Positions of the units in the panel.
    share : Vector (N1,)
        Weights of the treated; they sum to one.
    fitted : Fitted
        Unit weights ``(N0,)``, time weights ``(T0,)``, noise and penalties.
    contrast : Matrix (T, m)
        Turns a unit's path into the ``m`` numbers that are compared.
    observed, expected : Vector (T,)
        Mean path of the treated, and of the weighted controls moved by the mean gap that the time
        weights leave.
    """

    cohort: int | float | Window
    treated: Codes
    controls: Codes
    share: Vector
    fitted: Fitted
    contrast: Matrix
    observed: Vector
    expected: Vector

    @classmethod
    def of(
        cls,
        cohort: int | float | Window,
        treated: Codes,
        controls: Codes,
        share: Vector,
        fitted: Fitted,
        y: Matrix,
        known: Flags,
        by_period: bool,
    ) -> Comparison:
        """Compare the rows ``treated`` and ``controls`` of the outcome ``y`` ``(N, T)``.

        Only periods ``known`` ``(T,)`` are compared: those outside the cohort's window.
        """
        before, periods = len(fitted.time), y.shape[1]
        earlier = np.concatenate([fitted.time, np.zeros(periods - before)])
        if by_period:
            contrast = (np.eye(periods) - earlier[:, None])[:, known]
            contrast[~known] = 0.0
        else:
            after = known & (np.arange(periods) >= before)
            contrast = (after / after.sum() - earlier)[:, None]
        observed, synthetic = share @ y[treated], fitted.unit @ y[controls]
        expected = synthetic + earlier @ (observed - synthetic)
        observed = np.where(known, observed, np.nan)
        return cls(cohort, treated, controls, share, fitted, contrast, observed, expected)

    @property
    def blind(self) -> bool:
        """True if contributions cannot show the noise of a side: it rests on one unit."""
        return len(self.treated) == 1 or np.count_nonzero(self.fitted.unit) == 1

    @property
    def observations(self) -> int:
        """Treated periods of a unit, for each of the ``m`` numbers."""
        return 1 if self.contrast.shape[1] > 1 else int((self.contrast > 0).sum())

    def effect(self, y: Matrix) -> Vector:
        """Treated less weighted controls ``(m,)`` of an outcome ``(N, T)``."""
        effect: Vector = (self.share @ y[self.treated] - self.fitted.unit @ y[self.controls]) @ (
            self.contrast
        )
        return effect

    def contributions(self, y: Matrix) -> Matrix:
        """Contributions ``(N, m)`` with the weights held fixed."""
        psi = np.zeros((len(y), self.contrast.shape[1]))
        sides = ((self.treated, self.share, 1.0), (self.controls, self.fitted.unit, -1.0))
        for at, weight, sign in sides:
            d = y[at] @ self.contrast
            psi[at] = sign * weight[:, None] * (d - weight @ d)
        return psi


@dataclass(frozen=True, slots=True, eq=False)
class SyntheticWeights:
    """The weights behind a synthetic estimate, one comparison per adoption cohort.

    Examples
    --------
    >>> import numpy as np, evalkit as ek
    >>> frame = {"town": np.repeat(list("abc"), 4), "year": np.tile([1, 2, 3, 4], 3),
    ...          "score": [1.0, 2.0, 1.0, 3.0, 3.0, 5.0, 1.0, 4.0, 2.0, 3.5, 1.0, 6.0],
    ...          "start": [np.nan] * 8 + [4.0] * 4}
    >>> panel = ek.Panel.from_frame(frame, outcome="score", unit="town", time="year",
    ...                             cohort="start", provenance="synthetic")
    >>> fitted = ek.did.SyntheticWeights.behind(ek.did.synthetic_control(panel))
    >>> fitted.units().round(4).to_dict("records")
    [{'cohort': 4, 'unit': 'a', 'weight': 0.5}, {'cohort': 4, 'unit': 'b', 'weight': 0.5}]
    """

    comparisons: tuple[Comparison, ...]
    labels: Labels
    periods: Labels
    rows: Codes
    meta: Meta

    @classmethod
    def behind(cls, estimate: Estimate) -> SyntheticWeights:
        """The weights of an estimate, also after averaging it."""
        if not isinstance(estimate.origin, cls):
            raise OptionError(
                f"no synthetic weights stand behind an estimate by {estimate.meta.method}; give "
                "one made by synthetic_did or synthetic_control"
            )
        return estimate.origin

    def units(self) -> pd.DataFrame:
        """One row per cohort and control: ``cohort, unit, weight``, largest weights first."""
        import pandas as pd

        frames = [
            pd.DataFrame(
                {
                    "cohort": c.cohort,
                    "unit": self.labels[c.controls],
                    "weight": c.fitted.unit,
                }
            ).sort_values("weight", ascending=False, kind="stable", ignore_index=True)
            for c in self.comparisons
        ]
        return pd.concat(frames, ignore_index=True)

    def times(self) -> pd.DataFrame:
        """One row per cohort and period before adoption: ``cohort, time, weight``."""
        import pandas as pd

        frames = [
            pd.DataFrame(
                {
                    "cohort": c.cohort,
                    "time": self.periods[: len(c.fitted.time)],
                    "weight": c.fitted.time,
                }
            )
            for c in self.comparisons
        ]
        return pd.concat(frames, ignore_index=True)

    def paths(self) -> pd.DataFrame:
        """One row per cohort and period: ``cohort, time, treated, synthetic``."""
        import pandas as pd

        frames = [
            pd.DataFrame(
                {
                    "cohort": c.cohort,
                    "time": self.periods,
                    "treated": c.observed,
                    "synthetic": c.expected,
                }
            )
            for c in self.comparisons
        ]
        return pd.concat(frames, ignore_index=True)

    def weights(self) -> Matrix:
        """Row weights ``(n, k)``: with them held fixed, ``weights.T @ y`` is the estimate.

        They follow the outcome (net of covariates, if any were projected out), so that they are
        row weights of this estimate only.
        """
        blocks = []
        for c in self.comparisons:
            unit = np.zeros(len(self.labels))
            unit[c.treated], unit[c.controls] = c.share, -c.fitted.unit
            blocks.append((unit[:, None, None] * c.contrast).reshape(-1, c.contrast.shape[1]))
        return np.hstack(blocks)[self.rows]

    def of(self, panel: Panel, cohort: int | float | Window, before: int) -> Fitted:
        """The weights of a cohort, rescaled to the controls of another panel."""
        mine = [c for c in self.comparisons if c.cohort == cohort]
        if not mine:
            raise IdentificationError("the pinned weights do not have it")
        fitted = mine[0].fitted
        earlier = self.periods[: len(fitted.time)]
        if not np.array_equal(earlier, panel.times[:before]):
            raise OptionError(
                f"the pinned weights of cohort {cohort} speak of {len(earlier)} earlier "
                f"periods, the panel has {before}; pin weights to a panel of the same periods"
            )
        known = self.labels[mine[0].controls]
        labels = panel.units[np.isinf(panel.cohort)]
        at = np.minimum(np.searchsorted(known, labels), len(known) - 1)
        strange = labels[known[at] != labels]
        if len(strange):
            raise OptionError(
                f"unit {strange[0]!s} has no pinned weight ({len(strange)} such controls); pin "
                "weights that were fitted on a panel with all of its controls"
            )
        unit = fitted.unit[at]
        if not unit.sum() > 0:
            raise IdentificationError("its controls have no pinned weight")
        return Fitted(unit / unit.sum(), fitted.time, fitted.noise, fitted.zeta, fitted.ridge)


def factored(
    panel: Panel, made: list[Comparison], psi: Matrix, index: Index, meta: Meta
) -> tuple[Scores, Estimate]:
    """Scores of the effects and, on the same rows, the mass of treated observations."""
    of = [c for c in made for _ in range(c.contrast.shape[1])]
    weight = panel.unit_weight
    observed = np.zeros_like(psi)
    for k, c in enumerate(of):
        observed[c.treated, k] = c.observations * weight[c.treated]
    total = observed.sum()
    k = len(index)
    rows = Rows([frozen(np.hstack([psi, observed / total]))], [np.arange(len(psi))], len(psi))
    effect = np.vstack([np.diag([np.nan if c.blind else 1.0 for c in of]), np.zeros((k, k))])
    share = np.vstack([np.zeros((k, k)), np.eye(k)])
    units = panel.units, panel.cluster, index
    counted = replace(meta, estimand="share of treated observations", method="counts")
    mass = Estimate(observed.sum(axis=0) / total, Scores(rows, share), *units, counted)
    return Scores(rows, effect), mass


def sides(panel: Panel, made: list[Comparison]) -> Sides:
    """Clusters on the two sides of every comparison, by the weights of their units."""
    of = [c for c in made for _ in range(c.contrast.shape[1])]
    loads = np.zeros((2, panel.n_units, len(of)))
    for k, c in enumerate(of):
        loads[0, c.treated, k] = c.share
        loads[1, c.controls, k] = np.abs(c.fitted.unit) / np.abs(c.fitted.unit).sum()
    return Sides.of(Loads.of(panel.cluster, *loads), len(of))


def require_balance(panel: Panel, starts: Starts) -> None:
    """Refuse gaps, but for periods inside a unit's adoption window, and changing weights."""
    known = np.stack([starts.known(g) for g in range(len(starts.start))])
    absent = known[starts.code]
    absent[panel.unit, panel.time] = False
    if absent.any():
        i, t = np.argwhere(absent)[0]
        raise IdentificationError(
            f"unit {panel.units[i]!s} is not observed in {panel.times[t]!s} ({int(absent.sum())} "
            "such gaps); synthetic weights need a balanced panel. Keep the units, or the periods, "
            "without gaps (panel.where)"
        )
    differs = panel.weight != panel.unit_weight[panel.unit]
    if differs.any():
        units = np.unique(panel.unit[differs])
        raise IdentificationError(
            f"the weight of unit {panel.units[units[0]]!s} changes over time ({len(units)} such "
            "units); give each unit one weight"
        )
