"""All of it together: parts, tables, advice, claims."""

import json
from dataclasses import replace

import numpy as np
import pytest

from tinygrad_batch import nn
from tinygrad_batch.batchlab import Comparison, advise, compare, load_problem
from tinygrad_batch.batchlab.claims import judge
from tinygrad_batch.batchlab.comparison import PARTS, plain
from tinygrad_batch.batchlab.report import render
from tinygrad_batch.data import make_regression
from tinygrad_batch.errors import ArgumentError, ShapeError


@pytest.fixture(scope="module")
def found():
    said = []
    result = compare("diabetes", [1, 32, None], parts=["memory", "noise", "minima"], say=said.append)
    assert said == ["memory", "noise", "minima"]
    return result


def test_what_was_not_asked_for_is_not_there(found):
    assert (found.descent, found.saddles, found.generalisation, found.advice) == (None, None, None, None)
    assert found.batch_sizes == (1, 32, 353)
    assert set(found.seconds) == {"memory", "noise", "minima"}


def test_the_table_has_a_row_for_each_batch_size(found):
    head, rows = found.table()
    assert head == ["batch size", "kept", "gradient off by"]
    assert [row[0] for row in rows] == ["1", "32", "353"]
    assert rows[0][1] == "208 B"
    assert rows[2][2] == "0%"
    assert "353 rows to train on, 89 held out" in str(found)


def test_it_is_json(found):
    document = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert document["schema"] == 1
    assert document["memory"]["price"]["kept"]["per_row"] == 208
    assert document["descent"] is None
    assert document["claims"][0]["verdict"] == "holds"
    assert "ensemble" not in json.dumps(document)


def test_numbers_that_are_none():
    assert plain({"a": np.float64("nan"), 2: (np.inf, 1, np.int64(3), True, None, "x")}) == {
        "a": None, "2": [None, 1, 3, True, None, "x"],
    }  # fmt: skip


def test_it_is_saved_whole_or_refused(found, tmp_path):
    path = found.save(tmp_path / "found.json")
    assert json.loads(path.read_text(encoding="utf-8"))["name"] == "diabetes"
    with pytest.raises(ArgumentError, match=r"saved as \.html or \.json"):
        found.save(tmp_path / "found.pdf")
    assert [p.name for p in tmp_path.iterdir()] == ["found.json"]


@pytest.mark.parametrize(
    ("sizes", "options", "message"),
    [
        ([0], {}, "a batch size is a number of rows"),
        ([1.5], {}, "not 1.5"),
        ([True], {}, "not True"),
        ([], {}, "no batch sizes"),
        ([1], {"parts": ["colour"]}, "no part 'colour'"),
        ([1], {"parts": ["generalisation"]}, "needs the rates that descent finds"),
    ],
)
def test_what_cannot_be_compared(sizes, options, message):
    with pytest.raises(ArgumentError, match=message):
        compare("diabetes", sizes, **{"parts": ["memory"], **options})


def test_more_rows_than_there_are_is_all_of_them():
    assert compare("diabetes", [10_000, 8], parts=[]).batch_sizes == (8, 353)


# ---- claims ----


def test_verdicts_follow_from_numbers(found):
    claims = {claim.key: claim for claim in found.claims}
    assert claims["memory grows"].verdict == "holds"
    assert claims["everything does not fit"].verdict == "does not hold here"
    assert claims["full is caught"].verdict == "holds if"
    assert "208 bytes" in claims["memory grows"].because
    assert [claim.number for claim in found.claims] == list(range(1, len(found.claims) + 1))
    assert {claim.verdict_zh for claim in found.claims} <= {"成立", "有条件成立", "此处不成立"}
    assert all(claim.zh and claim.en.endswith(".") and claim.because.endswith(".") for claim in found.claims)


def test_another_number_gives_another_verdict():
    small = compare("diabetes", [1, 32], parts=["memory"], memory="20 kB")
    (claim,) = [claim for claim in judge(small) if claim.key == "everything does not fit"]
    assert claim.verdict == "holds"


def test_nothing_measured_leaves_what_an_epoch_is():
    empty = Comparison("nothing", 10, 0, "", (3, 10), False)
    assert [claim.key for claim in judge(empty)] == ["one pass is an epoch"]
    assert "1 batches of 10" in judge(empty)[0].because


# ---- advice ----


@pytest.fixture(scope="module")
def advice():
    net = nn.Sequential(nn.Linear(10, 15, rng=0), nn.Tanh(), nn.Linear(15, 1, rng=1))
    before = net.state_dict()
    found = advise(net, make_regression(rows=200), batch_sizes=[1, 16, None], seeds=range(2))
    assert all((array == before[path]).all() for path, array in net.state_dict().items())
    return found


def test_advice_is_a_batch_size_and_three_sentences(advice):
    assert advice.batch_size in (1, 16, 200)
    assert advice.batch_size == advice.fastest == min(advice.seconds, key=advice.seconds.__getitem__)
    assert len(advice.reasons) == 3
    assert [reason.partition(":")[0] for reason in advice.reasons] == ["Memory", "Rows", "Time"]
    assert str(advice).startswith(f"batch size {advice.batch_size}, learning rate")
    assert advice.flat[0] == 1


def test_advice_stays_within_the_memory():
    net = nn.Sequential(nn.Linear(10, 15, rng=0), nn.Tanh(), nn.Linear(15, 1, rng=1))
    found = advise(net, make_regression(rows=300), "80 kB", batch_sizes=[16, None], seeds=[0])
    assert found.largest < 300
    assert found.batch_size == 16
    with pytest.raises(ArgumentError, match="the smallest batch that was tried has 300"):
        advise(net, make_regression(rows=300), "80 kB", batch_sizes=[None], seeds=[0])


def test_advice_needs_a_goal_that_somebody_reaches():
    net = nn.Linear(10, 1, rng=0)
    with pytest.raises(ArgumentError, match="no batch size reached a loss of 0"):
        advise(net, make_regression(rows=60), goal=0.0, batch_sizes=[60], seeds=[0])


def test_advice_on_classes():
    problem = load_problem("digits")
    found = advise(problem.build(0), (problem.x[:300], problem.y[:300]), batch_sizes=[8, 64], seeds=[0])
    assert found.batch_size in (8, 64)


X, Y = make_regression(rows=40)


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        ((X, Y, Y), {}, "the data are 3 arrays"),
        ((X, Y[:30]), {}, "x has 40 rows, and y 30"),
        ((X[:1], Y[:1]), {}, "two or more"),
        ((np.where(X > 2, np.nan, X), Y), {}, "NaN or infinite in"),
        ((X, Y.astype(str)), {}, "rows of numbers are taken"),
        ((X, 1.0), {}, "rows of numbers are taken"),
        ((X[:, :9], Y), {}, "Linear"),
        ((X, Y[:, 0]), {}, "shape"),
        ((X, Y), {"batch_sizes": [-1]}, "not -1"),
        ((X, Y), {"batch_sizes": [0]}, "not 0"),
        ((X, Y), {"batch_sizes": [1.5]}, "not 1.5"),
        ((X, Y), {"batch_sizes": []}, "no batch sizes"),
        ((X, Y), {"seeds": []}, "no seeds"),
        ((X, Y), {"goal": 1e9}, "before it learns"),
        ((X, Y), {"goal": np.nan}, "before it learns"),
    ],
)
def test_what_no_advice_can_be_given_on(data, options, message):
    with pytest.raises((ArgumentError, ShapeError), match=message):
        advise(nn.Linear(10, 1, rng=0), data, **options)


def test_batch_norm_needs_two_rows_and_leaves_no_row_a_gradient_of_its_own():
    plain_one = load_problem("diabetes")

    def net(seed):
        return nn.Sequential(nn.Linear(10, 4, rng=seed), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 1, rng=seed))

    problem = replace(plain_one, name="with batch norm", build=net, x=plain_one.x[:90], y=plain_one.y[:90])
    with pytest.raises(ArgumentError, match=r"BatchNorm1d\(4\) cannot train on batches of 1 row"):
        compare(problem, [1, 8])
    found = compare(problem, [2, 16, None], parts=["memory", "noise", "descent"])
    assert found.noise is None
    assert "none has a gradient of its own" in found.left_out["noise"]
    assert "left out: noise, for BatchNorm1d(4)" in str(found)
    assert found.memory.accumulated == ()
    assert "Left out is noise: BatchNorm1d(4)" in render(found.to_dict())
    assert advise(net(0), (problem.x, problem.y), seeds=[0]).batch_size >= 4


@pytest.mark.parametrize("part", PARTS)
def test_every_part_has_a_name_in_the_result(part):
    assert hasattr(Comparison("x", 1, 0, "", (1,), False), part)
