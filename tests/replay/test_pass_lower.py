from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from passing import ROUNDING, one, ops, random_program, run

from tinygrad_batch.op import TABLE, op
from tinygrad_batch.program import evaluate
from tinygrad_batch.replay.passes import lower
from tinygrad_batch.replay.passes.lower import LOWERED

RNG = np.random.default_rng(0)
MATRIX = RNG.normal(size=(4, 5)) * 3
EDGES = np.array([-np.inf, -1e300, -800.0, -1.0, -1e-170, -0.0, 0.0, 1e-170, 0.5, 1.0, 30.0, 800.0, np.inf, np.nan])
ELEMENTWISE = [
    ("relu", {}), ("sigmoid", {}), ("softplus", {}), ("silu", {}), ("gelu", {}),
    ("clip", {"low": -1.0, "high": 2.0}), ("clip", {"low": 0}), ("clip", {"high": np.float64(0.5)}), ("clip", {}),
    ("clip", {"low": 2.0, "high": -2.0}), ("clip", {"low": float("nan")}),
    *[("power_of", {"exponent": e}) for e in (1, 2, 3, 4, -1, 0.5, 2.0)],
]  # fmt: skip
PRIMITIVE = {
    "abs", "add", "divide", "erf", "exp", "greater_equal", "isfinite", "log", "log1p", "matmul", "max", "maximum",
    "minimum", "multiply", "negative", "positive", "reciprocal", "reshape", "sqrt", "square", "subtract", "sum",
    "sum_rows", "where", "astype",
}  # fmt: skip


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize(("name", "options"), ELEMENTWISE)
def test_elementwise(name, options, dtype):
    with np.errstate(all="ignore"):
        program, values = one(name, EDGES.astype(dtype), **options)
    after = lower(program)
    assert set(ops(after)) <= PRIMITIVE
    assert after.outputs == program.outputs
    with np.errstate(all="ignore"):
        run(lower, program, values, rounding=True)
        old, new = (evaluate(p, values)[p.outputs[0]] for p in (program, after))
    # the large values must not hide the small ones
    np.testing.assert_allclose(new, old, rtol=ROUNDING[dtype], atol=0 if name != "softplus" else 1e-30)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("axis", [None, 0, 1, -1, (0, 1), [1]])
@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("name", ["mean", "var", "std", "logsumexp"])
def test_reductions(name, axis, keepdims, dtype):
    program, values = one(name, MATRIX, cast=dtype, axis=axis, keepdims=keepdims)
    assert set(ops(run(lower, program, values, rounding=True))) <= PRIMITIVE


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_softmax(name, axis):
    program, values = one(name, MATRIX, axis=axis)
    assert set(ops(run(lower, program, values))) <= PRIMITIVE


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "logsumexp"])
def test_infinities(name):
    rows = np.array([[-np.inf, 0, 1], [np.inf, 0, 1], [-np.inf, -np.inf, -np.inf], [np.nan, 0, 1], [900, 901, 0]])
    with np.errstate(all="ignore"):
        run(lower, *one(name, rows, axis=1))


def test_defaults_of_options_that_are_left_out():
    for name in ("mean", "var", "std", "logsumexp", "softmax", "log_softmax", "power_of"):
        assert name not in ops(run(lower, *one(name, MATRIX)))


@pytest.mark.parametrize("correction", [0, 1, 2.5])
def test_the_variance_takes_its_correction(correction):
    after = run(lower, *one("var", MATRIX, axis=1, correction=correction))
    assert after.instructions[-1].inputs[1] == 5 - correction


@pytest.mark.parametrize(
    ("shape", "to", "spelled"),
    [
        ((4, 5), (5,), ["sum_rows"]),
        ((4,), (), ["sum_rows"]),
        ((4, 5), (4, 1), ["sum"]),
        ((4, 5), (1, 5), ["sum"]),
        ((4, 5), (), ["sum"]),
        ((2, 4, 5), (4, 1), ["sum", "reshape"]),
        ((2, 4, 5), (5,), ["sum"]),
        ((4, 1), (1,), ["sum_rows"]),
        ((4, 5), (4, 5), []),
        ((0, 5), (5,), ["sum_rows"]),
    ],
)
@pytest.mark.parametrize("dtype", [None, "float32"])
def test_unbroadcast(shape, to, spelled, dtype):
    after = run(lower, *one("unbroadcast", RNG.normal(size=shape), shape=to, dtype=dtype))
    assert ops(after) == spelled + ["astype"] * (dtype == "float32")


def test_merged_operations():
    after = run(lower, *one("affine", MATRIX, RNG.normal(size=(5, 3)), np.ones(3)))
    assert ops(after) == ["matmul", "add"]
    after = run(lower, *one("mean_square", MATRIX, np.ones((4, 5))), rounding=True)
    assert ops(after) == ["subtract", "square", "sum", "divide"]


@pytest.mark.parametrize("exponent", [2, 3, 4, -1, 1])
def test_a_power_with_a_plain_number(exponent):
    assert "power" not in ops(run(lower, *one("power", MATRIX, exponent), rounding=True))
    assert ops(run(lower, *one("power", MATRIX, 2.7))) == ["power"]


@pytest.mark.parametrize(
    "call",
    [
        one("relu", np.arange(4)),
        one("mean", np.arange(4)),
        one("mean", MATRIX, cast="float16"),
        one("mean_square", MATRIX, np.ones((4, 5)), cast="float16"),
        one("power", MATRIX, np.full((4, 5), 2.0)),
        one("power_of", MATRIX, exponent=2.5),
        one("power_of", MATRIX, exponent=0),
        one("unbroadcast", MATRIX + 0j, shape=(5,)),
        one("tanh", MATRIX),
    ],
)
def test_the_rest_stays(call):
    assert run(lower, *call) is call[0]


def test_too_few_elements_for_a_variance_stay_for_numpy_to_warn_of():
    program, _ = one("var", MATRIX, axis=0, correction=4)
    assert lower(program) is program


def test_operations_of_users_stay():
    op("wobble", lambda x: np.sin(x) * x, doc="x sin x")
    try:
        program, values = one("wobble", MATRIX)
        assert run(lower, program, values) is program
    finally:
        del TABLE["wobble"]


def test_everything_lowered_is_in_the_table():
    assert set(LOWERED) <= set(TABLE)


def test_steps_and_parts_survive_and_names_are_new():
    program, values = one("sigmoid", MATRIX)
    program = replace(program, instructions=(replace(program.instructions[0], step=3, part=(1, 2)),))
    after = run(lower, program, values)
    assert {(i.step, i.part) for i in after.instructions} == {(3, (1, 2))}
    assert [i.output.name for i in after.instructions][-2:] == ["y.add", "y"]


@given(st.integers(0, 2**32 - 1))
def test_random_programs_mean_the_same(seed):
    run(lower, *random_program(seed), rounding=True)
