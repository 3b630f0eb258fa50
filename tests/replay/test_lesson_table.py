"""Every operation of the table can be printed, and what is printed computes the same."""

import numpy as np
import pytest
from lessons import load

from tinygrad_batch.errors import CompileError
from tinygrad_batch.op import TABLE, op
from tinygrad_batch.program import NUMBER, Builder
from tinygrad_batch.replay.lesson import to_numpy
from tinygrad_batch.trace import Trace

CASES = [
    pytest.param(name, case, dtype, id=f"{name}-{number}-{dtype}")
    for name, entry in TABLE.items()
    if entry.call.__module__.startswith("tinygrad_batch.")
    for number, case in enumerate(entry.cases)
    for dtype in ("float64", "float32")
]


def program_of(name, arrays, options):
    builder = Builder()
    inputs = [
        array if isinstance(array, float) else builder.variable(f"v{i}", array.shape, array.dtype, "input")
        for i, array in enumerate(arrays)
    ]
    out = builder.add(name, *inputs, name="out", **options)
    return builder.program([v for v in inputs if not isinstance(v, float)], [out]), out


@pytest.mark.parametrize(("name", "case", "dtype"), CASES)
def test_printed_operation_computes_the_same(name, case, dtype):
    entry = TABLE[name]
    arrays = case.inputs(np.random.default_rng(0), dtype)
    if name in ("pick", "place"):
        arrays[1] = arrays[1].astype(np.int64)
    program, out = program_of(name, arrays, case.options)
    step = load(to_numpy(Trace(program=program)))
    found = np.asarray(step(*arrays))
    expected = np.asarray(entry.run(*([arrays] if entry.variadic else arrays), **case.options))
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype) == (out.shape, np.dtype(out.dtype))
    np.testing.assert_allclose(found, expected, rtol=1e-13 if dtype == "float64" else 1e-6, atol=0)


@pytest.mark.parametrize("name", [n for n, entry in TABLE.items() if len(entry.inputs) == 2 and entry.elementwise])
@pytest.mark.parametrize("number", [2.0, -3.0])
def test_numbers_stand_beside_arrays(name, number):
    if not TABLE[name].call.__module__.startswith("tinygrad_batch.") or name in ("pick", "place"):
        return
    array = np.array([0.5, 1.5], np.float32)
    for arrays in ([array, number], [abs(number), array]):
        program, _ = program_of(name, arrays, {})
        found = load(to_numpy(Trace(program=program)))(array)
        expected = TABLE[name].run(*arrays)
        assert found.dtype == expected.dtype
        np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_parentheses_stand_where_python_needs_them():
    builder = Builder()
    a, b, c = (builder.variable(name, (2,), "float64", "input") for name in "abc")
    add = builder.add
    inner = add("subtract", b, add("subtract", a, c))
    out = add("power", add("negative", add("divide", a, add("multiply", inner, c))), 2.0)
    other = add("negative", add("power", add("add", a, -2.0), 3))
    power = add("power", -2.0, add("multiply", a, 2.0))
    text = to_numpy(Trace(program=builder.program([a, b, c], [out, other, power])))
    assert "(-(a / ((b - (a - c)) * c)))**2.0" in text.replace(" ** ", "**")
    values = np.array([2.0, 3.0]), np.array([5.0, 7.0]), np.array([0.25, 0.5])
    x, y, z = values
    found = load(text)(*values)
    np.testing.assert_allclose(found[0], (-(x / ((y - (x - z)) * z))) ** 2)
    np.testing.assert_allclose(found[1], -((x - 2) ** 3))
    np.testing.assert_allclose(found[2], (-2.0) ** (2 * x))


@pytest.mark.parametrize(
    "index",
    [
        (slice(None), 1), (..., None, 2), slice(0, 3, 2), np.array([0, 2, 2]), [1, 0], (np.arange(30) % 3, 1),
        np.array([True, False, True]), (slice(None, None, -1), np.array([0, 3])), np.arange(40) % 3,
    ],
    ids=range(9),
)  # fmt: skip
def test_an_index_is_printed_or_given(index):
    array = np.random.default_rng(0).normal(size=(3, 4))
    part = array[index]
    for name, given, options in (
        ("getitem", array, {"index": index}),
        ("scatter_add", part, {"index": index, "shape": (3, 4)}),
    ):
        program, _ = program_of(name, [given], options)
        text = to_numpy(Trace(program=program))
        large = [i for i in (index if isinstance(index, tuple) else (index,)) if np.size(i) > 20]
        assert ("constant of the captured batch" in text) == bool(large)
        np.testing.assert_allclose(load(text)(given, *large), TABLE[name].run(given, **options))


@pytest.fixture
def own_operation():
    made = []

    def make(name, compute, **more):
        made.append(name)
        return op(name, compute, doc="an operation of a user", **more)

    yield make
    for name in made:
        del TABLE[name]


FACTOR = 3.0


def _scaled(x, by=2.0):
    """Return x scaled."""
    # the factor first
    return _twice(by) * x * FACTOR


def _twice(value: float) -> float:
    # no more, no less
    return value * 2


def test_a_function_that_stands_on_its_own_is_printed(own_operation):
    own_operation("scaled", _scaled, shape=lambda x, by=2.0: x)
    own_operation("cube", lambda x: x**3)
    builder = Builder()
    x = builder.variable("x", (2,), "float64", "input")
    text = to_numpy(Trace(program=builder.program([x], [builder.add("cube", builder.add("scaled", x, by=5.0))])))
    assert "def cube(x):\n    return x ** 3\n" in text
    assert "def scaled(x, by=2.0):\n    # the factor first\n    return twice(by) * x * FACTOR\n" in text
    assert "def twice(value):\n    # no more, no less\n    return value * 2\n" in text
    assert "cube(scaled(x, by=5.0))" in text
    np.testing.assert_allclose(load(text)(np.array([1.0, 2.0])), np.array([30.0, 60.0]) ** 3)


def test_a_function_that_needs_more_than_numpy_is_refused(own_operation):
    outside = [1.0]
    own_operation("leaning", lambda x: x * outside[0])
    own_operation("paper", _leaning, code="np.tanh({x}) * {x}")
    own_operation("lost", eval("lambda x: x * 2"))
    own_operation("outer", _leaning)
    for name, why in {"leaning": "'outside', which is not NumPy", "outer": "'TABLE'", "lost": "the source"}.items():
        with pytest.raises(CompileError, match=f"{why}.*code="):
            to_numpy(Trace(program=program_of(name, [np.ones(2)], {})[0]))
    assert "return np.tanh(v0) * v0" in to_numpy(Trace(program=program_of("paper", [np.ones(2)], {})[0])).replace(
        "out = ", "return "
    )


def _leaning(x):
    return TABLE["tanh"].run(x) * x


def test_a_number_in_the_place_of_an_array():
    program, _ = program_of("concatenate", [np.ones(2), np.ones(2)], {})
    builder = Builder()
    x = builder.variable("x", (2,), "float64", "input")
    lr = builder.append("reshape", [2.0], {"shape": (1,)}, (1,), "float64")
    text = to_numpy(Trace(program=builder.program([x], [builder.add("multiply", x, lr)])))
    assert "np.asarray(2.0).reshape((1,))" in text
    assert load(text)(np.ones(2)).tolist() == [2.0, 2.0]
    assert "np.concatenate([v0, v1])" in to_numpy(Trace(program=program))


def test_an_option_that_cannot_be_printed_is_refused():
    builder = Builder()
    x = builder.variable("x", (2,), "float64", "input")
    made = builder.append("getitem", [x], {"index": object()}, (2,), "float64")
    with pytest.raises(CompileError, match="option of type object"):
        to_numpy(Trace(program=builder.program([x], [made])))


def test_a_number_of_a_program_is_a_number_of_python():
    builder = Builder()
    lr = builder.variable("lr", (), NUMBER, "number")
    x = builder.variable("x", (2,), "float32", "input")
    out = builder.add("multiply", x, builder.add("power", builder.add("subtract", 1, lr), 0.5))
    text = to_numpy(Trace(program=builder.program([x], [out])))
    assert "x * (1 - lr)**0.5" in text
    assert load(text)(np.ones(2, np.float32), 0.75).dtype == np.float32
