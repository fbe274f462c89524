"""What an option must be before it is used: a whole number, a number in a range, a seed, an
estimate. Closed sets of options are checked by ``errors.check_option``."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real
from typing import TYPE_CHECKING

import numpy as np

from evalkit.core.errors import OptionError, some

if TYPE_CHECKING:
    from evalkit.core.estimate import Estimate


def check_whole(name: str, value: object, least: int, remedy: str = "") -> None:
    """Raise ``OptionError`` unless ``value`` is a whole number, at least ``least``."""
    tail = f"; {remedy}" if remedy else ""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise OptionError(f"{name}={value!r} must be a whole number{tail}")
    if value < least:
        raise OptionError(f"{name}={value} must be at least {least}{tail}")


def check_real(
    name: str, value: object, low: float = -np.inf, high: float = np.inf, remedy: str = ""
) -> None:
    """Raise ``OptionError`` unless ``value`` is a finite number between ``low`` and ``high``."""
    tail = f"; {remedy}" if remedy else ""
    if not is_number(value):
        raise OptionError(f"{name}={value!r} must be a number{tail}")
    if not low < value < high:  # type: ignore[operator]
        where = "be finite" if np.isinf(low) else f"lie between {low:g} and {high:g}"
        where = "be positive and finite" if low == 0 and np.isinf(high) else where
        raise OptionError(f"{name}={value} must {where}{tail}")


def check_names(**columns: object) -> None:
    """Raise ``OptionError`` unless every option is None or the name of a column."""
    for option, name in columns.items():
        if name is not None and not isinstance(name, str):
            raise OptionError(f"{option}={name!r} is no column name; name columns by text")


def check_level(level: object) -> None:
    """Raise ``OptionError`` unless ``level`` is a share of intervals that cover."""
    check_real("level", level, 0, 1, "for example 0.95")


def check_draws(draws: object, least: int = 2, remedy: str = "") -> None:
    """Raise ``OptionError`` unless ``draws`` is a whole number of them."""
    check_whole("draws", draws, least, remedy or "9999 give a p-value to three digits")


def check_seed(seed: object) -> None:
    """Raise ``OptionError`` unless ``seed`` is a whole number from zero on."""
    check_whole("seed", seed, 0, "the same seed gives the same numbers")


def check_estimate(value: object, who: str = "estimate") -> Estimate:
    """Return ``value``; raise ``OptionError`` unless it is an estimate."""
    from evalkit.core.estimate import Estimate

    if not isinstance(value, Estimate):
        raise OptionError(
            f"{who} is {type(value).__name__}; give an Estimate, which the functions of "
            "evalkit.did, evalkit.gaps and evalkit.aggregate return"
        )
    return value


def check_panel(value: object) -> None:
    """Raise ``OptionError`` unless ``value`` is a panel."""
    from evalkit.core.panel import Panel

    if not isinstance(value, Panel):
        raise OptionError(
            f"panel is {type(value).__name__}; build it with evalkit.Panel.from_frame(...)"
        )


def is_number(value: object) -> bool:
    """True for a number that is not a truth value."""
    return isinstance(value, Real) and not isinstance(value, bool)


def refuse_text_or_repeats(option: str, names: Sequence[str]) -> None:
    """Refuse one text where a sequence of names is meant, and a name that stands twice."""
    if isinstance(names, str) or not np.iterable(names):
        raise OptionError(f"{option} takes a sequence of names: {option}=[{names!r}]")
    listed = list(names)
    wrong = [name for name in listed if not isinstance(name, str)]
    if wrong:
        raise OptionError(f"{option}: {wrong[0]!r} is no column name; name columns by text")
    repeated = [name for name in dict.fromkeys(listed) if listed.count(name) > 1]
    if repeated:
        raise OptionError(f"{option} names {some(repeated)} twice")
