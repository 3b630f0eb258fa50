import numpy as np
import pytest
from passing import check_form
from programs import training_step

from tinygrad_batch.errors import ArgumentError, CompileError
from tinygrad_batch.op import TABLE, op
from tinygrad_batch.program import Builder, Variable, evaluate
from tinygrad_batch.replay.passes import optimise
from tinygrad_batch.replay.rows.splitting import split
from tinygrad_batch.replay.rows.stream import StreamedStep

BLOCK = 64
MLP = (10, 15, 10, 1)


class Reference:
    """The backend that does what a program means, and nothing else."""

    source = "evaluate(...)"

    def __init__(self, program, live):
        check_form(program)
        assert set(program.living) <= set(live)
        assert all(v.kind == "input" for v in program.inputs)
        self.program, self.live = program, live
        self.nbytes = sum(i.output.nbytes for i in program.instructions)

    def __call__(self, *given):
        program = self.program
        values = dict(zip((*program.inputs, *program.numbers), given, strict=True))
        for v in program.inputs:
            assert (values[v].shape, str(values[v].dtype)) == (v.shape, v.dtype)
        with np.errstate(all="ignore"):
            found = evaluate(program, {**values, **self.live})
        read = [found[v] if isinstance(v, Variable) else v for v in program.writes.values()]
        for state, value in zip(program.writes, [np.array(v) for v in read], strict=True):
            self.live[state][...] = value
        return tuple(np.array(found[v]) if isinstance(v, Variable) else v for v in program.outputs)


def both(program, values, rows, block=BLOCK, row_inputs=None, calls=2):
    """Run a step whole and streamed, and check that everything it returns and keeps is the same to rounding."""
    results = []
    for make in (lambda live: Reference(program, live),
                 lambda live: StreamedStep(program, rows, block, Reference, live, row_inputs)):  # fmt: skip
        live = {v: values[v].copy() for v in program.living}
        step = make(live)
        given = [values[v] for v in (*program.inputs, *program.numbers)]
        returned = [[np.array(out) for out in step(*given)] for _ in range(calls)]
        results.append((returned, live, step))
    (whole, kept, _), (blocks, also_kept, streamed) = results
    for a, b in zip(whole, blocks, strict=True):
        for x, y in zip(a, b, strict=True):
            assert (x.shape, x.dtype) == (y.shape, y.dtype)
            np.testing.assert_allclose(y, x, rtol=1e-9, atol=1e-12)
    for state in kept:
        np.testing.assert_allclose(also_kept[state], kept[state], rtol=1e-9, atol=1e-12, err_msg=state.name)
    return streamed


def classifier(rows=100, features=5, hidden=7, classes=3, returned="loss", smoothing=False, dtype="float64"):
    """Return the step of a classifier with one hidden layer, and values to run it on."""
    b, rng = Builder(), np.random.default_rng(0)
    values = {}

    def given(name, shape, kind):
        v = b.variable(name, shape, dtype, kind)
        values[v] = rng.normal(size=shape).astype(dtype)
        return v

    x = given("x", (rows, features), "input")
    labels = b.variable("labels", (rows,), "int64", "input")
    values[labels] = rng.integers(0, classes, rows)
    w1, b1 = given("W1", (features, hidden), "parameter"), given("b1", (hidden,), "parameter")
    w2 = given("W2", (hidden, classes), "parameter")
    lr = b.variable("lr", (), "number", "number")
    values[lr] = 0.1
    h = b.add("relu", b.add("affine", x, w1, b1), name="h")
    pred = b.add("matmul", h, w2, name="pred")
    logp = b.add("log_softmax", pred, axis=1, name="logp")
    losses = b.add("negative", b.add("pick", logp, labels), name="losses")
    loss = b.add("mean", losses, axis=None, keepdims=False, name="loss")
    seed = b.constant(np.ones((), dtype), "dloss")
    dlosses = b.add("spread", b.add("divide", seed, rows), shape=(rows,), axis=None)
    dlogp = b.add("place", b.add("negative", dlosses), labels, shape=(rows, classes))
    total = b.add("sum", dlogp, axis=1, keepdims=True)
    dpred = b.add("subtract", dlogp, b.add("multiply", b.add("exp", logp), total), name="dpred")
    grads = {w2: b.add("matmul", b.add("matrix_transpose", h), dpred, name="dW2")}
    dh = b.add("matmul", dpred, b.add("matrix_transpose", w2))
    dz = b.add("where", b.add("less_equal", h, 0), 0.0, dh, name="dz")
    grads[b1] = b.add("unbroadcast", dz, shape=(hidden,), dtype=dtype)
    grads[w1] = b.add("matmul", b.add("matrix_transpose", x), dz, name="dW1")
    # clipped to a norm of one over all parameters, which needs every total
    norm = b.add("sqrt", b.add("add", *[b.add("sum", b.add("square", grads[p])) for p in (w1, w2)]), name="norm")
    scale = b.add("divide", 1.0, b.add("maximum", norm, 1.0))
    writes = {}
    for part, (p, g) in enumerate(grads.items()):
        b.part = (0, part)
        writes[p] = b.add("subtract", p, b.add("multiply", lr, b.add("multiply", g, scale)), name=f"{p.name}.new")
    outputs = {"loss": [loss], "rows": [pred, loss, losses], "input": [labels, norm]}[returned]
    return b.program([x, labels], outputs, writes), values


ROWS = [1, BLOCK - 1, BLOCK, BLOCK + 1, 1000]


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("momentum", [False, True])
@pytest.mark.parametrize("improve", [optimise, lambda program: program])
def test_a_regression(rows, momentum, improve):
    program, values = training_step(MLP, rows=rows, momentum=momentum)
    both(improve(program), values, rows)


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("returned", ["loss", "rows", "input"])
@pytest.mark.parametrize("improve", [optimise, lambda program: program])
def test_a_classifier(rows, returned, improve):
    program, values = classifier(rows, returned=returned)
    both(improve(program), values, rows)


@pytest.mark.parametrize("rows", [2, 3, 5, 7, 10, 15])
def test_other_lengths_that_happen_to_be_the_number_of_rows(rows):
    for improve in (optimise, lambda program: program):
        program, values = classifier(rows, returned="rows")
        both(improve(program), values, rows, block=2)
        program, values = training_step(MLP, rows=rows)
        both(improve(program), values, rows, block=2)


def test_memory_does_not_grow_with_the_rows():
    sizes = {}
    for rows in (100, 10_000):
        for make in (training_step, classifier):
            program, values = make(rows=rows)
            step = StreamedStep(optimise(program), rows, 50, Reference, {v: values[v] for v in program.living})
            sizes.setdefault(make, set()).add(step.nbytes)
            assert step.nbytes < 2 * sum(i.output.nbytes for i in program.instructions)
            assert "a block of 50 rows" in step.source
    assert all(len(found) == 1 for found in sizes.values())


def test_a_block_is_one_row_or_more():
    program, values = training_step()
    with pytest.raises(ArgumentError, match="one row or more"):
        StreamedStep(program, 10, 0, Reference, values)


def test_the_program_is_not_changed():
    program, _ = classifier(returned="rows")
    before = str(program), [id(i) for i in program.instructions]
    split(program, program.inputs, 100).block(7)
    assert (str(program), [id(i) for i in program.instructions]) == before


def testparts_of_updates_survive():
    program, _ = classifier()
    parts = split(optimise(program), program.inputs, 100)
    assert {i.part for i in parts.after.instructions} == {None, (0, 0), (0, 1), (0, 2)}
    assert not parts.before.instructions


# --- one operation at a time ---------------------------------------------------------------------------
class Small:
    """A program in the making, on x of 10 rows."""

    def __init__(self, shape=(10, 3)):
        self.b, self.values = Builder(), {}
        self.rng = np.random.default_rng(0)
        self.x = self.given("x", shape)
        self.row_inputs = [self.x]
        self.inputs = [self.x]

    def given(self, name, shape, kind="input"):
        v = self.b.variable(name, shape, "float64", kind)
        self.values[v] = self.rng.normal(size=shape)
        return v

    def free(self, name, shape):
        self.inputs.append(self.given(name, shape))
        return self.inputs[-1]

    def add(self, *args, **options):
        return self.b.add(*args, **options)

    def run(self, *outputs, writes=None):
        program = self.b.program(self.inputs, outputs, writes)
        return both(program, self.values, 10, 4, self.row_inputs, calls=1)

    def refuse(self, match, *outputs, writes=None):
        program = self.b.program(self.inputs, outputs, writes)
        with pytest.raises(CompileError, match=match):
            split(program, self.row_inputs, 10)


@pytest.mark.parametrize(
    ("shape", "steps"),
    [
        ((10, 3), [("sum", {"axis": 1})]),
        ((10, 3), [("max", {"axis": -1, "keepdims": True})]),
        ((10, 3, 2), [("logsumexp", {"axis": (1, 2)}), ("reshape", {"shape": (10, 1)})]),
        ((10, 3, 2), [("sum", {"axis": (0, 2)})]),
        ((10, 3, 2), [("sum", {"axis": 0, "keepdims": True})]),
        ((10, 3, 2), [("sum_rows", {})]),
        ((10, 3, 2), [("reshape", {"shape": (10, -1)})]),
        ((10, 3, 2), [("reshape", {"shape": (1, 10, 6)}), ("reshape", {"shape": (10, 6)})]),
        ((10, 3), [("matrix_transpose", {}), ("tanh", {}), ("matrix_transpose", {})]),
        ((10, 3), [("matrix_transpose", {}), ("sum_rows", {})]),
        ((10, 3), [("matrix_transpose", {}), ("sum", {"axis": 1})]),
        ((10, 3), [("matrix_transpose", {}), ("softmax", {"axis": 0}), ("transpose", {})]),
        ((10, 3, 2), [("transpose", {"axes": (1, 0, 2)}), ("transpose", {"axes": (1, 2, 0)})]),
        ((10, 3), [("softmax", {"axis": 1})]),
        ((10, 3), [("var", {"axis": 1}), ("spread", {"shape": (10, 3), "axis": 1})]),
        ((10, 1), [("broadcast_to", {"shape": (10, 4)})]),
        ((10,), [("reshape", {"shape": (10, 1)}), ("broadcast_to", {"shape": (10, 10)})]),
        ((10, 3), [("getitem", {"index": (slice(None), 1)})]),
        ((10, 3), [("getitem", {"index": (..., None, slice(0, 2))})]),
        ((10, 3), [("scatter_add", {"shape": (10, 5), "index": (slice(None), slice(1, 4))})]),
        ((10, 3), [("pad", {"widths": ((0, 0), (1, 2))})]),
        ((10, 5), [("sliding_windows", {"size": (2,)}), ("add_windows", {"shape": (10, 5)})]),
        ((10, 3), [("prod_others", {}), ("clip", {"low": 0.0}), ("power_of", {"exponent": 3})]),
        ((10, 3), [("astype", {"dtype": "float32"}), ("mean", {"axis": 1})]),
        ((10, 3), [("mean", {})]),
    ],
)
def test_what_follows_the_rows(shape, steps):
    s = Small(shape)
    value = s.x
    for name, options in steps:
        value = s.add(name, value, **options)
    if value.shape[:1] == (10,) or len(value.shape) < 2 or steps[-1][0] in ("sum", "sum_rows"):
        s.run(value)
    else:
        s.run(s.add("sum", value, axis=None))


def test_rows_of_several_entries():
    s = Small((10, 4, 3))
    w, c = s.free("w", (3, 2)), s.b.constant(np.arange(80.0).reshape(40, 2))
    flat = s.add("reshape", s.x, shape=(40, 3))
    m = s.add("add", s.add("add", s.add("matmul", flat, w), c), s.free("d", (40, 1)))
    back = s.add("reshape", m, shape=(10, 8))
    s.run(flat, m, back, s.add("reshape", s.x, shape=(-1,)), s.add("sum_rows", m),
          s.add("matmul", s.add("matrix_transpose", flat), m), s.add("reshape", m, shape=(20, 4)))  # fmt: skip
    column = s.add("reshape", s.add("transpose", s.x, axes=(1, 0, 2)), shape=(4, 30))
    s.run(s.add("sum", column, axis=1), s.add("matrix_transpose", column))


def test_correlations_and_their_ways_back():
    s = Small((10, 2, 4, 5))
    w, z = s.free("w", (3, 2, 2, 3)), s.free("z", (10, 3, 3, 3))
    out = s.add("correlate", s.x, w)
    s.run(
        out, s.add("correlate_back", s.add("tanh", out), w, shape=(10, 2, 4, 5)),
        s.add("correlate_kernels", s.x, out, size=(2, 3)), s.add("correlate_kernels", s.x, z, size=(2, 3)),
    )  # fmt: skip
    s.refuse("otherwise than as pictures", s.add("correlate", s.free("y", (7, 2, 5, 5)), s.x))
    turned = s.add("transpose", s.x, axes=(1, 0, 2, 3))
    s.refuse("otherwise than as pictures", s.add("correlate_kernels", turned, turned, size=(1, 1)))


def test_products_of_stacks_and_transposes():
    s = Small((10, 3))
    w, stack = s.free("w", (3, 10)), s.free("stack", (10, 3, 2))
    t = s.add("matrix_transpose", s.x)
    column = s.add("matmul", s.add("matrix_transpose", w), t)  # (10, 10), the rows along the last axis
    s.run(
        s.add("matmul", s.x, w), s.add("matrix_transpose", column), s.add("matmul", t, s.x),
        s.add("matmul", t, w_rows := s.free("w_rows", (10, 4))),
        s.add("matmul", s.add("matrix_transpose", w_rows), s.x),
        s.add("matmul", s.add("reshape", s.x, shape=(10, 1, 3)), stack),
        s.add("matmul", s.add("reshape", s.x, shape=(10, 1, 3)), s.add("reshape", s.x, shape=(10, 3, 1))),
    )  # fmt: skip


def test_what_has_an_entry_for_each_row_but_depends_on_none():
    s = Small((10, 3))
    c = s.b.constant(np.arange(30.0).reshape(10, 3))
    weights, p = s.free("weights", (10, 1)), s.given("p", (10, 3), "parameter")
    scalar = s.free("scalar", ())
    row = s.add("spread", s.free("row", (3,)), shape=(10, 3), axis=0)
    repeated = s.add("spread", s.add("tanh", scalar), shape=(10, 3), axis=None)
    made = s.add("tanh", s.add("multiply", weights, 2.0))
    y = s.x
    for other in (c, weights, p, row, repeated, made):
        y = s.add("add", y, other)
    labels = s.b.constant(np.arange(10) % 3)
    joined = s.add("concatenate", y, c, axis=1)
    step = s.run(y, s.add("pick", y, labels), s.add("place", weights_row := s.free("v", (10,)), labels, shape=(10, 3)),
                 joined, s.add("sum", repeated), s.add("multiply", made, 3.0), weights_row)  # fmt: skip
    assert [v.shape for v in step.parts.block(4).inputs if v.name == "x"] == [(4, 3)]
    assert not any(v.shape[:1] == (10,) for i in step.parts.block(4).instructions for v in (*i.reads, i.output))


def test_hyperparameters_that_rows_read():
    s = Small((10, 3))
    rate = s.b.variable("rate", (), "number", "number")
    s.values[rate] = 0.3
    keep = s.add("subtract", 1, rate)
    y = s.add("multiply", s.x, keep)
    s.run(y, s.add("multiply", s.add("sum", y), keep))


def test_what_is_computed_before_is_computed_once():
    s = Small((10, 3))
    w = s.given("w", (3, 2), "parameter")
    v = s.add("tanh", w)
    y = s.add("matmul", s.x, v)
    back = s.add("matmul", y, s.add("matrix_transpose", v))
    step = s.run(y, back, s.add("exp", v), writes={w: s.add("multiply", v, 0.5)})
    parts = step.parts
    assert [i.op for i in parts.before.instructions] == ["tanh"]
    assert [i.op for i in parts.after.instructions] == ["exp", "multiply"]
    assert {i.op for i in parts.block(4).instructions} == {"matmul", "matrix_transpose"}


def test_nothing_depends_on_the_rows():
    s = Small((10, 3))
    w = s.given("w", (3, 2), "parameter")
    s.run(s.add("tanh", w), 2.0, writes={w: s.add("exp", w)})


@pytest.mark.parametrize("draw", [("random_mask", {"keep": 0.5}), ("random_uniform", {}), ("random_normal", {})])
def test_one_operation_may_draw_random_numbers(draw):
    results = []
    for streamed in (False, True):
        s = Small((10, 3))
        y = s.add(draw[0], s.x, rng=np.random.default_rng(1), **draw[1])
        program = s.b.program([s.x], [y])
        step = StreamedStep(program, 10, 4, Reference, {}) if streamed else Reference(program, {})
        results.append(step(s.values[s.x])[0])
    np.testing.assert_array_equal(*results)


def test_random_numbers_that_no_row_needs_are_drawn_once():
    s, rng = Small((10, 3)), np.random.default_rng(1)
    s.add("random_uniform", s.free("v", (2,)), rng=rng)
    step = StreamedStep(s.b.program(s.inputs, [s.add("tanh", s.x)]), 10, 4, Reference, {}, [s.x])
    step(*[s.values[v] for v in s.inputs])
    other = np.random.default_rng(1)
    other.random(2)
    assert rng.random() == other.random()


# --- what is refused -------------------------------------------------------------------------------------
REFUSED = [
    (lambda s: s.add("subtract", s.x, s.add("mean", s.x, axis=0), name="y"), "subtract, which computes y, .* total"),
    (
        lambda s: s.add("softmax", s.x, axis=0, name="y"),
        "max, which computes y.max, goes over the rows, and is not a sum",
    ),
    (lambda s: s.add("max", s.x, axis=0), "max, which computes .*, goes over the rows"),
    (lambda s: s.add("prod", s.x), "prod, .*, goes over the rows"),
    (lambda s: s.add("reshape", s.x, shape=(3, 10)), "does not keep the rows apart"),
    (lambda s: s.add("reshape", s.x, shape=(5, 6)), "does not keep the rows apart"),
    (lambda s: s.add("reshape", s.add("matrix_transpose", s.x), shape=(-1,)), "does not keep the rows apart"),
    (lambda s: s.add("getitem", s.x, index=slice(0, 5)), "picks some of the rows"),
    (lambda s: s.add("getitem", s.x, index=3), "picks some of the rows"),
    (lambda s: s.add("getitem", s.x, index=(slice(None), np.array([0, 1]))), "picks some of the rows"),
    (lambda s: s.add("getitem", s.x, index=True), "picks some of the rows"),
    (lambda s: s.add("scatter_add", s.x, shape=(12, 3), index=slice(0, 10)), "where an index says"),
    (lambda s: s.add("matrix_transpose", s.x), "another axis than the first, and is returned"),
    (lambda s: s.add("matmul", s.x, s.add("matrix_transpose", s.x)), "every row with every other"),
    (lambda s: s.add("concatenate", s.x, s.x), "adds rows"),
    (lambda s: s.add("pad", s.x, widths=((1, 0), (0, 0))), "adds rows"),
    (lambda s: s.add("sliding_windows", s.x, size=(2, 2)), "several rows"),
    (lambda s: s.add("pick", s.add("matrix_transpose", s.x), s.b.constant(np.zeros(3, int))), "from another axis"),
    (lambda s: s.add("random_mask", s.add("matrix_transpose", s.x), keep=0.5, rng=np.random.default_rng()), "not row"),
    (lambda s: s.add("random_mask", s.x, keep=0.5, rng=3), "draws from a seed"),
]


@pytest.mark.parametrize(("make", "match"), REFUSED)
def test_refused(make, match):
    s = Small((10, 3))
    s.refuse(match, make(s))


def test_rows_against_rows_are_refused_though_the_lengths_fit():
    s = Small((10, 10))
    s.refuse("compares every row with every other", s.add("add", s.x, s.add("sum", s.x, axis=1)))
    s = Small((1, 3))
    s.row_inputs = [s.x]
    program = s.b.program([s.x], [s.add("add", s.x, s.free("other", (4, 3)))])
    with pytest.raises(CompileError, match="repeats the only row"):
        split(program, [s.x], 1)


def test_two_random_operations_are_refused():
    s, rng = Small((10, 3)), np.random.default_rng(0)
    y = [s.add("random_mask", s.x, keep=0.5, rng=rng) for _ in range(2)]
    s.refuse("second that draws random numbers", *y)


def test_rows_that_would_be_kept_are_refused():
    s = Small((10, 3))
    state = s.given("memory", (10, 3), "state")
    s.refuse("kept in memory", s.x, writes={state: s.add("tanh", s.x)})
    s.refuse("x has a row .* kept in memory", s.x, writes={state: s.x})


def test_inputs_that_have_not_so_many_rows_are_refused():
    s = Small((9, 3))
    s.refuse(r"'x' has shape \(9, 3\)", s.x)


def test_operations_of_users_are_refused_unless_they_are_elementwise():
    op("wobble", lambda x: np.sin(x) * x, doc="x sin x")
    op("wander", lambda x: x, shape=lambda x: x, doc="x, but nobody knows")
    try:
        s = Small((10, 3))
        s.run(s.add("wobble", s.x))
        s.refuse("wander, which computes .*, treats rows in a way that is not known", s.add("wander", s.x))
    finally:
        del TABLE["wobble"], TABLE["wander"]
