"""The only place that starts threads: named, non-daemon, their failure never lost."""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from streamd.concurrency.mailbox import Closed, Mailbox
from streamd.errors import Busy

T = TypeVar("T")

log = logging.getLogger(__name__)


class Worker(threading.Thread):
    """A thread whose end, good or bad, is in ``finished``."""

    def __init__(self, name: str, run: Callable[[], None]) -> None:
        super().__init__(name=name, daemon=False)
        self._run_body = run
        self.finished: Future[None] = Future()
        self.finished.set_running_or_notify_cancel()  # or who waits for it, and is cancelled, would cancel it

    def run(self) -> None:
        try:
            self._run_body()
        except BaseException as error:
            self.finished.set_exception(error)
        else:
            self.finished.set_result(None)


def start(name: str, run: Callable[[], None]) -> Worker:
    """Start ``run`` in a named thread. Linux shows the first 15 characters of the name."""
    worker = Worker(name, run)
    worker.start()
    return worker


class SerialExecutor:
    """Runs calls one after the other in one named thread: for short blocking work asked for by
    the event loop. Bounded: ``submit`` raises Busy when ``capacity`` calls wait."""

    def __init__(self, name: str, capacity: int = 8) -> None:
        self._calls: Mailbox[tuple[Future[object], Callable[[], object]]] = Mailbox(every=True, capacity=capacity)
        self._free = threading.BoundedSemaphore(capacity)
        self._worker = start(name, self._run)

    def submit(self, call: Callable[[], T]) -> Future[T]:
        if not self._free.acquire(blocking=False):
            raise Busy
        future: Future[T] = Future()
        self._calls.put((future, call))  # type: ignore[arg-type]
        return future

    def _run(self) -> None:
        while True:
            try:
                item = self._calls.get()
            except Closed:
                return
            if item is None:
                continue
            future, call = item
            try:
                if future.set_running_or_notify_cancel():
                    future.set_result(call())
            except Exception as error:
                future.set_exception(error)
            finally:
                self._free.release()
            del item, future, call  # they hold the result, tens of megabytes of a picture, until the next one

    def close(self) -> None:
        self._calls.close()
        self._worker.join()


_abandoned: weakref.WeakSet[Worker] = weakref.WeakSet()


def abandon(worker: Worker) -> None:
    """Stops waiting for ``worker``: something outside Python holds it, and it ends by itself some time."""
    _abandoned.add(worker)


def any_abandoned() -> bool:
    """Whether such a thread still runs."""
    return any(worker.is_alive() for worker in _abandoned)
