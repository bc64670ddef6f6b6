"""`streamd convert`: every frame of a file, as fast as this box goes, none left out."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType

from tqdm import tqdm

from streamd.concurrency import threads
from streamd.concurrency.mailbox import Closed, Mailbox
from streamd.config.redact import printable
from streamd.config.sections import Edges, RecordedView, StreamConfig, View
from streamd.depth.range import DepthRange
from streamd.depth.service import DepthService
from streamd.errors import SinkError
from streamd.jobs.progress import Progress
from streamd.media.frames import CLOCK_RATE, TIME_BASE, CapturedFrame, DepthFrame, Picture, Stamp
from streamd.render.views import Renderer
from streamd.sinks.endings import Sound, check_depth16_ending, check_ending, codec_of, fitting
from streamd.sinks.file import DEFAULT_RATE, DepthFileWriter, FileWriter
from streamd.sources.file import FileInfo, FileSource
from streamd.streams.inference import Inference, Observe

IN_FLIGHT = 4
QUEUE = 4


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
    view: RecordedView = "depth",
    observe: Observe = lambda stage, seconds: None,
    quiet: bool = False,
) -> Converted:
    """Raises SourceError, DepthError, SinkError. Ctrl-C ends early and keeps what is done."""
    with Conversion(input, output, view) as conversion:
        return conversion.run(service, observe=observe, quiet=quiet)


class Conversion:
    """A context manager: what cannot be is refused at its beginning, before anything is started or written.

    Three threads: decode, which reads the input once, infer, and this one, which renders, encodes and writes.
    """

    def __init__(self, input: str, output: Path, view: RecordedView = "depth") -> None:
        self._output = output
        self._view = view
        self._stop = threading.Event()
        self._source = FileSource(StreamConfig(source=input, realtime=False), self._stop)
        self._frames: Mailbox[CapturedFrame] = Mailbox(every=True, capacity=QUEUE)
        self._reading = _Reading(self._source, self._frames)
        self._ending = ExitStack()

    def __enter__(self) -> Conversion:
        """Raises SourceError, SinkError."""
        if self._output.is_dir():
            raise SinkError(f"{self._output}: is a directory")
        if self._output.exists() and (source := Path(self._source.path)).exists() and self._output.samefile(source):
            raise SinkError(f"{self._output}: is the input itself")
        (check_depth16_ending if self._view == "depth16" else check_ending)(self._output)
        with ExitStack() as ending:
            self._reader = threads.start("decode", self._reading.run)
            ending.callback(self._end_reading)
            self._header = self._reading.header.result()
            self._writer = ending.enter_context(self._open_writer(self._header))
            self._ending = ending.pop_all()
        return self

    def _open_writer(self, header: _Header) -> FileWriter:
        sounds = fitting(self._output, header.sounds)
        if left_out := [sound for sound in header.sounds if sound not in sounds]:
            _remark(f"{self._source.name}: sound left out: {', '.join(map(codec_of, left_out))}")
        kind = DepthFileWriter if self._view == "depth16" else FileWriter
        writer = kind(self._output, header.rate, sounds, lambda text: _remark(f"{self._source.name}: {text}"))
        self._source.sounds, self._source.on_sound = sounds, writer.sound
        return writer

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ending.__exit__(kind, error, traceback)

    def _end_reading(self) -> None:
        self._stop.set()
        self._frames.close(discard=True)
        self._reading.go.set()
        self._reader.join()

    def run(
        self,
        service: DepthService,
        *,
        edges: Edges = "crisp",
        observe: Observe = lambda stage, seconds: None,
        quiet: bool = False,
    ) -> Converted:
        """Once. Raises SourceError, DepthError, SinkError, KeyboardInterrupt."""
        self._source.on_decode = lambda seconds: observe("decode", seconds)
        depths: Mailbox[DepthFrame] = Mailbox(every=True, capacity=QUEUE)
        inference = Inference(service, self._frames, depths, every=True, in_flight=IN_FLIGHT, observe=observe)
        model = service.wait_ready().spec.name
        started = time.monotonic()
        job = _Job(self._writer, self._view, edges, observe)
        self._reading.go.set()
        infer = threads.start("infer", inference.run)
        try:
            with Progress(self._header.info.frames, "frames", quiet=quiet) as progress:
                _drain(depths, job, progress.step)
            for worker in (self._reader, infer):
                worker.finished.result()
        except KeyboardInterrupt:
            print(printable(f"stopped: {self._output} has the first {job.count} frames"), file=sys.stderr)
            raise
        finally:
            self._stop.set()
            self._frames.close(discard=True)
            depths.close(discard=True)
            infer.join()
        return Converted(job.count, time.monotonic() - started, model)


@dataclass(frozen=True)
class _Header:
    info: FileInfo
    sounds: Sequence[Sound]

    @property
    def rate(self) -> Fraction:
        return self.info.rate or DEFAULT_RATE


class _Reading:
    """A thread's body: opens the input, waits for ``go``, reads it and closes it."""

    def __init__(self, source: FileSource, frames: Mailbox[CapturedFrame]) -> None:
        self._source = source
        self._frames = frames
        self.header: Future[_Header] = Future()
        self.go = threading.Event()

    def run(self) -> None:
        try:
            with self._source.opened_file() as container:
                self.header.set_result(_Header(self._source.describe(container), container.streams.audio))
                self.go.wait()
                for sequence, picture in enumerate(self._source.pictures(container)):
                    seconds = picture.time or 0.0
                    stamp = Stamp(sequence, int(seconds * CLOCK_RATE), captured_at=seconds)
                    self._frames.put(CapturedFrame(stamp, picture))
        except Closed:
            pass
        except Exception as error:
            if self.header.done():
                raise
            self.header.set_exception(error)
        finally:
            self._frames.close()


def _remark(text: str) -> None:
    """Without breaking the bar."""
    tqdm.write(text, file=sys.stderr)


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

    def __init__(self, writer: FileWriter, view: RecordedView, edges: Edges, observe: Observe) -> None:
        self._writer = writer
        self._view = view
        self._observe = observe
        self._range = DepthRange()
        self._renderer = Renderer(edges=edges)
        self.count = 0

    def take(self, frame: DepthFrame) -> None:
        started = drawn = time.monotonic()
        source = frame.picture
        when = source.pts or 0, source.time_base or TIME_BASE, source.duration or 0
        if isinstance(self._writer, DepthFileWriter):
            self._writer.write_depth(frame.inverse_depth, *when)
        elif self._view != "depth16":
            picture = self._draw(self._view, frame)
            drawn = time.monotonic()
            self._observe("render", drawn - started)
            self._writer.write(picture, *when)
        self._observe("encode", time.monotonic() - drawn)
        self.count += 1

    def _draw(self, view: View, frame: DepthFrame) -> Picture:
        normalised = self._range.normalise(frame.inverse_depth, frame.stamp.captured_at, frame.provenance.model)
        self._renderer.begin(normalised, frame.picture, None)
        return self._renderer.draw(view)
