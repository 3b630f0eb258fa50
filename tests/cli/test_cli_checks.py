"""``gradcheck`` and ``doctor``, and the front door itself."""

import json
import re
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest

import tinygrad_batch
from tinygrad_batch.op import TABLE, op

ROOT = Path(__file__).parents[2]


def test_every_operation_of_the_table_is_right(run):
    done = run("gradcheck")
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[0].split() == ["operation", "cases", "1st", "order", "2nd", "order"]
    assert [line.split()[0] for line in lines[1:-2]] == list(TABLE)
    assert lines[-1] == f"{len(TABLE)} of {len(TABLE)} operations agree with finite differences"
    assert max(map(len, lines)) < 80
    assert "WRONG" not in done.out


@pytest.fixture
def wrong(monkeypatch):
    """A table of three operations, one of them with a wrong rule."""
    op("wrong_cube", lambda x: x**3, doc="x cubed", dx=lambda g, x: 2 * x**2 * g)
    few = {name: TABLE[name] for name in ("tanh", "wrong_cube", "matmul")}
    monkeypatch.setattr("tinygrad_batch.checks.TABLE", few)
    yield "wrong_cube"
    del TABLE["wrong_cube"]


def test_a_wrong_rule_is_found(run, wrong):
    done = run("gradcheck")
    assert (done.code, done.err) == (1, "")
    rows = {line.split()[0]: line for line in done.out.splitlines()[1:4]}
    assert rows[wrong].endswith("WRONG")
    assert not rows["tanh"].endswith("WRONG")
    assert "2 of 3 operations agree" in done.out
    assert f"{wrong}, case 0:" in done.out
    assert "the backward pass gives" in done.out
    assert max(map(len, done.out.splitlines())) < 80


def test_gradcheck_as_a_document(run, wrong):
    done = run("gradcheck", "--json")
    assert (done.code, done.err) == (1, "")
    reports = {report["name"]: report for report in json.loads(done.out)}
    assert {name: report["ok"] for name, report in reports.items()} == {"tanh": True, wrong: False, "matmul": True}
    assert reports[wrong]["first"] > 0.1
    assert reports["tanh"]["first"] < 1e-8
    assert reports["tanh"]["cases"] == 4
    assert "finite differences" in reports[wrong]["problem"]


def test_doctor(run):
    done = run("doctor")
    assert (done.code, done.err) == (0, "")
    assert re.search(rf"^tinygrad_batch +{re.escape(tinygrad_batch.__version__)}$", done.out, re.MULTILINE)
    for name in ("python", "platform", "numpy", "graphviz", "safetensors", "tqdm", "dot", "pygraphviz", "builtin"):
        assert name in done.out


def test_doctor_as_a_document(run):
    document = json.loads(run("doctor", "--json").out)
    assert document["versions"]["tinygrad_batch"] == tinygrad_batch.__version__
    assert [engine["name"] for engine in document["engines"]] == ["dot", "pygraphviz", "builtin"]
    assert document["engines"][-1]["available"] is True


def test_doctor_lists_the_extras_that_the_package_declares(run):
    listed = json.loads(run("doctor", "--json").out)["extras"]
    if not listed:
        pytest.skip("the package is not installed")
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert "pygraphviz" in listed["dot"]
    assert {"pytest", "hypothesis"} <= set(listed["test"])
    assert all(version is None or version[0].isdigit() for packages in listed.values() for version in packages.values())
    assert set(listed) <= set(declared)  # an installation made before the last extra was declared lacks it


def test_doctor_without_engines(command):
    done = command("doctor", env={"PATH": ""})
    assert (done.code, done.err) == (0, "")
    assert "dot: not found" in done.out


def test_version_and_help(run):
    assert run("--version") == (0, f"tinygrad-batch {tinygrad_batch.__version__}\n", "")
    for words in ((), ("demo",), ("draw",), ("gradcheck",), ("doctor",)):
        done = run(*words, "--help")
        assert (done.code, done.err) == (0, "")
        assert done.out.startswith("usage: tinygrad-batch")


def test_help_fits_a_terminal(run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    for words in ((), ("demo",), ("draw",)):
        assert max(map(len, run(*words, "--help").out.splitlines())) <= 80


def test_the_module_and_the_script_agree(command):
    script = Path(sysconfig.get_path("scripts")) / ("tinygrad-batch" + ".exe" * (sys.platform == "win32"))
    if not script.exists():
        pytest.skip("the package is not installed")
    for words in (["demo", "--epochs", "1"], ["demo", "--batch-size", "0"]):
        done = command(*words)
        again = subprocess.run([script, *words], capture_output=True, check=False, text=True, encoding="utf-8")
        assert (again.returncode, again.stdout, again.stderr) == done
