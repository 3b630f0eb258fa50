"""Each kind of bad input: one line that says what is wrong and what to do, and exit code 2."""

import os
import sys

import numpy as np
import pytest

from tinygrad_batch import cli
from tinygrad_batch.demo import Run
from tinygrad_batch.errors import DataError, DrawError

COMMANDS = ("demo", "draw")


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--data", "nosuch"), "there is no data set 'nosuch'. Take diabetes, digits, synthetic"),
        (("--data", ""), "there is no data set ''"),
        (("--data", "."), "there is no data set '.'"),
        (("--data", "missing.csv"), "'missing.csv' cannot be read: No such file or directory"),
        (("--data", "missing.npz"), "'missing.npz' cannot be read"),
        (("--data", "people.xlsx"), "ends in '.xlsx'; .csv, .tsv, .txt and .npz can be read"),
        (("--data", "two\nlines.csv"), "lines.csv' cannot be read"),
        (("--target", "bmi"), "target can be chosen of a file, not of diabetes. Leave --target away"),
        (("--data", "synthetic", "--features", "a,b"), "Leave --features away"),
        (("--layers", "3,4,1"), "layers 3,4,1 do not fit diabetes: it has 10 features and 1 target. Begin with 10"),
        (("--layers", "10,4,2"), "end with 1"),
        (("--layers", "10"), "'10' is no list of widths such as 10,15,10,1"),
        (("--layers", "10,x,1"), "'10,x,1' is no list of widths"),
        (("--layers", "10,0,1"), "'10,0,1' is no list of widths"),
        (("--layers", "10,-5,1"), "'10,-5,1' is no list of widths"),
        (("--layers", "10,99999999999,1"), "has 1,099,999,999,989 weights; at most"),
        (
            ("--batch-size", "0"),
            "--batch-size: '0' is no number of rows; expected a whole number, 1 or more, or 'full'",
        ),
        (("--batch-size", "-3"), "'-3' is no number of rows"),
        (("--batch-size", "abc"), "'abc' is no number of rows"),
        (("--batch-size", "2.5"), "'2.5' is no number of rows"),
        (("--epochs", "0"), "--epochs: '0' is no number of epochs; expected a whole number, 1 or more"),
        (("--epochs", "ten"), "'ten' is no number of epochs"),
        (("--lr", "-0.1"), "--lr: '-0.1' is no learning rate; expected a number, 0 or more"),
        (("--lr", "nan"), "'nan' is no learning rate"),
        (("--lr", "inf"), "'inf' is no learning rate"),
        (("--lr", "fast"), "'fast' is no learning rate"),
        (("--seed", "-1"), "--seed: '-1' is no seed; expected a whole number, 0 or more"),
        (("--activation", "swish"), "'swish'"),
        (("--theme", "pink"), "'pink'"),
        (("--lang", "fr"), "'fr'"),
        (("--sed", "1"), "--sed"),
        (("stray",), "stray"),
    ],
)
def test_options(fails, command, words, said):
    assert said in fails(command, *words)
    assert os.listdir() == []


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("a,b\n1,2\n3,x\n", "line 3, column 'b': 'x' is not a number"),
        ("a,b\n1,2\n,4\n", "line 3, column 'a': the value is missing"),
        ("a,b\n1,2\n3\n", "line 3: 1 cells; the header has 2"),
        ("a,b\n1,inf\n", "line 2, column 'b': 'inf' is not a finite number"),
        ("1,2\n3,4\n", "begins with numbers"),
        ("", "is empty"),
        ("a,b\n", "a header and no rows"),
        ("a\n1\n2\n", "one column"),
        ("a,b\n1,2\n", "has 1 rows, too few to hold 20% of them out"),
        ("a,b\n1,2\n3,4\n", "too few"),
    ],
)
def test_tables(fails, folder, content, said):
    (folder / "bad.csv").write_text(content)
    assert said in fails("demo", "--data", "bad.csv")


def test_a_target_that_is_not_in_the_table(fails, table):
    assert "table.csv has no column 'height'. It has 'age', 'bmi'" in fails(
        "demo", "--data", table, "--target", "height"
    )
    assert "has no column 9" in fails("demo", "--data", table, "--target", 9)
    assert "has no column 'x'" in fails("demo", "--data", table, "--features", "age,x")


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"x": np.ones((40, 2, 3))}, "rows of shape (2, 3); rows of features are taken"),
        ({"x": np.ones((40, 2)) * 1j}, "the features have dtype complex128"),
        ({"y": np.ones(40) > 0}, "the target have dtype bool"),
        ({"y": np.ones(39)}, "39"),
        ({"x": np.full((40, 2), np.nan)}, "not finite"),
        ({"y": np.array([{}] * 40)}, "cannot be read"),
    ],
)
def test_archives(fails, archive, arrays, said):
    assert said in fails("demo", "--data", archive(**arrays))


def test_files_that_are_no_archives(fails, folder, archive):
    (folder / "text.npz").write_text("hello")
    assert "text.npz is no .npz archive" in fails("demo", "--data", "text.npz")
    np.save(folder / "one.npy", np.ones(3))
    (folder / "one.npy").rename(folder / "one.npz")
    assert "one.npz holds a single array" in fails("demo", "--data", "one.npz")
    assert "has no array 'z'. It has 'x', 'y'" in fails("demo", "--data", archive(), "--target", "z")


def test_a_folder_in_place_of_a_file(fails, folder):
    (folder / "folder.csv").mkdir()
    assert "'folder.csv' cannot be read" in fails("demo", "--data", "folder.csv")


@pytest.mark.parametrize("rate", ["1000", "1e200"])
def test_a_learning_rate_that_diverges(fails, rate):
    said = fails("demo", "--lr", rate)
    assert "epoch" in said
    assert "batch" in said
    assert "Take a smaller learning rate than" in said
    assert os.listdir() == []


def test_the_rows_held_out_can_diverge_first(fails, run):
    said = fails("demo", "--lr", "1e200", "--batch-size", "full", "--epochs", 1)
    assert "the loss of the rows held out became inf after epoch 1" in said
    assert fails("demo", "--lr", "1e200", "--batch-size", "full", "--epochs", 1, "--json") == said


def test_output_folders(fails, folder, monkeypatch):
    assert "'missing' is no folder to write to. Make it first" in fails("demo", "-o", "missing")
    (folder / "file").write_text("")
    assert "'file' is no folder" in fails("demo", "-o", "file")
    (folder / "file").unlink()

    def refuse(*arguments, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    monkeypatch.setattr(Run, "train", lambda run: pytest.fail("trained before it looked"))
    assert "nothing can be written to the folder '.': Permission denied" in fails("demo")


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("picture.xyz", "cannot save 'picture.xyz': the suffix '.xyz'. Use one of .svg .html .png .pdf .dot .txt"),
        ("picture", "cannot save 'picture': no suffix"),
        ("missing/picture.svg", "there is no directory 'missing'. Create it first"),
        ("n" * 300 + ".svg", "too long"),
    ],
)
def test_output_files(fails, path, said):
    assert said in fails("draw", "-o", path)
    assert os.listdir() == []


def test_an_output_file_that_is_a_folder(fails, folder):
    (folder / "folder.svg").mkdir()
    assert "it is a directory" in fails("draw", "-o", "folder.svg")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="a folder is never closed to an administrator")
def test_closed_folders(fails, folder):
    (folder / "closed").mkdir(mode=0o500)
    assert "Permission denied" in fails("demo", "-o", "closed")
    assert "Permission denied" in fails("draw", "-o", "closed/picture.svg")


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="Linux's folder in which nobody can write")
def test_a_folder_in_which_nobody_can_write(fails):
    assert "nothing can be written to the folder '/proc'" in fails("demo", "-o", "/proc")
    assert "cannot save '/proc/picture.svg'" in fails("draw", "-o", "/proc/picture.svg")


def test_no_memory(fails, monkeypatch):
    def large(options):
        raise MemoryError("Unable to allocate 7.28 TiB")

    monkeypatch.setattr(sys.modules["tinygrad_batch.cli.demo"], "one_batch", large)
    assert fails("draw", code=1) == "tinygrad-batch: not enough memory: Unable to allocate 7.28 TiB\n"


def test_commands(fails, run):
    said = fails("paint")
    assert "'paint'" in said
    assert "demo" in said
    assert "--frob" in fails("demo", "--frob")
    done = run()
    assert (done.code, done.err) == (2, "")
    assert "usage: tinygrad-batch" in done.out
    assert "demo" in done.out


def test_a_sly_word_cannot_steer_the_terminal(fails):
    for words in (
        ("demo", "--data", "\x1b[31m.csv"),
        ("draw", "-o", "\x1b[31m.x"),
        ("demo", "--lr", "\x1b[31m"),
        ("\x1b[3",),
    ):
        assert "\x1b" not in fails(*words)


def test_debug_shows_where(command, folder):
    (folder / "bad.csv").write_text("a,b\n1,x\n")
    for words, error in (
        (("demo", "--data", "bad.csv"), DataError),
        (("draw", "-o", "x.xyz"), DrawError),
    ):
        with pytest.raises(error):
            cli.main([*words, "--debug"])
    done = command("demo", "--data", "bad.csv", "--debug")
    assert done.code == 1
    assert "Traceback" in done.err
    assert "line 2, column 'b'" in done.err.splitlines()[-1]


def test_errors_without_asserts(command):
    """Guards hold when Python drops its assert statements."""
    optimised = ("-O", "-m", "tinygrad_batch")
    for words in (("demo", "--layers", "3,1"), ("demo", "--lr", "1000")):
        done = command(*words, python=optimised)
        assert done.code == 2
        assert done.err.count("\n") == 1
    done = command("demo", "--epochs", 2, python=optimised)
    assert (done.code, done.err) == (0, "")
    assert done.out == command("demo", "--epochs", 2).out


def test_a_fault_of_our_own_is_not_hidden(run, monkeypatch):
    def broken(run):
        raise ZeroDivisionError

    monkeypatch.setattr(Run, "train", broken)
    with pytest.raises(ZeroDivisionError):
        run("demo")


def test_long_numbers(run):
    assert run("demo", "--seed", "9" * 30, "--epochs", 1).code == 0
    assert "no number of epochs" in run("demo", "--epochs", "9" * 5000).err
