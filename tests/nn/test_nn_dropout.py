"""Dropout: in training and in evaluation, where the numbers come from, and in a capture."""

from typing import Any

import numpy as np
import pytest

import tinygrad_batch as tb
from tinygrad_batch import nn
from tinygrad_batch.errors import ArgumentError


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_stays_is_scaled_so_that_the_mean_stays(dtype: Any) -> None:
    out = nn.Dropout(0.25, rng=0)(tb.ones(400, 500, dtype=dtype))
    assert out.dtype == dtype
    assert set(np.unique(out.data)) == {dtype(0), dtype(1 / 0.75)}
    assert abs(out.data.mean() - 1) < 0.01


def test_the_gradient_goes_where_the_value_went() -> None:
    x = tb.tensor(np.random.default_rng(0).normal(size=(6, 5)), requires_grad=True)
    out = nn.Dropout(0.5, rng=1)(x)
    out.sum().backward()
    assert x.grad is not None
    np.testing.assert_allclose(x.grad.data, np.where(out.detach().data == 0, 0.0, 2.0))


@pytest.mark.parametrize("layer", [nn.Dropout(0.5).eval(), nn.Dropout(0.0)])
def test_there_is_nothing_to_drop(layer: nn.Module) -> None:
    x = tb.ones(3, 2)
    assert layer(x) is x


def test_everything_is_dropped() -> None:
    x = tb.ones(3, 2).requires_grad_()
    out = nn.Dropout(1.0)(x)
    out.sum().backward()
    assert x.grad is not None
    np.testing.assert_array_equal(out.detach().data, np.zeros((3, 2)))
    np.testing.assert_array_equal(x.grad.data, np.zeros((3, 2)))


@pytest.mark.parametrize("p", [-0.1, 1.5, float("nan")])
def test_p_is_a_probability(p: float) -> None:
    with pytest.raises(ArgumentError, match="from 0 to 1"):
        nn.Dropout(p)


def test_the_package_generator_is_drawn_from_unless_another_is_given() -> None:
    x, layer = tb.ones(40), nn.Dropout(0.5)
    tb.seed(0)
    first, second = layer(x).data, layer(x).data
    tb.seed(0)
    np.testing.assert_array_equal(layer(x).data, first)
    assert (first != second).any()
    own = nn.Dropout(0.5, rng=7)
    state = tb.generator().bit_generator.state
    a, b = own(x).data, own(x).data
    assert tb.generator().bit_generator.state == state
    assert (a != b).any()
    np.testing.assert_array_equal(nn.Dropout(0.5, rng=np.random.default_rng(7))(x).data, a)


def test_a_gradient_check_drops_the_same_each_time() -> None:
    model = nn.Sequential(nn.Linear(3, 8, rng=0), nn.Dropout(0.5), nn.Tanh(), nn.Linear(8, 1, rng=1))
    batch = tb.randn(4, 3, rng=0), tb.zeros(4, 1)
    assert tb.gradcheck_model(model, nn.MSELoss(), batch).ok
    assert tb.gradcheck_model(model, nn.MSELoss(), batch, order=2).ok


def test_only_the_mask_is_kept() -> None:
    model = nn.Sequential(nn.Linear(3, 8, rng=0), nn.Dropout(0.5, rng=0), nn.Linear(8, 1, rng=1))
    with tb.capture() as trace:
        loss = nn.MSELoss()(model(tb.ones(4, 3)), tb.zeros(4, 1))
        loss.backward()
    (product,) = [step for step in trace.phase("forward") if step.op == "multiply" and step.module == "1"]
    assert [trace.values[v].name for v in product.keeps] == ["mask"]
    assert "mask" in tb.draw(trace).svg()
    assert model.summary((4, 3)).layers[1].kept_bytes == 4 * 8 * 8


def test_label_and_summary() -> None:
    assert str(nn.Dropout(0.25)) == "Dropout(0.25)"
