import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from passing import ops, random_program, run

from tinygrad_batch.program import Builder
from tinygrad_batch.replay.passes import common


def start(shape=(3, 4), dtype="float64"):
    builder = Builder()
    x = builder.variable("x", shape, dtype, "input")
    return builder, x, {x: np.random.default_rng(0).normal(size=shape).astype(dtype)}


def test_the_same_value_is_computed_once():
    builder, x, values = start()
    a, b = builder.add("exp", x), builder.add("exp", x)
    y, z = builder.add("sum", a, axis=0, keepdims=False), builder.add("sum", b, axis=0, keepdims=False)
    after = run(common, builder.program([x], [builder.add("add", y, z)]), values)
    assert ops(after) == ["exp", "sum", "add"]


def test_sums_and_products_are_the_same_in_any_order():
    builder, x, values = start()
    a = builder.add("exp", x)
    y = [builder.add("multiply", *pair) for pair in ((x, a), (a, x), (x, 2), (2, x))]
    z = [builder.add("subtract", *pair) for pair in ((x, a), (a, x))]
    after = run(common, builder.program([x], [*y, *z]), values)
    assert ops(after) == ["exp", "multiply", "multiply", "subtract", "subtract"]


def test_the_better_name_survives():
    builder, x, values = start()
    t = builder.add("exp", x)
    w = builder.add("tanh", t)
    d = builder.add("exp", x, name="dW1")
    after = run(common, builder.program([x], [w, d, t]), values)
    assert [i.output.name for i in after.instructions] == ["dW1", w.name]
    assert after.outputs == (w, d, d)
    assert after.instructions[1].inputs == (d,)


@pytest.mark.parametrize(
    "options",
    [
        [{"index": (slice(0, 2), None)}, {"index": (slice(0, 2), 0)}, {"index": (slice(0, 2, 1), 0)}],
        [{"index": np.array([0, 1])}, {"index": np.array([0, 2])}, {"index": np.array([0, 1], "int32")}],
        [{"index": 1}, {"index": True}, {"index": [1]}],
    ],
)
def test_different_options_are_different(options):
    builder, x, values = start()
    outputs = [builder.add("getitem", x, **o) for o in options]
    outputs += [builder.add("getitem", x, **o) for o in options]
    after = run(common, builder.program([x], outputs), values)
    assert len(after.instructions) == 3


def test_dtypes_as_options():
    builder, x, values = start()
    outputs = [builder.add("astype", x, dtype=d) for d in (np.float32, np.float16, np.float32)]
    assert len(run(common, builder.program([x], outputs), values).instructions) == 2


def test_large_arrays_are_the_same_only_if_they_are_one():
    builder, x, values = start((10,))
    index = np.zeros(1 << 18, int)
    outputs = [builder.add("getitem", x, index=index) for _ in range(2)]
    program = builder.program([x], outputs)
    first, second = program.instructions
    second.options["index"] = first.options["index"]
    assert len(run(common, program, values).instructions) == 1
    second.options["index"] = index.copy()
    assert len(run(common, program, values).instructions) == 2


def test_numbers_of_other_types_and_signs_are_different():
    builder, x, values = start(dtype="int64")
    outputs = [builder.add("multiply", x, c) for c in (1, 1.0, True, 0.0, -0.0, float("nan"), float("nan"))]
    assert len(run(common, builder.program([x], outputs), values).instructions) == 6


def test_equal_constants_are_one():
    builder, x, values = start()
    y = [builder.add("add", x, builder.constant(np.ones(4, dtype))) for dtype in ("float64", "float64", "float32")]
    after = run(common, builder.program([x], y), values)
    assert len(after.constants) == len(after.instructions) == 2


def test_random_numbers_are_never_the_same():
    builder, x, _ = start()
    rng = np.random.default_rng(0)
    outputs = [builder.add("random_mask", x, keep=0.5, rng=rng) for _ in range(2)]
    program = builder.program([x], outputs)
    assert common(program) is program


def test_what_updates_share_belongs_to_none_of_them():
    builder, x, values = start()
    beta = builder.variable("beta", (), "number", "number")
    values[beta] = 0.9
    outputs = []
    for part in range(3):
        builder.part = (0, part)
        rest = builder.add("subtract", 1, beta)
        outputs.append(builder.add("multiply", builder.add("add", x, part), rest))
    after = run(common, builder.program([x], outputs), values)
    assert [i.part for i in after.instructions] == [None, (0, 0), (0, 0), (0, 1), (0, 1), (0, 2), (0, 2)]


@given(st.integers(0, 2**32 - 1))
def test_random_programs_mean_the_same(seed):
    run(common, *random_program(seed))
