"""The Hessian times a vector, without the Hessian."""

import numpy as np
import pytest

import tinygrad_batch as tb
from tinygrad_batch import nn
from tinygrad_batch.errors import ArgumentError, GraphError, ShapeError


def setup():
    rng = np.random.default_rng(0)
    model = nn.Sequential(nn.Linear(3, 4, rng=0), nn.Tanh(), nn.Linear(4, 2, rng=1))
    x, y = rng.normal(size=(7, 3)), rng.normal(size=(7, 2))
    return model, lambda: nn.MSELoss()(model(x), y), rng


def test_it_is_the_slope_of_the_gradient():
    model, loss, rng = setup()
    parameters = list(model.parameters())
    vectors = [rng.normal(size=p.shape) for p in parameters]
    product = tb.hvp(loss(), parameters, vectors)

    def gradient_at(step):
        with tb.no_grad():
            for p, v in zip(parameters, vectors, strict=True):
                p.assign(p.data + step * v)
        return [g.numpy() for g in tb.grad(loss(), parameters)]

    step = 1e-6
    ahead, behind = gradient_at(step), gradient_at(-2 * step)
    for a, b, found in zip(ahead, behind, product, strict=True):
        np.testing.assert_allclose((a - b) / (2 * step), found.data, atol=1e-8)


def test_the_products_with_all_unit_vectors_are_a_symmetric_matrix():
    model, loss, _ = setup()
    w = model[2].weight
    units = np.eye(w.size).reshape(w.size, *w.shape)
    rows = np.array([tb.hvp(loss(), w, unit)[0].data.ravel() for unit in units])
    np.testing.assert_allclose(rows, rows.T, atol=1e-15)
    h = tb.tanh(tb.tensor(np.random.default_rng(0).normal(size=(7, 3))) @ model[0].weight + model[0].bias).detach().data
    np.testing.assert_allclose(rows[::2, ::2], h.T @ h / 7, atol=1e-12)  # the loss is quadratic in the last layer


def test_where_nothing_bends_the_product_is_0():
    x, z = tb.tensor([1.0, 2.0], requires_grad=True), tb.tensor([3.0], requires_grad=True)
    for output in ((x * 3).sum(), (x * 3).sum() + z.square().sum()):
        parts = tb.hvp(output, [x, z], [np.ones(2), np.ones(1)])
        assert (parts[0].data == 0).all()
    assert parts[1].data.tolist() == [2.0]


def test_a_graph_can_be_used_for_several_products():
    x = tb.tensor([1.0, 2.0], requires_grad=True)
    loss = (x**3).sum()
    first = tb.hvp(loss, x, [1.0, 0.0], retain_graph=True)[0].tolist()
    assert (first, tb.hvp(loss, x, [0.0, 1.0])[0].tolist()) == ([6.0, 0.0], [0.0, 12.0])
    assert x.grad is None


def test_a_product_can_be_compiled():
    model, loss, rng = setup()
    parameters = list(model.parameters())
    vectors = [rng.normal(size=p.shape) for p in parameters]
    compiled = tb.compile(lambda *vectors: tb.hvp(loss(), parameters, vectors))
    for _ in range(2):
        for a, b in zip(compiled(*vectors), tb.hvp(loss(), parameters, vectors), strict=True):
            np.testing.assert_allclose(a.data, b.data, rtol=1e-10, atol=1e-14)


def test_what_is_refused():
    x = tb.tensor([1.0, 2.0], requires_grad=True)
    with pytest.raises(ArgumentError, match="1 vectors for 2 inputs"):
        tb.hvp(x.sum(), [x, x], [np.ones(2)])
    with pytest.raises(ShapeError, match="shape"):
        tb.hvp((x**2).sum(), x, np.ones(3))
    with pytest.raises(GraphError):
        tb.hvp(tb.tensor(1.0), x, np.ones(2))
