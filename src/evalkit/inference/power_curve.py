"""What a study could have seen, on its own noise: power by effect, and averaged over beliefs.

Not for the quick answer from a standard error: that is ``minimum_detectable_effect``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from evalkit.core.arrays import Matrix, Vector, frozen
from evalkit.core.errors import IdentificationError, OptionError
from evalkit.core.labels import Index
from evalkit.core.panel import Panel
from evalkit.core.provenance import Provenance
from evalkit.inference.covariance import Vcov
from evalkit.inference.infer import infer
from evalkit.inference.inversion import TIE
from evalkit.inference.resample import Estimator, quietly
from evalkit.inference.size import Dealt, Test, Untreated, draw

if TYPE_CHECKING:
    import pandas as pd

Shape: TypeAlias = Callable[[Panel], Vector]
NODES = 200  # of the average over a prior


@dataclass(frozen=True, slots=True, eq=False)
class PowerCurve:
    """Share of panels in which an effect is found, by its size.

    Attributes
    ----------
    effects : Vector (m,)
        From zero, where the power is the size that the test really has.
    power, error : Matrix (m, k)
        For each coordinate, and its Monte Carlo error.
    size : float
        What the test says of itself.
    """

    effects: Vector
    power: Matrix
    error: Matrix
    size: float
    index: Index
    method: str
    provenance: Provenance

    @property
    def table(self) -> pd.DataFrame:
        """Tidy frame, one row per effect and coordinate."""
        import pandas as pd

        keys = [" ".join(map(str, key)) for key in self.index.keys]
        m, k = self.power.shape
        columns = {
            "effect": np.repeat(self.effects, k),
            "coordinate": keys * m,
            "power": self.power.ravel(),
            "monte_carlo_error": self.error.ravel(),
        }
        return pd.DataFrame(columns)

    def detectable(self, power: float = 0.8) -> Vector:
        """Smallest effect ``(k,)`` found with this probability; NaN beyond the curve."""
        if not 0 < power < 1:
            raise OptionError(f"power={power} must lie between 0 and 1")
        out = np.full(self.power.shape[1], np.nan)
        for j, curve in enumerate(self.power.T):
            above = np.flatnonzero(curve >= power)
            if len(above) and above[0] > 0:
                i = above[0]
                step = (power - curve[i - 1]) / (curve[i] - curve[i - 1])
                out[j] = self.effects[i - 1] + step * (self.effects[i] - self.effects[i - 1])
        return out

    def assurance(self, *, mean: float, sd: float) -> Vector:
        """Power ``(k,)`` averaged over a normal prior: the chance that the study finds something.

        An effect of the other sign is taken to be found as often; beyond the curve its last value
        is used, so that the average is a lower bound.
        """
        if not sd >= 0:
            raise OptionError(f"sd={sd} must be zero or more")
        nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
        at = np.abs(mean + sd * nodes)
        curves = np.stack([np.interp(at, self.effects, curve) for curve in self.power.T])
        return np.asarray(curves @ weights / weights.sum())

    def __repr__(self) -> str:
        head = f"power of a test at {self.size:.2g} ({self.provenance})"
        return "\n".join([head, self.method, self.table.round(4).to_string(index=False)])


def power_curve(
    panel: Panel,
    estimator: Estimator,
    *,
    effects: Sequence[float],
    shape: Shape | None = None,
    vcov: Vcov = "CR1",
    test: Test | None = None,
    size: float = 0.05,
    draws: int = 400,
    seed: int = 1,
) -> PowerCurve:
    """Put effects of known size into panels of real noise, and count how often they are found.

    With adoption dates, each panel is drawn from untreated clusters and adopts on the real
    calendar, as in :func:`measured_size`. With doses alone, the outcomes stay and the doses are
    dealt out again among units. Then ``effect x shape`` is added, and the test is run. Every effect
    meets the same panels, so that the curve is smooth.

    It supposes that the treated are as noisy as the untreated. With doses it supposes that the real
    ones have nothing to do with noise, as if they had been dealt to units by lot: if extreme doses
    stand in noisy units, or doses are alike within clusters whose errors move together, the real
    estimate is noisier and power is overstated; then trust :func:`minimum_detectable_effect`. What
    the real doses did remains in the outcomes as noise, which understates power.

    Parameters
    ----------
    panel : Panel
        With adoption dates and at least five untreated clusters, or with doses.
    estimator : callable
        ``Panel -> Estimate``; any.
    effects : sequence of float
        Positive, in the unit of the outcome; zero is added.
    shape : callable, optional
        ``Panel -> Vector (n,)``, what an effect of one adds to each row; default: one in treated
        rows. Doses need it, for example ``lambda p: p.dose[p.unit] * (p.clock[p.time] >= 1995)``.
    vcov, test, size, draws, seed
        As in :func:`measured_size`.

    Returns
    -------
    PowerCurve

    Raises
    ------
    IdentificationError
        With too few untreated clusters, or neither dates nor doses.

    References
    ----------
    Burlig, Preonas and Woerman (2020), Journal of Development Economics 144; O'Hagan, Stevens and
    Campbell (2005) on assurance.

    Examples
    --------
    >>> import numpy as np, evalkit as ek
    >>> rng = np.random.default_rng(1)
    >>> frame = {"town": np.repeat(np.arange(60), 2), "year": np.tile([1, 2], 60),
    ...          "score": rng.normal(size=120), "start": np.repeat([2.0, np.nan], 60)}
    >>> panel = ek.Panel.from_frame(frame, outcome="score", unit="town", time="year",
    ...                             cohort="start", provenance="synthetic")
    >>> curve = ek.power_curve(panel, ek.did.two_way, effects=[0.5, 2.0], draws=50)
    >>> bool(curve.power[2, 0] > 0.95 > curve.power[1, 0] > curve.power[0, 0])
    True
    """
    values = np.asarray(effects, float)
    if values.ndim != 1 or not len(values) or not (values > 0).all():
        raise OptionError(f"effects={effects!r} must be positive numbers, for example [0.03, 0.1]")
    if not 0 < size < 1 or draws < 2:
        raise OptionError(f"size={size} must lie between 0 and 1, and draws={draws} be two or more")
    grid = np.unique(np.append(0.0, values))
    urn, form = _urn(panel, shape)
    index = quietly(estimator, panel).index

    def judged(drawn: Panel) -> Vector:
        estimate = quietly(estimator, drawn)
        if estimate.index != index:
            raise IdentificationError("some coordinates are missing")
        return infer(estimate, vcov=vcov, few="show").p_value

    asked = test or judged

    def curve(drawn: Panel) -> Vector:
        add = form(drawn)
        return np.concatenate([asked(drawn.with_outcome(drawn.y + e * add)) for e in grid])

    found, failed = draw(urn, curve, draws, seed, len(grid) * len(index))
    power = (found <= size + TIE).mean(axis=0).reshape(len(grid), len(index))
    note = f", {failed} drawn again" if failed else ""
    return PowerCurve(
        effects=frozen(grid),
        power=frozen(power),
        error=frozen(np.sqrt(power * (1 - power) / draws)),
        size=size,
        index=index,
        method=f"{'the test given' if test else vcov}, {draws} panels: {urn.words} "
        f"(seed {seed}{note})",
        provenance=panel.provenance,
    )


def _urn(panel: Panel, shape: Shape | None) -> tuple[Untreated | Dealt, Shape]:
    if np.isfinite(panel.cohort).any():
        return Untreated.of(panel), shape or (lambda drawn: drawn.treated)
    if panel.dose is None:
        raise IdentificationError(
            "the panel has neither adoption dates nor doses; name them in Panel.from_frame("
            "..., cohort=..., dose=...)"
        )
    if shape is None:
        raise OptionError(
            "with doses, say what an effect of one adds to each row: shape=lambda p: "
            "p.dose[p.unit] * (p.clock[p.time] >= 1995)"
        )
    return Dealt(panel), shape
