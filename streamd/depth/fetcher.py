"""Fetches the weights of the wanted model in the background, again and again until they are here."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from streamd.concurrency import threads
from streamd.concurrency.backoff import Backoff
from streamd.depth.models import ModelSpec
from streamd.depth.store import ModelStore
from streamd.errors import InferenceFailed, StreamdError
from streamd.states import WorkerEnd

log = logging.getLogger(__name__)

BACKOFF = Backoff(first_s=60.0, factor=2.0, cap_s=3600.0)


class ModelFetcher:
    """One thread, from ``start`` until the weights are here or ``stop`` is set."""

    def __init__(
        self,
        store: ModelStore,
        spec: ModelSpec,
        fallback: str,
        stop: threading.Event,
        *,
        on_message: Callable[[str], None],
        on_arrival: Callable[[], None],
    ) -> None:
        """``on_message`` gets a line for page and API, ``on_arrival`` is called once; both in the thread."""
        self._store = store
        self._spec = spec
        self._fallback = fallback
        self._stop = stop
        self._on_message = on_message
        self._on_arrival = on_arrival
        self._thread: threads.Worker | None = None

    def start(self) -> None:
        """Does nothing when it has been started."""
        if self._thread is None:
            self._thread = threads.start("model-fetch", self._run)

    def join(self) -> None:
        """After ``stop`` was set."""
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        if self._spec.notice:
            log.info("%s: %s", self._spec.title, self._spec.notice)
        level = logging.WARNING  # once
        for delay_s in BACKOFF.delays():
            try:
                self._store.fetch(self._spec.name, self._progress)
            except StreamdError as error:
                if self._stop.is_set():
                    return
                self._report(error, level)
                level = logging.DEBUG
            else:
                self._on_message(f"starting {self._spec.title}")
                log.info("%s is here; changing over", self._spec.title)
                self._on_arrival()
                return
            if self._stop.wait(delay_s):
                return

    def _report(self, error: StreamdError, level: int) -> None:
        url = self._spec.download.url if self._spec.download else ""
        message = f"{self._spec.title} could not be fetched: {str(error).removeprefix(f'{url}: ')}"
        self._on_message(message)
        log.log(level, "%s; staying on the %s model, trying again now and then", message, self._fallback)

    def _progress(self, done: int, total: int | None) -> None:
        if self._stop.is_set():
            raise InferenceFailed(WorkerEnd.STOPPED, "closing")
        progress = f"{100 * done // total} %" if total else f"{done / 1e6:.0f} MB"
        self._on_message(f"downloading {self._spec.title}: {progress}")
