"""Random graphs, printed and run beside the framework."""

import random

import numpy as np
import pytest
from lessons import load, notes

import tinygrad_batch as tb
from tinygrad_batch import optim
from tinygrad_batch.errors import TinygradBatchError

ONE = [
    tb.tanh, tb.sigmoid, tb.relu, tb.square, tb.abs, tb.softplus, tb.softmax,
    lambda t: -t,
    lambda t: t.T,
    lambda t: t**3,
    lambda t: t[..., :1],
    lambda t: 2.0 / (1.5 + tb.square(t)),
    lambda t: tb.clip(t, -1.0, 1.0),
    lambda t: tb.reshape(t, (-1,)),
    lambda t: t.sum(axis=0, keepdims=True),
    lambda t: t.mean(axis=-1, keepdims=True),
    lambda t: t.max(axis=-1, keepdims=True),
    lambda t: tb.std(t, axis=0, keepdims=True),
    lambda t: tb.logsumexp(t, axis=-1, keepdims=True),
]  # fmt: skip
TWO = [
    tb.add, tb.subtract, tb.multiply, tb.maximum, tb.minimum, tb.matmul,
    lambda a, b: tb.where(a > b, a, b),
    lambda a, b: a / (1.0 + tb.abs(b)),
    lambda a, b: tb.concatenate([a, b], axis=0),
]  # fmt: skip
OPTIMIZERS = [
    lambda p: optim.SGD(p, lr=0.1),
    lambda p: optim.SGD(p, lr=0.1, momentum=0.9),
    lambda p: optim.Adam(p),
]
NAMES = "abc"


def record(choose, parameters, optimizer, x):
    """Run a random step of one or two backward passes; return its losses and its trace."""
    losses = []
    with tb.capture() as trace:
        for _ in range(choose.choice([1, 1, 2])):
            made = [*parameters, tb.asarray(x)]
            for _ in range(choose.randint(1, 9)):
                operations, count = choose.choice([(ONE, 1), (TWO, 2)])
                try:
                    made.append(choose.choice(operations)(*[choose.choice(made) for _ in range(count)]))
                except TinygradBatchError:  # shapes that do not fit
                    continue
            loss = sum((t * t).mean() for t in (*made[-2:], *parameters[:1]))
            loss.backward()
            losses.append(loss)
            if choose.random() < 0.8:
                optimizer.step()
            if choose.random() < 0.5:
                optimizer.zero_grad()
    return losses, trace


def given(said, arrays, optimizer, x):
    """Return the arguments of a printed program."""
    arguments, updates = {}, {}
    for name, note in said.items():
        if name in arrays:
            arguments[name] = arrays[name]
        elif note.startswith("kept by the optimiser"):
            arguments[name] = np.zeros_like(arrays[name.partition("_")[2]])
        elif note.startswith("the number of this update"):
            words = note.removeprefix("the number of this update").partition(":")[0].removeprefix(" of ")
            for parameter in words.split(", "):
                updates[parameter] = updates.get(parameter, 0) + 1
            arguments[name] = updates[words.split(", ")[0]]
        elif note.startswith("hyperparameter"):
            stem = name.rstrip("0123456789")
            value = optimizer.hyperparameters()[stem]
            place = int(name[len(stem) :] or 1) - 1
            arguments[name] = value[place % 2] if isinstance(value, tuple) else value
        else:
            arguments[name] = x
    return arguments


@pytest.mark.parametrize("seed", range(60))
def test_a_random_graph(seed):
    choose, rng = random.Random(seed), np.random.default_rng(seed)
    dtype = choose.choice(["float64", "float32"])
    arrays = {n: (0.5 * rng.normal(size=s)).astype(dtype) for n, s in zip(NAMES, [(3, 3), (3,), (1, 3)], strict=True)}
    x = rng.normal(size=(3, 3)).astype(dtype)
    parameters = [tb.Tensor(array, requires_grad=True, name=name) for name, array in arrays.items()]
    optimizer = choose.choice(OPTIMIZERS)(parameters)
    losses, trace = record(choose, parameters, optimizer, x)
    step = load(tb.to_numpy(trace))
    found = step(**given(notes(step), arrays, optimizer, x))
    *outputs, gradients = found if isinstance(found, tuple) else (found,)
    if not isinstance(gradients, dict):
        outputs, gradients = [*outputs, gradients], {}
    close = {"rtol": 1e-8, "atol": 1e-10} if dtype == "float64" else {"rtol": 3e-3, "atol": 1e-4}
    for output, loss in zip(outputs, losses, strict=True):
        np.testing.assert_allclose(output, loss.data, **close)
    assert set(gradients) == {name for name, p in zip(NAMES, parameters, strict=True) if p.grad is not None}
    for name, parameter in zip(NAMES, parameters, strict=True):
        np.testing.assert_allclose(arrays[name], parameter.data, **close)
        if name in gradients:
            assert (gradients[name].shape, gradients[name].dtype) == (parameter.shape, parameter.dtype)
            np.testing.assert_allclose(gradients[name], parameter.grad.data, **close)
