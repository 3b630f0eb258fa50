"""Orders of rows: permutations for every number of rows, and as random as is promised."""

import itertools
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tinygrad_batch.data import Blocks, Bucketed, Shuffled, Stratified, Weighted, orders
from tinygrad_batch.data.orders import draws, generator, keyed, keyed_pieces, shuffled, sorting, within_window

SMALL = list(range(1, 301))
AROUND_POWERS = [2**k + d for k in range(9, 17) for d in (-1, 0, 1)]
HUGE = [10**12, 2**40 - 1, 2**40, 2**40 + 1, 2**62]


# ---- the sort ----


@pytest.mark.parametrize(("seed", "epoch"), [(0, 0), (0, 1), (1, 0), (7, 12), (2**32 - 1, 3)])
@pytest.mark.parametrize("rows", [1, 2, 10, 1000])
def test_the_order_is_that_of_the_raw_draws(rows, seed, epoch):
    bits = np.random.PCG64(np.random.SeedSequence([seed, epoch, 1]))
    raw = [int(bits.random_raw()) for _ in range(rows)]
    assert shuffled(rows, seed, epoch).tolist() == sorted(range(rows), key=raw.__getitem__)


@given(st.integers(1, 40), st.integers(0, 2**32 - 1), st.integers(0, 99), st.integers(0, 2**32 - 1))
def test_the_order_in_a_window_is_that_of_its_raw_draws(rows, seed, epoch, window):
    raw = np.random.PCG64(np.random.SeedSequence([seed, epoch, window, 4])).random_raw(rows).tolist()
    assert within_window(rows, seed, epoch, window).tolist() == sorted(range(rows), key=raw.__getitem__)


@pytest.mark.parametrize("seed", [0, 1, 42, 2**40])
def test_no_order_sorts_the_numbers_of_a_generator_of_the_same_seed(seed):
    """NumPy fills a key up with zeros, so an order made of `seed, 0` alone sorts ``default_rng(seed).random()``."""
    numbers = np.random.default_rng(seed).random(1000)
    samplers = [Shuffled(), Shuffled(keyed=True), Stratified(np.zeros(1000)), Bucketed(np.ones(1000)), Blocks(1, 1)]
    for sampler in [*samplers, Weighted(np.ones(1000)), Weighted(np.ones(1000), replacement=False)]:
        for epoch in range(2):
            order = sampler.order(1000, 10, seed, epoch)
            for found, other in ((numbers[order], np.arange(1000)), (order, numbers), (numbers[order], numbers)):
                assert abs(np.corrcoef(found, other)[0, 1]) < 0.15  # 0.03 is expected


def test_seed_and_epoch_are_not_added():
    for order in (shuffled, lambda rows, seed, epoch: keyed(np.arange(rows), rows, seed, epoch)):
        found = {tuple(order(50, seed, epoch)) for seed, epoch in itertools.product(range(10), repeat=2)}
        assert len(found) == 100


def test_numbers_above_32_bits_are_other_numbers():
    """NumPy itself joins the words of a key: to SeedSequence, (5, 3) and (5 + 3 * 2**32, 0) are the same."""
    keys = [(5, 3), (5 + 3 * 2**32, 0), (5, 3 * 2**32), (5, 0, 3), (2**64 + 5, 3), (5, 3 + 2**32), (0, 5, 3)]
    assert len({tuple(draws(4, *key).tolist()) for key in keys}) == len(keys)
    joined = [np.random.SeedSequence(key).generate_state(4).tolist() for key in keys[:2]]
    assert joined[0] == joined[1]  # which is why


def test_equal_draws_come_as_they_lie():
    raw = np.repeat(np.array([3, 1, 2], np.uint64), 100)
    assert sorting(raw).tolist() == [*range(100, 200), *range(200, 300), *range(100)]


@given(st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 5), min_size=1, max_size=60))
def test_sorting_is_a_stable_sort(raw):
    assert sorting(np.array(raw, np.uint64)).tolist() == sorted(range(len(raw)), key=raw.__getitem__)


def test_generators_of_different_keys_differ():
    keys = itertools.product(range(4), repeat=4)
    assert len({generator(*key).integers(2**63) for key in keys if key[-1]}) == 3 * 4**3
    assert generator(1, 2, 3, 4).integers(2**63) == generator(1, 2, 3, 4).integers(2**63)


# ---- the network ----


def one_row(position, rows, seed, epoch):
    """The same network on one Python integer, bit by bit as its docstring tells it."""
    half = max(1, ((rows - 1).bit_length() + 1) // 2)
    keys = np.random.PCG64(np.random.SeedSequence([seed, epoch, 2])).random_raw(8).tolist()
    while True:
        left, right = divmod(position, 1 << half)
        for key in keys:
            z = (right + key) % 2**64
            z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
            z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
            left, right = right, left ^ (z >> (64 - half))
        position = (left << half) + right
        if position < rows:
            return position


@given(st.integers(1, 100) | st.integers(1, 2**62), st.integers(0, 99), st.integers(0, 99), st.data())
def test_the_network_is_what_its_docstring_says(rows, seed, epoch, data):
    positions = data.draw(st.lists(st.integers(0, rows - 1), min_size=1, max_size=5))
    expected = [one_row(position, rows, seed, epoch) for position in positions]
    assert keyed(np.array(positions), rows, seed, epoch).tolist() == expected


@pytest.mark.parametrize("rows", [*SMALL, *AROUND_POWERS])
def test_a_keyed_order_is_a_permutation_at_every_number_of_rows(rows):
    found = keyed(np.arange(rows), rows, seed=1, epoch=2)
    assert (np.bincount(found, minlength=rows) == 1).all()
    assert len(found) == rows


@pytest.mark.parametrize("rows", HUGE)
def test_a_batch_of_a_huge_order_needs_nothing_but_its_positions(rows):
    positions = np.array([0, 1, 2, rows // 2, rows - 2, rows - 1])
    found = keyed(positions, rows, seed=0, epoch=0)
    assert len(set(found.tolist())) == len(positions)
    assert ((found >= 0) & (found < rows)).all()
    one_by_one = [int(keyed(positions[[i]], rows, seed=0, epoch=0)[0]) for i in range(len(positions))]
    assert one_by_one == found.tolist()


@given(st.integers(1, 200), st.integers(0, 2**40), st.integers(0, 99), st.integers(1, 64), st.data())
def test_pieces_are_the_order_from_anywhere(rows, seed, epoch, size, data):
    start = data.draw(st.integers(0, rows))
    with mock.patch.object(orders, "PIECE", size):
        found = [int(row) for piece in keyed_pieces(rows, seed, epoch, start) for row in piece]
    assert found == keyed(np.arange(rows), rows, seed, epoch)[start:].tolist()


def test_large_orders_are_keyed_unless_they_should_not_be():
    small, large = np.arange(100), orders.LARGE + 1
    assert Shuffled().order(100, 1, 0, 0).tolist() == shuffled(100, 0, 0).tolist()
    assert Shuffled(keyed=True).order(100, 1, 0, 0).tolist() == keyed(small, 100, 0, 0).tolist()
    first = next(Shuffled().pieces(large, 1, 0, 0, 5))
    assert first.tolist() == keyed(np.arange(5, 5 + len(first)), large, 0, 0).tolist()
    (whole,) = Shuffled(keyed=False).pieces(large, 1, 0, 0, 5)
    assert (np.bincount(whole, minlength=large).sum(), whole[0]) == (large - 5, shuffled(large, 0, 0)[5])


# ---- how random they are ----


def p_value_of_places(order, rows, seeds=2000):
    """How likely it would be for true shuffles to put rows as unevenly in places over many seeds."""
    counts = np.zeros((rows, rows))
    for seed in range(seeds):
        counts[np.arange(rows), order(rows, seed)] += 1
    expected = seeds / rows
    return stats.chi2.sf(((counts - expected) ** 2 / expected).sum(), (rows - 1) ** 2)


ORDERS = {
    "shuffled": lambda rows, seed: shuffled(rows, seed, 0),
    "keyed": lambda rows, seed: keyed(np.arange(rows), rows, seed, 0),
    "windows": lambda rows, seed: within_window(rows, 0, 0, seed),
}


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
@pytest.mark.parametrize("rows", [2, 5, 16, 17, 33])
def test_every_row_comes_equally_often_in_every_place(order, rows):
    assert p_value_of_places(order, rows) > 1e-4


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
def test_neighbours_stay_neighbours_no_more_often_than_by_chance(order):
    """In a random order of n rows, (n - 1) / n neighbours on average stay so, as a Poisson number."""
    stay = [(np.diff(order(40, seed)) == 1).sum() for seed in range(4000)]
    assert abs(np.mean(stay) - 39 / 40) < 4 * np.sqrt(39 / 40 / 4000)


def test_all_24_orders_of_four_rows_come_and_the_keyed_ones_are_even():
    counts = np.unique([shuffled(4, seed, 0) for seed in range(4800)], axis=0, return_counts=True)[1]
    assert len(counts) == 24
    assert stats.chisquare(counts).pvalue > 1e-4
    found = np.unique([keyed(np.arange(16), 16, seed, 0) for seed in range(500)], axis=0)
    assert all(np.linalg.det(np.eye(16)[order]) > 0 for order in found)  # what the docstring owns up to


@pytest.mark.parametrize("rows", [10**12, 2**40 + 1])
def test_rows_of_a_huge_order_are_spread_evenly(rows):
    found = keyed(np.arange(20_000), rows, seed=0, epoch=0)  # neighbouring positions, the hardest for a weak hash
    assert stats.kstest(found / rows, "uniform").pvalue > 1e-4
    assert stats.chisquare(np.bincount(found % 1000, minlength=1000)).pvalue > 1e-4
    assert abs(np.corrcoef(found[:-1], found[1:])[0, 1]) < 4 / np.sqrt(20_000)
