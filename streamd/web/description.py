"""Streams as JSON: the one place where what is known of a stream leaves the process, without its secrets."""

from __future__ import annotations

from typing import Any

from streamd.config.redact import redact_source
from streamd.config.sections import VIEWS, StreamConfig
from streamd.streams.status import StreamStatus


def describe_stream(status: StreamStatus) -> dict[str, Any]:
    """As ``GET /api/v1/streams/NAME`` answers. ``wanted`` is there while it differs from ``settings``."""
    width, height = status.size or (None, None)
    json = {
        "name": status.name,
        "origin": status.origin,
        "state": status.state,
        "reason": status.reason,
        "mode": status.settings.mode,
        "source": redact_source(status.settings.source),
        "width": width,
        "height": height,
        "fps_in": round(status.fps_in, 3),
        "fps_out": round(status.fps_out, 3),
        "skipped": dict(status.skipped),
        "latency_ms": {"p50": status.latency_p50_ms, "p95": status.latency_p95_ms},
        "viewers": status.viewers,
        "recording": bool(status.recording_active),
        "recording_views": list(status.recording_wanted),
        "recording_active": list(status.recording_active),
        "recording_error": status.recording_error,
        "flicker": status.flicker,
        "overlay_alpha": status.settings.overlay_alpha,
        "views": list(VIEWS),
        "settings": describe_settings(status.settings),
    }
    return json if status.is_in_force else json | {"wanted": describe_settings(status.wanted)}


def describe_settings(config: StreamConfig) -> dict[str, Any]:
    """Every key, passwords as ***."""
    return config.model_dump(mode="json") | {"source": redact_source(config.source)}
