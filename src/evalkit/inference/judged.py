"""Estimates with their errors, whether these were estimated from contributions or are known.

For inference that looks at many units at once; a single estimate is judged by ``infer``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evalkit.core.arrays import Matrix, Vector
from evalkit.core.errors import IdentificationError, OptionError, some
from evalkit.core.estimate import Estimate
from evalkit.core.known import Known
from evalkit.core.labels import Index
from evalkit.core.origin import Meta
from evalkit.inference.covariance import Vcov
from evalkit.inference.infer import infer


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """``k`` estimates with the covariance of their errors.

    ``covariance`` is None where errors are independent; ``variance`` is always there.
    """

    theta: Vector
    variance: Vector
    covariance: Matrix | None
    index: Index
    meta: Meta
    notes: tuple[str, ...]

    @property
    def std_error(self) -> Vector:
        """Standard errors ``(k,)``."""
        return np.sqrt(self.variance)


def judge(data: Estimate | Known, vcov: Vcov, least: int) -> Judged:
    """Read an estimate or known errors; coordinates without an answer are left out and named."""
    if isinstance(data, Known):
        out = Judged(data.theta, data.variance, None, data.index, data.meta, data.meta.notes)
    elif isinstance(data, Estimate):
        out = _estimated(data, vcov)
    else:
        raise OptionError(
            f"give an Estimate, or Known(theta, variance, ...); got {type(data).__name__}"
        )
    if len(out.theta) < least:
        raise IdentificationError(
            f"{len(out.theta)} units with an estimate; at least {least} needed"
        )
    return out


def _estimated(data: Estimate, vcov: Vcov) -> Judged:
    absent = np.isnan(data.theta)
    notes = data.meta.notes
    if absent.any():
        keys = [" ".join(map(str, key)) for key, gone in zip(data.index.keys, absent, strict=True)
                if gone]  # fmt: skip
        notes = (*notes, f"left out, as not estimated: {some(keys, 20)}")
        data = data.take(np.flatnonzero(~absent).tolist())
    covariance = infer(data, vcov=vcov).vcov
    variance = np.diag(covariance)
    flat = np.flatnonzero(variance <= 0)
    if len(flat):
        raise IdentificationError(
            f"{some(' '.join(map(str, data.index.keys[at])) for at in flat)} has no error of its "
            "own; nothing can be shrunk or ranked by it"
        )
    return Judged(data.theta, variance, covariance, data.index, data.meta, notes)
