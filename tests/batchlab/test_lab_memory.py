"""The largest batch, what a step takes in a process of its own, and batches in parts."""

import os

import numpy as np
import pytest

import tinygrad_batch as tb
from tinygrad_batch import nn
from tinygrad_batch.batchlab import (
    accumulation_errors,
    checkpoint_curve,
    child,
    largest_batch,
    load_problem,
    measure,
    memory_report,
)
from tinygrad_batch.batchlab.child import ChildError
from tinygrad_batch.batchlab.memory import as_bytes, batch_like, training_step
from tinygrad_batch.errors import ArgumentError


def seed_net():
    return nn.Sequential(nn.Linear(10, 15), nn.Tanh(), nn.Linear(15, 10), nn.Tanh(), nn.Linear(10, 1))


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("512 MiB", 512 * 2**20),
        ("1.5 GB", 1_500_000_000),
        ("3kb", 3000),
        ("512", 512),
        (7, 7),
        (np.int64(9), 9),
        (" 2 B ", 2),
    ],
)
def test_amounts_of_memory(given, found):
    assert as_bytes(given) == found


@pytest.mark.parametrize("given", ["", "0 MiB", "many", "-1 MB", "1 PB", "MB", 0, -3, 1.5, True, None])
def test_what_is_no_amount_of_memory(given):
    with pytest.raises(ArgumentError, match="memory is"):
        as_bytes(given)


def test_the_largest_batch_fills_the_memory_and_no_more():
    found = largest_batch(seed_net(), nn.MSELoss(), memory="64 MiB")
    assert found.price.total.at(found.rows) <= 64 * 2**20
    assert found.price.total.at(found.rows + 300) > 64 * 2**20 - 2 * 2**16
    assert found.price.total.per_row == 320 + 88  # the peak of the step, and the batch itself
    assert found.fits is None


@pytest.mark.parametrize(
    ("model", "loss_fn"),
    [
        (seed_net(), nn.MSELoss()),
        (nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10)), nn.CrossEntropyLoss()),
    ],
)
def test_a_process_with_that_limit_agrees(model, loss_fn):
    found = largest_batch(model, loss_fn, memory="192 MiB", confirm=True)  # 1 %: more than Python's own room
    assert found.fits
    assert not found.one_per_cent_more_fits
    assert "ran with them, and did not with 1 % more" in str(found)


@pytest.mark.parametrize(
    ("layers", "loss_fn", "target"),
    [
        (lambda: [nn.Linear(64, 8), nn.Tanh(), nn.Linear(8, 1)], nn.MSELoss(), np.zeros((1, 1), "f")),
        (lambda: [nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10)], nn.CrossEntropyLoss(), np.zeros(1, int)),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "int16"])
def test_a_batch_of_another_dtype_is_cast_and_that_takes_room(layers, loss_fn, target, dtype):
    model = nn.Sequential(*layers())
    like = (np.zeros((1, 64), dtype), target)
    found = measure(training_step(model, loss_fn), batch_like(model, loss_fn, like), 50_000, in_process=False)
    assert found.peak > 50_000 * 64 * 8  # the batch as float64
    assert found.traced == pytest.approx(found.peak, rel=0.01)
    assert largest_batch(model, loss_fn, memory="48 MiB", like=like, confirm=True).fits


def test_the_arrays_of_the_optimiser_take_room_too():
    model = nn.Linear(1000, 1000)
    plain = largest_batch(model, nn.MSELoss(), "64 MiB")
    adam = largest_batch(model, nn.MSELoss(), "64 MiB", optimizer=tb.optim.Adam(model.parameters()))
    assert plain.rows - adam.rows == pytest.approx(2 * 8 * 1_001_000 / plain.price.total.per_row, rel=0.01)


def test_what_does_not_fit_at_all():
    with pytest.raises(ArgumentError, match=r"not even one row fits into 1\.0 MB"):
        largest_batch(nn.Linear(1000, 1000), nn.MSELoss(), "1 MB")


def test_the_shape_of_a_row_is_told_by_the_model_or_by_a_batch():
    shapes = [a.shape for a in batch_like(seed_net(), nn.MSELoss())]
    assert shapes == [(1, 10), (1, 1)]
    x, y = batch_like(nn.Linear(3, 4), nn.CrossEntropyLoss())
    assert (x.shape, y.shape, y.dtype) == ((1, 3), (1,), np.int64)
    convolution = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(72, 1))
    with pytest.raises(ArgumentError, match="like="):
        largest_batch(convolution, nn.MSELoss())
    found = largest_batch(convolution, nn.MSELoss(), "8 MiB", like=(np.zeros((2, 1, 8, 8)), np.zeros((2, 1))))
    assert found.rows > 100


def test_a_step_takes_what_it_was_priced_at_here_and_in_a_process_of_its_own():
    model, loss_fn = seed_net(), nn.MSELoss()
    found = measure(training_step(model, loss_fn), batch_like(model, loss_fn), 200_000)
    assert found.peak == pytest.approx(64_000_000, rel=0.001)
    assert found.traced == pytest.approx(found.peak, rel=0.01)
    assert found.resident == pytest.approx(found.peak, rel=0.01)


# ---- processes of their own ----


def test_a_function_runs_in_a_copy_of_this_process():
    here = {"value": 1}

    def change():
        here["value"] = 2
        return [here["value"], os.getpid()]

    value, process = child.run(change)
    assert (value, here["value"]) == (2, 1)
    assert process != os.getpid()


def test_the_limit_is_on_what_comes_on_top():
    def allocate(count):
        return lambda: len(np.ones(count, np.uint8))

    assert child.run(allocate(10_000_000), limit=20_000_000) == 10_000_000
    assert child.run(allocate(30_000_000), limit=20_000_000) == child.OUT_OF_MEMORY
    assert child.run(allocate(30_000_000)) == 30_000_000


def test_what_goes_wrong_in_a_copy_is_told():
    with pytest.raises(ChildError, match="failed: ZeroDivisionError"):
        child.run(lambda: 1 / 0)
    with pytest.raises(ChildError, match="signal 9 and said nothing"):
        child.run(lambda: os.kill(os.getpid(), 9))
    with pytest.raises(ChildError, match="not JSON serializable"):
        child.run(lambda: object())
    with pytest.raises(ArgumentError, match="VmNone"):
        child.status("VmNone")


def test_an_interrupted_wait_leaves_no_process_behind(monkeypatch):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("tinygrad_batch.batchlab.child.select.select", interrupted)
    with pytest.raises(KeyboardInterrupt):
        child.run(lambda: __import__("time").sleep(60))
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_where_processes_cannot_be_limited_that_is_said(monkeypatch):
    monkeypatch.setattr("tinygrad_batch.batchlab.child.sys.platform", "darwin")
    assert not child.available()
    with pytest.raises(ArgumentError, match="on Linux, not on darwin"):
        child.run(lambda: 1)


# ---- parts, and checkpoints ----


def test_gradients_of_parts_weighted_by_rows_are_those_of_the_whole():
    for name in ("diabetes", "digits"):
        for found in accumulation_errors(load_problem(name), (100, 32)):
            assert found.by_rows < 3e-15
            assert found.mean_of_means > 0.01
            assert sum(found.parts) == found.rows


def test_the_curve_of_checkpoints():
    assert checkpoint_curve(64, segments=(1, 8, 64)) == {1: 65, 8: 18, 64: 67}


def test_the_report_of_memory():
    found = memory_report(load_problem("diabetes"), [1, 32, None], many=(1000,), memory="64 MiB")
    assert [one.rows for one in found.by_batch] == [1, 32, 353]
    assert [one.kept for one in found.by_batch] == [208, 208 * 32, 208 * 353]
    assert 1.4 < found.backward_flops / found.forward_flops < 2
