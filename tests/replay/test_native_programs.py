"""Whole programs as machine code: the same numbers as one operation after the other, whatever lies where."""

import warnings

import numpy as np
import pytest
from programs import training_step

from tinygrad_batch.errors import CompileError
from tinygrad_batch.program import Builder, Program, evaluate

pytest.importorskip("llvmlite")

from tinygrad_batch.replay.native import build, engine, entry, executable

CLOSE = {"float32": 3e-5, "float64": 1e-11}


@pytest.fixture(autouse=True)
def _no_cache(monkeypatch):
    monkeypatch.setenv("TINYGRAD_BATCH_CACHE", "off")


def quiet(program, values):
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return evaluate(program, values)


def same(given, want, dtype):
    want = np.asarray(want)
    scale = np.max(np.abs(want), where=np.isfinite(want), initial=1e-3) if want.dtype.kind == "f" else 0
    np.testing.assert_allclose(given, want, rtol=CLOSE[dtype], atol=CLOSE[dtype] * scale)


def follow(program, values, dtype, times=3, tolerance=None):
    """Run a program a few times, and assert after each that everything holds what `evaluate` says."""
    values = dict(values)
    live = {v: np.array(values[v]) for v in program.living}
    step = build(program, live)
    for _ in range(times):
        expected = quiet(program, values)
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            given = step.enter(*[values[v] for v in program.inputs], *[values[v] for v in program.numbers])
        for v, array in zip(program.outputs, given, strict=True):
            same(array, expected.get(v, v), dtype)
        for v, result in program.writes.items():
            same(live[v], expected.get(result, result), dtype)
            values[v] = live[v].copy()
    return step


def without_gradients(program):
    writes = {v: result for v, result in program.writes.items() if v.kind != "gradient"}
    return Program(program.inputs, program.instructions, program.outputs, writes, program.constants)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize(
    "step",
    [
        {}, {"activation": "relu"}, {"momentum": True}, {"rows": 1}, {"rows": 100},
        {"widths": (5, 33, 18, 3), "rows": 7},
        {"widths": (1, 1, 1, 1)}, {"widths": (64, 128, 128, 10), "rows": 33},
    ],
)  # fmt: skip
def test_training_step(step, dtype, keep):
    program, values = training_step(dtype=dtype, **step)
    follow(program if keep else without_gradients(program), values, dtype)


def test_adam():
    """The step counter is a number; powers of numbers are worked out in machine code."""
    builder, rng = Builder(), np.random.default_rng(0)
    add = builder.add
    x = builder.variable("x", (8, 5), "float32", "input")
    w = builder.variable("W", (5,), "float32", "parameter")
    m, s = (builder.variable(name, (5,), "float32", "state") for name in ("m", "s"))
    t, lr = (builder.variable(name, (), "number", "number") for name in ("t", "lr"))
    grad = add("sum", add("multiply", x, w), axis=0)
    m2 = add("add", add("multiply", m, 0.9), add("multiply", grad, 0.1))
    s2 = add("add", add("multiply", s, 0.999), add("multiply", add("square", grad), 0.001))
    rate = add("divide", lr, add("subtract", 1, add("power", 0.9, t)))
    spread = add("sqrt", add("divide", s2, add("subtract", 1, add("power", 0.999, t))))
    new = add("subtract", w, add("divide", add("multiply", rate, m2), add("add", spread, 1e-8)))
    program = builder.program([x], [add("sum", grad)], {w: new, m: m2, s: s2})
    values = {x: rng.normal(size=(8, 5)), w: rng.normal(size=5), m: np.zeros(5), s: np.zeros(5)}
    values = {v: a.astype("float32") for v, a in values.items()} | {t: 3.0, lr: 0.01}
    step = follow(program, values, "float32")

    rows = np.concatenate([values[x]] * 4)
    live = {v: values[v].copy() for v in program.living}
    other = {v: values[v].copy() for v in program.living}
    step, single = build(program, live), build(program, other)
    numbers = [values[v] for v in program.numbers]
    (sums,) = step.epoch([rows], None, numbers, counting=[program.numbers.index(t)])
    for i in range(4):
        values[t] = 3.0 + i
        (one,) = single(values[x], *[values[v] for v in program.numbers])
        assert one == sums[i]
    for v in live:
        np.testing.assert_array_equal(live[v], other[v])


def swapped():
    builder, rng = Builder(), np.random.default_rng(1)
    a, b, c = (builder.variable(n, (6, 7), "float64", "state") for n in "abc")
    x = builder.variable("x", (6, 7), "float64", "input")
    k = builder.constant(rng.normal(size=(6, 7)))
    t = builder.add("add", a, b)
    writes = {
        a: b,
        b: a,
        c: builder.add("multiply", t, builder.add("matrix_transpose", builder.add("matrix_transpose", c))),
    }
    program = builder.program([x], [x, a, t, t, k, 2.5, writes[c]], writes)
    return program, {v: rng.normal(size=(6, 7)) for v in (a, b, c, x)}


def test_results_that_are_no_results_of_their_own():
    """Inputs and constants returned, states exchanged, one value returned twice: everything is a fresh array."""
    program, values = swapped()
    follow(program, values, "float64")
    live = {v: values[v].copy() for v in program.living}
    given = build(program, live)(values[program.inputs[0]])
    for i, array in enumerate(given):
        others = [*given[:i], *given[i + 1 :], *live.values(), *program.constants.values(), values[program.inputs[0]]]
        assert not any(np.shares_memory(array, other) for other in others)


def test_a_state_is_read_by_others_before_it_changes():
    builder, rng = Builder(), np.random.default_rng(1)
    w = builder.variable("W", (5, 5), "float64", "parameter")
    x = builder.variable("x", (5, 5), "float64", "input")
    new = builder.add("subtract", w, x)  # early, while W is read below: across, in a product, and turned round
    outputs = [
        builder.add("matmul", x, w),
        builder.add("add", builder.add("transpose", w), w),
        builder.add("sum", w, axis=0),
        builder.add("getitem", w, index=(slice(None, None, -1), 2)),
    ]
    program = builder.program([x], outputs, {w: new})
    follow(program, {w: rng.normal(size=(5, 5)), x: rng.normal(size=(5, 5))}, "float64")
    turned = builder.program([x], [], {w: builder.add("matrix_transpose", w)})
    follow(turned, {w: rng.normal(size=(5, 5)), x: rng.normal(size=(5, 5))}, "float64")


def test_an_input_may_lie_where_a_parameter_does():
    builder, rng = Builder(), np.random.default_rng(1)
    w = builder.variable("W", (4, 3), "float64", "parameter")
    x = builder.variable("x", (4, 3), "float64", "input")
    new = builder.add("subtract", w, builder.add("getitem", x, index=slice(None, None, -1)))
    program = builder.program([x], [builder.add("sum", x)], {w: new})
    start = rng.normal(size=(4, 3))
    live = {w: start.copy()}
    (total,) = build(program, live)(live[w])
    np.testing.assert_allclose(total, start.sum())
    np.testing.assert_allclose(live[w], start - start[::-1])
    room = np.concatenate([start, start])
    live = {w: room[:4]}
    build(program, live)(room[2:6])
    np.testing.assert_allclose(room[:4], start - np.concatenate([start[2:], start[:2]])[::-1])


@pytest.mark.parametrize("whole", [True, False])
def test_living_arrays_may_lie_in_any_way(whole):
    """Turned, with gaps, reversed, or two variables in one array."""
    program, values = training_step(dtype="float64")
    if not whole:
        last = program.instructions[-1]
        program = Program(program.inputs, program.instructions, (*program.outputs, last.output), program.writes,
                          program.constants)  # fmt: skip
    weights = [v for v in program.living if v.name.startswith("W") and "." not in v.name]
    live = {v: values[v].copy() for v in program.living}
    live[weights[0]] = np.asfortranarray(values[weights[0]])
    live[weights[1]] = np.repeat(values[weights[1]], 2, axis=1)[:, ::2]
    step = build(program, live)
    for _ in range(2):
        expected = quiet(program, values)
        step(*[values[v] for v in program.inputs], *[values[v] for v in program.numbers])
        for v, result in program.writes.items():
            same(live[v], expected[result], "float64")
            values[v] = live[v].copy()


def test_what_lies_in_one_array_is_one():
    builder = Builder()
    a, b = (builder.variable(n, (4,), "float64", "state") for n in "ab")
    program = builder.program([], [builder.add("add", a, b)], {a: builder.add("multiply", a, 2.0)})
    tied = np.arange(4.0)
    step = build(program, {a: tied, b: tied})
    np.testing.assert_array_equal(step()[0], 2 * np.arange(4.0))
    np.testing.assert_array_equal(tied, 2 * np.arange(4.0))


def test_arguments():
    program, values = training_step()
    live = {v: values[v].copy() for v in program.living}
    step = build(program, live)
    x, y = (values[v] for v in program.inputs)
    (expected,) = step(x, y, 0.0)
    wide = np.repeat(x, 2, axis=1)
    unaligned = np.frombuffer(b"\0" + x.tobytes(), np.uint8)[1:].view("float64").reshape(x.shape)
    big = x.astype(x.dtype.newbyteorder())
    for other in (wide[:, ::2], np.asfortranarray(x), unaligned, x.view(np.memmap), x.tolist()):
        (loss,) = step.enter(other, y, 0)
        np.testing.assert_allclose(loss, expected)
    step.enter(x, y, np.float64(0.0))
    for wrong in ((x,), (x, y), (x, y, 0.0, 0.0), (x[:9], y, 0.0), (x.astype("float32"), y, 0.0), (big, y, 0.0)):
        with pytest.raises(CompileError):
            step.enter(*wrong)
    with pytest.raises(TypeError):
        step.enter(x, y, None)
    with pytest.raises(CompileError, match="not float64"):
        build(program, live | {next(iter(live)): np.zeros(3, "float32")})
    parameter = next(iter(program.writes))
    live[parameter].flags.writeable = False
    with pytest.raises(CompileError, match="written"):
        build(program, live)


def test_other_ways_in(monkeypatch):
    """Without the built-in, without BLAS, and with every product left to it."""
    program, values = training_step(dtype="float64", widths=(6, 70, 65, 3), rows=20)
    monkeypatch.setattr(entry, "fast_entry_fits", lambda: False)
    step = follow(program, values, "float64")
    assert step.enter == step._state.run
    rows = [np.concatenate([values[v]] * 2) for v in program.inputs]
    slow = build(program, {v: values[v].copy() for v in program.living}).epoch(rows, np.arange(40), [0.1])
    monkeypatch.undo()
    fast = build(program, {v: values[v].copy() for v in program.living}).epoch(rows, np.arange(40), [0.1])
    np.testing.assert_array_equal(slow[0], fast[0])
    monkeypatch.setattr(executable, "_OWN_BESIDE_THREADS", 0)
    monkeypatch.setattr(executable, "_own_products", lambda: 0)
    step = follow(program, values, "float64")
    if engine.blas() is not None:
        assert "blas" in {node.what for node in step._state.module.storage.nodes}
    turned = without_gradients(program)
    follow(turned, values, "float64")


def test_products_of_blas_read_matrices_as_they_lie(monkeypatch):
    if engine.blas() is None:
        pytest.skip("no SciPy")
    monkeypatch.setattr(executable, "_OWN_BESIDE_THREADS", 0)
    monkeypatch.setattr(executable, "_own_products", lambda: 0)
    for dtype in ("float32", "float64"):
        builder, rng, outputs = Builder(), np.random.default_rng(0), []
        a = builder.variable("a", (7, 9), dtype, "input")
        b = builder.variable("b", (9, 5), dtype, "input")
        parts = builder.add("getitem", b, index=(slice(1, 8), slice(1, 4)))
        gaps = builder.add("getitem", a, index=(slice(None), slice(None, None, 2)))
        turned = builder.add("matrix_transpose", a)
        outputs += [builder.add("matmul", a, b), builder.add("matmul", turned, parts), builder.add("matmul", a, turned)]
        outputs += [builder.add("matmul", builder.add("matrix_transpose", gaps), a), builder.add("matmul", turned, a)]
        outputs += [builder.add("matmul", builder.add("exp", turned), builder.add("broadcast_to", a, shape=(7, 9)))]
        program = builder.program([a, b], outputs)
        values = {v: rng.normal(size=v.shape).astype(dtype) for v in (a, b)}
        follow(program, values, dtype)


# --- epochs ------------------------------------------------------------------------------------------
@pytest.mark.parametrize("mixed", [True, False])
@pytest.mark.parametrize("order", ["none", "shuffled", "short"])
def test_epoch(order, mixed):
    program, values = training_step(dtype="float64")
    if mixed:  # something that only NumPy does
        builder = Builder()
        last = builder.append("exp2", [program.outputs[0]], {}, (), "float64", "last")
        sort = builder.append("prod_others", [program.inputs[1]], {}, (10, 1), "float64", "others")
        program = Program(program.inputs, (*program.instructions, *builder.instructions),
                          (*program.outputs, last, sort), program.writes, program.constants)  # fmt: skip
    rng = np.random.default_rng(2)
    rows = [rng.normal(size=(47, *v.shape[1:])) for v in program.inputs]
    which = {"none": None, "shuffled": rng.permutation(47), "short": rng.permutation(47)[:23]}[order]
    one = {v: values[v].copy() for v in program.living}
    all_ = {v: values[v].copy() for v in program.living}
    single, step = build(program, one), build(program, all_)
    given = step.epoch(rows, which, [0.1])
    used = np.arange(47) if which is None else which
    assert len(given[0]) == len(used) // 10
    for b in range(len(used) // 10):
        part = used[10 * b : 10 * b + 10]
        for array, want in zip(given, single(*[r[part] for r in rows], 0.1), strict=True):
            np.testing.assert_array_equal(array[b], want)
    for v in one:
        np.testing.assert_array_equal(one[v], all_[v])


def test_epoch_checks_what_it_is_given():
    program, values = training_step()
    step = build(program, {v: values[v].copy() for v in program.living})
    x, y = (np.concatenate([values[v]] * 3) for v in program.inputs)
    for order in ([0] * 9 + [30], [-1] + [0] * 9):
        with pytest.raises(CompileError, match="rows"):
            step.epoch([x, y], np.array(order), [0.1])
    for wrong in ([x], [x, y[:-1]], [x, y.astype("float32")], [x[:, :9], y]):
        with pytest.raises(CompileError):
            step.epoch(wrong, None, [0.1])
    with pytest.raises(CompileError, match="numbers"):
        step.epoch([x, y])
    assert step.epoch([x[:9], y[:9]], None, [0.1])[0].shape == (0,)


# --- programs of any kind ----------------------------------------------------------------------------
UNARY = ["tanh", "exp", "square", "negative", "abs", "relu", "sigmoid", "isfinite", "sign", "sin", "floor"]
BINARY = ["add", "subtract", "multiply", "maximum", "minimum", "less", "greater_equal", "logaddexp"]


def random_program(seed, dtype):
    """Return a program of about forty operations of all kinds, chained at random, and values."""
    rng, builder, values = np.random.default_rng(seed), Builder(), {}
    side = [int(n) for n in rng.choice([1, 2, 3, 8, 17, 20, 33], 3)]

    def fresh(kind):
        shape = tuple(rng.permutation(side)[: rng.integers(0, 4)].tolist())
        variable = builder.variable(kind, shape, dtype, kind)
        values[variable] = rng.normal(size=shape).astype(dtype)
        return variable

    inputs = [fresh("input") for _ in range(3)]
    states = [fresh("state") for _ in range(4)]
    number = builder.variable("k", (), "number", "number")
    values[number] = 0.75
    known = [*inputs, *states, builder.constant(rng.normal(size=side[:2]).astype(dtype))]

    def some():
        return (
            known[rng.integers(max(0, len(known) - 12), len(known))]
            if rng.random() < 0.7
            else known[rng.integers(len(known))]
        )

    for _ in range(40):
        a, kind = some(), rng.integers(9)
        floating = a.dtype in ("float32", "float64")
        if kind <= 1 and floating:
            made = builder.add(str(rng.choice(UNARY)), a)
        elif kind <= 3 and floating:
            others = [b for b in known if fits(a.shape, b.shape)] + [number, 0.5]
            b = others[rng.integers(len(others))]
            made = builder.add(str(rng.choice(BINARY)), *((a, b) if rng.random() < 0.5 else (b, a)))
        elif kind == 4 and floating and a.shape:
            axis = None if rng.random() < 0.3 else int(rng.integers(len(a.shape)))
            name = str(rng.choice(["sum", "mean", "max", "min", "prod"]))
            made = builder.add(name, a, axis=axis, keepdims=bool(rng.random() < 0.5))
        elif kind == 5 and len(a.shape) == 2 and floating:
            others = [b for b in known if b.shape[:1] == a.shape[1:] and len(b.shape) == 2 and b.dtype == a.dtype]
            if not others:
                continue
            made = builder.add("matmul", a, others[rng.integers(len(others))])
        elif kind == 6 and a.shape:
            views = [("transpose", {}), ("reshape", {"shape": (-1,)}), ("reshape", {"shape": (*a.shape[::-1], 1)}),
                     ("getitem", {"index": (slice(None, None, -1),)}), ("getitem", {"index": (..., 0)}),
                     ("broadcast_to", {"shape": (2, *a.shape)})]  # fmt: skip
            name, options = views[rng.integers(len(views))]
            made = builder.add(name, a, **options)
        elif kind == 7:
            others = [b for b in known if fits(a.shape, b.shape)]
            made = builder.add("where", builder.add("greater", a, 0.1), others[rng.integers(len(others))], a)
        elif a.shape and floating:
            made = builder.add(str(rng.choice(["softmax", "cos", "log_softmax", "prod_others"])), a)
        else:
            continue
        if made.size <= 20000 and len(made.shape) <= 4 and made.dtype != "number":
            known.append(made)
    tamed = {}
    for state in states:
        options = [v for v in known if v.shape == state.shape and v.dtype == state.dtype]
        tamed[state] = options[rng.integers(len(options))]
    outputs = [known[i] for i in rng.integers(0, len(known), 5)] + [number]
    return builder.program(inputs, outputs, tamed), values


def fits(a, b):
    return all(m == n or 1 in (m, n) for m, n in zip(a[::-1], b[::-1], strict=False))


@pytest.mark.parametrize("seed", range(40))
def test_random_program(seed):
    dtype = "float32" if seed % 4 == 0 else "float64"
    program, values = random_program(seed, dtype)
    follow(program, values, dtype, times=2)
