"""Streams and models as JSON: the one place where what is known of them leaves the process, without secrets."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from streamd.config.push import redact_push
from streamd.config.redact import redact_source
from streamd.config.sections import VIEWS, StreamConfig, is_manifest
from streamd.depth.catalogue import Entry
from streamd.depth.fetcher import Fetch
from streamd.depth.profile import Profile
from streamd.depth.service import ServiceStatus
from streamd.streams.status import StreamStatus
from streamd.streams.zones import ZoneStatus


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
        "inferred_share": status.inferred_share and round(status.inferred_share, 3),
        "skipped": dict(status.skipped),
        "latency_ms": {"p50": status.latency_p50_ms, "p95": status.latency_p95_ms},
        "viewers": status.viewers,
        "recording": bool(status.recording_active),
        "recording_views": list(status.recording_wanted),
        "recording_active": list(status.recording_active),
        "recording_error": status.recording_error,
        "flicker": status.flicker,
        "overlay_alpha": status.settings.overlay_alpha,
        "calibration": asdict(status.calibration),
        "views": list(VIEWS),
        "push": [asdict(push) for push in status.pushes],
        "zones": [_describe_zone(zone, status.size) for zone in status.zones],
        "settings": describe_settings(status.settings),
    }
    return json if status.is_in_force else json | {"wanted": describe_settings(status.wanted)}


def _describe_zone(zone: ZoneStatus, size: tuple[int, int] | None) -> dict[str, Any]:
    """``polygon`` in shares of the picture, whatever the settings give; null for pixels of an unknown size."""
    measured = zone.measured.json if zone.measured else dict.fromkeys(("area", "nearest_share", "nearest_metres"))
    points, (width, height) = zone.config.polygon, size or (0, 0)
    if max(map(max, points)) > 1:
        points = tuple((x / width, y / height) for x, y in points) if width and height else ()
    return {
        "name": zone.config.name,
        "state": zone.state,
        **measured,
        "problem": zone.problem,
        "polygon": [[round(x, 5), round(y, 5)] for x, y in points] or None,
    }


def describe_model(status: ServiceStatus) -> dict[str, Any]:
    """The one that answers, and which is wanted. ``message`` is why these differ, or what failed last."""
    info = status.info
    json: dict[str, Any] = {"state": status.state, "wanted": _wanted(status), "message": status.message}
    if info is None:
        return json | {"name": None, "title": None, "coarse": None}
    return json | {
        "name": info.spec.name,
        "title": info.spec.title,
        "coarse": info.spec.coarse,
        "licence": info.spec.licence,
        "runtime": info.runtime,
        "precision": info.precision,
        "sha256": info.sha256,
        "input_size": info.spec.preprocessing.input_size,
        "full_input_size": status.full_input_size,
    }


def _wanted(status: ServiceStatus) -> str:
    """Its name; before a manifest has been read, that of its file."""
    if status.info is not None and status.info.spec.reference == status.wanted:
        return status.info.spec.name
    return Path(status.wanted).stem if is_manifest(status.wanted) else status.wanted


def describe_entry(entry: Entry, status: ServiceStatus) -> dict[str, Any]:
    """One line of the list of models."""
    spec, receipt = entry.status.spec, entry.status.receipt
    running = status.info is not None and status.info.spec.reference == spec.reference
    return {
        "name": spec.name,
        "title": spec.title,
        "licence": spec.licence,
        "coarse": spec.coarse,
        "input_size": spec.preprocessing.input_size,
        "installed": entry.status.path is not None,
        "built_in": spec.embedded_weights is not None,
        "official": receipt.official if receipt else None,
        "sha256": receipt.sha256 if receipt else None,
        "size_bytes": receipt.size if receipt else None,
        "download_bytes": spec.download.size if spec.download else None,
        "notice": spec.notice or None,
        "note": entry.note,
        "running": running,
        "wanted": status.wanted == spec.reference,
        "can_fetch": spec.download is not None and entry.status.path is None,
        "fetch": _describe_fetch(entry.fetch) if entry.fetch else None,
        "measured": _describe_profile(entry.profile) if entry.profile else None,
    }


def _describe_fetch(fetch: Fetch) -> dict[str, Any]:
    return {
        "active": fetch.active,
        "done_bytes": fetch.done_bytes,
        "total_bytes": fetch.total_bytes,
        "error": fetch.error,
    }


def _describe_profile(profile: Profile) -> dict[str, Any]:
    return {
        "width": profile.width,
        "height": profile.height,
        "chosen": profile.chosen,
        "ms": {name: measured.ms for name, measured in profile.precisions.items()},
    }


def describe_settings(config: StreamConfig) -> dict[str, Any]:
    """Every key, passwords as ***."""
    hidden = {"source": redact_source(config.source), "push": [redact_push(target) for target in config.push]}
    return config.model_dump(mode="json") | hidden
