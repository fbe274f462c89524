"""Opens Parquet and CSV files with DuckDB, once all of them are known to hold the same columns.

DuckDB takes the types of the first file for all: a score that is whole there is rounded in the
others, without a word. So the parts are compared first, and what differs is refused or widened.
"""

from __future__ import annotations

import glob
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from evalkit.core.errors import SummaryError, some
from evalkit.core.progress import watched

if TYPE_CHECKING:
    import duckdb

Source: TypeAlias = "str | Path | Sequence[str | Path]"

_CSV = (".csv", ".csv.gz", ".tsv", ".tsv.gz")
_NUMBERS = {"BOOLEAN", "INT32", "INT64", "FLOAT", "DOUBLE"}
_SNIFFED = 1 << 20  # bytes of a CSV file that are decoded to see that it is UTF-8


def expand(source: Source) -> list[str]:
    """The files that a path, a glob, a folder or a list of them stands for, sorted."""
    found: list[str] = []
    for given in [source] if isinstance(source, (str, Path)) else source:
        path = str(given)
        if Path(path).is_dir():
            path = str(Path(path) / "**" / "*.parquet")
        files = [path] if Path(path).is_file() else sorted(glob.glob(path, recursive=True))
        if not files:
            raise SummaryError(f"no file matches {str(given)!r}; check the path")
        found += files
    return list(dict.fromkeys(found))


def are_csv(files: Sequence[str]) -> bool:
    """True for CSV, False for Parquet; refuse anything else, and a mixture."""
    kinds = {file: file.lower().endswith(_CSV) for file in files}
    other = [
        f for f, csv in kinds.items() if not csv and not f.lower().endswith((".parquet", ".pq"))
    ]
    if other:
        raise SummaryError(f"{some(other)}: neither .parquet nor .csv; convert it to one of them")
    if len(set(kinds.values())) > 1:
        raise SummaryError("Parquet and CSV files are mixed; summarise each kind and add the sums")
    return any(kinds.values())


@contextmanager
def opened(
    files: Sequence[str], keys: Sequence[str], numeric: Sequence[str], memory: str
) -> Iterator[duckdb.DuckDBPyRelation]:
    """The wanted columns of all files as one relation, on a connection that closes again.

    Keys of a CSV file are text here, so that a code like 010203 keeps its zero.
    """
    try:
        import duckdb
    except ImportError as wrong:
        raise SummaryError(
            "reading files needs DuckDB: pip install 'evalkit[engines]', or give a data frame"
        ) from wrong
    with tempfile.TemporaryDirectory(prefix="evalkit-") as spill, duckdb.connect() as con:
        try:
            con.execute(f"set memory_limit = '{memory}'")
        except duckdb.Error as wrong:
            raise SummaryError(f"memory={memory!r} is no size; write it like '1GB'") from wrong
        con.execute(f"set temp_directory = {_quoted(spill)}")
        con.execute("set preserve_insertion_order = false; set enable_progress_bar = true")
        con.execute("set enable_progress_bar_print = false; set progress_bar_time = 0")
        csv = are_csv(files)
        relation = (_csv if csv else _parquet)(con, files, keys, numeric)
        try:
            with watched(f"reading {len(files)} files", con.query_progress):
                yield relation
        except duckdb.Error as wrong:
            reason = str(wrong).strip().splitlines()[0]
            if isinstance(wrong, duckdb.OutOfMemoryException):
                reason += f". Give more than memory={memory!r}, or fewer keys"
            elif csv:
                reason = _not_a_number(con, files, numeric) or reason
            raise SummaryError(f"{reason} (while reading {some(files, 1)})") from wrong


def _parquet(
    con: duckdb.DuckDBPyConnection,
    files: Sequence[str],
    keys: Sequence[str],
    numeric: Sequence[str],
) -> duckdb.DuckDBPyRelation:
    import duckdb

    names = [*keys, *numeric]
    listed = f"[{', '.join(map(_quoted, files))}]"
    footer = "select file_name, name, type, logical_type from parquet_schema({})"
    try:
        rows = con.execute(footer.format(listed)).fetchall()
    except duckdb.Error:
        for file in files:
            try:
                con.execute(footer.format(_quoted(file)))
            except duckdb.Error as wrong:
                reason = str(wrong).strip().splitlines()[0]
                raise SummaryError(
                    f"{file}: not a whole Parquet file ({reason}). Write or copy it again."
                ) from wrong
        raise
    held: dict[str, dict[str, tuple[str, str]]] = {file: {} for file in files}
    for file, name, kind, logical in rows:
        held[file][name] = (kind or "a group of columns", logical or "")
    in_path = {name for name in names if all(f"{name}=" in file for file in files)}
    for name in names:
        if name not in in_path:
            _refuse_differences(name, held, name in numeric)
    return con.read_parquet(
        list(files), union_by_name=True, hive_partitioning=bool(in_path)
    ).select(*map(_column, names))


def _refuse_differences(
    name: str, held: dict[str, dict[str, tuple[str, str]]], numeric: bool
) -> None:
    """Refuse a column that a part lacks, or holds as text where another holds numbers."""
    lacking = [file for file, columns in held.items() if name not in columns]
    if lacking:
        raise SummaryError(
            f"{lacking[0]}: no column {name!r}; it has {some(held[lacking[0]], 12)}. "
            "Every part needs every column; rename it, or leave the file out."
        )
    kinds = {file: _kind(*columns[name]) for file, columns in held.items()}
    first = next(iter(kinds))
    for file, kind in kinds.items():
        if numeric and kind != "numbers":
            raise SummaryError(
                f"{file}: column {name!r} must be numeric; it holds {kind}. "
                "Convert it to numbers, with empty for missing."
            )
        if kind != kinds[first]:
            raise SummaryError(
                f"column {name!r} holds {kinds[first]} in {first} and {kind} in {file}. "
                "Write all parts with one type."
            )


def _kind(physical: str, logical: str) -> str:
    if "Decimal" in logical or (physical in _NUMBERS and not logical):
        return "numbers"
    if "Int" in logical or "Float16" in logical:
        return "numbers"
    if "String" in logical or "Enum" in logical or physical == "BYTE_ARRAY":
        return "text"
    return f"{logical or physical}"


def _csv(
    con: duckdb.DuckDBPyConnection,
    files: Sequence[str],
    keys: Sequence[str],
    numeric: Sequence[str],
) -> duckdb.DuckDBPyRelation:
    import duckdb

    for file in files:
        _refuse_encoding(file)
        try:
            sniffed = con.execute(
                f"select Columns from sniff_csv({_quoted(file)}, header = true)"
            ).fetchall()
        except duckdb.Error as wrong:
            reason = str(wrong).strip().splitlines()[0]
            raise SummaryError(f"{file}: not a table ({reason}). Save it as CSV again.") from wrong
        header = [str(column["name"]) for column in sniffed[0][0]]
        absent = [name for name in (*keys, *numeric) if name not in header]
        if absent:
            raise SummaryError(
                f"{file}: no column {some(absent)}; it has {some(header, 12)}. "
                "Check the spelling, or rename the column."
            )
    text = con.sql(
        f"select * from read_csv([{', '.join(map(_quoted, files))}], all_varchar = true, "
        "header = true, union_by_name = true)"
    )
    return text.project(
        ", ".join(
            [*(_name(key) for key in keys), *(f"{_number(n)} as {_name(n)}" for n in numeric)]
        )
    )


def _refuse_encoding(file: str) -> None:
    import codecs
    import gzip

    reader: Any = gzip.open if file.lower().endswith(".gz") else open
    with reader(file, "rb") as handle:
        start = handle.read(_SNIFFED)
    if not start.strip():
        raise SummaryError(f"{file}: the file is empty")
    try:
        codecs.getincrementaldecoder("utf-8")().decode(start)
    except UnicodeDecodeError as wrong:
        raise SummaryError(
            f"{file}: not UTF-8 (byte {wrong.start}). Save the file as 'CSV UTF-8'; Chinese "
            "spreadsheets often save GBK."
        ) from wrong


def _not_a_number(
    con: duckdb.DuckDBPyConnection, files: Sequence[str], numeric: Sequence[str]
) -> str:
    """The first cell of a CSV file that should hold a number and does not."""
    for file in files:
        for name in numeric:
            held = con.execute(
                f"with t as (select row_number() over () as row, {_name(name)} as held from "
                f"read_csv({_quoted(file)}, all_varchar = true, header = true, parallel = false)) "
                f"select row, held from t where held is not null and {_number('held', 'try_cast')} "
                "is null order by row limit 1"
            ).fetchone()
            if held:
                return (
                    f"{file}: column {name!r} must be numeric; row {held[0]} holds {held[1]!r}. "
                    "Convert it to numbers, with empty for missing."
                )
    return ""


def _number(name: str, cast: str = "cast") -> str:
    """SQL that reads text as a number, true and false as 1 and 0."""
    column = _name(name)
    return (
        f"case lower({column}) when 'true' then 1.0 when 'false' then 0.0 "
        f"else {cast}({column} as double) end"
    )


def _column(name: str) -> Any:
    import duckdb

    return duckdb.ColumnExpression(name)


def _name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
