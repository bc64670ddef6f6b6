"""Depth for all streams and stills of a process: one network at a time, in a worker process of its own."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager

from streamd.concurrency.backoff import Backoff
from streamd.concurrency.turns import Turns
from streamd.config.sections import ModelConfig
from streamd.depth.catalogue import Entry, catalogue
from streamd.depth.current import Current, ServiceStatus
from streamd.depth.estimator import ModelInfo
from streamd.depth.governing import Governing
from streamd.depth.int8.scenes import Examples
from streamd.depth.models import MODELS, find_model, memory_limit_bytes
from streamd.depth.store import ModelStore
from streamd.depth.supervisor import RESTART_BACKOFF, ServiceEvents, WorkerSupervisor
from streamd.errors import InferenceFailed, StreamdError, UsageError
from streamd.media.frames import FloatImage
from streamd.states import ModelState, WorkerEnd


class DepthService:
    """Any thread may call any method; none but ``wait_ready``, ``is_ready`` and ``close`` waits.

    ``strict`` is for commands that name a model: no fall-back, no download, the first failure is
    final. ``attended`` is for those that report themselves what ``wait_ready`` raises. ``examples`` is for those too:
    what an int8 network is made of, before anything runs; the daemon makes it behind the pictures. ``measures``: which
    precision is best here is found out behind the pictures too.
    The daemon starts on the fall-back when the wanted weights are missing, fetches them, and changes over when
    the new worker is ready; frames under way are still answered by the old.

    A worker runs while there is a lease. Without one, the model is only prepared.
    """

    def __init__(
        self,
        config: ModelConfig,
        store: ModelStore,
        *,
        parallel: int = 1,
        max_parallel: int | None = None,
        slots: int = 4,
        strict: bool = False,
        attended: bool = False,
        measures: bool = True,
        examples: Examples | None = None,
        events: ServiceEvents | None = None,
        restart_backoff: Backoff = RESTART_BACKOFF,
    ) -> None:
        """``parallel`` inferences run side by side, more when more streams hold a lease, up to ``max_parallel``."""
        self._store = store
        self._current = Current()
        self.turns = Turns(parallel + 1)
        """Of live streams: one more than run side by side, so that the next input is ready when one ends."""
        self._supervisor = WorkerSupervisor(
            config,
            store,
            self._current,
            self.turns,
            parallel=parallel,
            max_parallel=max_parallel or parallel,
            slots=slots,
            strict=strict,
            attended=attended,
            measures=measures,
            examples=examples,
            events=events or ServiceEvents(),
            backoff=restart_backoff,
        )

        self._governing = Governing(self._supervisor)

    def start(self, *, lazy: bool = False) -> None:
        """``lazy``: a worker runs only while there is a lease; else until ``close``. Does nothing the second time."""
        if self._supervisor.started:
            return
        if not lazy:
            self._supervisor.demand.add(1)
        self._supervisor.start()

    @property
    def config(self) -> ModelConfig:
        """In force."""
        return self._supervisor.in_force

    @property
    def wanted(self) -> ModelConfig:
        """What is to run: it may be on its way, or wait for its weights."""
        return self._supervisor.wanted

    @property
    def watchers(self) -> set[Callable[[], None]]:
        """Called after each change of ``status``, in any thread."""
        return self._current.watchers

    def change(self, config: ModelConfig) -> Future[None]:
        """Changes over while all goes on. The outcome is raised by the future when all stays as it was.

        Weights that are missing are fetched, where they can be and ``config`` permits it; the future waits for them.
        It is a ConfigError when the model does not take its input size."""
        return self._supervisor.change(config)

    def fetch(self, name: str) -> None:
        """Begins to, in the background: see ``catalogue``. Raises UsageError, Busy."""
        spec = find_model(name)
        if spec.download is None:
            raise UsageError(f"model {name}: there is nothing to fetch")
        self._supervisor.fetcher.start(spec)

    def catalogue(self) -> list[Entry]:
        """All models that there are. Reads the disk."""
        return catalogue(self._store, self._supervisor.fetcher)

    def leased(self, *, live: bool = False) -> AbstractContextManager[None]:
        """A worker runs meanwhile, or is on its way; use ``wait_ready``. ``live``: for a stream."""
        return self._supervisor.demand.lease(live=live)

    def wait_ready(self, timeout_s: float | None = None) -> ModelInfo:
        """Raises what went wrong when it cannot become ready, InferenceFailed on time-out."""
        return self._current.wait_ready(timeout_s)

    def is_ready(self, timeout_s: float) -> bool:
        """Waits until a network can answer, also after a failure. False after ``timeout_s``."""
        return self._current.is_ready(timeout_s)

    @property
    def info(self) -> ModelInfo | None:
        """The network that answers now; None while none does."""
        return self._current.info

    @property
    def failure(self) -> StreamdError | None:
        """Why no network answers; None while one does, or is on its way."""
        return self._current.failure

    @property
    def status(self) -> ServiceStatus:
        serving, failure = self._current.serving, self._current.failure
        rests = self._supervisor.prepared and not self._supervisor.demand.any
        waiting = ModelState.IDLE if rests else ModelState.STARTING
        state = ModelState.READY if serving else ModelState.FAILED if failure else waiting
        message = self._current.message or (str(failure) if failure else None)
        message = self.shown(message) if message else None
        info = serving.info if serving else None
        full = serving.full.input_size if serving else None
        return ServiceStatus(state, info, self._supervisor.wanted.name, message, full)

    def shown(self, text: str) -> str:
        """A message as clients may see it: with the names of files, and without the folders that they are in."""
        return self._supervisor.shown(text)

    @property
    def worker_pid(self) -> int | None:
        serving = self._current.serving
        return serving.worker.pid if serving else None

    @property
    def memory_limit(self) -> int:
        """What the worker may take, bytes."""
        serving = self._current.serving
        if serving is not None:
            return serving.memory_limit_bytes
        spec = MODELS.get(self.config.name)  # of a manifest nothing is known before it is read
        return memory_limit_bytes(self.config, spec) if spec else 1_000_000 * self.config.memory_limit_mb

    def worker_memory(self) -> int:
        """Resident bytes of the worker; 0 without one."""
        serving = self._current.serving
        return serving.worker.resident_bytes() if serving else 0

    def submit(
        self,
        info: ModelInfo,
        planes: FloatImage,
        *,
        live: bool = True,
        patient: bool = False,
        picture: tuple[int, int] | None = None,
        source: str = "",
    ) -> Future[FloatImage]:
        """Network input made for ``info``, (3, h, w) float32; (h, w) float32 comes out. Not ``live``: of a single
        picture, for whose size no network is kept. ``patient``: better late than never. Waits for a free slot.
        ``picture``: (width, height) px of a stream's picture, so that the next worker is ready for it. ``source``: the
        name of that stream.

        Raises InferenceFailed when that network has gone: make the input again for the one that runs now."""
        serving = self._current.serving
        if serving is None or serving.info != info:
            raise InferenceFailed(WorkerEnd.CHANGED, "another model runs now")
        answer = serving.worker.submit(planes, live=live, patient=patient)
        if picture is not None:
            self._supervisor.demand.see(picture)
            self._supervisor.offer(info, source, planes)
            began = time.monotonic()
            answer.add_done_callback(lambda _: self._governing.meter.add(time.monotonic() - began))
        return answer

    def govern(self, fps: float | None, total_fps: float) -> None:
        """To be called each second, with the rate of the slowest stream that is watched and whose source gives enough;
        None: there is none. ``total_fps``: of all streams together. Keeps ``min_fps``."""
        self._governing.step(time.monotonic(), fps, total_fps, self._current.serving)

    def recycle(self) -> None:
        """Replaces a worker that has grown. Callers see a short pause."""
        serving = self._current.serving
        if serving is not None:
            serving.worker.recycle()

    def close(self) -> None:
        """Ends everything and waits for it. Safe to repeat."""
        self._supervisor.close()


__all__ = ["DepthService", "ServiceEvents", "ServiceStatus"]
