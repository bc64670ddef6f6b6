"""What every source has in common: open, demux, decode, and report errors in plain words."""

from __future__ import annotations

import errno
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, Protocol

import av
import av.error
from av.container import InputContainer
from av.packet import Packet
from av.stream import Discard
from av.video.stream import VideoStream

from streamd.config.address import SourceAddress
from streamd.config.redact import redact, redact_source
from streamd.config.sections import StreamConfig
from streamd.errors import SourceError, SourceRejected, SourceStalled, SourceUnreachable, SourceUnsupported
from streamd.sources.budget import limit_allocations
from streamd.sources.colours import Colours
from streamd.sources.decoder import FileDecoder, LiveDecoder
from streamd.sources.hardware import hwaccel_device, log_once
from streamd.sources.track import choose_video
from streamd.sources.upright import Upright
from streamd.states import SkipReason

OPEN_TIMEOUT_S = 10.0
ACCESS_REFUSED = "access refused: check user, password and permissions"


class Readable(Protocol):
    """A file as PyAV reads one; ``name`` is its address."""

    name: str

    def read(self, size: int, /) -> bytes: ...


class TransportRefused(SourceUnreachable):
    """The camera does not send its packets this way."""


class Source(ABC):
    """Where frames come from. Opened, read and closed by the one thread that iterates: closing a
    PyAV container elsewhere is a use-after-free."""

    live: ClassVar[bool] = True
    """Live sources never end by themselves: an end is a loss."""

    def __init__(self, config: StreamConfig, stop: threading.Event, threads: int = 1) -> None:
        """``threads`` may decode what is played by its clock."""
        self.config = config
        self.stop = stop
        """Set by anyone: the iteration ends soon."""
        self.threads = threads
        self.address = SourceAddress.parse(config.source)
        self.name = redact_source(config.source)
        self.on_decode: Callable[[float], None] = lambda seconds: None
        """Called with the seconds that each packet's decoding took."""
        self.on_skip: Callable[[SkipReason], None] = lambda reason: None
        """Called for each picture or packet that a live source leaves out: CORRUPT or LATE."""
        self._shown_s = 0.0
        self._came = 0

    @abstractmethod
    def frames(self) -> Generator[av.VideoFrame]:
        """Decoded pictures, upright, with square pixels, in presentation order. Raises SourceError. May be called
        again, to try again."""

    def await_return(self, delay_s: float) -> None:
        """Before the next try: waits on ``stop``, at most ``delay_s``, less at a sign that the source is back."""
        self.stop.wait(delay_s)

    @contextmanager
    def opened(
        self,
        source: str | Readable,
        *,
        format: str | None = None,
        options: dict[str, str] | None = None,
        io_open: Callable[..., Any] | None = None,
    ) -> Iterator[InputContainer]:
        """The container, closed at the end; FFmpeg's errors become ours. ``io_open`` opens what a playlist names:
        (url, flags, options) to a file."""
        limit_allocations()
        opening, started = True, time.monotonic()
        limits: Any = (_TimeLeft(OPEN_TIMEOUT_S), self.config.read_timeout_s)
        accel = hwaccel_device(self.config.hwaccel, self.name)
        try:
            with av.open(
                source,
                format=format,
                options=options or {},
                timeout=limits,
                hwaccel=accel,
                metadata_errors="replace",
                io_open=io_open,
            ) as container:
                assert isinstance(container, InputContainer)
                if self.live and time.monotonic() - started >= OPEN_TIMEOUT_S:  # which ends probing without an error
                    raise SourceUnreachable(self.name, f"no video within {OPEN_TIMEOUT_S:.0f} s")
                self._prepare(container, asked=accel is not None)
                opening = False
                yield container
        except (av.error.FFmpegError, OSError, ValueError) as error:
            elapsed_s = time.monotonic() - started
            described = self.explain(error, opening=opening, elapsed_s=elapsed_s)
            if isinstance(error, av.error.FFmpegError):
                error.args = error.args[:2]  # the third is the URL with its password
            raise described from error

    def explain(self, error: Exception, *, opening: bool, elapsed_s: float) -> SourceError:
        """What a native error means here."""
        patience_s = min(OPEN_TIMEOUT_S, self.config.read_timeout_s)
        return source_error(self.name, error, opening=opening, elapsed_s=elapsed_s, patience_s=patience_s)

    def _prepare(self, container: InputContainer, *, asked: bool) -> None:
        """``asked``: for hardware to decode on."""
        for stream in container.streams.video:
            if stream.codec_context is None:
                continue
            # Frame threads would hold back as many pictures as there are threads.
            stream.thread_type = "SLICE" if self.live else "AUTO"
            if self.live or self.config.realtime:
                stream.codec_context.thread_count = self.threads
            if asked and not stream.codec_context.is_hwaccel:
                log_once(self.name, f"decoding {stream.codec_context.name} in software")

    def decoded(self, container: InputContainer) -> Iterator[av.VideoFrame]:
        """Every picture of the video stream that is chosen until the end or ``stop``. Raises SourceStalled when a live
        source has given no picture for ``read_timeout_s``, even if it sends other packets."""
        stream = self.chosen(container)
        decoder, colours, upright = self._decoder(stream), Colours(stream.codec_context.name), Upright(stream)
        self._shown_s, self._came = time.monotonic(), 0
        for packet in self.packets(container, stream):
            if self.stop.is_set():
                return
            self._came += 1
            self.check_patience()
            for picture in decoder.pictures(packet):
                if not self.stop.is_set():
                    yield upright(picture, colours(picture))
                    self._shown_s, self._came = time.monotonic(), 0

    def chosen(self, container: InputContainer) -> VideoStream:
        """Its video, which can be decoded; a file's other streams are not read. Raises SourceUnsupported."""
        video = choose_video(container)
        if video is None:
            raise SourceUnsupported(self.name, "has no video")
        if video.codec_context is None:
            raise SourceUnsupported(self.name, "has video in a codec that cannot be decoded")
        if not self.live:  # which counts on every packet: they show that somebody still sends
            for other in container.streams:
                other.discard = Discard.default if other is video else Discard.all
        return video

    def packets(self, container: InputContainer, stream: VideoStream) -> Iterator[Packet[Any]]:
        """What ``decoded`` decodes."""
        return container.demux(stream)

    def check_patience(self) -> None:
        """Raises SourceStalled. Between two packets."""
        if self.live and time.monotonic() - self._shown_s > self.config.read_timeout_s:
            # One packet is what FFmpeg's parser held back when the silence began.
            raise SourceStalled(self.name, "sends no pictures that can be decoded" if self._came > 1 else "went silent")

    def _decoder(self, stream: VideoStream) -> LiveDecoder | FileDecoder:
        if self.live:
            return LiveDecoder(stream, self.on_decode, self.on_skip, self.config.read_timeout_s)
        return FileDecoder(stream, self.on_decode)


class _TimeLeft:
    """Seconds left, as a number that shrinks. PyAV takes its limit anew for each of the two steps of opening,
    header and probing: one of these bounds both."""

    def __init__(self, seconds: float) -> None:
        self._until = time.monotonic() + seconds

    def __float__(self) -> float:
        return max(0.0, self._until - time.monotonic())


_REJECTED = (
    av.error.HTTPUnauthorizedError,
    av.error.HTTPForbiddenError,
    av.error.PermissionError,
    PermissionError,
)
_REASONS = {
    errno.ENODEV: "no such device: is it plugged in?",
}


def source_error(
    name: str, error: Exception, *, opening: bool, elapsed_s: float, patience_s: float = OPEN_TIMEOUT_S
) -> SourceError:
    """One of ours for any native error. Looks at the phase before the class: a camera that accepts
    and sends nothing gives InvalidDataError at open, ExitError in mid-stream (measured)."""
    number = error.errno if isinstance(error, OSError) else None
    text = redact(getattr(error, "strerror", None) or str(error) or type(error).__name__).splitlines()[0]
    if opening and elapsed_s > 0.9 * patience_s:  # an operation that is broken off has any error, EPERM too
        return SourceUnreachable(name, f"no answer within {elapsed_s:.0f} s")
    if isinstance(error, _REJECTED):
        return SourceRejected(name, ACCESS_REFUSED)
    if isinstance(error, av.error.ExitError | TimeoutError | av.error.TimeoutError):
        if opening:
            return SourceUnreachable(name, f"no answer within {elapsed_s:.0f} s")
        return SourceStalled(name, "went silent")
    if isinstance(error, FileNotFoundError | av.error.HTTPNotFoundError):
        return SourceUnreachable(name, "not found")
    if isinstance(error, IsADirectoryError):
        return SourceUnsupported(name, "is a directory, not a video")
    # The second is what some servers send instead.
    if opening and (number == errno.EPROTONOSUPPORT or isinstance(error, av.error.HTTPBadRequestError)):
        return TransportRefused(name, text.lower())
    # The second is what some of FFmpeg's readers give for a damaged header, the third that of YUV4MPEG. Webcams know a
    # better reason.
    if isinstance(error, av.error.InvalidDataError | av.error.ArgumentError) or number == errno.EBUSY:
        return SourceUnsupported(name, "is not a video that can be decoded")
    if isinstance(error, av.error.HTTPOtherClientError):  # of RTSP too; which one is not said
        return SourceUnreachable(name, "the camera refuses: check the path, and how many may watch it at once")
    if isinstance(error, OSError | av.error.HTTPError | av.error.HTTPClientError):
        return SourceUnreachable(name, _REASONS.get(number or 0, text.lower()))
    return SourceUnsupported(name, text)
