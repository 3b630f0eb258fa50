"""Gradient noise: how far the gradient of a batch is from that of all rows, and from which size on that matters little.

The gradient of a batch is the mean of the gradients of its rows, so everything follows from those. Each row gets a
copy of the net of its own (`ensemble.stack`), and one backward pass gives them all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import nn
from ..creation import asarray
from ..data.orders import generator
from ..errors import ArgumentError
from ..problem import Problem
from ..tensor import Tensor
from .ensemble import batch_norms, learned, losses_of_runs, stack
from .training import in_rows, train

NUMBERS = 4_000_000  # gradients of so many parameters are held at a time
Z = 1.96  # standard errors on either side of a mean that hold 95 %


def row_gradients(model: nn.Module, loss_fn: nn.Loss, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the gradient of every row's own loss, shape (rows, parameters).

    Parameters
    ----------
    model, loss_fn : Module
        The loss with ``reduction="mean"``; the mean of the rows' gradients is then that of the batch.
    x, y : ndarray, shape (rows, ...)

    Returns
    -------
    ndarray, shape (rows, parameters)
        The parameters that are not frozen, in the order of ``model.parameters()``, each flattened.

    Raises
    ------
    ArgumentError
        With batch normalisation, where no row has a gradient of its own.

    Examples
    --------
    >>> import tinygrad_batch as tb
    >>> model, x, y = nn.Linear(2, 1, rng=0), np.ones((5, 2)), np.zeros((5, 1))
    >>> nn.MSELoss()(model(x), y).backward()
    >>> each = row_gradients(model, nn.MSELoss(), x, y)
    >>> each.shape, bool(np.allclose(each.mean(0)[:2], model.weight.grad.data.ravel()))
    ((5, 3), True)
    """
    for label in batch_norms(model):
        raise ArgumentError(
            f"no row has a gradient of its own: {label} makes every row depend on the others of its batch",
            "Take LayerNorm, or leave the noise out",
        )
    numbers = sum(parameter.size for parameter in learned(model))
    chunk = max(1, NUMBERS // numbers)
    found = np.empty((len(x), numbers))
    for start in range(0, len(x), chunk):
        part = slice(start, min(start + chunk, len(x)))
        many = stack([model] * (part.stop - start))
        if many is None:
            for row in range(start, part.stop):
                found[row] = _flat_gradient(model, loss_fn, x[row : row + 1], y[row : row + 1])
            continue
        losses_of_runs(loss_fn, many(asarray(x[part, None])), asarray(y[part, None])).sum().backward()
        each = [_grad(parameter).reshape(part.stop - start, -1) for parameter in many.parameters()]
        found[part] = np.concatenate(each, axis=1)
    return found


def _flat_gradient(model: nn.Module, loss_fn: nn.Loss, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    parameters = learned(model)
    before = [parameter.grad for parameter in parameters]
    model.zero_grad()
    loss_fn(model(asarray(x)), asarray(y)).backward()
    flat = np.concatenate([_grad(parameter).ravel() for parameter in parameters])
    for parameter, grad in zip(parameters, before, strict=True):
        parameter.grad = grad
    return flat


def _grad(parameter: Tensor) -> np.ndarray:
    """Return the gradient of a parameter; zeros where the loss does not depend on it."""
    return np.zeros(parameter.shape) if parameter.grad is None else parameter.grad.numpy()


@dataclass(frozen=True, slots=True)
class Variance:
    """The variance of the gradient at one batch size: what the law says, and what was found.

    Attributes
    ----------
    batch_size : int
    predicted : float
        ``tr Σ / B · (1 - B / N)``, for batches drawn without putting rows back.
    measured : float
        The mean over drawn batches of the squared distance to the gradient of all rows.
    draws : int
    relative_error : float
        The root of the measured one as a part of the length of the gradient of all rows.
    """

    batch_size: int
    predicted: float
    measured: float
    draws: int
    relative_error: float

    @property
    def ratio(self) -> float:
        """Measured by predicted."""
        return self.measured / self.predicted if self.predicted else 1.0


def variances(each: np.ndarray, batch_sizes: Sequence[int], draws: int = 2000, seed: int = 0) -> list[Variance]:
    """Draw batches of several sizes, and hold the spread of their gradients against the law of averages.

    Parameters
    ----------
    each : ndarray, shape (rows, parameters)
        See `row_gradients`.
    batch_sizes : sequence of int
    draws : int
        How many batches of each size.
    seed : int

    Examples
    --------
    >>> found = variances(np.random.default_rng(0).normal(size=(400, 5)), [1, 20, 400])
    >>> [round(v.ratio, 1) for v in found]
    [1.0, 1.0, 1.0]
    """
    rows, mean = len(each), each.mean(0)
    centred = each - mean
    trace = float((centred**2).sum()) / (rows - 1)
    rng, found = generator(seed, 0), []
    for size in batch_sizes:
        squares: list[float] = []
        while len(squares) < (draws if size < rows else 1):
            order = rng.permutation(rows)
            for start in range(0, rows - size + 1, size):
                squares.append(float((centred[order[start : start + size]].mean(0) ** 2).sum()))
        measured = float(np.mean(squares))
        found.append(
            Variance(size, trace / size * (1 - size / rows), measured, len(squares), (measured / (mean @ mean)) ** 0.5)
        )
    return found


@dataclass(frozen=True, slots=True)
class NoiseScale:
    """The gradient noise scale ``tr Σ / |G|²`` (McCandlish et al. 2018): at this batch size, noise equals signal.

    Attributes
    ----------
    epochs : float
        How far training had come.
    loss : float
    value, low, high : float
        The estimate, and the interval that holds, with 95 %, what would be found from very many rows.
    measurable : bool
        Whether ``|G|²`` is above 0 beyond doubt, both from these pairs and from all rows there are. Near a minimum it
        is not: then nobody can say more than that the scale is above ``low``.
    rows_value : float
        The same computed from all rows at once, ``tr Σ / |G|²`` of the training rows themselves.
    signal : float
        How many of its standard errors ``|G|²`` is above 0, from all rows: below 2 the rows are too few to tell.
    """

    epochs: float
    loss: float
    value: float
    low: float
    high: float
    measurable: bool
    rows_value: float
    signal: float

    def __str__(self) -> str:
        if not self.measurable:
            return f"not measurable here: above {self.low:.0f}" if self.low >= 1 else "not measurable here"
        return f"{self.value:.0f} ({self.low:.0f} to {self.high:.0f})"


def noise_scale(
    each: np.ndarray,
    small: int = 4,
    large: int = 64,
    pairs: int = 400,
    seed: int = 0,
    epochs: float = 0,
    loss: float = 0,
) -> NoiseScale:
    """Estimate the noise scale from pairs of batches of two sizes, as a training could that never sees all rows.

    ``|g|²`` of a batch overstates ``|G|²`` by ``tr Σ / B``. From a small and a large batch, both unknowns follow
    without bias (McCandlish et al. 2018, appendix A.1)::

        tr Σ  ≈ (|g_small|² - |g_large|²) / (1 / small - 1 / large)
        |G|²  ≈ (large |g_large|² - small |g_small|²) / (large - small)

    Their quotient from a single pair would be far off, and often negative; so both are averaged first. The large batch
    is made of small ones, as in accumulating gradients, which takes most of the error out of the difference.

    The interval is Fieller's (1954): where the mean of ``|G|²`` might be 0, it has no upper end. It holds both errors:
    that of the pairs, which more pairs make small, and that of the rows, found by leaving out each of them once
    (`jackknife`), which only more rows could.

    Parameters
    ----------
    each : ndarray, shape (rows, parameters)
        See `row_gradients`. Batches are drawn without putting rows back, and so the rows stand for the many more that
        they came from.
    small, large : int
        Rows of the two batches; the large one has a whole number of small ones.
    pairs : int
    seed : int
    epochs, loss : float
        To be passed on.

    Raises
    ------
    ArgumentError
        Unless ``small < large <= rows``, small divides large, and there are three rows or more.
    """
    rows = len(each)
    if not 0 < small < large <= rows or large % small or rows < 3:
        raise ArgumentError(
            f"the two sizes are {small} and {large}, and there are {rows} rows",
            "Give a small one that divides the large, and three rows or more",
        )
    rng = generator(seed, 1)
    traces, squares = np.empty(pairs), np.empty(pairs)
    for i in range(pairs):
        parts = each[rng.permutation(rows)[:large]].reshape(large // small, small, -1).mean(1)
        few, many = float((parts**2).sum(1).mean()), float((parts.mean(0) ** 2).sum())
        traces[i] = (few - many) / (1 / small - 1 / large)
        squares[i] = (large * many - small * few) / (large - small)
    mean = each.mean(0)
    centred = each - mean
    trace, length = float((centred**2).sum()) / (rows - 1), float(mean @ mean)
    kernel = centred @ centred.T if rows < each.shape[1] else centred.T @ centred
    error = np.sqrt(2 * float((kernel**2).sum())) / (rows - 1) / rows  # of |G|² where it is 0
    signal = (length - trace / rows) / error if error else np.inf
    spread = jackknife(each) + np.cov(traces, squares) / pairs
    value, low, high, clear = fieller(float(traces.mean()), float(squares.mean()), spread)
    clear = clear and signal > 2
    return NoiseScale(epochs, loss, value, low, high if clear else np.inf, clear, trace / length, float(signal))


def jackknife(each: np.ndarray) -> np.ndarray:
    """Return the covariance of the estimates of ``tr Σ`` and ``|G|²`` from rows, as if they had been drawn again.

    Parameters
    ----------
    each : ndarray, shape (rows, parameters)
        See `row_gradients`; three rows or more.

    Returns
    -------
    ndarray, shape (2, 2)
        By leaving out each row once (Efron and Stein 1981).
    """
    rows, total = len(each), each.sum(0)
    squares = (each**2).sum(1)
    kept = squares.sum() - squares
    length = total @ total - 2 * each @ total + squares  # of the sum of the gradients of the rows that are left
    traces = (kept - length / (rows - 1)) / (rows - 2)
    products = (length - kept) / ((rows - 1) * (rows - 2))
    covariance: np.ndarray = np.cov(traces, products, bias=True) * (rows - 1)
    return covariance


def fieller(top: float, bottom: float, covariance: np.ndarray) -> tuple[float, float, float, bool]:
    """Return a ratio of two estimates, its 95 % interval, and whether the denominator is above 0 beyond doubt.

    Parameters
    ----------
    top, bottom : float
    covariance : ndarray, shape (2, 2)
        Of their errors.

    Examples
    --------
    >>> ratio, low, high, sure = fieller(6.0, 2.0, np.diag([0.01, 0.01]))
    >>> print(f"{ratio:.2f} ({low:.2f} to {high:.2f})", sure)
    3.00 (2.72 to 3.34) True
    """
    (var_top, both), (_, var_bottom) = covariance
    # the ratios r for which top - r * bottom is within Z of its standard errors from 0: a r² - 2 b r + c <= 0
    a = bottom**2 - Z**2 * var_bottom
    b = top * bottom - Z**2 * both
    c = top**2 - Z**2 * var_top
    root = float(np.sqrt(max(b * b - a * c, 0.0)))
    if a > 0 and bottom > 0:
        return top / bottom, (b - root) / a, (b + root) / a, True
    ends = [end for end in ((b - root) / a, (b + root) / a) if end > 0] if c > 0 and a else []
    return (top / bottom if bottom > 0 else np.inf), min(ends, default=0.0), np.inf, False


@dataclass(frozen=True, slots=True)
class NoiseReport:
    """What the gradients of batches are like, at the start and on the way."""

    variances: tuple[Variance, ...]
    scales: tuple[NoiseScale, ...]


def gradient_noise(
    problem: Problem,
    batch_sizes: Sequence[int | None],
    *,
    epochs: Sequence[int] = (0, 1, 10, 100),
    rate: float = 0.05,
    draws: int = 2000,
    pairs: int = 400,
    seed: int = 0,
) -> NoiseReport:
    """Measure the noise of the gradient by batch size, and the noise scale along a training.

    Parameters
    ----------
    problem : Problem
    batch_sizes : sequence of int or None
    epochs : sequence of int
        When the noise scale is measured, in a training with batches of 16.
    rate : float
        Of that training.
    draws, pairs, seed
        See `variances` and `noise_scale`.
    """
    sizes = in_rows(batch_sizes, problem.rows)
    model = problem.build(seed)
    each = row_gradients(model, problem.loss_fn, problem.x, problem.y)
    spread = variances(each, sizes, draws, seed)
    scales, done = [], 0
    for stop in epochs:
        if stop > done:
            curves = train(problem, 16, [rate], [seed], epochs=stop - done, starts=[model])
            model = _grown(curves.ensemble)
            each, done = row_gradients(model, problem.loss_fn, problem.x, problem.y), stop
        loss = float(problem.loss_fn(model(problem.x), problem.y).item())
        small = min(4, problem.rows // 2)
        large = small * min(16, problem.rows // small)
        scales.append(noise_scale(each, small, large, pairs, seed, float(stop), loss))
    return NoiseReport(tuple(spread), tuple(scales))


def _grown(ensemble: Any) -> nn.Module:
    net: nn.Module = ensemble.model(0)
    return net
