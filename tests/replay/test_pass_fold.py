import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from passing import ops, random_program, run
from programs import training_step

from tinygrad_batch.program import Builder
from tinygrad_batch.replay.passes import fold


def test_what_depends_on_constants_alone_becomes_a_constant():
    builder = Builder()
    x = builder.variable("x", (2, 3), "float32", "input")
    seed = builder.constant(np.ones((), "float32"), "dloss")
    share = builder.add("divide", builder.add("negative", seed), 6, name="share")
    y = builder.add("multiply", x, share, name="y")
    after = run(fold, builder.program([x], [y, share]), {x: np.ones((2, 3), "float32")})
    assert ops(after) == ["multiply"]
    (folded,) = [v for v in after.constants if v.name == "share"]
    assert (folded.kind, folded.dtype, folded.shape) == ("constant", "float32", ())
    assert after.outputs[1] is folded


def test_arithmetic_on_plain_numbers_becomes_a_plain_number():
    builder = Builder()
    x = builder.variable("x", (2,), "float32", "input")
    y = builder.add("multiply", x, builder.add("subtract", 1, 0.9))
    after = run(fold, builder.program([x], [y]), {x: np.ones(2, "float32")})
    assert ops(after) == ["multiply"]
    assert after.instructions[0].inputs[1] == pytest.approx(0.1)


def test_a_number_is_not_repeated_into_a_constant():
    builder = Builder()
    y = builder.add("spread", builder.constant(np.ones(())), shape=(1000, 3), axis=None)
    program = builder.program([], [y])
    assert run(fold, program, {}) is program


def test_hyperparameters_states_and_random_numbers_are_no_constants():
    builder = Builder()
    lr = builder.variable("lr", (), "number", "number")
    state = builder.variable("s", (2,), "float64", "state")
    c = builder.constant(np.ones(2))
    builder.add("multiply", lr, 2.0)
    builder.add("multiply", state, 2.0)
    builder.add("random_mask", c, keep=0.5, rng=np.random.default_rng(0))
    program = builder.program([], [builder.add("tanh", c)])
    assert ops(fold(program)) == ["multiply", "multiply", "random_mask"]


def test_constants_are_computed_in_silence():
    builder = Builder()
    y = builder.add("log", builder.constant(np.zeros(2)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        after = fold(builder.program([], [y]))
    (value,) = [value for v, value in after.constants.items() if v is after.outputs[0]]
    assert np.isneginf(value).all()


def test_a_step_keeps_its_parts():
    program, values = training_step()
    after = run(fold, program, values)
    assert [i.part for i in after.instructions if i.part] == [i.part for i in program.instructions if i.part]


@given(st.integers(0, 2**32 - 1))
def test_random_programs_mean_the_same(seed):
    run(fold, *random_program(seed))
