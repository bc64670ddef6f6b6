"""One run of a stream: from opening its source until nobody wants it, its settings change, or it breaks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from streamd.concurrency.backoff import Backoff
from streamd.concurrency.waiting import wait
from streamd.config.sections import StreamConfig
from streamd.depth.service import DepthService
from streamd.media.frames import StampClock
from streamd.streams.hubs import Hubs
from streamd.streams.pipeline import Pipeline
from streamd.streams.publisher import Publisher
from streamd.streams.recovery import Abandoned, Liveness
from streamd.streams.state import StateMachine
from streamd.streams.supervisor import Sources, SourceSupervisor
from streamd.streams.zones import Zones
from streamd.telemetry.metrics import StreamMetrics

CHECK_EVERY_S = 1.0


@dataclass(frozen=True)
class StreamParts:
    """What lives as long as the stream does, and all its runs use."""

    name: str
    service: DepthService
    metrics: StreamMetrics
    hubs: Hubs
    states: StateMachine
    sources: Sources
    backoff: Backoff
    abandoned: Abandoned
    attention: asyncio.Event
    """Set when what is waited for may have changed."""
    clock: StampClock
    patience_s: float
    """How long it may publish nothing while its source delivers."""
    zones: Zones

    async def until_attention(self, timeout_s: float | None = None) -> None:
        """Until something may have changed."""
        await wait(self.attention, timeout_s)
        self.attention.clear()


@dataclass(frozen=True)
class RunEvents:
    """What a run asks and reports."""

    is_over: Callable[[], bool]
    """Whether its settings are to change, or the stream is to stop."""
    is_wanted: Callable[[], bool]
    on_first_frame: Callable[[], None]
    """From the publish thread."""
    on_threads_ended: Callable[[], Awaitable[None]]
    """All has been published. Its source may not have let go yet."""


class Run:
    """Lives on the event loop. ``start`` without ``play`` is one without a source: it shows notices."""

    def __init__(self, parts: StreamParts, config: StreamConfig, events: RunEvents, *, every: bool = False) -> None:
        """``every``: no frame is skipped."""
        self._parts = parts
        self._config = config
        self._events = events
        self.healthy_s = 0.0
        """How long it published."""
        self._pipeline = Pipeline(
            parts.name,
            config,
            parts.service,
            parts.metrics,
            parts.clock,
            parts.hubs,
            parts.hubs.depth16,
            every=every,
            on_first_frame=events.on_first_frame,
            zones=parts.zones,
        )
        self._supervisor = SourceSupervisor(
            parts.name,
            config,
            self._pipeline,
            service=parts.service,
            metrics=parts.metrics,
            clock=parts.clock,
            states=parts.states,
            sources=parts.sources,
            backoff=parts.backoff,
        )

    @property
    def publisher(self) -> Publisher:
        return self._pipeline.publisher

    def start(self) -> None:
        """Its threads."""
        self._pipeline.start(self._parts.attention.set)

    async def stop(self) -> list[BaseException]:
        """What its threads failed with."""
        try:
            return await self._pipeline.stop()
        finally:
            self._parts.abandoned.add(self._pipeline.abandoned)

    async def play(self) -> None:
        """After ``start``. Returns when it is over or unwanted, and has ended. Raises what broke it."""
        began = time.monotonic()
        supervising = asyncio.create_task(self._supervisor.run(), name=f"source-{self._parts.name}")
        supervising.add_done_callback(lambda _: self._parts.attention.set())
        try:
            with self._parts.service.leased(live=True):
                await self._until_unwanted(supervising)
        finally:
            self._supervisor.stop()
            failures = await self._end(supervising)
            self.healthy_s = max(0.0, (self.publisher.fps.newest or began) - began)
        for failure in failures:
            raise failure

    async def _until_unwanted(self, supervising: asyncio.Task[None]) -> None:
        """Returns ``linger_s`` after the last one left, or when it cannot go on like this. Raises StreamStuck."""
        until_s: float | None = None
        parts, max_fps = self._parts, self._config.max_fps
        liveness = Liveness(max(parts.patience_s, 3 / max_fps if max_fps else 0.0))
        while not (self._events.is_over() or self._pipeline.ended or _has_failed(supervising)):
            now = time.monotonic()
            if self._events.is_wanted():
                until_s = None
            elif until_s is None:
                until_s = now + self._config.linger_s
            elif until_s <= now:
                return
            liveness.check(
                now,
                captured_at=parts.metrics.capture_rate.newest,
                published_at=self.publisher.fps.newest,
                can_publish=parts.service.info is not None,
            )
            await parts.until_attention(CHECK_EVERY_S if until_s is None else min(CHECK_EVERY_S, until_s - now))

    async def _end(self, supervising: asyncio.Task[None]) -> list[BaseException]:
        """What its threads and its supervisor failed with. Recordings do not wait for a camera that does not let go."""
        try:
            failures = await self.stop()
            await self._events.on_threads_ended()
            await asyncio.wait([supervising])
        finally:
            supervising.cancel()
        error = supervising.exception()
        return [*failures, *([error] if error else [])]


def _has_failed(task: asyncio.Task[None]) -> bool:
    return task.done() and not task.cancelled() and task.exception() is not None
