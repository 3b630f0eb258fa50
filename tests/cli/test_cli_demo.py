"""``demo``: trains on real data, tells what an epoch was, writes the picture and the page."""

import hashlib
import json
import os
import re

import numpy as np
import pytest


def losses(out):
    """The epochs of the table that was printed: number, loss in training, loss held out."""
    rows = re.findall(r"^ *(\d+) +(\d+\.\d{4}) +(\d+\.\d{4})$", out, re.MULTILINE)
    return [(int(epoch), float(train), float(held_out)) for epoch, train, held_out in rows]


def test_by_default_it_learns_from_442_patients(run, folder):
    done = run("demo")
    assert (done.code, done.err) == (0, "")
    epochs = losses(done.out)
    assert [number for number, _, _ in epochs] == list(range(1, 31))
    assert epochs[-1][1] < 0.5 < 0.8 < epochs[0][1]  # guessing the mean would be 1
    assert epochs[-1][2] < 0.6
    for told in (
        "diabetes: 442 rows, 10 features, target progression",
        "B. Efron",
        "354 rows to train on, 88 held out",
        "Linear(10 → 15) → Tanh → Linear(15 → 10) → Tanh → Linear(10 → 1)",
        "336 parameters",
        "354 rows in 18 batches of 20: 18 updates",
        "18 of 20 rows, the last of 14",
        "540 over 30 epochs",
        "kept for the backward pass of 20 rows (x, h1, h2, e)",
        "288 bytes a row, so 102 kB for all 354 rows",
    ):
        assert told in done.out
    assert done.out.splitlines()[-2:] == ["one_batch.svg", "one_batch.html"]
    assert (folder / "one_batch.svg").read_text().startswith("<svg")
    assert "<html" in (folder / "one_batch.html").read_text()[:200]
    assert sorted(os.listdir()) == ["one_batch.html", "one_batch.svg"]  # and nothing half written is left


def test_every_line_fits_a_terminal(run):
    for widths in ("10,15,10,1", "10,9,8,7,6,5,4,3,2,1"):
        done = run("demo", "--epochs", 1, "--layers", widths)
        assert max(map(len, done.out.splitlines())) < 80
        assert not re.search(r"Linear\([\d →]*$", done.out, re.MULTILINE)  # no layer is broken over two lines


def test_a_long_run_prints_some_of_its_epochs(run):
    numbers = [number for number, _, _ in losses(run("demo", "--epochs", 60, "--batch-size", "full").out)]
    assert numbers[0] == 1
    assert numbers[-1] == 60
    assert len(numbers) == 11


def test_the_output_folder(run, folder):
    (folder / "here").mkdir()
    done = run("demo", "--epochs", 1, "-o", folder / "here")
    assert [line for line in done.out.splitlines() if line.startswith(str(folder))] == done.out.splitlines()[-2:]
    assert sorted(os.listdir("here")) == ["one_batch.html", "one_batch.svg"]


def test_synthetic_data(run):
    done = run("demo", "--data", "synthetic", "--epochs", 40, "--lr", 0.05)
    epochs = losses(done.out)
    assert epochs[-1][1] < epochs[0][1] / 2
    assert "synthetic" in done.out or "regression" in done.out
    assert run("demo", "--data", "synthetic", "--epochs", 1, "--seed", 1).out != done.out


def test_a_table_of_your_own(run, table):
    done = run("demo", "--data", table, "--epochs", 30, "--lr", 0.1)
    assert "table: 40 rows, 3 features, target score" in done.out
    epochs = losses(done.out)
    assert epochs[-1][1] < epochs[0][1] / 2


@pytest.mark.parametrize(("target", "name"), [("bmi", "bmi"), ("1", "bmi"), ("-1", "score"), ("2020", "2020")])
def test_the_target_by_name_or_position(run, table, target, name):
    assert f"target {name}\n" in run("demo", "--data", table, "--target", target, "--epochs", 1).out


def test_columns_that_are_no_numbers_can_be_left_out(run, fails, people):
    assert "line 2, column 'who': 'no 0' is not a number" in fails("demo", "--data", people)
    done = run("demo", "--data", people, "--features", "age, bmi", "--epochs", 1)
    assert "people: 40 rows, 2 features, target score" in done.out


def test_an_archive_of_your_own(run, archive):
    done = run("demo", "--data", archive(), "--epochs", 30, "--lr", 0.1)
    assert "data: 40 rows, 2 features, target y" in done.out
    epochs = losses(done.out)
    assert epochs[-1][1] < epochs[0][1] / 2
    path = archive(a=np.ones((40, 3)), b=np.arange(40))
    assert "3 features, target b" in run("demo", "--data", path, "--features", "a", "--target", "b", "--epochs", 1).out


def test_several_targets(run, archive):
    path = archive(y=np.random.default_rng(1).normal(size=(40, 3)))
    assert "Linear(10 → 3)" in run("demo", "--data", path, "--epochs", 1).out


@pytest.mark.parametrize(("activation", "label"), [("tanh", "Tanh"), ("relu", "ReLU"), ("sigmoid", "Sigmoid")])
def test_activations(run, activation, label):
    done = run("demo", "--activation", activation, "--epochs", 2)
    assert f"→ {label} →" in done.out


def test_layers(run):
    done = run("demo", "--layers", "10,4,1", "--epochs", 1)
    assert "Linear(10 → 4) → Tanh → Linear(4 → 1), 49 parameters" in done.out
    assert "Linear(10 → 1), 11 parameters" in run("demo", "--layers", "10,1", "--epochs", 1).out


@pytest.mark.parametrize("size", ["full", "354", "100000"])
def test_one_batch_an_epoch(run, size):
    done = run("demo", "--batch-size", size, "--epochs", 1)
    assert "354 rows in 1 batch of 354: 1 update of the parameters" in done.out
    assert "1 of 354 rows\n" in done.out
    assert "1, one for each batch; 1 over 1 epoch\n" in done.out


def test_one_row_a_batch(run):
    done = run("demo", "--batch-size", 1, "--epochs", 1)
    assert "354 rows in 354 batches of 1: 354 updates" in done.out
    assert "354 of 1 row\n" in done.out
    assert "the backward pass of 1 row (" in done.out


def test_a_name_in_a_file_cannot_steer_the_terminal(run, folder):
    rows = "".join(f"{i},{i * i}\n" for i in range(10))
    (folder / "sly.csv").write_text("a,\x1b[31mred\x07\n" + rows)
    done = run("demo", "--data", "sly.csv", "--epochs", 1)
    assert done.code == 0
    assert "\x1b" not in done.out
    assert "\x07" not in done.out


def test_dark(run, folder):
    run("demo", "--epochs", 1)
    light = (folder / "one_batch.svg").read_bytes()
    run("demo", "--epochs", 1, "--theme", "dark")
    assert (folder / "one_batch.svg").read_bytes() != light


def test_chinese(run, folder):
    assert run("demo", "--epochs", 1, "--lang", "zh").code == 0
    assert '<html lang="zh">' in (folder / "one_batch.html").read_text(encoding="utf-8")
    assert "前向" in (folder / "one_batch.svg").read_text(encoding="utf-8")
    assert run("draw", "--lang", "zh", "-o", "picture.txt").code == 0
    assert "反向" in (folder / "picture.txt").read_text(encoding="utf-8")


def test_json_is_the_same_run_as_a_document(run, folder):
    told = losses(run("demo", "--epochs", 3).out)
    done = run("demo", "--epochs", 3, "--json")
    assert (done.code, done.err) == (0, "")
    document = json.loads(done.out)
    assert document["data"] == {
        "name": "diabetes",
        "rows": 442,
        "features": 10,
        "target": "progression",
        "citation": document["data"]["citation"],
    }
    assert document["model"] == ["Linear(10 → 15)", "Tanh", "Linear(15 → 10)", "Tanh", "Linear(10 → 1)"]
    assert document["parameters"] == 336
    assert document["training"] == {"epochs": 3, "updates": 54, "lr": 0.02, "seed": 0}
    assert document["epoch"] == {
        "rows": 354,
        "held_out_rows": 88,
        "batches": 18,
        "batch_rows": 20,
        "last_batch_rows": 14,
        "updates": 18,
    }
    assert document["memory"]["kept"] == ["x", "h1", "h2", "e"]
    assert document["memory"]["bytes"] == 20 * document["memory"]["bytes_per_row"] == 5760
    printed = [
        (round(a, 4), round(b, 4)) for a, b in zip(document["train_loss"], document["held_out_loss"], strict=True)
    ]
    assert printed == [(train, held_out) for _, train, held_out in told]
    assert document["files"] == ["one_batch.svg", "one_batch.html"]
    assert all((folder / name).is_file() for name in document["files"])


def test_the_same_seed_gives_the_same_bytes(command, folder):
    seen = []
    for number, hash_seed in enumerate(("0", "1")):
        here = folder / str(number)
        here.mkdir()
        done = command("demo", "--epochs", 3, "--seed", 7, cwd=here, env={"PYTHONHASHSEED": hash_seed})
        files = [(here / name).read_bytes() for name in ("one_batch.svg", "one_batch.html")]
        seen.append([done.out, *(hashlib.sha256(file).hexdigest() for file in files)])
    assert seen[0] == seen[1]
    other = command("demo", "--epochs", 3, "--seed", 8, cwd=here)
    assert other.out != seen[0][0]


def test_no_graphviz_is_needed(command, folder):
    done = command("demo", "--epochs", 1, env={"PATH": ""})
    assert (done.code, done.err) == (0, "")
    assert (folder / "one_batch.svg").is_file()
