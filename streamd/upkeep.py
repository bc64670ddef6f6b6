"""What the daemon keeps an eye on: the lag of its loop, its memory, the disk of its recordings, the rate of streams."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from streamd.config.sections import RECORDED_VIEWS, RecordingConfig
from streamd.depth.guest import Guest
from streamd.depth.service import DepthService
from streamd.host import allocator
from streamd.host.memory import MemoryRelief, MemoryWatch, Step, limit_bytes
from streamd.sinks.recording.disk import DiskWatch
from streamd.sinks.recording.retention import start_retention
from streamd.streams.status import StreamStatus
from streamd.streams.stream import Stream
from streamd.telemetry.metrics import Metrics, resident_bytes
from streamd.telemetry.statistics import Worst

log = logging.getLogger(__name__)

HEARTBEAT_S = 0.25
CHECK_EVERY_S = 2.0
TIDY_EVERY_S = 10.0
LAG_WINDOW_S = 30.0
GOVERN_EVERY_S = 1.0


class Upkeep:
    """Lives on the event loop. ``on_exhausted`` is called when memory runs out though all else has been tried."""

    def __init__(
        self,
        streams: Mapping[str, Stream],
        service: DepthService,
        guest: Guest,
        metrics: Metrics,
        memory: MemoryRelief,
        rules: RecordingConfig,
        on_exhausted: Callable[[], None],
    ) -> None:
        self._streams = streams
        self._service = service
        self._guest = guest
        self._metrics = metrics
        self._memory = memory
        self._rules = rules
        self._on_exhausted = on_exhausted

    def jobs(self) -> list[Coroutine[Any, Any, None]]:
        """Each runs until it is cancelled."""
        return [self._heartbeat(), self._watch_memory(), self._keep_recordings(), self._govern()]

    async def _heartbeat(self) -> None:
        """How late the loop is."""
        loop, worst = asyncio.get_running_loop(), Worst(LAG_WINDOW_S)
        while True:
            due = loop.time() + HEARTBEAT_S
            await asyncio.sleep(HEARTBEAT_S)
            self._metrics.loop_lag.set(worst.add(max(0.0, loop.time() - due)))

    async def _watch_memory(self) -> None:
        """What daemon and worker take of it: in time to do something about it."""
        clock, watch = asyncio.get_running_loop().time, MemoryWatch(limit_bytes())
        tidy_at = clock() + TIDY_EVERY_S
        while True:
            await asyncio.sleep(CHECK_EVERY_S)
            if clock() > tidy_at:
                tidy_at = clock() + TIDY_EVERY_S
                allocator.release_memory()
            used = resident_bytes(os.getpid()) + self._service.worker_memory() + self._guest.worker_memory()
            step = watch.check(clock(), used)
            if step is not None:
                log.warning("memory: %d of %d MB in use: %s", used / 1e6, watch.limit / 1e6, step.action)
                self._relieve_memory(step)
            self._memory.update(watch.step)
            held = {view for view in RECORDED_VIEWS if self._memory.sheds(view)}
            for stream in self._streams.values():
                stream.hold(held)

    def _relieve_memory(self, step: Step) -> None:
        if step is Step.RECYCLE_WORKER:
            self._guest.recycle()
            self._service.recycle()
        elif step is Step.SHED_VIEWS:
            self._guest.end()
        elif step is Step.RESTART:
            self._on_exhausted()

    async def _govern(self) -> None:
        while True:
            await asyncio.sleep(GOVERN_EVERY_S)
            min_fps = self._service.config.min_fps
            statuses = [stream.status for stream in self._streams.values()] if min_fps else []
            slowest = min((each.fps_out for each in statuses if _counts(each, min_fps)), default=None)
            self._service.govern(slowest, sum(each.fps_out for each in statuses))

    async def _keep_recordings(self) -> None:
        """How full their disk is, and which the rules do not keep: looked at in threads, which a dead disk may hold."""
        if self._rules.directory is None:
            return
        self._metrics.disk_min_free.set(1e9 * self._rules.min_free_gb)
        watch, retention = DiskWatch(self._rules.directory), start_retention(self._rules)
        try:
            while True:
                self._metrics.disk_free.set(watch.free_bytes)
                await asyncio.sleep(CHECK_EVERY_S)
        finally:
            await asyncio.gather(*(each.stop() for each in (watch, retention) if each is not None))


def _counts(status: StreamStatus, min_fps: float) -> bool:
    """Whether somebody looks at it, or records it, and its source gives ``min_fps``."""
    max_fps = status.settings.max_fps
    enough = status.fps_in >= min_fps and (max_fps is None or max_fps >= min_fps)
    return enough and status.publishes and bool(status.viewers or status.recording_active)
