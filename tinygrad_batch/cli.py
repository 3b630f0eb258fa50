"""The command line: ``tinygrad-batch demo | draw | gradcheck | doctor``."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, NoReturn

from . import __version__
from .demo import ACTIVATIONS, Options, Run, one_batch, prepare
from .errors import ArgumentError, DataError, DrawError, TinygradBatchError
from .memory import format_bytes

OK, FAILED, BAD_INPUT = 0, 1, 2
EXTRAS = {
    "dot": ["pygraphviz"],
    "test": ["pytest", "hypothesis", "scipy"],
    "oracle": ["torch"],
    "bench": ["torch", "autograd", "mygrad"],
    "docs": ["sphinx", "myst-nb", "numpydoc", "furo"],
}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Say what is wrong in one line."""
        self.exit(BAD_INPUT, f"{self.prog}: {message} (see {self.prog} --help)\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 0 done, 1 failed, 2 bad input.

    Examples
    --------
    >>> main(["draw", "--batch-size", "0"])
    2
    """
    options = _parser().parse_args(arguments)
    if not hasattr(options, "run"):
        _parser().print_help()
        return BAD_INPUT
    try:
        return int(options.run(options))
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return FAILED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader has gone; so does the rest
        return FAILED
    except (TinygradBatchError, OSError) as error:
        if options.debug:
            raise
        notes = "".join(f" ({note})" for note in getattr(error, "__notes__", ()))
        print(f"tinygrad-batch: {error}{notes}".replace("\n", " "), file=sys.stderr)
        return BAD_INPUT if isinstance(error, (ArgumentError, DataError, DrawError, OSError)) else FAILED


# --- commands ------------------------------------------------------------------------------------
def _demo(options: argparse.Namespace) -> int:
    folder = Path(options.output)
    if not folder.is_dir():
        raise ArgumentError(f"{str(folder)!r} is no folder to write the picture to", "Make it first")
    run = prepare(_options(options))
    say: Callable[[str], None] = (lambda line: None) if options.json else _say
    rows, batch = run.batches.rows, min(run.batches.batch_size or run.batches.rows, run.batches.rows)
    say(f"data     {run.dataset.name}: {run.dataset.rows} rows, {run.dataset.x.shape[1]} features, target {run.dataset.target_name}")
    if run.dataset.citation:
        say(f"         {run.dataset.citation}")
    say(f"         {rows} rows to train on, {len(run.held_out[0])} held out; standardised, so a loss of 1 is guessing the mean")
    parameters = sum(p.size for p in run.model.parameters())
    say(f"model    {' → '.join(layer.label() for layer in run.model)}, {parameters} parameters")
    say(f"epoch    {rows} rows in {len(run.batches)} batches of {batch}: {len(run.batches)} updates of the parameters")
    say(f"\n{'epoch':>5}  {'train loss':>10}  {'held-out loss':>13}")
    _train(run, say, options.json)
    kept = run.memory
    trace = run.trace
    say("\nwhat an epoch was")
    say(f"  rows       {rows}, each used once, in a new order every epoch")
    say(f"  batches    {len(run.batches)} of {batch} rows" + _last_batch(rows, batch))
    say(f"  updates    {len(run.batches)}, one for each batch; {run.optimizer.steps} over {run.epochs} epochs")
    say(f"  memory     {format_bytes(kept.kept_bytes)} kept for the backward pass of a batch of {trace.rows} rows ({', '.join(kept.kept_names)});")
    say(f"             {kept.per_row_bytes:.0f} bytes a row, so {format_bytes(kept.at_rows(rows))} for all {rows} rows at once")
    from .draw import draw

    drawing = draw(trace, theme=options.theme, history=run.batch_losses)
    paths = [drawing.save(folder / name) for name in ("one_batch.svg", "one_batch.html")]
    if options.json:
        print(json.dumps(_run_as_json(run, paths), indent=2))
    say("\nthe first batch of the last epoch, forward, backward and update:")
    for path in paths:
        say(str(path))
    return OK


def _train(run: Run, say: Callable[[str], None], quiet: bool) -> None:
    """Train with a progress bar on a terminal, and print each epoch."""
    bar = None
    if sys.stderr.isatty() and not quiet:
        from tqdm import tqdm

        bar = tqdm(total=run.epochs * len(run.batches), unit="batch", leave=False, dynamic_ncols=True)
        write = say

        def say(line: str) -> None:
            bar.clear()
            write(line)

    shown = 0
    every = max(1, run.epochs // 10)
    for _ in run.train():
        if bar is not None:
            bar.update()
        shown = _print_epochs(run, say, shown, every)
    _print_epochs(run, say, shown, every)
    if bar is not None:
        bar.close()


def _print_epochs(run: Run, say: Callable[[str], None], shown: int, every: int) -> int:
    """Print the epochs that are done and not printed yet; a long run only every so often."""
    for epoch in range(shown, len(run.test_losses)):
        if (epoch + 1) % every == 0 or epoch in (0, run.epochs - 1) or run.epochs <= 50:
            say(f"{epoch + 1:>5}  {run.train_losses[epoch]:>10.4f}  {run.test_losses[epoch]:>13.4f}")
    return len(run.test_losses)


def _last_batch(rows: int, batch: int) -> str:
    rest = rows % batch
    return f", the last of {rest}" if rest and rows > batch else ""


def _run_as_json(run: Run, paths: list[Path]) -> dict[str, Any]:
    kept = run.memory
    return {
        "data": {"name": run.dataset.name, "rows": run.dataset.rows, "features": run.dataset.x.shape[1]},
        "model": [layer.label() for layer in run.model],
        "parameters": kept.parameter_count,
        "epoch": {
            "rows": run.batches.rows, "held_out_rows": len(run.held_out[0]),
            "batches": len(run.batches), "updates": len(run.batches),
        },
        "bytes_kept_per_batch": kept.kept_bytes,
        "bytes_kept_per_row": kept.per_row_bytes,
        "train_loss": run.train_losses,
        "held_out_loss": run.test_losses,
        "files": [str(path) for path in paths],
    }  # fmt: skip


def _draw(options: argparse.Namespace) -> int:
    from .draw import draw

    trace = one_batch(_options(options))
    path = draw(trace, depth=options.depth, theme=options.theme, engine=options.engine).save(options.output)
    if options.json:
        print(json.dumps({"file": str(path), "rows": trace.rows, "steps": len(trace.steps)}))
    else:
        print(path)
    return OK


def _gradcheck(options: argparse.Namespace) -> int:
    from .checks import check_table

    reports = check_table()
    if options.json:
        print(json.dumps([report.to_dict() for report in reports], indent=2))
    else:
        print(f"{'operation':<18}{'cases':>6}{'1st order':>12}{'2nd order':>12}")
        for report in reports:
            print(_check_row(report))
    wrong = [report.name for report in reports if not report.ok]
    if not options.json:
        print(f"\n{len(reports) - len(wrong)} of {len(reports)} operations agree with finite differences")
    return FAILED if wrong else OK


def _check_row(report: Any) -> str:
    def error(value: float | None) -> str:
        return f"{'–':>12}" if value is None else f"{value:>12.1e}"

    row = f"{report.name:<18}{report.cases:>6}{error(report.first)}{error(report.second)}"
    return row if report.ok else f"{row}  WRONG: {report.problem}"


def _doctor(options: argparse.Namespace) -> int:
    from .draw import engines

    found = {
        "tinygrad_batch": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        **{name: _version(name) or "not installed" for name in ("numpy", "graphviz", "safetensors", "tqdm")},
    }
    graphviz = [{"name": e.name, "available": e.available, "version": e.version, "where": e.where} for e in engines()]
    extras = {extra: {name: _version(name) for name in names} for extra, names in EXTRAS.items()}
    if options.json:
        print(json.dumps({"versions": found, "engines": graphviz, "extras": extras}, indent=2))
        return OK
    for name, version in found.items():
        print(f"{name:<16}{version}")
    print("\npictures: SVG, HTML, DOT and text always work; PNG and PDF need dot or pygraphviz")
    for engine in engines():
        print(f"  {engine}")
    print("\nextras")
    for extra, names in extras.items():
        parts = ", ".join(f"{name} {version or 'missing'}" for name, version in names.items())
        print(f"  [{extra}]".ljust(12) + parts)
    return OK


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


# --- arguments -----------------------------------------------------------------------------------
def _options(given: argparse.Namespace) -> Options:
    return Options(
        given.data, given.target, given.layers, given.activation, given.epochs, given.batch_size, given.lr, given.seed
    )


def _layers(text: str) -> tuple[int, ...]:
    try:
        widths = tuple(int(part) for part in text.split(","))
    except ValueError:
        widths = ()
    if len(widths) < 2 or min(widths) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of widths such as 10,15,10,1")
    return widths


def _batch_size(text: str) -> int | None:
    if text == "full":
        return None
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number of rows nor 'full'") from None


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="tinygrad-batch", description="What happens in one batch of training, measured and drawn.")
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="demo | draw | gradcheck | doctor")

    def command(name: str, run: Callable[[argparse.Namespace], int], help: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=help, description=help)
        sub.set_defaults(run=run)
        sub.add_argument("--json", action="store_true", help="print one JSON document")
        sub.add_argument("--debug", action="store_true", help="show the traceback of an error")
        return sub

    demo = command("demo", _demo, "train a small net on real data and draw one batch of it")
    _training(demo)
    demo.add_argument("-o", "--output", default=".", metavar="FOLDER", help="where to write the pictures (%(default)s)")
    draw = command("draw", _draw, "draw the first batch, without training")
    _training(draw)
    draw.add_argument(
        "-o", "--output", default="one_batch.svg", metavar="FILE", help="ends in .svg .html .png .pdf .dot or .txt (%(default)s)"
    )
    draw.add_argument("--depth", choices=["auto", "ops", "modules"], default="auto", help="one row an operation, or a layer")
    draw.add_argument("--engine", choices=["auto", "dot", "pygraphviz", "builtin"], default="auto", help="what lays it out")
    command("gradcheck", _gradcheck, "check every operation of the table against finite differences")
    command("doctor", _doctor, "show versions, the Graphviz engines found, and the optional extras")
    return parser


def _training(parser: argparse.ArgumentParser) -> None:
    plain = Options()
    parser.add_argument(
        "--data", default=plain.data, metavar="DATA", help="diabetes, synthetic, or a .csv or .npz file (%(default)s)"
    )
    parser.add_argument("--target", metavar="NAME", help="column or array of a file to predict (the last column; y)")
    parser.add_argument("--layers", type=_layers, metavar="N,N,...", help="widths (features,15,10,targets)")
    parser.add_argument("--activation", choices=list(ACTIVATIONS), default=plain.activation, help="(%(default)s)")
    parser.add_argument("--epochs", type=int, default=plain.epochs, metavar="N", help="passes over the data (%(default)s)")
    parser.add_argument(
        "--batch-size", type=_batch_size, default=plain.batch_size, metavar="N|full", help="rows of a batch (%(default)s)"
    )
    parser.add_argument("--lr", type=float, default=plain.lr, help="learning rate (%(default)s)")
    parser.add_argument("--seed", type=int, default=plain.seed, help="for split, weights and order (%(default)s)")
    parser.add_argument("--theme", choices=["light", "dark"], default="light", help="colours of the picture (%(default)s)")


def _say(line: str) -> None:
    print(line, flush=True)
