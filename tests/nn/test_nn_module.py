"""Module: what it finds, switches, saves, loads and shows."""

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import tinygrad_batch as tb
from tinygrad_batch import nn
from tinygrad_batch.errors import DtypeError, GraphError, ShapeError, StateError


class Scale(nn.Module):
    """Has a parameter, a buffer, and things that are neither."""

    def __init__(self, size: int = 3) -> None:
        self.gain = nn.Parameter(np.ones(size))
        self.mean = tb.zeros(size)
        self.label_text = "scale"
        self.none = None

    def forward(self, x: Any) -> Any:
        return (x - self.mean) * self.gain


class Blocks(nn.Module):
    def __init__(self) -> None:
        self.first = nn.Linear(3, 3, rng=0)
        self.blocks = [nn.Linear(3, 3, rng=1), nn.Sequential(nn.Tanh(), nn.Linear(3, 3, rng=2))]
        self.heads = {"a": nn.Linear(3, 1, rng=3), "b": Scale()}
        self.pair = (nn.Identity(), nn.Linear(3, 2, rng=4))

    def forward(self, x: Any) -> Any:
        x = self.first(x)
        for block in self.blocks:
            x = block(x)
        return self.heads["a"](self.heads["b"](x))


def names(module: nn.Module) -> list[str]:
    return [name for name, _ in module.named_parameters()]


def test_attributes_lists_tuples_and_dicts_are_found_in_order() -> None:
    assert names(Blocks()) == [
        "first.weight", "first.bias", "blocks.0.weight", "blocks.0.bias", "blocks.1.1.weight", "blocks.1.1.bias",
        "heads.a.weight", "heads.a.bias", "heads.b.gain", "pair.1.weight", "pair.1.bias",
    ]  # fmt: skip
    assert [path for path, _ in Blocks().named_modules()] == [
        "", "first", "blocks.0", "blocks.1", "blocks.1.0", "blocks.1.1", "heads.a", "heads.b", "pair.0", "pair.1",
    ]  # fmt: skip


def test_parameters_in_lists_and_dicts_are_found() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            self.weights = [nn.Parameter([1.0]), nn.Parameter([2.0])]
            self.named = {"shift": nn.Parameter([3.0]), "fixed": tb.tensor([4.0])}
            self.weights.append(nn.Parameter([5.0]))

    net = Net()
    assert names(net) == ["weights.0", "weights.1", "weights.2", "named.shift"]
    assert list(net.state_dict()) == ["weights.0", "weights.1", "weights.2", "named.shift", "named.fixed"]
    net.requires_grad_(False)
    assert names(net) == ["weights.0", "weights.1", "weights.2", "named.shift"]


def test_a_shared_module_or_parameter_comes_once() -> None:
    shared = nn.Linear(2, 2, rng=0)
    model = nn.Sequential(shared, nn.Tanh(), shared)
    assert names(model) == ["0.weight", "0.bias"]

    class Tied(nn.Module):
        def __init__(self) -> None:
            self.a, self.b = nn.Linear(2, 2, rng=0), nn.Linear(2, 2, rng=1)
            self.b.weight = self.a.weight

    assert names(Tied()) == ["a.weight", "a.bias", "b.bias"]
    x = np.ones((3, 2))
    model(x).sum().backward()
    assert shared.weight.grad is not None
    tb.optim.SGD(model.parameters(), lr=0.1).step()


def test_a_module_in_a_cycle_comes_once() -> None:
    outer, inner = nn.Sequential(), Scale()
    outer.append(inner)
    inner.parent = outer  # type: ignore[attr-defined]
    assert names(outer) == ["0.gain"]


def test_buffers_are_state_but_not_learned() -> None:
    scale = Scale()
    assert names(scale) == ["gain"]
    assert list(scale.state_dict()) == ["gain", "mean"]


def test_the_latest_assignment_says_what_is_learned() -> None:
    scale = Scale()
    scale.gain = tb.ones(3)
    scale.mean = nn.Parameter(np.zeros(3))
    assert names(scale) == ["mean"]
    scale.mean = None  # type: ignore[assignment]
    assert names(scale) == []
    assert list(scale.state_dict()) == ["gain"]


def test_layers_that_a_subclass_of_sequential_sets_are_found() -> None:
    class Net(nn.Sequential):
        def __init__(self) -> None:
            super().__init__(nn.Linear(2, 3, rng=0))
            self.head = nn.Linear(3, 1, rng=1)

    assert names(Net()) == ["0.weight", "0.bias", "head.weight", "head.bias"]


def test_training_and_evaluation_reach_all_the_way_down() -> None:
    net = Blocks()
    assert all(module.training for _, module in net.named_modules())
    assert net.eval() is net
    assert not any(module.training for _, module in net.named_modules())
    net.train()
    assert all(module.training for _, module in net.named_modules())


def test_a_frozen_parameter_stays_one() -> None:
    model = nn.Sequential(nn.Linear(3, 4, rng=0), nn.Linear(4, 1, rng=1))
    model[0].requires_grad_(False)
    assert names(model) == ["0.weight", "0.bias", "1.weight", "1.bias"]
    before = model.state_dict()
    optimizer = tb.optim.SGD(model.parameters(), lr=0.1)
    model(np.ones((2, 3))).sum().backward()
    optimizer.step()
    assert [p.grad is None for p in model.parameters()] == [True, True, False, False]
    after = model.state_dict()
    assert [np.array_equal(before[k], after[k]) for k in before] == [True, True, False, False]
    model.requires_grad_()
    model(np.ones((2, 3))).sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    model.zero_grad()
    assert all(p.grad is None for p in model.parameters())


def test_parameter() -> None:
    assert nn.Parameter([1, 2]).dtype == np.float64
    assert nn.Parameter(np.ones(2, np.float32)).dtype == np.float32
    source = np.ones(2)
    parameter = nn.Parameter(source)
    source[0] = 7
    np.testing.assert_array_equal(parameter.data, [1, 1])
    given = tb.tensor([1.0], requires_grad=True)
    assert nn.Parameter(given) is not given
    with pytest.raises(DtypeError, match="masked"):
        nn.Parameter(np.ma.masked_array([1.0, 2.0], [True, False]))
    with pytest.raises(DtypeError):
        nn.Parameter("weights")


def test_forward_may_take_keywords() -> None:
    class Shift(nn.Module):
        def forward(self, x: Any, *, by: float = 0.0) -> Any:
            return x + by

    assert Shift()(tb.ones(1), by=2.0).item() == 3.0


def test_calling_a_module_without_forward() -> None:
    with pytest.raises(NotImplementedError, match="Module has no forward method"):
        nn.Module()(1)


# --- saving and loading -----------------------------------------------------------------------------
def test_state_goes_from_one_model_to_another() -> None:
    a, b = Blocks(), Blocks()
    for p in a.parameters():
        with tb.no_grad():
            p[...] = p.data + 1
    b.load_state_dict(a.state_dict())
    x = np.ones((2, 3))
    np.testing.assert_array_equal(a(x).data, b(x).data)
    b.load_state_dict(dict(a.named_parameters()) | {"heads.b.mean": a.heads["b"].mean})
    b.load_state_dict({key: value.tolist() for key, value in a.state_dict().items()})


def test_a_state_dict_is_a_copy() -> None:
    layer = nn.Linear(2, 1, rng=0)
    state = layer.state_dict()
    state["weight"][...] = 9
    assert not (layer.weight.data == 9).any()
    layer.load_state_dict(state)
    state["weight"][...] = 8
    assert (layer.weight.data == 9).all()


def test_all_that_does_not_fit_is_listed_and_nothing_is_written() -> None:
    model = nn.Sequential(nn.Linear(3, 2, rng=0), nn.Linear(2, 1, rng=1))
    before = model.state_dict()
    bad = {
        "0.weight": np.zeros((3, 2)), "0.bias": np.zeros(3), "1.weight": np.array([["a"], ["b"]]),
        "2.weight": np.zeros(1), "extra": np.zeros(1),
    }  # fmt: skip
    with pytest.raises(StateError) as error:
        model.load_state_dict(bad)
    for part in (
        "missing 1.bias", "unexpected 2.weight", "unexpected extra",
        "0.bias has shape (3,), the model (2,)", "1.weight has dtype <U1", "strict=False",
    ):  # fmt: skip
        assert part in str(error.value)
    with pytest.raises(StateError, match=r"0\.bias has shape"):
        model.load_state_dict(bad, strict=False)
    with pytest.raises(StateError, match="bias has dtype complex128"):
        model.load_state_dict(before | {"1.bias": np.zeros(1, complex)})
    for key, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[key])


def test_loading_by_name() -> None:
    model = nn.Sequential(nn.Linear(3, 2, rng=0), nn.Linear(2, 1, rng=1))
    before = model.state_dict()
    model.load_state_dict({"0.bias": np.ones(2), "other": np.ones(2)}, strict=False)
    np.testing.assert_array_equal(model.state_dict()["0.bias"], [1, 1])
    np.testing.assert_array_equal(model.state_dict()["1.bias"], before["1.bias"])


def test_loading_keeps_the_dtype_and_is_seen_by_a_pending_backward() -> None:
    layer = nn.Linear(2, 2, rng=0, dtype="float32")
    x = tb.tensor(np.ones((1, 2), np.float32), requires_grad=True)
    loss = layer(x).sum()
    layer.load_state_dict({"weight": np.ones((2, 2)), "bias": np.ones(2)})
    assert layer.weight.dtype == np.float32
    with pytest.raises(tb.errors.InPlaceError):
        loss.backward()


# --- dtype and copies ---------------------------------------------------------------------------------
def test_astype_changes_parameters_and_buffers() -> None:
    net = Blocks()
    count = tb.tensor(np.array([1, 2]))
    net.count = count  # type: ignore[attr-defined]
    assert net.astype("float32") is net
    assert {t.dtype for t in net.parameters()} == {np.dtype("float32")}
    assert net.heads["b"].mean.dtype == np.float32  # type: ignore[union-attr]
    assert count.dtype == np.int64
    out = net(np.ones((2, 3), np.float32))
    out.sum().backward()
    assert out.dtype == np.float32
    for name, parameter in net.named_parameters():
        assert (parameter.grad is None) == name.startswith("pair")
        assert parameter.grad is None or parameter.grad.dtype == np.float32
    with pytest.raises(DtypeError, match="floating dtype, not int64"):
        net.astype(int)


def test_an_optimiser_follows_astype() -> None:
    layer = nn.Linear(3, 1, rng=0)
    optimizer = tb.optim.Adam(layer.parameters(), lr=0.1)
    for dtype in ("float64", "float32"):
        layer.astype(dtype)
        optimizer.zero_grad()
        layer(np.ones((2, 3), dtype)).sum().backward()
        optimizer.step()
        assert {str(a.dtype) for kept in optimizer.state_dict()["kept"] for a in kept.values()} == {dtype}
    x = tb.tensor(np.ones((2, 3), np.float32), requires_grad=True)
    loss = layer(x).sum()
    optimizer.step()
    with pytest.raises(tb.errors.InPlaceError):
        loss.backward()


def test_deepcopy_is_independent() -> None:
    net = Blocks()
    net.first.requires_grad_(False)
    twin = copy.deepcopy(net)
    assert names(twin) == names(net)
    assert [p.requires_grad for p in twin.parameters()] == [p.requires_grad for p in net.parameters()]
    with tb.no_grad():
        for p in net.parameters():
            p[...] = 0.0
    assert all(p.data.any() for p in twin.parameters())
    shared = nn.Linear(2, 2)
    pair = copy.deepcopy(nn.Sequential(shared, shared))
    assert pair[0] is pair[1]
    assert pair[0] is not shared


def test_deepcopy_leaves_gradients_behind_and_trains_on() -> None:
    layer = nn.Linear(2, 1, rng=0)
    layer(np.ones((1, 2))).sum().backward()
    twin = copy.deepcopy(layer)
    assert twin.weight.grad is None
    twin(np.ones((1, 2))).sum().backward()
    assert twin.weight.grad is not None


def test_pickling_is_refused_clearly() -> None:
    with pytest.raises(GraphError, match=r"not pickled.*state_dict\(\)"):
        pickle.dumps(nn.Linear(2, 1))


# --- depth ----------------------------------------------------------------------------------------------
def test_five_thousand_nested_modules() -> None:
    model: nn.Module = nn.Linear(1, 1, rng=0)
    for _ in range(5000):
        model = nn.Sequential(model)
    assert sum(1 for _ in model.named_modules()) == 5001
    ((path, _), _) = model.named_parameters()
    assert path == "0." * 5000 + "weight"
    model.eval().astype("float32").requires_grad_(False)
    assert len(model.state_dict()) == 2
    assert str(model) == "Sequential"


def test_a_thousand_layers_train() -> None:
    model = nn.Sequential(*[nn.Linear(2, 2, rng=i) if i % 2 else nn.Tanh() for i in range(3000)])
    nn.MSELoss()(model(np.ones((2, 2))), np.zeros((2, 2))).backward()
    assert all(p.grad is not None for p in model.parameters())


# --- showing ----------------------------------------------------------------------------------------------
def test_repr_shows_the_tree() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.Sequential(nn.Tanh()))
    assert repr(model) == "Sequential(\n  (0): Linear(2 → 3)\n  (1): Sequential(\n    (0): Tanh\n  )\n)"
    assert str(model) == "Sequential"
    assert repr(nn.ReLU()) == "ReLU"


def seed_net() -> nn.Sequential:
    return nn.Sequential(nn.Linear(10, 15), nn.Tanh(), nn.Linear(15, 10), nn.Tanh(), nn.Linear(10, 1))


@pytest.mark.parametrize(("dtype", "width"), [("float64", 8), ("float32", 4)])
def test_summary_agrees_with_numbers_by_hand(dtype: str, width: int) -> None:
    summary = seed_net().astype(dtype).summary((100, 10), dtype)
    assert [layer.path for layer in summary.layers] == list("01234")
    assert [layer.output_shape for layer in summary.layers] == [(100, n) for n in (15, 15, 10, 10, 1)]
    assert [layer.parameters for layer in summary.layers] == [165, 0, 160, 0, 11]
    # the input (10 a row) for the first weight, what tanh gave (15 and 10); each counted once
    assert [layer.kept_bytes for layer in summary.layers] == [100 * n * width for n in (10, 15, 0, 10, 0)]
    assert summary.parameters == 336
    assert summary.kept_bytes == 100 * 35 * width
    assert summary.rows == 100


def test_summary_prints_its_table() -> None:
    lines = str(seed_net().summary((100, 10))).splitlines()
    assert lines[0].split() == ["layer", "output", "parameters", "bytes", "kept", "a", "row"]
    assert lines[2].split() == ["0", "Linear(10", "→", "15)", "100×15", "165", "80"]
    assert lines[-1].split() == ["total", "336", "280"]


def test_summary_allocates_nothing_and_changes_nothing() -> None:
    model = seed_net()
    before = model.state_dict()
    summary = model.summary((10_000_000, 10))
    assert summary.kept_bytes == 10_000_000 * 280
    assert all(np.array_equal(before[k], v) for k, v in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


def test_summary_of_one_layer_of_a_nested_model_and_of_none() -> None:
    (row,) = nn.Linear(3, 2).summary((5, 3)).layers
    assert (row.label, row.output_shape, row.parameters) == ("Linear(3 → 2)", (5, 2), 8)
    nested = Blocks().summary((5, 3))
    paths = ["first", "blocks.0", "blocks.1.0", "blocks.1.1", "heads.b", "heads.a"]
    assert [layer.path for layer in nested.layers] == paths
    assert nested.parameters == 12 * 3 + 3 + 4
    assert nn.Identity().summary((5, 3)).layers == ()
    assert str(nn.Identity().summary((5, 3)))


def test_summary_of_a_batch_that_does_not_fit() -> None:
    with pytest.raises(ShapeError) as error:
        seed_net().summary((100, 9))
    assert any("Linear(10 → 15)" in note for note in error.value.__notes__)
    with pytest.raises(ShapeError, match="a batch has rows"):
        seed_net().summary(())


def test_summary_inside_a_capture_leaves_it_alone() -> None:
    with tb.capture() as trace:
        seed_net().summary((100, 10))
    assert trace.steps == ()
    assert trace.values == ()


# --- against PyTorch ----------------------------------------------------------------------------------------
def test_names_and_order_are_those_of_torch() -> None:
    torch = pytest.importorskip("torch")
    t = torch.nn

    class Theirs(t.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.gain = t.Parameter(torch.ones(2))
            self.body = t.Sequential(t.Linear(2, 3), t.Tanh(), t.Sequential(t.Linear(3, 3), t.Linear(3, 3, bias=False)))
            self.heads = t.ModuleDict({"a": t.Linear(3, 1), "b": t.Linear(3, 2)})
            self.blocks = t.ModuleList([t.Linear(3, 3), t.ModuleList([t.Linear(3, 3)])])
            self.extra = t.ParameterList([t.Parameter(torch.ones(1)), t.Parameter(torch.ones(1))])
            self.again = self.body
            self.shift = t.Parameter(torch.ones(2))

    class Ours(nn.Module):
        def __init__(self) -> None:
            self.gain = nn.Parameter(np.ones(2))
            inner = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3, bias=False))
            self.body = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), inner)
            self.heads = {"a": nn.Linear(3, 1), "b": nn.Linear(3, 2)}
            self.blocks = [nn.Linear(3, 3), [nn.Linear(3, 3)]]
            self.extra = [nn.Parameter(np.ones(1)), nn.Parameter(np.ones(1))]
            self.again = self.body
            self.shift = nn.Parameter(np.ones(2))

    theirs = [name for name, _ in Theirs().named_parameters()]
    # in torch a list of parameters is a module, and so comes after the parameters of its owner
    ours = names(Ours())
    assert sorted(ours) == sorted(theirs)
    assert [n for n in ours if "extra" not in n] == [n for n in theirs if "extra" not in n]
