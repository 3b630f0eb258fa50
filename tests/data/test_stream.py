"""Streams: rows in the order in which they come, shuffled in windows, resumed anywhere."""

import functools
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_batch.data import DataIterator, Shuffled, Stream
from tinygrad_batch.data.orders import within_window
from tinygrad_batch.errors import ArgumentError, DataError, DtypeError


def from_start(rows):
    return lambda start: ((float(row), row * row) for row in range(start, rows))


def from_the_beginning(rows):
    return lambda: ((float(row), row * row) for row in range(rows))


def endless(start):
    return itertools.count(start)


def rows_of(batches):
    return [batch[0].numpy().tolist() for batch in batches]


@given(
    st.integers(1, 40),
    st.integers(1, 15),
    st.integers(1, 15),
    st.booleans(),
    st.sampled_from([from_start, from_the_beginning]),
)
def test_an_epoch_is_every_row_once_shuffled_within_its_window(rows, batch_size, window, drop_last, make):
    batches = DataIterator(Stream(make(rows), window=window), batch_size=batch_size, drop_last=drop_last, seed=3)
    for epoch in batches.epochs(2):
        found = rows_of(epoch)
        assert all(len(batch) == batch_size for batch in found[:-1])
        order = list(itertools.chain(*found))
        expected = []
        for first in range(0, rows, window):
            count = min(window, rows - first)
            expected += (
                (first + within_window(count, 3, epoch.number, first // window)).tolist() if window > 1 else [first]
            )
        assert order == expected[: rows - rows % batch_size if drop_last else rows]


@given(st.integers(1, 40), st.integers(1, 15), st.integers(1, 15), st.booleans(), st.booleans(), st.data())
def test_resuming_anywhere_gives_the_same_remaining_batches(rows, batch_size, window, seeks, known, data):
    make = from_start if seeks else from_the_beginning

    def iterator():
        return DataIterator(Stream(make(rows), window=window, length=rows if known else None), batch_size=batch_size)

    whole, states, batches = [], [], iterator()
    for epoch in batches.epochs(2):
        for xb, _ in epoch:
            whole.append((epoch.number, xb.numpy().tolist()))
            states.append(batches.state_dict())
    done = data.draw(st.integers(1, len(whole)))
    resumed = iterator()
    resumed.load_state_dict(states[done - 1])
    rest = [(epoch.number, found) for epoch in resumed.epochs(2 - resumed.epoch) for found in rows_of(epoch)]
    assert rest == whole[done:]


def test_a_start_is_asked_for_and_nothing_before_it_is_read():
    starts = []

    def rows(start):
        starts.append(start)
        return endless(start)

    batches = DataIterator(Stream(rows, window=100), batch_size=8)
    batches.load_state_dict({**batches.state_dict(), "step": 10**9 + 3})
    (xb,) = next(iter(batches))
    assert starts == [(10**9 + 3) * 8 // 100 * 100]
    assert set(xb.numpy().tolist()) <= set(range(starts[0], starts[0] + 200))


def test_an_endless_stream_has_no_length_and_loops_all_the_same():
    batches = DataIterator(Stream(endless), batch_size=4)
    assert rows_of(itertools.islice(batches, 2)) == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert rows_of(itertools.islice(batches, 1)) == [[0, 1, 2, 3]]  # broken off, so the same epoch again
    for ask in (lambda: len(batches), lambda: batches.rows, lambda: len(next(batches.epochs(1)))):
        with pytest.raises(DtypeError, match=r"this stream has no length.*length="):
            ask()
    assert batches
    assert not batches.is_last
    assert repr(batches) == "DataIterator(Stream(window=1), batch size 4)"
    assert repr(next(batches.epochs(1))) == "Epoch(0: a stream)"


def test_a_stream_that_ends_can_be_listed_without_a_length():
    batches = DataIterator(Stream(from_start(10)), batch_size=4)
    assert [len(xb) for xb, _ in list(batches)] == [4, 4, 2]
    assert batches.epoch == 1


def test_a_length_cuts_an_endless_stream_into_epochs():
    batches = DataIterator(Stream(endless, length=10, window=3), batch_size=4)
    assert (len(batches), batches.rows) == (3, 10)
    for epoch in batches.epochs(2):
        assert sorted(itertools.chain(*rows_of(epoch))) == list(range(10))
    xb, _ = next(iter(DataIterator(Stream(from_start(7), length=7))))
    assert len(xb) == 7  # a full batch
    assert repr(batches).startswith(
        "DataIterator(10 rows, batch size 4: 3 batches an epoch, the last of 2 rows, Stream"
    )


@pytest.mark.parametrize("make", [from_start, from_the_beginning])
def test_a_stream_that_ends_before_its_length(make):
    batches = DataIterator(Stream(make(10), length=12), batch_size=4)
    passing = iter(batches)
    assert len(list(itertools.islice(passing, 2))) == 2
    with pytest.raises(DataError, match="ended after 10 rows; its length is 12") as caught:
        next(passing)
    assert "while preparing batch 2 of epoch 0" in caught.value.__notes__


def test_the_last_batch_of_an_unknown_length_counts_by_its_rows():
    batches = DataIterator(Stream(from_start(10)), batch_size=4)
    for epoch in batches.epochs(1):
        means = [xb.mean() for xb, _ in epoch]
        assert epoch.mean(means) == 4.5
    assert batches.mean(means) == 4.5
    assert batches.global_rows == 2


@given(st.integers(1, 30), st.integers(1, 8), st.integers(1, 8), st.integers(1, 4))
def test_processes_share_a_stream(rows, batch_size, window, world_size):
    def iterator(**options):
        return DataIterator(Stream(from_start(rows), window=window), batch_size=batch_size, **options)

    parts = [rows_of(iterator(rank=rank, world_size=world_size)) for rank in range(world_size)]
    for whole, *own in zip(rows_of(iterator()), *parts, strict=True):
        assert own == [whole[rank::world_size] for rank in range(world_size)]


def test_rows_may_be_arrays_tuples_or_dicts():
    (xb,) = next(iter(DataIterator(Stream(lambda: iter(np.eye(4))), batch_size=3)))
    assert (xb.numpy() == np.eye(4)[:3]).all()
    batches = DataIterator(Stream(lambda: ({"image": np.ones((2, 2)), "label": i} for i in range(5))), batch_size=3)
    assert (batches.names, batches.as_dict) == ((), False)
    batch = next(iter(batches))
    assert (batches.names, batches.as_dict) == (("image", "label"), True)
    assert (batch["image"].shape, batch["label"].numpy().tolist()) == ((3, 2, 2), [0, 1, 2])
    assert batch["label"].name == "label"


def test_what_takes_a_start():
    def optional(other=5):
        return iter(range(3))

    def defaulted(start=0):
        return iter(range(start, 3))

    class Reader:
        def read(self, first):
            return iter(range(first, 3))

    def named(*, start):
        return iter(range(start, 3))

    def first(begin, /):
        return iter(range(begin, 3))

    parted = functools.partial(optional, 0)
    for rows in (optional, defaulted, Reader().read, parted, named, first, lambda start: range(start, 3)):
        batches = DataIterator(Stream(rows), batch_size=1)
        batches.load_state_dict({**batches.state_dict(), "step": 2})
        assert rows_of(batches) == [[2]]


def test_an_error_of_the_stream_comes_with_its_row_at_its_batch():
    def rows(start):
        for row in range(start, 10):
            if row == 9:
                raise OSError("the line is dead")
            yield row

    passing = iter(DataIterator(Stream(rows), batch_size=4))
    assert rows_of(itertools.islice(passing, 2)) == [[0, 1, 2, 3], [4, 5, 6, 7]]
    with pytest.raises(OSError, match="the line is dead") as caught:
        next(passing)
    assert caught.value.__notes__ == ["in row 9 of the stream", "while preparing batch 2 of epoch 0"]


def test_a_stream_that_was_used_up_is_not_an_epoch_without_rows():
    used_up = iter([1.0, 2.0, 3.0])
    epochs = DataIterator(Stream(lambda: used_up), batch_size=2).epochs(2)
    assert rows_of(next(epochs)) == [[1.0, 2.0], [3.0]]
    with pytest.raises(DataError, match=r"the stream gave no rows. .* return one that begins anew") as caught:
        list(next(epochs))
    assert "while preparing batch 0 of epoch 1" in caught.value.__notes__


def test_after_the_last_batch_of_an_unknown_length_its_epoch_has_none_left():
    batches, resumed = (DataIterator(Stream(from_start(4)), batch_size=2) for _ in range(2))
    for _ in batches:
        state = batches.state_dict()
    resumed.load_state_dict(state)
    assert [(epoch.number, rows_of(epoch)) for epoch in resumed.epochs(2)] == [(0, []), (1, [[0, 1], [2, 3]])]


@pytest.mark.parametrize(
    ("rows", "error", "message"),
    [
        ([(1.0, 2), 3.0], DataError, "the stream gave a float; expected a tuple of x, y"),
        ([(1.0, 2), (1.0, 2, 3)], DataError, "a tuple of 3; expected a tuple of x, y"),
        ([{"a": 1}, {"b": 1}], DataError, r"a dict of \['b'\]; expected a dict of a"),
        ([1.0, {"b": 1}], DataError, r"a dict of \['b'\]; expected a tuple of x"),
        ([np.zeros(2), np.zeros(3)], DataError, r"x has rows of different shapes: \(2,\), \(3,\). Pad"),
        (["a", "b"], DtypeError, "holds no numbers"),
        ([{1: 2}], ArgumentError, "the key 1"),
        ([()], DataError, "a row without arrays"),
        ([1.0, None], DataError, "the stream gave None; expected a tuple of x"),
        ([], DataError, "the stream gave no rows"),
    ],
)
def test_rows_that_are_none(rows, error, message):
    with pytest.raises(error, match=message):
        next(iter(DataIterator(Stream(lambda: iter(rows)), batch_size=2)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Stream([1, 2]), r"rows is a list; expected a callable"),
        (lambda: Stream(iter([1, 2])), "Pass a function that returns it"),
        (lambda: Stream(range), "rows has no signature"),
        (lambda: Stream(endless, window=0), "window is 0"),
        (lambda: Stream(endless, length=0), "length is 0"),
        (lambda: DataIterator(Stream(endless)), "without length has no full batch"),
        (lambda: DataIterator(Stream(endless), [1.0], batch_size=1), "a stream was given among other data"),
        (lambda: DataIterator(Stream(endless), batch_size=1, shuffle=True), r"window=1024"),
        (lambda: DataIterator(Stream(endless), batch_size=1, sampler=Shuffled()), "a stream has no sampler"),
    ],
)
def test_streams_that_there_are_not(make, message):
    with pytest.raises(ArgumentError, match=message):
        make()
