"""Indexing in every form that NumPy knows: values, gradients, shapes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tinygrad_batch as tb
from tinygrad_batch import Tensor
from tinygrad_batch.errors import ArgumentError, ShapeError
from tinygrad_batch.ops.indexing import pick

INDICES = {
    "int": 1,
    "negative": -1,
    "tuple": (1, 2),
    "full": (1, 2, 3),
    "empty tuple": (),
    "slice": slice(1, 3),
    "step": slice(None, None, 2),
    "backwards": slice(None, None, -1),
    "backwards by 2": (slice(3, 0, -2), slice(None, None, -3)),
    "nothing": slice(0, 0),
    "past the end": slice(1, 99),
    "ellipsis": ...,
    "ellipsis first": (..., 0),
    "ellipsis last": (0, ...),
    "ellipsis middle": (0, ..., -1),
    "newaxis": None,
    "newaxis twice": (None, 0, None),
    "newaxis and ellipsis": (..., None, 1),
    "list": [0, 2],
    "list of one": [1],
    "list with duplicates": [1, 1, 1, 0],
    "negative list": [-1, 0, -1],
    "array": np.array([0, 2]),
    "duplicates": np.array([0, 0, 2, 0]),
    "matrix of indices": np.array([[0, 1], [2, 2]]),
    "0-d array": np.array(2),
    "two arrays": (np.array([0, 1, 0]), np.array([1, 2, 1])),
    "broadcast arrays": (np.array([[0], [1]]), np.array([0, 2])),
    "empty array": np.array([], dtype=int),
    "array and slice": (np.array([0, 2, 0]), slice(1, None)),
    "slice and array": (slice(None), np.array([1, 1])),
    "split arrays": (np.array([0, 1]), slice(None), np.array([3, 3])),
    "array and int": (np.array([0, 1]), 2),
    "array and newaxis": (None, np.array([1, 1])),
    "array and ellipsis": (..., np.array([0, 0, 3])),
    "mask": np.array([True, False, True, True]),
    "empty mask": np.array([False] * 4),
    "mask of two axes": np.arange(12).reshape(4, 3) % 2 == 0,
    "full mask": np.arange(60).reshape(4, 3, 5) % 7 < 3,
    "mask and int": (np.array([True, False, True, False]), 1),
    "slice and mask": (slice(1, 3), np.array([True, False, True])),
    "list mask": [True, False, False, True],
    "true": True,
    "false": False,
    "numpy integer": np.int64(2),
    "numpy integers": (np.int32(1), np.uint8(0)),
    "unsigned": np.array([3, 0], np.uint8),
}


def cube():
    return Tensor(np.arange(60.0).reshape(4, 3, 5), requires_grad=True)


@pytest.mark.parametrize("index", INDICES.values(), ids=INDICES.keys())
def test_value_gradient_and_shape(index):
    x = cube()
    out = x[index]
    expected = x.data[index]
    assert out.shape == expected.shape
    np.testing.assert_array_equal(out.detach().data, expected)
    weight = np.random.default_rng(0).normal(size=out.shape)
    out.backward(weight)
    by_hand = np.zeros(x.shape)
    np.add.at(by_hand, index, weight)
    np.testing.assert_allclose(x.grad.data, by_hand, atol=1e-14)
    with tb.abstract():
        assert x[index].shape == expected.shape


@pytest.mark.parametrize("index", INDICES.values(), ids=INDICES.keys())
def test_second_order_and_float32(index):
    x = cube()
    small = Tensor(x.data.astype(np.float32), requires_grad=True)
    small[index].sum().backward()
    assert small.grad.dtype == np.float32
    (slope,) = tb.grad((x[index] ** 2).sum(), x, create_graph=True)
    weight = np.random.default_rng(0).normal(size=x.shape)
    (bend,) = tb.grad((slope * weight).sum(), x, allow_unused=True) if slope.requires_grad else (None,)
    times = np.zeros(x.shape)
    np.add.at(times, index, 1.0)
    if bend is not None:
        np.testing.assert_allclose(bend.data, 2 * times * weight, atol=1e-12)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_basic_index(data):
    shape = data.draw(hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
    index = data.draw(hnp.basic_indices(shape, allow_newaxis=True, allow_ellipsis=True))
    x = Tensor(np.random.default_rng(0).normal(size=shape), requires_grad=True)
    out = x[index]
    np.testing.assert_array_equal(out.detach().data, x.data[index])
    weight = np.random.default_rng(1).normal(size=out.shape)
    out.backward(weight)
    expected = np.zeros(shape)
    expected[index] = weight
    np.testing.assert_array_equal(x.grad.data, expected)
    assert tb.shapes.indexed(shape, index) == out.shape


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_any_integer_arrays(data):
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=4))
    index = data.draw(
        hnp.integer_array_indices(shape, result_shape=hnp.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=4))
    )
    x = Tensor(np.random.default_rng(0).normal(size=shape), requires_grad=True)
    out = x[index]
    weight = np.random.default_rng(1).normal(size=out.shape)
    out.backward(weight)
    expected = np.zeros(shape)
    np.add.at(expected, index, weight)
    np.testing.assert_allclose(x.grad.data, expected, atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(hnp.arrays(bool, hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=4)))
def test_any_mask(mask):
    x = Tensor(np.random.default_rng(0).normal(size=mask.shape), requires_grad=True)
    out = x[mask]
    np.testing.assert_array_equal(out.detach().data, x.data[mask])
    out.sum().backward()
    np.testing.assert_array_equal(x.grad.data, mask.astype(float))


def test_tensors_as_indices():
    x = cube()
    index, mask = Tensor(np.array([0, 0, 2])), x.detach() > 30
    np.testing.assert_array_equal(x[index].detach().data, x.data[[0, 0, 2]])
    np.testing.assert_array_equal(x[mask].detach().data, x.data[x.data > 30])
    np.testing.assert_array_equal(x[index, 1].detach().data, x.data[[0, 0, 2], 1])
    np.testing.assert_array_equal(tb.getitem(x, index=index).detach().data, x.data[[0, 0, 2]])
    assert x[Tensor(2)].shape == (3, 5)


@pytest.mark.parametrize(
    "index", [9, -9, (0, 0, 0, 0), [9], np.array([9]), np.array([True]), 1.5, "a", (..., ...), np.array([0.5])], ids=str
)
def test_what_does_not_fit_says_so(index):
    x = cube()
    with pytest.raises(ShapeError, match=r"\(4, 3, 5\)"):
        x[index]
    with pytest.raises(ShapeError, match=r"\(4, 3, 5\)"), tb.abstract():
        x[index]


def test_a_row_is_a_view_and_a_gradient_is_not():
    x = cube()
    assert np.shares_memory(x[1].data, x.data)
    x[1].sum().backward()
    assert x.grad.data[1].all()
    assert not x.grad.data[0].any()


def test_iterating_gives_rows_with_gradients():
    x = cube()
    total = sum(float(i) * row.sum() for i, row in enumerate(x))
    total.backward()
    np.testing.assert_array_equal(x.grad.data[:, 0, 0], np.arange(4.0))


def test_formula_of_an_index():
    from tinygrad_batch.formula import Name
    from tinygrad_batch.ops import getitem

    assert str(getitem(Name("x", (4, 3)), index=(slice(None, None, -1), None, 0))) == "x[::-1, None, 0]"
    assert str(getitem(Name("x", (4, 3)), index=(..., slice(1, 3)))) == "x[..., 1:3]"


@pytest.mark.parametrize(("labels", "words"), [([0, 4, 1], "from 0 to 4"), ([0, -1, 1], "from -1 to 1")])
@pytest.mark.parametrize("kind", [np.asarray, Tensor])
def test_a_label_without_an_element_is_refused(labels, words, kind):
    with pytest.raises(ArgumentError, match=f"from 0 to 3; the targets go {words}"):
        pick(kind(np.ones((3, 4))), np.array(labels))


@pytest.mark.parametrize("dtype", [np.int64, np.int8, np.uint8, np.uint64])
def test_labels_of_every_integer_dtype_are_picked(dtype):
    x = np.arange(12.0).reshape(3, 4)
    np.testing.assert_array_equal(pick(x, np.array([3, 0, 2], dtype)), [3, 4, 10])
    np.testing.assert_array_equal(pick(x, np.array([3, 9, 0, 9, 2, 9], dtype)[::2]), [3, 4, 10])
