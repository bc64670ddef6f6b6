"""The worker in use, or why there is none. The supervisor writes it; all others read it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from streamd.depth.estimator import ModelInfo
from streamd.depth.launcher import Serving
from streamd.errors import InferenceFailed, StreamdError
from streamd.states import ModelState, WorkerEnd


@dataclass(frozen=True)
class ServiceStatus:
    """The model, for page and API."""

    state: ModelState
    info: ModelInfo | None
    wanted: str
    message: str | None
    full_input_size: int | None = None
    """Of the model that answers, px: it may see smaller pictures for the sake of ``min_fps``."""


class Current:
    """Any thread may call any method."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._closed = False
        self.serving: Serving | None = None
        self.failure: StreamdError | None = None
        self.message: str | None = None
        """What page and API show of the wanted model while it does not run."""
        self.watchers: set[Callable[[], None]] = set()
        """Called after each change of these, in any thread."""

    @property
    def info(self) -> ModelInfo | None:
        serving = self.serving
        return serving.info if serving else None

    def wait_ready(self, timeout_s: float | None) -> ModelInfo:
        """Raises what went wrong when it cannot become ready, InferenceFailed on time-out."""
        with self._changed:
            self._changed.wait_for(lambda: self.serving or self.failure or self._closed, timeout_s)
            if self.serving:
                return self.serving.info
            raise self.failure or InferenceFailed(WorkerEnd.STOPPED, "no model is ready")

    def is_ready(self, timeout_s: float) -> bool:
        """Waits until a network can answer, also after a failure. False after ``timeout_s``."""
        with self._changed:
            self._changed.wait_for(lambda: self.serving or self._closed, timeout_s)
            return self.serving is not None

    def publish(self, serving: Serving) -> None:
        with self._changed:
            self.serving, self.failure = serving, None
            self._changed.notify_all()
        self.notify()

    def tell(self, message: str | None) -> None:
        if message != self.message:
            self.message = message
            self.notify()

    def notify(self) -> None:
        for watcher in tuple(self.watchers):
            watcher()

    def withdraw(self) -> Serving | None:
        """Takes the serving worker out of use, and returns it."""
        with self._changed:
            serving, self.serving = self.serving, None
        if serving is not None:
            self.notify()
        return serving

    def withdraw_failed(self) -> bool:
        """Whether the one that serves has failed; it is withdrawn then."""
        with self._changed:
            if self.serving is None or self.serving.worker.failure is None:
                return False
            self.serving = None
        self.notify()
        return True

    def fail(self, error: StreamdError) -> bool:
        """Reports the error to all that wait, unless a worker serves. Returns whether it is a new one."""
        with self._changed:
            news = str(error) != str(self.failure)
            if self.serving is None:
                self.failure = error
            self._changed.notify_all()
        self.notify()
        return news

    def recover(self) -> None:
        """A worker would start now: nothing has failed any more."""
        with self._changed:
            self.failure = None
        self.notify()

    def close(self) -> None:
        """Ends all waits."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
