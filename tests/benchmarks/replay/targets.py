"""What is aimed at, whether it is reached, and why not where it is not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rounds import Times

from .memory import ROWS
from .names import BUFFERS, BY_HAND, EAGER, NATIVE, NUMPY, PEERS, STREAMED
from .works import WORKS

DTYPE = "float32"  # the targets are for it; that nobody is faster is asked for both
WHO = (EAGER, NUMPY, NATIVE)
# At most so many times what NumPy by hand takes, in the order of WHO; None where nothing is aimed at.
MOST: dict[str, tuple[float | None, float, float]] = dict(
    zip(
        WORKS,
        (
            (1.25, 0.45, 0.027),
            (1.25, 0.44, 0.11),
            (1.2, 0.62, 0.30),
            (1.2, 0.86, 0.62),
            (1.05, 0.81, 0.70),
            (1.02, 0.99, 0.91),
            (None, 0.76, 0.15),
            (None, 0.56, 0.046),
            (None, 0.62, 0.61),
            (None, 0.50, 0.026),
        ),
        strict=True,
    )
)
ACTIVATIONS = {NUMPY: 1.05, STREAMED: 0.2}  # peak memory, as a multiple of them
MILLISECONDS = {NUMPY: 5.0, NATIVE: 500.0}  # to compile, with nothing in a cache
MEMORY, COMPILING = "peak memory", "compiling"

# Why a target is missed: (work, who) for a time, (work, peer) where a peer is faster, (MEMORY, who),
# (COMPILING, who). A reason is printed only where its target is missed.
REASONS: dict[tuple[str, str], str] = {
    ("10-15-10-1, batch 10", NATIVE): "The machine code takes 0.8 µs, 0.025 of by hand. The rest is Python around it: "
    "looking at arguments and conditions, leaving gradients and counts, making the loss a Tensor.",
    ("10-15-10-1, batch 100", NATIVE): "The same Python around it as in the work above.",
    ("64-128-128-10, batch 32", NATIVE): "Its products need 39 µs at the peak of this processor, about 113 GFLOP/s in "
    "float32, and the whole step takes 45 µs.",
    ("64-128-128-10, batch 256", NUMPY): "Most of it is products and tanh, which are NumPy's in either case.",
    ("64-128-128-10, batch 256", NATIVE): "Its products need 314 µs at the peak of this processor, and the whole step "
    "takes 341 µs.",
    ("784-512-512-10, batch 64", EAGER): "Between 1.03 and 1.07 from run to run; nearly all of it is products.",
    ("784-512-512-10, batch 64", NUMPY): "The products alone are 0.83 of by hand, and the update has to read and write "
    "all parameters.",
    ("784-512-512-10, batch 64", NATIVE): "Its products need 1.8 ms at the peak of this processor.",
    ("784-512-512-10, batch 64", BUFFERS): "Within the spread of the rounds; both do little but the same products.",
    ("784-512-512-10, batch 512", EAGER): "Between 1.02 and 1.04 from run to run; nearly all of it is products.",
    ("784-512-512-10, batch 512", NUMPY): "Within the spread of the rounds; nearly all of it is products.",
    ("20 elementwise operations, tanh", NUMPY): "Within the spread of the rounds; most of it is NumPy's tanh.",
    ("20 elementwise operations, tanh", NATIVE): "NumPy's own tanh uses AVX-512 here, so there is less to gain: its "
    "polynomial and its division are most of the work.",
    (
        "20 elementwise operations, relu",
        NATIVE,
    ): "What is left is memory: two arrays of 4 MB read, and a new one written.",
    ("epoch of 10 batches, 10-15-10-1", NATIVE): "The ten steps take 8 µs in machine code, and the one call of Python "
    "around them 12 µs; a longer epoch comes closer.",
    (MEMORY, NUMPY): "The buffers of the plan are 1.04 of the activations; the rest is around them.",
    (
        COMPILING,
        NUMPY,
    ): "This is the second net that a fresh process compiles. Python's first pass over the planner takes "
    "twice as long as later ones, which take 5.5 ms.",
}


@dataclass(frozen=True)
class Verdict:
    """One target, and what was found; None where it could not be measured.

    Attributes
    ----------
    work, who : str
        What `REASONS` goes by.
    text : str
        What was measured, apart from the work.
    """

    work: str
    who: str
    text: str
    found: float | None
    most: float
    unit: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the target is reached."""
        return None if self.found is None else self.found <= self.most

    @property
    def reason(self) -> str:
        """Why it is missed."""
        return REASONS.get((self.work, self.who), "no reason has been found yet")


def verdicts(figures: dict[str, Any]) -> Iterator[Verdict]:
    """Yield what became of every target."""
    for work, dtypes in figures["works"].items():
        for dtype, measured in dtypes.items():
            yield from _of_work(work, dtype, Times(measured["seconds"]))
    for name, most in ACTIVATIONS.items():
        found = figures["memory"]["peaks"][name]["traced"].get("later")
        yield Verdict(MEMORY, name, f"{name}, {ROWS[-1]:,} rows", found, most)
    for name, most in MILLISECONDS.items():
        cold = figures["compiling"][name].get("cold")
        yield Verdict(COMPILING, name, name, None if cold is None else 1e3 * cold, most, " ms")


def _of_work(work: str, dtype: str, times: Times) -> Iterator[Verdict]:
    if dtype == DTYPE:
        for name, most in zip(WHO, MOST[work], strict=True):
            if most is not None:
                found = times.ratio(name, BY_HAND) if name in times.seconds else None
                yield Verdict(work, name, f"{name}, {dtype}", found, most)
    for peer in PEERS:
        if peer in times.seconds:
            found = times.ratio(NATIVE, peer) if NATIVE in times.seconds else None
            yield Verdict(work, peer, f"natively as a multiple of {peer}, {dtype}", found, 1.0)
