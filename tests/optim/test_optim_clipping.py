"""Clipping gradients: the numbers of PyTorch, what it returns, and in a capture."""

from typing import Any

import numpy as np
import pytest

import tinygrad_batch as tb
from tinygrad_batch import nn, optim
from tinygrad_batch.errors import ArgumentError

SHAPES: list[tuple[int, ...]] = [(4, 3), (3,), (), (2, 2, 2)]


def graded(dtype: Any = np.float64, scale: float = 1.0) -> list[tb.Tensor]:
    rng = np.random.default_rng(0)
    parameters = [nn.Parameter(np.zeros(shape, dtype)) for shape in SHAPES]
    for p in parameters:
        p.grad = scale * rng.normal(size=p.shape)
    return parameters


def in_torch(parameters: list[tb.Tensor]) -> list[Any]:
    torch = pytest.importorskip("torch")
    theirs = [torch.from_numpy(p.detach().data.copy()).requires_grad_() for p in parameters]
    for p, q in zip(parameters, theirs, strict=True):
        assert p.grad is not None
        q.grad = torch.from_numpy(p.grad.data.copy())
    return theirs


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("max_norm", [0.0, 0.5, 2.0, 100.0, float("inf")])
@pytest.mark.parametrize("scale", [1.0, 0.0, 1000.0])
def test_the_norm_is_clipped_as_in_torch(dtype: Any, max_norm: float, scale: float) -> None:
    torch = pytest.importorskip("torch")
    ours = graded(dtype, scale)
    theirs = in_torch(ours)
    norm = optim.clip_grad_norm_(ours, max_norm)
    expected = torch.nn.utils.clip_grad_norm_(theirs, max_norm)
    rtol = 1e-6 if dtype is np.float32 else 1e-13
    assert (norm.shape, norm.dtype, norm.requires_grad) == ((), dtype, False)
    np.testing.assert_allclose(norm.item(), expected.item(), rtol=rtol)
    for p, q in zip(ours, theirs, strict=True):
        assert p.grad is not None
        assert p.grad.dtype == dtype
        np.testing.assert_allclose(p.grad.data, q.grad.numpy(), rtol=rtol, atol=1e-12)


@pytest.mark.parametrize("limit", [0.0, 0.3, 10.0])
def test_values_are_clipped_as_in_torch(limit: float) -> None:
    torch = pytest.importorskip("torch")
    ours = graded(np.float32)
    theirs = in_torch(ours)
    optim.clip_grad_value_(ours, limit)
    torch.nn.utils.clip_grad_value_(theirs, limit)
    for p, q in zip(ours, theirs, strict=True):
        assert p.grad is not None
        assert p.grad.dtype == np.float32
        np.testing.assert_array_equal(p.grad.data, q.grad.numpy())


def test_parameters_of_two_dtypes_keep_theirs() -> None:
    a, b = nn.Parameter(np.zeros(2, np.float32)), nn.Parameter(np.zeros(2))
    a.grad, b.grad = [3.0, 0.0], [0.0, 4.0]
    assert optim.clip_grad_norm_([a, b], 1.0).item() == 5
    assert a.grad is not None
    assert b.grad is not None
    assert (a.grad.dtype, b.grad.dtype) == (np.float32, np.float64)
    np.testing.assert_allclose([a.grad.data[0], b.grad.data[1]], [0.6, 0.8], rtol=1e-6)


def test_parameters_without_a_gradient_are_passed_over() -> None:
    a, b = nn.Parameter([1.0]), nn.Parameter([1.0])
    a.grad = [3.0]
    assert optim.clip_grad_norm_(iter([a, b]), 1.0).item() == 3
    optim.clip_grad_value_([a, b], 0.5)
    assert b.grad is None
    assert a.grad is not None
    assert a.grad.item() == 0.5
    assert optim.clip_grad_norm_([b], 1.0).item() == 0
    assert optim.clip_grad_norm_(a, 1.0).item() == 0.5


def test_a_gradient_with_a_graph_is_clipped() -> None:
    w = nn.Parameter([2.0])
    (w * w * w).sum().backward(create_graph=True)
    assert optim.clip_grad_norm_([w], 6.0).item() == 12
    assert w.grad is not None
    assert not w.grad.requires_grad
    np.testing.assert_allclose(w.grad.data, [6.0], rtol=1e-6)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: optim.clip_grad_norm_([nn.Parameter([1.0])], -1.0), "max_norm is 0 or more, not -1"),
        (lambda: optim.clip_grad_norm_([nn.Parameter([1.0])], float("nan")), "max_norm is 0 or more"),
        (lambda: optim.clip_grad_value_([nn.Parameter([1.0])], -1.0), "limit is 0 or more"),
        (lambda: optim.clip_grad_norm_(nn.Linear(2, 1).state_dict(), 1.0), "parameter 0 is a str, not a Tensor"),  # type: ignore[arg-type]
    ],
)
def test_clipping_refuses(call: Any, words: str) -> None:
    with pytest.raises(ArgumentError, match=words):
        call()


def test_a_captured_step_with_clipping_is_an_ordinary_one() -> None:
    def trained(captured: bool) -> tuple[list[np.ndarray], Any]:
        model, loss_fn = nn.Sequential(nn.Linear(3, 4, rng=0), nn.Tanh(), nn.Linear(4, 1, rng=1)), nn.MSELoss()
        optimizer = optim.SGD(model.parameters(), lr=0.5)
        x, y = tb.randn(6, 3, rng=0), tb.ones(6, 1)

        def step() -> None:
            optimizer.zero_grad()
            loss_fn(model(x), y).backward()
            optim.clip_grad_norm_(model.parameters(), 0.1)
            optimizer.step()

        trace = None
        if captured:
            with tb.capture() as trace:
                step()
        else:
            step()
        return [p.detach().data.copy() for p in model.parameters()], trace

    (plain, _), (recorded, trace) = trained(False), trained(True)
    for a, b in zip(plain, recorded, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)
    assert {"square", "sqrt", "minimum"} <= {step.op for step in trace.steps}
    assert tb.draw(trace).svg()
