"""NumPy's functions, operators and protocols on Tensors: no gradient is lost silently, nothing becomes an object."""

import numpy as np
import pytest

import tinygrad_batch as tb
from tinygrad_batch import Tensor
from tinygrad_batch.errors import ArgumentError, DtypeError, GraphError, ShapeError, TinygradBatchError
from tinygrad_batch.op import NUMPY, TABLE

UFUNCS = {name: entry for name, entry in TABLE.items() if isinstance(entry.compute, np.ufunc)}


def needing(*shape):
    return Tensor(np.full(shape or (3,), 0.75), requires_grad=True)


@pytest.mark.parametrize("entry", UFUNCS.values(), ids=UFUNCS.keys())
def test_a_ufunc_on_tensors_is_the_operation(entry):
    inputs = [Tensor(np.full(3, 0.75) + (entry.name == "arccosh")) for _ in entry.inputs]
    for t in inputs:
        t.requires_grad_()
    out = entry.compute(*inputs)
    assert isinstance(out, Tensor)
    assert out.requires_grad == bool(entry.differentiable)
    np.testing.assert_array_equal(out.detach().data, entry.compute(*[t.data for t in inputs]))


@pytest.mark.parametrize("target", list(NUMPY), ids=lambda f: f.__name__)
def test_what_is_registered_is_numpys_own(target):
    assert getattr(np, target.__name__) is target or target.__name__ in vars(np)


@pytest.mark.parametrize("array", [np.ones((2, 3)), np.ones(3), np.array(2.0), np.ones((2, 3), np.float32)])
def test_an_array_on_either_side_gives_a_tensor(array):
    t = needing(2, 3)
    for out in (
        array + t,
        t + array,
        array * t,
        array - t,
        array / t,
        array**t,
        array @ t.T if array.ndim else t,
        array < t,
    ):
        assert isinstance(out, Tensor)
        assert out.dtype != object
    (array * t).sum().backward()
    np.testing.assert_allclose(t.grad.data, np.broadcast_to(array, (2, 3)))


@pytest.mark.parametrize("scalar", [np.float64(2), np.float32(2), np.int64(2), np.bool_(True), 2, 2.0])
def test_a_scalar_on_either_side_gives_a_tensor(scalar):
    t = needing()
    for out in (scalar * t, t * scalar, scalar + t, scalar - t, scalar / t, scalar >= t):
        assert isinstance(out, Tensor)
        assert out.shape == (3,)


def test_lists_and_nested_sequences_are_taken_as_arrays():
    t = needing(3)
    assert (np.add(t, [1, 2, 3])).tolist() == [1.75, 2.75, 3.75]
    assert ([1.0, 2.0, 3.0] * t).requires_grad


def test_as_an_array_a_gradient_is_not_lost_silently():
    t = needing()
    for convert in (
        np.asarray,
        np.array,
        np.asanyarray,
        lambda t: np.asarray(t, dtype=np.float32),
        np.ascontiguousarray,
    ):
        with pytest.raises(GraphError, match="detach"):
            convert(t)
        assert isinstance(convert(t.detach()), np.ndarray)
    with tb.no_grad(), pytest.raises(GraphError):
        np.asarray(t)
    assert np.asarray(t.detach(), dtype=np.float32).dtype == np.float32


def test_as_an_array_it_is_read_only_unless_copied():
    t = Tensor([1.0, 2.0])
    assert not np.asarray(t).flags.writeable
    assert np.array(t).flags.writeable
    np.array(t)[0] = 9.0
    assert t.tolist() == [1.0, 2.0]


def test_functions_without_a_derivative_raise_rather_than_detach():
    t = Tensor(np.eye(2) + 0.5, requires_grad=True)
    for function in (
        np.median,
        np.sort,
        np.cumsum,
        np.trace,
        np.diff,
        np.linalg.norm,
        np.linalg.inv,
        np.fft.fft,
        np.add.reduce,
        np.cbrt,
    ):
        with pytest.raises(GraphError, match="no derivative"):
            function(t)
        assert function(t.detach()) is not None
        with tb.no_grad():
            assert function(t) is not None


def test_functions_without_a_gradient_to_lose_work():
    t = needing(2, 3)
    assert np.shape(t) == (2, 3)
    assert np.ndim(t) == 2
    assert np.size(t) == 6
    assert np.argmax(t).item() == 0
    assert np.allclose(t, 0.75)
    assert np.array_equal(t, t)
    assert np.zeros_like(t).tolist() == [[0.0] * 3] * 2
    assert np.ones_like(t).shape == (2, 3)
    assert np.count_nonzero(t) == 6
    assert np.result_type(t.dtype, np.float32) == np.float64
    assert [a.tolist() for a in np.nonzero(t[0] > 0)] == [[0, 1, 2]]
    assert [a.tolist() for a in np.where(t[0] > 0)] == [[0, 1, 2]]
    assert isinstance(np.array2string(t.detach()), str)


def test_what_falls_through_gives_tensors_of_numbers():
    t = Tensor([[3.0, 1.0], [2.0, 4.0]])
    for out in (
        np.sort(t),
        np.cumsum(t),
        np.linalg.inv(t),
        np.einsum("ij->i", t),
        np.median(t),
        np.hstack([t, t]),
        np.cbrt(t),
    ):
        assert isinstance(out, Tensor)
        assert out.dtype == np.float64


def test_out_and_where_and_in_place_are_refused():
    t, target = Tensor([1.0, 2.0]), np.zeros(2)
    with pytest.raises(ArgumentError, match="out="):
        np.add(t, 1.0, out=target)
    with pytest.raises(ArgumentError, match="out="):
        target += t
    assert target.tolist() == [0.0, 0.0]
    u = t
    u += 1.0  # a new tensor; the old one stays
    assert t.tolist() == [1.0, 2.0]
    assert u.tolist() == [2.0, 3.0]


BAD = {
    "masked": (np.ma.masked_array([1.0, 2.0, 3.0], [0, 1, 0]), "mask would be lost"),
    "strings": (np.array(["a", "b", "c"]), "holds no numbers"),
    "objects": (np.array([1, None, 2]), "holds no numbers"),
    "dates": (np.array(["2020-01-01"] * 3, "M8[D]"), "holds no numbers"),
    "None": (None, "holds no numbers"),
    "a string": ("abc", "holds no numbers"),
    "a dict": ({}, "holds no numbers"),
    "records": (np.zeros(3, [("a", float)]), "holds no numbers"),
}


@pytest.mark.parametrize(("value", "match"), BAD.values(), ids=BAD.keys())
def test_what_holds_no_numbers_is_refused(value, match):
    t = needing()
    uses = [
        lambda: Tensor(value), lambda: tb.tensor(value), lambda: tb.asarray(value), lambda: t + value,
        lambda: t == value,
        lambda: tb.maximum(t, value), lambda: tb.where(t > 0, t, value),
        lambda: tb.concatenate([t, value]), lambda: t.detach().assign(value),
    ]  # fmt: skip
    for use in uses:
        with pytest.raises(DtypeError, match=match):
            use()
    with pytest.raises(TinygradBatchError):
        t @ value


def test_masked_arrays_are_refused_where_no_tensor_is_at_hand():
    masked = np.ma.masked_array([1.0, 2.0, 3.0], [0, 1, 0])
    for use in (
        tb.sum,
        tb.tanh,
        tb.softmax,
        lambda m: tb.add(m, 1.0),
        lambda m: tb.concatenate([m, m]),
        lambda m: m + needing(),
    ):
        with pytest.raises((DtypeError, GraphError)):
            use(masked)


def test_ragged_lists_are_refused():
    with pytest.raises(ShapeError, match="do not make an array"):
        Tensor([[1.0], [1.0, 2.0]])


def test_tensors_in_lists_make_no_object_arrays():
    t = Tensor([1.0, 2.0])
    assert np.asarray(np.stack([t, t])).dtype == np.float64
    assert tb.stack([t, t]).shape == (2, 2)


def test_scalars_convert():
    t = Tensor(2.5)
    assert float(t) == 2.5
    assert int(t) == 2
    assert f"{t:.1f}" == "2.5"
    assert bool(Tensor([1.0]))
    assert [10, 20, 30][Tensor(1)] == 20
    with pytest.raises(DtypeError):
        [1][Tensor(0.0)]
    with pytest.raises(ArgumentError, match="neither true nor false"):
        bool(Tensor([1.0, 2.0]))
    with pytest.raises(ShapeError):
        Tensor([1.0, 2.0]).item()


def test_logic_works_on_booleans_only():
    a, b = Tensor([True, True, False]), np.array([True, False, False])
    assert (a & b).tolist() == (b & a).tolist() == [True, False, False]
    assert (a | b).tolist() == (False | a).tolist() == [True, True, False]
    assert (~a).tolist() == [False, False, True]
    assert (True & a).tolist() == a.tolist()
    for use in (
        lambda: ~Tensor([1, 2]),
        lambda: Tensor([6]) & Tensor([3]),
        lambda: a | 1,
        lambda: ~Tensor(1.0),
        lambda: 3 & a,
    ):
        with pytest.raises(DtypeError, match="booleans"):
            use()


def test_dlpack_gives_the_numbers_away_only_without_a_gradient():
    t = Tensor([1.0, 2.0])
    np.testing.assert_array_equal(np.from_dlpack(t), [1.0, 2.0])
    with pytest.raises(GraphError):
        np.from_dlpack(needing())


def test_clip_takes_numbers_only():
    t = needing()
    for bound in (Tensor(0.5), np.array([0.5, 0.5, 0.5]), [0.5], "a"):
        with pytest.raises(ArgumentError, match="bounds of clip are numbers"):
            t.clip(bound)
        with pytest.raises(ArgumentError, match="bounds of clip are numbers"):
            np.clip(t, bound, None)
    assert np.clip(t, 0.0, 0.5).tolist() == [0.5] * 3
