"""Made pupils for the benchmark of sums: Parquet files, one a year, the same on every machine.

Every value is a hash of the pupil's number, so that nothing depends on order or threads. Scores lie
on half points; one in a hundred is missing, and eight in a hundred prior scores.
"""

from __future__ import annotations

from pathlib import Path

import duckdb

SCHOOLS, COUNTIES, YEARS = 60_000, 3_000, range(2013, 2023)


def make(rows: int, folder: Path) -> Path:
    """Write ``rows`` pupils to ``folder``, unless they are there."""
    done = folder / "done"
    if done.exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    each = rows // len(YEARS)
    with duckdb.connect() as con:
        con.execute("set memory_limit = '2GB'")
        for at, year in enumerate(YEARS):
            con.execute(
                f"copy ({_year(at * each, each, year)}) to '{folder / f'{year}.parquet'}' "
                "(format parquet, compression zstd)"
            )
    done.touch()
    return folder


def _year(start: int, rows: int, year: int) -> str:
    def uniform(k: int) -> str:
        return f"((hash(i * 64 + {k}) >> 11)::double / 9007199254740992.0 + 5e-17)"

    def normal(k: int) -> str:
        return f"(sqrt(-2 * ln({uniform(k)})) * cos(2 * pi() * {uniform(k + 1)}))"

    def score(mean: str) -> str:
        return f"least(100, greatest(0, round(2 * ({mean})) / 2))"

    return f"""
        with pupil as (
            select floor((i - {start}) * {SCHOOLS}.0 / {rows})::integer school,
                {uniform(1)} < 0.35 poor, {normal(2)} ability, {normal(4)} luck,
                {uniform(6)} absent, {uniform(7)} new
            from range({start}, {start + rows}) t(i))
        select school, (school // {SCHOOLS // COUNTIES})::integer county, {year}::integer "year",
            poor,
            case when absent >= 0.01 then
                {score("60 - 5 * poor::integer + 7 * ability + 6 * luck")} end score,
            case when new >= 0.08 then {score("60 - 5 * poor::integer + 9 * ability")} end prior
        from pupil"""
