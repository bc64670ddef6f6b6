"""The hand-over between two threads of a stream: at most ``capacity`` items, never more."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Closed(Exception):
    """The other side is done: nothing more will come."""


class Mailbox(Generic[T]):
    """Latest-wins by default: a new item replaces the one that waits, which is counted as skipped.

    ``every=True`` is for file jobs: ``put`` waits for room, nothing is skipped. Any thread may
    call any method.
    """

    def __init__(
        self, *, every: bool = False, capacity: int = 1, on_skip: Callable[[T], None] = lambda _: None
    ) -> None:
        self._items: deque[T] = deque()
        self._every = every
        self._capacity = capacity
        self._on_skip = on_skip
        self._changed = threading.Condition()
        self._closed = False
        self._discarded = False
        self._woken = False

    def put(self, item: T) -> None:
        """Raises Closed. In ``every`` mode waits for room (backpressure)."""
        skipped = None
        with self._changed:
            if self._every:
                self._changed.wait_for(lambda: self._closed or len(self._items) < self._capacity)
            if self._closed:
                raise Closed
            if len(self._items) >= self._capacity:
                skipped = self._items.popleft()
            self._items.append(item)
            self._changed.notify_all()
        if skipped is not None:
            self._on_skip(skipped)

    def put_back(self, item: T) -> None:
        """What ``get`` gave, in front of all: unless newer ones have come that leave no room. Then it is skipped."""
        with self._changed:
            if self._closed and self._discarded:
                return
            has_room = len(self._items) < self._capacity
            if has_room:
                self._items.appendleft(item)
        if not has_room:
            self._on_skip(item)

    def offer(self, item: T) -> bool:
        """Never waits, and replaces nothing: False when there is no room, or it is closed."""
        with self._changed:
            if self._closed or len(self._items) >= self._capacity:
                return False
            self._items.append(item)
            self._changed.notify_all()
            return True

    def get(self, timeout_s: float | None = None) -> T | None:
        """The oldest item; None after the timeout or a ``wake``. Raises Closed when drained."""
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._closed or self._woken, timeout_s)
            self._woken = False
            if self._items:
                item = self._items.popleft()
                self._changed.notify_all()
                return item
            if self._closed:
                raise Closed
            return None

    def wait(self) -> None:
        """Until there is an item, which stays; or until a ``wake``. Raises Closed when drained."""
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._closed or self._woken)
            self._woken = False
            if self._closed and not self._items:
                raise Closed

    def __len__(self) -> int:
        """How many items wait."""
        return len(self._items)

    def result(self, future: Future[R]) -> R:
        """Waits for the result of ``future``. Raises its error; Closed when the mailbox is closed with ``discard``."""
        future.add_done_callback(lambda _: self._notify())
        with self._changed:
            self._changed.wait_for(lambda: future.done() or self._discarded)
        if not future.done():
            raise Closed
        return future.result()

    def _notify(self) -> None:
        with self._changed:
            self._changed.notify_all()

    @property
    def closed(self) -> bool:
        return self._closed

    @property
    def discarded(self) -> bool:
        """Closed with ``discard``: the waiting items are not wanted either."""
        return self._discarded

    def wake(self) -> None:
        """Makes a waiting ``get`` return None: there is something else to do."""
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def close(self, *, discard: bool = False) -> None:
        """No more items. What waits is still delivered, unless discarded. Safe to repeat."""
        with self._changed:
            self._closed = True
            if discard:
                self._discarded = True
                self._items.clear()
            self._changed.notify_all()
