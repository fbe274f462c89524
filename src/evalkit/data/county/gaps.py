"""County by county and year by year: scores of two sides, the gap between them, measures in force.

Not for schools or towns, whose designs compare within counties.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import numpy as np

from evalkit.core.errors import IdentificationError, OptionError, check_option, some
from evalkit.core.panel import Panel
from evalkit.data.county.describe import county_of_unit
from evalkit.data.county.scores import TEST, standardised, tested
from evalkit.data.county.study import CountyStudy, first_test_year

if TYPE_CHECKING:
    import pandas as pd

Sides: TypeAlias = Literal["stratum", "prior"]

KEYS = ["county_code", "year"]
LEAST = 2  # counties without any measure, however few there are in all


def school_tests(study: CountyStudy) -> pd.DataFrame:
    """The rows of ``school_cohort`` with their ``score``, and what they are compared by.

    The score is the mean of the school less that of all pupils of the test, in standard deviations
    of these pupils.

    Parameters
    ----------
    study : CountyStudy
        With ``school_cohort``.

    Returns
    -------
    pandas.DataFrame
        With ``county_code``, ``stratum`` and ``prior``: ``low_prior`` and ``high_prior`` are the
        schools below and above the median of their county in the prior scores of their first year.
    """
    rows = tested(study)
    school = study.table("school")[["school_id", "county_code", "stratum"]]
    out = rows.assign(score=standardised(rows)).merge(school, on="school_id")
    out = out.assign(prior=_by_prior(out))
    out.attrs["provenance"] = study.provenance
    return out


def _by_prior(rows: pd.DataFrame) -> pd.Series[str]:
    """Side of the school by its first prior score; missing where none is known."""
    known = rows.dropna(subset=["mean_prior"])
    off = known["mean_prior"] - known.groupby(TEST)["mean_prior"].transform("mean")
    first = known[known["year"] == known.groupby("school_id")["year"].transform("min")]
    off = off[first.index]
    prior = off.groupby(first["school_id"]).mean()
    county = first.drop_duplicates("school_id").set_index("school_id")["county_code"]
    low = prior < prior.groupby(county).transform("median")
    return rows["school_id"].map(low).map({True: "low_prior", False: "high_prior"})


def county_means(rows: pd.DataFrame, *, by: Sides = "stratum") -> pd.DataFrame:
    """Mean scores of the sides of a county: one row a county and year, one column a side.

    Parameters
    ----------
    rows : pandas.DataFrame
        From :func:`school_tests`, or some of them; schools count by their pupils.
    by : {"stratum", "prior"}
        Sides: ``urban``, ``town``, ``rural``; or ``low_prior`` and ``high_prior``.

    Returns
    -------
    pandas.DataFrame
        ``county_code``, ``year``, the sides, and ``tested``: pupils of the smallest side.
    """
    check_option("by", by, get_args(Sides))
    summed = rows.assign(side=rows[by], scored=rows["n_tested"] * rows["score"])
    scored, pupils = (
        summed.pivot_table(name, KEYS, "side", "sum", observed=True)
        for name in ("scored", "n_tested")
    )
    subjects = rows.groupby(KEYS)["subject"].nunique().loc[pupils.index]
    tested = pupils.min(axis=1) / subjects
    out = (scored / pupils).rename(columns=str).assign(tested=tested.round().astype(int))
    out = out.reset_index()
    out.attrs["provenance"] = rows.attrs["provenance"]
    return out


def first_years(
    study: CountyStudy, measures: Mapping[str, str]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Earliest and latest possible first test year of each measure in each county.

    The first unit of a county counts: its first town, its first group. A group starts with the
    first spell of a school. A start without an earliest date may lie anywhere before.

    Parameters
    ----------
    study : CountyStudy
    measures : mapping of str to str
        Row of the catalogue to the name of its column.

    Returns
    -------
    tuple of two pandas.DataFrame
        Indexed by county; NaN for never.
    """
    import pandas as pd

    events = study.table("measure_event")
    events = events[events["measure_id"].isin(list(measures))]
    spells = study.table("group_membership").groupby("group_id")["start"].min()
    spell = events["unit_id"].map(spells).where(events["unit_kind"] == "group")
    begin = int(study.table("county_year")["year"].min())
    unit = {
        "county": events["unit_id"].map(county_of_unit(study)),
        "measure": events["measure_id"].map(dict(measures)),
    }
    out = []
    for column in ("start_earliest", "start_latest"):
        date = spell.astype(events[column].dtype).fillna(events[column])
        year = first_test_year(date).astype(float).fillna(begin)
        wide = pd.DataFrame({**unit, "year": year}).pivot_table("year", "county", "measure", "min")
        counties = study.table("county")["county_code"].unique()
        out.append(wide.reindex(index=counties, columns=list(measures.values())))
    return out[0], out[1]


def gap_panel(
    means: pd.DataFrame,
    earliest: pd.DataFrame,
    latest: pd.DataFrame,
    *,
    high: str = "urban",
    low: str = "rural",
    share: float = 0.1,
) -> Panel:
    """The panel of gaps, ``high`` less ``low``, as long as counties without any measure remain.

    Parameters
    ----------
    means : pandas.DataFrame
        From :func:`county_means`.
    earliest, latest : pandas.DataFrame
        From :func:`first_years`.
    high, low : str
        Sides; they are covariates of the panel, as is each measure: one from its latest start on.
    share : float
        Years are kept in which so many of the counties, and at least two, surely have no measure.

    Returns
    -------
    Panel
        Outcome ``gap``, unit ``county_code``, time ``year``.
    """
    for name in (high, low):
        if name not in means:
            raise OptionError(f"no side {name!r}; there are {some(means.columns[2:-1])}")
    frame = means.dropna(subset=[high, low])
    first = frame["county_code"].map(earliest.min(axis=1)).fillna(np.inf)
    free = (first > frame["year"]).groupby(frame["year"]).sum()
    enough = free >= max(LEAST, share * frame["county_code"].nunique())
    frame = frame[frame["year"].map(enough)]
    if frame.empty:
        raise IdentificationError(
            f"in no year with scores of {high!r} and {low!r} have {LEAST} counties, and "
            f"{share:.0%} of them, surely no measure: nothing is left to compare with. Take a "
            "smaller share"
        )
    on = {
        str(name): (frame["year"] >= frame["county_code"].map(latest[name]).fillna(np.inf)).astype(
            float
        )
        for name in latest
    }
    return Panel.from_frame(
        frame[[*KEYS, high, low]].assign(gap=frame[high] - frame[low], **on),
        outcome="gap",
        unit="county_code",
        time="year",
        covariates=[high, low, *on],
        provenance=means.attrs["provenance"],
    )


def true_gaps(
    study: CountyStudy, measures: Mapping[str, Sequence[str]], *, high: str, low: str | None = None
) -> pd.DataFrame:
    """What each measure truly does to the gap, by county and year; of a simulated study.

    Parameters
    ----------
    study : CountyStudy
    measures : mapping of str to sequence of str
        Name to its measures in ``truth_county``.
    high, low : str
        Strata; without ``low``, the effect on ``high`` itself.

    Returns
    -------
    pandas.DataFrame
        Indexed by county and year, one column a measure; rows without any effect are absent.
    """
    import pandas as pd

    truth = study.truth("truth_county")
    named = {part: name for name, parts in measures.items() for part in parts}
    kept = truth[truth["measure"].isin(list(named)) & truth["stratum"].isin([high, low])]
    sign = np.where(kept["stratum"] == high, 1.0, -1.0)
    rows = pd.DataFrame(
        {
            "county_code": kept["county_code"],
            "year": kept["year"],
            "measure": kept["measure"].map(named),
            "effect": sign * kept["effect"],
        }
    )
    wide = rows.pivot_table("effect", KEYS, "measure", "sum", fill_value=0.0)
    return wide.reindex(columns=list(measures), fill_value=0.0)
