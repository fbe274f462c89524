"""The study that a chapter reads: the committed simulated one, or a folder that is named."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from evalkit.core.errors import OptionError, some
from evalkit.core.provenance import Provenance
from evalkit.data.contract import load
from evalkit.data.county import TABLES
from evalkit.data.county.folder import Manifest, file_of, manifest

if TYPE_CHECKING:
    import pandas as pd

VARIABLE = "EVALKIT_DATA"
COMMITTED = "data/synthetic"
AUTUMN = "07"  # a start from July on meets the tests of the next year first


@dataclass(frozen=True, slots=True)
class CountyStudy:
    """A folder of tables under the contract of the county study, with what it says of itself."""

    folder: Path
    manifest: Manifest

    @property
    def provenance(self) -> Provenance:
        """Evidence tier of everything that is computed from the folder."""
        return self.manifest.provenance

    @property
    def floor(self) -> int:
        """Least number of records behind a number that leaves the folder."""
        return self.manifest.floor

    @property
    def simulated(self) -> bool:
        """True if the truth is known, and stands beside the data."""
        return self.provenance == "synthetic"

    @property
    def tables(self) -> tuple[str, ...]:
        """Tables of the contract that the folder holds."""
        return tuple(table for table in TABLES if file_of(self.folder, table))

    @property
    def digests(self) -> dict[str, str]:
        """sha256 of each table's file, for the register of a chapter."""
        out = {}
        for table in self.tables:
            with self.file(table).open("rb") as file:
                out[Path(file.name).name] = hashlib.file_digest(file, "sha256").hexdigest()
        return out

    def file(self, name: str) -> Path:
        """The file of a table."""
        path = file_of(self.folder, name) if name in TABLES else None
        if path is None:
            raise OptionError(f"the study has no table {name!r}; it has {some(self.tables, 11)}")
        return path

    def table(self, name: str) -> pd.DataFrame:
        """A table, held to its contract; the study's provenance is in ``attrs``."""
        frame = load(self.file(name), TABLES[name])
        frame.attrs["provenance"] = self.provenance
        return frame

    def truth(self, name: str = "truth") -> pd.DataFrame:
        """What the simulator knows: ``truth``, ``truth_county``, ``truth_event`` or
        ``truth_assumptions``."""
        import pandas as pd

        path = file_of(self.folder, name)
        if not self.simulated or not name.startswith("truth") or path is None:
            raise OptionError(f"no {name!r} here: only a simulated study knows its truth")
        return pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)


def county_study(folder: Path | str | None = None) -> CountyStudy:
    """Open the county study.

    Parameters
    ----------
    folder : path, optional
        Default: the folder that the variable ``EVALKIT_DATA`` names, which ``make book DATA=...``
        sets; else the committed simulated study, ``data/synthetic`` of the checkout.

    Returns
    -------
    CountyStudy
        Its tables are read, and held to their contracts, one by one as they are asked for.

    Examples
    --------
    >>> import tempfile, evalkit as ek
    >>> from evalkit.data.simulate import Assumptions, write
    >>> folder = tempfile.mkdtemp()
    >>> files = write(folder, Assumptions(counties=2, schools=10))
    >>> study = ek.county_study(folder)
    >>> study.provenance, study.floor, len(study.table("school"))
    ('synthetic', 10, 20)
    """
    named = folder or os.environ.get(VARIABLE)
    here = Path.cwd()
    committed = (here.parent if here.name == "notebooks" else here) / COMMITTED
    chosen = Path(named) if named else committed
    if not named and not committed.is_dir():
        raise OptionError(
            f"no county study in {here.name}: give a folder, name one in the variable {VARIABLE}, "
            "or work in a checkout, which has a simulated study"
        )
    return CountyStudy(chosen, manifest(chosen))


def first_test_year(dates: pd.Series[str]) -> pd.Series[int]:
    """First test year under a measure that started on an ISO date; tests are taken in summer.

    Parameters
    ----------
    dates : pandas.Series of str
        Empty stays empty.

    Examples
    --------
    >>> import pandas as pd
    >>> first_test_year(pd.Series(["2019-09-01", "2020-03-01", None])).tolist()
    [2020, 2020, <NA>]
    """
    import pandas as pd

    text = dates.astype("string")
    year = pd.to_numeric(text.str[:4]).astype("Int64")
    return year + (text.str[5:7] >= AUTUMN).astype("Int64")
