"""JAX: a step compiled by jit, its parameters donated; and a whole epoch as one scan."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from contestants import Problem, Train
from jax import lax

from .contestant import Call, Contestant, twenty
from .pictures import Pictures

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_enable_x64", True)  # float32 stays float32; without it there is no float64
jax.config.update("jax_cpu_enable_async_dispatch", False)  # or a second thread computes
ACTIVATIONS = {"tanh": jnp.tanh, "relu": jax.nn.relu}
Step = Callable[[list[Any], Any, Any], tuple[list[Any], Any]]


class Jit(Contestant):
    """One compiled call for each step."""

    traced = False

    def array(self, array: np.ndarray) -> Any:
        return jnp.asarray(array)

    def net(self, problem: Problem) -> Train:
        return _training(_net_step(problem), problem.parameters())

    def chain(self, activation: str) -> Train:
        function = ACTIVATIONS[activation]
        run = jax.jit(lambda x, other: twenty(x, other, function))
        return lambda x, other: run(x, other).block_until_ready()

    def convnet(self, pictures: Pictures) -> Train:
        return _training(_step(_convnet_loss, pictures.lr), pictures.parameters())


class Scan(Jit):
    """One compiled call for each epoch."""

    def epoch(self, problem: Problem, rows: int) -> Call:
        step = _net_step(problem)

        def whole(parameters: list[Any], xs: Any, ys: Any) -> Any:
            return lax.scan(lambda carried, batch: step(carried, *batch), parameters, (xs, ys))

        xs, ys = (self.array(array.reshape(-1, rows, array.shape[1])) for array in (problem.x, problem.y))
        train = _training(whole, problem.parameters())
        return lambda: train(xs, ys)


def _training(step: Step, parameters: list[np.ndarray]) -> Train:
    compiled = jax.jit(step, donate_argnums=0)
    held = [jnp.array(array) for array in parameters]

    def train(x: Any, y: Any) -> Any:
        nonlocal held
        held, loss = compiled(held, x, y)
        return loss.block_until_ready()

    return train


def _step(loss_of: Callable[..., Any], lr: float) -> Step:
    loss_and_gradients = jax.value_and_grad(loss_of)

    def step(parameters: list[Any], x: Any, y: Any) -> tuple[list[Any], Any]:
        loss, gradients = loss_and_gradients(parameters, x, y)
        return [p - lr * g for p, g in zip(parameters, gradients, strict=True)], loss

    return step


def _net_step(problem: Problem) -> Step:
    return _step(_net_loss, problem.lr)


def _net_loss(parameters: list[Any], x: Any, y: Any) -> Any:
    W1, b1, W2, b2, W3, b3 = parameters
    h1 = jnp.tanh(x @ W1 + b1)
    h2 = jnp.tanh(h1 @ W2 + b2)
    return jnp.mean((h2 @ W3 + b3 - y) ** 2)


def _convnet_loss(parameters: list[Any], x: Any, y: Any) -> Any:
    W1, b1, W2, b2, W3, b3 = parameters
    for kernels, bias in ((W1, b1), (W2, b2)):
        x = jax.nn.relu(lax.conv(x, kernels, (1, 1), "VALID") + bias[:, None, None])
    pooled = lax.reduce_window(x, -jnp.inf, lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")
    logp = jax.nn.log_softmax(pooled.reshape(len(y), -1) @ W3 + b3)
    return -jnp.mean(logp[jnp.arange(len(y)), y])
