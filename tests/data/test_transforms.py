"""Transforms of rows and of batches: random, and yet a function of the position alone."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_batch.data import Blocks, Bucketed, DataIterator, Shuffled, Stream, Weighted
from tinygrad_batch.data.orders import BATCH, ROW, generator
from tinygrad_batch.errors import ArgumentError, DataError, DtypeError

ROWS = 23
X = np.arange(ROWS * 3.0).reshape(ROWS, 3)
Y = np.arange(ROWS)


def noisy(x, y, rng):
    return x + rng.standard_normal(3), y


def mixed(x, y, rng):
    """Mixup: every row with another one of its batch."""
    return x + x[rng.permutation(len(x))], y


def stream(start):
    return zip(X[start:], Y[start:], strict=True)


def parts(batches):
    return [[tensor.numpy() for tensor in batch] for batch in batches]


def by_label(batches):
    """Each row's array and label, however they were divided and ordered."""
    return {int(label): x for xs, labels in parts(batches) for x, label in zip(xs, labels, strict=True)}


def same(a, b):
    assert a.keys() == b.keys()
    assert all((a[key] == b[key]).all() for key in a)


def test_a_row_gets_its_own_generator_of_its_own_epoch():
    batches = DataIterator(X, Y, batch_size=4, transform=noisy, seed=5, shuffle=True)
    for epoch in batches.epochs(2):
        expected = {row: X[row] + generator(5, epoch.number, row, ROW).standard_normal(3) for row in range(ROWS)}
        same(by_label(epoch), expected)


@given(
    st.integers(1, 30),
    st.sampled_from([None, Shuffled(), Blocks(4, 2), Bucketed(Y)]),
    st.integers(1, 4),
    st.integers(0, 3),
    st.sampled_from(["table", "stream"]),
)
def test_what_becomes_of_a_row_depends_on_nothing_else(batch_size, sampler, world_size, prefetch, kind):
    expected = by_label(DataIterator(X, Y, transform=noisy))
    data, order = ([X, Y], {"sampler": sampler}) if kind == "table" else ([Stream(stream, window=5)], {})
    options = {"batch_size": batch_size, "transform": noisy, "prefetch": prefetch, "workers": max(1, prefetch), **order}
    found = {}
    for rank in range(world_size):
        found |= by_label(DataIterator(*data, rank=rank, world_size=world_size, **options))
    same(found, expected)


@given(st.integers(1, 30), st.integers(1, 4), st.integers(0, 3), st.booleans(), st.sampled_from([None, noisy]))
def test_what_becomes_of_a_batch_depends_on_its_position_alone(batch_size, world_size, prefetch, streamed, transform):
    data = [Stream(stream, window=5)] if streamed else [X, Y]
    options = {"batch_size": batch_size, "shuffle": not streamed, "batch_transform": mixed, "transform": transform}
    whole = parts(DataIterator(*data, **options))
    threads = {"prefetch": prefetch, "workers": max(1, prefetch)}
    shares = [
        parts(DataIterator(*data, rank=r, world_size=world_size, **threads, **options)) for r in range(world_size)
    ]
    for (x, y), *own in zip(whole, *shares, strict=True):
        for rank, (xs, ys) in enumerate(own):
            assert (xs == x[rank::world_size]).all()
            assert (ys == y[rank::world_size]).all()
            assert xs.shape[1:] == (3,)


def test_transforms_resume():
    options = {"batch_size": 4, "shuffle": True, "transform": noisy, "batch_transform": mixed}
    whole = parts(DataIterator(X, Y, **options))
    batches = DataIterator(X, Y, **options)
    batches.load_state_dict({**batches.state_dict(), "step": 3})
    for (xa, ya), (xb, yb) in zip(whole[3:], parts(batches), strict=True):
        assert (xa == xb).all()
        assert (ya == yb).all()


def test_the_generator_of_a_batch_is_that_of_its_step():
    batches = DataIterator(X, Y, batch_size=4, batch_transform=lambda x, y, rng: (x, rng.random(len(x))), seed=2)
    for step, (_, drawn) in enumerate(parts(batches)):
        assert (drawn == generator(2, 0, step, BATCH).random(len(drawn))).all()


@pytest.mark.parametrize("prefetch", [0, 2])
def test_a_row_that_comes_again_is_transformed_anew(prefetch):
    """Rows of a rare class that are drawn often are not the same row every time; which they are is reproducible."""
    options = {"sampler": Weighted(np.eye(ROWS)[4], rows_per_epoch=6), "transform": noisy, "prefetch": prefetch}
    for batch_size in (2, 6):
        drawn = np.concatenate([x for x, _ in parts(DataIterator(X, Y, batch_size=batch_size, **options))])
        expected = [X[4] + generator(0, 0, position, ROW).standard_normal(3) for position in range(6)]
        assert (drawn == expected).all()
    ranks = [parts(DataIterator(X, Y, rank=rank, world_size=2, **options))[0][0] for rank in range(2)]
    assert (np.stack(ranks, axis=1).reshape(6, 3) == expected).all()


def test_shapes_dtypes_and_forms_of_what_comes_back():
    def cut(x, y, rng):
        return x[:2].astype(np.float32), np.array([y, y])

    ((x, y),) = parts(DataIterator(X, Y, transform=cut))
    assert (x.shape, x.dtype, y.shape) == ((ROWS, 2), np.float32, (ROWS, 2))
    (batch,) = DataIterator({"image": X, "label": Y}, transform=lambda row, rng: {**row, "image": -row["image"]})
    assert (batch["image"].numpy() == -X).all()
    for transform in (lambda x, rng: x * 2, lambda x, rng: (x * 2,)):
        ((x,),) = parts(DataIterator(X, transform=transform))
        assert (x == 2 * X).all()
        ((x,),) = parts(DataIterator(X, batch_transform=transform))
        assert (x == 2 * X).all()


def test_no_rows_have_the_shapes_that_the_transform_gives():
    def cut(x, y, rng):
        return x[:2].astype(np.float32), y

    for data in ([X[:1], Y[:1]], [Stream(lambda: zip(X[:1], Y[:1], strict=True))]):
        ((x, y),) = parts(DataIterator(*data, batch_size=1, transform=cut, rank=2, world_size=3))
        assert (x.shape, x.dtype, y.shape) == ((0, 2), np.float32, (0,))


@pytest.mark.parametrize("shuffle", [False, True])
def test_a_transform_may_write_and_the_data_stay(shuffle):
    def negative(x, y, rng):
        x *= -1
        return x, y

    x = X.copy()
    for options in ({"transform": negative}, {"batch_transform": negative}):
        for _ in range(2):
            found = by_label(DataIterator(x, Y, batch_size=4, shuffle=shuffle, **options))
            same(found, {row: -X[row] for row in range(ROWS)})
    assert (x == X).all()


@pytest.mark.parametrize("prefetch", [0, 3])
def test_an_error_comes_with_its_row_its_batch_and_its_epoch(prefetch):
    def fails(x, y, rng):
        if y == 13:
            raise OverflowError("too much")
        return x, y

    batches = DataIterator(X, Y, batch_size=5, transform=fails, prefetch=prefetch)
    passing = iter(batches)
    assert [next(passing)[1].numpy()[0] for _ in range(2)] == [0, 5]
    with pytest.raises(OverflowError, match="too much") as caught:
        next(passing)
    assert caught.value.__notes__ == ["in the transform of row 13", "while preparing batch 2 of epoch 0"]
    assert batches.cursor == (0, 0, 2)


@pytest.mark.parametrize("prefetch", [0, 2])
@pytest.mark.parametrize("which", ["transform", "batch_transform"])
def test_a_stop_iteration_in_a_transform_is_no_end(prefetch, which):
    def stops(x, y, rng):
        return next(iter([]))

    with pytest.raises(RuntimeError, match="StopIteration"):
        list(DataIterator(X, Y, batch_size=5, prefetch=prefetch, **{which: stops}))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"transform": lambda x, y, rng: x}, DataError, "gave a ndarray; expected a tuple of x, y"),
        ({"transform": lambda x, y, rng: (x, y, y)}, DataError, "gave a tuple of 3; expected a tuple of x, y"),
        ({"transform": lambda x, y, rng: {"x": x}}, DataError, r"gave a dict of \['x'\]"),
        ({"transform": lambda x, y, rng: (x[: y + 1], y)}, DataError, "x has rows of different shapes"),
        ({"transform": lambda x, y, rng: ("word", y)}, DtypeError, "holds no numbers"),
        ({"batch_transform": lambda x, y, rng: (x[1:], y[1:])}, DataError, r"shapes \(3, 3\), \(3,\) for 4 rows"),
        ({"batch_transform": lambda x, y, rng: (x.sum(), y)}, DataError, r"shapes \(\), \(4,\) for 4 rows"),
        ({"batch_transform": lambda x, y, rng: (np.array(["word"] * 4), y)}, DtypeError, "holds no numbers"),
    ],
)
def test_what_a_transform_may_not_give(options, error, message):
    with pytest.raises(error, match=message) as caught:
        next(iter(DataIterator(X, Y, batch_size=4, **options)))
    assert caught.value.__notes__[-1] == "while preparing batch 0 of epoch 0"


@pytest.mark.parametrize("which", ["transform", "batch_transform"])
def test_what_is_no_transform(which):
    with pytest.raises(ArgumentError, match=f"{which} is a int; expected a callable"):
        DataIterator(X, **{which: 3})
