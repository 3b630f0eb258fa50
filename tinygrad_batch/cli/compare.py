"""``compare``: what the batch size does, measured, as a table, as JSON and as a page."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from pathlib import Path

from ..problem import load_problem
from .arguments import add_data, batch_sizes, check_file, check_folder, memory, parts
from .lines import OK, entry, plain, say_line


def add_compare(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``compare``."""
    add_data(parser, "diabetes, digits, synthetic, or a .csv or .npz file (%(default)s)")
    parser.add_argument(
        "--batch-sizes", type=batch_sizes, default=(1, 10, 32, None), metavar="N,N,...",
        help="to compare; full is all rows (1,10,32,full)",
    )  # fmt: skip
    parser.add_argument("--parts", type=parts, default=None, metavar="PART,...", help="measure only some (all of them)")
    parser.add_argument("--memory", type=memory, default="512 MiB", help="for the largest batch (%(default)s)")
    parser.add_argument("--thorough", action="store_true", help="more seeds, rates and starts: minutes, not seconds")
    parser.add_argument(
        "-o", "--output", default="batch_sizes.html", metavar="FILE", help="ends in .html or .json (%(default)s)"
    )
    parser.add_argument("--pictures", type=Path, metavar="FOLDER", help="write each picture as an SVG of its own, too")


def compare(options: argparse.Namespace) -> int:
    """Measure, print the table and the advice, and write the report."""
    from ..batchlab import comparison  # the laboratory is not needed for anything else
    from ..batchlab.report.charts.plot import available

    path = Path(options.output)
    check_file(path)
    comparison.check_ending(path)
    if options.pictures is not None:
        check_folder(options.pictures if options.pictures.exists() else options.pictures.parent)
    problem = load_problem(
        options.data, options.target, options.features,
        layers=options.layers, activation=options.activation, seed=options.seed,
    )  # fmt: skip
    chosen = [part for part in comparison.PARTS if options.parts is None or part in options.parts]

    def say(part: str) -> None:
        if not options.json:
            print(f"measuring {part} ({chosen.index(part) + 1} of {len(chosen)})", file=sys.stderr, flush=True)

    found = comparison.compare(
        problem, options.batch_sizes, parts=chosen, thorough=options.thorough, memory=options.memory, say=say
    )
    files = [found.save(path)]
    if options.pictures is not None:
        files += found.save_pictures(options.pictures)
    if options.json:
        print(json.dumps({**found.to_dict(), "files": [str(file) for file in files]}, ensure_ascii=False))
        return OK
    for line in str(found).splitlines():
        say_line(plain(line))
    verdicts = Counter(claim.verdict for claim in found.claims)
    say_line("")
    say_line(entry("claims", ", ".join(f"{number} {verdict}" for verdict, number in verdicts.items())))
    say_line(entry("report", str(path)))
    if files[1:]:
        say_line(entry("pictures", f"{len(files) - 1} in {options.pictures}"))
    if path.suffix == ".html" and not available():
        say_line(entry("charts", 'left out; to have them: pip install "tinygrad-batch[plot]"'))
    return OK
