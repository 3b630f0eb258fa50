"""No reference cycles: memory goes when the last name goes, without the garbage collector."""

import gc
import tracemalloc
import weakref

import numpy as np
import pytest

import tinygrad_batch as tb
from tinygrad_batch import Tensor


@pytest.fixture
def no_collector():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def step(x, w, b):
    loss = ((x @ w + b).tanh() - 0.5).square().mean()
    loss.backward()
    with tb.no_grad():
        for p in (w, b):
            p.assign(p.detach() - 0.01 * p.grad)
            p.grad = None
    return loss


def parts():
    rng = np.random.default_rng(0)
    return (
        Tensor(rng.normal(size=(20, 10))),
        Tensor(rng.normal(size=(10, 5)), requires_grad=True),
        Tensor(np.zeros(5), requires_grad=True),
    )


@pytest.mark.usefixtures("no_collector")
def test_thousands_of_steps_in_flat_memory():
    x, w, b = parts()
    tracemalloc.start()
    marks = []
    for _ in range(6):
        for _ in range(500):
            step(x, w, b)
        marks.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    # Python's own lists of free objects fill up for a while; one Tensor left by each step would be 24,000 bytes a round
    assert np.diff(marks).min() < 2_000
    assert gc.collect() == 0


WORK = {
    "forward only": lambda x, w, b: (x @ w + b).tanh().sum(),
    "backward": lambda x, w, b: (x @ w + b).tanh().sum().backward(),
    "retained": lambda x, w, b: (x @ w + b).tanh().sum().backward(retain_graph=True),
    "second order": lambda x, w, b: tb.grad(tb.grad((x @ w + b).tanh().sum(), w, create_graph=True)[0].sum(), w),
    "hooks": lambda x, w, b: (lambda y: (y.register_hook(lambda g: g * 2), y.retain_grad(), y.sum().backward()))(x @ w),
    "no_grad": lambda x, w, b: tb.no_grad()(lambda: (x @ w + b).sum())(),
    "indexing": lambda x, w, b: w[np.array([0, 0, 1])].sum().backward(),
    "gradcheck": lambda x, w, b: tb.gradcheck(lambda w: (w * w).sum(), [w[:2, :2].detach().requires_grad_()]),
}


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("work", list(WORK.values()), ids=list(WORK))
def test_nothing_is_left_for_the_collector(work):
    x, w, b = parts()
    work(x, w, b)
    gc.collect()
    for _ in range(3):
        work(x, w, b)
        w.grad = b.grad = None
    assert gc.collect() == 0


@pytest.mark.usefixtures("no_collector")
def test_dropping_the_loss_drops_the_graph():
    x, w, b = parts()
    hidden = (x @ w + b).tanh()
    watched = weakref.ref(hidden)
    loss = hidden.sum()
    del hidden
    assert watched() is None  # the graph holds arrays, not Tensors
    node = loss._node
    arrays = weakref.ref(node.parents[0].kept[0])
    assert arrays() is not None
    del node, loss
    assert arrays() is None
