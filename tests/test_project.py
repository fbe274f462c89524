"""The files that describe the project agree with each other and with what they describe."""

from __future__ import annotations

import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
LOCKS = (
    "requirements.lock",
    "requirements-bootstrap.lock",
    "requirements-data.lock",
    "requirements-spark.lock",
)
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
PYTHONS = ("3.11", "3.12", "3.13")


def text(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def pins(name: str) -> dict[str, set[Version]]:
    """Locked versions of each package; more than one where Pythons or systems differ."""
    found: dict[str, set[Version]] = {}
    for line in text(name).splitlines():
        if line[:1].strip():
            requirement = Requirement(line.rstrip(" \\"))
            (pin,) = requirement.specifier
            assert pin.operator == "=="
            found.setdefault(canonicalize_name(requirement.name), set()).add(Version(pin.version))
    return found


def asked_for() -> Iterator[Requirement]:
    project = PROJECT["project"]
    for group in (project["dependencies"], *project["optional-dependencies"].values()):
        yield from map(Requirement, group)


# --- Locks --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*LOCKS, "environment.yml", "pyproject.toml"])
def test_no_address_and_no_index_stands_in_what_is_installed(name: str) -> None:
    assert not re.search(r"://|--(extra-)?index|--find-links", text(name))


@pytest.mark.parametrize("name", LOCKS)
def test_every_locked_package_has_a_hash(name: str) -> None:
    entries = re.split(r"^(?=\S)", text(name), flags=re.MULTILINE)[1:]
    assert entries
    assert not [entry for entry in entries if "--hash=sha256:" not in entry]


def test_the_lock_holds_what_pyproject_asks_for() -> None:
    locked = pins("requirements-spark.lock") | pins("requirements.lock")
    for requirement in asked_for():
        name = canonicalize_name(requirement.name)
        if name != PROJECT["project"]["name"]:
            assert all(requirement.specifier.contains(pin) for pin in locked[name]), requirement


def test_the_build_tools_are_the_same_in_both_locks() -> None:
    bootstrap, locked = pins("requirements-bootstrap.lock"), pins("requirements.lock")
    assert set(bootstrap) - set(locked) == {"uv"}
    assert all(bootstrap[name] == locked[name] for name in bootstrap if name != "uv")
    for requirement in map(Requirement, PROJECT["dependency-groups"]["bootstrap"]):
        assert all(requirement.specifier.contains(v) for v in bootstrap[requirement.name])


def test_conda_installs_the_same_pythons_and_the_same_lock() -> None:
    environment = yaml.safe_load(text("environment.yml"))
    python, pip, packages = environment["dependencies"]
    wanted = SpecifierSet(PROJECT["project"]["requires-python"])
    assert SpecifierSet(python.removeprefix("python ")) == wanted
    assert (pip, packages) == ("pip", {"pip": ["-r requirements.lock"]})
    assert environment["name"] == PROJECT["project"]["name"]


def test_the_package_is_installed_the_same_way_everywhere() -> None:
    step = "pip install --no-deps --no-build-isolation -e ."
    for name in ("environment.yml", "postBuild", "README.md"):
        assert step in text(name), name


def test_every_place_names_the_same_pythons() -> None:
    wanted = SpecifierSet(PROJECT["project"]["requires-python"])
    assert [f"3.{minor}" for minor in range(8, 20) if f"3.{minor}.5" in wanted] == [*PYTHONS]
    classifiers = PROJECT["project"]["classifiers"]
    assert [c.rpartition(" ")[2] for c in classifiers if "Python :: 3." in c] == [*PYTHONS]
    matrix = workflow("test.yml")["jobs"]["test"]["strategy"]["matrix"]
    assert matrix["python"] == [*PYTHONS]
    assert " | ".join(PYTHONS) in text("tools/bootstrap.sh")


# --- Commands -----------------------------------------------------------------------------------


def workflow(name: str) -> Any:
    return yaml.safe_load(text(f".github/workflows/{name}"))


def commands(name: str) -> list[str]:
    jobs = workflow(name)["jobs"].values()
    return [step["run"] for job in jobs for step in job["steps"] if "run" in step]


def test_ci_calls_the_targets_that_a_newcomer_calls() -> None:
    assert commands("test.yml") == ["make test"]
    assert "make book" in commands("book.yml")
    run = text(".ci/run")
    assert 0 < run.index("make test") < run.index("make book")


def test_help_lists_every_target_that_the_readme_names() -> None:
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    listed = set(re.findall(r"^  make (\S+)", shown.stdout, re.MULTILINE))
    for page in ("README.md", "CONTRIBUTING.md", "book/reproduce.md", "book/index.md"):
        assert set(re.findall(r"\bmake ([a-z-]+)", code(text(page)))) <= listed, page


def code(page: str) -> str:
    """Only the code spans and code blocks of a page."""
    return "\n".join(re.findall(r"`[^`]+`", page))


def test_bootstrap_says_in_one_line_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "tools").mkdir()
    for name in (*LOCKS, "pyproject.toml", "tools/bootstrap.sh"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    done = subprocess.run(
        ["sh", "tools/bootstrap.sh"],
        cwd=tmp_path,
        env={"PYTHON": "no-such-python", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "3.11, 3.12 or 3.13" in done.stderr
    assert not (tmp_path / ".venv").exists()


# --- Descriptions -------------------------------------------------------------------------------


def pages_of(toc: Any) -> Iterator[str]:
    """Every page of the table of contents, in reading order."""
    if isinstance(toc, list):
        for item in toc:
            yield from pages_of(item)
    elif isinstance(toc, dict):
        for name, value in toc.items():
            if name in ("root", "file"):
                yield value
            else:
                yield from pages_of(value)


def table(header: str) -> list[list[str]]:
    """Rows of the README's table whose first column is so named."""
    lines = text("README.md").splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(f"| {header} |"))
    stop = lines.index("", start)
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[start + 2 : stop]]


def chapters() -> dict[str, tuple[str, str]]:
    """Page of the book -> its notebook and data."""
    pages = {re.findall(r"\((.+)\.\w+\)", page)[0]: rest for page, *rest in table("chapter")}
    return {page: (notebook.strip("`"), data) for page, (notebook, data) in pages.items()}


def test_readme_lists_the_chapters_in_the_book_s_order() -> None:
    assert list(chapters()) == list(pages_of(yaml.safe_load(text("_toc.yml"))))


def test_readme_says_where_the_data_of_each_chapter_are() -> None:
    for page, (notebook, data) in chapters().items():
        assert notebook == (f"{page}.ipynb" if page.startswith("notebooks/") else "")
        for name in re.findall(r"`(.+?)`", data):
            assert f"`{name}`" in [row[0] for row in table("data set")], name


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_what_a_page_at_the_top_links_to_is_there(page: str) -> None:
    links = [link for link in re.findall(r"\]\(([^)]+)\)", text(page)) if "://" not in link]
    assert not [link for link in links if not (ROOT / link).exists()]


def test_citation_changelog_and_package_name_one_version() -> None:
    version = PROJECT["project"]["version"]
    citation = yaml.safe_load(text("CITATION.cff"))
    assert citation["version"] == version
    (latest, date), *_ = re.findall(r"^## (\S+) \((\S+)\)$", text("CHANGELOG.md"), re.M)
    assert (latest, date) == (version, citation["date-released"])
    assert f"version {version}" in text("README.md")


def test_every_release_says_which_numbers_changed() -> None:
    releases = re.split(r"^## ", text("CHANGELOG.md"), flags=re.M)[1:]
    assert releases
    assert all("### Numbers that changed" in release for release in releases)
