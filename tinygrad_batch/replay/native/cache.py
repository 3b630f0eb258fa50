"""Compiled code kept on disk, so that the next process need not compile it again.

An entry is named by a hash of everything that the code depends on: its text in LLVM's language, the
versions, the processor. What is loaded is run, so only a folder that belongs to the user and that nobody
else can write to is used, and an entry that is not whole is as good as none.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import sys
from pathlib import Path

from ...files import write_whole

VARIABLE = "TINYGRAD_BATCH_CACHE"
_MAGIC = b"tinygrad-batch code 1\n"
_MOST = 256  # entries; the oldest go first


def key(*parts: str) -> str:
    """Return the name of an entry from what its code depends on."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode()
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()


def folder() -> Path | None:
    """Return the folder of the entries, made if need be; None where there is none to be trusted.

    ``TINYGRAD_BATCH_CACHE`` names another one, or is ``off``.
    """
    chosen = os.environ.get(VARIABLE)
    if chosen is not None and chosen.strip().lower() in ("", "0", "off"):
        return None
    try:
        path = Path(chosen).expanduser() if chosen else _usual() / "tinygrad-batch" / "native"
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        return path if _is_private(path) else None
    except (OSError, RuntimeError):  # RuntimeError: there is no home
        return None


def _usual() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def _is_private(path: Path) -> bool:
    """Return whether a folder is the user's own, and only the user can write to it."""
    if not hasattr(os, "getuid"):
        return True  # Windows: the folder of the user is private by its access list
    about = os.lstat(path)
    return stat.S_ISDIR(about.st_mode) and about.st_uid == os.getuid() and not about.st_mode & 0o022


def load(name: str) -> bytes | None:
    """Return the code of an entry; None if there is none, or it is not whole."""
    place = folder()
    if place is None:
        return None
    try:
        content = (place / name).read_bytes()
    except OSError:
        return None
    head = _MAGIC + bytes.fromhex(name)
    length, digest, code = content[len(head) :][:8], content[len(head) + 8 :][:32], content[len(head) + 40 :]
    whole = content.startswith(head) and length == len(code).to_bytes(8, "little")
    return code if whole and digest == hashlib.sha256(code).digest() else None


def save(name: str, code: bytes) -> None:
    """Keep the code of an entry; a disk that cannot be written to is no error."""
    place = folder()
    if place is None:
        return
    content = _MAGIC + bytes.fromhex(name) + len(code).to_bytes(8, "little") + hashlib.sha256(code).digest() + code
    with contextlib.suppress(OSError):
        write_whole(place / name, content)
        entries = sorted((p for p in place.iterdir() if len(p.name) == len(name)), key=lambda p: p.stat().st_mtime)
        for old in entries[:-_MOST]:
            old.unlink(missing_ok=True)
