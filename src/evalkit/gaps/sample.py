"""What every metric of this room is computed from: values with weights, in units, under labels.

Records of pupils, panels of schools and sums all become the same rows here; what is computed from
them is no concern of this module.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import numpy as np

from evalkit.core.arrays import Codes, Flags, Groups, Labels, Vector, encode, frozen
from evalkit.core.checks import refuse_text_or_repeats
from evalkit.core.errors import (
    IdentificationError,
    OptionError,
    PanelError,
    SummaryError,
    check_option,
    some,
)
from evalkit.core.estimate import Estimate
from evalkit.core.labels import Index
from evalkit.core.origin import Meta
from evalkit.core.panel import Category, Panel
from evalkit.core.provenance import Provenance
from evalkit.core.sparse import contributions
from evalkit.data.summaries import Summaries

Data: TypeAlias = Panel | Summaries
Names: TypeAlias = str | Sequence[str] | None
Undefined: TypeAlias = Literal["refuse", "nan"]
Need: TypeAlias = Literal["moments", "values", "bands"]
ROUNDING = 1e-14  # a standard deviation this small beside its mean is none
UNDEFINED = get_args(Undefined)


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """``m`` rows of values, in ``N`` units.

    Parameters
    ----------
    value : Vector (m,)
        The score of a pupil, or the mean of the pupils that the row stands for.
    within : Vector (m,)
        Sum of w (y - value)^2 inside the row; zero where the row is a single value.
    weight, weight2 : Vector (m,)
        Sums of w and of w^2.
    count : Vector (m,)
        Pupils.
    scale : Vector (m,)
        What a row's contribution is multiplied by: one, or 1/sqrt(n) where the row's n pupils are
        independent of each other, so that its square is the sum of theirs.
    unit : Codes (m,)
        Unit of each row, whose contributions stand together.
    units, cluster : Labels (N,)
        Labels of the units and of their clusters.
    columns : mapping of str to Category
        What rows can be grouped by.
    keys : tuple of str
        Columns that coordinates are made of, unless others are named.
    outcome, provenance, ledger
        As in the panel or the sums.
    """

    value: Vector
    within: Vector
    weight: Vector
    weight2: Vector
    count: Vector
    scale: Vector
    unit: Codes
    units: Labels
    cluster: Labels
    columns: Mapping[str, Category]
    keys: tuple[str, ...]
    outcome: str
    provenance: Provenance
    ledger: tuple[str, ...]

    def column(self, name: str) -> Category:
        """One column that rows can be grouped by."""
        if name not in self.columns:
            raise PanelError(
                f"there is no category {name!r} (there are {some(self.columns, 12)}); name it in "
                "Panel.from_frame(..., categories=[...]) or in the keys of summaries(...)"
            )
        return self.columns[name]

    def coordinates(self, by: Names, used: Sequence[str] = ()) -> tuple[Groups, Index]:
        """Group of each row by the columns ``by``, and the names of the groups.

        By default they are all of ``keys`` that have no other use.
        """
        names = tuple(key for key in self.keys if key not in used) if by is None else listed(by)
        twice = [name for name in names if name in used]
        if twice:
            raise OptionError(f"by names {some(twice)}, which has another use; leave it out")
        if not names:
            return Groups(np.zeros(len(self.value), np.intp), 1), Index.flat("term", ["all"])
        columns = [self.column(name) for name in names]
        codes, first = joint([column.codes for column in columns])
        keys = zip(
            *(column.labels[column.codes[first]].tolist() for column in columns), strict=True
        )
        return Groups(codes, len(first)), Index(names, tuple(keys))


def sample(data: Data, unit: Names = None, *, need: Need = "moments") -> Sample:
    """Rows of a panel or of sums, with its own units or with those that ``unit`` names.

    ``need`` says what a metric is computed from: moments, single values that can be ranked, or
    bands.
    """
    if isinstance(data, Panel):
        return _of_panel(data, listed(unit))
    if isinstance(data, Summaries):
        return _of_sums(data, listed(unit), need)
    raise OptionError(
        f"data is a {type(data).__name__}; give a Panel (Panel.from_frame) or sums (summaries)"
    )


def _of_panel(panel: Panel, unit: tuple[str, ...]) -> Sample:
    names = ("unit", "time", "cluster", *panel.categories)
    columns = {name: panel.category(name) for name in names}
    codes, units, cluster = panel.unit, panel.units, panel.cluster
    if unit:
        codes, units = _combined(columns, unit)
        above = columns["cluster"]
        cluster = units
        if Groups(codes, len(units)).within(Groups(above.codes, len(above.labels))):
            first = np.unique(codes, return_index=True)[1]
            cluster = above.labels[above.codes[first]]
    one = np.ones(len(panel.y))
    return Sample(
        value=panel.y,
        within=np.zeros(len(one)),
        weight=panel.weight,
        weight2=panel.weight**2,
        count=one,
        scale=one,
        unit=codes,
        units=frozen(units),
        cluster=cluster,
        columns=columns,
        keys=("time",),
        outcome=panel.outcome,
        provenance=panel.provenance,
        ledger=panel.ledger,
    )


def _of_sums(sums: Summaries, unit: tuple[str, ...], need: Need) -> Sample:
    at = len(sums.names) - 1
    cell, value, weight = np.arange(len(sums)), sums.mean[:, at], sums.weight
    within = sums.cross[:, at, at]
    if need == "values":
        if sums.histogram is None:
            raise SummaryError(
                "these sums do not count scores one by one, which ranks and quantiles need; make "
                "them with summaries(..., grid=...)"
            )
        cell, value, weight = sums.histogram.cell, sums.histogram.value, sums.histogram.count
    if need == "bands":
        if sums.bands is None:
            raise SummaryError(
                "these sums do not count pupils by band; make them with summaries(..., bands=[...])"
            )
        withheld = int(np.isnan(sums.bands).any(axis=1).sum())
        if withheld:
            raise SummaryError(
                f"bands of {withheld} of {len(sums)} cells were withheld when the sums were "
                "released, and are unknown; release sums of fewer keys: sums.by(...).release(...)"
            )
        cell, band = np.nonzero(sums.bands)
        value, weight = band.astype(float), sums.bands[cell, band]
    columns = {}
    for key in sums.keys:
        codes, labels = encode(sums.label(key))
        columns[key] = Category(codes[cell], labels)
    if unit:
        codes, units = _combined(columns, unit)
        scale = np.ones(len(cell))
    else:
        codes, units, scale = _independent(sums, cell, value, weight, need)
    units = frozen(units)
    return Sample(
        value=value,
        within=within if need == "moments" else np.zeros(len(cell)),
        weight=weight,
        weight2=weight * (sums.weight2 / sums.weight)[cell],
        count=weight * (sums.n / sums.weight)[cell],
        scale=scale,
        unit=codes,
        units=units,
        cluster=units,
        columns=columns,
        keys=tuple(key for key in sums.keys if key not in unit),
        outcome=sums.score,
        provenance=sums.provenance,
        ledger=(*sums.missing.ledger(), *sums.notes),
    )


def _independent(
    sums: Summaries, cell: Codes, value: Vector, weight: Vector, need: Need
) -> tuple[Codes, Labels, Vector]:
    """Units where none is named: each row stands for n pupils who are independent."""
    if need == "moments" or sums.weighting:
        what = "moments do not" if need == "moments" else "weighted counts do not"
        raise OptionError(
            f"unit is empty, and {what} show how single pupils vary; name the key whose records "
            f"are independent of each other, such as unit='school' (keys: {', '.join(sums.keys)})"
        )
    names = [sums.cells.name(at) for at in range(len(sums))]
    # Fifteen digits tell any two scores apart, and hide what 0.1 * 3 is in binary.
    units = np.array([f"{names[c]}: {v:.15g}" for c, v in zip(cell, value, strict=True)])
    codes, labels = encode(units)
    if len(labels) < len(units):
        raise SummaryError("two cells, or two of their scores, have one name; rename the keys")
    return codes, labels, 1 / np.sqrt(weight)


def crossed(index: Index, level: str, values: Sequence[Any]) -> Index:
    """Every key of an index with every value of one more level, which varies fastest."""
    keys = tuple((*key, value) for key in index.keys for value in values)
    return Index((*index.levels, level), keys)


def listed(names: Names) -> tuple[str, ...]:
    """One name or several, as a tuple."""
    if names is None or isinstance(names, str):
        return () if names is None else (names,)
    refuse_text_or_repeats("each of by, unit and within", names)
    return tuple(names)


def joint(codes: Sequence[Codes]) -> tuple[Codes, Codes]:
    """Codes of the combinations that occur, sorted, and the first row of each."""
    out = codes[0]
    for more in codes[1:]:
        out = encode(out * (int(more.max(initial=0)) + 1) + more)[0]
    _, first, inverse = np.unique(out, return_index=True, return_inverse=True)
    return inverse.astype(np.intp), first


def _combined(columns: Mapping[str, Category], unit: tuple[str, ...]) -> tuple[Codes, Labels]:
    """Codes and labels of units that one column names, or several together."""
    unknown = [name for name in unit if name not in columns]
    if unknown:
        raise OptionError(f"unit names {some(unknown)}; there are {some(columns, 12)}")
    codes, first = joint([columns[name].codes for name in unit])
    names = [columns[name].labels[columns[name].codes[first]] for name in unit]
    if len(names) == 1:
        return codes, names[0]
    text = np.array([" / ".join(map(str, parts)) for parts in zip(*names, strict=True)])
    order, labels = encode(text)
    if len(labels) < len(text):
        raise OptionError("two units have the same combined name; rename one of them")
    return order[codes], labels


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """Pupils, weight, mean and variance (divisor W) of each coordinate ``(k,)``."""

    n: Vector
    w: Vector
    mean: Vector
    variance: Vector

    @property
    def unbiased(self) -> Vector:
        """Variance with divisor n - 1, for weights scaled to sum to n."""
        return self.variance * self.n / (self.n - 1)


def moments(rows: Sample, groups: Groups, keep: Flags | None = None) -> Moments:
    """Moments of the rows that are kept, in each group; NaN where there are none."""
    w = rows.weight if keep is None else rows.weight * keep
    total = groups.sum(w)
    with np.errstate(invalid="ignore", divide="ignore"):
        # Centred first, so that scores like 1e6 + noise lose no digits.
        base = groups.sum(w * rows.value) / total
        shift = rows.value - base[groups.codes]
        mean = base + groups.sum(w * shift) / total
        centred = rows.value - mean[groups.codes]
        inside = rows.within if keep is None else rows.within * keep
        variance = groups.sum(w * centred**2 + inside) / total
    variance = np.where(np.sqrt(variance) > ROUNDING * np.abs(mean), variance, 0.0)
    n = groups.sum(rows.count if keep is None else rows.count * keep)
    return Moments(n, total, mean, variance)


@dataclass(frozen=True, slots=True)
class Wrong:
    """Coordinates that have no answer, and why."""

    where: Flags
    why: str


def in_one_cluster(rows: Sample, groups: Groups, keep: Flags | None = None) -> Flags:
    """Coordinates ``(k,)`` whose rows, or those that are kept, all lie in a single cluster."""
    mine = slice(None) if keep is None else keep
    cluster = encode(rows.cluster)[0][rows.unit[mine]]
    least, most = np.full(groups.size, len(rows.units)), np.full(groups.size, -1)
    np.minimum.at(least, groups.codes[mine], cluster)
    np.maximum.at(most, groups.codes[mine], cluster)
    return np.asarray(least == most)


def answer(
    rows: Sample,
    index: Index,
    theta: Vector,
    entries: tuple[Codes, Codes, Vector],
    wrong: Sequence[Wrong],
    hidden: Flags,
    *,
    undefined: Undefined,
    estimand: str,
    method: str,
) -> Estimate:
    """The estimate, with contributions from ``entries``: unit, coordinate and value of each.

    Coordinates without an answer are refused, or left empty (NaN) and counted. Where everything
    lies in a single cluster (``hidden``) contributions are NaN on purpose: they would cancel in the
    cluster, and the error would seem to be zero.
    """
    check_option("undefined", undefined, UNDEFINED)
    empty = np.zeros(len(index), bool)
    notes: list[str] = []
    for one in wrong:
        fresh = one.where & ~empty
        if not fresh.any():
            continue
        where = some(" ".join(map(str, index.keys[k])) for k in np.flatnonzero(fresh))
        if undefined == "refuse":
            raise IdentificationError(
                f"in {where}: {one.why}. Leave these out, or ask for undefined='nan'"
            )
        notes.append(f"{int(fresh.sum())} coordinates are empty ({where}): {one.why}")
        empty |= fresh
    unit, coordinate, psi = entries
    hidden = hidden & ~empty
    if hidden.any():
        notes.append(
            f"the error of {int(hidden.sum())} coordinates cannot be seen: a group is all in one "
            "cluster"
        )
    kept = ~empty[coordinate]
    return Estimate(
        theta=np.where(empty, np.nan, theta),
        scores=contributions(
            unit[kept], coordinate[kept], psi[kept], rows.units, len(index), hidden
        ),
        units=rows.units,
        cluster=rows.cluster,
        index=index,
        meta=Meta(
            estimand,
            method,
            rows.outcome,
            int(rows.count.sum()),
            rows.provenance,
            (*rows.ledger, *notes),
        ),
    )
