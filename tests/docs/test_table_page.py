"""The page of derivatives: every operation is on it, written by its own rules."""

import pytest
from derivatives import entries, groups, summary

from tinygrad_batch.op import TABLE

ENTRIES = {entry.name: entry for entry in entries()}


def test_every_operation_of_the_package_is_there():
    package = {name for name, op in TABLE.items() if op.call.__module__.startswith("tinygrad_batch.")}
    assert set(ENTRIES) == package


@pytest.mark.parametrize(
    ("name", "formulas"),
    [
        ("tanh", ["g * (1 - y²)"]),
        ("multiply", ["g * b", "g * a"]),
        ("matmul", ["g @ bᵀ", "aᵀ @ g"]),
        ("sum", ["spread(g)"]),
        ("mean", ["spread(g) / n"]),
        ("concatenate", ["g[0:2]"]),
    ],
)
def test_formula(name, formulas):
    assert [derivative.formula for derivative in ENTRIES[name].derivatives] == formulas


def test_what_is_kept_follows_from_the_rules():
    assert ENTRIES["tanh"].keeps == ("y",)
    assert ENTRIES["add"].keeps == ()
    assert ENTRIES["multiply"].keeps == ("a", "b")


def test_a_rule_without_a_formula_shows_its_code():
    long = [d for entry in ENTRIES.values() for d in entry.derivatives if d.formula is None]
    assert all("def " in d.code or "lambda" in d.code for d in long)
    assert len(long) < 10, "most of the table should be formulas"


def test_every_file_of_operations_says_what_it_holds():
    assert all(summary(module) for module in groups())
