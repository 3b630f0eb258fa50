"""Every operation of the table, run by a plan."""

import numpy as np
import pytest
from planning import check

from tinygrad_batch.errors import DtypeError
from tinygrad_batch.op import TABLE
from tinygrad_batch.program import Builder

CALLS = [
    pytest.param(entry, case, id=f"{name}-{i}") for name, entry in TABLE.items() for i, case in enumerate(entry.cases)
]


def single(entry, case, dtype, kinds=None, lay=np.asarray):
    """Return the program of one operation, and values to run it on."""
    builder = Builder()
    arrays = [lay(a) for a in case.inputs(np.random.default_rng(0), dtype)]
    kinds = kinds or ["input"] * len(arrays)
    given = [builder.variable("x", a.shape, a.dtype, kind) for a, kind in zip(arrays, kinds, strict=True)]
    options = dict(case.options)
    if "rng" in options:
        options["rng"] = np.random.default_rng(3)
    out = builder.add(entry.name, *given, **options)
    values = dict(zip(given, arrays, strict=True))
    return builder, given, out, values


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int64"])
@pytest.mark.parametrize(("entry", "case"), CALLS)
def test_single_operation(entry, case, dtype):
    if entry.random:
        return
    if entry.name in ("unbroadcast", "sum_rows") and dtype == "int64":
        return  # these only ever meet gradients
    try:
        with np.errstate(all="ignore"):
            builder, given, out, values = single(entry, case, dtype)
    except (DtypeError, ValueError):
        assert dtype == "int64"  # such as an integer to a negative power
        return
    check(builder.program(given, [out]), values)


@pytest.mark.parametrize(("entry", "case"), CALLS)
def test_result_is_used_further_and_written_to_a_state(entry, case):
    if entry.random:
        return
    builder, given, out, values = single(entry, case, "float64", ["state"] * len(case.shapes))
    state = builder.variable("result", out.shape, out.dtype, "state")
    values[state] = np.ones(out.shape, out.dtype)
    more = builder.add("add", builder.add("multiply", out, state), 1)
    writes = {state: out}
    for v in given:
        if v.shape == out.shape and v.dtype == more.dtype:
            writes[v] = more
    calls = 1 if entry.name in ("pick", "place") else 3  # what is written over labels is none
    check(builder.program([], [more, state], writes), values, calls)


def strided(array):
    return np.repeat(array, 2, axis=-1)[..., ::2] if array.ndim else array


def turned(array):
    return np.asfortranarray(array)


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


@pytest.mark.parametrize("lay", [strided, turned, read_only])
@pytest.mark.parametrize(("entry", "case"), CALLS)
def test_inputs_of_any_layout(entry, case, lay):
    if entry.random or entry.name == "scatter_add":
        return
    builder, given, out, values = single(entry, case, "float64", lay=lay)
    program = builder.program(given, [out])
    live_values = {v: lay(a) for v, a in values.items()}
    from tinygrad_batch.program import evaluate
    from tinygrad_batch.replay.plan import build

    outputs = build(program, {})(*live_values.values())
    np.testing.assert_allclose(outputs[0], evaluate(program, values)[out], rtol=1e-12, atol=1e-14)


def test_random_numbers_are_drawn_in_order():
    builder = Builder()
    x = builder.variable("x", (40,), "float64", "input")
    rng = np.random.default_rng(5)
    first = builder.add("random_mask", x, keep=0.5, rng=rng)
    second = builder.add("random_mask", x, keep=0.5, rng=rng)
    late = builder.add("multiply", first, 2.0)
    program = builder.program([x], [builder.add("subtract", second, late)])
    from tinygrad_batch.replay.plan import build

    (out,) = build(program, {})(np.ones(40))
    again = np.random.default_rng(5)
    a, b = 2.0 * (again.random(40) < 0.5), 2.0 * (again.random(40) < 0.5)
    np.testing.assert_array_equal(out, b - 2 * a)
