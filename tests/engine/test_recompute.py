"""Checkpoints: less is kept, and everything comes out the same, to the bit."""

import gc
import tracemalloc
import weakref

import numpy as np
import pytest

import tinygrad_batch as tb
from tinygrad_batch import nn
from tinygrad_batch.errors import ArgumentError, GraphError
from tinygrad_batch.recompute import _checksum


def layers(dropout=0.0):
    parts = [(nn.Linear(6, 6, rng=i), nn.Tanh(), nn.Dropout(dropout, rng=i)) for i in range(5)]
    return nn.Sequential(*[layer for part in parts for layer in part])


def rows():
    return tb.tensor(np.random.default_rng(0).normal(size=(4, 6)), requires_grad=True)


def gradients(model, run, x):
    """Return the output and all gradients of one step, with every dropout starting from the same place."""
    for i, layer in enumerate(model):
        if isinstance(layer, nn.Dropout):
            layer.rng = np.random.default_rng(i)
    model.zero_grad()
    x.grad = None
    out = run(x)
    out.square().mean().backward()
    return [t.numpy().copy() for t in (out.detach(), x.grad, *[p.grad for p in model.parameters()])]


def same(one, other):
    return len(one) == len(other) and all((a == b).all() for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("dropout", [0.0, 0.4])
@pytest.mark.parametrize("segments", [1, 2, 3, 7, 15])
def test_segments_change_no_bit(segments, dropout):
    model, x = layers(dropout), rows()
    plain = gradients(model, model, x)
    assert same(plain, gradients(model, lambda x: tb.checkpoint_sequential(model, segments, x), x))


def test_a_checkpoint_may_hold_another():
    model, x = layers(0.4), rows()

    def inner(x):
        return tb.checkpoint(model, x * 1.5)

    plain = gradients(model, lambda x: model(x * 1.5).tanh(), x)
    assert same(plain, gradients(model, lambda x: tb.checkpoint(lambda x: inner(x).tanh(), x), x))


def test_numbers_drawn_afterwards_are_the_same():
    def draws(wrap):
        tb.seed(3)
        net = nn.Sequential(nn.Linear(6, 6, rng=0), nn.Dropout(0.5))
        wrap(net, rows()).sum().backward()
        return tb.rand(3).numpy()

    assert (draws(lambda net, x: net(x)) == draws(tb.checkpoint)).all()


def test_running_statistics_move_once():
    def running(wrap):
        norm = nn.BatchNorm1d(6)
        wrap(norm, rows()).square().sum().backward()
        return norm.running_mean.numpy().copy(), norm.running_var.numpy().copy()

    assert same(running(lambda net, x: net(x)), running(tb.checkpoint))


def test_several_outputs_are_computed_again_once():
    calls = []

    def both(x):
        calls.append(1)
        h = tb.tanh(x)
        return h * 2, h.exp()

    x = rows()
    a, b = tb.checkpoint(both, x)
    (a.sum() + b.sum()).backward()
    checkpointed = x.grad.numpy().copy()
    x.grad = None
    a, b = both(x)
    (a.sum() + b.sum()).backward()
    assert (checkpointed == x.grad.numpy()).all()
    assert len(calls) == 3


def test_second_derivatives_go_through():
    x = tb.tensor([0.3, -0.7], requires_grad=True)
    expected = -2 * np.tanh(x.data) * (1 - np.tanh(x.data) ** 2)
    (slope,) = tb.grad(tb.checkpoint(tb.tanh, x).sum(), [x], create_graph=True)
    (bend,) = tb.grad(slope.sum(), [x])
    np.testing.assert_allclose(bend.data, expected, rtol=1e-12)


def test_a_graph_that_is_retained_can_be_walked_again():
    x = rows()
    loss = tb.checkpoint(layers(), x).sum()
    loss.backward(retain_graph=True)
    once = x.grad.numpy().copy()
    loss.backward()
    assert (x.grad.numpy() == 2 * once).all()
    with pytest.raises(GraphError, match="freed by an earlier backward pass"):
        loss.backward()


def test_what_needs_no_gradient_is_only_run():
    calls = []

    def function(x):
        calls.append(x)
        return x * 2

    assert tb.checkpoint(function, tb.ones(3)).requires_grad is False
    with tb.no_grad():
        assert tb.checkpoint(function, rows()).requires_grad is False
    assert len(calls) == 2


def test_other_arguments_pass_through():
    x = rows()
    tb.checkpoint(lambda x, power, scale: (x**power * scale).sum(), x, 3, 0.5).backward()
    np.testing.assert_allclose(x.grad.data, 1.5 * x.data**2, rtol=1e-14)


# ---- what is noticed ----


def test_a_function_that_does_something_else_the_second_time_is_noticed():
    factors = iter([2.0, 3.0])
    loss = tb.checkpoint(lambda x: tb.tanh(x * next(factors)), rows()).sum()
    with pytest.raises(GraphError, match="did not compute the same the second time"):
        loss.backward()


# What a part ends in, and what differs the second time, so that the sum of what comes out is the same or nearly so.
UNNOTICED_BY_SUMS = {
    "softmax": lambda x, second: tb.softmax(x * (3.0 if second else 2.0), axis=1),
    "order of rows": lambda x, second: tb.tanh(x)[:: -1 if second else 1],
    "order of axes": lambda x, second: tb.tanh(x)[:, :4].transpose((1, 0) if second else (0, 1)),
    "signs": lambda x, second: tb.concatenate([tb.tanh(x), -tb.tanh(x)]) * (-1.0 if second else 1.0),
    "last bit": lambda x, second: tb.tanh(x + (1e-15 if second else 0.0)),
    "sign of zero": lambda x, second: tb.tanh(x) * (-0.0 if second else 0.0),
}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", UNNOTICED_BY_SUMS)
def test_results_are_compared_bit_by_bit(name, dtype):
    if (name, dtype) == ("last bit", "float32"):
        return
    calls = []

    def function(x):
        calls.append(1)
        return UNNOTICED_BY_SUMS[name](x, len(calls) == 2)

    x = tb.tensor(rows().numpy().astype(dtype), requires_grad=True)
    loss = (tb.checkpoint(function, x) * 1.5).sum()
    with pytest.raises(GraphError, match="did not compute the same the second time"):
        loss.backward()


@pytest.mark.parametrize(
    "function",
    [
        lambda x: tb.tanh(x).T,
        lambda x: tb.tanh(x)[:, ::-2],
        lambda x: tb.tanh(x).sum(),
        lambda x: tb.tanh(x)[:0],
        lambda x: tb.broadcast_to(tb.tanh(x)[:1], (4_000, 6)),
        lambda x: tb.tanh(x).reshape(1, 2, 2, 6).transpose(0, 3, 1, 2),
        lambda x: (tb.tanh(x), tb.tanh(x) > 0, tb.tanh(x).astype("float16")),
    ],
)
def test_the_same_is_the_same_however_it_lies_in_memory(function):
    def gradient(run):
        x = rows()
        out = run(x)
        (out[0] if isinstance(out, tuple) else out).square().sum().backward()
        return x.grad.numpy()

    assert (gradient(function) == gradient(lambda x: tb.checkpoint(function, x))).all()


def test_comparing_takes_no_copy_of_a_large_result():
    x = tb.tensor(np.ones((1_000, 1_000)))
    for view in (x, x.T, x[:, ::2], tb.broadcast_to(x[:1], (1_000, 1_000))):
        _checksum(view._data)
        tracemalloc.start()
        try:
            _checksum(view._data)
            assert tracemalloc.get_traced_memory()[1] < 100_000
        finally:
            tracemalloc.stop()


def test_a_parameter_changed_before_backward_is_noticed():
    model = layers()
    loss = tb.checkpoint(model, rows()).sum()
    with tb.no_grad():
        model[0].bias.assign(model[0].bias + 1.0)
    with pytest.raises(GraphError, match="change no parameter before backward"):
        loss.backward()


def test_nan_is_the_same_as_nan():
    x = tb.tensor([np.nan, 1.0], requires_grad=True)
    tb.checkpoint(tb.tanh, x).sum().backward()
    assert np.isnan(x.grad.data[0])


@pytest.mark.parametrize("result", [3.0, [3.0], None])
def test_what_is_no_tensor_cannot_be_returned(result):
    with pytest.raises((ArgumentError, TypeError)):
        tb.checkpoint(lambda x: result, rows())


@pytest.mark.parametrize("segments", [0, -1, 16])
def test_there_are_no_more_segments_than_layers(segments):
    with pytest.raises(ArgumentError, match="cut into 1 to 15 segments"):
        tb.checkpoint_sequential(layers(), segments, rows())


# ---- memory ----


def test_dropping_the_loss_drops_everything():
    x = rows()
    gc.collect()
    gc.disable()
    try:
        out = tb.checkpoint(layers(), x)
        watch = weakref.ref(out._data)
        loss = out.sum()
        del out
        loss.backward(retain_graph=True)
        del loss
        assert watch() is None
        assert gc.collect() == 0
    finally:
        gc.enable()


class Layer(nn.Module):
    def __init__(self, width, rng):
        self.linear = nn.Linear(width, width, rng=rng)

    def forward(self, x):
        return tb.tanh(self.linear(x))


def peak(count, segments, width=32):
    """Return the peak of a step through many layers, in outputs of one layer."""
    net, loss_fn = nn.Sequential(*[Layer(width, i) for i in range(count)]), nn.MSELoss()

    def step(x, y):
        loss_fn(tb.checkpoint_sequential(net, segments, x), y).backward()

    return tb.price(step, tb.ones(2, width), tb.ones(2, width), rows=100_000).peak.per_row / (8 * width)


def test_the_square_root_of_the_layers_is_enough():
    assert (peak(64, 1), peak(64, 64), peak(64, 8)) == (65, 67, 18)
    assert min(range(1, 65), key=lambda segments: peak(64, segments)) in (7, 8, 9, 10)
    assert [peak(n * n, n) for n in (2, 4, 6)] == [2 * n + 2 for n in (2, 4, 6)]


# ---- pictures and compiled steps ----


def test_a_picture_shows_the_forward_pass_once_and_what_is_kept():
    net, x = nn.Sequential(nn.Linear(6, 6, rng=0), nn.Tanh(), nn.Linear(6, 6, rng=1), nn.Tanh()), tb.ones(4, 6)
    with tb.capture() as plain:
        net(x).sum().backward()
    net.zero_grad()
    with tb.capture() as trace:
        tb.checkpoint(net, x).sum().backward()
    assert [step.op for step in trace.steps] == [step.op for step in plain.steps]
    assert [step.results for step in trace.steps] == [step.results for step in plain.steps]
    assert tb.memory(trace).kept_names == ("x",)
    assert len(tb.memory(plain).kept_names) == 3


def test_a_compiled_step_gives_the_same():
    def train(wrap, compiled):
        model = layers()
        optimizer = tb.optim.SGD(model.parameters(), lr=0.1)

        def step(x):
            optimizer.zero_grad()
            loss = wrap(model, x).square().mean()
            loss.backward()
            optimizer.step()
            return loss

        step = tb.compile(step) if compiled else step
        return [step(rows().detach()).item() for _ in range(3)]

    expected = train(lambda model, x: model(x), compiled=False)
    np.testing.assert_allclose(train(tb.checkpoint, compiled=True), expected, rtol=1e-12)
