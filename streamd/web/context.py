"""What the handlers may use. They hold no state of their own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from aiohttp import web

from streamd.concurrency.threads import SerialExecutor
from streamd.config.sections import ModelConfig, RecordingConfig, ServerConfig
from streamd.depth.guest import Guest
from streamd.depth.kept_choice import KeptChoice
from streamd.depth.service import DepthService
from streamd.host.memory import MemoryRelief
from streamd.sinks.webrtc import WebRtcSink
from streamd.streams.fleet import Fleet
from streamd.streams.stills import Stills
from streamd.telemetry.metrics import Metrics


@dataclass(frozen=True)
class WebContext:
    """Everything a request can reach."""

    streams: Fleet
    service: DepthService
    guest: Guest
    """For pictures that ask for another model."""
    metrics: Metrics
    viewers: WebRtcSink
    stills: Stills
    uploads: SerialExecutor
    """Works on the pictures that clients send."""
    server: ServerConfig = field(default_factory=ServerConfig)
    recording: RecordingConfig = field(default_factory=RecordingConfig)
    memory: MemoryRelief = field(default_factory=MemoryRelief)
    configured_model: Callable[[], ModelConfig] = ModelConfig
    """What the configuration says, as it was read last."""
    kept_model: KeptChoice | None = None
    """Where a choice made here is kept over restarts; None: nowhere."""

    def refresh_metrics(self) -> None:
        """Sets the gauges whose values are read at each scrape."""
        self.metrics.memory_limit.set(self.service.memory_limit)
        self.metrics.worker_memory.set(self.service.worker_memory() + self.guest.worker_memory())


CONTEXT = web.AppKey("context", WebContext)
