"""Real Firefox on the viewer page: it has no H.264 without a plug-in that it would download, and gets VP8."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.e2e.conftest import StartDaemon
from tests.e2e.pictures import difference
from tests.e2e.test_browser import Video, assert_is_inferno, eventually
from tests.support.firefox import firefox, needs_firefox


@needs_firefox
@pytest.mark.timeout(90)
async def test_the_page_plays_moving_depth(daemon: StartDaemon, artefacts: Path, tmp_path: Path) -> None:
    running = await asyncio.to_thread(lambda: daemon("demo:").until_ready())
    async with firefox(tmp_path) as page:
        watched = Video(page)
        await page.goto(running.url)
        await watched.plays_on(0.5)
        one = await watched.pixels()
        await watched.plays_on(1.0)
        two = await watched.pixels()
        for picture in (one, two):
            assert_is_inferno(picture)
        assert difference(one, two) > 1.0, "the picture stands still"
        assert running.metrics().value("streamd_viewers") == 1
        (artefacts / "firefox.png").write_bytes(await page.screenshot())
        assert page.page_errors == []
    await eventually("it has left", lambda: running.metrics().value("streamd_viewers") == 0)
