"""What an effect would be if what is not seen selects as what is seen does (Oster).

Not for parallel trends: ``evalkit.sensitivity`` bounds how far those may fail.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evalkit.core.arrays import Groups, Matrix, Vector
from evalkit.core.checks import check_names, check_panel, check_real
from evalkit.core.errors import IdentificationError, OptionError
from evalkit.core.estimate import Estimate
from evalkit.core.labels import Index
from evalkit.core.origin import Meta
from evalkit.core.panel import Panel
from evalkit.core.scores import Scores
from evalkit.core.sides import adopters
from evalkit.core.threads import one_thread
from evalkit.did.regression import TWO_WAY, Absorb, absorbed, controls_of
from evalkit.did.two_way import require_contrast
from evalkit.engines.absorb import Absorber
from evalkit.engines.regress import refuse_singular, solved

TERMS = ("without controls", "with controls", "adjusted", "delta")
MULTIPLE = 1.3  # of the R2 with controls: what most randomised results survive (Oster 2019)
STEP = 1e-30  # of a derivative in the complex plane, which loses no digit
SPURIOUS = (
    1e-8  # of the index's covariance with treatment: with one control a root where it is zero
)
NOTHING = 1e-12  # of the outcome's variance, as rounding; of its level before it is squared
POLISH = 3  # Newton steps, after which a simple root is exact

Numbers = npt.NDArray[np.complex128]


@one_thread
def oster(
    panel: Panel,
    *,
    covariates: Sequence[str] = (),
    by_time: Sequence[str] = (),
    on: str | None = None,
    absorb: Absorb = TWO_WAY,
    r2max: float | None = None,
    delta: float = 1.0,
    target: float = 0.0,
) -> Estimate:
    r"""Adjust an effect for what is not seen, judged by how the controls move it.

    **Estimand.** The coefficient of treatment :math:`\beta^*` in a regression that holds the
    controls and an unseen index, too; and the ``delta`` that would make it ``target``.
    **Assumptions.** The unseen index is uncorrelated with that of the controls, and selects
    :math:`\delta` times as much: :math:`\delta\,\sigma_{1X}/\sigma_1^2=\sigma_{2X}/\sigma_2^2`,
    with the indices weighted as they move the outcome. With both, the outcome has ``r2max``. No
    regression can tell what either is.
    **Estimator.** With :math:`\mathring\beta,\mathring R` without and :math:`\tilde\beta,\tilde R`
    with controls, :math:`A=\mathring\beta-\tilde\beta`,
    :math:`B=(\tilde R-\mathring R)\sigma_Y^2`, :math:`C=(R_{max}-\tilde R)\sigma_Y^2`, and
    :math:`\tau` the variance of treatment given controls, :math:`\beta^*=\tilde\beta-\nu`, where
    :math:`(\delta-1)\tau(\sigma_X^2-\tau)\nu^3+(\delta-2)\tau A\sigma_X^2\nu^2
    +(\delta C(\sigma_X^2-\tau)-B\tau-\sigma_X^2\tau A^2)\nu+\delta CA\sigma_X^2=0`.
    Of its real roots those count that leave the controls' index correlated with treatment in the
    direction seen, :math:`A(A\sigma_X^2+\nu(\sigma_X^2-\tau))>0`; of several, the one nearest
    to zero.
    **Contribution.** By the implicit function theorem from the six second moments of the two
    regressions, to which a unit adds the products of its residuals.
    **Reference.** Oster (2019), propositions 1 to 3; Altonji, Elder and Taber (2005).
    **Checked against.** psacalc and robomit, to the two or three digits that are printed; a
    population built with an unseen index, whose effect it returns (1e-8); the jackknife (3%).
    **Fails when.** The controls hardly move coefficient or R2: the adjustment is then a ratio of
    two noises. Where two roots are near each other its error is endless.

    In a difference-in-differences the effects of units and periods belong to every regression, and
    R2 is of what they leave. Controls that treatment itself moves have no place here.

    Parameters
    ----------
    panel : Panel
    covariates, by_time : sequence of str
        The controls, as in :func:`evalkit.did.two_way`; at least one.
    on : str, optional
        Covariate whose coefficient it is; default: being treated.
    absorb : sequence of str or tuple of str
        Effects in all regressions, as in :func:`evalkit.did.regression`; empty: an intercept.
    r2max : float, optional
        Share of the outcome's variance, after absorption, that controls and unseen index explain;
        default: 1.3 times that of the controls, at most 1.
    delta : float
        Selection by what is not seen, relative to selection by what is.
    target : float
        Effect for which the last coordinate gives the ``delta``.

    Returns
    -------
    Estimate
        Index level ``term``: the coefficient without and with controls, adjusted, and the delta
        that makes it ``target``. The notes hold R2 and the roots that were left.

    Raises
    ------
    OptionError
        Without controls, or if ``r2max`` is not above the R2 with controls.
    IdentificationError
        Collinear controls, an outcome that is constant or wholly explained, or no root in the
        direction seen.

    Examples
    --------
    >>> import numpy as np, evalkit as ek
    >>> rng = np.random.default_rng(1)
    >>> ability, seen, noise = rng.normal(size=(3, 500))
    >>> frame = {"pupil": np.arange(500), "year": np.zeros(500, int), "home": seen,
    ...          "lessons": ability + seen + rng.normal(size=500),
    ...          "score": ability + seen + noise}
    >>> panel = ek.Panel.from_frame(frame, outcome="score", unit="pupil", time="year",
    ...                             covariates=["home", "lessons"], provenance="synthetic")
    >>> found = ek.oster(panel, on="lessons", covariates=["home"], absorb=(), r2max=0.67)
    >>> found.theta[:3].round(1)  # in truth lessons do nothing
    array([0.7, 0.5, 0. ])
    """
    check_panel(panel)
    check_names(on=on)
    check_real("delta", delta)
    check_real("target", target)
    controls, names = controls_of(panel, covariates, by_time, absorb)
    if not names:
        raise OptionError("name controls in covariates=[...]: how they move the effect is all")
    if on is None:
        require_contrast(panel, never=False)
    elif on in covariates or on in by_time:
        raise OptionError(f"on={on!r} is among the controls; leave it out of them")
    x = panel.treated if on is None else panel.column(on)
    moments = _moments(panel, x, controls(np.arange(len(panel.y))), names, on, absorb)
    sums = moments.sum(axis=0)
    explained = _shares(panel, sums)
    most = _most(sums, r2max)
    roots = _roots(_cubic(sums, most, delta).real)
    before, after = _coefficients(sums).real
    moved = before - after
    index_now = moved * (moved * sums[2] + roots * (sums[2] - sums[5]))
    kept = (index_now > SPURIOUS * moved**2 * sums[2]) | (moved == 0)
    if not kept.any():
        raise IdentificationError(
            f"with delta={delta:g} no root leaves the controls selecting in the direction seen; "
            "take a delta nearer to one, or a smaller r2max"
        )
    bias = float(min(roots[kept], key=abs))
    theta, slope = _answers(sums, most, delta, target, bias)
    index = Index.flat("term", TERMS)
    left = sorted(float(after - root) for root in roots if root != bias)
    notes = [
        f"R2 {explained[0]:.4g} without controls, {explained[1]:.4g} with them, "
        f"{most.of(explained[1]):.4g} at most; delta {delta:g}",
        *([f"other roots: {', '.join(f'{root:.4g}' for root in left)}"] if left else []),
    ]
    return Estimate(
        theta=theta,
        scores=Scores.dense(moments @ slope.T),
        units=panel.units,
        cluster=panel.cluster,
        index=index,
        meta=Meta(
            f"effect adjusted for selection, and delta for {target:g}",
            "Oster",
            panel.outcome,
            len(panel.y),
            panel.provenance,
            (*panel.ledger, *notes),
        ),
        sides=adopters(panel, index, pooled=True) if on is None else None,
    )


def _shares(panel: Panel, sums: Vector) -> Vector:
    """R2 without and with controls; refused where it says nothing of selection."""
    if sums[0] <= NOTHING**2 * (panel.weight @ panel.y**2):
        raise IdentificationError(
            f"{panel.outcome!r} has no variation left once the effects are absorbed; absorb fewer"
        )
    explained: Vector = _explained(sums).real / sums[0]
    if explained[1] >= 1 - NOTHING:
        raise IdentificationError(
            f"treatment and controls explain {panel.outcome!r} wholly, so that nothing is left to "
            "what is not seen. Leave out a control that is the outcome in other words"
        )
    if explained[1] - explained[0] <= NOTHING:
        raise IdentificationError(
            "the controls explain nothing of the outcome that treatment does not: there is no "
            "selection on what is seen to judge the unseen by. Name other controls"
        )
    return explained


@dataclass(frozen=True, slots=True)
class _Most:
    """The most that can be explained: a number, or a multiple of what the controls explain."""

    number: float
    multiple: bool

    def of(self, explained: complex) -> complex:
        return self.number * explained if self.multiple else self.number


def _most(sums: Vector, r2max: float | None) -> _Most:
    explained = float(_explained(sums)[1].real / sums[0])
    if r2max is None:
        return _Most(MULTIPLE, True) if MULTIPLE * explained < 1 else _Most(1.0, False)
    check_real("r2max", r2max)
    if not explained < r2max <= 1:
        raise OptionError(
            f"r2max={r2max} must lie above {explained:.4g}, which treatment and controls explain "
            "of what the absorbed effects leave, and be at most 1"
        )
    return _Most(r2max, False)


def _moments(
    panel: Panel, x: Vector, controls: Matrix, names: Sequence[str], on: str | None, absorb: Absorb
) -> Matrix:
    """What units add ``(N, 6)`` to yy, xy, xx given the effects, and given the controls, too."""
    raw = np.column_stack([panel.y, x, controls])
    left = Absorber(absorbed(panel, absorb), panel.weight).residual(raw)
    refuse_singular(raw[:, 1:], left[:, 1:], panel.weight, [on or "treatment", *names])
    half = np.sqrt(panel.weight)[:, None]
    short, inner = half * left[:, :2], half * left[:, 2:]
    long = short - inner @ solved(inner, short)[0]
    products = [
        part[:, a] * part[:, b] for part in (short, long) for a, b in ((0, 0), (0, 1), (1, 1))
    ]
    return Groups(panel.unit, panel.n_units).sum(np.stack(products, axis=1))


def _coefficients(sums: Vector | Numbers) -> Numbers:
    """Coefficients without and with controls."""
    return np.array([sums[1] / sums[2], sums[4] / sums[5]], complex)


def _explained(sums: Vector | Numbers) -> Numbers:
    """Sums of squares explained without and with controls."""
    yy, xy, xx, left, txy, txx = sums
    return np.array([xy**2 / xx, yy - left + txy**2 / txx], complex)


def _cubic(sums: Vector | Numbers, most: _Most, delta: float) -> Numbers:
    """Coefficients of 1, nu, nu^2, nu^3 (Oster 2019, proposition 2), all of degree two in sums."""
    xx, t = sums[2], sums[5]
    a = np.subtract(*_coefficients(sums))
    r0, r1 = _explained(sums)
    b, c = r1 - r0, most.of(r1 / sums[0]) * sums[0] - r1
    return np.array(
        [
            delta * c * a * xx,
            delta * c * (xx - t) - b * t - xx * t * a**2,
            (delta - 2) * t * a * xx,
            (delta - 1) * t * (xx - t),
        ],
        complex,
    )


def _roots(cubic: Vector) -> Vector:
    """The real roots: as many as the discriminant says, each polished."""
    d, c, b, a = cubic / np.abs(cubic).max()
    found = np.roots([a, b, c, d])
    discriminant = (b * c) ** 2 - 4 * a * c**3 - 4 * b**3 * d + (18 * b * c - 27 * a * d) * a * d
    count = 1 if a != 0 and discriminant < 0 else len(found)
    roots: Vector = found[np.argsort(np.abs(found.imag), kind="stable")[:count]].real.astype(float)
    for _ in range(POLISH):
        slope = (3 * a * roots + 2 * b) * roots + c
        value = ((a * roots + b) * roots + c) * roots + d
        np.subtract(roots, value / slope, out=roots, where=slope != 0)
    return roots


def _answers(
    sums: Vector, most: _Most, delta: float, target: float, bias: float
) -> tuple[Vector, Matrix]:
    """The four coordinates ``(4,)`` and their slopes ``(4, 6)`` in the sums."""
    power = bias ** np.arange(4)
    slope = np.empty((4, len(sums)))
    steepness = float(_cubic(sums, most, delta).real[1:] @ (np.arange(1, 4) * power[:3]))
    for j, value in enumerate(sums):
        moved = sums.astype(complex)
        step = STEP * value
        moved[j] += 1j * step
        coefficients = _coefficients(moved).imag / step
        nu = -(_cubic(moved, most, delta).imag / step @ power) / steepness
        slope[:, j] = *coefficients, coefficients[1] - nu, _delta(moved, most, target).imag / step
    before, after = _coefficients(sums).real
    return np.array([before, after, after - bias, _delta(sums, most, target).real]), slope


def _delta(sums: Vector | Numbers, most: _Most, target: float) -> complex:
    """The delta whose root is ``target`` (proposition 3): the cubic is linear in delta."""
    nu = (_coefficients(sums)[1] - target) ** np.arange(4)
    zero, one = _cubic(sums, most, 0.0) @ nu, _cubic(sums, most, 1.0) @ nu
    return complex(zero / (zero - one))
