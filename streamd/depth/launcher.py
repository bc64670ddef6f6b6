"""Starts the worker process of a model, and makes ready all that it needs."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import wait
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from streamd.config.secret import read_secret
from streamd.config.sections import ModelConfig, is_manifest
from streamd.depth.estimator import ModelInfo
from streamd.depth.files import one_line, sha256_of, writable
from streamd.depth.int8.scenes import Examples, Take
from streamd.depth.int8.verdict import PrecisionRefused, Verdict, decide, find_verdict, graph_path, stands
from streamd.depth.models import ModelSpec, Preprocessing, memory_limit_bytes, timeout_s
from streamd.depth.preprocess import network_size
from streamd.depth.process import WorkerProcess
from streamd.depth.profile import Profile, core_count, find_profile, measure, other_runtimes, profile_path
from streamd.depth.protocol import WorkerJob
from streamd.depth.runtimes import check_model
from streamd.depth.store import ModelStore
from streamd.errors import DepthError, InferenceFailed, ModelMissing, WeightsRejected
from streamd.states import WorkerEnd

log = logging.getLogger(__name__)

POLL_S = 0.1
MAX_TOKEN = 3000
"""Characters, of what lets streamd in at the endpoints."""
_MEASURED = ("auto", "openvino")
DRAIN_S = 2.0
"""A worker that is changed for another has this long to answer what it holds."""
DRAIN_POLL_S = 0.1
"""Longer than anyone takes from choosing a worker to asking it."""


def make_job(
    spec: ModelSpec,
    weights: Path,
    sha256: str,
    cache: Path,
    chosen: tuple[str, str],
    *,
    threads: int,
    parallel: int = 1,
    slots: int = 1,
) -> WorkerJob:
    """For the network of ``spec``. ``chosen``: (runtime, precision)."""
    runtime, precision = chosen
    how = spec.preprocessing
    return WorkerJob(
        model=spec.reference,
        runtime=runtime,
        precision=precision,
        weights=str(weights),
        sha256=sha256,
        cache=str(cache),
        threads=threads,
        graph=str(graph_path(cache, spec, sha256)) if precision == "int8" else "",
        parallel=parallel,
        slots=slots,
        min_side=how.min_side,
        max_side=how.max_side,
        max_pixels=how.max_pixels,
    )


@dataclass(frozen=True)
class Serving:
    """A worker that answers, and the network that it runs."""

    worker: WorkerProcess
    info: ModelInfo
    full: Preprocessing
    """Of its model when it is not lowered."""
    memory_limit_bytes: int

    def warm(self, pictures: Iterable[tuple[int, int]], stop: threading.Event) -> None:
        """Compiles what pictures of these sizes, (width, height) px, need of it. Raises InferenceFailed."""
        sizes = {network_size(*size, self.info.spec.preprocessing) for size in pictures}
        for width, height in sorted(sizes):
            answer = self.worker.submit(np.zeros((3, height, width), np.float32))
            while not wait([answer], timeout=POLL_S).done:
                if stop.is_set():
                    raise InferenceFailed(WorkerEnd.STOPPED, "closing")
            answer.result()

    def drain(self, stop: threading.Event) -> None:
        """Lets it answer what it holds, and ends it."""
        until = time.monotonic() + DRAIN_S
        while not stop.wait(DRAIN_POLL_S) and self.worker.busy and time.monotonic() < until:
            pass
        self.worker.close()


class Launcher:
    """Used by one thread at a time, which it blocks."""

    def __init__(
        self,
        config: ModelConfig,
        store: ModelStore,
        stop: threading.Event,
        *,
        parallel: int,
        slots: int,
        examples: Examples | None = None,
    ) -> None:
        """``stop`` ends a download or a start under way. ``slots``: how many inferences a worker may hold.
        ``examples``, for commands: a network in int8 is made of them first, and refused at once; else the precision
        before runs until it is made.

        Raises ConfigError when the wanted model does not take the input size, or the runtime is not installed."""
        check_model(config)
        self.config = config
        """Of the next worker."""
        self.lowered: dict[str, int] = {}
        """Input sizes that are used instead, by model: see ``governor``."""
        self._store = store
        self._stop = stop
        self._slots = slots
        self._examples = examples
        self.parallel = parallel
        """How many inferences the next worker runs side by side."""

    @property
    def folders(self) -> list[Path]:
        """Of this machine, that messages may name files of: those inside others first."""
        config, store = self.config, self._store
        files = [config.weights] if config.weights else []
        files += [Path(name) for name in (config.name, config.fallback) if is_manifest(name)]
        found = {store.data, store.cache, *(file.parent for file in files)}
        return sorted({each for folder in found for each in (folder, folder.absolute())} - {Path()}, reverse=True)

    def rehearse(self, spec: ModelSpec) -> None:
        """Whether a worker would start. Raises DepthError."""
        self.launch(spec, lambda failure: None).worker.close()

    def launch(
        self,
        spec: ModelSpec,
        on_exit: Callable[[InferenceFailed], None],
        on_endpoints: Callable[[], None] = lambda: None,
    ) -> Serving:
        """Returns when the worker is ready. Raises DepthError."""
        full = self._full_size(spec)
        lowered = min(self.lowered.get(spec.reference, full.input_size), full.input_size)
        spec = replace(spec, preprocessing=full.sized(lowered))
        weights, sha256 = self._weights(spec)
        if self._examples is not None and self.config.precision == "int8":
            self._insist(spec, weights, sha256, self._examples(spec.preprocessing))
        job = self._job(spec, weights, sha256)
        deadline_s, limit = timeout_s(self.config, spec), memory_limit_bytes(self.config, spec)
        worker = WorkerProcess(
            job,
            deadline_s=deadline_s,
            memory_limit_bytes=limit,
            token=self._token() if job.endpoints else "",
            on_exit=on_exit,
            on_endpoints=on_endpoints,
        )
        try:
            self._wait_ready(worker)
        except InferenceFailed:
            worker.close()
            if worker.refusal is not None:
                raise WeightsRejected(job.weights, worker.refusal) from None
            raise
        return Serving(worker, ModelInfo(spec, sha256, job.runtime, worker.precision), full, limit)

    def _full_size(self, spec: ModelSpec) -> Preprocessing:
        """As configured, unless it is lowered."""
        own = spec.reference == self.config.name  # another keeps its own size
        return spec.preprocessing.sized(self.config.input_size if own else "auto")

    def _wait_ready(self, worker: WorkerProcess) -> None:
        """Raises InferenceFailed when it fails, or ``stop`` is set: it may be compiling for a minute."""
        while not self._stop.is_set():
            if wait([worker.ready], timeout=POLL_S).done:
                return worker.ready.result()
        raise InferenceFailed(WorkerEnd.STOPPED, "closing")

    def _weights(self, spec: ModelSpec) -> tuple[Path, str]:
        own = self.config.weights
        if own is not None and spec.name == self.config.name:
            with one_line(own):
                if not own.is_file():
                    raise ModelMissing(spec.name, f"{own} is not a file")
                return own, sha256_of(own)
        return self._store.weights(spec.reference)

    @property
    def _cache(self) -> Path:
        return writable(self._store.cache)

    def _job(self, spec: ModelSpec, weights: Path, sha256: str) -> WorkerJob:
        threads = self.config.threads
        job = make_job(
            spec,
            weights,
            sha256,
            self._cache,
            self.choose(spec, sha256),
            threads=core_count() if threads == "auto" else threads,
            parallel=self.parallel,
            slots=self._slots,
        )
        if job.runtime != "remote":
            return job
        authority = str(self.config.endpoint_ca or "")
        within_s = timeout_s(self.config, spec)
        return replace(job, endpoints=self.config.endpoints, endpoint_ca=authority, timeout_s=within_s)

    def _token(self) -> str:
        """Read anew for each worker. Raises DepthError."""
        try:
            token = read_secret(self.config.endpoint_token, "token")
        except ValueError as error:
            raise DepthError(f"model.endpoint_token: {error}") from None
        if not token.isascii() or not token.isprintable() or len(token) > MAX_TOKEN:
            raise DepthError("model.endpoint_token: is no token: plain ASCII without line breaks")
        return token

    def choose(self, spec: ModelSpec, sha256: str) -> tuple[str, str]:
        """Runtime and precision: what is asked for; of the rest what was measured to be best here, if it was."""
        runtime, precision = self.config.runtime, self.config.precision
        if precision == "int8":
            verdict = find_verdict(self._cache, spec, sha256)
            if verdict is not None and verdict.taken:
                return "openvino", "int8"
            runtime, precision = "openvino", "auto"
        if runtime not in _MEASURED:
            return runtime, "fp32" if precision == "auto" else precision
        profile = find_profile(profile_path(self._cache, spec, sha256))
        return profile.best(runtime, precision) if profile else ("openvino", precision)

    def needs_profile(self, info: ModelInfo) -> bool:
        """Whether something is to be chosen that was not measured yet."""
        runtime, precision = self.config.runtime, self.config.precision
        others = runtime == "auto" and other_runtimes(info.spec)
        if runtime not in _MEASURED or not (precision == "auto" or others):
            return False
        return find_profile(profile_path(self._cache, info.spec, info.sha256)) is None

    def measure(self, info: ModelInfo) -> Profile:
        """Blocks for seconds. Raises DepthError."""
        weights, sha256 = self._weights(info.spec)
        return measure(info.spec, weights, sha256, self._cache, stop=self._stop)

    # -- int8 ----------------------------------------------------------------------------------

    def decide(self, spec: ModelSpec, takes: Sequence[Take]) -> Verdict:
        """Blocks for seconds to minutes. Raises DepthError."""
        weights, sha256 = self._weights(spec)
        return decide(spec, weights, sha256, self._cache, takes, stop=self._stop)

    def _insist(self, spec: ModelSpec, weights: Path, sha256: str, takes: Sequence[Take]) -> None:
        verdict = decide(spec, weights, sha256, self._cache, takes, stop=self._stop)
        if not verdict.taken:
            raise PrecisionRefused(verdict.refusal(spec))

    def check_precision(self, spec: ModelSpec) -> None:
        """Raises PrecisionRefused when int8 is asked for, and was refused here before."""
        if self.config.precision == "int8":
            verdict = find_verdict(self._cache, spec, self._weights(spec)[1])
            if verdict is not None and not verdict.taken and stands(verdict, own=True):
                raise PrecisionRefused(verdict.refusal(spec))

    def lacks_verdict(self, info: ModelInfo) -> bool:
        """Whether int8 is asked for of this network, and nobody knows yet whether it is good."""
        if self.config.precision != "int8" or info.spec.reference != self.config.name:
            return False
        return not stands(find_verdict(self._cache, info.spec, info.sha256), own=True)

    def remark(self, info: ModelInfo) -> str | None:
        """Why this network does not run in int8, where that is asked for."""
        if self.config.precision != "int8" or info.spec.reference != self.config.name or info.precision == "int8":
            return None
        if self.lacks_verdict(info):
            return f"int8 of {info.spec.name} is made of this machine's own pictures; {info.precision} runs meanwhile"
        verdict = find_verdict(self._cache, info.spec, info.sha256)
        return None if verdict is None or verdict.taken else f"{verdict.refusal(info.spec)}; {info.precision} runs"
