"""The page in three dimensions, and for the ears: WebGL in Chromium on a scene whose depth is known."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.e2e.conftest import StartDaemon
from tests.e2e.pictures import Rgb
from tests.e2e.processes import Daemon
from tests.e2e.test_browser import DESKTOP, SWITCHES, Watched, eventually, watch
from tests.e2e.test_page_grid import PHONE, read_png
from tests.support.settings import write_settings
from tests.support.small_networks import write_ir, write_manifest
from tests.support.waiting import until, until_async

SOFTWARE_GL = [switch for switch in SWITCHES if switch != "--disable-gpu"]
SOFTWARE_GL += ["--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
WALL, BOX = 0x40, 0xD0
SCENE = f"color=c=0x{WALL * 0x10101:x}:size=320x180:rate=10"
SCENE += f",drawbox=x={{x}}:y={{y}}:w=60:h=60:color=0x{BOX * 0x10101:x}:t=fill"
MARK = ",drawbox=x=130:y=140:w=60:h=20:color=0x2030a0:t=fill"
"""As bright as the wall, by the network's shares: something of the wall that is found again."""
STREAMS: dict[str, dict[str, Any]] = {
    "box": {"source": "lavfi:" + SCENE.format(x=130, y=60) + MARK, "range": [1.0, 0.0], "horizontal_fov_degrees": 70},
    "kerb": {"source": "lavfi:" + SCENE.format(x=10, y=120), "range": [1.0, 0.0]},
}
DESK = DESKTOP | {"viewport": {"width": 800, "height": 500}}
"""The processor draws in the place of a graphics card."""
STILL: dict[str, Any] = {"reduced_motion": "reduce"}
PIVOT = 3.0
TURN = 0.3
"""Radians about the pivot."""
LISTEN = """async ([column]) => {
  const { SAMPLED, cellsOf, nearnessByBrightness, voicesOf } = await import('/static/hearing.js');
  const { Sounder } = await import('/static/sounder.js');
  const canvas = Object.assign(document.createElement('canvas'), SAMPLED);
  const context = canvas.getContext('2d');
  context.fillStyle = '#333';
  context.fillRect(0, 0, SAMPLED.width, SAMPLED.height);
  context.fillStyle = '#eee';
  context.fillRect(column * SAMPLED.width / 7, 0, SAMPLED.width / 7, SAMPLED.height);
  const { data } = context.getImageData(0, 0, SAMPLED.width, SAMPLED.height);
  const voices = voicesOf(cellsOf(data, nearnessByBrightness('gray')), 0.5);
  const audio = new OfflineAudioContext(2, 24000, 48000);
  const sounder = new Sounder(audio, voices);
  sounder.setVolume(1);
  sounder.play(voices);
  const heard = await audio.startRendering();
  const bytes = [0, 1].map((i) => new Uint8Array(heard.getChannelData(i).buffer));
  return bytes.map((each) => btoa(each.reduce((text, byte) => text + String.fromCharCode(byte), '')));
}"""


@pytest.fixture(scope="module")
def site(module_daemon: StartDaemon, tmp_path_factory: pytest.TempPathFactory) -> Daemon:
    """A near box before a far wall, and a kerb: inverse depth is brightness."""
    folder = tmp_path_factory.mktemp("space")
    network = write_ir(folder / "brightness.xml", (1, 3, 256, 256))
    manifest = write_manifest(network, "256", mean="[0.0, 0.0, 0.0]", std="[1.0, 1.0, 1.0]")
    config = write_settings(folder / "streamd.toml", STREAMS, model={"name": str(manifest)})
    running = module_daemon("--config", config, model="")
    until("both streams run", lambda: running.state("box") == running.state("kerb") == "running")
    return running


class Seen:
    """What the canvas of the dialog shows."""

    def __init__(self, watched: Watched) -> None:
        self.watched = watched
        self.page = watched.page
        self.canvas = watched.page.get_by_test_id("space-scene")

    async def picture(self) -> Rgb:
        return read_png(await self.canvas.screenshot(type="png"))

    async def places(self) -> tuple[float, float]:
        """Where the box and the mark on the wall are, px from the left; -1 where there is none."""
        picture = await self.picture()
        return middle(is_box(picture)), middle((picture[..., 2] > 120) & (picture[..., 0] < WALL + 10))

    async def rests(self) -> tuple[float, float]:
        """Where they are as soon as nothing moves."""
        before = (-1.0, -1.0)

        async def still() -> bool:
            nonlocal before
            now = await self.places()
            same = min(now) > 0 and now == pytest.approx(before, abs=0.5)
            before = now
            return same

        await until_async("the scene stands still", still)
        return before

    async def opens(self) -> tuple[float, float]:
        await self.canvas.wait_for()
        await until_async("the scene is there", self.is_there)
        return await self.rests()

    async def is_there(self) -> bool:
        return min(await self.places()) > 0


def is_box(picture: Rgb) -> np.ndarray[Any, Any]:
    """Which pixels: white, where the mark is blue, and the ring of the focus orange."""
    return np.asarray(picture.min(axis=2) > (WALL + BOX) // 2)


def middle(found: np.ndarray[Any, Any]) -> float:
    return float(np.nonzero(found)[1].mean()) if np.count_nonzero(found) > 30 else -1.0


async def drag(seen: Seen, by_px: float) -> None:
    box = await seen.canvas.bounding_box()
    assert box
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    mouse = seen.page.mouse
    await mouse.move(x, y)
    await mouse.down()
    await mouse.move(x + by_px, y, steps=4)
    await mouse.up()


async def swipe(seen: Seen, by_px: float) -> None:
    box = await seen.canvas.bounding_box()
    assert box
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    hand = await seen.page.context.new_cdp_session(seen.page)
    for kind, moved in (("touchStart", 0.0), *(("touchMove", by_px * share / 4) for share in range(1, 5))):
        touch = {"type": kind, "touchPoints": [{"x": x + moved, "y": y}]}
        await hand.send("Input.dispatchTouchEvent", touch)
    await hand.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


Hand = Callable[[Seen, float], Coroutine[Any, Any, None]]


@pytest.mark.parametrize(("screen", "hand"), [(DESK, drag), (PHONE, swipe)], ids=["desktop", "phone"])
async def test_parallax(site: Daemon, artefacts: Path, screen: dict[str, Any], hand: Hand) -> None:
    name = "phone" if hand is swipe else "desktop"
    async with watch(site.url + "#stream=box", switches=SOFTWARE_GL, **STILL, **screen) as watched:
        page, asked = watched.page, list[str]()
        page.on("request", lambda request: asked.append(request.url))
        await until_async("it plays", watched.time)
        await page.get_by_test_id("in-space").click()
        seen = Seen(watched)
        box, mark = await seen.opens()
        assert watched.sessions == ["/whep/box?view=depth", "/whep/box?view=rgbd"]
        assert any("three.module" in url for url in asked)
        height, width = (await seen.picture()).shape[:2]
        assert box == pytest.approx(width / 2, abs=3), "the camera's own view is the picture"
        assert mark == pytest.approx(width / 2, abs=3)
        await page.screenshot(path=artefacts / f"space-{name}-front.png")
        expected = expected_shifts(width, height)

        for _ in range(5):
            await page.keyboard.press("ArrowLeft")
        await assert_moved(seen, (box, mark), expected)
        await page.screenshot(path=artefacts / f"space-{name}-keys.png")
        await hand(seen, -2 * TURN / (2 * math.pi) * height)  # OrbitControls: the height is a full turn
        await assert_moved(seen, (box, mark), (-expected[0], -expected[1]))
        await page.get_by_test_id("space-reset").click()
        assert await seen.rests() == pytest.approx((box, mark), abs=2)
        for tool in ("close", "shape", "stereo", "size", "clip", "wiggle", "reset"):
            place = await page.get_by_test_id(f"space-{tool}").bounding_box()
            assert place, tool
            assert 0 <= place["x"] <= place["x"] + place["width"] <= screen["viewport"]["width"], tool
            assert place["y"] + place["height"] <= screen["viewport"]["height"], tool


def expected_shifts(width: int, height: int) -> tuple[float, float]:
    """Of the box and of the wall, px, when the camera has turned to the left."""
    side = math.tan(math.radians(STREAMS["box"]["horizontal_fov_degrees"]) / 2)
    focal_px = height / 2 / max(side * 9 / 16, side * height / width)

    def shift(gray: int) -> float:
        before_pivot = PIVOT - 1 / (0.1 + 0.9 * gray / 255)
        return focal_px * before_pivot * math.sin(TURN) / (PIVOT - before_pivot * math.cos(TURN))

    return shift(BOX), shift(WALL)


async def assert_moved(seen: Seen, before: tuple[float, float], expected: tuple[float, float]) -> None:
    now = await seen.rests()
    box, wall = now[0] - before[0], now[1] - before[1]
    assert abs(box) > 5 * abs(wall), "the box is not before the wall"
    assert (box, wall) == pytest.approx(expected, rel=0.05, abs=6)


async def test_what_can_be_chosen(site: Daemon, artefacts: Path) -> None:
    async with watch(site.url + "#stream=box", switches=SOFTWARE_GL, **DESK) as watched:
        page = watched.page
        await until_async("it plays", watched.time)
        await page.keyboard.press("d")
        seen = Seen(watched)
        await seen.canvas.wait_for()
        await until_async("the scene is there", seen.is_there)
        assert await page.get_by_test_id("space-wiggle").is_checked()
        swung = {await seen.places() for _ in range(6)}
        assert np.ptp([box for box, _ in swung]) > 4 * np.ptp([mark for _, mark in swung]), "it does not swing"
        await page.keyboard.press("r")
        await seen.rests()
        surface = await seen.picture()
        assert not await page.get_by_test_id("space-wiggle").is_checked()

        await page.keyboard.press("m")
        assert await page.get_by_test_id("space-shape").input_value() == "points"
        await page.get_by_test_id("space-size").fill("0.4")
        await until_async("there is room between points", lambda: differs(seen, surface))
        await page.screenshot(path=artefacts / "space-points.png")
        await page.keyboard.press("m")
        await page.get_by_test_id("space-clip").fill("0.5")
        await until_async("the wall is hidden", lambda: shows(seen, lambda picture: picture[10, 10].max() < 20))
        assert (await seen.places())[0] > 0, "the box is hidden, too"
        await page.get_by_test_id("space-clip").fill("0")

        await page.get_by_test_id("space-stereo").select_option("anaglyph")
        await until_async("the eyes see different boxes", lambda: shows(seen, is_anaglyph))
        await page.screenshot(path=artefacts / "space-anaglyph.png")
        await seen.canvas.focus()
        await page.keyboard.press("s")
        await until_async("there are two boxes", lambda: shows(seen, has_two_boxes))
        await page.screenshot(path=artefacts / "space-side-by-side.png")


async def shows(seen: Seen, what: Callable[[Rgb], Any]) -> bool:
    return bool(what(await seen.picture()))


async def differs(seen: Seen, before: Rgb) -> bool:
    return bool(np.mean(np.abs((await seen.picture()).astype(np.int64) - before)) > 5)


def is_anaglyph(picture: Rgb) -> bool:
    """Red at one edge of the box, cyan at the other."""
    red, green, _ = np.moveaxis(picture.astype(np.int64), 2, 0)
    return bool(min(np.count_nonzero(red - green > 60), np.count_nonzero(green - red > 60)) > 100)


def has_two_boxes(picture: Rgb) -> bool:
    row = is_box(picture)[picture.shape[0] // 2]
    return int(np.count_nonzero(np.diff(row.astype(int)) == 1)) == 2


async def test_it_leaves_nothing_behind(site: Daemon) -> None:
    async with watch(site.url + "#layout=grid", switches=SOFTWARE_GL, **STILL, **DESK) as watched:
        page, seen = watched.page, Seen(watched)
        assert not await page.evaluate(
            "performance.getEntriesByType('resource').some(({name}) => /three|space/.test(name))"
        )
        await until_async("it plays", lambda: watched.time("[data-testid='tile-box'] video"))
        for _ in range(2):
            await page.locator("[data-testid='tile-box'] .in-space").click()
            await seen.opens()
            await eventually("its session is there", lambda: site.stream("box")["viewers"] == 2)
            canvas = await seen.canvas.element_handle()
            await page.keyboard.press("Escape")
            await eventually("its session has ended", lambda: site.stream("box")["viewers"] == 1)
            assert await page.evaluate("(canvas) => canvas.getContext('webgl2').isContextLost()", canvas)

        await page.locator("[data-testid='tile-box'] .in-space").click()
        await seen.opens()
        await page.evaluate(HIDE, True)
        await eventually("it sleeps behind another tab", lambda: site.stream("box")["viewers"] == 1)
        await page.evaluate(HIDE, False)
        await eventually("it wakes", lambda: site.stream("box")["viewers"] == 2)
        await seen.rests()


HIDE = """(hidden) => {
  Object.defineProperty(document, 'hidden', { configurable: true, value: hidden });
  document.dispatchEvent(new Event('visibilitychange'));
}"""


async def test_without_webgl(site: Daemon) -> None:
    none = "HTMLCanvasElement.prototype.getContext = ((get) => function (kind, ...more) {"
    none += (
        " return /webgl/.test(kind) ? null : get.call(this, kind, ...more); })(HTMLCanvasElement.prototype.getContext);"
    )
    async with watch(site.url + "#stream=box", init=none) as watched:
        page = watched.page
        await until_async("it plays", watched.time)
        await page.keyboard.press("d")
        assert "WebGL 2" in await page.get_by_test_id("space").inner_text()
        assert await page.get_by_test_id("space-reset").is_disabled()
        assert watched.sessions == ["/whep/box?view=depth"]
        await page.keyboard.press("Escape")
        await page.get_by_test_id("space").wait_for(state="hidden")


async def test_without_webrtc(site: Daemon) -> None:
    """Scene and sound come from Motion JPEG."""
    none = "delete window.RTCPeerConnection;"
    async with watch(site.url + "#stream=kerb", init=none, switches=SOFTWARE_GL, **STILL, **DESK) as watched:
        page, seen = watched.page, Seen(watched)
        await page.keyboard.press("h")
        await watched.shows("heard", "ear on the left, low; clear ahead and on the right.")
        await page.keyboard.press("d")
        await until_async("the box is there", lambda: shows(seen, lambda picture: is_box(picture).sum() > 1000))
        assert watched.sessions == []
        # A player that had no picture yet when its stream ran asks again.
        watched.page_errors = [one for one in watched.page_errors if "ERR_ABORTED" not in one]


async def test_near_on_the_left_is_louder_on_the_left(site: Daemon) -> None:
    async with watch(site.url + "#stream=kerb") as watched:
        for column, louder in ((0, 0), (6, 1)):
            channels = await watched.page.evaluate(LISTEN, [column])
            left, right = (np.frombuffer(base64.b64decode(each), np.float32) for each in channels)
            loudness = [float(np.sqrt(np.mean(each**2))) for each in (left, right)]
            assert loudness[louder] > 0.02
            assert loudness[louder] > 10 * loudness[1 - louder]
            assert max(np.abs(np.diff(each)).max() for each in (left, right)) < 0.05, "it clicks"


async def test_what_is_near_is_said(site: Daemon, artefacts: Path) -> None:
    async with watch(site.url + "#stream=kerb") as watched:
        page = watched.page
        await until_async("it plays", watched.time)
        assert not await page.get_by_test_id("listen").is_visible(), "it is on by itself"
        await page.keyboard.press("h")
        await watched.shows("heard", "ear on the left, low; clear ahead and on the right.")
        await page.screenshot(path=artefacts / "listen.png")
        await page.get_by_test_id("listen-level").fill("0.95")
        await watched.shows("heard", "Clear.")
        await page.get_by_test_id("view-source").click()
        await watched.shows("heard", "This view has no depth to sound")
        await page.get_by_test_id("view-rgbd").click()
        await page.get_by_test_id("listen-level").fill("0.4")
        await watched.shows("heard", "ear on the left, low")
        await page.get_by_test_id("listen-toggle").click()
        await page.get_by_test_id("listen").wait_for(state="hidden")
