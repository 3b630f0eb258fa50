"""Batches and epochs: what is promised for every number of rows, batch size and option."""

import itertools
import json
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_batch.creation import asarray
from tinygrad_batch.data import DataIterator, Stream, Weighted
from tinygrad_batch.data import iterator as iterator_module
from tinygrad_batch.data.orders import shuffled
from tinygrad_batch.data.plan import Cursor, make_plan, restore, save
from tinygrad_batch.errors import ArgumentError, DataError, ShapeError, StateError
from tinygrad_batch.tensor import Tensor


@st.composite
def setups(draw):
    """Rows and options that make a valid iterator."""
    rows = draw(st.integers(1, 40))
    drop_last = draw(st.booleans())
    return rows, {
        "batch_size": draw(st.none() | st.integers(1, rows if drop_last else rows + 5)),
        "shuffle": draw(st.booleans()),
        "drop_last": drop_last,
        "seed": draw(st.integers(0, 2**70)),
    }


def make(setup):
    rows, options = setup
    return DataIterator(np.arange(rows), **options)


def rows_of(batches):
    """The row numbers in each batch of a pass."""
    return [xb.numpy().tolist() for (xb,) in batches]


def all_batches(setup, epochs):
    """(epoch, batch, rows) of a whole training, read off a fresh iterator."""
    return [
        (epoch.number, index, rows)
        for epoch in make(setup).epochs(epochs)
        for index, rows in enumerate(rows_of(epoch), epoch.start)
    ]


# ---- every row once, in an order that depends on seed and epoch alone ----


@given(setups())
def test_an_epoch_visits_every_row_exactly_once_less_the_remainder(setup):
    rows, options = setup
    size = options["batch_size"] or rows
    for epoch in make(setup).epochs(3):
        batches = rows_of(epoch)
        seen = sorted(itertools.chain(*batches))
        if options["drop_last"]:
            assert len(seen) == len(set(seen)) == rows - rows % size
            assert set(seen) <= set(range(rows))
        else:
            assert seen == list(range(rows))
        assert len(batches) == len(epoch)
        assert all(len(batch) == size for batch in batches[:-1])
        assert 1 <= len(batches[-1]) <= size


@given(setups())
def test_without_shuffling_the_rows_come_as_they_lie(setup):
    rows, options = setup
    batches = rows_of(DataIterator(np.arange(rows), **{**options, "shuffle": False}))
    together = list(itertools.chain(*batches))
    assert together == list(range(len(together)))


@given(setups(), st.integers(0, 5))
def test_the_order_depends_on_seed_and_epoch_alone(setup, epoch):
    np.random.seed(1)  # noqa: NPY002
    first = all_batches(setup, epoch + 1)
    np.random.seed(2)  # noqa: NPY002
    batches = make(setup)
    for _ in batches.epochs(epoch):  # nothing is read from the epochs before
        pass
    assert [(epoch, index, rows) for index, rows in enumerate(rows_of(batches))] == first[-len(batches) :]
    rows, options = setup
    order = shuffled(rows, options["seed"], epoch) if options["shuffle"] else range(rows)
    together = list(itertools.chain(*[taken for number, _, taken in first if number == epoch]))
    assert together == list(order)[: len(together)]


def test_the_global_random_state_is_left_alone():
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    list(DataIterator(np.arange(9), batch_size=2, shuffle=True))
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002


def test_epochs_and_seeds_have_orders_of_their_own():
    orders = {
        tuple(rows_of(epoch)[0])
        for seed in range(5)
        for epoch in DataIterator(np.arange(50), shuffle=True, seed=seed).epochs(5)
    }
    assert len(orders) == 25


@given(setups(), st.integers(0, 100))
def test_breaking_off_changes_no_later_batch(setup, taken):
    whole = all_batches(setup, 3)
    broken = make(setup)
    seen = []
    for epoch in broken.epochs(3):
        for index, (xb,) in enumerate(epoch):
            if epoch.number == 0 and index >= taken:
                break
            seen.append((epoch.number, index, xb.numpy().tolist()))
    assert [batch for batch in whole if batch[0] > 0] == [batch for batch in seen if batch[0] > 0]


@given(setups())
def test_an_array_keeps_its_rows_aligned_with_the_others(setup):
    rows, options = setup
    x = np.arange(rows * 3).reshape(rows, 3)
    for xb, yb, zb, ab in DataIterator(x, x[:, 0] * 10, list(range(rows)), np.ones((rows, 2, 2)), **options):
        assert (xb.numpy()[:, 0] * 10 == yb.numpy()).all()
        assert (zb.numpy() * 3 == xb.numpy()[:, 0]).all()
        assert ab.shape == (len(xb.numpy()), 2, 2)
        assert [t.name for t in (xb, yb, zb, ab)] == ["x", "y", "z", "a3"]


# ---- counters ----


@given(setups())
def test_the_counters_describe_the_batch_in_use(setup):
    batches = make(setup)
    assert (batches.epoch, batches.batch_index, batches.is_last) == (0, -1, False)
    for epoch in batches.epochs(2):
        assert (batches.epoch, batches.batch_index) == (epoch.number, -1)
        for index, _ in enumerate(epoch):
            assert (batches.epoch, batches.batch_index) == (epoch.number, index)
            assert batches.is_last == (index == len(batches) - 1)
        assert (batches.epoch, batches.batch_index, batches.is_last) == (epoch.number + 1, -1, False)
    assert batches.epoch == 2


def test_a_pass_over_the_iterator_is_the_current_epoch_and_moves_on_at_its_end():
    batches = DataIterator(np.arange(10), batch_size=3, shuffle=True)
    expected = [rows_of(epoch) for epoch in DataIterator(np.arange(10), batch_size=3, shuffle=True).epochs(3)]
    assert [rows_of(batches) for _ in range(3)] == expected
    assert batches.epoch == 3


def test_looking_at_one_batch_costs_nothing():
    batches = DataIterator(np.arange(10), batch_size=3, shuffle=True)
    (first,) = next(iter(batches))
    (again,) = next(iter(batches))
    assert first.numpy().tolist() == again.numpy().tolist()
    assert [len(list(epoch)) for epoch in batches.epochs(2)] == [4, 4]


def test_an_epoch_can_be_looped_over_again():
    epochs = list(DataIterator(np.arange(10), batch_size=3, shuffle=True).epochs(3))
    passes = [[rows_of(epoch) for epoch in epochs] for _ in range(2)]
    assert passes[0] == passes[1]
    assert repr(epochs[2]) == "Epoch(2: 4 batches)"


def test_loops_do_not_take_batches_from_each_other():
    batches = DataIterator(np.arange(6), batch_size=2, shuffle=True)
    one_pass = rows_of(DataIterator(np.arange(6), batch_size=2, shuffle=True))
    pairs = [(a.numpy().tolist(), b.numpy().tolist()) for (a,) in batches for (b,) in batches]
    assert pairs == list(itertools.product(one_pass, one_pass))
    assert batches.epoch == 1
    side_by_side = DataIterator(np.arange(6), batch_size=2, shuffle=True)
    assert [(a.numpy() == b.numpy()).all() for (a,), (b,) in zip(side_by_side, side_by_side, strict=True)] == [True] * 3
    assert side_by_side.epoch == 1


@pytest.mark.parametrize("count", [-1, 1.0, True, "3", None])
def test_epochs_refuses_a_count_that_is_none(count):
    with pytest.raises(ArgumentError, match="count is"):
        DataIterator([1.0]).epochs(count)  # at once, not at the first epoch


def test_no_epochs_is_an_empty_loop():
    assert list(DataIterator([1.0]).epochs(0)) == []


# ---- resuming ----


@given(setups(), st.data())
def test_resuming_anywhere_gives_the_same_remaining_batches(setup, data):
    whole = all_batches(setup, 3)
    taken = data.draw(st.integers(0, len(whole)))
    batches, seen = make(setup), []
    saved = batches.state_dict()
    for number, tensors in enumerate(batch for epoch in batches.epochs(3) for batch in epoch):
        if number == taken:
            break
        seen.append((batches.epoch, batches.batch_index, tensors[0].numpy().tolist()))
        saved = batches.state_dict()
    resumed = make(setup)
    resumed.load_state_dict(json.loads(json.dumps(saved)))
    assert resumed.state_dict() == saved
    lengths = []
    for epoch in resumed.epochs(3 - resumed.epoch):
        lengths.append((len(epoch), len(list(epoch))))
        seen += [(epoch.number, index, rows) for index, rows in enumerate(rows_of(epoch), epoch.start)]
    assert seen == whole
    assert all(promised == handed_out for promised, handed_out in lengths)


def test_what_a_state_means():
    batches = DataIterator(np.arange(10), batch_size=4)
    where = []
    for epoch in batches.epochs(2):
        where.append(("before", epoch.number, batches.state_dict()["epoch"], batches.state_dict()["step"]))
        for _ in epoch:
            where.append(("in", epoch.number, batches.state_dict()["epoch"], batches.state_dict()["step"]))
        where.append(("after", epoch.number, batches.state_dict()["epoch"], batches.state_dict()["step"]))
    assert where[:5] == [("before", 0, 0, 0), ("in", 0, 0, 1), ("in", 0, 0, 2), ("in", 0, 1, 0), ("after", 0, 1, 0)]
    assert where[5:] == [("before", 1, 1, 0), ("in", 1, 1, 1), ("in", 1, 1, 2), ("in", 1, 2, 0), ("after", 1, 2, 0)]


def test_a_loaded_epoch_is_its_rest_in_every_pass_and_the_others_are_whole():
    batches = DataIterator(np.arange(10), batch_size=3)
    next(iter(batches))
    batches.load_state_dict(batches.state_dict())
    assert (batches.epoch, batches.batch_index) == (0, 0)
    next(iter(batches))  # looking costs nothing here either
    epochs = list(batches.epochs(2))
    assert repr(epochs[0]) == "Epoch(0: 3 batches, from batch 1 on)"
    assert [len(rows_of(epoch)) for epoch in epochs * 2] == [3, 4, 3, 4]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rows": 11}, "taken with rows=11; this iterator has rows=10"),
        ({"seed": 1}, "taken with seed=1"),
        ({"sampler": "Shuffled(keyed=None)"}, "taken with sampler='Shuffled"),
        ({"drop_last": True}, "taken with drop_last=True"),
        ({"step": 4}, "names batch 4; an epoch has 4"),
        ({"step": -1}, "damaged"),
        ({"epoch": 1.5}, "damaged"),
        ({"epoch": "0"}, "damaged"),
        ({"extra": 1}, "expected the keys"),
    ],
)
def test_a_state_that_does_not_fit_is_refused_and_changes_nothing(change, message):
    batches = DataIterator(np.arange(10), batch_size=3)
    before = batches.state_dict()
    with pytest.raises(StateError, match=message):
        batches.load_state_dict({**before, **change})
    assert batches.state_dict() == before


@pytest.mark.parametrize("state", [{}, {"epoch": 0}, None, [1, 2]])
def test_what_is_no_state_is_refused(state):
    with pytest.raises(StateError, match="expected the keys"):
        DataIterator([1.0]).load_state_dict(state)


# ---- arrays: no copies, dtypes, names ----


def test_nothing_is_copied_when_not_shuffling():
    x = np.arange(20.0).reshape(10, 2)
    for index, (xb,) in enumerate(DataIterator(x, batch_size=4)):
        assert np.shares_memory(xb.numpy(), x)
        assert (xb.numpy() == x[index * 4 : index * 4 + 4]).all()


def test_a_shuffled_batch_is_a_copy():
    x = np.arange(20.0)
    (xb,) = next(iter(DataIterator(x, batch_size=4, shuffle=True)))
    assert not np.shares_memory(xb.numpy(), x)


def test_a_batch_cannot_be_written_through_and_your_array_still_can():
    x = np.arange(4.0)
    (xb,) = next(iter(DataIterator(x)))
    with pytest.raises(ValueError, match="read-only"):
        xb.numpy()[0] = 9.0
    assert x.flags.writeable
    x[0] = 9.0
    assert xb.numpy()[0] == 9.0


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int8", "int64", "uint8", "bool", "complex64"])
@pytest.mark.parametrize("shuffle", [False, True])
def test_dtypes_are_kept(dtype, shuffle):
    (xb,) = next(iter(DataIterator(np.ones((3, 2), dtype), shuffle=shuffle)))
    assert xb.dtype == dtype


def test_lists_and_tensors_are_arrays_too():
    xb, yb = next(iter(DataIterator([[1, 2], [3, 4]], asarray(np.array([[1.0], [2.0]]), name="t"))))
    assert isinstance(xb, Tensor)
    assert isinstance(yb, Tensor)
    assert (xb.shape, yb.shape, yb.name) == ((2, 2), (2, 1), "y")


def test_strided_and_memory_mapped_arrays_are_not_copied(tmp_path):
    x = np.arange(40.0).reshape(10, 4)[::2, ::-1]
    assert all(np.shares_memory(xb.numpy(), x) for (xb,) in DataIterator(x, batch_size=2))
    np.save(tmp_path / "x.npy", np.arange(12.0).reshape(6, 2))
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert all(np.shares_memory(xb.numpy(), mapped) for (xb,) in DataIterator(mapped, batch_size=2))


def test_a_dict_comes_out_as_dicts():
    data = {"image": np.zeros((5, 2, 2)), "label": np.arange(5)}
    batches = DataIterator(data, batch_size=2, shuffle=True)
    assert batches.names == ("image", "label")
    for batch in batches:
        assert list(batch) == ["image", "label"]
        assert [tensor.name for tensor in batch.values()] == ["image", "label"]


def test_one_array_comes_out_as_a_tuple_of_one():
    assert [len(batch) for batch in DataIterator(np.arange(4), batch_size=2)] == [1, 1]


# ---- errors and looks ----


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ((), "no arrays were given"),
        (({},), "no arrays were given"),
        ((np.zeros((0, 3)),), r"x is empty: its shape is \(0, 3\)"),
        (([],), "x is empty"),
        ((np.zeros((4, 2)), np.zeros(3)), "differ in rows: x has 4, y has 3"),
        (({"a": [1, 2], "b": [1]},), "a has 2, b has 1"),
        ((np.zeros(3), 20), "y is a single int, not an array.*batch_size=20"),
        ((np.float64(3),), "x is a single float64"),
        ((None,), "x is a single NoneType"),
        (([[1, 2], [3]],), "x is no array.*same length"),
        ((["a", "b"],), "x has dtype <U1; numbers are expected"),
        ((np.array([None, 1]),), "x has dtype object"),
        ((np.array(["2020-01-01"], "M8"),), "x has dtype datetime64"),
        ((np.ma.masked_array([1, 2], [0, 1]),), "masked"),
    ],
)
def test_data_that_cannot_be_iterated(arrays, message):
    with pytest.raises(DataError, match=message):
        DataIterator(*arrays)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, r"batch_size is 0 \(int\); expected an integer of at least 1"),
        ({"batch_size": -3}, "batch_size is -3"),
        ({"batch_size": 2.0}, r"batch_size is 2.0 \(float\)"),
        ({"batch_size": True}, r"batch_size is True \(bool\)"),
        ({"batch_size": np.True_}, "batch_size is np.True_|batch_size is True"),
        ({"batch_size": "2"}, "batch_size is '2'"),
        ({"batch_size": 11, "drop_last": True}, "leaves no batch: there are 10 rows.*at most 10"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": None}, "seed is None"),
        ({"seed": 1.5}, "seed is 1.5"),
        ({"shuffle": "no"}, "shuffle is 'no'.*expected True or False"),
        ({"drop_last": 1}, "drop_last is 1"),
    ],
)
def test_options_that_are_refused(options, message):
    with pytest.raises(ArgumentError, match=message):
        DataIterator(np.arange(10), **options)


@pytest.mark.parametrize("key", ["", 3, None])
def test_keys_have_to_be_names(key):
    with pytest.raises(ArgumentError, match="expected names"):
        DataIterator({key: [1.0]})


def test_a_dict_stands_alone():
    with pytest.raises(ArgumentError, match="a dict was given among other arrays"):
        DataIterator([1.0], {"a": [1.0]})


def test_numpy_integers_are_integers():
    batches = DataIterator(np.arange(10), batch_size=np.int32(4), seed=np.uint8(3))
    assert json.dumps(batches.state_dict())
    assert len(batches) == 3


@pytest.mark.parametrize(
    ("rows", "options", "text"),
    [
        (
            442,
            {"batch_size": 20, "shuffle": True},
            "442 rows, batch size 20: 23 batches an epoch, the last of 2 rows, shuffled with seed 0",
        ),
        (442, {}, "442 rows, batch size 442: 1 batch an epoch, in order"),
        (5, {"batch_size": 8}, "5 rows, batch size 8: 1 batch an epoch, in order"),
        (1, {}, "1 row, batch size 1: 1 batch an epoch, in order"),
        (
            21,
            {"batch_size": 4, "drop_last": True},
            "21 rows, batch size 4: 5 batches an epoch, 1 row dropped, in order",
        ),
    ],
)
def test_repr(rows, options, text):
    assert repr(DataIterator(np.arange(rows), **options)) == f"DataIterator({text})"


# ---- the pure functions underneath ----


@given(st.integers(1, 60), st.integers(1, 70), st.booleans())
def test_batches_cut_the_rows_without_gap_or_overlap(rows, batch_size, drop_last):
    drop_last = drop_last and batch_size <= rows
    plan = make_plan(rows, batch_size, drop_last, seed=0, sampler="Sequential()")
    counts = [plan.rows_in(step) for step in range(plan.batches)]
    assert sum(counts) == (rows - rows % batch_size if drop_last else rows)
    assert all(count == batch_size for count in counts[:-1])
    assert all(0 < count <= batch_size for count in counts)


@given(setups())
def test_a_cursor_comes_back_from_what_was_saved(setup):
    rows, options = setup
    plan = make_plan(rows, options["batch_size"], options["drop_last"], options["seed"], "any")
    for step in range(plan.batches):
        cursor = Cursor(plan.seed, 4, step)
        assert restore(plan, save(plan, cursor)) == cursor
    assert restore(plan, save(plan, Cursor(plan.seed, 4, plan.batches))) == (plan.seed, 5, 0)


@given(setups(), st.data())
def test_batches_are_a_function_of_their_position_alone(setup, data):
    whole = all_batches(setup, 4)
    epoch, step, rows = data.draw(st.sampled_from(whole))
    batches = make(setup)
    batches.load_state_dict({**batches.state_dict(), "epoch": epoch, "step": step})
    assert batches.cursor == (setup[1]["seed"], epoch, step)
    assert rows_of(batches)[0] == rows


def test_a_plan_of_many_tiny_batches_takes_no_room():
    nothing = np.broadcast_to(np.zeros(()), (10**12,))
    batches = DataIterator(nothing, batch_size=1)
    batches.load_state_dict({**batches.state_dict(), "step": 10**11})
    (xb,) = next(iter(batches))
    assert (len(batches), len(xb), batches.cursor) == (10**12, 1, (0, 0, 10**11 + 1))


# ---- means over rows ----


@given(setups(), st.data())
def test_the_mean_of_an_epoch_counts_rows_and_not_batches(setup, data):
    rows, options = setup
    values = np.random.default_rng(0).standard_normal(rows)
    batches = DataIterator(values, **options)
    for epoch in batches.epochs(2):
        seen, means = [], []
        for (xb,) in epoch:
            seen.extend(xb.numpy())
            means.append(xb.mean())
        assert np.isclose(epoch.mean(means), np.mean(seen), atol=1e-12)
        assert batches.mean([mean.item() for mean in means]) == epoch.mean(means)
        assert epoch.mean(asarray(np.array([mean.item() for mean in means]))) == epoch.mean(means)


def test_the_mean_of_a_loop_that_was_broken_off_or_resumed_is_that_of_its_batches():
    batches = DataIterator(np.arange(10.0), batch_size=4)
    means = []
    for epoch in batches.epochs(1):
        for (xb,) in epoch:
            means.append(xb.mean())
            if len(means) == 2:
                break
        assert epoch.mean(means) == np.arange(8.0).mean()
        assert np.isnan(epoch.mean([]))
    batches.load_state_dict({**batches.state_dict(), "epoch": 3, "step": 1})
    assert batches.mean([xb.mean() for (xb,) in batches]) == np.arange(4.0, 10.0).mean()
    with pytest.raises(ShapeError, match="4 values for 3 batches"):
        next(batches.epochs(1)).mean([0.0] * 4)
    with pytest.raises(ShapeError, match=r"the values have shape \(\); expected one for each batch"):
        batches.mean(asarray(1.0))


def test_the_mean_of_a_generator_is_that_of_the_pass_that_it_makes():
    batches = DataIterator([0.0, 0.0, 0.0, 0.0, 6.0], batch_size=2)
    batches.load_state_dict({**batches.state_dict(), "step": 1})
    assert batches.mean(xb.mean() for (xb,) in batches) == 2.0
    batches.load_state_dict({**batches.state_dict(), "epoch": 1, "step": 2})
    assert batches.mean([6.0]) == 6.0
    streamed = DataIterator(Stream(lambda: iter([1.0, 2.0, 6.0])), batch_size=2)
    assert streamed.mean(xb.mean() for (xb,) in streamed) == 3.0


# ---- whole epochs for a compiled step ----


@given(setups(), st.data())
def test_row_numbers_are_those_of_the_batches(setup, data):
    rows, _ = setup
    plain, batches = make(setup), make(setup)
    state = {**plain.state_dict(), "epoch": 1, "step": data.draw(st.integers(0, len(plain) - 1))}
    for iterator in (plain, batches):
        iterator.load_state_dict(state)
    with mock.patch.object(iterator_module, "MANY", data.draw(st.integers(1, 20))):
        for _ in range(2):
            numbers = []
            for piece in batches.row_numbers():
                assert len(numbers) % batches.batch_size == 0  # so far, only full batches
                numbers.extend(piece)
                assert batches.cursor.step - state["step"] * (batches.epoch == 1) == -(
                    -len(numbers) // batches.batch_size
                )
            assert numbers == list(itertools.chain(*rows_of(plain)))
            assert batches.state_dict() == plain.state_dict()
    assert (batches.arrays["x"] == np.arange(rows)).all()


def test_arrays_are_given_where_a_batch_is_nothing_but_their_rows():
    x = np.arange(6.0)
    assert DataIterator(x, sampler=Weighted(np.ones(6))).arrays is not None
    for options in (
        {"prefetch": 1},
        {"rank": 1, "world_size": 2},
        {"transform": lambda x, rng: x},
        {"batch_transform": lambda x, rng: x},
    ):
        assert DataIterator(x, **options).arrays is None
