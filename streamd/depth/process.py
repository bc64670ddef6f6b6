"""The parent's end of one depth worker process: starts it, feeds it, watches it, ends it."""

from __future__ import annotations

import json
import logging
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from queue import Empty, SimpleQueue

from streamd.concurrency import threads
from streamd.depth.protocol import (
    DONE,
    ENDPOINT,
    FAILED,
    MESSAGE_BYTES,
    PREPARING,
    READY,
    REFUSED,
    InferenceRequest,
    Reply,
    Slots,
    WorkerJob,
)
from streamd.errors import InferenceFailed
from streamd.media.frames import FloatImage
from streamd.states import WorkerEnd
from streamd.telemetry.metrics import resident_bytes

log = logging.getLogger(__name__)

PREPARE_S = 60.0
"""How long a worker may take to load or compile a network before it counts as hung."""
TICK_S = 0.25
EXIT_S = 2.0


_KEPT = re.compile(
    r"PATH|HOME|USER|LANG|LANGUAGE|TZ|TMPDIR|VIRTUAL_ENV|STREAMD_HOME|XDG_CACHE_HOME"
    r"|PYTHON(?:PATH|HOME|SAFEPATH|NOUSERSITE|DONTWRITEBYTECODE|PYCACHEPREFIX|UNBUFFERED|UTF8|HASHSEED|OPTIMIZE)"
    r"|PYTHON(?:WARNINGS|FAULTHANDLER|DEVMODE|MALLOC|TRACEMALLOC|ASYNCIODEBUG)"
    r"|(?:LC|LD|COV|COVERAGE|GLIBC|MALLOC|OMP|KMP|GOMP|MKL|DNNL|ONEDNN|TBB|OV|OPENVINO|OPENCV|TORCH|CUDA)_[A-Z0-9_]+"
)
_SECRET = re.compile(r"PASS|SECRET|TOKEN|KEY|CREDENTIAL", re.IGNORECASE)
"""In the name of what stays here, whatever else the name looks like."""


def child_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """What a child of ours needs of it, and no more: passwords and tokens may have any name (env:NAME)."""
    return {name: value for name, value in environment.items() if _KEPT.fullmatch(name) and not _SECRET.search(name)}


@dataclass(slots=True)
class _Pending:
    """An inference under way. Written by the submitting thread, then by the reader thread."""

    shape: tuple[int, int]
    deadline: float
    future: Future[FloatImage]


@dataclass(frozen=True, slots=True)
class _Child:
    """The process, our end of its socket, and the memory that both map."""

    process: subprocess.Popen[bytes]
    channel: socket.socket
    slots: Slots

    @classmethod
    def start(cls, job: WorkerJob, token: str) -> _Child:
        """Raises OSError."""
        memfd = os.memfd_create("streamd-depth")
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            os.ftruncate(memfd, Slots.size_bytes(job.slots, job.max_pixels))
            slots = Slots(memfd, job.slots, job.max_pixels)
            process = subprocess.Popen(
                [sys.executable, "-m", "streamd.depth.worker", job.to_json(), str(theirs.fileno()), str(memfd)],
                pass_fds=(theirs.fileno(), memfd),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env=child_environment(os.environ) | {"OMP_NUM_THREADS": str(job.threads)},
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
            os.close(memfd)
        if job.endpoints:
            ours.send(json.dumps(token).encode())
        ours.settimeout(TICK_S)
        return cls(process, ours, slots)


class WorkerProcess:
    """One process. ``submit`` from any thread; a thread of ours reads the replies and watches.

    A missed deadline, a crash, or more resident memory than allowed ends the process; every
    inference under way then fails with InferenceFailed, and ``on_exit`` is called with the reason.
    """

    def __init__(
        self,
        job: WorkerJob,
        *,
        deadline_s: float,
        memory_limit_bytes: int,
        token: str = "",
        on_exit: Callable[[InferenceFailed], None] = lambda _: None,
        on_endpoints: Callable[[], None] = lambda: None,
    ) -> None:
        """``token`` is for the endpoints of ``job``; ``on_endpoints``, in our thread: ``endpoints`` has changed.

        Raises InferenceFailed when no process can be started."""
        self.job = job
        self.precision = job.precision
        self._deadline_s = deadline_s
        self._memory_limit_bytes = memory_limit_bytes
        self._on_exit = on_exit
        self._on_endpoints = on_endpoints
        self.endpoints = [False] * len(job.endpoints)
        """Which of them serve."""
        self._pending: dict[int, _Pending] = {}
        self._lock = threading.Lock()
        self._free: SimpleQueue[int] = SimpleQueue()
        for slot in range(job.slots):
            self._free.put(slot)
        self._closing = False
        self._preparing: tuple[int, float] | None = None
        """The slot whose size is being compiled, and until when. The worker does nothing else meanwhile."""
        self.failure: InferenceFailed | None = None
        self.ready: Future[None] = Future()
        self.refusal: str | None = None
        """Why the weights are at fault, when it did not start because of them."""
        try:
            self._child = _Child.start(job, token)
        except OSError as error:
            raise InferenceFailed(WorkerEnd.START, f"{error.strerror}") from error
        self._ready_by = time.monotonic() + PREPARE_S
        self._reader = threads.start("depth-reader", self._read)

    @property
    def pid(self) -> int:
        return self._child.process.pid

    @property
    def busy(self) -> bool:
        """Whether there are inferences under way."""
        return bool(self._pending)

    def resident_bytes(self) -> int:
        return resident_bytes(self.pid)

    def submit(self, planes: FloatImage, *, live: bool = True, patient: bool = False) -> Future[FloatImage]:
        """(3, h, w) float32 in, (h, w) float32 out. Waits for a free slot. ``live``, ``patient``: see
        ``InferenceRequest``."""
        _, height, width = planes.shape
        slot = self._take_slot()
        pending = _Pending((height, width), time.monotonic() + self._deadline_s, Future())
        pending.future.set_running_or_notify_cancel()  # its slot is in use until the worker replies
        self._child.slots.input(slot, height, width)[0] = planes
        with self._lock:
            if self.failure is not None:
                pending.future.set_exception(self.failure)
                return pending.future
            self._pending[slot] = pending
        try:
            self._child.channel.send(InferenceRequest(slot, height, width, live, patient).pack())
        except OSError:
            pass  # it died or hangs: the reader notices and fails the future
        return pending.future

    def _take_slot(self) -> int:
        while True:
            try:
                return self._free.get(timeout=TICK_S)
            except Empty:
                if self.failure is not None:
                    raise self.failure from None

    def recycle(self) -> None:
        """Ends soon, as one that has outgrown its limit. Any thread."""
        self._memory_limit_bytes = 0

    def close(self) -> None:
        """Ends the process and waits for it. Inferences under way fail. Safe to repeat."""
        self._closing = True
        try:
            self._child.channel.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._reader.join()

    # -- the reader thread --------------------------------------------------------------------

    def _read(self) -> None:
        failure = InferenceFailed(WorkerEnd.STOPPED, "closed")
        try:
            failure = self._watch()
        finally:
            self._end(failure)

    def _watch(self) -> InferenceFailed:
        """Until there is a reason to end; returns it."""
        next_check = 0.0
        while True:
            message = self._receive()
            if message == b"":
                return self._hung_up()
            problem = self._take(Reply.unpack(message)) if message else None
            now = time.monotonic()
            if problem is None and now >= next_check:
                next_check = now + TICK_S
                problem = self._too_late(now) or self._too_big()
            if problem is not None:
                return problem

    def _receive(self) -> bytes | None:
        """A message, empty when the worker has gone, None when nothing came for a while."""
        try:
            return self._child.channel.recv(MESSAGE_BYTES)
        except TimeoutError:
            return None
        except OSError:
            return b""

    def _hung_up(self) -> InferenceFailed:
        if self._closing:
            return InferenceFailed(WorkerEnd.STOPPED, "closed")
        try:
            code = self._child.process.wait(EXIT_S)
        except subprocess.TimeoutExpired:
            return InferenceFailed(WorkerEnd.CRASHED, "it closed its channel")
        return InferenceFailed(WorkerEnd.CRASHED, f"killed by signal {-code}" if code < 0 else f"exit code {code}")

    def _take(self, reply: Reply) -> InferenceFailed | None:
        if reply.kind == READY:
            self.precision = json.loads(reply.text)["precision"]
            too_big = self._too_big()  # else it would be put to use, and ended at once
            if too_big is None:
                self.ready.set_result(None)
            return too_big
        if reply.kind == REFUSED:
            self.refusal = reply.text
            return InferenceFailed(WorkerEnd.START, f"weights refused: {reply.text}")
        if reply.kind == FAILED and not self.ready.done():
            return InferenceFailed(WorkerEnd.START, reply.text)
        if reply.kind == ENDPOINT:
            self._heard_of(reply.slot, reply.text)
        elif reply.kind == PREPARING:
            self._preparing = (reply.slot, time.monotonic() + PREPARE_S)
        else:
            self._finish(reply)
        return None

    def _heard_of(self, number: int, reason: str) -> None:
        url = self.job.endpoints[number - 1]
        if reason:
            log.log(logging.WARNING if self.endpoints[number - 1] else logging.INFO, "endpoint %s: %s", url, reason)
        else:
            log.info("endpoint %s serves", url)
        self.endpoints[number - 1] = not reason
        self._on_endpoints()

    def _finish(self, reply: Reply) -> None:
        with self._lock:
            pending = self._pending.pop(reply.slot)
            if self._preparing is not None and self._preparing[0] == reply.slot:
                self._preparing, again = None, time.monotonic() + self._deadline_s
                for other in self._pending.values():
                    other.deadline = max(other.deadline, again)
        if reply.kind == DONE:
            depth = self._child.slots.output(reply.slot, *pending.shape)[0].copy()
            self._free.put(reply.slot)
            pending.future.set_result(depth)
        else:
            self._free.put(reply.slot)
            pending.future.set_exception(InferenceFailed(WorkerEnd.ERROR, reply.text))

    def _too_late(self, now: float) -> InferenceFailed | None:
        if not self.ready.done():
            return _deadline(f"not ready after {PREPARE_S:.0f} s") if now > self._ready_by else None
        if self._preparing is not None:
            return _deadline(f"not compiled within {PREPARE_S:.0f} s") if now > self._preparing[1] else None
        with self._lock:
            late = any(now > pending.deadline for pending in self._pending.values())
        return _deadline(f"no answer within {self._deadline_s:g} s") if late else None

    def _too_big(self) -> InferenceFailed | None:
        resident, limit = self.resident_bytes(), self._memory_limit_bytes
        if resident <= limit:
            return None
        return InferenceFailed(WorkerEnd.MEMORY, f"{resident / 1e6:.0f} MB resident, allowed are {limit / 1e6:.0f}")

    def _end(self, failure: InferenceFailed) -> None:
        with self._lock:
            self.failure = failure
            lost, self._pending = list(self._pending.values()), {}
        if not self._closing:  # first of all: a caller that tries again must not be sent here
            self._on_exit(failure)
        self._child.process.kill()
        self._child.process.wait()
        self._child.channel.close()
        for pending in lost:
            pending.future.set_exception(failure)
        if not self.ready.done():
            self.ready.set_exception(failure)


def _deadline(detail: str) -> InferenceFailed:
    return InferenceFailed(WorkerEnd.DEADLINE, detail)
