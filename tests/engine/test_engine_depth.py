"""Deep and wide graphs: no recursion, no exponential walk, few bytes for each operation."""

import tracemalloc

import numpy as np
import pytest

import tinygrad_batch as tb
from tinygrad_batch import Tensor
from tinygrad_batch.graph import Node


def chain(x, length):
    for _ in range(length):
        x = x + 1.0
    return x


def test_a_chain_of_a_million_operations_goes_forward_and_backward():
    x = Tensor(1.0, requires_grad=True)
    y = chain(x, 1_000_000)
    assert y.item() == 1_000_001.0
    y.backward()
    assert x.grad.item() == 1.0


def test_a_deep_graph_is_dropped_without_backward():
    y = chain(Tensor(1.0, requires_grad=True), 300_000)
    assert y.requires_grad
    del y  # deep structures overflow the stack here, where destructors recurse


def test_a_node_takes_few_bytes():
    x, length = Tensor(1.0, requires_grad=True), 20_000
    chain(x, 10)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    y = chain(x, length)
    taken = (tracemalloc.get_traced_memory()[0] - before) / length
    tracemalloc.stop()
    assert y.requires_grad
    assert taken <= 350


def test_backward_frees_what_the_graph_holds():
    x = Tensor(np.ones(100_000), requires_grad=True)
    tracemalloc.start()
    y = x
    for _ in range(10):
        y = y.tanh()
    loss = y.sum()
    del y
    held = tracemalloc.get_traced_memory()[0]
    loss.backward()
    left = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert held > 8_000_000
    assert left < 1_000_000  # the gradient of x is left


@pytest.mark.parametrize("times", [60, 200])
def test_doubling_walks_each_node_once(times):
    x = Tensor(1.0, requires_grad=True)
    y = x
    for _ in range(times):
        y = y + y
    y.backward()
    assert x.grad.item() == 2.0**times


def test_doubling_with_create_graph_walks_each_node_once():
    x = Tensor(1.0, requires_grad=True)
    y = x
    for _ in range(60):
        y = y * y if y.item() < 1 else y + y
    (slope,) = tb.grad(y, x, create_graph=True)
    assert slope.item() == 2.0**60


def test_a_ladder_of_skip_connections_walks_each_node_once():
    x = Tensor(1.0, requires_grad=True)
    a = b = x
    for _ in range(60):
        a, b = a + b, a
    visited = []
    a.register_hook(lambda g: visited.append(g.item()))
    a.backward()
    fibonacci = [1, 2]
    while len(fibonacci) < 61:
        fibonacci.append(fibonacci[-1] + fibonacci[-2])
    assert x.grad.item() == fibonacci[60]
    assert visited == [1.0]


def test_fan_out_adds_up():
    x = Tensor([1.0, 2.0], requires_grad=True)
    parts = [x * float(i) for i in range(1000)]
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    total.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), np.full(2, 999 * 1000 / 2))


def test_each_hook_runs_once_on_the_complete_gradient():
    x = Tensor(1.0, requires_grad=True)
    middle = x * 3
    seen = []
    middle.register_hook(lambda g: seen.append(g.item()))
    ((middle + middle) * middle + middle).backward()  # 2m² + m
    assert seen == [4 * 3.0 + 1]
    assert x.grad.item() == 3 * 13.0


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 1, 0], [1, 0, 2]])
def test_branches_of_unequal_length_meet_in_any_order(order):
    x = Tensor(0.5, requires_grad=True)
    branches = [x, x.tanh().exp(), chain(x.sin(), 50)]
    total = branches[order[0]] * branches[order[1]] * branches[order[2]]
    total.backward()
    t, e, s = 0.5, np.exp(np.tanh(0.5)), np.sin(0.5) + 50
    expected = e * s + t * s * e * (1 - np.tanh(0.5) ** 2) + t * e * np.cos(0.5)
    assert x.grad.item() == pytest.approx(expected, rel=1e-12)


def test_a_node_points_only_at_its_parents():
    x = Tensor(1.0, requires_grad=True)
    y = (x * 2).tanh()
    assert isinstance(y._node, Node)
    assert y._node.parents[0].parents[0] is x._node
    assert y._node.number > y._node.parents[0].number > x._node.number
    assert not any(isinstance(value, Tensor) for value in y._node.kept)


def test_the_first_layer_computes_no_gradient_of_the_data():
    x, w = tb.ones((4, 3)), Tensor(np.ones((3, 2)), requires_grad=True)
    y = x @ w
    assert list(y._node.plan.needs) == [("a",)]
    y.sum().backward()
    assert x.grad is None
