"""Runs side by side are the runs that they would be on their own."""

import numpy as np
import pytest

import tinygrad_batch as tb
from tinygrad_batch import nn
from tinygrad_batch.batchlab import Ensemble, load_problem, stack
from tinygrad_batch.batchlab.ensemble import evaluating

RUNS = 4


def alone(model, loss_fn, x, y, rate):
    """One ordinary training step; returns the loss before it."""
    optimizer = tb.optim.SGD(model.parameters(), lr=rate)
    optimizer.zero_grad()
    loss = loss_fn(model(x), y)
    loss.backward()
    optimizer.step()
    return loss.item()


def batches(rows, size, steps):
    rng = np.random.default_rng(0)
    return [rng.integers(0, rows, (RUNS, size)) for _ in range(steps)]


@pytest.mark.parametrize("name", ["diabetes", "digits"])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_stacked_runs_train_as_each_alone(name, reduction):
    problem = load_problem(name)
    loss_fn = type(problem.loss_fn)(reduction)
    models = [problem.build(seed) for seed in range(RUNS)]
    ensemble = Ensemble(models, loss_fn)
    rates = np.array([0.001, 0.01, 0.02, 0.03]) / (8 if reduction == "sum" else 1)
    for rows in batches(problem.rows, 8, 5):
        together = ensemble.step(problem.x[rows], problem.y[rows], rates)
        each = [
            alone(model, loss_fn, problem.x[part], problem.y[part], rate)
            for model, part, rate in zip(models, rows, rates, strict=True)
        ]
        np.testing.assert_allclose(together, each, rtol=1e-12)
    expected = [loss_fn(model(problem.x), problem.y).item() for model in models]
    np.testing.assert_allclose(ensemble.losses(problem.x, problem.y), expected, rtol=1e-12)
    for run, model in enumerate(models):
        for path, array in ensemble.model(run).state_dict().items():
            np.testing.assert_allclose(array, model.state_dict()[path], rtol=1e-11, atol=1e-14)
    predictions = ensemble.predict(problem.x_test)
    np.testing.assert_allclose(predictions[2], models[2](problem.x_test).data, rtol=1e-11, atol=1e-13)


def test_the_models_that_were_given_stay_as_they_are():
    problem = load_problem("diabetes")
    for extra in ((), (nn.LayerNorm(1),)):
        models = [nn.Sequential(problem.build(seed), *extra) for seed in range(2)]
        before = [model.state_dict() for model in models]
        Ensemble(models, problem.loss_fn).step(
            problem.x[None, :8].repeat(2, 0), problem.y[None, :8].repeat(2, 0), np.ones(2)
        )
        for model, state in zip(models, before, strict=True):
            assert all((array == state[path]).all() for path, array in model.state_dict().items())


def test_nets_that_cannot_be_stacked_train_one_after_the_other():
    problem = load_problem("diabetes")

    def net(seed):
        return nn.Sequential(nn.Linear(10, 6, rng=seed), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 1, rng=seed))

    models = [net(seed) for seed in range(RUNS)]
    assert stack(models) is None
    ensemble = Ensemble(models, problem.loss_fn)
    rates = np.full(RUNS, 0.05)
    for rows in batches(problem.rows, 8, 3):
        together = ensemble.step(problem.x[rows], problem.y[rows], rates)
        each = [
            alone(m, problem.loss_fn, problem.x[part], problem.y[part], 0.05)
            for m, part in zip(models, rows, strict=True)
        ]
        np.testing.assert_allclose(together, each, rtol=1e-9)
    expected = [problem.loss_fn(model.eval()(problem.x), problem.y).item() for model in models]
    np.testing.assert_allclose(ensemble.losses(problem.x, problem.y), expected, rtol=1e-9)


class Branching(nn.Module):
    """It cannot be compiled, for it asks for values."""

    def __init__(self):
        self.linear = nn.Linear(10, 1, rng=0)

    def forward(self, x):
        y = self.linear(x)
        return y * 2 if y.data.mean() > 0 else y


def test_what_does_not_compile_trains_eagerly():
    problem = load_problem("diabetes")
    model = Branching()
    ensemble = Ensemble([model], problem.loss_fn)
    rows = np.arange(8)[None]
    expected = alone(model, problem.loss_fn, problem.x[:8], problem.y[:8], 0.1)
    assert ensemble.step(problem.x[rows], problem.y[rows], np.array([0.1]))[0] == pytest.approx(expected)
    assert ensemble.model(0)(problem.x[:3]).data == pytest.approx(model(problem.x[:3]).data)


@pytest.mark.parametrize("layer", [nn.Tanh, nn.ReLU, nn.Sigmoid, nn.SiLU, nn.GELU, nn.Softplus, nn.Identity])
def test_every_function_of_single_elements_is_stacked(layer):
    models = [
        nn.Sequential(nn.Linear(3, 4, rng=seed), layer(), nn.Linear(4, 2, bias=False, rng=seed)) for seed in range(3)
    ]
    x = np.random.default_rng(0).normal(size=(5, 3))
    together = stack(models)(x[None])
    for run, model in enumerate(models):
        np.testing.assert_allclose(together.data[run], model(x).data, rtol=1e-12)


def frozen(seed):
    first = nn.Linear(10, 6, rng=seed)
    first.requires_grad_(False)
    return nn.Sequential(first, nn.Tanh(), nn.Linear(6, 1, rng=seed))


def used_twice(seed):
    twice = nn.Linear(10, 10, rng=seed)
    return nn.Sequential(twice, nn.Tanh(), twice, nn.Linear(10, 1, rng=seed))


def tied(seed):
    one, other = nn.Linear(10, 10, rng=seed), nn.Linear(10, 10, rng=seed + 1)
    other.weight = one.weight
    return nn.Sequential(one, nn.Tanh(), other, nn.Linear(10, 1, rng=seed))


@pytest.mark.parametrize("net", [frozen, used_twice, tied])
def test_what_is_frozen_or_shared_stays_so(net):
    problem = load_problem("diabetes")
    models = [net(seed) for seed in range(2)]
    ensemble = Ensemble(models, problem.loss_fn)
    rows = np.arange(16).reshape(2, 8)
    for _ in range(3):
        together = ensemble.step(problem.x[rows], problem.y[rows], np.array([0.1, 0.1]))
        expected = [
            alone(model, problem.loss_fn, problem.x[part], problem.y[part], 0.1)
            for model, part in zip(models, rows, strict=True)
        ]
        np.testing.assert_allclose(together, expected, rtol=1e-12)
    for run, model in enumerate(models):
        for path, array in ensemble.model(run).state_dict().items():
            np.testing.assert_allclose(array, model.state_dict()[path], rtol=1e-11)


def test_layers_go_back_to_what_they_were():
    model = nn.Sequential(nn.Linear(2, 2, rng=0), nn.Dropout(0.5))
    model[1].eval()
    with evaluating(model):
        assert not any(layer.training for _, layer in model.named_modules())
    assert [layer.training for _, layer in model.named_modules()] == [True, True, False]
