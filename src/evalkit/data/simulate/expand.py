"""Pupils by the hundred million: rows drawn from the table of school, year and grade by DuckDB.

For work at scale. The pupils of :func:`evalkit.simulate.pupils` carry the whole world behind them;
these have the counts, means and spreads of their cells, and a prior score.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from evalkit.core.checks import check_whole
from evalkit.core.errors import OptionError, SummaryError
from evalkit.data.county.scores import tested
from evalkit.data.county.study import CountyStudy

if TYPE_CHECKING:
    import pandas as pd

ALIKE = 0.86  # correlation of score and prior score within a school and year, as simulated
WIDER = 1.04  # spread of prior scores there, as a multiple of that of the scores
CELL = ["school_id", "year", "grade", "subject"]
COLUMNS = ["county_code", "stratum", *CELL, "mean", "sd", "mean_prior", "part"]


def _uniform(draw: int) -> str:
    """SQL for a uniform draw in (0, 1): a hash of the cell's key and the pupil's number."""
    return f"(hash(xor(key, (2 * pupil + {draw})::ubigint)) >> 11) * pow(2, -53) + pow(2, -54)"


ROWS = f"""
    with pupil as (
        select *, unnest(range(n)) pupil from (
            select *, md5_number_lower(concat_ws('/', $seed, {", ".join(CELL)})) key from cells
            where part = $part)),
    drawn as (
        select *, sqrt(-2 * ln({_uniform(0)})) radius, 2 * pi() * ({_uniform(1)}) angle from pupil),
    normal as (
        select *, radius * cos(angle) early, radius * sin(angle) late from drawn)
    select county_code, stratum, school_id, year, grade, subject, pupil,
        round(2 * (mean_prior + {WIDER} * sd * early)) / 2 prior_score,
        round(2 * (mean + sd * ({ALIKE} * early + {math.sqrt(1 - ALIKE**2)} * late))) / 2 score
    from normal
"""


def expand(
    study: CountyStudy,
    folder: Path | str,
    *,
    times: int = 1,
    seed: int = 1,
    part: int = 5_000_000,
    threads: int | None = None,
) -> list[Path]:
    """Write pupils for each row of a simulated ``school_cohort``, straight to Parquet.

    A pupil's draws are named by seed, school, year, grade, subject and number: neither threads nor
    the size of a part change a row. The subjects of a pupil are drawn apart. Draws are those of one
    version of DuckDB, whose hash they use.

    Scores are half points, and not cut at 0 and 100 as those of :func:`evalkit.simulate.pupils`
    are. The means and spreads of the cells are already those of cut scores, and a second cut would
    move them. In the study of the book 0.14% of scores and 0.20% of prior scores lie above 100,
    hardly any below 0; to cut them would lower mean scores by 0.005 marks, and that of one cell by
    0.8.

    Parameters
    ----------
    study : CountyStudy
        A simulated one; made pupils of real schools would pass for records.
    folder : path
        Made if absent; it may hold no Parquet file yet.
    times : int
        Pupils for each pupil tested.
    seed : int
    part : int
        Rows of a file; a cell is never split, so a file may have a few more.
    threads : int, optional
        Of DuckDB (default: its own choice).

    Returns
    -------
    list of Path
        The files, with ``county_code``, ``stratum``, ``school_id``, ``year``, ``grade``,
        ``subject``, ``pupil`` (number within these), ``prior_score`` and ``score``.

    Examples
    --------
    >>> import tempfile
    >>> import evalkit as ek
    >>> where, there = tempfile.mkdtemp(), tempfile.mkdtemp()
    >>> files = ek.simulate.write(where, ek.simulate.Assumptions(counties=2, schools=8))
    >>> study = ek.county_study(where)
    >>> [path.name for path in ek.simulate.expand(study, there)]
    ['pupils-0000.parquet']
    >>> sums = ek.summaries(f"{there}/*.parquet", keys=["school_id", "year"], score="score",
    ...                     provenance="synthetic")
    >>> bool(sums.n.sum() == study.table("school_cohort")["n_tested"].sum())
    True
    """
    try:
        import duckdb
    except ImportError as wrong:
        raise SummaryError("drawing pupils needs DuckDB: pip install 'evalkit[engines]'") from wrong
    for option, value in (("times", times), ("part", part)):
        check_whole(option, value, 1, "nothing would be drawn")
    if threads is not None:
        check_whole("threads", threads, 1, "nobody would draw")
    if not study.simulated:
        raise OptionError(
            f"the study is {study.provenance}: made pupils of its schools would pass for records. "
            "Open a simulated study."
        )
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.glob("*.parquet")):
        raise OptionError(f"{folder.name} holds Parquet files already; name an empty folder")
    cells = _cells(study, times, part)
    written = []
    with duckdb.connect() as con:
        con.execute("set memory_limit = '1GB'")
        if threads is not None:
            con.execute(f"set threads = {threads}")
        con.register("cells", cells)
        for at in range(int(cells["part"].max()) + 1):
            path = folder / f"pupils-{at:04d}.parquet"
            rows = con.sql(ROWS, params={"seed": seed, "part": at})
            rows.write_parquet(str(path), compression="zstd")
            written.append(path)
    return written


def _cells(study: CountyStudy, times: int, part: int) -> pd.DataFrame:
    """The cells in the order of their names, with counts of pupils and the file of each."""
    import pandas as pd

    places = study.table("school")[["school_id", "county_code", "stratum"]]
    cells = tested(study).merge(places, on="school_id").sort_values(CELL, ignore_index=True)
    cells["n"] = cells["n_tested"].astype("int64") * times
    cells["part"] = pd.factorize((cells["n"].cumsum() - cells["n"]) // part)[0]
    return cells[[*COLUMNS, "n"]]
