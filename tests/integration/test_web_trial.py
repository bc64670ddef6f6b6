"""A source is tried before it is saved: its picture, or in plain words what is wrong."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import cv2
import numpy as np
import pytest

from streamd.streams import trial
from tests.integration.web_site import CONTROL_TOKEN, VIEW_TOKEN, Reply, Site, served
from tests.support.waiting import timeout

PATH = "/api/v1/streams/yard/trial"
LAVFI = "lavfi:testsrc2=size=1600x900:rate=25"


async def tried(site: Site, name: str = "yard", **body: Any) -> Reply:
    return await site.ask("POST", f"/api/v1/streams/{name}/trial", json.dumps(body).encode())


def threads_named(name: str) -> int:
    return sum(thread.name == name for thread in threading.enumerate())


async def test_a_picture_comes_and_nothing_is_saved() -> None:
    async with served() as site:
        reply = await tried(site, source=LAVFI)
        assert (reply.status, reply.headers["Content-Type"]) == (200, "image/jpeg"), reply.body
        assert (reply.headers["X-Source-Width"], reply.headers["X-Source-Height"]) == ("1600", "900")
        assert reply.headers["Cache-Control"] == "no-store"
        picture = cv2.imdecode(np.frombuffer(reply.body, np.uint8), cv2.IMREAD_COLOR)
        assert picture is not None
        assert picture.shape == (720, 1280, 3)
        assert list(site.fleet) == ["porch"]


async def test_masks_are_black_in_it() -> None:
    async with served() as site:
        reply = await tried(site, source=LAVFI, masks=[[[0, 0], [0.5, 0], [0.5, 1], [0, 1]]])
        picture = cv2.imdecode(np.frombuffer(reply.body, np.uint8), cv2.IMREAD_COLOR)
        assert picture is not None
        assert picture[:, :600].max() < 30
        assert picture[:, 680:].max() > 200


@pytest.mark.parametrize(
    ("source", "code", "message"),
    [
        ("", "bad_value", "must not be empty"),
        ("gopher://h/", "bad_value", "is no kind of source"),
        ("/etc/passwd", "bad_value", "may not set a file that is not in server.media_directories"),
        ("/dev/null", "bad_value", "may not set"),
        ("/dev/video97", "unreachable", "video97"),
        ("lavfi:movie=/etc/passwd", "bad_value", "may not set"),
        ("rtsp://user:env:HOME@h/", "bad_value", "may not set env: or file: references"),
        ("rtsp://***@h/live", "bad_value", "write the password to change the source"),
        ("http://u:hunter2@127.0.0.1:{closed}/x", "unreachable", "http://***@127.0.0.1:"),
        ("rtsp://u:hunter2@127.0.0.1:{closed}/x", "unreachable", "rtsp://***@127.0.0.1:"),
    ],
)
async def test_what_is_wrong_is_said_without_secrets(source: str, code: str, message: str) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        source = source.replace("{closed}", str(closed.getsockname()[1]))
        async with served() as site:
            reply = await tried(site, source=source)
    assert reply.error == (422, code)
    assert message in reply.json["error"]["message"]
    assert b"hunter2" not in reply.body


async def test_what_is_no_video_is_told_apart(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("no video")
    async with served(media_directories=(tmp_path,)) as site:
        reply = await tried(site, source=str(tmp_path / "note.txt"))
        assert reply.error == (422, "unsupported")
        reply = await tried(site, source=str(tmp_path / "none.mp4"))
        assert reply.error == (422, "unreachable")


async def test_it_needs_the_control_scope() -> None:
    async with served(view_tokens=(VIEW_TOKEN,), control_tokens=(CONTROL_TOKEN,)) as site:
        body = json.dumps({"source": "demo:"}).encode()
        assert (await site.ask("POST", PATH, body, Authorization=f"Bearer {VIEW_TOKEN}")).status == 403
        assert (await site.ask("POST", PATH, body, Authorization=f"Bearer {CONTROL_TOKEN}")).status == 200


class Silent:
    """A camera that takes connections and never answers."""

    def __init__(self) -> None:
        self.taken = 0
        self._server: asyncio.Server
        self._writers: list[asyncio.StreamWriter] = []
        self.port = 0

    async def __aenter__(self) -> Silent:
        async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.taken += 1
            self._writers.append(writer)
            try:
                while await reader.read(65536):
                    pass
            finally:
                writer.close()

        self._server = await asyncio.start_server(take, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        """FFmpeg lets go of its threads."""
        self._server.close()
        for writer in self._writers:
            writer.close()
        async with timeout(5):
            while threads_named("trial"):  # noqa: ASYNC110
                await asyncio.sleep(0.01)


async def test_two_at_once_and_who_hangs_up_makes_room() -> None:
    async with served() as site, Silent() as camera:
        source = f"rtsp://u:p@127.0.0.1:{camera.port}/live"
        waiting = [asyncio.create_task(tried(site, source=source)) for _ in range(trial.MAX_TRIALS)]
        await site.until(lambda: camera.taken == trial.MAX_TRIALS)
        assert (await tried(site, source=LAVFI)).error == (503, "busy")
        for task in waiting:
            task.cancel()
        async with timeout(5):
            while (await tried(site, source=LAVFI)).status == 503:  # noqa: ASYNC110
                await asyncio.sleep(0.02)


async def test_one_that_never_answers_ends_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "TRIAL_S", 0.3)
    async with served() as site, Silent() as camera:
        reply = await tried(site, source=f"rtsp://u:hunter2@127.0.0.1:{camera.port}/live")
        assert reply.error == (422, "unreachable")
        assert reply.json["error"]["message"].endswith("no picture within 0 s")


async def test_the_server_ends_while_one_is_tried() -> None:
    async with Silent() as camera:
        async with served() as site:
            task = asyncio.create_task(tried(site, source=f"rtsp://u:p@127.0.0.1:{camera.port}/live"))
            await site.until(lambda: camera.taken)
        with suppress(aiohttp.ClientError):
            assert (await task).status != 200


async def test_a_stream_that_is_there_keeps_its_password() -> None:
    """Also one of the configuration file, which may have what the API may not set."""
    async with served(streams={}) as site, Silent() as camera:
        reply = await site.put("/api/v1/streams/yard", source=f"rtsp://u:hunter2@127.0.0.1:{camera.port}/live")
        shown = reply.json["source"]
        assert "hunter2" not in shown
        taken = camera.taken
        task = asyncio.create_task(tried(site, source=shown))
        await site.until(lambda: camera.taken > taken)
        task.cancel()
