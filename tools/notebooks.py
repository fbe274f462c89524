"""Execute the notebooks once, and stage what the book is built from.

`stage` fills `book/_build/stage` with pages, data, and notebooks whose outputs and results belong
to the present cells, source, data, lock and Python, executing what is not yet proven (`make book`).
`save` executes everything and writes the committed outputs (`make notebooks`). `compare` holds the
results of a re-execution against the committed ones; `prove` notes that they stand (`make test`),
so that the next build need not execute again. Only `save` writes to tracked files. `restricted`
runs the chapters that read the county study on another folder of tables, apart from all of these.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nbclient import NotebookClient

from agreement import differences
from evalkit.data.county.folder import check
from nbfile import (
    KERNEL,
    NotebookError,
    code_cells,
    describe_figures,
    dump,
    normalise,
    only_checked,
    read,
    reads_the_study,
    refuse_stderr,
    with_outputs,
)

TIMEOUT = 120  # seconds for one cell
AT_ONCE = 2  # kernels at a time: the machines we promise for have two cores
KEPT = 4  # runs kept per notebook, so that going back to another branch costs nothing
IGNORED = {"_build", "__pycache__", ".ipynb_checkpoints", ".DS_Store"}
STAGED = ("_config.yml", "_toc.yml", "requirements.lock", "book", "data", "src/evalkit/show/fonts")
SHAPES_EVERY_PAGE = ("_config.yml", "_toc.yml", "requirements.lock", "book/_ext/")

Tree = dict[str, bytes]  # path below some folder -> content


@dataclass(frozen=True, slots=True)
class Project:
    """The folders of one checkout."""

    root: Path

    @property
    def stage(self) -> Path:
        return self.root / "book/_build/stage"

    @property
    def results(self) -> Path:
        return self.root / "results"

    def notebooks(self) -> dict[str, Path]:
        return {path.stem: path for path in sorted((self.root / "notebooks").glob("*.ipynb"))}

    def run(self, name: str) -> Path:
        """The folder that keeps the outputs and results of the notebook's present inputs."""
        return self.root / ".proven" / f"{name}.{key(self.root, self.notebooks()[name])}"


def tree(folder: Path, part: str = ".") -> Tree:
    """The files of a folder, or only one part of it, without caches and builds."""
    found = [folder / part] if (folder / part).is_file() else sorted((folder / part).rglob("*"))
    files = {file.relative_to(folder): file for file in found if file.is_file()}
    return {
        name.as_posix(): file.read_bytes()
        for name, file in files.items()
        if not IGNORED.intersection(name.parts)
    }


def sync(wanted: Tree, folder: Path) -> set[str]:
    """Make `folder` hold exactly `wanted`, touching only what differs; return the changed names."""
    before = tree(folder)
    changed = {name for name in {*before, *wanted} if before.get(name) != wanted.get(name)}
    for name in changed:
        if name in wanted:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(wanted[name])
        else:
            (folder / name).unlink()
    return changed


def digest(files: Tree, *more: str) -> str:
    """Short hash of files and texts, and of the Python that reads them."""
    found = hashlib.sha256("{}.{}".format(*sys.version_info[:2]).encode())
    for name, content in [*files.items(), *((text, b"") for text in more)]:
        found.update(f"\0{name}\0{len(content)}\0".encode() + content)
    return found.hexdigest()[:16]


def key(root: Path, notebook: Path) -> str:
    """Hash of all that can change a notebook's outputs: cells, source, data, lock and Python."""
    files: Tree = {}
    for part in ("src", "data", "requirements.lock"):
        files |= tree(root, part)
    return digest(files, *(cell.source for cell in code_cells(read(notebook))))


def commit(root: Path) -> str:
    """The commit that the status page names, if there is one."""
    try:
        done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, capture_output=True)
    except OSError:
        return "no git"
    return done.stdout.decode()


async def execute(path: Path, cwd: Path, results: Path, **variables: str) -> Any:
    """Run one notebook in a fresh kernel that writes to `results`; return it normalised."""
    notebook, start = read(path), time.perf_counter()
    client = NotebookClient(
        notebook,
        timeout=TIMEOUT,
        kernel_name=KERNEL["name"],
        coalesce_streams=True,
        record_timing=False,
        extra_arguments=["--log-level=ERROR"],
        resources={"metadata": {"path": str(cwd)}},
    )
    await client.async_execute(env={**os.environ, **variables, "EVALKIT_RESULTS": str(results)})
    refuse_stderr(path.stem, notebook)
    print(f"evalkit: executed {path.stem} in {time.perf_counter() - start:.1f} s", flush=True)
    return normalise(notebook)


def keep(run: Path, notebook: Any, results: Tree) -> None:
    """Store a run, whole or not at all; forget the oldest of the same notebook."""
    run.parent.mkdir(exist_ok=True)
    fresh = Path(tempfile.mkdtemp(dir=run.parent))
    sync({"notebook.ipynb": dump(notebook)}, fresh)
    sync(results, fresh / "results")
    shutil.rmtree(run, ignore_errors=True)
    fresh.rename(run)
    runs = sorted(run.parent.glob(f"{run.stem}.*"), key=lambda path: path.stat().st_mtime)
    for old in runs[:-KEPT]:
        shutil.rmtree(old)


def run_all(project: Project, names: Sequence[str], cwd: Path) -> None:
    """Execute the named notebooks, a few at a time, and keep each run; report every failure."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(name: str) -> None:
        async with gate:
            run = project.run(name)
            with tempfile.TemporaryDirectory() as folder:
                done = await execute(project.notebooks()[name], cwd, Path(folder))
                keep(run, done, tree(Path(folder)))

    async def everything() -> list[BaseException | None]:
        return await asyncio.gather(*map(one, names), return_exceptions=True)

    failed = {
        name: error for name, error in zip(names, asyncio.run(everything()), strict=True) if error
    }
    if failed:
        lines = (f"{name}: {type(error).__name__}: {error}" for name, error in failed.items())
        raise NotebookError("\n\n".join(lines))


def committed(project: Project, name: str) -> Tree:
    """What is committed of one notebook's results."""
    own = (f"{name}.json", f"figures/{name}.")
    return {path: text for path, text in tree(project.results).items() if path.startswith(own)}


def stage(project: Project) -> None:
    """Fill the stage, executing there what is not proven; say where results moved."""
    pages: Tree = {}
    for part in STAGED:
        pages |= tree(project.root, part)
    names = list(project.notebooks())
    missing = [name for name in names if not project.run(name).is_dir()]
    if missing:
        sync({**tree(project.stage), **pages, "notebooks/.keep": b""}, project.stage)
        run_all(project, missing, project.stage / "notebooks")
    for name, path in project.notebooks().items():
        run = project.run(name)
        shown = with_outputs(read(path), read(run / "notebook.ipynb"))
        pages[f"notebooks/{name}.ipynb"] = dump(describe_figures(shown))
        pages |= tree(run, "results")
        for line in differences(tree(run / "results"), committed(project, name)):
            print(f"evalkit: not as committed: {line}", file=sys.stderr)
    changed = sync(pages, project.stage)
    if any(name.startswith(SHAPES_EVERY_PAGE) for name in changed):
        shutil.rmtree(project.stage.parent / ".doctrees", ignore_errors=True)
    inputs = digest(pages | tree(project.root, "src"), commit(project.root))
    (project.stage.parent / ".inputs").write_text(inputs)
    print(f"evalkit: staged {len(names)} notebooks, {len(missing)} executed", flush=True)


def restricted(project: Project, data: Path) -> Path:
    """Stage the book with the chapters of the county study run on the tables in `data`.

    The folder must keep its contract. Outputs and results stay below `book/_build/restricted`; of
    the outputs only tables and figures remain, for only their records were counted.
    """
    if broken := [f"{table}: {line}" for table, lines in check(data).items() for line in lines]:
        raise NotebookError(f"{data.name} breaks its contract:\n" + "\n".join(broken))
    stage = project.stage.parent / "restricted/stage"
    pages: Tree = {"notebooks/.keep": b""}
    for part in STAGED:
        pages |= tree(project.root, part)
    sync(pages, stage)
    for name, path in project.notebooks().items():
        if not reads_the_study(read(path)):
            shown, results = read(path), committed(project, name)
        else:
            with tempfile.TemporaryDirectory() as folder:
                run = execute(
                    path, stage / "notebooks", Path(folder), EVALKIT_DATA=str(data.resolve())
                )
                shown, results = only_checked(asyncio.run(run)), tree(Path(folder))
        pages |= {f"notebooks/{name}.ipynb": dump(describe_figures(shown))}
        pages |= {f"results/{made}": content for made, content in results.items()}
    sync(pages, stage)
    print(f"evalkit: staged with the tables of {data.name}", flush=True)
    return stage


def save(project: Project) -> None:
    """Execute every notebook and write the outputs and results that are committed."""
    names = list(project.notebooks())
    run_all(project, names, project.root / "notebooks")
    results: Tree = {}
    for name, path in project.notebooks().items():
        run = project.run(name)
        path.write_bytes(dump(with_outputs(read(path), read(run / "notebook.ipynb"))))
        results |= tree(run / "results")
    for name in sorted(sync(results, project.results)):
        print(f"evalkit: results/{name} changed")


def compare(project: Project, rerun: Path) -> None:
    """Refuse a re-run whose results are not the committed ones."""
    expected = tree(project.results)
    if found := list(differences(tree(rerun), expected)):
        raise NotebookError("re-executed results are not as committed:\n" + "\n".join(found))
    print(f"evalkit: {len(expected)} files of results are as committed")


def prove(project: Project) -> None:
    """Note that the committed outputs and results are those of the present inputs."""
    for name, path in project.notebooks().items():
        keep(project.run(name), read(path), committed(project, name))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for command in (stage, save, prove):
        commands.add_parser(command.__name__, help=command.__doc__).set_defaults(act=command)
    comparing = commands.add_parser("compare", help=compare.__doc__)
    comparing.add_argument("rerun", type=Path, help="where the re-run wrote its results")
    running = commands.add_parser("restricted", help=restricted.__doc__)
    running.add_argument("data", type=Path, help="the folder with the tables of the county study")
    chosen = parser.parse_args(arguments)
    project = Project(Path(__file__).resolve().parent.parent)
    try:
        if chosen.command == "compare":
            compare(project, chosen.rerun)
        elif chosen.command == "restricted":
            restricted(project, chosen.data)
        else:
            chosen.act(project)
    except NotebookError as error:
        print(f"evalkit: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
