"""The page with all figures, in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from rounds import Times

from .memory import WAYS
from .names import BY_HAND, EVERYBODY, JAX_SCAN, NATIVE, NUMPY, PEERS
from .targets import COMPILING, MEMORY, MOST, WHO, Verdict, verdicts
from .works import DTYPES, LOSSES

INTRODUCTION = """\
# Performance

What a training step costs, eager and compiled, next to the same step written by hand in NumPy and in other
packages. This page is written by

```sh
python tests/benchmarks/run.py replay --rounds {rounds} --publish docs/performance.md
```

and every figure on it comes from one run of that command on one machine, named below. Ratios carry over to other
machines better than microseconds do, and neither does so exactly.

## How it is measured

- **What counts is the ratio** to NumPy as a textbook writes it: `x @ W + b`, `np.tanh`, `np.mean(e**2)`,
  `W -= lr * dW`. Less than 1 is faster than that. "out= and buffers" is the same with every array made beforehand.
- **The same numbers.** Before it is timed, each contestant trains {losses} steps, or an epoch, from the same
  parameters on the same data, and its losses must be those of NumPy by hand, to 1e-4 in float32 and 1e-9 in float64.
- **In turns.** Each work runs in a process of its own; there, in each of {rounds} rounds, everybody runs for at least
  20 ms. A ratio is taken within a round. Given are the median over the rounds and, in brackets, the 10th and the 90th
  percentile.
- **One thread**, for everybody. Where a package kept more than 1.1 processors busy all the same, its row says so.
- **Everybody at their best, without tricks.** JAX donates its parameters and is waited for; PyTorch compiles forward,
  backward and update as one graph; tinygrad captures the step with `TinyJit`. Batches are in the arrays of the package
  beforehand. The code is in `tests/benchmarks/replay`.
"""

WORKS_INTRODUCTION = """\
## Time

The nets have tanh between their linear layers; a step is forward, mean squared error, backward and SGD. The twenty
elementwise operations run on (1000, 1000), forward only, and four of them are the tanh or the relu. The convnet takes
64 digits of 8 x 8: convolution 3 x 3 to 8 channels, relu, convolution 3 x 3 to 16, relu, max-pool, linear to 10,
cross-entropy, SGD; by hand its convolutions are matrix products over the windows (im2col). The epoch has 100 rows,
and its times are for one step of the ten.
"""

MEMORY_INTRODUCTION = """\
## Memory

The peak of a step of the {widths} net at {rows} rows in float32, beyond the data, the parameters and one
gradient for each parameter, which all have in common. The unit is the activations: the outputs of the three layers,
{megabytes:.0f} MB. `tracemalloc` counts what NumPy allocates, to the byte. What the process has resident counts
everything, also the workspace of a matrix product; each figure is from a fresh process.
"""

COMPILING_INTRODUCTION = """\
## Compiling

Milliseconds that the first three calls of the 10-15-10-1 net, batch 10, cost more than three later ones: capture,
planning, compilation. With cold and warm caches on disk, in a process that has imported everything; and in a process
that has not, with cold caches.
"""


def page(document: dict[str, Any]) -> str:
    """Return the page for what a run of the benchmarks has measured."""
    figures, rounds = document["figures"]["replay"], document["rounds"]
    parts = [
        INTRODUCTION.format(rounds=rounds, losses=LOSSES),
        "\n".join(_machine(document["machine"], figures["versions"])),
        "\n".join(_targets(figures)),
        WORKS_INTRODUCTION,
        *("\n".join(_work(name, dtypes)) for name, dtypes in figures["works"].items()),
        "\n".join(_memory(figures["memory"])),
        "\n".join(_compiling(figures["compiling"])),
    ]
    return "\n".join(part.rstrip("\n") + "\n" for part in parts)


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    """Yield the lines of a table; the first column is text."""
    head = list(head)
    yield f"| {' | '.join(head)} |"
    yield f"|---|{'---:|' * (len(head) - 1)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _machine(machine: dict[str, str], versions: dict[str, str]) -> Iterator[str]:
    yield from ("## The machine", "")
    yield from table(("", ""), [*machine.items(), *versions.items()])


def _targets(figures: dict[str, Any]) -> Iterator[str]:
    found = list(verdicts(figures))
    reached, missed = ([v for v in found if v.met is met] for met in (True, False))
    yield from ("## Targets", "")
    unknown = len(found) - len(reached) - len(missed)
    others = f", {unknown} not measured" if unknown else ""
    yield f"{len(found)} in all: {len(reached)} reached, {len(missed)} missed{others}."
    yield "In float32, with the target in brackets, and bold where it is missed:"
    yield ""
    rows = []
    for work, dtypes in figures["works"].items():
        times = Times(dtypes["float32"]["seconds"])
        ours = [_against(times, name, most) for name, most in zip(WHO, MOST[work], strict=True)]
        rows.append([work, *ours, _fastest(times)])
    yield from table(("work", "eager", "compiled to NumPy", "compiled natively", "the fastest other"), rows)
    yield from ("", f"Nobody in any row, in float32 or float64, is to be faster than {NATIVE}.", "")
    others = [v for v in found if v.work in (MEMORY, COMPILING)]
    yield from table(
        ("", "found", "at most"), [[f"{v.work}, {v.text}", _value(v), f"{v.most:g}{v.unit}"] for v in others]
    )
    if missed:
        yield from ("", "### Missed", "", *_missed(missed))


def _missed(missed: list[Verdict]) -> Iterator[str]:
    """Yield an item for each work and reason, with all that it explains."""
    together: dict[tuple[str, str], list[str]] = {}
    for verdict in missed:
        text = f"{verdict.text}: {_value(verdict)}, at most {verdict.most:g}{verdict.unit}"
        together.setdefault((verdict.work, verdict.reason), []).append(text)
    for (work, reason), texts in together.items():
        yield f"- **{work}**: {reason[0].upper()}{reason[1:].rstrip('.')}."
        yield from (f"  - {text}" for text in texts)


def _against(times: Times, name: str, most: float | None) -> str:
    if name not in times.seconds:
        return "–" if most is None else f"– ({most:g})"
    found = times.ratio(name, BY_HAND)
    if most is None:
        return f"{found:.3g}"
    return f"{found:.3g} ({most:g})" if found <= most else f"**{found:.3g}** ({most:g})"


def _fastest(times: Times) -> str:
    ratio, name = min((times.ratio(name, BY_HAND), name) for name in PEERS if name in times.seconds)
    return f"{ratio:.3g} {name}"


def _value(verdict: Verdict) -> str:
    return "not measured" if verdict.found is None else f"{verdict.found:.3g}{verdict.unit}"


def _work(work: str, dtypes: dict[str, Any]) -> Iterator[str]:
    yield from (f"### {work[0].upper()}{work[1:]}", "")
    names = [name for name in EVERYBODY if name != JAX_SCAN or any(name in dtypes[d]["seconds"] for d in DTYPES)]
    head = ["", *(text for dtype in DTYPES for text in (f"{dtype}, times by hand", "µs"))]
    yield from table(head, [[name, *(cell for d in DTYPES for cell in _cells(dtypes[d], name))] for name in names])
    notes = [note for dtype in DTYPES for note in _notes(dtype, dtypes[dtype])]
    if notes:
        yield from ("", *notes)


def _cells(measured: dict[str, Any], name: str) -> tuple[str, str]:
    times = Times(measured["seconds"])
    if name not in times.seconds:
        return "not available", ""
    microseconds = f"{1e6 * times.median(name):,.1f}"
    if name == BY_HAND:
        return "1", microseconds
    low, high = times.spread(name, BY_HAND)
    return f"{times.ratio(name, BY_HAND):.3g} ({low:.3g} – {high:.3g})", microseconds


def _notes(dtype: str, measured: dict[str, Any]) -> Iterator[str]:
    for name, why in measured["absent"].items():
        yield f"- {dtype}: {name} is not available: {why}"
    for name, processors in measured["processors"].items():
        if processors > 1.1:
            yield f"- {dtype}: {name} kept {processors:.1f} processors busy"


def _memory(memory: dict[str, Any]) -> Iterator[str]:
    last = max(memory["rows"][NUMPY], key=int)
    megabytes = int(last) * sum(memory["widths"][1:]) * 4 / 1e6
    widths = "-".join(map(str, memory["widths"]))
    yield MEMORY_INTRODUCTION.format(widths=widths, rows=f"{int(last):,}", megabytes=megabytes)
    head = ("", "tracemalloc", "its first step", "resident", "its first step")
    yield from table(
        head,
        [[name, *(_peak(ways[way], key) for way in WAYS for key in ("later", "first"))]
         for name, ways in memory["peaks"].items()],
    )  # fmt: skip
    yield ""
    yield from _grouped((name, why["absent"]) for name, ways in memory["peaks"].items() for why in ways.values()
                        if "absent" in why)  # fmt: skip
    yield from (
        "",
        "The same by the number of rows, as `tracemalloc` counts; in blocks of 256 rows it hardly grows:",
        "",
    )
    rows = list(memory["rows"][NUMPY])
    yield from table(
        ("", *(f"{int(count):,} rows" for count in rows)),
        [[name, *(_bytes(peaks[count]) for count in rows)] for name, peaks in memory["rows"].items()],
    )


def _peak(peaks: dict[str, Any], key: str) -> str:
    return "–" if "absent" in peaks else f"{peaks[key]:.2f}"


def _bytes(peaks: dict[str, Any]) -> str:
    return "–" if "absent" in peaks else f"{peaks['bytes'] / 1e6:.1f} MB, {peaks['later']:.2f}"


def _grouped(absent: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Yield a line for each reason, with all whom it concerns."""
    by_reason: dict[str, dict[str, None]] = {}
    for name, why in absent:
        by_reason.setdefault(why, {})[name] = None
    yield from (f"- {'; '.join(names)}: {why}" for why, names in by_reason.items())


def _compiling(compiling: dict[str, Any]) -> Iterator[str]:
    yield COMPILING_INTRODUCTION
    kinds = {"cold": "cold caches", "warm": "warm caches", "alone": "cold, nothing imported"}
    rows = [
        [name, *("–" if "absent" in found else f"{1e3 * found[kind]:,.1f} ms" for kind in kinds)]
        for name, found in compiling.items()
    ]
    yield from table(("", *kinds.values()), rows)
    yield ""
    yield from _grouped((name, found["absent"]) for name, found in compiling.items() if "absent" in found)
