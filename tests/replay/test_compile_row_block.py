"""A batch that runs block by block inside one step gives the same step, in memory that does not grow."""

import numpy as np
import pytest

import tinygrad_batch as tb
from tinygrad_batch import nn, optim
from tinygrad_batch.errors import CompileError

RNG = np.random.default_rng(0)


def training(*between, loss=None, optimizer=optim.SGD):
    model = nn.Sequential(nn.Linear(6, 8, rng=0), *between, nn.Linear(8, 3, rng=1))
    loss_fn, stepping = loss or nn.MSELoss(), optimizer(model.parameters(), lr=0.05)

    def step(x, y):
        stepping.zero_grad()
        prediction = model(x)
        value = loss_fn(prediction, y)
        value.backward()
        stepping.step()
        return value, prediction

    return model, step


@pytest.mark.parametrize("rows", [1, 15, 16, 17, 64, 100])
@pytest.mark.parametrize("loss", [nn.MSELoss, nn.CrossEntropyLoss], ids=lambda kind: kind.__name__)
def test_blocks_give_the_whole_step(rows, loss, backend):
    x = RNG.normal(size=(rows, 6))
    y = RNG.integers(0, 3, rows) if loss is nn.CrossEntropyLoss else RNG.normal(size=(rows, 3))
    (eager, whole), (streamed, step) = (training(nn.Tanh(), loss=loss(), optimizer=optim.Adam) for _ in range(2))
    step = tb.compile(step, backend=backend, row_block=16)
    for _ in range(5):
        expected, found = whole(tb.tensor(x), tb.tensor(y)), step(x, y)
        np.testing.assert_allclose(found[0].item(), expected[0].item(), rtol=1e-10)
        np.testing.assert_allclose(found[1].numpy(), expected[1].numpy(), rtol=1e-9, atol=1e-12)
    for p, q in zip(eager.parameters(), streamed.parameters(), strict=True):
        np.testing.assert_allclose(q.numpy(), p.numpy(), rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(q.grad.numpy(), p.grad.numpy(), rtol=1e-9, atol=1e-12)


def test_memory_does_not_grow_with_the_batch():
    def buffers(rows, row_block):
        _, step = training(nn.Tanh())
        compiled = tb.compile(lambda x, y: step(x, y)[0], row_block=row_block)
        compiled(np.zeros((rows, 6)), np.zeros((rows, 3)))
        return compiled.memory().buffer_bytes

    assert buffers(512, 64) == buffers(8192, 64) < buffers(512, None) < buffers(8192, None) / 8


def test_batch_normalisation_is_refused_with_the_reason():
    _, step = training(nn.BatchNorm1d(8))
    with pytest.raises(CompileError, match=r"rows"):
        tb.compile(step, row_block=16)(np.zeros((64, 6)), np.zeros((64, 3)))
