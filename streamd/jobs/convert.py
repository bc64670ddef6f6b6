"""`streamd convert`: every frame of a file, as fast as this box goes, none left out."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from tqdm import tqdm

from streamd.concurrency import threads
from streamd.concurrency.mailbox import Closed, Mailbox
from streamd.config.sections import StreamConfig, View
from streamd.depth.range import DepthRange
from streamd.depth.service import DepthService
from streamd.errors import SinkError
from streamd.media.frames import CLOCK_RATE, CapturedFrame, DepthFrame, Stamp
from streamd.render.views import Renderer
from streamd.sinks.file import DEFAULT_RATE, FileWriter
from streamd.sources.file import FileSource
from streamd.streams.inference import Inference, Observe

IN_FLIGHT = 4
QUEUE = 4
PLAIN_PROGRESS_S = 5.0


@dataclass(frozen=True)
class Converted:
    """What a conversion did."""

    frames: int
    seconds: float
    model: str

    @property
    def fps(self) -> float:
        return self.frames / max(self.seconds, 1e-9)


def convert(
    input: str,
    output: Path,
    service: DepthService,
    *,
    view: View = "depth",
    observe: Observe = lambda stage, seconds: None,
    quiet: bool = False,
) -> Converted:
    """Three threads: decode, infer, and this one, which renders, encodes and writes.

    Raises SourceError, DepthError, SinkError. Ctrl-C ends early and keeps what is done.
    """
    if output.is_dir():
        raise SinkError(f"{output}: is a directory")
    if output.exists() and Path(input).exists() and output.samefile(input):
        raise SinkError(f"{output}: is the input itself")
    stop = threading.Event()
    source = FileSource(StreamConfig(source=input, realtime=False), stop)
    source.on_decode = lambda seconds: observe("decode", seconds)
    info = source.probe()
    frames: Mailbox[CapturedFrame] = Mailbox(every=True, capacity=QUEUE)
    depths: Mailbox[DepthFrame] = Mailbox(every=True, capacity=QUEUE)
    inference = Inference(service, frames, depths, every=True, in_flight=IN_FLIGHT, observe=observe)
    model = service.wait_ready().spec.name
    started = time.monotonic()
    rate = info.rate or DEFAULT_RATE
    with FileWriter(output, source.url, rate) as writer:
        workers = [
            threads.start("decode", lambda: _decode(source, frames, rate)),
            threads.start("infer", inference.run),
        ]
        job = _Job(writer, view, observe, rate)
        try:
            with _Progress(info.frames, quiet) as step:
                _drain(depths, job, step)
            for worker in workers:
                worker.finished.result()
        except KeyboardInterrupt:
            print(f"stopped: {output} has the first {job.count} frames", file=sys.stderr)
            raise
        finally:
            stop.set()
            frames.close(discard=True)
            depths.close(discard=True)
            for worker in workers:
                worker.join()
    return Converted(job.count, time.monotonic() - started, model)


def _decode(source: FileSource, frames: Mailbox[CapturedFrame], rate: Fraction) -> None:
    """Keeps the file's own times; a bare H.264 stream has none."""
    try:
        for sequence, picture in enumerate(source.frames()):
            seconds = float(sequence / rate) if picture.time is None else picture.time
            stamp = Stamp(sequence, int(seconds * CLOCK_RATE), captured_at=seconds)
            frames.put(CapturedFrame(stamp, picture))
    except Closed:
        pass
    finally:
        frames.close()


def _drain(depths: Mailbox[DepthFrame], job: _Job, step: Callable[[], None]) -> None:
    try:
        while True:
            frame = depths.get()
            if frame is not None:
                job.take(frame)
                step()
    except Closed:
        pass


class _Job:
    """Renders and writes depth frames in order."""

    def __init__(self, writer: FileWriter, view: View, observe: Observe, rate: Fraction) -> None:
        self._writer = writer
        self._view = view
        self._observe = observe
        self._rate = rate
        self._range = DepthRange()
        self._renderer = Renderer()
        self._last_pts = -1
        self.count = 0

    def take(self, frame: DepthFrame) -> None:
        started = time.monotonic()
        normalised = self._range.normalise(frame.inverse_depth, frame.stamp.captured_at, frame.provenance.model)
        self._renderer.begin(normalised, frame.picture, None)
        picture = self._renderer.draw(self._view)
        drawn = time.monotonic()
        self._observe("render", drawn - started)
        time_base = frame.picture.time_base or Fraction(1, CLOCK_RATE)
        pts = frame.picture.pts
        # A file may leave out a time or repeat one; an encoder needs each later than the last.
        if pts is None:
            pts = round(self.count / (self._rate * time_base))
        if self.count:
            pts = max(pts, self._last_pts + 1)
        self._writer.write(picture, pts, time_base)
        self._last_pts = pts
        self._observe("encode", time.monotonic() - drawn)
        self.count += 1


class _Progress:
    """A bar on a terminal, a plain line now and then elsewhere. Gives a function to call per frame."""

    def __init__(self, total: int | None, quiet: bool) -> None:
        self._total = total
        self._plain = not quiet and not sys.stderr.isatty()
        self._bar = tqdm(total=total, unit=" frames", disable=quiet or self._plain, file=sys.stderr, leave=False)
        self._done = 0
        self._next = time.monotonic() + PLAIN_PROGRESS_S

    def __enter__(self) -> Callable[[], None]:
        return self._step

    def _step(self) -> None:
        self._done += 1
        self._bar.update()
        if self._plain and time.monotonic() >= self._next:
            self._next += PLAIN_PROGRESS_S
            of = f" of {self._total}" if self._total else ""
            print(f"{self._done}{of} frames", file=sys.stderr, flush=True)

    def __exit__(self, *_: object) -> None:
        self._bar.close()
