"""Changes of the model that were asked for: the newest counts."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from dataclasses import dataclass, field

from streamd.config.sections import ModelConfig
from streamd.errors import InferenceFailed, StreamdError
from streamd.states import WorkerEnd


@dataclass(eq=False)
class Change:
    """One that was asked for. ``outcome`` ends when its model runs, or could run; or with why it cannot."""

    config: ModelConfig
    outcome: Future[None] = field(default_factory=Future)

    def finish(self) -> None:
        if not self.outcome.done():
            self.outcome.set_result(None)

    def refuse(self, error: StreamdError) -> None:
        if not self.outcome.done():
            self.outcome.set_exception(error)


class Changes:
    """Any thread asks; the supervisor's thread takes up and ends."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asked: Change | None = None
        """To be taken up."""
        self._current: Change | None = None
        """Taken up: it is tried, or waits for its weights."""
        self._closed = False

    @property
    def wanted(self) -> ModelConfig | None:
        """What is wanted instead of what is in force; None: nothing else."""
        with self._lock:
            newest = self._asked or self._current
            return newest.config if newest else None

    @property
    def any_asked(self) -> bool:
        return self._asked is not None

    def ask(self, config: ModelConfig) -> Change:
        """Takes the place of every earlier one."""
        change = Change(config)
        with self._lock:
            before, self._asked = self._asked, change
            closed = self._closed
        if before is not None:
            before.refuse(_superseded())
        if closed:
            change.refuse(InferenceFailed(WorkerEnd.STOPPED, "closing"))
        return change

    def take(self) -> Change | None:
        """The one to try now."""
        with self._lock:
            change, self._asked = self._asked, None
            before, self._current = self._current, change or self._current
        if change is not None and before not in (None, change):
            before.refuse(_superseded())
        return change

    def end(self, change: Change) -> None:
        """It runs, or was refused."""
        with self._lock:
            if self._current is change:
                self._current = None

    def arrived(self, model: str) -> bool:
        """The weights of ``model`` are here. Whether a change has waited for them: it is tried again then."""
        with self._lock:
            if self._current is None or self._current.config.name != model:
                return False
            self._asked = self._asked or self._current
            return True

    def close(self) -> None:
        with self._lock:
            self._closed = True
            left = [change for change in (self._asked, self._current) if change]
            self._asked = self._current = None
        for change in left:
            change.refuse(InferenceFailed(WorkerEnd.STOPPED, "closing"))


def _superseded() -> InferenceFailed:
    return InferenceFailed(WorkerEnd.CHANGED, "another change of the model came after this one")
