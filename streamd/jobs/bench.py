"""`streamd bench`: what this box makes of the networks on it, and of the whole way of a frame."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

import streamd
from streamd.depth import child
from streamd.depth.agreement import error_share
from streamd.depth.files import writable
from streamd.depth.int8.verdict import decide
from streamd.depth.launcher import make_job
from streamd.depth.models import ModelSpec, Preprocessing, find_model
from streamd.depth.preprocess import network_size
from streamd.depth.profile import core_count, cpu, openvino_version
from streamd.depth.profiler import calibration_inputs
from streamd.depth.runtimes import lacks_int8, missing_package, not_installed, runs
from streamd.depth.service import DepthService
from streamd.depth.store import ModelStore
from streamd.errors import StreamdError
from streamd.jobs import stages
from streamd.jobs.progress import Progress
from streamd.media.frames import FloatImage

RUNTIMES = ("openvino", "onnxruntime", "torch")
PRECISIONS = ("fp32", "bf16")
REFERENCE = ("openvino", "fp32")
DEMO = Path(streamd.__file__).parent / "assets" / "demo.mp4"
TIMEOUT_S = 600.0
_FRAMES = 4


@dataclass(frozen=True)
class Row:
    """One network, by one runtime, in one precision, on one size of input; or why there is none."""

    model: str
    runtime: str
    precision: str
    input: str = ""
    """As in "256x128"."""
    ms: float | None = None
    """Median of one inference, from end to end, on all cores."""
    cpu_ms: float | None = None
    fps: float | None = None
    """One after the other."""
    mb: int | None = None
    """Resident in the process that does nothing else."""
    error: float | None = None
    """Mean |difference| from OpenVINO's fp32, as a share of the 2-98 % spread."""
    gflop: float | None = None
    """Of one inference."""
    of_peak: float | None = None
    """Share of what a core can do at most, in its CPU time."""
    problem: str | None = None


@dataclass
class Result:
    box: Mapping[str, Any]
    peak_gflops: Mapping[str, float]
    """Of one core, by precision: measured."""
    rows: list[Row] = field(default_factory=list)
    pipeline: dict[str, Any] = field(default_factory=dict)
    """Of a frame of the demo clip: ``model``, and ``stages``, or ``problem``."""

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1)


@dataclass(frozen=True)
class Plan:
    """What is measured."""

    models: Sequence[str]
    runtimes: Sequence[str] = RUNTIMES
    precisions: Sequence[str] = ()
    """Empty: those that each runtime has."""
    seconds: float = 2.0
    """For each row."""

    def of_runtime(self, runtime: str) -> Sequence[str]:
        return self.precisions or (PRECISIONS if runtime in ("openvino", "torch") else PRECISIONS[:1])


def installed(store: ModelStore) -> list[str]:
    return [status.spec.name for status in store.status() if status.path]


def bench(plan: Plan, store: ModelStore, service: Callable[[str], DepthService], *, quiet: bool = False) -> Result:
    """``service`` starts one for a model: the pipeline is measured with the first. Whatever fails is a row that says
    so. Raises ModelMissing and the like for a model that is named and not there."""
    weights = {name: store.weights(name) for name in plan.models}
    total = 2 + sum(len(plan.of_runtime(runtime)) for runtime in plan.runtimes) * len(plan.models)
    with Progress(total, "measurements", quiet=quiet) as progress, tempfile.TemporaryDirectory() as folder:
        result = Result(_box(), _peak())
        progress.step()
        for name, (file, sha256) in weights.items():
            network = _Network(find_model(name), file, sha256, writable(store.cache), Path(folder))
            for row in network.measure(plan, result.peak_gflops, progress.step):
                result.rows.append(row)
        result.pipeline = _pipeline(plan.models[0], service)
        progress.step()
    return result


class _Network:
    """The trials of one model, each in a child of its own."""

    def __init__(self, spec: ModelSpec, weights: Path, sha256: str, cache: Path, folder: Path) -> None:
        self._spec, self._weights, self._sha256, self._cache = spec, weights, sha256, cache
        self._inputs, self._outputs = folder / "inputs.npz", folder / "outputs.npz"
        inputs = make_inputs(spec.preprocessing)
        np.savez(self._inputs, **inputs)  # type: ignore[arg-type]
        self._expected: dict[str, FloatImage] = {}
        self._gflop: Mapping[str, float] = {}

    def measure(self, plan: Plan, peak: Mapping[str, float], step: Callable[[], None]) -> Iterator[Row]:
        try:
            self._gflop = _child("work", self._spec.reference, str(self._weights), str(self._inputs))
        except StreamdError:  # the rows will tell
            pass
        asked = [(runtime, precision) for runtime in plan.runtimes for precision in plan.of_runtime(runtime)]
        first = self._trial(*REFERENCE, plan.seconds if REFERENCE in asked else 0.0, peak)
        for runtime, precision in asked:
            if (runtime, precision) == REFERENCE:
                yield from first
            else:
                yield from self._trial(runtime, precision, plan.seconds, peak)
            step()

    def _trial(self, runtime: str, precision: str, seconds: float, peak: Mapping[str, float]) -> list[Row]:
        row = Row(self._spec.name, runtime, precision)
        try:
            self._check(runtime)
            if precision == "int8":
                self._check_int8(runtime)
            chosen = runtime, precision
            job = make_job(self._spec, self._weights, self._sha256, self._cache, chosen, threads=core_count()).to_json()
            answer = _child("network", job, str(self._inputs), str(self._outputs), str(seconds))
        except StreamdError as error:
            return [Row(**{**asdict(row), "problem": str(error)})]
        with np.load(self._outputs) as outputs:
            made = dict(outputs.items())
        if (runtime, precision) == REFERENCE:
            self._expected = made
        return [self._row(row, name, made[name], answer, peak) for name in made]

    def _row(self, row: Row, name: str, depth: FloatImage, answer: Mapping[str, Any], peak: Mapping[str, float]) -> Row:
        timed, gflop, most = answer["inputs"][name], self._gflop.get(name), peak.get(answer["precision"])
        expected = self._expected.get(name)
        error = None if expected is None else float(np.mean(list(map(error_share, depth, expected))))
        of_peak = gflop / most / (timed["cpu_ms"] / 1e3) if gflop and most and timed["cpu_ms"] else None
        measured = {"input": name, "mb": answer["mb"], "error": error, "gflop": gflop, "of_peak": of_peak, **timed}
        return Row(**{**asdict(row), **measured, "precision": answer["precision"]})

    def _check(self, runtime: str) -> None:
        """Raises StreamdError with the reason why it cannot be tried."""
        if package := missing_package(runtime):
            raise StreamdError(str(not_installed(runtime, package).reason))
        if not runs(runtime, self._spec):
            raise StreamdError(f"does not run {self._spec.file}")

    def _check_int8(self, runtime: str) -> None:
        """Raises StreamdError unless it was found good, on pictures that are built in where there are no others."""
        if runtime != "openvino":
            raise StreamdError("does not compute in int8: openvino does")
        if reason := lacks_int8():
            raise StreamdError(reason)
        verdict = decide(self._spec, self._weights, self._sha256, self._cache, ())
        if not verdict.taken:
            raise StreamdError(verdict.refusal(self._spec))


def make_inputs(how: Preprocessing) -> dict[str, FloatImage]:
    """(n, 3, h, w) by size: of a picture of 16:9, and of a square one. Frames of the demo clip."""
    wide = calibration_inputs(how)[:_FRAMES]
    inputs = {f"{wide.shape[3]}x{wide.shape[2]}": wide}
    width, height = network_size(1, 1, how)
    square = [cv2.resize(frame.transpose(1, 2, 0), (width, height)).transpose(2, 0, 1) for frame in wide]
    return {**inputs, f"{width}x{height}": np.ascontiguousarray(np.stack(square))}


def _pipeline(model: str, start: Callable[[str], DepthService]) -> dict[str, Any]:
    try:
        service = start(model)
        try:
            costs = stages.measure(str(DEMO), service)
            info = service.wait_ready()
        finally:
            service.close()
    except StreamdError as error:
        return {"model": model, "problem": str(error)}
    rounded = {stage: {key: round(value, 2) for key, value in asdict(cost).items()} for stage, cost in costs.items()}
    return {"model": info.spec.name, "runtime": info.runtime, "precision": info.precision, "stages": rounded}


def _box() -> dict[str, Any]:
    return {
        "cpu": cpu()[0],
        "cores": core_count(),
        "openvino": openvino_version(),
        "streamd": streamd.__version__,
        "load": round(os.getloadavg()[0], 2),
    }


def _peak() -> Mapping[str, float]:
    try:
        return _child("peak")
    except StreamdError:  # the roofline is not known then
        return {}


def _child(*arguments: str) -> dict[str, Any]:
    """What streamd.depth.trial answers. Raises StreamdError with the reason when it does not."""
    threads = {"OMP_NUM_THREADS": str(core_count())}
    try:
        ended = child.run("streamd.depth.trial", arguments, timeout_s=TIMEOUT_S, environment=threads)
    except TimeoutError:
        raise StreamdError(f"took more than {TIMEOUT_S:.0f} s") from None
    if ended.code:
        raise StreamdError(ended.reason)
    answer: dict[str, Any] = json.loads(ended.output.splitlines()[-1])
    return answer
