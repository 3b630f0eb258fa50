"""Schedules: their formulas, PyTorch's numbers, their state, and what they refuse."""

from typing import Any

import numpy as np
import pytest

import tinygrad_batch as tb
from tinygrad_batch import nn, optim
from tinygrad_batch.errors import ArgumentError, StateError

KINDS: dict[str, tuple[type[optim.Schedule], dict[str, Any]]] = {
    "steps": (optim.StepLR, {"step_size": 4, "gamma": 0.5}),
    "exponential": (optim.ExponentialLR, {"gamma": 0.9}),
    "cosine": (optim.CosineAnnealingLR, {"T_max": 10}),
    "cosine to a floor": (optim.CosineAnnealingLR, {"T_max": 7, "eta_min": 0.01}),
    "linear": (optim.LinearLR, {}),
    "warm-up": (optim.LinearLR, {"start_factor": 0.1, "total_iters": 8}),
    "down": (optim.LinearLR, {"start_factor": 1.0, "end_factor": 0.2, "total_iters": 3}),
    "function": (optim.LambdaLR, {"lr_lambda": lambda step: 1 / (1 + step)}),
}
every_kind = pytest.mark.parametrize("kind", KINDS)


def optimizer(lr: float = 0.3) -> optim.SGD:
    return optim.SGD([nn.Parameter([1.0])], lr=lr)


def make(kind: str, lr: float = 0.3) -> optim.Schedule:
    cls, options = KINDS[kind]
    return cls(optimizer(lr), **options)


@every_kind
def test_twenty_steps_agree_with_torch(kind: str) -> None:
    torch = pytest.importorskip("torch")
    cls, options = KINDS[kind]
    theirs = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.3)
    reference = getattr(torch.optim.lr_scheduler, cls.__name__)(theirs, **options)
    schedule = make(kind)
    for _ in range(20):
        np.testing.assert_allclose(schedule.optimizer.lr, reference.get_last_lr()[0], rtol=1e-12, atol=1e-16)
        theirs.step()
        reference.step()
        schedule.step()


@every_kind
def test_the_learning_rate_is_a_formula_of_the_step(kind: str) -> None:
    schedule = make(kind)
    ahead = [schedule.lr(step) for step in range(12)]
    assert schedule.optimizer.lr == ahead[0]
    for step in range(1, 12):
        schedule.step()
        assert schedule.steps == step
        assert schedule.optimizer.lr == ahead[step]
        assert type(schedule.optimizer.lr) is float


@every_kind
def test_a_run_goes_on_from_its_state(kind: str) -> None:
    schedule, other = make(kind), make(kind, lr=77.0)
    for _ in range(3):
        schedule.step()
    other.load_state_dict(schedule.state_dict())
    assert other.optimizer.lr == schedule.optimizer.lr
    for _ in range(4):
        schedule.step()
        other.step()
        assert other.optimizer.lr == schedule.optimizer.lr
    assert other.state_dict() == schedule.state_dict()


def test_the_state_brings_its_formula_along() -> None:
    schedule, other = optim.StepLR(optimizer(), 2, 0.5), optim.StepLR(optimizer(), 9)
    other.load_state_dict(schedule.state_dict())
    assert (other.step_size, other.gamma) == (2, 0.5)


@every_kind
def test_a_learning_rate_of_0_stays(kind: str) -> None:
    schedule = make(kind, lr=0.0)
    schedule.step()
    assert schedule.optimizer.lr == 0


def test_a_schedule_steers_the_steps() -> None:
    w = nn.Parameter([1.0])
    sgd = optim.SGD([w], lr=1.0)
    schedule = optim.ExponentialLR(sgd, gamma=0.5)
    for _ in range(3):
        w.grad = [1.0]
        sgd.step()
        schedule.step()
    np.testing.assert_allclose(w.detach().data, [1 - 1 - 0.5 - 0.25])


def test_a_captured_step_shows_the_learning_rate_it_had() -> None:
    model = nn.Linear(2, 1, bias=False, rng=0)
    sgd = optim.SGD(model.parameters(), lr=0.5)
    schedule = optim.ExponentialLR(sgd, gamma=0.1)
    with tb.capture() as trace:
        nn.MSELoss()(model(tb.ones(3, 2)), tb.zeros(3, 1)).backward()
        sgd.step()
        schedule.step()
    assert trace.phase("update")[0].results[0].formula == "W ← W − 0.5 dW"
    assert sgd.lr == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda state: {}, "lacks schedule, base_lr, steps, hyperparameters"),
        (lambda state: {**state, "schedule": "LinearLR"}, "is of LinearLR, not of StepLR"),
        (lambda state: {**state, "hyperparameters": {"gamma": 1.0, "speed": 2}}, "speed, step_size"),
    ],
)
def test_a_state_that_does_not_fit_changes_nothing(change: Any, words: str) -> None:
    schedule = optim.StepLR(optimizer(), 3)
    before = schedule.state_dict()
    with pytest.raises(StateError, match=words):
        schedule.load_state_dict(change({**before, "base_lr": 9.0}))
    assert schedule.state_dict() == before
    assert schedule.optimizer.lr == 0.3


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: optim.StepLR(nn.Linear(2, 1), 3), "of an optimiser, not of a Linear"),  # type: ignore[arg-type]
        (lambda: optim.StepLR(optimizer(), 0), "step_size is a whole number of steps, 1 or more, not 0"),
        (lambda: optim.StepLR(optimizer(), 2.5), "not 2.5"),  # type: ignore[arg-type]
        (lambda: optim.ExponentialLR(optimizer(), -0.5), "gamma is 0 or more"),
        (lambda: optim.CosineAnnealingLR(optimizer(), 0), "T_max is a whole number"),
        (lambda: optim.CosineAnnealingLR(optimizer(), 5, eta_min=-1), "eta_min is 0 or more"),
        (lambda: optim.LinearLR(optimizer(), start_factor=-1), "start_factor is 0 or more"),
        (lambda: optim.LambdaLR(optimizer(), 0.5), r"a function of the step, not 0.5.*lambda step"),  # type: ignore[arg-type]
    ],
)
def test_a_schedule_refuses(call: Any, words: str) -> None:
    with pytest.raises(ArgumentError, match=words):
        call()


def test_a_formula_is_written_by_a_subclass() -> None:
    with pytest.raises(NotImplementedError, match="Schedule has no factor"):
        optim.Schedule(optimizer())


def test_a_schedule_prints_what_it_is() -> None:
    assert repr(make("steps")) == "StepLR(base_lr=0.3, step_size=4, gamma=0.5, steps=0)"
