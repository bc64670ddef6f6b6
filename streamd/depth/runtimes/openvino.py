"""OpenVINO on the CPU: the default runtime. Runs in the worker process."""

from __future__ import annotations

import hashlib
from pathlib import Path

from streamd.depth.graph.openvino import load_model
from streamd.depth.models import find_model
from streamd.depth.ov import has_bf16
from streamd.depth.ov import openvino as ov
from streamd.depth.protocol import WorkerJob
from streamd.depth.runtimes.runtime import Done
from streamd.errors import DepthError
from streamd.media.frames import FloatImage

MAX_FIXED = 3
"""Each takes 130 MB with MiDaS_small in bf16 and 160 MB in fp32, the flexible network 240 and 280 MB (measured): all of
them stay below the worker's default memory limit."""
LARGE_BYTES = 256 << 20
"""Larger weights are compiled once only, for all sizes: there is no room for more, and it costs 1 % (measured)."""


class OpenVinoRuntime:
    """The network compiled for the first few sizes that streams bring, and once for all other sizes.

    Compiling takes a fraction of a second in which nothing else runs, so no order of sizes may cause it again and
    again. The flexible network takes 9 % more CPU than one of a fixed size (measured), and its first picture of each
    size 50 ms.
    """

    def __init__(self, job: WorkerJob) -> None:
        """Raises WeightsRejected, DepthError."""
        self._job = job
        self._core = ov.Core()
        self.precision = self._precision(job.precision)
        self._spec, self._weights = find_model(job.model), Path(job.weights)
        self._one_size = self._spec.preprocessing.one_size
        self._checked: ov.Model | None = self._read()
        """For the first size. Loading it again takes less than keeping its weights twice (30 ms against 85 MB)."""
        self._max_fixed = 0 if self._weights.stat().st_size > LARGE_BYTES else MAX_FIXED
        self._fixed: dict[tuple[int, int], _Network] = {}
        self._flexible: _Network | None = None

    def _precision(self, wanted: str) -> str:
        """Until it has been measured, what the CPU was made for. Raises DepthError."""
        if wanted == "auto":
            return "bf16" if has_bf16() else "fp32"
        if wanted == "bf16" and not has_bf16():
            raise DepthError("precision bf16: this CPU does not have it")
        return wanted

    @property
    def _hint(self) -> str:
        """Of a network in int8: for its layers that are not."""
        return "bf16" if self.precision == "bf16" or (self.precision == "int8" and has_bf16()) else "f32"

    def _load(self) -> ov.Model:
        model, self._checked = self._checked, None
        return self._read() if model is None else model

    def _read(self) -> ov.Model:
        """Raises WeightsRejected."""
        if self.precision == "int8":
            return self._core.read_model(self._job.graph)
        return load_model(self._spec, self._weights)

    def is_compiled(self, height: int, width: int, *, live: bool) -> bool:
        if (height, width) in self._fixed:
            return True
        return self._flexible is not None and not self._takes_fixed(live)

    def submit(
        self, slot: int, planes: FloatImage, depth: FloatImage, done: Done, *, live: bool, patient: bool = False
    ) -> None:
        self._network(planes.shape[2], planes.shape[3], live).submit(slot, planes, depth, done)

    def _takes_fixed(self, live: bool) -> bool:
        """Whether a new size gets a network of its own: pictures that clients send in do not."""
        return self._one_size or (live and len(self._fixed) < self._max_fixed)

    def _network(self, height: int, width: int, live: bool) -> _Network:
        network = self._fixed.get((height, width))
        if network is not None:
            return network
        if self._takes_fixed(live):
            network = self._fixed[height, width] = _Network(self._compile(ov.Dimension(height), ov.Dimension(width)))
            return network
        if self._flexible is None:
            side = ov.Dimension(self._job.min_side, self._job.max_side)
            self._flexible = _Network(self._compile(side, side))
        return self._flexible

    def _compile(self, height: ov.Dimension, width: ov.Dimension) -> ov.CompiledModel:
        job = self._job
        model = self._load()
        model.reshape(ov.PartialShape([1, 3, height, width]))
        # OpenVINO checks what it finds here against its own version and this CPU.
        key = f"{job.model} {job.sha256} {width}x{height} {self.precision} {job.threads}/{job.parallel} "
        key += f"{Path(job.graph).stat().st_mtime_ns} " if job.graph else ""
        key += f"{self._core.get_property('CPU', 'FULL_DEVICE_NAME')} {ov.get_version()}"
        blobs = Path(job.cache, "blobs", hashlib.sha256(key.encode()).hexdigest()[:16])
        return self._core.compile_model(
            model,
            "CPU",
            {
                "INFERENCE_PRECISION_HINT": self._hint,
                "INFERENCE_NUM_THREADS": job.threads,
                "NUM_STREAMS": job.parallel,
                # The decoder and the encoder work on the same cores: let the kernel place us.
                "ENABLE_CPU_PINNING": False,
                "CACHE_DIR": str(blobs),
            },
        )


class _Network:
    """A compiled network and its request per slot. Its tensors are the shared memory itself."""

    def __init__(self, compiled: ov.CompiledModel) -> None:
        self._compiled = compiled
        self._requests: dict[int, tuple[ov.InferRequest, tuple[int, ...]]] = {}
        """By slot, with the shape that its tensors have now."""

    def submit(self, slot: int, planes: FloatImage, depth: FloatImage, done: Done) -> None:
        request, shape = self._requests.get(slot) or (self._compiled.create_infer_request(), ())
        if shape != planes.shape:
            request.set_input_tensor(ov.Tensor(planes, shared_memory=True))
            request.set_output_tensor(ov.Tensor(depth, shared_memory=True))
            self._requests[slot] = request, planes.shape
        request.set_callback(_answer, done)
        request.start_async()


def _answer(done: Done) -> None:
    done(None)


def open_runtime(job: WorkerJob) -> OpenVinoRuntime:
    return OpenVinoRuntime(job)
