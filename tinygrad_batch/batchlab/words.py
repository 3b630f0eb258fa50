"""Numbers as a reader says them, and lists of words: the one place where the laboratory writes them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

NOTHING = "–"
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def number(value: float | None, digits: int = 3) -> str:
    """Return a number with so many digits that count, and no zeros at the end.

    Examples
    --------
    >>> [number(x) for x in (0, 7.1856, 0.5, 2068.65, 1_315_689, math.inf, None)]
    ['0', '7.19', '0.5', '2,069', '1,315,689', '–', '–']
    >>> print(number(6.7e-16), number(-1e-6))
    6.7 × 10⁻¹⁶ −1 × 10⁻⁶
    """
    if value is None or not math.isfinite(value):
        return NOTHING
    value = float(value)
    if value == 0:
        return "0"
    power = math.floor(math.log10(abs(float(f"{value:.{digits - 1}e}"))))
    if power < -4 or power > 8:
        mantissa = f"{value / 10.0**power:.{min(digits - 1, 1)}f}".removesuffix(".0")
        return f"{mantissa}\u00a0×\u00a010{str(power).translate(SUPERSCRIPTS)}".replace("-", "−", value < 0)
    decimals = max(0, digits - 1 - power)
    short = f"{value:,.{decimals}f}"
    short = short.rstrip("0").rstrip(".") if decimals else short
    return short.replace("-", "−")


def fixed(value: float | None, decimals: int = 3) -> str:
    """Return a number with so many decimals.

    Examples
    --------
    >>> fixed(-0.0295), fixed(None)
    ('−0.029', '–')
    """
    if value is None or not math.isfinite(value):
        return NOTHING
    return f"{value:,.{decimals}f}".replace("-", "−")


def loss(value: float | None) -> str:
    """Return a loss; one that is too small to matter is not written out.

    Examples
    --------
    >>> loss(0.91107), loss(9.7e-32)
    ('0.911', '< 0.0001')
    """
    return "< 0.0001" if value is not None and 0 < value < 1e-4 else number(value)


def count(value: float | None) -> str:
    """Return how many, as a whole number.

    Examples
    --------
    >>> count(2068.65), count(None)
    ('2,069', '–')
    """
    return fixed(value, 0)


def percent(share: float | None) -> str:
    """Return a share as per cent.

    Examples
    --------
    >>> [percent(x) for x in (2.792, 0.4639, 0.0457, 0.00036, 0.0)]
    ['279%', '46%', '4.6%', '0.036%', '0%']
    """
    if share is None or not math.isfinite(share):
        return NOTHING
    return f"{number(share * 100, 3 if abs(share) >= 1 else 2)}%"


def seconds(value: float | None) -> str:
    """Return a time.

    Examples
    --------
    >>> seconds(0.0000536), seconds(0.00718), seconds(24.28), seconds(None)
    ('53.6 µs', '7.18 ms', '24.3 s', '–')
    """
    if value is None or not math.isfinite(value):
        return NOTHING
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if value >= size or value == 0:
            return f"{number(value / size)} {unit}"
    return f"{number(value * 1e6)} µs"


def spread(value: float | None, error: float | None) -> str:
    """Return a number and half the width of its interval.

    Examples
    --------
    >>> spread(0.4861, 0.0087), spread(0.4861, None), spread(None, None)
    ('0.486 ± 0.009', '0.486', '–')
    """
    return fixed(value) if error is None or value is None else f"{fixed(value)} ± {fixed(error)}"


def times(ratio: float) -> str:
    """Return how many times as much.

    Examples
    --------
    >>> times(15.03), times(1.26), times(1.0)
    ('15 times', '1.3 times', '1.0 times')
    """
    return f"{ratio:,.0f} times" if ratio >= 9.5 else f"{ratio:.1f} times"


def moved(found: Mapping[str, Any], change: str, away: str) -> str:
    """Return by how much a loss moved, and how many trainings ran away.

    Examples
    --------
    >>> moved({"change": 0.05, "away": 0, "seeds": 3}, "change", "away")
    '5%'
    >>> moved({"change": None, "away": 1, "seeds": 3}, "change", "away")
    '1 of 3 ran away'
    """
    return f"{found[away]} of {found['seeds']} ran away" if found[away] else percent(found[change])


def without(found: str, left_out: int) -> str:
    """Return what was found, and how many runs are not in it, because they ran away or did not arrive.

    Examples
    --------
    >>> without("0.14", 0), without("0.14", 2)
    ('0.14', '0.14 (without 2 runs)')
    """
    return f"{found} (without {plural(left_out, 'run')})" if left_out else found


def listed(words: Sequence[str], last: str = "and") -> str:
    """Return words as a list in a sentence.

    Examples
    --------
    >>> listed(["1"]), listed(["1", "10"]), listed(["1", "10", "32"], "or")
    ('1', '1 and 10', '1, 10 or 32')
    """
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} {last} {words[-1]}"


def plural(amount: int, one: str, many: str | None = None) -> str:
    """Return a number and its noun.

    Examples
    --------
    >>> plural(1, "row"), plural(1347, "row")
    ('1 row', '1,347 rows')
    """
    return f"{amount:,} {one if amount == 1 else many or one + 's'}"


def batch(size: int, rows: int) -> str:
    """Return a batch size in words.

    Examples
    --------
    >>> batch(1, 353), batch(32, 353), batch(353, 353)
    ('1 row', '32 rows', 'all 353 rows')
    """
    return f"all {plural(size, 'row')}" if size >= rows > 1 else plural(size, "row")


def by_size(cells: Iterable[tuple[int, str]], rows: int) -> str:
    """Return batch sizes, each with what was found, as one sentence.

    Examples
    --------
    >>> by_size([(1, "7"), (353, "34.4")], 353)
    '1 row: 7; all 353 rows: 34.4.'
    """
    return "; ".join(f"{batch(size, rows)}: {found}" for size, found in cells) + "."


def capital(sentence: str) -> str:
    """Return a sentence with its first letter as a capital.

    Examples
    --------
    >>> capital("all 353 rows")
    'All 353 rows'
    """
    return sentence[:1].upper() + sentence[1:]
