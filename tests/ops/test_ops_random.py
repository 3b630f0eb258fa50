"""Masks: how many are kept, what they are made of, and where the numbers come from."""

from typing import Any

import numpy as np
import pytest

import tinygrad_batch as tb
from tinygrad_batch.errors import ArgumentError
from tinygrad_batch.op import TABLE
from tinygrad_batch.ops import random_mask


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_mask_keeps_the_mean_of_what_it_covers(dtype: type) -> None:
    x = tb.ones(1000, 1000, dtype=dtype)
    mask = random_mask(x, keep=0.8, rng=0)
    assert mask.dtype == dtype
    assert set(np.unique(mask.data)) == {dtype(0), dtype(1 / 0.8)}
    assert abs((mask.data > 0).mean() - 0.8) < 5 * np.sqrt(0.8 * 0.2 / 1e6)


def test_a_generator_goes_on_and_a_seed_starts_afresh() -> None:
    x, rng = tb.ones(50), np.random.default_rng(3)
    first, second = random_mask(x, keep=0.5, rng=rng).data, random_mask(x, keep=0.5, rng=rng).data
    assert (first != second).any()
    np.testing.assert_array_equal(random_mask(x, keep=0.5, rng=3).data, first)
    np.testing.assert_array_equal(first, 2.0 * (np.random.default_rng(3).random(50) < 0.5))


@pytest.mark.parametrize(("keep", "value"), [(0.0, 0.0), (1.0, 1.0)])
def test_a_mask_that_keeps_nothing_or_everything(keep: float, value: float) -> None:
    np.testing.assert_array_equal(random_mask(tb.ones(20), keep=keep, rng=0).data, np.full(20, value))


def test_only_the_shape_of_x_is_used() -> None:
    x = tb.tensor([np.nan, 1.0], requires_grad=True)
    mask = random_mask(x, keep=1.0, rng=0)
    assert not mask.requires_grad
    np.testing.assert_array_equal(mask.data, [1, 1])


def test_the_table_says_that_it_is_random() -> None:
    assert [name for name, entry in TABLE.items() if entry.random] == [
        "random_mask", "random_uniform", "random_normal",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"keep": 1.5, "rng": 0}, "from 0 to 1, not 1.5"),
        ({"keep": float("nan"), "rng": 0}, "from 0 to 1, not nan"),
        ({"keep": 0.5}, r"no generator.*rng=tb.generator\(\)"),
    ],
)
def test_a_mask_refuses(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ArgumentError, match=words):
        random_mask(tb.ones(3), **options)


def test_a_mask_is_written_without_its_generator() -> None:
    x = tb.ones(2, 3, dtype=np.float64)
    with tb.capture() as trace:
        x * random_mask(x, keep=0.5, rng=np.random.default_rng(0))
    assert [step.results[0].formula for step in trace.steps] == ["mask = mask(keep=0.5)", "p = x * mask"]
