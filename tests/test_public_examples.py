"""A reader copies the example of a docstring into an empty session: it must run there."""

import doctest
import inspect

import pytest

import evalkit as ek

PUBLIC = [*ek._DOORS, *ek._ROOMS]


def documented(name):
    """Public objects of a name, and the methods of classes, by their names."""
    found = getattr(ek, name)
    own = {name: found} if name in ek._DOORS else vars(found)
    for label, value in own.items():
        if label[:1] == "_" or not getattr(value, "__module__", "").startswith("evalkit."):
            continue
        yield label, value
        if inspect.isclass(value):
            yield from ((f"{label}.{m}", v) for m, v in vars(value).items() if m[:1] != "_")


@pytest.mark.parametrize("name", PUBLIC)
def test_an_example_runs_on_its_own_imports(name, monkeypatch):
    monkeypatch.setenv("EVALKIT_RESULTS", "")  # an example may set it
    said = []
    for label, value in documented(name):
        examples = doctest.DocTestParser().get_examples(inspect.getdoc(value) or "")
        test = doctest.DocTest(examples, {}, label, None, None, None)
        doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=said.append)
    assert not said, "".join(said)
