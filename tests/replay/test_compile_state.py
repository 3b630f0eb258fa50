"""What a compiled step leaves behind, and when it captures again."""

import gc
import threading
import weakref

import numpy as np
import pytest

import tinygrad_batch as tb
from tinygrad_batch import nn, optim
from tinygrad_batch.data import DataIterator
from tinygrad_batch.errors import ArgumentError, CompileError

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(10, 4)), RNG.normal(size=(10, 2))


class Training:
    """A small net, its optimiser and its step, made the same each time."""

    def __init__(self, *between, optimizer=optim.SGD, **options):
        layers = between or (nn.Tanh(),)
        self.model = nn.Sequential(nn.Linear(4, 3, rng=0), *layers, nn.Linear(3, 2, rng=1))
        self.loss_fn = nn.MSELoss()
        self.optimizer = optimizer(self.model.parameters(), lr=0.1, **options)

    def step(self, x, y):
        self.optimizer.zero_grad()
        loss = self.loss_fn(self.model(x), y)
        loss.backward()
        self.optimizer.step()
        return loss


def pair(*between, **options):
    return Training(*between, **options), Training(*between, **options)


def same(a, b):
    for (name, value), other in zip(a.model.state_dict().items(), b.model.state_dict().values(), strict=True):
        np.testing.assert_allclose(other, value, rtol=1e-9, atol=1e-12, err_msg=name)


def test_a_schedule_takes_effect_without_a_new_capture(backend):
    eager, replayed = pair(optimizer=optim.Adam)
    step = tb.compile(replayed.step, backend=backend)
    for one, run in ((eager, eager.step), (replayed, step)):
        schedule = optim.ExponentialLR(one.optimizer, gamma=0.7)
        for _ in range(6):
            run(X, Y)
            schedule.step()
    same(eager, replayed)
    assert step.cache_info()[:2] == (5, 1)


def test_another_momentum_is_read_too_and_none_is_another_program(backend):
    eager, replayed = pair(momentum=0.9)
    step = tb.compile(replayed.step, backend=backend)
    for momentum in (0.9, 0.5, 0.5, 0.0):
        eager.optimizer.weight_decay = replayed.optimizer.weight_decay = momentum / 10
        eager.step(X, Y), step(X, Y)
    same(eager, replayed)
    assert step.cache_info()[:2] == (2, 2)


def test_the_gradient_is_that_of_this_step(backend):
    eager, replayed = pair()
    step = tb.compile(replayed.step, backend=backend)
    for i in range(4):
        eager.step(X + i, Y), step(X + i, Y)
        for p, q in zip(eager.model.parameters(), replayed.model.parameters(), strict=True):
            np.testing.assert_allclose(q.grad.numpy(), p.grad.numpy(), rtol=1e-9, atol=1e-12)
        replayed.optimizer.zero_grad()
        assert all(p.grad is None for p in replayed.model.parameters())


def test_gradients_that_nobody_clears_add_up(backend):
    def make():
        one = Training()

        def step(x, y):
            loss = one.loss_fn(one.model(x), y)
            loss.backward()
            return loss

        return one, step

    (eager, by_hand), (replayed, step) = make(), make()
    step = tb.compile(step, backend=backend)
    for i in range(6):
        by_hand(X * i, Y), step(X * i, Y)
        for p, q in zip(eager.model.parameters(), replayed.model.parameters(), strict=True):
            np.testing.assert_allclose(q.grad.numpy(), p.grad.numpy(), rtol=1e-9, atol=1e-12)
        if i == 3:
            eager.optimizer.step(), replayed.optimizer.step()
            eager.optimizer.zero_grad(), replayed.optimizer.zero_grad()
    same(eager, replayed)
    assert step.cache_info().misses == 2  # with and without a gradient to add to


def test_gradients_cleared_at_the_end_are_gone(backend):
    eager, replayed = pair()

    def tidy(one):
        def step(x, y):
            loss = one.loss_fn(one.model(x), y)
            loss.backward()
            one.optimizer.step()
            one.optimizer.zero_grad()
            return loss

        return step

    step = tb.compile(tidy(replayed), backend=backend)
    for _ in range(3):
        tidy(eager)(X, Y), step(X, Y)
        assert all(p.grad is None for p in replayed.model.parameters())
    same(eager, replayed)


def test_two_backward_passes_and_clipping_in_one_step(backend):
    def both(one):
        def step(x, y):
            one.optimizer.zero_grad()
            for part in (slice(0, 5), slice(5, 10)):
                one.loss_fn(one.model(x[part]), y[part]).backward()
            norm = optim.clip_grad_norm_(one.model.parameters(), 0.1)
            one.optimizer.step()
            return norm

        return step

    eager, replayed = pair(momentum=0.9)
    step = tb.compile(both(replayed), backend=backend)
    for _ in range(4):
        np.testing.assert_allclose(step(X, Y).item(), both(eager)(X, Y).item(), rtol=1e-10)
    same(eager, replayed)


def test_dropout_draws_what_eager_draws(backend):
    eager, replayed = Training(nn.Dropout(0.4)), Training(nn.Dropout(0.4))
    step = tb.compile(replayed.step, backend=backend)
    tb.seed(3)
    expected = [eager.step(X, Y).item() for _ in range(8)]
    tb.seed(3)
    found = [step(X, Y).item() for _ in range(4)]
    np.testing.assert_allclose(found, expected[:4], rtol=1e-10)
    assert len(set(found)) == 4
    found += [step(X, Y).item() for _ in range(4)]
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_numbers_drawn_inside_are_fresh_at_every_call(backend):
    step = tb.compile(lambda x: x + tb.randn(10, 4) * tb.rand(10, 4), backend=backend)
    tb.seed(5)
    expected = [X + tb.randn(10, 4).numpy() * tb.rand(10, 4).numpy() for _ in range(3)]
    tb.seed(5)
    for value in expected:
        np.testing.assert_allclose(step(X).numpy(), value, rtol=1e-12)


def test_running_statistics_and_evaluation_mode(backend):
    eager, replayed = Training(nn.BatchNorm1d(3)), Training(nn.BatchNorm1d(3))
    step = tb.compile(replayed.step, backend=backend)
    predict = tb.compile(replayed.model, backend=backend)
    for i in range(4):
        eager.step(X * i, Y), step(X * i, Y)
    same(eager, replayed)
    np.testing.assert_allclose(predict(X).numpy(), eager.model(X).numpy(), rtol=1e-9)
    eager.model.eval(), replayed.model.eval()
    np.testing.assert_allclose(predict(X).numpy(), eager.model(X).numpy(), rtol=1e-9)
    assert predict.cache_info().misses == 2
    eager.step(X, Y), step(X, Y)
    same(eager, replayed)


def test_several_outputs_keep_their_form_and_are_nobody_elses(backend):
    one = Training()

    def step(x, y):
        prediction = one.model(x)
        return {"loss": one.loss_fn(prediction, y), "each": [prediction, (prediction - y).square()], "rows": 10}

    compiled = tb.compile(step, backend=backend)
    first, second, third = compiled(X, Y), compiled(X, Y), compiled(2 * X, Y)
    expected = step(tb.tensor(2 * X), tb.tensor(Y))
    assert third["rows"] == 10
    np.testing.assert_allclose(third["each"][1].numpy(), expected["each"][1].numpy(), rtol=1e-10)
    np.testing.assert_allclose(first["each"][0].numpy(), second["each"][0].numpy(), rtol=1e-12)
    assert not np.shares_memory(first["each"][0].numpy(), second["each"][0].numpy())
    assert not third["loss"].requires_grad


def test_arguments_of_every_form(backend):
    compiled = tb.compile(lambda pair, *, scale, times=2: (pair["a"] * scale + pair["b"]) * times, backend=backend)
    for scale in (1.0, 3.0):
        for times in (2, 5):
            out = compiled({"a": X, "b": tb.tensor(X)}, scale=tb.tensor(scale), times=times)
            np.testing.assert_allclose(out.numpy(), (X * scale + X) * times, rtol=1e-12)
    assert compiled.cache_info()[:2] == (2, 2)


def test_a_new_shape_dtype_or_mode_is_captured_again_and_kept():
    one = Training()
    step = tb.compile(one.step)
    for rows in (10, 4, 10, 4, 10):
        step(X[:rows], Y[:rows])
    assert step.cache_info() == (3, 2, 32, 2)
    one.model.eval()
    step(X, Y)
    one.model.train()
    step(X, Y)
    assert step.cache_info()[:2] == (4, 3)
    step.cache_clear()
    assert step.cache_info() == (0, 0, 32, 0)


def test_the_signature_used_longest_ago_goes():
    step = tb.compile(lambda x: x * 2, cache_size=2)
    for rows in (1, 2, 3, 1):
        step(X[:rows])
    assert step.cache_info() == (0, 4, 2, 2)


SCALE = 1.0


def test_a_number_or_an_object_behind_a_name_is_part_of_the_signature():
    global SCALE
    scale = 2.0
    step = tb.compile(lambda x: x * SCALE * scale)
    assert step(tb.ones(1)).item() == step(tb.ones(1)).item() == 2
    SCALE = 5.0
    assert step(tb.ones(1)).item() == 10
    scale = 3.0
    assert step(tb.ones(1)).item() == 15
    SCALE = 1.0
    assert step(tb.ones(1)).item() == 3


def test_tensors_from_outside_are_read_at_every_call(backend):
    offset = tb.zeros(4)
    step = tb.compile(lambda x: x + offset, backend=backend)
    step(X)
    offset.assign(7.0)
    np.testing.assert_allclose(step(X).numpy(), X + 7)
    assert step.cache_info()[:2] == (1, 1)


def test_freezing_loading_and_another_dtype(backend):
    eager, replayed = pair(optimizer=optim.Adam)
    step = tb.compile(replayed.step, backend=backend)

    def both(x=X, y=Y):
        eager.step(tb.tensor(x), tb.tensor(y)), step(x, y)
        same(eager, replayed)

    both(), both()
    start, moments = eager.model.state_dict(), eager.optimizer.state_dict()
    both()
    for one in (eager, replayed):
        one.model[0].requires_grad_(False)
    both(), both()
    for one in (eager, replayed):
        one.model[0].requires_grad_(True)
        one.model.load_state_dict(start)
        one.optimizer.load_state_dict(moments)
    both(), both()
    assert str(eager.optimizer.state_dict()["steps"]) == str(replayed.optimizer.state_dict()["steps"])
    for one in (eager, replayed):
        one.model.astype("float32")
    eager.step(tb.tensor(X.astype("f")), tb.tensor(Y.astype("f"))), step(X.astype("f"), Y.astype("f"))
    for p, q in zip(eager.model.parameters(), replayed.model.parameters(), strict=True):
        np.testing.assert_allclose(q.numpy(), p.numpy(), rtol=1e-5)
        assert q.dtype == np.float32


def test_another_parameter_or_layer_in_the_model_is_captured_again():
    one = Training()
    predict = tb.compile(one.model)
    predict(X), predict(X)
    one.model[0].weight = nn.Parameter(np.zeros((4, 3)))
    np.testing.assert_allclose(predict(X).numpy(), one.model(X).numpy(), rtol=1e-12)
    one.model.append(nn.Linear(2, 1, rng=5))
    np.testing.assert_allclose(predict(X).numpy(), one.model(X).numpy(), rtol=1e-12)
    assert predict.cache_info()[:2] == (1, 3)


def test_eager_and_compiled_steps_take_turns(backend):
    eager, replayed = pair(optimizer=optim.Adam)
    step = tb.compile(replayed.step, backend=backend)
    for i in range(9):
        eager.step(X, Y)
        (replayed.step if i % 3 == 2 else step)(tb.tensor(X), tb.tensor(Y))
    same(eager, replayed)


def test_two_compiled_steps_share_a_model(backend):
    eager, replayed = pair()
    first, second = (tb.compile(replayed.step, backend=backend) for _ in range(2))
    for _ in range(3):
        eager.step(X, Y), first(X, Y), eager.step(X, Y), second(X, Y)
    same(eager, replayed)
    assert first.cache_info().misses == second.cache_info().misses == 1


def test_without_gradients_the_update_is_the_same(backend):
    eager, replayed = pair()
    step = tb.compile(replayed.step, backend=backend, keep_grads=False)
    for _ in range(4):
        eager.step(X, Y), step(X, Y)
    same(eager, replayed)
    assert all(p.grad is None for p in replayed.model.parameters())


def test_under_capture_no_grad_and_abstract_it_runs_as_it_is():
    one = Training()
    step = tb.compile(one.step)
    step(X, Y)
    with tb.capture() as trace:
        step(tb.tensor(X), tb.tensor(Y))
    assert len(trace.phase("backward")) > 3
    predict = tb.compile(one.model)
    with tb.abstract():
        assert predict(tb.zeros(10**9, 4)).shape == (10**9, 2)
    assert predict.cache_info().currsize == 0


def test_an_epoch_is_the_batches_in_their_order(backend):
    eager, replayed = pair()
    step = tb.compile(replayed.step, backend=backend)
    eager_batches, batches = (DataIterator(X, Y, batch_size=3, shuffle=True, seed=4) for _ in range(2))
    for _ in range(3):
        expected = [eager.step(x, y).item() for x, y in eager_batches]
        np.testing.assert_allclose(step.epoch(batches).numpy(), expected, rtol=1e-10)
        assert batches.epoch == eager_batches.epoch
    same(eager, replayed)
    assert step.cache_info()[:2] == (10, 2)


def test_neither_the_batch_nor_the_old_arrays_stay_behind():
    one = Training(momentum=0.9)
    step = tb.compile(one.step)
    x = X.copy()
    gone = [weakref.ref(array) for array in (x, *[p._data for p in one.model.parameters()])]
    step(x, Y)
    del x
    gc.collect()
    assert all(array() is None for array in gone)


def test_what_there_is_to_see():
    one = Training()
    step = tb.compile(one.step)
    with pytest.raises(CompileError, match="not been captured"):
        step.memory()
    step(X, Y)
    assert "numpy" in repr(step)
    assert "step" in repr(step)
    memory = step.memory()
    assert memory.buffer_bytes > 0
    assert memory.rows == 10
    assert "10 rows" in str(memory)
    assert memory.parameter_bytes == memory.gradient_bytes == 8 * (4 * 3 + 3 + 3 * 2 + 2)
    assert "def " in step.source
    assert "def " in step.code
    assert "<svg" in tb.draw(step.trace).svg()


def test_passes_can_be_chosen_and_print_the_program(capsys):
    one = Training()
    tb.compile(one.step, passes=["common", "dead"])(X, Y)
    printed = capsys.readouterr().out
    assert "--- common" in printed
    assert "--- fold" not in printed
    tb.compile(one.step, passes=True)(X, Y)
    assert "--- fold" in capsys.readouterr().out
    with pytest.raises(ArgumentError, match="no pass called 'magic'"):
        tb.compile(one.step, passes="magic")(X, Y)


@pytest.mark.parametrize(
    "options", [{"backend": "fortran"}, {"row_block": 0}, {"cache_size": 0}, {"function": 3}, {"function": nn.Linear}]
)
def test_options_that_there_are_not(options):
    with pytest.raises(ArgumentError):
        tb.compile(**{"function": lambda x: x, **options})


def test_two_threads_run_two_steps_and_one_step_refuses_the_second(backend):
    entered, leave = threading.Event(), threading.Event()

    def slow(x):
        entered.set()
        leave.wait(10)
        return x * 2

    step = tb.compile(slow, backend=backend)
    thread = threading.Thread(target=step, args=(X,))
    thread.start()
    entered.wait(10)
    with pytest.raises(CompileError, match="is running already"):
        step(X)
    leave.set()
    thread.join()
    np.testing.assert_allclose(step(X).numpy(), 2 * X)

    trainings = [Training() for _ in range(2)]
    expected = Training()
    for _ in range(200):
        expected.step(tb.tensor(X), tb.tensor(Y))
    steps = [tb.compile(one.step, backend=backend) for one in trainings]
    threads = [threading.Thread(target=lambda s=s: [s(X, Y) for _ in range(200)]) for s in steps]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for one in trainings:
        same(expected, one)
