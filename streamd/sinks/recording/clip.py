"""A span of time as one MP4 file: the recorded packets of as many segments as it takes, nothing encoded again.

A clip can begin at a keyframe only. Pictures from there up to the time that was asked for go before time zero, and the
file's edit list (ISO 14496-12, 8.6.6) has players begin behind them. What lies between two segments stays as long as
it was up to ``TOUCH_S``; while nothing was recorded for longer, the clip goes on at once: nobody waits for a frozen
picture. It ends early where the picture changes its size, for MP4 has one size.
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import IO, Any

import av
import av.error
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Stream

from streamd.errors import SinkError
from streamd.media.frames import CLOCK_RATE, TIME_BASE
from streamd.sinks.recording.disk import free_bytes
from streamd.sinks.recording.index import Segment
from streamd.sinks.recording.library import Library
from streamd.sinks.recording.spans import TOUCH_S

MAX_CLIP_S = 6 * 3600.0
MAX_CLIP_BYTES = 4 << 30
USUAL_STEP = CLOCK_RATE // 25
"""Between pictures, where there is only one."""


class ClipRefused(SinkError):
    """It would be too large, or cannot be made."""


class NothingThen(ClipRefused):
    """No picture lies in it."""


class NoRoom(SinkError):
    """The disk is nearly full."""


class ClipStopped(SinkError):
    """Nobody waits for it any more."""


@dataclass(frozen=True)
class Clip:
    """A file without a name: it goes when ``descriptor`` is closed, which is the holder's to do."""

    descriptor: int
    size_bytes: int
    from_s: float
    """What players show, Unix time."""
    to_s: float
    keyframe_s: float
    """When the first picture of the file was taken: players that know no edit lists begin there."""
    left_out_s: float
    """For which nothing was recorded in between."""


def cut(
    library: Library,
    segments: Sequence[Segment],
    from_s: float,
    to_s: float,
    *,
    min_free_bytes: float = 0.0,
    stop: threading.Event | None = None,
) -> Clip:
    """``segments`` of one view, the oldest first. Raises ClipRefused (NothingThen), ClipStopped, NoRoom, OSError."""
    expected = sum(_share(segment, from_s, to_s) for segment in segments)
    if expected > MAX_CLIP_BYTES:
        raise ClipRefused(
            f"the clip would have {expected / 1e9:.1f} GB; {MAX_CLIP_BYTES / 1e9:.1f} at most: ask for less"
        )
    with _spool(library.directory, expected, min_free_bytes) as file:
        try:
            with av.open(file, "w", format="mp4", buffer_size=1 << 18) as output:
                writer = _Writer(output, from_s, to_s, stop or threading.Event())
                all(writer.take(library, segment) for segment in segments)
                writer.finish()
        except ValueError as error:  # FFmpeg's: what it was given makes no sense
            raise ClipRefused(f"the recordings cannot be cut: {error}") from error
        file.flush()
        return writer.clip(os.dup(file.fileno()))


def _share(segment: Segment, from_s: float, to_s: float) -> float:
    """Bytes of it, about."""
    begins = segment.started.timestamp()
    inside = min(segment.ended_s, to_s) - max(begins, from_s)
    return segment.size_bytes * min(1.0, max(0.0, inside) / max(segment.seconds, 0.001))


def _spool(directory: Path, expected_bytes: float, min_free_bytes: float) -> IO[bytes]:
    """A file without a name on the disk of the recordings; elsewhere when that cannot be written. Raises NoRoom,
    OSError."""
    folder = directory if os.access(directory, os.W_OK) else Path(tempfile.gettempdir())
    free = free_bytes(folder)
    if free - expected_bytes < min_free_bytes:
        raise NoRoom(f"{folder}: no room for a clip: {free / 1e9:.1f} GB free")
    return tempfile.TemporaryFile(dir=folder)


class _Writer:
    def __init__(self, output: OutputContainer, from_s: float, to_s: float, stop: threading.Event) -> None:
        self._output = output
        self._from_s, self._to_s = from_s, to_s
        self._stop = stop
        self._stream: Stream | None = None
        self._size = (0, 0)
        self._held: Packet[Any] | None = None
        """The newest: how long it is shown is known by the next."""
        self._held_of = 0.0
        """When the segment that it is of began, Unix time."""
        self._zero_s = from_s
        """What is at time zero of the clip, Unix time."""
        self._keyframe_s = 0.0
        self._begin = self._end = 0
        """Of the segment, and of what was written, in ticks of the clip."""
        self._end_s = 0.0
        """The same, Unix time."""
        self._step = USUAL_STEP
        self._left_out_s = 0.0
        self._bytes = 0

    def take(self, library: Library, segment: Segment) -> bool:
        """Whether the next may follow."""
        started_s = segment.started.timestamp()
        with _opened(library, segment) as container:
            if container is None:
                return True
            video = container.streams.video[0]
            if self._stream is None:
                self._size = (video.width, video.height)
                self._stream = self._output.add_stream_from_template(video)
                self._stream.time_base = TIME_BASE
            elif (video.width, video.height) != self._size:
                return False
            packets = _from_keyframe(container, started_s, self._from_s) if not self._bytes else _packets(container)
            self._follow(started_s)
            is_whole = all(self._put(packet, started_s) for packet in packets)
        if self._held_of == started_s:  # pictures of a still scene are shown for up to a second
            step_s = self._step / CLOCK_RATE
            least_s = self._end_s - step_s + min(step_s, USUAL_STEP / CLOCK_RATE)
            known_s = self._end_s if segment.written else max(segment.ended_s, least_s)
            self._end_by(min(self._to_s, known_s) if is_whole else self._to_s)
        return is_whole

    def _follow(self, started_s: float) -> None:
        """Places the beginning of a segment behind what was written."""
        if not self._bytes:
            return
        gap_s = started_s - self._end_s
        if gap_s > TOUCH_S:
            self._left_out_s += gap_s
        self._begin = self._end + (round(gap_s * CLOCK_RATE) if 0 < gap_s <= TOUCH_S else 0)

    def _put(self, packet: Packet[Any], started_s: float) -> bool:
        """Whether more may come."""
        assert packet.pts is not None
        assert packet.time_base is not None
        ticks = round(packet.pts * packet.time_base * CLOCK_RATE)
        at_s = started_s + ticks / CLOCK_RATE
        if at_s >= self._to_s:
            return False
        if self._stop.is_set():
            raise ClipStopped("nobody waits for the clip")
        if not self._bytes:
            self._keyframe_s, self._zero_s = at_s, max(self._from_s, at_s)
            self._begin = round((started_s - self._zero_s) * CLOCK_RATE)
        self._bytes += packet.size
        if self._bytes > MAX_CLIP_BYTES:
            raise ClipRefused(f"the clip would have more than {MAX_CLIP_BYTES / 1e9:.1f} GB: ask for less")
        pts = self._begin + ticks
        if self._held is not None:
            assert self._held.pts is not None
            pts = max(pts, self._held.pts + 1)
            self._step = min(pts - self._held.pts, CLOCK_RATE)
        self._write_held(pts)
        packet.pts = packet.dts = pts
        packet.time_base, packet.stream = TIME_BASE, self._stream
        self._held, self._end, self._end_s = packet, pts + self._step, at_s + self._step / CLOCK_RATE
        self._held_of = started_s
        return True

    def _end_by(self, until_s: float) -> None:
        """The newest picture is shown until then, Unix time."""
        assert self._held is not None
        assert self._held.pts is not None
        end = max(self._end + round((until_s - self._end_s) * CLOCK_RATE), self._held.pts + 1)
        self._end_s += (end - self._end) / CLOCK_RATE
        self._end = end

    def _write_held(self, until: int) -> None:
        if self._held is not None:
            if (self._held.pts or 0) < 0 and until > USUAL_STEP:  # players leave out all that begins before time zero
                self._held.pts = self._held.dts = 0
            self._held.duration = until - (self._held.pts or 0)
            self._output.mux_one(self._held)

    def finish(self) -> None:
        if self._held is None:
            raise NothingThen("nothing was recorded then")
        self._write_held(self._end)

    def clip(self, descriptor: int) -> Clip:
        size = os.fstat(descriptor).st_size
        return Clip(descriptor, size, self._zero_s, self._end_s, self._keyframe_s, self._left_out_s)


@contextmanager
def _opened(library: Library, segment: Segment) -> Iterator[InputContainer | None]:
    """None for a file that has gone, or has no picture."""
    try:
        opened = library.open(segment.name.path)
    except FileNotFoundError:
        yield None
        return
    with open(opened.descriptor, "rb", buffering=0) as file:
        if not opened.size_bytes:  # FFmpeg seeks to before its beginning
            yield None
            return
        try:
            container = av.open(file, format="mp4", buffer_size=1 << 18)
        except (av.error.InvalidDataError, av.error.EOFError):
            yield None
            return
        assert isinstance(container, InputContainer)
        with container:
            yield container if container.streams.video else None


def _packets(container: InputContainer) -> Iterator[Packet[Any]]:
    """Up to its end, or to where it was cut short, or is written now."""
    with suppress(av.error.InvalidDataError):
        for packet in container.demux(container.streams.video[0]):
            if packet.size and packet.pts is not None:
                yield packet


def _from_keyframe(container: InputContainer, started_s: float, from_s: float) -> Iterator[Packet[Any]]:
    """From the last keyframe up to ``from_s`` on; the first, where there is none so early."""
    video = container.streams.video[0]
    time_base = video.time_base or Fraction(1, CLOCK_RATE)
    if from_s > started_s:
        with suppress(av.error.FFmpegError):
            container.seek(int((from_s - started_s) / time_base), stream=video)
    waiting: list[Packet[Any]] = []
    packets = _packets(container)
    for packet in packets:
        assert packet.pts is not None
        is_before = started_s + packet.pts * time_base <= from_s
        if packet.is_keyframe and is_before:
            waiting.clear()
        if packet.is_keyframe or waiting:
            waiting.append(packet)
        if waiting and not is_before:
            break
    yield from waiting
    yield from packets
