"""Runs every specification of a declaration: in processes that fork, and from where it stopped."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, cast

import numpy as np

from evalkit.core.arrays import Labels, Vector
from evalkit.core.errors import EvalkitError
from evalkit.core.estimate import Estimate
from evalkit.core.progress import progress
from evalkit.core.provenance import Provenance
from evalkit.inference.covariance import Vcov
from evalkit.inference.declaration import Choice, Declaration
from evalkit.inference.infer import infer

Run: TypeAlias = Callable[[Choice], Estimate]


@dataclass(frozen=True, slots=True, eq=False)
class Made:
    """What one specification leaves behind.

    ``numbers`` holds estimate, standard error, p-value and the two ends of the interval.
    """

    numbers: Vector
    psi: Vector
    units: Labels
    cluster: Labels
    provenance: Provenance


def one_of(run: Run, choice: Choice, vcov: Vcov, level: float) -> Made | str:
    try:
        estimate = run(choice)
        if len(estimate) != 1 or np.isnan(estimate.theta[0]):
            return f"{len(estimate)} coordinates, or none that could be estimated"
        found = infer(estimate, vcov=vcov, level=level, few="show")
    except EvalkitError as error:
        return str(error)
    columns = (found.estimate, found.std_error, found.p_value, found.conf_low, found.conf_high)
    numbers = np.array([column[0] for column in columns])
    meta = estimate.meta
    return Made(numbers, estimate.psi[:, 0], estimate.units, estimate.cluster, meta.provenance)


_forked: tuple[Any, ...] = ()


def _adopt(*given: Any) -> None:
    global _forked
    _forked = given


def _in_fork(choice: Choice) -> Made | str:
    run, vcov, level = _forked
    return one_of(run, choice, vcov, level)


def run_all(
    declared: Declaration, run: Run, vcov: Vcov, workers: int, store: Path | None
) -> list[Made | str]:
    every = list(declared)
    kept = {} if store is None else _kept(store, declared, vcov, len(every))
    todo = [j for j in range(len(every)) if j not in kept]
    forks = workers > 1 and "fork" in multiprocessing.get_all_start_methods()
    if forks and todo:
        given = (run, vcov, declared.level)
        with multiprocessing.get_context("fork").Pool(workers, _adopt, given) as pool:
            share = max(1, len(todo) // (8 * workers))
            forked = pool.imap(_in_fork, [every[j] for j in todo], share)
            made = _noted(forked, todo, store, declared, vcov)
    else:
        each = (one_of(run, every[j], vcov, declared.level) for j in todo)
        made = _noted(each, todo, store, declared, vcov)
    return [kept[j] if j in kept else made[j] for j in range(len(every))]


def _noted(
    each: Iterable[Made | str],
    todo: list[int],
    store: Path | None,
    declared: Declaration,
    vcov: Vcov,
) -> dict[int, Made | str]:
    made: dict[int, Made | str] = {}
    for j, one in zip(todo, progress(each, len(todo), "specifications"), strict=True):
        made[j] = one
        if store is not None and isinstance(one, Made):
            np.savez(
                _file(store, declared, vcov, j),
                numbers=one.numbers, psi=one.psi, units=one.units, cluster=one.cluster,
                provenance=one.provenance,
            )  # fmt: skip
    return made


def _file(store: Path, declared: Declaration, vcov: Vcov, j: int) -> Path:
    return store / f"{declared.digest[:16]}.{vcov}.{j}.npz"


def _kept(store: Path, declared: Declaration, vcov: Vcov, size: int) -> dict[int, Made | str]:
    store.mkdir(parents=True, exist_ok=True)
    found: dict[int, Made | str] = {}
    for j in range(size):
        path = _file(store, declared, vcov, j)
        if path.exists():
            with np.load(path) as held:
                tier = cast(Provenance, str(held["provenance"]))
                found[j] = Made(held["numbers"], held["psi"], held["units"], held["cluster"], tier)
    return found
