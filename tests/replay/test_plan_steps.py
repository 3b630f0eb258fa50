"""Whole training steps as plans: equal to what the program says, with few operations and little memory."""

import re

import numpy as np
import pytest
from planning import alone, check, side_by_side
from programs import training_step

from tinygrad_batch.program import Builder, evaluate
from tinygrad_batch.replay.passes import optimise
from tinygrad_batch.replay.plan import build
from tinygrad_batch.replay.plan.arena import adjacent, packed
from tinygrad_batch.replay.plan.dots import dots, masked
from tinygrad_batch.replay.plan.ones import with_ones
from tinygrad_batch.replay.plan.order import alive, ordered, sunk


def adam_step(rows=6, dtype="float64"):
    """Return one layer with Adam, as a capture writes it: the same arithmetic on numbers for each parameter."""
    builder, rng, values = Builder(), np.random.default_rng(0), {}

    def new(name, shape, kind):
        v = builder.variable(name, shape, dtype if kind != "number" else "number", kind)
        values[v] = 0.9 if kind == "number" else np.abs(rng.normal(size=shape)).astype(dtype)
        return v

    add = builder.add
    x, lr, beta, steps = new("x", (rows, 3), "input"), *[new(name, (), "number") for name in ("lr", "beta", "steps")]
    w, b = new("w", (3, 2), "parameter"), new("b", (2,), "parameter")
    e = add("add", add("matmul", x, w), b)
    grads = {w: add("matmul", add("matrix_transpose", x), e), b: add("sum_rows", e)}
    writes = {}
    for part, (p, grad) in enumerate(grads.items()):
        builder.part = (0, part)
        mean, square = new(f"{p.name}.mean", p.shape, "state"), new(f"{p.name}.square", p.shape, "state")
        slot = new(f"{p.name}.grad", p.shape, "gradient")
        rest = add("subtract", 1, beta)
        writes[mean] = add("add", add("multiply", mean, beta), add("multiply", rest, grad))
        writes[square] = add("add", add("multiply", square, beta), add("multiply", rest, add("square", grad)))
        root = add(
            "divide", add("sqrt", writes[square]), add("power", add("subtract", 1, add("power", beta, steps)), 0.5)
        )
        writes[p] = add("subtract", p, add("divide", add("multiply", lr, writes[mean]), add("add", root, 1e-8)))
        writes[slot] = grad
    return builder.program([x], [add("mean", add("square", e))], writes), values


STEPS = {
    "tanh": lambda dtype: training_step(dtype=dtype),
    "relu": lambda dtype: training_step(dtype=dtype, activation="relu"),
    "momentum": lambda dtype: training_step(dtype=dtype, momentum=True),
    "one row": lambda dtype: training_step((3, 4, 1), 1, dtype),
    "wide": lambda dtype: training_step((40, 60, 50, 3), 70, dtype),
    "large": lambda dtype: training_step((20, 300, 260, 3), 600, dtype, momentum=True),
    "large relu": lambda dtype: training_step((20, 300, 260, 3), 600, dtype, activation="relu"),
    "adam": lambda dtype: adam_step(dtype=dtype),
}


@pytest.mark.parametrize("lay", [side_by_side, alone])
@pytest.mark.parametrize("passes", [optimise, lambda program: program], ids=["optimised", "as captured"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("step", STEPS)
def test_step(step, dtype, passes, lay):
    program, values = STEPS[step](dtype)
    check(passes(program), values, rtol=1e-9 if dtype == "float64" else 1e-3, lay=lay)


@pytest.mark.parametrize("step", STEPS)
def test_every_part_of_the_plan_means_the_same(step):
    program, values = STEPS[step]("float64")
    live = side_by_side(program, values)
    merged = packed(program, live)
    wide = with_ones(merged)
    known = {**values, **{v: np.array(a) for v, a in wide.live.items()}}
    expected = evaluate(program, values)
    for made in (merged.program, wide.program, dots(wide.program), masked(wide.program), sunk(alive(wide.program))):
        found = evaluate(made, known)
        for a, b in zip(program.outputs, made.outputs, strict=True):
            np.testing.assert_allclose(found[b], expected[a], rtol=1e-9)
        after = {v: found[value] for v, value in made.writes.items()}
        for state, value in program.writes.items():
            if state in after:
                np.testing.assert_allclose(after[state], expected[value], rtol=1e-9)
        total = sum(np.sum(a) for a in after.values())
        np.testing.assert_allclose(total, sum(np.sum(expected[v]) for v in program.writes.values()), rtol=1e-9)


def calls(executable, name):
    return sum(i.op == name for i in executable.program.instructions)


def test_the_update_is_one_call_for_each_operation():
    program, values = training_step(momentum=True)
    together = build(optimise(program), side_by_side(program, values))
    apart = build(optimise(program), alone(program, values))
    updates = [sum(i.part is not None for i in e.program.instructions) for e in (together, apart)]
    assert updates[1] == 6 * 4
    assert updates[0] == 0  # the merged ones belong to no parameter
    assert together.source.count("\n") < 35


def test_biases_are_rows_of_their_weights_in_small_nets():
    program, values = training_step(dtype="float32")
    executable = build(optimise(program), side_by_side(program, values))
    assert calls(executable, "add") == 0
    assert calls(executable, "sum_rows") == 0


def test_gradients_are_computed_where_they_stay():
    program, values = training_step(dtype="float32")
    executable = build(optimise(program), side_by_side(program, values))
    where = {buffer.name: buffer.where for buffer in executable.buffers}
    assert where["W1.new.all"] == "live"
    assert where["dW1.all"] == "live"
    assert "[...] =" not in executable.source.split("return")[0].split("\n", 4)[-1]  # only x is copied


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_memory_of_a_large_batch_is_that_of_the_activations(activation):
    rows = 8192
    program, values = training_step((784, 512, 512, 10), rows, "float32", activation)
    executable = build(optimise(program), side_by_side(program, values))
    assert executable.nbytes <= 1.05 * rows * (512 + 512 + 10) * 4


def test_the_source_has_no_text_of_a_user():
    builder = Builder()
    x = builder.variable("__import__('os')", (3,), "float64", "input")
    out = builder.add("tanh", x, name="x; print(1)\n")
    executable = build(builder.program([x], [out]), {})
    assert re.fullmatch(r"[a-z0-9_ ,()\[\].=:*\-+\n]+", executable.source)
    assert "import" not in executable.source
    np.testing.assert_array_equal(executable(np.ones(3))[0], np.tanh(np.ones(3)))


def test_buffers_that_are_needed_at_the_same_time_do_not_overlap():
    program, values = training_step((20, 300, 260, 3), 600)
    executable = build(program, alone(program, values))
    slots = {(b.offset, b.nbytes, b.first, b.last) for b in executable.buffers if b.where in ("pool", "block")}
    for a in slots:
        for b in slots:
            if a is not b and a[2] <= b[3] and b[2] <= a[3]:
                assert a[0] + a[1] <= b[0] or b[0] + b[1] <= a[0]
    assert max(a[0] + a[1] for a in slots) <= executable.nbytes


def test_adjacent():
    flat = np.zeros(10)
    a, b, c = flat[:4].reshape(2, 2), flat[4:7], flat[7:]
    assert adjacent([a, b, c])
    assert not adjacent([a, c])
    assert not adjacent([b, a])
    assert not adjacent([a.T, b])
    assert not adjacent([a, b.astype("float32")])


def test_ordered_puts_what_is_needed_first_and_keeps_random_numbers_in_order():
    builder = Builder()
    x = builder.variable("x", (2,), "float64", "input")
    a = builder.add("tanh", x)
    first = builder.add("random_mask", a, keep=0.5, rng=0)
    second = builder.add("random_mask", x, keep=0.5, rng=0)
    one, two, three = builder.instructions
    assert ordered([three, two, one])[0] is three
    assert ordered([two, three, one]) == (one, two, three)
    assert first is not second


def test_updates_that_depend_on_each_other_stay_apart():
    builder, values = Builder(), {}
    p, q = (builder.variable(name, (3,), "float64", "parameter") for name in "pq")
    values |= {p: np.arange(3.0), q: np.ones(3)}
    builder.part = (0, 0)
    first = builder.add("subtract", p, builder.add("multiply", 0.1, builder.add("tanh", q)))
    builder.part = None
    grad = builder.add("sin", first)
    builder.part = (0, 1)
    second = builder.add("subtract", q, builder.add("multiply", 0.1, builder.add("tanh", grad)))
    check(builder.program([], [grad], {p: first, q: second}), values)


@pytest.mark.parametrize("axis", [(-2, -1), -1, (1, 3)])
@pytest.mark.parametrize("op", ["sum", "max", "min", "mean"])
def test_small_groups_of_elements_are_brought_together_one_by_one(op, axis):
    builder = Builder()
    x = builder.variable("x", (300, 2, 2, 2), "float64", "state")
    values = {x: np.random.default_rng(0).normal(size=x.shape)}
    values[x][0, 0, 0, 0] = np.nan
    out = builder.add(op, builder.add("tanh", x), axis=axis, keepdims=False)
    executable = check(builder.program([], [out]), values)
    assert "None" not in executable.source  # no reduction


@pytest.mark.parametrize(("size", "stride"), [((2, 2), (2, 2)), ((3, 3), (1, 1)), ((2, 1), (3, 2))])
def test_windows_and_their_way_back(size, stride):
    builder = Builder()
    x = builder.variable("x", (3, 2, 6, 6), "float64", "input")
    values = {x: np.random.default_rng(0).normal(size=x.shape)}
    windows = builder.add("sliding_windows", x, size=size, stride=stride)
    back = builder.add("add_windows", builder.add("tanh", windows), shape=x.shape, stride=stride)
    check(builder.program([x], [builder.add("max", windows, axis=(-2, -1)), back, x]), values)
