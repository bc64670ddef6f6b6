"""Streams that the API added and that were kept: the daemon's settings of today say what they may open."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from streamd.config.sections import Config, ServerConfig, StreamConfig
from streamd.daemon import build_fleet, build_service
from streamd.depth.store import ModelStore
from streamd.errors import SourceRejected
from streamd.states import Origin
from streamd.streams.kept import KeptStreams
from streamd.telemetry.metrics import Metrics
from tests.support.clips import write_clip


@pytest.mark.parametrize("is_configured", [True, False])
async def test_a_directory_that_left_media_directories_is_closed(tmp_path: Path, is_configured: bool) -> None:
    media = tmp_path / "media"
    media.mkdir()
    clip = str(write_clip(media / "a.mp4", 3))
    kept = KeptStreams(tmp_path / "streams.json")
    await kept.load()
    await kept.save({"yard": StreamConfig(source=clip)})
    await kept.close()

    config = Config(server=ServerConfig(media_directories=(media,) if is_configured else ()))
    metrics = Metrics(CollectorRegistry())
    service = build_service(config.model, ModelStore(tmp_path / "models", tmp_path / "cache"), metrics)
    fleet = build_fleet(config, service, metrics, tmp_path / "streams.json")
    try:
        await fleet.restore()
        assert fleet["yard"].origin is Origin.API
        frames = fleet["yard"]._life._parts.sources.open(fleet["yard"].config).frames()
        if is_configured:
            assert (await asyncio.to_thread(next, frames)).width
            frames.close()
        else:
            with pytest.raises(SourceRejected, match=r"not in server\.media_directories"):
                next(frames)
    finally:
        await fleet.close()
