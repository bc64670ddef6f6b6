"""Recordings: segments of fragmented MP4 (depth16: Matroska), playable up to the last second even after kill -9."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from streamd.concurrency import threads
from streamd.concurrency.mailbox import Closed, Mailbox
from streamd.errors import DiskFull, SinkError
from streamd.host.whole_file import phrase
from streamd.media.frames import EncodedPacket
from streamd.media.hub import PacketHub
from streamd.sinks.recording.disk import free_bytes, require_directory
from streamd.sinks.recording.names import name_segment
from streamd.sinks.recording.segment import SegmentWriter, open_segment
from streamd.states import KeyframeReason

log = logging.getLogger(__name__)

QUEUE_PACKETS = 300
QUEUE_DEPTHS = 60
"""Of depth16, whose frames wait uncoded."""
IDLE_S = 3.0
"""When the source has been away, or at its end, for this long, the segment is finished."""
SHOWN_S = 1.0
"""For how long at most a picture was seen when none came after it: while nothing changes it is repeated that often."""
RESUME_SHARE = 1.1
"""How much of ``min_free_bytes`` has to be free before recording goes on after the disk was full."""
STUCK_S = 5.0
"""A disk that has not answered for this long counts as hung."""


@dataclass(frozen=True)
class RecordingRules:
    """Where and how a view is recorded."""

    directory: Path
    segment_s: float
    min_free_bytes: float


@dataclass(frozen=True)
class RecorderEvents:
    """The callbacks of a recorder."""

    on_bytes: Callable[[int], None]
    """Bytes written. Recorder's thread."""
    on_overflow: Callable[[], None]
    """A packet was left out, for the disk is too slow. Event loop."""
    on_health: Callable[[str | None], None]
    """The failure; None once recorded data is on the disk, at first and after a failure. Any thread."""


class Recorder:
    """One more subscriber of the hub. ``push`` runs on the event loop; a thread of its own writes.

    A failure ends the recorder, never the stream; what was written stays. ``finished``
    holds the failure then: a SinkError when it is the disk's. To go on recording, make another
    recorder. A disk that hangs holds the thread, and the queue overflows; all goes on when it answers.
    """

    def __init__(
        self,
        hub: PacketHub,
        *,
        stream: str,
        view: str,
        rules: RecordingRules,
        events: RecorderEvents,
        was_full: bool = False,
    ) -> None:
        """``was_full``: the one before ended for want of space, so that there has to be a little more to begin with,
        else a file would begin and end with every file that goes. Raises StreamGone."""
        self._hub = hub
        self._label = f"{stream}/{view}"
        self._stream = stream
        self._view = view
        self._rules = rules
        self._events = events
        self._queue: Mailbox[EncodedPacket] = Mailbox(capacity=QUEUE_DEPTHS if view == "depth16" else QUEUE_PACKETS)
        self._needs_keyframe = True
        self._overflows = False
        """Whether packets are left out now. Event loop only."""
        self._catches_up = False
        """Whether a keyframe is to be requested when the queue is empty."""
        self._min_free_bytes = rules.min_free_bytes * (RESUME_SHARE if was_full else 1)
        self._is_away = False
        """Whether the newest packet was a notice: the source is away, or has ended."""
        self._busy_since: float | None = None
        """When the thread turned to the disk; None while it waits for packets. Written by the thread."""
        self._health: str | None = ""
        self._segment: SegmentWriter | None = None
        self._newest_at = 0.0
        """When the newest picture of the segment was taken."""
        self._closed_at = math.inf
        hub.join(self)  # before there is a thread, which nobody would end if the stream is gone
        try:
            self.thread = threads.start(f"record-{stream}", self._run)
        except BaseException:
            hub.leave(self)
            raise
        self.finished = self.thread.finished

    # -- event loop -------------------------------------------------------------------------------

    def push(self, packet: EncodedPacket) -> None:
        self._is_away = packet.is_notice
        self._needs_keyframe |= packet.is_notice
        if self.busy_s > STUCK_S:
            self._report("the disk does not answer")
        if packet.is_notice or self._queue.closed:
            return
        is_usable = packet.is_keyframe or not self._needs_keyframe
        if is_usable and self._queue.offer(packet):
            self._needs_keyframe = self._overflows = False
        elif is_usable:
            if not self._overflows:
                log.warning("%s: the disk is too slow: leaving out up to a keyframe", self._label)
            self._needs_keyframe = self._overflows = self._catches_up = True
        if self._overflows:
            self._events.on_overflow()

    def close(self) -> None:
        """No more packets; what waits is still written. Then wait for ``finished``. Safe to repeat."""
        self._hub.leave(self)
        self._closed_at = min(self._closed_at, time.monotonic())
        self._queue.close()

    @property
    def closed(self) -> bool:
        return self._queue.closed

    @property
    def busy_s(self) -> float:
        """How long the disk has been at what it does now. Any thread."""
        since = self._busy_since
        return 0.0 if since is None else time.monotonic() - since

    # -- the thread -------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._until_closed()
        except OSError as error:
            place = error.filename or self._rules.directory
            raise SinkError(f"{self._label}: recording stopped: {place}: {phrase(error)}") from error
        finally:
            if self._segment is not None:
                self._segment.abort()

    def _until_closed(self) -> None:
        try:
            while True:
                self._step()
        except Closed:
            self._busy_since = time.monotonic()
            self._close_segment(self._seen_s())

    def _step(self) -> None:
        packet = self._queue.get(timeout_s=IDLE_S)
        self._busy_since = time.monotonic()
        if packet is None:
            self._close_if_over()
        else:
            self._write(packet)
        self._busy_since = None
        if self._catches_up and not len(self._queue):
            self._catches_up = False
            self._hub.request_keyframe(KeyframeReason.OVERFLOW)

    def _write(self, packet: EncodedPacket) -> None:
        segment = self._segment
        if segment is not None and (segment.is_of_another(packet) or segment.age_s(packet) >= self._rules.segment_s):
            if packet.is_keyframe:
                self._close_segment(segment.age_s(packet) if packet.epoch == segment.epoch else 0.0)
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
        self._newest_at = packet.captured_at

    def _open_segment(self, first: EncodedPacket) -> SegmentWriter:
        require_directory(self._rules.directory)
        name = name_segment(self._stream, self._view, datetime.now(UTC))
        path = self._rules.directory / name.path
        path.parent.mkdir(exist_ok=True)
        self._check_space()
        self._min_free_bytes = self._rules.min_free_bytes
        log.debug("%s: segment %s", self._label, path)
        return open_segment(path, first, self._events.on_bytes, self._synced)

    def _check_space(self) -> None:
        folder = self._rules.directory / self._stream
        free = free_bytes(folder)
        if free < self._min_free_bytes:
            raise DiskFull(str(folder), free)

    def _synced(self) -> None:
        self._report(None)
        self._check_space()

    def _report(self, health: str | None) -> None:
        """Once for each change."""
        if health != self._health:
            self._health = health
            self._events.on_health(health)

    def _close_if_over(self) -> None:
        """Nothing has come for a while. A slow camera, or a still scene, is no reason to begin another file."""
        segment = self._segment
        if segment is not None and (self._is_away or time.monotonic() - segment.opened_at >= self._rules.segment_s):
            self._close_segment(self._seen_s())

    def _seen_s(self) -> float:
        """Until when the newest picture was seen, by the time of the segment; 0: nobody knows, the source is away."""
        if self._segment is None or self._is_away:
            return 0.0
        until = min(time.monotonic(), self._closed_at)
        return self._segment.newest_s + min(until - self._newest_at, SHOWN_S)

    def _close_segment(self, ends_s: float) -> None:
        segment, self._segment = self._segment, None
        if segment is not None:
            segment.close(ends_s)
