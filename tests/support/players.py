"""Chromium with a WHEP client that nobody here wrote, on a page of another origin than streamd's."""

from __future__ import annotations

import base64
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiohttp import web
from playwright.async_api import BrowserContext, Page, Request, async_playwright

from tests.e2e.pictures import Rgb
from tests.support.waiting import until_async

CLIENTS = Path(__file__).parents[1] / "e2e" / "clients"
CHROMIUM = "/usr/bin/chromium"
SWITCHES = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
)
SHOW_ADDRESSES = "--disable-features=WebRtcHideLocalIpsWithMdns"
"""Else a page learns names like 5e7a2d3c-....local instead of the box's addresses, as it does at home."""

needs_clients = pytest.mark.skipif(
    not (CLIENTS / "bundles" / "whip-whep.js").is_file(),
    reason="NO STANDARD CLIENT IS TESTED: they are bundled with npm by `make test`",
)

PAGE = "<!doctype html><title>{name}</title><link rel=icon href=data:,><video autoplay muted playsinline></video>"


@dataclass(frozen=True)
class VideoStats:
    """What the browser knows of the video that it gets, all of it since the page was opened."""

    decoded: int
    frozen_s: float
    lost: int
    nacks: int
    plis: int
    codec: str
    width: int
    height: int
    states: Sequence[str]
    """Of its peer connections."""


class Player:
    """One page with one client."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self.requests: list[Request] = []
        self.page_errors: list[str] = []
        page.on("request", lambda request: self.requests.append(request))
        page.on("pageerror", lambda error: self.page_errors.append(str(error)))
        page.on("console", lambda line: self.page_errors.append(line.text) if line.type == "error" else None)

    async def play(self, url: str, token: str | None = None, mime_types: Sequence[str] | None = None) -> None:
        """``mime_types``: of the codecs that the client offers, for whip-whep."""
        await self._page.evaluate("(given) => play(video(), ...given)", [url, token, mime_types])

    async def stop(self) -> None:
        await self._page.evaluate("() => stop()")

    async def evaluate(self, script: str, *given: Any) -> Any:
        return await self._page.evaluate(script, *given)

    async def stats(self) -> VideoStats:
        return VideoStats(**await self._page.evaluate("() => videoStats()"))

    async def sees(self, more: int, within_s: float = 20.0) -> VideoStats:
        """Waits until it has decoded so many pictures more."""
        wanted = (await self.stats()).decoded + more

        async def enough() -> VideoStats | None:
            seen = await self.stats()
            return seen if seen.decoded >= wanted else None

        seen = await until_async(f"{more} more pictures are decoded: {self.page_errors}", enough, within_s)
        assert seen is not None
        return seen

    async def pixels(self) -> Rgb:
        """(36, 64, 3) of what is on the screen."""
        rgba = np.frombuffer(base64.b64decode(await self._page.evaluate("() => pixels()")), np.uint8)
        return rgba.reshape(36, 64, 4)[..., :3]

    async def sent(self, method: str) -> list[tuple[Request, dict[str, str]]]:
        """The requests to streamd of that kind, with all their headers."""
        return [(each, await each.all_headers()) for each in self.requests if each.method == method]

    async def close(self) -> None:
        """As someone does who closes the tab."""
        await self._page.close()


class Players:
    """Opens pages."""

    def __init__(self, context: BrowserContext, origin: str) -> None:
        self._context, self._origin = context, origin

    async def open(self, client: str) -> Player:
        """``client`` is whip-whep or eyevinn."""
        player = Player(page := await self._context.new_page())
        await page.goto(f"{self._origin}/{client}")
        return player


@asynccontextmanager
async def players(
    *switches: str, browser: str | Path = CHROMIUM, listener: socket.socket | None = None
) -> AsyncIterator[Players]:
    """A browser, and the server of its pages, on a free port of 127.0.0.1 unless it is given its socket."""
    async with (
        _pages(listener or socket.create_server(("127.0.0.1", 0))) as origin,
        async_playwright() as playwright,
        await playwright.chromium.launch(executable_path=browser, args=[*SWITCHES, *switches]) as chromium,
    ):
        yield Players(await chromium.new_context(), origin)


@asynccontextmanager
async def _pages(listener: socket.socket) -> AsyncIterator[str]:
    """Serves the clients; gives the origin."""

    async def page(request: web.Request) -> web.Response:
        name = request.match_info["name"]
        scripts = "".join(f"<script src='/{path}'></script>" for path in ("clients/page.js", f"bundles/{name}.js"))
        return web.Response(text=PAGE.format(name=name) + scripts, content_type="text/html")

    app = web.Application()
    app.router.add_static("/clients", CLIENTS)
    app.router.add_static("/bundles", CLIENTS / "bundles")
    app.router.add_get("/{name:[a-z-]+}", page)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.SockSite(runner, listener).start()
        host, port = listener.getsockname()
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()
