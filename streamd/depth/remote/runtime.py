"""`runtime = "remote"`: frames go to the replica that has least to do, and to the network here while none serves."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from streamd.config.endpoints import EndpointAddress
from streamd.depth.models import find_model
from streamd.depth.protocol import WorkerJob
from streamd.depth.remote import open_client
from streamd.depth.remote.answer import Late, NoAnswer
from streamd.depth.remote.calibration import Calibration, Pixels, Size
from streamd.depth.remote.replica import Limits, Replica, Report
from streamd.depth.runtimes.runtime import Done, Runtime
from streamd.errors import DepthError
from streamd.media.frames import ByteImage, FloatImage

TRIES = 2
"""Replicas that one frame is sent to. The network here has half of the worker's own deadline left then."""


class RemoteRuntime:
    """Around the network here, which sees what the replicas see: 8-bit pictures. So it does not matter to what comes
    out who has answered.

    A frame whose replica fails goes to another, then to the network here. One of a live stream whose replica is late is
    given up: a newer one waits.
    """

    def __init__(
        self, job: WorkerJob, local: Runtime, token: str, report: Report, limits: Limits | None = None
    ) -> None:
        """Raises DepthError."""
        self.precision = local.precision
        limits = limits or Limits(cap_s=job.timeout_s / (2 * TRIES))
        how = find_model(job.model).preprocessing
        self._local = local
        self._local_lock = threading.Lock()
        self._pixels = Pixels(how)
        self._spare = _Spare(job)
        self._calibration = Calibration(self._calibrate, how)
        name, addresses = find_model(job.model).name, map(EndpointAddress.parse, job.endpoints)
        clients = [open_client(address, name, token, job.endpoint_ca) for address in addresses]
        self._replicas = [
            Replica(number, client, self._calibration, limits, report) for number, client in enumerate(clients, start=1)
        ]
        self._choosing = threading.Lock()
        self._asking = ThreadPoolExecutor(job.slots, "remote")
        for replica in self._replicas:
            replica.start()

    def is_compiled(self, height: int, width: int, *, live: bool) -> bool:
        return self._local.is_compiled(height, width, live=live)

    def submit(
        self, slot: int, planes: FloatImage, depth: FloatImage, done: Done, *, live: bool, patient: bool = False
    ) -> None:
        pictures = self._pixels.pictures(planes)

        def answer_here() -> None:
            planes[:] = self._pixels.planes(pictures)
            self._submit_here(slot, planes, depth, done, live=live)

        replica = self._take(pictures.shape[1:3])
        if replica is None:
            answer_here()
        else:
            self._asking.submit(self._ask, replica, pictures, depth, done, answer_here, patient)

    def close(self) -> None:
        """Waits for all that is under way."""
        self._asking.shutdown()
        for replica in self._replicas:
            replica.close()

    # -- elsewhere -----------------------------------------------------------------------------

    def _take(self, size: Size, tried: tuple[Replica, ...] = ()) -> Replica | None:
        """The one with the fewest requests under way; among those the fastest."""
        with self._choosing:
            serving = [
                (replica.outstanding, usual_s, replica.number, replica)
                for replica in self._replicas
                if replica not in tried and (usual_s := replica.usual_s(size)) is not None
            ]
            if not serving:
                return None
            *_, replica = min(serving)
            replica.outstanding += 1
            return replica

    def _release(self, replica: Replica) -> None:
        with self._choosing:
            replica.outstanding -= 1

    def _ask(
        self,
        replica: Replica | None,
        pictures: ByteImage,
        depth: FloatImage,
        done: Done,
        answer_here: Callable[[], None],
        patient: bool,
    ) -> None:
        """One of our threads."""
        tried: tuple[Replica, ...] = ()
        while replica is not None:
            try:
                depth[0] = replica.infer(pictures)
            except NoAnswer as failure:
                if isinstance(failure, Late) and not patient:
                    done(f"endpoint {replica.number}: {failure}")
                    return
            else:
                done(None)
                return
            finally:
                self._release(replica)
            tried = (*tried, replica)
            replica = self._take(pictures.shape[1:3], tried) if len(tried) < TRIES else None
        answer_here()

    # -- here ----------------------------------------------------------------------------------

    def _submit_here(self, slot: int, planes: FloatImage, depth: FloatImage, done: Done, *, live: bool) -> None:
        size: Size = planes.shape[2:]

        def seen(problem: str | None) -> None:
            if problem is None and self._calibration.see(size, live=live):
                for replica in self._replicas:
                    replica.look()
            done(problem)

        with self._local_lock:
            try:
                self._local.submit(slot, planes, depth, seen, live=live)
            except (RuntimeError, DepthError) as error:
                done((str(error).strip() or type(error).__name__).splitlines()[-1])

    def _calibrate(self, planes: FloatImage, live: bool) -> FloatImage:
        """A replica's thread, one at a time."""
        _, _, height, width = planes.shape
        slot, given, depth = self._spare.arrays(height, width)
        given[:] = planes
        answered: Future[str | None] = Future()
        with self._local_lock:
            self._local.submit(slot, given, depth, answered.set_result, live=live)
        if problem := answered.result():
            raise NoAnswer(f"the network here fails: {problem}")
        return np.array(depth[0])


class _Spare:
    """A slot beside those of the worker: a runtime keeps the arrays of a slot for as long as their shape is the same,
    so that they must stay where they are."""

    def __init__(self, job: WorkerJob) -> None:
        self._slot = job.slots
        self._floats = np.empty(4 * job.max_pixels, np.float32)
        self._input_floats = 3 * job.max_pixels

    def arrays(self, height: int, width: int) -> tuple[int, FloatImage, FloatImage]:
        """The slot, (1, 3, h, w) and (1, h, w)."""
        given = self._floats[: 3 * height * width].reshape(1, 3, height, width)
        depth = self._floats[self._input_floats :][: height * width].reshape(1, height, width)
        return self._slot, given, depth
