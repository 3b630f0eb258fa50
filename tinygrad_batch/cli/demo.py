"""``demo`` and ``draw``: train a little, and draw one batch."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..demo import Run, one_batch, prepare
from ..memory import format_bytes
from .arguments import check_folder, options_of
from .lines import OK, count, entry, say_line


def demo(options: argparse.Namespace) -> int:
    """Train, tell what an epoch was, and write the picture and the page of one batch."""
    folder = Path(options.output)
    check_folder(folder)
    run = prepare(options_of(options))
    say: Callable[[str], None] = (lambda line: None) if options.json else say_line
    data, rows, updates = run.dataset, run.batches.rows, len(run.batches)
    batch = min(run.batches.batch_size or rows, rows)
    batches = count(updates, "batch", "batches")
    features = count(data.x.shape[1], "feature")
    say(entry("data", f"{data.name}: {data.rows} rows, {features}, target {data.target_name}"))
    if data.citation:
        say(entry("", data.citation))
    say(entry("", f"{rows} rows to train on, {len(run.held_out[0])} held out"))
    say(entry("", "standardised, so a loss of 1 is guessing the mean"))
    layers = "\N{NO-BREAK SPACE}→ ".join(layer.label().replace(" ", "\N{NO-BREAK SPACE}") for layer in run.model)
    say(entry("model", f"{layers}, {sum(p.size for p in run.model.parameters())} parameters"))
    say(entry("epoch", f"{rows} rows in {batches} of {batch}: {count(updates, 'update')} of the parameters"))
    say(f"\n{'epoch':>5}  {'train loss':>10}  {'held-out loss':>13}")
    _train(run, say, options.json)
    kept = run.memory
    rest = rows % batch
    say("\nwhat an epoch was")
    say(entry("  rows", f"{rows}, each used once, in a new order every epoch"))
    say(entry("  batches", f"{updates} of {count(batch, 'row')}" + (f", the last of {rest}" if rest else "")))
    over = f"{updates * run.epochs} over {count(run.epochs, 'epoch')}"
    say(entry("  updates", f"{updates}, one for each batch; {over}"))
    names = ", ".join(kept.kept_names[:12]) + ", …" * (len(kept.kept_names) > 12)
    backward = f"for the backward pass of {count(run.trace.rows or 0, 'row')}"
    say(entry("  memory", f"{format_bytes(kept.kept_bytes)} kept {backward} ({names});"))
    all_rows = f"{format_bytes(kept.at_rows(rows))} for all {rows} rows at once"
    say(entry("", f"{kept.per_row_bytes:.0f} bytes a row, so {all_rows}"))
    from ..draw import draw as drawn

    drawing = drawn(run.trace, theme=options.theme, history=run.batch_losses, lang=options.lang)
    paths = [drawing.save(folder / name) for name in ("one_batch.svg", "one_batch.html")]
    if options.json:
        print(json.dumps(_run_as_json(run, options, paths), indent=2))
    say("\nthe first batch of the last epoch, forward, backward and update:")
    for path in paths:
        say(str(path))
    return OK


def _train(run: Run, say: Callable[[str], None], quiet: bool) -> None:
    """Train and print each epoch, with a progress bar on a terminal."""
    every, shown = max(1, run.epochs // 10), 0
    if quiet or not sys.stderr.isatty():
        for _ in run.train():
            shown = _print_epochs(run, say, shown, every)
        _print_epochs(run, say, shown, every)
        return
    from tqdm import tqdm

    with tqdm(total=run.epochs * len(run.batches), unit="batch", leave=False, dynamic_ncols=True) as bar:

        def above(line: str) -> None:
            bar.clear()
            say(line)

        for _ in run.train():
            bar.update()
            shown = _print_epochs(run, above, shown, every)
        _print_epochs(run, above, shown, every)


def _print_epochs(run: Run, say: Callable[[str], None], shown: int, every: int) -> int:
    """Print the epochs that are done and not printed yet; a long run only every so often."""
    for epoch in range(shown, len(run.test_losses)):
        if (epoch + 1) % every == 0 or epoch in (0, run.epochs - 1) or run.epochs <= 50:
            say(f"{epoch + 1:>5}  {run.train_losses[epoch]:>10.4f}  {run.test_losses[epoch]:>13.4f}")
    return len(run.test_losses)


def _run_as_json(run: Run, options: argparse.Namespace, paths: list[Path]) -> dict[str, Any]:
    kept, rows = run.memory, run.batches.rows
    batch = min(run.batches.batch_size or rows, rows)
    return {
        "data": {
            "name": run.dataset.name, "rows": run.dataset.rows, "features": run.dataset.x.shape[1],
            "target": run.dataset.target_name, "citation": run.dataset.citation,
        },
        "model": [layer.label() for layer in run.model],
        "parameters": kept.parameter_count,
        "training": {
            "epochs": run.epochs, "updates": run.epochs * len(run.batches),
            "lr": run.optimizer.lr, "seed": options.seed,
        },
        "epoch": {
            "rows": rows, "held_out_rows": len(run.held_out[0]), "batches": len(run.batches),
            "batch_rows": batch, "last_batch_rows": rows % batch or batch, "updates": len(run.batches),
        },
        "memory": {
            "kept": list(kept.kept_names), "rows": run.trace.rows, "bytes": kept.kept_bytes,
            "bytes_per_row": kept.per_row_bytes, "bytes_all_rows": kept.at_rows(rows),
        },
        "train_loss": run.train_losses,
        "held_out_loss": run.test_losses,
        "files": [str(path) for path in paths],
    }  # fmt: skip


def draw(options: argparse.Namespace) -> int:
    """Draw the first batch."""
    from ..draw import draw as drawn

    trace = one_batch(options_of(options))
    path = drawn(trace, depth=options.depth, theme=options.theme, engine=options.engine, lang=options.lang).save(
        options.output
    )
    if options.json:
        print(json.dumps({"file": str(path), "rows": trace.rows, "steps": len(trace.steps)}))
    else:
        print(path)
    return OK
