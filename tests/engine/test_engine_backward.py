"""backward(): seeds, accumulation, freeing, higher orders, hooks, leaves and switches."""

import threading

import numpy as np
import pytest

import tinygrad_batch as tb
from tinygrad_batch import Tensor
from tinygrad_batch.errors import DtypeError, GraphError, InPlaceError, ShapeError


def leaf(value, **kwargs):
    return Tensor(value, requires_grad=True, **kwargs)


# --- where it starts ---------------------------------------------------------------------------------
def test_backward_of_a_non_scalar_needs_a_weight():
    x = leaf([1.0, 2.0])
    with pytest.raises(GraphError, match=r"shape \(2,\).*mean\(\) or \.sum\(\)"):
        (x * 2).backward()
    (x * 2).backward(np.array([1.0, 10.0]))
    assert x.grad.tolist() == [2.0, 20.0]


@pytest.mark.parametrize("shape", [(1,), (1, 1), ()])
def test_one_element_of_any_shape_needs_none(shape):
    x = leaf(np.ones(shape))
    (x * 3).backward()
    assert x.grad.shape == shape
    assert x.grad.item() == 3.0


def test_a_weight_of_the_wrong_shape_is_refused():
    x = leaf([1.0, 2.0])
    with pytest.raises(ShapeError, match=r"shape \(1,\)"):
        (x * 2).backward([1.0])


def test_backward_without_a_graph_says_what_to_do():
    with pytest.raises(GraphError, match="requires_grad=True"):
        Tensor(1.0).backward()
    x = leaf(1.0)
    with pytest.raises(GraphError):
        x.detach().backward()


def test_backward_of_a_leaf_is_its_weight():
    x = leaf([1.0, 2.0])
    seed = np.array([3.0, 4.0])
    x.backward(seed)
    assert x.grad.tolist() == [3.0, 4.0]
    assert not np.shares_memory(x.grad.data, seed)


def test_a_float32_weight_is_cast():
    x = leaf(np.ones(2, np.float32))
    (x * 1).backward(np.ones(2))
    assert x.grad.dtype == np.float32


# --- accumulation ------------------------------------------------------------------------------------
def test_a_float32_weight_is_cast_with_create_graph_too():
    y = Tensor([1.0, 2.0], requires_grad=True) * 2
    y.retain_grad()
    y.backward(Tensor(np.ones(2, np.float32)), create_graph=True)
    assert y.grad.dtype == np.float64


def test_gradients_accumulate_over_calls_and_reset_with_none():
    x = leaf(2.0)
    (x * 3).backward()
    first = x.grad
    (x * 4).backward()
    assert x.grad.item() == 7.0
    assert first.item() == 3.0  # a gradient once read does not change
    x.grad = None
    assert x.grad is None
    (x * 5).backward()
    assert x.grad.item() == 5.0


def test_a_gradient_can_be_set_and_is_copied():
    x = leaf([1.0, 2.0])
    given = np.array([5.0, 6.0])
    x.grad = given
    given[:] = 0
    (x * 1).sum().backward()
    assert x.grad.tolist() == [6.0, 7.0]
    with pytest.raises(ShapeError):
        x.grad = np.ones(3)
    with pytest.raises(GraphError):
        (x * 1).grad = np.ones(2)


def test_interior_gradients_are_not_kept():
    x = leaf(2.0)
    y = x * 3
    (y * y).backward()
    assert y.grad is None
    assert x.grad.item() == 36.0


def test_retain_grad_keeps_an_interior_gradient():
    x = leaf(2.0)
    y = x * 3
    y.retain_grad()
    (y * y).backward()
    assert y.grad.item() == 12.0
    with pytest.raises(GraphError):
        Tensor(1.0).retain_grad()


@pytest.mark.parametrize("create_graph", [False, True])
def test_no_two_tensors_share_one_gradient_array(create_graph):
    x, y = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    z = x + y
    z.retain_grad()
    seed = Tensor([1.0, 1.0])
    z.backward(seed, create_graph=create_graph)
    grads = [x.grad, y.grad, z.grad]
    for i, a in enumerate(grads):
        assert not np.shares_memory(a.data, seed.data) or a is grads[2]
        for b in grads[i + 1 :]:
            assert not np.shares_memory(a.data, b.data)
    x.grad = y.grad = None


@pytest.mark.parametrize(
    "function",
    [lambda x: x.reshape(2, 2), lambda x: x.T, lambda x: x[::-1], lambda x: tb.broadcast_to(x, (4,)), lambda x: +x],
    ids=["reshape", "transpose", "slice", "broadcast_to", "positive"],
)
def test_a_gradient_that_is_a_view_is_copied(function):
    x = leaf(np.arange(4.0))
    y = function(x)
    seed = np.ones(y.shape)
    y.backward(seed)
    assert not np.shares_memory(x.grad.data, seed)
    assert x.grad.data.flags.owndata or x.grad.data.base is not seed


# --- freeing -----------------------------------------------------------------------------------------
def test_a_second_backward_through_a_freed_graph_says_what_to_do():
    x = leaf(2.0)
    y = x.tanh() * 2
    y.backward()
    with pytest.raises(GraphError, match="retain_graph=True"):
        y.backward()


def test_a_shared_part_that_was_freed_is_named():
    x = leaf(2.0)
    shared = x.tanh()
    (shared * 2).backward()
    with pytest.raises(GraphError, match="'tanh'"):
        (shared * 3).backward()


def test_retain_graph_allows_it_again_and_again():
    x = leaf(2.0)
    y = x * x
    for times in range(1, 4):
        y.backward(retain_graph=True)
        assert x.grad.item() == 4.0 * times
    y.backward()
    assert x.grad.item() == 16.0
    with pytest.raises(GraphError):
        y.backward()


# --- higher orders -----------------------------------------------------------------------------------
def derivatives(function, at, order):
    x = leaf(at)
    y, found = function(x), []
    for _ in range(order):
        (y,) = tb.grad(y, x, create_graph=True)
        found.append(y.item())
    return found


def test_derivatives_of_a_power_to_fourth_order():
    assert derivatives(lambda x: x**4, 2.0, 4) == pytest.approx([32.0, 48.0, 48.0, 24.0])


def test_a_derivative_that_is_constant_has_no_graph_to_go_on():
    x = leaf(2.0)
    (slope,) = tb.grad(x * 3, x, create_graph=True)
    with pytest.raises(GraphError, match=r"nothing was recorded|Nothing was recorded"):
        tb.grad(slope, x)


def test_derivatives_of_tanh_to_third_order():
    t = np.tanh(0.3)
    s = 1 - t * t
    expected = [s, -2 * t * s, -2 * s * (1 - 3 * t * t)]
    assert derivatives(lambda x: x.tanh(), 0.3, 3) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (tb.exp, [np.exp(0.3)] * 4),
        (tb.sin, [np.cos(0.3), -np.sin(0.3), -np.cos(0.3), np.sin(0.3)]),
        (tb.log, [1 / 0.3, -1 / 0.3**2, 2 / 0.3**3, -6 / 0.3**4]),
        (tb.reciprocal, [-1 / 0.3**2, 2 / 0.3**3, -6 / 0.3**4, 24 / 0.3**5]),
        (tb.sqrt, [0.5 * 0.3**-0.5, -0.25 * 0.3**-1.5, 0.375 * 0.3**-2.5, -0.9375 * 0.3**-3.5]),
        (lambda x: x * x * x, [3 * 0.09, 6 * 0.3, 6.0]),
    ],
    ids=["exp", "sin", "log", "reciprocal", "sqrt", "product"],
)
def test_derivatives_to_fourth_order(function, expected):
    assert derivatives(function, 0.3, len(expected)) == pytest.approx(expected, rel=1e-10, abs=1e-12)


def test_backward_with_create_graph_leaves_gradients_with_a_graph():
    x = leaf(2.0)
    (x**3).backward(create_graph=True)
    slope = x.grad
    assert slope.requires_grad
    x.grad = None
    slope.backward()
    assert x.grad.item() == 12.0


def test_create_graph_records_even_under_no_grad():
    x = leaf(2.0)
    y = x**3
    with tb.no_grad():
        y.backward(create_graph=True)
        assert not tb.is_grad_enabled()
    assert x.grad.requires_grad
    x.grad = None


def test_a_penalty_on_the_gradient_has_a_gradient():
    rng = np.random.default_rng(0)
    x, w = Tensor(rng.normal(size=(5, 3)), requires_grad=True), leaf(rng.normal(size=(3, 2)))

    def penalty(x, w):
        (slope,) = tb.grad((x @ w).tanh().sum(), x, create_graph=True)
        return (slope**2).sum()

    assert tb.gradcheck(penalty, [x, w]).ok


# --- hooks -------------------------------------------------------------------------------------------
def test_hooks_replace_the_gradient_in_order_and_can_be_removed():
    x = leaf(1.0)
    y = x * 2
    y.register_hook(lambda g: g * 10)
    remove = y.register_hook(lambda g: g + 1)
    y.backward(retain_graph=True)
    assert x.grad.item() == 22.0
    remove()
    remove()  # once more does nothing
    x.grad = None
    y.backward()
    assert x.grad.item() == 20.0


def test_a_hook_on_a_leaf_sees_the_sum_of_one_walk():
    x, seen = leaf(1.0), []
    x.register_hook(lambda g: seen.append(g.item()))
    (x * 2 + x * 3).backward()
    assert seen == [5.0]
    assert x.grad.item() == 5.0


def test_a_hook_may_return_an_array_and_keeps_the_dtype():
    x = leaf(np.ones(2, np.float32))
    x.register_hook(lambda g: np.array([2.0, 3.0]))
    (x * 1).sum().backward()
    assert x.grad.dtype == np.float32
    assert x.grad.tolist() == [2.0, 3.0]


def test_a_hook_that_returns_another_shape_is_refused():
    x = leaf(np.ones(2))
    x.register_hook(lambda g: g.sum())
    with pytest.raises(ShapeError, match="hook"):
        (x * 1).sum().backward()


def test_a_hook_needs_a_gradient_to_come():
    with pytest.raises(GraphError):
        Tensor(1.0).register_hook(print)


def test_hooks_run_under_create_graph_and_stay_differentiable():
    x = leaf(2.0)
    y = x * x
    y.register_hook(lambda g: g * x)
    (slope,) = tb.grad(y, x, create_graph=True)  # x · 2x
    assert slope.item() == 8.0
    (bend,) = tb.grad(slope, x)
    assert bend.item() == 8.0  # d(2x²)/dx


# --- leaves ------------------------------------------------------------------------------------------
def test_requires_grad_can_be_switched_on_leaves_only():
    x = Tensor([1.0])
    assert x.requires_grad_() is x
    assert x.requires_grad
    assert x.is_leaf
    y = x * 2
    assert not y.is_leaf
    with pytest.raises(GraphError, match=r"detach\(\)"):
        y.requires_grad_(False)
    x.requires_grad_(False)
    assert not (x * 2).requires_grad


@pytest.mark.parametrize("dtype", [np.int64, np.bool_, np.complex128])
def test_only_floating_tensors_have_a_gradient(dtype):
    with pytest.raises(DtypeError, match="no gradient"):
        Tensor(np.ones(2, dtype), requires_grad=True)


def test_integers_made_on_the_way_carry_no_gradient():
    x = leaf([1.5, 2.5])
    assert not x.astype(np.int64).requires_grad
    assert not (x > 2).requires_grad
    y = x.astype(np.float32)
    y.sum().backward()
    assert x.grad.dtype == np.float64


def test_detach_shares_memory_and_stops_the_gradient():
    x = leaf([1.0, 2.0])
    d = x.detach()
    assert np.shares_memory(d.data, x.data)
    assert not d.requires_grad
    (x * d).sum().backward()
    assert x.grad.tolist() == [1.0, 2.0]


def test_clone_is_connected_and_has_its_own_memory():
    x = leaf([1.0, 2.0])
    c = x.clone()
    assert not np.shares_memory(c.data, x.data)
    c.sum().backward()
    assert x.grad.tolist() == [1.0, 1.0]


# --- switches ----------------------------------------------------------------------------------------
def test_no_grad_and_enable_grad_nest():
    x = leaf(1.0)
    with tb.no_grad():
        assert not (x * 2).requires_grad
        with tb.enable_grad():
            assert (x * 2).requires_grad
            with tb.no_grad():
                assert not (x * 2).requires_grad
            assert (x * 2).requires_grad
        assert not (x * 2).requires_grad
    assert (x * 2).requires_grad


@pytest.mark.parametrize("switch", [tb.no_grad, tb.abstract])
def test_an_exception_restores_the_switches(switch):
    with pytest.raises(ZeroDivisionError), switch():
        raise ZeroDivisionError
    assert tb.is_grad_enabled()
    x = leaf(1.0)
    (x * 2).backward()
    assert x.grad.item() == 2.0


def test_no_grad_decorates_a_function():
    @tb.no_grad()
    def evaluate(x):
        return x * 2

    x = leaf(1.0)
    assert not evaluate(x).requires_grad
    assert not evaluate(x).requires_grad  # and again
    assert (x * 2).requires_grad


def test_a_generator_left_halfway_does_not_leak():
    def numbers():
        with tb.no_grad():
            yield 1
            yield 2

    source = numbers()
    next(source)
    source.close()
    assert tb.is_grad_enabled()


def test_backward_under_abstract_is_refused():
    x = leaf(1.0)
    y = x * 2
    with tb.abstract(), pytest.raises(GraphError, match="abstract"):
        y.backward()


def test_ten_million_rows_are_priced_without_memory():
    with tb.abstract():
        x = tb.zeros((10_000_000, 1000)) @ tb.zeros((1000, 500))
        y = (x.tanh() + 1).sum(axis=0)
    assert x.shape == (10_000_000, 500)
    assert y.shape == (500,)


# --- threads -----------------------------------------------------------------------------------------
def run_threads(*targets):
    failures = []

    def guarded(target):
        try:
            target()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(target,)) for target in targets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def test_two_threads_train_at_once():
    def train(seed, results):
        rng = np.random.default_rng(seed)
        x, w = rng.normal(size=(16, 4)), leaf(rng.normal(size=(4, 1)))
        for _ in range(200):
            w.grad = None
            ((Tensor(x) @ w).tanh() - 0.5).square().mean().backward()
            with tb.no_grad():
                w.assign(w.detach() - 0.1 * w.grad)
        results[seed] = w.data.copy()

    together, alone = {}, {}
    run_threads(*[lambda s=s: train(s, together) for s in range(4)])
    for s in range(4):
        train(s, alone)
        np.testing.assert_array_equal(together[s], alone[s])


def test_no_grad_in_one_thread_does_not_leak_into_another():
    inside, done = threading.Event(), threading.Event()
    seen = {}

    def holder():
        with tb.no_grad():
            inside.set()
            done.wait(10)
            seen["holder"] = tb.is_grad_enabled()

    def other():
        inside.wait(10)
        x = leaf(1.0)
        y = x * 2
        seen["other"] = y.requires_grad
        y.backward()
        seen["grad"] = x.grad.item()
        done.set()

    run_threads(holder, other)
    assert seen == {"other": True, "grad": 2.0, "holder": False}


def test_a_new_thread_starts_with_gradients_on():
    seen = []
    with tb.no_grad():
        run_threads(lambda: seen.append(tb.is_grad_enabled()))
    assert seen == [True]


def test_a_scalar_that_gathers_several_gradients_can_be_stepped_and_written():
    w = Tensor(3.0, requires_grad=True)
    (w * 2).backward()
    (w * 2).backward()
    tb.optim.SGD([w], lr=0.5).step()
    assert w.item() == 1.0
    w.grad.assign(0.0)
    assert w.grad.item() == 0.0


@pytest.mark.parametrize("create_graph", [False, True])
def test_retained_gradients_are_nobody_elses(create_graph):
    weight = np.ones(2)
    x = Tensor([1.0, 2.0], requires_grad=True)
    a, b = x * 2, x * 3
    total = a + b
    for tensor in (a, b, total):
        tensor.retain_grad()
    total.backward(weight, create_graph=create_graph)
    arrays = [weight, *(tensor.grad.data for tensor in (a, b, total, x))]
    for i, one in enumerate(arrays):
        assert not any(np.shares_memory(one, other) for other in arrays[i + 1 :])


def test_retained_scalar_gradients_add_up_to_an_array():
    y = Tensor(3.0, requires_grad=True) * 2
    y.retain_grad()
    y.backward(retain_graph=True)
    y.backward()
    assert y.grad.item() == 2.0
    y.grad.assign(0.0)
    assert y.grad.item() == 0.0


def test_a_hook_cannot_write_on_a_gradient_that_others_hold():
    weight = np.ones(2)
    y = Tensor([1.0, 2.0], requires_grad=True) * 2
    y.register_hook(lambda g: g.assign(100.0))
    with pytest.raises(InPlaceError, match="read-only"):
        y.backward(weight)
    assert weight.tolist() == [1.0, 1.0]


def test_grad_with_a_graph_returns_no_array_of_the_user():
    x = Tensor([1.0, 2.0], requires_grad=True)
    y = Tensor([1.0, 2.0], requires_grad=True)
    weight = Tensor([1.0, 1.0])
    found = tb.grad(x + y, [x, y], weight, create_graph=True)
    arrays = [weight.data, *(g.data for g in found)]
    assert not any(np.shares_memory(arrays[i], arrays[j]) for i, j in [(0, 1), (0, 2), (1, 2)])


@pytest.mark.parametrize(
    "function",
    [lambda x: tb.abs(x * 1j), lambda x: tb.abs(x * np.array([1j, 1.0])), lambda x: tb.abs(x * np.ones((3, 2)) * 1j)],
    ids=["number", "array", "broadcast"],
)
def test_a_gradient_through_complex_numbers_is_refused(function):
    x = Tensor([1.0, -2.0], requires_grad=True)
    with pytest.raises(DtypeError, match="complex"):
        function(x).sum().backward()
    with pytest.raises(DtypeError, match="complex"):
        tb.grad(function(x).sum(), x)
    with pytest.raises(DtypeError, match="complex"):
        tb.grad(function(x).sum(), x, create_graph=True)


def test_grad_leaves_retained_gradients_alone():
    x = Tensor([1.0, 2.0], requires_grad=True)
    y = x * 2
    y.retain_grad()
    tb.grad(y.sum(), x)
    assert y.grad is None


def test_a_retained_gradient_can_be_forgotten():
    x = tb.tensor([1.0, 2.0], requires_grad=True)
    y = x * 2
    y.retain_grad()
    y.sum().backward()
    assert y.grad is not None
    y.grad = None
    assert y.grad is None
