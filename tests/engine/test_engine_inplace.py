"""A value that a pending backward pass needs is never changed unnoticed."""

import numpy as np
import pytest

import tinygrad_batch as tb
from tinygrad_batch import Tensor
from tinygrad_batch.errors import InPlaceError, ShapeError

WRITES = {
    "assign": lambda t: t.assign(np.zeros(t.shape)),
    "setitem": lambda t: t.__setitem__(0, 9.0),
    "slice": lambda t: t.__setitem__(slice(None), 9.0),
    "mask": lambda t: t.__setitem__(np.array([True, False]), 9.0),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES.keys())
def test_a_write_between_forward_and_backward_is_noticed(write):
    x, w = Tensor([1.0, 2.0]), Tensor([3.0, 4.0], requires_grad=True)
    y = (x * w).sum()
    write(x)
    with pytest.raises(InPlaceError, match=r"'multiply' needs its input 'a'.*changed in place"):
        y.backward()


def test_the_error_is_precise_about_what_is_needed():
    x, w = Tensor([1.0, 2.0]), Tensor([3.0, 4.0], requires_grad=True)
    y = (x + w).sum()  # the rules of a sum need neither
    x.assign([0.0, 0.0])
    y.backward()
    assert w.grad.tolist() == [1.0, 1.0]


def test_a_write_to_a_parameter_is_noticed():
    w = Tensor([3.0, 4.0], requires_grad=True)
    y = w.square().sum()
    with tb.no_grad():
        w.assign([0.0, 0.0])
    with pytest.raises(InPlaceError, match="'square' needs its input 'x'"):
        y.backward()


def test_an_output_that_is_kept_is_protected():
    w = Tensor([0.5, 1.0], requires_grad=True)
    y = w.tanh()
    y.detach()[0] = 9.0  # the same memory
    with pytest.raises(InPlaceError, match="'tanh' needs its output"):
        y.sum().backward()


def test_a_write_after_backward_is_fine():
    w = Tensor([3.0, 4.0], requires_grad=True)
    for _ in range(3):
        w.square().sum().backward()
        with tb.no_grad():
            w.assign(w.detach() - 0.1 * w.grad)
        w.grad = None
    np.testing.assert_allclose(w.data, np.array([3.0, 4.0]) * 0.8**3)


def test_a_write_before_forward_is_fine():
    x, w = Tensor([1.0, 2.0]), Tensor([3.0, 4.0], requires_grad=True)
    x.assign([5.0, 6.0])
    (x * w).sum().backward()
    assert w.grad.tolist() == [5.0, 6.0]


def test_a_write_to_something_else_is_fine():
    x, w, other = Tensor([1.0, 2.0]), Tensor([3.0, 4.0], requires_grad=True), Tensor([0.0])
    y = (x * w).sum()
    other[0] = 1.0
    y.backward()
    assert w.grad.tolist() == [1.0, 2.0]


@pytest.mark.parametrize("view", [lambda t: t.reshape(2, 1), lambda t: t[::-1], lambda t: t.T, lambda t: t.detach()])
def test_a_write_through_a_view_is_noticed(view):
    x, w = Tensor([1.0, 2.0]), Tensor([3.0, 4.0], requires_grad=True)
    y = (x * w).sum()
    view(x)[0] = 9.0
    with pytest.raises(InPlaceError):
        y.backward()


def test_a_write_to_the_base_of_a_kept_view_is_noticed():
    x, w = Tensor([1.0, 2.0, 3.0]), Tensor([3.0, 4.0], requires_grad=True)
    y = (x[1:] * w).sum()
    x[2] = 9.0
    with pytest.raises(InPlaceError):
        y.backward()


def test_a_kept_index_array_is_protected():
    index = Tensor(np.array([0, 1]))
    w = Tensor([3.0, 4.0], requires_grad=True)
    y = w[index].sum()
    index.assign([1, 1])
    with pytest.raises(InPlaceError, match="'getitem'"):
        y.backward()


def test_an_index_array_within_a_tuple_is_protected():
    x = Tensor(np.arange(6.0).reshape(3, 2), requires_grad=True)
    rows = Tensor(np.array([0, 1]))
    y = x[rows, 0].sum()
    rows[...] = 2
    with pytest.raises(InPlaceError, match="'index'"):
        y.backward()


def test_create_graph_checks_too():
    x, w = Tensor([1.0, 2.0]), Tensor([3.0, 4.0], requires_grad=True)
    y = (x * w).sum()
    x[0] = 9.0
    with pytest.raises(InPlaceError):
        tb.grad(y, w, create_graph=True)


def test_a_retained_graph_is_checked_at_each_walk():
    x, w = Tensor([1.0, 2.0]), Tensor([3.0, 4.0], requires_grad=True)
    y = (x * w).sum()
    y.backward(retain_graph=True)
    x[0] = 9.0
    with pytest.raises(InPlaceError):
        y.backward()


def test_what_cannot_be_written_is_refused():
    w = Tensor([3.0, 4.0], requires_grad=True)
    with pytest.raises(InPlaceError, match="no_grad"):
        w[0] = 1.0
    with pytest.raises(InPlaceError, match="computed"):
        (w * 2)[0] = 1.0
    with pytest.raises(ValueError, match="read-only"):
        w.data[0] = 1.0
    with pytest.raises(ValueError, match="read-only"):
        w.numpy()[0] = 1.0
    with pytest.raises(InPlaceError, match="read-only"):
        tb.broadcast_to(Tensor(1.0), (3,))[0] = 2.0


def test_a_value_that_does_not_fit_is_refused_and_writes_nothing():
    x = Tensor([1.0, 2.0])
    with pytest.raises(ShapeError):
        x.assign([1.0, 2.0, 3.0])
    with pytest.raises(ShapeError):
        x[5] = 1.0
    assert x.tolist() == [1.0, 2.0]


def test_numpy_functions_cannot_write_behind_our_back():
    x = Tensor([1.0, 2.0])
    with pytest.raises(ValueError, match="read-only"):
        np.copyto(x, np.zeros(2))
    assert x.tolist() == [1.0, 2.0]


def test_the_book_of_writes_forgets_arrays_that_are_gone():
    from tinygrad_batch import graph

    before = len(graph._written)
    for _ in range(50):
        t = Tensor([1.0, 2.0])
        t[0] = 3.0
    del t
    assert len(graph._written) <= before
