"""A compiled step runs the epochs of every iterator as the eager step would, and leaves it where a loop does."""

import numpy as np
import pytest

import tinygrad_batch as tb
from tinygrad_batch import nn, optim
from tinygrad_batch.data import Blocks, DataIterator, Shuffled, Stratified, Stream, Weighted
from tinygrad_batch.data import iterator as iterator_module

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((23, 4)), RNG.standard_normal((23, 1))
ITERATORS = {
    "in order": lambda: DataIterator(X, Y, batch_size=5),
    "shuffled": lambda: DataIterator(X, Y, batch_size=5, shuffle=True, seed=1),
    "keyed": lambda: DataIterator(X, Y, batch_size=5, sampler=Shuffled(keyed=True)),
    "blocks": lambda: DataIterator(X, Y, batch_size=5, sampler=Blocks(3, 2)),
    "stratified, the rest dropped": lambda: DataIterator(
        X, Y, batch_size=5, sampler=Stratified(np.arange(23) % 2), drop_last=True
    ),
    "weighted": lambda: DataIterator(X, Y, batch_size=5, sampler=Weighted(np.ones(23), rows_per_epoch=40)),
    "one of two processes": lambda: DataIterator(X, Y, batch_size=6, rank=1, world_size=2),
    "transformed": lambda: DataIterator(X, Y, batch_size=5, transform=lambda x, y, rng: (x + rng.random(4), y)),
    "prefetched": lambda: DataIterator(X, Y, batch_size=5, shuffle=True, prefetch=2),
    "stream": lambda: DataIterator(
        Stream(lambda start: zip(X[start:], Y[start:], strict=True), window=7), batch_size=5
    ),
    "stream of dicts": lambda: DataIterator(
        Stream(lambda: ({"x": x, "y": y} for x, y in zip(X, Y, strict=True))), batch_size=5
    ),
}


class Training:
    def __init__(self):
        self.model = nn.Sequential(nn.Linear(4, 6, rng=0), nn.Tanh(), nn.Linear(6, 1, rng=1))
        self.optimizer = optim.SGD(self.model.parameters(), lr=0.05)

    def step(self, x, y):
        self.optimizer.zero_grad()
        loss = ((self.model(x) - y) ** 2).mean()
        loss.backward()
        self.optimizer.step()
        return loss


@pytest.mark.parametrize("backend", ["numpy", "native"])
@pytest.mark.parametrize("many", [1, 10, 2**16])
@pytest.mark.parametrize("make", ITERATORS.values(), ids=ITERATORS)
def test_an_epoch_is_that_of_the_eager_step(make, many, backend, monkeypatch):
    monkeypatch.setattr(iterator_module, "MANY", many)
    eager, compiled = Training(), Training()
    step = tb.compile(compiled.step, backend=backend)
    expected, batches = make(), make()
    state = {**batches.state_dict(), "epoch": 3, "step": 2}
    for each in (expected, batches):
        each.load_state_dict(state)
    for number in range(3, 6):
        losses = [eager.step(**b) if isinstance(b, dict) else eager.step(*b) for b in expected]
        found = step.epoch(batches)
        np.testing.assert_allclose(found.numpy(), [loss.item() for loss in losses], rtol=1e-9)
        assert np.isclose(batches.mean(found), expected.mean(losses), rtol=1e-9)
        assert batches.state_dict() == expected.state_dict()
        assert (batches.epoch, batches.global_rows) == (number + 1, expected.global_rows)
    for a, b in zip(eager.model.parameters(), compiled.model.parameters(), strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-8)


def test_an_epoch_that_breaks_off_leaves_the_iterator_in_it():
    labels = np.array([0, 1, 2, 0, 1, 9, 0])
    model = nn.Linear(4, 3, rng=0)
    step = tb.compile(lambda x, y: nn.CrossEntropyLoss()(model(x), y))
    batches = DataIterator(X[:7], labels, batch_size=2)
    with pytest.raises(tb.TinygradBatchError):
        step.epoch(batches)
    assert batches.epoch == 0
