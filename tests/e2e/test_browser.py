"""Real Chromium on the viewer page: depth that moves, in Inferno's colours."""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar
from urllib.parse import urlsplit

import numpy as np
import pytest
from playwright.async_api import ConsoleMessage, Page, Request, Response, async_playwright

from tests.e2e.conftest import StartDaemon
from tests.e2e.pictures import Rgb, difference, off_inferno
from tests.support.waiting import until, until_async

T = TypeVar("T")

CHROMIUM = "/usr/bin/chromium"
SWITCHES = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
CANVAS = (96, 54)

NOTE_VIOLATIONS = """
  window.violations = [];
  document.addEventListener('securitypolicyviolation', (event) => {
    window.violations.push(`${event.violatedDirective}: ${event.blockedURI}`);
  });
"""
PLAYING = """(where) => {
  const video = document.querySelector(where);
  return video?.readyState >= 2 && video.videoWidth > 0 && !video.paused ? video.currentTime : 0;
}"""
PIXELS = """([where, width, height]) => {
  const canvas = Object.assign(document.createElement('canvas'), { width, height });
  const context = canvas.getContext('2d');
  context.imageSmoothingEnabled = false;
  context.drawImage(document.querySelector(where), 0, 0, width, height);
  return btoa(String.fromCharCode(...context.getImageData(0, 0, width, height).data));
}"""
LARGE = "[data-testid=video]"
ONLY_LOOPBACK = ("127.0.0.1", "localhost", None)  # data: and blob: have no host
OF_NO_MATTER = ("Failed to load resource",)
"""The first is told with its status by the response; the second is a feature that this Chromium has no switch for."""
DESKTOP: dict[str, Any] = {"viewport": {"width": 1280, "height": 800}, "color_scheme": "dark"}


def tile(name: str, what: str = "video") -> str:
    """Where something of a stream's tile is."""
    return f"[data-testid='tile-{name}'] {what}"


async def eventually(what: str, look: Callable[[], T]) -> T:
    """``until`` for what blocks, such as a question to the daemon, beside a page that goes on."""
    return await asyncio.to_thread(until, what, look)


class Evaluates(Protocol):
    """A page in any browser."""

    async def evaluate(self, function: str, given: Any = None, /) -> Any: ...


@dataclass
class Video:
    """What the page's video shows, in any browser."""

    page: Evaluates

    async def time(self, where: str = LARGE) -> float:
        """Of the video, s; 0 unless it plays."""
        return float(await self.page.evaluate(PLAYING, where))

    async def plays_on(self, seconds: float, where: str = LARGE) -> None:
        """As soon as it has played so much more than when it is asked, or than at its start."""
        since = await self.time(where)

        async def later() -> bool:
            return await self.time(where) > since + seconds

        await until_async(f"the video plays on for {seconds:g} s", later)

    async def pixels(self, where: str = LARGE) -> Rgb:
        """(h, w, 3) of what the video shows now, one pixel in many."""
        width, height = CANVAS
        drawn = await self.page.evaluate(PIXELS, [where, width, height])
        rgba = np.frombuffer(base64.b64decode(drawn), np.uint8)
        return rgba.reshape(height, width, 4)[..., :3]


@dataclass
class Watched(Video):
    """The page in Chromium, and the errors that it reports."""

    page: Page
    page_errors: list[str] = field(default_factory=list)
    sessions: list[str] = field(default_factory=list)
    """The WHEP endpoints that it has asked for one: path and query."""

    async def text(self, name: str) -> str:
        return await self.page.get_by_test_id(name).inner_text()

    async def shows(self, name: str, text: str) -> None:
        """Waits until it does."""
        shown = ""

        async def is_shown() -> bool:
            nonlocal shown
            shown = await self.text(name)
            return text in shown

        try:
            await until_async(f"{name} shows {text!r}", is_shown)
        except AssertionError as late:
            raise AssertionError(f"{late}: {shown!r}") from None

    async def number(self, name: str) -> float:
        """The first number of a read-out; 0 while there is none."""
        found = re.search(r"\d+(\.\d+)?", await self.text(name))
        return float(found[0]) if found else 0.0

    def expects(self, text: str) -> None:
        """Something was refused on purpose: forgives it. Fails when it was not."""
        before = len(self.page_errors)
        self.page_errors = [one for one in self.page_errors if text not in one]
        assert len(self.page_errors) < before, f"no page error has {text!r}"


@asynccontextmanager
async def watch(
    url: str, *, init: str = "", switches: Sequence[str] = SWITCHES, **context: Any
) -> AsyncIterator[Watched]:
    """Fails at the end when the page has broken its content security policy, asked another host, logged an error, or
    was refused anything, but for what the test ``expects``."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=[*switches])
        page = await browser.new_page(**(DESKTOP | context))
        watched, answered = Watched(page), set[Request]()

        def on_console(message: ConsoleMessage) -> None:
            if message.type in ("error", "warning") and not message.text.startswith(OF_NO_MATTER):
                watched.page_errors.append(f"{message.type}: {message.text}")

        def on_request(request: Request) -> None:
            parts = urlsplit(request.url)
            if parts.hostname not in ONLY_LOOPBACK:
                watched.page_errors.append(f"another host: {request.url}")
            if request.method == "POST" and parts.path.startswith("/whep/"):
                watched.sessions.append(f"{parts.path}?{parts.query}")

        def on_response(response: Response) -> None:
            answered.add(response.request)
            if response.status >= 400:
                watched.page_errors.append(f"{response.status}: {response.request.method} {response.url}")

        def on_failure(request: Request) -> None:
            if request not in answered:  # Chromium calls an answer aborted when nobody reads its empty body
                watched.page_errors.append(f"{request.failure}: {request.method} {request.url}")

        page.on("console", on_console)
        page.on("pageerror", lambda error: watched.page_errors.append(f"exception: {error}"))
        page.on("request", on_request)
        page.on("response", on_response)
        page.on("requestfailed", on_failure)
        await page.add_init_script(NOTE_VIOLATIONS + init)
        try:
            await page.goto(url)
            yield watched
            assert await page.evaluate("window.violations") == []
            assert watched.page_errors == []
        finally:
            await browser.close()


@pytest.mark.timeout(90)
async def test_the_page_plays_moving_depth(daemon: StartDaemon, artefacts: Path) -> None:
    running = await asyncio.to_thread(lambda: daemon("demo:").until_ready())
    async with watch(running.url) as watched:
        await until_async("the video plays", watched.time)
        await watched.plays_on(0.5)
        one = await watched.pixels()
        await watched.plays_on(1.0)
        two = await watched.pixels()
        for picture in (one, two):
            assert_is_inferno(picture)
        assert difference(one, two) > 1.0, "the picture stands still"

        assert await until_async("the page shows the frame rate", lambda: watched.number("fps")) > 3
        assert await until_async("the page shows the latency", lambda: watched.number("latency")) < 5000
        assert "Coarse" in await watched.text("model-note")
        assert "streamd embedded" in await watched.text("model")
        await watched.shows("state", "running")
        await watched.shows("viewers", "1")
        await until_async("the page shows the bit rate", lambda: watched.number("bitrate"))
        await watched.shows("latency-name", "capture to screen")
        assert "estimated" not in await watched.text("latency-name"), "the pictures do not show when they were captured"
        await watched.page.screenshot(path=artefacts / "depth.png")

        await watched.page.get_by_test_id("view-source").click()
        await until_async("the picture is that of the source", lambda: is_colourful(watched))
        await watched.plays_on(0.5)
        assert difference(await watched.pixels(), two) > 20
        await watched.page.screenshot(path=artefacts / "source.png")
        assert re.search(r"viewer \S+ closed: DELETE$", running.log, re.MULTILINE), "the first session was not ended"


def assert_is_inferno(picture: Rgb) -> None:
    """H.264 leaves a few pixels at hard edges off the map: 4:2:0 halves the colour's resolution."""
    off = off_inferno(picture)
    assert np.median(off) <= 6
    assert np.mean(off <= 24) > 0.98, f"{np.mean(off > 24):.1%} of the pixels are no colour of Inferno"
    assert picture.reshape(-1, 3).std(axis=0).max() > 20, "the picture is of one colour"


async def is_colourful(watched: Watched) -> bool:
    off = off_inferno(await watched.pixels())
    return bool(np.mean(off > 24) > 0.2)
