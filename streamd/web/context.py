"""What the handlers may use. They hold no state of their own."""

from __future__ import annotations

from dataclasses import dataclass, field

from aiohttp import web

from streamd.config import RecordingConfig, ServerConfig
from streamd.depth.service import DepthService
from streamd.fleet import Fleet
from streamd.metrics import Metrics
from streamd.sinks.webrtc import WebRtcSink
from streamd.threads import Caller


@dataclass(frozen=True)
class WebContext:
    """Everything a request can reach."""

    streams: Fleet
    service: DepthService
    metrics: Metrics
    viewers: WebRtcSink
    stills: Caller
    server: ServerConfig = field(default_factory=ServerConfig)
    recording: RecordingConfig = field(default_factory=RecordingConfig)

    def refresh_metrics(self) -> None:
        """What is read when somebody asks, not kept up to date."""
        self.metrics.worker_memory.set(self.service.worker_memory())


CONTEXT = web.AppKey("context", WebContext)
