"""A compiled step computes what the eager step computes, for every layer, loss and optimiser, over 1,000 steps.

The bound: after 1,000 steps every loss, parameter, gradient and array of the optimiser agrees with eager
to 1e-9 (float64) or 2e-4 (float32) of its own size. Single steps agree to some units in the last place;
what is left is that training carries differences on.
"""

import numpy as np
import pytest

import tinygrad_batch as tb
from tinygrad_batch import nn, optim

STEPS = 1000
ROWS = 6
BOUND = {"float64": 1e-9, "float32": 2e-4}


def net(*layers, features=5, dtype="float64"):
    """Return the layers between two linear ones."""
    model = nn.Sequential(nn.Linear(4, features, rng=0), *layers, nn.Linear(features, 3, rng=1))
    return model.astype(dtype)


class Image(nn.Module):
    """Rows of 16 numbers seen as pictures of 4 x 4."""

    def __init__(self, conv, after):
        self.conv, self.after, self.first, self.last = conv, after, nn.Linear(4, 16, rng=0), nn.Linear(18, 3, rng=1)

    def forward(self, x):
        pictures = self.after(self.conv(self.first(x).reshape(-1, 1, 4, 4)))
        return self.last(pictures.reshape(pictures.shape[0], -1))


LAYERS = {
    "Linear without bias": lambda: net(nn.Linear(5, 5, bias=False, rng=2)),
    "Tanh": lambda: net(nn.Tanh()),
    "ReLU": lambda: net(nn.ReLU()),
    "Sigmoid": lambda: net(nn.Sigmoid()),
    "SiLU": lambda: net(nn.SiLU()),
    "Softplus": lambda: net(nn.Softplus()),
    "GELU": lambda: net(nn.GELU()),
    "GELU tanh": lambda: net(nn.GELU("tanh")),
    "Flatten": lambda: net(nn.Flatten()),
    "Identity": lambda: net(nn.Identity()),
    "Sequential": lambda: net(nn.Sequential(nn.Tanh(), nn.Linear(5, 5, rng=2))),
    "Dropout": lambda: net(nn.Dropout(0.3, rng=7)),
    "BatchNorm1d": lambda: net(nn.BatchNorm1d(5)),
    "LayerNorm": lambda: net(nn.LayerNorm(5)),
    "Conv2d": lambda: Image(nn.Conv2d(1, 2, 2, rng=3), nn.Tanh()),
    "MaxPool2d": lambda: Image(nn.Conv2d(1, 18, 3, rng=3), nn.MaxPool2d(2)),
}
LOSSES = {
    "MSELoss": nn.MSELoss,
    "MSELoss sum": lambda: nn.MSELoss("sum"),
    "L1Loss": nn.L1Loss,
    "HuberLoss": lambda: nn.HuberLoss(delta=0.5),
    "BCEWithLogitsLoss": nn.BCEWithLogitsLoss,
    "CrossEntropyLoss": nn.CrossEntropyLoss,
    "CrossEntropyLoss smooth": lambda: nn.CrossEntropyLoss(label_smoothing=0.1),
}
OPTIMIZERS = {
    "SGD": lambda p: optim.SGD(p, lr=0.01),
    "SGD momentum": lambda p: optim.SGD(p, lr=0.01, momentum=0.9, weight_decay=0.01),
    "SGD nesterov": lambda p: optim.SGD(p, lr=0.01, momentum=0.9, nesterov=True),
    "Adam": lambda p: optim.Adam(p, lr=0.002),
    "Adam decay": lambda p: optim.Adam(p, lr=0.002, weight_decay=0.01),
    "AdamW": lambda p: optim.AdamW(p, lr=0.002),
    "RMSprop": lambda p: optim.RMSprop(p, lr=0.001),
    "RMSprop centered": lambda p: optim.RMSprop(p, lr=0.001, momentum=0.5, centered=True),
    "Adagrad": lambda p: optim.Adagrad(p, lr=0.01),
}


def test_every_layer_loss_and_optimizer_of_the_package_is_here():
    def kinds(module, base, names):
        own = {k for k, v in vars(module).items() if isinstance(v, type) and issubclass(v, base) and v is not base}
        return own - {name.partition(" ")[0] for name in names}

    assert kinds(nn, nn.Module, [*LAYERS, *LOSSES, "Loss"]) == set()
    assert kinds(optim, optim.Optimizer, OPTIMIZERS) == set()


def target(loss, rng, dtype):
    if isinstance(loss, nn.CrossEntropyLoss):
        return rng.integers(0, 3, ROWS)
    kind = rng.uniform(size=(ROWS, 3)) if isinstance(loss, nn.BCEWithLogitsLoss) else rng.normal(size=(ROWS, 3))
    return kind.astype(dtype)


def trained(make_model, make_loss, make_optimizer, dtype, compiled):
    """Train for 1,000 steps, and return everything that can be seen."""
    model, loss_fn = make_model(), make_loss()
    model.astype(dtype)
    optimizer = make_optimizer(model.parameters())

    def step(x, y):
        optimizer.zero_grad()
        loss = loss_fn(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    run = tb.compile(step, backend=compiled) if compiled else step
    rng = np.random.default_rng(5)
    batches = [(rng.normal(size=(ROWS, 4)).astype(dtype), target(loss_fn, rng, dtype)) for _ in range(4)]
    losses = [run(*(tb.tensor(a) for a in batches[i % 4])).item() for i in range(STEPS)]
    if compiled:
        assert run.cache_info()[:2] == (STEPS - 1, 1)
    state = optimizer.state_dict()
    seen = {"losses": np.array(losses), **model.state_dict()}
    seen |= {f"{name}.grad": p.grad.numpy().copy() for name, p in model.named_parameters()}
    seen |= {f"{i}.{slot}": array for i, kept in enumerate(state["kept"]) for slot, array in kept.items()}
    return seen | {"steps": np.array(state["steps"])}


def agree(case, dtype, backend):
    eager, replayed = trained(*case, dtype, None), trained(*case, dtype, backend)
    assert eager.keys() == replayed.keys()
    for name, value in eager.items():
        assert replayed[name].dtype == value.dtype
        size = np.abs(value).max()
        np.testing.assert_allclose(replayed[name], value, rtol=0, atol=BOUND[dtype] * max(size, 1e-3), err_msg=name)


SGD, TANH, MSE = OPTIMIZERS["SGD"], LAYERS["Tanh"], nn.MSELoss


@pytest.mark.parametrize("layer", LAYERS)
def test_layer(layer, backend):
    agree((LAYERS[layer], MSE, SGD), "float64", backend)


@pytest.mark.parametrize("loss", LOSSES)
def test_loss(loss, backend):
    agree((TANH, LOSSES[loss], SGD), "float64", backend)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_optimizer(optimizer, backend):
    agree((TANH, MSE, OPTIMIZERS[optimizer]), "float64", backend)


@pytest.mark.parametrize("layer", ["Tanh", "BatchNorm1d", "Dropout"])
def test_float32(layer, backend):
    # plain descent, which damps differences: momentum or Adam on six rows can carry rounding anywhere
    agree((LAYERS[layer], MSE, SGD), "float32", backend)
