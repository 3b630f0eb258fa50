"""Values against other implementations: NumPy, SciPy, and formulas in plain Python."""

import math

import numpy as np
import pytest
import scipy.special as special

import tinygrad_batch as tb
from tinygrad_batch import Tensor, ops
from tinygrad_batch.checks import case_inputs
from tinygrad_batch.op import TABLE


def each(function):
    """Return a Python function of numbers as a function of arrays."""
    return lambda *arrays: np.vectorize(function, otypes=[float])(*arrays)


def scattered(x, shape=(), index=()):
    out = np.zeros(shape)
    np.add.at(out, index, x)
    return out


def unstretched(x, shape):
    out = np.zeros(shape)
    for index in np.ndindex(x.shape):
        own = index[len(index) - len(shape) :]
        out[tuple(0 if n == 1 else i for i, n in zip(own, shape, strict=True))] += x[index]
    return out


def others(x):
    out = np.ones(x.shape)
    for i in np.ndindex(x.shape):
        out[i] = np.prod([x[*i[:-1], k] for k in range(x.shape[-1]) if k != i[-1]])
    return out


def windows(x, size, stride=()):
    stride = stride or (1,) * len(size)
    front = x.ndim - len(size)
    places = [(n - k) // s + 1 for n, k, s in zip(x.shape[front:], size, stride, strict=True)]
    out = np.empty((*x.shape[:front], *places, *size))
    for place in np.ndindex(*places):
        corner = [p * s for p, s in zip(place, stride, strict=True)]
        box = tuple(slice(c, c + k) for c, k in zip(corner, size, strict=True))
        out[(slice(None),) * front + place] = x[(slice(None),) * front + box]
    return out


def windows_added(x, shape, stride):
    # a matrix: how much of each element of the array each element of the windows is
    size = x.shape[len(shape) :]
    each = np.eye(math.prod(shape)).reshape(-1, *shape)
    return np.array([np.sum(windows(one, size, stride) * x) for one in each]).reshape(shape)


def correlated(x, w, stride=(1, 1)):
    return np.einsum("ncabij,ocij->noab", windows(x, w.shape[2:], stride), w)


def correlated_back(z, w, shape, stride=(1, 1)):
    return windows_added(np.einsum("noab,ocij->ncabij", z, w), shape, stride)


def kernels(x, z, size, stride=(1, 1)):
    return np.einsum("ncabij,noab->ocij", windows(x, size, stride), z)


def columns(x, size, stride=(1, 1)):
    found = np.einsum("ncabij->cijabn", windows(x.transpose(3, 0, 1, 2), size, stride))
    return found.reshape(x.shape[0] * math.prod(size), -1)


def columns_added(x, shape, size, stride=(1, 1)):
    places = [(n - k) // s + 1 for n, k, s in zip(shape[1:3], size, stride, strict=True)]
    found = np.einsum("cijabn->ncabij", x.reshape(shape[0], *size, *places, shape[3]))
    return np.einsum("ncab->cabn", windows_added(found, (shape[3], *shape[:3]), stride))


# For each operation a second opinion, computed another way than the table does. A ufunc is NumPy itself,
# so its opinion is the standard library's wherever there is one.
OPINIONS = {
    "where": lambda c, a, b: np.choose(c > 0.5, np.broadcast_arrays(c, b, a)[1:]),
    "maximum": each(max),
    "minimum": each(min),
    "negative": each(lambda x: 0 - x),
    "positive": each(float),
    "sign": each(lambda x: math.copysign(1, x) if x else 0),
    "abs": each(math.fabs),
    "square": each(lambda x: x * x),
    "sqrt": each(math.sqrt),
    "reciprocal": each(lambda x: 1 / x),
    "exp": each(math.exp),
    "exp2": each(lambda x: 2**x),
    "expm1": each(math.expm1),
    "log": each(math.log),
    "log2": each(math.log2),
    "log10": each(math.log10),
    "log1p": each(math.log1p),
    "logaddexp": each(lambda a, b: math.log(math.exp(a) + math.exp(b))),
    "sin": each(math.sin),
    "cos": each(math.cos),
    "tan": each(math.tan),
    "arcsin": each(math.asin),
    "arccos": each(math.acos),
    "arctan": each(math.atan),
    "arctan2": each(math.atan2),
    "sinh": each(math.sinh),
    "cosh": each(math.cosh),
    "tanh": each(math.tanh),
    "arcsinh": each(math.asinh),
    "arccosh": each(math.acosh),
    "arctanh": each(math.atanh),
    "floor": each(math.floor),
    "ceil": each(math.ceil),
    "trunc": each(math.trunc),
    "rint": each(round),
    "relu": each(lambda x: max(x, 0.0)),
    "sigmoid": special.expit,
    "softplus": lambda x: -special.log_expit(-x),
    "silu": lambda x: x * special.expit(x),
    "erf": each(math.erf),
    "gelu": lambda x: x * special.ndtr(x),
    "isnan": each(math.isnan),
    "isinf": each(math.isinf),
    "isfinite": each(math.isfinite),
    "greater": each(lambda a, b: a > b),
    "greater_equal": each(lambda a, b: a >= b),
    "less": each(lambda a, b: a < b),
    "less_equal": each(lambda a, b: a <= b),
    "equal": each(lambda a, b: a == b),
    "not_equal": each(lambda a, b: a != b),
    "logical_and": each(lambda a, b: bool(a and b)),
    "logical_or": each(lambda a, b: bool(a or b)),
    "logical_not": each(lambda a: not a),
    "add": each(lambda a, b: a + b),
    "subtract": each(lambda a, b: a - b),
    "multiply": each(lambda a, b: a * b),
    "divide": each(lambda a, b: a / b),
    "power": each(math.pow),
    "remainder": each(lambda a, b: a % b),
    "floor_divide": each(lambda a, b: a // b),
    "power_of": lambda x, exponent=2: each(lambda v: math.pow(v, exponent))(x),
    "clip": lambda x, low=None, high=None: each(
        lambda v: max(v if high is None else min(v, high), -math.inf if low is None else low)
    )(x),
    "getitem": lambda x, index=(): np.array(x)[index],
    "scatter_add": scattered,
    "pick": lambda x, labels: np.array([row[int(k)] for row, k in zip(x, labels, strict=True)]),
    "place": lambda x, labels, shape=(): scattered(x, shape, (np.arange(len(x)), labels.astype(int))),
    "concatenate": lambda arrays, axis=0: np.concatenate(arrays, axis),
    "sum_rows": lambda x: np.einsum("i...->...", x),
    "unbroadcast": lambda x, shape=(), dtype=None: unstretched(x, shape),
    "broadcast_to": lambda x, shape=(): x + np.zeros(shape),
    "astype": lambda x, dtype=float: np.array(x, dtype),
    "reshape": lambda x, shape=(-1,): np.array(x.ravel()).reshape(shape),
    "transpose": lambda x, axes=None: np.array(x).transpose(axes),
    "matrix_transpose": lambda x: np.einsum("...ij->...ji", x),
    "matmul": lambda a, b: np.einsum("...ik,...kj->...ij", a, b),
    "sum": lambda x, **o: np.sum(x, **o),
    "spread": lambda x, shape=(), axis=None: np.broadcast_to(
        np.array(x) if axis is None else np.expand_dims(x, axis) if np.ndim(x) < len(shape) else x, shape
    ),
    "mean": lambda x, **o: np.mean(x, **o),
    "prod_others": others,
    "prod": lambda x, **o: np.prod(x, **o),
    "max": lambda x, **o: np.max(x, **o),
    "min": lambda x, **o: np.min(x, **o),
    "var": lambda x, correction=0, **o: np.var(x, ddof=correction, **o),
    "std": lambda x, correction=0, **o: np.std(x, ddof=correction, **o),
    "logsumexp": lambda x, **o: np.log(np.sum(np.exp(x), **o)),
    "softmax": lambda x, axis=-1: special.softmax(x, axis=axis),
    "log_softmax": lambda x, axis=-1: special.log_softmax(x, axis=axis),
    "random_uniform": lambda x, rng: np.random.default_rng(rng).uniform(size=x.shape),
    "random_normal": lambda x, rng: np.random.default_rng(rng).normal(size=x.shape),
    "random_mask": lambda x, keep, rng: np.where(
        np.random.Generator(np.random.PCG64(rng)).uniform(size=x.shape) < keep, 1 / (keep or 1), 0
    ),
    "pad": lambda x, widths: np.pad(x, widths) if x.ndim else x,
    "sliding_windows": windows,
    "add_windows": windows_added,
    "correlate": correlated,
    "correlate_back": correlated_back,
    "correlate_kernels": kernels,
    "columns": columns,
    "add_columns": columns_added,
    "affine": lambda x, w, b: np.einsum("ik,kj->ij", x, w) + b,
    "mean_square": lambda a, b: np.mean((a - b) ** 2),
}
CALLS = [pytest.param(e, c, id=f"{n}-{i}") for n, e in TABLE.items() for i, c in enumerate(e.cases)]


def test_every_operation_has_a_second_opinion():
    assert set(TABLE) - set(OPINIONS) == set(), "add a second opinion on the value of a new operation"


@pytest.mark.parametrize(("entry", "case"), CALLS)
def test_value(entry, case):
    tensors = case_inputs(entry, case, np.random.default_rng(7))
    arrays = [t.detach().numpy() for t in tensors]
    given = [arrays] if entry.variadic else arrays
    out = entry.call(
        list(tensors) if entry.variadic else tensors[0], *tensors[1:] * (not entry.variadic), **case.options
    )
    if out.size == 0 and entry.name in OPINIONS:
        return  # there is no value; its shape is tested with the registry
    expected = np.asarray(OPINIONS[entry.name](*given, **case.options))
    np.testing.assert_allclose(np.asarray(out.detach()), expected, rtol=2e-13, atol=1e-14)


# --- the ends of the number line -----------------------------------------------------------------------------
INF = math.inf


@pytest.mark.parametrize(
    ("function", "at", "value"),
    [
        (tb.sigmoid, [-INF, -1000.0, -40.0, 1000.0, INF], [0.0, 0.0, math.exp(-40), 1.0, 1.0]),
        (tb.softplus, [-INF, -1000.0, 1000.0, INF], [0.0, 0.0, 1000.0, INF]),
        (tb.tanh, [-INF, INF], [-1.0, 1.0]),
        (tb.relu, [-INF, INF, -0.0], [0.0, INF, 0.0]),
        (tb.silu, [-1000.0, 1000.0], [0.0, 1000.0]),
        (tb.gelu, [-1000.0, 1000.0], [0.0, 1000.0]),
        (tb.logaddexp, ([1000.0, -1000.0], [1000.0, -1000.0]), [1000.0 + math.log(2), -1000.0 + math.log(2)]),
        (tb.log1p, [1e-20], [1e-20]),
        (tb.expm1, [1e-20], [1e-20]),
        (tb.erf, [-INF, 0.0, INF], [-1.0, 0.0, 1.0]),
    ],
)
def test_far_out_values_and_gradients_are_finite_or_right(function, at, value):
    inputs = [Tensor(a, requires_grad=True) for a in (at if isinstance(at, tuple) else (at,))]
    out = function(*inputs)
    np.testing.assert_allclose(out.detach().data, value, rtol=1e-14)
    if all(np.isfinite(t.data).all() for t in inputs):
        out.sum().backward()
        assert all(np.isfinite(t.grad.data).all() for t in inputs)


@pytest.mark.parametrize("name", ["relu", "maximum", "minimum", "clip", "max", "min", "softmax", "sigmoid", "gelu"])
def test_nan_is_never_hidden(name):
    x = Tensor([np.nan, 1.0])
    out = getattr(ops, name)(x, 0.0) if name in ("maximum", "minimum", "clip") else getattr(ops, name)(x)
    assert np.isnan(np.asarray(out)).any()


def test_erf_without_scipy(monkeypatch):
    import sys

    arrays = [
        np.linspace(-3, 3, 7),
        np.linspace(-3, 3, 6, dtype=np.float32).reshape(2, 3),
        np.array(0.5),
        np.zeros(0),
        np.arange(3),
    ]
    known = [ops.erf(a) for a in arrays]
    monkeypatch.setitem(sys.modules, "scipy.special", None)
    for array, value in zip(arrays, known, strict=True):
        found = ops.erf(array)
        assert np.asarray(found).dtype == np.asarray(value).dtype
        np.testing.assert_allclose(found, value, rtol=1e-6 if array.dtype == np.float32 else 1e-13)


def test_gelu_tanh_is_close_to_gelu():
    x = Tensor(np.linspace(-4, 4, 50), requires_grad=True)
    np.testing.assert_allclose(tb.gelu_tanh(x).detach().data, tb.gelu(x).detach().data, atol=1e-3)
    assert tb.gradcheck(tb.gelu_tanh, x).ok
    assert tb.gradgradcheck(tb.gelu_tanh, Tensor([0.3, -1.0], requires_grad=True)).ok


@pytest.mark.parametrize("exponent", [0, 1, 2, 3, -1, -2, 0.5, 2.5, True])
def test_powers_by_a_number(exponent):
    x = Tensor([0.5, 1.5, 2.0], requires_grad=True)
    for out in (x**exponent, tb.power(x, exponent), np.power(x, exponent), x.pow(exponent)):
        np.testing.assert_allclose(out.detach().data, x.data**exponent)
    assert tb.gradcheck(lambda x: x**exponent, x).ok
    assert tb.gradgradcheck(lambda x: x**exponent, x).ok


def test_a_number_to_the_power_of_a_tensor():
    x = Tensor([0.5, 1.5, -2.0], requires_grad=True)
    np.testing.assert_allclose((3.0**x).detach().data, 3.0**x.data)
    assert tb.gradcheck(lambda x: 3.0**x, x).ok
    assert tb.gradgradcheck(lambda x: 2**x, x).ok


# --- many elements at once ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("other", [0.0, 0, -0.0, 1.0, np.zeros((), np.float64), 0j])
def test_where_keeps_the_bits_of_many_elements(dtype, other):
    rng = np.random.default_rng(0)
    x = rng.choice([-1.5, -0.0, 0.0, 1e-310, 2.0, INF, -INF, math.nan], (30, 20, 7)).astype(dtype)
    c = rng.uniform(size=x.shape) < 0.5
    weak = np.asarray(other, dtype) if type(other) in (int, float) else other
    for order in (slice(None), (slice(None, None, -1), slice(None, None, 2))):
        kept, mask = x[order].transpose(1, 2, 0), c[order].transpose(1, 2, 0)
        for found, expected in (
            (ops.where(mask, kept, other), np.where(mask, kept, weak)),
            (ops.where(mask, other, kept), np.where(mask, weak, kept)),
        ):
            assert found.dtype == expected.dtype
            np.testing.assert_array_equal(found, expected)
            np.testing.assert_array_equal(np.signbit(found.real), np.signbit(expected.real))
