"""A file imports only from the floors below it, and importing the package is light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "tinygrad_batch"
# The building, from the ground up. A line may import from the lines above it here, and from nothing else.
FLOORS = """
    errors
    shapes
    formula files
    graph state
    calling
    op
    ops
    autodiff
    functional
    operators methods numpy_protocols
    tensor
    creation
    transforms
    differences
    checks
    program
    trace
    describe naming symbolic escape languages
    capture
    recompute
    nn data optim
    memory accumulate
    draw
    replay explain export
    problem saving
    train batchlab distributed
    demo
    cli sklearn
    __main__
"""
FLOOR = {name: number for number, line in enumerate(FLOORS.split("\n")) for name in line.split()}
FILES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")
HEAVY = [
    *("matplotlib", "scipy", "torch", "graphviz", "pygraphviz", "tqdm", "safetensors", "sklearn", "onnx", "numba"),
    *("pyarrow", "h5py", "zarr"),
]


def room(path):
    """Return the module or subpackage right below the package that a file belongs to."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imported(path):
    """Yield (line, room) for what a file of the package imports from the package when it is imported."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    package = ["tinygrad_batch", *path.relative_to(PACKAGE).parts[:-1]]
    for node in outside_type_checking(tree):
        if isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = [*base, *(node.module.split(".") if node.module else [])]
            for alias in node.names:
                full = [*module, alias.name]
                if full[0] == "tinygrad_batch":
                    yield node.lineno, full[1]
        elif isinstance(node, ast.Import):
            for alias in node.names:
                full = alias.name.split(".")
                if full[0] == "tinygrad_batch":
                    yield node.lineno, full[1] if len(full) > 1 else "__init__"


def outside_type_checking(node):
    """Walk a syntax tree, leaving out the blocks that only the type checker reads."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            continue
        yield child
        yield from outside_type_checking(child)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_file_imports_from_floors_below(path):
    own = room(path)
    assert own in FLOOR, f"{own} has no floor yet: give it one in {Path(__file__).name}"
    for line, other in imported(path):
        if own == other or other.startswith("__version"):
            continue
        assert other in FLOOR, f"line {line} imports {other}, which has no floor"
        assert FLOOR[other] < FLOOR[own], f"line {line} imports {other}, which is not on a floor below {own}"


def test_there_is_no_circle_at_all():
    """Every module can be the first one imported."""
    names = [room(path) for path in FILES if path.parent == PACKAGE and room(path) not in ("cli", "__main__")]
    code = "import importlib, sys\n" + "\n".join(
        "for m in [m for m in sys.modules if m.startswith('tinygrad_batch')]: del sys.modules[m]\n"
        f"importlib.import_module('tinygrad_batch.{name}')"
        for name in names
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr


def test_importing_the_package_is_light():
    code = f"import sys, tinygrad_batch; print(*[m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [], "imported with the package; import them where they are used"


def test_type_checking_blocks_do_not_count():
    tree = ast.parse(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .op import Op\ndef f():\n    import math"
    )
    names = [
        a.name
        for node in outside_type_checking(tree)
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for a in node.names
    ]
    assert names == ["TYPE_CHECKING", "math"]
