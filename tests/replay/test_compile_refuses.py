"""What cannot be replayed is refused when it is captured, with the line it stands on."""

import io
from collections import OrderedDict
from functools import partial

import numpy as np
import pytest

import tinygrad_batch as tb
from tinygrad_batch.errors import CompileError

X = np.arange(6.0).reshape(3, 2)
W = tb.tensor([[1.0], [2.0]], requires_grad=True)
HISTORY: list = []
BUFFER = tb.zeros(3, 1)
COUNT = 0


class Box:
    best = 0


BOX = Box()


def reads_item(x):
    return x * (x.sum()).item()


def branches(x):
    if (x.sum() > 0) :  # fmt: skip
        return x
    return -x


def makes_float(x):
    return x * float(x.mean())


def prints_a_tensor(x):
    text = f"{x}"
    return x if text else -x


def prints(x):
    print("a step")
    return x


def uses_numpy(x):
    return x + np.linalg.norm(x.numpy())


def converts(x):
    return x + np.asarray(x)


def indexes(x):
    return x[x.argmax() if hasattr(x, "argmax") else (x[:, 0] > 1)]


def appends(x):
    HISTORY.append(x)
    return x


def sets_attribute(x):
    BOX.best = 1
    return x


def sets_global(x):
    global COUNT
    COUNT += 1
    return x


def sets_item(x):
    HISTORY[0] = x
    return x


def writes_part(x):
    with tb.no_grad():
        BUFFER[0] = x.sum()
    return x


def has_a_hook(x):
    y = x @ W
    y.register_hook(lambda g: g * 2)
    y.sum().backward()
    return y


def retains(x):
    y = x @ W
    y.retain_grad()
    y.sum().backward()
    return y


def returns_array(x):
    return X + 1


def overwrites_its_input(x):
    x.assign(0.0)
    return x


CASES = {
    reads_item: "made a Python number",
    branches: "whether a tensor is true",
    makes_float: "made a Python number",
    prints_a_tensor: "made text",
    prints: "it prints",
    uses_numpy: "elements of a tensor are read",
    converts: "elements of a tensor are read",
    indexes: "used as an index",
    appends: "HISTORY.append",
    sets_attribute: "BOX.best",
    sets_global: "sets 'COUNT'",
    sets_item: r"HISTORY\[0\]",
    writes_part: "part of a tensor is overwritten",
    has_a_hook: "hook",
    retains: "hook, or is retained",
    returns_array: "returns a NumPy array",
    overwrites_its_input: "input",
}


@pytest.mark.parametrize("function", CASES, ids=lambda f: f.__name__)
def test_it_is_refused(function, capsys):
    with pytest.raises(CompileError, match=CASES[function]) as caught:
        tb.compile(function)(X)
    W.grad = None
    assert function is returns_array or "test_compile_refuses.py, line " in str(caught.value)
    assert function is returns_array or f"in {function.__name__}" in str(caught.value)
    assert caught.value.hint or function is returns_array


def test_the_line_is_the_line():
    with pytest.raises(CompileError) as caught:
        tb.compile(reads_item)(X)
    assert f"line {reads_item.__code__.co_firstlineno + 1}," in str(caught.value)
    with pytest.raises(CompileError) as caught:
        tb.compile(sets_global)(X)
    assert f"line {sets_global.__code__.co_firstlineno + 2}," in str(caught.value)


def test_a_refused_step_leaves_nothing_behind():
    HISTORY.clear()
    step = tb.compile(appends)
    with pytest.raises(CompileError):
        step(X)
    assert HISTORY == []
    assert step.cache_info() == (0, 0, 32, 0)
    with pytest.raises(CompileError):  # and is refused again
        step(X)


def test_local_objects_may_change():
    def step(x):
        parts = []
        for i in range(2):
            parts.append(x[:, i])
        table = {}
        table["sum"] = parts[0] + parts[1]
        return table

    np.testing.assert_allclose(tb.compile(step)(X)["sum"].numpy(), X.sum(1))


def test_an_argument_that_requires_grad_is_refused():
    with pytest.raises(CompileError, match="requires grad"):
        tb.compile(lambda x: x * 2)(W)


def test_an_error_of_the_function_is_its_own():
    with pytest.raises(tb.TinygradBatchError, match="matmul"):
        tb.compile(lambda x: x @ tb.ones(5, 5))(X)


def test_graphs_that_were_made_before_are_refused():
    loss = (W * 2).sum()

    def step(x):
        loss.backward()
        return x

    with pytest.raises(CompileError, match="made before"):
        tb.compile(step)(X)
    W.grad = None


def test_a_capture_inside_is_refused():
    def step(x):
        with tb.capture():
            return x * 2

    with pytest.raises(CompileError, match="around its call"):
        tb.compile(step)(X)


def test_files_are_outside_objects():
    file = io.StringIO()

    def step(x):
        file.write("x")
        return x

    with pytest.raises(CompileError, match=r"file\.write"):
        tb.compile(step)(X)


def test_what_is_called_must_not_change_anything_either():
    optimizer = tb.optim.SGD([W], lr=0.1)
    schedule = tb.optim.ExponentialLR(optimizer, gamma=0.5)

    class Counting(tb.nn.Module):
        calls = 0

        def forward(self, x):
            self.calls += 1
            self.last = x * 2
            return self.last

    model = Counting()

    def note(x):
        HISTORY.append(x)
        return x

    for step, what in (
        (lambda x: (schedule.step(), x)[1], r"optimizer \(lr\)|schedule \(steps\)"),
        (model, r"self \((calls|last)\)"),
        (lambda x: note(x), "HISTORY"),
        (partial(lambda history, x: (history.append(x), x)[1], HISTORY), "an argument"),
        (lambda x: x * np.random.random(), "random numbers of numpy"),  # noqa: NPY002
        (lambda x: (W.requires_grad_(False).requires_grad_(), x)[1], "W"),
    ):
        with pytest.raises(CompileError, match=what):
            tb.compile(step)(X)
    assert (HISTORY, schedule.steps, optimizer.lr, vars(model).keys() & {"calls", "last"}) == ([], 0, 0.1, set())


def test_generators_made_inside_are_refused():
    with pytest.raises(CompileError, match="generator that the step makes itself"):
        tb.compile(lambda x: x + tb.rand(3, 2, rng=1))(X)


@pytest.mark.parametrize("make", [lambda x: tb.zeros(3, 2), lambda x: x * 2, lambda x: BUFFER[:]])
def test_overwriting_what_the_step_made_is_refused(make):
    with pytest.raises(CompileError, match="the step made itself"):
        tb.compile(lambda x: make(x).assign(x))(X)


@pytest.mark.parametrize("result", [lambda y: OrderedDict(y=y), lambda y: {1: iter([y])}, lambda y: Box()])
def test_results_that_may_hide_tensors_are_refused(result):
    with pytest.raises(CompileError, match="returns tensors and numbers"):
        tb.compile(lambda x: result(x * 2))(X)


def test_an_argument_that_requires_grad_is_refused_on_replay_too():
    step = tb.compile(lambda w: w * 2)
    step(W.detach())
    with pytest.raises(CompileError, match="requires grad"):
        step(W)


def test_an_argument_on_the_memory_of_what_is_changed_is_refused():
    state = tb.ones(3, 2)

    def step(x):
        state.assign(x + 1)
        return x * 2

    with pytest.raises(CompileError, match="which the step changes"):
        tb.compile(step)(state.data)
