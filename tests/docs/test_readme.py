"""The README's Python runs as it stands, block after block, and its commands can be found."""

import os
import re
import subprocess
import sys
import textwrap

import pytest
from readme import README, command, python_blocks

TEXT = README.read_text(encoding="utf-8")


def test_python_blocks_run_in_order(tmp_path):
    blocks = python_blocks(TEXT)
    assert blocks, "README.md has no ```python block"
    # Each block stands on its line of the README, so that a traceback points there.
    lines: list[str] = []
    for first, code in blocks:
        lines += [""] * (first - 1 - len(lines))
        lines += code.splitlines()
    script = tmp_path / "readme_blocks.py"
    script.write_text("\n".join(lines) + "\n", encoding="utf-8")
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(
        [sys.executable, "-W", "error", str(script)],
        cwd=tmp_path, env=environment, capture_output=True, text=True, encoding="utf-8", stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert words(tmp_path / "one_batch.svg") == words(README.parent / "docs" / "images" / "one_batch.svg"), (
        "the picture in the README is not what its program draws: run the program and copy one_batch.svg"
    )


def words(picture):
    """Return the words of an SVG; the loss may differ in its last digit from machine to machine."""
    found = re.findall(r">([^<>\n]+)<", picture.read_text(encoding="utf-8"))
    assert len(found) > 100
    return [re.sub(r"loss = [\d.]+", "loss", text) for text in found]


@pytest.mark.parametrize("name", ["test", "demo"])
def test_commands_are_marked_once(name):
    assert "python" in command(name, TEXT)


def test_a_missing_command_is_an_error():
    with pytest.raises(SystemExit, match="0 blocks marked"):
        command("test", "no block here")


def test_blocks_know_their_lines():
    text = textwrap.dedent("""\
        words
        ```python
        a = 1
        ```
        ```sh
        ls
        ```
        ```python
        b = 2
        ```
    """)
    assert python_blocks(text) == [(3, "a = 1\n"), (9, "b = 2\n")]
