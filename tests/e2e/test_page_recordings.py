"""Recordings in the page: found on the line of time, played across files, cut and deleted; by mouse and by keyboard."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import av
import pytest

from tests.e2e.conftest import StartDaemon
from tests.e2e.processes import Daemon
from tests.e2e.test_browser import DESKTOP, Watched, watch
from tests.support.clips import number_in
from tests.support.segments import FPS, packets, segment
from tests.support.settings import write_settings
from tests.support.waiting import until_async

SIZE = (320, 180)
PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "color_scheme": "light"}
DAY = datetime(2026, 11, 25, 12, tzinfo=UTC)
"""Noon: the same day wherever the browser thinks that it is."""
STILL_S, STILL_STEP = 12, 24
"""Of a scene that stands still: a picture each 0.96 s, a keyframe each ten."""
SOUGHT = """async ([source, times]) => {
  const video = document.createElement("video");
  video.muted = true;
  video.src = source;
  const next = (kind) => new Promise((done, fail) => {
    video.addEventListener(kind, done, { once: true });
    video.addEventListener("error", () => fail(video.error.message), { once: true });
  });
  await next("loadeddata");
  const pen = new OffscreenCanvas(video.videoWidth, video.videoHeight).getContext("2d", { willReadFrequently: true });
  const found = [];
  for (const time of times) {
    // When "seeked" comes, what is drawn may still be the picture of before: the new one has a callback of its own.
    const shown = new Promise((done) => video.requestVideoFrameCallback(done));
    video.currentTime = time;
    await next("seeked");
    await Promise.race([shown, new Promise((done) => setTimeout(done, 1000))]);
    pen.drawImage(video, 0, 0);
    const bit = (n) => pen.getImageData(8 + 16 * (n % 8), 8 + 16 * Math.floor(n / 8), 1, 1).data[1] > 128;
    found.push([...Array(16).keys()].reduce((sum, n) => sum + (bit(n) << n), 0));
  }
  return [video.duration, found];
}"""
"""What Chromium takes for the length of a file, and the numbers burnt into what it shows at these times."""
VIDEO = "#reels figure:nth-of-type({}) video:not([hidden])"


@pytest.fixture
async def running(daemon: StartDaemon, tmp_path: Path) -> Daemon:
    return await asyncio.to_thread(lambda: daemon("--config", recorded(tmp_path)).until_ready())


def recorded(tmp_path: Path) -> Path:
    """The configuration of a daemon that has a few recordings."""
    folder = tmp_path / "recordings"
    for view in ("depth", "source"):
        for number in range(3):
            segment(
                folder,
                3 * number,
                packets(75, 75 * number, key_every=25, size=SIZE),
                view=view,
                stream="lobby",
                begin=DAY,
            )
        segment(folder, 1800, packets(50, size=SIZE), view=view, stream="lobby", begin=DAY)
    segment(folder, -86400, packets(50, size=SIZE), stream="lobby", begin=DAY)
    segment(folder, 60, packets(50, size=SIZE), stream="yard", begin=DAY, cut_short=True)
    for second, cut_short in ((0, False), (60, True)):
        still = packets(STILL_S * FPS, size=SIZE, step=STILL_STEP, key_every=10 * STILL_STEP)
        segment(folder, second, still, stream="porch", begin=DAY, cut_short=cut_short, ends_s=STILL_S)
    lobby = {"source": "lavfi:testsrc2=size=320x180:rate=10", "record": []}
    return write_settings(tmp_path / "streamd.toml", {"lobby": lobby}, recording={"directory": str(folder)})


async def playhead(watched: Watched) -> float:
    """Seconds after DAY."""
    text = await watched.page.get_by_test_id("playhead").get_attribute("data-ms")
    return float(text or 0) / 1000 - DAY.timestamp()


async def open_dialog(watched: Watched) -> None:
    page = watched.page
    await until_async("it plays", watched.time)
    await page.keyboard.press("l")
    await watched.shows("recordings-dialog", "lobby, depth")

    async def found() -> bool:
        return abs(await playhead(watched)) < 1 and await page.locator(VIDEO.format(2)).count() == 1

    await until_async("the newest day is found, and its first picture", found)


async def test_found_played_cut_and_deleted(running: Daemon, tmp_path: Path, artefacts: Path) -> None:
    async with watch(running.url, **DESKTOP) as watched:
        page = watched.page
        await open_dialog(watched)
        assert await page.get_by_test_id("day").input_value() == "2026-11-25"
        for _ in range(14):
            await page.get_by_test_id("playhead").press("+")
        await page.screenshot(path=artefacts / "recorded.png")

        await page.get_by_test_id("recorded-play").click()

        async def in_the_second() -> bool:
            return 4 < await playhead(watched) < 9

        await until_async("it goes on in the second file", in_the_second)
        both = [
            await page.locator(VIDEO.format(n)).evaluate("(video) => [video.src, video.currentTime]") for n in (1, 2)
        ]
        assert [source.rpartition("/")[2][14:23] for source, _ in both] == ["00-03.000"] * 2 or both
        assert abs(both[0][1] - both[1][1]) < 0.4, "the views are in step"
        await page.get_by_test_id("recorded-play").click()

        await seek(watched, 1)
        await page.keyboard.press("[")
        await seek(watched, 7)
        await page.keyboard.press("]")
        await watched.shows("recorded-note", "6 s")
        await page.screenshot(path=artefacts / "recorded-clip.png")
        async with page.expect_download() as download:
            await page.get_by_test_id("recorded-source").click()
            await page.get_by_test_id("clip-save").click()
        saved = tmp_path / "clip.mp4"
        await (await download.value).save_as(saved)
        assert numbers(saved) == list(range(25, 175))

        await page.get_by_test_id("clip-delete").click()
        await page.keyboard.press("Enter")  # the focus is on what does no harm
        assert len(await files(running)) == 12
        await page.get_by_test_id("clip-delete").click()
        await page.get_by_role("button", name="Delete", exact=True).click()
        await watched.shows("recorded-note", "2 deleted; 4 reach beyond")
        assert len(await files(running)) == 10
        assert not any("12-00-03.000" in path for path in await files(running))
        await page.screenshot(path=artefacts / "recorded-deleted.png")


async def test_every_second_of_a_still_scene_can_be_sought(running: Daemon) -> None:
    """Forwards, backwards, and in a file that kill -9 has left."""
    async with watch(running.url, **DESKTOP) as watched:
        for path in await files(running):
            if "porch/" not in path:
                continue
            is_whole = "12-00-00" in path
            last_s = STILL_S if is_whole else (STILL_S * FPS - 1) // STILL_STEP * STILL_STEP / FPS
            times = [second + 0.5 for second in range(int(last_s))]
            sought = [*times, *times[::-2]]
            length_s, found = await watched.page.evaluate(SOUGHT, [f"/recordings/{path}", sought])
            assert found == [int(time_s * FPS) // STILL_STEP * STILL_STEP for time_s in sought], path
            assert length_s == pytest.approx(last_s, abs=0.1) or not is_whole


async def test_by_keyboard_and_on_a_phone(running: Daemon, artefacts: Path) -> None:
    async with watch(running.url, **PHONE) as watched:
        page = watched.page
        await open_dialog(watched)
        await page.screenshot(path=artefacts / "recorded-phone.png")
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        await page.get_by_test_id("playhead").focus()
        await page.keyboard.press("Space")
        await until_async("it plays", lambda: page.locator("#recorded-play.playing").count())
        await page.keyboard.press("Space")
        await page.get_by_test_id("day-before").press("Enter")
        await until_async("the day before", lambda: shows_day(watched, "2026-11-24"))
        await page.get_by_test_id("day-after").press("Enter")
        await until_async("and back", lambda: shows_day(watched, "2026-11-25"))
        await page.get_by_test_id("recorded-stream").select_option("yard")
        await until_async("its first picture", lambda: near(watched, 60))
        box = await page.get_by_test_id("timeline").bounding_box()
        assert box is not None
        await page.touchscreen.tap(box["x"] + 3, box["y"] + box["height"] / 2)
        await until_async("a tap seeks", lambda: at_start(watched))
        await page.screenshot(path=artefacts / "recorded-yard.png")


async def seek(watched: Watched, second: float) -> None:
    """By a tap on the line."""
    page = watched.page
    box = await page.get_by_test_id("timeline").bounding_box()
    assert box is not None
    from_ms, to_ms = [
        float(await page.get_by_test_id("timeline").get_attribute(f"data-{end}") or 0) for end in ("from", "to")
    ]
    share = ((DAY.timestamp() + second) * 1000 - from_ms) / (to_ms - from_ms)
    await page.mouse.click(box["x"] + share * box["width"], box["y"] + box["height"] / 2)
    await until_async("it is there", lambda: near(watched, second))
    await page.get_by_test_id("playhead").focus()


async def near(watched: Watched, second: float) -> bool:
    return abs(await playhead(watched) - second) < 0.5


async def at_start(watched: Watched) -> bool:
    return await playhead(watched) < -3600


async def shows_day(watched: Watched, day: str) -> bool:
    return await watched.page.get_by_test_id("day").input_value() == day


async def files(running: Daemon) -> list[str]:
    reply = await asyncio.to_thread(running.request, "GET", "/api/v1/recordings")
    return [each["path"] for each in reply.json["recordings"]]


def numbers(path: Path) -> list[int]:
    with av.open(path) as container:
        return [number_in(frame) for frame in container.decode(video=0)]
