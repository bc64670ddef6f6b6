"""/photo in real Chromium, by mouse on a desktop and by keyboard on a phone; axe-core on it and on the main page."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import urllib.request
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from playwright.async_api import FilePayload, Page, Route

from streamd.media.frames import ByteImage
from tests.e2e.conftest import StartDaemon
from tests.e2e.processes import Daemon
from tests.e2e.test_browser import SWITCHES, Watched, watch
from tests.support.bombs import orientation, saved, with_exif
from tests.support.picture_files import heic
from tests.support.players import CLIENTS
from tests.support.waiting import until_async

pytestmark = pytest.mark.timeout(120)

PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "color_scheme": "light", "has_touch": True}
AXE = CLIENTS / "node_modules" / "axe-core" / "axe.min.js"
needs_axe = pytest.mark.skipif(not AXE.is_file(), reason="ACCESSIBILITY IS NOT TESTED: `make test` installs axe-core")
PIXEL = """([id, x, y]) => {
  const canvas = document.getElementById(id);
  const copy = Object.assign(document.createElement('canvas'), { width: canvas.width, height: canvas.height });
  const context = copy.getContext('2d');
  context.drawImage(canvas, 0, 0);
  return [...context.getImageData(Math.floor(x * canvas.width), Math.floor(y * canvas.height), 1, 1).data].slice(0, 3);
}"""


def scene(width: int = 480, height: int = 320) -> ByteImage:
    """Something that has a near and a far: a wide floor under a sky, and a ball on it."""
    y, x = np.mgrid[0:height, 0:width]
    rgb = np.dstack([60 + y // 3, 100 + y // 4, 220 - y // 2]).astype(np.uint8)
    rgb[y > height // 2] = (110, 90, 60)
    rgb[(x // 16 + y // 16) % 2 * (y > height // 2) == 1] //= 2
    rgb[np.hypot(x - width * 0.3, y - height * 0.6) < height * 0.25] = (220, 40, 40)
    return rgb


def payload(name: str, data: bytes, kind: str = "image/png") -> FilePayload:
    return {"name": name, "mimeType": kind, "buffer": data}


SCENE = saved(scene(), "PNG")
HEIC = heic(scene())
TURNED = with_exif(saved(scene(), "JPEG", quality=95), orientation(6))


@pytest.fixture(scope="module")
def daemon(module_daemon: StartDaemon) -> Daemon:
    return module_daemon("lavfi:color=size=64x48:rate=1").until_ready()


def asked(url: str, data: bytes, format: str) -> bytes:
    request = urllib.request.Request(f"{url}api/v1/depth?format={format}", data, {"Content-Type": "image/png"})
    with urllib.request.urlopen(request) as answer:
        return bytes(answer.read())


def depth_of(url: str, data: bytes) -> np.ndarray[Any, np.dtype[np.float32]]:
    with np.load(io.BytesIO(asked(url, data, "npz"))) as npz:
        return np.asarray(npz["inverse_depth"])


async def give(page: Page, *files: FilePayload) -> None:
    await page.set_input_files("#files", list(files))


async def done(page: Page) -> None:
    async def none_waits() -> bool:
        return (
            await page.locator("#strip li").count() > 0
            and not await page.locator("#strip li:is([data-state=waiting], [data-state=working])").count()
        )

    await until_async("all pictures are done", none_waits)


async def pixel(page: Page, canvas: str, x: float, y: float) -> list[int]:
    return list(await page.evaluate(PIXEL, [canvas, x, y]))


async def slide(page: Page, name: str, value: int) -> None:
    await page.get_by_test_id(name).fill(str(value))


async def settled(page: Page) -> None:
    """What was changed is drawn."""
    await page.evaluate("() => new Promise((next) => requestAnimationFrame(() => requestAnimationFrame(next)))")


def forgive_driver(watched: Watched) -> None:
    """A software renderer complains of its own speed."""
    watched.page_errors = [one for one in watched.page_errors if "GL Driver Message" not in one]


WEBGL = [*(one for one in SWITCHES if one != "--disable-gpu"), "--enable-unsafe-swiftshader"]
FAKE_CAMERA = [*SWITCHES, "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]


async def test_by_mouse(daemon: Daemon, artefacts: Path) -> None:
    posts: list[str] = []
    async with watch(f"{daemon.url}photo", switches=WEBGL) as watched:
        page = watched.page
        page.on("request", lambda request: posts.append(request.url) if request.method == "POST" else None)
        await page.screenshot(path=artefacts / "photo-empty.png")
        await give(page, payload("scene.png", SCENE))
        await done(page)
        assert len(posts) == 1

        expected = depth_of(daemon.url, SCENE)
        box = await page.get_by_test_id("original").bounding_box()
        assert box
        x, y = 0.3, 0.6
        await page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
        value = float(expected[int(y * 320), int(x * 480)])
        share = 100 * (value - expected.min()) / np.ptp(expected)
        text = await watched.text("value")
        shown, percent = float(text.split()[2]), float(text.split("·")[1].split()[0])
        around = expected[int(y * 320) - 2 : int(y * 320) + 3, int(x * 480) - 2 : int(x * 480) + 3]
        assert around.min() - 1e-3 <= shown <= around.max() + 1e-3, (shown, value)
        assert percent == pytest.approx(share, abs=2)

        await page.mouse.down()
        await page.mouse.move(box["x"] + 0.75 * box["width"], box["y"] + y * box["height"])
        await page.mouse.up()
        assert await page.get_by_test_id("wipe").input_value() == "75"
        await page.screenshot(path=artefacts / "photo-wipe.png")

        nearest = np.unravel_index(int(expected.argmax()), expected.shape)
        at = ((nearest[1] + 0.5) / 480, (nearest[0] + 0.5) / 320)
        assert await pixel(page, "depth", *at) == [252, 255, 164], "Inferno's brightest is nearest"
        await page.get_by_test_id("palette").select_option("viridis")
        await settled(page)
        assert await pixel(page, "depth", *at) == [253, 231, 37]
        await page.get_by_test_id("palette").select_option("gray")
        await slide(page, "near", 50)
        await settled(page)
        half = expected >= expected.min() + 0.5 * np.ptp(expected)
        middle = np.unravel_index(int(np.where(half, expected, np.inf).argmin()), expected.shape)
        assert (await pixel(page, "depth", (middle[1] + 0.5) / 480, (middle[0] + 0.5) / 320))[0] >= 254
        await slide(page, "near", 100)
        await settled(page)
        linear = (await pixel(page, "depth", 0.5, 0.5))[0]
        await page.get_by_test_id("curve").select_option("log")
        await settled(page)
        assert (await pixel(page, "depth", 0.5, 0.5))[0] > linear
        await page.get_by_test_id("curve").select_option("linear")

        await mode(page, "Overlay")
        await slide(page, "alpha", 25)
        assert await page.evaluate("getComputedStyle(document.getElementById('depth')).opacity") == "0.25"
        await mode(page, "Side by side")
        assert await page.evaluate(
            "original.getBoundingClientRect().right <= document.getElementById('depth').getBoundingClientRect().left"
        )
        await page.screenshot(path=artefacts / "photo-side.png")

        await page.get_by_test_id("palette").select_option("inferno")
        await blurs(page, expected)
        await page.screenshot(path=artefacts / "photo-blur.png")
        await tilts(page, expected)
        await page.screenshot(path=artefacts / "photo-tilt.png")
        assert len(posts) == 1, "it was asked again for what it had"
        await saves(page, daemon.url, expected)
        forgive_driver(watched)


async def mode(page: Page, name: str) -> None:
    await page.get_by_role("button", name=name, exact=True).click()
    await settled(page)


NEAR, FAR = (140, 300), (430, 190)
"""On the floor before the ball, and behind it: places with a pattern, of different depth."""


def window(drawn: np.ndarray[Any, Any], place: tuple[int, int], half_px: int = 12) -> np.ndarray[Any, Any]:
    x, y = place
    return drawn[max(y - half_px, 0) : y + half_px, x - half_px : x + half_px]


async def effect(page: Page) -> np.ndarray[Any, np.dtype[np.float64]]:
    """(h, w): how bright what WebGL has drawn is."""
    data = await page.evaluate("document.getElementById('effect').toDataURL().split(',')[1]")
    return np.asarray(cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_GRAYSCALE), np.float64)


async def blurs(page: Page, expected: np.ndarray[Any, Any]) -> None:
    """What is clicked is sharp, what is elsewhere in depth is not."""
    await mode(page, "Blur")
    await slide(page, "aperture", 100)
    assert expected[NEAR[1], NEAR[0]] > expected[FAR[1], FAR[0]] + 0.3 * np.ptp(expected)
    box = await page.get_by_test_id("effect").bounding_box()
    assert box
    found = {}
    for focus, (x, y) in (("near", NEAR), ("far", FAR)):
        await page.mouse.click(box["x"] + x / 480 * box["width"], box["y"] + y / 320 * box["height"])
        await settled(page)
        drawn = await effect(page)
        for where, place in (("near", NEAR), ("far", FAR)):
            found[focus, where] = float(np.abs(np.diff(window(drawn, place), axis=1)).mean())
    assert found["near", "near"] > 1.5 * found["far", "near"]
    assert found["far", "far"] > 1.5 * found["near", "far"]


async def tilts(page: Page, expected: np.ndarray[Any, Any]) -> None:
    """The picture moves, what is near and what is far against each other."""
    await mode(page, "3-D")
    await slide(page, "strength", 100)
    await slide(page, "focus", 50)
    box = await page.get_by_test_id("effect").bounding_box()
    assert box
    seen = []
    for x in (0.02, 0.98):
        await page.mouse.move(box["x"] + x * box["width"], box["y"] + 0.5 * box["height"])
        await settled(page)
        seen.append(await effect(page))

    def shift_px(place: tuple[int, int]) -> float:
        left, right = (window(one, place, 24) for one in seen)
        hann = cv2.createHanningWindow((left.shape[1], left.shape[0]), cv2.CV_64F)
        return float(cv2.phaseCorrelate(left - left.mean(), right - right.mean(), hann)[0][0])

    assert abs(shift_px(NEAR) - shift_px(FAR)) > 2


async def saves(page: Page, url: str, expected: np.ndarray[Any, Any]) -> None:
    await mode(page, "Wipe")
    files = {}
    for format in ("jpg", "png", "png16", "npz", "ply"):
        async with page.expect_download() as download:
            await page.get_by_role("button", name=format, exact=True).click()
        file = await download.value
        files[format] = (file.suggested_filename, await asyncio.to_thread(Path(await file.path()).read_bytes))
    names = {format: name for format, (name, _) in files.items()}
    assert names == {
        "jpg": "scene-wipe.jpg",
        "png": "scene-wipe.png",
        "png16": "scene-depth.png",
        "npz": "scene-depth.npz",
        "ply": "scene-depth.ply",
    }
    for format in ("jpg", "png"):
        assert np.asarray(cv2.imdecode(np.frombuffer(files[format][1], np.uint8), 1)).shape == (320, 480, 3)
    codes = np.asarray(cv2.imdecode(np.frombuffer(files["png16"][1], np.uint8), cv2.IMREAD_UNCHANGED))
    with np.load(io.BytesIO(files["npz"][1])) as npz:
        depth = npz["inverse_depth"].astype(np.float64)
    assert np.array_equal(depth.astype(np.float32), expected)
    assert np.abs(depth.min() + codes / 65535 * np.ptp(depth) - depth).max() <= np.ptp(depth) / 65535
    assert files["ply"][1].startswith(b"ply\nformat binary_little_endian")


async def test_several_at_once_by_keyboard_on_a_phone(daemon: Daemon, artefacts: Path) -> None:
    """Of kinds that the browser reads and does not, turned by EXIF; and a file that is none."""
    async with watch(f"{daemon.url}photo", **PHONE) as watched:
        page = watched.page
        phone = [payload("turned.jpg", TURNED, "image/jpeg"), payload("of-a-phone.heic", HEIC, "image/heic")]
        await give(page, *phone, payload("notes.txt", b"hello", "text/plain"))
        await done(page)
        assert await watched.text("count") == "3 of 3 pictures, 1 failed"
        watched.expects("422: POST")
        sizes = await page.evaluate("[original.width, original.height, depth.width, depth.height]")
        assert sizes == [320, 480, 320, 480], "it is upright"
        assert await pixel(page, "original", 0.4, 0.3) == pytest.approx([220, 40, 40], abs=12)

        await tab_to(page, "stage")
        await page.keyboard.press("ArrowRight")
        await page.keyboard.press("Shift+ArrowDown")
        assert "% of the range" in await watched.text("value")
        assert await page.locator("#point").is_visible()
        await tab_to(page, "wipe")
        for _ in range(5):
            await page.keyboard.press("ArrowLeft")
        assert await page.get_by_test_id("wipe").input_value() == "45"
        await page.screenshot(path=artefacts / "photo-phone.png", full_page=True)

        lines = page.locator("#strip .show")
        await lines.nth(1).focus()
        await page.keyboard.press("Enter")
        await until_async("the HEIC is shown", lambda: page.evaluate("original.width === 480"))
        await settled(page)
        assert await pixel(page, "original", 0.3, 0.6) == pytest.approx([220, 40, 40], abs=12)
        await lines.nth(2).focus()
        await page.keyboard.press("Enter")
        await watched.shows("waiting", "notes.txt is not a picture that can be read: streamd reads JPEG")
        await page.get_by_role("button", name="Remove notes.txt").focus()
        await page.keyboard.press("Enter")
        assert await lines.count() == 2
        assert await page.evaluate("document.activeElement.className") == "show"
        assert not await page.evaluate("document.documentElement.scrollWidth > innerWidth"), (
            "it is wider than the phone"
        )
        forgive_driver(watched)


async def tab_to(page: Page, name: str) -> None:
    for _ in range(40):
        await page.keyboard.press("Tab")
        if await page.evaluate("document.activeElement.dataset.testid") == name:
            return
    raise AssertionError(f"no way by Tab to {name}")


async def drop(page: Page, name: str, bytes_code: str) -> None:
    await page.evaluate(
        f"""(name) => {{
          const files = new DataTransfer();
          files.items.add(new File([{bytes_code}], name, {{ type: 'image/png' }}));
          const options = {{ dataTransfer: files, bubbles: true, cancelable: true }};
          document.body.dispatchEvent(new DragEvent('drop', options));
        }}""",
        name,
    )


async def test_dropped_and_pasted(daemon: Daemon) -> None:
    async with watch(f"{daemon.url}photo") as watched:
        page = watched.page
        for number, event in enumerate(("drop", "paste"), 1):
            await page.evaluate(
                """([kind, data]) => {
                  const files = new DataTransfer();
                  files.items.add(new File([Uint8Array.from(data)], `${kind}.png`, { type: 'image/png' }));
                  document.body.dispatchEvent(kind === 'drop'
                    ? new DragEvent('drop', { dataTransfer: files, bubbles: true, cancelable: true })
                    : new ClipboardEvent('paste', { clipboardData: files, bubbles: true }));
                }""",
                [event, list(SCENE)],
            )
            assert await page.locator("#strip li").count() == number
        await done(page)
        assert await watched.text("count") == "2 of 2 pictures"


async def test_each_model_is_asked_once_for_a_picture(daemon: Daemon) -> None:
    """The second one is played: it takes long to start."""
    posts: list[str] = []

    async def two(route: Route) -> None:
        answer = await (await route.fetch()).json()
        [embedded] = [one for one in answer["models"] if one["name"] == "embedded"]
        other = {**embedded, "name": "midas_small", "title": "MiDaS small", "running": False, "wanted": False}
        await route.fulfill(json={**answer, "models": [other, embedded]})

    async def played(route: Route) -> None:
        posts.append(route.request.url)
        await route.continue_(url=route.request.url.replace("midas_small", "embedded"))

    async with watch(f"{daemon.url}healthz") as watched:
        page = watched.page
        await page.route("**/api/v1/models", two)
        await page.route("**/api/v1/depth*", played)
        await page.goto(f"{daemon.url}photo")
        await give(page, payload("scene.png", SCENE))
        await done(page)
        for model, count in (("midas_small", 2), ("embedded", 2), ("midas_small", 2)):
            await page.get_by_test_id("model").select_option(model)
            await done(page)
            assert len(posts) == count
        assert ["embedded" in posts[0], "midas_small" in posts[1]] == [True, True], "that of the streams is first"


async def test_taken_by_a_camera(daemon: Daemon) -> None:
    async with watch(f"{daemon.url}photo", switches=FAKE_CAMERA) as watched:
        page = watched.page
        await page.get_by_test_id("take").click()
        await until_async("it films", lambda: page.evaluate("viewfinder.videoWidth > 0"))
        await page.get_by_test_id("shoot").click()
        await done(page)
        assert await page.evaluate("original.width") > 100
        assert await page.evaluate("viewfinder.srcObject") is None, "the camera is let go"


async def test_what_goes_wrong_is_said(daemon: Daemon) -> None:
    async with watch(f"{daemon.url}photo") as watched:
        page, busy = watched.page, [1, 1]

        async def sometimes(route: Route) -> None:
            if busy and busy.pop():
                headers = {"Retry-After": "0", "Content-Type": "application/json"}
                body = json.dumps({"error": {"code": "busy", "message": "try again"}})
                await route.fulfill(status=503, headers=headers, body=body)
            else:
                await route.continue_()

        await page.route("**/api/v1/depth*", sometimes)
        await give(page, payload("scene.png", SCENE))
        await done(page)
        assert await page.locator("#strip [data-state=ready]").count() == 1
        watched.expects("503: POST")
        await drop(page, "huge.png", "new Uint8Array(33 << 20)")
        await done(page)
        assert await watched.text("waiting") == "huge.png is too large: 33 MB, and 32 MB is the most"


@needs_axe
@pytest.mark.parametrize("context", [{}, PHONE], ids=["desktop", "phone"])
async def test_axe_finds_no_serious_fault(daemon: Daemon, context: dict[str, Any]) -> None:
    async with watch(daemon.url, init=AXE.read_text(), **context) as watched:
        page = watched.page
        await until_async("it plays", watched.time)
        assert await faults(page) == []
        for dialog in ("help", "models", "recordings"):
            await page.get_by_test_id(dialog).click()
            await settled(page)
            assert await faults(page) == [], dialog
            await page.keyboard.press("Escape")
        await page.get_by_test_id("photo").click()
        await until_async("the page of photos is there", lambda: page.get_by_test_id("choose").is_visible())
        assert await faults(page) == []
        await give(page, payload("scene.png", SCENE), payload("again.png", SCENE))
        await done(page)
        for name in ("Wipe", "Side by side", "Overlay"):
            await mode(page, name)
            assert await faults(page) == [], name
        forgive_driver(watched)


async def faults(page: Page) -> list[str]:
    """What axe-core calls serious or critical."""
    found = await page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    return [
        f"{one['id']}: {node['html'][:200]}"
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]
