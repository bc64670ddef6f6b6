"""Rates and percentiles over the last moments, for page and API; Prometheus computes its own."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import deque

WINDOW_S = 3.0


class Rate:
    """Events per second, over the last ``window_s`` or, where events are rarer, between the last two.

    One writer thread; anyone may read.
    """

    def __init__(self, window_s: float = WINDOW_S, max_events: int = 1000) -> None:
        self._window_s = window_s
        self._times: deque[float] = deque(maxlen=max_events)

    def tick(self) -> None:
        self._times.append(time.monotonic())

    @property
    def newest(self) -> float | None:
        """When the newest event was, by ``time.monotonic``; None before the first."""
        return self._times[-1] if self._times else None

    @property
    def is_recent(self) -> bool:
        """Whether the newest event was in the last seconds."""
        return bool(self._times) and time.monotonic() - self._times[-1] < 4 * self._window_s

    def per_second(self) -> float:
        """0 before the second event. Falls towards 0 once the next event is later than the mean interval."""
        now, times = time.monotonic(), tuple(self._times)
        if len(times) < 2:
            return 0.0
        first = min(bisect_left(times, now - self._window_s), len(times) - 2)
        intervals = len(times) - 1 - first
        elapsed_s, silent_s = times[-1] - times[first], now - times[-1]
        if silent_s * intervals > elapsed_s:
            intervals, elapsed_s = intervals + 1, elapsed_s + silent_s
        return intervals / max(elapsed_s, 1e-9)


class ByteRate:
    """Bytes per second over the last moments. One thread."""

    def __init__(self, window_s: float = WINDOW_S) -> None:
        self._window_s = window_s
        self._sent: deque[tuple[float, int]] = deque()
        self._total = 0

    def add(self, size: int) -> None:
        self._sent.append((time.monotonic(), size))
        self._total += size
        self._drop_old()

    def per_second(self) -> float:
        self._drop_old()
        return self._total / self._window_s

    def _drop_old(self) -> None:
        since = time.monotonic() - self._window_s
        while self._sent and self._sent[0][0] < since:
            self._total -= self._sent.popleft()[1]


class Worst:
    """The largest value of the last ``window_s``: for values read less often than they are added. One thread."""

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._falling: deque[tuple[float, float]] = deque()
        """(when, value): each is larger than all that came after it."""

    def add(self, value: float) -> float:
        """The largest value within the window."""
        now = time.monotonic()
        while self._falling and self._falling[-1][1] <= value:
            self._falling.pop()
        self._falling.append((now, value))
        while self._falling[0][0] < now - self._window_s:
            self._falling.popleft()
        return self._falling[0][1]


class Latencies:
    """The values of the last moments, in seconds. One writer thread; anyone may read."""

    def __init__(self, window_s: float = 4 * WINDOW_S, max_values: int = 600) -> None:
        self._window_s = window_s
        self._values: deque[tuple[float, float]] = deque(maxlen=max_values)

    def add(self, seconds: float) -> None:
        self._values.append((time.monotonic(), seconds))

    def percentile_ms(self, fraction: float) -> float | None:
        since = time.monotonic() - self._window_s
        values = sorted(value for moment, value in tuple(self._values) if moment >= since)
        return 1000 * values[min(len(values) - 1, int(fraction * len(values)))] if values else None
