"""A captured batch printed as plain NumPy does what the framework does, and reads well."""

import ast
import json
import keyword
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lessons import Snapshot, load, notes

import tinygrad_batch as tb
from tinygrad_batch import nn, optim
from tinygrad_batch.data import DataIterator, make_regression
from tinygrad_batch.errors import CompileError
from tinygrad_batch.program import Builder, evaluate
from tinygrad_batch.replay.lesson import to_numpy
from tinygrad_batch.trace import Trace

ROWS = np.random.default_rng(3)
X, Y = ROWS.normal(size=(6, 4)), ROWS.normal(size=(6, 2))
LABELS = np.array([0, 1, 1, 0, 1, 0])


def readme_net():
    x, y = make_regression(rows=100, features=10, seed=0)
    model = nn.Sequential(
        nn.Linear(10, 15, rng=0), nn.Tanh(), nn.Linear(15, 10, rng=1), nn.Tanh(), nn.Linear(10, 1, rng=2)
    )
    return model, next(iter(DataIterator(x, y)))


def net(*middle, inputs=4, outputs=2, dtype=None):
    return nn.Sequential(nn.Linear(inputs, 4, rng=0, dtype=dtype), *middle, nn.Linear(4, outputs, rng=1, dtype=dtype))


def check(model, optimizer, step, *batch, rng=None, rounds=2):
    """Run a step and its printed program side by side, a few times, and return the text."""
    text = ""
    for _ in range(rounds):
        before = Snapshot(model, optimizer)
        drawn = [] if rng is None else [np.random.Generator(type(rng.bit_generator)())]
        if rng is not None:
            drawn[0].bit_generator.state = rng.bit_generator.state
        with tb.capture() as trace:
            returned = step(*batch)
        text = to_numpy(trace)
        printed = load(text)
        arguments, keys = before.arguments(printed, *batch, *drawn)
        found = printed(**arguments)
        *outputs, gradients = found if isinstance(found, tuple) else (found, {})
        returned = returned if isinstance(returned, tuple) else (returned,)
        for output, expected in zip(outputs, returned, strict=True):
            close(output, expected.data)
        parameters = dict(model.named_parameters())
        for name, gradient in gradients.items():
            close(gradient, parameters[keys[name]].grad.data)
        with_gradient = {key for key, p in parameters.items() if p.grad is not None}
        assert {keys[name] for name in gradients} == with_gradient
        after = Snapshot(model, optimizer)
        for key, array in before.arrays.items():
            close(array, after.arrays[key])
        for key, slots in before.kept.items():
            for slot, array in slots.items():
                close(array, after.kept[key][slot])
    return text


def close(found, expected):
    expected = np.asarray(expected)
    assert (np.shape(found), np.asarray(found).dtype) == (expected.shape, expected.dtype)
    exact = expected.dtype.itemsize > 4 or expected.dtype.kind != "f"
    np.testing.assert_allclose(found, expected, rtol=1e-10 if exact else 2e-4, atol=1e-12 if exact else 1e-6)


def training(model, optimizer, loss_fn):
    def step(x, y):
        optimizer.zero_grad()
        loss = loss_fn(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return step


# --- the page ------------------------------------------------------------------------------------
def test_the_page_of_the_readme():
    model, batch = readme_net()
    optimizer = optim.SGD(model.parameters(), lr=0.05)
    text = check(model, optimizer, training(model, optimizer, nn.MSELoss()), *batch, rounds=1)
    assert text == Path(__file__).with_name("lesson_readme.txt").read_text(encoding="utf-8")


def test_to_numpy_is_in_the_package():
    assert tb.to_numpy is to_numpy


# --- optimisers ----------------------------------------------------------------------------------
OPTIMIZERS = {
    "sgd": lambda p: optim.SGD(p, lr=0.05),
    "weight decay": lambda p: optim.SGD(p, lr=0.05, weight_decay=0.1),
    "momentum": lambda p: optim.SGD(p, lr=0.05, momentum=0.9),
    "nesterov": lambda p: optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.1),
    "adam": lambda p: optim.Adam(p, lr=0.01),
    "adam, weight decay": lambda p: optim.Adam(p, lr=0.01, weight_decay=0.1),
    "adamw": lambda p: optim.AdamW(p, lr=0.01, weight_decay=0.1),
    "rmsprop": lambda p: optim.RMSprop(p, lr=0.01),
    "rmsprop, centered": lambda p: optim.RMSprop(p, lr=0.01, momentum=0.5, centered=True),
    "adagrad": lambda p: optim.Adagrad(p, lr=0.01),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers(name):
    model, batch = readme_net()
    optimizer = OPTIMIZERS[name](model.parameters())
    text = check(model, optimizer, training(model, optimizer, nn.MSELoss()), *batch, rounds=3)
    assert "what is kept for the next batch" not in text, "everything is updated where it stands"


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_two_updates_of_one_optimizer_in_float32(name):
    model = net(nn.Tanh(), dtype=np.float32)
    optimizer = OPTIMIZERS[name](model.parameters())
    once = training(model, optimizer, nn.MSELoss())
    x, y = X.astype(np.float32), Y.astype(np.float32)
    check(model, optimizer, lambda x, y: (once(x, y), once(x, y)), x, y)


# --- layers, activations, losses -------------------------------------------------------------------
LAYERS = {
    "Tanh": lambda rng: [nn.Tanh()],
    "ReLU": lambda rng: [nn.ReLU()],
    "Sigmoid": lambda rng: [nn.Sigmoid()],
    "SiLU": lambda rng: [nn.SiLU()],
    "Softplus": lambda rng: [nn.Softplus()],
    "GELU": lambda rng: [nn.GELU()],
    "Identity": lambda rng: [nn.Identity()],
    "Dropout": lambda rng: [nn.Tanh(), nn.Dropout(0.3, rng=rng)],
    "Dropout of all": lambda rng: [nn.Dropout(1.0, rng=rng), nn.Dropout(0.5, rng=rng)],
    "BatchNorm1d": lambda rng: [nn.BatchNorm1d(4), nn.Tanh()],
    "BatchNorm1d, not affine": lambda rng: [nn.BatchNorm1d(4, affine=False), nn.Tanh()],
    "LayerNorm": lambda rng: [nn.LayerNorm(4), nn.Tanh()],
}


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", LAYERS)
def test_layers(name, dtype):
    rng = np.random.default_rng(7) if "Dropout" in name else None
    model = net(*LAYERS[name](rng)).astype(dtype)
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    check(model, optimizer, training(model, optimizer, nn.MSELoss()), X.astype(dtype), Y.astype(dtype), rng=rng)


def test_layers_that_look_at_pictures():
    model = nn.Sequential(
        nn.Conv2d(1, 2, 3, stride=2, padding=1, rng=0), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(8, 2, rng=1),
    )  # fmt: skip
    optimizer = optim.Adam(model.parameters())
    pictures = np.random.default_rng(0).normal(size=(6, 1, 8, 8))
    check(model, optimizer, training(model, optimizer, nn.CrossEntropyLoss()), pictures, LABELS)


def test_batch_norm_in_evaluation():
    model = net(nn.BatchNorm1d(4)).eval()
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    text = check(model, optimizer, training(model, optimizer, nn.MSELoss()), X, Y)
    assert "running_mean[...]" not in text


PROBABILITIES = np.abs(Y) / np.abs(Y).sum(axis=1, keepdims=True)
LOSSES = {
    "MSELoss": (nn.MSELoss(), Y),
    "MSELoss, sum": (nn.MSELoss("sum"), Y),
    "L1Loss": (nn.L1Loss(), Y),
    "HuberLoss": (nn.HuberLoss(delta=0.7), Y),
    "BCEWithLogitsLoss": (nn.BCEWithLogitsLoss(), (Y > 0) * 1.0),
    "CrossEntropyLoss": (nn.CrossEntropyLoss(), LABELS),
    "CrossEntropyLoss, smoothed": (nn.CrossEntropyLoss(label_smoothing=0.2), LABELS),
    "CrossEntropyLoss, probabilities": (nn.CrossEntropyLoss("sum"), PROBABILITIES),
}


@pytest.mark.parametrize("name", LOSSES)
def test_losses(name):
    loss_fn, target = LOSSES[name]
    model = net(nn.Tanh())
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    check(model, optimizer, training(model, optimizer, loss_fn), X, target)


def test_every_layer_and_loss_is_tried():
    here = Path(__file__).read_text(encoding="utf-8")
    kinds = [v for v in vars(nn).values() if isinstance(v, type) and issubclass(v, nn.Module)]
    names = {kind.__name__ for kind in kinds} - {"Module", "Loss"}
    assert {name for name in names if f"nn.{name}(" not in here} == set()


# --- gradients -------------------------------------------------------------------------------------
def test_gradients_of_two_backward_passes_add_up():
    model = net(nn.Tanh())
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    loss_fn = nn.MSELoss()

    def step(x, y):
        optimizer.zero_grad()
        losses = []
        for part in (slice(0, 3), slice(3, 6)):
            loss = loss_fn(model(x[part]), y[part]) / 2
            loss.backward()
            losses.append(loss)
        optimizer.step()
        return tuple(losses)

    parts = X[:3], Y[:3], X[3:], Y[3:]
    text = check(model, optimizer, lambda *p: step(np.concatenate(p[::2]), np.concatenate(p[1::2])), *parts)
    assert "dW1 = dW1 + x2.T @ dm3" in text
    assert "added up" in text


def test_gradients_from_before_are_an_argument():
    model = net(nn.Tanh())
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    loss_fn = nn.MSELoss()
    loss_fn(model(X), Y).backward()

    def step(x, y):
        loss = loss_fn(model(x), y)
        loss.backward()
        return loss

    text = check(model, optimizer, step, X, Y)
    assert "dW1 = W1_grad + x.T @ dm1" in text


def test_gradients_that_meet_on_the_way_add_up():
    class Meeting(nn.Module):
        def forward(self, h):
            return h + tb.tanh(h) + h * h

    model = net(Meeting())
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    text = check(model, optimizer, training(model, optimizer, nn.MSELoss()), X, Y)
    assert text.count("added up") == 3


def test_a_gradient_that_is_handed_on_keeps_its_name():
    class Shift(nn.Module):
        def __init__(self):
            self.bias = nn.Parameter(np.ones((6, 4)))

        def forward(self, x):
            return x + self.bias

    model = net(Shift())
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    text = check(model, optimizer, training(model, optimizer, nn.MSELoss()), X, Y)
    assert "    db = dz2 " in text
    assert "b -= lr * db " in text
    assert '"b": db,' in text


def test_a_shared_weight():
    layer = nn.Linear(4, 4, rng=0)
    model = nn.Sequential(layer, nn.Tanh(), layer, nn.Tanh(), nn.Linear(4, 2, rng=1))
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    text = check(model, optimizer, training(model, optimizer, nn.MSELoss()), X, Y)
    assert "    dW1 = dW1 + x.T @ dm1 " in text


def test_gradients_are_clipped():
    model = net(nn.Tanh())
    optimizer = optim.SGD(model.parameters(), lr=0.1)

    def step(x, y):
        optimizer.zero_grad()
        loss = nn.MSELoss()(model(x), y)
        loss.backward()
        norm = tb.sqrt(sum((p.grad * p.grad).sum() for p in model.parameters()))
        scale = 1.0 / tb.maximum(norm, 1.0)
        for p in model.parameters():
            p.grad = p.grad * scale
        optimizer.step()
        return loss

    check(model, optimizer, step, X, 10 * Y)


def test_clipping_of_the_package():
    model = net(nn.Tanh())
    optimizer = optim.SGD(model.parameters(), lr=0.1)

    def step(x, y):
        optimizer.zero_grad()
        loss = nn.MSELoss()(model(x), y)
        loss.backward()
        optim.clip_grad_norm_(model.parameters(), 0.1)
        optimizer.step()
        return loss

    check(model, optimizer, step, X, 10 * Y)


def test_a_batch_without_gradients():
    model = net(nn.Tanh())
    with tb.capture() as trace:
        out = model(X)
    text = to_numpy(trace)
    assert "backward" not in text.replace("def", "")
    assert "    return pred\n" in text
    found = load(text)(X, *[p.data for p in model.parameters()])
    close(found, out.data)


# --- what is written in place ------------------------------------------------------------------------
@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_program_computes_the_same_as_text(data):
    """Whatever is overwritten, viewed, returned: the text gives what the program means."""
    builder, *known = living("a", "b", "c")
    known.append(builder.variable("x", (2,), "float64", "input"))
    parameters, x = known[:3], known[3]
    for number in range(data.draw(st.integers(1, 12))):
        builder.part = data.draw(st.sampled_from([None, (0, 0), (0, 1)]))
        name = data.draw(st.sampled_from(["add", "subtract", "multiply", "getitem", "reshape", "astype", "positive"]))
        pick = st.sampled_from(known)
        options = {"getitem": {"index": slice(None, None, -1)}, "reshape": {"shape": (2,)}, "astype": {"dtype": "f8"}}
        inputs = [data.draw(pick) for _ in range(2 if name in ("add", "subtract", "multiply") else 1)]
        own = data.draw(st.booleans())
        known.append(builder.add(name, *inputs, name=f"v{number}" if own else "t1", **options.get(name, {})))
    pick = st.sampled_from(known)
    outputs = data.draw(st.lists(pick, min_size=1, max_size=3))
    writes = {v: data.draw(pick) for v in parameters if data.draw(st.booleans())}
    program = builder.program([x], outputs, writes)
    given = {v: np.arange(2.0) + 2 * i + 1 for i, v in enumerate(known[:4])}
    values = evaluate(program, given)
    arrays = {v.name: given[v].copy() for v in known[:4]}
    step = load(to_numpy(Trace(program=program)))
    found = step(**{name: arrays[name] for name in notes(step)})
    for value, v in zip(found if len(outputs) > 1 else [found], outputs, strict=True):
        np.testing.assert_array_equal(value, values[v])
    for v in known[:4]:
        np.testing.assert_array_equal(arrays[v.name], values[writes.get(v, v)] if v in values else given[v])


def test_two_parameters_change_places():
    a, b = (tb.tensor(v, requires_grad=True, name=n) for v, n in (([1.0, 2.0], "a"), ([3.0, 4.0], "b")))
    with tb.capture() as trace, tb.no_grad():
        c = a * 1.0
        a.assign(b)
        b.assign(c)
    step = load(to_numpy(trace))
    arrays = {"a": np.array([1.0, 2.0]), "b": np.array([3.0, 4.0])}
    step(**arrays)
    assert (arrays["a"].tolist(), arrays["b"].tolist()) == ([3, 4], [1, 2])


def living(*names):
    builder = Builder()
    return builder, *[builder.variable(name, (2,), "float64", "parameter") for name in names]


def run(program, **arrays):
    """Run a program of parameters as text; return what it gives and what the arrays hold then."""
    held = {name: np.array(array, float) for name, array in arrays.items()}
    text = to_numpy(Trace(program=program))
    out = load(text)(**held)
    out = [np.asarray(v).tolist() for v in out] if isinstance(out, tuple) else np.asarray(out).tolist()
    return text, out, {name: array.tolist() for name, array in held.items()}


def test_what_is_read_later_is_not_overwritten():
    builder, w = living("w")
    new = builder.add("subtract", w, 1.0)
    out = builder.add("multiply", new, w)
    text, found, after = run(builder.program([], [out], {w: new}), w=[5, 7])
    assert (found, after) == ([20, 42], {"w": [4, 6]})
    assert "w[...] = kept" in text


def test_what_is_returned_is_not_overwritten():
    builder, w = living("w")
    turned = builder.add("reshape", w, shape=(2, 1))
    new = builder.add("subtract", w, 1.0)
    _, found, after = run(builder.program([], [turned, w], {w: new}), w=[5, 7])
    assert (found, after) == ([[[5], [7]], [5, 7]], {"w": [4, 6]})


def test_what_a_parameter_became_is_not_overwritten():
    builder, w = living("w")
    new = builder.add("subtract", w, 1.0)
    builder.part = (0, 0)
    part = builder.add("multiply", new, 2.0)
    out = builder.add("add", part, part)
    text, found, after = run(builder.program([], [out], {w: new}), w=[5, 7])
    assert (found, after) == ([16, 24], {"w": [4, 6]})
    assert "w -= 1.0" in text


def test_writes_that_cross():
    builder, a, b = living("a", "b")
    _, _, after = run(builder.program([], [], {a: b, b: a}), a=[1, 2], b=[3, 4])
    assert after == {"a": [3, 4], "b": [1, 2]}


def test_one_value_for_two_arrays():
    builder, a, b = living("a", "b")
    first = builder.add("add", a, 1.0)
    second = builder.add("multiply", first, 10.0)
    _, _, after = run(builder.program([], [], {a: second, b: first}), a=[1, 2], b=[3, 4])
    assert after == {"a": [20, 30], "b": [2, 3]}
    builder, a, b = living("a", "b")
    first = builder.add("add", a, 1.0)
    _, _, after = run(builder.program([], [], {a: first, b: first}), a=[1, 2], b=[3, 4])
    assert after == {"a": [2, 3], "b": [2, 3]}


def test_a_number_is_written():
    builder, a = living("a")
    _, found, after = run(builder.program([], [a, 2.0], {a: 0.5}), a=[1, 2])
    assert (found, after) == ([[1, 2], 2.0], {"a": [0.5, 0.5]})


# --- constants -------------------------------------------------------------------------------------
def test_large_constants_are_arguments():
    small, large = np.array([1.0, np.nan, -np.inf]), np.arange(30.0)
    builder = Builder()
    x = builder.variable("x", (30,), "float64", "input")
    more = builder.add("add", x, builder.constant(large, "table"))
    other = builder.add("multiply", builder.constant(small), 2.0)
    text = to_numpy(Trace(program=builder.program([x], [more, other])))
    step = load(text)
    assert notes(step)["table"] == "constant of the captured batch, float64"
    first, second = step(np.ones(30), large)
    np.testing.assert_array_equal(first, large + 1)
    np.testing.assert_array_equal(second, small * 2)


def test_random_numbers_come_from_an_argument():
    w = tb.tensor([1.0, 2.0, 3.0], requires_grad=True, name="w")
    first, second = np.random.default_rng(1), np.random.default_rng(2)
    with tb.capture() as trace:
        h = nn.functional.dropout(w, 0.5, rng=first)
        loss = nn.functional.dropout(h, 0.5, rng=second).sum()
    text = to_numpy(trace)
    step = load(text)
    assert list(notes(step))[1:] == ["rng", "rng_2"]
    assert step(w.data.copy(), np.random.default_rng(1), np.random.default_rng(2)) == loss.item()


# --- names -----------------------------------------------------------------------------------------
HOSTILE = [
    "my loss; import os", "W₁", "class", "np", "step", "__import__", "x\ny = 1", "a'b\"\"\"c", "print", "é", "", " ",
    "-", "x\u2028y", "\\", "# coding: utf-7", "μ", "None", "match", "9lives", "rng", "gradients", "part1", "loss",
    "W1_grad", "sigmoid", "math", "\u202edrow", "'''", "{x}", "%s", "a" * 500, "t1", "lr", "dx = 1", "​",
]  # fmt: skip


def hostile_step(names):
    a, b, c, d = names
    x, w = tb.Tensor(X, name=a), tb.Tensor(X[:2], requires_grad=True, name=b)
    with tb.capture() as trace:
        h = tb.sigmoid(x @ tb.transpose(w))
        h.name = c
        loss = (h * h).mean()
        loss.name = d
        loss.backward()
        optim.SGD([w], lr=0.1, momentum=0.5).step()
    return trace


def assert_safe(text):
    tree = ast.parse(text)
    for node in ast.walk(tree):
        for name in (getattr(node, "id", None), getattr(node, "arg", None), getattr(node, "name", None)):
            if isinstance(name, str):
                assert name.isascii()
                assert name.isidentifier()
                assert not keyword.iskeyword(name)
                assert not name.startswith("__")
    function = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "step")
    stored = {n.id for n in ast.walk(function) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert not stored & ({"np", "numpy", "print", "math"} | functions)
    assert [type(node) for node in tree.body][:2] == [ast.Expr, ast.Import]
    assert len([n for n in ast.walk(tree) if isinstance(n, (ast.Import, ast.ImportFrom))]) == 1


names = st.sampled_from(HOSTILE) | st.text(max_size=12)


@settings(max_examples=60, deadline=None)
@given(st.tuples(names, names, names, names))
def test_names_of_a_user_are_safe(names):
    trace = hostile_step(names)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        text = to_numpy(trace)
        assert_safe(text)
        step = load(text, columns=400)
    given = [X, X[:2].copy(), np.zeros((2, 4)), 0.5, 0.1]
    assert len(notes(step)) == len(given)
    loss, gradients = step(*given)
    eager = tb.tensor(X[:2], requires_grad=True)
    expected = (tb.sigmoid(tb.tensor(X) @ tb.transpose(eager)) ** 2).mean()
    expected.backward()
    close(loss, expected.data)
    close(next(iter(gradients.values())), eager.grad.data)
    close(given[1], X[:2] - 0.1 * eager.grad.data)


def test_names_of_layers_are_safe():
    class Odd(nn.Module):
        def __init__(self):
            setattr(self, 'inner"""\nimport os', nn.Linear(4, 2, rng=0))

        def forward(self, x):
            return getattr(self, 'inner"""\nimport os')(x)

        def label(self):
            return "Odd\nimport os\r#"

    model = Odd()
    with tb.capture() as trace:
        nn.MSELoss()(model(X), Y).backward()
    assert_safe(to_numpy(trace))


# --- refusals --------------------------------------------------------------------------------------
def test_a_trace_without_a_program_says_why():
    with tb.capture() as trace:
        (tb.tensor([1.0], requires_grad=True) * 2).sum().backward()
    again = Trace.from_dict(json.loads(json.dumps(trace.to_dict())))
    with pytest.raises(CompileError, match=r"JSON.*Capture one whole step"):
        to_numpy(again)


def test_a_hook_is_refused():
    w = tb.tensor([1.0], requires_grad=True)
    h = w * 2
    h.register_hook(lambda g: g * 2)
    with tb.capture() as trace:
        (h * 3).sum().backward()
    with pytest.raises(CompileError, match="hook"):
        to_numpy(trace)
