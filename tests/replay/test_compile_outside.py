"""What a compiled step reads of the objects around it, and that it notices when they change."""

import weakref
from copy import deepcopy

import numpy as np
from test_compile_state import Training, X, Y, pair, same

import tinygrad_batch as tb
from tinygrad_batch import nn, optim

SCALE = 1.0


class Trainer(Training):
    """One that steers its step with numbers, a table and a tensor of its own."""

    def __init__(self):
        super().__init__()
        self.scale, self.table, self.weights = 2.0, {"loss": [1.0]}, tb.tensor([1.0, 2.0])

    def step(self, x, y):
        self.optimizer.zero_grad()
        loss = ((self.model(x) - y).square() * self.weights).mean() * self.scale * self.table["loss"][0]
        loss.backward()
        self.optimizer.step()
        return loss


def test_what_a_method_reads_of_its_object_is_part_of_the_signature(backend):
    eager, replayed = Trainer(), Trainer()
    step = tb.compile(replayed.step, backend=backend)

    def change(**new):
        for one in (eager, replayed):
            vars(one).update(new)

    for change_it in (
        lambda: None,
        lambda: change(scale=3.0),
        lambda: change(weights=tb.tensor([5.0, 0.5])),
        lambda: [one.table["loss"].__setitem__(0, 0.5) for one in (eager, replayed)],
        lambda: [setattr(one, "model", nn.Sequential(nn.Linear(4, 2, rng=9))) for one in (eager, replayed)],
    ):
        change_it()
        for _ in range(2):
            np.testing.assert_allclose(step(X, Y).item(), eager.step(tb.tensor(X), tb.tensor(Y)).item(), rtol=1e-9)
        same(eager, replayed)
    assert step.cache_info()[:2] == (4, 6)  # the gradients of a model that nobody clears add up


def scaled(x):
    return sum([x[:, i] * SCALE for i in range(2)], tb.zeros(10))


def test_a_number_in_a_function_that_is_called_and_in_a_comprehension_counts():
    global SCALE
    step = tb.compile(lambda x: scaled(x))
    for number in (1.0, 4.0, float("nan"), 0.0, -0.0, 1, 1.0):
        SCALE = number
        for _ in range(2):
            expected, found = scaled(tb.tensor(X)).numpy(), step(X).numpy()
            np.testing.assert_array_equal(found, expected)
            np.testing.assert_array_equal(np.signbit(found), np.signbit(expected))
    assert step.cache_info()[:2] == (8, 6)


def test_a_number_of_a_layer_counts(backend):
    eager, replayed = Training(nn.Dropout(0.5)), Training(nn.Dropout(0.5))
    step = tb.compile(replayed.step, backend=backend)
    for p in (0.5, 0.1):
        for one, run in ((eager, eager.step), (replayed, step)):
            one.model[1].p = p
            tb.seed(1)
            run(X, Y), run(X, Y)
    same(eager, replayed)
    assert step.cache_info()[:2] == (2, 2)


def test_the_form_of_the_arguments_counts():
    def step(a, b=None):
        return a[0] + a[1] if b is None else a * b

    compiled = tb.compile(step)
    np.testing.assert_allclose(compiled(X, 2 * X).numpy(), 2 * X * X)
    np.testing.assert_allclose(compiled([X, 2 * X]).numpy(), 3 * X)
    np.testing.assert_allclose(compiled((X, 2 * X)).numpy(), 3 * X)
    assert compiled.cache_info().misses == 3


def test_equal_dtypes_are_the_same_dtype(backend):
    step = tb.compile(lambda x: x * 2, backend=backend)
    for dtype in (np.dtype("q"), np.dtype("l"), np.dtype("q", metadata={"a": 1})):
        np.testing.assert_array_equal(step(np.arange(3).view(dtype)).numpy(), [0, 2, 4])
    assert step.cache_info().misses == 1


def test_a_method_compiled_in_its_class_belongs_to_each_object(backend):
    class Compiled(Training):
        step = tb.compile(Training.step, backend=backend)

    eager, first, second = Training(), Compiled(), Compiled()
    for _ in range(3):
        eager.step(X, Y), first.step(X, Y)
    same(eager, first)
    copied = deepcopy(first)
    copied.step(X, Y)
    same(eager, first)
    second.step(X, Y)
    assert first.step.cache_info()[:2] == (2, 1)
    assert second.step.cache_info()[:2] == (0, 1)
    eager.step(X, Y)
    same(eager, copied)


def test_an_optimizer_step_alone_follows_gradients_as_they_come(backend):
    eager, replayed = pair(optimizer=optim.Adam)
    for one, step in (
        (eager, eager.optimizer.step),
        (replayed, tb.compile(lambda: replayed.optimizer.step(), backend=backend)),
    ):
        for i in range(4):
            if i >= 2:
                one.loss_fn(one.model(tb.tensor(X)), tb.tensor(Y)).backward()
            step()
    same(eager, replayed)


def test_gradients_with_a_graph_add_up(backend):
    def make():
        one = Training()
        return one, lambda x, y: one.loss_fn(one.model(x), y).backward(create_graph=True)

    (eager, by_hand), (replayed, step) = make(), make()
    step = tb.compile(step, backend=backend)
    for _ in range(3):
        by_hand(tb.tensor(X), tb.tensor(Y)), step(X, Y)
        for p, q in zip(eager.model.parameters(), replayed.model.parameters(), strict=True):
            np.testing.assert_allclose(q.grad.numpy(), p.grad.numpy(), rtol=1e-9, atol=1e-12)
    assert step.cache_info()[:2] == (1, 2)


def test_second_derivatives_of_a_value_that_is_used_twice(backend):
    x = tb.tensor([0.3, 0.7], requires_grad=True)

    def bend():
        h = x.tanh()
        (slope,) = tb.grad((h * h + h.exp()).sum(), [x], create_graph=True)
        return tb.grad((slope * slope).sum(), [x])[0]

    compiled = tb.compile(bend, backend=backend)
    for _ in range(2):
        np.testing.assert_allclose(compiled().data, bend().data, rtol=1e-9)


def test_the_gradient_of_a_tensor_made_inside(backend):
    eager, replayed = pair()

    def adversarial(one):
        def step(x, y):
            near = x.detach().requires_grad_()
            one.loss_fn(one.model(near), y).backward()
            worse = x + 0.1 * tb.sign(near.grad)
            one.step(worse, y)
            return worse

        return step

    step = tb.compile(adversarial(replayed), backend=backend)
    for _ in range(3):
        expected = adversarial(eager)(tb.tensor(X), tb.tensor(Y))
        np.testing.assert_allclose(step(X, Y).numpy(), expected.numpy(), rtol=1e-9)
    same(eager, replayed)
    assert step.cache_info()[:2] == (1, 2)  # the parameters come with a gradient the second time


def test_a_batch_in_an_array_from_outside_may_be_filled_anew(backend):
    buffer = X.copy()
    step = tb.compile(lambda: tb.tensor(buffer) * 2, backend=backend)
    step()
    buffer[...] = 7
    np.testing.assert_array_equal(step().numpy(), 2 * buffer)
    assert step.cache_info()[:2] == (1, 1)


def test_batches_are_let_go_at_once():
    step = tb.compile(lambda batch: batch["x"] * 2)
    for _ in range(2):
        batch = tb.tensor(X)
        alive = weakref.ref(batch)
        step({"x": batch})
        del batch
        assert alive() is None
