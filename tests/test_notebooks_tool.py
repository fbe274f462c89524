"""Staging, saving and comparing notebooks, on a made-up project."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat import v4

import nbfile
import notebooks
from agreement import differences
from nbfile import NotebookError
from notebooks import Project, Tree, tree

WRITES = """import json, os, pathlib
folder = pathlib.Path(os.environ["EVALKIT_RESULTS"])
claim = {"value": 0.5, "display": "0.50", "tolerance": 1e-8}
register = {"claims": {"half": claim}, "figures": {}}
(folder / "one.json").write_text(json.dumps(register))
print(claim["display"])"""


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    write(tmp_path / "_config.yml", "title: made up\n")
    write(tmp_path / "_toc.yml", "format: jb-book\nroot: book/index\n")
    write(tmp_path / "requirements.lock", "numpy==2.0.0\n")
    write(tmp_path / "src/evalkit/estimator.py", "ANSWER = 1\n")
    write(tmp_path / "data/measures.csv", "id\n1\n")
    write(tmp_path / "book/index.md", "# Front\n")
    write(tmp_path / "book/_build/html/index.html", "built before")
    cells = [v4.new_markdown_cell("# One"), v4.new_code_cell(WRITES)]
    write(tmp_path / "notebooks/one.ipynb", nbformat.writes(v4.new_notebook(cells=cells)))
    return Project(tmp_path)


def change(project: Project, part: str) -> None:
    path = project.root / part
    write(path, path.read_text("utf-8") + "\n")


def edit(project: Project, cell: int, source: str) -> None:
    path = project.notebooks()["one"]
    notebook = nbfile.read(path)
    notebook.cells[cell].source = source
    path.write_bytes(nbfile.dump(notebook))


def tracked(project: Project) -> Tree:
    """Everything but what git ignores."""
    files = tree(project.root)
    return {name: text for name, text in files.items() if not name.startswith(".proven")}


@pytest.mark.parametrize(
    "part", ["src/evalkit/estimator.py", "data/measures.csv", "requirements.lock"]
)
def test_source_data_and_lock_make_a_notebook_unproven(project: Project, part: str) -> None:
    before = project.run("one")
    change(project, part)
    assert project.run("one") != before


def test_code_makes_a_notebook_unproven_and_prose_does_not(project: Project) -> None:
    before = project.run("one")
    edit(project, 0, "# Another title")
    assert project.run("one") == before
    edit(project, 1, "print(2)")
    assert project.run("one") != before


def test_sync_touches_only_what_differs_and_removes_leftovers(tmp_path: Path) -> None:
    notebooks.sync({"same": b"1", "old/gone": b"2", "moved": b"3"}, tmp_path)
    stamp = (tmp_path / "same").stat().st_mtime_ns
    assert notebooks.sync({"same": b"1", "moved": b"4"}, tmp_path) == {"old/gone", "moved"}
    assert tree(tmp_path) == {"same": b"1", "moved": b"4"}
    assert (tmp_path / "same").stat().st_mtime_ns == stamp


def shown(*names: str) -> Any:
    outputs = [
        v4.new_output(
            "display_data",
            data={"image/png": ""},
            metadata={"evalkit": {"name": name, "alt": f"{name} fell", "caption": "Fall."}},
        )
        for name in names
    ]
    return v4.new_notebook(cells=[v4.new_code_cell("draw()", outputs=outputs)])


def test_a_figure_gives_its_cell_alt_text_name_and_caption() -> None:
    cell = nbfile.describe_figures(shown("gap")).cells[0]
    assert cell.metadata["mystnb"] == {
        "image": {"alt": "gap fell"},
        "figure": {"name": "gap", "caption": "Fall."},
    }


def test_two_figures_in_one_cell_are_refused() -> None:
    with pytest.raises(NotebookError, match="gap, dose"):
        nbfile.describe_figures(shown("gap", "dose"))


def test_normalising_drops_what_belongs_to_one_run() -> None:
    notebook = v4.new_notebook(cells=[v4.new_code_cell("1", metadata={"execution": {"t": "now"}})])
    notebook.metadata = nbformat.from_dict(
        {"kernelspec": {"name": "mine"}, "language_info": {"name": "python", "version": "3.11.7"}}
    )
    done = nbfile.normalise(notebook)
    assert done.metadata == {
        "kernelspec": nbfile.KERNEL,
        "language_info": {"name": "python"},
    }
    assert done.cells[0].metadata == {}


# --- With a kernel ------------------------------------------------------------------------------


@pytest.mark.slow
def test_saving_twice_changes_no_byte_and_staging_executes_nothing_then(
    project: Project, capfd: pytest.CaptureFixture[str]
) -> None:
    notebooks.save(project)
    first = tracked(project)
    assert json.loads(first["results/one.json"])["claims"]["half"]["value"] == 0.5
    notebooks.save(project)
    assert tracked(project) == first
    capfd.readouterr()
    notebooks.stage(project)
    assert "0 executed" in capfd.readouterr().out
    assert tracked(project) == first
    staged = tree(project.stage)
    assert staged["results/one.json"] == first["results/one.json"]
    assert "book/_build/html/index.html" not in staged


@pytest.mark.slow
def test_staging_executes_what_changed_and_leaves_tracked_files_alone(
    project: Project, capfd: pytest.CaptureFixture[str]
) -> None:
    notebooks.save(project)
    edit(project, 1, WRITES.replace("0.5,", "0.7,"))
    before = tracked(project)
    notebooks.stage(project)
    said = capfd.readouterr()
    assert "1 executed" in said.out
    assert "half.value is 0.7, committed 0.5" in said.err
    assert tracked(project) == before
    assert json.loads(tree(project.stage)["results/one.json"])["claims"]["half"]["value"] == 0.7


@pytest.mark.slow
def test_a_proven_notebook_is_staged_with_the_committed_outputs(project: Project) -> None:
    notebooks.save(project)
    change(project, "src/evalkit/estimator.py")
    notebooks.prove(project)
    edit(project, 0, "# New prose around the same code")
    notebooks.stage(project)
    staged = nbfile.read(project.stage / "notebooks/one.ipynb")
    assert staged.cells[0].source == "# New prose around the same code"
    assert staged.cells[1].outputs[0].text == "0.50\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("1 / 0", "ZeroDivisionError"),
        ("import warnings; warnings.warn('look out')", "code cell 1 wrote to stderr"),
    ],
)
def test_a_failing_or_warning_notebook_is_refused_and_nothing_is_written(
    project: Project, source: str, message: str
) -> None:
    edit(project, 1, source)
    before = tracked(project)
    with pytest.raises(NotebookError, match=message):
        notebooks.save(project)
    assert tracked(project) == before
    assert not tree(project.root / ".proven")


# --- Comparing ----------------------------------------------------------------------------------

CLAIM = {"value": 0.5, "se": 0.1, "low": None, "display": "0.50", "unit": "sd", "tolerance": 1e-8}
REGISTER = {"notebook": "one", "claims": {"half": CLAIM}, "figures": {"gap": {"alt": "It fell."}}}
CSV = "year,gap,provenance\n1994,0.25,real\n1995,,real\n"


def results(register: Any = REGISTER, rows: str = CSV) -> Tree:
    return {"one.json": json.dumps(register).encode(), "figures/one.gap.csv": rows.encode()}


def with_claim(**fields: Any) -> Any:
    return {**REGISTER, "claims": {"half": {**CLAIM, **fields}}}


@pytest.mark.parametrize(
    "got",
    [
        results(),
        results(with_claim(value=0.5 * (1 + 1e-9))),
        results(rows=CSV.replace("0.25", "0.25000000001")),
    ],
)
def test_rounding_is_no_difference(got: Tree) -> None:
    assert not list(differences(got, results()))


@pytest.mark.parametrize(
    ("got", "message"),
    [
        (results(with_claim(value=0.5001)), "half.value is 0.5001, committed 0.5"),
        (results(with_claim(se=None)), "half.se is None"),
        (results(with_claim(low=0.3)), "half.low is 0.3"),
        (results(with_claim(value=float("nan"))), "half.value is nan"),
        (results(with_claim(display="0.51")), "half.display"),
        (results(with_claim(unit="pp")), "half.unit"),
        (results(with_claim(tolerance=1.0)), "half.tolerance"),
        (results({**REGISTER, "claims": {}}), "claim half is committed"),
        (results({**REGISTER, "claims": {"half": CLAIM, "new": CLAIM}}), "claim new is not"),
        (results({**REGISTER, "figures": {"gap": {"alt": "It rose."}}}), "figures is"),
        (results(rows=CSV.replace("0.25", "0.2501")), "line 2"),
        (results(rows=CSV.replace("1995,,", "1995,0,")), "line 3"),
        (results(rows=CSV.replace("real", "synthetic")), "line 2"),
        (results(rows=CSV + "1996,0.3,real\n"), "4 lines, committed 3"),
        (results(rows=CSV.replace("gap", "ratio")), "line 1"),
        ({"one.json": results()["one.json"]}, "no notebook wrote it"),
        ({**results(), "two.json": b"{}"}, "written, but not committed"),
    ],
)
def test_a_changed_result_is_a_difference(got: Tree, message: str) -> None:
    assert any(message in line for line in differences(got, results()))


def compared(project: Project, rerun: Tree, act: Callable[..., None]) -> None:
    notebooks.sync(results(), project.results)
    notebooks.sync(rerun, project.root / "rerun")
    act(project, project.root / "rerun")


def test_the_comparison_passes_on_equal_results_and_stops_on_others(project: Project) -> None:
    compared(project, results(), notebooks.compare)
    with pytest.raises(NotebookError, match=r"half\.value"):
        compared(project, results(with_claim(value=0.6)), notebooks.compare)
