"""Every operation of the table, and random expressions: captured, written down, mirrored."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_batch as tb
from tinygrad_batch.op import TABLE, Case, Op, op
from tinygrad_batch.trace import Trace

CASES = [pytest.param(e, case, id=f"{name}-{i}") for name, e in TABLE.items() for i, case in enumerate(e.cases)]


def check(trace: Trace) -> None:
    """Hold a trace to everything that its readers rely on."""
    assert [v.id for v in trace.values] == list(range(len(trace.values)))
    assert [s.number for s in trace.steps] == list(range(1, len(trace.steps) + 1))
    names = [v.name for v in trace.values]
    assert all(names)
    assert len(set(names)) == len(names)
    known = {v.id for v in trace.values if v.role in ("data", "constant", "parameter")}
    made: set[int] = set()
    for step in trace.steps:
        assert step.flops >= 0
        seeds = {i for i in step.inputs if trace.values[i].role == "gradient"} if step.phase == "backward" else set()
        assert set(step.inputs) <= known | made | seeds
        if step.phase == "forward":
            (result,) = step.results
            assert result.value not in made
            assert trace.values[result.value].role == "activation"
            assert set(step.keeps) <= {*step.inputs, result.value}
            assert step.forward is None
        elif step.phase == "backward":
            assert step.keeps == ()
            assert step.forward is not None
            mirrored = trace.steps[step.forward - 1]
            assert mirrored.phase == "forward"
            assert (mirrored.op, mirrored.module) == (step.op, step.module)
            (incoming,) = step.inputs
            assert trace.values[incoming].gradient_of == mirrored.results[0].value
            assert {trace.values[r.value].gradient_of for r in step.results} <= set(mirrored.inputs)
            assert all(trace.values[r.value].role == "gradient" for r in step.results)
        for result in step.results:
            name = names[result.value]
            assert result.formula.startswith((f"{name} = ", f"{name} += ", f"{name} ← "))
            assert not result.formula.endswith(("= ", "None"))
            assert "<" not in result.formula.replace(" < ", "")
            assert "object at" not in result.formula
        made |= {r.value for r in step.results}
    for v in trace.values:
        if v.role == "gradient":
            assert v.gradient_of is not None
            of = trace.values[v.gradient_of]
            assert (v.shape, v.dtype) == (of.shape, of.dtype)
    assert Trace.from_dict(trace.to_dict()) == trace


def call(entry: Op, inputs: list[Any], options: dict[str, Any]) -> Any:
    return entry.call(inputs, **options) if entry.variadic else entry.call(*inputs, **options)


@pytest.mark.parametrize(("entry", "case"), CASES)
def test_every_operation_is_captured_and_written_down(entry: Op, case: Case) -> None:
    rng = np.random.default_rng(0)
    learned = range(len(case.shapes)) if entry.variadic else entry.differentiable
    arrays = case.inputs(rng)
    inputs = [tb.tensor(a, requires_grad=i in learned, name=f"in{i}") for i, a in enumerate(arrays)]
    plain = [tb.tensor(a, requires_grad=i in learned) for i, a in enumerate(arrays)]
    expected = call(entry, plain, case.options)
    if expected.requires_grad:
        expected.backward(np.ones(expected.shape))
    with tb.capture() as trace:
        out = call(entry, inputs, case.options)
        if out.requires_grad:
            out.backward(np.ones(out.shape))
    check(trace)
    np.testing.assert_allclose(out.data, expected.data, rtol=1e-12, atol=1e-14)
    forward = trace.phase("forward")
    expanded = entry.expand is not None
    assert expanded or [s.op for s in forward] == [entry.name]
    if not expanded and entry.formula is None:
        assert entry.name in forward[0].results[0].formula
    for i in learned:
        assert inputs[i].grad is not None
        np.testing.assert_allclose(inputs[i].grad.data, plain[i].grad.data, rtol=1e-10, atol=1e-12)
        assert any(r.formula.startswith(f"din{i} ") for s in trace.phase("backward") for r in s.results)
    for step in trace.phase("backward"):
        for result in step.results:  # a rule of the table can always write itself down
            assert "·" not in result.formula


def test_rules_written_in_numpy_compute_but_cannot_write_themselves_down() -> None:
    cube = op("cube_for_test", lambda x: x**3, doc="x cubed", dx=lambda g, x: np.multiply(3 * np.square(x), g))
    try:
        x = tb.tensor([2.0], requires_grad=True, name="x")
        with tb.capture() as trace:
            cube(x).sum().backward()
    finally:
        del TABLE["cube_for_test"]
    assert x.grad is not None
    assert x.grad.item() == 12
    assert trace.steps[-1].results[0].formula == "dx = du · ∂cube_for_test/∂x"


def test_a_formula_that_fails_does_not_stop_the_training() -> None:
    def broken(x: Any) -> Any:
        raise ZeroDivisionError

    odd = op("odd_for_test", np.positive, doc="x", formula=broken, dx=lambda g: g)
    try:
        x = tb.tensor([2.0], requires_grad=True, name="x")
        with tb.capture() as trace:
            odd(x).sum().backward()
    finally:
        del TABLE["odd_for_test"]
    assert trace.steps[0].results[0].formula == "u = odd_for_test(x)"


UNARY = ["tanh", "exp", "square", "relu", "negative", "sigmoid", "sin", "T", "sum", "mean0", "row", "reshape", "detach"]
BINARY = ["add", "subtract", "multiply", "matmul", "maximum", "where", "concatenate"]


@st.composite
def programs(draw: st.DrawFn) -> list[tuple[str, int, int]]:
    length = draw(st.integers(1, 12))
    index = st.integers(0, 1000)
    return [(draw(st.sampled_from(UNARY + BINARY)), draw(index), draw(index)) for _ in range(length)]


def build(program: list[tuple[str, int, int]], leaves: list[tb.Tensor]) -> list[tb.Tensor]:
    values = list(leaves)
    for name, i, j in program:
        a, b = values[i % len(values)], values[j % len(values)]
        a = a if a.ndim == 2 else a.reshape(1, -1)
        b = b if b.ndim == 2 else b.reshape(1, -1)
        if name in ("tanh", "exp", "square", "relu", "negative", "sigmoid", "sin"):
            out = getattr(tb, name)(tb.tanh(a) if name in ("exp", "square") else a)
        elif name == "T":
            out = a.T
        elif name == "sum":
            out = a.sum()
        elif name == "mean0":
            out = a.mean(axis=0)
        elif name == "row":
            out = a[0]
        elif name == "reshape":
            out = a.reshape(-1)
        elif name == "detach":
            out = a.detach()
        elif name == "matmul":
            out = a @ b if a.shape[1] == b.shape[0] else a @ a.T
        elif name == "concatenate":
            out = tb.concatenate([a, a, b] if a.shape[1] == b.shape[1] else [a, a])
        else:
            b = b if a.shape == b.shape else b.mean()
            out = tb.where(a.data > 0, a, b) if name == "where" else getattr(tb, name)(a, b)
        values.append(tb.tanh(out))
    return values


@settings(max_examples=150, deadline=None)
@given(programs(), st.integers(0, 3), st.booleans())
def test_random_expressions(program: list[tuple[str, int, int]], seed: int, named: bool) -> None:
    def leaves() -> list[tb.Tensor]:
        rng = np.random.default_rng(seed)
        shapes = [(3, 2), (2, 3), (3, 3), (2,)]
        return [
            tb.tensor(rng.normal(size=s), requires_grad=i != seed, name="t" if named else None)
            for i, s in enumerate(shapes)
        ]

    plain, recorded = leaves(), leaves()
    expected = build(program, plain)
    with tb.capture() as trace:
        values = build(program, recorded)
        if values[-1].requires_grad:
            values[-1].sum().backward()
    if expected[-1].requires_grad:
        expected[-1].sum().backward()
    check(trace)
    for p, q in zip(plain, recorded, strict=True):
        assert (p.grad is None) == (q.grad is None)
        if p.grad is not None and q.grad is not None:
            np.testing.assert_allclose(q.grad.data, p.grad.data, rtol=1e-9, atol=1e-12)
    means = {v.gradient_of: v for v in trace.values if v.role == "gradient"}
    parameters = [v for v in trace.values if v.role == "parameter" and v.id in means]
    with_grad = [t for t in recorded if t.grad is not None]
    assert len(parameters) == len(with_grad)
    forward = [s.number for s in trace.steps if s.phase == "forward"]
    mirrored = [s.forward for s in trace.steps if s.phase == "backward"]
    assert mirrored == sorted(mirrored, reverse=True)
    assert set(mirrored) <= set(forward)
    assert len(set(mirrored)) == len(mirrored)
