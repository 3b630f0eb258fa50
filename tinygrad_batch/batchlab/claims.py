"""What is said about batches, sentence by sentence, and what the measurements say to it.

The claims are those of a blog post in Chinese that this project grew out of, in words of our own: data of shape
(100, 10), a net (10, 15) → (15, 10) → (10, 1), the squared error, and two reasons for batches: memory, and
optimisation. A verdict is worked out from the numbers of a `Comparison`; where a part was not measured, its claims are
left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from ..memory import format_bytes
from .memory import in_words
from .scaling import TIE
from .words import batch, fixed, number, percent, spread

if TYPE_CHECKING:
    from .comparison import Comparison
    from .generalisation import HeldOut
    from .memory import Measured
    from .saddles import Stuck

Verdict = Literal["holds", "holds if", "does not hold here"]
IN_CHINESE: dict[Verdict, str] = {"holds": "成立", "holds if": "有条件成立", "does not hold here": "此处不成立"}


@dataclass(frozen=True, slots=True)
class Claim:
    """One claim, and what became of it.

    Attributes
    ----------
    key : str
        A short name for it.
    zh, en : str
        The claim, in Chinese and in English.
    verdict : {"holds", "holds if", "does not hold here"}
    because : str
        The numbers.
    number : int
        Its place in the list.
    """

    key: str
    zh: str
    en: str
    verdict: Verdict
    because: str
    number: int = 0

    @property
    def verdict_zh(self) -> str:
        """The verdict in Chinese."""
        return IN_CHINESE[self.verdict]


def judge(found: Comparison) -> tuple[Claim, ...]:
    """Return every claim that the measurements have something to say to.

    Parameters
    ----------
    found : Comparison

    Examples
    --------
    >>> from tinygrad_batch.batchlab import compare
    >>> for claim in judge(compare("diabetes", [1, 32, None], parts=["memory"])):
    ...     print(claim.number, claim.verdict, claim.key)
    1 holds one pass is an epoch
    2 holds memory grows
    3 does not hold here everything does not fit
    4 holds if backward costs more
    """
    parts = (_epoch, _memory, _noise, _descent, _saddles, _minima, _held_out)
    claims = [claim for part in parts for claim in part(found)]
    return tuple([replace(claim, number=place) for place, claim in enumerate(claims, 1)])


def _epoch(found: Comparison) -> Iterator[Claim]:
    size = _middle(found)
    rest = found.rows % size
    yield Claim(
        "one pass is an epoch",
        "一个 epoch 是全部数据过一遍；batch 是其中的一份。",
        "An epoch is one pass of all the data; a batch is a slice of it.",
        "holds",
        f"{found.rows:,} rows make {found.rows // size} batches of {size}"
        + (f" and one of {rest}" if rest else "")
        + ". Every row comes once in an epoch, in an order that depends on the seed and the epoch alone.",
    )


def _memory(found: Comparison) -> Iterator[Claim]:
    if found.memory is None:
        return
    price, largest = found.memory.price, found.memory.largest
    off = max(abs(one.traced / one.peak - 1) for one in found.memory.measured)
    yield Claim(
        "memory grows",
        "反向传播要用的中间结果，随一个 batch 的样本数增长。",
        "What has to be kept for the backward pass grows with the rows of the batch.",
        "holds" if price.kept.per_row > 0 else "does not hold here",
        f"This net keeps {number(price.kept.per_row)} bytes for each row, and its step peaks at "
        f"{number(price.peak.per_row)} bytes a row. Measured steps allocated what they were priced at, to "
        f"{percent(max(off, 0.001))}{_resident(found.memory.measured)}.",
    )
    fits = largest.rows >= found.rows
    yield Claim(
        "everything does not fit",
        "全部数据一次放不进内存，所以必须分 batch。",
        "The whole data set does not fit into memory at once, so it has to be cut into batches.",
        "does not hold here" if fits else "holds",
        f"A step with all {found.rows:,} rows takes {format_bytes(price.total.at(found.rows))}, and "
        f"{in_words(largest.memory)} hold one with {largest.rows:,} rows."
        + (" It becomes true with millions of rows, or a much larger net." if fits else ""),
    )
    forward, backward = found.memory.forward_flops, found.memory.backward_flops
    yield Claim(
        "backward costs more",
        "反向传播的计算量远大于前向传播。",
        "The backward pass takes far more computation than the forward pass.",
        "holds" if backward > 2 * forward else "holds if" if backward > forward else "does not hold here",
        f"It takes {number(backward / forward)} times as many operations: two products for each one of the forward "
        "pass, but for the data, whose gradient nobody wants.",
    )


def _resident(measured: Sequence[Measured]) -> str:
    """Return how far a process was from the price, with the most rows: pages make it coarse where there are few."""
    for one in sorted(measured, key=lambda one: -one.rows):
        if one.resident is not None:
            off = abs(one.resident / one.peak - 1)
            return f", and a process with {one.rows:,} rows grew by that, to {percent(max(off, 0.001))}"
    return ""


def _noise(found: Comparison) -> Iterator[Claim]:
    if found.noise is None:
        return
    one, middle = found.noise.variances[0], _middle(found)
    at = next((v for v in found.noise.variances if v.batch_size == middle), one)
    yield Claim(
        "one row runs about",
        "batch 为 1 时，方向随机，到处乱跑。",
        "With a batch of 1 the direction is random, and training runs all over the place.",
        "holds" if one.relative_error > 1 else "does not hold here",
        f"At the start the gradient of one row is off by {percent(one.relative_error)} of the true gradient's length.",
    )
    yield Claim(
        "middle is steady",
        "中等大小的 batch，方向已经足够稳定。",
        "With a batch of middle size the direction is steady enough.",
        "holds" if at.relative_error < 1 else "holds if",
        f"With {at.batch_size} rows it is off by {percent(at.relative_error)}: the error falls with the square root "
        "of the rows. How steady is enough changes on the way, as the gradient itself becomes shorter.",
    )


def _descent(found: Comparison) -> Iterator[Claim]:
    if found.descent is None:
        return
    tuned = {one.batch_size: one for one in found.descent.scaling.tuned}
    full = tuned[max(tuned)]
    with np.errstate(all="ignore"):
        rising = float((np.diff(full.curves.loss, axis=0) > 0).mean())
    broken = [one for one in found.descent.linear_scaling if one.diverged]
    yield Claim(
        "full is steady",
        "全量数据的梯度准确，损失稳定下降。",
        "With all rows the gradient is exact, and the loss goes down steadily.",
        "holds if" if rising or broken else "holds",
        "It holds while the rate is below 2 divided by the largest curvature. At its tuned rate of "
        f"{number(full.rate)} the loss had risen at {percent(rising)} of the looks"
        + (
            f"; with {broken[0].batch_size:,} rows and a rate of {number(broken[0].rate)}, "
            f"{broken[0].diverged} of {broken[0].seeds} trainings ran away."
            if broken
            else "."
        ),
    )
    floors = found.descent.floors
    yield Claim(
        "one row hardly converges",
        "batch 为 1 时，很难收敛。",
        "With a batch of 1 training hardly converges.",
        "holds if" if floors.constant > 10 * floors.decaying else "does not hold here",
        f"It holds if the rate stays what it is: single rows end {number(floors.constant, 2)} above the least loss "
        f"at a rate of {number(floors.rate)}, in shuffled epochs. The gap goes with rate / batch size, to the power "
        f"{number(floors.power_shuffled, 2)} (drawn afresh each time: {number(floors.power, 2)}). With a rate that "
        f"falls to 0 they end {number(floors.decaying, 2)} above it.",
    )
    yield _fastest(found)
    away = [one for one in found.descent.summed if one.sum_diverged and not one.mean_diverged]
    yield Claim(
        "sum of errors",
        "损失是所有样本误差平方之和。",
        "The loss of a batch is the sum of the squared errors of its rows.",
        "holds if" if away else "holds",
        "It is fine if the rate is divided by the batch size. "
        + (
            f"At a rate of {number(away[0].rate)} the sum runs away from {away[0].batch_size:,} rows on, where the "
            "mean does not."
            if away
            else "At the rate that was tried, neither the sum nor the mean ran away."
        ),
    )


def _fastest(found: Comparison) -> Claim:
    if found.descent is None:
        raise ValueError("who is fastest is a claim about the descent")
    scaling = found.descent.scaling
    updates = {one.batch_size: one.mean_updates for one in scaling.tuned}
    axes = {
        "second": {size: count * scaling.seconds[size] for size, count in updates.items()},
        "update": updates,
        "row": {size: count * size for size, count in updates.items()},
    }
    first = {name: min(axis, key=axis.__getitem__) for name, axis in axes.items()}
    ends = {size: axes["second"][size] for size in (min(updates), max(updates))}
    close = [size for size, seconds in ends.items() if seconds <= TIE * axes["second"][first["second"]]]
    also = [f", and {batch(size, found.rows)} about as fast" for size in close if size != first["second"]]
    return Claim(
        "middle is fastest",
        "中等大小的 batch 收敛最快。",
        "A batch of middle size converges fastest.",
        "does not hold here" if close else "holds if",
        f"By the clock {batch(first['second'], found.rows)} were first to a loss of {number(scaling.goal)}"
        f"{''.join(also)}. Counted in updates it is {batch(first['update'], found.rows)}, counted in rows seen, or "
        f"epochs, {batch(first['row'], found.rows)}: who is first depends on what is counted.",
    )


def _saddles(found: Comparison) -> Iterator[Claim]:
    if found.saddles is None:
        return
    escapes = found.saddles.doubled_unit.escapes
    full = max(escapes, key=lambda escape: escape.batch_size)
    small = min(escapes, key=lambda escape: escape.batch_size)
    stuck = sum(one.stuck for one in found.saddles.random_starts)
    starts = sum(one.starts for one in found.saddles.random_starts)
    yield Claim(
        "full stays at a saddle",
        "全量数据可能停在鞍点。",
        "With all rows training can stay at a saddle point.",
        "holds if" if full.left == 0 and small.left > 0 else "does not hold here",
        f"Put exactly onto a saddle, the full batch did not leave in {full.most_epochs:,} epochs; single rows left "
        f"after {small.epochs or 0:.0f}. But of {starts} trainings of the 10-15-10-1 net from random starts, small and "
        f"full batches together, {stuck or 'none'} ended at a place without slope.",
    )
    narrow = found.saddles.narrow_nets.get(2)
    alike = max(one.units for one in found.saddles.symmetric_starts if one.start != "random") == 1
    if narrow:
        yield Claim(
            "small leave saddles",
            "小 batch 的噪声能逃离鞍点。",
            "The noise of small batches leaves saddle points.",
            "holds if" if small.left else "does not hold here",
            "It leaves a saddle with a way down. It does not free a net that has no units to spare: of nets with two "
            f"{_shares(narrow)} stayed stuck."
            + (" Nor does it part units that begin alike: they stay alike with every batch size." if alike else ""),
        )


def _minima(found: Comparison) -> Iterator[Claim]:
    if not found.minima:
        return
    by = {(share.rate, share.batch_size, share.noise): share for share in found.minima}
    rates = sorted({share.rate for share in found.minima})
    sizes = sorted({share.batch_size for share in found.minima})
    one, full = sizes[0], sizes[-1]

    def lead(rate: float) -> float:
        return by[rate, one, False].share - by[rate, full, False].share

    low, high = rates[0], max(rates, key=lead)
    small, noisy = by[high, one, False], by[high, full, True]
    yield Claim(
        "full is caught",
        "全量数据容易陷入局部最优，小 batch 能跳出来。",
        "With all rows training is caught in local optima, and small batches get out.",
        "holds if" if lead(high) > 2 * small.error else "does not hold here",
        f"It holds if the rate is large: at {number(high)} single rows found the lowest minimum from "
        f"{percent(small.share)} of the starts, all rows from {percent(by[high, full, False].share)}, and all rows "
        f"with noise added from {percent(noisy.share)}. At {number(low)} single rows and all rows differ by "
        f"{percent(abs(lead(low)))}.",
    )


def _held_out(found: Comparison) -> Iterator[Claim]:
    if found.generalisation is None:
        return
    compared = found.generalisation.comparison
    scores = [one.score for one in compared.matched]
    best = max(compared.matched, key=lambda one: one.score)
    naive = sorted(compared.equal_epochs, key=lambda one: one.score)
    leader = batch(best.batch_size, found.rows)
    lead = f"the best is that of {leader} at a time"
    if best.difference:
        lead += f", {spread(best.difference, best.difference_error)} above all rows"
    yield Claim(
        "middle generalises better",
        "中等大小的 batch 泛化更好。",
        "A batch of middle size generalises better.",
        _middle_wins(compared.matched),
        f"At the same training loss of {number(compared.level)}, and gentle rates, {compared.score_name} on rows held "
        f"out is {fixed(min(scores))} to {fixed(max(scores))} over all batch sizes; {lead}. After equal epochs at one "
        f"rate it goes from {fixed(naive[0].score)} to {fixed(naive[-1].score)}, for their training losses differ: "
        f"{number(naive[0].train_loss, 2)} and {number(naive[-1].train_loss, 2)}.",
    )
    base = found.generalisation.baseline
    if base is not None:
        level = "better than" if base.difference < -base.error else "worse than" if base.difference > base.error else ""
        yield Claim(
            "three layers",
            "三层全连接网络：(10,15)、(15,10)、(10,1)。",
            "The net has three layers. No activation is named, and without one they are a single linear map.",
            "holds" if base.collapsed < 1e-9 else "does not hold here",
            f"Multiplied out, three layers without activations differ from one by {number(base.collapsed, 1)}. And "
            f"here a linear model does {level or 'as well as'} the net with tanh: R² {fixed(base.linear)} against "
            f"{fixed(base.net)} in {base.folds} folds, a difference of {spread(base.difference, base.error)}.",
        )


def _middle_wins(matched: tuple[HeldOut, ...]) -> Verdict:
    """Return whether a batch size between the ends leads both, or all rows only, by its error and half a point."""
    ordered = sorted(matched, key=lambda one: one.batch_size)
    for best in sorted(ordered[1:-1], key=lambda one: -one.score)[:1]:
        least = max(best.difference_error, 0.005)
        if best.difference > least:
            return "holds" if best.score - ordered[0].score > least else "holds if"
    return "does not hold here"


def _middle(found: Comparison) -> int:
    """Return a batch size between one row and all of them, where there is one."""
    return found.batch_sizes[len(found.batch_sizes) // 2]


def _shares(narrow: tuple[Stuck, ...]) -> str:
    return ", ".join(f"{percent(one.stuck / one.starts)} with B = {one.batch_size}" for one in narrow)
