"""Samplers: what each promises of an epoch, for every number of rows and batch size."""

import itertools
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tinygrad_batch.data import (
    Blocks,
    Bucketed,
    DataIterator,
    Sequential,
    Shuffled,
    Stratified,
    Weighted,
)
from tinygrad_batch.data.orders import shuffled
from tinygrad_batch.data.samplers import Sampler
from tinygrad_batch.data.sources import Sliced
from tinygrad_batch.errors import ArgumentError, DataError

ROWS = 37
RNG = np.random.default_rng(0)
EACH_ROW_ONCE = {
    "sequential": Sequential(),
    "shuffled": Shuffled(),
    "keyed": Shuffled(keyed=True),
    "stratified": Stratified(RNG.integers(0, 3, ROWS)),
    "bucketed": Bucketed(RNG.integers(1, 9, ROWS)),
    "bucketed in small pools": Bucketed(RNG.integers(1, 9, ROWS), pool=2),
    "blocks": Blocks(block_rows=4, window=3),
    "weighted without replacement": Weighted(RNG.uniform(1, 2, ROWS), replacement=False),
}
ALL = {**EACH_ROW_ONCE, "weighted": Weighted(RNG.uniform(0, 2, ROWS), rows_per_epoch=50)}


def rows_of(batches):
    return [xb.numpy().tolist() for (xb,) in batches]


@pytest.mark.parametrize("sampler", EACH_ROW_ONCE.values(), ids=EACH_ROW_ONCE)
@pytest.mark.parametrize("batch_size", [1, 4, 5, 36, 37, 40])
def test_each_row_comes_once_and_every_epoch_has_its_order(sampler, batch_size):
    orders = [
        list(sampler.order(ROWS, batch_size, seed, epoch)) for seed, epoch in itertools.product(range(2), repeat=2)
    ]
    assert all(sorted(order) == list(range(ROWS)) for order in orders)
    assert orders[0] == list(sampler.order(ROWS, batch_size, 0, 0))
    if sampler is not EACH_ROW_ONCE["sequential"]:
        assert orders[1] != orders[2]  # seed 0 in epoch 1 and seed 1 in epoch 0
    batches = rows_of(DataIterator(np.arange(ROWS), batch_size=batch_size, sampler=sampler))
    assert list(itertools.chain(*batches)) == orders[0]


@pytest.mark.parametrize("sampler", ALL.values(), ids=ALL)
@given(st.integers(1, 45), st.integers(0, 50))
def test_pieces_are_the_order_from_anywhere(sampler, batch_size, start):
    order = list(sampler.order(ROWS, batch_size, 1, 2))
    assert len(order) == sampler.count(ROWS)
    pieces = list(sampler.pieces(ROWS, batch_size, 1, 2, start))
    assert list(itertools.chain(*pieces)) == order[start:]


@pytest.mark.parametrize("sampler", ALL.values(), ids=ALL)
def test_a_training_resumes_anywhere_with_every_sampler(sampler):
    def make():
        return DataIterator(np.arange(ROWS), batch_size=5, sampler=sampler, seed=3)

    whole, states = [], []
    batches = make()
    for epoch in batches.epochs(2):
        for (xb,) in epoch:
            whole.append(xb.numpy().tolist())
            states.append(batches.state_dict())
    for done, state in enumerate(states[:-1], 1):
        resumed = make()
        resumed.load_state_dict(state)
        assert [rows for epoch in resumed.epochs(2 - resumed.epoch) for rows in rows_of(epoch)] == whole[done:]


def test_what_a_sampler_says_of_itself_tells_it_from_others():
    weights = RNG.uniform(0, 1, ROWS)
    samplers = [
        *ALL.values(),
        Weighted(weights),
        Weighted(weights[::-1]),
        Weighted(weights, rows_per_epoch=5),
        Blocks(4, 2),
        Bucketed(weights),
    ]
    assert len({repr(sampler) for sampler in samplers}) == len(samplers)
    assert repr(Weighted(weights)) == repr(Weighted(weights.copy()))
    assert repr(Blocks(4, 2)) == "Blocks(block_rows=4, window=2)"


def test_a_sampler_of_your_own():
    class Backwards(Sampler):
        def order(self, rows, batch_size, seed, epoch):
            return np.arange(rows)[::-1]

    batches = DataIterator(np.arange(5), batch_size=2, sampler=Backwards())
    assert rows_of(batches) == [[4, 3], [2, 1], [0]]
    assert repr(batches) == (
        "DataIterator(5 rows, batch size 2: 3 batches an epoch, the last of 1 row, Backwards() with seed 0)"
    )


# ---- weighted ----


def test_rows_come_in_proportion_to_their_weights():
    weights = np.array([0.0, 1.0, 2.0, 0.0, 5.0, 0.0])
    order = Weighted(weights, rows_per_epoch=8000).order(6, 1, seed=0, epoch=0)
    counts = np.bincount(order, minlength=6)
    assert (counts[weights == 0] == 0).all()
    drawn = weights > 0
    assert stats.chisquare(counts[drawn], 8000 * weights[drawn] / weights.sum()).pvalue > 1e-4


def test_without_replacement_each_draw_is_in_proportion_to_what_is_left():
    weights = np.array([1.0, 2.0, 5.0])
    sampler = Weighted(weights, replacement=False, rows_per_epoch=2)
    pairs = [tuple(sampler.order(3, 1, seed, 0)) for seed in range(4000)]
    expected = {(i, j): weights[i] / 8 * weights[j] / (8 - weights[i]) for i, j in itertools.permutations(range(3), 2)}
    counts = [pairs.count(pair) for pair in expected]
    assert sum(counts) == 4000
    assert stats.chisquare(counts, 4000 * np.array(list(expected.values()))).pvalue > 1e-4


def test_how_many_rows_an_epoch_of_weighted_ones_has():
    weights = [1, 0, 3]
    assert len(DataIterator(np.arange(3), batch_size=1, sampler=Weighted(weights))) == 3
    assert len(DataIterator(np.arange(3), batch_size=1, sampler=Weighted(weights, replacement=False))) == 2
    batches = DataIterator(np.arange(3), batch_size=4, sampler=Weighted(weights, rows_per_epoch=10))
    assert [len(xb) for (xb,) in batches] == [4, 4, 2]
    assert batches.rows == 3


# ---- stratified ----


@given(st.lists(st.integers(0, 4), min_size=1, max_size=80), st.integers(1, 90), st.integers(0, 5), st.integers(1, 4))
def test_class_counts_of_every_batch_are_the_proportions_rounded(labels, batch_size, epoch, world_size):
    labels = np.array(labels)
    rows = len(labels)
    order = Stratified(labels).order(rows, batch_size, 0, epoch)
    assert sorted(order) == list(range(rows))
    for start in range(0, rows, batch_size):
        batch = labels[order[start : start + batch_size]]
        for label in set(labels.tolist()):
            share = (labels == label).sum() * len(batch)
            count = (batch == label).sum()
            assert share // rows <= count <= -(-share // rows)
            for rank in range(world_size):
                own = (batch[rank::world_size] == label).sum()
                assert count // world_size <= own <= -(-count // world_size)


def test_labels_may_be_words_and_companions_change():
    sampler = Stratified(["cat", "dog"] * 20)
    first, second = (sampler.order(40, 4, 0, epoch).reshape(10, 4) for epoch in range(2))
    assert {frozenset(batch) for batch in first.tolist()} != {frozenset(batch) for batch in second.tolist()}
    places = np.array([np.flatnonzero(sampler.order(41 - 1, 6, 0, epoch) == 7)[0] for epoch in range(1000)])
    assert abs((places >= 36).mean() - 4 / 40) < 4 * np.sqrt(0.1 * 0.9 / 1000)  # in the short batch like any other


# ---- bucketed ----


@given(st.lists(st.integers(0, 50), min_size=1, max_size=80), st.integers(1, 90), st.integers(1, 4), st.integers(0, 5))
def test_a_batch_is_a_run_of_its_pool_sorted_by_length(lengths, batch_size, pool, epoch):
    lengths, rows = np.array(lengths), len(lengths)
    order = Bucketed(lengths, pool=pool).order(rows, batch_size, 0, epoch)
    assert sorted(order) == list(range(rows))
    pool_of = np.empty(rows, int)
    pool_of[shuffled(rows, 0, epoch)] = np.arange(rows) // (batch_size * pool)
    batches = [order[start : start + batch_size] for start in range(0, rows, batch_size)]
    for batch in batches:
        assert len(set(pool_of[batch])) == 1
    for number in set(pool_of.tolist()):
        runs = sorted((lengths[b].min(), lengths[b].max()) for b in batches if pool_of[b[0]] == number)
        assert all(last <= first for (_, last), (first, _) in itertools.pairwise(runs))


def test_batches_of_a_length_come_at_any_time_and_the_short_one_last():
    lengths = np.arange(1000)
    sampler = Bucketed(lengths)
    means = np.array([sampler.order(1000, 30, 0, epoch)[:990].reshape(33, 30).mean(axis=1) for epoch in range(200)])
    assert abs(np.corrcoef(np.arange(33), means.mean(axis=0))[0, 1]) < 0.6
    short = np.array([sampler.order(1000, 30, 0, epoch)[990:] for epoch in range(200)])
    assert (np.ptp(short, axis=1) == 9).all()  # neighbours in length, too
    assert stats.kstest(short.mean(axis=1) / 1000, "uniform").pvalue > 1e-4


# ---- blocks ----


def test_a_window_holds_the_rows_of_its_blocks():
    pieces = list(Blocks(block_rows=4, window=3).pieces(38, 5, 0, 0, 0))
    blocks = [set(piece // 4) for piece in pieces]
    assert [len(piece) for piece in pieces] == [12 - 2 * (9 in found) for found in blocks[:-1]] + [len(pieces[-1])]
    assert [len(found) for found in blocks] == [3, 3, 3, 1]
    assert set.union(*blocks) == set(range(10))


@pytest.mark.parametrize("window", [8, 31, 310])
def test_how_rough_batches_of_sorted_rows_are(window):
    """The variance of the means of batches, over that of a full shuffle, is what the docstring says."""
    rows, batch_size = 64 * 3100, 32
    sampler = Blocks(block_rows=64, window=window)
    means = [
        sampler.order(rows, batch_size, 0, e).reshape(-1, batch_size).mean(axis=1) for e in range(5 + window // 31)
    ]
    full = np.arange(rows).var() / batch_size
    assert np.isclose(np.var(means) / full, 1 + (batch_size - 1) / window, rtol=0.12)


# ---- what is refused ----


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Weighted([1.0, -1.0]), ArgumentError, r"weights\[1\] is -1.0; expected a finite number of at least 0"),
        (lambda: Weighted([0.0, 0.0]), ArgumentError, "all weights are 0"),
        (lambda: Weighted([1.0, np.nan]), ArgumentError, r"weights\[1\] is nan"),
        (lambda: Weighted([[1.0]]), DataError, r"weights has shape \(1, 1\)"),
        (lambda: Weighted(["a"]), DataError, "weights has dtype"),
        (lambda: Weighted([1.0], rows_per_epoch=0), ArgumentError, "rows_per_epoch is 0"),
        (lambda: Weighted([1.0, 0.0], False, 2), ArgumentError, "at most 1 can be drawn"),
        (lambda: Weighted([1.0], replacement=1), ArgumentError, "replacement is 1"),
        (lambda: Stratified([]), DataError, r"labels has shape \(0,\)"),
        (lambda: Stratified(np.array([1, "a", None], object)), DataError, "labels cannot be told apart"),
        (lambda: Bucketed([1.0], pool=0), ArgumentError, "pool is 0"),
        (lambda: Bucketed([[1.0]]), DataError, "lengths has shape"),
        (lambda: Blocks(0, 1), ArgumentError, "block_rows is 0"),
        (lambda: Blocks(1, 2.0), ArgumentError, "window is 2.0"),
        (lambda: Shuffled(keyed=1), ArgumentError, "keyed is 1"),
    ],
)
def test_samplers_that_there_are_not(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize("sampler", [Weighted([1.0, 2.0]), Stratified([0, 1]), Bucketed([1, 2])])
def test_a_sampler_for_other_data_is_refused(sampler):
    with pytest.raises(DataError, match=r"there are 2 .* for 3 rows"):
        DataIterator(np.arange(3), sampler=sampler)


def test_a_sampler_stands_alone_and_is_one():
    with pytest.raises(ArgumentError, match="both shuffle=True and a sampler"):
        DataIterator([1.0], shuffle=True, sampler=Shuffled())
    with pytest.raises(ArgumentError, match="sampler is a str"):
        DataIterator([1.0], sampler="shuffled")


def test_a_state_of_another_sampler_is_refused():
    first, second = (DataIterator(np.arange(2), sampler=Weighted(weights)) for weights in ([1, 2], [2, 1]))
    with pytest.raises(KeyError, match="taken with sampler='Weighted"):
        second.load_state_dict(first.state_dict())


def test_an_option_is_the_same_whatever_its_type():
    pairs = [
        (Blocks(np.int64(2), np.int32(3)), Blocks(2, 3)),
        (Bucketed(np.array([1, 2, 3], np.int8), pool=np.int64(2)), Bucketed([1.0, 2.0, 3.0], 2)),
        (Weighted([1, 2, 3], np.True_, np.int64(2)), Weighted([0.5, 1.0, 1.5], True, 2)),
    ]
    for first, second in pairs:
        resumed, saved = (DataIterator(np.arange(3), batch_size=2, sampler=s) for s in (first, second))
        resumed.load_state_dict(saved.state_dict())
        assert rows_of(resumed) == rows_of(saved)


def test_a_sampler_keeps_what_it_was_given():
    lengths = np.array([1, 2, 3, 4])
    sampler = Bucketed(lengths)
    before = repr(sampler), sampler.order(4, 2, 0, 0).tolist()
    lengths[:] = lengths[::-1].copy()
    assert (repr(sampler), sampler.order(4, 2, 0, 0).tolist()) == before


def test_weights_of_any_size():
    assert set(Weighted([1e308] * 4).order(4, 1, 0, 0)) <= {0, 1, 2, 3}
    for replacement in (True, False):
        assert set(Weighted([0, 1e-320, 1], replacement).order(3, 1, 0, 0)) == {2}
    assert set(Weighted([5e-324, 0]).order(2, 1, 0, 1)) == {0}


def test_a_block_larger_than_the_data_takes_no_more_room():
    assert sorted(Blocks(block_rows=10**15, window=1).order(10, 2, 0, 0)) == list(range(10))


@dataclass(frozen=True, repr=False)
class Given(Sampler):
    """An order that anybody may have written."""

    pieces_given: tuple
    rows_counted: int = 3

    def pieces(self, rows, batch_size, seed, epoch, start):
        return iter(self.pieces_given)

    def count(self, rows):
        return self.rows_counted


@pytest.mark.parametrize("source", [np.asarray, lambda array: Sliced(array, "x")])
@pytest.mark.parametrize("piece", [[2, 0, 1], np.array([2, 0, 1], np.uint8), range(2, -1, -1)])
def test_a_sampler_may_give_any_numbers_of_rows(source, piece):
    batches = DataIterator(source(np.arange(3.0)), batch_size=2, sampler=Given((piece,)))
    assert rows_of(batches) == [[piece[0], piece[1]], [piece[2]]]


@pytest.mark.parametrize("source", [np.asarray, lambda array: Sliced(array, "x")])
@pytest.mark.parametrize(
    ("pieces", "message"),
    [
        (([0, 1],), "gave 2 rows; its count says 3"),
        (([0, 1, 2], [0]), "gave 4 rows; its count says 3"),
        (([0, 1, 3],), "gave the row 3; there are 3 rows, from 0"),
        ((range(-1, 2),), "gave the row -1"),
        (([True, False, True],), r"gave bool of shape \(3,\); expected the numbers of rows"),
        (([[0, 1, 2]],), r"gave int64 of shape \(1, 3\)"),
        (([0.0, 1.0, 2.0],), "gave float64"),
    ],
)
def test_an_order_that_is_none_is_refused(source, pieces, message):
    with pytest.raises(DataError, match=r"^Given\(.*\) in epoch 0 " + message):
        list(DataIterator(source(np.arange(3.0)), batch_size=3, sampler=Given(pieces)))
