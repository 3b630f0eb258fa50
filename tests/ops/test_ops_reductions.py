"""Reductions over all forms of axis and keepdims; joining and splitting."""

import functools
import itertools

import numpy as np
import pytest
import scipy.special as scipy_special
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tinygrad_batch as tb
from tinygrad_batch import Tensor, ops
from tinygrad_batch.errors import ArgumentError, DtypeError, ShapeError

NUMPYS = {
    "sum": np.sum, "mean": np.mean, "prod": np.prod, "max": np.max, "min": np.min, "var": np.var, "std": np.std,
    "logsumexp": lambda a, **options: np.log(np.sum(np.exp(a), **options)),
}  # fmt: skip
SHAPES = [(), (1,), (4,), (2, 3), (3, 1), (2, 3, 2)]
AXES = {
    n: [None, (), *range(-n, n), *[c for k in (1, 2, 3) for c in itertools.combinations(range(n), k)]] for n in range(4)
}
FORMS = [
    pytest.param(name, shape, axis, keepdims, id=f"{name}-{shape}-{axis}-{keepdims}".replace(" ", ""))
    for name in NUMPYS
    for shape in SHAPES
    for axis in AXES[len(shape)]
    for keepdims in (False, True)
]


def numbers(shape, seed=0):
    return np.random.default_rng(seed).uniform(0.5, 2.0, shape)


@pytest.mark.parametrize(("name", "shape", "axis", "keepdims"), FORMS)
def test_values_and_shapes_are_numpys(name, shape, axis, keepdims):
    array = numbers(shape)
    with np.errstate(all="ignore"):
        expected = NUMPYS[name](array, axis=axis, keepdims=keepdims)
        out = getattr(ops, name)(Tensor(array), axis=axis, keepdims=keepdims)
    assert out.shape == np.shape(expected)
    np.testing.assert_allclose(out.data, expected, rtol=1e-13, atol=1e-15)
    with tb.abstract():
        assert getattr(ops, name)(Tensor(array), axis=axis, keepdims=keepdims).shape == out.shape


@pytest.mark.parametrize(("name", "shape", "axis", "keepdims"), FORMS)
def test_gradients(name, shape, axis, keepdims):
    if name == "std" and np.prod([shape[i] for i in tb.shapes.normal_axes(axis, len(shape))], dtype=int) == 1:
        return  # the standard deviation of single values is constant 0, with a kink there
    x = Tensor(numbers(shape), requires_grad=True)
    function = getattr(ops, name)
    assert tb.gradcheck(lambda x: function(x, axis=axis, keepdims=keepdims), x, atol=1e-6).ok


@pytest.mark.parametrize("name", NUMPYS)
@pytest.mark.parametrize("axis", [None, 0, -1, (0, 2), (-1, 0)])
def test_second_derivatives(name, axis):
    x = Tensor(numbers((2, 2, 3)), requires_grad=True)
    function = getattr(ops, name)
    assert tb.gradgradcheck(lambda x: function(x, axis=axis), x, atol=1e-5).ok


@pytest.mark.parametrize("name", NUMPYS)
def test_what_is_no_axis_is_refused(name):
    x, function = tb.ones((2, 3)), getattr(ops, name)
    for axis in (2, -3, (0, 2)):
        with pytest.raises(ShapeError, match="out of range"):
            function(x, axis=axis)
    with pytest.raises(ShapeError, match="twice"):
        function(x, axis=(0, -2))
    for axis in (1.5, "a"):
        with pytest.raises((ArgumentError, DtypeError)):
            function(x, axis=axis)


@pytest.mark.parametrize("name", NUMPYS)
def test_forms_of_calling(name):
    x, function = tb.ones((2, 3)), getattr(ops, name)
    assert function(x, 0).shape == function(x, axis=[0]).shape == function(x, dim=0).shape == (3,)
    assert function(x, 0, True).shape == function(x, dim=0, keepdim=True).shape == (1, 3)
    if hasattr(x, name):
        assert getattr(x, name)(axis=0, keepdims=True).shape == (1, 3)
        assert getattr(x, name)(0).shape == (3,)
    if name in vars(np):
        assert getattr(np, name)(x, axis=0).shape == (3,)
        assert isinstance(getattr(np, name)(x, axis=0), Tensor)


@pytest.mark.parametrize(("name", "value"), [("sum", 0.0), ("prod", 1.0)])
def test_sums_and_products_of_nothing(name, value):
    x = Tensor(np.zeros((0, 2)), requires_grad=True)
    out = getattr(ops, name)(x)
    assert out.item() == value
    out.backward()
    assert x.grad.shape == (0, 2)


@pytest.mark.parametrize("name", ["max", "min", "logsumexp"])
def test_extremes_of_nothing_are_refused(name):
    with pytest.raises(ShapeError, match=name):
        getattr(ops, name)(tb.zeros((0, 2)))


def test_a_mean_of_nothing_is_nan_as_numpys():
    x = Tensor(np.zeros((0, 2)), requires_grad=True)
    with pytest.warns(RuntimeWarning):
        out = x.mean()
    assert np.isnan(out.item())
    with np.errstate(all="ignore"):
        out.backward()
    assert x.grad.shape == (0, 2)


def test_the_mean_square_of_nothing():
    a, b = Tensor(np.zeros((0, 2)), requires_grad=True), Tensor(np.zeros((0, 2)), requires_grad=True)
    with pytest.warns(RuntimeWarning):
        out = ops.mean_square(a, b)
    out.backward()
    assert a.grad.shape == (0, 2)


def test_the_mean_square_of_many_halves_does_not_overflow():
    a, b = Tensor(np.full(70_000, 3, np.float16), True), Tensor(np.zeros(70_000, np.float16))
    out = ops.mean_square(a, b)
    assert out.dtype == np.float16
    assert out.item() == 9.0


# --- products with zeros --------------------------------------------------------------------------------
@settings(max_examples=80, deadline=None)
@given(
    hnp.arrays(np.int64, hnp.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=3), elements=st.integers(-2, 2)),
    st.data(),
)
def test_products_with_any_zeros_have_exact_gradients(values, data):
    array = values.astype(float)
    axis = data.draw(st.sampled_from([None, *range(array.ndim)]))
    x = Tensor(array, requires_grad=True)
    x.prod(axis=axis).sum().backward()
    expected = np.zeros(array.shape)
    for index in np.ndindex(array.shape):
        group = [
            i
            for i in np.ndindex(array.shape)
            if axis is None or all(a == b for k, (a, b) in enumerate(zip(i, index, strict=True)) if k != axis)
        ]
        expected[index] = np.prod([array[i] for i in group if i != index])
    np.testing.assert_array_equal(x.grad.data, expected)


@pytest.mark.parametrize("values", [[0.0, 2.0, 3.0], [0.0, 0.0, 3.0], [0.0, 0.0, 0.0], [1.0, -2.0, 0.0], [0.0]])
def test_second_derivatives_of_products_with_zeros(values):
    assert tb.gradgradcheck(lambda x: x.prod(), Tensor(values, requires_grad=True)).ok
    assert tb.gradcheck(lambda x: tb.grad(x.prod(), x, create_graph=True)[0], Tensor(values, requires_grad=True)).ok


def test_products_that_underflow_keep_their_gradients():
    x = Tensor([1e-200, 1e-200, 2.0], requires_grad=True)
    out = x.prod()
    assert out.item() == 0.0
    out.backward()
    np.testing.assert_allclose(x.grad.data, [2e-200, 2e-200, 0.0], rtol=1e-15)


# --- softmax ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("axis", [0, 1, -1, -2])
def test_softmax_is_scipys(axis):
    array = np.random.default_rng(0).normal(size=(3, 4)) * 10
    np.testing.assert_allclose(
        tb.softmax(Tensor(array), axis=axis).data, scipy_special.softmax(array, axis=axis), rtol=1e-12
    )
    np.testing.assert_allclose(
        tb.log_softmax(Tensor(array), axis=axis).data, scipy_special.log_softmax(array, axis=axis), rtol=1e-12
    )


@pytest.mark.parametrize("shift", [0.0, 1e4, -1e4, 700.0])
def test_softmax_does_not_overflow(shift):
    x = Tensor(np.array([1.0, 2.0, 3.0]) + shift, requires_grad=True)
    for function in (tb.softmax, tb.log_softmax, tb.logsumexp):
        out = function(x)
        assert np.isfinite(out.detach().data).all()
        (gradient,) = tb.grad(out.sum(), x)
        assert np.isfinite(gradient.data).all()
    np.testing.assert_allclose(tb.softmax(x).detach().data, scipy_special.softmax([1.0, 2.0, 3.0]), rtol=1e-9)


def test_logsumexp_of_minus_infinity():
    x = Tensor([-np.inf, -np.inf], requires_grad=True)
    out = tb.logsumexp(x)
    assert out.item() == -np.inf
    out.backward()
    assert x.grad.tolist() == [0.0, 0.0]
    y = Tensor([-np.inf, 0.0], requires_grad=True)
    tb.logsumexp(y).backward()
    assert y.grad.tolist() == [0.0, 1.0]


# --- variance -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("correction", [0, 1, 2, 0.5])
@pytest.mark.parametrize("axis", [None, 0, 1])
def test_corrections(correction, axis):
    array = numbers((4, 5))
    for name in ("var", "std"):
        out = getattr(ops, name)(Tensor(array), axis=axis, correction=correction)
        np.testing.assert_allclose(out.data, getattr(np, name)(array, axis=axis, ddof=correction), rtol=1e-13)
        x = Tensor(array, requires_grad=True)
        function = functools.partial(getattr(ops, name), axis=axis, correction=correction)
        assert tb.gradcheck(function, x).ok
        np.testing.assert_allclose(getattr(np, name)(Tensor(array), axis=axis, ddof=correction).data, out.data)


# --- joining and splitting --------------------------------------------------------------------------------
@pytest.mark.parametrize("axis", [0, 1, -1, 2])
def test_concatenate(axis):
    rng = np.random.default_rng(0)
    shapes = [tuple(n + (k if i == axis % 3 else 0) for i, n in enumerate((2, 1, 3))) for k in (0, 2, 1)]
    tensors = [Tensor(rng.normal(size=s), requires_grad=True) for s in shapes]
    for out in (
        tb.concatenate(tensors, axis=axis),
        np.concatenate(tensors, axis=axis),
        tb.concatenate(tuple(tensors), axis),
    ):
        np.testing.assert_array_equal(out.detach().data, np.concatenate([t.data for t in tensors], axis=axis))
    assert tb.gradcheck(lambda *ts: tb.concatenate(ts, axis=axis), tensors).ok
    assert tb.gradgradcheck(lambda *ts: tb.concatenate(ts, axis=axis) ** 2, tensors).ok


@pytest.mark.parametrize("axis", [0, 1, 2, -1, -3])
def test_stack(axis):
    rng = np.random.default_rng(0)
    tensors = [Tensor(rng.normal(size=(2, 3)), requires_grad=True) for _ in range(3)]
    for out in (tb.stack(tensors, axis=axis), np.stack(tensors, axis=axis)):
        np.testing.assert_array_equal(out.detach().data, np.stack([t.data for t in tensors], axis=axis))
    assert tb.gradcheck(lambda *ts: tb.stack(ts, axis=axis), tensors).ok


@pytest.mark.parametrize(
    ("parts", "axis"),
    [(3, 0), (1, 0), (2, 1), ([1, 4], 0), ([0, 2, 2, 9], 0), ([], 1), ((1,), -1), (np.int64(2), 0), ([-2], 0)],
)
def test_split(parts, axis):
    x = Tensor(np.arange(24.0).reshape(6, 4), requires_grad=True)
    pieces, expected = tb.split(x, parts, axis), np.split(x.data, parts, axis)
    assert len(pieces) == len(expected)
    for piece, array in zip(pieces, expected, strict=True):
        np.testing.assert_array_equal(piece.detach().data, array)
    sum((i + 1.0) * (p * p).sum() for i, p in enumerate(pieces)).backward()
    weights = np.concatenate([np.full(a.shape, i + 1.0) for i, a in enumerate(expected)], axis)
    if weights.shape == x.shape:
        np.testing.assert_allclose(x.grad.data, 2 * weights * x.data)


def test_split_and_concatenate_undo_each_other():
    x = Tensor(numbers((6, 4)), requires_grad=True)
    assert tb.gradcheck(lambda x: tb.concatenate(tb.split(x, 3)), x).ok


def test_joining_mixed_dtypes_and_the_same_tensor_twice():
    a, b = Tensor(np.ones(2, np.float32), True), Tensor(np.ones(3), True)
    out = tb.concatenate([a, b, a])
    assert out.dtype == np.float64
    (out * np.arange(7.0)).sum().backward()
    assert a.grad.dtype == np.float32
    assert a.grad.tolist() == [5.0, 7.0]
    assert b.grad.tolist() == [2.0, 3.0, 4.0]


def test_what_cannot_be_joined_or_split():
    with pytest.raises(ShapeError, match="empty"):
        tb.concatenate([])
    with pytest.raises(ShapeError, match="joined along axis 0"):
        tb.concatenate([tb.ones((2, 3)), tb.ones((2, 4))])
    with pytest.raises(ShapeError, match="same"):
        tb.stack([tb.ones(2), tb.ones(3)])
    with pytest.raises(ShapeError, match="equal parts"):
        tb.split(tb.ones(5), 2)


# --- shapes -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("function", "twin"),
    [
        (lambda x: x.reshape(3, 8), lambda a: a.reshape(3, 8)),
        (lambda x: x.reshape((-1, 2)), lambda a: a.reshape(-1, 2)),
        (lambda x: x.reshape(-1), lambda a: a.reshape(-1)),
        (lambda x: tb.reshape(x, -1), lambda a: a.reshape(-1)),
        (lambda x: x.T, lambda a: a.T),
        (lambda x: x.mT, lambda a: a.swapaxes(-1, -2)),
        (lambda x: x.transpose(1, 2, 0), lambda a: a.transpose(1, 2, 0)),
        (lambda x: x.transpose((2, -3, 1)), lambda a: a.transpose(2, 0, 1)),
        (lambda x: x.permute(2, 0, 1), lambda a: a.transpose(2, 0, 1)),
        (lambda x: x.swapaxes(0, -1), lambda a: a.swapaxes(0, -1)),
        (lambda x: x.flatten(), lambda a: a.reshape(-1)),
        (lambda x: x.flatten(1), lambda a: a.reshape(2, 12)),
        (lambda x: tb.expand_dims(x, (0, -1)), lambda a: np.expand_dims(a, (0, -1))),
        (lambda x: tb.expand_dims(x, np.int64(1)), lambda a: np.expand_dims(a, 1)),
        (lambda x: tb.squeeze(tb.expand_dims(x, 1)), lambda a: a),
        (lambda x: np.ravel(x), np.ravel),
        (lambda x: np.squeeze(x[:1], 0), lambda a: a[0]),
        (lambda x: tb.broadcast_to(x, (3, 2, 3, 4)), lambda a: np.broadcast_to(a, (3, 2, 3, 4))),
        (lambda x: np.reshape(x, (4, 6)), lambda a: a.reshape(4, 6)),
        (lambda x: np.transpose(x), np.transpose),
        (lambda x: np.swapaxes(x, 0, 1), lambda a: a.swapaxes(0, 1)),
    ],
)
def test_moving_axes(function, twin):
    x = Tensor(np.arange(24.0).reshape(2, 3, 4), requires_grad=True)
    np.testing.assert_array_equal(function(x).detach().data, twin(x.data))
    assert tb.gradcheck(lambda x: function(x), x).ok
    with tb.abstract():
        assert function(x).shape == twin(x.data).shape


@pytest.mark.parametrize(
    "wrong",
    [
        lambda x: x.reshape(5, 5), lambda x: x.reshape(-1, -1), lambda x: x.reshape(-1, 7),
        lambda x: x.transpose(0, 0, 1),
        lambda x: x.transpose(0, 1), lambda x: x.squeeze(0), lambda x: tb.expand_dims(x, 9), lambda x: x.swapaxes(0, 5),
        lambda x: tb.broadcast_to(x, (2, 3)), lambda x: x[0, 0].mT, lambda x: x.reshape(2.5, 4),
    ],
)  # fmt: skip
def test_shapes_that_do_not_fit(wrong):
    x = tb.zeros((2, 3, 4))
    with pytest.raises(ShapeError):
        wrong(x)
    with tb.abstract(), pytest.raises(ShapeError):
        wrong(x)


@pytest.mark.parametrize("name", ["max", "min"])
@pytest.mark.parametrize("order", [(0, 1, 2, 3, 4), (1, 2, 3, 4, 0), (3, 1, 0, 2, 4)])
def test_extremes_of_a_few_neighbours_among_many(name, order):
    rng = np.random.default_rng(0)
    array = rng.choice([-2.0, 0.0, 1.0, 1.5, np.nan], (8, 16, 2, 8, 3), p=[0.3, 0.3, 0.2, 0.19, 0.01])
    x = np.ascontiguousarray(array.transpose(order)).transpose(np.argsort(order))  # the same, elsewhere in memory
    for axis in ((2, 4), (-3, -1), (4,), (0, 4), (0, 2)):
        for keepdims in (False, True):
            out = getattr(ops, name)(x, axis=axis, keepdims=keepdims)
            np.testing.assert_array_equal(out, NUMPYS[name](array, axis=axis, keepdims=keepdims))


@pytest.mark.parametrize("holes", [False, True])
def test_gradients_of_extremes_of_arrays_are_those_of_tensors(holes):
    rng = np.random.default_rng(1)
    array = rng.integers(0, 3, (6, 5, 4)).astype(float)
    array[0, 0, 0] = np.nan if holes else 9.0
    for axis in (1, (0, 2), None):
        for keepdims in (False, True):
            x = Tensor(array, requires_grad=True)
            out = ops.max(x, axis=axis, keepdims=keepdims)
            weight = rng.normal(size=out.shape)
            with np.errstate(all="ignore"):
                (plain,) = tb.grad((out * weight).sum(), [x])
                (again,) = tb.grad((ops.max(x, axis=axis, keepdims=keepdims) * weight).sum(), [x], create_graph=True)
            np.testing.assert_allclose(plain.data, again.detach().data)
