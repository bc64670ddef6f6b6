"""Stills over HTTP: neither those that clients ask for nor those that they send keep anything else waiting."""

from __future__ import annotations

import asyncio
import io
import socket
import threading
import zipfile
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import Any

import aiohttp
import cv2
import numpy as np
import pytest

from streamd.config.sections import FORMATS, VIEWS
from streamd.errors import ModelMissing
from streamd.sources.v4l2 import Camera
from streamd.streams import stills
from streamd.web import pictures, streaming
from streamd.web.pictures import DEVICES
from streamd.web.requests import ByteBudget
from streamd.web.streaming import PIECE_BYTES
from tests.integration.web_site import Reply, Site, served
from tests.support.mutated_stills import mutants

pytestmark = pytest.mark.timeout(30)

SNAPSHOT, DEPTH, LIST = "/api/v1/streams/porch/snapshot", "/api/v1/depth", "/api/v1/devices"
PHOTO: bytes = cv2.imencode(".png", np.zeros((48, 64, 3), np.uint8))[1].tobytes()


class Blocked:
    """Stands in for what takes long; goes on when the test lets it."""

    def __init__(self) -> None:
        self.began, self.go_on = threading.Event(), threading.Event()

    def __call__(self, *_: Any) -> Any:
        self.began.set()
        self.go_on.wait(10)
        return memoryview(b"made")


@pytest.fixture
def blocked() -> Iterator[Blocked]:
    blocked = Blocked()
    yield blocked
    blocked.go_on.set()


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with served() as site:
        await site.film()
        yield site


async def test_frames_and_uploads_do_not_wait_for_snapshots(
    site: Site, blocked: Blocked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stills, "make_still", blocked)
    asked = [asyncio.create_task(site.get(f"{SNAPSHOT}?format={format}")) for format in ("jpg", "png", "npz")]
    await site.until(blocked.began.is_set)
    await site.film(count=3)
    assert (await site.ask("POST", DEPTH, PHOTO)).status == 200
    assert (await site.get(LIST)).status == 200
    blocked.go_on.set()
    assert {(reply.status, reply.body) for reply in await asyncio.gather(*asked)} == {(200, b"made")}


async def test_frames_and_snapshots_do_not_wait_for_uploads(
    site: Site, blocked: Blocked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "depth_of_picture", blocked)
    asked = [asyncio.create_task(site.ask("POST", DEPTH, PHOTO)) for _ in range(4)]
    await site.until(blocked.began.is_set)
    await site.film(count=3)
    assert (await site.get(SNAPSHOT)).status == 200
    assert (await site.get(LIST)).status == 200
    blocked.go_on.set()
    assert {(reply.status, reply.body) for reply in await asyncio.gather(*asked)} == {(200, b"made")}


async def test_a_driver_that_hangs_holds_up_only_who_asks_for_the_cameras(site: Site, blocked: Blocked) -> None:
    listed: list[int] = []

    def look() -> list[Camera]:
        listed.append(1)
        blocked()
        return []

    site.app[DEVICES]._call = look
    asked = [asyncio.create_task(site.get(LIST)) for _ in range(3)]
    await site.until(blocked.began.is_set)
    assert (await site.get(SNAPSHOT)).status == 200
    assert (await site.ask("POST", DEPTH, PHOTO)).status == 200
    await asyncio.sleep(0)
    blocked.go_on.set()
    assert [reply.json for reply in await asyncio.gather(*asked)] == [{"devices": []}] * 3
    assert len(listed) < 3, "who asks meanwhile gets the same answer"


async def test_a_large_picture_arrives_whole(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    data = np.random.default_rng(0).bytes(3 * PIECE_BYTES + 17)
    monkeypatch.setattr(stills, "make_still", lambda *_: memoryview(data))
    reply = await site.get(f"{SNAPSHOT}?format=png")
    assert (reply.body, reply.headers["Content-Length"]) == (data, str(len(data)))
    assert (reply.headers["Content-Type"], reply.headers["Cache-Control"]) == ("image/png", "no-store")
    assert 'filename="porch-depth.png"' in reply.headers["Content-Disposition"]


async def test_head(site: Site) -> None:
    reply = await site.ask("HEAD", SNAPSHOT)
    assert (reply.status, reply.headers["Content-Type"], reply.body) == (200, "image/jpeg", b"")
    assert int(reply.headers["Content-Length"]) > 100


async def test_who_does_not_read_a_picture_is_let_go(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what it took of the memory is free again."""
    size = 20_000_000
    room = ByteBudget(int(1.5 * size))
    monkeypatch.setattr(pictures, "ANSWERS", room)
    monkeypatch.setattr(pictures, "send", partial(streaming.send, stalled_s=0.5))
    monkeypatch.setattr(stills, "make_still", lambda *_: memoryview(bytes(size)))
    host, port = site.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as lazy:
        lazy.sendall(f"GET {SNAPSHOT} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        await site.until(lambda: room._left < size)
        reply = await site.get(SNAPSHOT)
        assert reply.error == (503, "busy")
        assert "Retry-After" in reply.headers
        await site.until(lambda: room._left == int(1.5 * size))
    assert len((await site.get(SNAPSHOT)).body) == size


@pytest.mark.parametrize(
    ("ask", "seam"),
    [
        (lambda site, number: site.get(f"{SNAPSHOT}?view={VIEWS[number % 6]}&format={FORMATS[number // 6]}"), "still"),
        (lambda site, number: site.ask("POST", DEPTH, PHOTO), "upload"),
    ],
    ids=["stills", "uploads"],
)
async def test_too_many_at_once_are_refused(
    site: Site,
    blocked: Blocked,
    monkeypatch: pytest.MonkeyPatch,
    ask: Callable[[Site, int], Any],
    seam: str,
) -> None:
    if seam == "still":
        monkeypatch.setattr(stills, "make_still", blocked)
    else:
        monkeypatch.setattr(pictures, "depth_of_picture", blocked)
    asked = [asyncio.create_task(ask(site, number)) for number in range(12)]
    await site.until(lambda: sum(task.done() for task in asked) >= 4)
    assert all(task.result().error == (503, "busy") for task in asked if task.done())
    blocked.go_on.set()
    assert {(await task).status for task in asked} == {200, 503}


@pytest.fixture(scope="module")
def damaged() -> list[bytes]:
    return [data for _, data in mutants(50, seed=3)]


async def test_damaged_pictures_are_answered_or_refused(site: Site, damaged: list[bytes]) -> None:
    """More of them are in tests/unit/jobs/test_picture.py."""
    answers = [await site.ask("POST", DEPTH, data) for data in damaged]
    assert {reply.status for reply in answers} == {200, 422}
    assert {reply.error for reply in answers if reply.status == 422} == {(422, "bad_picture")}


async def test_a_picture_that_is_not_read_is_named(site: Site) -> None:
    reply = await site.ask("POST", DEPTH, b"\0\0\0\x18ftypcrx " + bytes(99))
    assert reply.error == (422, "bad_picture")
    assert "is a RAW picture: convert it to JPEG or PNG; streamd reads JPEG, PNG, " in str(reply.json)


# -- several at once --------------------------------------------------------------------------


def _named(name: str | None) -> dict[str, str]:
    return {} if name is None else {"filename": name}


async def send_form(site: Site, *pictures: tuple[str | None, bytes], query: str = "", other: bytes = b"") -> Reply:
    with aiohttp.MultipartWriter("form-data") as form:
        for name, data in pictures:
            part = form.append(data, {"Content-Type": "image/png"})
            part.set_content_disposition("form-data", True, "utf-8", name="image", **_named(name))
        if other:
            form.append(other).set_content_disposition("form-data", name="comment")
        async with site.http.post(site.url + DEPTH + query, data=form) as response:
            return Reply(response.status, response.headers, await response.read())


def unpacked(reply: Reply) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(reply.body)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


async def test_several_pictures_come_back_as_a_zip(site: Site) -> None:
    reply = await send_form(site, ("a.jpg", PHOTO), ("b.png", PHOTO), other=b"for the album", query="?format=npz")
    assert (reply.status, reply.headers["Content-Type"]) == (200, "application/zip")
    assert reply.headers["Content-Disposition"] == 'attachment; filename="depth.zip"'
    files = unpacked(reply)
    assert [*files] == ["a.npz", "b.npz"]
    alone = await send_form(site, ("a.jpg", PHOTO), query="?format=npz")
    assert alone.headers["Content-Type"] == "application/octet-stream"
    for data in (*files.values(), alone.body):
        with np.load(io.BytesIO(data)) as npz:
            assert npz["inverse_depth"].shape == (48, 64)


async def test_what_cannot_be_read_of_several_is_named(site: Site) -> None:
    reply = await send_form(site, ("bad.jpg", b"hello"), ("good.jpg", PHOTO), (None, b""), ("good.png", PHOTO))
    files = unpacked(reply)
    assert [*files] == ["good.png", "good-2.png", "errors.txt"]
    lines = files["errors.txt"].decode().splitlines()
    assert lines[0].startswith("bad.jpg: is ")
    assert lines[1].startswith("picture-3.png: is ")


async def test_when_none_of_several_can_be_read(site: Site) -> None:
    reply = await send_form(site, ("a.jpg", b"hello"), ("b.jpg", b"hello"))
    assert reply.error == (422, "bad_picture")
    assert "a.jpg: is " in reply.json["error"]["message"]
    assert "; b.jpg: is " in reply.json["error"]["message"]


async def test_several_may_be_as_large_as_one(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "MAX_PICTURE_BYTES", 2 * len(PHOTO) + 10)
    assert (await send_form(site, ("a", PHOTO), ("b", PHOTO))).status == 200
    assert (await send_form(site, ("a", PHOTO), ("b", PHOTO), ("c", PHOTO))).error == (413, "too_large")
    monkeypatch.setattr(pictures, "MAX_PICTURES", 1)
    assert (await send_form(site, ("a", PHOTO), ("b", PHOTO))).error == (413, "too_large")


async def test_several_take_turns_with_others(site: Site, blocked: Blocked, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who sends several waits for room with each, and keeps none for the next."""
    monkeypatch.setattr(pictures, "depth_of_picture", blocked)
    others = [asyncio.create_task(site.ask("POST", DEPTH, PHOTO)) for _ in range(8)]
    await site.until(blocked.began.is_set)
    several = asyncio.create_task(send_form(site, *[(f"{number}", PHOTO) for number in range(12)]))
    await asyncio.sleep(0.05)
    blocked.go_on.set()
    assert {(await task).status for task in others} <= {200, 503}
    assert unpacked(await several) == {f"{number}.png": b"made" for number in range(12)}


async def test_a_network_that_is_not_there_fails_several_at_once(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object) -> None:
        raise ModelMissing("embedded", "none")

    monkeypatch.setattr(pictures, "depth_of_picture", missing)
    assert (await send_form(site, ("a", PHOTO), ("b", PHOTO))).error == (503, "not_ready")


async def test_what_is_being_sent_has_bounds_for_several_too(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    made = iter([memoryview(b"small"), memoryview(bytes(100)), memoryview(b"tiny")])
    monkeypatch.setattr(pictures, "depth_of_picture", lambda *_: next(made))
    room = ByteBudget(50)
    monkeypatch.setattr(pictures, "ANSWERS", room)
    files = unpacked(await send_form(site, ("a", PHOTO), ("b", PHOTO), ("c", PHOTO)))
    assert files == {
        "a.png": b"small",
        "c.png": b"tiny",
        "errors.txt": b"b: too many pictures at once; try again\n",
    }
    assert room._left == 50
