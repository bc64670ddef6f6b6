"""The pipeline of a running stream: its mailboxes, its infer and its publish thread."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping

from streamd.concurrency import threads
from streamd.concurrency.mailbox import Mailbox
from streamd.config.sections import StreamConfig
from streamd.depth.gate import ChangeGate
from streamd.depth.service import DepthService
from streamd.media.frames import CapturedFrame, DepthFrame, StampClock
from streamd.media.hub import PacketHub, Rendition
from streamd.render.masks import Masks
from streamd.states import SkipReason
from streamd.streams.inference import Inference
from streamd.streams.publisher import Publisher
from streamd.streams.zones import Zones
from streamd.telemetry.logs import StreamLog
from streamd.telemetry.metrics import StreamMetrics

log = logging.getLogger(__name__)

END_S = 1.0
"""A thread that takes longer to end is abandoned."""


class Pipeline:
    """Made when a stream starts to run, gone when it stops: a stream on demand has none while nobody watches.

    ``frames`` is where the capture thread puts what it has; closing it ends the threads one after the other.
    Lives on the event loop.
    """

    def __init__(
        self,
        name: str,
        config: StreamConfig,
        service: DepthService,
        metrics: StreamMetrics,
        clock: StampClock,
        hubs: Mapping[Rendition, PacketHub],
        depth16: PacketHub,
        *,
        every: bool,
        on_first_frame: Callable[[], None],
        zones: Zones | None = None,
    ) -> None:
        self._name = name
        self._log = StreamLog(log, name)
        self.frames: Mailbox[CapturedFrame] = Mailbox(
            every=every, on_skip=lambda _: metrics.skipped(SkipReason.SUPERSEDED)
        )
        depths: Mailbox[DepthFrame] = Mailbox(every=every, on_skip=lambda _: metrics.skipped(SkipReason.OVERFLOW))
        self._inference = Inference(
            service,
            self.frames,
            depths,
            every=every,
            name=name,
            mask=Masks(config.masks),
            observe=lambda stage, seconds: metrics.stages[stage].observe(seconds),
            on_error=lambda _: metrics.skipped(SkipReason.ERROR),
            on_depth=metrics.depth,
            gate=ChangeGate(config.refresh_s) if config.inference == "changes" and not every else None,
        )
        frames = self.frames

        def published() -> None:
            """From the publish thread. Ignores a thread that was abandoned."""
            if not frames.closed:
                on_first_frame()

        self.publisher = Publisher(name, config, depths, hubs, depth16, metrics, clock, published, zones)
        self._parts: dict[asyncio.Future[None], threads.Worker] = {}
        self.abandoned: list[threads.Worker] = []
        """Those that did not end in time."""

    def start(self, on_end: Callable[[], None]) -> None:
        """``on_end`` is called on the event loop when a thread ends, for any reason."""
        for kind, body in (("infer", self._inference.run), ("publish", self.publisher.run)):
            thread = threads.start(f"{kind}-{self._name}", body)
            part = asyncio.wrap_future(thread.finished)
            part.add_done_callback(lambda part: part.exception())  # of one that is abandoned nobody asks
            part.add_done_callback(lambda _: on_end())
            self._parts[part] = thread

    @property
    def ended(self) -> bool:
        """Whether a thread has."""
        return any(part.done() for part in self._parts)

    async def stop(self) -> list[BaseException]:
        """Ends in data order. Returns the errors of the threads. One that does not end in time is abandoned, and
        publishes nothing any more."""
        self.frames.close(discard=True)
        try:
            await asyncio.wait(self._parts, timeout=END_S)
        finally:
            for part, thread in self._parts.items():
                if not part.done():
                    self._log.error("the thread %s does not end; going on without it", thread.name)
                    self.publisher.abandon()
                    threads.abandon(thread)
                    self.abandoned.append(thread)
        return [failure for part in self._parts if part.done() and (failure := part.exception())]
