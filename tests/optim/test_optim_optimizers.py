"""Optimisers: step by step, their state, what they refuse, and how they write themselves down."""

import copy
import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_batch as tb
from tinygrad_batch import nn, optim
from tinygrad_batch.errors import ArgumentError, InPlaceError, StateError
from tinygrad_batch.optim.optimizer import BLOCK

KINDS: dict[str, tuple[type[optim.Optimizer], dict[str, Any]]] = {
    "sgd": (optim.SGD, {"lr": 0.05}),
    "decay": (optim.SGD, {"lr": 0.05, "weight_decay": 0.1}),
    "momentum": (optim.SGD, {"lr": 0.05, "momentum": 0.9}),
    "momentum and decay": (optim.SGD, {"lr": 0.05, "momentum": 0.5, "weight_decay": 0.2}),
    "nesterov": (optim.SGD, {"lr": 0.05, "momentum": 0.9, "nesterov": True}),
    "nesterov and decay": (optim.SGD, {"lr": 0.02, "momentum": 0.8, "nesterov": True, "weight_decay": 0.1}),
    "adam": (optim.Adam, {"lr": 0.01}),
    "adam and decay": (optim.Adam, {"lr": 0.02, "betas": (0.8, 0.9), "eps": 1e-6, "weight_decay": 0.1}),
    "adamw": (optim.AdamW, {"lr": 0.01}),
    "adamw 2": (optim.AdamW, {"lr": 0.02, "betas": (0.5, 0.99), "weight_decay": 0.3}),
    "rmsprop": (optim.RMSprop, {"lr": 0.01}),
    "rmsprop and decay": (optim.RMSprop, {"lr": 0.02, "alpha": 0.8, "eps": 1e-5, "weight_decay": 0.1}),
    "rmsprop centred": (optim.RMSprop, {"lr": 0.01, "alpha": 0.9, "centered": True}),
    "rmsprop and momentum": (optim.RMSprop, {"lr": 0.005, "momentum": 0.9, "centered": True, "weight_decay": 0.2}),
    "adagrad": (optim.Adagrad, {"lr": 0.05}),
    "adagrad and decay": (optim.Adagrad, {"lr": 0.1, "lr_decay": 0.1, "weight_decay": 0.1, "eps": 1e-6}),
}
every_kind = pytest.mark.parametrize("kind", KINDS)


def make(kind: str, parameters: Any) -> optim.Optimizer:
    cls, options = KINDS[kind]
    return cls(parameters, **options)


def weights(*shapes: tuple[int, ...], dtype: Any = np.float64, seed: int = 0) -> list[tb.Tensor]:
    rng = np.random.default_rng(seed)
    return [nn.Parameter(rng.normal(size=shape).astype(dtype)) for shape in shapes]


def gradients(parameters: list[tb.Tensor], rng: np.random.Generator) -> None:
    for p in parameters:
        p.grad = rng.normal(size=p.shape)


# --- the rules, once in NumPy -----------------------------------------------------------------------
def by_hand(kind: str, w: np.ndarray, grads: list[np.ndarray]) -> np.ndarray:
    cls, o = KINDS[kind]
    w, m, s, v = w.copy(), 0.0, 0.0, 0.0
    decay = o.get("weight_decay", 0.01 if cls is optim.AdamW else 0.0)
    b1, b2 = o.get("betas", (0.9, 0.999))
    for t, g in enumerate(grads, 1):
        if cls is optim.AdamW:
            w = w - o["lr"] * decay * w
        else:
            g = g + decay * w
        if cls is optim.SGD:
            m = o.get("momentum", 0) * m + g
            w = w - o["lr"] * (g + o["momentum"] * m if o.get("nesterov") else m)
        elif cls is optim.RMSprop:
            a = o.get("alpha", 0.99)
            m, s = a * m + (1 - a) * g, a * s + (1 - a) * g * g
            v = o.get("momentum", 0) * v + g / (np.sqrt(s - m * m * o.get("centered", 0)) + o.get("eps", 1e-8))
            w = w - o["lr"] * v
        elif cls is optim.Adagrad:
            s = s + g * g
            w = w - o["lr"] / (1 + (t - 1) * o.get("lr_decay", 0)) * g / (np.sqrt(s) + o.get("eps", 1e-10))
        else:
            m, s = b1 * m + (1 - b1) * g, b2 * s + (1 - b2) * g * g
            w = w - o["lr"] * (m / (1 - b1**t)) / (np.sqrt(s / (1 - b2**t)) + o.get("eps", 1e-8))
    return w


@every_kind
def test_fifty_steps_follow_the_rule(kind: str) -> None:
    (p,) = weights((4, 3))
    start, rng = p.data.copy(), np.random.default_rng(1)
    optimizer, grads = make(kind, [p]), [rng.normal(size=(4, 3)) for _ in range(50)]
    for g in grads:
        p.grad = g
        optimizer.step()
    np.testing.assert_allclose(p.data, by_hand(kind, start, grads), rtol=1e-11, atol=1e-13)


@every_kind
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_fifty_steps_agree_with_torch(kind: str, dtype: Any) -> None:
    torch = pytest.importorskip("torch")
    ours = weights((4, 3), (3,), (1,), (), (2, 2, 2), dtype=dtype)
    theirs = [torch.from_numpy(np.array(p.data)).requires_grad_() for p in ours]
    optimizer = make(kind, ours)
    cls, options = KINDS[kind]
    reference = getattr(torch.optim, cls.__name__)(theirs, **options)
    rng = np.random.default_rng(2)
    rtol, atol = (3e-6, 1e-6) if dtype is np.float32 else (1e-12, 1e-14)
    for step in range(50):
        if step == 20:
            optimizer.lr *= 0.3
            reference.param_groups[0]["lr"] *= 0.3
        optimizer.zero_grad()
        reference.zero_grad()
        for i, (p, q) in enumerate(zip(ours, theirs, strict=True)):
            if i == 1 and step % 3 == 0:
                continue  # no gradient this time: passed over, and its own count of steps stands still
            g = rng.normal(size=p.shape).astype(dtype)
            p.grad = g
            q.grad = torch.from_numpy(np.array(g))
        optimizer.step()
        reference.step()
        for p, q in zip(ours, theirs, strict=True):
            assert p.dtype == dtype
            np.testing.assert_allclose(p.data, q.detach().numpy(), rtol=rtol, atol=atol, err_msg=f"step {step}")


@pytest.mark.parametrize("kind", ["sgd", "nesterov", "adam", "adamw", "rmsprop and momentum", "adagrad"])
def test_training_a_net_agrees_with_torch(kind: str) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    model = nn.Sequential(nn.Linear(4, 6, rng=0), nn.Tanh(), nn.Linear(6, 2, rng=1))
    reference = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.Tanh(), torch.nn.Linear(6, 2)).double()
    with torch.no_grad():
        for p, q in zip(model.parameters(), reference.parameters(), strict=True):
            q.copy_(torch.from_numpy(p.data.T.copy()))
    optimizer = make(kind, model.parameters())
    theirs = getattr(torch.optim, KINDS[kind][0].__name__)(reference.parameters(), **KINDS[kind][1])
    for _ in range(50):
        x, y = rng.normal(size=(8, 4)), rng.normal(size=(8, 2))
        optimizer.zero_grad()
        nn.MSELoss()(model(x), y).backward()
        optimizer.step()
        theirs.zero_grad()
        torch.nn.MSELoss()(reference(torch.from_numpy(x)), torch.from_numpy(y)).backward()
        theirs.step()
    for p, q in zip(model.parameters(), reference.parameters(), strict=True):
        np.testing.assert_allclose(p.data, q.detach().numpy().T, rtol=1e-10, atol=1e-12)


# --- large parameters go in blocks ----------------------------------------------------------------
@every_kind
@pytest.mark.parametrize("layout", ["c", "fortran", "strided", "fortran gradient"])
def test_blocks_give_what_the_small_way_gives(kind: str, layout: str) -> None:
    rows, columns = 3, BLOCK // 2 + 5
    rng = np.random.default_rng(0)
    start = rng.normal(size=(rows, columns))
    large = tb.tensor(start, requires_grad=True)
    if layout == "fortran":
        large._data = np.asfortranarray(start)
    elif layout == "strided":
        large._data = np.zeros((rows, 2 * columns))[:, ::2]
        large._data[...] = start
    small = [tb.tensor(start[:, i : i + 1000], requires_grad=True) for i in range(0, columns, 1000)]
    one, many = make(kind, [large]), make(kind, small)
    assert large.size > BLOCK > max(p.size for p in small)
    for _ in range(3):
        g = rng.normal(size=(rows, columns))
        large.grad = np.asfortranarray(g) if layout == "fortran gradient" else g
        if layout == "fortran gradient":
            large._node.grad = np.asfortranarray(g)  # type: ignore[union-attr]
        for i, p in enumerate(small):
            p.grad = g[:, i * 1000 : (i + 1) * 1000]
        one.step()
        many.step()
    np.testing.assert_array_equal(large.data, np.concatenate([p.data for p in small], axis=1))


@every_kind
def test_a_step_makes_no_temporary_of_the_size_of_a_large_parameter(kind: str) -> None:
    p = tb.zeros(1_000_000).requires_grad_()
    p.grad = np.ones(1_000_000)
    optimizer = make(kind, [p])
    optimizer.step()
    tracemalloc.start()
    try:
        optimizer.step()
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("size", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 2 * BLOCK + 1])
def test_no_element_is_left_out_or_done_twice(size: int) -> None:
    p = tb.zeros(size).requires_grad_()
    p.grad = np.ones(size)
    optim.SGD([p], lr=1.0, momentum=0.5).step()
    np.testing.assert_array_equal(p.data, -np.ones(size))


# --- gradients ----------------------------------------------------------------------------------------
@every_kind
def test_the_gradient_stays_as_it_is(kind: str) -> None:
    parameters = weights((3, 2), (BLOCK + 7,))
    gradients(parameters, np.random.default_rng(0))
    before = [p.grad.data.copy() for p in parameters if p.grad is not None]
    optimizer = make(kind, parameters)
    for _ in range(3):
        optimizer.step()
    for p, g in zip(parameters, before, strict=True):
        assert p.grad is not None
        np.testing.assert_array_equal(p.grad.data, g)


def test_two_parameters_never_share_a_gradient_array() -> None:
    a, b = weights((3,), (3,))
    (a + b).sum().backward()
    assert a.grad is not None
    assert b.grad is not None
    assert not np.shares_memory(a.grad.data, b.grad.data)
    before = a.data.copy(), b.data.copy()
    optim.SGD([a, b], lr=0.1, weight_decay=0.5).step()
    for p, w in zip((a, b), before, strict=True):
        np.testing.assert_allclose(p.data, w - 0.1 * (1 + 0.5 * w))


@every_kind
def test_parameters_without_a_gradient_are_passed_over(kind: str) -> None:
    a, b = weights((3,), (3,))
    optimizer = make(kind, [a, b])
    a.grad = np.ones(3)
    before = b.data.copy()
    optimizer.step()
    np.testing.assert_array_equal(b.data, before)
    optimizer.zero_grad()
    assert a.grad is None
    after = a.data.copy()
    optimizer.step()
    np.testing.assert_array_equal(a.data, after)


@every_kind
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.longdouble])
def test_the_dtype_of_a_parameter_never_changes(kind: str, dtype: Any) -> None:
    (p,) = weights((5,), dtype=dtype)
    cls, options = KINDS[kind]
    optimizer = cls([p], **{k: np.float64(v) if isinstance(v, float) else v for k, v in options.items()})
    for _ in range(3):
        p.grad = np.ones(5)
        optimizer.lr = np.float64(optimizer.lr)
        optimizer.step()
    assert p.dtype == dtype
    assert {a.dtype for kept in optimizer.state_dict()["kept"] for a in kept.values()} <= {np.dtype(dtype)}


def test_gradients_with_a_graph_of_their_own() -> None:
    w = nn.Parameter([2.0])
    (w * w * w).sum().backward(create_graph=True)
    optim.SGD([w], lr=0.1).step()
    np.testing.assert_allclose(w.data, [2 - 0.1 * 12])


def test_a_step_before_backward_is_noticed() -> None:
    w, x = nn.Parameter([[2.0]]), tb.tensor([[3.0]], requires_grad=True)
    optimizer = optim.SGD([w], lr=0.1)
    loss = (x @ w).sum()
    w.grad = np.ones((1, 1))
    optimizer.step()
    with pytest.raises(InPlaceError, match="matmul"):
        loss.backward()


# --- state --------------------------------------------------------------------------------------------
@every_kind
def test_a_run_goes_on_bit_by_bit_from_its_state(kind: str) -> None:
    parameters = weights((4, 3), (BLOCK + 3,), (2,))
    optimizer, rng = make(kind, parameters), np.random.default_rng(3)
    for step in range(12):
        if step == 5:
            saved = copy.deepcopy(optimizer.state_dict())
            twins = [nn.Parameter(p.data) for p in parameters]
            other = make(kind, twins)
            other.lr = 99.0
            other.load_state_dict(saved)
        gradients(parameters[: 2 if step < 3 else 3], rng)
        optimizer.step()
        if step >= 5:
            for p, q in zip(parameters, twins, strict=True):
                q.grad = p.grad
            other.step()
    for p, q in zip(parameters, twins, strict=True):
        np.testing.assert_array_equal(p.data, q.data)
    assert other.hyperparameters() == optimizer.hyperparameters()
    assert other.state_dict()["steps"] == optimizer.state_dict()["steps"] == [12, 12, 9]


def test_a_state_is_a_copy() -> None:
    (p,) = weights((2,))
    optimizer = optim.SGD([p], momentum=0.9)
    p.grad = np.ones(2)
    optimizer.step()
    saved = optimizer.state_dict()
    optimizer.step()
    np.testing.assert_array_equal(saved["kept"][0]["velocity"], [1, 1])
    optimizer.load_state_dict(saved)
    optimizer.step()
    np.testing.assert_array_equal(saved["kept"][0]["velocity"], [1, 1])


def test_a_state_brings_its_momentum_along() -> None:
    a, b = weights((2,)), weights((2,))
    with_momentum, without = optim.SGD(a, momentum=0.9), optim.SGD(b)
    gradients(a, np.random.default_rng(0))
    with_momentum.step()
    without.load_state_dict(with_momentum.state_dict())
    assert isinstance(without, optim.SGD)
    assert without.momentum == 0.9
    assert without.slots == ("velocity",)
    plain = optim.SGD(weights((2,)))
    with_momentum.load_state_dict(plain.state_dict())
    gradients(a, np.random.default_rng(0))
    with_momentum.step()
    assert with_momentum.state_dict()["kept"] == [{}]


def test_a_state_that_does_not_fit_changes_nothing() -> None:
    a, b = weights((2, 2), (3,))
    optimizer = optim.Adam([a, b], lr=0.5)
    gradients([a, b], np.random.default_rng(0))
    optimizer.step()
    good = optimizer.state_dict()
    kept = good["kept"]
    bad: list[tuple[dict[str, Any], str]] = [
        ({}, "lacks optimizer, hyperparameters, steps, kept"),
        ({**good, "optimizer": "SGD"}, "is of SGD, not of Adam"),
        ({**good, "kept": kept[:1]}, "for 1 parameters, not 2"),
        ({**good, "steps": [1]}, "parameters, not 2"),
        ({**good, "hyperparameters": {"lr": 9.0, "speed": 1}}, "betas, eps, speed, weight_decay"),
        ({**good, "kept": [kept[0], {**kept[1], "square": np.zeros(4)}]}, r"square of parameter 1 has shape \(4,\)"),
        ({**good, "kept": [{"mean": kept[0]["mean"]}, kept[1]]}, "parameter 0 has kept mean, not mean, square"),
        ({**good, "kept": [{**kept[0], "extra": np.zeros(())}, kept[1]]}, "extra"),
    ]
    for state, words in bad:
        if "hyperparameters" in state and state["hyperparameters"].get("lr") == 0.5:
            state["hyperparameters"] = {**state["hyperparameters"], "lr": 9.0}
        with pytest.raises(StateError, match=words):
            optimizer.load_state_dict(state)
        assert optimizer.lr == 0.5
        for mine, before in zip(optimizer.state_dict()["kept"], kept, strict=True):
            assert all(np.array_equal(mine[slot], before[slot]) for slot in before)


# --- what is refused ------------------------------------------------------------------------------------
@pytest.mark.parametrize("cls", [optim.SGD, optim.Adam, optim.AdamW])
def test_parameters_that_cannot_be_learned_are_refused(cls: Any) -> None:
    w = nn.Parameter([1.0])
    with pytest.raises(ArgumentError, match="was given none"):
        cls([])
    with pytest.raises(ArgumentError, match="given twice"):
        cls([w, w])
    with pytest.raises(ArgumentError, match="parameter 1 is not a leaf"):
        cls([w, w * 2])
    with pytest.raises(ArgumentError, match="parameter 0 is not a leaf"):
        cls([np.zeros(3)])
    with pytest.raises(ArgumentError, match="parameter 0 is not a leaf"):
        cls(dict(nn.Linear(2, 1).named_parameters()))
    with pytest.raises(ArgumentError, match="none of the parameters requires grad"):
        cls([tb.zeros(3)])


@pytest.mark.parametrize(
    ("cls", "options", "words"),
    [
        (optim.SGD, {"lr": -0.1}, "lr is 0 or more, not -0.1"),
        (optim.SGD, {"lr": float("nan")}, "lr is 0 or more"),
        (optim.SGD, {"momentum": -1}, "momentum is 0 or more"),
        (optim.SGD, {"weight_decay": -1}, "weight_decay is 0 or more"),
        (optim.SGD, {"nesterov": True}, "Nesterov's step needs a momentum"),
        (optim.Adam, {"lr": -1}, "lr is 0 or more"),
        (optim.Adam, {"eps": -1}, "eps is 0 or more"),
        (optim.Adam, {"weight_decay": -1}, "weight_decay is 0 or more"),
        (optim.Adam, {"betas": (0.9, 1.0)}, "betas are two numbers"),
        (optim.Adam, {"betas": (-0.1, 0.9)}, "betas are two numbers"),
        (optim.AdamW, {"betas": (0.9, 0.9, 0.9)}, "betas are two numbers"),
        (optim.RMSprop, {"alpha": 1.5}, "alpha is from 0 to 1, not 1.5"),
        (optim.RMSprop, {"momentum": -1}, "momentum is 0 or more"),
        (optim.RMSprop, {"eps": -1}, "eps is 0 or more"),
        (optim.Adagrad, {"lr_decay": -1}, "lr_decay is 0 or more"),
        (optim.Adagrad, {"weight_decay": -1}, "weight_decay is 0 or more"),
    ],
)
def test_hyperparameters_out_of_range_are_refused(cls: Any, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ArgumentError, match=words):
        cls([nn.Parameter([1.0])], **options)


def test_an_optimiser_of_its_own() -> None:
    class Sign(optim.Optimizer):
        def update(self, step: int, value: np.ndarray, grad: np.ndarray, *kept: np.ndarray) -> None:
            value -= self.lr * np.sign(grad) / step

        def formula(self, name: str, grad: str) -> str:
            return f"{name} ← {name} − {self.lr:g} sign(d{name})"

    (p,) = weights((3,))
    start = p.data.copy()
    optimizer = Sign([p], lr=0.1)
    p.grad = np.array([3.0, -2.0, 0.0])
    with tb.capture() as trace:
        optimizer.step()
        optimizer.step()
    np.testing.assert_allclose(p.data, start - 0.15 * np.array([1, -1, 0]))
    assert [step.results[0].formula for step in trace.steps] == ["w ← w − 0.1 sign(dw)"] * 2
    optimizer.load_state_dict(optimizer.state_dict())


@given(
    st.floats(0, 1), st.floats(0, 1.5), st.floats(0, 1), st.booleans(),
    st.lists(st.floats(-10, 10), min_size=1, max_size=6),
)  # fmt: skip
def test_sgd_is_its_recurrence(lr: float, momentum: float, decay: float, nesterov: bool, grads: list[float]) -> None:
    nesterov = nesterov and momentum > 0
    w = nn.Parameter([1.5])
    optimizer = optim.SGD([w], lr, momentum, nesterov, decay)
    value, velocity = 1.5, 0.0
    for g in grads:
        w.grad = [g]
        optimizer.step()
        d = g + decay * value
        velocity = momentum * velocity + d
        value -= lr * (d + momentum * velocity if nesterov else velocity)
    np.testing.assert_allclose(w.data, [value], rtol=1e-9, atol=1e-9)


# --- how they write themselves down -----------------------------------------------------------------------
@pytest.mark.parametrize(
    ("kind", "formula"),
    [
        ("sgd", "W ← W − 0.05 dW"),
        ("decay", "W ← W − 0.05 (dW + 0.1 W)"),
        ("momentum", "v ← 0.9 v + dW; W ← W − 0.05 v"),
        ("momentum and decay", "v ← 0.5 v + (dW + 0.2 W); W ← W − 0.05 v"),
        ("nesterov", "v ← 0.9 v + dW; W ← W − 0.05 (dW + 0.9 v)"),
        ("adam", "m ← 0.9 m + 0.1 dW; s ← 0.999 s + 0.001 dW²; W ← W − 0.01 m̂ / (√ŝ + 1e-08)"),
        ("adamw", "m ← 0.9 m + 0.1 dW; s ← 0.999 s + 0.001 dW²; W ← 0.9999 W − 0.01 m̂ / (√ŝ + 1e-08)"),
        ("rmsprop", "s ← 0.99 s + 0.01 dW²; W ← W − 0.01 dW / (√s + 1e-08)"),
        (
            "rmsprop and momentum",
            "s ← 0.99 s + 0.01 (dW + 0.2 W)²; m ← 0.99 m + 0.01 (dW + 0.2 W); "
            "v ← 0.9 v + (dW + 0.2 W) / (√(s − m²) + 1e-08); W ← W − 0.005 v",
        ),
        ("adagrad", "s ← s + dW²; W ← W − 0.05 dW / (√s + 1e-10)"),
        (
            "adagrad and decay",
            "s ← s + (dW + 0.1 W)²; W ← W − 0.1 / (1 + 0.1 (t − 1)) (dW + 0.1 W) / (√s + 1e-06)",
        ),
    ],
)
def test_the_trace_of_an_update(kind: str, formula: str) -> None:
    model = nn.Linear(3, 1, bias=False, rng=0)
    optimizer = make(kind, model.parameters())
    with tb.capture() as trace:
        nn.MSELoss()(model(np.ones((2, 3))), np.zeros((2, 1))).backward()
        optimizer.step()
        optimizer.lr = 77.0  # what a schedule does after the step
    (step,) = trace.phase("update")
    assert step.op == KINDS[kind][0].__name__
    assert [result.formula for result in step.results] == [formula]
    assert [trace.values[i].name for i in step.inputs] == ["dW"]
    assert trace.values[step.results[0].value].path == "weight"


def test_an_optimiser_prints_what_it_is() -> None:
    assert repr(tb.optim.SGD([tb.tensor(1.0, requires_grad=True)], lr=0.05)) == "SGD(1 parameter, lr=0.05)"


def test_an_optimiser_goes_on_after_its_parameters_got_another_dtype() -> None:
    layer = nn.Linear(3, 1, rng=0)
    optimizer = optim.Adam(layer.parameters())
    for dtype in ("float64", "float32"):
        layer.astype(dtype)
        (layer(np.ones((4, 3), dtype)) ** 2).mean().backward()
        before = layer.weight.data.copy()
        optimizer.step()
        assert layer.weight.dtype == dtype
        assert (layer.weight.data != before).all()
