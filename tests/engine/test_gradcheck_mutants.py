"""Who checks the check: every rule of the table is spoilt a little, and the check must notice each time."""

import pytest

from tinygrad_batch import Tensor
from tinygrad_batch.calling import caller
from tinygrad_batch.checks import check_op
from tinygrad_batch.op import TABLE, Need

STEPS = {"sign", "floor", "ceil", "trunc", "rint"}  # their gradient is 0, and so is any multiple of it
RULES = [(name, entry.inputs[i]) for name, entry in TABLE.items() if name not in STEPS for i in entry.differentiable]


def bare(value):
    return value.detach() if isinstance(value, Tensor) else value


SPOILT = {
    "a thousandth too large": lambda rule: lambda g, *needs: rule(g, *needs) * 1.001,
    "the wrong sign": lambda rule: lambda g, *needs: -rule(g, *needs),
    "lost to second order": lambda rule: lambda g, *needs: rule(bare(g), *map(bare, needs)),
}


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT.keys())
@pytest.mark.parametrize(("name", "key"), RULES)
def test_a_spoilt_rule_is_noticed(name, key, spoil, monkeypatch):
    entry = TABLE[name]
    need = entry._needs[key]
    monkeypatch.setitem(entry._needs, key, Need(spoil(need.rule), need.input, need.names))
    monkeypatch.setattr(entry, "_plans", {})
    monkeypatch.setattr(entry, "call", caller(entry))
    report = check_op(entry)
    assert not report.ok
    assert "finite differences" in report.problem
