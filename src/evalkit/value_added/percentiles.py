"""Student growth percentiles: where a score stands among pupils with the same past."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from evalkit.core.arrays import Groups, Matrix, Vector, frozen
from evalkit.core.errors import IdentificationError, OptionError
from evalkit.core.estimate import Estimate
from evalkit.core.panel import Panel
from evalkit.engines.quantile import regression_quantiles
from evalkit.value_added.gather import Level, name_of, units_of
from evalkit.value_added.means import unit_means

if TYPE_CHECKING:
    import pandas as pd

KNOTS = (0.2, 0.4, 0.6, 0.8)  # quantiles of the prior score at which the cubic pieces join
BEYOND = 0.1  # of its range: how far the splines reach beyond it
DECIMALS = 3  # of the knots, as the SGP package rounds them
TAUS = (np.arange(1, 101) - 0.5) / 100
LEVEL = 1e-9  # of the outcome's range: a score this near a quantile lies on it


@dataclass(frozen=True, slots=True, eq=False)
class Growth:
    """Growth percentiles of pupils.

    Attributes
    ----------
    percentile : Vector (n,)
        From 1 to 99, row by row of the panel: the number of fitted quantiles below the score.
    on : Vector (n,)
        Number of fitted quantiles that the score lies exactly on, each of which could count.
    coefficients : Matrix (100, p)
        Of the regression quantiles.
    crossed : float
        Share of pupils whose fitted quantiles had to be sorted.
    panel : Panel
        With the percentile as its outcome: a panel like any other.
    prior : tuple of str
    """

    percentile: Vector
    on: Vector
    coefficients: Matrix
    crossed: float
    panel: Panel
    prior: tuple[str, ...]

    def means(self, effect: Level) -> Estimate:
        """Mean growth percentile of each unit, with the percentiles taken as given."""
        return unit_means(self.panel, effect, "mean growth percentile", "growth percentiles")

    def table(self, effect: Level) -> pd.DataFrame:
        """One row per unit: pupils, mean and median growth percentile."""
        import pandas as pd

        codes, labels = units_of(self.panel, effect)
        rows = Groups(codes, len(labels)).rows()
        return pd.DataFrame(
            {
                name_of(effect): labels,
                "n": [len(at) for at in rows],
                "mean": [float(self.percentile[at].mean()) for at in rows],
                "median": [float(np.median(self.percentile[at])) for at in rows],
            }
        )

    def __repr__(self) -> str:
        meta = self.panel
        return "\n  ".join(
            [
                f"Growth percentiles of {len(self.percentile)} pupils given "
                f"{', '.join(self.prior)} ({meta.provenance})",
                f"{self.crossed:.1%} of pupils had crossing quantiles, which were sorted",
                *meta.ledger,
            ]
        )


def growth_percentiles(panel: Panel, *, prior: Sequence[str]) -> Growth:
    r"""Percentile of each pupil's score among pupils with the same prior scores.

    **Estimand.** :math:`100\,F(y\mid x)`, the rank of a score in its conditional distribution.
    **Assumptions.** None for a description; a cause needs pupils with equal prior scores to be
    alike. Errors in prior scores bias it: pupils with low observed scores look as if they grow.
    **Estimator.** A hundred regression quantiles at :math:`\tau=.005,\dots,.995` on cubic B-splines
    of each prior score; fitted quantiles are sorted for each pupil, and those below the score
    counted.
    **Contribution.** None for pupils; ``means`` gives those of units, percentiles taken as given.
    **Reference.** Betebenner (2009); Koenker (2005), section 6.2.
    **Checked against.** R quantreg 5.94 as the SGP package calls it: every pupil who lies on no
    quantile exactly, and the hundred minima (1e-10).
    **Fails when.** Cohorts are small (some hundreds of pupils for each prior score), or scores have
    few values, so that many lie on the quantiles.

    Parameters
    ----------
    panel : Panel
        Pupils.
    prior : sequence of str
        Covariates with prior scores.

    Returns
    -------
    Growth

    Raises
    ------
    IdentificationError
        If a prior score has too few values for its knots.

    Examples
    --------
    >>> import numpy as np, evalkit as ek
    >>> rng = np.random.default_rng(0)
    >>> before = rng.normal(size=500)
    >>> frame = {"before": before, "math": before + rng.normal(size=500)}
    >>> panel = ek.value_added.pupils(frame, score="math", prior=["before"],
    ...                               provenance="synthetic")
    >>> made = ek.value_added.growth_percentiles(panel, prior=["before"])
    >>> round(float(made.percentile.mean()))
    49
    """
    if isinstance(prior, str) or not prior:
        raise OptionError("prior takes a sequence of covariates: prior=['before']")
    if not (panel.weight == 1).all():
        raise OptionError("growth percentiles count pupils equally; build the panel without weight")
    basis = np.hstack([np.ones((len(panel.y), 1)), *(_splines(panel, name) for name in prior)])
    beta = regression_quantiles(panel.y, basis, TAUS)
    fitted = basis @ beta.T
    crossed = float((np.diff(fitted, axis=1) < 0).any(axis=1).mean())
    fitted.sort(axis=1)
    slack = LEVEL * float(np.ptp(panel.y))
    below = (fitted < panel.y[:, None] - slack).sum(axis=1)
    reached = (fitted <= panel.y[:, None] + slack).sum(axis=1)
    percentile = np.clip(below, 1, 99).astype(float)
    return Growth(
        percentile=frozen(percentile),
        on=frozen((reached - below).astype(float)),
        coefficients=frozen(beta),
        crossed=crossed,
        panel=panel.with_outcome(percentile, f"growth percentile of {panel.outcome}"),
        prior=tuple(prior),
    )


def _splines(panel: Panel, name: str) -> Matrix:
    """Cubic B-splines of a prior score, without the first, which the intercept replaces."""
    from scipy.interpolate import BSpline

    x = panel.column(name)
    knots = np.round(np.quantile(x, KNOTS), DECIMALS)
    low, high = float(x.min()), float(x.max())
    ends = np.round([low - BEYOND * (high - low), high + BEYOND * (high - low)], DECIMALS)
    if len(np.unique(knots)) < len(KNOTS) or not ends[0] < knots[0] <= knots[-1] < ends[1]:
        raise IdentificationError(
            f"{name!r} has the same value at two of its quintiles (to {DECIMALS} decimals): too "
            "few different scores for growth percentiles. Rescale it, or use progress by bands."
        )
    places = np.concatenate([[ends[0]] * 4, knots, [ends[1]] * 4])
    out: Matrix = BSpline.design_matrix(x, places, 3).toarray()[:, 1:]
    return out
