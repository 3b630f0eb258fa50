"""A batch in parts leaves the gradients of the whole."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_batch as tb
from tinygrad_batch import nn
from tinygrad_batch.errors import ArgumentError, ShapeError


def net():
    return nn.Sequential(
        nn.Linear(10, 15, rng=0), nn.Tanh(), nn.Linear(15, 10, rng=1), nn.Tanh(), nn.Linear(10, 3, rng=2)
    )


def batch(rows, classes=False):
    rng = np.random.default_rng(0)
    return rng.normal(size=(rows, 10)), rng.integers(0, 3, rows) if classes else rng.normal(size=(rows, 3))


def gradients(model, run):
    model.zero_grad()
    loss = run()
    return loss.item(), np.concatenate([p.grad.numpy().ravel() for p in model.parameters()])


def whole(model, loss_fn, x, y):
    def run():
        loss = loss_fn(model(x), y)
        loss.backward()
        return loss

    return gradients(model, run)


def off(one, other):
    return np.linalg.norm(one - other) / np.linalg.norm(other)


@settings(deadline=None, max_examples=40)
@given(
    rows=st.integers(1, 40),
    share=st.floats(0, 1),
    loss_fn=st.sampled_from(
        [nn.MSELoss(), nn.MSELoss("sum"), nn.L1Loss(), nn.CrossEntropyLoss(), nn.CrossEntropyLoss("sum")]
    ),
)
def test_parts_weighted_by_their_rows_are_the_whole(rows, share, loss_fn):
    model, (x, y) = net(), batch(rows, isinstance(loss_fn, nn.CrossEntropyLoss))
    parts = 1 + round(share * (rows - 1))
    expected = whole(model, loss_fn, x, y)
    found = gradients(model, lambda: tb.accumulate(model, loss_fn, x, y, micro_batches=parts))
    assert found[0] == pytest.approx(expected[0], rel=1e-13)
    assert off(found[1], expected[1]) < 1e-14


def test_the_mean_of_means_is_not_the_whole():
    model, loss_fn, (x, y) = net(), nn.MSELoss(), batch(21)

    def mean_of_means():
        for cut in (slice(0, 10), slice(10, 20), slice(20, 21)):
            loss = loss_fn(model(x[cut]), y[cut])
            loss.backward(gradient=1 / 3)
        return loss

    exact = whole(model, loss_fn, x, y)[1]
    assert off(gradients(model, mean_of_means)[1], exact) > 0.1


def test_gradients_are_added_to_those_that_are_there():
    model, loss_fn, (x, y) = net(), nn.MSELoss(), batch(8)
    once = whole(model, loss_fn, x, y)[1]
    tb.accumulate(model, loss_fn, x, y, micro_batches=4)
    twice = np.concatenate([p.grad.numpy().ravel() for p in model.parameters()])
    np.testing.assert_allclose(twice, 2 * once, rtol=1e-12)


def test_what_is_kept_is_that_of_one_part():
    model, loss_fn, (x, y) = net(), nn.MSELoss(), batch(8)

    def kept(rows, parts):
        return tb.price(lambda x, y: tb.accumulate(model, loss_fn, x, y, micro_batches=parts), x, y, rows=rows).kept.at(
            rows
        )

    assert kept(8_000, 8) == kept(1_000, 1)


def test_batch_normalisation_is_never_equivalent_and_that_is_said():
    model = nn.Sequential(nn.Linear(10, 15, rng=0), nn.BatchNorm1d(15), nn.Linear(15, 3, rng=1))
    loss_fn, (x, y) = nn.MSELoss(), batch(12)
    exact = whole(model, loss_fn, x, y)[1]
    with pytest.warns(UserWarning, match=r"layer 1, BatchNorm1d.*not the same as one large batch"):
        found = gradients(model, lambda: tb.accumulate(model, loss_fn, x, y, micro_batches=3))[1]
    assert off(found, exact) > 0.01
    model.eval()
    exact = whole(model, loss_fn, x, y)[1]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = gradients(model, lambda: tb.accumulate(model, loss_fn, x, y, micro_batches=3))[1]
    assert off(found, exact) < 1e-14


@pytest.mark.parametrize(
    ("rows", "targets", "options", "error", "message"),
    [
        (5, 5, {"micro_batches": 6}, ArgumentError, "5 rows do not make 6 micro-batches"),
        (5, 5, {"micro_batches": 0}, ArgumentError, "micro_batches is 0"),
        (5, 5, {"micro_batches": 2.0}, ArgumentError, "micro_batches is 2.0"),
        (5, 4, {"micro_batches": 2}, ShapeError, "differ in rows: 5, 4"),
    ],
)
def test_what_cannot_be_cut(rows, targets, options, error, message):
    with pytest.raises(error, match=message):
        tb.accumulate(net(), nn.MSELoss(), batch(rows)[0], batch(targets)[1], **options)


def test_a_loss_for_each_row_is_refused():
    with pytest.raises(ArgumentError, match="reduction='none'"):
        tb.accumulate(net(), nn.MSELoss("none"), *batch(4), micro_batches=2)
