"""Run the benchmarks: ``python tests/benchmarks/run.py [names] [--rounds N] [--json FILE] [--publish FILE]``."""

from __future__ import annotations

import argparse
import gc
import importlib
import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

NAMES = (
    *("training_step", "memory_per_row", "graph_nodes", "import_time", "drawing", "data_iterator", "replay"),
    "batch_size",
)
PAGES = ("replay", "batch_size")
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Measure tinygrad_batch, on one thread.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of: {' '.join(NAMES)} (all of them)")
    parser.add_argument("--rounds", type=int, default=21, help="how often each takes its turn (%(default)s)")
    parser.add_argument("--json", metavar="FILE", help="write the figures to a file, too")
    parser.add_argument(
        "--publish", metavar="FILE", help="write the figures of `replay` or `batch_size` into their page"
    )
    parser.add_argument(
        "--figures", metavar="FILE", help="take the figures from where --json wrote them; measure nothing"
    )
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in NAMES]
    if unknown or options.rounds < 1:
        parser.error(f"no benchmark is called {unknown[0]!r}" if unknown else "there is 1 round or more")
    published = [name for name in options.names or NAMES if name in PAGES]
    if options.publish and len(published) != 1:
        parser.error(f"a page is that of one benchmark: name one of {' '.join(PAGES)}")
    if any(os.environ.get(name) != value for name, value in ONE_THREAD.items()):
        # NumPy's libraries read these when they are loaded: begin again with them set.
        return subprocess.call([sys.executable, *sys.argv], env={**os.environ, **ONE_THREAD})

    if options.figures:
        document = json.loads(Path(options.figures).read_text(encoding="utf-8"))
    else:
        document = _measured(options.names or NAMES, options.rounds)
    if options.json:
        Path(options.json).write_text(json.dumps(document, indent=2, ensure_ascii=False), encoding="utf-8")
    if options.publish:
        importlib.import_module(published[0]).publish(document, Path(options.publish))
    return 0


def _measured(names: Sequence[str], rounds: int) -> dict[str, Any]:
    """Measure, print, and return the figures."""
    document: dict[str, Any] = {"machine": _machine(), "rounds": rounds, "figures": {}}
    print(", ".join(f"{name} {value}" for name, value in document["machine"].items()))
    for name in names:
        benchmark = importlib.import_module(name)
        print(f"\n{benchmark.TITLE}", flush=True)
        gc.collect()
        gc.freeze()  # what earlier benchmarks loaded, PyTorch above all, is not searched again and again
        figures = document["figures"][name] = benchmark.measure(rounds)
        for line in benchmark.lines(figures):
            print(f"  {line}", flush=True)
    return document


def _machine() -> dict[str, str]:
    import numpy as np

    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return {
        "Python": platform.python_version(),
        "NumPy": np.__version__,
        str(blas.get("name", "BLAS")): str(blas.get("version", "unknown")),
        "processor": _processor(),
        "on": f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors, one thread used",
    }


def _processor() -> str:
    """Return the name of the processor, as far as it can be found out."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or "unknown")


if __name__ == "__main__":
    sys.exit(main())
