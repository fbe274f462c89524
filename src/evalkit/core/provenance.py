"""Where a number comes from. Provenance is contagious: the weakest tier always wins."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

from evalkit.core.errors import check_option

Provenance: TypeAlias = Literal["real", "documented", "restricted", "synthetic"]

TIERS: tuple[Provenance, ...] = get_args(Provenance)

MEANING: dict[Provenance, str] = {
    "real": "Public data about real places.",
    "documented": "Facts stated in official documents; no outcome was observed.",
    "restricted": "Computed on restricted records that are not published.",
    "synthetic": "SYNTHETIC: simulated data with known truth; says nothing about a real place.",
}


def combine(*tiers: Provenance) -> Provenance:
    """Return the tier of a result that used all of ``tiers``.

    Examples
    --------
    >>> from evalkit.core.provenance import combine
    >>> combine("real", "synthetic", "documented")
    'synthetic'
    """
    for tier in tiers:
        check_option("provenance", tier, TIERS)
    return max(tiers, key=TIERS.index)
