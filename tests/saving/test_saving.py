"""A run that is saved, stopped and loaded goes on exactly as if it had never stopped."""

import os

import numpy as np
import pytest

import tinygrad_batch as tb
from tinygrad_batch import nn, optim
from tinygrad_batch.data import DataIterator, make_regression


def parts(seed=0):
    rng = np.random.default_rng(seed)
    model = nn.Sequential(nn.Linear(10, 15, rng=rng), nn.Tanh(), nn.Linear(15, 1, rng=rng))
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    x, y = make_regression()
    return model, optimizer, DataIterator(x, y, batch_size=7, shuffle=True, seed=3)


def train(model, optimizer, batches, epochs, stop=None):
    loss_fn, losses = nn.MSELoss(), []
    for epoch in batches.epochs(epochs):
        for xb, yb in epoch:
            optimizer.zero_grad()
            loss = loss_fn(model(xb), yb)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            if len(losses) == stop:
                return losses
    return losses


def test_resuming_in_the_middle_of_an_epoch_changes_nothing(tmp_path):
    whole = train(*parts(), epochs=3)
    model, optimizer, batches = parts()
    first = train(model, optimizer, batches, epochs=3, stop=20)
    path = tb.save_checkpoint(tmp_path / "run.safetensors", model=model, optimizer=optimizer, batches=batches)
    model, optimizer, batches = parts(seed=9)
    tb.load_checkpoint(path, model=model, optimizer=optimizer, batches=batches)
    rest = train(model, optimizer, batches, epochs=3 - batches.epoch)
    assert first + rest == whole
    assert os.listdir(tmp_path) == ["run.safetensors"]


def test_a_part_that_does_not_fit_leaves_all_as_it_was(tmp_path):
    model, optimizer, _ = parts()
    path = tb.save_checkpoint(tmp_path / "run.safetensors", model=model, optimizer=optimizer)
    other, _, _ = parts(seed=5)
    before = other.state_dict()
    with pytest.raises(tb.TinygradBatchError, match="SGD"):
        tb.load_checkpoint(path, model=other, optimizer=optim.SGD(other.parameters(), lr=0.1))
    assert all(np.array_equal(before[key], value) for key, value in other.state_dict().items())


def test_what_is_no_checkpoint_is_refused(tmp_path):
    model, _, _ = parts()
    with pytest.raises(tb.TinygradBatchError, match="cannot be read"):
        tb.load_checkpoint(tmp_path / "missing", model=model)
    (tmp_path / "garbage").write_bytes(b"\x80\x04not a checkpoint" * 9)
    with pytest.raises(tb.TinygradBatchError, match="cannot be read"):
        tb.load_checkpoint(tmp_path / "garbage", model=model)
    path = tb.save_checkpoint(tmp_path / "run", model=model)
    with pytest.raises(tb.TinygradBatchError, match="but not optimizer"):
        tb.load_checkpoint(path, optimizer=optim.SGD(model.parameters(), lr=0.1))
    with pytest.raises(tb.TinygradBatchError, match="cannot be written"):
        tb.save_checkpoint(tmp_path / "no folder" / "run", model=model)
