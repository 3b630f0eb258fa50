"""Running something in a process of its own, with a hard limit on its memory."""

from __future__ import annotations

import ctypes
import faulthandler
import gc
import json
import os
import select
import signal
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from ..errors import ArgumentError, TinygradBatchError
from ..replay.threads import blas_libraries

OUT_OF_MEMORY = "out of memory"
BLAS_ROOM = 4 << 20  # bytes for what a BLAS library with threads allocates on its own
MMAP_THRESHOLD = -3  # of mallopt(3)
MAPPED = 1 << 16  # bytes from which on an array is mapped by itself
LARGEST_GAP = 1 << 30  # bytes
PR_SET_THP_DISABLE = 41  # of prctl(2)


class ChildError(TinygradBatchError, RuntimeError):
    """A measurement in a process of its own that did not come to an end."""


def available() -> bool:
    """Return whether this system can limit the memory of a process, and tell what it takes: Linux can."""
    return sys.platform == "linux" and Path("/proc/self/status").exists()


def run(function: Callable[[], Any], limit: int | None = None, warm_up: Callable[[], Any] | None = None) -> Any:
    """Run a function in a copy of this process, and return what it returned.

    The copy is forked, so the function may use whatever is there. It gives back what JSON can hold.

    Parameters
    ----------
    function : callable
    limit : int, optional
        Bytes that it may take beyond what the process has, after which allocating fails.
    warm_up : callable, optional
        Run before the limit holds, for what is allocated once and then kept.

    Returns
    -------
    object
        `OUT_OF_MEMORY` if the function hit the limit.

    Raises
    ------
    ArgumentError
        On a system that has no such limits.
    ChildError
        If the process failed otherwise, with its last words.

    Examples
    --------
    >>> run(lambda: 6 * 7)
    42
    >>> run(lambda: len(bytes(50_000_000)), limit=20_000_000)
    'out of memory'
    """
    if not available():
        raise ArgumentError(f"memory of a process is limited on Linux, not on {sys.platform}", "Leave confirm out")
    reading, writing = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    with warnings.catch_warnings():
        # BLAS has threads; the copy never uses those of this process, and never returns to its Python code
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        os.close(reading)
        _work(function, limit, warm_up, writing)
    os.close(writing)
    try:
        answer = _read(reading)
    except BaseException:  # also an interrupt: the copy must not outlive this call
        os.kill(child, signal.SIGKILL)
        raise
    finally:
        os.close(reading)
        _, status = os.waitpid(child, 0)
    if not answer and limit is not None:
        return OUT_OF_MEMORY  # a library ended the process, as OpenBLAS does
    if not answer:
        ending = f"signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else f"status {os.WEXITSTATUS(status)}"
        raise ChildError(f"a measurement in a process of its own ended with {ending} and said nothing")
    kind, value = json.loads(answer)
    if kind == "error":
        raise ChildError(f"a measurement in a process of its own failed: {value}")
    return value


def _work(function: Callable[[], Any], limit: int | None, warm_up: Callable[[], Any] | None, out: int) -> NoReturn:
    """Do the work of the copy, and end it."""
    code = 1
    faulthandler.disable()  # a library that cannot bear to get no memory is an answer, and no news
    try:
        libc = ctypes.CDLL(None)
        if hasattr(libc, "mallopt"):  # glibc: every large array is mapped by itself, and freeing it gives it back
            libc.mallopt(MMAP_THRESHOLD, MAPPED)
        if hasattr(libc, "prctl"):  # Linux: pages of 2 MB would round up what is resident
            libc.prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0)
        libraries = blas_libraries()
        for library in libraries:
            library.set_num_threads(1)  # several threads take room for sharing out their work
        if warm_up is not None:
            warm_up()
        gc.collect()  # what is let go after the limit is set would come on top of it
        give_back()
        _close_gaps(libc)
        # Room for Python's own objects, with walls in it, so that no array fits.
        room = [(bytes(MAPPED // 2), bytes(1000)) for _ in range(16)]
        walls = [wall for _, wall in room]
        del room
        if limit is not None:
            import resource

            most = status("VmData") + limit + (0 if libraries else BLAS_ROOM)
            resource.setrlimit(resource.RLIMIT_DATA, (most, most))  # also of what malloc has only reserved so far
        try:
            answer = ["done", function()]
            del walls
        except MemoryError:
            answer = ["done", OUT_OF_MEMORY]
        os.write(out, json.dumps(answer).encode())
        code = 0
    except Exception as error:  # whatever it was, it is told to the process that asked
        os.write(out, json.dumps(["error", f"{type(error).__name__}: {error}"]).encode())
        code = 0
    finally:
        os._exit(code)  # no handlers, no flushing of what belongs to the other process


def _read(source: int, timeout: float = 600.0) -> bytes:
    """Return all that the copy writes, or raise after a time."""
    until = time.monotonic() + timeout
    parts: list[bytes] = []
    while True:
        ready, _, _ = select.select([source], [], [], max(0.0, until - time.monotonic()))
        if not ready:
            raise ChildError(f"a measurement in a process of its own took more than {timeout:.0f} seconds")
        part = os.read(source, 1 << 16)
        if not part:
            return b"".join(parts)
        parts.append(part)


def _close_gaps(libc: ctypes.CDLL) -> None:
    """Take every gap in the heap that an array could go to, for good.

    What the copied process has freed is its own until the end; arrays that went there would take nothing from the
    system, and so be neither limited nor counted.
    """
    if not hasattr(libc, "sbrk"):
        return
    libc.malloc.argtypes, libc.malloc.restype = [ctypes.c_size_t], ctypes.c_void_p
    libc.sbrk.argtypes, libc.sbrk.restype = [ctypes.c_ssize_t], ctypes.c_void_p
    libc.free.argtypes = [ctypes.c_void_p]
    end, size = libc.sbrk(0) or 0, LARGEST_GAP
    while size >= MAPPED:
        block = libc.malloc(size)
        if not block or block > end:  # not from the heap: there is no gap of this size left
            libc.free(block)
            size //= 2


def give_back() -> None:
    """Give the system back what was freed."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)


def status(name: str) -> int:
    """Return a figure of this process from Linux, in bytes: ``VmRSS`` (resident), ``VmHWM`` (its peak), ``VmData``.

    Examples
    --------
    >>> status("VmRSS") > 10_000_000
    True
    """
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise ArgumentError(f"Linux does not tell {name!r} of a process")


def forget_peak() -> None:
    """Let ``VmHWM`` begin anew from what is resident now."""
    Path("/proc/self/clear_refs").write_text("5")
