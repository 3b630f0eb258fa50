"""Programs written by hand, as a capture of a training step writes them."""

from itertools import pairwise

import numpy as np

from tinygrad_batch.program import Builder


def training_step(widths=(10, 15, 10, 1), rows=10, dtype="float64", activation="tanh", momentum=False):
    """Return the program of a net with a mean squared error, its backward pass and SGD, and values to run it on."""
    builder, rng, values = Builder(), np.random.default_rng(0), {}

    def given(name, shape, kind, scale=1.0):
        variable = builder.variable(name, shape, dtype, kind)
        values[variable] = (scale * rng.normal(size=shape)).astype(dtype)
        return variable

    x, y = given("x", (rows, widths[0]), "input"), given("y", (rows, widths[-1]), "input")
    pairs = list(pairwise(widths))
    weights = [given(f"W{i}", pair, "parameter", pair[0] ** -0.5) for i, pair in enumerate(pairs, 1)]
    biases = [given(f"b{i}", pair[1:], "parameter", 0.1) for i, pair in enumerate(pairs, 1)]
    lr = builder.variable("lr", (), "number", "number")
    values[lr] = 0.01

    add = builder.add
    hidden = [x]
    for i, (w, b) in enumerate(zip(weights, biases, strict=True), 1):
        z = add("add", add("matmul", hidden[-1], w, name=f"m{i}"), b, name=f"z{i}")
        hidden.append(add(activation, z, name=f"h{i}") if i < len(pairs) else z)
    e = add("subtract", hidden[-1], y, name="e")
    loss = add("mean", add("square", e, name="q"), axis=None, keepdims=False, name="loss")

    seed = builder.constant(np.ones((), dtype), "dloss")
    share = add("divide", seed, e.size)
    dq = add("spread", share, shape=e.shape, axis=None, name="dq")
    dz = add("multiply", add("multiply", 2, e), dq, name="de")
    grads = {}
    for i in reversed(range(len(pairs))):
        if i < len(pairs) - 1:
            h = hidden[i + 1]
            if activation == "tanh":
                dz = add("multiply", dz, add("subtract", 1, add("multiply", h, h)), name=f"dz{i + 1}")
            else:
                dz = add("where", add("less_equal", h, 0), 0.0, dz, name=f"dz{i + 1}")
        db = add("unbroadcast", dz, shape=biases[i].shape, dtype=dtype, name=f"db{i + 1}")
        dw = add("matmul", add("matrix_transpose", hidden[i]), dz, name=f"dW{i + 1}")
        if i:
            dz = add("matmul", dz, add("matrix_transpose", weights[i]), name=f"dh{i}")
        grads[weights[i]], grads[biases[i]] = dw, db

    writes = {}
    parameters = [p for pair in zip(weights, biases, strict=True) for p in pair]
    for part, parameter in enumerate(parameters):
        builder.part = (0, part)
        slot = builder.variable(f"{parameter.name}.grad", parameter.shape, dtype, "gradient")
        values[slot] = np.zeros(parameter.shape, dtype)
        writes[slot] = grad = grads[parameter]
        if momentum:
            velocity = builder.variable(f"{parameter.name}.velocity", parameter.shape, dtype, "state")
            values[velocity] = rng.normal(size=parameter.shape).astype(dtype)
            grad = writes[velocity] = add("add", add("multiply", velocity, 0.9), grad)
        writes[parameter] = add("subtract", parameter, add("multiply", lr, grad), name=f"{parameter.name}.new")
    return builder.program([x, y], [loss], writes), values
