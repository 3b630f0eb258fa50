"""The options of a `DataIterator`, for the type checker."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypedDict

from .samplers import Sampler

Transform = Callable[..., Any]


class Options(TypedDict, total=False):
    """What `DataIterator` takes by keyword."""

    batch_size: int | None
    shuffle: bool
    sampler: Sampler | None
    drop_last: bool
    seed: int
    rank: int
    world_size: int
    transform: Transform | None
    batch_transform: Transform | None
    prefetch: int
    workers: int
