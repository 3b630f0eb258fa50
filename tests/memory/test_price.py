"""A step is priced from shapes alone, and takes what it was priced at."""

import os
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from measuring import Training, traced

import tinygrad_batch as tb
from tinygrad_batch import nn
from tinygrad_batch.errors import ArgumentError, ShapeError
from tinygrad_batch.memory import Line
from tinygrad_batch.ops.merged import affine
from tinygrad_batch.ops.shaping import astype

SLACK = 20_000  # bytes of Python's own objects: tensors, nodes, the loss
BUFFER = 70_000  # NumPy's buffer where it casts or broadcasts


def seed_net():
    return [nn.Linear(10, 15, rng=0), nn.Tanh(), nn.Linear(15, 10, rng=1), nn.Tanh(), nn.Linear(10, 1, rng=2)]


def around(*middle):
    return lambda: [nn.Linear(10, 15), *[make() for make in middle], nn.Linear(15, 1)]


def convnet():
    return [
        *(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 16, 3), nn.ReLU()),
        *(nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64, 10)),
    ]


NETS = {
    "seed": (seed_net, nn.MSELoss, (10,), (1,), 20_000),
    "linear": (lambda: [nn.Linear(10, 1)], nn.MSELoss, (10,), (1,), 50_000),
    "classes": (
        lambda: [nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10)], nn.CrossEntropyLoss, (64,), "classes", 20_000
    ),
    "sigmoid": (around(nn.Sigmoid), nn.MSELoss, (10,), (1,), 20_000),
    "gelu": (around(nn.GELU), nn.MSELoss, (10,), (1,), 20_000),
    "silu": (around(nn.SiLU), nn.L1Loss, (10,), (1,), 20_000),
    "softplus": (around(nn.Softplus), nn.BCEWithLogitsLoss, (10,), (1,), 20_000),
    "dropout": (around(nn.Tanh, nn.Dropout), nn.MSELoss, (10,), (1,), 20_000),
    "batch norm": (around(lambda: nn.BatchNorm1d(15), nn.ReLU), nn.MSELoss, (10,), (1,), 20_000),
    "layer norm": (around(lambda: nn.LayerNorm(15), nn.ReLU), nn.HuberLoss, (10,), (1,), 20_000),
    "convolutions": (convnet, nn.CrossEntropyLoss, (1, 8, 8), "classes", 3_000),
}  # fmt: skip


@pytest.mark.parametrize("given", ["float64", "float32"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", NETS)
def test_a_step_takes_what_it_was_priced_at(name, dtype, given):
    layers, loss_fn, x_shape, y_shape, rows = NETS[name]
    training = Training(layers, loss_fn, x_shape, y_shape, rows, dtype, given=given)
    found, price = training.measure(), training.price()
    for phase, line in (("forward", price.forward), ("backward", price.backward)):
        assert found[phase][0] == pytest.approx(line.at(rows), rel=0.01, abs=BUFFER), phase
    assert found["forward"][1] == pytest.approx(price.kept.at(rows), rel=0.001, abs=SLACK)
    assert found["backward"][1] == pytest.approx(price.gradient_bytes, abs=SLACK)


@pytest.mark.parametrize("rows", [1, 100, 5_000, 100_000])
def test_the_seed_net_at_any_number_of_rows(rows):
    training = Training(seed_net, nn.MSELoss, (10,), (1,), rows)
    found, price = training.measure(), training.price()
    most = max(most for most, _ in found.values())
    assert most == pytest.approx(price.peak.at(rows), rel=0.01, abs=SLACK)


def product(x, w, b):
    return x @ w + b


@pytest.mark.parametrize("layer", [affine, product])
@pytest.mark.parametrize(
    "dtypes",
    [
        ("float32", "float64", "float64"), ("float64", "float32", "float32"), ("float32", "float32", "float64"),
        ("int32", "float32", "float64"), ("int64", "float64", "float64"),
    ],
)  # fmt: skip
def test_a_layer_of_several_dtypes_takes_what_it_was_priced_at(layer, dtypes):
    rows = 4_000
    x, w, b = [np.ones(shape, dtype) for shape, dtype in zip([(rows, 300), (300, 200), (200,)], dtypes, strict=True)]
    before = tb.tensor(np.ones(300, dtypes[0]), requires_grad=dtypes[0].startswith("float"))
    parameters = [before, tb.tensor(w, requires_grad=True), tb.tensor(b, requires_grad=True)]

    def step(given):
        for one in parameters:
            one.grad = None
        layer(given * before, *parameters[1:]).square().mean().backward()

    x = tb.tensor(x)
    most = traced(lambda: step(x))
    assert most == pytest.approx(tb.price(step, x).peak.at(rows), rel=0.01, abs=BUFFER)


def test_a_gradient_that_fits_already_is_one_array():
    x, w = tb.ones(4, 500, dtype="float32"), tb.tensor(np.ones((500, 500)), requires_grad=True)

    def step(x):
        w.grad = None
        (x @ w).square().mean().backward()

    assert traced(lambda: step(x)) == pytest.approx(tb.price(step, x).peak.at(4), rel=0.01, abs=BUFFER)


def test_what_takes_no_fast_way_is_computed_once_all_the_same():
    x = tb.tensor(np.ones((20_000, 30)), requires_grad=True)
    w, b, narrow = tb.ones(30, 30), tb.ones(30), tb.ones(20_000, 30, dtype="float32")
    learning = tb.tensor(np.ones((30, 30)), requires_grad=True)
    assert traced(lambda: affine(x, w, b)) == pytest.approx(x.nbytes, abs=BUFFER)  # a frozen layer
    assert traced(lambda: affine(narrow, learning, b)) == pytest.approx(2 * x.nbytes, abs=BUFFER)
    assert traced(lambda: astype(x, np.float32)) == pytest.approx(narrow.nbytes, abs=BUFFER)


def test_the_figures_of_the_seed_net():
    # It keeps the outputs of both tanh and of the last layer: 15 + 10 + 1 numbers a row. At its peak, while
    # dh1 = dm2 @ W2ᵀ is computed, there are h1 (15), dm2 (10) and dh1 itself (15).
    price = Training(seed_net, nn.MSELoss, (10,), (1,), 5).price(rows=1_000_000)
    assert (price.kept.per_row, price.kept.constant) == (26 * 8, 0)
    assert price.peak == price.backward
    assert price.peak.per_row == 40 * 8 <= 330
    assert [(layer.name, layer.kept.per_row) for layer in price.layers] == [
        ("1 Tanh", 15 * 8), ("3 Tanh", 10 * 8), ("MSELoss", 8),
    ]  # fmt: skip
    assert (price.data.per_row, price.parameter_bytes, price.state_bytes) == (11 * 8, 336 * 8, 0)
    assert price.total.at(1000) == 1000 * (320 + 88) + 336 * 8 + round(price.peak.constant)
    assert "208 B × rows" in str(price)


def test_ten_million_rows_are_priced_without_being_allocated():
    training = Training(seed_net, nn.MSELoss, (10,), (1,), 5)
    training.price(rows=10)
    tracemalloc.start()
    try:
        price = training.price(rows=10_000_000)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert price.kept.at(10_000_000) == 2_080_000_000
    assert most < 200_000


def test_pricing_changes_nothing():
    training = Training(
        around(nn.Tanh, lambda: nn.Dropout(0.5, rng=3), lambda: nn.BatchNorm1d(15)), nn.MSELoss, (10,), (1,), 8
    )
    training.step(training.x, training.y)
    state, generator = training.model.state_dict(), training.model[2].rng
    drawn_from = generator.bit_generator.state
    grads = [p.grad.numpy().copy() for p in training.model.parameters()]
    training.price(rows=1_000_000)
    assert all((array == training.model.state_dict()[path]).all() for path, array in state.items())
    assert all((a == p.grad.numpy()).all() for a, p in zip(grads, training.model.parameters(), strict=True))
    assert generator.bit_generator.state == drawn_from
    training.optimizer.zero_grad()
    training.price(rows=1_000_000)
    assert all(p.grad is None for p in training.model.parameters())


@pytest.mark.parametrize(("make", "slots"), [(tb.optim.SGD, 0), (tb.optim.Adam, 2), (tb.optim.RMSprop, 1)])
def test_what_an_optimiser_keeps_is_priced(make, slots):
    price = Training(seed_net, nn.MSELoss, (10,), (1,), 5, optimizer=make).price(rows=100)
    assert price.state_bytes == slots * price.parameter_bytes
    assert price.total.constant == pytest.approx((1 + slots) * 336 * 8 + price.peak.constant)


@pytest.mark.parametrize("make", [tb.optim.SGD, tb.optim.Adam, tb.optim.AdamW, tb.optim.RMSprop, tb.optim.Adagrad])
def test_the_update_of_a_large_layer_takes_what_it_was_priced_at(make):
    training = Training(lambda: [nn.Linear(300, 300)], nn.MSELoss, (300,), (300,), 2, optimizer=make)
    found, price = training.measure(), training.price()
    assert found["update"][0] == pytest.approx(price.update.at(2), rel=0.01, abs=SLACK)


def test_gradients_that_stay_during_the_forward_pass_are_counted():
    training = Training(lambda: [nn.Linear(500, 500)], nn.MSELoss, (500,), (500,), 2)

    def step(x, y):
        loss = training.loss_fn(training.model(x), y)
        training.optimizer.zero_grad()
        loss.backward()

    assert tb.price(step, training.x, training.y).forward.at(2) > training.price().forward.at(2) + 500 * 500 * 8


def test_two_passes_before_an_update_are_one_after_the_other():
    training = Training(seed_net, nn.MSELoss, (10,), (1,), 5)

    def step(x, y):
        for half in (slice(0, 500), slice(500, 1000)):
            training.loss_fn(training.model(x[half]), y[half]).backward()

    price = tb.price(step, training.x, training.y, rows=1000)
    whole = training.price(rows=500)
    assert price.kept.at(1000) == whole.kept.at(500)


def test_a_step_without_backward_keeps_nothing():
    model = nn.Sequential(*seed_net())

    def evaluate(x):
        with tb.no_grad():
            return model(x)

    price = tb.price(evaluate, tb.ones(4, 10), rows=1000)
    assert (price.kept.at(1000), price.backward.at(1000), price.layers) == (0, 0, ())
    assert price.forward.at(1000) == 1000 * 8 * (15 + 15)  # z1 and h1


def test_layers_that_are_made_in_the_step_go_by_their_own_names():
    first, last = nn.Linear(6, 8), nn.Linear(8, 1)

    def fresh(x, y):
        nn.MSELoss()(last(nn.Tanh()(nn.ReLU()(first(x)))), y).backward()

    relu, tanh, loss_fn = nn.ReLU(), nn.Tanh(), nn.MSELoss()

    def lasting(x, y):
        loss_fn(last(tanh(relu(first(x)))), y).backward()

    expected = tb.price(lasting, tb.ones(5, 6), tb.ones(5, 1))
    assert [layer.name for layer in expected.layers] == ["ReLU", "Tanh", "MSELoss"]
    for _ in range(30):  # where the next layer is made depends on what was made before
        assert tb.price(fresh, tb.ones(5, 6), tb.ones(5, 1)) == expected


def test_what_a_step_makes_and_lets_go_is_counted_once():
    loss_fn = nn.MSELoss()

    def step(x, y):
        model = nn.Linear(100, 100)
        optimizer = tb.optim.Adam(model.parameters())
        loss_fn(model(x), y).backward()
        optimizer.step()

    price = tb.price(step, tb.ones(2, 100), tb.ones(2, 100))
    weights = 8 * (100 * 100 + 100)
    assert (price.parameter_bytes, price.state_bytes, price.gradient_bytes) == (weights, 2 * weights, 0)
    assert price.forward.constant < weights  # the gradients of the last step are gone with its layer


def test_a_layer_that_is_gone_holds_nothing():
    class Keeps(nn.Module):
        def forward(self, x):
            self.seen = x * 2.0
            return self.seen + 1.0

    def step(x):
        with tb.no_grad():
            return Keeps()(Keeps()(x))

    assert tb.price(step, tb.ones(2, 10), rows=1_000).forward.at(1_000) == 1_000 * 10 * 8 * 3


def test_a_step_that_runs_other_layers_with_more_rows_is_priced():
    few, many = nn.Linear(4, 4), nn.Sequential(nn.Linear(4, 4), nn.Tanh())
    price = tb.price(lambda x: (few if len(x) < 150 else many)(x).square().sum().backward(), tb.ones(2, 4), rows=100)
    assert [(layer.name, layer.kept.at(100)) for layer in price.layers] == [("", 3200), ("1 Tanh", 0)]


def test_an_array_is_not_taken_for_one_that_lay_where_it_lies():
    layer, loss_fn = nn.Linear(40, 40), nn.MSELoss()

    def step(x, views=0):
        turned = [x.T for _ in range(views)]
        del turned  # what is made next has their ids
        loss_fn(layer(x).tanh(), x).backward()

    x = tb.ones(2, 40)
    assert tb.price(lambda x: step(x, 50), x, rows=4_000).backward == tb.price(step, x, rows=4_000).backward


@pytest.mark.parametrize(
    ("batch", "options", "error", "message"),
    [
        ((), {}, ArgumentError, "no batch"),
        ((3.0,), {}, ShapeError, "array 0 of the batch is a single number"),
        ((tb.ones(2, 10), tb.ones(2, 1)), {"rows": 0}, ArgumentError, "1 row or more, not 0"),
        ((tb.ones(2, 3), tb.ones(2, 1)), {"rows": 7}, ShapeError, r"\(7, 3\)"),
    ],
)
def test_what_cannot_be_priced(batch, options, error, message):
    training = Training(seed_net, nn.MSELoss, (10,), (1,), 5)
    with pytest.raises(error, match=message):
        tb.price(training.step, *batch, **options)


def test_a_line_goes_through_two_points():
    line = Line.through(10, 130, 20, 230)
    assert (line.constant, line.per_row, line.at(1000)) == (30, 10, 10_030)
    assert [str(Line(0, 8)), str(Line(5000, 0)), str(Line(0, 0))] == ["8 B × rows", "5.0 kB", "0 B"]


RESIDENT = """
import ctypes, re, sys
ctypes.CDLL(None).mallopt(-3, 65536)  # M_MMAP_THRESHOLD: every large array has pages of its own
import numpy as np
import tinygrad_batch as tb
from tinygrad_batch import nn

rows = 200_000
tb.seed(0)
net = nn.Sequential(nn.Linear(10, 15), nn.Tanh(), nn.Linear(15, 10), nn.Tanh(), nn.Linear(10, 1))
loss_fn, optimizer = nn.MSELoss(), tb.optim.SGD(net.parameters(), lr=0.05)
x, y = tb.randn(rows, 10), tb.randn(rows, 1)

def step(xb, yb):
    optimizer.zero_grad()
    loss_fn(net(xb), yb).backward()
    optimizer.step()

def kilobytes(name):
    return int(re.search(name + r":\\s+(\\d+)", open("/proc/self/status").read())[1])

step(x[:5000], y[:5000])  # BLAS and NumPy take their buffers
open("/proc/self/clear_refs", "w").write("5")  # forget the peak
before = kilobytes("VmRSS")
step(x, y)
print((kilobytes("VmHWM") - before) * 1024, tb.price(step, x, y).peak.at(rows))
"""


def test_a_fresh_process_takes_what_the_step_was_priced_at():
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", RESIDENT], capture_output=True, text=True, env=environment, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, done.stderr
    resident, priced = map(int, done.stdout.split())
    assert resident == pytest.approx(priced, rel=0.01)
