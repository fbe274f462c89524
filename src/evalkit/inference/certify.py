"""Numbers that others printed beside ours: the gap, and a refusal where it is too large."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from evalkit.core.errors import AgreementError, OptionError, some
from evalkit.inference.infer import Inference
from evalkit.inference.wald import Wald

if TYPE_CHECKING:
    import pandas as pd

Computed: TypeAlias = Inference | Wald | float | Mapping[str, float]
COMPARED = ("run", "run here", "printed")
HAIR = 1e-4  # of the tolerance: a printed half may have been rounded either way


def certify(reference: pd.DataFrame, computed: Mapping[str, Computed]) -> pd.DataFrame:
    """Hold every number of a reference table against ours; raise if one is missed.

    A number printed with d decimals stands for an interval of half a unit of the last one, and that
    is its tolerance, unless the row gives another and the note says why.

    Parameters
    ----------
    reference : pandas.DataFrame
        One number a row, as in ``contracts.REFERENCE``: ``case``, ``coordinate``, ``statistic``,
        ``printed`` (text, for its decimals), ``tolerance``, ``status``. Rows with another status
        than "run", "run here" or "printed" are kept and not compared.
    computed : mapping of case to Inference, Wald, float or mapping of coordinate to float
        From an inference the ``statistic`` is taken at the coordinate, whose key is written with
        spaces ("2004 2006"), or is its ``crit``.

    Returns
    -------
    pandas.DataFrame
        The reference with ``ours``, ``gap`` (ours minus theirs), ``tolerance`` and ``verdict``
        ("pass", or the status of a row that is not compared).

    Raises
    ------
    AgreementError
        If a number lies outside its tolerance, or is no number: all of them are named.
    OptionError
        If a case, coordinate or statistic was not computed.

    Examples
    --------
    >>> import pandas as pd, evalkit as ek
    >>> reference = pd.DataFrame({"case": ["circle"], "coordinate": ["ratio"],
    ...     "statistic": ["value"], "printed": ["3.142"], "tolerance": [None], "status": ["run"]})
    >>> ek.certify(reference, {"circle": 3.14159265})["verdict"].to_list()
    ['pass']
    """
    out = reference.reset_index(drop=True).copy()
    known = out["status"].isin(COMPARED)
    ours = [
        _value(computed, row) if compared else np.nan
        for row, compared in zip(out.to_dict("records"), known, strict=True)
    ]
    theirs = out["printed"].astype(float)
    half = [0.5 * 10.0 ** -len(str(text).partition(".")[2]) for text in out["printed"]]
    given = out["tolerance"].astype(float).to_numpy()
    out["ours"] = ours
    out["gap"] = out["ours"] - theirs
    out["tolerance"] = np.where(known, np.where(np.isnan(given), half, given), np.nan)
    within = out["gap"].abs() <= out["tolerance"] * (1 + HAIR)
    out["verdict"] = np.where(known, np.where(within, "pass", "missed"), out["status"])
    missed = out[out["verdict"] == "missed"]
    if len(missed):
        lines = (
            f"{row.case}, {row.coordinate}, {row.statistic}: printed {row.printed}, ours "
            f"{row.ours:.10g}, gap {row.gap:.2g}, allowed {row.tolerance:.2g}"
            for row in missed.itertuples()
        )
        raise AgreementError(
            f"{len(missed)} of {int(known.sum())} reference numbers are missed:\n  "
            + "\n  ".join(lines)
            + "\nFind the cause; a tolerance is not widened to let a number pass."
        )
    return out


def _value(computed: Mapping[str, Computed], row: Mapping[Any, Any]) -> float:
    case, coordinate, statistic = row["case"], row["coordinate"], row["statistic"]
    if case not in computed:
        raise OptionError(f"no case {case!r} was computed; there are {some(computed, 40)}")
    made = computed[case]
    if isinstance(made, Mapping):
        if coordinate not in made:
            raise OptionError(f"case {case!r} has no {coordinate!r}; it has {some(made, 40)}")
        return float(made[coordinate])
    if not isinstance(made, Inference | Wald):
        return float(made)
    found = getattr(made, statistic, None)
    if found is None:
        raise OptionError(f"case {case!r} has no {statistic!r}: {type(made).__name__}")
    if not isinstance(found, np.ndarray):
        return float(found)
    names = [" ".join(map(str, key)) for key in made.keys] if isinstance(made, Inference) else []
    if coordinate not in names:
        raise OptionError(f"case {case!r} has no {coordinate!r}; it has {some(names, 40)}")
    return float(found[names.index(coordinate)])
