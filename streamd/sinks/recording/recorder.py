"""Recordings: fragmented MP4 segments, playable up to the last second even after kill -9."""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from queue import Empty, Full, Queue
from typing import BinaryIO

import av
import av.error

from streamd.concurrency import threads
from streamd.errors import DiskFull, SinkError
from streamd.media.frames import CLOCK_RATE, TIME_BASE, EncodedPacket
from streamd.media.hub import PacketHub
from streamd.states import KeyframeReason

log = logging.getLogger(__name__)

QUEUE_PACKETS = 300
SYNC_EVERY_S = 1.0
IDLE_S = 3.0
"""With no packet for this long the segment is finished: the source has ended, or is away."""
# A fragment a second, each flushed whole: a reader of the file never misses more than that.
_MUXER = {"movflags": "empty_moov+default_base_moof", "frag_duration": "1000000", "flush_packets": "1"}


@dataclass(frozen=True)
class RecordingRules:
    """Where and how a view is recorded."""

    directory: Path
    segment_s: float
    min_free_bytes: float


class Recorder:
    """Just another seat at the hub. ``push`` runs on the event loop; a thread of ours writes.

    A full disk ends the recording, never the stream; what was written stays. ``finished`` holds
    the SinkError then.
    """

    def __init__(
        self,
        hub: PacketHub,
        *,
        stream: str,
        view: str,
        rules: RecordingRules,
        on_bytes: Callable[[int], None],
        on_overflow: Callable[[], None] = lambda: None,
    ) -> None:
        self._hub = hub
        self._on_overflow = on_overflow
        self._label = f"{stream}/{view}"
        self._stem = Path(rules.directory, stream)
        self._view = view
        self._rules = rules
        self._on_bytes = on_bytes
        self._queue: Queue[EncodedPacket | None] = Queue(QUEUE_PACKETS)
        self._needs_keyframe = True
        self.overflows = 0
        self._segment: _Segment | None = None
        self._thread = threads.start(f"record-{stream}", self._run)
        self.finished = self._thread.finished
        hub.join(self)

    def push(self, packet: EncodedPacket) -> None:
        self._needs_keyframe |= packet.is_notice
        if packet.is_notice or (self._needs_keyframe and not packet.is_keyframe):
            return
        try:
            self._queue.put_nowait(packet)
            self._needs_keyframe = False
        except Full:  # the disk is too slow: leave out up to the next keyframe
            self.overflows += 1
            self._on_overflow()
            log.warning("%s: the disk is too slow: leaving out up to the next keyframe", self._label)
            self._needs_keyframe = True
            self._hub.request_keyframe(KeyframeReason.OVERFLOW)

    def close(self) -> None:
        """No more packets; what waits is still written. Then wait for ``finished``."""
        self._hub.leave(self)
        self._needs_keyframe = True
        try:
            self._queue.put_nowait(None)
        except Full:
            self._queue.get_nowait()
            self._queue.put_nowait(None)

    def _run(self) -> None:
        try:
            while (packet := self._next()) is not None:
                self._write(packet)
        except OSError as error:
            raise SinkError(f"{self._label}: recording stopped: {error.strerror or error}") from error
        finally:
            self._close_segment()

    def _next(self) -> EncodedPacket | None:
        while True:
            try:
                return self._queue.get(timeout=IDLE_S)
            except Empty:
                self._close_segment()

    def _write(self, packet: EncodedPacket) -> None:
        segment = self._segment
        if segment is not None and (segment.is_of_another(packet) or segment.age_s(packet) >= self._rules.segment_s):
            if packet.is_keyframe:
                self._close_segment()
                segment = None
            elif not segment.keyframe_wanted:
                segment.keyframe_wanted = True
                self._hub.request_keyframe(KeyframeReason.SEGMENT)
        if segment is None:
            if not packet.is_keyframe:  # the last segment was closed while nothing came
                self._hub.request_keyframe(KeyframeReason.SEGMENT)
                return
            segment = self._segment = self._open_segment(packet)
        segment.write(packet)

    def _open_segment(self, first: EncodedPacket) -> _Segment:
        self._stem.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self._stem).free
        if free < self._rules.min_free_bytes:
            raise DiskFull(str(self._stem), free)
        moment = datetime.now(UTC).strftime("%Y-%m-%dT%H-%M-%S.%f")[:-3] + "Z"
        path = self._stem / f"{moment}-{self._view}.mp4"
        log.debug("%s: segment %s", self._label, path)
        return _Segment(path, first, self._on_bytes)

    def _close_segment(self) -> None:
        segment, self._segment = self._segment, None
        if segment is not None:
            segment.close()


class _Segment:
    """One file, from a keyframe on, its times counted from zero."""

    def __init__(self, path: Path, first: EncodedPacket, on_bytes: Callable[[int], None]) -> None:
        self._first_pts = first.pts
        self._kind = (first.size, first.epoch)
        self._file = _Counted(path, on_bytes)
        self._container = av.open(self._file, "w", format="mp4", options=_MUXER)
        width, height = first.size
        self._stream = self._container.add_mux_stream("h264", rate=30, width=width, height=height, time_base=TIME_BASE)
        self.keyframe_wanted = False

    def is_of_another(self, packet: EncodedPacket) -> bool:
        """Of another size, or the source was opened again in between."""
        return (packet.size, packet.epoch) != self._kind

    def age_s(self, packet: EncodedPacket) -> float:
        return (packet.pts - self._first_pts) / CLOCK_RATE

    def write(self, unit: EncodedPacket) -> None:
        packet = av.Packet(unit.data)
        packet.pts = packet.dts = unit.pts - self._first_pts
        packet.time_base = TIME_BASE
        packet.is_keyframe = unit.is_keyframe
        packet.stream = self._stream
        self._container.mux(packet)
        self._file.sync_if_due()

    def close(self) -> None:
        try:
            self._container.close()
        finally:
            self._file.close()


class _Counted:
    """The file under the muxer: counts what is written, and forces it to the disk once a second."""

    def __init__(self, path: Path, on_bytes: Callable[[int], None]) -> None:
        self._file: BinaryIO = path.open("xb", buffering=0)
        self.name = str(path)
        self._on_bytes = on_bytes
        self._next_sync = time.monotonic() + SYNC_EVERY_S

    def write(self, data: bytes) -> int:
        written = self._file.write(data)
        self._on_bytes(written)
        return written

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def sync_if_due(self) -> None:
        now = time.monotonic()
        if now >= self._next_sync:
            self._next_sync = now + SYNC_EVERY_S
            os.fdatasync(self._file.fileno())

    def close(self) -> None:
        os.fsync(self._file.fileno())
        self._file.close()
