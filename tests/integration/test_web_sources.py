"""What a client may set as a source, over HTTP."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from streamd.config.sections import StreamConfig
from tests.integration.web_site import Site, served

STREAM = "/api/v1/streams/porch"
NEW = "/api/v1/streams/yard"


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with served(media_directories=(tmp_path,)) as site:
        yield site


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("lavfi:testsrc2,metadata=mode=print:file=/tmp/x", "the API may not set a lavfi: graph with 'metadata'"),
        ("rtsp://u:file:secret_door@host/", "the API may not set env: or file: references"),
        ("http://a:env:X@host/", "the API may not set env: or file: references"),
        ("/etc/passwd", "the API may not set a file that is not in server.media_directories"),
        ("rtsp://h:99999/", "has no port from 1 to 65535"),
        ("rtsp://[bad/", "has no IPv6 address in its brackets"),
        ("rtsp://cam..local/", "neither a name nor an address"),
        ("gopher://h/", "gopher:// is no kind of source"),
    ],
)
@pytest.mark.parametrize("path", [STREAM, NEW])
async def test_what_is_refused(site: Site, path: str, source: str, reason: str) -> None:
    before = dict(site.fleet)
    reply = await site.put(path, source=source)
    assert reply.status == 422
    assert reason in reply.json["error"]["message"]
    assert dict(site.fleet) == before


async def test_what_is_taken(site: Site, tmp_path: Path) -> None:
    assert (await site.put(NEW, source=f"{tmp_path}/a.mp4")).status == 201
    assert (await site.put(NEW, source="rtsp://u:p@host/")).status == 200


async def test_other_keys_of_a_stream_with_a_secret_may_be_changed() -> None:
    source = "rtsp://user:env:DOOR@camera/live"
    async with served(streams={}) as site:
        await site.fleet.put("door", StreamConfig(source=source))
        path = "/api/v1/streams/door"
        changed = json.dumps({"max_fps": 5}).encode()
        assert (await site.ask("PATCH", path, changed, Content_Type="application/json")).status == 200
        moved = json.dumps({"source": "rtsp://user:env:DOOR@elsewhere/live"}).encode()
        assert (await site.ask("PATCH", path, moved, Content_Type="application/json")).status == 422


@pytest.mark.parametrize("text", ["_pw", "://", "a:", "@", "a://b:c@", "lavfi:[", "&pw="])
async def test_a_long_value_is_refused_at_once(site: Site, text: str) -> None:
    """Cubic, it took hours, and the event loop with it."""
    started = time.process_time()
    reply = await site.put(NEW, source="gopher://" + text * (60_000 // len(text)))
    assert reply.status == 422
    assert len(reply.body) < 500
    assert time.process_time() - started < 5
