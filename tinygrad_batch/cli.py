"""The command line: ``tinygrad-batch demo | draw | gradcheck | doctor``."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import math
import os
import platform
import re
import sys
import textwrap
from collections.abc import Callable, Sequence
from importlib import metadata
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from . import __version__
from .demo import Options, Run, one_batch, prepare
from .errors import ArgumentError, DataError, DrawError, TinygradBatchError
from .memory import format_bytes
from .problem import ACTIVATIONS

if TYPE_CHECKING:
    from .checks import OpReport

OK, FAILED, BAD_INPUT = 0, 1, 2
WIDTH = 79  # of the lines printed: any terminal shows them whole, and a file has the same bytes
MOST_WEIGHTS = 100_000_000  # some mistyped zeros should not fill the memory


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Say what is wrong in one line."""
        self.exit(BAD_INPUT, f"{self.prog}: {_plain(message)} (see {self.prog} --help)\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 0 done, 1 failed, 2 bad input.

    Examples
    --------
    >>> main(["draw", "--batch-size", "0"])
    2
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="replace")  # "→" is a "?" where the terminal has no arrows
    try:
        try:
            code = _run(arguments)
        except SystemExit as stop:  # argparse has said why
            code = int(stop.code or OK)
        sys.stdout.flush()  # now, while an error of it can still be told
    except OSError as error:
        if error.filename:
            return _failed(f"{error.filename!r}: {error.strerror}", BAD_INPUT)
        _drop_output()
        if isinstance(error, BrokenPipeError):  # the reader has gone, as head does; it wants no more
            return FAILED
        return _failed(error.strerror or str(error))
    return code


def _run(arguments: Sequence[str] | None) -> int:
    options = _parser().parse_args(arguments)
    if not hasattr(options, "run"):
        _parser().print_help()
        return BAD_INPUT
    try:
        return int(options.run(options))
    except KeyboardInterrupt:
        return _failed("stopped")
    except (TinygradBatchError, MemoryError) as error:
        if options.debug:
            raise
        notes = "".join(f" ({note})" for note in getattr(error, "__notes__", ()))
        memory = "not enough memory: " * isinstance(error, MemoryError)
        wrong = isinstance(error, (ArgumentError, DataError, DrawError))
        return _failed(f"{memory}{error}{notes}", BAD_INPUT if wrong else FAILED)


def _failed(message: str, code: int = FAILED) -> int:
    """Say in one line why, and return the exit code."""
    print(f"tinygrad-batch: {_plain(' '.join(message.split()))}", file=sys.stderr)
    return code


def _drop_output() -> None:
    """Let the rest of the output go nowhere, so that Python does not try it again at its end."""
    with contextlib.suppress(OSError), open(os.devnull, "w") as nowhere:  # OSError: a stream without a file
        os.dup2(nowhere.fileno(), sys.stdout.fileno())


# --- commands ------------------------------------------------------------------------------------
def _demo(options: argparse.Namespace) -> int:
    folder = Path(options.output)
    _check_folder(folder)
    run = prepare(_options(options))
    say: Callable[[str], None] = (lambda line: None) if options.json else _say
    data, rows, updates = run.dataset, run.batches.rows, len(run.batches)
    batch = min(run.batches.batch_size or rows, rows)
    batches = _count(updates, "batch", "batches")
    features = _count(data.x.shape[1], "feature")
    say(_entry("data", f"{data.name}: {data.rows} rows, {features}, target {data.target_name}"))
    if data.citation:
        say(_entry("", data.citation))
    say(_entry("", f"{rows} rows to train on, {len(run.held_out[0])} held out"))
    say(_entry("", "standardised, so a loss of 1 is guessing the mean"))
    layers = "\N{NO-BREAK SPACE}→ ".join(layer.label().replace(" ", "\N{NO-BREAK SPACE}") for layer in run.model)
    say(_entry("model", f"{layers}, {sum(p.size for p in run.model.parameters())} parameters"))
    say(_entry("epoch", f"{rows} rows in {batches} of {batch}: {_count(updates, 'update')} of the parameters"))
    say(f"\n{'epoch':>5}  {'train loss':>10}  {'held-out loss':>13}")
    _train(run, say, options.json)
    kept = run.memory
    rest = rows % batch
    say("\nwhat an epoch was")
    say(_entry("  rows", f"{rows}, each used once, in a new order every epoch"))
    say(_entry("  batches", f"{updates} of {_count(batch, 'row')}" + (f", the last of {rest}" if rest else "")))
    over = f"{updates * run.epochs} over {_count(run.epochs, 'epoch')}"
    say(_entry("  updates", f"{updates}, one for each batch; {over}"))
    names = ", ".join(kept.kept_names[:12]) + ", …" * (len(kept.kept_names) > 12)
    backward = f"for the backward pass of {_count(run.trace.rows or 0, 'row')}"
    say(_entry("  memory", f"{format_bytes(kept.kept_bytes)} kept {backward} ({names});"))
    all_rows = f"{format_bytes(kept.at_rows(rows))} for all {rows} rows at once"
    say(_entry("", f"{kept.per_row_bytes:.0f} bytes a row, so {all_rows}"))
    from .draw import draw

    drawing = draw(run.trace, theme=options.theme, history=run.batch_losses)
    paths = [drawing.save(folder / name) for name in ("one_batch.svg", "one_batch.html")]
    if options.json:
        print(json.dumps(_run_as_json(run, options, paths), indent=2))
    say("\nthe first batch of the last epoch, forward, backward and update:")
    for path in paths:
        say(str(path))
    return OK


def _check_folder(folder: Path) -> None:
    """Raise, before anything is trained, if no file can be written to the folder."""
    import tempfile

    if not folder.is_dir():
        raise ArgumentError(f"{str(folder)!r} is no folder to write the picture to", "Make it first")
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        reason = error.strerror or str(error)
        raise ArgumentError(f"nothing can be written to the folder {str(folder)!r}: {reason}") from error


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
    wrong = [report for report in reports if not report.ok]
    if options.json:
        print(json.dumps([report.to_dict() for report in reports], indent=2))
        return FAILED if wrong else OK
    print(f"{'operation':<18}{'cases':>6}{'1st order':>12}{'2nd order':>12}")
    for report in reports:
        print(_check_row(report))
    print(f"\n{len(reports) - len(wrong)} of {len(reports)} operations agree with finite differences")
    for report in wrong:
        for number, line in enumerate(report.problem.splitlines()):
            print(textwrap.fill(line if number else f"\n{report.name}, {line}", WIDTH, replace_whitespace=False))
    return FAILED if wrong else OK


def _check_row(report: OpReport) -> str:
    def error(value: float | None) -> str:
        return f"{'–':>12}" if value is None else f"{value:>12.1e}"

    row = f"{report.name:<18}{report.cases:>6}{error(report.first)}{error(report.second)}"
    return row if report.ok else f"{row}  WRONG"


def _doctor(options: argparse.Namespace) -> int:
    from .draw import engines

    found = {
        "tinygrad_batch": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        **{name: _version(name) or "not installed" for name in ("numpy", "graphviz", "safetensors", "tqdm")},
    }
    graphviz = [{"name": e.name, "available": e.available, "version": e.version, "where": e.where} for e in engines()]
    extras = {extra: {name: _version(name) for name in names} for extra, names in _extras().items()}
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
        packages = ", ".join(f"{name} {version or 'missing'}" for name, version in names.items())
        print(_entry(f"  [{extra}]", packages, 12))
    return OK


def _extras() -> dict[str, list[str]]:
    """Return the packages of each optional extra, as the installed package declares them."""
    extras: dict[str, list[str]] = {}
    try:
        declared = metadata.requires("tinygrad-batch") or []
    except metadata.PackageNotFoundError:  # run from its sources
        declared = []
    for requirement in declared:
        found = re.match(r"([\w.-]+).*;.*extra == ['\"]([\w.-]+)['\"]", requirement)
        if found:
            extras.setdefault(found[2], []).append(found[1])
    return extras


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


# --- arguments -----------------------------------------------------------------------------------
def _options(given: argparse.Namespace) -> Options:
    return Options(
        data=given.data, target=given.target, features=given.features, layers=given.layers,
        activation=given.activation, epochs=given.epochs, batch_size=given.batch_size, lr=given.lr, seed=given.seed,
    )  # fmt: skip


def _whole(least: int, what: str) -> Callable[[str], int]:
    """Return a reader of whole numbers that are at least ``least``."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least:
            raise argparse.ArgumentTypeError(f"{text!r} is no {what}; expected a whole number, {least} or more")
        return value

    return read


def _batch_size(text: str) -> int | None:
    if text == "full":
        return None
    try:
        return _whole(1, "number of rows")(text)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{error}, or 'full'") from None


def _learning_rate(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no learning rate; expected a number, 0 or more")
    return value


def _layers(text: str) -> tuple[int, ...]:
    try:
        widths = tuple(int(part) for part in text.split(","))
    except ValueError:
        widths = ()
    if len(widths) < 2 or min(widths) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of widths such as 10,15,10,1")
    weights = sum(inputs * outputs for inputs, outputs in pairwise(widths))
    if weights > MOST_WEIGHTS:
        raise argparse.ArgumentTypeError(
            f"{text!r} has {weights:,} weights; at most {MOST_WEIGHTS:,} are sensible here"
        )
    return widths


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(","))


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="tinygrad-batch", description="What happens in one batch of training, measured and drawn.")
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

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
    suffixes = "ends in .svg .html .png .pdf .dot or .txt (%(default)s)"
    draw.add_argument("-o", "--output", default="one_batch.svg", metavar="FILE", help=suffixes)
    depths, engines = ["auto", "ops", "modules"], ["auto", "dot", "pygraphviz", "builtin"]
    draw.add_argument("--depth", choices=depths, default="auto", help="one row an operation, or a layer (%(default)s)")
    draw.add_argument("--engine", choices=engines, default="auto", help="what lays it out (%(default)s)")
    command("gradcheck", _gradcheck, "check every operation of the table against finite differences")
    command("doctor", _doctor, "show versions, the Graphviz engines found, and the optional extras")
    return parser


def _training(parser: argparse.ArgumentParser) -> None:
    plain = Options()

    def option(name: str, kind: Callable[[str], Any], default: Any, metavar: str, help: str) -> None:
        parser.add_argument(name, type=kind, default=default, metavar=metavar, help=help)

    option("--data", str, plain.data, "DATA", "diabetes, synthetic, or a .csv or .npz file (%(default)s)")
    option("--target", str, None, "NAME", "column or array of a file to predict (the last column; y)")
    option("--features", _names, None, "NAME,...", "columns or array to predict it from (all the others; x)")
    option("--layers", _layers, None, "N,N,...", "widths (features,15,10,targets)")
    parser.add_argument("--activation", choices=list(ACTIVATIONS), default=plain.activation, help="(%(default)s)")
    option("--epochs", _whole(1, "number of epochs"), plain.epochs, "N", "passes over the data (%(default)s)")
    option("--batch-size", _batch_size, plain.batch_size, "N|full", "rows of a batch (%(default)s)")
    option("--lr", _learning_rate, plain.lr, "RATE", "learning rate (%(default)s)")
    option("--seed", _whole(0, "seed"), plain.seed, "N", "for split, weights and order (%(default)s)")
    parser.add_argument("--theme", choices=["light", "dark"], default="light", help="colours (%(default)s)")


# --- lines ---------------------------------------------------------------------------------------
def _entry(label: str, text: str, indent: int = 11) -> str:
    """Return a label and what there is to say about it, wrapped."""
    wrapper = textwrap.TextWrapper(WIDTH, label.ljust(indent), " " * indent)
    wrapper.break_on_hyphens = wrapper.break_long_words = False
    return wrapper.fill(_plain(text)).replace("\N{NO-BREAK SPACE}", " ")


def _count(number: int, noun: str, nouns: str = "") -> str:
    return f"{number} {noun if number == 1 else nouns or noun + 's'}"


def _plain(text: str) -> str:
    """Return text without control characters: a name in a file must not steer the terminal."""
    return "".join(c if c.isprintable() or c == "\N{NO-BREAK SPACE}" else "?" for c in text)


def _say(line: str) -> None:
    print(line, flush=True)
