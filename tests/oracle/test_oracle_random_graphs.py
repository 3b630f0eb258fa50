"""Random graphs with shared parts, views, broadcasts and reductions: the same gradients as PyTorch's."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_batch as tb
from tinygrad_batch import Tensor

torch = pytest.importorskip("torch")
torch.set_num_threads(1)

# Each step picks one of these and the values it works on; all are smooth and keep numbers small. `n` is a length.
STEPS = [
    (1, lambda a: a.tanh(), lambda a: a.tanh()),
    (1, lambda a: tb.sin(a), torch.sin),
    (1, lambda a: tb.exp(-(a * a)), lambda a: torch.exp(-(a * a))),
    (1, lambda a: tb.sigmoid(a), torch.sigmoid),
    (1, lambda a: +a, lambda a: +a),
    (1, lambda a: -a, lambda a: -a),
    (1, lambda a: a * 0.5 + 0.1, lambda a: a * 0.5 + 0.1),
    (1, lambda a: a - a.mean(axis=0), lambda a: a - a.mean(0)),
    (1, lambda a: a.sum(axis=-1, keepdims=True) * 0.1 + a, lambda a: a.sum(-1, keepdim=True) * 0.1 + a),
    (1, lambda a: a[::-1], lambda a: a.flip(0)),
    (1, lambda a: tb.softmax(a, axis=-1), lambda a: torch.softmax(a, -1)),
    (1, lambda a: a.reshape(-1).reshape(a.shape), lambda a: a.reshape(-1).reshape(a.shape)),
    (1, lambda a: a.T.T, lambda a: a.mT.mT),
    (1, lambda a: a[[0, 0, 1, -1][: a.shape[0]]] if a.shape[0] <= 4 else a[1:] - a[:-1],
        lambda a: a[[0, 0, 1, -1][: a.shape[0]]] if a.shape[0] <= 4 else a[1:] - a[:-1]),
    (1, lambda a: a.relu(), torch.relu),
    (2, lambda a, b: a + b[: a.shape[0]] if b.shape[0] >= a.shape[0] else a + b[:1],
        lambda a, b: a + b[: a.shape[0]] if b.shape[0] >= a.shape[0] else a + b[:1]),
    (2, lambda a, b: a * b[:1], lambda a, b: a * b[:1]),
    (2, lambda a, b: a - b.mean(axis=0), lambda a, b: a - b.mean(0)),
    (2, lambda a, b: a / (b[-1] * b[-1] + 1.0), lambda a, b: a / (b[-1] * b[-1] + 1.0)),
    (2, lambda a, b: tb.concatenate([a, b])[: a.shape[0]], lambda a, b: torch.cat([a, b])[: a.shape[0]]),
    (2, lambda a, b: tb.where(a > 0, a, 0.5 * a) + b.sum() * 0.01,
        lambda a, b: torch.where(a > 0, a, 0.5 * a) + b.sum() * 0.01),
]  # fmt: skip
PLANS = st.lists(
    st.tuples(st.integers(0, len(STEPS) - 1), st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=14
)


def build(plan, values, which):
    """Run the plan; each step may take any value made before, so that parts are shared and branches join."""
    values = list(values)
    for step, first, second in plan:
        arity, *functions = STEPS[step]
        # mostly the newest values, so that graphs are deep as well as wide
        taken = [values[-1 - first % min(3, len(values))], values[second % len(values)]][:arity]
        values.append(functions[which](*taken))
    total = None
    for value in values[-3:]:
        total = value.mean() if total is None else total + value.mean()
    return total


def pair(shape, seed):
    arrays = [np.random.default_rng(seed + i).normal(size=shape) for i in range(2)]
    return [Tensor(a, requires_grad=True) for a in arrays], [torch.tensor(a, requires_grad=True) for a in arrays]


def compare(found, expected, **tolerance):
    for g, w in zip(found, expected, strict=True):
        ours = None if g is None else np.asarray(g.detach())
        theirs = None if w is None else w.detach().numpy(force=True)
        if ours is None or theirs is None:
            assert not np.any(0.0 if ours is None else ours)
            assert not np.any(0.0 if theirs is None else theirs)
        else:
            np.testing.assert_allclose(ours, theirs, **tolerance)


@settings(max_examples=150, deadline=None)
@given(PLANS, st.sampled_from([(3, 4), (1, 2), (5, 1), (2, 3)]), st.integers(0, 1000))
def test_gradients_and_second_gradients(plan, shape, seed):
    mine, other = pair(shape, seed)
    a, b = build(plan, mine, 0), build(plan, other, 1)
    assert a.item() == pytest.approx(b.item(), rel=1e-10, abs=1e-12)
    a.backward(retain_graph=True)
    b.backward(retain_graph=True)
    compare([t.grad for t in mine], [t.grad for t in other], rtol=1e-9, atol=1e-11)
    mine_grads = tb.grad(a, mine, create_graph=True, allow_unused=True)
    other_grads = torch.autograd.grad(b, other, create_graph=True, allow_unused=True)
    compare(mine_grads, other_grads, rtol=1e-9, atol=1e-11)
    mine_squares = [(g * g).sum() for g in mine_grads if g is not None and g.requires_grad]
    other_squares = [(g * g).sum() for g in other_grads if g is not None and g.requires_grad]
    if mine_squares and other_squares:
        compare(
            tb.grad(mine_squares, mine, allow_unused=True),
            torch.autograd.grad(other_squares, other, allow_unused=True),
            rtol=1e-7,
            atol=1e-9,
        )


@settings(max_examples=40, deadline=None)
@given(PLANS, st.integers(0, 1000))
def test_large_arrays_whose_gradients_are_computed_in_blocks(plan, seed):
    mine, other = pair((41, 1000), seed)
    build(plan, mine, 0).backward()
    build(plan, other, 1).backward()
    for t, o in zip(mine, other, strict=True):
        compare([t.grad], [o.grad], rtol=1e-7, atol=1e-11)


@settings(max_examples=60, deadline=None)
@given(PLANS, st.integers(0, 1000))
def test_hooks_and_retained_gradients_see_complete_gradients(plan, seed):
    mine, other = pair((3, 4), seed)
    seen, theirs = [], []
    starts = [t * 1.0 for t in mine], [t * 1.0 for t in other]
    for ours, their in zip(*starts, strict=True):
        ours.register_hook(lambda g, s=seen: s.append(g))
        ours.retain_grad()
        their.register_hook(lambda g, s=theirs: s.append(g))
        their.retain_grad()
    build(plan, starts[0], 0).backward()
    build(plan, starts[1], 1).backward()
    compare([t.grad for t in starts[0]], [t.grad for t in starts[1]], rtol=1e-9, atol=1e-11)
    # a gradient that is 0 but for rounding may be seen as 0 here and as 1e-17 there
    assert sum((abs(np.asarray(g)) > 1e-11).any() for g in seen) == sum(bool((abs(g) > 1e-11).any()) for g in theirs)
