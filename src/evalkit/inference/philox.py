"""Random numbers that depend on nothing but a seed and the label of whom they are drawn for.

Philox is a function from a counter and a key to random words; it has no state, so that no order of
rows, thread or shard can change what a label gets. Not for streams: numpy has those.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from evalkit.core.arrays import Labels

Words: TypeAlias = npt.NDArray[np.uint64]  # each holds 32 random bits

ROUNDS = 10
MULTIPLIERS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
WEYL = 0x9E3779B9, 0xBB67AE85  # added to the two halves of the key from round to round
LOW, HALF = np.uint64(0xFFFFFFFF), np.uint64(32)


def keys(labels: Labels) -> Words:
    """A number of 64 bits for each label ``(G,)``: itself if it is a whole number or a date, else a
    hash of its text.

    Examples
    --------
    >>> keys(np.array([7, 9])).tolist()
    [7, 9]
    """
    if labels.dtype.kind in "iub":
        return labels.astype(np.int64).view(np.uint64)
    if labels.dtype.kind in "mM":
        return labels.astype(f"{labels.dtype.kind}8[ns]").view(np.uint64)
    hashes = [blake2b(str(label).encode(), digest_size=8).digest() for label in labels.tolist()]
    return np.frombuffer(b"".join(hashes), "<u8").astype(np.uint64)


def words(key: Words, seed: int, count: int) -> Words:
    """``count`` random words of 32 bits for each key ``(G, count)``.

    Salmon, Moraes, Dror and Shaw (2011), Parallel random numbers: Philox 4x32 with ten rounds; the
    counter holds the key and the number of the block of four words.

    Examples
    --------
    >>> words(np.zeros(1, np.uint64), 0, 1).tolist()  # the published value for zeros
    [[1713891541]]
    """
    blocks = -(-count // 4)
    shape = (len(key), blocks)
    counter = (
        np.broadcast_to(np.arange(blocks, dtype=np.uint64), shape),
        np.zeros(shape, np.uint64),
        np.broadcast_to((key & LOW)[:, None], shape),
        np.broadcast_to((key >> HALF)[:, None], shape),
    )
    return np.stack(philox(counter, seed), axis=2).reshape(len(key), -1)[:, :count]


def philox(counter: tuple[Words, Words, Words, Words], seed: int) -> tuple[Words, ...]:
    """The four words of each counter, under a key of 64 bits."""
    a, b, c, d = counter
    k0, k1 = seed & 0xFFFFFFFF, seed >> 32 & 0xFFFFFFFF
    for _ in range(ROUNDS):
        left, right = a * MULTIPLIERS[0], c * MULTIPLIERS[1]
        a, b = right >> HALF ^ b ^ np.uint64(k0), right & LOW
        c, d = left >> HALF ^ d ^ np.uint64(k1), left & LOW
        k0, k1 = k0 + WEYL[0] & 0xFFFFFFFF, k1 + WEYL[1] & 0xFFFFFFFF
    return a, b, c, d
