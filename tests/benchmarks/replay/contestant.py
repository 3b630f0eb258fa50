"""What a contestant of these benchmarks can do; each package has a class of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib import import_module
from typing import Any

import numpy as np
from contestants import Problem, Train

from .names import PLACES
from .pictures import Pictures

Call = Callable[[], Any]


class Contestant:
    """A package, and how it does the works."""

    traced = True  # whether tracemalloc sees what it allocates

    def array(self, array: np.ndarray) -> Any:
        """Return an array as the package takes it."""
        return array

    def numbers(self, result: Any) -> np.ndarray:
        """Return a result, or a list of them, as an array of float64, to compare."""
        if isinstance(result, list):
            return np.array([self.numbers(each) for each in result])
        return np.asarray(result, dtype=np.float64)

    def net(self, problem: Problem) -> Train:
        """Return the training of the net; `problem.x` is one batch."""
        raise NotImplementedError

    def chain(self, activation: str) -> Train:
        """Return the elementwise operations of `twenty`, of two arrays."""
        raise NotImplementedError

    def convnet(self, pictures: Pictures) -> Train:
        """Return the training of the convolutional net."""
        raise NotImplementedError

    def epoch(self, problem: Problem, rows: int) -> Call:
        """Return a call that trains one epoch, in batches of so many rows, and returns all losses."""
        batches = list(self.batches(problem, rows))
        train = self.net(one_batch(problem, rows))
        return lambda: [train(x, y) for x, y in batches]

    def batches(self, problem: Problem, rows: int) -> Iterator[tuple[Any, Any]]:
        """Yield the batches of an epoch, as arrays of the package."""
        for first in range(0, len(problem.x), rows):
            yield self.array(problem.x[first : first + rows]), self.array(problem.y[first : first + rows])


def one_batch(problem: Problem, rows: int) -> Problem:
    """Return the problem with its first batch only."""
    return replace(problem, x=problem.x[:rows], y=problem.y[:rows])


def twenty(x: Any, other: Any, activation: Callable[[Any], Any]) -> Any:
    """Return what twenty elementwise operations make of two arrays; four of them are the activation."""
    y = x
    for _ in range(4):
        y = activation(((y * 0.75 + other) - 0.5) * x)
    return y


def find(name: str) -> Contestant:
    """Return a contestant; where it cannot take part, its package raises an error that says why."""
    file, kind, options = PLACES[name]
    return getattr(import_module(f"replay.{file}"), kind)(**options)


def reason(error: BaseException) -> str:
    """Return in one line why something could not be done."""
    text = (str(error).strip() or "no message").splitlines()[0]
    return f"{type(error).__name__}: {text[:200]}"
