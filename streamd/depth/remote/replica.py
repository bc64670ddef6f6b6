"""One of the servers that run the same network: asked and watched while it serves, tried when it does not."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from streamd.concurrency import threads
from streamd.concurrency.backoff import Backoff
from streamd.depth.remote.answer import Client, NoAnswer
from streamd.depth.remote.calibration import Calibration, Size, check
from streamd.media.frames import ByteImage, FloatImage

Report = Callable[[int, str], None]
"""Takes a replica's number, and why it does not serve; empty: it does. Any thread."""
UNTRIED = "not tried yet"
WAITS = "waits for a picture to be compared by"


_BACKOFF = Backoff(first_s=0.2, factor=1.6, cap_s=2.0, healthy_after_s=5.0)


@dataclass(frozen=True)
class Limits:
    """Times, s."""

    least_s: float = 0.15
    """That an answer may take, whatever the server usually takes."""
    most_s: float = 0.3
    """Or twice what the network here takes, where that is more: one that is slower is of no use."""
    cap_s: float = math.inf
    """But never more."""
    usual: float = 4.0
    """Times what the server usually takes."""
    probe_s: float = 2.0
    """For readiness and metadata."""
    watch_s: float = 0.5
    """Between two looks at one that serves: wrong depth is not seen before."""
    backoff: Backoff = _BACKOFF
    """Between two looks at one that does not."""


@contextmanager
def _no_surprises() -> Iterator[None]:
    """What else a server may bring a library to raise ends its service, and no thread."""
    try:
        yield
    except NoAnswer:
        raise
    except Exception as error:
        raise NoAnswer(repr(error)) from error


class Replica:
    """The first failure ends its service. It comes back when it says that it is ready, is what it should be, and gives
    the network's own depth of a few pictures, in time: at each size for itself, since a server may know one only."""

    def __init__(self, number: int, client: Client, calibration: Calibration, limits: Limits, report: Report) -> None:
        """``number`` is its place in the list, from 1."""
        self.number = number
        self._client = client
        self._calibration = calibration
        self._limits = limits
        self._report = report
        self._lock = threading.Lock()
        self._agreed: dict[Size, float] = {}
        """Sizes at which it serves, with what it usually takes, s."""
        self._refused: set[Size] = set()
        """Sizes at which it did not agree, while it does at another."""
        self._turn = 0
        self._service = 0
        """Counts its ends: what was asked before one says nothing of what came after it."""
        self._reported = ""
        self.outstanding = 0
        """Requests under way, of frames."""
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._thread: threads.Worker | None = None

    def start(self) -> None:
        self._tell(UNTRIED)
        self._thread = threads.start(f"endpoint-{self.number}", self._watch)

    def close(self) -> None:
        self._stop.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join()
        self._client.close()

    def usual_s(self, size: Size) -> float | None:
        """What it usually takes for a picture of this size; None: it does not serve it."""
        return self._agreed.get(size)

    def look(self) -> None:
        """There is a size that it was not compared at."""
        if self._agreed or self._reported == WAITS:
            self._wake.set()

    def infer(self, pictures: ByteImage) -> FloatImage:
        """(1, h, w, 3) RGB to (h, w). Raises NoAnswer, and serves no more then."""
        size, service = pictures.shape[1:3], self._service
        started = time.monotonic()
        try:
            with _no_surprises():
                depth = self._client.infer(pictures, started + self._allowed_s(size))
        except NoAnswer as failure:
            self._fail(str(failure), service)
            raise
        self._took(size, time.monotonic() - started)
        return depth

    # -- how long it takes ---------------------------------------------------------------------

    def _allowed_s(self, size: Size) -> float:
        limits = self._limits
        return min(max(limits.least_s, limits.usual * self._agreed.get(size, 0.0)), self._most_s(size))

    def _most_s(self, size: Size) -> float:
        return min(max(self._limits.most_s, 2 * self._calibration.samples(size).local_s), self._limits.cap_s)

    def _took(self, size: Size, seconds: float) -> None:
        with self._lock:
            if size in self._agreed:
                self._agreed[size] += 0.2 * (seconds - self._agreed[size])

    # -- whether it serves ---------------------------------------------------------------------

    def _fail(self, reason: str, service: int) -> None:
        with self._lock:
            if service != self._service:
                return
            self._service += 1
            self._agreed.clear()
            self._refused.clear()
        self._tell(reason)
        self._wake.set()

    def _tell(self, reason: str) -> None:
        if reason != self._reported:
            self._reported = reason
            self._report(self.number, reason)

    def _watch(self) -> None:
        """The body of its thread, which a name service may hold without harm."""
        delays, began, service = self._limits.backoff.start(), time.monotonic(), self._service
        while not self._stop.is_set():
            self._wake.clear()
            try:
                with _no_surprises():
                    self._examine()
            except NoAnswer as failure:
                self._fail(str(failure), self._service)
            else:
                self._wake.wait(self._limits.watch_s)
            if self._service != service:  # also when a frame was what found out
                self._stop.wait(delays.after(time.monotonic() - began))
                began, service = time.monotonic(), self._service

    def _examine(self) -> None:
        """Raises NoAnswer."""
        service, is_new = self._service, not self._agreed
        until = time.monotonic() + self._limits.probe_s
        if is_new:
            self._client.connect(until)
        self._client.check_ready(until)
        if is_new:
            self._client.check_metadata(until)
        problem = None
        for size in self._due():
            if self._stop.is_set():
                return
            try:
                self._compare(size, service)
            except NoAnswer as failure:
                if size in self._agreed:
                    raise
                self._refused.add(size)
                problem = failure
        if problem is not None and not self._agreed:
            raise problem
        if service == self._service:
            self._tell("" if self._agreed else WAITS)

    def _due(self) -> list[Size]:
        """Sizes to compare now: all that are new, and one of the others, in turns."""
        sizes = self._calibration.sizes
        new = [size for size in sizes if size not in self._agreed and size not in self._refused]
        known = [size for size in sizes if size in self._agreed]
        self._turn += 1
        return [*known[self._turn % len(known) :][:1], *new] if known else new

    def _compare(self, size: Size, service: int) -> None:
        """All pictures of a size that is new, else one: it may have got other weights meanwhile."""
        samples, is_new = self._calibration.samples(size), size not in self._agreed
        took_s = math.inf
        for sample in samples.all if is_new else samples.all[:1]:
            began = time.monotonic()
            answer = self._client.infer(sample.picture, began + self._most_s(size))
            took_s = min(took_s, time.monotonic() - began)
            check(answer, sample)
        with self._lock:
            if is_new and service == self._service:
                self._agreed[size] = took_s
