"""``draw``: one batch to a file of any kind, with and without a Graphviz engine."""

import json
import os
import shutil
import sys

import pytest

HEADS = {".svg": b"<svg", ".html": b"<!doctype html", ".dot": b"digraph", ".txt": b"One batch"}


@pytest.fixture
def no_engine(monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setitem(sys.modules, "pygraphviz", None)


def test_by_default_an_svg(run, folder):
    done = run("draw")
    assert done == (0, "one_batch.svg\n", "")
    assert (folder / "one_batch.svg").read_text().startswith("<svg")


@pytest.mark.parametrize("suffix", [*HEADS, ".SVG"])
def test_suffixes_that_need_no_engine(run, folder, no_engine, suffix):
    done = run("draw", "-o", f"picture{suffix}")
    assert done == (0, f"picture{suffix}\n", "")
    head = (folder / f"picture{suffix}").read_bytes()[:2000].lower()
    assert HEADS[suffix.lower()].lower() in head


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")
@pytest.mark.parametrize(("suffix", "head"), [(".png", b"\x89PNG"), (".pdf", b"%PDF")])
@pytest.mark.parametrize("engine", ["auto", "dot"])
def test_pictures_that_graphviz_paints(run, folder, suffix, head, engine):
    done = run("draw", "--engine", engine, "-o", f"picture{suffix}")
    assert done == (0, f"picture{suffix}\n", "")
    assert (folder / f"picture{suffix}").read_bytes().startswith(head)


@pytest.mark.parametrize("suffix", [".png", ".pdf"])
def test_without_an_engine_one_line_says_what_to_do(fails, no_engine, suffix):
    said = fails("draw", "-o", f"picture{suffix}")
    assert f"a {suffix} needs Graphviz" in said
    assert "pip install" in said
    assert ".svg" in said
    assert os.listdir() == []


@pytest.mark.parametrize(
    ("engine", "said"),
    [
        ("dot", "`dot` is not on the PATH"),
        ("pygraphviz", "pygraphviz is not installed"),
        ("builtin", "cannot write .png"),
    ],
)
def test_an_engine_that_is_not_there(fails, no_engine, engine, said):
    assert said in fails("draw", "--engine", engine, "-o", "picture.png")


@pytest.mark.skipif(os.name != "posix", reason="the program is a shell script")
def test_an_engine_that_fails(fails, folder, monkeypatch):
    programs = folder / "programs"
    programs.mkdir()
    dot = programs / "dot"
    dot.write_text("#!/bin/sh\necho it is broken >&2\necho in two lines >&2\nexit 3\n")
    dot.chmod(0o755)
    monkeypatch.setenv("PATH", str(programs))
    assert "dot failed: it is broken" in fails("draw", "-o", "picture.png")


def test_depth(run, folder):
    pictures = {}
    for depth in ("auto", "ops", "modules"):
        assert run("draw", "--depth", depth, "-o", "picture.txt").code == 0
        pictures[depth] = (folder / "picture.txt").read_text()
    assert pictures["auto"] == pictures["ops"]
    assert len(pictures["modules"].splitlines()) < len(pictures["ops"].splitlines())


def test_the_training_options(run, folder):
    run("draw", "--batch-size", 7, "--layers", "10,3,1", "--activation", "relu", "--lr", 0.5, "-o", "picture.txt")
    drawn = (folder / "picture.txt").read_text()
    assert "7 rows, 10 → 3 → 1" in drawn
    assert "relu" in drawn
    assert "0.5 dW1" in drawn


def test_a_file_of_your_own(run, table, archive):
    assert run("draw", "--data", table, "--target", "age", "-o", "a.svg").code == 0
    assert run("draw", "--data", archive(), "-o", "b.svg").code == 0


def test_json(run):
    document = json.loads(run("draw", "--json", "-o", "picture.svg").out)
    assert document == {"file": "picture.svg", "rows": 20, "steps": 23}
    assert json.loads(run("draw", "--json", "--batch-size", "full").out)["rows"] == 354


def test_a_picture_is_replaced(run, folder):
    (folder / "one_batch.svg").write_text("old")
    assert run("draw").code == 0
    assert (folder / "one_batch.svg").read_text().startswith("<svg")
    assert os.listdir() == ["one_batch.svg"]


def test_the_same_seed_gives_the_same_picture(run, folder):
    def drawn(seed):
        run("draw", "--seed", seed)
        return (folder / "one_batch.svg").read_bytes()

    first, again, other = drawn(3), drawn(3), drawn(4)
    assert first == again
    assert first != other
