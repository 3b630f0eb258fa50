"""Captures of other shapes: residual nets, shared weights, several models and passes, no layers at all."""

import threading
from typing import Any

import numpy as np
import pytest

import tinygrad_batch as tb
from tinygrad_batch import nn
from tinygrad_batch.state import state
from tinygrad_batch.trace import Trace


def formulas(trace: Trace, phase: Any = None) -> list[str]:
    return [r.formula for s in trace.steps if phase in (None, s.phase) for r in s.results]


def roles(trace: Trace) -> dict[str, str]:
    return {v.name: v.role for v in trace.values}


def w(*shape: int, name: str | None = None) -> tb.Tensor:
    return tb.tensor(np.random.default_rng(0).normal(size=shape), requires_grad=True, name=name)


def stats_mean(trace: Trace, name: str) -> float:
    (v,) = [v for v in trace.values if v.name == name]
    assert v.statistics is not None
    return v.statistics.mean


class Residual(nn.Module):
    def __init__(self) -> None:
        self.inner = nn.Linear(4, 4, rng=0)
        self.out = nn.Linear(4, 1, rng=1)

    def forward(self, x: Any) -> Any:
        h = tb.tanh(x)
        return self.out(h + self.inner(h))


def test_a_skip_connection_adds_to_the_gradient() -> None:
    model, x = Residual(), np.random.default_rng(0).normal(size=(6, 4))
    first = nn.Linear(4, 4, rng=2)
    net = nn.Sequential(first, model)
    with tb.capture() as trace:
        nn.MSELoss()(net(x), np.zeros((6, 1))).backward()
    backward = formulas(trace, "backward")
    assert [f for f in backward if f.startswith("dh ")] == ["dh = dz3", "dh += dm2 @ W2ᵀ"]
    assert sum("+=" in f for f in backward) == 1
    paths = [s.module for s in trace.steps]
    assert set(paths) == {"0", "1", "1.inner", "1.out", "MSELoss"}
    for path, parameter in net.named_parameters():
        (v,) = [v for v in trace.values if v.path == path]
        assert parameter.grad is not None
        np.testing.assert_allclose(stats_mean(trace, f"d{v.name}"), parameter.grad.data.mean(), rtol=1e-12)


def test_shared_weights_collect_their_gradients() -> None:
    shared = nn.Linear(3, 3, rng=0)
    model = nn.Sequential(shared, nn.Tanh(), shared)
    optimizer = tb.optim.SGD(model.parameters(), lr=0.1)
    with tb.capture() as trace:
        nn.MSELoss()(model(np.ones((2, 3))), np.zeros((2, 3))).backward()
        optimizer.step()
    backward = formulas(trace, "backward")
    parameters = [" ".join(f.split(" ")[:2]) for f in backward if f[:2] in ("dW", "db")]
    assert parameters == ["db =", "dW =", "db +=", "dW +="]
    assert [v.path for v in trace.values if v.role == "parameter"] == ["0.weight", "0.bias"]
    assert {s.module for s in trace.steps} == {"0", "1", "MSELoss", ""}
    assert shared.weight.grad is not None
    np.testing.assert_allclose(stats_mean(trace, "dW"), shared.weight.grad.data.mean(), rtol=1e-12)
    assert len(trace.steps[-1].results) == len(trace.steps[-1].inputs) == 2


def test_the_same_operand_twice() -> None:
    a = w(3, name="a")
    with tb.capture() as trace:
        (a * a).sum().backward()
    assert formulas(trace, "backward") == ["dp = dloss", "da = dp * a", "da += dp * a"]
    assert a.grad is not None
    np.testing.assert_allclose(stats_mean(trace, "da"), a.grad.data.mean())


def test_two_models_in_one_capture() -> None:
    generator = nn.Sequential(nn.Linear(2, 3, rng=0), nn.Tanh())
    judge = nn.Sequential(nn.Linear(3, 1, rng=1))
    with tb.capture() as trace:
        fake = generator(np.ones((5, 2)))
        loss = nn.BCEWithLogitsLoss()(judge(fake), np.ones((5, 1)))
        loss.backward()
    parameters = {v.name: v.path for v in trace.values if v.role == "parameter"}
    assert parameters == {
        "W1": "Sequential.0.weight", "b1": "Sequential.0.bias",
        "W2": "Sequential2.0.weight", "b2": "Sequential2.0.bias",
    }  # fmt: skip
    assert [layer.path for layer in trace.layers] == [
        "Sequential", "Sequential.0", "Sequential.1", "Sequential2", "Sequential2.0", "BCEWithLogitsLoss",
    ]  # fmt: skip
    assert "h1 = tanh(z)" in formulas(trace)  # what the first returns feeds the second: no prediction
    assert any(f.startswith("pred = ") for f in formulas(trace))


def test_layers_called_one_by_one() -> None:
    a, b = nn.Linear(2, 3, rng=0), nn.Linear(3, 1, rng=1)
    with tb.capture() as trace:
        nn.MSELoss()(b(tb.tanh(a(np.ones((4, 2))))), np.zeros((4, 1))).backward()
    assert formulas(trace, "forward")[:5] == [
        "m1 = x @ W1", "z = m1 + b1", "h = tanh(z)", "m2 = h @ W2", "pred = m2 + b2",
    ]  # fmt: skip
    assert [s.module for s in trace.steps[:5]] == ["Linear", "Linear", "", "Linear2", "Linear2"]


def test_a_model_called_twice_keeps_its_paths() -> None:
    model = nn.Sequential(nn.Linear(2, 1, rng=0))
    with tb.capture() as trace:
        a, b = model(np.ones((3, 2))), model(np.zeros((3, 2)))
        (a + b).sum().backward()
    assert {v.path for v in trace.values if v.role == "parameter"} == {"0.weight", "0.bias"}
    assert [v.name for v in trace.values if v.name.startswith("pred")] == ["pred1", "pred2"]
    assert {s.module for s in trace.steps if s.phase == "forward"} == {"0", ""}


def test_a_part_of_a_model_called_by_itself() -> None:
    model = Residual()
    with tb.capture() as trace:
        model(tb.ones(2, 4))
        model.inner(tb.ones(2, 4))
    assert [s.module for s in trace.steps] == ["", "inner", "inner", "", "out", "out", "inner", "inner"]


def test_temporary_losses_do_not_get_mixed_up() -> None:
    model = nn.Linear(2, 2, rng=0)
    with tb.capture() as trace:
        for kind in (nn.MSELoss, nn.L1Loss, nn.HuberLoss, nn.L1Loss):
            kind()(model(np.ones((3, 2))), np.zeros((3, 2)))
    assert [layer.path for layer in trace.layers] == ["", "MSELoss", "L1Loss", "HuberLoss", "L1Loss2"]


def test_modules_hidden_from_their_owner_still_have_a_path() -> None:
    class Hidden(nn.Module):
        def __init__(self) -> None:
            self.own = nn.Linear(2, 2, rng=0)

        def forward(self, x: Any) -> Any:
            return nn.Tanh()(self.own(x))

    with tb.capture() as trace:
        nn.Sequential(Hidden())(np.ones((3, 2)))
    assert [s.module for s in trace.steps] == ["0.own", "0.own", "0.Tanh"]


def test_forward_only() -> None:
    model = nn.Linear(2, 1, rng=0)
    with tb.capture() as trace:
        model(np.ones((3, 2)))
    assert formulas(trace) == ["m = x @ W", "pred = m + b"]
    assert trace.loss is None
    assert trace.steps[0].keeps
    with tb.capture() as trace, tb.no_grad():
        model(np.ones((3, 2)))
    assert formulas(trace) == ["m = x @ W", "pred = m + b"]
    assert not any(s.keeps for s in trace.steps)


def test_nothing_at_all() -> None:
    with tb.capture() as trace:
        pass
    assert trace == Trace()


def test_no_layers_only_tensors_with_names() -> None:
    x, a = tb.tensor(np.ones((4, 2)), name="rows"), w(2, 3, name="A")
    with tb.capture() as trace:
        y = tb.tanh(x @ a)
        y.name = "hidden"
        loss = (y - 1.0).square().mean()
        loss.backward()
    assert formulas(trace) == [
        "m = rows @ A", "hidden = tanh(m)", "e = hidden - 1", "q = e²", "loss = mean(q)",
        "dq = dloss / 12", "de = 2 * e * dq", "dhidden = de", "dm = dhidden * (1 - hidden²)", "dA = rowsᵀ @ dm",
    ]  # fmt: skip
    assert trace.layers == ()
    assert trace.rows == 4
    assert roles(trace)["A"] == "parameter"


def test_names_of_the_user_come_first_and_stay_unique() -> None:
    a, b = w(2, name="h"), w(2, name="dh")
    with tb.capture() as trace:
        y = tb.tanh(a) + tb.tanh(b)
        z = tb.tensor([1.0, 2.0], name="twin") * tb.tensor([1.0, 2.0], name="twin")
        (y + z).sum().backward()
    names = [v.name for v in trace.values]
    assert len(names) == len(set(names))
    assert {"h", "dh", "h1", "h2", "twin1", "twin2", "dh′", "ddh"} <= set(names)
    assert "h1 = tanh(h)" in formulas(trace)
    assert "dh′ = dh1 * (1 - h1²)" in formulas(trace)


def test_a_named_model_output() -> None:
    model = nn.Linear(2, 1, rng=0)
    with tb.capture() as trace:
        out = model(np.ones((3, 2)))
        out.name = "price"
    assert formulas(trace)[-1] == "price = m + b"


def test_raw_arrays_lists_and_numbers_as_operands() -> None:
    a = w(3, name="a")
    raw = np.arange(3.0)
    with tb.capture() as trace:
        out = 2 * a + raw - np.float32(1) / np.array(4.0)
        (out * [1.0, 2.0, 3.0]).sum().backward()
    assert [roles(trace)[n] for n in ("a", "x1", "x2")] == ["parameter", "data", "data"]
    assert formulas(trace)[0] == "p1 = 2 * a"
    assert "dp1 = dz" in formulas(trace)
    assert trace.rows == 3


def test_a_number_in_a_tensor_is_a_constant() -> None:
    with tb.capture() as trace:
        tb.tensor([1.0, 2.0]) * tb.tensor(3.0)
    assert formulas(trace) == ["p = x * c"]
    (constant,) = [v for v in trace.values if v.role == "constant"]
    assert constant.item == 3.0


def test_what_was_computed_before_is_data() -> None:
    a = w(3, name="a")
    before = tb.exp(a)
    with tb.capture() as trace:
        (before * 2.0).sum().backward()
    assert formulas(trace) == ["p = x * 2", "loss = sum(p)", "dp = dloss", "dx = dp * 2"]
    assert roles(trace)["x"] == "data"
    assert a.grad is not None


def test_an_input_that_wants_a_gradient_is_still_the_input() -> None:
    x = tb.tensor(np.ones((3, 2)), requires_grad=True)
    with tb.capture() as trace:
        nn.MSELoss()(nn.Linear(2, 1, rng=0)(x), np.zeros((3, 1))).backward()
    assert roles(trace)["x"] == "data"
    assert "dx = dm @ Wᵀ" in formulas(trace)


def test_detached_values_are_the_same_value() -> None:
    a = w(3, name="a")
    with tb.capture() as trace:
        h = tb.exp(a)
        (h * h.detach()).sum().backward()
    assert "p = u * u" in formulas(trace)
    assert formulas(trace, "backward")[-1] == "da = du * u"


def test_a_parameter_that_is_met_detached_first() -> None:
    a = w(3, name="a")
    with tb.capture() as trace:
        (a.detach() * a).sum().backward()
    assert roles(trace)["a"] == "parameter"
    assert formulas(trace, "backward") == ["dp = dloss", "da = dp * a"]


def test_an_operation_that_returns_what_it_was_given() -> None:
    a = w(3, name="a")
    with tb.capture() as trace:
        b = a.astype(float)
        (b * a).sum().backward()
    assert formulas(trace, "forward")[:2] == ["u = a", "p = u * a"]
    assert formulas(trace, "backward")[-1].startswith("da += ")


def test_looking_at_a_gradient_during_the_capture() -> None:
    a = w(3, name="a")
    with tb.capture() as trace:
        (a * 2.0).sum().backward()
        assert a.grad is not None
        a.grad.square().sum()
    assert any(f.endswith("= da²") for f in formulas(trace))


def test_hooks_are_seen() -> None:
    a = w(3, name="a")
    with tb.capture() as trace:
        h = tb.exp(a)
        h.register_hook(lambda g: g * 10.0)
        h.sum().backward()
    assert a.grad is not None
    np.testing.assert_allclose(stats_mean(trace, "da"), a.grad.data.mean())
    np.testing.assert_allclose(stats_mean(trace, "du"), 10)


# --- more than one backward pass --------------------------------------------------------------------
def test_two_batches_in_one_capture() -> None:
    model = nn.Linear(2, 1, bias=False, rng=0)
    optimizer = tb.optim.SGD(model.parameters(), lr=0.5)
    with tb.capture() as trace:
        for target in (0.0, 1.0):
            optimizer.zero_grad()
            nn.MSELoss()(model(np.ones((3, 2))), np.full((3, 1), target)).backward()
            optimizer.step()
    assert formulas(trace, "update") == ["W ← W − 0.5 dW", "W ← W − 0.5 dW₂"]
    assert not any("+=" in f for f in formulas(trace))
    assert [v.name for v in trace.values if v.name.startswith("loss")] == ["loss1", "loss2"]
    assert model.weight.grad is not None
    np.testing.assert_allclose(stats_mean(trace, "dW₂"), model.weight.grad.data.mean())


def test_two_losses_accumulate_in_the_parameter_but_not_in_between() -> None:
    a = w(3, name="a")
    with tb.capture() as trace:
        h = tb.exp(a)
        first, second = h.sum(), (h * h).sum()
        first.backward(retain_graph=True)
        second.backward()
    assert a.grad is not None
    e = np.exp(a.data)
    np.testing.assert_allclose(a.grad.data, e + 2 * e * e)
    np.testing.assert_allclose(stats_mean(trace, "du"), 1)
    np.testing.assert_allclose(stats_mean(trace, "du₂"), (2 * e).mean())
    np.testing.assert_allclose(stats_mean(trace, "da"), a.grad.data.mean())
    assert formulas(trace, "backward")[-1] == "da += du₂ * u"


def test_the_same_graph_walked_twice() -> None:
    a = w(3, name="a")
    with tb.capture() as trace:
        loss = tb.exp(a).sum()
        loss.backward(retain_graph=True)
        loss.backward()
    assert formulas(trace, "backward") == ["du = dloss", "da = du * u", "du₂ = dloss₂", "da += du₂ * u"]


def test_a_gradient_from_before_the_capture_is_added_to() -> None:
    a = w(3, name="a")
    (a * 5.0).sum().backward()
    with tb.capture() as trace:
        (a * 2.0).sum().backward()
    assert formulas(trace, "backward")[-1] == "da += dp * 2"
    np.testing.assert_allclose(stats_mean(trace, "da"), 7)


def test_backward_of_a_vector_makes_no_loss_of_it() -> None:
    a = w(3, name="a")
    with tb.capture() as trace:
        tb.exp(a).backward(np.ones(3))
    assert formulas(trace) == ["u = exp(a)", "da = du * u"]


def test_gradients_of_gradients_are_recorded_as_operations() -> None:
    a = w(3, name="a")
    with tb.capture() as trace:
        (a**3).sum().backward(create_graph=True)
        assert a.grad is not None
        g = a.grad
        a.grad = None
        (g * g).sum().backward()
    assert a.grad is not None
    np.testing.assert_allclose(a.grad.data, 36 * a.data**3)
    assert [s.number for s in trace.steps] == list(range(1, len(trace.steps) + 1))
    assert {s.phase for s in trace.steps} == {"forward", "backward"}
    np.testing.assert_allclose(stats_mean(trace, "da"), a.grad.data.mean())


# --- where it begins and ends -------------------------------------------------------------------------
def test_after_an_error_the_trace_is_empty_and_nothing_records() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(2, 3))
    with pytest.raises(tb.errors.ShapeError), tb.capture() as trace:
        model(np.ones((4, 2)))
    assert trace == Trace()
    assert state.recorder is None
    assert state.plain
    with pytest.raises(KeyboardInterrupt), tb.capture():
        raise KeyboardInterrupt
    assert state.recorder is None


def test_an_error_that_is_caught_inside_leaves_the_layers_in_order() -> None:
    model, other = nn.Sequential(nn.Linear(2, 3)), nn.Linear(2, 1, rng=0)
    with tb.capture() as trace:
        with pytest.raises(tb.errors.ShapeError):
            model(np.ones((4, 3)))
        other(np.ones((4, 2)))
        tb.exp(tb.ones(2))
    assert [s.module for s in trace.steps] == ["Linear", "Linear", ""]


def test_the_inner_of_two_captures_records_alone() -> None:
    a = w(3, name="a")
    with tb.capture() as outer:
        b = tb.exp(a)
        with tb.capture() as inner:
            c = b * 2.0
        d = c + 1.0
        d.sum().backward()
    assert formulas(inner) == ["p = x * 2"]
    assert formulas(outer, "forward") == ["u = exp(a)", "z = x + 1", "loss = sum(z)"]
    assert a.grad is not None
    assert state.recorder is None


def test_every_thread_captures_for_itself() -> None:
    traces: dict[int, Trace] = {}
    barrier = threading.Barrier(4)

    def work(n: int) -> None:
        model = nn.Linear(n, 1, rng=0)
        barrier.wait()
        with tb.capture() as trace:
            barrier.wait()
            for _ in range(5):
                nn.MSELoss()(model(np.ones((2, n))), np.zeros((2, 1))).backward()
                model.zero_grad()
        traces[n] = trace

    threads = [threading.Thread(target=work, args=(n,)) for n in range(1, 4)]
    with tb.capture() as mine:
        for thread in threads:
            thread.start()
        barrier.wait()
        tb.exp(tb.ones(2))
        barrier.wait()
        for thread in threads:
            thread.join()
    assert [s.op for s in mine.steps] == ["exp"]
    for n, trace in traces.items():
        assert len(trace.steps) == 5 * 10
        assert trace.values[1].shape == (n, 1)


@pytest.mark.parametrize("inside", [False, True])
def test_a_capture_of_shapes_alone(inside: bool) -> None:
    model = nn.Sequential(nn.Linear(10, 15, rng=0), nn.Tanh(), nn.Linear(15, 1, rng=1))
    rows = 50_000_000
    with tb.capture() if inside else tb.abstract() as first, tb.abstract() if inside else tb.capture() as second:
        nn.MSELoss()(model(tb.zeros(rows, 10)), tb.zeros(rows, 1))
    trace = first if inside else second
    assert trace is not None
    assert trace.rows == rows
    assert tb.memory(trace).kept_bytes == rows * 8 * (10 + 15 + 1)
    assert [s.flops for s in trace.steps][:2] == [2 * rows * 150, rows * 15]
    assert all(v.item is None and v.statistics is None for v in trace.values)


def test_deep_graphs_are_captured() -> None:
    x = tb.tensor(0.1, requires_grad=True, name="x")
    with tb.capture(statistics=False) as trace:
        y = x
        for _ in range(5000):
            y = tb.sin(y)
        y.backward()
    assert len(trace.steps) == 10_000
    assert trace.steps[-1].results[0].formula == "dx = du1 * cos(x)"


def test_doubling_is_linear_in_the_number_of_steps() -> None:
    x = tb.tensor(1.0, requires_grad=True, name="x")
    with tb.capture() as trace:
        y = x
        for _ in range(60):
            y = y + y
        y.backward()
    assert len(trace.steps) == 120
    assert x.grad is not None
    assert x.grad.item() == 2.0**60
