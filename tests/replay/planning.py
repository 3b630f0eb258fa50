"""What the tests of the plan share: living arrays side by side, and a comparison with what a program means."""

import numpy as np

from tinygrad_batch.program import LIVING, Variable, evaluate
from tinygrad_batch.replay.plan import build


def side_by_side(program, values):
    """Return the arrays of the living variables, those of each kind in one array of their own."""
    live = {}
    order = [v for v in dict.fromkeys((*program.writes, *values)) if v.kind in LIVING]
    for key in dict.fromkeys((v.kind, v.dtype, v.name.rpartition(".")[2] if v.kind == "state" else "") for v in order):
        group = [v for v in order if (v.kind, v.dtype) == key[:2] and (v.kind != "state" or v.name.endswith(key[2]))]
        group = [v for v in group if v not in live]
        flat, start = np.empty(sum(v.size for v in group), key[1]), 0
        for v in group:
            live[v] = flat[start : start + v.size].reshape(v.shape)
            live[v][...] = values[v]
            start += v.size
    return live


def alone(program, values):
    """Return the arrays of the living variables, each by itself."""
    return {v: np.array(values[v]) for v in values if v.kind in LIVING}


def check(program, values, calls=3, rtol=1e-11, lay=side_by_side):
    """Run a plan some times, compare each with `evaluate`, and return the plan."""
    live = lay(program, values)
    executable = build(program, live)
    values = {v: np.array(a) if isinstance(a, np.ndarray) else a for v, a in values.items()}
    kept = []
    with np.errstate(all="ignore"):
        for _ in range(calls):
            given = [values[v] for v in (*program.inputs, *program.numbers)]
            before = [np.array(a) for a in given]
            expected = evaluate(program, values)
            outputs = executable(*given)
            for a, b in zip(given, before, strict=True):
                np.testing.assert_array_equal(a, b, err_msg="an input was changed")
            wanted = [expected[v] if isinstance(v, Variable) else v for v in program.outputs]
            for out, want in zip(outputs, wanted, strict=True):
                assert isinstance(out, np.ndarray)
                equal(out, want, rtol)
                assert not any(np.shares_memory(out, a) for a in (*given, *live.values()) if isinstance(a, np.ndarray))
            kept.append((outputs, [np.array(out) for out in outputs]))
            written = {s: expected[v] if isinstance(v, Variable) else v for s, v in program.writes.items()}
            values = {**values, **{s: np.asarray(a, s.dtype) for s, a in written.items()}}
            for state, array in live.items():
                if state in values:
                    equal(array, values[state], rtol, state.name)
    for outputs, copies in kept:
        for out, copy in zip(outputs, copies, strict=True):
            np.testing.assert_array_equal(out, copy, err_msg="an output was overwritten by a later call")
    return executable


def equal(out, want, rtol, name=""):
    """Compare shape, dtype and values; rounding may add up to that of the largest element."""
    want = np.asarray(want)
    assert (out.shape, out.dtype) == (want.shape, want.dtype), name
    if want.dtype == np.float32:
        rtol = max(rtol, 2e-5)
    if want.dtype == np.float16:
        rtol = max(rtol, 5e-3)
    finite = np.abs(want[np.isfinite(want)]) if want.dtype.kind in "fc" else np.zeros(0)
    np.testing.assert_allclose(out, want, rtol, rtol * max(finite, default=0.0) if finite.size else 0, err_msg=name)
