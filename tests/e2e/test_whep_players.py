"""WHEP clients that nobody here wrote, in Chromium, on a page of another origin."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from urllib.parse import urlsplit

import aiohttp
import pytest
from playwright.async_api import Error

from tests.e2e.conftest import StartDaemon
from tests.e2e.pictures import difference
from tests.e2e.processes import Daemon, Metrics, Window
from tests.e2e.viewer import Viewer
from tests.support.players import SHOW_ADDRESSES, Player, needs_clients, players
from tests.support.waiting import until_async

pytestmark = [needs_clients, pytest.mark.timeout(90)]

CAMERA, NAME = "lavfi:testsrc2=size=320x180:rate=20", "lavfi-testsrc2"
TOKEN = "a-token-of-a-viewer"


async def started(daemon: StartDaemon, **environment: str) -> Daemon:
    return await asyncio.to_thread(lambda: daemon(CAMERA, **environment).until_ready())


async def metrics(daemon: Daemon) -> Metrics:
    return await asyncio.to_thread(daemon.metrics)


async def plays_and_leaves(player: Player, daemon: Daemon) -> None:
    """A picture that moves, of the right size, in H.264; a session that ends with DELETE."""
    first = await player.pixels()

    async def moved() -> bool:
        return difference(first, await player.pixels()) > 2

    seen = await player.sees(20)
    await until_async("what is on the screen changes", moved)
    assert (seen.width, seen.height, seen.codec) == (320, 180, "video/H264")
    assert (await metrics(daemon)).value("streamd_viewers") == 1

    await player.stop()
    await until_async("the session is gone", lambda: nobody_watches(daemon), within_s=3)
    assert await until_async("DELETE is answered", lambda: statuses(player, "DELETE")) in ([200], [404])
    assert [each for each in player.page_errors if "404" not in each] == []


async def nobody_watches(daemon: Daemon) -> bool:
    return (await metrics(daemon)).value("streamd_viewers") == 0


@pytest.mark.parametrize(
    ("client", "switches"),
    [("whip-whep", ()), ("eyevinn", ()), ("eyevinn", (SHOW_ADDRESSES,))],
    ids=["whip-whep", "eyevinn", "eyevinn-shows-addresses"],
)
async def test_a_standard_client_plays(daemon: StartDaemon, client: str, switches: tuple[str, ...]) -> None:
    running = await started(daemon)
    async with players(*switches) as browser:
        player = await browser.open(client)
        await player.play(f"{running.url}whep/{NAME}")
        await player.sees(1)
        candidates = await candidates_of(player)
        assert candidates, "the client told of no address of its own"
        assert any(".local " in line for line in candidates) == (not switches)
        await plays_and_leaves(player, running)


async def candidates_of(player: Player) -> list[str]:
    """In its offer or after it."""

    async def reported() -> list[str]:
        bodies = [request.post_data or "" for request in player.requests]
        return [line for body in bodies for line in body.splitlines() if line.startswith("a=candidate:")]

    return await until_async("the client shows its addresses", reported)


@pytest.mark.parametrize("client", ["whip-whep", "eyevinn"])
async def test_a_standard_client_shows_its_token(daemon: StartDaemon, client: str) -> None:
    running = await started(daemon, STREAMD_SERVER__VIEW_TOKENS=json.dumps([TOKEN]))
    url = f"{running.url}whep/{NAME}"
    async with players() as browser:
        stranger = await browser.open(client)
        with suppress(Error):  # whip-whep throws, Eyevinn's writes it to the console
            await stranger.play(url, "a-wrong-token")
        assert await until_async("a wrong token is refused", lambda: statuses(stranger, "POST")) == [401]

        player = await browser.open(client)
        await player.play(url, TOKEN)
        await player.sees(10)
        await player.stop()
        assert await until_async("DELETE is answered", lambda: statuses(player, "DELETE")) in ([200], [404])
        for method in ("POST", "DELETE"):
            [(request, headers)] = await player.sent(method)
            assert headers["authorization"] == f"Bearer {TOKEN}"
            assert urlsplit(headers["origin"]).netloc != urlsplit(request.url).netloc, "of the same origin"
        assert TOKEN not in running.log


async def statuses(player: Player, method: str) -> list[int]:
    """Of the answers so far. 404 to DELETE: whip-whep ends its connection first, and the session ends with it."""
    replies = [await request.response() for request, _ in await player.sent(method)]
    return [reply.status for reply in replies if reply]


async def test_chromium_without_h264_plays_vp8_from_an_encoder_of_its_own(daemon: StartDaemon) -> None:
    running = await started(daemon)
    url = f"{running.url}whep/{NAME}"
    async with aiohttp.ClientSession() as http, players() as browser:
        watching = await Viewer(http, url).join()
        await watching.sees(20)
        assert await encodes_per_frame(running) == pytest.approx(1, abs=0.15)

        player = await browser.open("whip-whep")
        await player.play(url, None, ["video/VP8"])
        first = await player.pixels()
        seen = await player.sees(20)
        assert (seen.codec, seen.width, seen.height) == ("video/VP8", 320, 180)
        assert difference(first, await player.pixels()) > 2
        assert await encodes_per_frame(running) == pytest.approx(2, abs=0.3)

        other = await browser.open("whip-whep")
        await other.play(url, None, ["video/VP8"])
        await other.sees(10)
        assert await encodes_per_frame(running) == pytest.approx(2, abs=0.3), "an encoder for each"
        await watching.sees(10)

        await asyncio.gather(player.stop(), other.stop())
        await until_async("the VP8 encoder has gone", lambda: one_encoder(running))
        await watching.sees(10)
        await watching.close()


async def encodes_per_frame(daemon: Daemon) -> float:
    """While a second or so goes by."""
    before = await metrics(daemon)

    async def enough() -> Window | None:
        window = Window(before, await metrics(daemon))
        return window if window.more("streamd_stage_seconds_count", stage="infer") >= 15 else None

    window = await until_async("some frames are inferred", enough)
    assert window is not None
    infers = window.more("streamd_stage_seconds_count", stage="infer")
    return window.more("streamd_stage_seconds_count", stage="encode") / infers


async def one_encoder(daemon: Daemon) -> bool:
    return await encodes_per_frame(daemon) < 1.2
