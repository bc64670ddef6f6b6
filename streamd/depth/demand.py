"""Counts the users of depth: whether a worker runs, and how many inferences it runs side by side."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

REST_AFTER_S = 10.0
"""An unused worker is kept this long: a client that asks for stills asks again."""
GROW_AFTER_S = 5.0
SHRINK_AFTER_S = 60.0
"""How long the number of streams must stay changed until the worker is replaced by one for that number."""
SEEN_S = 10.0
"""How long a stream's picture size counts after its last picture."""


class Demand:
    """Leases of streams and stills. Any thread."""

    def __init__(self, max_parallel: int, on_change: Callable[[], None]) -> None:
        self._max_parallel = max_parallel
        self._on_change = on_change
        self._lock = threading.Lock()
        self._leases = 0
        self._streams = 0
        self._unneeded_since = -math.inf
        self._changed_at = -math.inf
        """When the number of streams last changed."""
        self._seen: dict[tuple[int, int], float] = {}
        """Picture sizes, and when there was one last."""

    @property
    def any(self) -> bool:
        return self._leases > 0

    def see(self, size: tuple[int, int]) -> None:
        """A stream has brought a picture of (width, height) px."""
        self._seen[size] = time.monotonic()

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """(width, height) px of the pictures that streams bring now."""
        since = time.monotonic() - SEEN_S
        for size, seen in tuple(self._seen.items()):
            if seen < since:
                self._seen.pop(size, None)
        return list(self._seen)

    @property
    def parallel(self) -> int:
        """How many inferences should run side by side: one for each stream, at most one for each core."""
        return max(1, min(self._streams, self._max_parallel))

    @property
    def lanes(self) -> int:
        """How many inferences may be under way at once: streams take turns, and have one each."""
        return max(1, min(self._streams, self._max_parallel + 1))

    @contextmanager
    def lease(self, *, live: bool) -> Iterator[None]:
        """``live``: for a stream, else for a still."""
        self.add(1, live=live)
        try:
            yield
        finally:
            self.add(-1, live=live)

    def add(self, count: int, *, live: bool = False) -> None:
        with self._lock:
            self._leases += count
            if live:
                self._streams += count
                self._changed_at = time.monotonic()
            if not self._leases:
                self._unneeded_since = time.monotonic()
        self._on_change()

    def rest_in_s(self) -> float | None:
        """Seconds until the worker may rest; None while it is needed."""
        with self._lock:
            if self._leases:
                return None
            return max(0.0, self._unneeded_since + REST_AFTER_S - time.monotonic())

    def resize_in_s(self, parallel: int) -> float | None:
        """Seconds until a worker that runs ``parallel`` inferences is to be replaced; None when it fits."""
        with self._lock:
            wanted = self.parallel
            if wanted == parallel or not self._streams:
                return None
            patience_s = GROW_AFTER_S if wanted > parallel else SHRINK_AFTER_S
            return max(0.0, self._changed_at + patience_s - time.monotonic())
