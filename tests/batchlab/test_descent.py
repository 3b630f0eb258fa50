"""What rates do: floors, scaling rules, sums."""

import numpy as np
import pytest

from tinygrad_batch.batchlab import linear_scaling, load_problem, noise_floor, summed_loss


@pytest.fixture(scope="module")
def floors():
    return noise_floor(((0.01, 1), (0.005, 1), (0.01, 4)), epochs=40, seeds=range(6))


def test_the_floor_of_a_constant_rate_is_what_theory_says(floors):
    drawn = [floor for floor in floors.floors if floor.replacement]
    for floor in drawn:
        assert floor.excess == pytest.approx(floor.predicted, rel=0.25)
    assert floors.power == pytest.approx(1, abs=0.15)


def test_shuffled_epochs_have_a_lower_floor_with_the_square(floors):
    drawn, shuffled = ([f.excess for f in floors.floors if f.replacement == kind] for kind in (True, False))
    assert all(low < high for low, high in zip(shuffled, drawn, strict=True))
    assert floors.power_shuffled == pytest.approx(2, abs=0.3)


def test_a_falling_rate_ends_it(floors):
    assert floors.constant > 0.02
    assert floors.decaying < floors.constant / 500


def test_single_rows_rise_about_half_of_the_time(floors):
    assert all(0.3 < floor.rises < 0.7 for floor in floors.floors)


@pytest.fixture(scope="module")
def scaled():
    return linear_scaling(load_problem("digits"), factors=(1, 4, 16, 42, 336), seeds=range(2), epochs=4)


def test_batch_and_rate_times_the_same_number_change_little_until_the_rate_is_too_large(scaled):
    assert [one.batch_size for one in scaled] == [4, 16, 64, 168, 1344]
    assert all(one.change < 0.02 for one in scaled[:4])
    assert scaled[4].change > 0.5


def test_three_rows_too_many_look_like_a_breakdown(scaled):
    assert scaled[0].change_with_rest == 0
    assert all(one.change_with_rest > 3 * one.change for one in scaled[1:4])


def test_the_sum_runs_away_where_the_mean_does_not():
    found = summed_loss(load_problem("diabetes"), rate=0.03, batch_sizes=(4, 64, None), seeds=range(3), epochs=6)
    assert [one.mean_diverged for one in found] == [0, 0, 0]
    assert [one.sum_diverged for one in found] == [0, 3, 3]
    assert np.isfinite(found[0].sum_loss)
    assert found[-1].sum_loss == np.inf
