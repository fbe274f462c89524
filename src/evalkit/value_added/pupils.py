"""The door for pupils' records: prior scores, peers, cohorts and missing values, all counted.

It returns an ordinary panel. Not for estimating: the columns it makes are regressors like others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, TypeAlias, get_args

import numpy as np

from evalkit.core.arrays import Groups, Vector, cross
from evalkit.core.checks import refuse_text_or_repeats
from evalkit.core.door import Door
from evalkit.core.errors import OptionError, PanelError, check_option, some
from evalkit.core.panel import Panel
from evalkit.core.provenance import Provenance

Missing: TypeAlias = Literal["drop", "indicate"]
Cells: TypeAlias = tuple[Groups, list[str]]

MOST_VALUES = 50  # values of a text column that may become indicators


def pupils(
    frame: Any,
    *,
    score: str,
    provenance: Provenance,
    prior: Sequence[str] = (),
    controls: Sequence[str] = (),
    keys: Sequence[str] = (),
    pupil: str | None = None,
    year: str | None = None,
    cluster: str | None = None,
    weight: str | None = None,
    standardise: Sequence[str] = (),
    degree: int = 1,
    peers: Sequence[str] = (),
    missing: Missing = "drop",
) -> Panel:
    r"""Turn records of pupils into a panel with the regressors that value-added needs.

    Steps, in this order: scores are standardised within cohorts; missing prior scores are dropped
    or indicated; prior scores get powers; peer means leave the pupil out. Rows dropped are counted
    in the panel's ledger, and with them in every result.

    Parameters
    ----------
    frame : pandas.DataFrame, polars.DataFrame or mapping of columns
        One row per pupil (and year). It is read, never changed.
    score : str
        The outcome.
    provenance : {"real", "documented", "restricted", "synthetic"}
        Evidence tier of the records.
    prior : sequence of str
        Prior scores.
    controls : sequence of str
        Other covariates; a text column becomes one indicator per value but the first.
    keys : sequence of str
        Columns that group pupils: class, school, county, teacher.
    pupil, year : str, optional
        Identify a row; a repeated pair is refused. Default: each row is a pupil of its own, in one
        year.
    cluster : str, optional
        Cluster of the pupil (default: the pupil).
    weight : str, optional
        Positive row weights.
    standardise : sequence of str
        Keys of a cohort (``["year", "grade"]``) within which score and prior scores get mean 0 and
        standard deviation 1 (divisor n - 1).
    degree : int
        Highest power of each prior score, 1 to 4.
    peers : sequence of str
        Keys of a peer group; adds the mean of each prior score over the others in it.
    missing : {"drop", "indicate"}
        What to do without a prior score: drop the row, or set the score to its mean and add an
        indicator.

    Returns
    -------
    Panel
        Covariates: controls, prior scores, powers, indicators, peer means.

    Raises
    ------
    PanelError
        With the column, the rows (the first data row is row 1) and the remedy.

    Examples
    --------
    >>> import evalkit as ek
    >>> records = {"school": ["a", "a", "b", "b"], "math": [1.0, 2.0, 3.0, 4.0],
    ...            "before": [0.0, 2.0, None, 1.0], "sex": ["F", "M", "F", "M"]}
    >>> panel = ek.value_added.pupils(records, score="math", prior=["before"], controls=["sex"],
    ...                               keys=["school"], degree=2, provenance="synthetic")
    >>> panel.names
    ('sex=M', 'before', 'before^2')
    >>> panel
    Panel 'math' (synthetic): 3 rows, 3 units x 1 periods, balanced
      1 rows dropped: before is missing
    """
    check_option("missing", missing, get_args(Missing))
    check_option("degree", degree, (1, 2, 3, 4))
    for option, listed in (("prior", prior), ("controls", controls), ("keys", keys),
                           ("standardise", standardise), ("peers", peers)):  # fmt: skip
        refuse_text_or_repeats(option, listed)
    if peers and not prior:
        raise OptionError("peers averages prior scores; name them in prior=[...]")
    if score in [*prior, *controls, *keys]:
        raise OptionError(f"{score!r} is the score; it cannot explain or group itself")
    door = Door(frame)
    named = [n for n in (pupil, year, cluster) if n]
    grouping = list(dict.fromkeys([*keys, *standardise, *peers, *named]))
    numeric = [score, *prior, *([weight] if weight else [])]
    door.require([*numeric, *controls, *grouping])
    scores = {name: door.number(name) for name in (score, *prior)}
    covariates = _controls(door, controls)
    if standardise:
        cohort = _cells(door, standardise)
        scores = {n: _standardised(n, v, cohort, standardise) for n, v in scores.items()}
    ledger: list[str] = []
    made = _prior(scores, prior, degree, missing, ledger)
    if peers:
        together = [*peers, *([year] if year and year not in peers else [])]
        made |= _peers(scores, prior, _cells(door, together))
    columns: dict[str, Any] = {score: scores[score], **covariates, **made}
    columns |= {name: frame[name] for name in [*grouping, *([weight] if weight else [])]}
    panel = Panel.from_frame(
        columns, outcome=score, unit=pupil, time=year, provenance=provenance, cluster=cluster,
        weight=weight, covariates=[*covariates, *made], categories=keys,
    )  # fmt: skip
    if len(panel.y) < door.rows:
        ledger += _vanished(panel, door, keys)
    return replace(panel, ledger=(*panel.ledger, *ledger))


def _controls(door: Door, controls: Sequence[str]) -> dict[str, Vector]:
    """Numeric columns as they are; text as indicators of all values but the first."""
    made: dict[str, Vector] = {}
    for name in controls:
        if door.is_number(name):
            made[name] = door.number(name)
            continue
        codes, labels = door.label(name)
        if len(labels) > MOST_VALUES:
            raise PanelError(
                f"control {name!r} is text with {len(labels)} values; at most {MOST_VALUES} become "
                "indicators. Name it in keys, or group its values."
            )
        made |= {
            f"{name}={label!s}": (codes == at).astype(float)
            for at, label in enumerate(labels)
            if at
        }
    return made


def _cells(door: Door, keys: Sequence[str]) -> Cells:
    """Groups of rows with equal keys, and a name for each."""
    columns = [door.label(key) for key in keys]
    codes = cross([code for code, _ in columns])
    groups = Groups(codes, int(codes.max()) + 1)
    first = np.unique(codes, return_index=True)[1]
    names = [
        ", ".join(
            f"{key} {labels[code[row]]!s}"
            for key, (code, labels) in zip(keys, columns, strict=True)
        )
        for row in first
    ]
    return groups, names


def _standardised(name: str, values: Vector, cohort: Cells, keys: Sequence[str]) -> Vector:
    groups, names = cohort
    known = ~np.isnan(values)
    filled = np.where(known, values, 0.0)
    n = groups.sum(known.astype(float))
    with np.errstate(invalid="ignore", divide="ignore"):
        about = filled - (groups.sum(filled) / n)[groups.codes]
        sd = np.sqrt(groups.sum(np.where(known, about**2, 0.0)) / (n - 1))
    flat = np.flatnonzero((n > 0) & ~(sd > 0))
    if len(flat):
        raise PanelError(
            f"column {name!r} does not vary within {names[flat[0]]} ({int(n[flat[0]])} scores; "
            f"{len(flat)} such cohorts): it cannot be standardised by {some(keys)}. "
            "Use larger cohorts, or leave these out."
        )
    scaled: Vector = np.where(known, about / sd[groups.codes], np.nan)
    return scaled


def _prior(
    scores: dict[str, Vector],
    prior: Sequence[str],
    degree: int,
    missing: Missing,
    ledger: list[str],
) -> dict[str, Vector]:
    """Prior scores with their powers; indicators of those that are missing."""
    made, flags = {}, {}
    for name in prior:
        values = scores[name]
        if missing == "indicate" and (gone := np.isnan(values)).any():
            if gone.all():
                raise PanelError(f"column {name!r} is empty; leave it out of prior")
            values = np.where(gone, values[~gone].mean(), values)
            flags[f"{name} missing"] = gone.astype(float)
            ledger.append(f"{int(gone.sum())} rows kept with {name} set to its mean and indicated")
        made[name] = values
        for power in range(2, degree + 1):
            # A row is dropped, and counted, for the score itself, not again for its powers.
            made[f"{name}^{power}"] = np.where(np.isnan(values), 0.0, values) ** power
    return made | flags


def _peers(scores: dict[str, Vector], prior: Sequence[str], group: Cells) -> dict[str, Vector]:
    """Means of the others' prior scores; NaN for a pupil without others."""
    groups, _ = group
    made = {}
    for name in prior:
        known = ~np.isnan(scores[name])
        filled = np.where(known, scores[name], 0.0)
        others = groups.sum(known.astype(float))[groups.codes] - known
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = (groups.sum(filled)[groups.codes] - filled) / others
        made[f"{name} of peers"] = np.where(others > 0, mean, np.nan)
    return made


def _vanished(panel: Panel, door: Door, keys: Sequence[str]) -> list[str]:
    """One line per key of which units lost every row."""
    lines = []
    for key in keys:
        labels = door.label(key)[1]
        gone = np.setdiff1d(labels, panel.category(key).labels)
        if len(gone):
            lines.append(
                f"{len(gone)} of {len(labels)} units of {key} lost every row: {some(gone)}"
            )
    return lines
