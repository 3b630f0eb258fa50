"""The capture of one batch: steps, names, formulas, what is kept, statistics."""

from typing import Any

import numpy as np
import pytest

import tinygrad_batch as tb
from tinygrad_batch import nn
from tinygrad_batch.trace import Layer, Trace


def seed_net() -> nn.Sequential:
    layers = [nn.Linear(10, 15, rng=0), nn.Tanh(), nn.Linear(15, 10, rng=1), nn.Tanh(), nn.Linear(10, 1, rng=2)]
    return nn.Sequential(*layers)


def batch(rows: int = 100) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(7)
    return rng.normal(size=(rows, 10)), rng.normal(size=(rows, 1))


class Run:
    """One captured batch, with everything that took part."""

    def __init__(self, rows: int = 100, statistics: bool = True) -> None:
        self.x, self.y = batch(rows)
        self.model, self.loss_fn = seed_net(), nn.MSELoss()
        self.before = self.model.state_dict()
        self.optimizer = tb.optim.SGD(self.model.parameters(), lr=0.05)
        with tb.capture(statistics) as self.trace:
            self.optimizer.zero_grad()
            self.loss = self.loss_fn(self.model(self.x), self.y)
            self.loss.backward()
            self.optimizer.step()


@pytest.fixture(scope="module")
def run() -> Run:
    return Run()


def value(trace: Trace, name: str) -> Any:
    (found,) = [v for v in trace.values if v.name == name]
    return found


STEPS = [
    # op, layer, formulas, keeps
    ("matmul", "0", ["m1 = x @ W1"], ["x"]),
    ("add", "0", ["z1 = m1 + b1"], []),
    ("tanh", "1", ["h1 = tanh(z1)"], ["h1"]),
    ("matmul", "2", ["m2 = h1 @ W2"], ["h1", "W2"]),
    ("add", "2", ["z2 = m2 + b2"], []),
    ("tanh", "3", ["h2 = tanh(z2)"], ["h2"]),
    ("matmul", "4", ["m3 = h2 @ W3"], ["h2", "W3"]),
    ("add", "4", ["pred = m3 + b3"], []),
    ("subtract", "MSELoss", ["e = pred - y"], []),
    ("square", "MSELoss", ["q = e²"], ["e"]),
    ("mean", "MSELoss", ["loss = mean(q)"], []),
    ("mean", "MSELoss", ["dq = dloss / 100"], []),
    ("square", "MSELoss", ["de = 2 * e * dq"], []),
    ("subtract", "MSELoss", ["dpred = de"], []),
    ("add", "4", ["dm3 = dpred", "db3 = sum over rows of dpred"], []),
    ("matmul", "4", ["dh2 = dm3 @ W3ᵀ", "dW3 = h2ᵀ @ dm3"], []),
    ("tanh", "3", ["dz2 = dh2 * (1 - h2²)"], []),
    ("add", "2", ["dm2 = dz2", "db2 = sum over rows of dz2"], []),
    ("matmul", "2", ["dh1 = dm2 @ W2ᵀ", "dW2 = h1ᵀ @ dm2"], []),
    ("tanh", "1", ["dz1 = dh1 * (1 - h1²)"], []),
    ("add", "0", ["dm1 = dz1", "db1 = sum over rows of dz1"], []),
    ("matmul", "0", ["dW1 = xᵀ @ dm1"], []),
    ("SGD", "", [f"{p}{i} ← {p}{i} − 0.05 d{p}{i}" for i in (1, 2, 3) for p in "Wb"], []),
]


def test_the_batch_has_the_23_steps_of_the_picture(run: Run) -> None:
    steps, names = run.trace.steps, [v.name for v in run.trace.values]
    found = [(s.op, s.module, [r.formula for r in s.results], [names[i] for i in s.keeps]) for s in steps]
    assert found == STEPS
    assert [s.phase for s in steps] == ["forward"] * 11 + ["backward"] * 11 + ["update"]
    assert [s.number for s in steps] == list(range(1, 24))
    assert [s.forward for s in steps[11:22]] == list(range(11, 0, -1))


def test_layers_values_and_paths_of_the_batch(run: Run) -> None:
    trace = run.trace
    assert trace.layers == (
        Layer("", "Sequential", "Sequential"), Layer("0", "Linear", "Linear(10 → 15)"), Layer("1", "Tanh", "Tanh"),
        Layer("2", "Linear", "Linear(15 → 10)"), Layer("3", "Tanh", "Tanh"), Layer("4", "Linear", "Linear(10 → 1)"),
        Layer("MSELoss", "MSELoss", "MSELoss"),
    )  # fmt: skip
    parameters = {v.name: v.path for v in trace.values if v.role == "parameter"}
    assert parameters == {
        "W1": "0.weight", "b1": "0.bias", "W2": "2.weight", "b2": "2.bias", "W3": "4.weight", "b3": "4.bias",
    }  # fmt: skip
    assert trace.rows == 100
    assert (value(trace, "x").role, value(trace, "x").note) == ("data", "input rows")
    assert (value(trace, "y").role, value(trace, "y").note) == ("data", "target values")
    assert (value(trace, "W1").note, value(trace, "b1").note) == ("weights", "bias")
    assert {v.name for v in trace.values if v.per_row} == {
        *["x", "y", "m1", "z1", "h1", "m2", "z2", "h2", "m3", "pred", "e", "q"],
        *["dm1", "dz1", "dh1", "dm2", "dz2", "dh2", "dm3", "dpred", "de", "dq"],
    }
    assert trace.loss is not None
    assert trace.loss.name == "loss"
    assert trace.loss.item == run.loss.item()


def test_the_bytes_that_the_batch_keeps(run: Run) -> None:
    memory = tb.memory(run.trace)
    assert memory.kept_bytes == 28_800
    assert memory.kept_names == ("x", "h1", "h2", "e")
    assert memory.at_rows(10) == 2_880
    assert memory.at_rows(10_000) == 2_880_000
    assert memory.parameter_bytes == 336 * 8


def test_gradients_know_their_values(run: Run) -> None:
    values = run.trace.values
    for gradient in values:
        if gradient.role == "gradient":
            assert gradient.gradient_of is not None
            of = values[gradient.gradient_of]
            assert gradient.name == f"d{of.name}"
            assert (gradient.shape, gradient.dtype, gradient.nbytes) == (of.shape, of.dtype, of.nbytes)
        else:
            assert gradient.gradient_of is None


def statistics_of(array: np.ndarray) -> list[float]:
    return [array.mean(), array.std(), array.min(), array.max(), float(np.sqrt((array**2).sum())), 0]


def as_list(statistics: Any) -> list[float]:
    s = statistics
    return [s.mean, s.std, s.min, s.max, s.norm, s.nonfinite]


def test_statistics_are_those_of_numpy(run: Run) -> None:
    w = run.before
    z1 = run.x @ w["0.weight"] + w["0.bias"]
    expected = {
        "x": run.x, "y": run.y, "W1": w["0.weight"], "b3": w["4.bias"], "z1": z1, "h1": np.tanh(z1),
        "loss": run.loss.data, "dloss": np.ones(()),
    }  # fmt: skip
    for name, array in expected.items():
        found = value(run.trace, name)
        assert (found.shape, found.dtype, found.nbytes) == (array.shape, "float64", array.nbytes)
        np.testing.assert_allclose(as_list(found.statistics), statistics_of(array), rtol=1e-12, atol=1e-15)


def test_statistics_of_gradients_are_those_of_grad(run: Run) -> None:
    paths = {v.path: v.name for v in run.trace.values}
    for path, parameter in run.model.named_parameters():
        assert parameter.grad is not None
        found = as_list(value(run.trace, f"d{paths[path]}").statistics)
        np.testing.assert_allclose(found, statistics_of(parameter.grad.data), rtol=1e-12, atol=1e-15)


def test_thumbnails_average_large_values_and_show_small_ones_whole(run: Run) -> None:
    x = value(run.trace, "x").thumbnail
    np.testing.assert_allclose(x, run.x.reshape(20, 5, 10).mean(1), rtol=1e-3)
    np.testing.assert_allclose(value(run.trace, "W1").thumbnail, run.before["0.weight"], rtol=1e-3)
    np.testing.assert_allclose(value(run.trace, "b1").thumbnail, run.before["0.bias"][None], rtol=1e-3)
    assert value(run.trace, "loss").thumbnail == ((float(f"{run.loss.item():.4g}"),),)


def test_without_statistics() -> None:
    trace = Run(statistics=False).trace
    assert all(v.statistics is None and v.thumbnail is None for v in trace.values)
    assert trace.loss is not None
    assert trace.loss.item is not None
    assert [s.op for s in trace.steps] == [op for op, *_ in STEPS]


def test_only_activations_and_constants_are_given_as_a_number(run: Run) -> None:
    assert [v.name for v in run.trace.values if v.item is not None] == ["loss"]


def test_flops(run: Run) -> None:
    steps = run.trace.steps
    assert [s.flops for s in steps[:11]] == [30_000, 1_500, 1_500, 30_000, 1_000, 1_000, 2_000, 100, 100, 100, 100]
    by_formula = {s.results[0].formula: s.flops for s in steps[11:]}
    assert by_formula["dW1 = xᵀ @ dm1"] == 2 * 100 * 10 * 15
    assert by_formula["dh1 = dm2 @ W2ᵀ"] == 2 * (2 * 100 * 15 * 10)  # dh1 and dW2
    assert by_formula["dz1 = dh1 * (1 - h1²)"] == 3 * 1500


@pytest.mark.parametrize("shapes", [((3, 4), (4, 5)), ((7, 3, 4), (4, 5)), ((2, 1, 3, 4), (6, 4, 5))])
def test_a_matrix_product_costs_2nmk(shapes: Any) -> None:
    a, b = (tb.tensor(np.ones(shape), requires_grad=True) for shape in shapes)
    with tb.capture() as trace:
        out = a @ b
    stacked = int(np.prod(out.shape[:-2]))
    assert [s.flops for s in trace.steps] == [2 * stacked * 3 * 5 * 4]


@pytest.mark.parametrize("optimizer", [tb.optim.SGD, tb.optim.Adam])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_recording_changes_nothing(optimizer: Any, dtype: str) -> None:
    x, y = (a.astype(dtype) for a in batch(20))
    losses: dict[bool, list[float]] = {}
    models = {}
    for captured in (False, True):
        model, loss_fn = seed_net().astype(dtype), nn.MSELoss()
        steps = optimizer(model.parameters(), lr=0.01)
        losses[captured] = []
        for _ in range(30):
            with tb.capture() if captured else tb.enable_grad():
                steps.zero_grad()
                loss = loss_fn(model(x), y)
                loss.backward()
                steps.step()
            losses[captured].append(loss.item())
        models[captured] = model
    rtol = 1e-4 if dtype == "float32" else 1e-9
    np.testing.assert_allclose(losses[True], losses[False], rtol=rtol)
    for p, q in zip(models[True].parameters(), models[False].parameters(), strict=True):
        assert p.dtype == dtype
        np.testing.assert_allclose(p.data, q.data, rtol=rtol, atol=1e-6 if dtype == "float32" else 1e-10)


@pytest.mark.parametrize("rows", [1, 10])  # 10 rows: as many as there are features
def test_other_numbers_of_rows(rows: int) -> None:
    trace = Run(rows).trace
    assert [[r.formula.replace("/ 100", f"/ {rows}") for r in s.results] for s in trace.steps]
    assert [s.op for s in trace.steps] == [op for op, *_ in STEPS]
    assert trace.rows == rows
    assert tb.memory(trace).kept_bytes == 288 * rows
    assert not any(v.per_row for v in trace.values if v.role == "parameter")


def test_the_bias_of_a_batch_of_one_row_is_summed_too() -> None:
    trace = Run(1).trace
    formulas = [r.formula for s in trace.steps for r in s.results]
    assert "db1 = sum over rows of dz1" in formulas
