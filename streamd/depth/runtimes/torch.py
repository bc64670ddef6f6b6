"""PyTorch, eager: the reference that the others are measured against. Runs in the worker process."""

from __future__ import annotations

from pathlib import Path

import torch

from streamd.depth.graph.torch import load_network
from streamd.depth.models import find_model
from streamd.depth.protocol import WorkerJob
from streamd.depth.runtimes.runtime import Done
from streamd.media.frames import FloatImage


class TorchRuntime:
    def __init__(self, job: WorkerJob) -> None:
        self.precision = job.precision
        torch.set_num_threads(job.threads)
        self._network = load_network(find_model(job.model), Path(job.weights))
        self._seen: set[tuple[int, int]] = set()

    def is_compiled(self, height: int, width: int, *, live: bool) -> bool:
        """The first of a size takes seconds on a busy box: oneDNN makes its kernels then."""
        return (height, width) in self._seen

    @torch.inference_mode()
    def submit(
        self, slot: int, planes: FloatImage, depth: FloatImage, done: Done, *, live: bool, patient: bool = False
    ) -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=self.precision == "bf16"):
            depth[:] = self._network(torch.from_numpy(planes)).float().numpy()
        self._seen.add((planes.shape[2], planes.shape[3]))
        done(None)


def open_runtime(job: WorkerJob) -> TorchRuntime:
    return TorchRuntime(job)
