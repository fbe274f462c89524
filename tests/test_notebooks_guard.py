"""What nbval takes for granted about a committed notebook; and that each rule can fail."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest

import nbfile

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "results"
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
LONGEST_CELL = 15  # lines; a longer one holds something the package should do
SHORTEST_ALT = 40  # characters; a finding does not fit in fewer
MACHINE = re.compile(
    r"(?<![\w.:/<])(?:/(?:home|root|Users|tmp|var|private|opt|usr|mnt|work)/\w|[A-Z]:\\\w)"
    r"|site-packages|0x[0-9a-f]{8,}"
)

Rule = Callable[[str, Any, Path], Iterator[str]]


def outputs(notebook: Any) -> Iterator[tuple[int, Any]]:
    for number, cell in enumerate(nbfile.code_cells(notebook), 1):
        for output in cell.outputs:
            yield number, output


def texts(output: Any) -> Iterator[str]:
    """Everything in an output that a reader could read."""
    yield output.get("text", "")
    yield from output.get("traceback", [])
    for kind, content in output.get("data", {}).items():
        if not kind.startswith("image/png"):
            yield content if isinstance(content, str) else json.dumps(content)


def counted_from_one(name: str, notebook: Any, results: Path) -> Iterator[str]:
    """nbval compares nothing in a cell without an execution count."""
    counts = [cell.execution_count for cell in nbfile.code_cells(notebook)]
    if counts != list(range(1, len(counts) + 1)):
        yield f"execution counts are {counts}; run `make notebooks`"


def outputs_are_there(name: str, notebook: Any, results: Path) -> Iterator[str]:
    if not list(outputs(notebook)):
        yield "no cell has an output"
    for number, output in outputs(notebook):
        shown = any(text.strip() for text in texts(output)) or "image/png" in output.get("data", {})
        if not shown and output.output_type != "error":
            yield f"code cell {number} has an empty output"


def nothing_failed(name: str, notebook: Any, results: Path) -> Iterator[str]:
    for number, output in outputs(notebook):
        if output.output_type == "error" or output.get("name") == "stderr":
            yield f"code cell {number} holds an error or a warning"


def no_machine_shows(name: str, notebook: Any, results: Path) -> Iterator[str]:
    for number, output in outputs(notebook):
        for text in texts(output):
            if found := MACHINE.search(text):
                yield f"code cell {number} prints a path or an address: {found[0]!r}"


def figures_are_backed(name: str, notebook: Any, results: Path) -> Iterator[str]:
    """nbval does not look into pictures: the numbers behind one are compared instead."""
    register = results / f"{name}.json"
    known = json.loads(register.read_text("utf-8"))["figures"] if register.is_file() else {}
    for number, output in outputs(notebook):
        if "image/png" not in output.get("data", {}):
            continue
        figure = output.metadata.get("evalkit", {})
        if "name" not in figure:
            yield f"code cell {number} shows a picture that ek.figures.show did not make"
            continue
        if len(figure.get("alt", "").strip()) < SHORTEST_ALT:
            yield f"code cell {number}: alt text of {figure['name']!r} does not state a finding"
        if not (results / "figures" / f"{name}.{figure['name']}.csv").is_file():
            yield f"code cell {number}: figure {figure['name']!r} has no CSV in results/figures"
        if known.get(figure["name"], {}).get("alt") != figure.get("alt"):
            yield f"code cell {number}: figure {figure['name']!r} is not so in results/{name}.json"


def code_only_tells(name: str, notebook: Any, results: Path) -> Iterator[str]:
    for number, cell in enumerate(nbfile.code_cells(notebook), 1):
        lines = cell.source.splitlines()
        if not 1 <= len(lines) <= LONGEST_CELL:
            yield f"code cell {number} has {len(lines)} lines, of at most {LONGEST_CELL}"
        if cell.source.rstrip().endswith(";"):
            yield f"code cell {number} ends in a semicolon, which is no silence under nbval"
        try:
            nodes = list(ast.walk(ast.parse(cell.source)))
        except SyntaxError:
            yield f"code cell {number} is not plain Python"
            continue
        if any(isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) for n in nodes):
            yield f"code cell {number} defines a function or class; it belongs in the package"


def written_as_saved(name: str, notebook: Any, results: Path) -> Iterator[str]:
    """`make notebooks` is the one way to write outputs, so that a second run changes no byte."""
    before = nbformat.writes(notebook)
    if nbformat.writes(nbfile.normalise(nbformat.reads(before, as_version=4))) != before:
        yield "holds metadata of a single run; run `make notebooks`"


RULES: list[Rule] = [
    counted_from_one,
    outputs_are_there,
    nothing_failed,
    no_machine_shows,
    figures_are_backed,
    code_only_tells,
    written_as_saved,
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_fit_for_comparison(path: Path, rule: Rule) -> None:
    assert not list(rule(path.stem, nbfile.read(path), RESULTS))


def test_every_notebook_has_results_and_every_result_a_notebook() -> None:
    names = {path.stem for path in NOTEBOOKS}
    assert {path.stem for path in RESULTS.glob("*.json")} == names
    assert {path.name.split(".")[0] for path in RESULTS.glob("figures/*")} <= names


# --- The rules can fail -------------------------------------------------------------------------

ALT = "A line that falls from left to right, and never rises again."


def good(results: Path) -> Any:
    """A made-up notebook with a number and a figure that breaks no rule."""
    figure = {"name": "fall", "alt": ALT, "caption": "Falling.", "provenance": "synthetic"}
    (results / "figures").mkdir(parents=True)
    (results / "figures/made_up.fall.csv").write_text("x,y\n0,1\n", "utf-8")
    (results / "made_up.json").write_text(json.dumps({"figures": {"fall": figure}}), "utf-8")
    v4 = nbformat.v4
    printed = v4.new_output("stream", name="stdout", text="2\n")
    picture = v4.new_output("display_data", data={"image/png": "iVBORw0KGgo="})
    picture.metadata = nbformat.from_dict({"evalkit": figure})
    cells = [
        v4.new_code_cell("print(1 + 1)", execution_count=1, outputs=[printed]),
        v4.new_code_cell("draw()", execution_count=2, outputs=[picture]),
    ]
    return nbfile.normalise(v4.new_notebook(cells=cells))


def lose_counts(nb: Any) -> None:
    nb.cells[0].execution_count = None


def strip(nb: Any) -> None:
    for cell in nb.cells:
        cell.outputs = []


def empty(nb: Any) -> None:
    nb.cells[0].outputs[0].text = ""


def fail(nb: Any) -> None:
    nb.cells[0].outputs = [nbformat.v4.new_output("error", ename="E", evalue="", traceback=["E"])]


def warn(nb: Any) -> None:
    nb.cells[0].outputs[0].name = "stderr"


def print_a_path(nb: Any) -> None:
    nb.cells[0].outputs[0].text = "read /" + "home/someone/data.csv"


def print_an_address(nb: Any) -> None:
    nb.cells[0].outputs[0].text = "<Thing at 0x7f3a5c0d1e80>"


def paste_a_picture(nb: Any) -> None:
    nb.cells[1].outputs[0].metadata = {}


def say_nothing(nb: Any) -> None:
    nb.cells[1].outputs[0].metadata["evalkit"]["alt"] = "A plot."


def rename_figure(nb: Any) -> None:
    nb.cells[1].outputs[0].metadata["evalkit"]["name"] = "other"


def define(nb: Any) -> None:
    nb.cells[0].source = "def double(x):\n    return 2 * x"


def go_on(nb: Any) -> None:
    nb.cells[0].source = "\n".join(f"a{i} = {i}" for i in range(LONGEST_CELL + 1))


def say_nothing_in_code(nb: Any) -> None:
    nb.cells[0].source = ""


def silence(nb: Any) -> None:
    nb.cells[0].source = "draw();"


def use_magic(nb: Any) -> None:
    nb.cells[0].source = "%matplotlib inline"


def keep_times(nb: Any) -> None:
    nb.cells[0].metadata["execution"] = {"iopub.status.busy": "2026-01-01T00:00:00Z"}


SPOILED: list[tuple[Rule, Callable[[Any], None]]] = [
    (counted_from_one, lose_counts),
    (outputs_are_there, strip),
    (outputs_are_there, empty),
    (nothing_failed, fail),
    (nothing_failed, warn),
    (no_machine_shows, print_a_path),
    (no_machine_shows, print_an_address),
    (figures_are_backed, paste_a_picture),
    (figures_are_backed, say_nothing),
    (figures_are_backed, rename_figure),
    (code_only_tells, define),
    (code_only_tells, go_on),
    (code_only_tells, say_nothing_in_code),
    (code_only_tells, silence),
    (code_only_tells, use_magic),
    (written_as_saved, keep_times),
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_a_good_notebook_breaks_no_rule(rule: Rule, tmp_path: Path) -> None:
    assert not list(rule("made_up", good(tmp_path), tmp_path))


@pytest.mark.parametrize(("rule", "spoil"), SPOILED, ids=lambda made: made.__name__)
def test_a_spoiled_notebook_breaks_its_rule(
    rule: Rule, spoil: Callable[[Any], None], tmp_path: Path
) -> None:
    notebook = good(tmp_path)
    spoil(notebook)
    assert list(rule("made_up", notebook, tmp_path))


def test_every_rule_is_shown_to_fail() -> None:
    assert {rule for rule, _ in SPOILED} == set(RULES)
