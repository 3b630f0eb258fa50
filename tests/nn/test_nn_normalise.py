"""Normalising layers: against PyTorch, their buffers, and in a capture."""

from typing import Any

import numpy as np
import pytest

import tinygrad_batch as tb
from tinygrad_batch import nn
from tinygrad_batch.errors import ArgumentError, ShapeError


def copied(layer: nn.Module, reference: Any, seed: int = 3) -> None:
    """Give both layers the same random weights."""
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(seed)
    for name, parameter in layer.named_parameters():
        value = rng.normal(size=parameter.shape)
        with tb.no_grad():
            parameter.assign(value)
        with torch.no_grad():
            dict(reference.named_parameters())[name].copy_(torch.from_numpy(value))


def same(ours: Any, theirs: Any, rtol: float = 1e-10) -> None:
    np.testing.assert_allclose(np.asarray(ours.detach().data), theirs.detach().numpy(), rtol=rtol, atol=rtol)


@pytest.mark.parametrize("shape", [(6, 4), (5, 4, 3), (2, 4)])
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("momentum", [0.1, 0.7])
def test_batch_norm_agrees_with_torch(shape: tuple[int, ...], affine: bool, momentum: float) -> None:
    torch = pytest.importorskip("torch")
    layer = nn.BatchNorm1d(4, eps=1e-3, momentum=momentum, affine=affine)
    reference = torch.nn.BatchNorm1d(4, eps=1e-3, momentum=momentum, affine=affine).double()
    copied(layer, reference)
    rng = np.random.default_rng(0)
    for training in (True, True, False):
        layer.train(training)
        reference.train(training)
        array, weight = 3 + 2 * rng.normal(size=shape), rng.normal(size=shape)
        x, t = tb.tensor(array, requires_grad=True), torch.from_numpy(array).requires_grad_()
        out, expected = layer(x), reference(t)
        same(out, expected)
        (first,) = tb.grad((out * weight).sum(), [x], create_graph=True)
        (theirs,) = torch.autograd.grad((expected * torch.from_numpy(weight)).sum(), [t], create_graph=True)
        same(first, theirs)
        if training:  # in evaluation the layer is a straight line, and its gradient a constant
            (first * first * weight + layer(x)).sum().backward()
            (theirs * theirs * torch.from_numpy(weight) + reference(t)).sum().backward()
            for p, q in zip((x, *layer.parameters()), (t, *reference.parameters()), strict=True):
                assert p.grad is not None
                same(p.grad, q.grad, 1e-9)
                p.grad = q.grad = None
        same(layer.running_mean, reference.running_mean)
        same(layer.running_var, reference.running_var)


def test_the_keys_are_those_of_torch() -> None:
    torch = pytest.importorskip("torch")
    theirs = [key for key in torch.nn.BatchNorm1d(3).state_dict() if key != "num_batches_tracked"]
    assert list(nn.BatchNorm1d(3).state_dict()) == theirs
    assert [name for name, _ in nn.BatchNorm1d(3).named_parameters()] == ["weight", "bias"]
    assert list(nn.LayerNorm(3).state_dict()) == list(torch.nn.LayerNorm(3).state_dict())


@pytest.mark.parametrize(("shape", "last"), [((5, 4), 4), ((5, 4), (4,)), ((2, 3, 4), (3, 4)), ((4,), 4)])
@pytest.mark.parametrize("affine", [True, False])
def test_layer_norm_agrees_with_torch(shape: tuple[int, ...], last: Any, affine: bool) -> None:
    torch = pytest.importorskip("torch")
    layer = nn.LayerNorm(last, eps=1e-4, affine=affine)
    reference = torch.nn.LayerNorm(last, eps=1e-4, elementwise_affine=affine).double()
    copied(layer, reference)
    rng = np.random.default_rng(0)
    array, weight = 1 + rng.normal(size=shape), rng.normal(size=shape)
    x, t = tb.tensor(array, requires_grad=True), torch.from_numpy(array).requires_grad_()
    out, expected = layer(x), reference(t)
    same(out, expected)
    (out * weight).sum().backward()
    (expected * torch.from_numpy(weight)).sum().backward()
    assert x.grad is not None
    same(x.grad, t.grad)
    for p, q in zip(layer.parameters(), reference.parameters(), strict=True):
        assert p.grad is not None
        same(p.grad, q.grad)


@pytest.mark.parametrize("layer", [nn.BatchNorm1d(3), nn.LayerNorm(3), nn.BatchNorm1d(3, affine=False)])
@pytest.mark.parametrize("order", [1, 2])
def test_derivatives_agree_with_finite_differences(layer: nn.Module, order: int) -> None:
    model = nn.Sequential(nn.Linear(2, 3, rng=0), layer, nn.Tanh())
    before = {key: value.copy() for key, value in layer.state_dict().items()}
    assert tb.gradcheck_model(model, nn.MSELoss(), (tb.randn(5, 2, rng=0), tb.zeros(5, 3)), order=order).ok
    for key, value in layer.state_dict().items():
        np.testing.assert_array_equal(value, before[key])


@pytest.mark.parametrize("layer", [nn.BatchNorm1d(3), nn.LayerNorm(3)])
def test_float32_stays(layer: nn.Module) -> None:
    layer = layer.astype(np.float32)
    x = tb.tensor(np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32), requires_grad=True)
    out = layer(x)
    out.sum().backward()
    assert x.grad is not None
    assert out.dtype == x.grad.dtype == np.float32
    assert {value.dtype for value in layer.state_dict().values()} == {np.dtype(np.float32)}
    assert layer.eval()(x).dtype == np.float32


def test_buffers_are_saved_and_not_learned() -> None:
    layer = nn.BatchNorm1d(2)
    layer(np.random.default_rng(0).normal(size=(5, 2)))
    other = nn.BatchNorm1d(2)
    other.load_state_dict(layer.state_dict())
    np.testing.assert_array_equal(other.running_mean.data, layer.running_mean.data)
    assert not layer.running_mean.requires_grad
    assert layer.eval()(np.ones((1, 2))).shape == (1, 2)


def test_shapes_alone_leave_the_running_statistics_alone() -> None:
    model = nn.Sequential(nn.Linear(3, 4, rng=0), nn.BatchNorm1d(4), nn.Tanh())
    assert [layer.label for layer in model.summary((1, 3)).layers][1] == "BatchNorm1d(4)"
    np.testing.assert_array_equal(model.state_dict()["1.running_mean"], np.zeros(4))


@pytest.mark.parametrize(
    ("make", "shape", "error", "words"),
    [
        (lambda: nn.BatchNorm1d(3), (5, 4), ShapeError, r"\(5, 4\).*\(rows, 3\) or \(rows, 3, length\)"),
        (lambda: nn.BatchNorm1d(3), (3,), ShapeError, r"got x of shape \(3,\)"),
        (lambda: nn.BatchNorm1d(3), (1, 3), ArgumentError, r"1 value of each feature.*model.eval\(\)"),
        (lambda: nn.LayerNorm(3), (5, 4), ShapeError, r"\(5, 4\).*last axis must be 3"),
        (lambda: nn.LayerNorm((2, 3)), (3,), ShapeError, "last axes must be 2×3"),
    ],
)
def test_what_does_not_fit_is_refused(make: Any, shape: tuple[int, ...], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        make()(np.ones(shape))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: nn.BatchNorm1d(0), "1 feature or more, not 0"),
        (lambda: nn.BatchNorm1d(2, momentum=1.5), "from 0 to 1, not 1.5"),
        (lambda: nn.BatchNorm1d(2, eps=0), "above 0"),
        (lambda: nn.LayerNorm(()), "one axis or more"),
        (lambda: nn.LayerNorm((2, 0)), "length 1 or more"),
    ],
)
def test_arguments_out_of_range_are_refused(make: Any, words: str) -> None:
    with pytest.raises(ArgumentError, match=words):
        make()


@pytest.mark.parametrize("layer", [lambda: nn.BatchNorm1d(4), lambda: nn.LayerNorm(4)])
def test_a_captured_step_is_an_ordinary_step(layer: Any) -> None:
    def trained(captured: bool) -> tuple[dict[str, np.ndarray], Any]:
        model = nn.Sequential(nn.Linear(3, 4, rng=0), layer(), nn.Tanh(), nn.Linear(4, 1, rng=1))
        optimizer = tb.optim.SGD(model.parameters(), lr=0.1)
        x, y = tb.randn(6, 3, rng=0), tb.zeros(6, 1)

        def step() -> None:
            optimizer.zero_grad()
            nn.MSELoss()(model(x), y).backward()
            optimizer.step()

        if captured:
            with tb.capture() as trace:
                step()
            return model.state_dict(), trace
        step()
        return model.state_dict(), None

    plain, _ = trained(False)
    captured, trace = trained(True)
    assert plain.keys() == captured.keys()
    for key, value in captured.items():
        np.testing.assert_allclose(value, plain[key], rtol=1e-12, atol=1e-14)
    assert "γ" in tb.draw(trace).svg()
    assert {"dγ", "dβ"} <= {value.name for value in trace.values}
