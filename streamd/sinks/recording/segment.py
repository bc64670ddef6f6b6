"""The file of a segment while it is written. All of this blocks on the disk: one thread, the recorder's."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import av
import numpy as np
from av.packet import Packet

from streamd.media import depth16
from streamd.media.frames import CLOCK_RATE, TIME_BASE, EncodedPacket
from streamd.sinks.recording.length import prolong

SYNC_EVERY_S = 1.0
# A fragment a second at most, each flushed whole: a reader of the file never misses more than that. A little shorter,
# so that pictures of a still scene, which come about once a second, have one each.
_MUXER = {"movflags": "empty_moov+default_base_moof", "frag_duration": "800000", "flush_packets": "1"}
_CLUSTER = bytes.fromhex("1f43b675")
"""The ID that each group of frames begins with in Matroska (RFC 9559, 5.1.3)."""
_open: set[Path] = set()


def is_written(path: Path) -> bool:
    """Whether a recorder of this process has the file open. Any thread."""
    return path in _open


class SegmentWriter:
    """One file, from a keyframe on, its times counted from zero. Everything may raise OSError."""

    format = "mp4"
    options = _MUXER

    def __init__(
        self, path: Path, first: EncodedPacket, on_bytes: Callable[[int], None], on_sync: Callable[[], None]
    ) -> None:
        """``on_sync`` is called each second, when what was written is on the disk."""
        self.path = path
        self.opened_at = time.monotonic()
        self.keyframe_wanted = False
        self.epoch = first.epoch
        self.newest_s = 0.0
        """The time of the newest picture."""
        self._first_pts = first.pts
        self._kind = (first.size, first.epoch)
        self._on_sync = on_sync
        self._next_sync = self.opened_at + SYNC_EVERY_S
        _open.add(path)
        try:
            self._file = _CountedFile(path, on_bytes)
        except OSError:
            _open.discard(path)
            raise
        self._container = av.open(self._file, "w", format=self.format, options=self.options)
        self._begin(*first.size)

    def _begin(self, width: int, height: int) -> None:
        self._stream = self._container.add_mux_stream("h264", rate=30, width=width, height=height, time_base=TIME_BASE)

    def is_of_another(self, packet: EncodedPacket) -> bool:
        """Of another size, or the source was opened again in between."""
        return (packet.size, packet.epoch) != self._kind

    def age_s(self, packet: EncodedPacket) -> float:
        return (packet.pts - self._first_pts) / CLOCK_RATE

    def write(self, unit: EncodedPacket) -> None:
        self._container.mux(self._packets(unit, unit.pts - self._first_pts))
        self.newest_s = self.age_s(unit)
        now = time.monotonic()
        if now >= self._next_sync:
            self._next_sync = now + SYNC_EVERY_S
            self._file.sync()
            self._on_sync()

    def _packets(self, unit: EncodedPacket, pts: int) -> list[Packet[Any]]:
        packet = Packet(unit.data)
        packet.pts = packet.dts = pts
        packet.time_base = TIME_BASE
        packet.is_keyframe = unit.is_keyframe
        packet.stream = self._stream
        return [packet]

    def close(self, ends_s: float = 0.0) -> None:
        """``ends_s``: until when its last picture was seen, by the file's own time, if that is known."""
        try:
            self._container.close()
            self._file.prolong(ends_s)
        finally:
            try:
                self._file.close()
            finally:
                _open.discard(self.path)

    def abort(self) -> None:
        """After a failure: what is on the disk can be played; a file without a picture is removed."""
        with suppress(OSError):
            self.close()
        if not self._file.has_picture:
            with suppress(OSError):
                self.path.unlink()


class Depth16Writer(SegmentWriter):
    """The same for depth16, which is encoded here: not on the path of a frame."""

    format = "matroska"
    options = depth16.MUXER

    def _begin(self, width: int, height: int) -> None:
        self._tracks = depth16.Tracks(self._container, 30)
        self._tracks.size(width, height, TIME_BASE)

    def _packets(self, unit: EncodedPacket, pts: int) -> list[Packet[Any]]:
        width, height = unit.size
        picture = depth16.picture_of(np.frombuffer(unit.data, np.uint16).reshape(height, width))
        picture.pts, picture.time_base = pts, TIME_BASE
        return self._tracks.packets(picture, depth16.Scale(*unit.scale))


def open_segment(
    path: Path, first: EncodedPacket, on_bytes: Callable[[int], None], on_sync: Callable[[], None]
) -> SegmentWriter:
    """The writer for what it begins with."""
    kind = Depth16Writer if first.codec == "gray16" else SegmentWriter
    return kind(path, first, on_bytes, on_sync)


class _CountedFile:
    """The file under the muxer: counts what is written."""

    def __init__(self, path: Path, on_bytes: Callable[[int], None]) -> None:
        self._file: BinaryIO = path.open("x+b", buffering=0)
        self.name = str(path)
        self._on_bytes = on_bytes
        self._fragments = 0

    @property
    def has_picture(self) -> bool:
        return self._fragments > 0

    def write(self, data: bytes) -> int:
        """All of it: FFmpeg takes no notice of how much was written, and a disk that fills up takes a part first."""
        left = memoryview(data)
        while left:
            written = self._file.write(left)
            self._on_bytes(written)
            left = left[written:]
        self._fragments += bytes(data[4:8]) == b"moof" or bytes(data[:4]) == _CLUSTER
        return len(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def sync(self) -> None:
        os.fdatasync(self._file.fileno())
        if not os.path.exists(self.name):
            raise FileNotFoundError(errno.ENOENT, "was removed while it was recorded", self.name)

    def prolong(self, ends_s: float) -> None:
        """What the muxer has finished."""
        prolong(self._file.fileno(), os.fstat(self._file.fileno()).st_size, ends_s)

    def close(self) -> None:
        try:
            os.fsync(self._file.fileno())
        finally:
            self._file.close()
