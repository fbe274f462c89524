"""Errors that depend on each other among units that are near, or that border on each other."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import scipy.sparse as sp

from evalkit.core.arrays import Codes, Labels, Matrix, Vector
from evalkit.core.checks import check_real, refuse_text_or_repeats
from evalkit.core.errors import OptionError, check_option, some
from evalkit.core.estimate import Estimate
from evalkit.core.panel import Panel
from evalkit.inference.dependence import judged, positions
from evalkit.inference.few import Few
from evalkit.inference.infer import Inference

Kernel: TypeAlias = Literal["uniform", "bartlett"]
EARTH = 6371.01  # km, mean radius


def conley(
    estimate: Estimate,
    panel: Panel,
    *,
    cutoff: float = 0.0,
    coordinates: tuple[str, str] = ("latitude", "longitude"),
    neighbours: Mapping[Any, Collection[Any]] | None = None,
    kernel: Kernel = "uniform",
    level: float = 0.95,
    few: Few = "withhold",
) -> Inference:
    r"""Judge an estimate whose errors are correlated among units near each other.

    :math:`V=\sum_{ij}K(d_{ij})\psi_i\psi_j'` over units, whose contributions hold all their
    periods: any dependence within a unit is allowed for, and between units as far as the kernel
    reaches. ``uniform``: :math:`K=1\{d\le c\}`; ``bartlett``: :math:`K=(1-d/c)_+`. The reference
    is the normal.

    Parameters
    ----------
    estimate : Estimate
        Any.
    panel : Panel
        The one it was made from, with the coordinates among its covariates.
    cutoff : float
        Distance :math:`c` in km, along the great circle.
    coordinates : pair of str
        Covariates that hold latitude and longitude in degrees, constant within units.
    neighbours : mapping of unit to units, optional
        Instead of distances: the units that border on each; K is 1 between them. The relation is
        made symmetric.
    kernel : {"uniform", "bartlett"}
        Shape over distance; not used with neighbours.
    level, few
        As in :func:`infer`.

    Returns
    -------
    Inference

    Raises
    ------
    IdentificationError
        If the covariance is not positive for a coordinate, which kernels of distance allow.

    References
    ----------
    Conley (1999), Journal of Econometrics 92(1).

    Examples
    --------
    >>> import numpy as np, evalkit as ek
    >>> rng = np.random.default_rng(1)
    >>> frame = {"town": np.repeat(np.arange(40), 2), "year": np.tile([1, 2], 40),
    ...          "score": rng.normal(size=80), "start": np.repeat([2.0, np.nan], 40),
    ...          "latitude": np.repeat(rng.uniform(30, 32, 40), 2),
    ...          "longitude": np.repeat(rng.uniform(110, 112, 40), 2)}
    >>> panel = ek.Panel.from_frame(frame, outcome="score", unit="town", time="year",
    ...                             cohort="start", covariates=["latitude", "longitude"],
    ...                             provenance="synthetic")
    >>> ek.conley(ek.did.two_way(panel), panel, cutoff=50).method
    'Conley, uniform kernel to 50 km, 40 clusters, normal reference'
    """
    check_option("kernel", kernel, get_args(Kernel))
    if neighbours is None:
        check_real("cutoff", cutoff, 0, remedy="it is in km; or name the neighbours")
        places = places_of(panel, coordinates)[positions(estimate, panel)]
        weights = _near(sphere(places), cutoff, kernel)
        kind = f"Conley, {kernel} kernel to {cutoff:g} km"
    else:
        weights = _symmetric(*bordering(estimate.units, neighbours), size=len(estimate.units))
        kind = "Conley, neighbours"
    psi = estimate.psi
    covariance = np.asarray(psi.T @ (weights @ psi))
    return judged(estimate, covariance, np.full(len(estimate), np.inf), kind, level, few)


def places_of(panel: Panel, coordinates: tuple[str, str]) -> Matrix:
    """Latitude and longitude of the panel's units ``(N, 2)``, in degrees."""
    refuse_text_or_repeats("coordinates", coordinates)
    if len(coordinates) != 2:
        raise OptionError(f"coordinates={coordinates!r} must name two columns: latitude, longitude")
    first = np.unique(panel.unit, return_index=True)[1]
    columns = []
    for name, most in zip(coordinates, (90.0, 180.0), strict=True):
        value = panel.column(name)
        moved = np.flatnonzero(value != value[first][panel.unit])
        if len(moved):
            raise OptionError(
                f"{name!r}: unit {panel.units[panel.unit[moved[0]]]!s} moves; give each unit one "
                "place"
            )
        outside = np.flatnonzero(np.abs(value) > most)
        if len(outside):
            raise OptionError(
                f"{name!r} of unit {panel.units[panel.unit[outside[0]]]!s} is "
                f"{value[outside[0]]:g}; it must lie between -{most:g} and {most:g} degrees. "
                "coordinates=(latitude, longitude)"
            )
        columns.append(value[first])
    return np.stack(columns, axis=1)


def sphere(places: Matrix) -> Matrix:
    """Points ``(N, 3)`` on the unit sphere."""
    latitude, longitude = np.radians(places).T
    east = np.cos(latitude)
    columns = [east * np.cos(longitude), east * np.sin(longitude), np.sin(latitude)]
    return np.stack(columns, axis=1)


def arc(chord: Vector) -> Vector:
    """Kilometres along the great circle, from chords of the unit sphere; inf stays inf."""
    inside = np.minimum(chord / 2, 1.0)
    return np.where(np.isinf(chord), np.inf, 2 * EARTH * np.arcsin(inside))


def _near(point: Matrix, cutoff: float, kernel: Kernel) -> sp.csr_array:
    """Kernel of the distances up to the cutoff, found by a tree of points on the sphere."""
    from scipy.spatial import cKDTree

    chord = 2 * np.sin(min(cutoff / EARTH, np.pi) / 2)
    pairs = cKDTree(point).query_pairs(chord * (1 + 1e-12), output_type="ndarray")
    between = np.linalg.norm(point[pairs[:, 0]] - point[pairs[:, 1]], axis=1)
    distance = arc(between)
    weight = np.ones(len(pairs)) if kernel == "uniform" else np.maximum(1 - distance / cutoff, 0.0)
    return _symmetric(pairs[:, 0], pairs[:, 1], weight, len(point))


def bordering(
    units: Labels, neighbours: Mapping[Any, Collection[Any]]
) -> tuple[Codes, Codes, Vector]:
    """Pairs of units that border on each other, each once, and ones."""
    if not isinstance(neighbours, Mapping):
        raise OptionError("neighbours must be a mapping from each unit to those that border on it")
    alone = [a for a, others in neighbours.items() if not _several(others)]
    if alone:
        raise OptionError(
            f"neighbours of {alone[0]} are {neighbours[alone[0]]!r}; give a list of units"
        )
    place = {label: at for at, label in enumerate(units.tolist())}
    unknown = [label for label in neighbours if label not in place]
    if unknown:
        raise OptionError(
            f"neighbours names {some(unknown)}, which are no units here; the units are "
            f"{some(units)}"
        )
    pairs = {
        (min(place[a], place[b]), max(place[a], place[b]))
        for a, others in neighbours.items()
        for b in others
        if b in place and a != b
    }
    named = [b for others in neighbours.values() for b in others]
    if named and not any(b in place for b in named):
        raise OptionError(
            f"neighbours names {some(map(repr, named))} as bordering; none is among the units "
            f"{some(map(repr, units.tolist()))}. Write them as the panel does"
        )
    rows, columns = np.array(sorted(pairs), np.intp).reshape(-1, 2).T
    return rows, columns, np.ones(len(rows))


def _several(others: object) -> bool:
    return np.iterable(others) and not isinstance(others, str)


def _symmetric(rows: Codes, columns: Codes, weight: Vector, size: int) -> sp.csr_array:
    """Sparse symmetric matrix with ones on the diagonal."""
    at = np.arange(size)
    entries = np.concatenate([weight, weight, np.ones(size)])
    first, second = np.concatenate([rows, columns, at]), np.concatenate([columns, rows, at])
    return sp.csr_array((entries, (first, second)), shape=(size, size))
