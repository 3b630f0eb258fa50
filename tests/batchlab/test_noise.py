"""The gradient of a batch: how far it is from that of all rows, and the noise scale."""

from itertools import combinations

import numpy as np
import pytest

from tinygrad_batch import nn
from tinygrad_batch.batchlab import gradient_noise, load_problem, noise_scale, row_gradients
from tinygrad_batch.batchlab.noise import fieller, jackknife, variances
from tinygrad_batch.errors import ArgumentError


def flat_gradient(model, loss_fn, x, y):
    model.zero_grad()
    loss_fn(model(x), y).backward()
    return np.concatenate([p.grad.data.ravel() for p in model.parameters()])


@pytest.mark.parametrize("name", ["diabetes", "digits"])
def test_each_row_has_the_gradient_that_it_has_alone(name):
    problem = load_problem(name)
    model = problem.build(0)
    x, y = problem.x[:40], problem.y[:40]
    each = row_gradients(model, problem.loss_fn, x, y)
    for row in (0, 7, 39):
        np.testing.assert_allclose(
            each[row], flat_gradient(model, problem.loss_fn, x[row : row + 1], y[row : row + 1]), atol=1e-14
        )
    np.testing.assert_allclose(each.mean(0), flat_gradient(model, problem.loss_fn, x, y), atol=1e-14)


def test_a_net_that_cannot_be_stacked_goes_row_by_row():
    problem = load_problem("diabetes")
    model = nn.Sequential(nn.Linear(10, 4, rng=0), nn.LayerNorm(4), nn.Linear(4, 1, rng=1))
    model[0].weight.grad = np.ones((10, 4))
    each = row_gradients(model, problem.loss_fn, problem.x[:9], problem.y[:9])
    assert (model[0].weight.grad.data == 1).all()  # gradients that were there are there again
    np.testing.assert_allclose(
        each.mean(0), flat_gradient(model, problem.loss_fn, problem.x[:9], problem.y[:9]), atol=1e-14
    )


def test_frozen_parameters_have_no_gradient_of_a_row():
    problem = load_problem("diabetes")
    model = problem.build(0)
    model[0].requires_grad_(False)
    each = row_gradients(model, problem.loss_fn, problem.x[:5], problem.y[:5])
    assert each.shape == (5, sum(p.size for p in model.parameters() if p.requires_grad))
    model.zero_grad()
    problem.loss_fn(model(problem.x[:5]), problem.y[:5]).backward()
    flat = np.concatenate([p.grad.data.ravel() for p in model.parameters() if p.requires_grad])
    np.testing.assert_allclose(each.mean(0), flat, atol=1e-14)


def test_a_parameter_that_is_not_used_has_a_gradient_of_zero():
    class Idle(nn.Module):
        def __init__(self):
            self.used, self.idle = nn.Linear(10, 1, rng=0), nn.Linear(2, 2, rng=0)

        def forward(self, x):
            return self.used(x)

    problem = load_problem("diabetes")
    each = row_gradients(Idle(), problem.loss_fn, problem.x[:3], problem.y[:3])
    assert (each[:, 11:] == 0).all()
    assert (each[:, :11] != 0).any()


def test_with_batch_norm_no_row_has_a_gradient_of_its_own():
    problem = load_problem("diabetes")
    model = nn.Sequential(nn.Linear(10, 4, rng=0), nn.BatchNorm1d(4), nn.Linear(4, 1, rng=1))
    with pytest.raises(ArgumentError, match="makes every row depend on the others"):
        row_gradients(model, problem.loss_fn, problem.x, problem.y)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 6])
def test_the_law_is_exact_over_all_batches(size):
    each = np.random.default_rng(0).normal(size=(6, 4)) + 1.0
    mean = each.mean(0)
    found = np.mean([((each[list(rows)].mean(0) - mean) ** 2).sum() for rows in combinations(range(6), size)])
    (law,) = variances(each, [size], draws=1)
    assert found == pytest.approx(law.predicted, rel=1e-12, abs=1e-15)


def test_drawn_batches_follow_the_law():
    problem = load_problem("diabetes")
    each = row_gradients(problem.build(0), problem.loss_fn, problem.x, problem.y)
    for variance in variances(each, [1, 10, 100, 353], draws=2000):
        assert variance.ratio == pytest.approx(1, abs=0.15)
    assert variances(each, [353])[0].measured < 1e-25


def rows_of(scale, rows=4000, numbers=30, seed=0):
    """Gradients of rows with a known noise scale: a mean of length 1, and a variance of ``scale`` in all."""
    rng = np.random.default_rng(seed)
    direction = np.full(numbers, 1 / np.sqrt(numbers))
    return direction + rng.normal(size=(rows, numbers)) * np.sqrt(scale / numbers)


@pytest.mark.parametrize("scale", [3, 30])
def test_a_known_noise_scale_is_found(scale):
    found = noise_scale(rows_of(scale), pairs=400)
    assert found.measurable
    assert found.low < found.rows_value < found.high
    assert found.value == pytest.approx(scale, rel=0.15)
    assert str(round(found.value)) in str(found)


def test_where_there_is_no_slope_nothing_can_be_measured():
    rows = rows_of(30, rows=400)
    found = noise_scale(rows - rows.mean(0), pairs=200)
    assert not found.measurable
    assert found.high == np.inf
    assert "not measurable here" in str(found)


def test_few_rows_cannot_tell_however_many_pairs():
    found = noise_scale(rows_of(3000, rows=128), small=4, large=64, pairs=3000)
    assert found.signal < 2
    assert not found.measurable


@pytest.mark.parametrize(("rows", "scale", "numbers"), [(100, 3, 5), (353, 30, 30), (100, 100, 300)])
def test_the_interval_holds_what_is_true_as_often_as_it_says(rows, scale, numbers):
    found = [noise_scale(rows_of(scale, rows, numbers, seed), pairs=30, seed=seed) for seed in range(200)]
    assert all(one.measurable for one in found)
    assert np.mean([one.low <= scale <= one.high for one in found]) >= 0.91


def test_where_it_is_not_measurable_what_is_true_is_above_the_bound_as_often_as_it_says():
    found = [noise_scale(rows_of(1000, 353, 30, seed), pairs=30, seed=seed) for seed in range(200)]
    unsure = [one for one in found if not one.measurable]
    assert len(unsure) > 100
    assert np.mean([one.low <= 1000 for one in unsure]) >= 0.93


def test_leaving_out_each_row_once():
    each = np.random.default_rng(0).normal(size=(8, 3)) + 0.5

    def estimates(some):
        mean, rows = some.mean(0), len(some)
        trace = ((some - mean) ** 2).sum() / (rows - 1)
        return trace, mean @ mean - trace / rows

    left = np.array([estimates(np.delete(each, row, 0)) for row in range(8)])
    by_hand = 7 / 8 * (left - left.mean(0)).T @ (left - left.mean(0))
    np.testing.assert_allclose(jackknife(each), by_hand, rtol=1e-10)


def test_a_ratio_of_which_nothing_is_known_has_no_bounds():
    assert fieller(0.1, 0.1, np.eye(2))[1:] == (0.0, np.inf, False)  # top and bottom may both be 0
    value, low, high, sure = fieller(10.0, 0.1, np.eye(2) * 0.01)
    assert (value, high, sure) == (pytest.approx(100), np.inf, False)
    assert 0 < low < 100


@pytest.mark.parametrize(("small", "large"), [(0, 4), (4, 4), (8, 4), (4, 400), (3, 64)])
def test_sizes_that_make_no_pair(small, large):
    with pytest.raises(ArgumentError, match="the two sizes are"):
        noise_scale(rows_of(3, rows=100), small, large)


def test_the_noise_scale_grows_along_a_training():
    report = gradient_noise(load_problem("diabetes"), [1, 32, None], epochs=(0, 1), draws=200, pairs=100)
    assert [variance.batch_size for variance in report.variances] == [1, 32, 353]
    start, later = report.scales
    assert (start.epochs, later.epochs) == (0, 1)
    assert later.loss < start.loss
    assert later.value > start.value
