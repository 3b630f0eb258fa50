"""Words of the command line, read and checked."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

from ..demo import Options
from ..errors import ArgumentError
from ..problem import ACTIVATIONS

MOST_WEIGHTS = 100_000_000  # some mistyped zeros should not fill the memory


def options_of(given: argparse.Namespace) -> Options:
    """Return what to train on what."""
    return Options(
        data=given.data, target=given.target, features=given.features, layers=given.layers,
        activation=given.activation, epochs=given.epochs, batch_size=given.batch_size, lr=given.lr, seed=given.seed,
    )  # fmt: skip


def whole(least: int, what: str) -> Callable[[str], int]:
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


def batch_size(text: str) -> int | None:
    """Read a number of rows, or ``full``."""
    if text == "full":
        return None
    try:
        return whole(1, "number of rows")(text)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{error}, or 'full'") from None


def learning_rate(text: str) -> float:
    """Read a learning rate."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no learning rate; expected a number, 0 or more")
    return value


def layers(text: str) -> tuple[int, ...]:
    """Read widths: ``10,15,10,1``."""
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


def names(text: str) -> tuple[str, ...]:
    """Read names between commas."""
    return tuple(name.strip() for name in text.split(","))


def batch_sizes(text: str) -> tuple[int | None, ...]:
    """Read batch sizes: ``1,10,32,full``."""
    return tuple(batch_size(part.strip()) for part in text.split(","))


def parts(text: str) -> tuple[str, ...]:
    """Read the names of parts of the comparison."""
    from ..batchlab.comparison import PARTS

    chosen = names(text)
    unknown = [part for part in chosen if part not in PARTS]
    if unknown:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is no part; there are {', '.join(PARTS)}")
    return chosen


def memory(text: str) -> str:
    """Read an amount of memory: ``512 MiB``."""
    from ..batchlab.memory import as_bytes

    try:
        as_bytes(text)
    except ArgumentError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def add_data(parser: argparse.ArgumentParser, data: str) -> None:
    """Add the options that choose data and net."""
    plain = Options()

    def option(name: str, kind: Callable[[str], Any], default: Any, metavar: str, help: str) -> None:
        parser.add_argument(name, type=kind, default=default, metavar=metavar, help=help)

    option("--data", str, plain.data, "DATA", data)
    option("--target", str, None, "NAME", "column or array of a file to predict (the last column; y)")
    option("--features", names, None, "NAME,...", "columns or array to predict it from (all the others; x)")
    option("--layers", layers, None, "N,N,...", "widths (features,15,10,targets)")
    parser.add_argument("--activation", choices=list(ACTIVATIONS), default=plain.activation, help="(%(default)s)")
    option("--seed", whole(0, "seed"), plain.seed, "N", "for split, weights and order (%(default)s)")


def add_training(parser: argparse.ArgumentParser) -> None:
    """Add the options of a training, and of the picture of it."""
    add_data(parser, "diabetes, synthetic, or a .csv or .npz file (%(default)s)")
    plain = Options()

    def option(name: str, kind: Callable[[str], Any], default: Any, metavar: str, help: str) -> None:
        parser.add_argument(name, type=kind, default=default, metavar=metavar, help=help)

    option("--epochs", whole(1, "number of epochs"), plain.epochs, "N", "passes over the data (%(default)s)")
    option("--batch-size", batch_size, plain.batch_size, "N|full", "rows of a batch (%(default)s)")
    option("--lr", learning_rate, plain.lr, "RATE", "learning rate (%(default)s)")
    parser.add_argument("--theme", choices=["light", "dark"], default="light", help="colours (%(default)s)")
    parser.add_argument("--lang", choices=["en", "zh"], default="en", help="language of the picture (%(default)s)")


def check_file(path: Path) -> None:
    """Raise, before anything is measured, if no file of this name can be written."""
    check_folder(path.parent)
    if path.is_dir():
        raise ArgumentError(f"{str(path)!r} is a folder, and not a name for a file", "Give another name")


def check_folder(folder: Path) -> None:
    """Raise, before anything is trained, if no file can be written to the folder."""
    import tempfile

    if not folder.is_dir():
        raise ArgumentError(f"{str(folder)!r} is no folder to write to", "Make it first")
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        reason = error.strerror or str(error)
        raise ArgumentError(f"nothing can be written to the folder {str(folder)!r}: {reason}") from error
