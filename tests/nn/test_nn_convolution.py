"""Convolution and pooling: against PyTorch to second order, shapes, labels, and in a capture."""

from typing import Any

import numpy as np
import pytest

import tinygrad_batch as tb
from tinygrad_batch import nn
from tinygrad_batch.errors import ArgumentError, ShapeError
from tinygrad_batch.nn import functional as F
from tinygrad_batch.ops import correlation


def same(ours: Any, theirs: Any, rtol: float = 1e-11) -> None:
    np.testing.assert_allclose(np.asarray(ours.detach().data), theirs.detach().numpy(), rtol=rtol, atol=rtol)


@pytest.mark.parametrize(
    ("kernel", "stride", "padding"),
    [((3, 3), 1, 0), ((3, 3), 2, 1), ((2, 3), (1, 2), (0, 2)), ((1, 1), 1, 0), ((5, 4), 3, 2), ((6, 7), 1, 0)],
)
@pytest.mark.parametrize("biased", [True, False])
def test_conv2d_agrees_with_torch_to_second_order(kernel: Any, stride: Any, padding: Any, biased: bool) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=(2, 3, 6, 7)), rng.normal(size=(4, 3, *kernel))] + [rng.normal(size=4)] * biased
    ours = [tb.tensor(a, requires_grad=True) for a in arrays]
    theirs = [torch.from_numpy(a).requires_grad_() for a in arrays]
    bias = (ours[2], theirs[2]) if biased else (None, None)
    out = F.conv2d(ours[0], ours[1], bias[0], stride, padding)
    expected = torch.nn.functional.conv2d(theirs[0], theirs[1], bias[1], stride, padding)
    same(out, expected)
    weight = rng.normal(size=out.shape)
    first = tb.grad((tb.tanh(out) * weight).sum(), ours, create_graph=True)
    reference = torch.autograd.grad((expected.tanh() * torch.from_numpy(weight)).sum(), theirs, create_graph=True)
    for a, b in zip(first, reference, strict=True):
        assert a is not None
        same(a, b)
    sum((g * g).sum() for g in first if g is not None).backward()  # type: ignore[union-attr]
    sum((g * g).sum() for g in reference).backward()
    for p, q in zip(ours, theirs, strict=True):
        assert p.grad is not None
        same(p.grad, q.grad, 1e-9)


def test_a_large_convolution_is_computed_in_bands(monkeypatch: Any) -> None:
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=(5, 3, 9, 8)), rng.normal(size=(4, 3, 3, 2)), rng.normal(size=4)]
    found = []
    # all at once, then in bands of small products, then in bands of few windows
    for small, elements in ((10**9, 1), (5000, 1), (1, 1000)):
        monkeypatch.setattr(correlation, "SMALL", small)
        monkeypatch.setattr(correlation, "COLUMNS", elements)
        ours = [tb.tensor(a, requires_grad=True) for a in arrays]
        out = F.conv2d(*ours, stride=(1, 2), padding=1)
        (out * out).sum().backward()
        found.append([out, *(p.grad for p in ours)])
    for one, few, many in zip(*found, strict=True):
        np.testing.assert_allclose(few.data, one.data, rtol=1e-12)
        np.testing.assert_allclose(many.data, one.data, rtol=1e-12)


@pytest.mark.parametrize("padding", [0, 1])
def test_from_layer_to_layer_the_rows_stay_innermost_in_memory(padding: int) -> None:
    model = nn.Sequential(nn.Conv2d(2, 4, 3, padding=padding, rng=0), nn.ReLU(), nn.MaxPool2d(2))
    x = tb.randn(5, 2, 10, 10, rng=0)
    seen: list[Any] = []
    for layer in model:
        x = layer(x)
        x.register_hook(lambda g: seen.append(g.data))
        assert x.data.transpose(1, 2, 3, 0).flags.c_contiguous
    x.sum().backward()
    # the gradient of the result comes from outside, in any order
    assert all(g.transpose(1, 2, 3, 0).flags.c_contiguous for g in seen[1:])


@pytest.mark.parametrize(("size", "stride"), [(2, None), (3, 2), ((2, 3), (1, 2)), (1, 2), ((6, 7), None)])
def test_max_pool2d_agrees_with_torch_to_second_order(size: Any, stride: Any) -> None:
    torch = pytest.importorskip("torch")
    array = np.random.default_rng(0).normal(size=(2, 3, 6, 7))
    x, t = tb.tensor(array, requires_grad=True), torch.from_numpy(array).requires_grad_()
    out, expected = F.max_pool2d(x, size, stride), torch.nn.functional.max_pool2d(t, size, stride)
    same(out, expected)
    (first,) = tb.grad((out**3).sum(), [x], create_graph=True)
    (reference,) = torch.autograd.grad((expected**3).sum(), [t], create_graph=True)
    assert first is not None
    same(first, reference)
    (first * first).sum().backward()
    (reference * reference).sum().backward()
    assert x.grad is not None
    same(x.grad, t.grad)


def test_equal_elements_of_a_window_share_the_gradient() -> None:
    x = tb.tensor([[1.0, 1.0], [0.0, 1.0]], requires_grad=True)
    F.max_pool2d(x, 2).sum().backward()
    assert x.grad is not None
    np.testing.assert_allclose(x.grad.data, np.array([[1, 1], [0, 1]]) / 3)


@pytest.mark.parametrize("order", [1, 2])
def test_derivatives_agree_with_finite_differences(order: int) -> None:
    model = nn.Sequential(nn.Conv2d(2, 3, 2, padding=1, rng=0), nn.Tanh(), nn.MaxPool2d(2), nn.Flatten())
    batch = tb.randn(2, 2, 3, 4, rng=0), tb.zeros(2, 12)
    assert tb.gradcheck_model(model, nn.MSELoss(), batch, order=order).ok


def test_a_net_with_convolutions_trains_as_in_torch() -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    model = nn.Sequential(
        nn.Conv2d(1, 3, 3, padding=1, rng=0), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(3, 4, (2, 1), rng=1), nn.Tanh(),
        nn.Flatten(), nn.Linear(32, 3, rng=2),
    )  # fmt: skip
    reference = torch.nn.Sequential(
        torch.nn.Conv2d(1, 3, 3, padding=1), torch.nn.ReLU(), torch.nn.MaxPool2d(2), torch.nn.Conv2d(3, 4, (2, 1)),
        torch.nn.Tanh(), torch.nn.Flatten(), torch.nn.Linear(32, 3),
    ).double()  # fmt: skip
    with torch.no_grad():
        for p, q in zip(model.parameters(), reference.parameters(), strict=True):
            q.copy_(torch.from_numpy(p.data.T.copy() if p.ndim == 2 else p.data.copy()))
    optimizer = tb.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    theirs = torch.optim.SGD(reference.parameters(), lr=0.1, momentum=0.9)
    x, y = rng.normal(size=(10, 1, 6, 8)), rng.integers(0, 3, 10)
    for _ in range(10):
        optimizer.zero_grad()
        theirs.zero_grad()
        loss = nn.CrossEntropyLoss()(model(x), y)
        expected = torch.nn.CrossEntropyLoss()(reference(torch.from_numpy(x)), torch.from_numpy(y))
        same(loss, expected, 1e-9)
        loss.backward()
        expected.backward()
        optimizer.step()
        theirs.step()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rows", [0, 3])
def test_shape_and_dtype(dtype: Any, rows: int) -> None:
    layer = nn.Sequential(nn.Conv2d(2, 4, 3, stride=2, padding=1, dtype=dtype), nn.MaxPool2d(2))
    x = tb.ones(rows, 2, 9, 7, dtype=dtype).requires_grad_()
    out = layer(x)
    out.sum().backward()
    assert x.grad is not None
    assert (out.shape, out.dtype) == ((rows, 4, 2, 2), dtype)
    assert (x.grad.shape, x.grad.dtype) == (x.shape, dtype)
    with tb.abstract():
        ghost = layer(x)
    assert (ghost.shape, ghost.dtype) == (out.shape, dtype)


def test_the_weights_are_laid_out_and_drawn_as_in_torch() -> None:
    layer = nn.Conv2d(2, 4, (3, 5), rng=0)
    assert layer.weight.shape == (4, 2, 3, 5)
    assert layer.bias is not None
    assert max(abs(layer.weight.data).max(), abs(layer.bias.data).max()) <= 1 / np.sqrt(30)
    assert [name for name, _ in layer.named_parameters()] == ["weight", "bias"]
    assert nn.Conv2d(2, 4, 3, bias=False).bias is None
    np.testing.assert_array_equal(nn.Conv2d(2, 4, (3, 5), rng=0).weight.data, layer.weight.data)


def test_arrays_give_arrays() -> None:
    out = F.max_pool2d(F.conv2d(np.ones((1, 1, 4, 4)), np.ones((1, 1, 3, 3)), np.ones(1)), 2)
    assert isinstance(out, np.ndarray)
    np.testing.assert_array_equal(out, [[[[10.0]]]])


@pytest.mark.parametrize(
    ("layer", "label"),
    [
        (nn.Conv2d(1, 8, 3), "Conv2d(1 → 8, 3×3)"),
        (nn.Conv2d(1, 8, (3, 5), stride=2, padding=(0, 1)), "Conv2d(1 → 8, 3×5, stride 2, padding 0×1)"),
        (nn.MaxPool2d(2), "MaxPool2d(2×2)"),
        (nn.MaxPool2d(3, 2), "MaxPool2d(3×3, stride 2)"),
    ],
)
def test_label(layer: nn.Module, label: str) -> None:
    assert str(layer) == label


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: nn.Conv2d(0, 3, 3), ArgumentError, "1 channel or more"),
        (lambda: nn.Conv2d(1, 3, 0), ArgumentError, "size is an integer of 1 or more, or a pair of them, not 0"),
        (lambda: nn.Conv2d(1, 3, (3, 3, 3)), ArgumentError, r"not \(3, 3, 3\)"),
        (lambda: nn.Conv2d(1, 3, 3, padding=-1), ArgumentError, "padding is an integer of 0 or more"),
        (lambda: nn.Conv2d(1, 3, 3, stride=1.5), ArgumentError, "stride is an integer.*not 1.5"),
        (lambda: nn.Conv2d(1, 3, 3, init=lambda shape, rng: np.zeros(shape[::-1])), ShapeError, r"not \(9, 3\)"),
        (lambda: nn.Conv2d(2, 3, 3)(tb.ones(5, 1, 8, 8)), ShapeError, r"\(5, 1, 8, 8\).*\(3, 2, 3, 3\).*x is \(rows"),
        (lambda: nn.Conv2d(2, 3, 3)(tb.ones(2, 8, 8)), ShapeError, r"\(2, 8, 8\)"),
        (lambda: nn.Conv2d(1, 3, 5)(tb.ones(1, 1, 8, 4)), ShapeError, "larger than the last axes.*pad"),
        (lambda: F.conv2d(tb.ones(1, 1, 4, 4), tb.ones(2, 1, 3, 3), tb.ones(3)), ShapeError, "has 2 outputs"),
        (lambda: nn.MaxPool2d(3)(tb.ones(1, 1, 2, 8)), ShapeError, "larger than the last axes"),
        (lambda: nn.MaxPool2d(2, 0), ArgumentError, "stride is an integer of 1 or more"),
    ],
)
def test_what_does_not_fit_is_refused(call: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        call()


def test_a_captured_step_is_drawn() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1, rng=0), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
                          nn.Linear(8, 3, rng=1))  # fmt: skip
    optimizer = tb.optim.Adam(model.parameters())
    with tb.capture() as trace:
        loss = nn.CrossEntropyLoss()(model(tb.randn(5, 1, 4, 4, rng=0)), np.array([0, 1, 2, 0, 1]))
        loss.backward()
        optimizer.step()
    formulas = [result.formula for step in trace.steps for result in step.results]
    assert any(text.endswith(" = conv(u1, W1)") for text in formulas)
    assert any("sum over rows of conv(u1, " in text for text in formulas)
    assert "MaxPool2d" in tb.draw(trace, depth="modules").svg()
    assert tb.draw(trace).svg()
    assert model.summary((5, 1, 4, 4)).parameters == 20 + 27
