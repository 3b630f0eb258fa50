"""The matrix product in every form that NumPy knows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tinygrad_batch as tb
from tinygrad_batch import Tensor
from tinygrad_batch.errors import ShapeError

PAIRS = [
    ((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 2)), ((2, 3), (3, 4)), ((5, 2, 3), (3,)), ((3,), (5, 3, 2)),
    ((5, 2, 3), (3, 4)), ((2, 3), (5, 3, 4)), ((5, 2, 3), (5, 3, 4)), ((5, 2, 3), (1, 3, 4)), ((1, 2, 3), (5, 3, 4)),
    ((4, 1, 2, 3), (5, 3, 2)), ((2, 1, 2, 3), (1, 5, 3, 1)), ((1, 1), (1, 1)), ((1,), (1,)), ((0, 3), (3, 2)),
    ((2, 0), (0, 3)), ((2, 3), (3, 0)), ((0,), (0,)), ((0, 2, 3), (3, 4)), ((5, 0, 3), (5, 3, 2)), ((3,), (0, 3, 2)),
]  # fmt: skip
IDS = [f"{a}@{b}".replace(" ", "") for a, b in PAIRS]


def pair(shapes, dtypes=(np.float64, np.float64), seed=0):
    rng = np.random.default_rng(seed)
    return [Tensor(rng.normal(size=s).astype(d), requires_grad=True) for s, d in zip(shapes, dtypes, strict=True)]


@pytest.mark.parametrize("shapes", PAIRS, ids=IDS)
@pytest.mark.parametrize("form", [lambda a, b: a @ b, tb.matmul, np.matmul], ids=["@", "matmul", "numpy"])
def test_values_are_numpys(shapes, form):
    a, b = pair(shapes)
    out = form(a, b)
    expected = np.matmul(a.data, b.data)
    assert out.shape == expected.shape
    np.testing.assert_allclose(out.detach().data, expected, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("shapes", PAIRS, ids=IDS)
def test_gradients(shapes):
    tensors = pair(shapes)
    assert tb.gradcheck(tb.matmul, tensors).ok
    assert tb.gradgradcheck(tb.matmul, tensors).ok


@pytest.mark.parametrize("shapes", PAIRS, ids=IDS)
@pytest.mark.parametrize("dtypes", [(np.float32, np.float32), (np.float32, np.float64), (np.float64, np.float32)])
def test_dtypes(shapes, dtypes):
    a, b = pair(shapes, dtypes)
    out = a @ b
    assert out.dtype == np.result_type(*dtypes)
    out.backward(np.ones(out.shape, out.dtype))
    for tensor in (a, b):
        assert (tensor.grad.shape, tensor.grad.dtype) == (tensor.shape, tensor.dtype)


@pytest.mark.parametrize("shapes", PAIRS, ids=IDS)
def test_abstract(shapes):
    a, b = pair(shapes)
    with tb.abstract():
        assert (a @ b).shape == np.matmul(a.data, b.data).shape


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("shapes", PAIRS, ids=IDS)
def test_one_side_is_an_array(shapes, side):
    a, b = pair(shapes)
    full = (a @ b).detach().data
    out = (a.data @ b) if side == 0 else (a @ b.data)
    assert isinstance(out, Tensor)
    np.testing.assert_allclose(out.detach().data, full, rtol=1e-13)
    out.backward(np.ones(out.shape))
    assert (b if side == 0 else a).grad is not None
    assert (a if side == 0 else b).grad is None


@settings(max_examples=80, deadline=None)
@given(
    hnp.mutually_broadcastable_shapes(signature="(n?,k),(k,m?)->(n?,m?)", max_dims=2, min_side=0, max_side=3),
    st.integers(0, 1000),
)
def test_any_shapes(drawn, seed):
    a, b = pair(drawn.input_shapes, seed=seed)
    out = tb.matmul(a, b)
    assert out.shape == drawn.result_shape
    np.testing.assert_allclose(out.detach().data, np.matmul(a.data, b.data), rtol=1e-12, atol=1e-12)
    assert tb.gradcheck(tb.matmul, [a, b], atol=1e-6).ok


@pytest.mark.parametrize(
    ("shapes", "match"),
    [
        (((2, 3), (2, 3)), "3 columns.*2 rows"),
        (((5, 2, 3), (4, 3, 2)), "broadcast"),
        (((3,), (2,)), "3 columns"),
        (((), (2,)), r"with \*"),
    ],
)
def test_what_does_not_fit_says_why(shapes, match):
    a, b = pair(shapes)
    with pytest.raises(ShapeError, match=match):
        a @ b
    with tb.abstract(), pytest.raises(ShapeError, match=match):
        a @ b


@pytest.mark.parametrize("shapes", [((3,), (3,)), ((2, 3), (3,)), ((2, 3), (3, 2)), ((), (2, 3)), ((2,), ())])
def test_dot_is_numpys(shapes):
    a, b = pair(shapes)
    for out in (tb.dot(a, b), np.dot(a, b), a.dot(b)):
        np.testing.assert_allclose(out.detach().data, np.dot(a.data, b.data))
    assert tb.gradcheck(tb.dot, [a, b]).ok
    with pytest.raises(ShapeError, match="two dimensions"):
        tb.dot(tb.ones((2, 2, 2)), tb.ones((2, 2)))


@pytest.mark.parametrize("shapes", [((3,), (2,)), ((0,), (2,)), ((1,), (1,)), ((2, 2), (3,))])
def test_outer_is_numpys(shapes):
    a, b = pair(shapes)
    for out in (tb.outer(a, b), np.outer(a, b)):
        np.testing.assert_allclose(out.detach().data, np.outer(a.data, b.data))
    assert tb.gradcheck(tb.outer, [a, b]).ok


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(4, 3), (3,), (2, 4, 3), (0, 3)])
def test_linear(shape, bias):
    rng = np.random.default_rng(0)
    tensors = [Tensor(rng.normal(size=s), requires_grad=True) for s in (shape, (3, 2), (2,))[: 3 if bias else 2]]
    expected = tensors[0].data @ tensors[1].data + (tensors[2].data if bias else 0)
    np.testing.assert_allclose(tb.linear(*tensors).detach().data, expected, rtol=1e-13)
    assert tb.gradcheck(tb.linear, tensors).ok


@pytest.mark.parametrize("order", ["C", "F"])
def test_transposed_operands(order):
    rng = np.random.default_rng(0)
    a, b = (Tensor(np.array(rng.normal(size=s), order=order), requires_grad=True) for s in ((3, 2), (4, 3)))
    np.testing.assert_allclose((a.T @ b.T).detach().data, a.data.T @ b.data.T)
    assert tb.gradcheck(lambda a, b: a.mT @ b.T, [a, b]).ok


def test_a_layer_takes_rows_and_a_bias():
    from tinygrad_batch import ops

    for shapes in [((2,), (2, 3), (3,)), ((4, 2, 2), (2, 3), (3,)), ((4, 2), (2, 3), (1,)), ((4, 2), (2, 3), (4, 3))]:
        tensors = [Tensor(np.ones(s), requires_grad=True) for s in shapes]
        with pytest.raises(ShapeError):
            ops.affine(*tensors)
