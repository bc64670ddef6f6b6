"""Measures the model that runs, once, behind the first pictures."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from streamd.concurrency import threads
from streamd.depth.estimator import ModelInfo
from streamd.depth.launcher import Launcher
from streamd.errors import StreamdError

log = logging.getLogger(__name__)

AFTER_S = 5.0
"""The first pictures go first."""


class Profiling:
    """One thread for each model that has not been measured on this CPU; one at a time."""

    def __init__(self, launcher: Launcher, stop: threading.Event, on_other: Callable[[ModelInfo], None]) -> None:
        """``on_other``, in the thread: another precision is better here than the one that runs."""
        self._launcher = launcher
        self._stop = stop
        self._on_other = on_other
        self._tried: set[str] = set()
        self._thread: threads.Worker | None = None

    def begin(self, info: ModelInfo) -> None:
        """Does nothing when it was measured before, or is about to be."""
        if self._thread is not None and not self._thread.finished.done():
            return
        if info.sha256 in self._tried or not self._launcher.needs_profile(info):
            return
        self._tried.add(info.sha256)
        self._thread = threads.start("profiling", lambda: self._run(info))

    def join(self) -> None:
        """After ``stop`` was set."""
        if self._thread is not None:
            self._thread.join()

    def _run(self, info: ModelInfo) -> None:
        if self._stop.wait(AFTER_S):
            return
        try:
            profile = self._launcher.measure(info)
        except StreamdError as error:
            if not self._stop.is_set():
                log.warning("%s: it was not measured which precision is best here", error)
            return
        every = {**profile.precisions, **profile.others}
        times = ", ".join(f"{name} {measured.ms:.1f} ms" for name, measured in every.items())
        log.info("model %s measured on this CPU: %s", info.spec.name, times)
        if self._launcher.choose(info.spec, info.sha256) != (info.runtime, info.precision):
            self._on_other(info)
