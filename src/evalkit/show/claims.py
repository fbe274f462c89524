"""Claims: the numbers that prose may use, each with its precision, error, unit and origin."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from evalkit.core.errors import OptionError
from evalkit.core.estimate import Estimate
from evalkit.core.provenance import Provenance, combine
from evalkit.inference.infer import Inference, infer
from evalkit.show import register

TOLERANCE = (
    1e-8  # relative; the claims are deterministic, so only rounding of the last digits moves
)


@dataclass(frozen=True, slots=True)
class Claim:
    """One number that prose may use."""

    key: str
    value: float
    display: str
    unit: str
    digits: int
    provenance: Provenance
    data: Mapping[str, str]
    tolerance: float
    se: float | None = None
    se_display: str | None = None
    low: float | None = None
    high: float | None = None
    interval_display: str | None = None

    def __repr__(self) -> str:
        interval = self.interval_display or "interval withheld"
        error = f" (SE {self.se_display}; {interval})" if self.se is not None else ""
        return f"{self.key} = {self.display} {self.unit}{error} [{self.provenance}]"


def number(value: float, digits: int) -> str:
    """A number as prose prints it: fixed decimals, thousands set apart, a true minus sign.

    Examples
    --------
    >>> from evalkit.show.claims import number
    >>> number(-0.0012, 2), number(-1234.5, 1)
    ('0.00', '−1,234.5')
    """
    text = f"{value:,.{digits}f}"
    if not text.strip("-0.,"):
        text = text.lstrip("-")
    return text.replace("-", "−")


def claim(
    key: str,
    value: float | Estimate | Inference,
    *,
    unit: str,
    digits: int = 2,
    provenance: Provenance | None = None,
    tolerance: float = TOLERANCE,
    records: int | None = None,
) -> Claim:
    """Register a number under a key, for the role ``{claim}`` to print.

    Parameters
    ----------
    key : str
        Name of the claim, unique in the book.
    value : float, Estimate or Inference
        An estimate or inference must have one coordinate; its standard error and interval are
        registered with it, unless the interval is withheld for too few clusters.
    unit : str
        Unit as prose says it, for example ``"percentage points"``.
    digits : int
        Decimals shown.
    provenance : {"real", "documented", "restricted", "synthetic"}, optional
        Default: that of the estimate, or of the chapter. It is combined with the chapter's.
    tolerance : float
        Relative tolerance of the golden comparison.
    records : int, optional
        Records behind the number. Needed for a plain number from restricted data.

    Returns
    -------
    Claim
    """
    book = register.current()
    if not key.isidentifier() or not key.isascii():
        raise OptionError(f"claim key {key!r} must be letters, digits and underscores")
    tier = provenance or book.provenance
    error: dict[str, Any] = {}
    if isinstance(value, Estimate):
        value = infer(value)
    if isinstance(value, Inference):
        records = value.meta.n_obs if records is None else records
        if len(value.estimate) != 1:
            raise OptionError(f"claim {key!r} needs one coordinate, got {len(value.estimate)}")
        tier = combine(tier, value.provenance)
        low, high = float(value.conf_low[0]), float(value.conf_high[0])
        error = {
            "se": float(value.std_error[0]),
            "se_display": number(float(value.std_error[0]), digits),
        }
        if value.withheld is None or not value.withheld[0]:
            shown = f"{number(low, digits)} to {number(high, digits)}"
            error |= {"low": low, "high": high, "interval_display": shown}
        value = float(value.estimate[0])
    book.enough(f"claim {key!r}", records)
    if not math.isfinite(value):
        raise OptionError(f"claim {key!r} is {value}; a claim is a finite number")
    made = Claim(
        key=key,
        value=float(value),
        display=number(float(value), digits),
        unit=unit,
        digits=digits,
        provenance=combine(tier, book.provenance),
        data=dict(book.data),
        tolerance=tolerance,
        **error,
    )
    entry = asdict(made)
    del entry["key"]
    book.add("claim", key, entry)
    return made
