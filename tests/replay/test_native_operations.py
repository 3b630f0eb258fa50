"""Every operation of the table, as machine code: the same results as one operation after the other."""

import warnings

import numpy as np
import pytest

from tinygrad_batch.op import TABLE
from tinygrad_batch.program import Builder, evaluate

pytest.importorskip("llvmlite")

from tinygrad_batch.replay.native import build


@pytest.fixture(autouse=True)
def _no_cache(monkeypatch):
    monkeypatch.setenv("TINYGRAD_BATCH_CACHE", "off")


EXACT = {"float32": 3e-6, "float64": 1e-14}


def run(program, values):
    """Build and call a program; return what it gives, and what its living variables hold."""
    live = {v: np.array(values[v]) for v in program.living}
    step = build(program, live)
    return step(*[values[v] for v in program.inputs], *[values[v] for v in program.numbers]), live


def agree(program, values, tolerance, times=1):
    """Assert that machine code gives what `evaluate` gives."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        expected = evaluate(program, values)
        given, live = run(program, values)
    for v, array in zip(program.outputs, given, strict=True):
        want = np.asarray(expected.get(v, v))
        assert array.shape == want.shape
        assert str(array.dtype) == (v.dtype if v.dtype != "number" else "float64")
        close(array, want, tolerance)
    for v, result in program.writes.items():
        close(live[v], expected.get(result, result), tolerance)


def close(given, want, tolerance):
    if np.asarray(want).dtype.kind in "fc":
        scale = np.max(np.abs(want), where=np.isfinite(want), initial=1e-3)
        np.testing.assert_allclose(given, want, rtol=tolerance, atol=tolerance * scale)
    else:
        np.testing.assert_array_equal(given, want)


def program_of(entry, dtype, scalar=None):
    """Return a program that runs every case of an operation, on fresh inputs."""
    builder, rng, values, inputs, outputs = Builder(), np.random.default_rng(3), {}, [], []
    for case in entry.cases:
        given = []
        for array in case.inputs(rng, dtype):
            variable = builder.variable("x", array.shape, dtype, "input")
            values[variable] = array
            inputs.append(variable)
            given.append(variable)
        if scalar is not None and len(given) > 1:
            given[scalar] = 0.75
        outputs.append(builder.add(entry.name, *given, **case.options))
    return builder.program(inputs, outputs), values


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", sorted(TABLE))
def test_operation(name, dtype):
    entry = TABLE[name]
    if entry.random and any(isinstance(c.options.get("rng"), np.random.Generator) for c in entry.cases):
        pytest.skip("draws other numbers each time")
    agree(*program_of(entry, dtype), EXACT[dtype])


@pytest.mark.parametrize("name", sorted(n for n, e in TABLE.items() if e.elementwise and len(e.inputs) == 2))
def test_operation_with_a_number(name):
    for scalar in (0, 1):
        agree(*program_of(TABLE[name], "float32", scalar), EXACT["float32"])


@pytest.mark.parametrize("dtype", ["int64", "int32", "bool", "float16", "uint8"])
def test_other_dtypes(dtype):
    """Integers, booleans and halves: read by machine code, or left to NumPy."""
    builder, rng = Builder(), np.random.default_rng(3)
    x = builder.variable("x", (3, 4), dtype, "input")
    y = builder.variable("y", (3, 4), "float32", "input")
    z = builder.variable("z", (4,), dtype, "input")
    values = {x: rng.integers(0, 2, (3, 4)).astype(dtype), y: rng.normal(size=(3, 4)).astype("float32"),
              z: rng.integers(0, 2, 4).astype(dtype)}  # fmt: skip
    outputs = []
    for name in ("add", "multiply", "divide", "maximum", "less", "equal", "greater_equal", "logical_and"):
        for other in (y, z, 1, 0.5, True):
            if dtype == "bool" and name == "subtract":
                continue
            outputs.append(builder.add(name, x, other))
    for name in ("sum", "mean", "max"):
        outputs += [builder.add(name, x), builder.add(name, x, axis=0)]
    outputs += [builder.add("where", x, y, 2.0), builder.add("reshape", x, shape=(4, 3)), x, z]
    for name in ("exp", "isnan", "abs", "logical_not", "sign") if dtype != "bool" else ("exp", "logical_not"):
        outputs.append(builder.add(name, x))
    for other in ("float32", "float64", "bool", "int64"):
        outputs.append(builder.add("astype", x, dtype=np.dtype(other)))
    agree(builder.program([x, y, z], outputs), values, 1e-3 if dtype == "float16" else 3e-6)
