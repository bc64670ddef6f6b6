"""Chooses the size of the network's input so that streams keep a frame rate: ``model.min_fps``.

Pure: times and measurements come as arguments. A step down comes when the rate was too low for a moment, and goes as
far as the measurements say that it must; a step up comes only when they have said for long that there is room.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from streamd.depth.models import Preprocessing

SMALLEST = 128
STEP = 32
"""Of the ladder, px, at least."""
LOW = 0.95
"""Of ``min_fps``: below this the rate is too low."""
TARGET = 1.08
"""Of ``min_fps``: what a step down aims at."""
LIMITED = 0.5
"""Share of the time that the network takes, below which it is not what slows the streams down."""
ROOM = 0.75
"""The same, as it would be at ``min_fps`` and the next size: a step up has to stay below it."""
DOWN_AFTER_S = 2.0
UP_AFTER_S = 10.0
CALM_S = 30.0
"""No step up for so long after one down; twice as long after each that was too much."""
MAX_CALM_S = 960.0
SETTLE_S = 3.5
"""After a step the rates are still those of before: they look back 3 s."""


@dataclass(frozen=True)
class Load:
    """Measured over the last moments."""

    fps: float
    """Of the slowest stream that is watched, and whose source gives enough."""
    busy: float
    """Share of the time that its network takes, 0 to 1."""
    moving: float
    """The same, if every picture were inferred: while a scene stands still few are."""


def ladder(full: Preprocessing) -> list[int]:
    """Input sizes, px, the largest first; one only for a network that takes no other."""
    step = full.multiple_of * -(-STEP // full.multiple_of)
    smaller = [] if full.fixed else range(full.input_size - step, SMALLEST - 1, -step)
    return [full.input_size, *(size // full.multiple_of * full.multiple_of for size in smaller)]


class Governor:
    """``size`` is what it has chosen. One thread."""

    def __init__(self, sizes: Sequence[int], min_fps: float) -> None:
        """``sizes``: the largest first; it begins with that."""
        self._sizes = sizes
        self._min_fps = min_fps
        self.size = sizes[0]
        self._low_since: float | None = None
        self._room_since: float | None = None
        self._settled_at = 0.0
        self._calm_s, self._calm_until = CALM_S, 0.0
        self._rose_at: float | None = None

    def settle(self, now_s: float) -> None:
        """The size is in use since now: what was measured before says nothing of it."""
        self._low_since = self._room_since = None
        self._settled_at = now_s + SETTLE_S

    def step(self, now_s: float, load: Load | None, cost: Callable[[int], float]) -> int:
        """The size to use. ``cost``: of an inference by size, in any unit. ``load`` is None while nobody watches."""
        if load is None or now_s < self._settled_at:
            self._low_since = self._room_since = None
            return self.size
        low = load.fps < LOW * self._min_fps and load.busy >= LIMITED
        self._low_since = (self._low_since or now_s) if low else None
        larger = self._larger(load, cost)
        self._room_since = (self._room_since or now_s) if larger else None
        if self._low_since is not None and now_s - self._low_since >= DOWN_AFTER_S:
            self._fall(now_s, self._fitting(load, cost))
        elif larger and self._room_since is not None and now_s - self._room_since >= UP_AFTER_S:
            self._rise(now_s, larger)
        return self.size

    def _fall(self, now_s: float, size: int) -> None:
        if size == self.size:
            return
        if self._rose_at is not None:
            self._calm_s = min(2 * self._calm_s, MAX_CALM_S) if now_s < self._rose_at + 2 * CALM_S else CALM_S
        self.size, self._rose_at, self._calm_until = size, None, now_s + self._calm_s
        self.settle(now_s)

    def _rise(self, now_s: float, size: int) -> None:
        if now_s >= self._calm_until:
            self.size, self._rose_at = size, now_s
            self.settle(now_s)

    def _fitting(self, load: Load, cost: Callable[[int], float]) -> int:
        """The largest that reaches the target: what is not the network's share of a frame's time stays as it is."""
        left = (load.fps / (TARGET * self._min_fps) - (1 - load.busy)) / load.busy
        smaller = [size for size in self._sizes if size < self.size]
        fitting = [size for size in smaller if cost(size) <= left * cost(self.size)]
        return max(fitting) if fitting else min(smaller, default=self.size)

    def _larger(self, load: Load, cost: Callable[[int], float]) -> int | None:
        """The next size, when there is room for it."""
        larger = min((size for size in self._sizes if size > self.size), default=None)
        if larger is None or load.fps < self._min_fps:
            return None
        busy = load.moving * self._min_fps / load.fps * cost(larger) / cost(self.size)
        return larger if busy <= ROOM else None
