"""What a user can call says what it does, and shows it."""

import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest

import tinygrad_batch as tb

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"
SECTION = re.compile(r"^(\w[\w ]+)\n-{3,}$", re.MULTILINE)
KNOWN = {
    "Parameters", "Other Parameters", "Attributes", "Returns", "Yields", "Raises", "Warns", "See Also", "Notes",
    "References", "Examples", "Methods",
}  # fmt: skip


def public():
    """Return every public function and class of the package and its public subpackages, by dotted name."""
    found = {}
    for path in ("", ".nn", ".nn.init", ".optim", ".data", ".draw", ".batchlab"):
        module = importlib.import_module(f"tinygrad_batch{path}")
        names = getattr(module, "__all__", None) or [n for n in vars(module) if not n.startswith("_")]
        for name in names:
            value = getattr(module, name)
            ours = getattr(value, "__module__", "").startswith("tinygrad_batch")
            if ours and (inspect.isclass(value) or callable(value)):
                found[f"tb{path}.{name}"] = value
    return found


PUBLIC = public()
# What nobody makes by hand: a function returns it, and its example shows one.
RESULTS = {"tb.Drawing", "tb.Trace", "tb.GradcheckReport"}


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_docstring(name):
    value = PUBLIC[name]
    text = inspect.getdoc(value) if not inspect.isclass(value) else inspect.cleandoc(vars(value).get("__doc__") or "")
    assert text, f"{name} has no docstring"
    first = text.partition("\n")[0]
    assert first.endswith((".", ":", "?")) or "\n\n" in text, f"{name}: the first line is not a sentence: {first!r}"
    unknown = set(SECTION.findall(text)) - KNOWN
    assert not unknown, f"{name}: no numpydoc section is called {unknown}"


def needs_example(value):
    if hasattr(value, "op"):
        return False  # an operation: its page is the table of derivatives
    if inspect.isclass(value):
        return not (issubclass(value, Exception) or getattr(value, "_is_protocol", False))
    return inspect.isfunction(value)


@pytest.mark.parametrize("name", sorted(n for n, v in PUBLIC.items() if needs_example(v) and n.count(".") == 1))
def test_example(name):
    text = inspect.getdoc(PUBLIC[name]) or ""
    assert ">>> " in text or name in RESULTS, f"{name} has no example"


def test_every_module_is_in_the_reference():
    pages = "\n".join(path.read_text(encoding="utf-8") for path in REFERENCE.glob("*.md"))
    listed = set(re.findall(r"automodule:: (\S+)", pages))
    inner = {
        *(
            "calling",
            "describe",
            "differences",
            "escape",
            "files",
            "operators",
            "methods",
            "numpy_protocols",
            "naming",
            "symbolic",
        ),
        *("demo", "cli", "__main__", "ops"),
    }
    for info in pkgutil.iter_modules(tb.__path__, "tinygrad_batch."):
        assert info.name in listed or info.name.rpartition(".")[2] in inner, (
            f"add {info.name} to a page in docs/reference"
        )
    for info in pkgutil.iter_modules(importlib.import_module("tinygrad_batch.ops").__path__, "tinygrad_batch.ops."):
        assert info.name in listed, f"add {info.name} to docs/reference/operations.md"
