"""Layers and initialisers: values, gradients, dtypes and errors."""

import math
from itertools import pairwise

import numpy as np
import pytest

import tinygrad_batch as tb
from tinygrad_batch import nn
from tinygrad_batch.errors import ArgumentError, DtypeError, ShapeError, TinygradBatchError

ACTIVATIONS = [nn.Tanh, nn.ReLU, nn.Sigmoid, nn.SiLU, nn.Softplus, nn.GELU]


def test_linear_is_a_product_and_a_sum() -> None:
    layer = nn.Linear(3, 2, rng=0)
    x = np.arange(12.0).reshape(4, 3)
    assert layer.weight.shape == (3, 2)
    assert layer.bias is not None
    np.testing.assert_allclose(layer(x).data, x @ layer.weight.data + layer.bias.data)


def test_linear_without_bias() -> None:
    layer = nn.Linear(3, 2, bias=False, rng=0)
    assert layer.bias is None
    assert [name for name, _ in layer.named_parameters()] == ["weight"]
    np.testing.assert_allclose(layer(np.eye(3)).data, layer.weight.data)


@pytest.mark.parametrize("shape", [(3,), (4, 3), (2, 4, 3), (0, 3)])
def test_linear_takes_any_number_of_leading_axes(shape: tuple[int, ...]) -> None:
    layer = nn.Linear(3, 2, rng=0)
    x = np.random.default_rng(0).normal(size=shape)
    assert layer.bias is not None
    np.testing.assert_allclose(layer(x).data, x @ layer.weight.data + layer.bias.data)


@pytest.mark.parametrize("shape", [(4, 3), (2, 4, 3)])
def test_the_merged_linear_layer_has_the_gradients_of_its_parts(shape: tuple[int, ...]) -> None:
    x = tb.tensor(np.random.default_rng(1).normal(size=shape), requires_grad=True)
    layer = nn.Linear(3, 2, rng=0)
    layer(x).sum().backward()
    assert layer.bias is not None
    assert x.grad is not None
    assert layer.weight.grad is not None
    assert layer.bias.grad is not None
    ones = np.ones((*shape[:-1], 2))
    np.testing.assert_allclose(x.grad.data, ones @ layer.weight.data.T)
    np.testing.assert_allclose(layer.weight.grad.data, x.data.reshape(-1, 3).T @ ones.reshape(-1, 2))
    np.testing.assert_allclose(layer.bias.grad.data, ones.reshape(-1, 2).sum(0))


def test_a_seed_gives_the_same_layer() -> None:
    a, b = nn.Linear(3, 2, rng=5), nn.Linear(3, 2, rng=np.random.default_rng(5))
    for p, q in zip(a.parameters(), b.parameters(), strict=True):
        np.testing.assert_array_equal(p.data, q.data)
    tb.seed(3)
    c = nn.Linear(3, 2)
    tb.seed(3)
    np.testing.assert_array_equal(c.weight.data, nn.Linear(3, 2).weight.data)


@pytest.mark.parametrize("features", [(0, 3), (3, 0), (-1, 3)])
def test_a_layer_without_features_is_refused(features: tuple[int, int]) -> None:
    with pytest.raises(ArgumentError, match="1 feature or more"):
        nn.Linear(*features)


def test_an_initialiser_that_makes_another_shape_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"\(2, 3\).*not \(3, 2\)"):
        nn.Linear(3, 2, init=lambda shape, rng: np.zeros(shape[::-1]))


def test_layers_go_one_after_the_other() -> None:
    model = nn.Sequential(nn.Linear(3, 4, rng=0), nn.Tanh()).append(nn.Linear(4, 1, rng=1))
    assert len(model) == 3
    assert list(model)[2] is model[2] is model[-1]
    x = np.random.default_rng(0).normal(size=(5, 3))
    np.testing.assert_allclose(model(x).data, model[2](np.tanh(model[0](x).data)).data)
    empty = nn.Sequential()
    assert empty(x) is x


def test_what_is_no_layer_does_not_go_into_a_sequential() -> None:
    with pytest.raises(ArgumentError, match="layer 1 of a Sequential"):
        nn.Sequential(nn.Tanh(), np.tanh)  # type: ignore[arg-type]


def test_flatten_and_identity() -> None:
    x = tb.tensor(np.arange(24.0).reshape(2, 3, 4))
    np.testing.assert_array_equal(nn.Flatten()(x).data, x.data.reshape(2, 12))
    assert nn.Identity()(x) is x


def test_gelu_refuses_another_approximation() -> None:
    with pytest.raises(ArgumentError, match="'none' or 'tanh'"):
        nn.GELU("erf")


@pytest.mark.parametrize("layer", [*[a() for a in ACTIVATIONS], nn.GELU("tanh"), nn.Flatten(), nn.Identity()])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_activations_keep_the_dtype(layer: nn.Module, dtype: type) -> None:
    x = tb.tensor(np.linspace(-3, 3, 12).reshape(3, 4).astype(dtype), requires_grad=True)
    out = layer(x)
    out.sum().backward()
    assert out.dtype == dtype
    assert x.grad is not None
    assert x.grad.dtype == dtype


@pytest.mark.parametrize("optimizer", [tb.optim.SGD, tb.optim.Adam, tb.optim.AdamW])
def test_a_float32_model_is_float32_everywhere(optimizer: type[tb.optim.Optimizer]) -> None:
    model = nn.Sequential(nn.Linear(4, 8, rng=0), nn.Tanh(), nn.Linear(8, 6, rng=1), nn.GELU("tanh"))
    model.append(nn.Linear(6, 3, rng=2, dtype="float32")).astype("float32")
    steps = optimizer(model.parameters(), lr=np.float64(0.01))  # type: ignore[call-arg]
    rng = np.random.default_rng(0)
    x = rng.normal(size=(7, 4)).astype(np.float32)
    for captured in (False, True):
        with tb.capture() if captured else tb.enable_grad() as trace:
            loss = nn.CrossEntropyLoss(label_smoothing=0.1)(model(x), rng.integers(0, 3, 7))
            loss.backward()
            steps.step()
        assert loss.dtype == np.float32
        for parameter in model.parameters():
            assert parameter.grad is not None
            assert parameter.dtype == parameter.grad.dtype == np.float32
        if trace is not None:
            assert {value.dtype for value in trace.values if value.name != "y"} == {"float32"}


def test_errors_name_the_layer() -> None:
    model = nn.Sequential(nn.Linear(10, 15), nn.Tanh(), nn.Linear(14, 1))
    with pytest.raises(ShapeError) as plain:
        model(np.ones((5, 10)))
    assert "in layer 2, Linear(14 → 1)" in plain.value.__notes__
    assert "(14, 1)" in str(plain.value)
    with pytest.raises(ShapeError) as recorded, tb.capture():
        model(np.ones((5, 10)))
    assert any("Linear(14 → 1)" in note for note in recorded.value.__notes__)


def test_errors_name_every_layer_on_the_way() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            self.body = nn.Sequential(nn.Tanh(), nn.Sequential(nn.Linear(3, 3), nn.Linear(4, 1)))

        def forward(self, x: object) -> object:
            return self.body(x)

    with pytest.raises(TinygradBatchError) as error:
        Net()(np.ones((2, 3)))
    notes = error.value.__notes__
    assert notes[0] == "in layer 1, Linear(4 → 1)"
    assert notes[1] == "in layer 1, Sequential"
    assert notes[-1] == "in the layer Net"


@pytest.mark.parametrize("bad", [None, "text", object(), [[1.0], [1.0, 2.0]]])
def test_what_is_no_array_is_refused(bad: object) -> None:
    with pytest.raises((DtypeError, ShapeError)):
        nn.Linear(2, 1)(bad)


# --- initialisers -------------------------------------------------------------------------------
BOUNDS = {
    nn.init.lecun_uniform: lambda i, o: 1 / math.sqrt(i),
    nn.init.xavier_uniform: lambda i, o: math.sqrt(6 / (i + o)),
    nn.init.he_uniform: lambda i, o: math.sqrt(6 / i),
}


@pytest.mark.parametrize("init", BOUNDS, ids=lambda f: f.__name__)
def test_uniform_initialisers_fill_their_interval(init: object) -> None:
    assert callable(init)
    array = init((300, 200), rng=0)
    bound = BOUNDS[init](300, 200)  # type: ignore[index]
    assert array.shape == (300, 200)
    assert 0.999 * bound < np.abs(array).max() <= bound
    assert abs(array.std() / (bound / math.sqrt(3)) - 1) < 0.01
    assert abs(array.mean()) < 0.01 * bound


@pytest.mark.parametrize(
    ("init", "deviation"),
    [(nn.init.xavier_normal, math.sqrt(2 / 500)), (nn.init.he_normal, math.sqrt(2 / 300))],
    ids=lambda f: getattr(f, "__name__", ""),
)
def test_normal_initialisers_have_their_spread(init: object, deviation: float) -> None:
    assert callable(init)
    array = init((300, 200), rng=0)
    assert abs(array.std() / deviation - 1) < 0.01
    assert abs(array.mean()) < 0.02 * deviation


def test_gain_scales_and_zeros_are_zeros() -> None:
    np.testing.assert_allclose(nn.init.xavier_uniform((3, 2), 2.0, rng=0), 2 * nn.init.xavier_uniform((3, 2), rng=0))
    np.testing.assert_allclose(nn.init.xavier_normal((3, 2), 2.0, rng=0), 2 * nn.init.xavier_normal((3, 2), rng=0))
    assert not nn.init.zeros((3, 2)).any()
    assert not nn.Linear(3, 2, init=nn.init.zeros).weight.data.any()


def test_an_initialiser_wants_a_matrix() -> None:
    with pytest.raises(ShapeError, match=r"\(in, out\)"):
        nn.init.he_normal((3,))


# --- against PyTorch ------------------------------------------------------------------------------
def test_initial_bounds_are_those_of_torch() -> None:
    torch = pytest.importorskip("torch")
    weight = torch.empty(200, 300)  # (out, in)
    pairs = [
        (nn.init.xavier_uniform, torch.nn.init.xavier_uniform_),
        (nn.init.xavier_normal, torch.nn.init.xavier_normal_),
        (nn.init.he_uniform, lambda w: torch.nn.init.kaiming_uniform_(w, nonlinearity="relu")),
        (nn.init.he_normal, lambda w: torch.nn.init.kaiming_normal_(w, nonlinearity="relu")),
        (nn.init.lecun_uniform, lambda w: torch.nn.init.kaiming_uniform_(w, a=math.sqrt(5))),
    ]
    torch.manual_seed(0)
    for ours, theirs in pairs:
        theirs(weight)
        assert abs(float(ours((300, 200), rng=0).std()) / float(weight.std()) - 1) < 0.02


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_random_nets_agree_with_torch(seed: int, dtype: type) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(seed)
    theirs = {
        nn.Tanh: torch.nn.Tanh, nn.ReLU: torch.nn.ReLU, nn.Sigmoid: torch.nn.Sigmoid, nn.SiLU: torch.nn.SiLU,
        nn.Softplus: torch.nn.Softplus, nn.GELU: torch.nn.GELU,
    }  # fmt: skip
    widths = [int(w) for w in rng.integers(1, 12, rng.integers(2, 6))]
    own: list[nn.Module] = []
    other = []
    for i, (a, b) in enumerate(pairwise(widths)):
        bias = bool(rng.integers(0, 4))
        own.append(nn.Linear(a, b, bias=bias, rng=rng, dtype=dtype))
        other.append(torch.nn.Linear(a, b, bias=bias))
        if i < len(widths) - 2:
            kind = ACTIVATIONS[rng.integers(len(ACTIVATIONS))]
            own.append(kind())
            other.append(theirs[kind]())
    model, reference = nn.Sequential(*own), torch.nn.Sequential(*other).to(getattr(torch, dtype.__name__))
    names = [name for name, _ in model.named_parameters()]
    assert names == [name for name, _ in reference.named_parameters()]
    with torch.no_grad():
        for (_, p), q in zip(model.named_parameters(), reference.parameters(), strict=True):
            q.copy_(torch.from_numpy(p.data.T.copy()))

    x = rng.normal(size=(9, widths[0])).astype(dtype)
    y = rng.normal(size=(9, widths[-1])).astype(dtype)
    loss = nn.MSELoss()(model(x), y)
    loss.backward()
    expected = torch.nn.MSELoss()(reference(torch.from_numpy(x)), torch.from_numpy(y))
    expected.backward()
    rtol, atol = (2e-5, 1e-6) if dtype is np.float32 else (1e-12, 1e-14)
    np.testing.assert_allclose(loss.item(), expected.item(), rtol=rtol, atol=atol)
    for (name, p), q in zip(model.named_parameters(), reference.parameters(), strict=True):
        assert p.grad is not None
        np.testing.assert_allclose(p.grad.data, q.grad.numpy().T, rtol=rtol, atol=atol, err_msg=name)


def test_gelu_and_its_approximation_agree_with_torch() -> None:
    torch = pytest.importorskip("torch")
    x = np.linspace(-12, 12, 1001)
    for approximate in ("none", "tanh"):
        expected = torch.nn.GELU(approximate=approximate)(torch.from_numpy(x)).numpy()
        np.testing.assert_allclose(nn.GELU(approximate)(tb.tensor(x)).data, expected, rtol=1e-12, atol=1e-15)


def test_a_sequential_says_how_to_pass_layers() -> None:
    for wrong in ([tb.nn.Tanh()], tb.nn.Tanh, tb.tanh):
        with pytest.raises(ArgumentError, match=r"layer 0 .* one by one, as objects"):
            tb.nn.Sequential(wrong)
