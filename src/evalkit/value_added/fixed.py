"""Effects of schools or teachers as coefficients: adjusted, unshrunk, with contributions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, TypeAlias, get_args

import numpy as np

from evalkit.core.arrays import Codes, Flags, Groups, Matrix, Vector
from evalkit.core.errors import CombinationError, check_option
from evalkit.core.estimate import Estimate
from evalkit.core.labels import Index
from evalkit.core.origin import Imposed, Meta, Part
from evalkit.core.panel import Panel
from evalkit.core.scores import Scores
from evalkit.core.sparse import DENSE, Sparse
from evalkit.engines.regress import Fit, undemeaned
from evalkit.value_added.errors_in_variables import fit_corrected
from evalkit.value_added.gather import Level, name_of, units_of, with_company

Centre: TypeAlias = Literal["pupils", "units"]

LARGE = 1 << 25  # entries of the design with one column per unit, for leverages


def fixed(
    panel: Panel,
    *,
    effect: Level,
    on: Sequence[str] | None = None,
    reliability: Mapping[str, float] | None = None,
    csem: Mapping[str, str] | None = None,
    centre: Centre = "pupils",
) -> Estimate:
    r"""The effect of each unit on scores at equal covariates, relative to their mean.

    **Estimand.** :math:`\alpha_j-\sum_k\pi_k\alpha_k`. It is a cause only if pupils with equal
    covariates are as good as assigned to units by lot.
    **Assumptions.** :math:`E[y\mid x,j]=x'\beta+\alpha_j`; with ``reliability`` or ``csem`` those
    of :func:`errors_in_variables`.
    **Estimator.** :math:`\hat\beta` within units, :math:`\hat\alpha_j=\bar y_j-\bar x_j'\hat\beta`.
    **Contribution.** Of pupil :math:`i` in unit :math:`j`, to :math:`\alpha_j`:
    :math:`w_ie_i/W_j`; to all, :math:`-(\bar x_j-\bar x)'\psi_{\beta,i}` and minus its share of the
    mean.
    **Reference.** Wooldridge (2010), section 10.5; Guarino, Reckase and Wooldridge (2015).
    **Checked against.** A regression on one dummy per unit (1e-10), CR2 and CR3 included.
    **Fails when.** Units are small: the effects are as noisy as their size says, and the largest
    and smallest of them are mostly noise (:func:`evalkit.shrink`, :func:`evalkit.ranks`).

    Parameters
    ----------
    panel : Panel
        Pupils.
    effect : str or tuple of str
        Units: a category of the panel, or a combination of several.
    on : sequence of str, optional
        Regressors (default: all covariates but those named in ``csem``).
    reliability, csem
        As in :func:`errors_in_variables`.
    centre : {"pupils", "units"}
        Whose mean is zero: that over pupils (by weight), or over units.

    Returns
    -------
    Estimate
        One coordinate per unit with at least two pupils; index level named after ``effect``.

    Raises
    ------
    IdentificationError
        Fewer than two units; regressors without variation within units.

    Examples
    --------
    >>> import evalkit as ek
    >>> frame = {"school": ["a", "a", "b", "b"], "math": [1.0, 3.0, 4.0, 6.0],
    ...          "before": [0.0, 1.0, 0.0, 1.0]}
    >>> panel = ek.value_added.pupils(frame, score="math", prior=["before"], keys=["school"],
    ...                               provenance="synthetic")
    >>> ek.value_added.fixed(panel, effect="school").theta.round(12)
    array([-1.5,  1.5])
    """
    check_option("centre", centre, get_args(Centre))
    panel, notes = with_company(panel, effect)
    codes, labels = units_of(panel, effect)
    units = Groups(codes, len(labels))
    unit = Groups(panel.unit, panel.n_units)
    weight, total = panel.weight, units.sum(panel.weight)
    y_mean = units.sum(weight * panel.y) / total
    x, beta = np.zeros((len(weight), 0)), np.zeros(0)
    psi_beta = np.zeros((unit.size, 0))
    if (on is None and panel.names) or on:
        names, fit = fit_corrected(panel, on, reliability, csem, effect)
        x = np.stack([panel.column(name) for name in names], axis=1)
        beta, psi_beta = fit.beta, fit.contributions()
    x_mean = units.sum(weight[:, None] * x) / total[:, None]
    alpha = y_mean - x_mean @ beta
    residual = panel.y - x @ beta - alpha[codes]
    pi = total / total.sum() if centre == "pupils" else np.full(len(total), 1 / len(total))
    own = weight * residual / total[codes]
    shift = unit.sum(pi[codes] * own)
    lin = np.vstack([-(x_mean - pi @ x_mean).T, -np.ones(len(labels))])
    exact = not (reliability or csem)
    method = "covariate-adjusted effects" + ("" if exact else ", errors in variables")
    combination = np.vstack([np.zeros((x.shape[1], len(pi))), np.eye(len(pi)) - pi[:, None]])
    return Estimate(
        theta=alpha - pi @ alpha,
        scores=_scores(panel, codes, own, np.column_stack([psi_beta, shift]), lin),
        units=panel.units,
        cluster=panel.cluster,
        index=Index.flat(name_of(effect), labels.tolist()),
        meta=Meta(
            f"{name_of(effect)} effect",
            method,
            panel.outcome,
            len(panel.y),
            panel.provenance,
            (*panel.ledger, *notes),
        ),
        origin=Dummies(panel, x, units, unit) if exact else None,
        combination=combination if exact else None,
    )


@dataclass(frozen=True, eq=False)
class Dummies:
    """The regression with one column per unit, made only where its weights or leverage are asked.

    Coefficients are those of the regressors, then the level of each unit.
    """

    panel: Panel
    x: Matrix
    units: Groups
    unit: Groups

    @cached_property
    def fit(self) -> Fit:
        """The dense fit."""
        n, size = len(self.panel.y), self.units.size
        if n * (size + self.x.shape[1]) > LARGE:
            raise CombinationError(
                f"the leverages of {size} unit effects on {n} rows need a matrix of both; use CR1, "
                "or fewer units"
            )
        dummies = (self.units.codes[:, None] == np.arange(size)).astype(float)
        return undemeaned(self.panel.y, np.hstack([self.x, dummies]), self.panel.weight, self.unit)

    def weights(self) -> Matrix:
        """Row weights of the coefficients."""
        return self.fit.weights()

    def degrees(self, cluster: Codes) -> tuple[int, int]:
        """Rows and parameters."""
        return self.fit.degrees(cluster)

    def adjusted(self, kind: str, cluster: Codes) -> Matrix:
        """Cluster contributions under CR2 or CR3."""
        return self.fit.adjusted(kind, cluster)

    def satterthwaite(self, kind: str, cluster: Codes, combination: Matrix) -> Vector:
        """Degrees of freedom of combinations."""
        return self.fit.satterthwaite(kind, cluster, combination)

    def hotelling(self, kind: str, cluster: Codes, combination: Matrix) -> float:
        """Degrees of freedom of a joint test."""
        return self.fit.hotelling(kind, cluster, combination)

    def identified_by_one(self, cluster: Codes, combination: Matrix) -> Flags:
        """Combinations that one cluster identifies alone."""
        return self.fit.identified_by_one(cluster, combination)

    def by_row(self) -> Matrix:
        """Contributions of rows."""
        return self.fit.by_row()

    def imposed(self, cluster: Codes, part: Part, combination: Vector) -> Imposed:
        """Residuals under nulls about one combination."""
        return self.fit.imposed(cluster, part, combination)


def _scores(
    panel: Panel, codes: Codes, own: Vector, shared: Matrix, lin: Matrix
) -> Scores | Sparse:
    """A row's own part belongs to one coordinate, the shared part to all."""
    n, k = panel.n_units, lin.shape[1]
    sparse = Sparse.of(panel.unit, codes, own, panel.units, k)
    whole = replace(sparse, shared=shared, lin=lin)
    return Scores.dense(whole.psi()) if n * k <= DENSE else whole
