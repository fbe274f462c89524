"""What a design could have seen: the minimum detectable effect of an estimate."""

from __future__ import annotations

from typing import cast

import numpy as np

from evalkit.core.arrays import Vector
from evalkit.core.checks import is_number
from evalkit.core.errors import OptionError
from evalkit.core.estimate import Estimate
from evalkit.inference.covariance import Vcov
from evalkit.inference.few import Few
from evalkit.inference.infer import infer


def minimum_detectable_effect(
    estimate: Estimate,
    *,
    power: float = 0.8,
    size: float = 0.05,
    vcov: Vcov = "CR1",
    few: Few = "withhold",
) -> Vector:
    r"""Smallest true effect that a two-sided test would detect, ``(k,)`` in outcome units.

    :math:`(t_{1-\alpha/2}+t_{\text{power}})\times\mathrm{SE}`, with the reference distribution of
    the standard errors. It describes the design, not the result: it uses the standard error only.
    Where few clusters stand behind an estimate that error is too small, and a warning says so
    unless ``few="show"``.

    References
    ----------
    Bloom (1995), Evaluation Review 19(5).

    Examples
    --------
    >>> import numpy as np, evalkit as ek
    >>> from evalkit.core.origin import Meta
    >>> from evalkit.core.labels import Index
    >>> meta = Meta("effect", "made by hand", "score", 100, "synthetic")
    >>> mean = ek.Estimate(np.zeros(1), np.full((100, 1), 0.1), np.arange(100), np.arange(100),
    ...                    Index.flat("term", ["mean"]), meta)
    >>> ek.minimum_detectable_effect(mean, vcov="CR0").round(3)
    array([2.802])
    """
    from scipy.special import ndtri, stdtrit

    if not (is_number(size) and is_number(power) and 0 < size < 1 and 0.5 <= power < 1):
        raise OptionError(f"size={size} must lie in (0, 1) and power={power} in [0.5, 1)")
    result = infer(estimate, vcov=vcov, few=few)
    normal = np.isinf(result.dof)
    dof = np.where(normal, 1.0, result.dof)
    total = np.where(
        normal,
        ndtri(1 - size / 2) + ndtri(power),
        stdtrit(dof, 1 - size / 2) + stdtrit(dof, power),
    )
    return cast(Vector, total * result.std_error)
