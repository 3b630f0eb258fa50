"""Ties, kinks and the edges of domains: what PyTorch does, measured here, and where we differ on purpose."""

import math
import warnings
from pathlib import Path

import numpy as np
import pytest

import tinygrad_batch as tb
from tinygrad_batch import Tensor
from tinygrad_batch.op import TABLE

torch = pytest.importorskip("torch")
torch.set_num_threads(1)
NAN, INF = math.nan, math.inf


def ours(function, *arrays):
    tensors = [Tensor(np.array(a, float), requires_grad=True) for a in arrays]
    with warnings.catch_warnings():  # NumPy warns where PyTorch is silent
        warnings.simplefilter("ignore", RuntimeWarning)
        out = function(*tensors)
        out.sum().backward()
    return [np.asarray(out.detach()), *[t.grad.numpy() for t in tensors]]


def theirs(function, *arrays):
    tensors = [torch.tensor(a, dtype=torch.float64, requires_grad=True) for a in arrays]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        out = function(*tensors)
    out.sum().backward()
    return [out.detach().numpy(), *[t.grad.numpy() for t in tensors]]


SAME = {
    "abs at 0": (tb.abs, torch.abs, [0.0, -0.0, 1.0]),
    "relu at 0 and NaN": (tb.relu, torch.relu, [0.0, -0.0, NAN, -1.0, 2.0]),
    "maximum at ties and NaN": (tb.maximum, torch.maximum, [1.0, NAN, 1.0, 0.0, 2.0], [1.0, 1.0, NAN, 1.0, 1.0]),
    "minimum at ties and NaN": (tb.minimum, torch.minimum, [1.0, NAN, 1.0, 0.0, 2.0], [1.0, 1.0, NAN, 1.0, 1.0]),
    "clip on its bounds and NaN": (lambda x: x.clip(-1, 1), lambda x: x.clamp(-1, 1), [-1.0, 1.0, 2.0, -2.0, 0.0, NAN]),
    "clip with one bound": (lambda x: x.clip(low=0), lambda x: x.clamp(min=0), [0.0, -1.0, 1.0, NAN]),
    "clip with crossed bounds": (lambda x: x.clip(1, -1), lambda x: x.clamp(1, -1), [0.0, -2.0, 2.0]),
    "max over everything, ties": (lambda x: x.max(), lambda x: x.max(), [1.0, 1.0, 0.0]),
    "max over an axis, ties, as amax": (
        lambda x: x.max(axis=1),
        lambda x: x.amax(1),
        [[1.0, 1.0, 0.0], [2.0, 3.0, 3.0]],
    ),
    "min over an axis, ties, as amin": (lambda x: x.min(axis=0), lambda x: x.amin(0), [[1.0, 1.0], [1.0, 3.0]]),
    "max with NaN, as amax": (lambda x: x.max(), lambda x: x.amax(), [1.0, NAN]),
    "sqrt at 0 and below": (tb.sqrt, torch.sqrt, [0.0, -1.0, 4.0]),
    "log at 0 and below": (tb.log, torch.log, [0.0, -1.0, 1.0]),
    "log1p at its edge": (tb.log1p, torch.log1p, [-1.0, 0.0]),
    "reciprocal at 0": (tb.reciprocal, torch.reciprocal, [0.0, 2.0]),
    "division by 0": (tb.divide, torch.div, [0.0, 1.0, -1.0], [0.0, 0.0, 0.0]),
    "arcsin at its edges": (tb.arcsin, torch.asin, [1.0, -1.0, 0.0]),
    "arccos at its edges": (tb.arccos, torch.acos, [1.0, -1.0, 0.0]),
    "arccosh at its edge": (tb.arccosh, torch.acosh, [1.0, 2.0]),
    "arctanh at its edges": (tb.arctanh, torch.atanh, [1.0, -1.0, 0.0]),
    "arctan2 at the origin": (tb.arctan2, torch.atan2, [0.0, 0.0, 1.0], [0.0, 1.0, 0.0]),
    "x ** 0": (lambda x: x**0, lambda x: x**0, [0.0, INF, -1.0]),
    "x ** 1 and 2 at 0": (lambda x: x**1 + x**2, lambda x: x**1 + x**2, [0.0, -1.0]),
    "x ** -1 at 0": (lambda x: x**-1, lambda x: x**-1, [0.0, 2.0]),
    "x ** 0.5 at 0": (lambda x: x**0.5, lambda x: x**0.5, [0.0, 4.0]),
    "a ** b at 0 and below": (
        tb.power,
        torch.pow,
        [0.0, 0.0, 0.0, -2.0, 0.0, 0.0, 2.0],
        [0.0, 2.0, -1.0, 2.0, 0.5, 1.0, 0.0],
    ),
    "0 ** y": (lambda y: 0.0**y, lambda y: 0.0**y, [0.0, 1.0, 2.5]),
    "2 ** y": (lambda y: 2**y, lambda y: 2**y, [0.0, 1.0, -2.5]),
    "sign": (tb.sign, torch.sign, [0.0, 2.0, -3.0]),
    "rounding": (
        lambda x: tb.floor(x) + tb.ceil(x) + tb.rint(x) + tb.trunc(x),
        lambda x: torch.floor(x) + torch.ceil(x) + torch.round(x) + torch.trunc(x),
        [1.0, 0.5, 1.5, -0.5, -1.2],
    ),
    "remainder with signs and 0": (tb.remainder, torch.remainder, [1.0, -1.0, 2.0, 5.0], [1.0, 3.0, 0.0, -3.0]),
    "std of a constant": (lambda x: x.std(), lambda x: x.std(correction=0), [2.0, 2.0]),
    "std of one value, correction 1": (lambda x: x.std(correction=1), lambda x: x.std(), [2.0]),
    "var of one value, correction 1": (lambda x: x.var(correction=1), lambda x: x.var(), [2.0]),
    "prod with one zero": (lambda x: x.prod(), lambda x: x.prod(), [0.0, 2.0, 3.0]),
    "prod with two zeros": (lambda x: x.prod(), lambda x: x.prod(), [0.0, 0.0, 3.0]),
    "prod of nothing": (lambda x: x.prod(), lambda x: x.prod(), []),
    "sum of nothing": (lambda x: x.sum(), lambda x: x.sum(), []),
    "softmax with -inf": (
        lambda x: tb.softmax(x) * [1.0, 2.0],
        lambda x: x.softmax(0) * torch.tensor([1.0, 2.0]),
        [-INF, 0.0],
    ),
    "log_softmax with -inf": (
        lambda x: tb.log_softmax(x) * [1.0, 2.0],
        lambda x: x.log_softmax(0) * torch.tensor([1.0, 2.0]),
        [-INF, 0.0],
    ),
    "softmax of nothing but -inf": (tb.softmax, lambda x: x.softmax(0), [-INF, -INF]),
    "logsumexp with -inf": (tb.logsumexp, lambda x: x.logsumexp(0), [-INF, 0.0, 1.0]),
    "logsumexp with inf": (tb.logsumexp, lambda x: x.logsumexp(0), [INF, 1.0]),
    "sigmoid far out": (tb.sigmoid, torch.sigmoid, [1000.0, -1000.0]),
    "softplus far out": (tb.softplus, torch.nn.functional.softplus, [0.0, 1000.0, -1000.0]),
    "silu far out": (tb.silu, torch.nn.functional.silu, [-1000.0, 1000.0]),
    "gelu far out": (tb.gelu, torch.nn.functional.gelu, [-30.0, 0.0, 30.0]),
    "tanh far out": (tb.tanh, torch.tanh, [1000.0, -1000.0]),
    "where, NaN in the branch not taken": (
        lambda a, b: tb.where(a > 0, a, b),
        lambda a, b: torch.where(a > 0, a, b),
        [1.0, -1.0],
        [NAN, 2.0],
    ),
    "where, infinite slope in the branch not taken": (
        lambda x: tb.where(x > 0, tb.sqrt(x), x),
        lambda x: torch.where(x > 0, torch.sqrt(x), x),
        [0.0, 4.0],
    ),
    "an index twice": (lambda x: x[[0, 0, 1]], lambda x: x[[0, 0, 1]], [1.0, 2.0]),
}


@pytest.mark.parametrize(("mine", "other", "arrays"), [(m, t, a) for m, t, *a in SAME.values()], ids=SAME.keys())
def test_the_same_as_pytorch(mine, other, arrays):
    for found, expected in zip(ours(mine, *arrays), theirs(other, *arrays), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-300)


# What differs, each with its reason in docs/conventions.md: (ours, PyTorch's, arrays, our gradient, PyTorch's gradient)
DIFFERENT = {
    "abs of NaN": (tb.abs, torch.abs, [NAN], [NAN], [0.0]),
    "max over everything, with NaN": (lambda x: x.max(), lambda x: x.max(), [1.0, NAN], [NAN, NAN], [0.0, 1.0]),
    "max over an axis with its indices": (
        lambda x: x.max(axis=0),
        lambda x: x.max(0).values,
        [1.0, 1.0, 0.0],
        [0.5, 0.5, 0.0],
        [1.0, 0.0, 0.0],
    ),
    "max_pool2d at ties": (
        lambda x: tb.nn.functional.max_pool2d(x, 2),
        lambda x: torch.nn.functional.max_pool2d(x, 2),
        [[[[1.0, 1.0], [0.0, 0.0]]]],
        [[[[0.5, 0.5], [0.0, 0.0]]]],
        [[[[1.0, 0.0], [0.0, 0.0]]]],
    ),
    "logsumexp of nothing but -inf": (tb.logsumexp, lambda x: x.logsumexp(0), [-INF, -INF], [0.0, 0.0], [NAN, NAN]),
    "std with its default correction": (
        lambda x: x.std(),
        lambda x: x.std(),
        [1.0, 3.0],
        [-0.5, 0.5],
        [-(0.5**0.5), 0.5**0.5],
    ),
}


@pytest.mark.parametrize(("mine", "other", "array", "our", "their"), DIFFERENT.values(), ids=DIFFERENT.keys())
def test_different_from_pytorch_on_purpose(mine, other, array, our, their):
    np.testing.assert_allclose(ours(mine, array)[1], our, rtol=1e-12)
    np.testing.assert_allclose(theirs(other, array)[1], their, rtol=1e-12)


# --- the page about it ---------------------------------------------------------------------------------------
def written(values):
    """Return numbers as the page writes them."""
    flat = ", ".join(f"{v:.4g}".replace("-0", "0") if v == 0 else f"{v:.4g}" for v in np.ravel(values))
    return flat if np.size(values) == 1 else f"[{flat}]"


def rows_of_the_page():
    same = [
        f"| {name} | {'; '.join(map(written, arrays))} | {written(out)} | {'; '.join(map(written, grads))} |"
        for name, (mine, _, *arrays) in SAME.items()
        for out, *grads in [ours(mine, *arrays)]
    ]
    different = [
        f"| {name} | {written(array)} | {written(our)} | {written(their)} |"
        for name, (_, _, array, our, their) in DIFFERENT.items()
    ]
    return same, different


@pytest.mark.parametrize("which", [0, 1], ids=["the same", "different"])
def test_the_page_says_what_was_measured(which):
    page = (Path(__file__).parents[2] / "docs" / "conventions.md").read_text(encoding="utf-8")
    expected = rows_of_the_page()[which]
    missing = [row for row in expected if row not in page]
    assert missing == [], "rows of docs/conventions.md that are not what is measured"


def test_logaddexp_of_minus_infinities_is_minus_infinity():
    values = [ours(tb.logaddexp, [-INF], [-INF])[0], theirs(torch.logaddexp, [-INF], [-INF])[0]]
    assert values == [-INF, -INF]


# --- random agreement ----------------------------------------------------------------------------------------
TWINS = {
    "abs": torch.abs,
    "add": torch.add,
    "arccos": torch.acos,
    "arccosh": torch.acosh,
    "arcsin": torch.asin,
    "arcsinh": torch.asinh,
    "arctan": torch.atan,
    "arctan2": torch.atan2,
    "arctanh": torch.atanh,
    "ceil": torch.ceil,
    "cos": torch.cos,
    "cosh": torch.cosh,
    "divide": torch.div,
    "erf": torch.erf,
    "exp": torch.exp,
    "exp2": torch.exp2,
    "expm1": torch.expm1,
    "floor": torch.floor,
    "gelu": torch.nn.functional.gelu,
    "log": torch.log,
    "log10": torch.log10,
    "log1p": torch.log1p,
    "log2": torch.log2,
    "logaddexp": torch.logaddexp,
    "maximum": torch.maximum,
    "minimum": torch.minimum,
    "multiply": torch.mul,
    "negative": torch.neg,
    "positive": torch.positive,
    "power": torch.pow,
    "reciprocal": torch.reciprocal,
    "relu": torch.relu,
    "remainder": torch.remainder,
    "rint": torch.round,
    "sigmoid": torch.sigmoid,
    "sign": torch.sign,
    "silu": torch.nn.functional.silu,
    "sin": torch.sin,
    "sinh": torch.sinh,
    "softplus": torch.nn.functional.softplus,
    "sqrt": torch.sqrt,
    "square": torch.square,
    "subtract": torch.sub,
    "tan": torch.tan,
    "tanh": torch.tanh,
    "trunc": torch.trunc,
    "matmul": torch.matmul,
    "mean_square": torch.nn.functional.mse_loss,
    "affine": lambda x, w, b: torch.nn.functional.linear(x, w.T, b),
    "logsumexp": lambda x, axis=None, keepdims=False: torch.logsumexp(
        x, tuple(range(x.ndim)) if axis is None else axis, keepdims
    ),
    "softmax": lambda x, axis=-1: torch.softmax(x, axis),
    "log_softmax": lambda x, axis=-1: torch.log_softmax(x, axis),
    "sum": lambda x, axis=None, keepdims=False: torch.sum(x, axis, keepdims),
    "mean": lambda x, axis=None, keepdims=False: torch.mean(x, axis, keepdims),
    "var": lambda x, axis=None, keepdims=False, correction=0: torch.var(
        x, axis, correction=correction, keepdim=keepdims
    ),
    "std": lambda x, axis=None, keepdims=False, correction=0: torch.std(
        x, axis, correction=correction, keepdim=keepdims
    ),
}
CALLS = [pytest.param(name, case, id=f"{name}-{i}") for name in TWINS for i, case in enumerate(TABLE[name].cases)]


@pytest.mark.parametrize(("name", "case"), CALLS)
def test_value_gradient_and_second_gradient_agree_with_pytorch(name, case):
    arrays = case.inputs(np.random.default_rng(11))
    mine = [Tensor(a, requires_grad=True) for a in arrays]
    other = [torch.tensor(a, requires_grad=True) for a in arrays]
    out, expected = TABLE[name].call(*mine, **case.options), TWINS[name](*other, **case.options)
    np.testing.assert_allclose(np.asarray(out.detach()), expected.detach().numpy(), rtol=1e-11, atol=1e-13)
    weight = np.random.default_rng(12).uniform(-1, 1, out.shape)
    grads = tb.grad(out, mine, Tensor(weight), create_graph=True, allow_unused=True)
    wanted = torch.autograd.grad(expected, other, torch.tensor(weight), create_graph=True, allow_unused=True)
    total, expected_total = None, None
    for g, w, t in zip(grads, wanted, other, strict=True):
        np.testing.assert_allclose(np.asarray(g.detach()), w.detach().numpy(), rtol=1e-10, atol=1e-12)
        factor = np.random.default_rng(13).uniform(-1, 1, t.shape)
        if g.requires_grad:
            total = (g * factor).sum() if total is None else total + (g * factor).sum()
        if w.requires_grad:
            part = (w * torch.tensor(factor)).sum()
            expected_total = part if expected_total is None else expected_total + part
    if total is None or expected_total is None:
        return
    second = tb.grad(total, mine, allow_unused=True)
    wanted = torch.autograd.grad(expected_total, other, allow_unused=True)
    for g, w, t in zip(second, wanted, mine, strict=True):
        found = np.zeros(t.shape) if g is None else np.asarray(g)
        expected = np.zeros(t.shape) if w is None else w.numpy(force=True)
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-11)
