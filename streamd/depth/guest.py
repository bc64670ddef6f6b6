"""Another model than the live one, for single pictures: a worker of its own, one at a time, which rests soon."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from functools import partial
from typing import TypeVar

from streamd.concurrency import threads
from streamd.concurrency.threads import SerialExecutor
from streamd.config.sections import ModelConfig
from streamd.depth.models import ModelSpec, find_model
from streamd.depth.service import DepthService
from streamd.depth.store import ModelStore
from streamd.errors import Busy, Stopping
from streamd.host.cgroup import memory_free_bytes

T = TypeVar("T")

MAX_CALLS, MAX_CALLS_PER_OWNER = 4, 2
"""That wait or are worked on."""
NICENESS = 10
CLOSE_S = 1.0
LEAST_BYTES = 500_000_000
"""What a small network takes, with some room."""


class Guest:
    """Any thread may call any method. The streams notice nothing but a busier CPU: its worker has its own memory limit,
    and no place in their turns."""

    def __init__(self, live: Callable[[], ModelConfig], store: ModelStore) -> None:
        """``live`` is the model of the streams; what is no matter of the network, such as threads, is taken from it."""
        self._live = live
        self._store = store
        self._lock = threading.Lock()
        self._service: DepthService | None = None
        self._users = 0
        self._closed = False
        self._calls = SerialExecutor(
            "guest", MAX_CALLS, max_per_owner=MAX_CALLS_PER_OWNER, niceness=NICENESS, calls="pictures for another model"
        )

    def submit(self, name: str, call: Callable[[DepthService], T], owner: Hashable = None) -> Future[T]:
        """Calls it with model ``name``, in a thread of ours. Raises Busy when too many wait; the future ModelMissing,
        UsageError."""
        return self._calls.submit(partial(self._run, name, call), owner)

    def _run(self, name: str, call: Callable[[DepthService], T]) -> T:
        with self.service(name) as service:
            return call(service)

    @contextmanager
    def service(self, name: str) -> Iterator[DepthService]:
        """Of model ``name``. Raises ModelMissing, UsageError, Busy: another one is in use, or memory is too short."""
        self._store.weights(name)
        service = self._enter(name)
        try:
            with service.leased():
                with self._lock:
                    service.start(lazy=True)
                yield service
        finally:
            with self._lock:
                self._users -= 1

    def _enter(self, name: str) -> DepthService:
        config = self._config(name)
        with self._lock:
            if self._closed:
                raise Stopping
            old = self._service
            fits = old is not None and old.config == config and old.failure is None
            if not fits and self._users:
                raise Busy("another model than that of the streams is in use already; try again")
            if not fits:
                _check_memory(find_model(name), freed=old.worker_memory() if old else 0)
                self._service = DepthService(config, self._store, strict=True, measures=False)
            self._users += 1
            service = self._service
        if not fits and old is not None:
            old.close()
        assert service is not None
        return service

    def _config(self, name: str) -> ModelConfig:
        live = self._live()
        precision = "auto" if live.precision == "int8" else live.precision  # it is made for the streams' model only
        own = {"name": name, "weights": None, "input_size": "auto", "min_fps": 0.0, "precision": precision}
        return live.model_copy(update=own)

    def worker_memory(self) -> int:
        """Resident bytes; 0 without a worker."""
        service = self._service
        return service.worker_memory() if service else 0

    def recycle(self) -> None:
        """Gives its memory back soon, when nobody uses it. Does not wait for that."""
        with suppress(Busy):  # then somebody does
            self._calls.submit(self._release)

    def _release(self) -> None:
        with self._lock:
            service = self._service if not self._users else None
            if service is not None:
                self._service = None
        if service is not None:
            service.close()

    def end(self) -> None:
        """Gives its memory back, whoever uses it: they get an error. Does not wait for that."""
        with self._lock:
            service, self._service = self._service, None
        if service is not None:
            threads.start("guest-end", service.close)

    def close(self) -> None:
        """Ends its worker. Safe to repeat."""
        with self._lock:
            self._closed, service = True, self._service
        if service is not None:
            service.close()
        self._calls.close(CLOSE_S)


def _check_memory(spec: ModelSpec, freed: int) -> None:
    """Before it is loaded. ``freed``: what the one before gives back. Raises Busy."""
    needed, free = max(1_000_000 * spec.least_memory_mb, LEAST_BYTES), memory_free_bytes() + freed
    if free < needed:
        megabytes = f"{needed / 1e6:.0f} MB are needed, {free / 1e6:.0f} are free"
        raise Busy(f"too little memory for another model ({spec.title}) beside that of the streams: {megabytes}")
