"""Saddles and minima: who leaves, who stays, and how long it takes."""

import numpy as np
import pytest

import tinygrad_batch as tb
from tinygrad_batch.batchlab import (
    doubled_unit,
    escape_times,
    frequency_fit,
    narrow_nets,
    random_starts,
    scenes,
    symmetric_starts,
    walk,
)
from tinygrad_batch.batchlab.landscapes import Line, Pass, Surface, TanhUnits, Wave
from tinygrad_batch.batchlab.saddles import predicted_escape

SURFACES = [TanhUnits(), TanhUnits(units=3), TanhUnits(fixed=(1.5, 1.0)), Wave(), Wave(phase=True), Line(), Pass()]


@pytest.mark.parametrize("surface", SURFACES, ids=lambda surface: f"{type(surface).__name__}{len(surface.names)}")
def test_slopes_of_surfaces_are_those_of_differences(surface):
    point = np.random.default_rng(0).normal(size=len(surface.names))
    units = np.eye(len(point)) * 1e-5
    slopes = np.array([(surface.loss(point + u) - surface.loss(point - u)) / 2e-5 for u in units])
    np.testing.assert_allclose(surface.gradient(point), slopes, atol=1e-6)
    several = surface.gradient([point, point + 0.1])
    np.testing.assert_allclose(several, [surface.gradient(point), surface.gradient(point + 0.1)], atol=1e-14)
    np.testing.assert_allclose(surface.row_gradients(point).mean(0), surface.gradient(point), atol=1e-13)
    bends = np.array([(surface.gradient(point + u) - surface.gradient(point - u)) / 2e-5 for u in units])
    np.testing.assert_allclose(surface.hessian(point), bends, atol=1e-5)
    assert surface.loss(np.tile(point, (2, 3, 1))).shape == (2, 3)


def test_a_surface_says_what_is_missing():
    with pytest.raises(NotImplementedError):
        Surface().losses(tb.ones(1, 1), tb.ones(1, 1), tb.ones(1, 1))


def test_a_walk_of_all_rows_is_gradient_descent():
    surface = Line()
    found = walk(surface, [(-1.0, 3.0), (0.0, 0.0)], 0.1, None, 5)
    point = np.array([-1.0, 3.0])
    for place in range(1, 6):
        point = point - 0.1 * surface.gradient(point)
        np.testing.assert_allclose(found.points[place, 0], point, rtol=1e-12)
    assert found.updates.tolist() == [0, 1, 2, 3, 4, 5]
    assert (found.points[-1, 1] != found.points[-1, 0]).all()


def test_walks_with_batches_depend_on_the_seed_alone():
    one, again, other = (walk(Line(), [(0.0, 0.0)] * 2, 0.1, 7, 30, seed=seed, every=10).points for seed in (1, 1, 5))
    assert (one == again).all()
    assert not (one == other).any(axis=-1).all()
    assert not (one[-1, 0] == one[-1, 1]).any()


def test_a_walk_ends_when_all_have_arrived():
    found = walk(Line(), [(0.0, 0.0)], 0.1, None, 1000, every=10, until=lambda points: points[:, 0] > 1.5)
    assert found.updates[-1] < 100
    assert found.first(found.points[:, :, 0] > 1.5)[0] == found.updates[-1]
    assert np.isinf(found.first(found.points[:, :, 0] > 99)[0])


@pytest.fixture(scope="module")
def saddle():
    return doubled_unit((1, 10, None), walks=4, pushes=(1e-3, 1e-6))


def test_the_doubled_unit_is_a_saddle(saddle):
    assert saddle.gradient < 1e-13
    assert saddle.curvatures[0] < -0.04
    assert saddle.curvatures[-1] > 1
    assert saddle.best_loss < saddle.loss / 5


def test_single_rows_leave_it_and_all_rows_never_do(saddle):
    one, ten, full = saddle.escapes
    assert (one.left, ten.left, full.left) == (4, 4, 0)
    assert one.epochs < 15 < ten.epochs < 150
    assert full.epochs is None
    assert saddle.full_gradient < 1e-13


def test_all_rows_leave_it_after_a_push(saddle):
    (_, soon), (_, late) = saddle.rounding
    assert np.log(1000) / np.log1p(saddle.rate * -saddle.curvatures[0]) == pytest.approx(late - soon, rel=0.03)


def test_escapes_take_as_long_as_theory_says():
    for found in escape_times(walks=150):
        assert found.measured == pytest.approx(found.predicted, rel=0.15)
        assert found.low < found.measured < found.high


def test_the_prediction_is_a_median():
    rng, rate, variance, distance = np.random.default_rng(0), 0.02, 3.0, 0.5
    y, first = np.zeros(400), np.zeros(400)
    for step in range(1, 2000):
        y = (1 + rate) * y + rate * rng.normal(size=400) * np.sqrt(variance / 5)
        first[(first == 0) & (abs(y) >= distance)] = step
    said = predicted_escape(rate, 5, variance, distance, rows=10**9)
    assert np.median(first) == pytest.approx(said, rel=0.1)


def test_from_random_starts_a_wide_net_gets_stuck_nowhere():
    for found in random_starts(8, ((1, 0.01, 30), (None, 0.3, 200))):
        assert found.stuck == 0
        assert found.loss < 0.2


def test_a_net_with_no_unit_to_spare_gets_stuck_with_any_batch_size():
    found = narrow_nets((2, 4), starts=30, plans=((10, 0.1, 120), (None, 0.3, 400)))
    assert all(one.stuck > 10 for one in found[2])
    assert all(one.stuck < 8 for one in found[4])


def test_units_that_begin_alike_stay_alike():
    found = symmetric_starts(((1, 0.01, 10), (None, 0.2, 50)))
    units = {(one.start, one.batch_size): one.units for one in found}
    assert {units[start, size] for start in ("zero", "equal") for size in (1, 100)} == {1}
    assert {units["random", size] for size in (1, 100)} == {15}
    zero = [one.loss for one in found if one.start == "zero"]
    assert min(zero) > 0.8  # only the last bias learns


def test_noise_finds_the_frequency_if_the_rate_is_large():
    found = {(s.rate, s.batch_size, s.noise): s for s in frequency_fit(60, (0.002, 0.03), (1, None))}
    few, many = found[0.03, 1, False].share, found[0.03, 100, False].share
    assert few > many + 0.25
    assert found[0.03, 100, True].share > many + 0.25
    assert abs(found[0.002, 1, False].share - found[0.002, 100, False].share) < 0.1


def test_scenes_are_within_their_pictures():
    found = scenes(points=60, grid=21)
    assert [scene.name for scene in found] == ["bowl", "saddle", "minima"]
    for scene in found:
        assert scene.heights.shape == (21, 21)
        for one, losses in zip(scene.walks, scene.losses, strict=True):
            assert len(one.points) == len(losses) <= 130
            assert (one.points[:, 0, 0] >= scene.across[0]).all()
            assert (one.points[:, 0, 1] <= scene.up[-1]).all()
    saddle = found[1]
    assert saddle.losses[0][-1] < 0.1 * saddle.losses[0][0]
    assert saddle.losses[2][-1] == pytest.approx(saddle.losses[2][0], abs=1e-9)
    minima = found[2]
    assert minima.losses[0][-1] < 0.01 < 0.5 < minima.losses[2][-1]
