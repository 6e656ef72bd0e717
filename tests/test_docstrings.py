"""Every public name exists, and its docstring has numpydoc's sections for what it takes and returns."""

import dataclasses
import inspect
import re
import typing

import pytest

import pyneedle
import pyneedle.experiments
import pyneedle.sweep

MODULES = (pyneedle, pyneedle.sweep, pyneedle.experiments)
NAMES = [(module, name) for module in MODULES for name in module.__all__]


def functions(value):
    """Public functions and methods of a name, with how a message calls them."""
    if inspect.isfunction(value):
        yield value.__name__, value
    for name, member in vars(value).items() if inspect.isclass(value) else ():
        plain = inspect.unwrap(getattr(member, "__func__", member))
        if not name.startswith("_") and inspect.isfunction(plain):
            yield f"{value.__name__}.{name}", plain


def section(text, heading):
    """The names that stand in a section "heading"; None where there is none."""
    parts = re.split(r"^(\w[\w ]*)\n-+$", text, flags=re.MULTILINE)
    sections = dict(zip(parts[1::2], parts[2::2], strict=True))
    if heading not in sections:
        return None
    lines = [line.partition(" : ")[0] for line in sections[heading].splitlines() if re.match(r"[\w*]", line)]
    return {name.strip("* ") for line in lines for name in line.split(",")}


@pytest.mark.parametrize(("module", "name"), NAMES, ids=[f"{module.__name__}.{name}" for module, name in NAMES])
def test_public_names_are_documented(module, name):
    value = getattr(module, name)
    assert name in dir(module)
    for label, function in functions(value):
        text, signature = inspect.getdoc(function) or "", inspect.signature(function)
        wanted = {key for key, p in signature.parameters.items() if key not in ("self", "cls")}
        assert text, label
        assert wanted == (section(text, "Parameters") or set()), label
        returns = signature.return_annotation not in (None, "None", inspect.Signature.empty)
        assert returns == bool(section(text, "Returns")), label
    if inspect.isclass(value) and not issubclass(value, BaseException) and not typing.is_typeddict(value):
        # Python gives a dataclass a docstring, which is its signature.
        text = inspect.cleandoc(value.__doc__ or f"{name}(")
        assert not text.startswith(f"{name}(")
        said = (section(text, "Parameters") or set()) | (section(text, "Attributes") or set())
        fields = dataclasses.fields(value) if dataclasses.is_dataclass(value) else ()
        assert {f.name for f in fields if not f.name.startswith("_")} <= said


def test_progress():
    """It is native, so that its signature can't be asked for."""
    said = section(inspect.cleandoc(pyneedle.Progress.__doc__), "Attributes")
    assert said == {name for name in dir(pyneedle.Progress) if not name.startswith("_")}


def test_the_version_is_one_of_three_numbers():
    assert re.fullmatch(r"\d+\.\d+\.\d+\w*", pyneedle.__version__)
