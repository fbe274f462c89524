"""Effects on units that were picked on a past outcome, against the mirror of their own past."""

from __future__ import annotations

from dataclasses import replace
from operator import sub

import numpy as np

from evalkit.core.adoption import Window
from evalkit.core.checks import check_estimate, check_whole
from evalkit.core.errors import IdentificationError, OptionError, some
from evalkit.core.estimate import Estimate


def mirrored(estimate: Estimate, *, picked: int = -1) -> Estimate:
    r"""Effects from as long after the pick as the base lies before it: symmetric differences.

    Who is picked on an outcome of period s was at its best (or worst) in s, and comes back without
    any reform; a base in s counts the way back as effect. If what passes is stationary, the way
    back looks like the way there: :math:`E[Y_{s+k}-Y_{s-k}]` is free of the pick, and
    :math:`ATT(g,t)-ATT(g,2s-t)` with :math:`s=g+` ``picked`` is the effect.

    It needs parallel trends but for the pick, a pick on the outcome of period s alone (or on a
    window around which it is symmetric), and passing shocks whose correlation depends on the
    distance in time alone. Effects further from the pick than the data reach back are left out.

    Parameters
    ----------
    estimate : Estimate
        Group-time effects on one base: ``callaway_santanna`` or ``triple_difference`` with
        ``base="universal"`` and no anticipation.
    picked : int
        Event time of the outcome on which units were picked (default: that of the period before
        adoption).

    Returns
    -------
    Estimate
        The coordinates after adoption that have a mirror. Its ``mass`` is that of the estimate, so
        that :func:`aggregate` averages them as it would.

    Raises
    ------
    IdentificationError
        Where no coordinate has a mirror.
    OptionError
        An estimate without cohorts and times, with dates known as windows, or with a varying base.

    References
    ----------
    Chabe-Ferret (2015), Journal of Econometrics 185(1), sections 3 and 4; Heckman and Robb (1985).

    Examples
    --------
    >>> import numpy as np, evalkit as ek
    >>> rng = np.random.default_rng(1)
    >>> score = rng.normal(size=(400, 6))
    >>> worst = np.where(score[:, 2] < -0.5, 3.0, np.nan)  # no effect: whoever was low comes back
    >>> frame = {"town": np.repeat(np.arange(400), 6), "year": np.tile(np.arange(6), 400),
    ...          "score": score.ravel(), "start": np.repeat(worst, 6)}
    >>> panel = ek.Panel.from_frame(frame, outcome="score", unit="town", time="year",
    ...                             cohort="start", provenance="synthetic")
    >>> cells = ek.did.callaway_santanna(panel, base="universal")
    >>> bool(ek.aggregate(cells).theta > 1), bool(abs(ek.aggregate(ek.mirrored(cells)).theta) < 0.3)
    (True, True)
    """
    check_estimate(estimate)
    check_whole("picked", picked, -(2**31))
    if picked >= 0:
        raise OptionError(f"picked={picked} must lie before adoption: -1 is the period before it")
    levels = estimate.index.levels
    if not {"cohort", "time"} <= set(levels):
        raise OptionError(
            f"mirrored needs group-time effects, with levels cohort and time; got {some(levels)}"
        )
    cohorts = estimate.index.level("cohort")
    if any(isinstance(cohort, Window) for cohort in cohorts):
        raise OptionError("mirrored needs dates of adoption that are known, and some are windows")
    events = list(map(sub, estimate.index.level("time"), cohorts))
    if "varying" in estimate.meta.base or -1 in events:
        raise OptionError(
            "the effects have no base in common in the period before adoption; use "
            "base='universal', anticipation=0"
        )
    others = [k for k, level in enumerate(levels) if level != "time"]
    owners = [tuple(key[k] for k in others) for key in estimate.index.keys]
    place = {at: k for k, at in enumerate(zip(owners, events, strict=True))}
    pairs = [
        (k, place[mirror])
        for k, (owner, event) in enumerate(zip(owners, events, strict=True))
        if event >= 0 and (mirror := (owner, 2 * picked - event)) in place
    ]
    if not pairs:
        raise IdentificationError(
            f"no effect has a mirror: none lies as long after event time {picked} as an observed "
            "period lies before it"
        )
    after, before = (estimate.take(list(side)) for side in zip(*pairs, strict=True))
    made = after - before.relabel(after.index)
    lost = sum(event >= 0 for event in events) - len(pairs)
    notes = (f"{lost} effects left out: no period lies as long before the pick",) if lost else ()
    meta = replace(
        after.meta,
        method=f"{after.meta.method}, mirrored at event time {picked}",
        notes=(*after.meta.notes, *notes),
    )
    counts = after.counts
    if counts is not None and before.counts is not None:
        counts = np.minimum(counts, before.counts)
    return replace(made, meta=meta, mass=after.mass, counts=counts)
