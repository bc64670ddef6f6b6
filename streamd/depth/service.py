"""Which network runs, and that one always does: starts, replaces and changes depth workers."""

from __future__ import annotations

import logging
import math
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from streamd.concurrency import threads
from streamd.concurrency.backoff import Backoff
from streamd.concurrency.turns import Turns
from streamd.config.sections import ModelConfig
from streamd.depth.artefact import prepare
from streamd.depth.client import DepthWorker
from streamd.depth.estimator import ModelInfo
from streamd.depth.files import one_line, sha256_of
from streamd.depth.models import ModelSpec, find_model
from streamd.depth.protocol import WorkerJob
from streamd.depth.store import ModelStore
from streamd.errors import DepthError, InferenceFailed, ModelMissing, StreamdError
from streamd.media.frames import FloatImage
from streamd.states import ModelState, WorkerEnd

log = logging.getLogger(__name__)

T = TypeVar("T")

FETCH_BACKOFF = Backoff(first_s=60.0, factor=2.0, cap_s=3600.0)
RESTART_BACKOFF = Backoff(first_s=0.1, factor=2.0, cap_s=30.0, healthy_after_s=30.0)
RETRY_WANTED_S = 60.0
REST_AFTER_S = 10.0
"""A worker that nobody needs any more is kept this long: who asks for stills asks again."""
DRAIN_S = 2.0


@dataclass(frozen=True)
class ServiceStatus:
    """What page and API tell of the model."""

    state: ModelState
    info: ModelInfo | None
    wanted: str
    message: str | None


@dataclass(frozen=True)
class _Serving:
    worker: DepthWorker
    info: ModelInfo


class ServiceEvents:
    """Told of changes, from the service's thread. Does nothing unless overridden."""

    def model_running(self, info: ModelInfo) -> None: ...

    def worker_lost(self, failure: InferenceFailed) -> None: ...


class DepthService:
    """One running network at a time, for all streams and stills.

    ``strict`` is for commands that name a model: no fall-back, no download, the first failure is
    final. The daemon starts on the fall-back when the wanted weights are missing, fetches them,
    and changes over when the new worker is ready; frames under way are still answered by the old.

    A worker runs while somebody holds a lease. Without one all is only made ready for it.
    """

    def __init__(
        self,
        config: ModelConfig,
        store: ModelStore,
        *,
        parallel: int = 1,
        slots: int = 4,
        strict: bool = False,
        events: ServiceEvents | None = None,
        restart_backoff: Backoff = RESTART_BACKOFF,
    ) -> None:
        self._config = config
        self._store = store
        self._parallel = parallel
        self.turns = Turns(parallel + 1)
        """Of live streams: one more than run side by side, so that the next input is ready when one ends."""
        self._slots = slots
        self._strict = strict
        self._events = events or ServiceEvents()
        self._restart_backoff = restart_backoff
        self._changed = threading.Condition()
        self._serving: _Serving | None = None
        self._failure: StreamdError | None = None
        self._message: str | None = None
        self._leases = 0
        self._unneeded_since = -math.inf
        self._prepared = False
        """The first launch went well, or was rehearsed: the next one only takes a moment."""
        self._crashed = False
        self._stopping = threading.Event()
        self._lost = threading.Event()
        """Set when there is something for the service's thread to do."""
        self._arrived = threading.Event()
        """Set by the fetch thread: the wanted weights are here."""
        self._retry_wanted = False
        """The wanted model is here but did not start: try it again now and then."""
        self._threads: list[threads.Worker] = []

    # -- for those who need depth: any thread -------------------------------------------------

    def start(self, *, lazy: bool = False) -> None:
        """``lazy`` is for those who lease; else a worker runs until ``close``."""
        self._leases += not lazy
        self._threads.append(threads.start("depth-service", self._run))

    @contextmanager
    def leased(self) -> Iterator[None]:
        """A worker runs meanwhile, or is on its way. Never blocks; use ``wait_ready``."""
        with self._changed:
            self._leases += 1
        self._lost.set()
        try:
            yield
        finally:
            with self._changed:
                self._leases -= 1
                self._unneeded_since = time.monotonic()
            self._lost.set()

    def wait_ready(self, timeout_s: float | None = None) -> ModelInfo:
        """Raises what went wrong when it cannot become ready, InferenceFailed on time-out."""
        with self._changed:
            self._changed.wait_for(lambda: self._serving or self._failure or self._stopping.is_set(), timeout_s)
            if self._serving:
                return self._serving.info
            raise self._failure or InferenceFailed(WorkerEnd.STOPPED, "no model is ready")

    def is_ready(self, timeout_s: float) -> bool:
        """Waits for a network to answer, whatever went wrong before."""
        with self._changed:
            self._changed.wait_for(lambda: self._serving or self._stopping.is_set(), timeout_s)
            return self._serving is not None

    @property
    def info(self) -> ModelInfo | None:
        """The network that answers now; None while none does."""
        serving = self._serving
        return serving.info if serving else None

    @property
    def status(self) -> ServiceStatus:
        serving, failure = self._serving, self._failure
        waiting = ModelState.IDLE if self._prepared and not self._leases else ModelState.STARTING
        state = ModelState.READY if serving else ModelState.FAILED if failure else waiting
        message = self._message or (str(failure) if failure else None)
        return ServiceStatus(state, serving.info if serving else None, self._config.name, message)

    def worker_memory(self) -> int:
        """Resident bytes of the worker; 0 without one."""
        serving = self._serving
        return serving.worker.resident_bytes() if serving else 0

    @property
    def worker_pid(self) -> int | None:
        serving = self._serving
        return serving.worker.pid if serving else None

    def submit(self, info: ModelInfo, planes: FloatImage) -> Future[FloatImage]:
        """Network input made for ``info``. Raises InferenceFailed when that network has gone:
        make the input again for the one that runs now."""
        serving = self._serving
        if serving is None or serving.info != info:
            raise InferenceFailed(WorkerEnd.CHANGED, "another model runs now")
        return serving.worker.submit(planes)

    def recycle(self) -> None:
        """Replaces the worker, which has grown. Nobody notices but by a short pause."""
        serving = self._serving
        if serving is not None:
            serving.worker.recycle()

    def close(self) -> None:
        """Ends everything and waits for it."""
        self._stopping.set()
        self._lost.set()
        with self._changed:
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()
        serving, self._serving = self._serving, None
        if serving:
            serving.worker.close()

    # -- the service's own thread -------------------------------------------------------------

    def _run(self) -> None:
        delays = self._restart_backoff.delays()
        started = time.monotonic()
        while not self._stopping.is_set():
            try:
                self._lost.clear()
                if self._may_rest():
                    self._rest()
                elif self._serving is None:
                    self._serve(self._best(self._launch))
                    started = time.monotonic()
                elif self._arrived.is_set():
                    self._change_over()
                if not self._lost.wait(self._patience_s()) and self._retry_wanted:
                    self._arrived.set()
                if not self._crashed:
                    continue
                if time.monotonic() - started > self._restart_backoff.healthy_after_s:
                    delays = self._restart_backoff.delays()
            except StreamdError as error:
                if self._fail(error):
                    return
            except Exception as error:  # a fault of ours must not leave everyone waiting in silence
                log.exception("depth service: internal error")
                if self._fail(DepthError(f"internal error: {error}")):
                    return
            self._crashed = False
            self._stopping.wait(next(delays))

    def _patience_s(self) -> float | None:
        """How long the service's thread may sleep when nothing happens."""
        if self._serving is not None and not self._leases:
            return max(0.0, self._unneeded_since + REST_AFTER_S - time.monotonic())
        return RETRY_WANTED_S if self._retry_wanted else None

    def _may_rest(self) -> bool:
        return not self._leases and time.monotonic() - self._unneeded_since >= REST_AFTER_S

    def _rest(self) -> None:
        """Ends the worker. The first time there is none yet, but the network is made ready for this CPU."""
        with self._changed:
            serving, self._serving = self._serving, None
        if serving is not None:
            log.info("nobody needs depth: the %s model rests", serving.info.spec.name)
            serving.worker.close()
        if self._arrived.is_set() or not self._prepared:
            self._arrived.clear()
            self._best(self._plan)
            self._prepared = True

    def _best(self, begin: Callable[[ModelSpec], T]) -> T:
        """With the wanted model, else with the fall-back."""
        wanted = find_model(self._config.name)
        try:
            return begin(wanted)
        except DepthError as error:
            if self._strict or not self._config.fallback or self._config.fallback == wanted.name:
                raise
            if isinstance(error, InferenceFailed) and error.reason is WorkerEnd.STOPPED:
                raise
            self._tell_fallback(wanted, error)
            self._retry_wanted = isinstance(error, InferenceFailed)
            fetch = self._downloads(wanted, error) and not self._fetching()
        begun = begin(find_model(self._config.fallback))
        if fetch:
            self._threads.append(threads.start("model-fetch", self._fetch))
        return begun

    def _tell_fallback(self, wanted: ModelSpec, error: StreamdError) -> None:
        stand_in = find_model(self._config.fallback)
        quality = ", whose depth is coarse" if stand_in.coarse else ""
        if self._message is None and self._downloads(wanted, error):
            log.info("%s is not here yet: fetching it, on the %s model meanwhile", wanted.title, stand_in.name)
        elif self._message is None:
            log.warning("%s; using the %s model%s", error, stand_in.name, quality)
        self._message = f"{wanted.title} is not running: {error}"

    def _downloads(self, wanted: ModelSpec, error: StreamdError) -> bool:
        can = self._config.download and wanted.download is not None and self._config.weights is None
        return can and isinstance(error, ModelMissing)

    def _plan(self, spec: ModelSpec) -> tuple[WorkerJob, str]:
        """All that a worker needs, and the sha256 of its weights. Makes the artefact when there is none."""
        weights, sha256 = self._weights(spec)
        return self._job(spec, weights, sha256), sha256

    def _launch(self, spec: ModelSpec) -> _Serving:
        """Blocks until the worker is ready."""
        job, sha256 = self._plan(spec)
        worker = DepthWorker(
            job,
            deadline_s=self._config.timeout_s,
            memory_limit_bytes=self._config.memory_limit_mb * 1_000_000,
            on_exit=self._worker_gone,
        )
        try:
            worker.ready.result()
        except InferenceFailed:
            worker.close()
            raise
        if self._stopping.is_set():
            worker.close()
            raise InferenceFailed(WorkerEnd.STOPPED, "closing")
        spec = replace(spec, preprocessing=replace(spec.preprocessing, input_size=self._config.input_size))
        return _Serving(worker, ModelInfo(spec, sha256, job.runtime, worker.precision))

    def _weights(self, spec: ModelSpec) -> tuple[Path, str]:
        own = self._config.weights
        if own is not None and spec.name == self._config.name:
            with one_line(own):
                if not own.is_file():
                    raise ModelMissing(spec.name, f"{own} is not a file")
                return own, sha256_of(own)
        return self._store.weights(spec.name)

    def _job(self, spec: ModelSpec, weights: Path, sha256: str) -> WorkerJob:
        config = self._config
        runtime = "openvino" if config.runtime == "auto" else config.runtime
        precision: str = config.precision
        file = weights
        if runtime == "openvino":
            artefact = prepare(
                spec, weights, sha256, self._store.cache, stop=self._stopping, on_work=lambda: self._tell_work(spec)
            )
            file = artefact.xml
            precision = artefact.chosen if precision == "auto" else precision
            if precision not in artefact.profile.precisions:
                raise DepthError(f"precision {precision}: this CPU does not have it")
        elif precision == "auto":
            precision = "fp32"
        cores = len(os.sched_getaffinity(0))
        return WorkerJob(
            model=spec.name,
            runtime=runtime,
            precision=precision,
            weights=str(file),
            cache=str(self._store.cache),
            threads=cores if config.threads == "auto" else config.threads,
            parallel=self._parallel,
            slots=self._slots,
            max_side=config.input_size,
        )

    def _tell_work(self, spec: ModelSpec) -> None:
        log.warning("preparing %s for this CPU; this takes some seconds, once", spec.title)

    def _serve(self, serving: _Serving) -> None:
        with self._changed:
            self._serving = serving
            self._failure = None
            self._prepared = True
            if serving.info.spec.name == self._config.name:
                self._message, self._retry_wanted = None, False
                self._arrived.clear()
            self._changed.notify_all()
        info = serving.info
        log.info("model %s runs on %s in %s", info.spec.name, info.runtime, info.precision)
        self._events.model_running(info)
        if serving.worker.failure is not None:  # it died before we published it
            self._worker_gone(serving.worker.failure)

    def _change_over(self) -> None:
        self._arrived.clear()
        old = self._serving
        try:
            new = self._launch(find_model(self._config.name))
        except StreamdError as error:
            log.error("%s; staying on the %s model", error, self._config.fallback)
            self._message = f"{self._config.name}: {error}"
            return
        self._serve(new)
        if old is not None:
            self._stopping.wait(DRAIN_S)
            old.worker.close()

    def _worker_gone(self, failure: InferenceFailed) -> None:
        """From a worker's reader thread."""
        with self._changed:
            serving = self._serving
            if serving is None or serving.worker.failure is None:
                return  # one that never served, or was replaced already
            self._serving = None
            self._crashed = True
        log.error("%s; starting another", failure)
        self._events.worker_lost(failure)
        self._lost.set()

    def _fail(self, error: StreamdError) -> bool:
        """Whether to give up."""
        if self._stopping.is_set():
            return True
        with self._changed:
            if not self._strict and str(error) != str(self._failure):  # a command tells its user itself
                log.error("%s", error)
            if self._serving is None:
                self._failure = error
            self._changed.notify_all()
        return self._strict

    # -- the fetch thread ---------------------------------------------------------------------

    def _fetching(self) -> bool:
        return any(thread.name == "model-fetch" for thread in self._threads)

    def _fetch(self) -> None:
        wanted = find_model(self._config.name)
        told = False
        for delay in FETCH_BACKOFF.delays():
            try:
                self._store.fetch(wanted.name, self._progress(wanted.title))
            except StreamdError as error:
                if self._stopping.is_set():
                    return
                url = wanted.download.url if wanted.download else ""
                self._message = f"{wanted.title} could not be fetched: {str(error).removeprefix(f'{url}: ')}"
                (log.debug if told else log.warning)(
                    "%s; staying on the %s model, trying again now and then", self._message, self._config.fallback
                )
                told = True
            else:
                self._message = f"starting {wanted.title}"
                log.info("%s is here; changing over", wanted.title)
                self._arrived.set()
                self._lost.set()
                return
            if self._stopping.wait(delay):
                return

    def _progress(self, title: str) -> Callable[[int, int | None], None]:
        def progress(done: int, total: int | None) -> None:
            if self._stopping.is_set():
                raise InferenceFailed(WorkerEnd.STOPPED, "closing")
            share = f"{100 * done // total} %" if total else f"{done / 1e6:.0f} MB"
            self._message = f"downloading {title}: {share}"

        return progress
