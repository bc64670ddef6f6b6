"""How long to wait before trying again."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Backoff:
    """A random first delay so that many streams do not knock together, then growing to a cap.

    Reset it (start a new iterator) only after ``healthy_after_s`` of health: a source that lives
    for a second between failures must not be hammered.
    """

    first_s: float = 0.5
    factor: float = 1.618
    cap_s: float = 60.0
    healthy_after_s: float = 60.0
    jitter: Callable[[], float] = random.random

    def delays(self) -> Iterator[float]:
        """Seconds, for ever."""
        delay = self.first_s * (0.5 + self.jitter())
        while True:
            yield min(delay, self.cap_s)
            delay = min(delay * self.factor, self.cap_s)
