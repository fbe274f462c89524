"""Progress by bands of prior attainment: a score less the mean of pupils who started alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from evalkit.core.arrays import Codes, Groups, Vector
from evalkit.core.errors import IdentificationError, OptionError
from evalkit.core.estimate import Estimate
from evalkit.core.known import Known
from evalkit.core.labels import Index
from evalkit.core.origin import Meta
from evalkit.core.panel import Panel
from evalkit.core.scores import Scores
from evalkit.core.sparse import DENSE, Sparse
from evalkit.value_added.gather import Level, name_of, units_of, with_company

if TYPE_CHECKING:
    import pandas as pd

FEWEST = 10  # pupils in a band below which its mean is doubtful


@dataclass(frozen=True, slots=True, eq=False)
class Progress:
    """Mean progress of units.

    Attributes
    ----------
    estimate : Estimate
        One coordinate per unit, with contributions of pupils; the noise of the bands' means is in
        them.
    spread : float
        Standard deviation of pupils' progress over everybody.
    n : Vector (J,)
        Pupils of each unit.
    expected : pandas.DataFrame
        One row per band: its lowest prior score, pupils and mean score.
    """

    estimate: Estimate
    spread: float
    n: Vector
    expected: pd.DataFrame

    @property
    def known(self) -> Known:
        """The measure with errors as English school tables state them: spread over root n."""
        found = self.estimate
        return Known(found.theta, self.spread**2 / self.n, found.index, found.meta)


def progress(panel: Panel, *, effect: Level, prior: str, bands: int = 34) -> Progress:
    r"""How far pupils of each unit are from the mean of pupils with the same prior attainment.

    **Estimand.** The mean over a unit's pupils of :math:`y-E[y\mid\text{band of prior score}]`.
    **Assumptions.** None for a description. The mean of a band is taken over all pupils, those of
    the unit among them.
    **Estimator.** :math:`\hat\theta_j=\frac1{n_j}\sum_{i\in j}(y_i-\bar y_{b(i)})`.
    **Contribution.** :math:`(r_i-\theta_j)/n_j` to its own unit, and
    :math:`-\frac{n_{jb}}{n_j}\,r_i/n_b` to every unit through the mean of its band.
    **Reference.** Department for Education (2023), Secondary accountability measures: Progress 8.
    **Checked against.** Means by hand (1e-12); the delete-one jackknife.
    **Fails when.** Intake within a band differs between schools; prior scores are noisy; a band has
    few pupils.

    Parameters
    ----------
    panel : Panel
        Pupils.
    effect : str or tuple of str
        Units that progress is averaged over.
    prior : str
        Covariate with the prior score.
    bands : int
        Bands of equal size by prior score; equal scores stay together. With no more different
        scores than bands, each score is a band.

    Returns
    -------
    Progress

    Raises
    ------
    IdentificationError
        If the prior score does not vary.

    Examples
    --------
    >>> import evalkit as ek
    >>> frame = {"school": ["a", "a", "b", "b"], "before": [1.0, 2.0, 1.0, 2.0],
    ...          "math": [3.0, 5.0, 5.0, 9.0]}
    >>> panel = ek.value_added.pupils(frame, score="math", prior=["before"], keys=["school"],
    ...                               provenance="synthetic")
    >>> ek.value_added.progress(panel, effect="school", prior="before").estimate.theta
    array([-1.5,  1.5])
    """
    import pandas as pd

    if bands < 2:
        raise OptionError(f"bands={bands}; progress needs at least two bands of prior scores")
    panel, notes = with_company(panel, effect)
    x, weight = panel.column(prior), panel.weight
    band, edges = _banded(x, bands, prior)
    groups = Groups(band, len(edges))
    mass = groups.sum(weight)
    mean = groups.sum(weight * panel.y) / mass
    residual = panel.y - mean[band]
    codes, labels = units_of(panel, effect)
    units = Groups(codes, len(labels))
    total = units.sum(weight)
    theta = units.sum(weight * residual) / total
    counts = np.bincount(band)
    few = np.flatnonzero(counts < FEWEST)
    if len(few):
        notes.append(f"{len(few)} of {len(counts)} bands have fewer than {FEWEST} pupils")
    own = weight * (residual - theta[codes]) / total[codes]
    everybody = float(weight @ residual**2 / weight.sum())
    n = units.sum(np.ones(len(x)))
    estimate = Estimate(
        theta=theta,
        scores=_scores(panel, codes, own, weight * residual / mass[band], groups,
                       _shares(band, codes, weight, (len(edges), len(labels))) / total),
        units=panel.units,
        cluster=panel.cluster,
        index=Index.flat(name_of(effect), labels.tolist()),
        meta=Meta(f"progress of {name_of(effect)}", f"{len(edges)} bands of {prior}",
                  panel.outcome, len(x), panel.provenance, (*panel.ledger, *notes)),
    )  # fmt: skip
    spread = float(np.sqrt(everybody * len(x) / (len(x) - 1)))
    expected = pd.DataFrame({"from": edges, "pupils": counts, "expected": mean})
    return Progress(estimate, spread, n, expected)


def _banded(x: Vector, bands: int, prior: str) -> tuple[Codes, Vector]:
    """Band of each row, and the lowest score of each band."""
    values, codes = np.unique(x, return_inverse=True)
    if len(values) < 2:
        raise IdentificationError(f"{prior!r} is the same for all pupils; there are no bands")
    if len(values) > bands:
        cuts = np.unique(np.quantile(x, np.arange(1, bands) / bands))
        codes = np.searchsorted(cuts, x, side="left")
        codes = np.unique(codes, return_inverse=True)[1]
    edges = np.full(int(codes.max()) + 1, np.inf)
    np.minimum.at(edges, codes, x)
    return codes.astype(np.intp), edges


def _shares(band: Codes, unit: Codes, weight: Vector, shape: tuple[int, int]) -> Vector:
    """Weight of each band in each unit ``(B, J)``."""
    flat = np.bincount(band * shape[1] + unit, weight, minlength=shape[0] * shape[1])
    return np.asarray(flat.reshape(shape), float)


def _scores(
    panel: Panel, unit: Codes, own: Vector, pull: Vector, bands: Groups, shares: Vector
) -> Scores | Sparse:
    """A row's own part belongs to its unit; through the mean of its band it touches all."""
    from scipy.sparse import csr_array

    k = shares.shape[1]
    mine = Sparse.of(panel.unit, unit, own, panel.units, k)
    rows = csr_array((pull, (panel.unit, bands.codes)), shape=(panel.n_units, bands.size))
    whole = Sparse(mine.own - rows @ csr_array(shares), mine.shared, mine.lin, panel.units)
    return Scores.dense(whole.psi()) if panel.n_units * k <= DENSE else whole
