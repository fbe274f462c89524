"""The door for tables: a contract says what a table must be, ``load`` checks it all at once.

Not for repairing data: a broken rule is reported with table, column, rows and remedy.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalkit.core.errors import ContractError, some
from evalkit.data.reading import KINDS, Kind, as_kind, read

if TYPE_CHECKING:
    import pandas as pd
    import pandera.pandas as pa

_DTYPES: dict[Kind, str] = {
    "text": "string",
    "integer": "Int64",
    "number": "float64",
    "date": "string",
    "boolean": "boolean",
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
class Rule:
    """What must hold within each row between columns.

    Parameters
    ----------
    columns : sequence of str
        The columns it reads; the rule is asked only if all of them are sound.
    broken : callable
        From the frame to a boolean column, true where it is broken; empty cells break nothing.
    says, remedy : str
        What must hold, and what to do.
    """

    columns: Sequence[str]
    broken: Callable[[pd.DataFrame], pd.Series[bool]]
    says: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Contract:
    """What a table must be: its name, key, columns and whether others may stand beside them.

    Parameters
    ----------
    table, label, zh : str
        Name of the table, and what it holds in English and Chinese.
    key : sequence of str
        Columns that together name a row once.
    columns : mapping of str to Column
        A name that ends in ``#`` stands for any number of columns numbered from 1.
    strict : bool
        True refuses columns that are not named.
    remedies : mapping of str to str
        What to do about a broken rule, by column.
    rules : sequence of Rule
        What must hold within a row between columns.
    links : mapping of str to str
        Column to the ``table.column`` that must hold each of its values.
    """

    table: str
    label: str
    key: Sequence[str]
    columns: Mapping[str, Column]
    zh: str = ""
    strict: bool = True
    remedies: Mapping[str, str] = field(default_factory=dict)
    rules: Sequence[Rule] = ()
    links: Mapping[str, str] = field(default_factory=dict)

    def numbered(self, header: Sequence[object]) -> Contract:
        """The contract with each column ``name#`` written out as far as the header goes."""
        columns: dict[str, Column] = {}
        for name, rule in self.columns.items():
            if not name.endswith("#"):
                columns[name] = rule
                continue
            shape = re.compile(re.escape(name[:-1]) + r"[1-9]\d*")
            found = [str(given) for given in header if shape.fullmatch(str(given))]
            columns |= dict.fromkeys(found or [f"{name[:-1]}1"], rule)
        return replace(self, columns=columns)

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
                ascii_only = rule.pattern.replace(r"\d", "[0-9]")  # no full-width digits
                checks.append(pa.Check.str_matches(rf"(?:{ascii_only})\Z"))
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
                    "refers to": self.links.get(name, ""),
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
    >>> import pandas as pd, evalkit as ek
    >>> from evalkit.data.contract import Column
    >>> towns = ek.Contract("town", "Towns", ["code"], {
    ...     "code": Column("text", "town code"), "pupils": Column("integer", "pupils", low=0)})
    >>> ek.load(pd.DataFrame({"code": ["a", "b"], "pupils": [10, 20]}), towns).shape
    (2, 2)
    >>> ek.load(pd.DataFrame({"code": ["a", "a"], "pupils": [10, -5]}), towns)
    Traceback (most recent call last):
    evalkit.core.errors.ContractError: table 'town': 2 rules are broken
      - pupils: must be at least 0; row 2 holds -5. Correct the values, or leave the cells empty.
      - code: the key repeats in rows 1, 2. Keep one row per code.
    """
    frame, failures = examine(table, contract)
    if failures:
        raise ContractError(contract.table, failures)
    return frame


def examine(table: Path | str | pd.DataFrame, contract: Contract) -> tuple[pd.DataFrame, list[str]]:
    """The columns of a table that are of their kind, and every rule of the contract it breaks.

    Examples
    --------
    >>> import pandas as pd
    >>> towns = Contract("town", "Towns", ["code"], {"code": Column("text", "town code")})
    >>> examine(pd.DataFrame({"name": ["a"]}), towns)[1][0]
    'code: the column is missing. Add it to the header.'
    """
    import pandera.errors as errors

    given = read(Path(table), contract.table) if isinstance(table, (str, Path)) else table
    if not hasattr(given, "reset_index"):
        raise ContractError(
            contract.table, [f"{type(given).__name__} is no pandas frame, nor a path. Give one."]
        )
    contract = contract.numbered(list(given.columns))
    failures = _failures_of_header(given, contract)
    known = [name for name in contract.columns if list(given.columns).count(name) == 1]
    frame = given[known].reset_index(drop=True)
    sound = []
    for name in known:
        frame[name], wrong = as_kind(frame[name], contract.columns[name].kind)
        if len(wrong):
            held = given[name].iloc[wrong[0]]
            failures.append(
                _failure(contract, name, KINDS[contract.columns[name].kind], wrong, held)
            )
        else:
            sound.append(name)
    try:
        contract.schema().select_columns(sound).validate(frame[sound], lazy=True)
    except errors.SchemaErrors as broken:
        failures += _failures_of_cells(broken.failure_cases, contract)
    if set(contract.key) <= set(known):
        failures += _failures_of_key(frame, contract)
    failures += _failures_of_rows(frame[sound], contract)
    frame.attrs.update(given.attrs)
    return (frame[sound] if failures else frame), failures


def _finite(values: Any) -> Any:
    import numpy as np

    return ~np.isinf(values)


def _allowed(rule: Column) -> str:
    if rule.options is not None:
        return ", ".join(rule.options)
    if rule.pattern is not None:
        return f"like {rule.pattern}"
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


def _failures_of_rows(frame: pd.DataFrame, contract: Contract) -> list[str]:
    failures = []
    for rule in contract.rules:
        if set(rule.columns) <= set(frame.columns) and len(frame):
            rows = rule.broken(frame).fillna(False).to_numpy(bool).nonzero()[0] + 1
            if len(rows):
                names = " + ".join(rule.columns)
                failures.append(f"{names}: {rule.says}; not so in rows {some(rows)}. {rule.remedy}")
    return failures


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
