"""What every source has in common: open, demux, decode, and say plainly what went wrong."""

from __future__ import annotations

import errno
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import ClassVar

import av
import av.error
import av.filter
from av.container import InputContainer

from streamd.config import StreamConfig
from streamd.errors import SourceError, SourceRejected, SourceStalled, SourceUnreachable, SourceUnsupported
from streamd.redact import redact, redact_source

OPEN_TIMEOUT_S = 10.0
MAX_DAMAGED = 250
"""Packets in a row that cannot be decoded before the source counts as unusable."""


class Source(ABC):
    """Where frames come from. Opened, read and closed by the one thread that iterates: closing a
    PyAV container elsewhere is a use-after-free."""

    live: ClassVar[bool] = True
    """Live sources never end by themselves: an end is a loss."""

    def __init__(self, config: StreamConfig, stop: threading.Event, threads: int = 1) -> None:
        self.config = config
        self.threads = threads
        self.stop = stop
        """Set by anyone: the iteration ends soon."""
        self.name = redact_source(config.source)
        self.on_decode: Callable[[float], None] = lambda seconds: None
        """Told what each packet's decoding took."""
        self.on_skip: Callable[[str], None] = lambda reason: None
        """Told of each picture that is left out: corrupt, late."""

    def await_return(self, delay_s: float) -> None:
        """Waits before the next try; ends at once on ``stop``."""
        self.stop.wait(delay_s)

    @abstractmethod
    def frames(self) -> Generator[av.VideoFrame]:
        """Decoded pictures, upright, in presentation order. Raises SourceError."""

    @contextmanager
    def opened(
        self, url: str, *, format: str | None = None, options: dict[str, str] | None = None
    ) -> Iterator[InputContainer]:
        """The container, closed at the end; FFmpeg's errors become ours."""
        opening, started = True, time.monotonic()
        try:
            with av.open(
                url, format=format, options=options or {}, timeout=(OPEN_TIMEOUT_S, self.config.read_timeout_s)
            ) as container:
                opening = False
                for stream in container.streams.video:
                    # Frame threads would hold back as many pictures as there are threads.
                    stream.thread_type = "SLICE" if self.live else "AUTO"
                yield container
        except (av.error.FFmpegError, OSError, ValueError) as error:
            elapsed_s = time.monotonic() - started
            patience_s = min(OPEN_TIMEOUT_S, self.config.read_timeout_s / 2)
            raise source_error(self.name, error, opening=opening, elapsed_s=elapsed_s, patience_s=patience_s) from error

    def decoded(self, container: InputContainer) -> Iterator[av.VideoFrame]:
        """Every picture of the first video stream until the end or ``stop``."""
        if not container.streams.video:
            raise SourceUnsupported(self.name, "has no video")
        stream = container.streams.video[0]
        upright, damaged = Upright(), 0
        for packet in container.demux(stream):
            if self.stop.is_set():
                return
            started = time.monotonic()
            try:
                pictures, damaged = packet.decode(), 0
            except av.error.InvalidDataError:  # lost on the way, or a bad sector: the decoder goes on after it
                damaged += 1
                if damaged > MAX_DAMAGED:
                    raise
                continue
            self.on_decode(time.monotonic() - started)
            for picture in pictures:
                if not self.stop.is_set():
                    yield upright(picture)


class Upright:
    """Turns pictures as their display matrix says: phones record lying down."""

    _FILTERS: ClassVar = {90: "cclock", 180: "hflip", 270: "clock"}

    def __init__(self) -> None:
        self._graph: av.filter.Graph | None = None
        self._made_for: object = None

    def __call__(self, picture: av.VideoFrame) -> av.VideoFrame:
        turn = picture.rotation % 360
        if turn not in self._FILTERS:
            return picture
        key = (turn, picture.width, picture.height, picture.format.name)
        if key != self._made_for:
            self._graph, self._made_for = self._build(picture, turn), key
        assert self._graph is not None
        self._graph.push(picture)
        turned = self._graph.pull()
        assert isinstance(turned, av.VideoFrame)
        turned.pts, turned.time_base = picture.pts, picture.time_base
        return turned

    def _build(self, picture: av.VideoFrame, turn: int) -> av.filter.Graph:
        graph = av.filter.Graph()
        nodes = [
            graph.add_buffer(
                width=picture.width, height=picture.height, format=picture.format, time_base=picture.time_base
            )
        ]
        if turn == 180:
            nodes += [graph.add("hflip"), graph.add("vflip")]
        else:
            nodes.append(graph.add("transpose", self._FILTERS[turn]))
        graph.link_nodes(*nodes, graph.add("buffersink")).configure()
        return graph


_REJECTED = (
    av.error.HTTPUnauthorizedError,
    av.error.HTTPForbiddenError,
    av.error.PermissionError,
    PermissionError,
)


def source_error(
    name: str, error: Exception, *, opening: bool, elapsed_s: float, patience_s: float = OPEN_TIMEOUT_S
) -> SourceError:
    """One of ours for any native error. Looks at the phase before the class: a camera that accepts
    and says nothing gives InvalidDataError at open, ExitError in mid-stream (measured)."""
    if isinstance(error, SourceError):
        return error
    if isinstance(error, _REJECTED):
        return SourceRejected(name, "access refused: check user, password and permissions")
    if isinstance(error, av.error.ExitError | TimeoutError | av.error.TimeoutError):
        if opening:
            return SourceUnreachable(name, f"no answer within {elapsed_s:.0f} s")
        return SourceStalled(name, "went silent")
    if isinstance(error, FileNotFoundError | av.error.HTTPNotFoundError):
        return SourceUnreachable(name, "not found")
    if isinstance(error, IsADirectoryError):
        return SourceUnsupported(name, "is a directory, not a video")
    if isinstance(error, OSError) and error.errno == errno.EBUSY:
        return SourceUnreachable(name, "is in use by another program")
    if isinstance(error, OSError) and error.errno == errno.ENODEV:
        return SourceUnreachable(name, "no such device: is it plugged in?")
    if isinstance(error, ConnectionError | OSError) and not isinstance(error, av.error.InvalidDataError):
        return SourceUnreachable(name, redact(error.strerror or str(error)).lower())
    if isinstance(error, av.error.InvalidDataError):
        if opening and elapsed_s > 0.9 * patience_s:
            return SourceUnreachable(name, f"no answer within {elapsed_s:.0f} s")
        return SourceUnsupported(name, "is not a video that can be decoded")
    return SourceUnsupported(name, redact(getattr(error, "strerror", None) or str(error)).splitlines()[0])
