"""What is recorded of a stream: the views that are wanted, and a recorder for each, tried again like a camera."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from functools import partial

from streamd.concurrency import threads
from streamd.concurrency.backoff import Backoff
from streamd.config.sections import RecordedView, RecordingConfig
from streamd.errors import DiskFull, SinkError
from streamd.host import memory
from streamd.media.hub import PacketHub
from streamd.sinks.recording.recorder import Recorder, RecorderEvents, RecordingRules
from streamd.states import SkipReason
from streamd.telemetry.logs import StreamLog
from streamd.telemetry.metrics import StreamMetrics

log = logging.getLogger(__name__)

BACKOFF = Backoff(first_s=0.5, cap_s=4.0)
"""Recording goes on soon after the disk is back."""
STOP_S = 2.5
"""What waits is written within this time after a recording was stopped, or is lost."""
HUNG_S = 1.0
"""At the end a disk that has not answered for this long is not waited for."""


class Recorders:
    """Lives on the event loop."""

    def __init__(
        self,
        stream: str,
        config: RecordingConfig,
        hubs: Mapping[RecordedView, PacketHub],
        metrics: StreamMetrics,
        backoff: Backoff = BACKOFF,
    ) -> None:
        self._recordings: dict[RecordedView, Recording] = {}
        if config.directory is not None:
            rules = RecordingRules(config.directory, config.segment_seconds, config.min_free_gb * 1e9)
            self._recordings = {
                view: Recording(stream, view, hub, rules, metrics, backoff) for view, hub in hubs.items()
            }

    @property
    def subscriptions(self) -> int:
        """How many recorders subscribe to a hub."""
        return sum(recording.subscribed for recording in self._recordings.values())

    @property
    def wanted(self) -> list[RecordedView]:
        """The views that are to be recorded."""
        return [view for view, recording in self._recordings.items() if recording.wanted]

    @property
    def active(self) -> list[RecordedView]:
        """Those whose pictures are written: nothing is known to be wrong."""
        return [view for view, recording in self._recordings.items() if recording.active]

    @property
    def error(self) -> str | None:
        """Why a view that is wanted is not recorded, until it is again."""
        return next((each.error for each in self._recordings.values() if each.wanted and each.error), None)

    def start(self, views: Iterable[RecordedView]) -> None:
        """Does nothing without a directory to record to. What is recorded goes on; what waits is tried at once."""
        for view in views:
            if view in self._recordings:
                recording = self._recordings[view]
                if not recording.wanted:
                    self._recordings[view] = self._recordings.pop(view)  # listed in the order of asking
                recording.start()

    async def stop(self, views: Collection[RecordedView] = (), within_s: float = STOP_S) -> None:
        """All, unless some are named. Returns when their files are complete, or the disk has hung for too long."""
        ending = [recording for view, recording in self._recordings.items() if not views or view in views]
        for recording in ending:
            recording.stop()
        await asyncio.gather(*(recording.ended(within_s) for recording in ending))

    def hold(self, views: Collection[RecordedView]) -> None:
        """These are not recorded until they are held no more: what is wanted of them then goes on. Safe to repeat."""
        for view, recording in self._recordings.items():
            recording.hold(view in views)

    async def change(self, views: Collection[RecordedView]) -> None:
        """Records these and no others."""
        if others := [view for view in self.wanted if view not in views]:
            await self.stop(others)
        self.start(views)


class Recording:
    """One view: whether it is wanted, and the recorder that does it as long as the disk lets it."""

    def __init__(
        self,
        stream: str,
        view: RecordedView,
        hub: PacketHub,
        rules: RecordingRules,
        metrics: StreamMetrics,
        backoff: Backoff,
    ) -> None:
        self._log = StreamLog(log, stream)
        self._view = view
        self._metrics = metrics
        self._loop = asyncio.get_running_loop()
        self._make = partial(Recorder, hub, stream=stream, view=view, rules=rules)
        self._delays = backoff.start()
        self._began = 0.0
        self._recorder: Recorder | None = None
        """There is one at a time, even if the disk holds the one before for ever."""
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._retry: asyncio.TimerHandle | None = None
        self._was_full = False
        self._held = False
        self.wanted = False
        self.error: str | None = None
        """What keeps it from being recorded; stays until something was written again."""

    @property
    def active(self) -> bool:
        return self.wanted and self.error is None

    @property
    def subscribed(self) -> bool:
        return self._recorder is not None and not self._recorder.closed

    def start(self) -> None:
        if self.wanted and self._retry is None:
            return
        self.wanted = True
        if self._recorder is None:
            self._begin()
        else:  # stopped a moment ago: it begins anew when that one has ended
            self.error = "the disk does not answer" if self._recorder.busy_s > HUNG_S else None
        if self._held:
            self.error = memory.SHORT
        self._show()

    def hold(self, held: bool) -> None:
        """While it is held it is not recorded, though it may be wanted."""
        if held == self._held:
            return
        self._held = held
        if self.wanted:
            self.error = memory.SHORT if held else None
            if held and self._recorder is not None:
                self._recorder.close()
            elif not held and self._recorder is None:
                self._begin()
        self._show()

    def stop(self) -> None:
        """Then wait until it has ``ended``."""
        self.wanted = False
        self._cancel_retry()
        if self._recorder is not None:
            self._recorder.close()
        self.error = None
        self._show()

    async def ended(self, within_s: float) -> None:
        """A recorder that the disk holds is abandoned."""
        recorder, until = self._recorder, self._loop.time() + within_s
        if recorder is None:
            return
        finished = self._ended
        while not finished.done() and self._loop.time() < until and recorder.busy_s < HUNG_S:
            await asyncio.wait([finished], timeout=0.1)
        if not finished.done():
            self._log.warning("view %s: the disk does not answer: its last seconds may be lost", self._view)
            threads.abandon(recorder.thread)

    def _begin(self) -> None:
        self._cancel_retry()
        if self._held:
            return
        self._began = self._loop.time()
        events = RecorderEvents(
            self._metrics.recorded_bytes.inc,
            lambda: self._metrics.skipped(SkipReason.DISK),
            self._threadsafe(self._update),
        )
        self._recorder = self._make(events=events, was_full=self._was_full)
        self._ended = asyncio.wrap_future(self._recorder.finished)
        self._ended.add_done_callback(partial(self._end, self._recorder))

    def _end(self, recorder: Recorder, finished: asyncio.Future[None]) -> None:
        """A sink's failure ends that sink only; it is tried again while it is wanted."""
        recorder.close()
        self._recorder = None
        failure = None if finished.cancelled() else finished.exception()
        self._was_full = isinstance(failure, DiskFull)
        if failure is not None:
            self._note(failure)
        if self.wanted and failure is None:  # started again meanwhile
            self._begin()
        elif self.wanted:
            self._retry = self._loop.call_later(self._delays.after(self._loop.time() - self._began), self._begin)
        self._show()

    def _note(self, failure: BaseException) -> None:
        is_ours = not isinstance(failure, SinkError)
        text = f"internal error: {failure}" if is_ours else str(failure)
        if self.error is None:  # once, not at every try
            self._log.error("%s%s", text, "; trying again" * self.wanted, exc_info=failure if is_ours else None)
        if self.wanted:
            self.error = text

    def _update(self, trouble: str | None) -> None:
        """From the recorder."""
        if not self.wanted or self._held:
            return
        if trouble and self.error is None:
            self._log.error("view %s: %s", self._view, trouble)
        elif self.error and trouble is None:
            self._log.info("view %s: recorded again", self._view)
        self.error = trouble
        self._show()

    def _show(self) -> None:
        self._metrics.recording(self._view, wanted=self.wanted, active=self.active)

    def _cancel_retry(self) -> None:
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None

    def _threadsafe(self, call: Callable[[str | None], None]) -> Callable[[str | None], None]:
        """On the event loop; dropped when it has closed."""

        def later(text: str | None) -> None:
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(call, text)

        return later
