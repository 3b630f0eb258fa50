"""Padding and sliding windows: against NumPy and PyTorch, and what does not fit."""

import numpy as np
import pytest

import tinygrad_batch as tb
from tinygrad_batch import ops
from tinygrad_batch.errors import ArgumentError, ShapeError


def test_windows_are_a_view() -> None:
    x = np.arange(20.0).reshape(4, 5)
    windows = ops.sliding_windows(x, size=(2, 2), stride=(2, 3))
    assert np.shares_memory(windows, x)
    assert windows.shape == (2, 2, 2, 2)
    np.testing.assert_array_equal(windows[1, 1], x[2:4, 3:5])


def test_overlapping_windows_add_up() -> None:
    x = tb.zeros(1, 5).requires_grad_()
    ops.sliding_windows(x, size=(3,)).sum().backward()
    assert x.grad is not None
    np.testing.assert_array_equal(x.grad.data, [[1, 2, 3, 2, 1]])


def test_what_no_window_reaches_has_gradient_0() -> None:
    x = tb.ones(5).requires_grad_()
    ops.sliding_windows(x, size=(2,), stride=(2,)).sum().backward()
    assert x.grad is not None
    np.testing.assert_array_equal(x.grad.data, [1, 1, 1, 1, 0])


@pytest.mark.parametrize("size", [(2, 2), (3, 1), (2, 3)])
@pytest.mark.parametrize("stride", [(1, 1), (2, 1), (3, 2)])
def test_windows_agree_with_unfold_and_fold_of_torch(size: tuple[int, int], stride: tuple[int, int]) -> None:
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(0).normal(size=(2, 3, 6, 7))
    ours = ops.sliding_windows(x, size=size, stride=stride)
    columns = torch.nn.functional.unfold(torch.from_numpy(x), size, stride=stride)
    n, c, rows, across, *_ = ours.shape
    np.testing.assert_array_equal(
        ours.transpose(0, 1, 4, 5, 2, 3).reshape(n, c * size[0] * size[1], rows * across), columns.numpy()
    )
    back = torch.nn.functional.fold(columns, (6, 7), size, stride=stride)
    np.testing.assert_allclose(ops.add_windows(ours, shape=x.shape, stride=stride), back.numpy(), rtol=1e-14)


def test_pad_agrees_with_numpy() -> None:
    x = np.random.default_rng(0).normal(size=(2, 3)).astype(np.float32)
    padded = tb.pad(x, widths=((1, 2), (0, 3)))
    assert padded.dtype == np.float32
    np.testing.assert_array_equal(padded, np.pad(x, ((1, 2), (0, 3))))


@pytest.mark.parametrize(
    ("widths", "error", "words"),
    [
        (((1, 1),), ShapeError, r"do not fit an array of shape \(2, 3\).*for each axis"),
        (((1, 1), (1, 1, 1)), ShapeError, "for each axis"),
        (((1, 1), (-2, 1)), ArgumentError, "0 elements or more, not -2"),
    ],
)
def test_pad_refuses(widths: tuple[tuple[int, ...], ...], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        tb.pad(tb.ones(2, 3), widths=widths)


@pytest.mark.parametrize(
    ("size", "stride", "error", "words"),
    [
        ((3, 2), (1, 1), ShapeError, r"\(3, 2\) are larger.*\(2, 3\).*pad the array"),
        ((1, 1, 1), (1, 1, 1), ShapeError, "fewer axes"),
        ((0, 1), (1, 1), ArgumentError, r"1 or more, not \(0, 1\)"),
        ((1, 1), (1, 0), ArgumentError, r"1 or more.*\(1, 0\)"),
        ((1, 1), (1,), ArgumentError, r"over 2 axes, but the stride is \(1,\)"),
    ],
)
def test_windows_that_do_not_fit_are_refused(
    size: tuple[int, ...], stride: tuple[int, ...], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        ops.sliding_windows(tb.ones(2, 3), size=size, stride=stride)
    with pytest.raises(error, match=words), tb.abstract():
        ops.sliding_windows(tb.ones(2, 3), size=size, stride=stride)


def test_windows_of_another_array_are_not_added() -> None:
    with pytest.raises(ShapeError, match=r"\(2, 2, 2, 2\) were not read from an array of shape \(4, 4\)"):
        ops.add_windows(np.ones((2, 2, 2, 2)), shape=(4, 4), stride=(1, 1))
