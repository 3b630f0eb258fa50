"""What the tests of the passes share: running a pass, and programs to run it on."""

import numpy as np

from tinygrad_batch.program import NUMBER, Builder, Variable, evaluate

EXACT = 0.0
ROUNDING = {"float16": 3e-2, "float32": 1e-4, "float64": 1e-10}


def run(change, program, values, rounding=False):
    """Return ``change(program)``, checked to give the same results and to leave the program as it was."""
    before = snapshot(program)
    after = change(program)
    assert snapshot(program) == before, "the pass changed its input"
    check_form(after)
    with np.errstate(all="ignore"):
        old, new = evaluate(program, values), evaluate(after, values)
    assert list(after.writes) == list(program.writes)
    pairs = zip((*program.outputs, *program.writes.values()), (*after.outputs, *after.writes.values()), strict=True)
    for a, b in pairs:
        x, y = (v[k] if isinstance(k, Variable) else k for v, k in ((old, a), (new, b)))
        if getattr(a, "dtype", NUMBER) == NUMBER:
            np.testing.assert_allclose(y, x, rtol=1e-12)
            continue
        assert (b.shape, b.dtype) == (a.shape, a.dtype) == (y.shape, str(y.dtype)), a.name
        size = np.abs(x[np.isfinite(x)]).max(initial=1.0)
        tolerance = ROUNDING.get(a.dtype, 0) * size if rounding else 0
        np.testing.assert_allclose(y, x, rtol=tolerance, atol=tolerance, err_msg=a.name)
    return after


def snapshot(program):
    """Return everything that a program says, as plain values."""
    return (
        str(program),
        [(id(i), i.step, i.part, tuple(map(id, i.inputs)), id(i.output)) for i in program.instructions],
        [(id(v), v.name, v.shape, v.dtype, v.kind) for v in program.variables()],
        {v.name: value.tobytes() for v, value in program.constants.items()},
    )


def check_form(program):
    """Check that a program can run: everything is written once, before it is read, and has a name of its own."""
    known = {*program.inputs, *program.constants}
    for instruction in program.instructions:
        assert all(v in known or v.kind not in ("constant", "computed") for v in instruction.reads), instruction
        assert instruction.output not in known
        known.add(instruction.output)
    assert all(v in known or v.kind not in ("constant", "computed") for v in program.results)
    names = [v.name for v in dict.fromkeys(program.variables())]
    assert len(names) == len(set(names)), names


def ops(program):
    """Return the names of the operations of a program, in order."""
    return [instruction.op for instruction in program.instructions]


def one(op, *arrays, cast=None, **options):
    """Return a program of one operation on arrays and numbers, and the values to run it on."""
    builder, values, inputs = Builder(), {}, []
    for i, array in enumerate(arrays):
        if not isinstance(array, np.ndarray):
            inputs.append(array)
            continue
        array = array if cast is None else array.astype(cast)
        inputs.append(builder.variable("xab"[i], array.shape, array.dtype, "input"))
        values[inputs[-1]] = array
    out = builder.add(op, *inputs, name="y", **options)
    return builder.program(list(values), [out]), values


UNARY = ("negative", "relu", "sigmoid", "softplus", "silu", "gelu", "tanh", "square", "abs", "positive", "exp")
BINARY = ("add", "subtract", "multiply", "maximum", "minimum", "less_equal")
NUMBERS = (0, 1, -1, 2, 0.0, -0.0, 0.5, 3.0, -0.1)


def random_program(seed, length=25):
    """Return a random program, and values to run it on."""
    rng, builder, values = np.random.default_rng(seed), Builder(), {}
    dtype = str(rng.choice(["float32", "float64"]))
    pool = []
    for i, shape in enumerate([(4, 3), (4, 3), (3,), (), (4, 1)]):
        pool.append(builder.variable(f"x{i}", shape, dtype, "input"))
        values[pool[-1]] = rng.choice([-1.5, -1.0, -0.0, 0.0, 0.25, 1.0, 2.0], shape).astype(dtype)
    pool += [builder.constant(np.asarray(v, dtype)) for v in (0.5, 2.0, np.ones(3))]
    inputs = list(values)
    for i in range(length):
        builder.part = None if rng.random() < 0.5 else (0, int(rng.integers(3)))
        name = f"t{i + 1}" if rng.random() < 0.5 else f"v{i + 1}"
        floats = [v for v in pool if v.dtype == dtype]
        x, z = (floats[int(rng.integers(len(floats)))] for _ in range(2))
        number = NUMBERS[int(rng.integers(len(NUMBERS)))]
        kind = int(rng.integers(9))
        if kind == 0:
            pool.append(builder.add(str(rng.choice(UNARY)), x, name=name))
        elif kind in (1, 2):
            pool.append(builder.add(str(rng.choice(BINARY)), *((x, number) if rng.random() < 0.6 else (number, x))))
        elif kind in (3, 4):
            pool.append(builder.add(str(rng.choice(BINARY)), x, z, name=name))
        elif kind == 5 and len(x.shape) == 2:
            choice = int(rng.integers(5))
            axis = [None, 0, 1, (0, 1), -1][choice]
            op = str(rng.choice(["sum", "mean", "max", "logsumexp", "var"]))
            pool.append(builder.add(op, x, axis=axis, keepdims=bool(rng.integers(2)), name=name))
        elif kind == 6:
            if x.shape in ((), (3,)):
                pool.append(builder.add("spread", x, shape=(4, 3), axis=None if x.shape == () else 0, name=name))
            elif x.shape == (4, 1):
                pool.append(builder.add("broadcast_to", x, shape=(4, 3), name=name))
            else:
                shape = x.shape[1:] if x.shape[1:] == (3,) else ()
                pool.append(builder.add("unbroadcast", x, shape=shape, dtype=dtype, name=name))
        elif kind == 7:
            op, given = [("transpose", {}), ("reshape", {"shape": (-1,)}), ("astype", {"dtype": dtype})][
                int(rng.integers(3))
            ]
            y = builder.add(op, x, name=name, **given)
            pool.append(y)
            if op != "astype":
                back = {"shape": x.shape} if op == "reshape" else {}
                pool.append(builder.add(op, y, **back))
        elif z.shape == x.shape:
            pool.append(builder.add("where", builder.add("less_equal", x, z), x, number, name=name))
        pool = [v for v in pool if v.shape in ((4, 3), (3,), (), (4, 1))]
    results = [v for v in pool[-6:] if v.kind == "computed"]
    state = builder.variable("kept", results[0].shape if results else (), dtype, "state")
    values[state] = np.zeros(state.shape, dtype)
    return builder.program(inputs, results, {state: results[0]} if results else {}), values
