"""A fair semaphore: turns are given in the order of arrival."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from streamd.concurrency.mailbox import Closed

POLL_S = 0.25


class Turns:
    """At most ``count`` at a time; the thread that has waited longest is next. A threading.Semaphore is
    not fair: a fast camera would starve the others."""

    def __init__(self, count: int) -> None:
        self._lock = threading.Lock()
        self._count = self._free = count
        self._waiting: deque[threading.Event] = deque()
        self._spare = 0
        """Turns under way of those that could have waited."""

    def resize(self, count: int) -> None:
        """From now on at most ``count`` at a time; turns under way go on."""
        with self._lock:
            grown, self._count = count - self._count, count
        self._give(grown)

    @property
    def has_spare(self) -> bool:
        """Whether what can wait may have one now: it leaves another for what cannot, where there are several, and goes
        on alone. Many that fall due at once then follow each other."""
        return not self._spare and self._free > (self._count > 1)

    @contextmanager
    def one(self, unwanted: Callable[[], bool], *, spare: bool = False) -> Iterator[None]:
        """A turn, for as long as the block lasts. Waits; raises Closed once it is ``unwanted``. ``spare``: it could
        have waited."""
        self._take(unwanted)
        self._count_spare(spare)
        try:
            yield
        finally:
            self._count_spare(-spare)
            self._give()

    def _count_spare(self, more: int) -> None:
        with self._lock:
            self._spare += more

    def _take(self, unwanted: Callable[[], bool]) -> None:
        mine = threading.Event()
        with self._lock:
            if self._free > 0:
                self._free -= 1
                return
            self._waiting.append(mine)
        while not mine.wait(POLL_S):
            if unwanted():
                self._leave(mine)
                raise Closed

    def _leave(self, mine: threading.Event) -> None:
        with self._lock:
            if not mine.is_set():
                self._waiting.remove(mine)
                return
        self._give()  # it came just now

    def _give(self, count: int = 1) -> None:
        with self._lock:
            self._free += count
            while self._free > 0 and self._waiting:
                self._free -= 1
                self._waiting.popleft().set()
