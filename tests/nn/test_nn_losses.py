"""Losses: values, gradients, reductions, extremes, dtypes and errors."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_batch as tb
from tinygrad_batch import nn
from tinygrad_batch.errors import ArgumentError, DtypeError, ShapeError

REDUCTIONS = ["mean", "sum", "none"]
PAIRED = [nn.MSELoss, nn.L1Loss, nn.HuberLoss, nn.BCEWithLogitsLoss]


def softplus(x: np.ndarray) -> np.ndarray:
    return np.log1p(np.exp(-np.abs(x))) + np.maximum(x, 0)


ELEMENTS = {
    nn.MSELoss: lambda p, t: (p - t) ** 2,
    nn.L1Loss: lambda p, t: np.abs(p - t),
    nn.HuberLoss: lambda p, t: np.where(np.abs(p - t) <= 1, (p - t) ** 2 / 2, np.abs(p - t) - 0.5),
    nn.BCEWithLogitsLoss: lambda p, t: softplus(p) - p * t,
}
REDUCE = {"mean": np.mean, "sum": np.sum, "none": lambda x: x}


def pair(shape: tuple[int, ...], dtype: Any = np.float64, seed: int = 0) -> tuple[tb.Tensor, np.ndarray]:
    rng = np.random.default_rng(seed)
    return tb.tensor((3 * rng.normal(size=shape)).astype(dtype), requires_grad=True), rng.random(shape).astype(dtype)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("kind", PAIRED)
@pytest.mark.parametrize("shape", [(6,), (6, 1), (2, 3, 4), ()])
def test_values(kind: type[nn.Loss], reduction: str, shape: tuple[int, ...]) -> None:
    p, t = pair(shape)
    loss = kind(reduction)(p, t)
    expected = REDUCE[reduction](ELEMENTS[kind](p.data, t))
    assert loss.shape == np.shape(expected)
    np.testing.assert_allclose(loss.data, expected, rtol=1e-13)


@pytest.mark.parametrize("kind", [*PAIRED, nn.CrossEntropyLoss])
def test_the_mean_is_the_default_and_another_reduction_is_refused(kind: type[nn.Loss]) -> None:
    assert kind().reduction == "mean"
    with pytest.raises(ArgumentError, match="'mean', 'sum' or 'none', not 'avg'"):
        kind("avg")


@pytest.mark.parametrize("shapes", [((9, 1), (9,)), ((9,), (9, 1)), ((9, 3), (9, 1)), ((9,), ()), ((4, 5), (5, 4))])
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("kind", PAIRED)
def test_shapes_that_would_broadcast_are_refused(kind: type[nn.Loss], reduction: str, shapes: Any) -> None:
    with pytest.raises(ShapeError) as error:
        kind(reduction)(np.zeros(shapes[0]), np.zeros(shapes[1]))
    for part in (kind.__name__, str(shapes[0]), str(shapes[1]), "target.reshape(-1, 1)"):
        assert part in str(error.value)


@pytest.mark.parametrize("kind", PAIRED)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("target", [None, np.int64, np.uint8, np.bool_])
def test_the_dtype_is_that_of_the_predictions(kind: type[nn.Loss], reduction: str, dtype: Any, target: Any) -> None:
    p, t = pair((5, 1), dtype)
    t = t if target is None else np.array([[1], [0], [1], [0], [0]], target)
    loss = kind(reduction)(p, t)
    loss.sum().backward()
    assert loss.dtype == dtype
    assert p.grad is not None
    assert p.grad.dtype == dtype
    np.testing.assert_allclose(loss.data, REDUCE[reduction](ELEMENTS[kind](p.data, t.astype(dtype))), rtol=1e-5)


@pytest.mark.parametrize("kind", PAIRED)
def test_targets_get_gradients_too(kind: type[nn.Loss]) -> None:
    p, t = pair((4, 2))
    target = tb.tensor(t, requires_grad=True)
    kind()(p, target).backward()
    assert target.grad is not None
    h = 1e-6
    for index in np.ndindex(t.shape):
        up, down = t.copy(), t.copy()
        up[index] += h
        down[index] -= h
        slope = (kind()(p.data, up).item() - kind()(p.data, down).item()) / (2 * h)
        np.testing.assert_allclose(target.grad.data[index], slope, atol=1e-8)


def test_lists_and_arrays_do() -> None:
    assert nn.MSELoss()([1.0, 3.0], [1.0, 1.0]).item() == 2.0
    assert nn.CrossEntropyLoss()([[0.0, 0.0]], [1]).item() == pytest.approx(np.log(2))


# --- Huber ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("delta", [0.1, 1.0, 2.5])
def test_huber_is_a_square_within_delta_and_a_line_beyond(delta: float) -> None:
    e = np.linspace(-4, 4, 801)
    p = tb.tensor(e, requires_grad=True)
    loss = nn.HuberLoss("none", delta)(p, np.zeros_like(e))
    exact = np.where(np.abs(e) <= delta, e * e / 2, delta * (np.abs(e) - delta / 2))
    np.testing.assert_allclose(loss.data, exact, atol=1e-14)
    loss.sum().backward()
    assert p.grad is not None
    np.testing.assert_allclose(p.grad.data, np.clip(e, -delta, delta), atol=1e-14)


def test_huber_does_not_overflow() -> None:
    p = tb.tensor([1e200, -1e308, np.inf, -np.inf, 0.0], requires_grad=True)
    loss = nn.HuberLoss("none")(p, np.zeros(5))
    np.testing.assert_allclose(loss.data, [1e200, 1e308, np.inf, np.inf, 0.0])
    loss.sum().backward()
    assert p.grad is not None
    np.testing.assert_array_equal(p.grad.data, [1, -1, 1, -1, 0])


@pytest.mark.parametrize("delta", [0.0, -1.0, float("nan")])
def test_huber_wants_a_positive_delta(delta: float) -> None:
    with pytest.raises(ArgumentError, match="delta is positive"):
        nn.HuberLoss(delta=delta)


# --- binary cross-entropy ---------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_extreme_logits_do_not_overflow(dtype: Any) -> None:
    p = tb.tensor(np.array([-1e4, -800, -30, 0, 30, 800, 1e4] * 2, dtype), requires_grad=True)
    t = np.repeat(np.array([0, 1], dtype), 7)
    loss = nn.BCEWithLogitsLoss("none")(p, t)
    side = [0, 0, np.exp(-30), np.log(2), 30 + np.exp(-30), 800, 1e4]
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(loss.data, [*side, *side[::-1]], rtol=4 * eps, atol=30 * eps)
    loss.sum().backward()
    assert p.grad is not None
    np.testing.assert_allclose(p.grad.data, [0, 0, 0, 0.5, 1, 1, 1, -1, -1, -1, -0.5, 0, 0, 0], atol=1e-7)


# --- cross-entropy ------------------------------------------------------------------------------------
def crossentropy(p: np.ndarray, t: np.ndarray, smoothing: float) -> np.ndarray:
    probabilities = np.eye(p.shape[1])[t] if t.ndim == 1 else t
    probabilities = (1 - smoothing) * probabilities + smoothing / p.shape[1]
    shifted = p - p.max(1, keepdims=True)
    return -(probabilities * (shifted - np.log(np.exp(shifted).sum(1, keepdims=True)))).sum(1)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_crossentropy(reduction: str, smoothing: float, soft: bool, dtype: Any) -> None:
    rng = np.random.default_rng(0)
    p = tb.tensor((3 * rng.normal(size=(7, 4))).astype(dtype), requires_grad=True)
    t = rng.dirichlet(np.ones(4), 7).astype(dtype) if soft else rng.integers(0, 4, 7)
    loss = nn.CrossEntropyLoss(reduction, smoothing)(p, t)
    loss.sum().backward()
    assert loss.dtype == dtype
    assert p.grad is not None
    assert p.grad.dtype == dtype
    tol = 1e-12 if dtype is np.float64 else 1e-5
    np.testing.assert_allclose(loss.data, REDUCE[reduction](crossentropy(p.data.astype(float), t, smoothing)), rtol=tol)
    target = (1 - smoothing) * (np.eye(4)[t] if not soft else t) + smoothing / 4
    softmax = np.exp(p.data) / np.exp(p.data).sum(1, keepdims=True)
    slope = (softmax - target) / (7 if reduction == "mean" else 1)
    np.testing.assert_allclose(p.grad.data, slope, rtol=10 * tol, atol=tol)


def test_one_hot_targets_may_be_integers() -> None:
    p = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    labels = np.array([0, 2, 1, 1, 0])
    loss = nn.CrossEntropyLoss()(p, np.eye(3, dtype=int)[labels])
    assert loss.dtype == np.float32
    np.testing.assert_allclose(loss.item(), nn.CrossEntropyLoss()(p, labels).item(), rtol=1e-6)


def test_crossentropy_of_extreme_logits() -> None:
    p = tb.tensor([[1e4, -1e4, 0.0], [-800.0, 800.0, 800.0]], requires_grad=True)
    loss = nn.CrossEntropyLoss("none")(p, [0, 2])
    np.testing.assert_allclose(loss.data, [0, np.log(2)], atol=1e-12)
    loss.sum().backward()
    assert p.grad is not None
    np.testing.assert_allclose(p.grad.data, [[0, 0, 0], [0, 0.5, -0.5]], atol=1e-12)


@pytest.mark.parametrize(
    ("prediction", "target", "error", "words"),
    [
        ((20, 3), np.zeros((20, 1), int), ShapeError, r"\(20, 3\).*\(20, 1\).*shape \(20,\)"),
        ((20, 1), np.zeros(20), DtypeError, "integers, not float64"),
        ((20, 3), np.zeros(19, int), ShapeError, r"\(19,\)"),
        ((20,), np.zeros(20, int), ShapeError, r"\(rows, classes\)"),
        ((2, 3, 4), np.zeros(2, int), ShapeError, r"\(rows, classes\)"),
        ((3, 2), np.array([0, 1, 2]), ArgumentError, "from 0 to 1; the targets go from 0 to 2"),
        ((3, 2), np.array([0, 1, -1]), ArgumentError, "from 0 to 1; the targets go from -1 to 1"),
    ],
)
def test_crossentropy_refuses(prediction: Any, target: np.ndarray, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        nn.CrossEntropyLoss()(np.zeros(prediction), target)


@pytest.mark.parametrize("smoothing", [-0.1, 1.1, float("nan")])
def test_label_smoothing_is_a_share(smoothing: float) -> None:
    with pytest.raises(ArgumentError, match="from 0 to 1"):
        nn.CrossEntropyLoss(label_smoothing=smoothing)


def test_a_loss_of_its_own() -> None:
    class Cubic(nn.Loss):
        def each(self, prediction: tb.Tensor, target: tb.Tensor) -> tb.Tensor:
            return abs(prediction - target) ** 3

    assert Cubic("sum")([3.0, 1.0], [1.0, 1.0]).item() == 8.0
    with pytest.raises(NotImplementedError, match="Loss has no each method"):
        nn.Loss()([1.0], [1.0])


def test_a_loss_inside_a_capture_equals_the_merged_one() -> None:
    p, t = pair((20, 1))
    plain = nn.MSELoss()(p, t)
    with tb.capture() as trace:
        recorded = nn.MSELoss()(p, t)
    np.testing.assert_allclose(recorded.item(), plain.item(), rtol=1e-14)
    assert [step.op for step in trace.steps] == ["subtract", "square", "mean"]


# --- against PyTorch ----------------------------------------------------------------------------------
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("kind", PAIRED)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_paired_losses_agree_with_torch(kind: type[nn.Loss], reduction: str, dtype: Any) -> None:
    torch = pytest.importorskip("torch")
    p, t = pair((40, 3), dtype, seed=4)
    p.grad = None
    q = torch.from_numpy(p.data.copy()).requires_grad_()
    ours = kind(reduction)(p, t)
    theirs = getattr(torch.nn, kind.__name__)(reduction=reduction)(q, torch.from_numpy(t))
    rtol, atol = (1e-5, 1e-6) if dtype is np.float32 else (1e-13, 1e-15)
    np.testing.assert_allclose(ours.data, theirs.detach().numpy(), rtol=rtol, atol=atol)
    ours.sum().backward()
    theirs.sum().backward()
    assert p.grad is not None
    np.testing.assert_allclose(p.grad.data, q.grad.numpy(), rtol=rtol, atol=atol)


@given(st.integers(1, 9), st.integers(1, 6), st.sampled_from([0.0, 0.2]), st.sampled_from(REDUCTIONS), st.booleans())
def test_crossentropy_agrees_with_torch(rows: int, classes: int, smoothing: float, reduction: str, soft: bool) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(rows * 100 + classes)
    p = tb.tensor(5 * rng.normal(size=(rows, classes)), requires_grad=True)
    t = rng.dirichlet(np.ones(classes), rows) if soft else rng.integers(0, classes, rows)
    q = torch.from_numpy(p.data.copy()).requires_grad_()
    ours = nn.CrossEntropyLoss(reduction, smoothing)(p, t)
    theirs = torch.nn.CrossEntropyLoss(reduction=reduction, label_smoothing=smoothing)(q, torch.from_numpy(t))
    np.testing.assert_allclose(ours.data, theirs.detach().numpy(), rtol=1e-12, atol=1e-14)
    ours.sum().backward()
    theirs.sum().backward()
    assert p.grad is not None
    np.testing.assert_allclose(p.grad.data, q.grad.numpy(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("delta", [0.3, 2.0])
def test_huber_agrees_with_torch(delta: float) -> None:
    torch = pytest.importorskip("torch")
    e = np.concatenate([np.linspace(-4, 4, 81), [delta, -delta, 0.0]])
    p, q = tb.tensor(e, requires_grad=True), torch.from_numpy(e.copy()).requires_grad_()
    ours = nn.HuberLoss("sum", delta)(p, np.zeros_like(e))
    theirs = torch.nn.HuberLoss(reduction="sum", delta=delta)(q, torch.zeros_like(q))
    np.testing.assert_allclose(ours.item(), theirs.item(), rtol=1e-13)
    ours.backward()
    theirs.backward()
    assert p.grad is not None
    np.testing.assert_allclose(p.grad.data, q.grad.numpy(), rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_extreme_logits_agree_with_torch(dtype: Any) -> None:
    torch = pytest.importorskip("torch")
    p = np.array([-1e6, -1e3, -100, -20, -1, 0, 1, 20, 100, 1e3, 1e6] * 3, dtype)
    t = np.repeat(np.array([0, 0.25, 1], dtype), 11)
    x, q = tb.tensor(p, requires_grad=True), torch.from_numpy(p.copy()).requires_grad_()
    ours = nn.BCEWithLogitsLoss("none")(x, t)
    theirs = torch.nn.BCEWithLogitsLoss(reduction="none")(q, torch.from_numpy(t))
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(ours.data, theirs.detach().numpy(), rtol=8 * eps, atol=100 * eps)
    ours.sum().backward()
    theirs.sum().backward()
    assert x.grad is not None
    np.testing.assert_allclose(x.grad.data, q.grad.numpy(), rtol=8 * eps, atol=8 * eps)
