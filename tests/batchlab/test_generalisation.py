"""Rows held out, and the statistics of it."""

import numpy as np
import pytest

from tinygrad_batch.batchlab import generalisation, linear_baseline, load_problem
from tinygrad_batch.batchlab.generalisation import mean_and_error, student_t


@pytest.fixture(scope="module")
def found():
    problem = load_problem("digits")
    return generalisation(
        problem, {32: 1.0, 1347: 1.4}, 0.2, same_rate=0.1, updates=80, seeds=range(4), with_sharpness=1
    )


def test_at_the_same_loss_and_gentle_rates_no_batch_size_is_better(found):
    losses = [one.train_loss for one in found.matched]
    assert max(losses) - min(losses) < 0.001
    assert all(abs(one.difference) < 0.01 for one in found.matched)
    assert found.matched[-1].difference == 0


def test_after_equal_epochs_the_small_batches_are_far_ahead_for_they_have_trained_more(found):
    small, large = found.equal_epochs
    assert small.score > large.score + 0.2
    assert small.train_loss < large.train_loss / 4


def test_after_equal_updates_it_is_the_other_way_round(found):
    small, large = found.equal_updates
    assert small.score < large.score
    assert small.train_loss > large.train_loss


def test_sharpness_stands_beside_it(found):
    assert all(0.1 < one.sharpness < 10 for one in found.matched)
    assert found.equal_epochs[0].sharpness is None


def test_a_level_that_is_not_reached_is_no_number():
    problem = load_problem("diabetes")
    one = generalisation(
        problem, {64: 0.2}, 1e-9, same_rate=0.1, slower=1, epochs=1, updates=1, seeds=[0], most_epochs=1
    ).matched[0]
    assert np.isinf(one.updates)
    assert np.isnan(one.score)
    assert one.sharpness is None


def test_a_training_that_ran_away_is_in_no_mean():
    problem = load_problem("diabetes")
    found = generalisation(
        problem, {353: 0.7}, 0.45, same_rate=0.05, slower=14, epochs=5, updates=60, seeds=range(12), with_sharpness=0
    )
    (cell,) = found.equal_updates
    assert 0 < cell.left_out < 12
    assert cell.train_loss < 2
    assert found.equal_epochs[0].left_out == 0


def test_a_linear_model_does_as_well_on_diabetes():
    base = linear_baseline(repeats=1, folds=10)
    assert base.linear == pytest.approx(0.47, abs=0.04)
    assert abs(base.difference) < base.error + 0.02
    assert base.collapsed < 1e-14


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 5, 7, 12, 30, 200])
def test_students_t(freedom):
    stats = pytest.importorskip("scipy.stats")
    assert student_t(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=2e-3)


def test_means_of_few():
    assert mean_and_error(np.array([2.0]))[0] == 2.0
    assert np.isnan(mean_and_error(np.array([]))[0])
