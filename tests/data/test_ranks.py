"""Several processes share each batch: nothing is padded, dropped or seen twice, and gradients add up."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_batch import nn
from tinygrad_batch.data import DataIterator, Shuffled, Stratified, Weighted
from tinygrad_batch.errors import ArgumentError


@st.composite
def setups(draw):
    rows = draw(st.integers(1, 40))
    return rows, {
        "batch_size": draw(st.integers(1, 45)),
        "sampler": draw(
            st.sampled_from([None, Shuffled(), Shuffled(keyed=True), Weighted(np.ones(rows)), Stratified([1] * rows)])
        ),
        "seed": draw(st.integers(0, 9)),
    }


def ranks(setup, world_size):
    rows, options = setup
    return [DataIterator(np.arange(rows), rank=r, world_size=world_size, **options) for r in range(world_size)]


@given(setups(), st.integers(1, 7))
def test_the_parts_of_a_batch_are_its_rows_and_all_stay_in_step(setup, world_size):
    (alone,) = ranks(setup, 1)
    parts = ranks(setup, world_size)
    for epoch, *shares in zip(alone.epochs(2), *[part.epochs(2) for part in parts], strict=True):
        for (whole,), *own in zip(epoch, *shares, strict=True):  # strict: nobody has a batch more or less
            whole, own = whole.numpy(), [xb.numpy() for (xb,) in own]
            for rank, mine in enumerate(own):
                assert mine.tolist() == whole[rank::world_size].tolist()
            assert sum(map(len, own)) == len(whole) == alone.global_rows
            assert {part.global_rows for part in parts} == {len(whole)}
            assert {part.cursor for part in parts} == {alone.cursor}


@pytest.mark.parametrize(
    ("rows", "batch_size", "world_size"), [(10, 4, 3), (7, 7, 2), (5, 2, 4), (23, 8, 5), (6, 1, 3)]
)
def test_gradients_add_up_to_those_of_one_process(rows, batch_size, world_size):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((rows, 4)), rng.standard_normal((rows, 2))
    model = nn.Sequential(nn.Linear(4, 5, rng=0), nn.Tanh(), nn.Linear(5, 2, rng=1))

    def gradients(batches, xb, yb):
        for parameter in model.parameters():
            parameter.grad = None
        (((model(xb) - yb) ** 2).sum() / batches.global_rows).backward()
        return [parameter.grad.numpy().copy() for parameter in model.parameters()]

    options = {"batch_size": batch_size, "shuffle": True}
    alone = DataIterator(x, y, **options)
    parts = [DataIterator(x, y, rank=rank, world_size=world_size, **options) for rank in range(world_size)]
    empty = 0
    for batch, *own in zip(alone, *parts, strict=True):
        expected = gradients(alone, *batch)
        found = [gradients(part, *share) for part, share in zip(parts, own, strict=True)]
        for whole, *shares in zip(expected, *found, strict=True):
            assert np.abs(whole - sum(shares)).max() < 1e-12
        empty += sum(len(xb) == 0 for xb, _ in own)
    assert (empty > 0) == ((rows % batch_size or batch_size) < world_size)


@given(setups(), st.integers(1, 5), st.integers(1, 5), st.data())
def test_a_training_goes_on_with_another_number_of_processes(setup, before, after, data):
    (alone,) = ranks(setup, 1)
    whole = [xb.numpy().tolist() for epoch in alone.epochs(2) for (xb,) in epoch]
    done = data.draw(st.integers(1, len(whole)))
    first = ranks(setup, before)[0]
    for _ in itertools.islice((batch for epoch in first.epochs(2) for batch in epoch), done):
        state = first.state_dict()
    seen = []
    parts = ranks(setup, after)
    for part in parts:
        part.load_state_dict(state)
    rest = [part.epochs(2 - part.epoch) for part in parts]
    for shares in zip(*rest, strict=True):
        for own in zip(*shares, strict=True):
            seen.append(sorted(row for (xb,) in own for row in xb.numpy().tolist()))
    assert seen == [sorted(rows) for rows in whole[done:]]


def test_from_three_processes_to_two_in_the_middle_of_an_epoch():
    options = {"batch_size": 10, "shuffle": True, "seed": 4}
    three = [DataIterator(np.arange(47), rank=rank, world_size=3, **options) for rank in range(3)]
    seen = []
    for _ in range(2):
        seen += [row for part in three for (xb,) in [next(iter(part))] for row in xb.numpy().tolist()]
        state = three[0].state_dict()
        for part in three:
            part.load_state_dict(state)
    for rank in range(2):
        two = DataIterator(np.arange(47), rank=rank, world_size=2, **options)
        two.load_state_dict(state)
        seen += [row for (xb,) in two for row in xb.numpy().tolist()]
    assert sorted(seen) == list(range(47))


def test_means_weigh_by_the_rows_of_the_process():
    values = np.random.default_rng(0).standard_normal(10)
    parts = [DataIterator(values, batch_size=4, rank=rank, world_size=3) for rank in range(3)]
    for rank, part in enumerate(parts):
        own = [xb.numpy() for (xb,) in part]
        means = [
            rows.mean() if len(rows) else np.nan for rows in own
        ]  # of no rows: not a number, and it does not count
        assert np.isclose(part.mean(means), np.concatenate(own).mean())
        assert (np.isnan(means[-1])) == (rank == 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rank": 2, "world_size": 2}, "rank is 2; expected less than world_size=2"),
        ({"rank": -1}, "rank is -1"),
        ({"rank": 1}, "rank is 1"),
        ({"world_size": 0}, "world_size is 0"),
        ({"world_size": 2.0}, "world_size is 2.0"),
    ],
)
def test_processes_that_there_are_not(options, message):
    with pytest.raises(ArgumentError, match=message):
        DataIterator([1.0], **options)
