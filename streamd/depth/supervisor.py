"""Keeps a depth worker running while there is demand: starts, replaces, changes and rests it."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import TypeVar

from streamd.concurrency import threads
from streamd.concurrency.backoff import Backoff
from streamd.concurrency.turns import Turns
from streamd.config.sections import ModelConfig
from streamd.depth.changes import Change, Changes
from streamd.depth.current import Current
from streamd.depth.demand import Demand
from streamd.depth.estimator import ModelInfo
from streamd.depth.fetcher import ModelFetcher
from streamd.depth.int8.deciding import Deciding, album_of
from streamd.depth.int8.scenes import Examples
from streamd.depth.int8.verdict import PrecisionRefused
from streamd.depth.launcher import Launcher, Serving
from streamd.depth.models import MODELS, ModelSpec, find_model
from streamd.depth.profiling import Profiling
from streamd.depth.runtimes import check_model
from streamd.depth.store import ModelStore
from streamd.errors import ConfigError, DepthError, InferenceFailed, ModelMissing, StreamdError
from streamd.media.frames import FloatImage
from streamd.states import WorkerEnd

log = logging.getLogger(__name__)

T = TypeVar("T")

RESTART_BACKOFF = Backoff(first_s=0.1, factor=2.0, cap_s=30.0, healthy_after_s=30.0)
RETRY_WANTED_S = 60.0


class ServiceEvents:
    """Called on changes, in the supervisor's or a worker's reader thread. Does nothing unless overridden."""

    def model_running(self, info: ModelInfo) -> None: ...

    def worker_lost(self, failure: InferenceFailed) -> None: ...

    def endpoints(self, serving: Sequence[bool]) -> None:
        """Which of ``model.endpoints`` serve, of the worker that answers now."""


class WorkerSupervisor:
    """One thread, from ``start`` to ``close``. It alone starts workers."""

    def __init__(
        self,
        config: ModelConfig,
        store: ModelStore,
        current: Current,
        turns: Turns,
        *,
        parallel: int,
        max_parallel: int,
        slots: int,
        strict: bool,
        attended: bool,
        measures: bool,
        examples: Examples | None,
        events: ServiceEvents,
        backoff: Backoff,
    ) -> None:
        self._current = current
        self._turns = turns
        self._strict = strict
        self._attended = attended
        self._measures = measures
        self._backoff = backoff
        self._stop = threading.Event()
        self._wake = threading.Event()
        """Set when there is something to do."""
        self._wanted_due = threading.Event()
        """The weights of the wanted model have arrived, or it is time to try it again."""
        self._relaunch_wanted = threading.Event()
        """The running model has a better precision, or another input size."""
        self._changes = Changes()
        self._retry_wanted = False
        """The wanted model is here but did not start: try it again now and then."""
        self._crashed = False
        self._thread: threads.Worker | None = None
        self.events = events
        self.prepared = False
        """The first launch went well, or was rehearsed: the next one only takes a moment."""
        self._min_parallel = parallel
        self.demand = Demand(max_parallel, self._wake.set)
        self._launcher = Launcher(config, store, self._stop, parallel=parallel, slots=slots, examples=examples)
        self._deciding = Deciding(self._launcher, self._stop, self._decided)
        self._profiling = Profiling(self._launcher, self._stop, self._measured)
        self.fetcher = ModelFetcher(
            store, self._stop, wanted=lambda: self.wanted.name, on_message=self._show, on_arrival=self._arrived
        )

    @property
    def wanted(self) -> ModelConfig:
        """What is to run: it may be on its way, or wait for its weights."""
        return self._changes.wanted or self._launcher.config

    @property
    def in_force(self) -> ModelConfig:
        return self._launcher.config

    def change(self, config: ModelConfig) -> Future[None]:
        """Any thread. The outcome: the model runs, or would; StreamdError when all stays as it was, a ConfigError when
        the model does not take its input size, or the runtime is not installed."""
        outcome = self._changes.ask(config).outcome
        self._current.notify()
        self._wake.set()
        return outcome

    def lower(self, model: str, input_size: int) -> None:
        """Any thread. Runs the model on pictures of this size, or of its full size where that is smaller."""
        self._launcher.lowered[model] = input_size
        self._relaunch_wanted.set()
        self._wake.set()

    @property
    def started(self) -> bool:
        return self._thread is not None

    def start(self) -> None:
        self._thread = threads.start("depth-service", self._run)

    def close(self) -> None:
        """Ends everything and waits for it. Safe to repeat."""
        self._stop.set()
        self._wake.set()
        self._changes.close()
        self._current.close()
        self._close_worker()  # first of all: a disk or the network may hold the threads
        if self._thread is not None:
            self._thread.join()
        self._close_worker()
        self.fetcher.join()
        self._profiling.join()
        self._deciding.join()

    def _close_worker(self) -> None:
        serving = self._current.withdraw()
        if serving is not None:
            serving.worker.close()

    def shown(self, text: str) -> str:
        """Any thread. Without the folders of this machine."""
        for folder in self._launcher.folders:
            text = text.replace(f"{folder}{os.sep}", "")
        return text

    # -- the supervisor's thread --------------------------------------------------------------

    def _run(self) -> None:
        delays, started = self._backoff.delays(), time.monotonic()
        while not self._stop.is_set():
            try:
                self._wake.clear()
                if self._step():
                    started = time.monotonic()
                if not self._wake.wait(self._patience_s()) and self._retry_wanted:
                    self._wanted_due.set()
                if not self._crashed:
                    continue
                if time.monotonic() - started > self._backoff.healthy_after_s:
                    delays = self._backoff.delays()
            except StreamdError as error:
                if self._fail(error):
                    return
            except Exception as error:  # a fault of ours must not leave everyone waiting in silence
                log.exception("depth service: internal error")
                if self._fail(DepthError(f"internal error: {error}")):
                    return
            self._crashed = False
            self._stop.wait(next(delays))

    def _step(self) -> bool:
        """Does what is due. Returns whether a worker was started where there was none."""
        change = self._changes.take()
        if change is not None:
            self._apply(change)
        elif self.demand.rest_in_s() == 0.0:
            self._rest()
        elif self._current.serving is None:
            self._serve(self._with_fallback(self._launch))
            return True
        elif self._wanted_due.is_set():
            self._replace(self.in_force.name)
        elif self._relaunch_wanted.is_set() or self.demand.resize_in_s(self._launcher.parallel) == 0.0:
            self._replace(self._current.serving.info.spec.reference)
        return False

    def _apply(self, change: Change) -> None:
        """Makes it so, or leaves all as it is; or waits for its weights, which are fetched."""
        before = self.in_force
        self._launcher.config = change.config
        try:
            check_model(change.config)  # here, for it may read a manifest
            if not self._runs(change.config, before):
                self._launcher.check_precision(find_model(change.config.name))
                self._change_over(find_model(change.config.name))
        except StreamdError as error:
            self._launcher.config = before
            self._put_off(change, error)
        else:
            self._changes.end(change)
            self._current.tell(self._remark())
            self._current.notify()
            change.finish()

    def _put_off(self, change: Change, error: StreamdError) -> None:
        name = change.config.name
        if self._downloads(change.config, error):
            spec = find_model(name)
            log.info("%s is not here yet: fetching it, on the %s model meanwhile", spec.title, self._running)
            self.fetcher.start(spec)
            return
        self._changes.end(change)
        if not self._stop.is_set() and not isinstance(error, ConfigError):  # of that knows who has asked
            log.error("%s; staying on the %s model", error, self._running)
            self._current.tell(f"{_title(name)} was not taken: {error}")
        change.refuse(error)

    def _runs(self, config: ModelConfig, before: ModelConfig) -> bool:
        """Whether the worker in use, or the one that rests, is what ``config`` asks for."""
        alike = {key: getattr(config, key) for key in ("fallback", "download", "min_fps")}
        if before.model_copy(update=alike) != config or self._current.failure:
            return False
        info = self._current.info
        return info.spec.reference == config.name if info else self.prepared and not self.demand.any

    @property
    def _running(self) -> str:
        info = self._current.info
        return info.spec.reference if info else self.in_force.name

    def _change_over(self, spec: ModelSpec) -> None:
        """A second worker starts, and compiles what the streams need; then the first answers what it has, and goes."""
        self._relaunch_wanted.clear()
        if self._current.serving is None and not self.demand.any:
            self._launcher.rehearse(spec)
            self._rehearsed()
            return
        new = self._launch(spec)
        try:
            new.warm(self.demand.sizes, self._stop)
        except StreamdError:
            new.worker.close()
            raise
        old = self._current.serving
        self._serve(new)
        if old is not None:
            old.drain(self._stop)

    def _replace(self, model: str) -> None:
        """Changes over to a model that is in force already. Stays on the one that runs when it cannot."""
        self._wanted_due.clear()
        self._relaunch_wanted.clear()
        try:
            self._change_over(find_model(model))
        except StreamdError as error:
            log.error("%s; staying on the %s model", error, self._running)
            self._current.tell(f"{model}: {error}")

    def _patience_s(self) -> float | None:
        """How long the thread may sleep when nothing happens."""
        if self._current.serving is None:
            return RETRY_WANTED_S if self._retry_wanted else None
        waits = [self.demand.rest_in_s(), self.demand.resize_in_s(self._launcher.parallel)]
        waits += [RETRY_WANTED_S] if self._retry_wanted else []
        return min((wait_s for wait_s in waits if wait_s is not None), default=None)

    def _rest(self) -> None:
        """Ends the worker. The first time there is none yet: whether it would start is tried."""
        serving = self._current.withdraw()
        if serving is not None:
            log.info("nobody needs depth: the %s model rests", serving.info.spec.name)
            serving.worker.close()
        if self._wanted_due.is_set() or not self.prepared:
            self._wanted_due.clear()
            self._with_fallback(self._launcher.rehearse)
            self._rehearsed()

    def _rehearsed(self) -> None:
        self.prepared = True
        self._current.recover()

    def _launch(self, spec: ModelSpec) -> Serving:
        self._launcher.parallel = max(self._min_parallel, self.demand.parallel)
        return self._launcher.launch(spec, self._worker_lost, self._endpoints_changed)

    def _with_fallback(self, begin: Callable[[ModelSpec], T]) -> T:
        """With the wanted model, else with the fall-back."""
        config = self.in_force
        try:
            return begin(find_model(config.name))
        except (DepthError, ConfigError) as error:  # the second of a manifest
            if self._strict or not config.fallback or config.fallback == config.name:
                raise
            if isinstance(error, PrecisionRefused):
                raise
            if isinstance(error, InferenceFailed) and error.reason is WorkerEnd.STOPPED:
                raise
            downloads = self._downloads(config, error)
            self._log_fallback(_title(config.name), error, downloads=downloads)
            self._retry_wanted = isinstance(error, InferenceFailed | ConfigError)
        begun = begin(find_model(config.fallback))
        if downloads:
            self.fetcher.start(find_model(config.name))
        return begun

    def _log_fallback(self, title: str, error: StreamdError, *, downloads: bool) -> None:
        fallback = find_model(self.in_force.fallback)
        quality = ", whose depth is coarse" if fallback.coarse else ""
        if self._current.message is None and downloads:
            log.info("%s is not here yet: fetching it, on the %s model meanwhile", title, fallback.name)
        elif self._current.message is None:
            log.warning("%s; using the %s model%s", error, fallback.name, quality)
        self._current.tell(f"{title} is not running: {error}")

    def _downloads(self, config: ModelConfig, error: StreamdError) -> bool:
        missing = isinstance(error, ModelMissing) and config.weights is None
        return missing and config.download and not self._strict and find_model(config.name).download is not None

    def _serve(self, serving: Serving) -> None:
        info = serving.info
        if info.spec.reference == self.in_force.name:
            self._retry_wanted = False
            self._wanted_due.clear()
            if self._changes.wanted is None:
                self._current.tell(self._deciding.remark(info))
        self.prepared = True
        self.events.model_running(info)
        self._current.publish(serving)
        self._endpoints_changed()
        self._turns.resize(self._launcher.parallel + 1)
        log.info("model %s runs on %s in %s", info.spec.name, info.runtime, info.precision)
        if self._measures:
            self._profiling.begin(info)
        self._deciding.begin(info)
        if serving.worker.failure is not None:  # it died before it was published
            self._worker_lost(serving.worker.failure)

    def _fail(self, error: StreamdError) -> bool:
        """Whether to give up."""
        if self._stop.is_set():
            return True
        if self._current.fail(error) and not self._attended:  # a command reports it itself
            log.error("%s", error)
        return self._strict

    # -- other threads ------------------------------------------------------------------------

    def _worker_lost(self, failure: InferenceFailed) -> None:
        """A worker's reader thread."""
        if not self._current.withdraw_failed():
            return  # one that never served, or was replaced already
        self._crashed = True
        log.error("%s; starting another", failure)
        self.events.worker_lost(failure)
        self._wake.set()

    def _endpoints_changed(self) -> None:
        """This thread, or a worker's reader thread."""
        serving = self._current.serving
        if serving is not None:
            self.events.endpoints(tuple(serving.worker.endpoints))

    def _show(self, model: str, message: str) -> None:
        """The fetch thread."""
        if model == self.wanted.name:
            self._current.tell(message)

    def offer(self, info: ModelInfo, source: str, planes: FloatImage) -> None:
        """Any thread. What a stream has brought for the network that runs."""
        self._deciding.album.offer(album_of(info), source, planes)

    def _remark(self) -> str | None:
        info = self._current.info
        return self._deciding.remark(info) if info else None

    def _decided(self, info: ModelInfo) -> None:
        """The thread that found out about int8."""
        self._current.tell(self._remark())
        if self._launcher.choose(info.spec, info.sha256)[1] == "int8":
            self._measured(info)

    def _measured(self, info: ModelInfo) -> None:
        """The profiling thread."""
        serving = self._current.serving
        if serving is not None and serving.info == info:
            self._relaunch_wanted.set()
            self._wake.set()

    def _arrived(self, model: str) -> None:
        """The fetch thread."""
        if not self._changes.arrived(model) and model == self.in_force.name and self._running != model:
            self._wanted_due.set()
        self._wake.set()


def _title(name: str) -> str:
    """Of a model, or of a manifest that may not be readable."""
    return MODELS[name].title if name in MODELS else Path(name).stem
