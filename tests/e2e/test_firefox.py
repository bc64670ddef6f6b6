"""Real Firefox on the viewer page: it has no H.264 without a plug-in that it would download, and gets VP8."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path

import numpy as np
import pytest

from tests.e2e.conftest import StartDaemon
from tests.e2e.pictures import Rgb, difference
from tests.e2e.test_browser import CANVAS, LARGE, PIXELS, PLAYING, assert_is_inferno, eventually
from tests.e2e.waiting import until_async
from tests.support.firefox import Firefox, firefox, needs_firefox


async def plays_on(page: Firefox, seconds: float) -> None:
    since = await page.evaluate(PLAYING, LARGE)

    async def later() -> bool:
        return bool(await page.evaluate(PLAYING, LARGE) > since + seconds)

    await until_async(f"the video plays on for {seconds:g} s", later)


async def pixels(page: Firefox) -> Rgb:
    width, height = CANVAS
    drawn = await page.evaluate(PIXELS, [LARGE, width, height])
    return np.frombuffer(base64.b64decode(drawn), np.uint8).reshape(height, width, 4)[..., :3]


@needs_firefox
@pytest.mark.timeout(90)
async def test_the_page_plays_moving_depth(daemon: StartDaemon, artefacts: Path, tmp_path: Path) -> None:
    running = await asyncio.to_thread(lambda: daemon("demo:").until_ready())
    async with firefox(tmp_path) as page:
        await page.goto(running.url)
        await plays_on(page, 0.5)
        one = await pixels(page)
        await plays_on(page, 1.0)
        two = await pixels(page)
        for picture in (one, two):
            assert_is_inferno(picture)
        assert difference(one, two) > 1.0, "the picture stands still"
        assert running.metrics().value("streamd_viewers") == 1
        (artefacts / "firefox.png").write_bytes(await page.screenshot())
        assert page.complaints == []
    await eventually("it has left", lambda: running.metrics().value("streamd_viewers") == 0)
