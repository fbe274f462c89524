"""A notebook as a file: written the same way each time, fit for comparing and for rendering."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat

KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}


class NotebookError(Exception):
    """A notebook, or what it printed or wrote, is not fit for the book."""


def read(path: Path) -> Any:
    return nbformat.read(path, as_version=4)


def dump(notebook: Any) -> bytes:
    text: str = nbformat.writes(notebook)
    return (text.rstrip("\n") + "\n").encode()


def code_cells(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def normalise(notebook: Any) -> Any:
    """Drop what differs between runs and machines without being a result."""
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
    notebook.metadata["kernelspec"] = dict(KERNEL)
    notebook.metadata.get("language_info", {}).pop("version", None)
    return notebook


def describe_figures(notebook: Any) -> Any:
    """Give each figure's cell the alt text, name and caption that MyST-NB renders."""
    for cell in code_cells(notebook):
        figures = [made for out in cell.outputs if (made := out.get("metadata", {}).get("evalkit"))]
        if len(figures) > 1:
            names = ", ".join(figure["name"] for figure in figures)
            raise NotebookError(f"one cell shows several figures ({names}); give each its own cell")
        for figure in figures:
            cell.metadata["mystnb"] = {
                "image": {"alt": figure["alt"]},
                "figure": {"name": figure["name"], "caption": figure["caption"]},
            }
    return notebook


def with_outputs(notebook: Any, run: Any) -> Any:
    """The present prose around the outputs that a run of the same code cells gave."""
    for cell, done in zip(code_cells(notebook), code_cells(run), strict=True):
        cell.outputs, cell.execution_count = done.outputs, done.execution_count
    notebook.metadata = run.metadata
    return normalise(notebook)


def reads_the_study(notebook: Any) -> bool:
    """Whether a notebook reads the county study, and so can be run on another folder."""
    return any("county_study(" in cell.source for cell in code_cells(notebook))


def only_checked(notebook: Any) -> Any:
    """Drop every output but the tables and figures whose records were counted against the floor."""
    for cell in code_cells(notebook):
        cell.outputs = [out for out in cell.outputs if _is_checked(out)]
        for out in cell.outputs:
            out.data.pop("text/plain", None)
    return notebook


def _is_checked(output: Any) -> bool:
    page = output.get("data", {}).get("text/html", "")
    table = "".join(page).startswith('<div class="evalkit-table')
    return table or "name" in output.get("metadata", {}).get("evalkit", {})


def refuse_stderr(name: str, notebook: Any) -> None:
    for number, cell in enumerate(code_cells(notebook), 1):
        if text := "".join(out.text for out in cell.outputs if out.get("name") == "stderr"):
            raise NotebookError(
                f"{name}: code cell {number} wrote to stderr, where readers would see it; "
                f"remove the cause of the warning:\n{text.strip()}"
            )
