"""The door for tables: a contract says what a table must be, ``load`` checks it all at once.

Not for repairing data: a broken rule is reported with table, column, rows and remedy.
"""

from __future__ import annotations

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
_DATE = r"^\d{4}-\d{2}-\d{2}$"


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
        """The contract as a pandera schema."""
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
            pattern = _DATE if rule.kind == "date" else rule.pattern
            if pattern is not None:
                checks.append(pa.Check.str_matches(pattern))
            columns[name] = pa.Column(
                _DTYPES[rule.kind], checks=checks, nullable=not rule.required, coerce=True
            )
        return pa.DataFrameSchema(columns, name=self.table, strict=self.strict)

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

    frame = read(Path(table), contract) if isinstance(table, (str, Path)) else table
    failures = _failures_of_header(frame, contract)
    schema = contract.schema()
    known = [name for name in contract.columns if name in frame.columns]
    checked = frame
    try:
        checked = schema.select_columns(known).validate(
            frame[known].reset_index(drop=True), lazy=True
        )
    except errors.SchemaErrors as broken:
        failures += _failures_of_cells(broken.failure_cases, contract)
    if all(name in frame.columns for name in contract.key):
        failures += _failures_of_key(frame, contract)
    if failures:
        raise ContractError(contract.table, failures)
    checked.attrs.update(frame.attrs)
    return checked


def read(path: Path, contract: Contract) -> pd.DataFrame:
    """Read a CSV or Parquet file as the contract's kinds, without checking it."""
    import pandas as pd

    if not path.exists():
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
    import io

    # A byte-order mark would become part of the first column's name.
    return pd.read_csv(
        io.StringIO(text.removeprefix("\ufeff")), dtype="string", keep_default_na=False,
        na_values=[""],
    )  # fmt: skip


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
        rule = contract.columns[str(column)]
        rows = [int(row) + 1 for row in group["index"].dropna()]
        first = group["failure_case"].iloc[0]
        where = f"row {rows[0]} holds {first}" if rows else f"found {first}"
        if len(rows) > 1:
            where += f" (rows {some(rows)})"
        remedy = contract.remedies.get(str(column)) or (
            "Correct the values, or leave the cells empty."
        )
        failures.append(f"{column}: {_broken(str(check), rule)}; {where}. {remedy}")
    return failures


def _broken(check: str, rule: Column) -> str:
    if check.startswith("coerce_dtype") or check.startswith("dtype"):
        return f"must be {rule.kind}"
    if check == "not_nullable":
        return "must not be empty"
    if check.startswith("greater_than"):
        return f"must be at least {rule.low:g}"
    if check.startswith("less_than"):
        return f"must be at most {rule.high:g}"
    if check.startswith("isin"):
        return f"must be one of {some(rule.options or ())}"
    if check == "finite":
        return "must be finite"
    if check.startswith("str_matches"):
        shape = "a date YYYY-MM-DD" if rule.kind == "date" else f"text like {rule.pattern}"
        return f"must be {shape}"
    return f"breaks {check}"
