import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from passing import one, ops, random_program, run

from tinygrad_batch.program import Builder
from tinygrad_batch.replay.passes import dead, lower, simplify

EDGES = np.array([-np.inf, -2.0, -0.0, 0.0, 3.0, np.inf, np.nan])


def tidy(program):
    return dead(simplify(program))


def chain(*steps, dtype="float64", shape=(2, 3)):
    """Return a program that applies operations, each given as (name, inputs, options) with ... for the last value."""
    builder = Builder()
    x = builder.variable("x", shape, dtype, "input")
    value = x
    for op, inputs, options in steps:
        value = builder.add(op, *[x if v == "x" else value if v is ... else v for v in inputs], **options)
    array = np.arange(np.prod(shape)).reshape(shape) - 2.5
    return builder.program([x], [value]), {x: array.astype(dtype)}


@pytest.mark.parametrize(
    "call",
    [
        one("multiply", EDGES, 1), one("multiply", 1.0, EDGES), one("divide", EDGES, 1),
        one("add", EDGES, -0.0), one("subtract", EDGES, 0), one("subtract", EDGES, 0.0),
        one("positive", EDGES), one("astype", EDGES, dtype=np.float64), one("reshape", EDGES, shape=(-1,)),
        one("broadcast_to", EDGES, shape=(7,)), one("transpose", EDGES), one("where", True, EDGES, 2.0),
        one("spread", EDGES.reshape(7, 1), shape=(7, 1), axis=1),
    ],
)  # fmt: skip
def test_what_changes_nothing_goes(call):
    after = run(tidy, *call)
    assert after.instructions == ()
    assert after.outputs == call[0].inputs


@pytest.mark.parametrize(
    "call",
    [
        one("add", EDGES, 0.0), one("add", EDGES, 0), one("subtract", EDGES, -0.0),  # -0.0 would stay -0.0
        one("multiply", np.arange(3), 1.0), one("multiply", EDGES[:, None], np.ones((1, 1))),
        one("divide", EDGES, 3), one("divide", EDGES, 0.0), one("divide", np.arange(3), 1),
        one("divide", EDGES, 2.0**-1074), one("multiply", EDGES.astype("float16"), 1.0 + 0j),
        one("reshape", EDGES, shape=(7, 1)), one("subtract", 0, EDGES), one("where", False, EDGES[:, None], EDGES),
        one("multiply", EDGES > 0, EDGES > 0), one("astype", EDGES, dtype="float32"),
    ],
)  # fmt: skip
def test_what_changes_something_stays(call):
    with np.errstate(all="ignore"):
        assert run(tidy, *call) is call[0]


@pytest.mark.parametrize(
    ("steps", "spelled", "number"),
    [
        ([("multiply", (2, ...), {}), ("multiply", (..., 0.1), {})], "multiply", 0.2),
        ([("multiply", (..., 2), {}), ("divide", (..., 10), {})], "multiply", 0.2),
        ([("divide", (..., 4), {}), ("divide", (..., 2), {})], "multiply", 0.125),
        ([("divide", (..., 5), {}), ("multiply", (3, ...), {})], "multiply", 0.6),
        ([("divide", (..., 8), {})], "multiply", 0.125),
        ([("negative", (...,), {}), ("multiply", (2, ...), {})], "multiply", -2),
        ([("multiply", (2, ...), {}), ("negative", (...,), {})], "multiply", -2),
        ([("multiply", (2, ...), {}), ("multiply", (-0.5, ...), {})], "negative", None),
        ([("multiply", (-1, ...), {})], "negative", None),
        ([("multiply", (2, ...), {}), ("multiply", (0.5, ...), {})], None, None),
        ([("negative", (...,), {}), ("negative", (...,), {})], None, None),
        ([("multiply", ("x", "x"), {})], "square", None),
        ([("negative", (...,), {}), ("subtract", ("x", ...), {})], "add", None),
        ([("negative", (...,), {}), ("add", ("x", ...), {})], "subtract", None),
        ([("negative", (...,), {}), ("add", (..., 1), {})], "subtract", None),
        ([("matrix_transpose", (...,), {}), ("matrix_transpose", (...,), {})], None, None),
        ([("transpose", (...,), {}), ("matrix_transpose", (...,), {})], None, None),
        ([("transpose", (...,), {"axes": (1, 0)}), ("transpose", (...,), {})], None, None),
        ([("transpose", (...,), {})], "matrix_transpose", None),
        ([("reshape", (...,), {"shape": (-1,)}), ("reshape", (...,), {"shape": (3, 2)})], "reshape", None),
        ([("reshape", (...,), {"shape": (-1,)}), ("reshape", (...,), {"shape": (2, 3)})], None, None),
        ([("where", (..., "x", "x"), {})], None, None),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_chains(steps, spelled, number, dtype):
    after = run(tidy, *chain(*steps, dtype=dtype), rounding=True)
    assert ops(after) == ([spelled] if spelled else [])
    if number is not None:
        assert after.instructions[0].inputs[1] == pytest.approx(number)


def test_transposes_of_stacks():
    program, values = chain(
        ("transpose", (...,), {"axes": (1, 2, 0)}), ("transpose", (...,), {"axes": (1, 2, 0)}), shape=(2, 3, 4)
    )
    (left,) = run(tidy, program, values).instructions
    assert left.options == {"axes": (2, 0, 1)}
    program, values = chain(
        ("transpose", (...,), {"axes": (1, 2, 0)}), ("transpose", (...,), {"axes": (2, 0, 1)}), shape=(2, 3, 4)
    )
    assert ops(run(tidy, program, values)) == []


@pytest.mark.parametrize(("dtype", "number"), [("float16", 6e4), ("float32", 1e38), ("float64", 1e300)])
def test_a_product_that_the_dtype_does_not_hold_is_not_formed(dtype, number):
    for c in (number, 1 / number):
        program, _ = chain(("multiply", (..., c), {}), ("multiply", (..., c), {}), dtype=dtype)
        assert simplify(program) is program


def test_integers_are_left_alone():
    program, _ = chain(("multiply", (..., 2), {}), ("multiply", (..., 3), {}), dtype="int64")
    assert simplify(program) is program


# --- what repeats a smaller array ------------------------------------------------------------------
def seeded(dtype="float32", op="multiply", shape=(4, 3), axis=None, value=0.5, order=1):
    builder = Builder()
    x = builder.variable("x", (4, 3), "float32", "input")
    c = builder.constant(np.asarray(value, dtype))
    s = builder.add("spread", c, shape=shape, axis=axis)
    out = builder.add(op, *(x, s)[::order])
    return builder.program([x], [out]), {x: np.random.default_rng(0).normal(size=(4, 3)).astype("float32")}


@pytest.mark.parametrize("op", ["multiply", "less_equal", "maximum", "power"])
@pytest.mark.parametrize("order", [1, -1])
def test_a_repeated_constant_becomes_a_plain_number(op, order):
    with np.errstate(all="ignore"):
        after = run(tidy, *seeded(op=op, order=order))
    assert ops(after) == [op]
    assert after.instructions[0].inputs[::order][1] == 0.5
    assert not after.constants


def test_a_constant_that_widens_stays_an_array():
    (only,) = run(tidy, *seeded("float64")).instructions
    assert only.inputs[1].kind == "constant"


def test_what_gives_the_shape_stays():
    builder = Builder()
    x = builder.variable("x", (3,), "float64", "input")
    s = builder.add("broadcast_to", builder.add("tanh", x), shape=(4, 3))
    t = builder.add("broadcast_to", x, shape=(4, 3))
    after = run(tidy, builder.program([x], [builder.add("add", s, t)]), {x: np.arange(3.0)})
    assert ops(after) == ["tanh", "broadcast_to", "add"]


@pytest.mark.parametrize(
    ("source", "axis", "goes"),
    [((3,), 0, True), ((1, 3), 0, True), ((4, 1), 1, True), ((4,), 1, False), ((), None, True), ((1, 1), None, True)],
)
def test_repeating_along_axes(source, axis, goes):
    builder, rng = Builder(), np.random.default_rng(0)
    x = builder.variable("x", (4, 3), "float64", "input")
    s = builder.variable("s", source, "float64", "input")
    out = builder.add("multiply", builder.add("spread", s, shape=(4, 3), axis=axis), x)
    after = run(tidy, builder.program([x, s], [out]), {x: rng.normal(size=(4, 3)), s: rng.normal(size=source)})
    assert ops(after) == (["multiply"] if goes else ["spread", "multiply"])


def test_what_is_the_same_everywhere_is_computed_once():
    builder = Builder()
    s = builder.variable("s", (), "float64", "input")
    spread = builder.add("spread", s, shape=(4, 3), axis=None)
    out = builder.add("negative", builder.add("multiply", spread, 3), name="out")
    after = run(tidy, builder.program([s], [out]), {s: np.array(2.0)})
    assert [(i.op, i.output.shape) for i in after.instructions] == [
        ("multiply", ()),
        ("negative", ()),
        ("spread", (4, 3)),
    ]
    assert after.outputs[0].name == "out"


def test_a_reshaped_repetition_repeats_straight_away():
    builder = Builder()
    s = builder.variable("s", (), "float64", "input")
    out = builder.add("reshape", builder.add("spread", s, shape=(4, 3), axis=None), shape=(12,))
    assert ops(run(tidy, builder.program([s], [out]), {s: np.array(2.0)})) == ["spread"]


def test_where_takes_constants():
    builder = Builder()
    x = builder.variable("x", (4, 3), "float32", "input")
    zero, yes = builder.constant(np.float32(0)), builder.constant(np.array(True))
    c = builder.add("less_equal", x, zero)
    out = builder.add("where", c, zero, builder.add("where", yes, x, 1.0))
    after = run(tidy, builder.program([x], [out]), {x: np.ones((4, 3), "float32")})
    assert ops(after) == ["less_equal", "where"]
    assert after.instructions[1].inputs[1:] == (0.0, x)


def test_the_better_name_survives():
    builder = Builder()
    x = builder.variable("x", (3,), "float64", "input")
    t = builder.add("exp", x)
    d = builder.add("multiply", t, 1, name="dW1")
    after = run(simplify, builder.program([x], [d, builder.add("tanh", t)]), {x: np.ones(3)})
    assert next(i.output.name for i in after.instructions) == "dW1"


@pytest.mark.parametrize("axis", [0, 1, -1, (1,), None])
@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("shape", [(2,), ()])
def test_the_sum_of_what_was_placed_in_each_row(axis, keepdims, shape):
    builder = Builder()
    x, labels = builder.variable("x", shape, "float64", "input"), builder.variable("labels", (2,), "int64", "input")
    placed = builder.add("place", x, labels, shape=(2, 3))
    program = builder.program([x, labels], [builder.add("sum", placed, axis=axis, keepdims=keepdims)])
    after = run(tidy, program, {x: np.ones(shape), labels: np.array([2, 0])})
    if axis in (0, None) or shape == ():
        assert after is program
    else:
        assert ops(after) == ["reshape"] * keepdims


@pytest.mark.parametrize("axis", [0, 1])
def test_the_exponential_of_a_log_softmax_is_the_softmax(axis):
    program, values = chain(("log_softmax", (...,), {"axis": axis}), ("exp", (...,), {}))
    after = run(lambda p: tidy(lower(p)), program, values, rounding=True)
    assert ops(after) == ["max", "subtract", "exp", "sum", "divide"]
    left = chain(("exp", (...,), {}), ("log", (...,), {}), ("subtract", ("x", ...), {}), ("exp", (...,), {}))
    assert simplify(left[0]) is left[0]


@given(st.integers(0, 2**32 - 1))
def test_random_programs_mean_the_same(seed):
    run(simplify, *random_program(seed), rounding=True)
