"""A batch told: sentences that follow from the trace, formulas that LaTeX takes, names that stay names."""

import re

import numpy as np
import pytest

import tinygrad_batch as tb
from tinygrad_batch import nn, optim
from tinygrad_batch.errors import ArgumentError
from tinygrad_batch.explain import Explanation
from tinygrad_batch.explain.latex import Latex


def batch(model, x, y, loss_fn=None, optimizer=None):
    loss_fn = loss_fn or nn.MSELoss()
    with tb.capture() as trace:
        loss_fn(model(x), y).backward()
        if optimizer is not None:
            optimizer.step()
    return trace


@pytest.fixture(scope="module")
def trace():
    rng = np.random.default_rng(0)
    model = nn.Sequential(nn.Linear(10, 15, rng=0), nn.Tanh(), nn.Linear(15, 1, rng=1))
    return batch(
        model, rng.normal(size=(20, 10)), rng.normal(size=(20, 1)), optimizer=optim.SGD(model.parameters(), lr=0.05)
    )


@pytest.fixture(scope="module")
def others():
    """Batches with most kinds of formulas."""
    rng = np.random.default_rng(0)
    image = nn.Sequential(nn.Conv2d(1, 2, 3, rng=0), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(18, 3, rng=1))
    norms = nn.Sequential(nn.Linear(4, 6, rng=0), nn.BatchNorm1d(6), nn.GELU(), nn.LayerNorm(6), nn.Dropout(0.5, rng=0))
    with tb.capture() as twice:
        x = tb.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
        y = x * x + tb.exp(x) / (tb.sqrt(abs(x)) + 1e-8)
        (slope,) = tb.grad(tb.sum(y[0] @ x), x, create_graph=True)
        tb.sum(tb.where(slope > 1, slope, -slope) ** 3).backward()
    return [
        batch(image, rng.normal(size=(5, 1, 8, 8)), rng.integers(0, 3, 5), nn.CrossEntropyLoss()),
        batch(
            norms, rng.normal(size=(5, 4)), rng.normal(size=(5, 6)), nn.HuberLoss(), optim.RMSprop(norms.parameters())
        ),
        twice,
    ]


# ---- sentences ----


def test_every_step_is_told_in_its_order(trace):
    told = tb.explain(trace)
    assert [step.number for step in told.steps] == list(range(1, len(trace.steps) + 1))
    assert told.title == "One batch of 20 rows: 8 steps forward, 8 back, one update."
    assert told.end == f"The loss was {trace.loss.item:.4g}."
    assert told.steps[0].formulas == ("m1 = x @ W1",)
    assert told.steps[0].what == "matmul in Linear 0"
    lines = str(told).splitlines()
    assert [line for line in lines if line and not line.startswith(" ")][1:4] == [
        "Forward: from the data to the loss", "Backward: from the loss to every parameter", "Update",
    ]  # fmt: skip


def test_numbers_in_sentences_are_those_of_the_trace(trace):
    values = {value.name: value for value in trace.values}
    first = " ".join(tb.explain(trace).steps[0].sentences)
    for name, shape in (("x", "20 × 10"), ("W1", "10 × 15"), ("m1", "20 × 15")):
        assert f"{name} ({shape}, norm {values[name].statistics.norm:.3g})" in first
    assert "Kept for the way back: x." in first


def test_gradients_are_told_what_they_are(trace):
    said = {formula: step.sentences for step in tb.explain(trace).steps for formula in step.formulas}
    back = next(sentences for formula, sentences in said.items() if formula.startswith("dW1 ="))
    assert "Back through step 1: it turns dm1" in " ".join(back)
    assert back[-1] == "dW1 tells how the loss changes with W1."
    update = tb.explain(trace).steps[-1]
    assert update.sentences[-1] == "SGD changes W1, b1, W2 and b2."


def test_what_is_used_twice_is_a_sum():
    with tb.capture() as trace:
        x = tb.tensor([1.0, 2.0], requires_grad=True)
        (tb.exp(x) * x).sum().backward()
    said = " ".join(sentence for step in tb.explain(trace).steps for sentence in step.sentences)
    assert "gets one of its 2 parts here" in said
    assert "is a sum of 2" in said


def test_a_batch_without_backward_or_loss():
    with tb.capture() as trace:
        tb.tensor([[1.0, 2.0]]) + 1
    told = tb.explain(trace)
    assert "0 back, no update" in told.title
    assert told.end == ""
    assert "Backward" not in str(told)


def test_what_is_no_trace_and_no_language(trace):
    with pytest.raises(ArgumentError, match="explain needs a trace, not a list"):
        tb.explain([])
    with pytest.raises(ArgumentError, match=r"lang='fr'\. Expected one of 'en', 'zh'"):
        tb.explain(trace, lang="fr")


def test_chinese_is_told_in_chinese(trace):
    told = tb.explain(trace, lang="zh")
    assert told.title == "一个 batch（20 行）：前向 8 步，反向 8 步，更新一次。"
    for step in told.steps:
        assert all(re.search("[\u4e00-\u9fff]", sentence) for sentence in step.sentences)
        assert not any(word in " ".join(step.sentences).split() for word in ("the", "of", "is", "and"))
    assert [step.formulas for step in told.steps] == [step.formulas for step in tb.explain(trace).steps]


# ---- LaTeX ----


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        ("dW1 = xᵀ @ dm1", r"\nabla_{W_{1}}=x^{\top }\,\nabla_{m_{1}}"),
        ("q = e²", "q=e^{2}"),
        ("y = x⁻¹", "y=x^{-1}"),
        ("W1 ← W1 − 0.05 dW1", r"W_{1}\leftarrow W_{1}-0.05\nabla_{W_{1}}"),
        ("dx += 2 * x * dq", r"\nabla_{x}\mathrel{+}= 2\cdot x\odot \nabla_{q}"),
        ("r = √(s − m²) + 1e-08", r"r=\sqrt{s-m^{2}}+10^{-8}"),
        ("u = m̂ / (√ŝ + 2.5e-3)", r"u=\hat{m}/(\sqrt{\hat{s}}+2.5\cdot 10^{-3})"),
        ("db = sum over rows of dq", r"\mathrm{db}=\mathrm{sum~over~rows~of}~\nabla_{q}"),
        ("a = max(x, axis=1)", r"a=\max (x,\mathrm{axis}=1)"),
        (r"a = \input{secret} # 5% _ $ & ~ ^", None),
    ],
)
def test_formulas_in_latex(formula, expected):
    names = {
        "x": "x", "e": "e", "q": "q", "W1": "W_{1}", "dW1": r"\nabla_{W_{1}}", "dm1": r"\nabla_{m_{1}}",
        "dx": r"\nabla_{x}", "dq": r"\nabla_{q}",
    }  # fmt: skip
    found = Latex(names)(formula)
    assert found == expected or (expected is None and not re.search(r"\\input|(?<!\\)[#%$&]", found))


def parses(formula):
    """Raise unless Matplotlib, which reads the same language, can set the formula."""
    mathtext = pytest.importorskip("matplotlib.mathtext")
    mathtext.MathTextParser("path").parse(f"${formula.replace(chr(92) + 'mathrel{+}', '+')}$")


def test_all_of_it_can_be_set(trace, others):
    for one in (trace, *others):
        told = tb.explain(one)
        formulas = [formula for step in told.steps for formula in step.latex]
        assert formulas
        for formula in formulas:
            parses(formula)


def test_lines_of_an_align(trace):
    lines = tb.explain(trace).latex().splitlines()
    assert lines[0] == r"\begin{align*}"
    assert lines[1] == r"(1)& & m_{1} & = x\,W_{1} \\"
    assert lines[-1] == r"\end{align*}"
    assert all(line.endswith(r" \\") for line in lines[1:-2])
    assert not lines[-2].endswith(r" \\")


@pytest.mark.parametrize(
    "name", ["$x$", "<script>alert(1)</script>", "a_b^c", "}\\end{align*}", "权重", "a\nb", "W*", ""]
)
def test_hostile_names_stay_names(name):
    with tb.capture() as trace:
        x = tb.tensor([1.0, 2.0], requires_grad=True, name=name or None)
        (x * 2).sum().backward()
    told = tb.explain(trace)
    assert isinstance(told, Explanation)
    assert "\\end" not in told.latex().removesuffix("\\end{align*}\n")
    outside = re.sub(r"\$[^$]*\$", "", told.markdown().replace("\\$", ""))
    assert not re.search(r"(?<!\\)<script", outside)
    assert "\na" not in str(told).replace("\n\n", "")
    for step in told.steps:
        for formula in step.latex:
            assert "$" not in formula.replace("\\$", "")


def test_a_notebook_shows_it(trace):
    told = tb.explain(trace)
    assert told._repr_markdown_() == told.markdown()
    assert told.markdown().startswith("**One batch of 20 rows")
    assert r"1. **matmul in Linear 0** $m_{1}=x\,W_{1}$" in told.markdown()
