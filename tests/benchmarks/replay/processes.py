"""Each work is measured in a fresh process, by one thread: what one imports or keeps cannot slow another."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1]
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NPROC": "1",  # the size of XLA's thread pool
    "TORCHINDUCTOR_COMPILE_THREADS": "1",  # more would be processes, that stay
}


def run(file: str, *arguments: object, **environment: str) -> Any:
    """Return what ``python -m replay.FILE`` printed last, as JSON."""
    done = subprocess.run(
        [sys.executable, "-m", f"replay.{file}", *map(str, arguments)],
        cwd=FOLDER, env={**os.environ, **ONE_THREAD, **environment}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        last = "\n".join(done.stderr.splitlines()[-8:])
        raise RuntimeError(f"replay.{file} {arguments} ended with {done.returncode}:\n{last}")
    return json.loads(done.stdout.splitlines()[-1])
