"""What to do when memory runs short, before the kernel does it: step by step, the mildest first."""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import IntEnum

from streamd.errors import MemoryShort
from streamd.host.cgroup import machine_memory_bytes, memory_limit_bytes

LASTS_S = 10.0
"""A step is taken when memory has been that short for so long: a peak is none."""
CALM = 0.05
"""Of the limit, below a step's threshold, before it counts as over."""
HOLD_S = 60.0
"""How long views stay away at least, once they were let go: back at once, they would take the memory again."""
MIN_RETRY_S = 5
KEPT_VIEW = "depth"
SHORT = "memory is short"
"""Why a view is let go, or held back."""


class Step(IntEnum):
    CALM = 0
    WARN = 1
    RECYCLE_WORKER = 2
    SHED_VIEWS = 3
    RESTART = 4

    @property
    def action(self) -> str:
        """For the log."""
        return _ACTIONS[self]


_ACTIONS = {
    Step.CALM: "nothing to do",
    Step.WARN: "watched",
    Step.RECYCLE_WORKER: "the depth worker is replaced",
    Step.SHED_VIEWS: f"all views but {KEPT_VIEW} are let go, and new viewers have to wait",
    Step.RESTART: "stopped, to be started again",
}
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

    def check(self, now_s: float, used_bytes: int) -> Step | None:
        """The step to take now; None for none. Each is taken once until memory is calm again below it."""
        used = used_bytes / self.limit
        while self.step and used < THRESHOLDS[self.step] - CALM:
            self.step = Step(self.step - 1)
        worse = next((step for step in THRESHOLDS if step == self.step + 1 and used >= THRESHOLDS[step]), None)
        if worse is None:
            self._since = None
            return None
        if self._since is None:
            self._since = now_s
        if now_s - self._since < LASTS_S:
            return None
        self.step, self._since = worse, None
        return worse


class MemoryRelief:
    """Whether views are let go, and new viewers refused, because memory is short.

    From SHED_VIEWS on, for HOLD_S at least, and until memory is calm again below that step. Those who serve viewers
    ask it; it calls nobody. Event loop only.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until_s: float | None = None
        """When the hold ends at the earliest; None: views are served."""

    @property
    def active(self) -> bool:
        return self._until_s is not None

    def update(self, step: Step) -> None:
        """How short memory is now."""
        now_s = self._clock()
        if step >= Step.SHED_VIEWS:
            self._until_s = now_s + HOLD_S if self._until_s is None else self._until_s
        elif self._until_s is not None and now_s >= self._until_s:
            self._until_s = None

    def sheds(self, view: str) -> bool:
        """Whether viewers and recordings of this view are let go, with its encoder: all but ``depth`` are."""
        return self.active and view != KEPT_VIEW

    def admit(self) -> None:
        """Before a new viewer of any view is let in. Raises MemoryShort."""
        if self._until_s is not None:
            raise MemoryShort(max(MIN_RETRY_S, round(self._until_s - self._clock())))
