"""A run that is saved, stopped and loaded goes on exactly as if it had never stopped."""

import json
import os

import numpy as np
import pytest

import tinygrad_batch as tb
from tinygrad_batch import nn, optim
from tinygrad_batch.data import DataIterator, make_regression
from tinygrad_batch.errors import StateError


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


class Holder:
    def __init__(self, state=None):
        self.state = state

    def state_dict(self):
        return self.state

    def load_state_dict(self, state):
        self.state = state


def numbered(*keys):
    """Return a state with an array of its own at each key."""
    return {key: np.full(2, i) for i, key in enumerate(keys)}


def test_arrays_whose_paths_look_alike_are_kept_apart(tmp_path):
    states = {
        "a": {"b/c": np.full(2, 1), "b": numbered("c", "c/", ""), "b~1c": np.full(2, 4), "b/": {"c": np.full(2, 5)}},
        "a/b": numbered("c", "c~0", "c~", "/c", "//c", "~", "/", ""),
        "list": {"0": [np.ones(1), {"0": np.zeros(1)}], "0/0": np.full(1, 2.0), "0/1/0": np.full(1, 3.0)},
    }
    path = tb.save_checkpoint(tmp_path / "run", **{name: Holder(state) for name, state in states.items()})
    loaded = {name: Holder() for name in states}
    tb.load_checkpoint(path, **loaded)
    np.testing.assert_equal({name: part.state for name, part in loaded.items()}, states)


@pytest.mark.parametrize("key", [0, 1.5, None, ("a", "b"), True, b"a"])
def test_a_key_that_is_no_string_is_refused(tmp_path, key):
    with pytest.raises(StateError, match=r"the state 'part/inner' has the key .* keys in a checkpoint are strings"):
        tb.save_checkpoint(tmp_path / "run", part=Holder({"inner": {"good": np.ones(2), key: np.ones(2)}}))
    assert not os.listdir(tmp_path)


def test_a_file_is_read_by_the_names_that_stand_in_it(tmp_path):
    # as files were written before slashes in keys were escaped
    from safetensors.numpy import save_file

    state = {"model": {"dict": {"a/b": {"array": "model/a/b", "shape": [2]}, "steps": {"list": [3, None]}}}}
    metadata = {"format": "tinygrad_batch checkpoint 1", "state": json.dumps(state)}
    save_file({"model/a/b": np.arange(2.0)}, tmp_path / "old", metadata)
    loaded = Holder()
    tb.load_checkpoint(tmp_path / "old", model=loaded)
    np.testing.assert_equal(loaded.state, {"a/b": np.arange(2.0), "steps": [3, None]})
