"""The command line: ``tinygrad-batch demo | compare | draw | gradcheck | doctor``."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from .. import __version__
from ..errors import ArgumentError, DataError, DrawError, TinygradBatchError
from .arguments import add_training
from .checks import doctor, gradcheck
from .compare import add_compare, compare
from .demo import demo, draw
from .lines import BAD_INPUT, FAILED, OK, plain


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Say what is wrong in one line."""
        self.exit(BAD_INPUT, f"{self.prog}: {plain(message)} (see {self.prog} --help)\n")


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
            return failed(f"{error.filename!r}: {error.strerror}", BAD_INPUT)
        _drop_output()
        if isinstance(error, BrokenPipeError):  # the reader has gone, as head does; it wants no more
            return FAILED
        return failed(error.strerror or str(error))
    return code


def _run(arguments: Sequence[str] | None) -> int:
    options = _parser().parse_args(arguments)
    if not hasattr(options, "run"):
        _parser().print_help()
        return BAD_INPUT
    try:
        return int(options.run(options))
    except KeyboardInterrupt:
        return failed("stopped")
    except (TinygradBatchError, MemoryError) as error:
        if options.debug:
            raise
        notes = "".join(f" ({note})" for note in getattr(error, "__notes__", ()))
        memory = "not enough memory: " * isinstance(error, MemoryError)
        wrong = isinstance(error, (ArgumentError, DataError, DrawError))
        return failed(f"{memory}{error}{notes}", BAD_INPUT if wrong else FAILED)


def failed(message: str, code: int = FAILED) -> int:
    """Say in one line why, and return the exit code."""
    print(f"tinygrad-batch: {plain(' '.join(message.split()))}", file=sys.stderr)
    return code


def _drop_output() -> None:
    """Let the rest of the output go nowhere, so that Python does not try it again at its end."""
    with contextlib.suppress(OSError), open(os.devnull, "w") as nowhere:  # OSError: a stream without a file
        os.dup2(nowhere.fileno(), sys.stdout.fileno())


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

    sub = command("demo", demo, "train a small net on real data and draw one batch of it")
    add_training(sub)
    sub.add_argument("-o", "--output", default=".", metavar="FOLDER", help="where to write the pictures (%(default)s)")
    add_compare(command("compare", compare, "measure what the batch size does, and write a report"))
    sub = command("draw", draw, "draw the first batch, without training")
    add_training(sub)
    suffixes = "ends in .svg .html .png .pdf .dot or .txt (%(default)s)"
    sub.add_argument("-o", "--output", default="one_batch.svg", metavar="FILE", help=suffixes)
    depths, engines = ["auto", "ops", "modules"], ["auto", "dot", "pygraphviz", "builtin"]
    sub.add_argument("--depth", choices=depths, default="auto", help="one row an operation, or a layer (%(default)s)")
    sub.add_argument("--engine", choices=engines, default="auto", help="what lays it out (%(default)s)")
    command("gradcheck", gradcheck, "check every operation of the table against finite differences")
    command("doctor", doctor, "show versions, the Graphviz engines found, and the optional extras")
    return parser
