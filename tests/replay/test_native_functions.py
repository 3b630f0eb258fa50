"""Elementary functions in machine code: within 4 units in the last place of NumPy, over all exponents."""

import numpy as np
import pytest

from tinygrad_batch.op import TABLE
from tinygrad_batch.program import Builder

pytest.importorskip("llvmlite")

from tinygrad_batch.replay.native import build

BITS = {"float32": (np.uint32, np.int32, 32), "float64": (np.uint64, np.int64, 64)}
WITHIN_FOUR = ["exp", "expm1", "log", "log1p", "tanh", "sigmoid", "softplus"]
EXACT = ["sqrt", "floor", "ceil", "trunc", "rint", "abs", "sign", "negative", "square", "reciprocal"]


@pytest.fixture(autouse=True)
def _no_cache(monkeypatch):
    monkeypatch.setenv("TINYGRAD_BATCH_CACHE", "off")


def numbers(dtype, count=60_000):
    """Return numbers of all exponents, dense ones where things happen, and the special ones."""
    rng = np.random.default_rng(4)
    unsigned, _, bits = BITS[dtype]
    limits = np.finfo(dtype)
    edges = [0.0, np.inf, np.nan, 1.0, limits.tiny, limits.smallest_subnormal, limits.max, limits.eps, 0.5, 2.0**0.5]
    overflow = [np.log(float(limits.max)), -np.log(float(limits.tiny)), -np.log(float(limits.smallest_subnormal))]
    near = [np.nextafter(np.array(v, dtype), side) for v in (*overflow, 1.0, 0.5) for side in (-np.inf, np.inf)]
    special = np.array([*edges, *overflow, *near], dtype)
    spans = [(-1.5, 1.5), (-110, 110), (-760, 760), (0.5, 2.5), (-10, 10), (-1e-3, 1e-3), (-1, -0.99)]
    parts = [np.linspace(low, high, count).astype(dtype) for low, high in spans]
    steps = np.arange(0, 2**bits, 2**bits // count, dtype=object).astype(unsigned).view(dtype)
    drawn = rng.integers(0, 2**bits, count, dtype=unsigned).view(dtype)
    return np.concatenate([special, -special, *parts, steps, drawn])


def apart(a, b, dtype):
    """Return how many floating numbers lie between the elements; NaN is only equal to NaN."""
    signed = BITS[dtype][1]
    order = [np.where(v.view(signed) < 0, np.iinfo(signed).min - v.view(signed), v.view(signed)) for v in (a, b)]
    distance = np.abs(order[0].astype(np.float64) - order[1].astype(np.float64))
    if dtype == "float64":
        distance = np.abs((order[0] - order[1]).astype(np.float64))
    distance = np.where(np.isnan(a) != np.isnan(b), np.inf, distance)
    return np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0, distance)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_functions(dtype):
    x = numbers(dtype)
    builder = Builder()
    variable = builder.variable("x", x.shape, dtype, "input")
    names = WITHIN_FOUR + EXACT
    program = builder.program([variable], [builder.add(name, variable) for name in names])
    for name, given in zip(names, build(program, {})(x), strict=True):
        with np.errstate(all="ignore"):
            want = np.asarray(TABLE[name].compute(x))
        distance = apart(given, want, dtype)
        worst = distance.argmax()
        limit = 4 if name in WITHIN_FOUR else 0
        assert distance[worst] <= limit, f"{name}({x[worst]!r}) is {given[worst]!r}, NumPy says {want[worst]!r}"
        zero = (given == 0) & (want == 0)
        assert (np.signbit(given) == np.signbit(want))[zero].all(), f"{name}: the sign of a zero"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["maximum", "minimum", "logaddexp", "less", "equal", "not_equal", "power"])
def test_functions_of_two(name, dtype):
    rng = np.random.default_rng(0)
    special = np.array([0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 2.0, -3.0, 0.5], dtype)
    a = np.concatenate([np.repeat(special, len(special)), rng.normal(size=500).astype(dtype)])
    b = np.concatenate([np.tile(special, len(special)), rng.normal(size=500).astype(dtype)])
    builder = Builder()
    x, y = (builder.variable(n, a.shape, dtype, "input") for n in "ab")
    outputs = [builder.add(name, x, y), builder.add(name, x, 0.5), builder.add(name, x, 2.0), builder.add(name, 0.5, y)]
    given = build(builder.program([x, y], outputs), {})(a, b)
    with np.errstate(all="ignore"):
        compute = TABLE[name].compute
        wanted = [compute(a, b), compute(a, 0.5), compute(a, 2.0), compute(0.5, b)]
    for got, want in zip(given, wanted, strict=True):
        np.testing.assert_allclose(got, want, rtol=4 * np.finfo(dtype).eps, atol=np.finfo(dtype).eps)
