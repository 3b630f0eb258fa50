import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from passing import ops, random_program, run
from programs import training_step

from tinygrad_batch.errors import ArgumentError
from tinygrad_batch.program import Builder
from tinygrad_batch.replay.passes import PASSES, optimise


@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("momentum", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_training_step(activation, momentum, dtype):
    program, values = training_step(activation=activation, momentum=momentum, dtype=dtype)
    after = run(optimise, program, values, rounding=True)
    names = [i.output.name for i in after.instructions]
    assert {"loss", "de", "dW1", "db1", "W1.new", "h1"} <= set(names)
    (de,) = [i for i in after.instructions if i.output.name == "de"]
    assert de.op == "multiply"
    assert de.inputs[1] == pytest.approx(0.2)  # 2 / 10 rows, in one multiplication
    assert {"mean", "unbroadcast", "spread", "relu"}.isdisjoint(ops(after))
    assert not after.constants


def test_the_updates_of_all_parameters_still_look_alike():
    program, _ = training_step(momentum=True)
    after = optimise(program)
    parts = {}
    for i in after.instructions:
        parts.setdefault(i.part, []).append(i.op)
    del parts[None]
    assert len(parts) == 6
    assert len({tuple(each) for each in parts.values()}) == 1


def test_the_gradient_of_a_cross_entropy_starts_from_a_number():
    builder = Builder()
    x = builder.variable("x", (5, 3), "float64", "input")
    labels = builder.variable("labels", (5,), "int64", "input")
    logp = builder.add("log_softmax", x, axis=1)
    loss = builder.add("mean", builder.add("negative", builder.add("pick", logp, labels)), axis=None)
    seed = builder.constant(np.ones(()), "dloss")
    spread = builder.add("spread", builder.add("divide", seed, 5), shape=(5,), axis=None)
    g = builder.add("place", builder.add("negative", spread), labels, shape=(5, 3))
    total = builder.add("sum", g, axis=1, keepdims=True)
    dx = builder.add("subtract", g, builder.add("multiply", builder.add("exp", logp), total), name="dx")
    values = {x: np.random.default_rng(0).normal(size=(5, 3)), labels: np.array([0, 2, 1, 1, 0])}
    after = run(optimise, builder.program([x, labels], [loss, dx]), values, rounding=True)
    assert [float(value) for value in after.constants.values()] == [-0.2]
    assert ops(after).count("exp") == ops(after).count("sum") - 1 == 1  # the loss is the other sum
    assert [i.inputs[1] for i in after.instructions if i.op == "multiply"] == [-0.2]


def test_passes_are_chosen_by_name_and_shown():
    program, values = training_step()
    seen = []
    after = run(lambda p: optimise(p, names=["dead", "lower"], show=lambda *a: seen.append(a)), program, values)
    assert "mean" not in ops(after)
    assert "unbroadcast" not in ops(after)
    assert [name for name, _ in seen][:2] == ["lower", "dead"]
    assert seen[-1][1] == str(after)
    assert optimise(program, names=[]) is program


def test_an_unknown_pass_is_an_error():
    with pytest.raises(ArgumentError, match="no pass called 'polish'"):
        optimise(training_step()[0], names=["polish"])


def test_optimising_again_changes_nothing():
    after = optimise(training_step()[0])
    assert optimise(after) is after


def test_random_operations_keep_their_order():
    builder, rng = Builder(), np.random.default_rng(0)
    x = builder.variable("x", (4,), "float64", "input")
    masks = [builder.add("random_mask", x, keep=k, rng=rng) for k in (0.1, 0.5, 0.5, 0.9)]
    after = optimise(builder.program([x], [builder.add("multiply", x, masks[2])]))
    assert [i.options["keep"] for i in after.instructions if i.op == "random_mask"] == [0.1, 0.5, 0.5, 0.9]


def deep(length):
    """Return a chain of about so many operations, with work for every pass."""
    builder = Builder()
    value = x = builder.variable("x", (2,), "float64", "input")
    for _ in range(length // 4):
        value = builder.append("sigmoid", (value,), {}, (2,), "float64")
        for op, inputs in (("multiply", (2.0,)), ("multiply", (1.5,)), ("negative", ())):
            value = builder.append(op, (value, *inputs), {}, (2,), "float64")
    return builder.program([x], [value])


@pytest.mark.parametrize("name", PASSES)
def test_work_grows_with_the_length_only(name):
    def calls(program):
        count = 0

        def tick(frame, event, argument):
            nonlocal count
            count += event in ("call", "c_call")

        sys.setprofile(tick)
        try:
            PASSES[name](program)
        finally:
            sys.setprofile(None)
        return count

    short, long = calls(deep(400)), calls(deep(4000))
    assert long < 11 * short


def test_twenty_thousand_instructions():
    assert len(optimise(deep(20_000)).instructions) > 5_000


@given(st.integers(0, 2**32 - 1))
def test_random_programs_mean_the_same(seed):
    run(optimise, *random_program(seed), rounding=True)
