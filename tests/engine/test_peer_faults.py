"""Faults known from other small engines, each by its name: none may come back here."""

import gc

import numpy as np
import pytest

import tinygrad_batch as tb
from tinygrad_batch import Tensor, nn, optim
from tinygrad_batch.errors import GradcheckError, InPlaceError, TinygradBatchError
from tinygrad_batch.op import TABLE


def test_recursion_on_deep_graphs():
    x = Tensor(1.0, requires_grad=True)
    y = x
    for _ in range(20_000):
        y = (y * 1.0).tanh() if y.item() > 0.9 else y + 0.5
    y.backward()
    assert np.isfinite(x.grad.item())


def test_recursion_on_deep_graphs_with_create_graph():
    x = Tensor(1.0, requires_grad=True)
    y = x
    for _ in range(20_000):
        y = y + 0.5
    (slope,) = tb.grad(y * y, x, create_graph=True)
    (bend,) = tb.grad(slope, x)
    assert bend.item() == 2.0


def test_exponential_walks_on_shared_nodes():
    x = Tensor(1.0, requires_grad=True)
    y = x
    for _ in range(100):
        y = y + y
    hooked = []
    y.register_hook(hooked.append)
    y.backward()
    assert len(hooked) == 1
    assert x.grad.item() == 2.0**100


@pytest.mark.parametrize("name", ["exp", "multiply", "matmul", "max", "prod"])
def test_silent_corruption_after_in_place_writes(name):
    x, w = Tensor(np.eye(2)), Tensor(np.ones((2, 2)), requires_grad=True)
    h = w * 1
    y = {
        "exp": lambda: h.exp(),
        "multiply": lambda: h * x,
        "matmul": lambda: x @ h,
        "max": lambda: h.max(),
        "prod": lambda: h.prod(),
    }[name]()
    written = {"exp": y, "multiply": x, "matmul": x, "max": h, "prod": h}[name]
    written.detach()[0] = 7.0
    with pytest.raises(InPlaceError, match=f"'{name}'"):
        y.sum().backward()


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_float32_becoming_float64(dtype):
    x = Tensor(np.linspace(0.1, 1, 6, dtype=dtype).reshape(2, 3), requires_grad=True)
    w = Tensor(np.ones((3, 2), dtype), requires_grad=True)
    b = Tensor(np.zeros(2, dtype), requires_grad=True)
    seen = []
    h = x @ w + b
    for function in (
        lambda h: h * 2.0,
        lambda h: 2 ** (0.1 * h),
        lambda h: h ** np.float64(1.5),
        lambda h: np.float64(2) * h,
        lambda h: (h - h.mean()) / (h.std() + 1e-3),
    ):
        h = function(h).relu() * np.float64(0.1) + np.int64(1)
        h.register_hook(lambda g: seen.append(g.dtype))
    loss = (h.log_softmax(axis=-1).mean() - tb.logsumexp(h).sqrt() / 3 + h.clip(np.float64(0), 1.0).var()).square()
    assert loss.dtype == dtype
    loss.backward()
    assert len(seen) == 5
    assert set(seen) == {np.dtype(dtype)}
    assert {t.grad.dtype for t in (x, w, b)} == {np.dtype(dtype)}


def test_two_gradients_being_one_array():
    a, b = Tensor([1.0, 2.0], requires_grad=True), Tensor([3.0, 4.0], requires_grad=True)
    (a + b).sum().backward()
    assert not np.shares_memory(a.grad.data, b.grad.data)
    a.grad = a.grad + 0.5 * a  # weight decay on one of them
    assert b.grad.tolist() == [1.0, 1.0]


def test_weight_decay_applies_once():
    a, b = Tensor([1.0, 2.0], requires_grad=True), Tensor([3.0, 4.0], requires_grad=True)
    (a + b).sum().backward()
    optim.SGD([a, b], lr=1.0, weight_decay=0.5).step()
    np.testing.assert_allclose(a.data, [1 - 1.5, 2 - 2.0])
    np.testing.assert_allclose(b.data, [3 - 2.5, 4 - 3.0])


def test_a_column_against_a_row_in_the_mean_squared_error():
    prediction, target = Tensor(np.arange(4.0).reshape(4, 1)), Tensor(np.arange(4.0) + 1)
    with pytest.raises(TinygradBatchError, match=r"\(4, 1\).*\(4,\)"):
        nn.MSELoss()(prediction, target)


def test_a_gradcheck_that_never_compares():
    x = Tensor([0.5, 1.5], requires_grad=True)
    wrong = lambda x: x * x.detach()
    with pytest.raises(GradcheckError, match="finite differences"):
        tb.gradcheck(wrong, x)
    report = tb.gradcheck(lambda x: (x * x).sum(), x)
    assert report.compared >= x.size


def test_garbage_that_only_the_collector_frees():
    w = Tensor(np.ones((3, 3)), requires_grad=True)
    gc.collect()
    gc.disable()
    try:
        for _ in range(100):
            (w @ w).tanh().sum()
            (w @ w).tanh().sum().backward()
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_max_ties_counted_twice():
    x = Tensor([1.0, 3.0, 3.0], requires_grad=True)
    x.max().backward()
    assert x.grad.tolist() == [0.0, 0.5, 0.5]
    a, b = Tensor(3.0, requires_grad=True), Tensor(3.0, requires_grad=True)
    tb.maximum(a, b).backward()
    assert (a.grad.item(), b.grad.item()) == (0.5, 0.5)


def test_a_product_with_zeros_loses_its_gradient():
    x = Tensor([0.0, 2.0, 3.0], requires_grad=True)
    x.prod().backward()
    assert x.grad.tolist() == [6.0, 0.0, 0.0]


def test_a_gradient_shown_as_zero_before_backward():
    x = Tensor([1.0], requires_grad=True)
    y = x * 2
    assert x.grad is None
    y.backward()
    assert x.grad is not None


def test_a_getitem_that_loops_for_ever():
    x = Tensor([1.0, 2.0])
    assert [t.item() for t in x] == [1.0, 2.0]
    with pytest.raises(TypeError):
        iter(Tensor(1.0)).__next__()
    with pytest.raises(TypeError):
        len(Tensor(1.0))
    assert 2.0 in x
    assert 5.0 not in x


def test_operators_patched_onto_the_class_lose_their_types():
    assert "__add__" in {name for cls in Tensor.__mro__ for name in vars(cls)}
    assert Tensor.__add__.__annotations__["return"]


def test_saved_arrays_that_no_rule_needs():
    x, w = Tensor(np.ones(1000)), Tensor(np.ones(1000), requires_grad=True)
    assert (x + w)._node.kept in ((), None)
    assert TABLE["add"].need(0).names == ()
