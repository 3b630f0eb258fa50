"""The Trace as data: detached, comparable, through JSON and back."""

import gc
import json
import math
import weakref
from typing import Any

import numpy as np
import pytest

import tinygrad_batch as tb
from tinygrad_batch import nn
from tinygrad_batch.describe import describe
from tinygrad_batch.errors import DataError
from tinygrad_batch.trace import Trace


def training_step(scale: float = 1.0) -> Trace:
    model, loss_fn = nn.Sequential(nn.Linear(3, 2, rng=0), nn.Tanh(), nn.Linear(2, 1, rng=1)), nn.MSELoss()
    optimizer = tb.optim.Adam(model.parameters())
    with tb.capture() as trace:
        loss_fn(model(scale * np.arange(12.0).reshape(4, 3)), np.zeros((4, 1))).backward()
        optimizer.step()
    return trace


def atoms(value: Any) -> set[type]:
    if isinstance(value, (list, tuple)):
        return {type(value)} | {t for item in value for t in atoms(item)}
    if isinstance(value, dict):
        return {dict} | {t for item in value.values() for t in atoms(item)}
    return {type(value)}


def test_a_trace_holds_no_array_and_no_tensor() -> None:
    trace = training_step()
    assert trace.program is not None
    assert [array.size for array in trace.program.constants.values()] == [1]  # what the backward pass starts from
    trace.program.constants.clear()
    seen: set[int] = set()
    waiting: list[Any] = [trace]
    while waiting:
        thing = waiting.pop()
        if id(thing) in seen or isinstance(thing, type):
            continue
        seen.add(id(thing))
        assert not isinstance(thing, (np.ndarray, np.generic, tb.Tensor, nn.Module))
        waiting.extend(gc.get_referents(thing))
    assert len(seen) > 100


@pytest.mark.parametrize("fails", [False, True])
def test_arrays_tensors_and_modules_are_free_after_the_block(fails: bool) -> None:
    gc.collect()
    gc.disable()
    try:
        model = nn.Sequential(nn.Linear(3, 2, rng=0), nn.Tanh())
        watched: list[Any] = []
        try:
            with tb.capture() as trace:
                x = np.ones((4, 3))
                h = model(x)
                h.sum().backward()
                watched = [weakref.ref(o) for o in (x, h, h._data, model[0].weight._data, model)]
                assert model[0].weight._node is not None
                if fails:
                    raise ZeroDivisionError
        except ZeroDivisionError:
            pass
        assert fails == (trace == Trace())
        del x, h, model
        assert [w() for w in watched] == [None] * 5
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_the_trace_does_not_change_when_training_goes_on() -> None:
    model = nn.Linear(2, 1, rng=0)
    optimizer = tb.optim.SGD(model.parameters(), lr=0.5)
    x = np.ones((3, 2))
    with tb.capture() as trace:
        nn.MSELoss()(model(x), np.zeros((3, 1))).backward()
        optimizer.step()
    before = json.dumps(trace.to_dict())
    x[...] = 9
    optimizer.step()
    optimizer.zero_grad()
    assert json.dumps(trace.to_dict()) == before


def test_the_same_batch_gives_an_equal_trace() -> None:
    assert training_step() == training_step()
    assert training_step() != training_step(2.0)


@pytest.mark.parametrize("trace", [Trace(), training_step(), training_step(float("nan"))], ids=["empty", "step", "nan"])
def test_a_trace_goes_through_json_and_back(trace: Trace) -> None:
    plain = trace.to_dict()
    text = json.dumps(plain, allow_nan=False)
    assert atoms(plain) <= {dict, list, str, int, float, bool, type(None)}
    assert json.loads(text) == plain
    back = Trace.from_dict(json.loads(text))
    assert back.to_dict() == plain
    assert json.dumps(back.to_dict()) == text
    for a, b in zip(trace.values, back.values, strict=True):
        assert repr(a) == repr(b)  # NaN is not equal to itself
    assert (trace.steps, trace.layers, trace.rows) == (back.steps, back.layers, back.rows)


def test_what_is_not_finite_is_counted_and_survives() -> None:
    x = tb.tensor([1.0, np.nan, np.inf, -np.inf, 3.0], name="x")
    with tb.capture() as trace:
        (x * 1.0).sum(), tb.tensor(np.inf) * 1.0, tb.tensor(1e308) * 1.0
    trace = Trace.from_dict(json.loads(json.dumps(trace.to_dict(), allow_nan=False)))
    first = trace.values[0].statistics
    assert first is not None
    assert (first.mean, first.std, first.min, first.max, first.nonfinite) == (2, 1, 1, 3, 3)
    items = [v.item for v in trace.values if v.item is not None]
    assert math.isnan(items[0])
    assert items[1:] == [math.inf, math.inf, 1e308, 1e308]
    assert trace.to_dict()["values"][2]["item"] == "nan"
    huge = Trace.from_dict(trace.to_dict()).values[-1].statistics
    assert huge is not None
    assert huge.norm in (1e308, math.inf)


def test_statistics_of_odd_arrays() -> None:
    assert describe(np.zeros((0, 3))) == (None, None)
    assert describe(np.zeros(2, complex)) == (None, None)
    statistics, table = describe(np.array([True, False]))
    assert statistics is not None
    assert (statistics.mean, table) == (0.5, ((1.0, 0.0),))
    statistics, _ = describe(np.full(3, np.nan))
    assert statistics is not None
    assert (statistics.mean, statistics.nonfinite) == (0, 3)
    statistics, _ = describe(np.array([1e200, 1e200]))
    assert statistics is not None
    assert statistics.norm in (math.inf, pytest.approx(math.sqrt(2) * 1e200))
    _, table = describe(np.arange(41.0 * 43).reshape(41, 43))
    assert table is not None
    assert (len(table), {len(row) for row in table}) == (20, {20})
    _, table = describe(np.arange(24.0).reshape(2, 3, 4))
    assert table is not None
    assert table[1] == tuple(float(i) for i in range(12, 24))
    statistics, _ = describe(np.full((2, 3), 7, np.float16))
    assert statistics is not None
    assert (statistics.min, statistics.max, statistics.std) == (7, 7, 0)


def changed(path: list[Any], new: Any) -> dict[str, Any]:
    data = training_step().to_dict()
    part: Any = data
    for key in path[:-1]:
        part = part[key]
    if new is KeyError:
        del part[path[-1]]
    else:
        part[path[-1]] = new
    return data


@pytest.mark.parametrize(
    ("path", "new", "words"),
    [
        (["schema"], KeyError, "no schema number"),
        (["schema"], 2, "schema 2, and this version reads schema 1"),
        (["values", 1, "name"], KeyError, r"trace.values\[1\] lacks name"),
        (["values", 1, "colour"], "red", r"trace.values\[1\] has an unknown 'colour'"),
        (["extra"], 1, "trace has an unknown 'extra'"),
        (["values", 0, "shape"], [4, "3"], r"trace.values\[0\].shape\[1\] is '3', not int"),
        (["values", 0, "per_row"], 1, r"per_row is 1, not bool"),
        (["values", 0, "role"], "king", "role is 'king'"),
        (["values", 0, "statistics", "mean"], "many", "mean is 'many', not float"),
        (["values", 0, "statistics", "mean"], True, "mean is True, not float"),
        (["values", 0, "statistics"], [], "statistics is"),
        (["values", 0, "id"], 5, "value 0 has id 5"),
        (["values", 0, "gradient_of"], 999, "value 0 is the gradient of a value that there is not"),
        (["values"], "many", "trace.values is 'many'"),
        (["steps", 0, "number"], 7, "step 1 has number 7"),
        (["steps", 0, "phase"], "sideways", "phase is 'sideways'"),
        (["steps", 0, "inputs"], [999], "step 1 refers to a value that there is not"),
        (["steps", 0, "keeps"], [-1], "step 1 refers to a value that there is not"),
        (["steps", 0, "results", 0, "value"], 999, "step 1 refers to a value that there is not"),
        (["steps", -1, "forward"], 999, "mirrors step 999"),
        (["steps", 0, "results", 0, "formula"], None, "formula is None, not str"),
        (["layers", 0], [], r"trace.layers\[0\] is \[\]"),
        (["rows"], "ten", "rows is 'ten', not int"),
    ],
)
def test_what_is_no_trace_is_refused(path: list[Any], new: Any, words: str) -> None:
    with pytest.raises(DataError, match=words):
        Trace.from_dict(changed(path, new))


@pytest.mark.parametrize("data", [None, [], "trace", {}, {"schema": None}, 3])
def test_what_is_no_mapping_is_refused(data: Any) -> None:
    with pytest.raises(DataError, match="this is no trace"):
        Trace.from_dict(data)


def test_phases_and_the_loss() -> None:
    trace = training_step()
    assert [len(trace.phase(p)) for p in ("forward", "backward", "update")] == [8, 8, 1]  # type: ignore[arg-type]
    assert trace.loss is not None
    assert trace.loss.name == "loss"
    assert Trace().loss is None
