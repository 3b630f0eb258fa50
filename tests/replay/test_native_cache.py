"""Code kept on disk: used when it is whole and in a folder of one's own, made again when not."""

import os
import subprocess
import sys

import numpy as np
import pytest
from programs import training_step

pytest.importorskip("llvmlite")

from tinygrad_batch.replay.native import build, cache, engine

NAME = cache.key("a", "b")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "code"))
    return tmp_path / "code"


def entries(folder):
    return sorted(folder.iterdir()) if folder.exists() else []


def test_what_is_saved_is_loaded(folder):
    assert cache.load(NAME) is None
    cache.save(NAME, b"code")
    assert cache.load(NAME) == b"code"
    assert [p.name for p in entries(folder)] == [NAME]
    assert cache.key("ab", "") != cache.key("a", "b") != cache.key("b", "a")


@pytest.mark.parametrize("spoil", ["cut", "changed", "longer", "foreign", "empty", "head"])
def test_what_is_not_whole_is_not_loaded(folder, spoil):
    cache.save(NAME, b"code" * 100)
    path = folder / NAME
    whole = path.read_bytes()
    other = cache.key("other")
    cache.save(other, b"code")
    changes = {
        "cut": whole[:-1], "changed": whole[:-1] + b"?", "longer": whole + b"e", "head": b"?" + whole[1:],
        "foreign": (folder / other).read_bytes(), "empty": b"",
    }  # fmt: skip
    path.write_bytes(changes[spoil])
    assert cache.load(NAME) is None


def test_a_spoilt_entry_is_made_again(folder):
    program, values = training_step(dtype="float32")
    given = [*[values[v] for v in program.inputs], 0.1]

    def loss():
        return build(program, {v: values[v].copy() for v in program.living})(*given)[0]

    expected = loss()
    (path,) = entries(folder)
    code = path.read_bytes()
    path.write_bytes(code[:-100])
    assert loss() == expected
    assert path.read_bytes() == code


def test_the_second_time_nothing_is_compiled(folder, monkeypatch):
    program, values = training_step(dtype="float32")
    live = {v: values[v].copy() for v in program.living}
    build(program, live)
    monkeypatch.setattr(engine, "object_code", None)
    build(program, live)


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="Windows has no such modes")
def test_a_folder_of_others_is_not_used(folder, tmp_path, monkeypatch):
    cache.save(NAME, b"code")
    folder.chmod(0o777)
    assert cache.load(NAME) is None
    folder.chmod(0o700)
    (tmp_path / "link").symlink_to(folder)
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "link"))
    assert cache.load(NAME) is None
    monkeypatch.setattr(os, "getuid", lambda: -2)
    monkeypatch.setenv(cache.VARIABLE, str(folder))
    assert cache.load(NAME) is None


def test_off(folder, monkeypatch):
    for word in ("off", "", "0"):
        monkeypatch.setenv(cache.VARIABLE, word)
        assert cache.folder() is None
        cache.save(NAME, b"code")
    assert entries(folder) == []


def test_the_usual_folder(monkeypatch, tmp_path):
    monkeypatch.delenv(cache.VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    for platform in ("linux", "darwin", "win32"):
        monkeypatch.setattr(sys, "platform", platform)
        assert tmp_path in cache.folder().parents


def test_a_folder_that_cannot_be_made(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "file" / "code"))
    assert cache.folder() is None
    cache.save(NAME, b"code")


def test_only_so_many_are_kept(folder, monkeypatch):
    monkeypatch.setattr(cache, "_MOST", 3)
    for i in range(6):
        cache.save(cache.key(str(i)), b"code")
        os.utime(folder / cache.key(str(i)), (i, i))
    assert len(entries(folder)) == 3
    assert cache.load(cache.key("5")) == b"code"


def test_another_process_uses_it(folder):
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from programs import training_step\n"
        "from tinygrad_batch.replay.native import build, engine\n"
        "if sys.argv[2] == 'again': engine.object_code = None\n"
        "program, values = training_step()\n"
        "print(build(program, values)(*[values[v] for v in program.inputs], 0.1)[0])\n"
    )
    here = os.path.dirname(__file__)
    found = []
    for word in ("first", "again"):
        done = subprocess.run([sys.executable, "-c", code, here, word], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        found.append(done.stdout)
    assert found[0] == found[1]
    assert np.isfinite(float(found[0]))
