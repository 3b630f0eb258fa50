"""Convolutions spelled out, and what is between them in their order: the same values, without transposing."""

import numpy as np
import pytest
from passing import ops, run

import tinygrad_batch as tb
from tinygrad_batch import nn
from tinygrad_batch.program import Builder
from tinygrad_batch.replay.passes.arrange import arrange


class Net:
    """A program in the making: x are 3 pictures of 2 x 5 x 6, c what 4 kernels of 2 x 3 find in them."""

    def __init__(self, dtype="float64", **options):
        self.b, self.values, self.rng = Builder(), {}, np.random.default_rng(0)
        self.dtype, self.inputs = dtype, []
        self.x, self.w = self.given("x", (3, 2, 5, 6)), self.given("w", (4, 2, 2, 3))
        self.c = self.b.add("correlate", self.x, self.w, name="c", **options)

    def given(self, name, shape, dtype=None):
        v = self.b.variable(name, shape, dtype or self.dtype, "input")
        self.values[v] = self.rng.normal(size=shape).astype(v.dtype)
        self.inputs.append(v)
        return v

    def arranged(self, *outputs):
        return ops(run(arrange, self.b.program(self.inputs, outputs), self.values, rounding=True))


SPELLED = ["transpose", "columns", "reshape", "matmul", "reshape"]


def test_a_program_without_convolutions_stays_as_it_is():
    builder = Builder()
    x = builder.variable("x", (3, 4), "float64", "input")
    program = builder.program([x], [builder.add("transpose", x, axes=(1, 0))])
    assert arrange(program) is program


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("stride", [(1, 1), (2, 3)])
def test_a_convolution_and_its_ways_back(dtype, stride):
    net = Net(dtype, stride=stride)
    z = net.given("z", net.c.shape)
    found = net.arranged(
        net.c, net.b.add("correlate_back", z, net.w, shape=net.x.shape, stride=stride),
        net.b.add("correlate_kernels", net.x, z, size=(2, 3), stride=stride),
    )  # fmt: skip
    assert found.count("columns") == 1  # both ways
    assert {"correlate", "correlate_back", "correlate_kernels"}.isdisjoint(found)


def test_of_several_dtypes_nothing_is_spelled():
    net = Net()
    other = net.given("other", (4, 2, 2, 3), "float32")
    z = net.given("z", (3, 4, 4, 4), "float32")
    mixed = [
        net.b.add("correlate", net.x, other), net.b.add("correlate_back", z, net.w, shape=net.x.shape),
        net.b.add("correlate_kernels", net.x, z, size=(2, 3)),
    ]  # fmt: skip
    assert {"correlate", "correlate_back", "correlate_kernels"} <= set(net.arranged(net.c, *mixed))


FOLLOWING = {
    "one after the other": lambda n: [n.b.add("tanh", n.b.add("maximum", n.c, 0))],
    "a bias": lambda n: [n.b.add("add", n.c, n.b.add("reshape", n.given("b", (4,)), shape=(4, 1, 1)))],
    "of fewer axes": lambda n: [n.b.add("multiply", n.given("b", (4,)), n.b.add("clip", n.c, low=-1.0))],
    "in another order": lambda n: [n.b.add("subtract", n.given("z", n.c.shape), n.c)],
    "a choice": lambda n: [n.b.add("where", n.b.add("greater", n.c, 0), n.given("z", n.c.shape), 0.5)],
    "an array of no axes": lambda n: [n.b.add("divide", n.c, n.given("s", ()))],
    "a smaller one": lambda n: [n.b.add("add", n.given("z", (2, 3, 4, 4, 4)), n.c)],
    "totals": lambda n: [
        n.b.add("sum", n.c, axis=(0, 2, 3), keepdims=False), n.b.add("max", n.c, axis=-1, keepdims=True),
        n.b.add("mean", n.c, axis=None, keepdims=False), n.b.add("min", n.c, axis=1, keepdims=False),
    ],
    "windows side by side": lambda n: [
        n.b.add("max", n.b.add("reshape", n.c, shape=(3, 4, 2, 2, 2, 2)), axis=(-3, -1), keepdims=False)
    ],
    "there and back": lambda n: [
        n.b.add("reshape", n.b.add("exp", n.b.add("reshape", n.c, shape=(3, 4, 2, 2, 2, 2))), shape=(3, 4, 4, 4))
    ],
    "flat": lambda n: [n.b.add("matmul", n.b.add("reshape", n.c, shape=(3, 64)), n.given("v", (64, 5)))],
    "across the rows": lambda n: [n.b.add("reshape", n.c, shape=(12, 16)), n.b.add("reshape", n.c, shape=(2, 96))],
    "with ones": lambda n: [n.b.add("reshape", n.c, shape=(3, 1, 4, 4, 4, 1)), n.b.add("reshape", n.c, shape=(-1,))],
    "transposed": lambda n: [n.b.add("tanh", n.b.add("transpose", n.c, axes=(0, 2, 3, 1)))],
    "a border": lambda n: [n.b.add("pad", n.c, widths=((0, 0), (0, 0), (1, 2), (3, 0)))],
    "parts": lambda n: [
        n.b.add("getitem", n.c, index=(..., slice(1, 3), slice(None, None, 2))), n.b.add("getitem", n.c, index=1),
        n.b.add("getitem", n.c, index=slice(1, 3)),
    ],
    "windows that overlap": lambda n: [
        n.b.add("max", n.b.add("sliding_windows", n.c, size=(2, 2)), axis=(-2, -1), keepdims=False)
    ],
    "random numbers": lambda n: [n.b.add("multiply", n.c, n.b.add("random_mask", n.c, keep=0.5, rng=3))],
}  # fmt: skip


@pytest.mark.parametrize("name", FOLLOWING)
def test_what_follows(name):
    net = Net()
    net.arranged(*FOLLOWING[name](net))


def test_between_two_convolutions_nothing_is_transposed():
    net = Net()
    h = net.b.add("maximum", net.b.add("add", net.c, net.b.add("reshape", net.given("b", (4,)), shape=(4, 1, 1))), 0)
    found = net.arranged(net.b.add("correlate", h, net.given("v", (5, 4, 2, 2))))
    assert found[:5] == SPELLED
    # the bias is small, and the last is the order of the result
    assert [name for name in found[5:] if name == "transpose"] == ["transpose"] * 2
    assert found[-6:] == ["maximum", "columns", "reshape", "matmul", "reshape", "transpose"]


class Deep(nn.Module):
    """Borders, steps, windows that overlap and that stand apart, normalising and dropping between convolutions."""

    def __init__(self):
        self.first, self.second = nn.Conv2d(2, 4, 3, padding=1, rng=0), nn.Conv2d(4, 3, 2, stride=2, bias=False, rng=1)
        self.scale, self.last = nn.Parameter(np.linspace(0.5, 1.5, 4).reshape(4, 1, 1)), nn.Linear(12, 3, rng=2)
        self.drop = nn.Dropout(0.25, rng=4)

    def forward(self, x):
        h = nn.functional.max_pool2d(tb.relu(self.first(x)), 3, 2)
        h = (h - h.mean(axis=(2, 3), keepdims=True)) * self.scale
        h = nn.functional.max_pool2d(self.second(self.drop(h)), (1, 2))
        return self.last(tb.tanh(h).reshape(h.shape[0], -1))


@pytest.mark.parametrize("options", [{}, {"backend": "native"}, {"row_block": 4}], ids=str)
def test_a_net_trains_as_eagerly(options):
    if options.get("backend") == "native":
        pytest.importorskip("llvmlite")
    rng = np.random.default_rng(0)
    x, y = tb.tensor(rng.normal(size=(9, 2, 9, 19))), tb.tensor(rng.integers(0, 3, 9))
    found = []
    for compiled in (False, True):
        model = Deep()
        optimizer, loss_fn = tb.optim.Adam(model.parameters(), lr=0.01), nn.CrossEntropyLoss()

        def step(x, y, model=model, optimizer=optimizer, loss_fn=loss_fn):
            optimizer.zero_grad()
            loss = loss_fn(model(x), y)
            loss.backward()
            optimizer.step()
            return loss

        train = tb.compile(step, **options) if compiled else step
        losses = [train(x, y).item() for _ in range(5)]
        found.append(
            [np.array(losses), *(p.data for p in model.parameters()), *(p.grad.data for p in model.parameters())]
        )
    for eager, replayed in zip(*found, strict=True):
        np.testing.assert_allclose(replayed, eager, rtol=1e-9, atol=1e-11)
