"""What a terminal, a pipe and an interruption do."""

import os
import re
import select
import signal
import struct
import subprocess
import sys

import pytest

from tinygrad_batch.demo import Run

posix = pytest.mark.skipif(os.name != "posix", reason="needs the pipes and terminals of POSIX")
PYTHON = [sys.executable, "-m", "tinygrad_batch"]


def in_a_terminal(*words):
    """Run in a terminal of 80 columns, and return the exit code and what it showed."""
    fcntl, pty, termios = (pytest.importorskip(name) for name in ("fcntl", "pty", "termios"))
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    process = subprocess.Popen([*PYTHON, *map(str, words)], stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = b""
    try:
        while select.select([ours], [], [], 120)[0]:
            try:
                piece = os.read(ours, 4096)
            except OSError:  # Linux's way to say that the other side has closed
                break
            if not piece:
                break
            shown += piece
        return process.wait(timeout=120), shown.decode().replace("\r\n", "\n")
    finally:
        process.kill()
        process.wait()
        os.close(ours)


@posix
def test_a_progress_bar_on_a_terminal():
    code, shown = in_a_terminal("demo", "--epochs", 3)
    assert code == 0
    assert "0/54" in shown  # three epochs of 18 batches
    assert "batch" in shown
    assert "\r" in shown
    assert shown.splitlines()[-1] == "one_batch.html"
    lines = [line.rsplit("\r", 1)[-1] for line in shown.split("\n")]  # as they stay to be seen
    assert sum(bool(re.fullmatch(r" +\d +\d\.\d{4} +\d\.\d{4}", line)) for line in lines) == 3


@posix
def test_no_bar_is_left_over_an_error():
    code, shown = in_a_terminal("demo", "--lr", 1000)
    assert code == 2
    assert shown.endswith("\n")
    last = shown.rstrip("\n").split("\n")[-1].rsplit("\r", 1)[-1]
    assert last.startswith("tinygrad-batch: the loss became")


@posix
def test_json_on_a_terminal_has_no_bar():
    code, shown = in_a_terminal("demo", "--epochs", 2, "--json")
    assert code == 0
    assert "\r" not in shown
    assert shown.startswith("{")


def test_plain_lines_elsewhere(command):
    done = command("demo", "--epochs", 3)
    assert (done.code, done.err) == (0, "")
    assert "\r" not in done.out.replace("\r\n", "\n")
    assert "\x1b" not in done.out
    assert "%|" not in done.out


@posix
@pytest.mark.parametrize("words", [["demo"], ["draw"], ["doctor"], ["demo", "--json"], ["--help"]])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_has_gone(words, unbuffered):
    reading, writing = os.pipe()
    os.close(reading)
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    try:
        done = subprocess.run([*PYTHON, *words], stdout=writing, stderr=subprocess.PIPE, env=environment, check=False)
    finally:
        os.close(writing)
    assert done.stderr == b""
    assert done.returncode == 1 or words == ["--help"]  # argparse does not tell whether it could print


@posix
def test_the_first_line_only():
    line = f"'{sys.executable}' -m tinygrad_batch demo | head -1"
    done = subprocess.run(["sh", "-c", line], capture_output=True, check=False)
    assert done.stdout.startswith(b"data ")
    assert done.stdout.count(b"\n") == 1
    assert done.stderr == b""


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux's device that is always full")
@pytest.mark.parametrize("words", [["demo", "--epochs", "1"], ["doctor"], ["demo", "--epochs", "1", "--json"]])
def test_a_full_disk(words):
    with open("/dev/full", "w") as full:
        done = subprocess.run([*PYTHON, *words], stdout=full, stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr) == (1, b"tinygrad-batch: No space left on device\n")


def test_a_terminal_without_arrows(command):
    done = command("demo", "--epochs", 1, env={"PYTHONIOENCODING": "ascii"})
    assert (done.code, done.err) == (0, "")
    assert "Linear(10 ? 15)" in done.out


def test_stopping(fails, monkeypatch):
    def stopped(run):
        raise KeyboardInterrupt

    monkeypatch.setattr(Run, "train", stopped)
    assert fails("demo", code=1) == "tinygrad-batch: stopped\n"


@posix
def test_stopping_a_process():
    code = (
        "import signal, sys; from tinygrad_batch.cli import main\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "sys.exit(main(['demo', '--epochs', '1000000']))"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        while b"train loss" not in process.stdout.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=120)
    finally:
        process.kill()
    assert (process.returncode, said) == (1, b"tinygrad-batch: stopped\n")
    assert os.listdir() == []
