"""Fetches weights in the background: those of the wanted model again and again until they are here."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from streamd.concurrency import threads
from streamd.concurrency.backoff import Backoff
from streamd.depth.models import ModelSpec
from streamd.depth.store import ModelStore
from streamd.errors import Busy, InferenceFailed, StreamdError
from streamd.states import WorkerEnd

log = logging.getLogger(__name__)

BACKOFF = Backoff(first_s=60.0, factor=2.0, cap_s=3600.0)
POLL_S = 0.25
MAX_FETCHES = 2
"""At once, beside that of the wanted model."""


@dataclass
class Fetch:
    """The weights of one model on their way. Its thread writes, any thread reads."""

    done_bytes: int = 0
    total_bytes: int | None = None
    error: str | None = None
    """Why the last attempt failed."""
    thread: threads.Worker | None = field(default=None, repr=False)
    hurry: threading.Event = field(default_factory=threading.Event, repr=False)
    """Set: try again now."""

    @property
    def active(self) -> bool:
        """Something is under way, or will be tried again."""
        return self.thread is not None and not self.thread.finished.done()


class ModelFetcher:
    """A thread for each model, from ``start`` until its weights are here, or nobody wants to run it, or ``stop`` is
    set. Any thread may call any method."""

    def __init__(
        self,
        store: ModelStore,
        stop: threading.Event,
        *,
        wanted: Callable[[], str],
        on_message: Callable[[str, str], None],
        on_arrival: Callable[[str], None],
    ) -> None:
        """``wanted`` gives the model that is to run. ``on_message`` gets a model and a line for page and API;
        ``on_arrival`` is called once for each; both in its thread."""
        self._store = store
        self._stop = stop
        self._wanted = wanted
        self._on_message = on_message
        self._on_arrival = on_arrival
        self._lock = threading.Lock()
        self._fetches: dict[str, Fetch] = {}

    def progress(self, name: str) -> Fetch | None:
        """Of the last fetch; None when there was none, or all of it is here."""
        return self._fetches.get(name)

    def start(self, spec: ModelSpec) -> None:
        """One that waits to try again tries now. Raises Busy."""
        with self._lock:
            before = self._fetches.get(spec.name)
            if before is not None and before.active:
                before.hurry.set()
                return
            others = sum(fetch.active for name, fetch in self._fetches.items() if name != self._wanted())
            if spec.name != self._wanted() and others >= MAX_FETCHES:
                raise Busy(f"{others} models are being fetched already: wait for one of them")
            fetch = self._fetches[spec.name] = Fetch()
            fetch.thread = threads.start(f"fetch-{spec.name}", lambda: self._run(spec, fetch))

    def join(self) -> None:
        """After ``stop`` was set."""
        for fetch in tuple(self._fetches.values()):
            if fetch.thread is not None:
                fetch.thread.join()

    def _run(self, spec: ModelSpec, fetch: Fetch) -> None:
        if spec.notice:
            log.info("%s: %s", spec.title, spec.notice)
        level = logging.WARNING  # once
        for delay_s in BACKOFF.delays():
            try:
                self._store.fetch(spec.name, lambda done, total: self._progress(spec, fetch, done, total))
            except StreamdError as error:
                if self._stop.is_set():
                    return
                self._report(spec, fetch, error, level)
                level = logging.DEBUG
            else:
                self._fetches.pop(spec.name, None)
                log.info("%s is here", spec.title)
                self._on_message(spec.name, f"starting {spec.title}")
                self._on_arrival(spec.name)
                return
            if not self._try_again(spec, fetch, delay_s):
                return

    def _try_again(self, spec: ModelSpec, fetch: Fetch, delay_s: float) -> bool:
        """Waits. False when nobody wants it any more."""
        left_s = delay_s
        while left_s > 0 and not self._stop.is_set() and self._wanted() == spec.name:
            if fetch.hurry.wait(POLL_S):
                fetch.hurry.clear()
                break
            left_s -= POLL_S
        fetch.error = None if self._wanted() == spec.name else fetch.error
        return not self._stop.is_set() and self._wanted() == spec.name

    def _report(self, spec: ModelSpec, fetch: Fetch, error: StreamdError, level: int) -> None:
        url = spec.download.url if spec.download else ""
        fetch.error = str(error).removeprefix(f"{url}: ")
        message = f"{spec.title} could not be fetched: {fetch.error}"
        self._on_message(spec.name, message)
        again = ", trying again now and then" if self._wanted() == spec.name else ""
        log.log(level, "%s%s", message, again)

    def _progress(self, spec: ModelSpec, fetch: Fetch, done: int, total: int | None) -> None:
        if self._stop.is_set():
            raise InferenceFailed(WorkerEnd.STOPPED, "closing")
        fetch.done_bytes, fetch.total_bytes = done, total
        progress = f"{100 * done // total} %" if total else f"{done / 1e6:.0f} MB"
        self._on_message(spec.name, f"downloading {spec.title}: {progress}")
