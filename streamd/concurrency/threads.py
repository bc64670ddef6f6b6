"""The only place that starts threads: named, non-daemon, and their failures are kept."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
import time
import weakref
from collections import Counter, deque
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, Generic, TypeVar

from streamd.errors import Busy

T = TypeVar("T")

log = logging.getLogger(__name__)


class Worker(threading.Thread):
    """A thread whose end, good or bad, is in ``finished``."""

    def __init__(self, name: str, run: Callable[[], object]) -> None:
        super().__init__(name=name, daemon=False)
        self._run_body = run
        self.finished: Future[None] = Future()
        self.finished.set_running_or_notify_cancel()  # or who waits for it, and is cancelled, would cancel it

    def run(self) -> None:
        _tell_name(self.name)
        try:
            self._run_body()
        except BaseException as error:
            self.finished.set_exception(error)
        else:
            self.finished.set_result(None)
        finally:
            del self._run_body  # it may hold what holds this thread: frames and codecs would wait for the collector


def start(name: str, run: Callable[[], object]) -> Worker:
    """Start ``run`` in a thread whose name Linux shows, as in ``top -H``: the first 15 characters of it."""
    worker = Worker(name, run)
    worker.start()
    return worker


async def finish(worker: Worker, within_s: float) -> bool:
    """Waits for its end, which someone has asked for. One that takes longer is abandoned, and False returned; also
    when the wait is cancelled."""
    finished = asyncio.wrap_future(worker.finished)
    finished.add_done_callback(lambda done: done.cancelled() or done.exception())
    try:
        await asyncio.wait([finished], timeout=within_s)
    finally:
        if not finished.done():
            log.warning("thread %s does not end: it is left to itself", worker.name)
            abandon(worker)
    return finished.done()


async def call(name: str, run: Callable[[], T]) -> T:
    """Do something that may block in a thread of its own, and wait for it on the event loop. When the wait is
    cancelled the thread is abandoned."""
    results: list[T] = []
    worker = start(name, lambda: results.append(run()))
    try:
        await asyncio.wrap_future(worker.finished)
    except asyncio.CancelledError:
        abandon(worker)
        raise
    return results[0]


class Periodic:
    """Repeats a call in a thread of its own, which a dead disk may hold without harm."""

    def __init__(self, name: str, call: Callable[[threading.Event], object], every_s: float) -> None:
        """``call`` is given the event that is set when it shall end."""
        self._name, self._call, self._every_s = name, call, every_s
        self._stopping = threading.Event()
        self._worker = start(name, self._run)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._call(self._stopping)
            except Exception:  # it must not be the last
                log.exception("thread %s: internal error", self._name)
            self._stopping.wait(self._every_s)

    async def stop(self, within_s: float = 1.0) -> None:
        """Abandons a thread that does not end in time. Safe to repeat."""
        self._stopping.set()
        await finish(self._worker, within_s)


class SerialExecutor:
    """Runs calls one after the other in one named thread: for short blocking work asked for by
    the event loop.

    Owners take turns, so that one with many calls does not keep the others waiting. Bounded:
    ``submit`` raises Busy when ``capacity`` calls, or ``max_per_owner`` of their owner, wait or run.
    """

    def __init__(
        self,
        name: str,
        capacity: int = 8,
        *,
        max_per_owner: int | None = None,
        niceness: int = 0,
        calls: str = "requests",
    ) -> None:
        """``calls`` is what one who has to wait is told that there are too many of."""
        self._calls = calls
        self._capacity = capacity
        self._max_per_owner = max_per_owner or capacity
        self._niceness = niceness
        self._changed = threading.Condition()
        self._waiting: dict[Hashable, deque[tuple[Future[Any], Callable[[], Any]]]] = {}
        """By owner; whose turn is next is first."""
        self._pending: Counter[Hashable] = Counter()
        """Calls that wait or run, by owner."""
        self._closed = False
        self._worker = start(name, self._run)

    def submit(self, call: Callable[[], T], owner: Hashable = None) -> Future[T]:
        """Any thread."""
        future: Future[T] = Future()
        with self._changed:
            is_full = self._pending.total() >= self._capacity or self._pending[owner] >= self._max_per_owner
            if is_full or self._closed:
                raise Busy(f"too many {self._calls} wait already; try again")
            self._pending[owner] += 1
            self._waiting.setdefault(owner, deque()).append((future, call))
            self._changed.notify()
        return future

    def close(self, timeout_s: float | None = None) -> None:
        """Returns when all that waits is done. With ``timeout_s`` what waits is cancelled instead, and the call
        that runs is left to itself if it takes longer."""
        with self._changed:
            self._closed = True
            if timeout_s is not None:
                for future, _ in chain.from_iterable(self._waiting.values()):
                    future.cancel()
            self._changed.notify()
        self._worker.join(timeout_s)
        if self._worker.is_alive():
            abandon(self._worker)

    async def leave(self, within_s: float) -> None:
        """As ``close`` without a timeout, from the event loop: a thread that takes longer is abandoned, and does
        what waits when the call that holds it ends."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        await finish(self._worker, within_s)

    def _run(self) -> None:
        lower_priority(self._niceness)
        owner: Hashable = None
        while self._is_more(owner):
            owner = self._run_next()

    def _is_more(self, last_owner: Hashable) -> bool:
        """Waits for a call. False when closed. It is the turn of the others before the last owner's."""
        with self._changed:
            if last_owner in self._waiting:
                self._waiting[last_owner] = self._waiting.pop(last_owner)
            self._changed.wait_for(lambda: self._waiting or self._closed)
            return bool(self._waiting)

    def _run_next(self) -> Hashable:
        """Whose call it was. Keeps neither call nor result: a picture has tens of megabytes."""
        with self._changed:
            owner, queue = next(iter(self._waiting.items()))
            future, call = queue.popleft()
            if not queue:
                del self._waiting[owner]
        settle = _outcome(future, call) if future.set_running_or_notify_cancel() else None
        with self._changed:  # before the result is there: who gets it may ask for the next at once
            self._pending[owner] -= 1
            self._pending += Counter()  # forgets who has none
        if settle is not None:
            settle()
        return owner


def _outcome(future: Future[T], call: Callable[[], T]) -> Callable[[], None]:
    """Makes the call; what it gives settles the future."""
    try:
        return partial(future.set_result, call())
    except Exception as error:
        return partial(future.set_exception, error)
    finally:
        del future, call  # an error would hold this frame, and this frame the error, until the next collection


class SharedCall(Generic[T]):
    """A slow call, made in a thread of its own. All that ask while it runs share its result."""

    def __init__(self, name: str, call: Callable[[], T]) -> None:
        self._name = name
        self._call = call
        self._worker: Worker | None = None
        self._result: Future[T] = Future()

    def start(self) -> Future[T]:
        """From one thread only. Cannot be cancelled."""
        if self._worker is None or not self._worker.is_alive():
            self._result = Future()
            self._result.set_running_or_notify_cancel()
            self._worker = start(self._name, self._run)
        return self._result

    def close(self) -> None:
        """Does not wait: what the call waits for may never come."""
        if self._worker is not None:
            abandon(self._worker)

    def _run(self) -> None:
        try:
            self._result.set_result(self._call())
        except Exception as error:
            self._result.set_exception(error)


class LeftExecutor(ThreadPoolExecutor):
    """For what libraries ask of the event loop's own threads, names in the DNS above all: nobody waits for it at the
    end. ``asyncio.run`` would, for five minutes."""

    def submit(self, call: Callable[..., T], /, *args: Any, **options: Any) -> Future[T]:
        future = super().submit(call, *args, **options)
        _left_calls.add(future)
        future.add_done_callback(_left_calls.discard)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        super().shutdown(wait=False, cancel_futures=True)


def exit_after(seconds: float, code: Callable[[], int]) -> None:
    """Ends the process then, if it has not ended by itself, whatever holds its threads: the last resort."""

    def run() -> None:
        time.sleep(seconds)
        os._exit(code())

    threading.Thread(target=run, name="last-resort", daemon=True).start()


def _tell_name(name: str) -> None:
    """To the system, which Python does itself since 3.14 (https://github.com/python/cpython/issues/59705)."""
    with suppress(OSError):  # no Linux, or a sandbox without it
        Path(f"/proc/self/task/{threading.get_native_id()}/comm").write_text(name)


def lower_priority(niceness: int) -> None:
    """Of this thread, and of those that it starts. Where a sandbox does not let us, all is done at the usual one.
    Elsewhere than on Linux it would be that of the process."""
    if niceness and sys.platform == "linux":
        thread = threading.get_native_id()
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + niceness)


_abandoned: weakref.WeakSet[Worker] = weakref.WeakSet()
_left_calls: set[Future[Any]] = set()


def abandon(worker: Worker) -> None:
    """Stops waiting for ``worker``: something outside Python holds it, and it ends by itself some time."""
    _abandoned.add(worker)


def any_abandoned() -> bool:
    """Whether such a thread, or a call of a LeftExecutor, still runs."""
    return bool(_left_calls) or any(worker.is_alive() for worker in _abandoned)
