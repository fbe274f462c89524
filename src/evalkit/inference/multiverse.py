"""Every defensible analysis of one question, declared before it is run, judged together.

Not for choosing among them: the declaration says what is defensible, and all of it is reported.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from evalkit.core.arrays import Codes, Matrix, Vector, encode, frozen
from evalkit.core.checks import check_whole
from evalkit.core.errors import IdentificationError, OptionError, some
from evalkit.core.progress import progress
from evalkit.core.provenance import Provenance, combine
from evalkit.inference.covariance import Vcov
from evalkit.inference.declaration import Declaration
from evalkit.inference.inversion import TIE, check_test
from evalkit.inference.specifications import Made, Run, run_all

if TYPE_CHECKING:
    import pandas as pd

BLOCK = 256  # draws at a time, so that memory stays small


@dataclass(frozen=True, slots=True, eq=False)
class Multiverse:
    """Estimates under every declared combination of choices, with their joint noise.

    Attributes
    ----------
    declared : Declaration
    estimate, std_error, p_value, conf_low, conf_high, adjusted : Vector (k,)
        In the order of the declaration; NaN where a specification failed. ``adjusted`` p-values
        allow for all looks (step-down of the largest t).
    units : Codes (k,)
        Units behind each.
    sums : Matrix (G, k)
        Contributions by cluster.
    joint : Mapping[str, tuple[float, float]]
        Statistic of the whole curve and its p-value if no specification has any effect.
    failed : mapping of int to str
        Why specifications failed.
    """

    declared: Declaration
    estimate: Vector
    std_error: Vector
    p_value: Vector
    conf_low: Vector
    conf_high: Vector
    adjusted: Vector
    units: Codes
    sums: Matrix
    joint: Mapping[str, tuple[float, float]]
    failed: Mapping[int, str]
    provenance: Provenance
    signs: _Signs

    @property
    def method(self) -> str:
        """How it was judged, in words."""
        how = self.signs
        return (
            f"{how.vcov}; joint tests by {how.draws} random signs of {len(self.sums)} clusters "
            f"(seed {how.seed})"
        )

    def only(self, **labels: str) -> Multiverse:
        """The part of the curve with these labels, judged by itself."""
        kept = self.declared.only(labels)
        at = [j for j, made in enumerate(self.declared) if labels.items() <= made.items()]
        names = ("estimate", "std_error", "p_value", "conf_low", "conf_high")
        columns = np.stack([getattr(self, name)[at] for name in names])
        if not np.isfinite(columns[0]).any():
            raise IdentificationError(f"every specification with {labels} failed")
        return _judged(
            kept,
            columns,
            self.units[at],
            self.sums[:, at],
            {at.index(j): why for j, why in self.failed.items() if j in at},
            self.provenance,
            self.signs,
        )

    @property
    def table(self) -> pd.DataFrame:
        """Tidy frame, one row per specification."""
        import pandas as pd

        names = ("estimate", "std_error", "p_value", "adjusted", "conf_low", "conf_high", "units")
        columns: dict[str, Any] = {name: getattr(self, name) for name in names}
        return pd.DataFrame(list(self.declared)).assign(**columns)

    def shares(self) -> pd.DataFrame:
        """How the curve depends on each open choice: median t and share significant, by label."""
        import pandas as pd

        table = self.table.assign(t=self.estimate / self.std_error)
        table["significant"] = self.p_value < 1 - self.declared.level
        parts = [
            table.groupby(name, sort=False)
            .agg(specifications=("t", "count"), median_t=("t", "median"),
                 significant=("significant", "mean"))
            .rename_axis("label").reset_index().assign(choice=name)
            for name, labels in self.declared.choices.items() if len(labels) > 1
        ]  # fmt: skip
        return pd.concat(parts, ignore_index=True)

    def __repr__(self) -> str:
        good = int(np.isfinite(self.estimate).sum())
        low, middle, high = np.nanpercentile(self.estimate, [0, 50, 100])
        rows = [f"  {name}: {x:.3f}, p = {p:.3f}" for name, (x, p) in self.joint.items()]
        return "\n".join(
            [f"{self.declared!r} ({self.provenance})",
             f"{good} estimates from {low:.4g} to {high:.4g}, median {middle:.4g}; {self.method}",
             *rows, *(f"  {len(self.failed)} failed: {why}" for why in set(self.failed.values()))]
        )  # fmt: skip


def multiverse(
    declared: Declaration,
    run: Run,
    *,
    vcov: Vcov = "CR1",
    draws: int = 1999,
    seed: int = 1,
    workers: int = 1,
    store: str | Path | None = None,
) -> Multiverse:
    r"""Run every declared specification, and test whether the curve as a whole says anything.

    Specifications share their data, so that their estimates move together. Their contributions
    :math:`s_{gj}`, summed by cluster, say how: if no specification has an effect, the vector of t
    statistics is like :math:`\sum_g\xi_gs_{gj}/\mathrm{SE}_j` with random signs :math:`\xi_g`.
    Three statistics of the curve are held against it: the median t, the share of estimates that are
    significant in the direction of the median, and the largest :math:`|t|`.

    The signs are exact only as clusters grow many. In 200 panels without effect, 5% tests rejected
    in 4 to 7% with 120 clusters, and one of them in 10% with 30; where treatment was dealt out,
    :func:`permuted` has no such error.

    Parameters
    ----------
    declared : Declaration
    run : callable
        Takes one combination, ``{choice: label}``, and returns an estimate with one coordinate.
        Units must have the same labels throughout. A specification that raises an error of evalkit
        is counted and reported, and never dropped in silence.
    vcov : {"CR0", "CR1", "CR1S", "CR2", "CR3"}
        Of each specification, with its own clusters. Few clusters do not withhold it here; the
        joint tests are by random signs of the coarsest clusters.
    draws, seed : int
        The same seed gives the same bytes.
    workers : int
        Processes, where the system can fork; the result is the same.
    store : path, optional
        Folder in which finished specifications are kept, so that an interrupted run goes on. They
        are found by the digest of the declaration: empty the folder when ``run`` changes.

    Returns
    -------
    Multiverse

    Raises
    ------
    IdentificationError
        If every specification fails, or clusters of one are not unions of those of another.

    References
    ----------
    Simonsohn, Simmons and Nelson (2020), Nature Human Behaviour 4, on specification curves;
    Romano and Wolf (2005) for the step-down.

    Examples
    --------
    >>> import numpy as np, evalkit as ek
    >>> rng = np.random.default_rng(1)
    >>> frame = {"town": np.repeat(np.arange(40), 4), "year": np.tile([1, 2, 3, 4], 40),
    ...          "score": rng.normal(size=160), "start": np.repeat([3.0, np.nan], 80)}
    >>> panel = ek.Panel.from_frame(frame, outcome="score", unit="town", time="year",
    ...                             cohort="start", provenance="synthetic")
    >>> plan = ek.Declaration({"years": ["all", "without the first"]})
    >>> samples = {"all": panel, "without the first": panel.where(panel.time > 0)}
    >>> many = ek.multiverse(plan, lambda c: ek.did.two_way(samples[c["years"]]))
    >>> sorted(many.joint)
    ['largest |t|', 'median t', 'share significant']
    """
    if not isinstance(declared, Declaration):
        raise OptionError("declare the choices first: ek.multiverse(ek.Declaration({...}), run)")
    check_test(draws, seed, declared.level)
    check_whole("workers", workers, 1)
    made = run_all(declared, run, vcov, workers, None if store is None else Path(store))
    good = {j: one for j, one in enumerate(made) if isinstance(one, Made)}
    failed = {j: one for j, one in enumerate(made) if isinstance(one, str)}
    if not good:
        raise IdentificationError(
            f"every one of {len(made)} specifications failed: {some(set(failed.values()), 3)}"
        )
    sums = _sums(list(good.values()), list(good))
    columns = np.full((5, len(made)), np.nan)
    columns[:, list(good)] = np.stack([one.numbers for one in good.values()], axis=1)
    every = np.zeros((len(sums), len(made)))
    every[:, list(good)] = sums
    return _judged(
        declared,
        columns,
        np.array([len(one.units) if isinstance(one, Made) else 0 for one in made]),
        every,
        failed,
        combine(*(one.provenance for one in good.values())),
        _Signs(vcov, draws, seed),
    )


@dataclass(frozen=True, slots=True)
class _Signs:
    """How the joint tests are made."""

    vcov: Vcov
    draws: int
    seed: int


def _judged(
    declared: Declaration,
    columns: Matrix,
    units: Codes,
    sums: Matrix,
    failed: Mapping[int, str],
    provenance: Provenance,
    signs: _Signs,
) -> Multiverse:
    """The curve of estimates ``(5, k)`` with its joint tests."""
    theta, error, p_value, low, high = (frozen(column) for column in columns)
    at = np.flatnonzero(np.isfinite(theta))
    t = theta[at] / error[at]
    null = _null(sums[:, at] / error[at], signs.draws, signs.seed)
    adjusted = np.full(len(theta), np.nan)
    adjusted[at] = step_down(t, null)
    return Multiverse(
        declared=declared,
        estimate=theta,
        std_error=error,
        p_value=p_value,
        conf_low=low,
        conf_high=high,
        adjusted=frozen(adjusted),
        units=frozen(units),
        sums=frozen(sums),
        joint=joint(t, null, ((high - theta) / error)[at]),
        failed=failed,
        provenance=provenance,
        signs=signs,
    )


# --- Judging together ------------------------------------------------------------------------


def _sums(made: list[Made], names: list[int]) -> Matrix:
    """Contributions ``(G, k)`` by the coarsest clusters, of which all others must be parts."""
    units = np.unique(np.concatenate([one.units for one in made]))
    order = sorted(
        range(len(made)), key=lambda k: len(np.unique(made[k].cluster)) / len(made[k].units)
    )
    coarse = made[order[0]]
    at = np.searchsorted(units, coarse.units)
    codes, labels = encode(coarse.cluster)
    group = np.full(len(units), -1)
    group[at] = codes
    for k in order:
        name, one = names[k], made[k]
        mine = np.searchsorted(units, one.units)
        own, _ = encode(one.cluster)
        for g in np.unique(own[group[mine] < 0]):
            # A unit that coarser samples lack belongs where the rest of its cluster does.
            members = mine[own == g]
            place = group[members].max()
            group[members[group[members] < 0]] = place if place >= 0 else group.max() + 1
        pairs = np.unique(own * (group.max() + 1) + group[mine])
        if len(pairs) > len(np.unique(own)):
            raise IdentificationError(
                f"clusters of specification {name} are not parts of the coarsest ones "
                f"({len(labels)} clusters); nest them, or cluster all alike"
            )
    sums = np.zeros((group.max() + 1, len(made)))
    for k, one in enumerate(made):
        np.add.at(sums[:, k], group[np.searchsorted(units, one.units)], one.psi)
    return sums


def _null(scaled: Matrix, draws: int, seed: int) -> Matrix:
    """t statistics ``(B, k)`` without any effect."""
    rng = np.random.default_rng(seed)
    blocks = [
        (2.0 * rng.integers(0, 2, (min(BLOCK, draws - start), len(scaled))) - 1) @ scaled
        for start in range(0, draws, BLOCK)
    ]
    return np.concatenate(blocks)


def joint(t: Vector, null: Matrix, crit: Vector) -> dict[str, tuple[float, float]]:
    """The three statistics of a curve, each with its p-value among draws ``(B, k)``.

    ``crit`` ``(k,)`` is the size of t from which each specification is significant by itself.
    """

    def statistics(curves: Matrix) -> dict[str, Vector]:
        median = np.median(curves, axis=1)
        side = np.where(median >= 0, 1.0, -1.0)[:, None]
        return {
            "median t": np.abs(median),
            "share significant": (side * curves > crit).mean(axis=1),
            "largest |t|": np.abs(curves).max(axis=1),
        }

    mine, draws = statistics(t[None]), statistics(null)
    signed = {"median t": float(np.median(t))}
    return {
        name: (
            signed.get(name, float(value[0])),
            float((1 + (draws[name] >= value[0] * (1 - TIE)).sum()) / (1 + len(null))),
        )
        for name, value in mine.items()
    }


def step_down(t: Vector, null: Matrix) -> Vector:
    """Adjusted p-values ``(k,)``: each |t| against the largest of those not yet rejected."""
    order = np.argsort(-np.abs(t), kind="stable")
    rest = np.maximum.accumulate(np.abs(null)[:, order[::-1]], axis=1)[:, ::-1]
    p = (1 + (rest >= np.abs(t)[order] * (1 - TIE)).sum(axis=0)) / (1 + len(null))
    out = np.empty(len(t))
    out[order] = np.maximum.accumulate(p)
    return out


def permuted(
    many: Multiverse,
    again: Callable[[np.random.Generator], Run],
    *,
    vcov: Vcov = "CR1",
    draws: int = 99,
    seed: int = 1,
) -> dict[str, tuple[float, float]]:
    """The joint tests by permutation: every specification again, on data dealt out again.

    Parameters
    ----------
    many : Multiverse
        Without failures.
    again : callable
        Takes a generator and returns ``run`` on data in which treatment was dealt out again, the
        same deal in every specification.
    vcov, draws, seed
        As in :func:`multiverse`.

    Returns
    -------
    dict of str to (statistic, p-value)

    Examples
    --------
    >>> import numpy as np, evalkit as ek
    >>> rng = np.random.default_rng(1)
    >>> frame = {"town": np.repeat(np.arange(24), 2), "year": np.tile([1, 2], 24),
    ...          "score": rng.normal(size=48), "start": np.repeat([2.0, np.nan], 24)}
    >>> panel = ek.Panel.from_frame(frame, outcome="score", unit="town", time="year",
    ...                             cohort="start", provenance="synthetic")
    >>> from dataclasses import replace
    >>> many = ek.multiverse(ek.Declaration({"only": ["one"]}), lambda c: ek.did.two_way(panel))
    >>> dealt = lambda rng: replace(panel, cohort=rng.permutation(panel.cohort))
    >>> found = ek.permuted(many, lambda rng: (lambda c, p=dealt(rng): ek.did.two_way(p)), draws=9)
    >>> len(found)
    3
    """
    check_test(draws, seed, many.declared.level)
    if many.failed:
        raise OptionError(f"{len(many.failed)} specifications failed; permute a complete curve")
    curves = []
    for child in progress(np.random.SeedSequence(seed).spawn(draws), draws, "permutations"):
        made = run_all(many.declared, again(np.random.default_rng(child)), vcov, 1, None)
        bad = [one for one in made if isinstance(one, str)]
        if bad:
            raise IdentificationError(f"a permuted specification failed: {bad[0]}")
        curves.append([one.numbers[0] / one.numbers[1] for one in made if isinstance(one, Made)])
    crit = (many.conf_high - many.estimate) / many.std_error
    return joint(many.estimate / many.std_error, np.array(curves), crit)
