"""The page when something is away: a camera, WebRTC, the server, the token; and what other pages embed."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from pathlib import Path

from playwright.async_api import Locator, Page

from tests.e2e.conftest import StartDaemon
from tests.e2e.pictures import difference
from tests.e2e.processes import Daemon
from tests.e2e.test_browser import LARGE, PLAYING, Watched, assert_is_inferno, eventually, tile, watch
from tests.support.camera import cameras, enters, needs_rtsp_server
from tests.support.fileserver import serve_file
from tests.support.ports import free_port
from tests.support.settings import write_settings
from tests.support.waiting import until_async

STEAL_WEBRTC = "window.stolen = RTCPeerConnection; delete window.RTCPeerConnection;"
GIVE_IT_BACK = "() => { window.RTCPeerConnection = window.stolen; }"
JPEG = tile("lobby", "canvas")
SHOWS = "(where) => document.querySelector(where)?.hidden === false"
TELL_AT_LENGTH = """
  const whole = Response.prototype.json;
  Response.prototype.json = async function () {
    const answer = await whole.call(this);
    const text = 'cannot reach the weights: ' + 'trying again; '.repeat(40) + 'the last word';
    if (answer.model) answer.model.message = text;
    return answer;
  };
  window.EventSource = class { addEventListener() {} close() {} };
"""
BLOCK_STORAGE = """
  const refuse = { get() { throw new DOMException('denied', 'SecurityError'); } };
  for (const name of ['localStorage', 'sessionStorage']) Object.defineProperty(window, name, refuse);
"""
IS_CUT_OFF = """(where) => {
  const node = document.querySelector(where);
  const { bottom, right } = node.getBoundingClientRect();
  const { scrollHeight, scrollWidth } = document.documentElement;
  return node.clientHeight < node.scrollHeight || bottom + scrollY > scrollHeight || right > scrollWidth;
}"""
LOBBY = {"source": "lavfi:testsrc2=size=320x180:rate=10"}
TOKENS = {"view_tokens": ["look-only-please"], "control_tokens": ["do-anything-you-like"]}


@needs_rtsp_server
async def test_a_camera_that_dies_and_returns(daemon: StartDaemon, tmp_path: Path, artefacts: Path) -> None:
    with cameras(tmp_path) as start:
        camera = await asyncio.to_thread(start)
        config = write_settings(tmp_path / "streamd.toml", {"porch": {"source": camera.url("small")}})
        running = await asyncio.to_thread(daemon, "--config", config)
        await asyncio.to_thread(enters, running, "porch", "running")
        async with watch(running.url + "#stream=porch&view=source") as watched:
            await until_async("it plays", watched.time)
            alive = await watched.pixels()
            await asyncio.to_thread(camera.kill)
            await watched.shows("state", "reconnecting")
            await until_async("it shows why", lambda: watched.text("reason"))

            async def differs() -> bool:
                return difference(await watched.pixels(), alive) > 20

            await until_async("NO SIGNAL is shown", differs)
            await watched.page.screenshot(path=artefacts / "no-signal.png")
            await asyncio.to_thread(camera.start)
            await watched.shows("state", "running")

            async def same() -> bool:
                return difference(await watched.pixels(), alive) < 10

            await until_async("its picture is back", same)
            assert watched.sessions == ["/whep/porch?view=source"], "the session was not kept"


async def test_motion_jpeg_without_webrtc(daemon: StartDaemon, tmp_path: Path, artefacts: Path) -> None:
    streams = {"lobby": LOBBY, "yard": {"source": "lavfi:mandelbrot=size=320x180:rate=10"}}
    running = await asyncio.to_thread(daemon, "--config", write_settings(tmp_path / "streamd.toml", streams))
    await eventually("both run", lambda: running.state("lobby") == running.state("yard") == "running")
    async with watch(running.url, init=STEAL_WEBRTC) as watched:
        page = watched.page
        for name in streams:
            await until_async(f"{name} has a still", partial(page.evaluate, SHOWS, tile(name, "canvas")))
        await page.keyboard.press("1")
        await watched_shows_via(page, "Motion JPEG")
        await until_async("it shows JPEGs", lambda: page.evaluate(SHOWS, JPEG))
        one = await watched.pixels(JPEG)
        assert_is_inferno(one)

        async def moves() -> bool:
            return difference(await watched.pixels(JPEG), one) > 1

        await until_async("they move", moves)
        await page.screenshot(path=artefacts / "mjpeg.png")

        await page.evaluate(GIVE_IT_BACK)
        await page.locator(tile("lobby", ".via button")).click()
        await until_async("it plays by WebRTC", watched.time)
        await page.locator(tile("lobby", ".via")).wait_for(state="hidden")
        await page.locator(JPEG).wait_for(state="hidden")
        await page.keyboard.press("g")
        await until_async("so does the other one", lambda: watched.time(tile("yard")))
        aborted(watched)


async def watched_shows_via(page: Page, text: str) -> None:
    async def is_shown() -> bool:
        return text in await page.locator(tile("lobby", ".via")).inner_text()

    await until_async(f"the line shows {text}", is_shown)


def aborted(watched: Watched) -> None:
    """Forgives what the page itself has cut off: events and pictures that nobody wants any more."""
    watched.page_errors = [one for one in watched.page_errors if "ERR_ABORTED" not in one]


async def test_a_server_that_restarts_and_streams_that_come_and_go(daemon: StartDaemon, tmp_path: Path) -> None:
    config = write_settings(tmp_path / "streamd.toml", {"lobby": LOBBY})
    listen = ("--config", config, "--listen", f"127.0.0.1:{free_port()}")
    running = await asyncio.to_thread(daemon, *listen)
    await eventually("it runs", lambda: running.state("lobby") == "running")
    async with watch(running.url) as watched:
        await until_async("it plays", watched.time)
        assert watched.page.url.endswith("#stream=lobby&view=depth"), "one stream needs no grid"

        body = json.dumps({"source": "lavfi:testsrc=size=320x180:rate=10"}).encode()
        kind = {"Content-Type": "application/json"}
        added = await asyncio.to_thread(running.request, "PUT", "/api/v1/streams/yard", body, kind)
        assert added.status == 201
        await until_async("it is listed", lambda: watched.page.get_by_test_id("stream-yard").is_visible())
        await watched.page.keyboard.press("g")
        await until_async("it plays", lambda: watched.time(tile("yard")))
        assert (await asyncio.to_thread(running.request, "DELETE", "/api/v1/streams/yard")).status == 200
        await until_async("it is gone", lambda: gone(watched, "yard"))
        assert watched.page_errors == []

        await watched.page.goto(running.url + "#stream=lobby")
        await until_async("it plays", watched.time)
        await asyncio.to_thread(running.kill)
        await watched.shows("state", "no answer")
        again = await asyncio.to_thread(daemon, *listen)
        await watched.shows("state", "running")
        await until_async("it plays again", watched.time)
        await watched.plays_on(0.3)
        assert again.url == running.url
        watched.page_errors = [one for one in watched.page_errors if "ERR_" not in one and "404: DELETE" not in one]


async def gone(watched: Watched, name: str) -> bool:
    return await watched.page.get_by_test_id(f"tile-{name}").count() == 0


async def test_a_long_message_can_be_read_and_blocked_storage_does_no_harm(daemon: StartDaemon) -> None:
    running = await asyncio.to_thread(lambda: daemon("demo:").until_ready())
    async with watch(running.url, init=TELL_AT_LENGTH + BLOCK_STORAGE) as watched:
        for width, height in ((1280, 720), (820, 1180), (390, 844)):
            await watched.page.set_viewport_size({"width": width, "height": height})
            await watched.shows("model-note", "the last word")
            assert await watched.page.evaluate(IS_CUT_OFF, "[data-testid=model-note]") is False, f"{width} x {height}"
        await watched.page.keyboard.press("p")
        await watched.shows("toast", "Palette: Grayscale")
        await until_async("it plays", watched.time)


async def test_tokens_and_recording(daemon: StartDaemon, tmp_path: Path, artefacts: Path) -> None:
    lobby: dict[str, object] = {**LOBBY, "record": []}
    recording = {"directory": str(tmp_path / "recordings")}
    config = write_settings(tmp_path / "streamd.toml", {"lobby": lobby}, server=TOKENS, recording=recording)
    running = await asyncio.to_thread(daemon, "--config", config)
    async with watch(running.url) as watched:
        page = watched.page
        await until_async("it asks for a token", lambda: page.get_by_test_id("log-in").is_visible())
        await page.screenshot(path=artefacts / "log-in.png")
        assert await page.locator("#log-in [autocomplete=username]").count() == 1, "password managers want a name"
        await log_in(page, "not-one-of-them")
        await watched.shows("log-in", "not one of its tokens")
        await log_in(page, "look-only-please")
        await until_async("it plays", watched.time)
        assert await page.get_by_test_id("record").is_disabled(), "this token may only view"
        await page.get_by_test_id("log-out").click()
        await until_async("it asks again", lambda: page.get_by_test_id("log-in").is_visible())

        await log_in(page, "do-anything-you-like")
        await until_async("it plays", watched.time)
        await page.get_by_test_id("record").click()
        await watched.shows("record", "Recording")
        assert (await asyncio.to_thread(asked, running, "streams/lobby"))["recording"]
        await page.screenshot(path=artefacts / "recording.png")
        await eventually("there is a file", lambda: asked(running, "recordings")["recordings"])
        await page.keyboard.press("r")
        await watched.shows("toast", "is complete")
        assert not (await asyncio.to_thread(asked, running, "streams/lobby"))["recording"]
        await page.keyboard.press("l")
        await watched.shows("recordings-dialog", "lobby, depth")
        file = await page.request.get(await page.locator("#recording-list a").first.evaluate("(link) => link.href"))
        assert file.headers["content-type"] == "video/mp4"
        await page.get_by_test_id("recording-delete").first.click()
        await page.keyboard.press("Enter")  # the focus is on what does no harm
        assert (await asyncio.to_thread(asked, running, "recordings"))["recordings"]
        await page.get_by_test_id("recording-delete").first.click()
        await page.get_by_role("button", name="Delete", exact=True).click()
        await watched.shows("recordings-dialog", "Nothing has been recorded yet")
        assert not (await asyncio.to_thread(asked, running, "recordings"))["recordings"]
        watched.expects("401")


async def test_recordings_page_by_page(daemon: StartDaemon, tmp_path: Path, artefacts: Path) -> None:
    folder = tmp_path / "recordings"
    (folder / "yard").mkdir(parents=True)
    for number in range(250):
        (folder / "yard" / f"2026-11-25T{number // 60:02}-{number % 60:02}-23.500Z-side-by-side.mp4").touch()
    recording = {"directory": str(folder)}
    config = write_settings(
        tmp_path / "streamd.toml", {"lobby": LOBBY | {"record": []}}, server=TOKENS, recording=recording
    )
    running = await asyncio.to_thread(daemon, "--config", config)
    async with watch(running.url) as watched:
        page, items = watched.page, watched.page.locator("#recording-list li")
        await until_async("it asks for a token", lambda: page.get_by_test_id("log-in").is_visible())
        await log_in(page, "look-only-please")
        await until_async("it plays", watched.time)
        await page.keyboard.press("l")
        await watched.shows("recordings-dialog", "yard, side-by-side")
        for count in (100, 200):
            assert await items.count() == count
            await page.get_by_test_id("recordings-more").press("Enter")
            await watched.shows("recordings-dialog", "The newest 200" if count == 100 else "yard")
        await until_async("all are there", lambda: all_there(items))
        assert not await page.get_by_test_id("recordings-more").is_visible()
        assert not await page.get_by_test_id("recording-delete").first.is_visible(), "this token may only view"
        assert "cut short" in await items.last.inner_text()
        await page.screenshot(path=artefacts / "recordings.png")
        watched.expects("401")


async def all_there(items: Locator) -> bool:
    return await items.count() == 250


async def log_in(page: Page, token: str) -> None:
    await page.get_by_label("Access token").fill(token)
    await page.keyboard.press("Enter")


def asked(running: Daemon, what: str) -> dict[str, object]:
    return dict(running.get(f"/api/v1/{what}", Authorization="Bearer do-anything-you-like").json)


async def test_embedded_and_nowhere_to_record(daemon: StartDaemon, tmp_path: Path, artefacts: Path) -> None:
    lobby = await asyncio.to_thread(daemon, "--config", write_settings(tmp_path / "streamd.toml", {"lobby": LOBBY}))
    await eventually("it runs", lambda: lobby.state("lobby") == "running")
    async with watch(lobby.url + "embed/lobby?view=source") as watched:
        page = watched.page
        await until_async("it plays", watched.time)
        assert watched.sessions == ["/whep/lobby?view=source"]
        video, seen = await page.get_by_test_id("video").bounding_box(), page.viewport_size
        assert video is not None
        assert seen is not None
        assert (video["width"], video["height"]) == (seen["width"], seen["height"])
        await page.get_by_test_id("notice").wait_for(state="hidden")
        await page.screenshot(path=artefacts / "embed.png")
        async with page.expect_popup() as opening:
            await page.get_by_test_id("open").click()
        full = await opening.value
        assert full.url == lobby.url + "#stream=lobby&view=source"
        await full.get_by_test_id("record").click()
        await full.get_by_text("nowhere to record to").wait_for()

        # In another site's frame; and a stream that does not exist says so.
        board = f"<!doctype html><iframe src='{lobby.url}embed/lobby?palette=turbo' width=480 height=270></iframe>"
        with serve_file(board.encode()) as site:
            await page.goto(site.url)
        (frame,) = page.main_frame.child_frames
        await until_async("it plays there", lambda: frame.evaluate(PLAYING, LARGE))
        assert watched.sessions[-1] == "/whep/lobby?view=gray"
        await page.screenshot(path=artefacts / "embedded.png")
        await page.goto(lobby.url + "embed/nobody")
        await watched.shows("notice", "There is no stream “nobody”")
        watched.expects("404")
        aborted(watched)
