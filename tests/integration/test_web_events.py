"""Server-sent events: changes at once, statistics each second, made once for all."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from streamd.config.sections import StreamConfig
from streamd.streams.status import StreamStatus
from streamd.web import events, streams
from streamd.web.description import describe_stream
from streamd.web.events import BROADCASTER, EventQueue
from tests.integration.web_site import Site, served
from tests.support.waiting import timeout

pytestmark = pytest.mark.timeout(30)

PATH = "/api/v1/events"
CONFIG = StreamConfig(source="rtsp://h/live")


class Listener:
    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response

    async def block(self) -> str:
        lines = []
        async with timeout(5):
            while (line := await self.response.content.readline()) not in (b"\n", b""):
                lines.append(line.decode())
        return "".join(lines)

    async def event(self, kind: str) -> dict[str, Any]:
        """The next of this kind."""
        while True:
            text = await self.block()
            assert text, "the answer has ended"
            if text.startswith(f"event: {kind}\ndata: "):
                found: dict[str, Any] = json.loads(text.partition("\ndata: ")[2])
                return found


@asynccontextmanager
async def listening(site: Site, **headers: str) -> AsyncIterator[Listener]:
    async with site.http.get(site.url + PATH, headers=headers) as response:
        assert response.status == 200
        yield Listener(response)


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with served() as site:
        await site.film()
        yield site


async def gone(site: Site) -> None:
    broadcaster = site.app[BROADCASTER]
    await site.until(
        lambda: (
            broadcaster.clients == 0
            and broadcaster._ticker is None
            and not site.fleet.watchers
            and not site.fleet.zone_watchers
        )
    )


async def test_it_begins_with_what_all_streams_do(site: Site) -> None:
    async with listening(site) as listener:
        assert listener.response.content_type == "text/event-stream"
        assert listener.response.headers["X-Content-Type-Options"] == "nosniff"
        assert await listener.block() == f"retry: {events.RETRY_MS}\n"
        reported = await listener.event("statistics")
        asked = (await site.get("/api/v1/streams")).json
        assert reported.keys() == asked.keys()
        assert [stream["name"] for stream in reported["streams"]] == ["porch"]
        assert abs(reported["time"] - time.time()) < 5
        assert (await listener.event("statistics"))["time"] > reported["time"]
    await gone(site)


async def test_changes_are_sent_at_once(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "STATISTICS_S", 3600.0)
    async with listening(site) as listener:
        await listener.event("statistics")
        await site.fleet.put("yard", CONFIG)
        added = await listener.event("state")
        assert (added["name"], added["change"], added["state"]) == ("yard", "added", "starting")
        await site.film("yard")
        while (reported := await listener.event("state"))["state"] != "running":
            assert reported["name"] == "yard"
        await site.fleet.remove("yard")
        assert (await listener.event("state"))["state"] == "stopping"
        removed = await listener.event("state")
        assert (removed["name"], removed["change"]) == ("yard", "removed")


async def test_statistics_are_reckoned_once_for_all(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    count = 0

    def counted(status: StreamStatus) -> dict[str, Any]:
        nonlocal count
        count += 1
        return describe_stream(status)

    monkeypatch.setattr(streams, "describe_stream", counted)
    monkeypatch.setattr(events, "STATISTICS_S", 0.2)
    began = time.monotonic()
    async with listening(site) as one, listening(site) as other, listening(site) as third:
        reported = [[await listener.event("statistics") for _ in range(3)] for listener in (one, other, third)]
    times = {statistics["time"] for of_one in reported for statistics in of_one}
    await gone(site)
    ticks = (time.monotonic() - began) / events.STATISTICS_S
    assert len(times) <= count <= 3 + ticks, "one for each that came, and one a tick for all"
    before = count
    await asyncio.sleep(0.3)
    assert count == before, "nobody listens"


async def test_last_event_id_does_no_harm(site: Site) -> None:
    async with listening(site, **{"Last-Event-ID": "9" * 1000}) as listener:
        await listener.event("statistics")


async def test_a_heartbeat_while_nothing_happens(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "STATISTICS_S", 3600.0)
    monkeypatch.setattr(events, "HEARTBEAT_S", 0.05)
    async with listening(site) as listener:
        await listener.event("statistics")
        assert (await listener.block()).startswith(":")
        assert (await listener.block()).startswith(":")


async def test_there_are_places_for_so_many(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "MAX_CLIENTS", 1)
    async with listening(site):
        reply = await site.get(PATH)
        assert reply.error == (503, "full")
        assert "Retry-After" in reply.headers
    await gone(site)


async def test_one_who_does_not_read_is_let_go(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """And does not keep others waiting."""
    monkeypatch.setattr(events, "MAX_WAITING", 3)
    client = EventQueue()
    for _ in range(3):
        client.change(b"x")
    assert not client.closed
    client.change(b"x")
    assert client.closed
    client.statistics(b"y")
    assert len(await client.next()) <= 1


async def test_of_statistics_the_newest_waits(site: Site) -> None:
    client = EventQueue()
    client.statistics(b"old ")
    client.change(b"change ")
    client.statistics(b"new ")
    assert await client.next() == b"change new "


async def test_the_server_ends_and_lets_all_go(site: Site) -> None:
    async with listening(site) as listener:
        await listener.event("statistics")
        await site.app[BROADCASTER].end(site.app)
        while await listener.block():
            pass
    await gone(site)


async def test_head(site: Site) -> None:
    reply = await site.ask("HEAD", PATH)
    assert (reply.status, reply.headers["Content-Type"]) == (200, "text/event-stream")
    await gone(site)


async def test_a_zone_is_told_at_once_counted_and_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "STATISTICS_S", 3600.0)
    square = [[0, 0], [1, 0], [1, 1], [0, 1]]
    # The played network gives what the picture shows: more than nothing is near.
    zones = [{"name": "door", "polygon": square, "near": 0.01, "hold_s": 0}]
    async with served(streams={"porch": {"zones": zones}}) as site, listening(site) as listener:
        await site.film(count=5)
        told = await listener.event("zone")
        assert (told["stream"], told["zone"], told["kind"], told["reason"]) == ("porch", "door", "near", None)
        assert 0 < told["area"] <= 1
        shown = (await site.get("/api/v1/streams/porch")).json["zones"][0]
        assert (shown["name"], shown["state"], shown["problem"], shown["polygon"]) == ("door", "near", None, square)
        body = (await site.get("/metrics")).body.decode()
        assert 'streamd_events_total{kind="near",stream="porch",zone="door"} 1.0' in body
        await site.fleet.put("porch", CONFIG)
        told = await listener.event("zone")
        assert (told["kind"], told["reason"], told["area"]) == ("clear", "settings", 0.0)
        assert "streamd_events_total{" not in (await site.get("/metrics")).body.decode()
    await gone(site)
