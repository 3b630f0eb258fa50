"""``compare``: a table, one recommended batch size, and a report, for bundled data and for a file."""

import builtins
import json
import os
import re

import numpy as np
import pytest

QUICK = ("--parts", "memory,noise")


def test_the_table_and_the_page(run, folder):
    done = run("compare", *QUICK, "--batch-sizes", "1,10,32,full")
    assert done.code == 0
    lines = done.out.splitlines()
    assert lines[0].startswith("diabetes: 353 rows to train on, 89 held out; Linear(10 → 15) → Tanh")
    head = next(i for i, line in enumerate(lines) if "batch size" in line)
    assert [line.split()[0] for line in lines[head + 1 : head + 5]] == ["1", "10", "32", "353"]
    assert re.search(r"\b208 B +2[67]\d%", lines[head + 1])
    assert "report     batch_sizes.html" in done.out
    assert done.err.splitlines() == ["measuring memory (1 of 2)", "measuring noise (2 of 2)"]
    page = (folder / "batch_sizes.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    assert "Does everything fit?" in page
    assert "Who gets stuck" not in page
    assert os.listdir() == ["batch_sizes.html"]


def test_parts_in_any_order_are_measured_in_theirs(run):
    done = run("compare", "--parts", "noise,memory", "--batch-sizes", "8")
    assert done.err.splitlines() == ["measuring memory (1 of 2)", "measuring noise (2 of 2)"]


def test_json_on_the_terminal_and_in_a_file(run, folder):
    done = run("compare", "--json", *QUICK, "--batch-sizes", "1,full", "-o", "found.json")
    said, written = json.loads(done.out), json.loads((folder / "found.json").read_text(encoding="utf-8"))
    assert said.pop("files") == ["found.json"]
    seconds = said.pop("seconds")
    assert set(seconds) == set(written.pop("seconds")) == {"memory", "noise"}
    assert said == written
    assert said["schema"] == 1
    assert said["batch_sizes"] == [1, 353]
    assert said["memory"]["price"]["kept"] == {"constant": 0.0, "per_row": 208.0}
    assert said["descent"] is None
    assert done.err == ""


def test_pictures_for_slides(run, folder):
    done = run("compare", "--parts", "memory", "--batch-sizes", "1,full", "--pictures", "slides")
    assert "pictures   2 in slides" in done.out
    assert sorted(os.listdir(folder / "slides")) == ["memory-bytes.svg", "memory-checkpoints.svg"]
    assert "nowhere" in run("compare", "--parts", "memory", "--pictures", "nowhere/slides").err


def test_a_file_of_ones_own(run, table):
    done = run("compare", *QUICK, "--batch-sizes", "4,full", "--data", table, "--target", "score", "-o", "mine.json")
    assert done.code == 0
    assert "table: 32 rows to train on, 8 held out" in done.out


def test_classes_of_a_file(run, archive):
    path = archive(y=np.arange(40) % 3)
    done = run("compare", "--parts", "memory", "--batch-sizes", "4,full", "--data", path, "-o", "classes.json")
    assert done.code == 0
    assert "Linear(2 → 32) → Tanh → Linear(32 → 3)" in done.out


def test_where_nothing_can_be_written_nothing_is_measured(fails, folder):
    (folder / "taken.html").mkdir()
    (folder / "file").write_text("")
    assert "'taken.html' is a folder, and not a name for a file" in fails("compare", *QUICK, "-o", "taken.html")
    assert "'file' is no folder to write to" in fails("compare", *QUICK, "--pictures", "file")
    assert sorted(path.name for path in folder.iterdir()) == ["file", "taken.html"]


def test_classes_are_numbered_from_0(fails, archive):
    said = fails("compare", *QUICK, "--data", archive(y=np.arange(40) % 3 - 1))
    assert "which are classes, and the least of them is -1. Number classes from 0" in said


def test_memory_is_a_number_of_bytes_too(run, folder):
    done = run("compare", "--parts", "memory", "--memory", "536870912", "-o", "found.json")
    assert done.code == 0
    assert json.loads((folder / "found.json").read_text("utf-8"))["memory"]["largest"]["memory"] == 512 * 2**20


def test_a_hostile_name_stays_text(run, folder, table):
    name = "<script>alert(1)</script>&\x1b[31m.csv"
    hostile = folder / name.replace("/", "∕")
    table.rename(hostile)
    done = run("compare", "--parts", "memory", "--batch-sizes", "4", "--data", hostile)
    assert done.code == 0
    assert "\x1b" not in done.out
    page = (folder / "batch_sizes.html").read_text(encoding="utf-8")
    assert "<script>alert" not in page
    assert "\x1b" not in page
    assert "&lt;script&gt;alert" in page


def test_without_matplotlib_the_page_still_reads(run, folder, monkeypatch):
    real = builtins.__import__

    def no_matplotlib(name, *rest, **more):
        if name.split(".")[0] == "matplotlib":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", no_matplotlib)
    done = run("compare", "--parts", "memory", "--batch-sizes", "1,full")
    assert done.code == 0
    assert 'pip install "tinygrad-batch[plot]"' in done.out
    page = (folder / "batch_sizes.html").read_text(encoding="utf-8")
    assert "Matplotlib is not installed" in page
    assert "208 B" in page


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--batch-sizes", "1,zero"), "'zero' is no number of rows; expected a whole number, 1 or more, or 'full'"),
        (("--batch-sizes", ""), "'' is no number of rows"),
        (("--batch-sizes", "0"), "'0' is no number of rows"),
        (("--parts", "memory,speed"), "'speed' is no part; there are memory, noise, descent"),
        (("--parts", "generalisation"), "generalisation needs the rates that descent finds. Ask for descent, too"),
        (("--memory", "lots"), "memory is 'lots'. Write it as '512 MiB', '2 GB' or a number of bytes"),
        (("-o", "report.pdf"), "'report.pdf' ends in '.pdf'; a report is saved as .html or .json"),
        (("-o", "nowhere/report.html"), "nowhere"),
        (("--data", "nosuch"), "there is no data set 'nosuch'"),
        (("--layers", "3,4,1"), "Begin with 10"),
    ],
)
def test_what_is_wrong_and_what_to_do(fails, words, said):
    assert said in fails("compare", *words)
    assert os.listdir() == []


def test_what_is_found_out_on_the_way_leaves_no_report(run):
    done = run("compare", "--memory", "100 B", "--parts", "memory")
    assert done.code == 2
    assert done.err.splitlines()[-1].startswith("tinygrad-batch: not even one row fits into 100 B: a step takes")
    assert os.listdir() == []
