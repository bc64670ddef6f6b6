"""What to do when memory runs short, before the kernel does it: step by step, the mildest first."""

from __future__ import annotations

from enum import IntEnum

from streamd.host.cgroup import machine_memory_bytes, memory_limit_bytes

LASTS_S = 10.0
"""A step is taken when memory has been that short for so long: a peak is none."""
CALM = 0.05
"""Of the limit, below a step's threshold, before it counts as over."""


class Step(IntEnum):
    CALM = 0
    WARN = 1
    RECYCLE_WORKER = 2
    SHED_VIEWS = 3
    RESTART = 4


THRESHOLDS = {Step.WARN: 0.75, Step.RECYCLE_WORKER: 0.82, Step.SHED_VIEWS: 0.89, Step.RESTART: 0.96}
"""Shares of the limit."""


def limit_bytes() -> int:
    """What this process and its worker may have together: the control group's limit, else all of the machine."""
    return min(memory_limit_bytes() or machine_memory_bytes(), machine_memory_bytes())


class MemoryWatch:
    """Decides; others act. Pure: time and use come as arguments."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.step = Step.CALM
        self._since: float | None = None

    def look(self, now_s: float, used_bytes: int) -> Step | None:
        """The step to take now; None for none. Each is taken once until memory is calm again below it."""
        share = used_bytes / self.limit
        while self.step and share < THRESHOLDS[self.step] - CALM:
            self.step = Step(self.step - 1)
        worse = next((step for step in THRESHOLDS if step == self.step + 1 and share >= THRESHOLDS[step]), None)
        if worse is None:
            self._since = None
            return None
        if self._since is None:
            self._since = now_s
        if now_s - self._since < LASTS_S:
            return None
        self.step, self._since = worse, None
        return worse
