"""Stills over HTTP: neither those that clients ask for nor those that they send keep anything else waiting."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import Any

import cv2
import numpy as np
import pytest

from streamd.config.sections import FORMATS, VIEWS
from streamd.sources.v4l2 import Camera
from streamd.streams import stills
from streamd.web import pictures, streaming
from streamd.web.pictures import DEVICES, PIECE_BYTES
from streamd.web.requests import ByteBudget
from tests.integration.web_site import Site, served
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


async def test_damaged_pictures_are_answered_or_refused(site: Site) -> None:
    """More of them are in tests/unit/jobs/test_picture.py."""
    answers = [await site.ask("POST", DEPTH, data) for _, data in mutants(50, seed=3)]
    assert {reply.status for reply in answers} == {200, 422}
    assert {reply.error for reply in answers if reply.status == 422} == {(422, "bad_picture")}


async def test_a_picture_that_is_not_read_is_named(site: Site) -> None:
    reply = await site.ask("POST", DEPTH, b"\0\0\0\x18ftypheic" + bytes(99))
    assert reply.error == (422, "bad_picture")
    assert "is a HEIC picture: convert it to JPEG or PNG; streamd reads JPEG, PNG, " in str(reply.json)
