"""What may leave a county: sums in which no group smaller than a floor can be made out.

What is checked, exactly: cells, the two groups that a variable with two values makes of a cell (the
score too; whole numbers, the lower -1, 0 or 1, or the other the next), bands, cells in which all
pupils score alike, and subtraction, one after the other, from totals that are named. Not checked:
other pairs of values, several releases set against each other, or equations solved together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from evalkit.core.arrays import Codes, Flags, Vector
from evalkit.core.checks import check_whole, refuse_text_or_repeats
from evalkit.core.errors import OptionError, SummaryError
from evalkit.data.cells import Cells
from evalkit.data.missing import Missing

if TYPE_CHECKING:
    from evalkit.data.sums import Summaries

WHOLE = 1e-9  # a count from rounded sums may be off a whole number by this part of it
POOLED = {"U": "(pooled)", "i": -1}


def release(
    sums: Summaries,
    *,
    floor: int,
    merge: str | None = None,
    published: Sequence[Sequence[str]] = (),
) -> Summaries:
    """Sums without the cells that show fewer than ``floor`` pupils.

    A cell is withheld if it has fewer pupils than the floor, if a variable with two values, such as
    0/1 or 1/2, parts off fewer (the cross-products give their mean score away), or if all its
    pupils have the same score. Moments show two values that are whole numbers if the lower is -1, 0
    or 1, or the other is the next; code other pairs so. Where sums are weighted, a cell is withheld
    if a variable has two such neighbours in it: nobody can tell how many they part off. Bands
    of a cell are withheld (NaN) if one of them holds fewer pupils, but not none; histograms always
    are. Rows left out are told for released cells only.

    Parameters
    ----------
    sums : Summaries
    floor : int
        Fewest pupils that may be shown together, at least 2.
    merge : str, optional
        Key over which cells that are too small are pooled first, within the other keys: their label
        becomes "(pooled)", or -1 for integers.
    published : sequence of sequences of str
        Key lists whose totals over all pupils are known, such as ``[["county", "year"]]``. Further
        cells, the smallest first, are withheld until taking the released cells, and what follows
        from them, away from one total after the other leaves no fewer than the floor.

    Returns
    -------
    Summaries
        Its notes say how many cells were withheld, and why.

    Raises
    ------
    SummaryError
        If nothing is left, if a published total is itself below the floor, or if sums are weighted
        and a variable has two values in every cell.

    Examples
    --------
    >>> import evalkit as ek
    >>> pupils = {"school": ["a"] * 3 + ["b"] * 2, "math": [1.0, 2.0, 3.0, 4.0, 5.0]}
    >>> sums = ek.summaries(pupils, keys=["school"], score="math", provenance="restricted")
    >>> sums.release(floor=3)
    Summaries of math by school (restricted): 3 pupils in 1 cells
      1 of 2 cells withheld: fewer than 3 pupils could be made out
    """
    check_whole("floor", floor, 2, "a smaller one protects nobody")
    for keys in published:
        refuse_text_or_repeats("each of published", keys)
    if merge is not None:
        sums = _pooled(sums, merge, sums.n < floor)
    hidden = _shown_too_few(sums, floor)
    own = int(hidden.sum())
    for keys in published:
        _refuse_small_total(sums, keys, floor)
    totals = [sums.cells.by(keys) for keys in published]
    hidden = _against_subtraction(sums.n, hidden, totals, floor)
    if hidden.all():
        raise SummaryError(
            f"no cell may be released with floor={floor}; use fewer keys: sums.by(...)"
        )
    notes = [
        f"{count} of {len(sums)} cells withheld: {why}"
        for count, why in (
            (own, f"fewer than {floor} pupils could be made out"),
            (int(hidden.sum()) - own, "a published total would give another away"),
        )
        if count
    ]
    kept = sums.take(np.flatnonzero(~hidden))
    kept, more = _without_small_bands(kept, floor)
    return replace(
        kept, missing=_of_released(kept), notes=tuple(dict.fromkeys([*kept.notes, *notes, *more]))
    )


def _pooled(sums: Summaries, key: str, small: Flags) -> Summaries:
    sums.cells.require([key])
    labels = sums.label(key)
    name = POOLED.get(labels.dtype.kind)
    if name is None or (labels == name).any():
        raise OptionError(
            f"cannot merge over {key!r}: it must hold text or integers, and not {name!r} already"
        )
    columns = [
        np.where(small, np.array(name), column) if k == key else column
        for k, column in zip(sums.keys, sums.labels, strict=True)
    ]
    merged = sums.grouped(*Cells.of(sums.keys, columns))
    note = f"{int(small.sum())} small cells pooled over {key}"
    return replace(merged, notes=(*sums.notes, note)) if small.any() else sums


def _shown_too_few(sums: Summaries, floor: int) -> Flags:
    """Cells ``(m,)`` that show fewer pupils than the floor, as a cell or as a part of one."""
    n = sums.n
    rounding = n * (4 * np.finfo(float).eps * sums.mean[:, -1]) ** 2
    hidden: Flags = (n < floor) | (sums.cross[:, -1, -1] <= rounding)  # or all score alike
    for v, name in enumerate(sums.names):
        if sums.weighting is None:
            for low in (-1.0, 0.0, 1.0, np.floor(sums.mean[:, v])):
                hidden |= _parted(sums, v, low) < floor
            continue
        two = _has_two(sums, v)
        if two.all():
            raise SummaryError(
                f"{name!r} has two values and the sums are weighted: how many pupils they part off "
                "cannot be checked. Make the sums without it, or without weights."
            )
        hidden |= two
    return hidden


def _parted(sums: Summaries, v: int, low: Vector | float) -> Vector:
    """Pupils ``(m,)`` in the smaller of two groups, if some have the value ``low`` and all others
    one that is a whole number above it; infinite if they have not.

    With k pupils at a distance d from ``low`` and none elsewhere, the sums of distances and of
    their squares are kd and kd^2: then k and d follow.
    """
    first, second = _about(sums, v, low)
    with np.errstate(divide="ignore", invalid="ignore"):
        k, d = first**2 / second, second / first
        two = (second > 0) & (np.abs(k - np.rint(k)) <= WHOLE * k) & (np.rint(k) > 0)
        two &= np.abs(d - np.rint(d)) <= WHOLE * np.abs(d)
    part = np.minimum(np.rint(k), sums.n - np.rint(k))
    return np.where(two & (part > 0), part, np.inf)


def _has_two(sums: Summaries, v: int) -> Flags:
    """Cells ``(m,)`` in which a variable has two values, whole numbers next to each other."""
    low = np.floor(sums.mean[:, v])
    first, second = _about(sums, v, low)
    share = first / sums.weight
    two: Flags = np.isclose(first, second, rtol=WHOLE, atol=0)
    return two & (share > WHOLE) & (share < 1 - WHOLE)


def _about(sums: Summaries, v: int, low: Vector | float) -> tuple[Vector, Vector]:
    """Sums of distances from ``low`` and of their squares ``(m,)``."""
    centre = sums.moments.centre.copy()
    centre[:, v] = low
    moved = sums.moments.about(centre)
    return moved.first[:, v], moved.second[:, v, v]


def _against_subtraction(
    n: Codes, hidden: Flags, totals: Sequence[tuple[Cells, Codes]], floor: int
) -> Flags:
    """Hide further cells until no chain of single subtractions leaves fewer than the floor.

    A total whose released cells leave one hidden cell gives that one away; it is then known in the
    other totals too.
    """
    hidden = hidden.copy()
    while True:
        known, exposed = ~hidden, np.zeros(0, np.intp)
        changed = True
        while changed and not len(exposed):
            changed = False
            for cells, codes in totals:
                left = np.bincount(codes, ~known, len(cells))
                pupils = np.bincount(codes, n * ~known, len(cells))
                exposed = np.flatnonzero((left > 0) & (pupils < floor))
                if len(exposed):
                    open_cells = np.flatnonzero(~hidden & np.isin(codes, exposed))
                    order = open_cells[np.lexsort((n[open_cells], codes[open_cells]))]
                    _, first = np.unique(codes[order], return_index=True)
                    hidden[order[first]] = True
                    break
                found = ~known & (left[codes] == 1)
                changed = changed or bool(found.any())
                known |= found
        if not len(exposed):
            return hidden
        if not len(open_cells):
            return np.ones_like(hidden)


def _refuse_small_total(sums: Summaries, keys: Sequence[str], floor: int) -> None:
    total = sums.by(*keys)
    small = np.flatnonzero(total.n < floor)
    if len(small):
        raise SummaryError(
            f"the published total of {total.cells.name(int(small[0]))} has fewer than {floor} "
            f"pupils ({len(small)} such totals): no cell below it is safe. Publish coarser totals."
        )


def _without_small_bands(sums: Summaries, floor: int) -> tuple[Summaries, list[str]]:
    notes = []
    if sums.histogram is not None:
        sums = replace(sums, histogram=None)
        notes.append("histograms withheld")
    if sums.bands is None:
        return sums, notes
    if sums.weighting is not None:
        return replace(sums, bands=None, cuts=None), [*notes, "bands withheld: they are weighted"]
    small = np.any((sums.bands > 0) & (sums.bands < floor), axis=1)
    if small.any():
        notes.append(f"bands of {int(small.sum())} cells withheld: one holds fewer than {floor}")
    return replace(sums, bands=np.where(small[:, None], np.nan, sums.bands)), notes


def _of_released(sums: Summaries) -> Missing:
    missing = sums.missing
    union, mine, theirs = missing.cells.union(sums.cells)
    released = np.zeros(len(union), bool)
    released[theirs] = True
    at = np.flatnonzero(released[mine])
    return Missing(missing.cells.take(at), missing.reasons, missing.rows[at], missing.counts[at])
