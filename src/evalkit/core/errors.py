"""What can go wrong, said once and clearly.

    EvalkitError
    ├── ContractError         a table breaks its contract (all failures at once)
    ├── PanelError            a frame cannot become a panel
    ├── SummaryError          records cannot become sums, or sums do not allow what is asked
    ├── OptionError           an option is outside its closed set
    ├── IdentificationError   the data cannot answer the question asked
    ├── CombinationError      two estimates, or two sets of sums, cannot be put together
    ├── SourceError           a data package is absent, or its table has changed
    └── AgreementError        a number is not the one that somebody else printed

Every message says what was found, where, what was expected and what to do.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence


class EvalkitError(Exception):
    """Base of every error that evalkit raises on purpose."""


class ContractError(EvalkitError, ValueError):
    """A table breaks its contract. ``failures`` holds one line per broken rule."""

    def __init__(self, table: str, failures: Sequence[str]) -> None:
        self.table = table
        self.failures = tuple(failures)
        count = len(self.failures)
        rules = "rule is" if count == 1 else "rules are"
        super().__init__(
            f"table '{table}': {count} {rules} broken\n"
            + "\n".join(f"  - {failure}" for failure in self.failures)
        )


class PanelError(EvalkitError, ValueError):
    """A frame cannot become a panel."""


class SummaryError(EvalkitError, ValueError):
    """Records cannot become sums, or sums do not allow what is asked of them."""


class OptionError(EvalkitError, ValueError):
    """An option is outside its closed set."""


class IdentificationError(EvalkitError, ValueError):
    """The data cannot answer the question asked."""


class CombinationError(EvalkitError, ValueError):
    """Two estimates, or two sets of sums, cannot be put together."""


class SourceError(EvalkitError, RuntimeError):
    """A data package is absent, or the table it carries has changed."""


class AgreementError(EvalkitError, ValueError):
    """A number is not the one that somebody else printed."""


class DoubtWarning(UserWarning):
    """A result was computed that the reader has a reason to doubt."""


def check_option(name: str, value: object, allowed: Iterable[object]) -> None:
    """Raise ``OptionError`` unless ``value`` is one of ``allowed``."""
    choices = tuple(allowed)
    if value not in choices:
        listed = ", ".join(repr(choice) for choice in choices)
        raise OptionError(f"{name}={value!r} is not an option; choose one of {listed}")


def some(values: Iterable[object], most: int = 5) -> str:
    """List the first few values for an error message."""
    listed = [str(value) for value in values]
    tail = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + tail
