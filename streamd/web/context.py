"""What the handlers may use. They hold no state of their own."""

from __future__ import annotations

from dataclasses import dataclass, field

from aiohttp import web

from streamd.concurrency.threads import SerialExecutor
from streamd.config.sections import RecordingConfig, ServerConfig
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
    metrics: Metrics
    viewers: WebRtcSink
    stills: Stills
    uploads: SerialExecutor
    """Works on the pictures that clients send."""
    server: ServerConfig = field(default_factory=ServerConfig)
    recording: RecordingConfig = field(default_factory=RecordingConfig)
    memory: MemoryRelief = field(default_factory=MemoryRelief)

    def refresh_metrics(self) -> None:
        """Sets the gauges whose values are read at each scrape."""
        self.metrics.worker_memory.set(self.service.worker_memory())


CONTEXT = web.AppKey("context", WebContext)
