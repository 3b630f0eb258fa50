"""gradcheck finds what is wrong, says where, and cannot be fooled into comparing nothing."""

import json

import numpy as np
import pytest

import tinygrad_batch as tb
from tinygrad_batch import Tensor, nn
from tinygrad_batch.checks import check_op, check_table, gradcheck, gradcheck_model, gradgradcheck
from tinygrad_batch.errors import ArgumentError, DtypeError, GradcheckError
from tinygrad_batch.op import TABLE, op
from tinygrad_batch.ops import where


def leaf(value, **kwargs):
    return Tensor(value, requires_grad=True, **kwargs)


@pytest.fixture
def define():
    """Return what defines an operation for the length of a test."""
    names = []

    def make(name, compute, **rules):
        names.append(name)
        return op(name, compute, shape=lambda x: x, doc="of a test", **rules)

    yield make
    for name in names:
        TABLE.pop(name, None)


# --- what is right ------------------------------------------------------------------------------------
def test_a_right_function_passes_and_everything_was_compared():
    rng = np.random.default_rng(0)
    x, w = leaf(rng.normal(size=(3, 2))), leaf(rng.normal(size=(2, 4)))
    report = gradcheck(lambda x, w: (x @ w).tanh(), [x, w])
    assert report
    assert report.compared == (6 + 8) * (1 + 12)  # weighted, and each entry of the Jacobian
    assert [r.name for r in report.inputs] == ["input 0", "input 1"]
    assert report.max_error < 1e-8
    assert "agree" in str(report)


def test_inputs_that_do_not_require_grad_are_passed_on():
    report = gradcheck(lambda x, w, k: x * w * k, [leaf([1.0, 2.0]), Tensor([3.0, 4.0]), 5.0])
    assert [r.name for r in report.inputs] == ["input 0"]


def test_several_outputs_of_any_shape():
    assert gradcheck(lambda x: (x * 2, x.sum(), x.reshape(2, 1)), leaf([1.0, 2.0])).ok
    assert gradcheck(lambda x: [x.exp()], [leaf(1.5)]).ok


def test_names_of_tensors_are_shown():
    report = gradcheck(lambda x: x * 2, leaf([1.0], name="weight"))
    assert report.inputs[0].name == "input 0 (weight)"


def test_the_inputs_are_not_changed_and_get_no_gradient():
    x = leaf([1.0, 2.0])
    before = x.data.copy()
    gradcheck(lambda x: x * x, x)
    gradgradcheck(lambda x: x * x, x)
    np.testing.assert_array_equal(x.data, before)
    assert x.grad is None


def test_the_same_tensor_twice_counts_as_two_inputs():
    x = leaf([1.0, 2.0])
    assert gradcheck(lambda a, b: a * b, [x, x]).ok


# --- what is wrong ------------------------------------------------------------------------------------
def test_the_element_and_the_amount_are_named(define):
    wrong = define("wrong_square", lambda x: x * x, dx=lambda g, x: 2 * x * g * np.array([1.0, 1.0, 1.1]))
    with pytest.raises(GradcheckError) as caught:
        gradcheck(lambda x: wrong(x).sum(), leaf([[1.0, 2.0, 3.0], [1.0, 1.0, 1.0]]))
    text = str(caught.value)
    assert "2 of 6 gradients disagree" in text
    assert "input 0[0, 2]" in text
    assert "6.6" in text
    assert "they differ by 0.6" in text


def test_a_report_can_be_asked_for_instead(define):
    wrong = define("wrong_sin", lambda x: np.sin(x), dx=lambda g, x: g * x)
    report = gradcheck(wrong, leaf([0.5, 1.5]), raise_exception=False)
    assert not report
    worst = report.mismatches[0]
    assert worst.name == "input 0"
    assert worst.element == (1,)
    assert worst.error == pytest.approx(abs(worst.analytic - worst.numeric))
    assert worst.error > worst.allowed
    assert report.inputs[0].wrong == len(report.mismatches)
    told = json.loads(json.dumps(report.to_dict()))
    assert told["ok"] is False
    assert told["mismatches"][0]["element"] == [1]


def test_only_the_parameter_that_is_wrong_is_named():
    def function(a, b):
        return (a * b.detach() + a.detach() * a).sum()

    report = gradcheck(function, [leaf([1.0, 2.0]), leaf([3.0, 4.0])], raise_exception=False)
    assert {m.name for m in report.mismatches} == {"input 0", "input 1"}
    report = gradcheck(lambda a, b: (a * b.detach()).sum(), [leaf([1.0, 2.0]), leaf([3.0, 4.0])], raise_exception=False)
    assert {m.name for m in report.mismatches} == {"input 1"}
    assert not report.inputs[1].reached
    assert "no gradient reached it" in str(report)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: (x * 2).detach(),
        lambda x: Tensor(x.detach().numpy() * 2),
        lambda x: tb.no_grad()(lambda: x * 2)(),
    ],
    ids=["detach", "through NumPy", "no_grad"],
)
def test_a_detached_output_is_found(function):
    with pytest.raises(GradcheckError, match="no gradient reached it"):
        gradcheck(function, leaf([1.0, 2.0]))


def test_a_constant_has_derivative_zero_with_or_without_a_graph():
    assert gradcheck(lambda x: Tensor([1.0]), leaf([1.0, 2.0])).ok
    assert gradcheck(lambda x: x * 0.0, leaf([1.0, 2.0])).ok


def test_a_missing_part_in_the_jacobian_is_found_where_the_sum_hides_it(define):
    # the columns of this Jacobian add up right: only an entry-by-entry comparison with weights sees it
    swapped = define("swapped", lambda x: x * 1.0, dx=lambda g: g[::-1])
    report = gradcheck(swapped, leaf([1.0, 2.0]), raise_exception=False)
    assert not report
    assert any(m.output == "output[0]" for m in report.mismatches)
    assert gradcheck(lambda x: swapped(x).sum(), leaf([1.0, 2.0])).ok  # here it is right


def test_a_nan_never_agrees(define):
    bad = define("nan_rule", lambda x: x * 1.0, dx=lambda g: g * np.nan)
    assert not gradcheck(bad, leaf([1.0]), raise_exception=False)
    with np.errstate(all="ignore"):
        assert not gradcheck(lambda x: x.log(), leaf([-1.0]), raise_exception=False)


def test_a_slightly_wrong_rule_is_found(define):
    slight = define("slightly", lambda x: x**3, dx=lambda g, x: 3 * x * x * g * (1 + 1e-4))
    assert not gradcheck(slight, leaf([1.0]), raise_exception=False)
    assert gradcheck(slight, leaf([1.0]), rtol=1e-3).ok


def test_one_wrong_element_of_many_is_searched_for(define):
    def rule(g, x):
        mark = np.ones(20_000)
        mark[12_345] = 1.5
        return g * mark

    wrong = define("one_wrong", lambda x: x * 1.0, dx=rule)
    x = leaf(np.random.default_rng(0).normal(size=(100, 200)))
    report = gradcheck(lambda x: wrong(x.reshape(-1)).sum(), x, raise_exception=False)
    assert not report
    assert report.mismatches[0].element == (61, 145)
    assert report.mismatches[0].analytic == pytest.approx(1.5)


def test_a_large_right_input_passes_quickly():
    x = leaf(np.random.default_rng(0).normal(size=(100, 200)))
    report = gradcheck(lambda x: (x.tanh() * x).mean(axis=0), x)
    assert report.ok
    assert report.compared < 100


def test_another_seed_gives_other_weights_and_the_same_verdict():
    x = leaf([0.3, 0.7])
    errors = {
        gradcheck(lambda x: x.exp() * x, x, rng=seed).max_error for seed in (0, 1, None, np.random.default_rng(5))
    }
    assert len(errors) > 1
    assert gradcheck(lambda x: x.exp(), x, rng=3).max_error == gradcheck(lambda x: x.exp(), x, rng=3).max_error


# --- what is refused ----------------------------------------------------------------------------------
def test_nothing_to_check_is_refused():
    with pytest.raises(ArgumentError, match="nothing to check"):
        gradcheck(lambda x: x * 2, Tensor([1.0]))
    with pytest.raises(ArgumentError, match="nothing to check"):
        gradcheck(lambda x: x * 2, [2.0])
    with pytest.raises(ArgumentError, match="nothing to check"):
        gradcheck(nn.Tanh(), [Tensor([1.0])])


@pytest.mark.parametrize("function", [lambda x: x > 1, lambda x: x.astype(np.int64), lambda x: (x, x.astype(int))])
def test_integer_and_boolean_outputs_are_refused(function):
    with pytest.raises(DtypeError, match=r"dtype (bool|int64)"):
        gradcheck(function, leaf([1.5]))


@pytest.mark.parametrize("tolerances", [{}, {"rtol": 1e-2}, {"atol": 1e-2}])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_low_precision_is_refused_unless_tolerances_are_given(dtype, tolerances):
    with pytest.raises(DtypeError, match=r"float(32|16).*too coarse"):
        gradcheck(lambda x: x * x, leaf(np.ones(2, dtype)), **tolerances)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-3), (np.float16, 5e-2)])
def test_low_precision_is_checked_with_tolerances(dtype, tolerance):
    x = leaf(np.array([0.5, 1.5], dtype))
    assert gradcheck(lambda x: x.tanh(), x, rtol=tolerance, atol=tolerance).ok
    assert not gradcheck(lambda x: x * x.detach(), x, rtol=tolerance, atol=tolerance, raise_exception=False)


def test_an_output_of_low_precision_is_refused():
    with pytest.raises(DtypeError, match="output has dtype float32"):
        gradcheck(lambda x: x.astype(np.float32), leaf([1.0]))


def test_what_is_not_a_tensor_is_refused():
    with pytest.raises(ArgumentError, match="ndarray"):
        gradcheck(lambda x: x.detach().numpy(), leaf([1.0]))
    with pytest.raises(ArgumentError, match="float"):
        gradcheck(lambda x: 1.0, leaf([1.0]))
    with pytest.raises(ArgumentError, match="returned nothing"):
        gradcheck(lambda x: [], leaf([1.0]))
    with pytest.raises(ArgumentError, match="function or a model"):
        gradcheck(3, leaf([1.0]))


@pytest.mark.parametrize("bad", [{"eps": 0}, {"eps": -1.0}, {"rtol": -1e-3}, {"atol": float("nan")}])
def test_impossible_tolerances_are_refused(bad):
    with pytest.raises(ArgumentError, match=next(iter(bad))):
        gradcheck(lambda x: x, leaf([1.0]), **bad)


def test_inputs_that_are_not_finite_are_refused():
    with pytest.raises(ArgumentError, match="not finite"):
        gradcheck(lambda x: x * 2, leaf([1.0, np.inf]))


def test_a_function_that_changes_its_mind_is_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(GradcheckError, match="different outputs"):
        gradcheck(lambda x: x * rng.normal(), leaf([1.0]))


def test_what_the_package_draws_is_drawn_again():
    tb.seed(3)
    report = gradcheck(lambda x: x * tb.randn(2), leaf([1.0, 2.0]))
    assert report.ok
    after = tb.randn(2).tolist()
    tb.seed(3)
    assert tb.randn(2).tolist() == after


# --- second order ----------------------------------------------------------------------------------
def test_second_derivatives_agree():
    rng = np.random.default_rng(0)
    report = gradgradcheck(lambda x, w: (x @ w).tanh(), [leaf(rng.normal(size=(2, 2))), leaf(rng.normal(size=(2, 1)))])
    assert report.ok
    assert report.order == 2
    assert [r.name for r in report.inputs] == ["input 0", "input 1", "the weight of output"]


def test_a_rule_that_is_right_but_not_differentiable_is_found(define):
    # the first derivative is right; its own derivative is lost because the rule leaves the graph
    def rule(g, x):
        value = x.detach() if isinstance(x, Tensor) else x
        return 3 * value * value * g

    cube = define("cube_cut", lambda x: x**3, dx=rule)
    assert gradcheck(cube, leaf([1.0, 2.0])).ok
    report = gradgradcheck(cube, leaf([1.0, 2.0]), raise_exception=False)
    assert not report
    assert report.mismatches[0].name == "input 0"
    assert "second derivatives disagree" in str(report)
    assert (
        "d outputs / d input 0" in report.mismatches[0].output or report.mismatches[0].output == "the weighted outputs"
    )


def test_second_derivatives_of_what_is_linear_or_unused():
    assert gradgradcheck(lambda x: x * 3, leaf([1.0, 2.0])).ok
    assert gradgradcheck(lambda x, y: x * 3, [leaf([1.0, 2.0]), leaf([1.0])]).ok
    assert gradgradcheck(lambda x: Tensor([1.0]), leaf([1.0, 2.0])).ok


# --- models ------------------------------------------------------------------------------------------
def small_model(dtype=np.float64):
    tb.seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).astype(dtype)


def test_a_model_and_a_batch_in_one_call():
    model, batch = small_model(), (tb.randn(5, 3, rng=0), tb.randn(5, 2, rng=1))
    before = model.state_dict()
    report = gradcheck_model(model, nn.MSELoss(), batch)
    assert report.ok
    assert [r.name for r in report.inputs] == [f"parameter {name}" for name, _ in model.named_parameters()]
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])
    assert all(p.grad is None for p in model.parameters())
    assert gradcheck_model(model, nn.MSELoss(), batch, order=2).ok


def test_a_model_is_a_function_with_parameters():
    model = small_model()
    report = gradcheck(model, tb.randn(5, 3, rng=0).requires_grad_())
    assert report.ok
    assert report.inputs[0].name == "input 0"
    assert len(report.inputs) == 5


def test_the_parameter_that_is_wrong_is_named():
    class Forgetful(nn.Module):
        def __init__(self):
            self.inner = nn.Linear(3, 2)
            self.scale = nn.Parameter(np.array([1.0, 2.0]))

        def forward(self, x):
            return self.inner(x) * self.scale.detach()

    tb.seed(0)
    with pytest.raises(GradcheckError, match=r"parameter scale: \d+ of \d+; no gradient reached it") as caught:
        gradcheck_model(Forgetful(), None, tb.randn(5, 3, rng=0))
    assert "inner" not in str(caught.value)


def test_frozen_parameters_are_left_out():
    model = small_model()
    next(iter(model.parameters())).requires_grad_(False)
    report = gradcheck_model(model, lambda out: out.sum(), tb.randn(5, 3, rng=0))
    assert len(report.inputs) == 3


def test_a_float32_model_needs_tolerances():
    model, x = small_model(np.float32), Tensor(np.ones((5, 3), np.float32))
    with pytest.raises(DtypeError, match=r"parameter 0\.weight has dtype float32"):
        gradcheck_model(model, lambda out: out.sum(), x)
    assert gradcheck_model(model, lambda out: out.sum(), x, rtol=1e-2, atol=1e-2).ok


def test_a_model_that_is_none_and_an_order_that_is_none():
    with pytest.raises(ArgumentError, match="no model"):
        gradcheck_model(lambda x: x, None, Tensor([1.0]))
    with pytest.raises(ArgumentError, match="order"):
        gradcheck_model(small_model(), None, tb.ones((1, 3)), order=3)


def test_a_pending_backward_of_the_model_is_not_disturbed():
    model, x = small_model(), tb.randn(5, 3, rng=0)
    pending = model(x).sum()
    gradcheck_model(model, lambda out: out.sum(), x)
    pending.backward()
    assert all(p.grad is not None for p in model.parameters())


# --- the table -----------------------------------------------------------------------------------------
def test_the_whole_table():
    reports = check_table()
    assert [r.name for r in reports] == list(TABLE)
    assert [r.problem for r in reports if not r.ok] == []
    checked = [r for r in reports if r.differentiable]
    assert all(r.compared for r in checked)
    assert max(r.first for r in checked) < 1e-8
    assert max(r.second for r in checked) < 1e-7
    told = json.loads(json.dumps([r.to_dict() for r in reports]))
    assert {"name", "cases", "compared", "differentiable", "first", "second", "ok", "problem"} == set(told[0])


def test_an_operation_by_entry_name_or_function():
    assert check_op("tanh") == check_op(TABLE["tanh"]) == check_op(tb.tanh)
    with pytest.raises(ArgumentError, match="no operation 'tanhh'"):
        check_op("tanhh")
    assert not check_op("greater").differentiable
    assert check_op("greater").ok


def test_a_wrong_second_derivative_fails_the_operation(define):
    cut = define(
        "where_cut",
        lambda x: np.where(x > 0, x * x, 0.0),
        dx=lambda g, x: where(x > 0, 2 * np.asarray(getattr(x, "data", x)) * g, 0.0),
        cases=TABLE["exp"].cases,
    )
    report = check_op(cut)
    assert not report.ok
    assert report.first < 1e-8
    assert "second derivatives" in report.problem


def test_a_rule_that_raises_fails_the_operation(define):
    def rule(g):
        raise ZeroDivisionError("by rule")

    report = check_op(define("raises", lambda x: x * 1.0, dx=rule, cases=TABLE["exp"].cases))
    assert not report.ok
    assert "ZeroDivisionError: by rule" in report.problem


def test_what_is_loaded_late_is_listed_for_completion():
    assert {"gradcheck", "gradgradcheck", "save_checkpoint", "load_checkpoint", "tanh"} <= set(dir(tb))
