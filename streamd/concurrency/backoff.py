"""How long to wait before trying again."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Backoff:
    """A random first delay so that many streams do not knock together, then growing to a cap.

    Health makes it shrink again, the more the longer it lasts, ``healthy_after_s`` all the way: a
    source that lives for a second between failures must not be hammered, but one that hangs once a
    minute shall not be away for the next.
    """

    first_s: float = 0.5
    factor: float = 1.618
    cap_s: float = 60.0
    healthy_after_s: float = 60.0
    jitter: Callable[[], float] = random.random

    def delays(self) -> Iterator[float]:
        """Seconds, for ever: what ``start`` gives without any health."""
        delays = self.start()
        while True:
            yield delays.after(0.0)

    def start(self) -> Delays:
        return Delays(self)


class Delays:
    """How long to wait after each failure."""

    def __init__(self, backoff: Backoff) -> None:
        self._backoff = backoff
        self._first = self._next = backoff.first_s * (0.5 + backoff.jitter())

    def after(self, healthy_s: float) -> float:
        """Seconds, after a failure that came when it had been well for ``healthy_s``."""
        backoff = self._backoff
        shortest_s = min(self._first, backoff.cap_s)
        well = min(1.0, healthy_s / backoff.healthy_after_s)
        # All the way down from the cap after healthy_after_s; the cap may be 0.
        shrunk = self._next * float((shortest_s / max(backoff.cap_s, 1e-9)) ** well)
        delay = min(max(shrunk, shortest_s), backoff.cap_s)
        self._next = min(delay * backoff.factor, backoff.cap_s)
        return delay
