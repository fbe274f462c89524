"""The door for tables: a contract says what a table must be, ``load`` checks it all at once.

Not for repairing data: a broken rule is reported with table, column, rows and remedy.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from evalkit.core.errors import ContractError, some

if TYPE_CHECKING:
    import pandas as pd
    import pandera.pandas as pa

Kind: TypeAlias = Literal["text", "integer", "number", "date", "boolean"]

_DTYPES: dict[Kind, str] = {
    "text": "string",
    "integer": "Int64",
    "number": "float64",
    "date": "string",
    "boolean": "boolean",
}
_DATE = r"\d{4}-\d{2}-\d{2}"
_KINDS: dict[Kind, str] = {
    "text": "must be text",
    "integer": "must be integer",
    "number": "must be a number",
    "date": "must be a date YYYY-MM-DD",
    "boolean": "must be true or false",
}


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a contract.

    Parameters
    ----------
    kind : {"text", "integer", "number", "date", "boolean"}
        Dates are ISO text, ``YYYY-MM-DD``.
    label, zh : str
        What the column holds, in English and Chinese.
    unit : str
        Unit of a number.
    required : bool
        False if cells may be empty.
    low, high : float, optional
        Closed range.
    options : sequence of str, optional
        Closed set of values.
    pattern : str, optional
        Regular expression that the whole text must match.
    """

    kind: Kind
    label: str
    zh: str = ""
    unit: str = ""
    required: bool = True
    low: float | None = None
    high: float | None = None
    options: Sequence[str] | None = None
    pattern: str | None = None


@dataclass(frozen=True, slots=True)
class Contract:
    """What a table must be: its name, key, columns and whether others may stand beside them."""

    table: str
    label: str
    key: Sequence[str]
    columns: Mapping[str, Column]
    zh: str = ""
    strict: bool = True
    remedies: Mapping[str, str] = field(default_factory=dict)

    def schema(self) -> pa.DataFrameSchema:
        """The contract's rules on cells as a pandera schema, for columns already of their kind."""
        import pandera.pandas as pa

        columns: dict[Any, pa.Column] = {}
        for name, rule in self.columns.items():
            checks = []
            if rule.low is not None:
                checks.append(pa.Check.ge(rule.low))
            if rule.high is not None:
                checks.append(pa.Check.le(rule.high))
            if rule.options is not None:
                checks.append(pa.Check.isin(list(rule.options)))
            if rule.kind == "number":
                checks.append(pa.Check(_finite, name="finite", error="finite"))
            if rule.pattern is not None:
                checks.append(pa.Check.str_matches(rf"(?:{rule.pattern})\Z"))
            columns[name] = pa.Column(_DTYPES[rule.kind], checks=checks, nullable=not rule.required)
        return pa.DataFrameSchema(columns, name=self.table)

    def codebook(self) -> pd.DataFrame:
        """One row per column: what it holds, its kind, unit, range and missing rule."""
        import pandas as pd

        return pd.DataFrame(
            [
                {
                    "table": self.table,
                    "column": name,
                    "holds": rule.label,
                    "中文": rule.zh,
                    "kind": rule.kind,
                    "unit": rule.unit,
                    "allowed": _allowed(rule),
                    "may be empty": "no" if rule.required else "yes",
                    "key": "key" if name in self.key else "",
                }
                for name, rule in self.columns.items()
            ]
        )


def load(table: Path | str | pd.DataFrame, contract: Contract) -> pd.DataFrame:
    """Read a table and hold it to its contract.

    Parameters
    ----------
    table : path or pandas.DataFrame
        A CSV (UTF-8, one header) or Parquet file, or a frame, which is not changed.
    contract : Contract

    Returns
    -------
    pandas.DataFrame
        With the contract's columns and dtypes.

    Raises
    ------
    ContractError
        Listing every broken rule with column, rows (the first data row is row 1) and remedy.

    Examples
    --------
    >>> import pandas as pd
    >>> towns = Contract("town", "Towns", ["code"], {
    ...     "code": Column("text", "town code"), "pupils": Column("integer", "pupils", low=0)})
    >>> load(pd.DataFrame({"code": ["a", "b"], "pupils": [10, 20]}), towns).shape
    (2, 2)
    >>> load(pd.DataFrame({"code": ["a", "a"], "pupils": [10, -5]}), towns)
    Traceback (most recent call last):
    evalkit.core.errors.ContractError: table 'town': 2 rules are broken
      - pupils: must be at least 0; row 2 holds -5. Correct the values, or leave the cells empty.
      - code: the key repeats in rows 1, 2. Keep one row per code.
    """
    import pandera.errors as errors

    given = read(Path(table), contract) if isinstance(table, (str, Path)) else table
    failures = _failures_of_header(given, contract)
    known = [name for name in contract.columns if list(given.columns).count(name) == 1]
    frame = given[known].reset_index(drop=True)
    sound = []
    for name in known:
        frame[name], wrong = _as_kind(frame[name], contract.columns[name].kind)
        if len(wrong):
            held = given[name].iloc[wrong[0]]
            failures.append(
                _failure(contract, name, _KINDS[contract.columns[name].kind], wrong, held)
            )
        else:
            sound.append(name)
    try:
        contract.schema().select_columns(sound).validate(frame[sound], lazy=True)
    except errors.SchemaErrors as broken:
        failures += _failures_of_cells(broken.failure_cases, contract)
    if set(contract.key) <= set(known):
        failures += _failures_of_key(frame, contract)
    if failures:
        raise ContractError(contract.table, failures)
    frame.attrs.update(given.attrs)
    return frame


def _as_kind(column: pd.Series[Any], kind: Kind) -> tuple[pd.Series[Any], Sequence[int]]:
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
    number = pd.to_numeric(column, errors="coerce").astype("Float64")
    wrong = number.isna() & ~empty
    if kind == "integer":
        wrong |= (number % 1 != 0).fillna(False).astype(bool)
        wrong = wrong.astype(bool)
        return (number if wrong.any() else number.astype("Int64")), np.flatnonzero(wrong).tolist()
    return number.astype("float64"), np.flatnonzero(wrong).tolist()


def read(path: Path, contract: Contract) -> pd.DataFrame:
    """Read a CSV or Parquet file as the contract's kinds, without checking it."""
    import pandas as pd

    if not path.is_file():
        raise ContractError(contract.table, [f"{path.name}: no such file. Check the path."])
    if path.suffix == ".parquet":
        return pd.read_parquet(path)
    try:
        text = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as wrong:
        raise ContractError(
            contract.table,
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
            contract.table, [f"{path.name}: not a table ({reason}). Save it as CSV once more."]
        ) from wrong
    repeated = header[header.duplicated()].tolist()
    if repeated:
        raise ContractError(
            contract.table, [f"{some(repeated)}: the column stands twice. Remove one of them."]
        )
    return frame


def _finite(values: Any) -> Any:
    import numpy as np

    return ~np.isinf(values)


def _allowed(rule: Column) -> str:
    if rule.options is not None:
        return ", ".join(rule.options)
    if rule.low is None and rule.high is None:
        return ""
    low = "" if rule.low is None else f"{rule.low:g}"
    high = "" if rule.high is None else f"{rule.high:g}"
    return f"{low} to {high}" if low and high else f"at least {low}" if low else f"at most {high}"


def _failures_of_header(frame: pd.DataFrame, contract: Contract) -> list[str]:
    absent = [name for name in contract.columns if name not in frame.columns]
    extra = [name for name in frame.columns if name not in contract.columns]
    failures = [f"{name}: the column is missing. Add it to the header." for name in absent]
    if contract.strict:
        failures += [
            f"{name}: no such column in the contract. Remove it, or correct its name."
            for name in extra
        ]
    return failures


def _failures_of_key(frame: pd.DataFrame, contract: Contract) -> list[str]:
    repeated = frame.reset_index(drop=True).duplicated(list(contract.key), keep=False)
    if not repeated.any():
        return []
    rows = [int(row) + 1 for row in repeated[repeated].index]
    key = " + ".join(contract.key)
    return [f"{key}: the key repeats in rows {some(rows)}. Keep one row per {key}."]


def _failures_of_cells(cases: pd.DataFrame, contract: Contract) -> list[str]:
    failures = []
    for (column, check), group in cases.groupby(["column", "check"], sort=False, dropna=False):
        rows = [int(row) for row in group["index"].dropna()]
        name = str(column)
        held = group["failure_case"].iloc[0]
        broken = _broken(str(check), contract.columns[name])
        failures.append(_failure(contract, name, broken, rows, held))
    return failures


def _failure(
    contract: Contract, column: str, broken: str, rows: Sequence[int], held: object
) -> str:
    """One line: column, rule, first row with what it holds, the other rows, remedy."""
    more = f" (rows {some(row + 1 for row in rows)})" if len(rows) > 1 else ""
    remedy = contract.remedies.get(column, "Correct the values, or leave the cells empty.")
    return f"{column}: {broken}; row {rows[0] + 1} holds {held}{more}. {remedy}"


def _broken(check: str, rule: Column) -> str:
    if check == "not_nullable":
        return "must not be empty"
    if check.startswith("greater_than"):
        return f"must be at least {rule.low:g}"
    if check.startswith("less_than"):
        return f"must be at most {rule.high:g}"
    if check.startswith("isin"):
        return f"must be one of {some(rule.options or (), 12)}"
    if check == "finite":
        return "must be finite"
    return f"must be text like {rule.pattern}"
