"""What a training step really allocates, phase by phase, as tracemalloc counts it."""

import gc
import tracemalloc

import numpy as np

import tinygrad_batch as tb
from tinygrad_batch import nn


def traced(run):
    """Return the most bytes that a second call has allocated at one time."""
    run()
    gc.collect()
    tracemalloc.start()
    try:
        run()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


class Training:
    """A net, a batch, and a step that says when each phase is over."""

    def __init__(self, layers, loss_fn, x_shape, y_shape, rows, dtype="float64", optimizer=tb.optim.SGD, given=None):
        given = given or dtype
        rng = np.random.default_rng(0)
        self.model = nn.Sequential(*layers()).astype(dtype)
        self.loss_fn = loss_fn()
        self.optimizer = optimizer(self.model.parameters(), lr=0.01)
        self.x = tb.tensor(rng.normal(size=(rows, *x_shape)).astype(given))
        classes = y_shape == "classes"
        self.y = tb.tensor(rng.integers(0, 10, rows) if classes else rng.uniform(size=(rows, *y_shape)).astype(given))
        self.over = lambda phase: None

    def step(self, x, y):
        self.optimizer.zero_grad()
        prediction = self.model(x)
        loss = self.loss_fn(prediction, y)
        del prediction
        self.over("forward")
        loss.backward()
        self.over("backward")
        self.optimizer.step()
        self.over("update")

    def price(self, **options):
        return tb.price(self.step, self.x, self.y, **options)

    def measure(self):
        """Return, for each phase, the most and the last that a step had allocated beyond what was there before it."""
        self.step(self.x, self.y)  # whatever is made once and then kept
        self.optimizer.zero_grad()
        found = {}
        gc.collect()
        tracemalloc.start()
        base = tracemalloc.get_traced_memory()[0]

        def over(phase):
            now, most = tracemalloc.get_traced_memory()
            found[phase] = most - base, now - base
            tracemalloc.reset_peak()

        self.over = over
        try:
            self.step(self.x, self.y)
        finally:
            tracemalloc.stop()
            self.over = lambda phase: None
        return found
