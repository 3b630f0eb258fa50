"""The measured blocks of the page, in Markdown: quotes, verdicts and tables, made of nothing but the figures."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from tinygrad_batch.batchlab.claims import IN_CHINESE
from tinygrad_batch.batchlab.words import count, fixed, moved, number, percent, seconds, spread, without
from tinygrad_batch.memory import format_bytes

Figures = Mapping[str, Any]
BLOCK = re.compile(r"(<!-- measured: (.+?) -->\n).*?(<!-- end -->)", re.DOTALL)


def refreshed(page: str, document: Mapping[str, Any]) -> str:
    """Return the page with every block made anew.

    Raises
    ------
    KeyError
        For a block that nobody makes.
    """
    return BLOCK.sub(lambda match: f"{match[1]}{filled(match[2], document)}\n{match[3]}", page)


def filled(name: str, document: Mapping[str, Any]) -> str:
    """Return one block."""
    figures = document["figures"]["batch_size"]
    kind, _, rest = name.partition(" ")
    if kind == "claim":
        return _claim(figures, rest)
    if kind == "verdict":
        return _verdict(figures, rest)
    if name == "machine":
        return _table(["", ""], [[key, value] for key, value in document["machine"].items()])
    return TABLES[name](figures)


def _claims(figures: Figures, key: str) -> dict[str, Mapping[str, Any]]:
    """Return what each problem says to a claim."""
    found = {name: claim for name, one in figures.items() for claim in one["claims"] if claim["key"] == key}
    if not found:
        raise KeyError(f"no claim is called {key!r}")
    return found


def _claim(figures: Figures, key: str) -> str:
    claim = next(iter(_claims(figures, key).values()))
    return f"> {claim['zh']}\n>\n> *{claim['en']}*"


def _verdict(figures: Figures, key: str) -> str:
    found = _claims(figures, key)
    said = {(claim["verdict"], claim["because"]) for claim in found.values()}
    if len(said) == 1:
        ((verdict, because),) = said
        return f"**Verdict: {_both(verdict)}.** {because}"
    lines = [f"- **{name}: {_both(claim['verdict'])}.** {claim['because']}" for name, claim in found.items()]
    return "\n".join(["**Verdict.**", "", *lines])


def _both(verdict: Any) -> str:
    return f"{verdict} / {IN_CHINESE[verdict]}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], rest: str = "---:") -> str:
    lines = [head, ["---", *[rest] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _overview(figures: Figures) -> str:
    order: dict[str, Mapping[str, Any]] = {}
    for one in figures.values():
        for claim in one["claims"]:
            order.setdefault(claim["key"], claim)
    rows = []
    for place, (key, claim) in enumerate(order.items(), 1):
        found = _claims(figures, key)
        verdicts = [found[name]["verdict"] if name in found else "" for name in figures]
        rows.append([str(place), f"{claim['zh']}<br>*{claim['en']}*", *verdicts])
    return _table(["", "what is said", *figures], rows, rest="---")


def _memory(figures: Figures) -> str:
    rows = []
    for name, one in figures.items():
        price, largest = one["memory"]["price"], one["memory"]["largest"]
        off = max(abs(m["traced"] / m["peak"] - 1) for m in one["memory"]["measured"])
        ran = "ran; with 1 % more it did not" if largest["fits"] and not largest["one_per_cent_more_fits"] else "failed"
        rows.append(
            [
                name,
                number(price["kept"]["per_row"]),
                number(max(price[phase]["per_row"] for phase in ("forward", "backward", "update"))),
                percent(off),
                count(largest["rows"]),
                ran,
            ]
        )
    head = [
        "",
        "kept, bytes a row",
        "peak, bytes a row",
        "measured peak differs by",
        "rows in 512 MiB",
        "a process limited to that",
    ]
    return _table(head, rows)


def _sizes(figures: Figures) -> str:
    rows = [
        [
            f"{name}, {count(m['rows'])} rows",
            format_bytes(m["peak"]),
            format_bytes(m["traced"]),
            format_bytes(m["resident"]),
        ]
        for name, one in figures.items()
        for m in one["memory"]["measured"]
        if m["resident"] and m["rows"] >= 10_000
    ]
    return _table(["", "priced", "allocated", "resident"], rows)


def _accumulation(figures: Figures) -> str:
    rows = [
        [
            name,
            _parts(one["parts"]),
            number(one["by_rows"], 2),
            percent(one["mean_of_means"]),
            percent(one["mean_of_means_later"]),
        ]
        for name, found in figures.items()
        for one in found["memory"]["accumulated"]
    ]
    return _table(["", "parts", "weighted by rows, off by", "mean of means, off by", "the same after 10 epochs"], rows)


def _parts(parts: Sequence[int]) -> str:
    *same, last = parts
    return f"{len(same)} × {same[0]} + {last}" if last != same[0] else f"{len(parts)} × {last}"


def _checkpoints(figures: Figures) -> str:
    curve = next(iter(figures.values()))["memory"]["checkpoints"]
    return _table(["segments", *curve], [["layers' results held", *[number(value) for value in curve.values()]]])


def _variance(figures: Figures) -> str:
    sizes = sorted({v["batch_size"] for one in figures.values() for v in one["noise"]["variances"]})
    ratios = {
        name: {
            v["batch_size"]: v["measured"] / v["predicted"] for v in one["noise"]["variances"] if v["predicted"] > 1e-12
        }
        for name, one in figures.items()
    }
    rows = [
        [str(size), *[fixed(ratio[size]) if size in ratio else "–" for ratio in ratios.values()]]
        for size in sizes
        if any(size in ratio for ratio in ratios.values())
    ]
    return _table(["batch size", *figures], rows)


def _scales(figures: Figures) -> str:
    epochs = sorted({s["epochs"] for one in figures.values() for s in one["noise"]["scales"]})
    rows = []
    for at in epochs:
        cells = []
        for one in figures.values():
            scale = next((s for s in one["noise"]["scales"] if s["epochs"] == at), None)
            cells.append("–" if scale is None else _scale(scale))
        rows.append([number(at), *cells])
    return _table(["after epochs", *figures], rows)


def _scale(scale: Mapping[str, Any]) -> str:
    if not scale["measurable"]:
        return "not measurable here"
    return f"{number(scale['value'])} ({number(scale['low'])} to {number(scale['high'])})"


def _critical(figures: Figures) -> str:
    rows = []
    for name, one in figures.items():
        found, scales = one["descent"]["scaling"], one["noise"]["scales"]
        law = found["law"]
        measured = [s["value"] for s in scales if s["measurable"] and s["value"]]
        rows.append(
            [
                f"{name}, to a loss of {number(found['goal'])}",
                count(law["least_updates"]),
                count(law["least_rows"]),
                f"{count(law['least_rows'] / law['least_updates'])} ({count(law['low'])} to {count(law['high'])})",
                percent(law["misfit"]),
                f"{count(min(measured))} to {count(max(measured))}" if measured else "–",
            ]
        )
    head = ["", "fewest updates", "fewest rows", "critical batch size", "the law misses by", "noise scale on the way"]
    return _table(head, rows)


def _goal(name: str) -> Callable[[Figures], str]:
    def table(figures: Figures) -> str:
        one = figures[name]
        found, rows = one["descent"]["scaling"], []
        for size in found["tuned"]:
            updates = [u for u in size["updates"] if u is not None]
            arrived = len(updates) == len(size["updates"])
            mean = sum(updates) / len(updates) if arrived else None
            each = found["seconds"][str(size["batch_size"])]
            rows.append(
                [
                    str(size["batch_size"]),
                    number(size["rate"], 2),
                    count(mean),
                    number(mean and mean * size["batch_size"] / one["rows"]),
                    count(mean and mean * size["batch_size"]),
                    seconds(mean and mean * each),
                ]
            )
        return _table(["batch size", "tuned rate", "updates", "epochs", "rows seen", "time"], rows)

    return table


def _floors(figures: Figures) -> str:
    found = next(iter(figures.values()))["descent"]["floors"]
    rows = [
        [
            f"{number(f['rate'])}, B = {f['batch_size']}",
            number(f["rate"] / f["batch_size"]),
            "drawn afresh" if f["replacement"] else "shuffled epochs",
            number(f["excess"], 2),
            number(f["predicted"], 2),
        ]
        for f in found["floors"]
    ]
    return _table(["rate", "rate / B", "rows", "above the least loss", "predicted"], rows)


def _linear(figures: Figures) -> str:
    factors = sorted({one["factor"] for found in figures.values() for one in found["descent"]["linear_scaling"]})
    kinds = (("full batches", "change", "diverged"), ("3 rows over", "change_with_rest", "diverged_with_rest"))
    rows = []
    for name, one in figures.items():
        by = {scaled["factor"]: scaled for scaled in one["descent"]["linear_scaling"]}
        for what, key, away in kinds:
            cells = [moved(by[factor], key, away) if factor in by else "" for factor in factors]
            rows.append([f"{name}, {by[1]['rows']:,} rows, {what}", *cells])
    return _table(["k", *[str(factor) for factor in factors]], rows)


def _summed(figures: Figures) -> str:
    found = figures["diabetes"]["descent"]["summed"]
    rows = [
        [
            str(one["batch_size"]),
            f"{one['sum_diverged']} of {one['seeds']}",
            number(one["sum_loss"]),
            f"{one['mean_diverged']} of {one['seeds']}",
            number(one["mean_loss"]),
        ]
        for one in found
    ]
    return _table(["batch size", "sum: ran away", "loss at the end", "mean: ran away", "loss at the end"], rows)


def _doubled(figures: Figures) -> str:
    found = next(iter(figures.values()))["saddles"]["doubled_unit"]
    rows = [
        [
            str(one["batch_size"]),
            f"{one['left']} of {one['walks']}",
            f"{number(one['epochs'])} ({number(one['low'])} to {number(one['high'])})"
            if one["left"]
            else f"none in {one['most_epochs']:,}",
            count(one["epochs"] and one["epochs"] * 100 / one["batch_size"]),
        ]
        for one in found["escapes"]
    ]
    return _table(["batch size", "left the saddle", "epochs until then", "updates"], rows)


def _escapes(figures: Figures) -> str:
    found = next(iter(figures.values()))["saddles"]["escape_times"]
    rows = [
        [
            f"rate {number(one['rate'])}, B = {one['batch_size']}",
            count(one["predicted"]),
            f"{count(one['measured'])} ({count(one['low'])} to {count(one['high'])})",
        ]
        for one in found
    ]
    return _table(["", "updates predicted", "measured"], rows)


def _stuck(figures: Figures) -> str:
    saddles = next(iter(figures.values()))["saddles"]
    nets = [("10-15-10-1, random start", saddles["random_starts"])]
    nets += [(f"{width} hidden units, random start", found) for width, found in saddles["narrow_nets"].items()]
    sizes = sorted({one["batch_size"] for _, found in nets for one in found})
    rows = []
    for name, found in nets:
        by = {one["batch_size"]: one for one in found}
        rows.append([name, *[f"{by[size]['stuck']} of {by[size]['starts']}" if size in by else "–" for size in sizes]])
    return _table(["stuck", *[f"B = {size}" for size in sizes]], rows)


def _symmetric(figures: Figures) -> str:
    found = next(iter(figures.values()))["saddles"]["symmetric_starts"]
    starts = list(dict.fromkeys(one["start"] for one in found))
    sizes = sorted({one["batch_size"] for one in found})
    by = {(one["start"], one["batch_size"]): one for one in found}
    rows = [
        [start, *[f"{by[start, size]['units']} (loss {number(by[start, size]['loss'], 2)})" for size in sizes]]
        for start in starts
    ]
    return _table(["start", *[f"B = {size}" for size in sizes]], rows)


def _minima(figures: Figures) -> str:
    found = next(iter(figures.values()))["minima"]
    kinds = list(dict.fromkeys((one["batch_size"], one["noise"]) for one in found))
    by = {(one["rate"], one["batch_size"], one["noise"]): one for one in found}
    full = max(size for size, _ in kinds)
    names = [("all rows" if size == full else f"B = {size}") + (" and noise" if noise else "") for size, noise in kinds]
    rates = sorted({one["rate"] for one in found})
    rows = [[number(rate), *[percent(by[rate, *kind]["share"]) for kind in kinds]] for rate in rates]
    return _table(["rate", *names], rows)


def _held_out(figures: Figures) -> str:
    rows = []
    for name, one in figures.items():
        found = one["generalisation"]["comparison"]
        fast = {cell["batch_size"]: cell for cell in found["matched_fast"]}
        for cell in found["matched"]:
            quick = fast[cell["batch_size"]]
            rows.append(
                [
                    f"{name}, {found['score_name']} at a loss of {number(found['level'])}, B = {cell['batch_size']}",
                    without(spread(cell["score"], cell["error"]), cell["left_out"]),
                    spread(cell["difference"], cell["difference_error"]),
                    number(cell["sharpness"], 2),
                    without(spread(quick["score"], quick["error"]), quick["left_out"]),
                ]
            )
    return _table(["", "gentle rate", "less all rows", "sharpness", "fastest rate"], rows)


def _naive(figures: Figures) -> str:
    rows = []
    for name, one in figures.items():
        found = one["generalisation"]["comparison"]
        updates = {cell["batch_size"]: cell for cell in found["equal_updates"]}
        for cell in found["equal_epochs"]:
            other = updates[cell["batch_size"]]
            rows.append(
                [
                    f"{name}, {found['score_name']}, B = {cell['batch_size']}",
                    without(fixed(cell["score"]), cell["left_out"]),
                    number(cell["train_loss"], 2),
                    without(fixed(other["score"]), other["left_out"]),
                    number(other["train_loss"], 2),
                ]
            )
    return _table(["", "20 epochs at one rate", "training loss", "equal updates, own rates", "training loss"], rows)


def _baseline(figures: Figures) -> str:
    base = figures["diabetes"]["generalisation"]["baseline"]
    rows = [
        ["least squares", fixed(base["linear"])],
        [f"10-15-10-1 with tanh, {number(base['epochs'])} epochs", fixed(base["net"])],
        ["net less linear", spread(base["difference"], base["error"])],
    ]
    return _table(["", f"R², mean of {base['folds']} folds"], rows)


TABLES: dict[str, Callable[[Figures], str]] = {
    "overview": _overview,
    "memory": _memory,
    "sizes": _sizes,
    "accumulation": _accumulation,
    "checkpoints": _checkpoints,
    "variance": _variance,
    "scales": _scales,
    "critical": _critical,
    "goal diabetes": _goal("diabetes"),
    "goal digits": _goal("digits"),
    "goal synthetic": _goal("synthetic"),
    "floors": _floors,
    "linear": _linear,
    "summed": _summed,
    "doubled unit": _doubled,
    "escape times": _escapes,
    "stuck": _stuck,
    "symmetric": _symmetric,
    "minima": _minima,
    "held out": _held_out,
    "naive": _naive,
    "baseline": _baseline,
}
