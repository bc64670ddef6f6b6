"""One life of a stream's source, from opening to its end: its thread, and the watch over it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from typing import Any

from streamd.concurrency import threads
from streamd.concurrency.mailbox import Closed, Mailbox
from streamd.errors import SourceStalled
from streamd.media.frames import CapturedFrame, Picture, StampClock
from streamd.sources import Source
from streamd.sources.base import OPEN_TIMEOUT_S
from streamd.states import SkipReason
from streamd.telemetry.metrics import StreamMetrics

log = logging.getLogger(__name__)

CHECK_EVERY_S = 0.25
LEAVE_S = 1.5
"""A thread that FFmpeg holds longer than this at the end is left to itself: FFmpeg's time-outs end it."""


class Pacer:
    """``max_fps``, at an even beat: the next frame is due one period after the one before was due."""

    def __init__(self, max_fps: float | None) -> None:
        self._period_s = 1 / max_fps if max_fps else 0.0
        self._due_s = 0.0

    def is_too_soon(self) -> bool:
        now = time.monotonic()
        if now < self._due_s - 0.2 * self._period_s:
            return True
        due = self._due_s if now - self._due_s < self._period_s else now
        self._due_s = due + self._period_s
        return False


class Capture:
    """Puts the pictures of a source, stamped, into a mailbox."""

    def __init__(
        self,
        source: Source,
        frames: Mailbox[CapturedFrame],
        clock: StampClock,
        metrics: StreamMetrics,
        pacer: Pacer,
        on_first_picture: Callable[[], None],
    ) -> None:
        """``on_first_picture`` is called in the capture thread."""
        self._source = source
        self._frames = frames
        self._clock = clock
        self._metrics = metrics
        self._pacer = pacer
        self._on_first_picture = on_first_picture
        self._newest_s: float | None = None
        """When the newest picture came. Written by the capture thread."""
        self.came_back = False
        """The wait before the first picture was cut short, for the source showed that it is back."""

    async def play(
        self, name: str, ending: asyncio.Event, delay_s: float, on_stall: Callable[[SourceStalled], None]
    ) -> None:
        """Returns when a file has ended, or on ``ending``. Raises SourceError; a stall is reported at once,
        since FFmpeg may hold the thread a little longer. A thread that does not end in time is abandoned."""
        thread = threads.start(name, partial(self._run, delay_s))
        finished = asyncio.wrap_future(thread.finished)
        finished.add_done_callback(lambda done: done.exception())  # a stall is raised instead
        ended: asyncio.Future[Any] = asyncio.create_task(ending.wait())
        stalled = asyncio.create_task(self._stalled(delay_s))
        try:
            await asyncio.wait({finished, ended, stalled}, return_when=asyncio.FIRST_COMPLETED)
            self._stop()
            if stalled.done() and not finished.done():
                on_stall(stalled.result())
                await asyncio.wait({finished, ended}, return_when=asyncio.FIRST_COMPLETED)
                raise stalled.result()
            await asyncio.wait([finished], timeout=LEAVE_S)
        finally:
            self._stop()
            ended.cancel()
            stalled.cancel()
            if not finished.done():
                threads.abandon(thread)
        if finished.done():
            finished.result()
        else:
            log.warning("%s: does not answer; leaving it to its time-out", self._source.name)

    def _stop(self) -> None:
        """Safe to repeat."""
        self._source.stop.set()
        self._metrics.source_up.set(0)

    async def _stalled(self, delay_s: float) -> SourceStalled:
        """Returns when a camera has given no picture for too long, whatever FFmpeg believes."""
        if not self._source.live:  # a file may take its time
            await asyncio.Event().wait()
        patience_s = self._source.config.read_timeout_s
        opened_by = time.monotonic() + delay_s + OPEN_TIMEOUT_S
        while True:
            left_s = (self._newest_s or opened_by) + patience_s - time.monotonic()
            if left_s <= 0:
                return SourceStalled(self._source.name, f"no picture for {patience_s:g} s")
            await asyncio.sleep(min(left_s, CHECK_EVERY_S))  # the first picture moves the deadline

    def _run(self, delay_s: float) -> None:
        """The thread's body. Waits first, less when the source shows that it is back."""
        source, metrics = self._source, self._metrics
        source.on_decode = metrics.stages["decode"].observe
        source.on_skip = metrics.skipped
        if delay_s:
            until = time.monotonic() + delay_s
            source.await_return(delay_s)
            self.came_back = time.monotonic() < until and not source.stop.is_set()
        try:
            with closing(source.frames()) as pictures:
                for picture in pictures:
                    self._take(picture)
        except Closed:
            pass

    def _take(self, picture: Picture) -> None:
        self._metrics.capture()
        first, self._newest_s = self._newest_s is None, time.monotonic()
        if first and not self._source.stop.is_set():
            self._metrics.source_up.set(1)
            self._on_first_picture()
        if self._pacer.is_too_soon():
            self._metrics.skipped(SkipReason.MAX_FPS)
        else:
            self._frames.put(CapturedFrame(self._clock.stamp(), picture))
