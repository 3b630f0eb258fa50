"""Threads that prepare batches before they are asked for, and hand them over in order."""

from __future__ import annotations

import atexit
import threading
import time
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import Generic, TypeVar

Item = TypeVar("Item")
PATIENCE = 5.0  # seconds to wait for threads to finish what they are at; one whose source never answers is left behind


def ahead(work: Iterator[Callable[[], Item]], count: int, workers: int) -> Iterator[Item]:
    """Yield what each piece of work makes, in order, while threads are at the next ones.

    Parameters
    ----------
    work : iterator of callables
        Each makes one item. One thread at a time asks for the next.
    count : int
        How many items may be ready or in the making, at least 1.
    workers : int
        How many threads, at least 1.

    Notes
    -----
    An error, of the work or in asking for it, is raised where its item would have come. However this ends, at the
    last item, by an error, because nobody goes on with it, or at the end of the program, the threads end too, each
    when it has finished what it is at; who ends it waits up to `PATIENCE` for that.

    Examples
    --------
    >>> list(ahead(iter([lambda: "one", lambda: "two"]), count=2, workers=2))
    ['one', 'two']
    """
    desk = _Desk(work)
    threads = [threading.Thread(target=desk.serve, name=f"prefetch {n}", daemon=True) for n in range(workers)]
    atexit.register(desk.close, threads)  # a generator that waits somewhere is not closed when the program ends
    try:
        for thread in threads:
            thread.start()
        for _ in range(count):
            desk.tickets.put(True)
        while (outcome := desk.slots.get().get()) is not None:
            desk.tickets.put(True)
            item, error = outcome
            if error is not None:
                raise error
            yield item  # type: ignore[misc]
    finally:
        outcome = item = error = None
        atexit.unregister(desk.close)
        desk.close(threads)


class _Desk(Generic[Item]):
    """What the threads share with the one who collects.

    A ticket stands for one item more that may be made. Whoever takes one, asks for the next piece of work, and
    puts a slot into the line in which its item will lie. Queues of this kind, unlike locks, may be
    used while garbage is collected, which any thread may be doing when this is closed.
    """

    def __init__(self, work: Iterator[Callable[[], Item]]) -> None:
        self._work = work
        self._asking = threading.Lock()
        self._closed = False
        self.tickets: SimpleQueue[bool] = SimpleQueue()
        self.slots: SimpleQueue[SimpleQueue[tuple[Item | None, BaseException | None] | None]] = SimpleQueue()

    def serve(self) -> None:
        """Do one piece of work after the other."""
        make: Callable[[], Item] | None
        while True:
            with self._asking:
                if not self.tickets.get() or self._closed:
                    break
                slot: SimpleQueue[tuple[Item | None, BaseException | None] | None] = SimpleQueue()
                self.slots.put(slot)
                try:
                    make = next(self._work, None)
                except BaseException as error:
                    slot.put((None, error))
                    break
                if make is None:
                    slot.put(None)
                    break
            try:
                slot.put((make(), None))
            except BaseException as error:
                slot.put((None, error))
        self.tickets.put(False)  # so that the next thread ends, too

    def close(self, threads: list[threading.Thread]) -> None:
        """Let the threads end, and wait a while until they have."""
        self._closed = True
        self.tickets.put(False)
        if threading.current_thread() not in threads:  # a thread that collects garbage cannot wait for itself
            deadline = time.monotonic() + PATIENCE
            for thread in threads:
                if thread.is_alive():
                    thread.join(max(0.0, deadline - time.monotonic()))
