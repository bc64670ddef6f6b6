"""The page with many streams: all and one, views, palettes, keys, a phone."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.e2e.conftest import StartDaemon
from tests.e2e.pictures import INFERNO, Rgb
from tests.e2e.processes import Daemon
from tests.e2e.test_browser import DESKTOP, LARGE, Watched, assert_is_inferno, eventually, tile, watch
from tests.support.settings import write_settings
from tests.support.waiting import until, until_async

VIRIDIS: Rgb = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], cv2.COLORMAP_VIRIDIS)[:, 0, ::-1]
PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
FIT = "document.documentElement.scrollWidth <= innerWidth"
STREAMS: dict[str, dict[str, Any]] = {
    "lobby": {"source": "lavfi:testsrc2=size=320x180:rate=10"},
    "yard": {"source": "lavfi:mandelbrot=size=320x180:rate=10"},
    "gate": {"source": "rtsp://127.0.0.1:9/nobody-listens"},
    "attic": {"source": "lavfi:testsrc=size=320x180:rate=10", "mode": "on_demand", "linger_s": 0},
}


@pytest.fixture(scope="module")
def site(module_daemon: StartDaemon, tmp_path_factory: pytest.TempPathFactory) -> Daemon:
    """Two streams that run, one whose camera is away, one that sleeps."""
    config = write_settings(tmp_path_factory.mktemp("grid") / "streamd.toml", STREAMS)
    running = module_daemon("--config", config)
    until("two streams run", lambda: running.state("lobby") == running.state("yard") == "running")
    return running


async def test_all_streams_and_one_large(site: Daemon, artefacts: Path) -> None:
    async with watch(site.url) as watched:
        page = watched.page
        for name in ("lobby", "yard", "gate"):  # the last one shows NO SIGNAL
            await until_async(f"{name} plays", partial(watched.time, tile(name)))
        assert page.url.endswith("#layout=grid")
        await watched.shows("state", "2 running, 1 reconnecting, 1 idle")
        assert "Idle: click to watch" in await page.locator(tile("attic", ".notice")).inner_text()
        assert await asyncio.to_thread(site.state, "attic") == "idle", "the grid has woken it"
        assert sorted(watched.sessions) == [f"/whep/{name}?view=depth" for name in ("gate", "lobby", "yard")]
        await page.screenshot(path=artefacts / "grid.png")

        # Another view of one: the others go on in their sessions.
        await page.locator(tile("yard", "select")).select_option("source")
        await until_async("it is the source's picture", lambda: is_colourful(watched, tile("yard")))
        assert watched.sessions[3:] == ["/whep/yard?view=source"]
        assert page.url.endswith("#layout=grid&view.yard=source")
        for name in ("lobby", "gate"):
            assert (await asyncio.to_thread(site.stream, name))["viewers"] == 1
        await eventually("its first session has ended", lambda: site.stream("yard")["viewers"] == 1)

        # One large and back, in the same session.
        await page.locator(tile("lobby", ".open")).click()
        await watched.plays_on(0.3)
        assert page.url.endswith("#stream=lobby&view=depth")
        assert await page.locator(".tile:visible").count() == 1
        await page.keyboard.press("Escape")
        await watched.plays_on(0.3, tile("lobby"))
        assert await page.evaluate("document.activeElement.closest('.tile').dataset.name") == "lobby"
        assert len(watched.sessions) == 4, "somebody was connected again"

        # The one that sleeps wakes for who watches it, and sleeps again.
        await page.locator(tile("attic", ".open")).click()
        await until_async("it plays", watched.time)
        await watched.shows("state", "running")
        await page.keyboard.press("g")
        await until_async("the grid is back", lambda: page.locator(tile("lobby", ".open")).is_visible())
        await eventually("it sleeps again", lambda: site.state("attic") == "idle")


async def test_keys(site: Daemon) -> None:
    async with watch(site.url + "#layout=grid") as watched:
        page = watched.page
        await until_async("lobby plays", lambda: watched.time(tile("lobby")))
        await page.keyboard.press("ArrowRight")
        await page.keyboard.press("ArrowRight")
        await page.keyboard.press("Enter")
        await page.wait_for_url("**/#stream=yard&view=depth")
        await until_async("yard plays", watched.time)
        await page.keyboard.press("ArrowLeft")
        await page.wait_for_url("**/#stream=lobby&view=depth")
        await page.keyboard.press("v")
        await page.wait_for_url("**/#stream=lobby&view=overlay")
        await page.locator("[data-testid=view-overlay][aria-pressed=true]").wait_for()
        await page.keyboard.press("V")
        await page.keyboard.press("2")
        await page.wait_for_url("**/#stream=yard&view=depth")
        await page.go_back()
        await page.wait_for_url("**/#stream=lobby&view=depth")

        await page.keyboard.press("?")
        assert "start or stop recording" in await page.get_by_role("dialog").inner_text()
        await page.keyboard.press("Escape")
        await page.get_by_role("dialog").wait_for(state="hidden")
        assert "stream=lobby" in page.url, "that key was the dialog's"

        await page.keyboard.press("f")
        await page.wait_for_function("document.fullscreenElement?.id === 'stage'")
        await page.keyboard.press("f")
        await page.wait_for_function("!document.fullscreenElement")

        async with page.expect_download() as saving:
            await page.keyboard.press("s")
        saved = await saving.value
        assert saved.suggested_filename.startswith("lobby-depth-")
        assert_is_inferno(read_png((await saved.path()).read_bytes()))


async def test_palettes(site: Daemon, artefacts: Path) -> None:
    async with watch(site.url + "#stream=yard") as watched:
        page = watched.page
        await until_async("it plays", watched.time)
        await page.get_by_test_id("palette").select_option("viridis")
        await until_async("it asks for gray", lambda: is_gray(watched))
        assert watched.sessions == ["/whep/yard?view=depth", "/whep/yard?view=gray"]
        await page.screenshot(path=artefacts / "viridis.png")
        shown = await page.locator(LARGE).screenshot(type="png")
        seen = read_png(shown)
        assert await share_off(seen[::31, ::31], VIRIDIS) < 0.1, "that is not Viridis"
        async with page.expect_download() as saving:
            await page.keyboard.press("s")
        saved = read_png((await (await saving.value).path()).read_bytes())
        assert await share_off(saved[::9, ::9], VIRIDIS) < 0.02

        await page.keyboard.press("p")
        assert await page.get_by_test_id("palette").input_value() == "cividis"
        assert len(watched.sessions) == 2, "it is only another filter"
        await page.reload()
        await until_async("it plays again", watched.time)
        assert await page.get_by_test_id("palette").input_value() == "cividis", "it was forgotten"
        await page.get_by_test_id("palette").select_option("inferno")
        await until_async("it is Inferno again", lambda: is_inferno(watched))


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_on_a_phone(site: Daemon, artefacts: Path, scheme: str) -> None:
    async with watch(site.url + "#layout=grid", **PHONE, color_scheme=scheme) as watched:
        page = watched.page
        await until_async("lobby plays", lambda: watched.time(tile("lobby")))
        assert await page.evaluate(FIT), "the grid is wider than the phone"
        await page.screenshot(path=artefacts / f"phone-grid-{scheme}.png")
        await page.locator(tile("lobby", ".open")).tap()
        await watched.plays_on(0.3)
        assert await page.evaluate(FIT), "the large one is wider than the phone"
        await until_async("it tells the frame rate", lambda: watched.number("fps"))
        await page.screenshot(path=artefacts / f"phone-one-{scheme}.png")
        for name in ("view-rgbd", "palette", "record", "snapshot", "full-screen", "help", "recordings", "back"):
            control = page.get_by_test_id(name)
            await control.scroll_into_view_if_needed()
            box = await control.bounding_box()
            assert box, name
            assert box["x"] >= 0, name
            assert box["x"] + box["width"] <= 390, name
            assert min(box["width"], box["height"]) >= 40, f"{name} is too small for a finger"
        await page.get_by_test_id("view-rgbd").tap()
        await page.wait_for_url("**view=rgbd")
        await page.get_by_test_id("back").tap()
        await page.wait_for_url("**/#layout=grid**")


async def test_light_and_wide(site: Daemon, artefacts: Path) -> None:
    wide = DESKTOP | {"viewport": {"width": 1920, "height": 1080}, "color_scheme": "light"}
    async with watch(site.url, **wide) as watched:
        for name in ("lobby", "yard"):
            await until_async(f"{name} plays", partial(watched.time, tile(name)))
        await watched.page.screenshot(path=artefacts / "grid-light-wide.png")


def read_png(data: bytes) -> Rgb:
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    return picture[..., ::-1]


async def share_off(picture: Rgb, palette: Rgb) -> float:
    """How many pixels are no colour of the palette. In a thread: the browser's pipe must not wait."""
    pixels, colours = picture.reshape(-1, 1, 3).astype(np.int16), palette[None].astype(np.int16)
    off = await asyncio.to_thread(lambda: np.abs(pixels - colours).max(axis=2).min(axis=1))
    return float(np.mean(off > 24))


async def is_colourful(watched: Watched, where: str = LARGE) -> bool:
    return await watched.time(where) > 0 and await share_off(await watched.pixels(where), INFERNO) > 0.2


async def is_inferno(watched: Watched) -> bool:
    return await watched.time() > 0 and await share_off(await watched.pixels(), INFERNO) < 0.05


async def is_gray(watched: Watched) -> bool:
    if not await watched.time():
        return False
    picture = (await watched.pixels()).astype(np.int64)
    return bool(np.ptp(picture, axis=2).max() < 10 and picture.std() > 5)
