import numpy as np
from passing import ops, run

from tinygrad_batch.program import Builder
from tinygrad_batch.replay.passes import dead


def small():
    builder = Builder()
    x = builder.variable("x", (3,), "float64", "input")
    return builder, x, {x: np.arange(3.0)}


def test_what_no_result_depends_on_goes():
    builder, x, values = small()
    unused = builder.add("exp", x)
    builder.add("multiply", unused, builder.constant(np.ones(3)))
    y = builder.add("tanh", x)
    after = run(dead, builder.program([x], [y]), values)
    assert ops(after) == ["tanh"]
    assert after.constants == {}


def test_what_is_written_or_returned_stays():
    builder, x, values = small()
    state = builder.variable("s", (3,), "float64", "state")
    y, z = builder.add("exp", x), builder.add("tanh", builder.constant(np.ones(3)))
    program = builder.program([x], [y], {state: z})
    assert run(dead, program, values) is program


def test_random_numbers_are_drawn_whether_they_are_needed_or_not():
    builder, x, _ = small()
    builder.add("random_mask", builder.add("negative", x), keep=0.5, rng=np.random.default_rng(0))
    builder.add("exp", x)
    after = dead(builder.program([x], [x]))
    assert ops(after) == ["negative", "random_mask"]
