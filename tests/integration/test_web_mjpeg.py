"""Motion JPEG: made once for all, the newest for each, and nothing left when they go."""

from __future__ import annotations

import asyncio
import itertools
import re
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import aiohttp
import cv2
import numpy as np
import pytest

from streamd.config.sections import View
from streamd.errors import SourceEnded
from streamd.media.frames import ByteImage, NormalisedFrame, Picture
from streamd.streams.notices import NOTICE_SIZE
from streamd.streams.stream import Stream
from streamd.web import mjpeg, streaming
from streamd.web.mjpeg import FEEDS
from tests.integration.web_site import Site, served
from tests.support.waiting import timeout

pytestmark = pytest.mark.timeout(30)

PATH = "/api/v1/streams/porch/mjpeg"


class Watcher:
    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response
        self._content = response.content

    async def jpeg(self, within_s: float = 5) -> bytes:
        """The next part."""
        async with timeout(within_s):
            assert await self._content.readline() == b"--streamd-picture\r\n"
            assert await self._content.readline() == b"Content-Type: image/jpeg\r\n"
            length = re.fullmatch(rb"Content-Length: (\d+)\r\n", await self._content.readline())
            assert length is not None
            assert await self._content.readline() == b"\r\n"
            jpeg = await self._content.readexactly(int(length[1]))
            assert await self._content.readexactly(2) == b"\r\n"
            return jpeg

    async def picture(self) -> ByteImage:
        found = cv2.imdecode(np.frombuffer(await self.jpeg(), np.uint8), cv2.IMREAD_COLOR)
        assert found is not None
        return np.asarray(found)

    async def until_size(self, width: int, height: int) -> None:
        while (await self.picture()).shape != (height, width, 3):
            pass

    async def ended(self) -> bool:
        async with timeout(5):
            return await self._content.read() is not None


@asynccontextmanager
async def watching(site: Site, query: str = "") -> AsyncIterator[Watcher]:
    async with site.http.get(site.url + PATH + query) as response:
        assert response.status == 200, await response.text()
        yield Watcher(response)


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with served() as site:
        await site.film()
        yield site


async def gone(site: Site) -> None:
    """Nobody is there, and nothing is left of it."""
    feeds = site.app[FEEDS]
    await site.until(lambda: feeds.clients == 0 and not feeds._feeds and site.stream()._life._wakers == 0)


async def test_pictures_of_the_view(site: Site) -> None:
    async with watching(site, "?view=side-by-side&fps=30") as watcher:
        assert watcher.response.content_type == "multipart/x-mixed-replace"
        assert watcher.response.headers["Cache-Control"] == "no-store"
        assert "default-src 'none'" in watcher.response.headers["Content-Security-Policy"]
        await watcher.until_size(384, 112)
    await gone(site)


async def test_each_frame_is_made_once_for_all(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[bytes] = []
    encode = mjpeg.encode_jpeg

    def noted(picture: Picture) -> bytes:
        made.append(encode(picture))
        return made[-1]

    monkeypatch.setattr(mjpeg, "encode_jpeg", noted)
    async with watching(site, "?fps=30") as one, watching(site, "?fps=30") as other, watching(site, "?view=gray"):
        assert len(site.app[FEEDS]._feeds) == 2
        seen: list[tuple[bytes, bytes]] = []
        for _ in range(4):
            site.cameras["porch"].film()
            seen.append((await one.jpeg(), await other.jpeg()))
        assert all(a == b for a, b in seen)
        assert {jpeg for pair in seen for jpeg in pair} <= set(made)
        assert len(made) <= 2 * (len(seen) + 2), "once for each view, not for each who watches"
        assert len({a for a, _ in seen}) == 4, "a picture is not repeated while there are new ones"


async def test_frames_do_not_wait_for_a_picture(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    began, go_on = threading.Event(), threading.Event()

    def block(picture: Picture) -> bytes:
        began.set()
        go_on.wait(10)
        return b"jpeg"

    monkeypatch.setattr(mjpeg, "encode_jpeg", block)
    async with watching(site, "?fps=30") as watcher:
        await site.until(began.is_set)
        await site.film(count=5)
        go_on.set()
        assert await watcher.jpeg() == b"jpeg"


async def test_a_slow_one_keeps_nobody_waiting(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """It reads nothing at all, and is let go in the end."""
    monkeypatch.setattr(streaming, "STALLED_S", 0.5)
    monkeypatch.setattr(mjpeg, "send", partial(streaming.send, stalled_s=0.5))
    big, count = bytes(500_000), itertools.count()
    monkeypatch.setattr(mjpeg, "encode_jpeg", lambda picture: b"%d" % next(count) + big)
    newest = site.stream().newest
    assert newest is not None
    monkeypatch.setattr(Stream, "newest", property(lambda stream: replace(newest, normalised=newest.normalised.copy())))
    address = site.url.removeprefix("http://").split(":")
    _, lazy = await asyncio.open_connection(address[0], int(address[1]), limit=1024)
    lazy.write(f"GET {PATH}?fps=30 HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    await site.until(lambda: site.app[FEEDS].clients == 1)
    async with watching(site, "?fps=30") as watcher:
        numbers = [int((await watcher.jpeg()).rstrip(b"\0")) for _ in range(20)]
        assert numbers == sorted(set(numbers))
        await site.until(lambda: site.app[FEEDS].clients == 1)
    lazy.close()
    await gone(site)


async def test_who_asks_for_few_gets_few(site: Site) -> None:
    loop = asyncio.get_running_loop()
    async with watching(site, "?fps=5") as watcher:
        await watcher.jpeg()
        began = loop.time()
        for _ in range(3):
            site.cameras["porch"].film(3)
            await watcher.jpeg()
        assert loop.time() - began > 0.45


async def test_a_still_scene_is_shown_again_so_that_proxies_stay(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    assert mjpeg.REPEAT_S + streaming.CHECK_S < 5
    monkeypatch.setattr(mjpeg, "REPEAT_S", 0.05)
    monkeypatch.setattr(mjpeg, "CHECK_S", 0.05)
    async with watching(site) as watcher:
        assert await watcher.jpeg() == await watcher.jpeg()


async def test_what_has_not_changed_is_neither_drawn_nor_encoded_again(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    draw = mjpeg.draw_frame

    def noted(frame: NormalisedFrame, view: View, *more: Any) -> Picture:
        made.append(view)
        return draw(frame, view, *more)

    monkeypatch.setattr(mjpeg, "draw_frame", noted)
    async with watching(site, "?fps=30") as depth, watching(site, "?view=source&fps=30") as source:
        await depth.jpeg()
        await source.jpeg()
        before = site.stream().newest
        assert before is not None
        for _ in range(10):
            shown = site.stream().newest
            site.cameras["porch"].linger()
            await site.until(lambda: site.stream().newest is not shown)  # noqa: B023
            await asyncio.sleep(1 / 30)
        newest = site.stream().newest
        assert newest is not None
        assert (newest.normalised is before.normalised, newest.frame.seen) == (True, before.frame.seen)
        assert sorted(made) == ["depth", "source"]
        site.cameras["porch"].film()
        await depth.jpeg()
        await source.jpeg()


async def test_while_the_camera_is_away_it_shows_a_notice(site: Site) -> None:
    async with watching(site, "?fps=30") as watcher:
        await watcher.until_size(192, 112)
        site.cameras["porch"].end(SourceEnded("porch", "gone"))
        await site.until(lambda: site.stream().state == "reconnecting")
        await watcher.until_size(*NOTICE_SIZE)
        await site.film()
        await watcher.until_size(192, 112)


async def test_a_stream_that_sleeps_is_woken_and_sleeps_again() -> None:
    async with served(streams={"porch": {"mode": "on_demand", "linger_s": 0}}) as site:
        await site.until(lambda: site.stream().state == "idle")
        async with watching(site, "?fps=30") as watcher:
            await watcher.until_size(*NOTICE_SIZE)
            site.cameras["porch"].film()
            await watcher.until_size(192, 112)
        await site.until(lambda: site.stream().state == "idle")
        await gone(site)


async def test_a_stream_that_is_removed_ends_the_answer(site: Site) -> None:
    async with watching(site) as watcher:
        await watcher.jpeg()
        removed = site.stream()
        await site.fleet.remove("porch")
        assert await watcher.ended()
        assert removed._life._wakers == 0
    assert site.app[FEEDS].clients == 0


async def test_a_stream_that_is_removed_while_a_picture_is_made(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer ends as it should: no other head, and no break, in its body."""
    monkeypatch.setattr(mjpeg, "CHECK_S", 0.05)
    began, go_on, encode = threading.Event(), threading.Event(), mjpeg.encode_jpeg

    def block(picture: Picture) -> bytes:
        began.set()
        go_on.wait(10)
        return encode(picture)

    try:
        async with watching(site, "?fps=30") as watcher:
            await watcher.jpeg()
            monkeypatch.setattr(mjpeg, "encode_jpeg", block)
            site.cameras["porch"].film()
            await site.until(began.is_set)
            await site.fleet.remove("porch")
            async with timeout(5):
                assert b"HTTP/1.1" not in await watcher.response.content.read()
    finally:
        go_on.set()


async def test_there_are_places_for_so_many(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mjpeg, "MAX_CLIENTS", 1)
    async with watching(site):
        reply = await site.get(PATH)
        assert reply.error == (503, "full")
        assert "Retry-After" in reply.headers
    await gone(site)
    async with watching(site):
        pass
    await gone(site)


async def test_the_server_ends_and_lets_all_go(monkeypatch: pytest.MonkeyPatch) -> None:
    async with served() as site:
        await site.film()
        async with watching(site) as watcher:
            await watcher.jpeg()
            await site.app[FEEDS].end(site.app)
            assert await watcher.ended()


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("?view=x-ray", (422, "bad_value")),
        ("?fps=0", (422, "bad_value")),
        ("?fps=31", (422, "bad_value")),
        ("?fps=-1", (422, "bad_value")),
        ("?fps=fast", (422, "bad_value")),
        ("?fps=\u0661", (422, "bad_value")),
    ],
)
async def test_what_cannot_be_asked(site: Site, query: str, error: tuple[int, str]) -> None:
    assert (await site.get(PATH + query)).error == error
    assert (await site.get("/api/v1/streams/nobody/mjpeg")).error == (404, "unknown_stream")


async def test_head(site: Site) -> None:
    reply = await site.ask("HEAD", PATH)
    assert (reply.status, reply.headers["Content-Type"][:25]) == (200, "multipart/x-mixed-replace")
    await gone(site)
