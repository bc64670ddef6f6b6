"""Streams over HTTP: settings that are wanted and settings in force, who added a stream, and when it is ready."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

import pytest

from streamd.streams import capture, fleet
from streamd.web import streams
from tests.integration.web_site import Reply, Site, served

pytestmark = pytest.mark.timeout(30)

PORCH = "/api/v1/streams/porch"
SECRET = "rtsp://u:hunter2@h/live"


async def patch(site: Site, path: str = PORCH, **body: Any) -> Reply:
    return await site.ask("PATCH", path, json.dumps(body).encode(), Content_Type="application/json")


async def test_two_changes_lose_nothing() -> None:
    """H8: the second was merged into what was in force before the first."""
    async with served() as site:
        await site.film()
        first = await patch(site, max_fps=5)
        assert (first.status, first.json["settings"]["max_fps"]) == (200, 5)
        both = await asyncio.gather(patch(site, height=480), patch(site, overlay_alpha=0.25))
        assert [reply.status for reply in both] == [200, 200]
        settings = (await site.get(PORCH)).json["settings"]
        assert (settings["max_fps"], settings["height"], settings["overlay_alpha"]) == (5, 480, 0.25)


async def test_an_answer_does_not_claim_what_is_not_in_force(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture, "LEAVE_S", 5.0)
    monkeypatch.setattr(streams, "IN_FORCE_S", 0.1)
    async with served() as site:
        await site.film()
        stuck = site.cameras["porch"].stuck = threading.Event()
        reply = await patch(site, max_fps=5)
        assert reply.status == 202
        assert (reply.json["settings"]["max_fps"], reply.json["wanted"]["max_fps"]) == (None, 5)
        assert (await patch(site, height=480)).json["wanted"]["max_fps"] == 5
        stuck.set()
        await site.until(lambda: site.stream().config.height == 480)
        shown = (await site.get(PORCH)).json
        assert (shown["settings"]["max_fps"], shown["settings"]["height"]) == (5, 480)
        assert "wanted" not in shown


async def test_settings_are_shown_without_secrets_and_may_be_sent_back() -> None:
    """M14, and a password that is shown as *** is not lost when it comes back."""
    async with served(streams={"porch": {}}) as site:
        created = await site.put("/api/v1/streams/door", source=SECRET, max_fps=5)
        assert created.status == 201
        assert (created.json["origin"], (await site.get(PORCH)).json["origin"]) == ("api", "file")
        settings = created.json["settings"]
        assert settings["source"] == "rtsp://***@h/live"
        assert set(settings) >= {"max_fps", "height", "masks", "record", "read_timeout_s", "range"}
        assert b"hunter2" not in created.body

        again = await site.put("/api/v1/streams/door", **settings | {"max_fps": 7})
        assert (again.status, site.stream("door").config.source) == (200, SECRET)
        moved = await patch(site, "/api/v1/streams/door", source="rtsp://***@elsewhere/live")
        assert moved.error == (422, "bad_value")
        assert site.stream("door").config.source == SECRET


async def test_null_takes_a_key_back_to_its_default() -> None:
    async with served(streams={"porch": {"max_fps": 5}}) as site:
        assert (await patch(site, max_fps=None)).json["settings"]["max_fps"] is None
        assert (await patch(site, range=None, mode=None)).json["settings"]["mode"] == "always"
        assert (await patch(site, source=None)).error == (422, "bad_value")


async def test_nothing_can_be_changed_while_it_stops() -> None:
    async with served() as site:
        site.fleet.stopping = True
        for reply in (
            await site.put("/api/v1/streams/door", source="demo:"),
            await patch(site, max_fps=5),
            await site.ask("DELETE", PORCH),
        ):
            assert reply.error == (503, "stopping")
            assert "Retry-After" in reply.headers


async def test_the_refusal_of_one_stream_too_many_names_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet, "MAX_STREAMS", 1)
    async with served() as site:
        reply = await site.put("/api/v1/streams/door", source="demo:")
        assert reply.error == (503, "busy")
        assert reply.json["error"]["message"] == "busy: there are 1 streams already: remove one first"


async def test_deleted_twice_at_once() -> None:
    async with served() as site:
        replies = await asyncio.gather(*(site.ask("DELETE", PORCH) for _ in range(3)))
        assert sorted(reply.status for reply in replies) == [200, 404, 404]


async def test_ready_while_a_camera_is_away() -> None:
    async with served() as site:
        lenient, strict = await site.get("/readyz"), await site.get("/readyz?strict=1")
        assert (lenient.status, lenient.json) == (200, {"status": "ready", "reasons": ["stream porch: starting"]})
        assert (strict.error, strict.json["reasons"]) == ((503, "not_ready"), ["stream porch: starting"])
        await site.film()
        for path in ("/readyz", "/readyz?strict=1", "/readyz?strict=0"):
            assert (await site.get(path)).json == {"status": "ready", "reasons": []}
        site.fleet.stopping = True
        assert (await site.get("/readyz")).error == (503, "not_ready")
