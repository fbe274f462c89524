"""Critical values of simultaneous bands from random multipliers of clusters' contributions.

Gaussian multipliers, given the data, are exactly the joint normal that the deterministic band
integrates; the multipliers here keep more of the contributions' shape, at the price of a seed.
"""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import numpy as np

from evalkit.core.arrays import Matrix, encode
from evalkit.core.checks import check_draws, check_seed
from evalkit.core.errors import IdentificationError, OptionError, check_option
from evalkit.core.estimate import Estimate
from evalkit.core.scores import Scores
from evalkit.core.threads import one_thread
from evalkit.inference.philox import Words, keys, words

Multiplier: TypeAlias = Literal["rademacher", "mammen", "webb"]

CHUNK = 1 << 21  # multipliers drawn at a time
TILE = 1 << 18  # of them written out at a time: they stay in the processor's cache
GOLDEN = (1 + np.sqrt(5)) / 2
SIGNS = 2.0 * (np.arange(256)[:, None] >> np.arange(8) & 1) - 1.0  # of the bits of a byte
SIX = np.sqrt([0.5, 1.0, 1.5])


@one_thread
def multiplier_sup_t(
    estimate: Estimate,
    scores: Matrix | None,
    *,
    level: float,
    draws: int,
    seed: int,
    multiplier: Multiplier,
) -> float:
    r"""Quantile over draws of :math:`\max_j|\sum_gv_{bg}s_{gj}|/\sqrt{\sum_gs_{gj}^2}`.

    The multipliers of a cluster depend on the seed and its label alone.

    Parameters
    ----------
    estimate : Estimate
    scores : Matrix (G, k) or None
        Contributions of clusters, if others than the estimate's own (CR2, CR3).
    level, draws, seed, multiplier
        As in :func:`evalkit.infer`.
    """
    check_option("multiplier", multiplier, get_args(Multiplier))
    check_seed(seed)
    check_draws(draws)
    if draws < 1 / (1 - level):
        raise OptionError(f"{draws=} cannot show a level of {level}; take 999 or more")
    held, alone = estimate.scores, estimate.cluster is estimate.units
    if scores is None and alone and isinstance(held, Scores):
        labels = estimate.units
    else:
        labels = encode(estimate.cluster)[1]
        held = Scores.dense(estimate.cluster_sums() if scores is None else scores)
    scale = np.sqrt(np.diag(held.gram()))
    used = scale > 0
    if not used.any():
        raise IdentificationError("every standard error is zero; a band has no meaning")
    key = keys(labels)
    total = np.zeros((held.shape[1], draws))
    for at, block, lin in zip(held.rows.at, held.rows.blocks, held.split(), strict=True):
        if len(lin) > lin.shape[1]:  # fewer coordinates than columns: combine first
            total += _weighted(block @ lin, key[at], seed, draws, multiplier)
        else:
            total += lin.T @ _weighted(block, key[at], seed, draws, multiplier)
    largest = np.abs(total[used] / scale[used, None]).max(axis=0)
    return float(np.sort(largest)[int(np.ceil(level * draws)) - 1])


def _weighted(rows: Matrix, key: Words, seed: int, draws: int, kind: Multiplier) -> Matrix:
    """Sums over ``n`` rows ``(n, d)`` times their multipliers ``(n, draws)``: ``(d, draws)``."""
    out = np.zeros((rows.shape[1], draws))
    step, tile = max(1, CHUNK // draws), max(1, TILE // draws)
    for start in range(0, len(rows), step):
        mine = slice(start, start + step)
        drawn = _drawn(key[mine], seed, draws, kind)
        for at in range(0, len(drawn), tile):
            some = slice(at, at + tile)
            out += rows[mine][some].T @ _written(drawn[some], draws, kind)
    return out


def multipliers(key: Words, seed: int, draws: int, kind: Multiplier) -> Matrix:
    """Multipliers ``(G, draws)`` of mean zero and variance one.

    Rademacher: -1 or 1. Mammen (1993): two values of third moment one. Webb (2023): plus or minus
    the roots of 1/2, 1 and 3/2, for few clusters.
    """
    return _written(_drawn(key, seed, draws, kind), draws, kind)


def _drawn(key: Words, seed: int, draws: int, kind: Multiplier) -> Words:
    """The random words that multipliers are made from: a bit for each sign, a word for others."""
    return words(key, seed, -(-draws // 32) if kind == "rademacher" else draws)


def _written(drawn: Words, draws: int, kind: Multiplier) -> Matrix:
    out: Matrix
    if kind == "rademacher":
        eights = drawn.astype("<u4").view(np.uint8)
        out = np.take(SIGNS, eights, axis=0).reshape(len(drawn), -1)[:, :draws]
        return out
    uniform = (drawn.astype(float) + 0.5) / 2**32
    if kind == "mammen":
        out = np.where(uniform < GOLDEN / np.sqrt(5), 1 - GOLDEN, GOLDEN)
    else:
        out = np.concatenate([-SIX, SIX])[(6 * uniform).astype(np.intp)]
    return out
