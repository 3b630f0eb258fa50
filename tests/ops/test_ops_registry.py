"""Every operation of the table, on every one of its cases."""

from itertools import pairwise

import numpy as np
import pytest

import tinygrad_batch as tb
from tinygrad_batch import Tensor
from tinygrad_batch.checks import case_inputs, check_op
from tinygrad_batch.errors import ArgumentError, DtypeError, ShapeError
from tinygrad_batch.formula import Name
from tinygrad_batch.op import TABLE, op

CALLS = [
    pytest.param(entry, case, id=f"{name}-{i}") for name, entry in TABLE.items() for i, case in enumerate(entry.cases)
]
RULED = [p for p in CALLS if p.values[0].differentiable]
ENTRIES = [pytest.param(entry, id=name) for name, entry in TABLE.items()]


def call(entry, operands, options):
    return entry.call(list(operands), **options) if entry.variadic else entry.call(*operands, **options)


def draw(entry, case, dtype=np.float64, seed=0):
    return case_inputs(entry, case, np.random.default_rng(seed), dtype)


def arrays_of(tensors):
    return [t.detach().numpy().copy() for t in tensors]


@pytest.mark.parametrize("entry", ENTRIES)
def test_first_and_second_derivatives_agree_with_finite_differences(entry):
    report = check_op(entry)
    assert report.ok, report.problem
    assert (report.first is not None) == bool(entry.differentiable)


@pytest.mark.parametrize("entry", ENTRIES)
def test_entry_can_be_read(entry):
    assert entry.doc
    assert entry.cases
    assert entry.label
    assert entry.call.__doc__.lower().startswith(entry.doc.lower())
    assert repr(entry) == f"<op {entry.name}>"
    assert entry.call.__name__ == entry.name


@pytest.mark.parametrize(("entry", "case"), CALLS)
def test_shape_rule_gives_the_real_shape(entry, case):
    tensors = draw(entry, case)
    out = call(entry, tensors, case.options)
    shapes = [t.shape for t in tensors]
    assert entry.shape(*([shapes] if entry.variadic else shapes), **case.options) == out.shape


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, np.int64, np.int32, np.bool_])
@pytest.mark.parametrize(("entry", "case"), CALLS)
def test_abstract_shape_and_dtype_are_the_real_ones(entry, case, dtype):
    if entry.name in ("unbroadcast", "sum_rows") and np.dtype(dtype).kind != "f":
        return  # the way back from a broadcast only ever meets gradients
    rng = np.random.default_rng(0)
    tensors = [Tensor(rng.uniform(1, 3, shape).astype(dtype)) for shape in case.shapes]
    try:
        with np.errstate(all="ignore"):
            out = call(entry, tensors, case.options)
    except (DtypeError, ShapeError):
        assert np.dtype(dtype).kind in "ib"  # such as the difference of booleans, which NumPy refuses
        return
    with tb.abstract():
        ghost = call(entry, tensors, case.options)
    assert (ghost.shape, ghost.dtype) == (out.shape, out.dtype)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(("entry", "case"), RULED)
def test_gradient_has_the_shape_and_dtype_of_its_input(entry, case, dtype):
    leaves = draw(entry, case, dtype)
    tensors = [leaf * 1 if leaf.requires_grad else leaf for leaf in leaves]
    for tensor in tensors:
        if tensor.requires_grad:
            tensor.retain_grad()
    out = call(entry, tensors, case.options)
    out.backward(np.ones(out.shape, out.dtype))
    for tensor in (*leaves, *tensors):
        if tensor.requires_grad:
            assert (tensor.grad.shape, tensor.grad.dtype) == (tensor.shape, tensor.dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize(("entry", "case"), CALLS)
def test_value_keeps_a_narrow_dtype(entry, case, dtype):
    if "dtype" in case.options:
        return  # the one operation that is asked to widen
    out = call(entry, draw(entry, case, dtype), case.options)
    assert out.dtype in (dtype, np.bool_)


@pytest.mark.parametrize(("entry", "case"), [p for p in RULED if len(p.values[1].shapes) > 1])
def test_mixed_dtypes_give_each_input_a_gradient_of_its_own(entry, case):
    wide = draw(entry, case)
    for narrow in range(len(wide)):
        tensors = [
            Tensor(t.detach().numpy().astype(np.float32), t.requires_grad) if i == narrow and t.requires_grad else t
            for i, t in enumerate(wide)
        ]
        for tensor in tensors:
            if tensor.requires_grad:
                tensor.grad = None
        out = call(entry, tensors, case.options)
        assert out.dtype == np.result_type(*[t.dtype for t in tensors if t.requires_grad])
        out.backward(np.ones(out.shape, out.dtype))
        for tensor in tensors:
            if tensor.requires_grad:
                assert (tensor.grad.shape, tensor.grad.dtype) == (tensor.shape, tensor.dtype)


@pytest.mark.parametrize(("entry", "case"), CALLS)
def test_raw_arrays_in_raw_arrays_out(entry, case):
    tensors = draw(entry, case)
    arrays = arrays_of(tensors)
    raw = call(entry, arrays, case.options)
    assert isinstance(raw, (np.ndarray, np.generic))
    np.testing.assert_array_equal(raw, call(entry, tensors, case.options).detach().numpy())


@pytest.mark.parametrize(("entry", "case"), CALLS)
def test_inputs_are_unchanged_by_forward_and_backward(entry, case):
    tensors = draw(entry, case)
    before = arrays_of(tensors)
    out = call(entry, tensors, case.options)
    value = out.detach().numpy().copy()
    if out.requires_grad:
        out.backward(np.ones(out.shape, out.dtype))
    for tensor, old in zip(tensors, before, strict=True):
        np.testing.assert_array_equal(tensor.detach().numpy(), old)
    np.testing.assert_array_equal(out.detach().numpy(), value)


@pytest.mark.parametrize(("entry", "case"), CALLS)
def test_run_into_out_equals_run(entry, case):
    arrays = arrays_of(draw(entry, case))
    given = [arrays] if entry.variadic else arrays
    plain = np.asarray(entry.run(*given, **case.options))
    out = np.empty(plain.shape, plain.dtype)
    assert entry.run(*given, out=out, **case.options) is out
    np.testing.assert_array_equal(out, plain)


@pytest.mark.parametrize(("entry", "case"), CALLS)
def test_a_wrong_out_is_refused(entry, case):
    arrays = arrays_of(draw(entry, case))
    given = [arrays] if entry.variadic else arrays
    plain = np.asarray(entry.run(*given, **case.options))
    with pytest.raises(ShapeError, match="out has shape"):
        entry.run(*given, out=np.empty((*plain.shape, 2), plain.dtype), **case.options)
    if plain.dtype.kind == "f" and plain.size:
        with pytest.raises(TypeError):
            entry.run(*given, out=np.empty(plain.shape, np.int64), **case.options)


@pytest.mark.parametrize(("entry", "case"), CALLS)
def test_names_give_a_formula_and_count_operations(entry, case):
    tally = [0]
    names = [Name(letter, shape, flops=tally) for letter, shape in zip("abcd", case.shapes, strict=False)]
    out = call(entry, names, case.options)
    assert isinstance(out, Name)
    assert out.text.strip()
    assert out.shape == call(entry, draw(entry, case), case.options).shape
    assert isinstance(tally[0], int)
    assert tally[0] >= 0
    shapes = [n.shape for n in names]
    flops = entry.flops(out.shape, *([shapes] if entry.variadic else shapes), **case.options)
    assert isinstance(flops, int)
    assert flops == tally[0]


@pytest.mark.parametrize(("entry", "case"), RULED)
def test_rules_write_their_own_formula(entry, case):
    tensors = draw(entry, case)
    out = call(entry, tensors, case.options)
    tally = [0]
    values = {
        n: Name(letter, t.shape, flops=tally) for n, letter, t in zip(entry.inputs, "abcd", tensors, strict=False)
    }
    values["y"] = Name("y", out.shape, flops=tally)
    values |= {**entry.defaults, **case.options, "i": 0, "shapes": case.shapes}
    for position in range(len(tensors)) if entry.variadic else entry.differentiable:
        need = entry.need(position)
        extra = {f"{need.input}_shape": tensors[position].shape, f"{need.input}_dtype": tensors[position].dtype}
        gradient = need.rule(Name("g", out.shape, flops=tally), *[{**values, **extra}[n] for n in need.names])
        assert isinstance(gradient, Name)
        assert gradient.text.strip()
    assert tally[0] >= 0


@pytest.mark.parametrize(("entry", "case"), RULED)
def test_gradients_under_create_graph_equal_the_plain_ones(entry, case):
    plain, graphed = draw(entry, case), draw(entry, case)
    seed = None
    for tensors, create in ((plain, False), (graphed, True)):
        out = call(entry, tensors, case.options)
        seed = np.random.default_rng(1).uniform(-1, 1, out.shape) if seed is None else seed
        out.backward(seed, create_graph=create)
    for a, b in zip(plain, graphed, strict=True):
        if a.requires_grad:
            np.testing.assert_allclose(a.grad.numpy(), b.grad.detach().numpy(), rtol=1e-12, atol=1e-14)
            b.grad = None


@pytest.mark.parametrize(("entry", "case"), RULED)
def test_large_gradients_computed_in_blocks_equal_small_ones(entry, case):
    if not entry.elementwise or len(entry.inputs) > 1:
        return
    array = np.random.default_rng(0).uniform(*case.domain, 40_000)
    whole, parts = Tensor(array, True), [Tensor(part, True) for part in np.split(array, 5)]
    entry.call(whole * 1.0).sum().backward()
    for part in parts:
        entry.call(part * 1.0).sum().backward()
    np.testing.assert_array_equal(whole.grad.numpy(), np.concatenate([part.grad.numpy() for part in parts]))


@pytest.mark.parametrize(("entry", "case"), CALLS)
def test_non_contiguous_inputs_give_the_same(entry, case):
    if entry.name == "scatter_add":
        return  # its index follows the layout of x; covered with indexing
    tensors = draw(entry, case)
    strided = [Tensor(t.detach().numpy(), t.requires_grad) for t in tensors]
    for t, s in zip(tensors, strided, strict=True):
        if t.ndim:
            s._data = np.repeat(t.detach().numpy(), 2, axis=-1)[..., ::2]
    a, b = call(entry, tensors, case.options), call(entry, strided, case.options)
    np.testing.assert_allclose(b.detach().numpy(), a.detach().numpy(), rtol=1e-14, atol=1e-15)
    if a.requires_grad:
        weight = np.random.default_rng(2).uniform(-1, 1, a.shape)
        a.backward(weight)
        b.backward(weight)
        for t, s in zip(tensors, strided, strict=True):
            if t.requires_grad:
                np.testing.assert_allclose(s.grad.numpy(), t.grad.numpy(), rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("entry", [p for p in ENTRIES if p.values[0].expand is not None])
def test_merged_operations_equal_their_definition(entry):
    for case in entry.cases:
        merged, plain = draw(entry, case), draw(entry, case)
        a, b = entry.call(*merged), entry.expand(*plain)
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-14)
        a.sum().backward()
        b.sum().backward()
        for x, y in zip(merged, plain, strict=True):
            np.testing.assert_allclose(x.grad.numpy(), y.grad.numpy(), rtol=1e-13, atol=1e-15)


# --- defining an operation ---------------------------------------------------------------------------
@pytest.fixture
def scratch():
    before = dict(TABLE)
    yield
    for name in set(TABLE) - set(before):
        del TABLE[name]


@pytest.mark.usefixtures("scratch")
@pytest.mark.parametrize(
    "rules",
    [
        {"dx": lambda g, z: g},
        {"dx": lambda g, x_shap: g},
        {"dx": lambda grad, x: g},  # noqa: F821
        {"dz": lambda g: g},
        {"x": lambda g: g},
    ],
    ids=["unknown input", "misspelt shape", "first is not g", "rule for no input", "no d"],
)
def test_a_misspelt_rule_fails_at_definition(rules):
    with pytest.raises(ArgumentError):
        op("misspelt", lambda x: x + 1, doc="x plus one", **rules)
    assert "misspelt" not in TABLE


@pytest.mark.usefixtures("scratch")
@pytest.mark.parametrize("compute", [lambda x, y: x + y, lambda g: g, lambda i: i, lambda x, shapes=(): x])
def test_an_input_that_rules_could_not_tell_from_something_else_is_refused(compute):
    with pytest.raises(ArgumentError, match="cannot be called"):
        op("ambiguous", compute, doc="of names")
    assert "ambiguous" not in TABLE


@pytest.mark.usefixtures("scratch")
def test_an_input_may_have_an_underscore():
    product = op("two_words", lambda x_1, b: x_1 * b, doc="x b", dx_1=lambda g, b: g * b, db=lambda g, x_1: g * x_1)
    tensors = [Tensor([1.0, 2.0], True), Tensor(np.array([3.0]), True)]
    assert tb.gradcheck(product, tensors).ok


def test_a_taken_name_is_refused():
    with pytest.raises(ArgumentError, match="already an operation called 'tanh'"):
        op("tanh", np.tanh, doc="again")


@pytest.mark.usefixtures("scratch")
def test_a_wrong_rule_is_found_by_the_check():
    wrong = op(
        "wrong_cube",
        lambda x: x**3,
        shape=lambda x: x,
        doc="x cubed, badly",
        cases=TABLE["tanh"].cases,
        dx=lambda g, x: 2 * x**2 * g,
    )
    report = check_op(wrong)
    assert not report.ok
    assert "finite differences" in report.problem


@pytest.mark.usefixtures("scratch")
def test_a_rule_of_the_wrong_shape_fails():
    bad = op("wrong_shape", lambda x: x.sum(), shape=lambda x: (), doc="a sum", dx=lambda g: g)
    with pytest.raises(ShapeError, match="exact shape"):
        bad(tb.ones(3).requires_grad_()).backward()


@pytest.mark.usefixtures("scratch")
def test_what_no_rule_asks_for_is_not_kept():
    for name, kept in {
        "add": [()],
        "tanh": [("y",)],
        "multiply": [("b",), ("a",)],
        "matmul": [("b",), ("a",)],
        "sum": [("x_shape", "axis")],
    }.items():
        entry = TABLE[name]
        assert [entry.need(i).names for i in entry.differentiable][: len(kept)] == kept
    assert all(a is not b for a, b in pairwise(TABLE.values()))


def test_an_unknown_option_and_too_many_arguments_are_refused():
    x = tb.ones((2, 3))
    with pytest.raises(ArgumentError, match="no option 'axes'"):
        tb.sum(x, axes=0)
    with pytest.raises(ArgumentError, match="arguments at most"):
        tb.sum(x, 0, False, 1)
    with pytest.raises(ArgumentError, match="inputs"):
        tb.where(x)


def test_the_torch_names_of_options_are_understood():
    x = tb.ones((2, 3))
    assert tb.sum(x, dim=0, keepdim=True).shape == (1, 3)
    assert x.sum(axis=1).shape == (2,)
