"""Losses of one to four parameters, so small that their surface can be drawn, and walks on them.

Every surface is the mean over rows of a loss of each row, so a walk has batches and epochs as any training has. Many
walks go side by side: each has a row of its own in the tensor of the parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import ops
from ..creation import asarray
from ..data.orders import generator
from ..functional import expand_dims
from ..nn import Parameter
from ..optim import SGD
from ..replay import compile
from ..state import no_grad
from ..tensor import Tensor
from ..transforms import grad, hvp
from .training import batches_of_seeds

Array = np.ndarray


class Surface:
    """A loss of a few parameters over some rows. A subclass says what each row's loss is.

    Attributes
    ----------
    names : tuple of str
        Of the parameters.
    x, y : ndarray, shape (rows,)
    """

    names: tuple[str, ...]
    x: Array
    y: Array

    def losses(self, p: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """Return the loss of every row, shape (walks, rows).

        Parameters
        ----------
        p : Tensor, shape (walks, parameters)
        x, y : Tensor, shape (walks, rows)
            Or ``(1, rows)``, the same rows for all.
        """
        raise NotImplementedError

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(self.x)

    def loss(self, points: Any) -> Array:
        """Return the mean loss over all rows at some points, shape (...,) for points of shape (..., parameters)."""
        points = np.asarray(points, float)
        flat = points.reshape(-1, points.shape[-1])
        with no_grad(), np.errstate(all="ignore"):  # a walk may have run away
            losses = self.losses(asarray(flat), asarray(self.x[None]), asarray(self.y[None]))
            mean: Array = ops.mean(losses, axis=1).numpy()
        return mean.reshape(points.shape[:-1])

    def gradient(self, points: Any) -> Array:
        """Return the gradient of the mean loss at a point or at several, shape (..., parameters), as the points."""
        p = Parameter(np.atleast_2d(np.asarray(points, float)))
        (slopes,) = grad(self._mean(p) * len(p), p)
        return np.zeros(np.shape(points)) if slopes is None else slopes.data.reshape(np.shape(points))

    def row_gradients(self, point: Any) -> Array:
        """Return the gradient of each row's loss at a point, shape (rows, parameters)."""
        p = Parameter(np.tile(np.asarray(point, float), (self.rows, 1)))
        each = self.losses(p, asarray(self.x[:, None]), asarray(self.y[:, None]))
        (slopes,) = grad(ops.sum(each), p)
        return np.zeros(p.shape) if slopes is None else slopes.data

    def hessian(self, point: Any) -> Array:
        """Return the matrix of second derivatives of the mean loss at a point, one product with `hvp` a row."""
        p = Parameter(np.atleast_2d(point))
        return np.concatenate([hvp(self._mean(p), p, unit[None])[0].data for unit in np.eye(p.shape[1])])

    def _mean(self, p: Tensor) -> Tensor:
        return ops.mean(self.losses(p, asarray(self.x[None]), asarray(self.y[None])))


class TanhUnits(Surface):
    """A net of tanh units without biases, ``Σ vₖ tanh(wₖ x)``, and a teacher of two such units and a little noise.

    Parameters
    ----------
    teacher : pair of pairs
        Output weights and input weights of the two units that made the rows.
    units : int
        Of the net: its parameters are ``v₁ … vₙ, w₁ … wₙ``.
    fixed : sequence of float, optional
        Output weights that stay as they are; then the parameters are the input weights alone.
    """

    def __init__(self, teacher: Any = ((2, 1), (0.5, 4)), units: int = 2, fixed: Sequence[float] | None = None) -> None:
        rng = np.random.default_rng(0)
        self.x = 2 * rng.standard_normal(100)
        made = np.tanh(np.outer(self.x, teacher[1])) @ np.array(teacher[0], float)
        self.y = made + 0.05 * rng.standard_normal(100)
        self.units = units
        self.fixed = None if fixed is None else np.asarray(fixed, float)
        weights = tuple(f"w{k}" for k in range(1, units + 1))
        self.names = weights if fixed is not None else (*(f"v{k}" for k in range(1, units + 1)), *weights)

    def losses(self, p: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """Return the squared errors."""
        inputs = p if self.fixed is not None else p[:, self.units :]
        outputs = asarray(self.fixed[None]) if self.fixed is not None else p[:, : self.units]
        units = ops.tanh(expand_dims(inputs, 1) * expand_dims(x, 2))  # (walks, rows, units)
        return ops.square(ops.sum(units * expand_dims(outputs, 1), axis=2) - y)


class Wave(Surface):
    """A sine of the right frequency to be found: ``sin(w x)``, or ``sin(w x + p)``, against ``sin(3 x)``.

    Parameters
    ----------
    phase : bool
        Whether the phase is a parameter too, and ``x`` goes from -3 to 3 instead of 0 to 6.
    """

    def __init__(self, phase: bool = False) -> None:
        self.x = np.linspace(-3, 3, 100) if phase else np.linspace(0, 6, 100)
        self.y = np.sin(3 * self.x)
        self.phase = phase
        self.names = ("frequency", "phase") if phase else ("frequency",)

    def losses(self, p: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """Return the squared errors."""
        angle = p[:, :1] * x + p[:, 1:] if self.phase else p * x
        return ops.square(ops.sin(angle) - y)


class Line(Surface):
    """A straight line through a hundred points: the loss is a bowl, with one minimum and no other place to rest."""

    names = ("slope", "intercept")

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.x = rng.standard_normal(100)
        self.y = 2 * self.x + 1 + rng.standard_normal(100)

    def losses(self, p: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """Return the squared errors."""
        return ops.square(p[:, :1] * x + p[:, 1:] - y)


class Pass(Surface):
    """A mountain pass, ``a²/2 - b²/2 + b⁴/4`` on average: each row pulls in its own direction by ``x`` and ``y``.

    Parameters
    ----------
    variance : float
        Of the pulls, over the rows.
    """

    names = ("a", "b")

    def __init__(self, variance: float = 3.36) -> None:
        pulls = np.random.default_rng(0).standard_normal((2, 100))
        pulls -= pulls.mean(1, keepdims=True)
        self.x, self.y = pulls / pulls.std(1, keepdims=True) * np.sqrt(variance)

    def losses(self, p: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """Return the height of each row's own pass."""
        a, b = p[:, :1], p[:, 1:]
        return ops.square(a - x) / 2 - ops.square(b - y) / 2 + ops.square(ops.square(b)) / 4


@dataclass(frozen=True, eq=False)
class Walk:
    """Where walks on a surface were.

    Attributes
    ----------
    batch_size : int
    rate : float
    updates : ndarray of int, shape (looks,)
    points : ndarray, shape (looks, walks, parameters)
    """

    batch_size: int
    rate: float
    updates: Array
    points: Array

    def first(self, arrived: Array) -> Array:
        """Return after how many updates each walk had first arrived; ``inf`` where it never had.

        Parameters
        ----------
        arrived : ndarray of bool, shape (looks, walks)
        """
        return np.where(arrived.any(0), self.updates[arrived.argmax(0)], np.inf)


def walk(
    surface: Surface,
    starts: Any,
    rate: float,
    batch_size: int | None,
    updates: int,
    *,
    seed: int = 0,
    every: int = 1,
    replacement: bool = False,
    noise: bool = False,
    until: Any = None,
) -> Walk:
    """Walk down a surface with SGD, from several starts at once, each with batches of its own.

    Parameters
    ----------
    surface : Surface
    starts : array_like, shape (walks, parameters)
    rate : float
    batch_size : int, optional
        None for all rows.
    updates : int
    seed : int
        Of the orders; walk ``i`` takes the orders of seed ``seed + i``.
    every : int
        Updates between two looks.
    replacement : bool
        Draw each batch afresh from all rows, instead of cutting shuffled epochs.
    noise : bool
        Add to each gradient normal noise with the variance that the gradients of single rows have at that point.
    until : callable, optional
        Gets the points and says which walks have arrived; when all have, the walk ends.

    Returns
    -------
    Walk
    """
    starts = np.atleast_2d(np.asarray(starts, float))
    size = surface.rows if batch_size is None else batch_size
    p = Parameter(starts)
    optimizer = SGD([p], lr=rate)

    @compile
    def step(x: Tensor, y: Tensor) -> Tensor:
        optimizer.zero_grad()
        loss = ops.sum(ops.mean(surface.losses(p, x, y), axis=1))
        loss.backward()
        optimizer.step()
        return loss

    rng = generator(seed, 2)
    batches = batches_of_seeds(surface.rows, size, range(seed, seed + len(starts)), replacement)
    points, seen = [starts], [0]
    with np.errstate(all="ignore"):
        for done in range(1, updates + 1):
            if size == surface.rows:
                x, y = surface.x[None], surface.y[None]
            else:
                rows = next(batches)
                x, y = surface.x[rows], surface.y[rows]
            kick = _spread(surface, p.data) * rng.standard_normal(starts.shape) * rate if noise else None
            step(asarray(x), asarray(y))
            if kick is not None:
                with no_grad():
                    p.assign(p.data - kick)
            if done % every == 0 or done == updates:
                points.append(p.data.copy())
                seen.append(done)
                if until is not None and np.all(until(points[-1])):
                    break
    return Walk(size, rate, np.array(seen), np.stack(points))


def _spread(surface: Surface, points: Array) -> Array:
    """Return the standard deviation over the rows of their gradients at some points, shape (walks, parameters)."""
    walks, rows = len(points), surface.rows
    p = Parameter(np.repeat(points, rows, axis=0))
    x, y = (np.tile(values, walks)[:, None] for values in (surface.x, surface.y))
    (slopes,) = grad(ops.sum(surface.losses(p, asarray(x), asarray(y))), p)
    return np.zeros_like(points) if slopes is None else slopes.data.reshape(walks, rows, -1).std(1)


@dataclass(frozen=True, eq=False)
class Scene:
    """A surface of two parameters as a picture, and the walks of three batch sizes on it.

    Attributes
    ----------
    name : str
    names : tuple of str
        Of the parameters.
    across, up : ndarray, shape (n,)
        The grid.
    heights : ndarray, shape (n, n)
        The loss at ``(across[j], up[i])``.
    walks : tuple of Walk
        Of one walk each.
    losses : tuple of ndarray
        The loss of all rows along each walk.
    """

    name: str
    names: tuple[str, ...]
    across: Array
    up: Array
    heights: Array
    walks: tuple[Walk, ...]
    losses: tuple[Array, ...]


def scenes(points: int = 400, grid: int = 121) -> list[Scene]:
    """Walk on three surfaces with one row, a few rows and all rows at a time: a bowl, a saddle, local minima.

    On the saddle and among the minima the seed is the first whose walk stays within the picture; the others go to
    the same places, or to copies of them outside.

    Parameters
    ----------
    points : int
        Of each walk that are kept, at most.
    grid : int
        Points of the surface along each side.
    """
    saddle = TanhUnits(((1.5, 1.0), (3.0, 0.3)), fixed=(1.5, 1.0))
    alike = [1.0]  # the best that two units can do that are alike, along the diagonal
    for _ in range(4000):
        alike.append(alike[-1] - 0.2 * float(saddle.gradient(np.full(2, alike[-1])).sum()))
    plans: list[tuple[str, Surface, Any, tuple[float, float, float, float], Any]] = [
        ("bowl", Line(), (-1.0, 3.0), (-1.5, 4.0, -1.0, 3.5), ((1, 0.05, 10), (10, 0.05, 10), (None, 0.05, 10))),
        (
            "saddle",
            saddle,
            (alike[-1],) * 2,
            (-0.2, 4.0, -0.2, 2.0),
            ((1, 0.05, 30), (10, 0.05, 150), (None, 0.05, 1500)),
        ),
        (
            "minima",
            Wave(phase=True),
            (1.7, 3.6),
            (0.0, 4.5, -1.5, 7.8),
            ((1, 0.15, 30), (5, 0.15, 60), (None, 0.15, 300)),
        ),
    ]
    found = []
    for name, surface, start, box, cells in plans:
        across, up = np.linspace(box[0], box[1], grid), np.linspace(box[2], box[3], grid)
        heights = surface.loss(np.stack(np.meshgrid(across, up), -1))
        walks = []
        for size, rate, epochs in cells:
            updates = epochs * (surface.rows // (size or surface.rows))
            for seed in range(50):
                one = walk(surface, [start], rate, size, updates, seed=seed, every=max(1, updates // points))
                at = one.points[:, 0]
                if ((at > (box[0], box[2])) & (at < (box[1], box[3]))).all():
                    break
            walks.append(one)
        losses = tuple(surface.loss(one.points[:, 0]) for one in walks)
        found.append(Scene(name, surface.names, across, up, heights, tuple(walks), losses))
    return found
