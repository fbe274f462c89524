"""Run the studies and hold their tables against the stored ones.

All of it fails if a number moved. ONLY runs the cells that match its words (study, design, size,
estimator), DRAWS only the first draws of each, and SAVE stores what was made.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from evalkit.core.progress import progress
from simulations import store
from simulations.run import chunk, first, rows
from simulations.studies import STUDIES
from simulations.study import Cell, Study

CHUNK = 250  # draws of a cell that a process makes at a time
AT_ONCE = 2  # processes: the machines we promise for have two cores
SHOWN = 40  # differences that are listed


@dataclass(frozen=True, slots=True)
class Job:
    """Cells of one study, the first ``draws`` of each (0: as many as are stored)."""

    study: Study
    cells: tuple[Cell, ...]
    draws: int
    folder: Path

    def spans(self, cell: Cell) -> Iterator[tuple[int, int]]:
        """The chunks of a cell, as ``(first, stop)``."""
        most = self.study.draws(cell)
        draws = min(self.draws or most, most)
        for start in range(0, draws, CHUNK):
            yield start, min(start + CHUNK, draws)

    def path(self, cell: Cell, start: int, stop: int) -> Path:
        return store.chunk_path(self.folder, self.study.name, cell, start, stop)

    def make(self) -> None:
        """Make the chunks that are not there yet, two at a time."""
        tasks = [(cell, *span) for cell in self.cells for span in self.spans(cell)]
        missing = [task for task in tasks if not self.path(*task).is_file()]
        todo = f"{len(missing)} of {len(tasks)} parts to make"
        say(f"{self.study.name}: {len(self.cells)} cells, {todo}")
        if not missing:
            return
        with ProcessPoolExecutor(AT_ONCE) as pool:
            going = [
                pool.submit(work, self.study.name, *task, self.path(*task)) for task in missing
            ]
            try:
                for done in progress(as_completed(going), len(going), self.study.name):
                    done.result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def collect(self, *, save: bool) -> int:
        """Put the chunks together; store them, or say what differs. Returns how many numbers do."""
        made, answers = [], []
        for cell in self.cells:
            parts = [store.load(self.path(cell, *span)) for span in self.spans(cell)]
            made += rows(self.study, cell, parts)
            answers += first(cell, parts[0])
        summary, early = store.table(made), store.table(answers)
        if self.draws:
            say(summary.to_string(index=False))
            tables = {f"{self.study.name}.first": early}
        else:
            tables = {self.study.name: summary, f"{self.study.name}.first": early}
        found = 0
        for name, new in tables.items():
            path = store.TABLES / f"{name}.csv"
            old, everything = store.read(path), list(self.study.cells())
            if save and not self.draws:
                store.write(path, store.merged(old, new, everything))
                say(f"{path.relative_to(store.ROOT)} is written")
                continue
            if len(self.cells) < len(everything):
                old = store.only(old, self.cells)
            lines = list(store.differences(new, old))
            found += len(lines)
            say("\n".join([*lines[:SHOWN], f"{name}: {len(lines)} differences"]))
        return found


def work(study: str, cell: Cell, start: int, stop: int, path: Path) -> None:
    """Make one chunk, in a process of its own."""
    store.save(path, chunk(STUDIES[study], cell, start, stop))


def chosen(study: Study, words: Sequence[str]) -> tuple[Cell, ...]:
    """The cells that match: words of one kind are alternatives, and every kind must match."""
    cells = tuple(study.cells())
    asked = [{str(cell[at]) for cell in cells}.intersection(words) for at in range(3)]
    return tuple(
        cell
        for cell in cells
        if all(not wanted or str(cell[at]) in wanted for at, wanted in enumerate(asked))
    )


def known(study: Study) -> set[str]:
    return {study.name, *(str(part) for cell in study.cells() for part in cell)}


def say(text: str) -> None:
    print(text, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="make simulate", description=str(__doc__))
    parser.add_argument("--only", default="", help="words: study, design, size, estimator")
    parser.add_argument("--draws", type=int, default=0, help="only so many draws of each cell")
    parser.add_argument("--save", action="store_true", help="store the tables, compare nothing")
    given = parser.parse_args(arguments)
    words = given.only.split()
    strange = set(words).difference(*map(known, STUDIES.values()))
    if strange or given.draws < 0 or (given.save and given.draws):
        listed = sorted(set().union(*map(known, STUDIES.values())))
        problem = f"unknown: {', '.join(sorted(strange))}; known are {', '.join(listed)}"
        parser.error(problem if strange else "DRAWS is a positive number, and cannot be saved")
    named = [study for study in STUDIES.values() if study.name in words] or list(STUDIES.values())
    jobs = [Job(study, chosen(study, words), given.draws, store.cache()) for study in named]
    jobs = [job for job in jobs if set(words) <= known(job.study) | set(STUDIES)]
    for job in jobs:
        job.make()
    return 1 if sum(job.collect(save=given.save) for job in jobs) else 0


if __name__ == "__main__":
    sys.exit(main())
