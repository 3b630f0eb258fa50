"""What a training step holds at its peak, and that nothing stays behind."""

import gc
import tracemalloc
import weakref

import numpy as np
import pytest

import tinygrad_batch as tb
from tinygrad_batch import nn


def net() -> nn.Sequential:
    layers = [nn.Linear(10, 15, rng=0), nn.Tanh(), nn.Linear(15, 10, rng=1), nn.Tanh(), nn.Linear(10, 1, rng=2)]
    return nn.Sequential(*layers)


class Training:
    def __init__(self, rows: int) -> None:
        rng = np.random.default_rng(0)
        self.x, self.y = tb.tensor(rng.normal(size=(rows, 10))), tb.tensor(rng.normal(size=(rows, 1)))
        self.model, self.loss_fn = net(), nn.MSELoss()
        self.optimizer = tb.optim.SGD(self.model.parameters(), lr=0.05)

    def step(self) -> None:
        self.optimizer.zero_grad()
        loss = self.loss_fn(self.model(self.x), self.y)
        loss.backward()
        self.optimizer.step()


def peak(rows: int) -> int:
    training = Training(rows)
    training.step()
    gc.collect()
    tracemalloc.start()
    try:
        training.step()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_training_step_peaks_at_its_floor() -> None:
    # While dh1 = dm2 @ W2ᵀ is computed there are h1 (15 numbers a row), dm2 (10) and dh1 itself (15):
    # 320 bytes a row in float64. The gradients of the parameters are 2.7 kB for any batch.
    few, many = peak(20_000), peak(100_000)
    assert few <= 330 * 20_000
    assert many <= 330 * 100_000
    assert (many - few) / 80_000 <= 321


@pytest.mark.parametrize("capture", [False, True])
def test_a_step_leaves_nothing_for_the_garbage_collector(capture: bool) -> None:
    training = Training(10)
    gc.collect()
    gc.disable()
    try:
        if capture:
            with tb.capture():
                training.step()
        training.step()
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_dropping_the_loss_drops_the_graph() -> None:
    training = Training(10)
    hidden = training.model[0](training.x)
    watch = weakref.ref(hidden)
    loss = training.loss_fn(training.model[4](training.model[2](hidden)), training.y)
    gc.disable()
    try:
        del hidden
        assert watch() is None  # the graph holds arrays, not tensors
        del loss
    finally:
        gc.enable()


def test_ten_thousand_steps_without_the_garbage_collector_stay_flat() -> None:
    training = Training(5)
    for _ in range(50):
        training.step()
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        for _ in range(100):
            training.step()
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        for _ in range(900):
            training.step()
        after, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        objects = len(gc.get_objects())
        for _ in range(9000):
            training.step()
        grown = len(gc.get_objects()) - objects
        gc.enable()
    assert after - before < 2_000
    assert most - before < 20_000
    assert grown < 50
