"""The data sets that come with the package, and those made from a formula."""

import numpy as np
import pytest

from tinygrad_batch.data import (
    DataIterator,
    Dataset,
    load_diabetes,
    load_digits,
    make_moons,
    make_regression,
    make_spirals,
    make_xor,
)
from tinygrad_batch.errors import ArgumentError, DataError

MAKERS = [make_regression, make_spirals, make_moons, make_xor]


def test_diabetes_is_the_published_table():
    data = load_diabetes(standardize=False)
    assert (data.x.shape, data.y.shape, data.x.dtype, data.y.dtype) == ((442, 10), (442, 1), np.float64, np.float64)
    assert data.feature_names == ("age", "sex", "bmi", "bp", "tc", "ldl", "hdl", "tch", "ltg", "glu")
    assert data.target_name == "progression"
    # the first three patients as Table 1 of the paper prints them
    assert np.allclose(data.x[0], [59, 2, 32.1, 101, 157, 93.2, 38, 4, 4.9, 87], atol=0.05)
    assert np.allclose(data.x[1], [48, 1, 21.6, 87, 183, 103.2, 70, 3, 3.9, 69], atol=0.05)
    assert np.allclose(data.x[2], [72, 2, 30.5, 93, 156, 93.6, 41, 4, 4.7, 85], atol=0.05)
    assert data.y[:3, 0].tolist() == [151, 75, 141]
    assert np.allclose(data.x.mean(0)[:5], [48.5181, 1.4683, 26.3758, 94.6470, 189.1403], atol=5e-5)
    assert np.allclose(data.x.mean(0)[5:], [115.4391, 49.7885, 4.0702, 4.6414, 91.2602], atol=5e-5)
    assert np.allclose(data.x.std(0, ddof=1)[:5], [13.1090, 0.4996, 4.4181, 13.8313, 34.6081], atol=5e-5)
    assert np.allclose(data.x.std(0, ddof=1)[5:], [30.4131, 12.9342, 1.2905, 0.5224, 11.4963], atol=5e-5)
    assert abs(data.y.mean() - 152.1335) < 5e-5
    assert abs(data.y.std(ddof=1) - 77.0930) < 5e-5
    assert (data.y.min(), data.y.max(), data.y.sum(), data.x[:, 0].sum()) == (25, 346, 67243, 21445)


def test_least_squares_on_diabetes_gives_the_published_coefficients():
    data = load_diabetes(standardize=False)
    x = data.x - data.x.mean(0)
    x /= np.sqrt((x**2).sum(0))  # the scale of the paper: columns of length 1
    coefficients = np.linalg.lstsq(x, data.y[:, 0] - data.y.mean(), rcond=None)[0]
    expected = [-10.0, -239.8, 519.8, 324.4, -792.2, 476.7, 101.0, 177.1, 751.3, 67.6]
    assert np.allclose(coefficients, expected, atol=0.06)


def test_diabetes_is_standardised_unless_asked_not_to_be():
    raw, data = load_diabetes(standardize=False), load_diabetes()
    for values in (data.x, data.y):
        assert np.allclose(values.mean(0), 0, atol=1e-12)
        assert np.allclose(values.std(0), 1)
    assert np.allclose(data.y * data.y_std + data.y_mean, raw.y)
    assert np.allclose(data.x * data.x_std + data.x_mean, raw.x)
    assert "Least Angle Regression" in data.citation
    assert data.x.flags.c_contiguous
    with pytest.raises(ArgumentError, match="standardize is 'x'"):
        load_diabetes(standardize="x")


def test_digits_are_the_published_pictures():
    data = load_digits()
    assert (data.x.shape, data.y.shape, data.x.dtype, data.y.dtype) == ((1797, 64), (1797,), np.float64, np.int64)
    assert (data.x.min(), data.x.max()) == (0.0, 1.0)
    assert (data.x * 16).sum() == 561718
    assert (data.x * 16 * np.arange(64)).sum() == 17660653
    assert (data.x * 16 == np.round(data.x * 16)).all()
    assert np.bincount(data.y).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert (data.x[0].reshape(8, 8)[0] * 16).tolist() == [0, 0, 5, 13, 9, 1, 0, 0]
    assert len(data.feature_names) == 64
    assert data.feature_names[9] == "pixel_1_1"


def test_the_nearest_mean_recognises_most_digits():
    x, y = load_digits()
    means = np.stack([x[y == digit].mean(0) for digit in range(10)])
    nearest = ((x[:, None] - means) ** 2).sum(-1).argmin(1)
    assert (nearest == y).mean() > 0.85


def test_a_dataset_unpacks_and_says_what_it_is():
    data = load_diabetes()
    x, y = data
    assert x is data.x
    assert y is data.y
    assert data.rows == 442
    assert repr(data) == "Dataset(diabetes: x (442, 10), y (442, 1), target 'progression')"
    assert len(DataIterator(*data, batch_size=20)) == 23
    with pytest.raises(DataError, match=r"single Dataset.*unpack it with \*data"):
        DataIterator(data)


@pytest.mark.parametrize("make", MAKERS)
def test_what_is_made_is_a_function_of_the_arguments(make):
    first, again, other = make(seed=1, noise=0.1), make(seed=1, noise=0.1), make(seed=2, noise=0.1)
    assert isinstance(first, Dataset)
    assert (first.x == again.x).all()
    assert (first.y == again.y).all()
    assert not (first.x == other.x).all()
    for rows in (1, 2, 7):
        data = make(rows=rows)
        assert len(data.x) == len(data.y) == data.rows == rows
        assert data.x.shape[1] == len(data.feature_names)
        assert np.isfinite(data.x).all()


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rows": 0}, "rows is 0"),
        ({"rows": 1.5}, "rows is 1.5"),
        ({"rows": True}, "rows is True"),
        ({"noise": -0.1}, "noise is -0.1"),
        ({"noise": float("nan")}, "noise is nan"),
        ({"noise": float("inf")}, "noise is inf"),
        ({"noise": "a"}, "noise is 'a'"),
        ({"noise": True}, "noise is True"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": None}, "seed is None"),
    ],
)
def test_what_cannot_be_made(make, options, message):
    with pytest.raises(ArgumentError, match=message):
        make(**options)


def test_the_other_numbers_are_checked_too():
    with pytest.raises(ArgumentError, match="features is 0"):
        make_regression(features=0)
    with pytest.raises(ArgumentError, match="classes is -2"):
        make_spirals(classes=-2)


def test_regression_has_the_shapes_of_the_mission_and_the_formula_of_its_docstring():
    x, y = make_regression()
    assert (x.shape, y.shape, x.dtype, y.dtype) == ((100, 10), (100, 1), np.float64, np.float64)
    x, y = make_regression(rows=20_000, noise=0.0, seed=3)
    assert abs(y.mean()) < 0.05
    assert abs(y.var() - 0.93) < 0.05
    design = np.hstack([x, np.ones((len(x), 1))])
    fitted = design @ np.linalg.lstsq(design, y, rcond=None)[0]
    assert abs(1 - ((y - fitted) ** 2).mean() / y.var() - 0.4) < 0.05
    clean, noisy = make_regression(noise=0.0), make_regression(noise=0.5)
    assert (clean.x == noisy.x).all()
    assert 0.4 < (noisy.y - clean.y).std() < 0.6


def test_the_shapes_in_the_plane():
    x, y = make_spirals(rows=3000, classes=4, noise=0.0)
    distance = np.hypot(*x.T)
    turned = np.exp(-1j * 2 * np.pi * (y / 4 + 0.75 * distance)) * (x[:, 0] + 1j * x[:, 1])
    assert np.allclose(turned, distance)  # turned back, every arm lies on the positive axis
    assert np.bincount(y).tolist() == [750] * 4
    x, y = make_moons(rows=100, noise=0.0)
    assert np.allclose(np.hypot(*x[y == 0].T), 1)
    assert np.allclose(np.hypot(*(x[y == 1] - [1.0, 0.5]).T), 1)
    x, y = make_xor(rows=400, noise=0.1)
    assert ((x > 0.5).sum(1) % 2 == y).mean() > 0.99
