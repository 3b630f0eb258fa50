"""Threads that prepare batches: the same batches in the same order, and no thread left when nobody wants more."""

import gc
import subprocess
import sys
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_batch.data import Blocks, DataIterator, Stream
from tinygrad_batch.data.prefetch import ahead
from tinygrad_batch.errors import ArgumentError

X = np.arange(40.0).reshape(20, 2)
THREADS = [{"prefetch": 1}, {"prefetch": 5}, {"prefetch": 3, "workers": 3}]


class Stored:
    def __init__(self, array):
        self._array, self.shape, self.dtype = array, array.shape, array.dtype

    def __getitem__(self, rows):
        return self._array[rows]


def prefetching():
    return [thread for thread in threading.enumerate() if thread.name.startswith("prefetch")]


@pytest.fixture(autouse=True)
def no_thread_is_left():
    yield
    assert prefetching() == []


DATA = {
    "array": lambda: (X, {}),
    "shuffled": lambda: (X, {"shuffle": True}),
    "stored": lambda: (Stored(X), {"shuffle": True}),
    "blocks": lambda: (Stored(X), {"sampler": Blocks(3, 2)}),
    "stream": lambda: (Stream(lambda start: iter(X[start:]), window=6), {}),
    "transformed": lambda: (X, {"shuffle": True, "transform": lambda x, rng: x + rng.random(2)}),
}


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("data", DATA.values(), ids=DATA)
def test_batches_and_states_are_those_without_threads(data, threads):
    def trail(**options):
        data_, more = data()
        batches = DataIterator(data_, batch_size=3, **more, **options)
        return [(xb.numpy().tolist(), batches.state_dict()) for epoch in batches.epochs(2) for (xb,) in epoch]

    assert trail(**threads) == trail()


@given(st.integers(0, 30), st.integers(1, 8), st.integers(1, 4))
def test_items_come_in_order_whoever_made_them(count, room, workers):
    work = iter([lambda number=number: number for number in range(count)])
    assert list(ahead(work, room, workers)) == list(range(count))


def test_workers_work_at_the_same_time_and_the_slow_first_comes_first():
    second_is_done = threading.Event()

    def transform(x, rng):
        if x[0, 0] == 0.0:
            assert second_is_done.wait(10)  # the other thread is not kept waiting
        else:
            second_is_done.set()
        return x

    batches = DataIterator(X[:2], batch_size=1, batch_transform=transform, prefetch=2, workers=2)
    assert [xb.numpy()[0, 0] for (xb,) in batches] == [0.0, 2.0]


def test_no_more_is_prepared_than_was_asked_for():
    made, taken, too_early = 0, 0, []

    def transform(x, rng):
        nonlocal made
        made += 1
        if made > taken + 1 + 3:  # the one that is being waited for, and three ahead
            too_early.append((made, taken))
        return x

    for _ in DataIterator(X, batch_size=1, batch_transform=transform, prefetch=3):
        taken += 1
    assert (made, taken, too_early) == (20, 20, [])


def test_the_state_counts_what_was_handed_out_and_not_what_was_prepared():
    third = threading.Event()

    def transform(x, rng):
        if x[0, 0] == X[2, 0]:
            third.set()
        return x

    batches = DataIterator(X, batch_size=1, batch_transform=transform, prefetch=4)
    for _ in batches:
        assert third.wait(10)  # two more are ready
        break
    assert (batches.cursor, batches.batch_index) == ((0, 0, 1), 0)


# ---- the threads end ----


@pytest.mark.parametrize("threads", THREADS)
def test_threads_end_when_a_loop_does(threads):
    batches = DataIterator(X, batch_size=2, **threads)
    passing = iter(batches)
    next(passing)
    assert len(prefetching()) == threads.get("workers", 1)
    assert len(list(passing)) == 9
    assert prefetching() == []
    for _ in batches:
        break
    assert prefetching() == []
    pairs = [(a.numpy()[0, 0], b.numpy()[0, 0]) for (a,) in batches for (b,) in batches]
    assert pairs == [(a, b) for a in X[::2, 0] for b in X[::2, 0]]
    with pytest.raises(ZeroDivisionError):
        [1 // 0 for _ in batches]
    assert prefetching() == []


def test_threads_end_when_nobody_holds_the_iterator():
    passing = iter(DataIterator(X, batch_size=2, prefetch=4, workers=2))
    next(passing)
    assert len(prefetching()) == 2
    del passing
    assert prefetching() == []
    circle = [iter(DataIterator(X, batch_size=2, prefetch=4, workers=2))]
    next(circle[0])
    circle.append(circle)
    del circle
    gc.collect()
    assert prefetching() == []


def test_a_thread_that_collects_the_garbage_ends_itself():
    dropped = threading.Event()

    def transform(x, rng):
        if x[0, 0] > 0:
            dropped.wait(10)
            gc.collect()
        return x

    gc.disable()
    try:
        circle = [iter(DataIterator(X, batch_size=1, batch_transform=transform, prefetch=4, workers=2))]
        next(circle[0])
        circle.append(circle)
        threads = prefetching()
        del circle
        dropped.set()  # only now do the threads go on, and find the garbage
        for thread in threads:
            thread.join(10)
        assert prefetching() == []
    finally:
        gc.enable()


@pytest.mark.parametrize("threads", THREADS)
def test_an_error_comes_at_its_batch_and_ends_the_threads(threads):
    def fails(x, rng):
        if x[0] == X[7, 0]:
            raise OverflowError("too much")
        return x

    def rows(start):
        yield from X[start:7]
        raise OverflowError("too much")

    for batches in (
        DataIterator(X, batch_size=2, transform=fails, **threads),
        DataIterator(Stream(rows), batch_size=2, **threads),
    ):
        passing = iter(batches)
        assert [next(passing)[0].numpy()[0, 0] for _ in range(3)] == [0.0, 4.0, 8.0]
        with pytest.raises(OverflowError, match="too much") as caught:
            next(passing)
        assert any("row 7" in note for note in caught.value.__notes__)
        assert "while preparing batch 3 of epoch 0" in caught.value.__notes__
        assert prefetching() == []
        with pytest.raises(StopIteration):
            next(passing)


def test_what_is_raised_in_a_thread_is_never_lost():
    def leave():
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        list(ahead(iter([leave]), 1, 1))


PROGRAM = """
import threading
import numpy as np
from tinygrad_batch.data import DataIterator, Stream, prefetch

prefetch.PATIENCE = 0.1
never = threading.Event()

def endless(start):
    while True:
        yield 1.0

def stuck(start):
    yield 1.0
    never.wait()

options = dict(batch_size=1, prefetch=3, workers=2)
passing = [iter(DataIterator(data, **options)) for data in (np.arange(9.0), Stream(endless), Stream(stuck))]
for each in passing:
    next(each)
circle = passing
circle.append(circle)
print("end")
"""


@pytest.mark.parametrize(("end", "code"), [("", 0), ("raise SystemExit(3)", 3)])
def test_a_program_ends_whatever_its_threads_are_at(end, code):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM + end], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (code, "end\n", "")


def test_a_source_that_never_answers_does_not_hold_up_a_break(monkeypatch):
    monkeypatch.setattr("tinygrad_batch.data.prefetch.PATIENCE", 0.01)
    answer = threading.Event()

    def rows(start):
        yield 1.0
        answer.wait(30)
        yield 2.0

    for _ in DataIterator(Stream(rows), batch_size=1, prefetch=2):
        break
    (thread,) = prefetching()  # left behind, until the source answers
    answer.set()
    thread.join(10)
    assert not thread.is_alive()


def test_many_workers_that_never_answer_are_waited_for_as_long_as_one(monkeypatch):
    monkeypatch.setattr("tinygrad_batch.data.prefetch.PATIENCE", 0.2)
    answer, busy, waited = threading.Event(), threading.Semaphore(0), []

    def join(thread, timeout):
        waited.append(timeout)
        answer.wait(timeout)

    def slow(x, rng):
        if x:
            busy.release()
            answer.wait(30)
        return x

    for _ in DataIterator(np.arange(9), batch_size=1, transform=slow, prefetch=5, workers=4):
        for _ in range(4):
            assert busy.acquire(timeout=10)
        monkeypatch.setattr(threading.Thread, "join", join)
        break
    answer.set()
    monkeypatch.undo()
    for thread in prefetching():
        thread.join(10)
    assert len(waited) == 4
    assert sum(waited) < 0.3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prefetch": -1}, "prefetch is -1"),
        ({"prefetch": 2.0}, "prefetch is 2.0"),
        ({"workers": 0}, "workers is 0"),
        ({"workers": 2}, "there are workers=2 for prefetch=0"),
        ({"prefetch": 2, "workers": 3}, "there are workers=3 for prefetch=2"),
    ],
)
def test_threads_that_there_are_not(options, message):
    with pytest.raises(ArgumentError, match=message):
        DataIterator(X, **options)
