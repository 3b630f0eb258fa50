"""``gradcheck`` and ``doctor``: whether everything is right, and what is there."""

from __future__ import annotations

import argparse
import json
import platform
import re
import textwrap
from importlib import metadata
from typing import TYPE_CHECKING

from .. import __version__
from .lines import FAILED, OK, WIDTH, entry

if TYPE_CHECKING:
    from ..checks import OpReport


def gradcheck(options: argparse.Namespace) -> int:
    """Check every operation of the table, and print a row for each."""
    from ..checks import check_table

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


def doctor(options: argparse.Namespace) -> int:
    """Print versions, engines and extras."""
    from ..draw import engines

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
        print(entry(f"  [{extra}]", packages, 12))
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
