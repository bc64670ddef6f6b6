"""When something was recorded: spans of time that do not touch."""

from __future__ import annotations

from bisect import bisect_left, bisect_right

Span = tuple[float, float]
"""From and to, Unix seconds."""
TOUCH_S = 2.0
"""What is no further apart is one."""


class Spans:
    """Sorted, apart from each other. Each change takes the time of a search."""

    def __init__(self) -> None:
        self._starts: list[float] = []
        self._ends: list[float] = []

    def add(self, start: float, end: float) -> None:
        first = bisect_left(self._ends, start - TOUCH_S)
        last = bisect_right(self._starts, end + TOUCH_S)
        if first < last:
            start, end = min(start, self._starts[first]), max(end, self._ends[last - 1])
        self._starts[first:last], self._ends[first:last] = [start], [end]

    def remove(self, start: float, end: float) -> None:
        first, last = bisect_right(self._ends, start), bisect_left(self._starts, end)
        if first >= last:
            return
        before, after = (self._starts[first], start), (end, self._ends[last - 1])
        left = [(a, b) for a, b in (before, after) if a < b]
        self._starts[first:last], self._ends[first:last] = [a for a, _ in left], [b for _, b in left]

    def within(self, start: float, end: float, apart_s: float = 0.0) -> list[Span]:
        """What of them lies there; those that are less than ``apart_s`` apart as one."""
        first, last = bisect_right(self._ends, start), bisect_left(self._starts, end)
        found: list[Span] = []
        for a, b in zip(self._starts[first:last], self._ends[first:last], strict=True):
            if found and a - found[-1][1] < apart_s:
                found[-1] = found[-1][0], min(b, end)
            else:
                found.append((max(a, start), min(b, end)))
        return found

    def before(self, time: float) -> float | None:
        """When the last that begins earlier ends, or ``time`` if that is within it; None without one."""
        index = bisect_left(self._starts, time)
        return min(self._ends[index - 1], time) if index else None

    def after(self, time: float) -> float | None:
        """When the first that ends later begins, or ``time`` if that is within it; None without one."""
        index = bisect_right(self._ends, time)
        return max(self._starts[index], time) if index < len(self._starts) else None
