"""ONNX Runtime, on the CPU or by a provider: CUDA, TensorRT, CoreML, OpenVINO. Runs in the worker process."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

import streamd
from streamd.depth.files import locked, one_line
from streamd.depth.graph.onnx import build_onnx
from streamd.depth.graph.signature import Shape, Signature
from streamd.depth.models import ModelSpec, find_model
from streamd.depth.ort import onnxruntime
from streamd.depth.protocol import WorkerJob
from streamd.depth.runtimes.runtime import Done
from streamd.errors import DepthError, WeightsRejected
from streamd.host.whole_file import WholeFile
from streamd.media.frames import FloatImage

PROVIDERS = {
    "CPU": "CPUExecutionProvider",
    "CUDA": "CUDAExecutionProvider",
    "TensorRT": "TensorrtExecutionProvider",
    "CoreML": "CoreMLExecutionProvider",
    "OpenVINO": "OpenVINOExecutionProvider",
}
_ERRORS_ONLY = 3
_LOCK_WAIT_S = 50.0


class OnnxRuntime:
    """One session for all sizes; one inference at a time, on all threads."""

    def __init__(self, job: WorkerJob) -> None:
        """Raises WeightsRejected, DepthError."""
        if job.precision not in ("auto", "fp32"):
            raise DepthError(f"precision {job.precision}: {job.runtime} computes in fp32")
        self.precision = "fp32"
        self._infer = open_network(
            find_model(job.model),
            Path(job.weights),
            job.sha256,
            Path(job.cache),
            provider=job.runtime.partition(":")[2] or "CPU",
            threads=job.threads,
        )

    def is_compiled(self, height: int, width: int, *, live: bool) -> bool:
        return True

    def submit(
        self, slot: int, planes: FloatImage, depth: FloatImage, done: Done, *, live: bool, patient: bool = False
    ) -> None:
        try:
            depth[:] = self._infer(planes)
        except Exception as error:  # it has an exception for each kind, and no base for them
            done(_phrase(error))
        else:
            done(None)


def open_network(
    spec: ModelSpec, weights: Path, sha256: str, cache: Path, *, provider: str, threads: int
) -> Callable[[FloatImage], FloatImage]:
    """(1, 3, h, w) to (1, h, w), float32. Raises WeightsRejected, DepthError."""
    path = spec.file or _built(spec, weights, sha256, cache)
    session = _session(path, provider, threads, cache)
    inputs, outputs = (
        [(end.name, _shape(end)) for end in ends] for ends in (session.get_inputs(), session.get_outputs())
    )
    try:
        signature = Signature.of(inputs, outputs, spec.preprocessing)
    except ValueError as error:
        raise WeightsRejected(str(path), str(error)) from None
    name = inputs[0][0]
    dtype = {"tensor(float16)": np.float16, "tensor(double)": np.float64}.get(session.get_inputs()[0].type, np.float32)

    def infer(planes: FloatImage) -> FloatImage:
        given = planes.transpose(0, 2, 3, 1) if signature.nhwc else planes
        (output,) = session.run(None, {name: np.ascontiguousarray(given, dtype)})
        return np.asarray(output, np.float32).reshape(1, *planes.shape[2:])

    return infer


def _session(path: Path, provider: str, threads: int, cache: Path) -> onnxruntime.InferenceSession:
    name, there = PROVIDERS[provider], onnxruntime.get_available_providers()
    if name not in there:
        has = ", ".join(short for short, long in PROVIDERS.items() if long in there)
        raise DepthError(f"runtime onnxruntime:{provider}: this onnxruntime has no such provider; it has: {has}")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = _ERRORS_ONLY
    # Threads that wait in a loop would take the cores from decoder and encoder.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    settings = {}
    if provider == "TensorRT":  # it compiles for minutes
        engines = cache / "tensorrt"
        engines.mkdir(parents=True, exist_ok=True)
        settings = {"trt_engine_cache_enable": "1", "trt_engine_cache_path": str(engines)}
    try:
        session = onnxruntime.InferenceSession(
            str(path), options, providers=[(name, settings), PROVIDERS["CPU"]][: 1 if provider == "CPU" else 2]
        )
    except Exception as error:
        if provider == "CPU":
            raise WeightsRejected(str(path), f"onnxruntime does not take it: {_phrase(error)}") from None
        raise DepthError(f"runtime onnxruntime:{provider}: {_phrase(error)}") from None
    if session.get_providers()[0] != name:  # it says so on stderr only
        raise DepthError(f"runtime onnxruntime:{provider}: it cannot be used on this machine")
    return session


def _phrase(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def _shape(end: onnxruntime.NodeArg) -> Shape:
    """Names and nothing stand for any size."""
    return [side if isinstance(side, int) else None for side in end.shape]


def _built(spec: ModelSpec, weights: Path, sha256: str, cache: Path) -> Path:
    """The ONNX file of one of our own networks, made once for these weights by this code."""
    path = cache / "onnx" / f"{spec.name}-{sha256[:16]}-{_code()[:12]}.onnx"
    with one_line(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with locked(path.with_suffix(".lock"), _LOCK_WAIT_S):
            if not path.exists():
                content = build_onnx(spec, weights).SerializeToString()
                with WholeFile(path) as whole:
                    whole.write(content)
                for old in path.parent.glob(f"{spec.name}-*.onnx"):
                    if old != path:
                        old.unlink(missing_ok=True)
    return path


def _code() -> str:
    """A digest of what builds networks."""
    digest, package = hashlib.sha256(), Path(streamd.__file__).parent / "depth"
    for file in sorted([*package.glob("graph/*.py"), *package.glob("models/*.py")]):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def open_runtime(job: WorkerJob) -> OnnxRuntime:
    return OnnxRuntime(job)
