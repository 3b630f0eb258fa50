"""Random programs, and programs that set traps for who reuses memory."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from planning import alone, check, side_by_side

from tinygrad_batch.program import Builder
from tinygrad_batch.replay.plan import blocks, facts, ones

UNARY = ["tanh", "negative", "square", "abs", "relu", "sin", "positive", "floor"]
BINARY = ["add", "subtract", "multiply", "maximum", "minimum"]


@pytest.fixture(params=["as it is", "everything is large"])
def sizes(request, monkeypatch):
    """Let small arrays be computed as large ones are: in blocks of two rows, outputs into new arrays."""
    if request.param == "everything is large":
        shrink(monkeypatch)


def shrink(patch):
    for module, name, value in (
        (blocks, "LARGE", 1), (blocks, "BLOCK", 32), (blocks, "PRODUCT", 32), (blocks, "FEWEST", 2),
        (facts, "FRESH", 1), (ones, "LARGEST", 1 << 20),
    ):  # fmt: skip
        patch.setattr(module, name, value)


@st.composite
def programs(draw):
    """Return a random program on matrices of 5 x 4 and what broadcasts with them, and values to run it on."""
    rng = np.random.default_rng(draw(st.integers(0, 1 << 30)))
    builder, values, pool = Builder(), {}, []
    for number in range(draw(st.integers(2, 6))):
        kind = draw(st.sampled_from(["input", "parameter", "state", "constant"]))
        shape = draw(st.sampled_from([(5, 4), (5, 4), (4,), (5, 1), (), (4, 4), (4, 5)]))
        array = rng.normal(size=shape)
        if kind == "constant":
            pool.append(builder.constant(array))
        else:
            pool.append(builder.variable(f"v{number}", shape, "float64", kind))
            values[pool[-1]] = array
    if draw(st.booleans()):
        pool.append(builder.variable("n", (), "number", "number"))
        values[pool[-1]] = 0.5
    for _ in range(draw(st.integers(1, 14))):
        pool.append(_instruction(draw, builder, pool))
    computed = [v for v in pool if v.dtype == "float64"]
    outputs = draw(st.lists(st.sampled_from(computed), max_size=3))
    writes = {}
    for state in values:
        fits = [v for v in computed if v.shape == state.shape]
        if state.kind in ("parameter", "state") and fits and draw(st.booleans()):
            writes[state] = draw(st.sampled_from(fits))
    inputs = [v for v in values if v.kind == "input"]
    return builder.program(inputs, outputs, writes), values


def _instruction(draw, builder, pool):
    arrays = [v for v in pool if v.dtype == "float64"]
    what = draw(st.sampled_from(["unary", "binary", "binary", "binary", "view", "matmul", "reduce", "where", "join"]))
    x = draw(st.sampled_from(arrays))
    if what == "binary":
        fits = [v for v in pool if v.dtype == "number" or _broadcast(v.shape, x.shape)]
        other = draw(st.sampled_from([*fits, 2, 0.5, 0]))
        pair = (x, other) if draw(st.booleans()) else (other, x)
        return builder.add(draw(st.sampled_from(BINARY)), *pair)
    if what == "view":
        choices = [("transpose", {}), ("reshape", {"shape": (x.size,)}), ("getitem", {"index": (..., None)})]
        if len(x.shape) == 2:
            choices += [("matrix_transpose", {}), ("getitem", {"index": (slice(None, None, -1),)})]
            choices += [("getitem", {"index": -1}), ("broadcast_to", {"shape": (2, *x.shape)})]
            choices += [("reshape", {"shape": x.shape[::-1]})]
        if x.shape == (20,):
            choices += [("reshape", {"shape": (5, 4)})] * 5
        name, options = draw(st.sampled_from(choices))
        return builder.add(name, x, **options)
    if what == "matmul":
        pairs = [(a, b) for a in arrays for b in arrays if len(a.shape) == 2 == len(b.shape)]
        pairs = [(a, b) for a, b in pairs if a.shape[1] == b.shape[0]]
        if pairs:
            return builder.add("matmul", *draw(st.sampled_from(pairs)))
    if what == "reduce" and x.shape:
        name = draw(st.sampled_from(["sum", "mean", "max"]))
        axis = draw(st.sampled_from([None, 0, -1]))
        return builder.add(name, x, axis=axis, keepdims=draw(st.booleans()))
    if what == "where":
        condition = builder.add("less_equal", x, 0)
        alike = [v for v in arrays if v.shape == x.shape]
        pair = [draw(st.sampled_from([*alike, 0, 0.0])), draw(st.sampled_from(alike))]
        return builder.add("where", condition, *(pair if draw(st.booleans()) else pair[::-1]))
    if what == "join" and x.shape:
        fits = [v for v in arrays if len(v.shape) == len(x.shape) and v.shape[1:] == x.shape[1:]]
        return builder.add("concatenate", x, draw(st.sampled_from(fits)), axis=0)
    return builder.add(draw(st.sampled_from(UNARY)), x)


def _broadcast(a, b):
    try:
        return np.broadcast_shapes(a, b)
    except ValueError:
        return None


@pytest.mark.parametrize("large", [False, True])
@given(case=programs(), lay=st.sampled_from([side_by_side, alone]))
@settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
def test_random_program(large, case, lay):
    with pytest.MonkeyPatch.context() as patch:
        if large:
            shrink(patch)
        check(*case, lay=lay, rtol=1e-9)


# --- traps -------------------------------------------------------------------------------------------
class Made:
    """A builder with some variables and values."""

    def __init__(self):
        self.builder, self.values, self.rng = Builder(), {}, np.random.default_rng(1)
        self.add = self.builder.add

    def new(self, name, shape=(6, 4), kind="input"):
        v = self.builder.variable(name, shape, "float64", kind)
        self.values[v] = self.rng.normal(size=shape)
        return v

    def check(self, outputs, writes=None):
        inputs = [v for v in self.values if v.kind == "input"]
        return check(self.builder.program(inputs, outputs, writes), self.values)


@pytest.fixture
def made(sizes):
    return Made()


def test_an_output_that_is_an_input_or_a_view_of_one(made):
    x = made.new("x")
    made.check([x, made.add("matrix_transpose", x), made.add("getitem", x, index=2), x])


def test_states_are_swapped_and_returned(made):
    a, b, c = (made.new(name, kind="state") for name in "abc")
    made.check([a, b], {a: b, b: c, c: a})


def test_one_value_is_written_to_two_states_and_returned(made):
    a, b, x = made.new("a", kind="state"), made.new("b", kind="state"), made.new("x")
    new = made.add("add", made.add("multiply", a, 0.5), x)
    made.check([new, a], {a: new, b: new})


def test_a_state_is_read_after_another_is_written(made):
    a, b = made.new("a", kind="state"), made.new("b", kind="state")
    first = made.add("add", a, 1)
    second = made.add("multiply", b, a)
    made.check([first], {a: first, b: second})


def test_a_state_is_read_through_a_view_after_its_new_value_is_computed(made):
    a = made.new("a", (4, 4), "state")
    turned = made.add("matrix_transpose", a)
    first = made.add("add", a, 1)
    made.check([made.add("multiply", turned, 2)], {a: first})


def test_a_view_of_a_state_is_an_operand_of_its_new_value(made):
    a = made.new("a", (4, 4), "state")
    new = made.add("add", a, made.add("matrix_transpose", a))
    made.check([], {a: made.add("tanh", new)})


def test_a_row_of_what_is_overwritten_is_read_by_every_row(made):
    x = made.new("x")
    h = made.add("tanh", x)
    first = made.add("getitem", h, index=0)
    made.check([made.add("multiply", made.add("subtract", h, first), made.add("add", first, 1))])


def test_a_value_dies_with_itself_as_both_operands(made):
    h = made.add("tanh", made.new("x"))
    made.check([made.add("add", made.add("multiply", h, h), 1)])


def test_a_broadcast_operand_dies(made):
    x = made.new("x", (4, 4))
    row = made.add("sum", x, axis=0, keepdims=True)
    made.check([made.add("tanh", made.add("subtract", row, x)), made.add("multiply", row, row)])


def test_the_left_factor_of_a_product_dies_in_its_run(made):
    x, w = made.new("x", (8, 8)), made.new("w", (8, 8), "parameter")
    h = made.add("tanh", x)
    d = made.add("matmul", h, w)
    out = made.add("multiply", d, made.add("subtract", 1, made.add("square", h)))
    made.check([made.add("sum", out, axis=0, keepdims=False)])


def test_the_right_factor_of_a_product_is_overwritten_by_nothing(made):
    x = made.new("x", (8, 8))
    h = made.add("tanh", x)
    d = made.add("matmul", made.add("sin", x), h)
    made.check([made.add("add", made.add("multiply", d, h), 1)])


def test_numbers_and_constants_are_returned_and_written(made):
    n = made.builder.variable("n", (), "number", "number")
    made.values[n] = 0.25
    s, t = made.new("s", (), "state"), made.new("t", (), "state")
    constant = made.builder.constant(np.arange(3.0))
    twice = made.add("multiply", made.add("add", n, 1), 2)
    executable = made.check([n, twice, 3.0, constant], {s: twice, t: 7.0})
    assert executable.nbytes >= 24


def test_number_arithmetic_agrees_with_numpy_at_its_edges(made):
    n, m = (made.builder.variable(name, (), "number", "number") for name in "nm")
    made.values |= {n: -2.0, m: 0.0}
    x = made.new("x", (3,))
    found = [made.add("divide", n, m), made.add("power", n, 0.5), made.add("sqrt", n), made.add("negative", n)]
    found.append(made.add("power", made.add("multiply", n, -1e200), 2))
    made.check([made.add("multiply", x, number) for number in found])


def test_a_dying_condition_and_choices_of_all_kinds(made):
    x, y = made.new("x"), made.new("y")
    c = made.add("less_equal", x, 0)
    a, b = made.add("tanh", x), made.add("sin", y)
    made.values[y][0, :3] = np.nan, np.inf, -np.inf
    found = [made.add("where", c, 0, b), made.add("where", c, b, 0.0), made.add("where", c, a, b)]
    found += [made.add("where", c, -0.0, b), made.add("where", c, 2.5, a), made.add("where", c, y, 0)]
    made.check(found)


def test_an_input_in_two_dtypes_and_integers_beside_numbers(made):
    builder = made.builder
    i = builder.variable("i", (4,), "int64", "input")
    f = builder.variable("f", (4,), "float32", "input")
    made.values |= {i: np.arange(4), f: np.linspace(0, 1, 4, dtype=np.float32)}
    made.check([
        made.add("multiply", i, 2.5), made.add("add", f, 2), made.add("multiply", i, 3), made.add("add", i, f),
        made.add("power", f, 2), made.add("less", i, 2.5), made.add("divide", i, 2), made.add("maximum", f, 0),
    ])  # fmt: skip


def test_outputs_of_calls_are_independent(made):
    x = made.new("x", (40, 40))
    made.check([made.add("tanh", x), made.add("sum", x, axis=None, keepdims=False)])


def test_a_state_is_both_factors_of_a_product_that_is_added_to_it(made):
    s = made.new("s", (8, 8), "state")
    made.check([], {s: made.add("add", made.add("matmul", s, s), s)})
