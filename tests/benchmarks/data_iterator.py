"""What a batch costs beside NumPy and PyTorch's DataLoader, an index of a huge order, and 10 GB of a mapped file."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from rounds import alternate

from tinygrad_batch import nn, optim
from tinygrad_batch.data import Blocks, DataIterator, Sequential, Shuffled
from tinygrad_batch.data.orders import PIECE, keyed

TITLE = "Data: a batch of 32 of 442 rows, an index of a keyed order, 10 GB of a mapped file"
ROWS, SIZE = 442, 32
BY_HAND, OURS, PYTORCH = "NumPy by hand", "ours", "PyTorch"
BATCH_TARGET, INDEX_TARGET, RESIDENT_TARGET = 10.0, 1000.0, 300.0  # µs, ns, MB
GIGABYTES, FEATURES = 10, 1000
ORDERS = {"in order": Sequential(), "shuffled": Shuffled(), "blocks": Blocks(block_rows=256, window=32)}


def measure(rounds: int) -> dict[str, Any]:
    """Return microseconds a batch, nanoseconds an index, and the most memory of a process."""
    epochs, missing = _epochs()
    times = alternate(epochs, rounds)
    batches = -(-ROWS // SIZE)
    indices = alternate({str(rows): lambda rows=rows: _piece(rows) for rows in (10**12, 2**40 + 1)}, rounds)
    return {
        "batch µs": {name: 1e6 * times.median(name) / batches for name in epochs},
        "index ns": {rows: 1e9 * indices.median(rows) / PIECE for rows in indices.seconds},
        "mapped": _mapped(),
        "not installed": missing,
    }


def lines(figures: dict[str, Any]) -> list[str]:
    """Return the figures as a table."""
    hand = figures["batch µs"][BY_HAND]
    table = [f"{name:<44}{us:>8.1f} µs a batch{us / hand:>8.2f} of by hand" for name, us in figures["batch µs"].items()]
    table += [f"{name}: not installed" for name in figures["not installed"]]
    for rows, ns in figures["index ns"].items():
        table.append(f"{f'an index of {int(rows):,} rows, keyed':<44}{ns:>8.0f} ns")
    for name, found in figures["mapped"].items():
        what = f"{GIGABYTES} GB trained through, {name}"
        table.append(f"{what:<44}{found['MB']:>8.0f} MB resident at most, {found['seconds']:.0f} s")
    targets = f"{BATCH_TARGET:.0f} µs a batch, {INDEX_TARGET:.0f} ns an index, {RESIDENT_TARGET:.0f} MB"
    return [*table, f"targets of ours, at most: {targets}"]


def _epochs() -> tuple[dict[str, Callable[[], object]], list[str]]:
    """Return epochs that go through all rows, and who is not installed."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((ROWS, 10)), rng.standard_normal((ROWS, 1))

    def by_hand() -> None:
        order = rng.permutation(ROWS)
        for start in range(0, ROWS, SIZE):
            rows = order[start : start + SIZE]
            _ = x[rows], y[rows]

    epochs: dict[str, Callable[[], object]] = {BY_HAND: by_hand}
    for name, options in {
        f"{OURS}, shuffled": {"shuffle": True},
        f"{OURS}, in order": {},
        f"{OURS}, shuffled, a thread ahead": {"shuffle": True, "prefetch": 4},
    }.items():
        epochs[name] = _through(DataIterator(x, y, batch_size=SIZE, **options))
    try:
        import torch
        from torch.utils.data import DataLoader, TensorDataset
    except ImportError:
        return epochs, [PYTORCH]
    torch.set_num_threads(1)
    dataset = TensorDataset(torch.from_numpy(x), torch.from_numpy(y))
    epochs[f"{PYTORCH}, DataLoader, shuffled"] = _through(DataLoader(dataset, batch_size=SIZE, shuffle=True))
    return epochs, []


def _through(batches: Iterable[Any]) -> Callable[[], object]:
    def epoch() -> None:
        for _ in batches:
            pass

    return epoch


def _piece(rows: int) -> None:
    keyed(np.arange(PIECE) + 10**11, rows, seed=0, epoch=0)


def _mapped() -> dict[str, Any]:
    """Return megabytes and seconds of an epoch on a file with a hole in it, in a fresh process for each order."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.npy"
        rows = GIGABYTES * 10**9 // (4 * FEATURES)
        np.lib.format.open_memmap(path, "w+", np.float32, (rows, FEATURES))
        command = [sys.executable, __file__, str(path)]
        found = {name: subprocess.run([*command, name], capture_output=True, check=True, text=True) for name in ORDERS}
    return {name: json.loads(done.stdout) for name, done in found.items()}


def _train(path: str, order: str) -> dict[str, float]:
    """Train a linear model through all rows; return what the process had in memory at most."""
    start = perf_counter()
    rows = np.load(path, mmap_mode="r").shape[0]
    model = nn.Linear(FEATURES, 1)
    optimizer = optim.SGD(model.parameters(), lr=0.01)
    loss_fn = nn.MSELoss()
    for xb, yb in DataIterator(path, np.zeros((rows, 1), np.float32), batch_size=256, sampler=ORDERS[order]):
        optimizer.zero_grad()
        loss_fn(model(xb), yb).backward()
        optimizer.step()
    return {"MB": _peak() / 1e6, "seconds": perf_counter() - start}


def _peak() -> int:
    """Return the most bytes this process had in memory; on Linux without those of the process it came from."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))


if __name__ == "__main__":
    print(json.dumps(_train(*sys.argv[1:])))
