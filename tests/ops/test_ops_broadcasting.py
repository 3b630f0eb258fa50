"""Two inputs of any shapes that broadcast, down to no dimensions and no elements."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tinygrad_batch as tb
from tinygrad_batch import Tensor, ops
from tinygrad_batch.errors import ShapeError
from tinygrad_batch.op import TABLE

BINARY = {name: entry for name, entry in TABLE.items() if entry.elementwise and len(entry.inputs) == 2}
RULED = {name: entry for name, entry in BINARY.items() if entry.differentiable == (0, 1)}
SHAPES = hnp.mutually_broadcastable_shapes(num_shapes=2, min_dims=0, max_dims=3, min_side=0, max_side=3)
SEEDS = st.integers(0, 2**16)


def drawn(entry, shapes, seed, dtype=np.float64):
    rng = np.random.default_rng(seed)
    return [rng.uniform(*entry.cases[0].domain, shape).astype(dtype) for shape in shapes]


def summed_to(gradient, shape):
    """Undo a broadcast the slow and obvious way: every element goes where its index came from."""
    out = np.zeros(shape)
    for index in np.ndindex(gradient.shape):
        own = index[len(index) - len(shape) :]
        out[tuple(0 if n == 1 else i for i, n in zip(own, shape, strict=True))] += gradient[index]
    return out


def test_every_binary_operation_of_the_table_is_here():
    assert {"add", "subtract", "multiply", "divide", "power", "maximum", "minimum", "arctan2", "logaddexp"} <= set(
        RULED
    )


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(BINARY)), SHAPES, SEEDS)
def test_values_are_numpys(name, drawn_shapes, seed):
    entry = BINARY[name]
    a, b = drawn(entry, drawn_shapes.input_shapes, seed)
    out = entry.call(Tensor(a), Tensor(b))
    expected = getattr(np, name)(a, b)
    assert out.shape == drawn_shapes.result_shape == entry.shape(a.shape, b.shape)
    assert out.dtype == expected.dtype
    np.testing.assert_array_equal(out.data, expected)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(sorted(RULED)), SHAPES, SEEDS, st.sampled_from([(True, True), (True, False), (False, True)]))
def test_gradients_are_those_of_the_stretched_inputs_summed_back(name, drawn_shapes, seed, required):
    entry, shapes, full = RULED[name], drawn_shapes.input_shapes, drawn_shapes.result_shape
    arrays = drawn(entry, shapes, seed)
    weight = np.random.default_rng(seed + 1).uniform(-1, 1, full)
    tensors = [Tensor(a, requires_grad=r) for a, r in zip(arrays, required, strict=True)]
    entry.call(*tensors).backward(weight)
    stretched = [Tensor(np.broadcast_to(a, full).copy(), requires_grad=True) for a in arrays]
    entry.call(*stretched).backward(weight)
    for tensor, wide in zip(tensors, stretched, strict=True):
        if tensor.requires_grad:
            assert tensor.grad.shape == tensor.shape
            np.testing.assert_allclose(
                tensor.grad.data, summed_to(wide.grad.data, tensor.shape), rtol=1e-10, atol=1e-12
            )
        else:
            assert tensor.grad is None


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(RULED)), SHAPES, SEEDS)
def test_first_and_second_derivatives_for_any_shapes(name, drawn_shapes, seed):
    entry = RULED[name]
    arrays = drawn(entry, drawn_shapes.input_shapes, seed)
    arrays[0] = arrays[0] + 0.01  # away from ties
    tensors = [Tensor(a, requires_grad=True) for a in arrays]
    assert tb.gradcheck(entry.call, tensors, rtol=1e-4, atol=1e-5).ok
    if drawn_shapes.result_shape == () or np.prod(drawn_shapes.result_shape) <= 6:
        assert tb.gradgradcheck(entry.call, tensors, rtol=1e-4, atol=1e-5).ok


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(sorted(RULED)),
    SHAPES,
    SEEDS,
    st.sampled_from([np.float64, np.float32, np.float16]),
    st.sampled_from([np.float64, np.float32, np.float16]),
)
def test_mixed_dtypes_promote_as_numpys_and_gradients_come_back(name, drawn_shapes, seed, first, second):
    entry = RULED[name]
    a, b = drawn(entry, drawn_shapes.input_shapes, seed)
    x, y = Tensor(a.astype(first), True), Tensor(b.astype(second), True)
    out = entry.call(x, y)
    assert out.dtype == np.result_type(first, second)
    out.backward(np.ones(out.shape, out.dtype))
    for tensor in (x, y):
        assert (tensor.grad.shape, tensor.grad.dtype) == (tensor.shape, tensor.dtype)


SCALARS = [2, 2.5, True, np.float64(2.5), np.float32(2.5), np.int64(2), np.float16(1.5), np.bool_(True)]


@pytest.mark.parametrize("scalar", SCALARS, ids=lambda s: f"{type(s).__name__}")
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("shape", [(), (2, 3), (0,)])
@pytest.mark.parametrize(
    "function",
    [
        lambda t, s: t + s, lambda t, s: s + t, lambda t, s: t - s, lambda t, s: s - t, lambda t, s: t * s,
        lambda t, s: s * t, lambda t, s: t / s, lambda t, s: s / t, lambda t, s: t**s, lambda t, s: t % s,
        lambda t, s: tb.maximum(t, s), lambda t, s: tb.where(t > s, t, s), lambda t, s: tb.where(t > s, s, t),
        lambda t, s: t.clip(-s, s) if not isinstance(s, (bool, np.bool_)) else t.clip(None, s), lambda t, s: t.pow(s),
        lambda t, s: np.add(s, t), lambda t, s: tb.logaddexp(t, s), lambda t, s: tb.arctan2(s, t),
    ],
)  # fmt: skip
def test_python_and_numpy_scalars_never_widen(function, shape, dtype, scalar):
    t = Tensor(np.full(shape, 0.75, dtype), requires_grad=True)
    middle = t * 1
    seen = []
    middle.register_hook(lambda g: seen.append(g.dtype))
    out = function(middle, scalar)
    assert out.dtype == dtype
    out.sum().backward()
    assert t.grad.dtype == dtype
    assert seen == [dtype]


@pytest.mark.parametrize("scalar", [2, 3.0, np.float64(2.0), np.int64(2)])
def test_a_scalar_to_the_power_of_a_tensor_never_widens(scalar):
    t = Tensor(np.array([0.5, 1.5], np.float32), requires_grad=True)
    seen = []
    middle = t * 1
    middle.register_hook(lambda g: seen.append(g.dtype))
    out = scalar**middle
    assert out.dtype == np.float32
    out.sum().backward()
    assert seen == [np.float32]
    np.testing.assert_allclose(t.grad.data, float(scalar) ** t.data * np.log(float(scalar)), rtol=1e-6)


def test_shapes_that_do_not_broadcast_are_named():
    with pytest.raises(ShapeError, match=r"add: shapes \(2, 3\) and \(2,\) do not broadcast"):
        Tensor(np.ones((2, 3))) + Tensor(np.ones(2))
    with pytest.raises(ShapeError, match="where"):
        tb.where(np.ones(2) > 0, np.ones(3), Tensor(np.ones(4)))


@settings(max_examples=60, deadline=None)
@given(hnp.mutually_broadcastable_shapes(num_shapes=3, min_dims=0, max_dims=3, min_side=0, max_side=3), SEEDS)
def test_where_of_any_three_shapes(drawn_shapes, seed):
    rng = np.random.default_rng(seed)
    c, a, b = (rng.uniform(-1, 1, shape) for shape in drawn_shapes.input_shapes)
    x, y = Tensor(a, True), Tensor(b, True)
    out = tb.where(c > 0, x, y)
    np.testing.assert_array_equal(out.data if not out.requires_grad else out.detach().data, np.where(c > 0, a, b))
    out.backward(np.ones(out.shape))
    taken = np.broadcast_to(c > 0, out.shape)
    np.testing.assert_array_equal(x.grad.data, summed_to(np.where(taken, 1.0, 0.0), a.shape))
    np.testing.assert_array_equal(y.grad.data, summed_to(np.where(taken, 0.0, 1.0), b.shape))


@settings(max_examples=60, deadline=None)
@given(SHAPES)
def test_broadcast_to_and_unbroadcast_undo_each_other(drawn_shapes):
    shape, target = drawn_shapes.input_shapes[0], drawn_shapes.result_shape
    x = Tensor(np.random.default_rng(0).normal(size=shape), requires_grad=True)
    y = tb.broadcast_to(x, target)
    assert y.shape == target
    weight = np.random.default_rng(1).normal(size=target)
    y.backward(weight)
    np.testing.assert_allclose(x.grad.data, summed_to(weight, shape), atol=1e-12)
    np.testing.assert_allclose(ops.unbroadcast(weight, shape), x.grad.data, atol=1e-12)
