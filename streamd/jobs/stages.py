"""What each stage of the way of a frame costs, one after the other, with nothing beside it."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path

from streamd.config.sections import StreamConfig
from streamd.depth.estimator import as_inverse_depth
from streamd.depth.preprocess import VideoPreprocessor
from streamd.depth.range import DepthRange
from streamd.depth.service import DepthService
from streamd.media.frames import FloatImage, Picture
from streamd.render.views import Renderer
from streamd.sinks.file import FileWriter
from streamd.sources.file import FileSource

FRAMES = 60
RATE = Fraction(30)
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


@dataclass
class Cost:
    """Of one stage, per frame."""

    ms: float = 0.0
    cpu_ms: float = 0.0
    """Helper threads and the worker included."""


class _Clock:
    def __init__(self) -> None:
        self.costs: dict[str, Cost] = {}

    @contextmanager
    def lap(self, stage: str, frames: int) -> Iterator[None]:
        """``frames`` is how many this stage is given in all."""
        wall_s, cpu_s = time.perf_counter(), time.process_time()
        yield
        cost = self.costs.setdefault(stage, Cost())
        cost.ms += 1e3 * (time.perf_counter() - wall_s) / frames
        cost.cpu_ms += 1e3 * (time.process_time() - cpu_s) / frames


def measure(input: str, service: DepthService, *, max_frames: int = FRAMES) -> dict[str, Cost]:
    """By stage: decode, preprocess, infer, range, render, encode. Raises SourceError, DepthError, SinkError."""
    clock = _Clock()
    with clock.lap("decode", 1):  # without keeping the frames: new memory for each costs as much again
        count = sum(1 for _ in islice(_frames(input), max_frames))
    decode = clock.costs["decode"]
    decode.ms, decode.cpu_ms = decode.ms / count, decode.cpu_ms / count
    frames = list(islice(_frames(input), count))
    depths = _infer(frames, service, clock)
    limits, renderer = DepthRange(), Renderer(edges="crisp")
    with (
        tempfile.TemporaryDirectory(prefix="streamd-") as folder,
        FileWriter(Path(folder, "depth.mp4"), RATE) as writer,
    ):
        for number, (frame, depth) in enumerate(zip(frames, depths, strict=True)):
            with clock.lap("range", count):
                normalised = limits.normalise(depth, float(number / RATE))
            with clock.lap("render", count):
                renderer.begin(normalised, frame, None)
                picture = renderer.draw("depth")
            with clock.lap("encode", count):
                writer.write(picture, number, 1 / RATE)
    return clock.costs


def _frames(input: str) -> Iterator[Picture]:
    return FileSource(StreamConfig(source=input, realtime=False), threading.Event()).frames()


def _infer(frames: list[Picture], service: DepthService, clock: _Clock) -> list[FloatImage]:
    info, preprocess, depths = service.wait_ready(), VideoPreprocessor(), []
    preprocess(frames[0], info.spec.preprocessing)
    service.submit(info, preprocess(frames[0], info.spec.preprocessing)[0]).result()  # compiles this size
    pid = service.worker_pid
    worker_s = cpu_s(pid) if pid else 0.0
    for frame in frames:
        with clock.lap("preprocess", len(frames)):
            planes = preprocess(frame, info.spec.preprocessing)[0]
        with clock.lap("infer", len(frames)):
            output = service.submit(info, planes).result()
        depths.append(as_inverse_depth(output, info.spec))
    if pid:
        clock.costs["infer"].cpu_ms += 1e3 * (cpu_s(pid) - worker_s) / len(frames)
    return depths


def cpu_s(pid: int) -> float:
    """User and system seconds of a process and all its threads so far; 0 when it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) * _TICK_S
