"""Two ways to run the command line: inside this process, and as a user does."""

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from tinygrad_batch import cli


class Done(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty current folder for every test."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(capsys):
    """Call `main` with words, and return its exit code and what it printed."""

    def call(*words: object) -> Done:
        capsys.readouterr()
        code = cli.main([str(word) for word in words])
        return Done(code, *capsys.readouterr())

    return call


@pytest.fixture
def fails(run):
    """Call `main`, which must say in one line what is wrong, and return that line."""

    def call(*words: object, code: int = 2) -> str:
        done = run(*words)
        assert done.code == code
        assert done.err.count("\n") == 1
        assert done.err.startswith("tinygrad-batch")
        assert "Traceback" not in done.err
        return done.err

    return call


@pytest.fixture
def command():
    """Run ``python -m tinygrad_batch`` with words in a process of its own."""

    def call(*words: object, python: tuple[str, ...] = ("-m", "tinygrad_batch"), **options: object) -> Done:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8"}
        environment |= options.pop("env", {})
        words = [sys.executable, *python, *map(str, words)]
        done = subprocess.run(words, env=environment, capture_output=True, check=False, **options)
        return Done(done.returncode, done.stdout.decode(), done.stderr.decode())

    return call


@pytest.fixture
def people(folder) -> Path:
    """A table of 40 rows: a column of names, three features, and a sum of them."""
    rng = np.random.default_rng(0)
    lines = ["who,age,bmi,2020,score"]
    for row in range(40):
        age, bmi, year = rng.normal(size=3)
        lines.append(f"no {row},{age},{bmi},{year},{age - 2 * bmi}")
    path = folder / "people.csv"
    path.write_text("\n".join(lines))
    return path


@pytest.fixture
def table(folder, people) -> Path:
    """The same without the column of names."""
    path = folder / "table.csv"
    path.write_text("\n".join(line.split(",", 1)[1] for line in people.read_text().splitlines()))
    return path


@pytest.fixture
def archive(folder):
    """Write an .npz file with 40 rows of two features, or what is given instead."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 2))

    def write(name: str = "data.npz", **arrays: np.ndarray) -> Path:
        np.savez(folder / name, **{"x": x, "y": x @ [1.0, -2.0], **arrays})
        return folder / name

    return write
