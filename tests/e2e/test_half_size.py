"""The live depth view is sent at half its size, and the page enlarges it; the full size is for who asks."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import pytest

from tests.e2e.conftest import StartDaemon
from tests.e2e.test_browser import DESKTOP, LARGE, assert_is_inferno, watch
from tests.e2e.test_whep_players import encodes_per_frame
from tests.e2e.viewer import Viewer

pytestmark = pytest.mark.timeout(90)

CAMERA, NAME = "lavfi:testsrc2=size=1280x720:rate=10", "lavfi-testsrc2"
SIZES = """(where) => {
  const video = document.querySelector(where);
  const box = video.getBoundingClientRect();
  return [video.videoWidth, video.videoHeight, Math.round(box.width), Math.round(box.height)];
}"""


async def test_two_sizes_have_an_encoder_each(daemon: StartDaemon, artefacts: Path) -> None:
    running = await asyncio.to_thread(lambda: daemon(CAMERA).until_ready())
    async with watch(running.url, **DESKTOP) as watched, aiohttp.ClientSession() as client:
        await watched.plays_on(1)
        width, height, across, down = await watched.page.evaluate(SIZES, LARGE)
        assert (width, height) == (640, 360)
        assert across > 800, "the page has not enlarged it"
        assert down > 400
        assert_is_inferno(await watched.pixels())
        assert "1280" in await watched.text("source"), "the size of the source is shown"
        await watched.page.screenshot(path=artefacts / "half-size.png")

        viewers = [Viewer(client, f"{running.url}whep/{NAME}{query}") for query in ("", "?height=720")]
        try:
            for viewer in viewers:
                await viewer.join()
            await asyncio.gather(*(viewer.sees(5) for viewer in viewers))
            assert [viewer.size for viewer in viewers] == [(640, 360), (1280, 720)]
            assert await encodes_per_frame(running) == pytest.approx(2, abs=0.3)
        finally:
            for viewer in viewers:
                await viewer.close()
        async with client.post(f"{running.url}whep/{NAME}?height=large") as refused:
            assert refused.status in (415, 422)
