"""Updates to a goal by batch size, the law, and curvature."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_batch as tb
from tinygrad_batch import nn
from tinygrad_batch.batchlab import fit_law, load_problem, scaling, sharpness, tune
from tinygrad_batch.batchlab.scaling import Law, Scaling, reachable


@settings(deadline=None, max_examples=50)
@given(critical=st.floats(0.5, 500), least=st.floats(1, 1e4))
def test_the_law_is_found_from_what_follows_it(critical, least):
    sizes = [1, 4, 16, 64, 256, 1024]
    law = fit_law(sizes, [least * (1 + critical / size) for size in sizes])
    assert law.critical == pytest.approx(critical, rel=1e-3)
    assert law.least_updates == pytest.approx(least, rel=1e-3)
    assert law.misfit < 1e-3
    for size in sizes:
        updates, rows = law.updates(size), law.updates(size) * size
        assert (updates / law.least_updates - 1) * (rows / law.least_rows - 1) == pytest.approx(1, rel=1e-6)


def test_the_law_needs_three_sizes_that_arrived():
    assert fit_law([1, 10, 100], [30.0, np.inf, 3.0]) is None
    assert fit_law([1, 10, 100, 1000], [30.0, np.inf, 3.0, 2.5]) is not None


def test_the_regimes_lie_around_the_critical_size():
    found = Scaling(0.5, (), Law(10, 300, 0.0, 30, 30), {})
    perfect, none = found.regimes()
    assert perfect < 30 < none
    for size, slope in ((perfect, -0.85), (none, -0.15)):
        near = np.log([found.law.updates(size * 1.001), found.law.updates(size / 1.001)])
        assert (near[0] - near[1]) / np.log(1.001**2) == pytest.approx(slope, abs=1e-3)
    assert np.isnan(Scaling(0.5, (), None, {}).regimes()[0])


def test_the_rate_is_tuned_and_counted_again_with_other_seeds():
    problem = load_problem("diabetes")
    found = tune(problem, 32, 0.5, range(2))
    assert found.tried[found.rate] == min(found.tried.values())
    assert found.curves.seeds == (1000, 1001)
    assert np.isfinite(found.updates).all()
    assert found.rows_seen.tolist() == (found.updates * 32).tolist()


def test_larger_batches_take_fewer_updates_and_more_rows():
    found = scaling(load_problem("diabetes"), [4, 32, None], seeds=range(3), held_out=False)
    updates = [one.mean_updates for one in found.tuned]
    rows = [one.mean_updates * one.batch_size for one in found.tuned]
    assert updates == sorted(updates, reverse=True)
    assert rows == sorted(rows)
    assert set(found.seconds) == {4, 32, 353}
    assert 5 < found.law.critical < 500


def test_a_goal_that_is_out_of_reach():
    problem = load_problem("diabetes")
    found = tune(problem, 64, 1e-6, range(1), most_epochs=1)
    assert np.isinf(found.mean_updates)


def test_a_goal_is_found_where_nobody_has_said_one():
    problem = load_problem("diabetes")
    goal = reachable(problem)
    assert 0.2 < goal < 0.6


# ---- curvature ----


def matrix(model, loss_fn, x, y):
    parameters = list(model.parameters())
    sizes = [p.size for p in parameters]
    rows = []
    for unit in np.eye(sum(sizes)):
        vectors = [
            part.reshape(p.shape) for part, p in zip(np.split(unit, np.cumsum(sizes)[:-1]), parameters, strict=True)
        ]
        rows.append(np.concatenate([part.data.ravel() for part in tb.hvp(loss_fn(model(x), y), parameters, vectors)]))
    return np.array(rows)


@pytest.mark.parametrize("seed", [0, 1])
def test_sharpness_is_the_largest_eigenvalue(seed):
    rng = np.random.default_rng(seed)
    model, loss_fn = nn.Sequential(nn.Linear(3, 4, rng=seed), nn.Tanh(), nn.Linear(4, 2, rng=seed)), nn.MSELoss()
    x, y = rng.normal(size=(20, 3)), rng.normal(size=(20, 2))
    eigenvalues = np.linalg.eigvalsh(matrix(model, loss_fn, x, y))
    largest = eigenvalues[abs(eigenvalues).argmax()]
    assert sharpness(model, loss_fn, x, y, accuracy=1e-8, most=2000) == pytest.approx(largest, rel=1e-3)


def test_curvature_leaves_the_net_as_it_is():
    rng = np.random.default_rng(0)
    model = nn.Sequential(nn.Linear(3, 4, rng=0), nn.BatchNorm1d(4), nn.Dropout(0.5, rng=0), nn.Linear(4, 1, rng=1))
    model[0].requires_grad_(False)
    x, y = rng.normal(size=(20, 3)), rng.normal(size=(20, 1))
    before = model.state_dict()
    first, second = (sharpness(model, nn.MSELoss(), x, y, accuracy=1e-8) for _ in range(2))
    assert first == second > 0  # no dropout in it
    assert all((array == before[path]).all() for path, array in model.state_dict().items())
    assert all(layer.training for _, layer in model.named_modules())


def test_descent_beyond_two_by_the_sharpness_runs_away():
    x, y = np.random.default_rng(0).normal(size=(50, 3)), np.zeros((50, 1))
    limit = 2 / sharpness(nn.Linear(3, 1, rng=0), nn.MSELoss(), x, y, accuracy=1e-9, most=2000)
    ends = []
    for rate in (0.98 * limit, 1.02 * limit):
        model = nn.Linear(3, 1, rng=0)
        optimizer = tb.optim.SGD(model.parameters(), lr=rate)
        for _ in range(400):
            optimizer.zero_grad()
            loss = nn.MSELoss()(model(x), y)
            loss.backward()
            optimizer.step()
        ends.append(loss.item())
    assert ends[0] < 1e-6
    assert ends[1] > 1e3
