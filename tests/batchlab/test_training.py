"""Curves of trainings, and what is read off them."""

import numpy as np
import pytest

import tinygrad_batch as tb
from tinygrad_batch.batchlab import Curves, load_problem, train
from tinygrad_batch.batchlab.training import batches_of_seeds, looks, seconds_of_a_step
from tinygrad_batch.data import DataIterator
from tinygrad_batch.errors import ArgumentError


@pytest.fixture(scope="module")
def problem():
    return load_problem("diabetes")


def curve(losses, updates):
    return Curves(10, 100, (0,), (0.1,), np.array(updates), np.array(losses, float)[:, None, None])


def test_a_training_is_the_loop_that_one_would_write(problem):
    curves = train(problem, 20, [0.05], [3], epochs=4)
    model, batches = (
        problem.build(3),
        DataIterator(problem.x, problem.y, batch_size=20, shuffle=True, drop_last=True, seed=3),
    )
    optimizer, losses = tb.optim.SGD(model.parameters(), lr=0.05), {}
    done = 0
    for epoch in batches.epochs(5):
        for xb, yb in epoch:
            if done == curves.updates[-1]:
                break
            optimizer.zero_grad()
            problem.loss_fn(model(xb), yb).backward()
            optimizer.step()
            done += 1
            losses[done] = problem.loss_fn(model(problem.x), problem.y).item()
    for updates, loss in zip(curves.updates[1:], curves.loss[1:, 0, 0], strict=True):
        assert loss == pytest.approx(losses[updates], rel=1e-9)


def test_runs_side_by_side_do_not_change_each_other(problem):
    together = train(problem, 32, [0.02, 0.1], [0, 5], updates=30)
    alone = train(problem, 32, [0.1], [5], updates=30)
    np.testing.assert_allclose(together.loss[:, 1, 1], alone.loss[:, 0, 0], rtol=1e-9)


def test_one_that_runs_away_leaves_the_others_alone(problem):
    curves = train(problem, 32, [0.05, 50.0], [0], updates=30)
    assert np.isinf(curves.loss[-1, 0, 1])
    assert curves.loss[-1, 0, 0] < 0.7


def test_reaching_a_goal_is_interpolated():
    curves = curve([1.0, 0.8, 0.4], [0, 10, 40])
    assert curves.reached(0.6)[0, 0] == pytest.approx(20)  # half of the way in the logarithm
    assert curves.reached(1.5)[0, 0] == 0
    assert np.isinf(curves.reached(0.1)[0, 0])
    assert curves.at(25)[0, 0] == pytest.approx(0.6)
    assert curves.at(1000)[0, 0] == 0.4
    assert curves.epochs.tolist() == [0, 1, 4]


def test_a_training_ends_when_the_goal_is_reached(problem):
    curves = train(problem, 32, [0.1], [0, 1], updates=5000, goal=0.6)
    assert curves.updates[-1] < 200
    assert np.isfinite(curves.reached(0.6)).all()


def test_a_hopeless_rate_is_given_up(problem):
    curves = train(problem, None, [1e-6, 0.3], [0], updates=100_000, goal=0.6, patience=3)
    assert np.isinf(curves.reached(0.6)[0, 0])
    assert curves.updates[-1] < 100


def test_a_rate_that_falls_to_0_stands_still_at_the_end(problem):
    curves = train(problem, 1, [0.02], [0], updates=2000, linear_decay=True, look_every=1.001)
    late = curves.loss[-30:, 0, 0]
    assert (
        np.ptp(late)
        < 0.01 * np.ptp(train(problem, 1, [0.02], [0], updates=2000, look_every=1.001).loss[-30:, 0, 0]) + 1e-3
    )


def test_rows_held_out_are_looked_at(problem):
    curves = train(problem, 32, [0.1], [0], epochs=5, held_out=True)
    predictions = curves.ensemble.predict(problem.x_test)[0]
    assert curves.held_out[-1, 0, 0] == pytest.approx(((predictions - problem.y_test) ** 2).mean())
    assert curves.score[-1, 0, 0] == pytest.approx(problem.score(predictions, problem.y_test))
    assert curves.at(curves.updates[-1], "score")[0, 0] == curves.score[-1, 0, 0]


def test_batches_are_epochs_of_full_batches_or_of_all_rows():
    some = batches_of_seeds(10, 4, [0, 1])
    epoch = np.concatenate([next(some) for _ in range(2)], axis=1)
    assert epoch.shape == (2, 8)
    assert all(len(set(rows.tolist())) == 8 for rows in epoch)
    every = batches_of_seeds(10, 4, [0, 1], drop_last=False)
    parts = [next(every) for _ in range(3)]
    assert [part.shape[1] for part in parts] == [4, 4, 2]
    assert all(sorted(rows.tolist()) == list(range(10)) for rows in np.concatenate(parts, axis=1))
    drawn = batches_of_seeds(10, 4, [0, 1], replacement=True)
    many = np.concatenate([next(drawn) for _ in range(50)])
    assert all(len(set(rows.tolist())) == 4 for rows in many)
    assert len({tuple(rows) for rows in many.tolist()}) > 90


@pytest.mark.parametrize(("last", "factor"), [(1, 1.1), (2, 1.1), (1000, 1.02), (7, 100.0)])
def test_looks_grow_and_end_at_the_last_update(last, factor):
    found = looks(last, factor)
    assert found == sorted(set(found))
    assert found[-1] == last
    assert found[0] >= 1


@pytest.mark.parametrize("options", [{}, {"updates": 3, "epochs": 1}])
def test_how_long_is_said_once(problem, options):
    with pytest.raises(ArgumentError, match="updates and epochs"):
        train(problem, 8, [0.1], [0], **options)


def test_a_step_takes_time(problem):
    found = seconds_of_a_step(problem, [32, None], budget=0.01)
    assert list(found) == [32, problem.rows]
    assert all(1e-6 < seconds < 1 for seconds in found.values())
