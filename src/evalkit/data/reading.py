"""How the cells of a file become the kinds that a contract names; no rule is checked here."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from evalkit.core.errors import ContractError, some

if TYPE_CHECKING:
    import pandas as pd

Kind: TypeAlias = Literal["text", "integer", "number", "date", "boolean"]

_DATE = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
EXACT = 2.0**53  # whole numbers up to here are held to the last digit
KINDS: dict[Kind, str] = {
    "text": "must be text",
    "integer": "must be integer",
    "number": "must be a number",
    "date": "must be a date YYYY-MM-DD",
    "boolean": "must be true or false",
}


def read(path: Path, table: str) -> pd.DataFrame:
    """Read a CSV (as text) or a Parquet file, without checking it."""
    import pandas as pd

    if not path.is_file():
        raise ContractError(table, [f"{path.name}: no such file. Check the path."])
    if path.suffix == ".parquet":
        try:
            return pd.read_parquet(path)
        except ImportError as wrong:
            raise ContractError(
                table, [f"{path.name}: reading Parquet needs evalkit[engines]; or save it as CSV."]
            ) from wrong
        except (OSError, ValueError) as wrong:  # pyarrow's errors are values' errors
            raise ContractError(
                table, [f"{path.name}: not a whole Parquet file. Write or copy it again."]
            ) from wrong
    try:
        text = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as wrong:
        raise ContractError(
            table,
            [
                f"{path.name}: not UTF-8 (byte {wrong.start}). "
                "Save the file as 'CSV UTF-8'; Chinese spreadsheets often save GBK."
            ],
        ) from wrong
    # A byte-order mark would become part of the first column's name.
    text = text.removeprefix("\ufeff")
    try:
        header = pd.read_csv(io.StringIO(text), header=None, nrows=1, dtype="string").iloc[0]
        frame = pd.read_csv(
            io.StringIO(text), dtype="string", keep_default_na=False, na_values=[""]
        )
    except (pd.errors.EmptyDataError, pd.errors.ParserError) as wrong:
        reason = str(wrong).strip().splitlines()[-1]
        raise ContractError(
            table, [f"{path.name}: not a table ({reason}). Save it as CSV once more."]
        ) from wrong
    repeated = header[header.duplicated()].tolist()
    if repeated:
        raise ContractError(
            table, [f"{some(repeated)}: the column stands twice. Remove one of them."]
        )
    return frame


def as_kind(column: pd.Series[Any], kind: Kind) -> tuple[pd.Series[Any], Sequence[int]]:
    """The column as its kind, and the positions of the cells that cannot be."""
    import numpy as np
    import pandas as pd

    empty = column.isna()
    if kind == "text":
        return column.astype("string"), []
    if kind == "boolean":
        words = {"true": True, "false": False, "1": True, "0": False, "1.0": True, "0.0": False}
        made = column.astype("string").str.lower().map(words).astype("boolean")
        return made, np.flatnonzero(made.isna() & ~empty).tolist()
    if kind == "date":
        text = column.astype("string")
        parsed = pd.to_datetime(text, format="%Y-%m-%d", errors="coerce", exact=True)
        shaped = text.str.fullmatch(_DATE).fillna(False).astype(bool)
        return text, np.flatnonzero((parsed.isna() | ~shaped) & ~empty).tolist()
    if column.dtype.kind in "mMc":  # times and complex numbers, which would pass for numbers
        return column, np.flatnonzero(~empty).tolist()
    number = pd.to_numeric(column, errors="coerce").astype("Float64")
    wrong = number.isna() & ~empty
    if kind == "integer":
        wrong |= ((number % 1 != 0) | ~(number.abs() < EXACT)).fillna(False).astype(bool)
        wrong = wrong.astype(bool)
        return (number if wrong.any() else number.astype("Int64")), np.flatnonzero(wrong).tolist()
    return number.astype("float64"), np.flatnonzero(wrong).tolist()
