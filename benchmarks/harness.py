"""Times calls of several packages fairly: each in a process of its own, in turns, on one thread.

`python benchmarks/run.py did` runs the suite of `benchmarks/did.py`. What counts is processor time,
which other work on the machine disturbs least, and of that the least of several calls: the first
call, on a small panel, loads and compiles, and is reported apart. A short call is repeated at once,
so that no package is charged for waking a processor that slept while the others had their turn.
"""

from __future__ import annotations

import csv
import ctypes
import gc
import importlib
import json
import os
import platform
import resource
import select
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from importlib import metadata
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

import panels

Numbers: TypeAlias = Mapping[str, Any]
Frame: TypeAlias = Any

ROOT = Path(__file__).resolve().parent.parent
STORED = ROOT / "data" / "benchmarks"
SMALL = (60, 6)  # panel of the call that loads and compiles
MEMORY = 10 << 30  # bytes of address space that a process may have
PATIENCE = 120.0  # processor seconds that a call may take before its process is ended
BEHIND = 10.0  # times the fastest other, after which a package is not asked about larger panels
BURST = 0.05  # processor seconds for which a short call is repeated
SLOW = 20.0  # processor seconds of a call after which it is not repeated
AGREES = 1e-6  # relative; packages that do the same thing differ by their solvers' tolerance
THREADS = ("OMP", "OPENBLAS", "MKL", "NUMBA", "RAYON", "POLARS_MAX")
COLUMNS = (
    "task", "what", "peer", "version", "units", "periods", "cpu_seconds", "first_seconds",
    "peak_mb", "calls", "compared", "largest_gap", "agrees", "ratio", "aim", "note",
)  # fmt: skip


@dataclass(frozen=True)
class Call:
    """One package's way to do one task."""

    peer: str
    run: Callable[[str, Frame], Numbers]
    before: Callable[[Frame], Frame]


@dataclass
class Suite:
    """Tasks, and by task the packages that can do it. A package joins with one function."""

    name: str
    sizes: list[tuple[int, int]]
    largest: tuple[int, int]
    tasks: dict[str, tuple[str, Callable[[int, int], Frame]]] = field(default_factory=dict)
    aims: dict[str, tuple[float, ...]] = field(default_factory=dict)
    calls: dict[str, dict[str, Call]] = field(default_factory=dict)
    own: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    agrees: float = AGREES

    def task(
        self,
        name: str,
        what: str,
        data: Callable[[int, int], Frame] | None = None,
        aim: tuple[float, ...] = (),
        sizes: list[tuple[int, int]] | None = None,
    ) -> None:
        """Declare a task, where its data come from (default: a staggered panel), and how many times
        as long the fastest other package should take at each size; data that are given have the
        sizes they have."""
        self.tasks[name] = (what, data or panels.staggered)
        self.calls[name] = {}
        self.aims[name] = aim
        if sizes is not None:
            self.own[name] = sizes

    def aim(self, task: str, units: int, periods: int) -> str:
        """The aim of a task at a size, if there is one."""
        aims = dict(zip(self.own.get(task, self.sizes), self.aims[task], strict=False))
        return f"{aims[units, periods]:g}" if (units, periods) in aims else ""

    def by(
        self, peer: str, *tasks: str, before: Callable[[Frame], Frame] = lambda frame: frame
    ) -> Callable[[Callable[[str, Frame], Numbers]], Callable[[str, Frame], Numbers]]:
        """Say that a function ``(task, frame) -> numbers`` does some tasks for a package.

        Numbers of one name are compared between packages, sorted; ``before`` is not timed.
        """

        def register(run: Callable[[str, Frame], Numbers]) -> Callable[[str, Frame], Numbers]:
            for task in tasks:
                self.calls[task][peer] = Call(peer, run, before)
            return run

        return register


# --- One process, one package -------------------------------------------------------------------


def _memory(key: str) -> float:
    """A line of the kernel's account of this process, in MB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1]) / 1024
    return float("nan")


def serve(suite: Suite, task: str, peer: str, units: int, periods: int) -> None:
    """Load the data, warm up, then answer each line on standard input with one timed call."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    call, (_, data) = suite.calls[task][peer], suite.tasks[task]
    small = call.before(data(*SMALL))
    began = time.process_time()
    try:
        call.run(task, small)
    except Exception as wrong:  # a package that fails on the small panel may do the large one
        print(f"{peer}: {type(wrong).__name__} on the small panel", file=sys.stderr)
    first = time.process_time() - began
    frame = call.before(data(units, periods))
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # forget the high-water mark
    base = _memory("VmRSS")
    print(json.dumps({"first": first}), file=out, flush=True)
    for _ in sys.stdin:
        try:
            cpu, used = np.inf, 0.0
            while used < BURST:
                began = time.process_time()
                numbers = dict(call.run(task, frame))
                own = time.process_time() - began
                spent = float(numbers.pop("cpu", own))  # another process measures itself
                cpu, used = min(cpu, spent), used + max(spent, own)
            listed = {
                k: np.sort(np.ravel(np.asarray(v, float))).tolist() for k, v in numbers.items()
            }
            answer = {"cpu": cpu, "mb": _memory("VmHWM") - base, "numbers": listed}
        except (Exception, MemoryError) as wrong:
            answer = {"error": f"{type(wrong).__name__}: {' '.join(str(wrong).split())[:200]}"}
        print(json.dumps(answer), file=out, flush=True)


# --- The runner -----------------------------------------------------------------------------------


class Worker:
    """A process that runs one package's call when it is told to."""

    def __init__(self, suite: Suite, task: str, call: Call, units: int, periods: int) -> None:
        command = [sys.executable, str(ROOT / "benchmarks" / "run.py"), suite.name, "--serve"]
        one = {f"{name}_{'' if name.endswith('MAX') else 'NUM_'}THREADS": "1" for name in THREADS}
        self.process = subprocess.Popen(
            [*command, task, call.peer, str(units), str(periods)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            env={**os.environ, **one, "PYTHONHASHSEED": "0"},
        )  # fmt: skip
        self.peer, self.answers, self.error = call.peer, [], ""
        self.first = float("nan")

    def await_start(self) -> None:
        """Wait until the data are loaded and the small panel is done."""
        started = self._read()
        if started is not None:
            self.first = started["first"]

    def _read(self) -> Any:
        began = self._spent()
        while not select.select([self.process.stdout], [], [], 1.0)[0]:
            if self._spent() - began > PATIENCE:
                self.error = f"stopped after {PATIENCE:.0f} s"
                self.process.kill()
                return None
        line = self.process.stdout.readline() if self.process.stdout else ""
        if not line:
            self.error = "out of memory"
            self.process.kill()
            return None
        return json.loads(line)

    def _spent(self) -> float:
        """Processor seconds that the process has used."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def ask(self) -> None:
        """One more call, unless it failed before or takes too long to be repeated."""
        slow = self.answers and self.answers[-1]["cpu"] > SLOW
        if self.error or slow or self.process.stdin is None:
            return
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        answer = self._read()
        if answer is not None and "error" in answer:
            self.error = answer["error"]
        elif answer is not None:
            self.answers.append(answer)

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait()


def measure(
    suite: Suite,
    task: str,
    units: int,
    periods: int,
    calls: int,
    alone: bool,
    slow: Sequence[str] = (),
) -> list[Any]:
    """Rows of all packages that do a task, their calls taken in turns; those that were ``slow``
    on a smaller panel are not asked."""
    workers = [
        Worker(suite, task, call, units, periods)
        for call in suite.calls[task].values()
        if call.peer not in slow and (not alone or call.peer == "evalkit")
    ]
    for worker in workers:
        worker.await_start()
    for _ in range(calls):
        for worker in workers:
            worker.ask()
    for worker in workers:
        worker.close()
    ours = next(worker for worker in workers if worker.peer == "evalkit")
    reference = ours.answers[-1]["numbers"] if ours.answers else {}
    fastest = min((answer["cpu"] for answer in ours.answers), default=float("nan"))
    return [_row(suite, task, worker, (units, periods), reference, fastest) for worker in workers]


def _row(
    suite: Suite, task: str, worker: Worker, size: tuple[int, int], reference: Any, ours: float
) -> dict[str, Any]:
    cpu = min((answer["cpu"] for answer in worker.answers), default=float("nan"))
    gaps = _gaps(reference, worker.answers[-1]["numbers"]) if worker.answers else {}
    largest = max(gaps.values(), default=float("nan"))
    return dict(zip(COLUMNS, (
        task, suite.tasks[task][0], worker.peer, _version(worker.peer), *size,
        _digits(cpu), _digits(worker.first),
        round(max((a["mb"] for a in worker.answers), default=float("nan")), 1),
        len(worker.answers), " ".join(gaps), f"{largest:.1e}" if gaps else "",
        {True: "yes", False: "no"}[largest <= suite.agrees] if gaps else "", _digits(cpu / ours),
        suite.aim(task, *size) if worker.peer == "evalkit" else "", worker.error,
    ), strict=True))  # fmt: skip


def _gaps(reference: Any, numbers: Any) -> dict[str, float]:
    """Largest difference of each vector that both give, relative to its largest entry."""
    gaps = {}
    for name in sorted(set(reference) & set(numbers)):
        one, two = np.array(reference[name]), np.array(numbers[name])
        two = two[np.isfinite(two)]
        same = one.shape == two.shape
        gaps[name] = float(np.abs(one - two).max() / np.abs(one).max()) if same else np.inf
    return gaps


def _digits(value: float) -> str:
    return f"{value:.3g}" if np.isfinite(value) else ""


def _version(peer: str) -> str:
    if peer.endswith("(R)"):
        say = f'cat(as.character(packageVersion("{peer.split()[0]}")))'
        return subprocess.run(["Rscript", "-e", say], capture_output=True, text=True).stdout
    if peer == "evalkit":
        return importlib.import_module(peer).__version__
    try:
        return metadata.version(peer.split()[0])
    except metadata.PackageNotFoundError:
        return ""


def imports() -> list[dict[str, Any]]:
    """Processor seconds that importing a package takes beyond numpy, the least of five."""
    clock = "import numpy, time; a = time.process_time(); {}; print(time.process_time() - a)"
    names = {
        "evalkit": "import evalkit",
        "evalkit, ready to estimate": "import evalkit as ek; ek.Panel, ek.did, ek.infer",
        **{
            peer: f"import {peer.replace('-', '_').replace('_py', '')}"
            for peer in ("csdid", "diff-diff", "differences", "etwfe", "linearmodels", "moderndid",
                         "py2sdid", "pyfixest", "synthdid-py", "pandas")
        },
    }  # fmt: skip
    rows = []
    for peer, line in names.items():
        spent = [
            float(subprocess.run([sys.executable, "-c", clock.format(line)], check=True,
                                 capture_output=True, text=True).stdout.split()[-1])
            for _ in range(5)
        ]  # fmt: skip
        row = {"task": "import", "what": "import, beyond numpy", "peer": peer, "calls": len(spent)}
        row |= {"version": _version(peer.partition(",")[0]), "cpu_seconds": _digits(min(spent))}
        rows.append(dict.fromkeys(COLUMNS, "") | row)
    return rows


def run(suite: Suite, tasks: list[str], calls: int, sizes: list[int]) -> None:
    """Measure and store, task by task; rows that are not measured again are kept."""
    for task in tasks:
        if task == "import":
            _store(suite, imports())
            continue
        for units, periods in suite.own.get(task) or [*suite.sizes, suite.largest]:
            alone = (units, periods) == suite.largest
            if sizes and units not in sizes:
                continue
            slow = _slow([row for row in _stored(suite) if row["task"] == task], units)
            rows = measure(suite, task, units, periods, 1 if alone else calls, alone, slow)
            for row in rows:
                print(*(row[c] for c in ("task", "units", "peer", "cpu_seconds", "peak_mb", "ratio",
                                         "agrees", "largest_gap", "note")), flush=True)  # fmt: skip
            _store(suite, rows)


def _slow(rows: list[dict[str, Any]], units: int) -> list[str]:
    """Packages that were stopped on a smaller panel, or took too long beside the fastest other."""
    smaller = [row for row in rows if int(row["units"]) < units and row["peer"] != "evalkit"]
    slow = [row["peer"] for row in smaller if row["note"].startswith("stopped")]
    timed = [row for row in smaller if row["cpu_seconds"]]
    for n in {row["units"] for row in timed}:
        cpu = {row["peer"]: float(row["cpu_seconds"]) for row in timed if row["units"] == n}
        slow += [peer for peer, seconds in cpu.items() if seconds > BEHIND * min(cpu.values())]
    return slow


def _stored(suite: Suite) -> list[dict[str, Any]]:
    path = STORED / f"{suite.name}.csv"
    return list(csv.DictReader(path.open())) if path.exists() else []


def _store(suite: Suite, rows: list[dict[str, Any]]) -> None:
    path = STORED / f"{suite.name}.csv"
    STORED.mkdir(parents=True, exist_ok=True)
    again = {(row["task"], str(row["units"])) for row in rows}
    rows = [row for row in _stored(suite) if (row["task"], row["units"]) not in again] + rows
    order = [*suite.tasks, "import"]
    rows.sort(key=lambda row: (order.index(row["task"]), int(row["units"] or 0)))
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    _about(suite)


def _about(suite: Suite) -> None:
    """What the numbers were measured on, beside them."""
    model = [
        line for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    ]
    about = {
        "date": date.today().isoformat(),
        "processor": model[0].split(":")[1].strip() if model else platform.processor(),
        "processors": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in ("numpy", "scipy", "pandas", "numba")},
    }
    path = STORED / f"{suite.name}.json"
    path.write_text(json.dumps(about, indent=2) + "\n")
