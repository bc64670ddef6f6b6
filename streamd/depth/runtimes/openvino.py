"""OpenVINO on the CPU: the default runtime. Runs in the worker process."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from pathlib import Path

from streamd.depth.ov import openvino as ov
from streamd.depth.protocol import WorkerJob
from streamd.depth.worker import Done
from streamd.media.frames import FloatImage

MAX_SHAPES = 4
"""Each costs 160 MB of MiDaS_small in fp32 (measured): with six the worker outgrows its default ceiling."""


class OpenVinoRuntime:
    """One compiled network per input size, the newest few kept: sizes are fixed per stream, and
    an unbounded number of them would be an unbounded cache.

    Input and output tensors are the shared memory itself, bound once per slot.
    """

    def __init__(self, job: WorkerJob) -> None:
        self.precision = job.precision
        self._job = job
        self._core = ov.Core()
        self._shapes: OrderedDict[tuple[int, int], _Shape] = OrderedDict()

    def has_shape(self, height: int, width: int) -> bool:
        return (height, width) in self._shapes

    def submit(self, slot: int, planes: FloatImage, depth: FloatImage, done: Done) -> None:
        key = (planes.shape[2], planes.shape[3])
        shape = self._shapes.get(key)
        if shape is None:
            self._make_room()
            shape = self._shapes[key] = _Shape(self._compile(*key))
        self._shapes.move_to_end(key)
        shape.submit(slot, planes, depth, done)

    def _make_room(self) -> None:
        """A request dropped in mid-run would never be answered: only idle sizes go, the oldest first."""
        for key in [key for key, shape in self._shapes.items() if not shape.busy]:
            if len(self._shapes) >= MAX_SHAPES:
                self._shapes.pop(key).close()

    def _compile(self, height: int, width: int) -> ov.CompiledModel:
        job = self._job
        model = self._core.read_model(job.weights)
        model.reshape([1, 3, height, width])
        # OpenVINO checks what it finds here against its own version and this CPU.
        key = f"{Path(job.weights).parent.name} {width}x{height} {job.precision} {job.threads}/{job.parallel} "
        key += f"{self._core.get_property('CPU', 'FULL_DEVICE_NAME')} {ov.get_version()}"
        blobs = Path(job.cache, "blobs", hashlib.sha256(key.encode()).hexdigest()[:16])
        return self._core.compile_model(
            model,
            "CPU",
            {
                "INFERENCE_PRECISION_HINT": "bf16" if job.precision == "bf16" else "f32",
                "INFERENCE_NUM_THREADS": job.threads,
                "NUM_STREAMS": job.parallel,
                # The decoder and the encoder work on the same cores: let the kernel place us.
                "ENABLE_CPU_PINNING": False,
                "CACHE_DIR": str(blobs),
            },
        )


class _Shape:
    """The network for one size and its request per slot."""

    def __init__(self, compiled: ov.CompiledModel) -> None:
        self._compiled = compiled
        self._requests: dict[int, ov.InferRequest] = {}
        self.busy: set[int] = set()
        """Slots under way. Added to by the submitting thread, taken from by OpenVINO's."""

    def submit(self, slot: int, planes: FloatImage, depth: FloatImage, done: Done) -> None:
        request = self._requests.get(slot)
        if request is None:
            request = self._requests[slot] = self._compiled.create_infer_request()
            request.set_input_tensor(ov.Tensor(planes, shared_memory=True))
            request.set_output_tensor(ov.Tensor(depth, shared_memory=True))
        self.busy.add(slot)
        request.set_callback(self._answer, (slot, done))
        request.start_async()

    def close(self) -> None:
        """A request and its callback hold each other where Python's collector cannot see it."""
        self._requests.clear()

    def _answer(self, under_way: tuple[int, Done]) -> None:
        slot, done = under_way
        self.busy.discard(slot)
        done(None)


def open_runtime(job: WorkerJob) -> OpenVinoRuntime:
    return OpenVinoRuntime(job)
