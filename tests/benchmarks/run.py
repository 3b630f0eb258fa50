"""Run the benchmarks: ``python tests/benchmarks/run.py [names] [--rounds N] [--json FILE]``."""

from __future__ import annotations

import argparse
import gc
import importlib
import json
import os
import platform
import subprocess
import sys
from typing import Any

NAMES = ("training_step", "memory_per_row", "graph_nodes", "import_time", "drawing")
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Measure tinygrad_batch, on one thread.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of: {' '.join(NAMES)} (all of them)")
    parser.add_argument("--rounds", type=int, default=21, help="how often each takes its turn (%(default)s)")
    parser.add_argument("--json", metavar="FILE", help="write the figures to a file, too")
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in NAMES]
    if unknown or options.rounds < 1:
        parser.error(f"no benchmark is called {unknown[0]!r}" if unknown else "there is 1 round or more")
    if any(os.environ.get(name) != value for name, value in ONE_THREAD.items()):
        # NumPy's libraries read these when they are loaded: begin again with them set.
        return subprocess.call([sys.executable, *sys.argv], env={**os.environ, **ONE_THREAD})

    document: dict[str, Any] = {"machine": _machine(), "rounds": options.rounds, "figures": {}}
    print(", ".join(f"{name} {value}" for name, value in document["machine"].items()))
    for name in options.names or NAMES:
        benchmark = importlib.import_module(name)
        print(f"\n{benchmark.TITLE}", flush=True)
        gc.collect()
        gc.freeze()  # what earlier benchmarks loaded, PyTorch above all, is not searched again and again
        figures = document["figures"][name] = benchmark.measure(options.rounds)
        for line in benchmark.lines(figures):
            print(f"  {line}", flush=True)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(document, file, indent=2, ensure_ascii=False)
    return 0


def _machine() -> dict[str, str]:
    import numpy as np

    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return {
        "Python": platform.python_version(),
        "NumPy": np.__version__,
        str(blas.get("name", "BLAS")): str(blas.get("version", "unknown")),
        "on": f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors, one thread used",
    }


if __name__ == "__main__":
    sys.exit(main())
