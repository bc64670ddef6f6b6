"""The state of a stream: changed in one place, which checks, logs, counts and reports each transition."""

from __future__ import annotations

import logging
from collections.abc import Callable

from streamd.concurrency.waiting import Pulse
from streamd.render.notice import Notice
from streamd.states import StreamState
from streamd.telemetry.logs import StreamLog
from streamd.telemetry.metrics import StreamMetrics

log = logging.getLogger(__name__)

NOTICES = {
    StreamState.STARTING: "CONNECTING",
    StreamState.RECONNECTING: "NO SIGNAL",
    StreamState.FAILED: "NO SIGNAL",
    StreamState.ENDED: "THE END",
}
"""What viewers see in a state that gives them no picture."""


class StateMachine:
    """Begins as starting. Lives on the event loop."""

    def __init__(self, stream: str, metrics: StreamMetrics, on_change: Callable[[], None]) -> None:
        """``on_change`` is called when the state or its reason has changed."""
        self._log = StreamLog(log, stream)
        self._metrics = metrics
        self._on_change = on_change
        self.entered = Pulse()
        """Whenever a state is entered."""
        self.current = StreamState.STARTING
        self.reason: str | None = None
        metrics.state(self.current)

    def enter(self, state: StreamState, reason: str | None = None) -> None:
        """The one place where the state changes. Raises ValueError for a transition that is not legal."""
        if not self.current.may_become(state):
            raise ValueError(f"a stream that is {self.current} cannot become {state}")
        is_new = (state, reason) != (self.current, self.reason) or state is StreamState.STARTING
        self.current, self.reason = state, reason
        self._metrics.state(state)
        if is_new and reason:
            self._log.warning(f"{state}: %s", reason)
        elif is_new:
            self._log.info(state)
        self.entered.fire()
        if is_new:
            self._on_change()

    @property
    def notice(self) -> Notice | None:
        """What viewers see in a state without pictures."""
        title = NOTICES.get(self.current)
        return Notice(title, self.reason or "") if title else None
