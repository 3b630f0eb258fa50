"""Splits and scaling."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinygrad_batch.creation import asarray
from tinygrad_batch.data import standardize, train_test_split
from tinygrad_batch.errors import ArgumentError, DataError

# ---- train_test_split ----


@given(st.integers(2, 60), st.data(), st.booleans(), st.integers(0, 99))
def test_every_row_lands_on_one_side_beside_its_target(rows, data, shuffle, seed):
    test = data.draw(st.integers(1, rows - 1))
    x = np.arange(rows * 2, dtype=np.float32).reshape(rows, 2)
    y = [[2 * row] for row in range(rows)]
    x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=test, shuffle=shuffle, seed=seed)
    assert (len(x_train), len(x_test)) == (rows - test, test)
    assert sorted([*x_train[:, 0], *x_test[:, 0]]) == list(range(0, 2 * rows, 2))
    assert (x_train[:, :1] == y_train).all()
    assert (x_test[:, :1] == y_test).all()
    assert (x_train.dtype, y_train.dtype) == (np.float32, np.asarray(y).dtype)
    if not shuffle:
        assert np.shares_memory(x_train, x)
        assert (x_test == x[rows - test :]).all()


def test_a_split_is_a_function_of_its_seed():
    splits = [train_test_split(np.arange(50), seed=seed)[1].tolist() for seed in (0, 0, 1)]
    assert splits[0] == splits[1] != splits[2]


@pytest.mark.parametrize(("share", "rows"), [(0.2, 88), (0.5, 221), (0.001 * 2, 1), (np.float32(0.25), 110)])
def test_a_share_is_rounded_to_rows(share, rows):
    assert len(train_test_split(np.arange(442), test_size=share)[1]) == rows


def test_one_array_and_tensors():
    train, test = train_test_split(asarray(np.arange(10.0), name="t"))
    assert (type(train), len(train), len(test)) == (np.ndarray, 8, 2)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"test_size": 0.0}, ArgumentError, "test_size is 0.0; expected a share between 0 and 1"),
        ({"test_size": 1.0}, ArgumentError, "test_size is 1.0"),
        ({"test_size": float("nan")}, ArgumentError, "test_size is nan"),
        ({"test_size": 0}, ArgumentError, "test_size is 0"),
        ({"test_size": True}, ArgumentError, "test_size is True"),
        ({"test_size": "a"}, ArgumentError, "test_size is 'a'"),
        ({"test_size": 10}, DataError, "leaves 0 to train on and 10 to test on"),
        ({"test_size": 11}, DataError, "leaves 0 to train on"),
        ({"test_size": 0.01}, DataError, "leaves 10 to train on and 0 to test on"),
        ({"seed": -1}, ArgumentError, "seed is -1"),
        ({"seed": -1, "shuffle": False}, ArgumentError, "seed is -1"),
        ({"shuffle": 0}, ArgumentError, "shuffle is 0"),
    ],
)
def test_splits_that_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        train_test_split(np.arange(10), **options)


def test_data_that_cannot_be_split():
    with pytest.raises(DataError, match="no arrays were given"):
        train_test_split()
    with pytest.raises(DataError, match="x has 3, y has 2"):
        train_test_split([1, 2, 3], [1, 2])
    with pytest.raises(DataError, match="leaves 0 to train on and 1 to test on"):
        train_test_split([1], test_size=1)


# ---- standardize ----

TABLES = hnp.arrays(
    np.float64, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=20), elements=st.floats(-1e6, 1e6)
)


@given(TABLES)
def test_columns_get_mean_0_and_std_1_and_come_back(x):
    values, mean, std = standardize(x)
    spread = np.ptp(x, axis=0)
    assert (values[:, spread == 0] == 0).all()
    assert (std[spread == 0] == 1).all()
    wide = spread > 1e-6 * np.abs(mean) + 1e-100  # where rounding leaves digits to look at
    assert np.allclose(values[:, wide].std(axis=0), 1, atol=1e-6)
    assert np.allclose(values[:, wide].mean(axis=0), 0, atol=1e-6)
    assert np.allclose(values * std + mean, x, rtol=1e-9, atol=1e-6)


@given(TABLES)
def test_statistics_that_are_given_are_used(x):
    values, mean, std = standardize(x)
    again = standardize(x, mean=mean, std=std)
    assert (again.values == values).all()
    assert (again.mean == mean).all()
    assert (again.std == std).all()
    assert (standardize(x[:1], mean=mean, std=std).values == values[:1]).all()


@pytest.mark.parametrize("value", [0.1, 1e300, -7.3, 5e-324])
def test_a_constant_column_becomes_0_whatever_its_rounding(value):
    values, mean, std = standardize(np.full((7, 1), value))
    assert (values.tolist(), mean.tolist(), std.tolist()) == ([[0.0]] * 7, [value], [1.0])


@pytest.mark.parametrize(
    ("dtype", "expected"), [("float16", "float16"), ("float32", "float32"), ("int8", "float64"), ("uint8", "float64")]
)
def test_the_dtype_of_floats_is_kept(dtype, expected):
    result = standardize(np.array([[1, 100], [120, 7]], dtype))
    assert {array.dtype.name for array in result} == {expected}
    assert np.allclose(result.values, [[-1, 1], [1, -1]])


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_narrow_statistics_give_the_same_values_again(dtype):
    x = np.random.default_rng(0).normal(50, 3, (20, 4)).astype(dtype)
    values, mean, std = standardize(x)
    assert (standardize(x, mean=mean, std=std).values == values).all()
    values, mean, std = standardize(np.array([[0.0], [np.finfo(dtype).smallest_subnormal]], dtype))
    assert (std == 1).all()
    assert np.isfinite(values).all()


def test_float32_statistics_are_worked_out_in_float64():
    x = np.full((1_000_000, 1), 0.1, np.float32)
    x[0] = 0.2
    assert abs(standardize(x).mean[0] - 0.1) < 1e-6


def test_your_array_is_left_alone():
    x = np.array([[1.0], [3.0]])
    standardize(x)
    assert x.tolist() == [[1.0], [3.0]]


def test_one_column_as_a_vector_and_scalars_for_its_scale():
    assert standardize([1.0, 3.0]).values.tolist() == [-1.0, 1.0]
    assert standardize([[1.0, 3.0]], mean=1, std=2).values.tolist() == [[0.0, 1.0]]


@pytest.mark.parametrize(
    ("x", "options", "error", "message"),
    [
        ([[1.0, np.nan]], {}, DataError, r"x\[0, 1\] is nan"),
        ([[1.0], [-np.inf]], {}, DataError, r"x\[1, 0\] is -inf"),
        ([[1e308], [-1e308]], {}, DataError, "overflows"),
        (np.array([[6e4], [-6e4]], "f2"), {"mean": 0, "std": 0.1}, DataError, "too large for their dtype"),
        (3.0, {}, DataError, "not an array with rows"),
        ([], {}, DataError, "empty"),
        ([[True]], {}, DataError, "dtype bool"),
        ([[1j]], {}, DataError, "dtype complex"),
        ([["a"]], {}, DataError, "numbers are expected"),
        ([[1.0]], {"mean": 0.0}, ArgumentError, "only one of mean and std"),
        ([[1.0]], {"std": 1.0}, ArgumentError, "only one of mean and std"),
        ([[1.0]], {"mean": 0.0, "std": 0.0}, ArgumentError, "not positive"),
        ([[1.0]], {"mean": 0.0, "std": np.nan}, ArgumentError, "not finite"),
        ([[1.0]], {"mean": [0.0, 1.0], "std": [1.0]}, ArgumentError, r"mean has shape \(2,\); x has columns of shape"),
        ([[1.0]], {"mean": "a", "std": 1.0}, ArgumentError, "mean is no array of numbers"),
    ],
)
def test_scaling_that_is_refused(x, options, error, message):
    with pytest.raises(error, match=message):
        standardize(x, **options)
