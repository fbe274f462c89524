"""A folder of the county study: its manifest, its tables, every rule they break, an empty one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from evalkit.core.errors import ContractError, EvalkitError, some
from evalkit.core.provenance import Provenance
from evalkit.data.contract import examine
from evalkit.data.county import OPTIONAL, TABLES, links

if TYPE_CHECKING:
    import pandas as pd

MANIFEST = "study.json"
TIERS: tuple[Provenance, ...] = ("real", "restricted", "synthetic")
FLOOR = 10  # pupils, unless the manifest asks for more
LEAST_FLOOR = 5  # pupils; below it a published mean comes close to a pupil
NEVER_EMPTY = ("county", "county_year", "school", "school_year")
MADE = r"S\d{3}.*"  # codes that only the simulator gives


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a folder says of itself: evidence tier, title, least records behind a published cell."""

    provenance: Provenance
    title: str
    floor: int = FLOOR

    def write(self, folder: Path) -> None:
        content = {"provenance": self.provenance, "title": self.title, "floor": self.floor}
        text = json.dumps(content, ensure_ascii=False, indent=1)
        (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")


def manifest(folder: Path | str) -> Manifest:
    """Read the manifest of a folder.

    Raises
    ------
    ContractError
        If there is none, or one of its entries is not what it must be.
    """
    path = Path(folder) / MANIFEST
    if not path.is_file():
        raise ContractError(
            MANIFEST, [f"no such file in {path.parent.name}. `evalkit template` writes one."]
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        tier, title = content["provenance"], str(content["title"])
        floor = content.get("floor", FLOOR)
    except (ValueError, KeyError, TypeError, AttributeError) as wrong:
        raise ContractError(
            MANIFEST, ["must be a JSON object with provenance, title and floor. Write it anew."]
        ) from wrong
    broken = []
    if tier not in TIERS:
        broken.append(f"provenance: must be one of {some(TIERS)}; holds {tier}. Correct it.")
    if isinstance(floor, bool) or not isinstance(floor, int) or floor < LEAST_FLOOR:
        broken.append(f"floor: must be a whole number of at least {LEAST_FLOOR}; holds {floor}.")
    if broken:
        raise ContractError(MANIFEST, broken)
    return Manifest(tier, title, floor)


def file_of(folder: Path, table: str) -> Path | None:
    """The CSV or Parquet file that holds a table, or None; two of them are refused."""
    found = [path for path in (folder / f"{table}.csv", folder / f"{table}.parquet") if
             path.is_file()]  # fmt: skip
    if len(found) > 1:
        raise ContractError(
            table, [f"{found[0].name} and {found[1].name} both stand there. Remove one of them."]
        )
    return found[0] if found else None


def check(folder: Path | str) -> dict[str, list[str]]:
    """Hold a folder to the contract of the county study.

    Parameters
    ----------
    folder : path
        With ``study.json`` and one CSV or Parquet file per table. The optional tables may be
        absent, but not both ``pupil_test`` and ``school_cohort``.

    Returns
    -------
    dict of str to list of str
        By table every broken rule, with column, rows (the first data row is row 1) and remedy;
        empty if there is none.

    Examples
    --------
    >>> import tempfile
    >>> list(check(tempfile.mkdtemp()))[:3]
    ['study.json', 'county', 'county_year']
    """
    folder = Path(folder)
    if not folder.is_dir():
        return {MANIFEST: [f"there is no folder {folder}. Check the path."]}
    broken: dict[str, list[str]] = {}
    try:
        tier = manifest(folder).provenance
    except ContractError as wrong:
        tier = None
        broken[MANIFEST] = list(wrong.failures)
    sound: dict[str, pd.DataFrame] = {}
    for table, contract in TABLES.items():
        try:
            path = file_of(folder, table)
            if path is not None:
                sound[table], failures = examine(path, contract)
                if sound[table].empty and table in (*NEVER_EMPTY, *OPTIONAL):
                    del sound[table]
                    failures += ["the table has no rows. Fill it in."] * (table in NEVER_EMPTY)
            else:
                failures = [] if table in OPTIONAL else [f"no {table}.csv or .parquet. Add it."]
        except ContractError as wrong:
            failures = list(wrong.failures)
        broken[table] = failures
    if not {"pupil_test", "school_cohort"} & set(sound):
        broken["school_cohort"].append("neither it nor pupil_test has rows. Fill in one of them.")
    for table, line in links.failures(sound):
        broken[table].append(line)
    broken["county"] += _of_codes(sound, tier)
    named = {f"{table}{end}" for table in TABLES for end in (".csv", ".parquet")}
    unknown = sorted(
        path.name
        for path in folder.iterdir()
        if path.suffix.lower() in (".csv", ".parquet", ".xls", ".xlsx") and path.name not in named
        and not path.name.startswith(("truth", ".", "~$"))
    )  # fmt: skip
    if unknown:
        broken["other files"] = [
            f"{some(unknown)}: no table of the study, and not read. Correct the name, or save it "
            "as CSV UTF-8."
        ]
    return {table: lines for table, lines in broken.items() if lines}


def _of_codes(sound: Mapping[str, pd.DataFrame], tier: Provenance | None) -> list[str]:
    """Real codes may not carry simulated outcomes, nor made codes pass for real ones."""
    if tier is None or "county_code" not in sound.get("county", ()):
        return []
    codes = sound["county"]["county_code"].dropna()
    made = codes.str.fullmatch(MADE)
    if tier == "synthetic" and not made.all():
        return [
            f"county_code: real codes ({some(codes[~made])}) in a folder whose study.json says "
            "synthetic. Simulated outcomes carry codes S001 and on."
        ]
    if tier != "synthetic" and made.any():
        return [
            f"county_code: codes of the simulator ({some(codes[made])}) in a folder whose "
            f"study.json says {tier}. Say synthetic, or use the real codes."
        ]
    return []


def template(folder: Path | str) -> list[Path]:
    """Write an empty folder: a manifest, a CSV with the header of each table, and a README.

    Parameters
    ----------
    folder : path
        Made if absent; nothing in it is overwritten.

    Returns
    -------
    list of Path
        The files written.

    Examples
    --------
    >>> import tempfile
    >>> len(template(tempfile.mkdtemp()))
    13
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    named = {MANIFEST, "README.md", *(f"{table}.csv" for table in TABLES)}
    there = sorted(path.name for path in folder.iterdir() if path.name in named)
    if there:
        raise EvalkitError(f"{some(there)} already in {folder.name}; name an empty folder.")
    Manifest("restricted", "Name the places and years of your records").write(folder)
    for table, contract in TABLES.items():
        header = ",".join(contract.numbered([]).columns)
        (folder / f"{table}.csv").write_text(header + "\n", encoding="utf-8")
    (folder / "README.md").write_text(readme(), encoding="utf-8")
    return [folder / name for name in sorted(named)]


def readme() -> str:
    """The columns of every table, in English and Chinese, as Markdown."""
    parts = [
        "# Tables of a county study · 县域研究数据表\n",
        "CSV in UTF-8 with one header, or Parquet. Dates are YYYY-MM-DD, a missing value is an "
        "empty cell. Tables marked optional may be deleted, but not both pupil_test and "
        "school_cohort. Then run `evalkit check` on the folder.\n",
        "文件为 UTF-8 编码的 CSV（一行表头）或 Parquet；日期写作 YYYY-MM-DD；缺失值留空。\n",
        f"`{MANIFEST}` says where the records come from (`provenance`: {', '.join(TIERS)}) and how "
        "many records stand at least behind a published cell (`floor`).\n",
    ]
    for table, contract in TABLES.items():
        optional = " (optional · 可选)" if table in OPTIONAL else ""
        parts.append(f"## {table} · {contract.zh}{optional}\n\n{contract.label}.\n")
        rows = contract.codebook().to_dict("records")
        head = [str(name) for name in rows[0] if name != "table"]
        cells = [[str(row[name]).replace("|", "\\|") for name in head] for row in rows]
        lines = [" | ".join(line) for line in (head, ["---"] * len(head), *cells)]
        parts.append("\n".join(f"| {line} |" for line in lines) + "\n")
    return "\n".join(parts)
