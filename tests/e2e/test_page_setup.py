"""Who may control adds, changes and removes a camera in the page, draws a mask, and calibrates: by mouse on a desktop,
by keyboard on a phone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page

from tests.e2e.conftest import StartDaemon
from tests.e2e.processes import Daemon
from tests.e2e.test_browser import DESKTOP, Watched, eventually, watch
from tests.support.camera import Camera, StartCamera, needs_rtsp_server
from tests.support.waiting import until_async

pytestmark = needs_rtsp_server

TOKEN = "change-it-all"
MAY_CHANGE = {"Authorization": f"Bearer {TOKEN}"}
PASSWORD = "hunter2/of@the:house"
PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
SOURCE = "lavfi:gradients=size=320x180:rate=10:c0=black:c1=white:x0=0:y0=0:x1=319:y1=0:speed=0.00001"

Press = Callable[[str], Awaitable[None]]
Place = tuple[float, float]


@pytest.fixture(scope="module")
def mine(module_daemon: StartDaemon) -> Daemon:
    """Everybody may look; with the token one may change things."""
    tokens = {"ALLOW_ANONYMOUS": "true", "CONTROL_TOKENS": f'["{TOKEN}"]'}
    return module_daemon(SOURCE, **{f"STREAMD_SERVER__{key}": value for key, value in tokens.items()}).until_ready()


@pytest.fixture
def server(camera: StartCamera) -> Camera:
    return camera("--digest", f"user:{PASSWORD}")


def by(page: Page, kind: str) -> Press:
    """Presses a button: with the mouse, or with Enter."""

    async def press(name: str) -> None:
        button = page.get_by_test_id(name)
        if kind == "mouse":
            await button.click()
            return
        await button.focus()
        await page.keyboard.press("Enter")

    return press


async def pick(page: Page, easel: str, kind: str, places: list[Place], at: Place = (0.5, 0.5)) -> None:
    """Points on a picture: clicked, or set with the arrow keys, with the cross at ``at`` in the beginning."""
    picture = page.get_by_test_id(easel)
    await picture.wait_for(state="visible")
    await page.wait_for_function(
        "where => document.querySelector(where).naturalWidth > 0", arg=f"[data-testid={easel}] img"
    )
    box = await picture.bounding_box()
    assert box is not None
    for x, y in places:
        if kind == "mouse":
            await page.mouse.click(box["x"] + x * box["width"], box["y"] + y * box["height"])
            continue
        await picture.focus()
        for by_x, key in ((x - at[0], ("ArrowLeft", "ArrowRight")), (y - at[1], ("ArrowUp", "ArrowDown"))):
            for _ in range(round(abs(by_x) / 0.05)):
                await page.keyboard.press(f"Shift+{key[by_x > 0]}")
        await page.keyboard.press("Enter")
        at = (x, y)


async def add(watched: Watched, daemon: Daemon, press: Press, source: str, wrong: str, picture: Path) -> str:
    page = watched.page
    await page.keyboard.press("a")
    await page.get_by_test_id("camera-source").fill(wrong)
    name = await page.get_by_test_id("camera-name").input_value()
    assert PASSWORD.split("/", 1)[0] not in name
    await press("camera-try")
    await watched.shows("camera-note", "The camera refuses the user or the password.")
    watched.expects("/trial")
    assert "hunter2" not in await watched.text("camera-note")
    await page.get_by_test_id("camera-source").fill(source)
    await press("camera-try")
    await watched.shows("camera-note", "It works: 320 x 180 pixels.")
    await page.get_by_test_id("camera-picture").wait_for(state="visible")
    await page.screenshot(path=picture)
    await press("camera-save")
    await eventually(
        "it runs", lambda: name in str(daemon.get("/api/v1/streams").json) and daemon.state(name) == "running"
    )
    await until_async("it plays", watched.time)
    return name


@pytest.mark.parametrize(("kind", "size"), [("mouse", DESKTOP), ("keyboard", PHONE)], ids=["mouse", "keyboard"])
async def test_a_camera_is_added_changed_masked_and_removed(
    mine: Daemon, server: Camera, artefacts: Path, kind: str, size: dict[str, Any]
) -> None:
    source = server.url("small", login=f"user:{PASSWORD}")
    async with watch(mine.url, extra_http_headers=MAY_CHANGE, **size) as watched:
        page, press = watched.page, by(watched.page, kind)
        await until_async("it may be added", page.get_by_test_id("add").is_visible)
        name = await add(
            watched, mine, press, source, server.url("small", login="user:wrong"), artefacts / f"add-{kind}.png"
        )

        await press("setup")
        await press("setup-camera")
        shown = await page.get_by_test_id("camera-source").input_value()
        assert "***" in shown
        assert "hunter2" not in shown
        await page.get_by_test_id("camera-demand").check()
        await page.screenshot(path=artefacts / f"edit-{kind}.png")
        await press("camera-save")
        await eventually("it is changed", lambda: mine.stream(name)["settings"]["mode"] == "on_demand")
        await eventually("with its password", lambda: mine.state(name) == "running")

        await press("setup")
        await press("setup-areas")
        await press("areas-mask")
        await pick(page, "areas-easel", kind, [(0.1, 0.1), (0.5, 0.1), (0.5, 0.7)])
        await page.screenshot(path=artefacts / f"mask-{kind}.png")
        await press("areas-save")
        await watched.shows("areas-note", "Saved.")
        (mask,) = mine.stream(name)["settings"]["masks"]
        assert [value for point in mask for value in point] == pytest.approx([0.1, 0.1, 0.5, 0.1, 0.5, 0.7], abs=0.02)
        await page.keyboard.press("Escape")

        await press("setup")
        await press("setup-remove")
        await page.get_by_test_id("confirm").get_by_text("Delete", exact=True).click()
        await eventually("it is gone", lambda: name not in str(mine.get("/api/v1/streams").json))


@pytest.mark.parametrize(("kind", "size"), [("mouse", DESKTOP), ("keyboard", PHONE)], ids=["mouse", "keyboard"])
async def test_points_of_known_distance_make_metres_under_the_cursor(
    mine: Daemon, artefacts: Path, kind: str, size: dict[str, Any]
) -> None:
    name = mine.get("/api/v1/streams").json["streams"][0]["name"]
    path = f"/api/v1/streams/{name}/calibration"
    mine.request("DELETE", path, headers=MAY_CHANGE)
    places = [(0.1, 0.5), (0.5, 0.5), (0.9, 0.5)]
    depths = [mine.get(f"/api/v1/streams/{name}/value?x={x}&y={y}").json["inverse_depth"] for x, y in places]
    low, high = min(depths), max(depths)
    metres = [1 / (0.1 + 0.9 * (depth - low) / (high - low)) for depth in depths]
    async with watch(mine.url, extra_http_headers=MAY_CHANGE, **size) as watched:
        page, press = watched.page, by(watched.page, kind)
        await until_async("it plays", watched.time)
        await press("setup")
        await press("setup-calibrate")
        for before, place, distance in zip([(0.5, 0.5), *places], places, metres, strict=False):
            await pick(page, "calibrate-easel", kind, [place], before)
            await page.keyboard.type(f"{distance:.3f}")
        await press("calibrate-save")
        await watched.shows("calibrate-note", "In use.")
        await page.screenshot(path=artefacts / f"calibrate-{kind}.png")
        points = mine.get(path).json["points"]
        assert [point["x"] for point in points] == pytest.approx([0.1, 0.5, 0.9], abs=0.02)
        await page.keyboard.press("Escape")
        await page.keyboard.press("x")
        await watched.shows("cursor", " m · ")
        if kind == "keyboard":
            await page.keyboard.press("ArrowRight")
            await page.keyboard.press("Shift+ArrowDown")
        else:
            box = await page.get_by_test_id("video").bounding_box()
            assert box is not None
            await page.mouse.move(box["x"] + box["width"] * 0.3, box["y"] + box["height"] * 0.5)
        await watched.shows("cursor", " m · ")
        await watched.shows("legend", "calibrated: point at it for metres")
        await page.screenshot(path=artefacts / f"cursor-{kind}.png")


async def test_who_may_only_look_changes_nothing(mine: Daemon) -> None:
    async with watch(mine.url) as watched:
        await until_async("it plays", watched.time)
        await watched.page.keyboard.press("a")
        await watched.page.keyboard.press("c")
        assert await watched.page.locator("dialog[open]").count() == 0
        assert not await watched.page.get_by_test_id("add").is_visible()
        assert not await watched.page.get_by_test_id("setup").is_visible()
        await watched.page.keyboard.press("x")
        await watched.shows("cursor", "% near · inverse depth")
