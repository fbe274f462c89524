"""The shape of the package: floors, weight of an import, length of modules, words that belong on
one floor only, documentation of what is public."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import evalkit as ek

ROOT = Path(ek.__file__).parent
MODULES = sorted(ROOT.rglob("*.py"))
FLOORS = ("core", "data", "engines", "did", "gaps", "value_added", "inference", "show")
LONGEST = 400  # lines; STYLE.md: 350 is a reason to think again
HEAVY = ("pandas", "scipy.stats", "matplotlib", "seaborn", "great_tables", "pandera", "IPython")


def name(path):
    return str(path.relative_to(ROOT))


def floor(path):
    parts = path.relative_to(ROOT).parts
    return parts[0] if len(parts) > 1 else ""


def run(code):
    """Run a line in a fresh interpreter and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_imports_only_point_down_the_floors():
    project = ROOT.parents[1]
    tool = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([str(tool)], cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_importing_evalkit_loads_no_heavy_package():
    loaded = run(f"import sys, evalkit; print([m for m in {HEAVY} if m in sys.modules])")
    assert loaded == "[]"


def test_importing_the_estimators_and_the_panel_loads_no_heavy_package():
    code = "import sys, evalkit as ek; ek.did, ek.gaps, ek.Panel, ek.Estimate, ek.infer, ek.stack"
    assert run(f"{code}; print([m for m in {HEAVY} if m in sys.modules])") == "[]"


def test_estimating_and_judging_loads_no_heavy_package():
    code = (
        "import sys, evalkit as ek\n"
        "frame = {'i': [a for a in range(24) for _ in range(2)], 't': [0, 1] * 24,\n"
        "         'y': [float(k * k % 7) for k in range(48)],\n"
        "         'g': [1 if a < 12 else None for a in range(24) for _ in range(2)]}\n"
        "panel = ek.Panel.from_frame(frame, outcome='y', unit='i', time='t', cohort='g',\n"
        "                            provenance='synthetic')\n"
        "ek.infer(ek.did.two_way(panel), band=True, vcov='CR2')\n"
    )
    beyond = [package for package in HEAVY if package != "pandas"]  # frames live at the door
    assert run(f"{code}print([m for m in {beyond} if m in sys.modules])") == "[]"


def test_the_cost_of_the_import_is_reported(record_property):
    """Printed, not asserted: a shared machine says nothing exact about time."""
    clock = "import time; a = time.process_time(); import {}; print(time.process_time() - a)"
    numpy, evalkit = (
        min(float(run(clock.format(m))) for _ in range(2)) for m in ("numpy", "evalkit")
    )
    record_property("import_ratio", evalkit / numpy)
    print(f"import evalkit {evalkit:.3f} s, numpy {numpy:.3f} s, ratio {evalkit / numpy:.2f}")


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_a_module_is_short(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_a_module_opens_by_saying_what_it_is_for(path):
    text = path.read_text(encoding="utf-8")
    if text.strip():
        assert ast.get_docstring(ast.parse(text)), "no module docstring"


BELOW_SHOW = [path for path in MODULES if floor(path) not in ("show", "")]
BELOW_INFERENCE = [path for path in BELOW_SHOW if floor(path) != "inference"]


@pytest.mark.parametrize("path", BELOW_SHOW, ids=name)
def test_nothing_below_show_draws(path):
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"\b(matplotlib|seaborn|great_tables|IPython)\b", text)


# Names that belong to inference alone: a standard error, a normal quantile, 1.96.
UNCERTAIN = re.compile(
    r"1\.96|\bnorm\.(ppf|cdf|sf|pdf)|scipy\.stats|\bndtri?\b|\bstdtr(it)?\b|\bp_value\b"
    r"|\bstd_err(or)?\b|\bse\s*=|\bdef se\b|\.se\b|\bconf_(low|high)\b"
)


@pytest.mark.parametrize("path", BELOW_INFERENCE, ids=name)
def test_nothing_below_inference_makes_a_standard_error(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):  # what is said in docstrings is allowed
        if isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.Module)) and ast.get_docstring(
            node
        ):
            node.body[0].value = ast.Constant("")
    found = UNCERTAIN.search(ast.unparse(tree))
    assert not found, f"{found and found.group()} belongs to inference"


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_no_module_asserts_prints_or_leaves_a_note_to_self(path):
    text = path.read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(text)):
        assert not isinstance(node, ast.Assert), f"line {node.lineno}: assert"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id != "print", f"line {node.lineno}: print"
    assert not re.search(r"\b(TODO|FIXME|XXX)\b", text)


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_a_function_fits_on_a_screen(path):
    """Sixty lines of code; docstrings do not count."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            start = node.body[0]
            documented = ast.get_docstring(node) is not None
            first = start.end_lineno if documented else node.lineno
            length = node.end_lineno - first
            limit = (
                90 if node.name == "from_frame" else 60
            )  # the door checks one thing after another
            assert length <= limit, f"{node.name}: {length} lines"


def _public():
    """Every public function: of the package's doors and of its rooms."""
    found = {}
    for door in ek.__all__:
        value = getattr(ek, door)
        if inspect.isfunction(value):
            found[door] = value
        elif inspect.ismodule(value):
            names = getattr(value, "__all__", None) or [
                n for n, f in vars(value).items()
                if inspect.isfunction(f) and f.__module__ == value.__name__ and n[0] != "_"
            ]  # fmt: skip
            found |= {f"{door}.{n}": getattr(value, n) for n in names}
    return {n: f for n, f in found.items() if inspect.isfunction(f)}


PUBLIC = _public()
# They write files or draw; their examples are the chapters of the book.
SHOWN = ("claim", "figures.", "tables.")


@pytest.mark.parametrize("function", PUBLIC.values(), ids=PUBLIC.keys())
def test_a_public_function_is_documented(function):
    text = inspect.getdoc(function)
    assert text
    assert text.split("\n")[0].endswith((".", ":")), "the first line is a sentence"


COMPUTED = {n: f for n, f in PUBLIC.items() if not n.startswith(SHOWN)}


@pytest.mark.parametrize("function", COMPUTED.values(), ids=COMPUTED.keys())
def test_a_public_function_has_a_runnable_example(function):
    text = inspect.getdoc(function)
    assert "Examples\n--------" in text
    assert ">>> " in text


CARD = (
    "Estimand.",
    "Assumptions.",
    "Estimator.",
    "Contribution.",
    "Reference.",
    "Checked against.",
    "Fails when.",
)
MODELS = (
    "value_added.multilevel",
    "value_added.crossed",
    "value_added.drift",
)  # of pupils or their sums; no psi
MADE = tuple(f"value_added.{n}" for n in ("fixed", "errors_in_variables", "progress"))
ESTIMATORS = {n: f for n, f in PUBLIC.items() if n.startswith(("did.", "gaps.")) or n in MADE}
CARDED = ESTIMATORS | {n: PUBLIC[n] for n in MODELS}


@pytest.mark.parametrize("function", CARDED.values(), ids=CARDED.keys())
def test_an_estimator_opens_with_its_card_in_order(function):
    text = inspect.getdoc(function)
    places = [text.find(f"**{part}**") for part in CARD]
    assert all(place >= 0 for place in places), dict(zip(CARD, places, strict=True))
    assert places == sorted(places)


@pytest.mark.parametrize("function", ESTIMATORS.values(), ids=ESTIMATORS.keys())
def test_an_estimator_takes_a_panel_and_keyword_options_only(function):
    first, *options = inspect.signature(function).parameters.values()
    # A gap can be computed from sums as well: its data are a panel or summaries.
    assert first.name in (("panel", "data") if ".gaps." in function.__module__ else ("panel",))
    assert all(option.kind is option.KEYWORD_ONLY for option in options)
    documented = inspect.getdoc(function)
    for option in options:
        inherited = "absorb, covariates, by_time" in documented or "As in" in documented
        named = re.search(rf"\b{option.name}\b", documented)
        assert named or inherited, f"{option.name} is not documented"


def test_every_estimator_stands_under_the_laws():
    from test_laws.estimators import CASES

    tested = " ".join(inspect.getsource(case.run) for case in CASES)
    for estimator in ESTIMATORS:
        assert f"ek.{estimator}(" in tested, f"{estimator} has no case in test_laws/estimators.py"


def test_every_name_of_the_package_opens():
    for door in ek.__all__:
        assert getattr(ek, door) is not None
    assert set(ek.__all__) <= set(dir(ek))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = ek.nothing


def test_every_module_of_the_package_can_be_imported():
    for path in MODULES:
        parts = path.relative_to(ROOT.parent).with_suffix("").parts
        import_module(".".join(parts).removesuffix(".__init__"))


def test_the_floors_are_the_folders():
    folders = {path.name for path in ROOT.iterdir() if (path / "__init__.py").exists()}
    assert folders == set(FLOORS)
