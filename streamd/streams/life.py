"""The life of a stream: runs it while somebody wants it, with the settings wanted; starts it anew when it breaks."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

from streamd.concurrency.deadline import Deadline
from streamd.concurrency.waiting import Pulse
from streamd.config.sections import StreamConfig
from streamd.errors import StreamStuck
from streamd.states import LossReason, StreamState
from streamd.streams.publisher import Publisher
from streamd.streams.pushes import Pushes
from streamd.streams.recorders import STOP_S, Recorders
from streamd.streams.recovery import Faults
from streamd.streams.run import CHECK_EVERY_S, Run, RunEvents, StreamParts
from streamd.telemetry.logs import StreamLog

log = logging.getLogger(__name__)

END_S = 2.5
"""From ``stop`` until its recordings are complete, or left to a disk that is too slow."""
LATE_S = 0.25
"""Recordings have so long at least."""
HANGING = "its threads hang: it is tried again when one of them ends, or with other settings"


class Life:
    """Of one stream. Lives on the event loop."""

    def __init__(self, parts: StreamParts, config: StreamConfig, recorders: Recorders, pushes: Pushes) -> None:
        self.config = config
        """The settings in force."""
        self.wanted = config
        """Those that ``reconfigure`` asked for last."""
        self.stopping = False
        self._log = StreamLog(log, parts.name)
        self._loop = asyncio.get_running_loop()
        self._parts = parts
        self._states = parts.states
        self._recorders = recorders
        self._pushes = pushes
        self._settings_taken = Pulse()
        self._deadline = Deadline(END_S)
        self._wakers = 0
        self._run: Run | None = None
        self._faults = Faults(parts.backoff)
        self._healthy_s = 0.0
        """How long the last run published."""
        self._events = RunEvents(self._is_over, self._is_wanted, self._on_first_frame, self._threads_ended)

    @property
    def publisher(self) -> Publisher | None:
        """Of the run there is. Any thread."""
        run = self._run
        return run.publisher if run is not None else None

    @property
    def is_hopeless(self) -> bool:
        """Whether it gets stuck again and again."""
        return self._faults.hopeless

    @contextmanager
    def keep_awake(self) -> Iterator[None]:
        """Keeps it running: for those who do not subscribe to a hub."""
        self._wakers += 1
        self._parts.attention.set()
        try:
            yield
        finally:
            self._wakers -= 1
            self._parts.attention.set()

    def reconfigure(self, config: StreamConfig) -> None:
        """Goes on with these settings, soon. Where it is pushed to changes at once, and touches nothing else."""
        self.wanted = config
        self._pushes.change(config.push)
        if config == self.config.model_copy(update={"push": config.push}):
            self.config = config
        self._parts.attention.set()

    async def settings_in_force(self) -> None:
        """Returns when those that are wanted are in force, or never will be, for it stops."""
        while self.config != self.wanted and not self.stopping:
            await self._settings_taken.wait()

    def stop(self) -> None:
        """``run`` returns soon. Safe to repeat."""
        self.stopping = True
        self._deadline.start()
        self._parts.attention.set()
        self._settings_taken.fire()

    async def run(self) -> None:
        """Until ``stop``. Ends in data order: source, mailboxes, encoder, recorders, viewers."""
        self._recorders.start(self.config.record)
        self._pushes.start(self.wanted.push)
        try:
            while not self.stopping:
                await self._step()
        finally:
            try:
                await asyncio.gather(self._end_recordings(), self._pushes.stop())
            finally:
                if self._states.current not in (StreamState.ENDED, StreamState.FAILED):
                    self._states.enter(StreamState.STOPPING)
                self._parts.hubs.close()

    async def _threads_ended(self) -> None:
        if self.stopping:
            await self._end_recordings()

    def _is_over(self) -> bool:
        return self.stopping or self.config != self.wanted

    async def _end_recordings(self) -> None:
        await self._recorders.stop(within_s=self._deadline.left_s(STOP_S, min_s=LATE_S))

    async def _step(self) -> None:
        """The only broad ``except`` on the path of a frame: a fault of ours fails this stream only, for a while."""
        try:
            if self.config != self.wanted:
                await self._take_settings()
            elif self._is_wanted():
                await self._play()
            else:
                self._states.enter(StreamState.IDLE)
                await self._parts.until_attention()
        except Exception as error:
            await self._fail(error)

    def _is_wanted(self) -> bool:
        """One that is to be recorded is, also while the disk does not let it be."""
        is_watched = self._wakers > 0 or self._parts.hubs.watched
        return self.config.mode == "always" or is_watched or bool(self._recorders.wanted)

    async def _take_settings(self) -> None:
        before, self.config = self.config, self.wanted
        self._parts.clock.epoch += 1
        self._parts.zones.configure(self.config)
        self._parts.hubs.forget_keyframes()
        self._settings_taken.fire()
        if self.config.record != before.record:
            await self._recorders.change(self.config.record)

    async def _fail(self, error: Exception) -> None:
        """Waits a while, then it is started anew. Other settings are tried at once."""
        if isinstance(error, StreamStuck):
            self._log.error("%s: starting it anew", error)
            reason, cause = str(error), LossReason.STUCK
        else:
            self._log.error("internal error", exc_info=error)
            reason, cause = f"internal error: {error}", LossReason.ERROR
        if self._parts.abandoned.too_many:
            reason += f"; {HANGING}"
        self._states.enter(StreamState.FAILED, reason)
        self._parts.metrics.restarted(cause)
        wanted, until = self.wanted, time.monotonic() + self._faults.add(error, self._healthy_s)
        await asyncio.sleep(0)
        async with self._notice_shown():
            while not self.stopping and self.wanted == wanted:
                left_s = until - time.monotonic()
                if left_s <= 0 and not self._parts.abandoned.too_many:
                    break
                await self._parts.until_attention(left_s if left_s > 0 else CHECK_EVERY_S)

    @asynccontextmanager
    async def _notice_shown(self) -> AsyncIterator[None]:
        """What viewers see while nothing runs."""
        with suppress(Exception):  # what is broken may break this too
            self._begin(Run(self._parts, self.config, self._events))
        try:
            yield
        finally:
            run, self._run = self._run, None
            if run is not None:
                await run.stop()

    async def _play(self) -> None:
        """One run. Raises what broke it."""
        self._healthy_s = 0.0
        self._states.enter(StreamState.STARTING)
        sources, config = self._parts.sources, self.config
        run = self._begin(
            Run(self._parts, config, self._events, every=not config.realtime and not sources.is_live(config))
        )
        try:
            await run.play()
        finally:
            self._run = None
            self._healthy_s = run.healthy_s

    def _begin(self, run: Run) -> Run:
        run.start()
        self._run = run
        self.show_notice()
        return run

    def show_notice(self) -> None:
        """What viewers see, after a change."""
        if self._run is not None:
            self._run.publisher.show(self._states.notice)

    def _on_first_frame(self) -> None:
        """From the publish thread."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._publishes)

    def _publishes(self) -> None:
        self._faults.published()
        if self._states.current in (StreamState.STARTING, StreamState.RECONNECTING):
            self._states.enter(StreamState.RUNNING)
