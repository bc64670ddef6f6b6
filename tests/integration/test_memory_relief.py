"""Memory that runs short, as the daemon sees it: the readings are played, all else is real."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiortc import RTCConfiguration, RTCPeerConnection

from streamd import upkeep as module
from streamd.config.load import parse
from streamd.daemon import Daemon
from streamd.depth.service import DepthService
from streamd.depth.store import ModelStore
from streamd.host import memory
from streamd.sinks.webrtc.closing import close_peer
from streamd.sinks.webrtc.ice import prepare
from streamd.streams.stream import Stream
from tests.support.waiting import timeout
from tests.support.webrtc_peers import VIEWERS

pytestmark = pytest.mark.timeout(60)

LIMIT = 1000


class Box:
    """A daemon, how much memory it takes, and a client."""

    def __init__(self, daemon: Daemon, url: str, http: aiohttp.ClientSession) -> None:
        self.daemon, self.url, self.http = daemon, url, http
        self.peers: list[RTCPeerConnection] = []

    async def watch(self, view: str) -> tuple[int, str, int]:
        """Status, code of the error, and when to try again."""
        peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.peers.append(peer)
        peer.addTransceiver("video", direction="recvonly")
        offer = await peer.createOffer()
        prepare(peer, VIEWERS)
        await peer.setLocalDescription(offer)
        sdp = peer.localDescription.sdp
        headers = {"Content-Type": "application/sdp"}
        async with self.http.post(f"{self.url}whep/porch?view={view}", data=sdp, headers=headers) as answer:
            text = await answer.text()
            code = "" if answer.status == 201 else json.loads(text)["error"]["code"]
            return answer.status, code, int(answer.headers.get("Retry-After", 0))

    def views(self) -> list[str]:
        return sorted(session.view for session in self.daemon.viewers._sessions.values())

    async def until(self, done: Callable[[], object], within_s: float = 10) -> None:
        async with timeout(within_s):
            while not done():  # noqa: ASYNC110
                await asyncio.sleep(0.01)


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[Box]:
    config = parse(
        {
            "server": {"listen": "127.0.0.1:0"},
            "model": {"name": "embedded"},
            "recording": {"directory": str(folder / "recordings")},
            "streams": {"porch": {"source": "rtsp://127.0.0.1:1/", "record": ["depth", "overlay"]}},
        }
    )
    daemon = Daemon(config, ModelStore(folder / "models", folder / "cache"))
    listening: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(daemon.run(listening.set_result))
    async with aiohttp.ClientSession() as http:
        box = Box(daemon, await listening, http)
        try:
            yield box
        finally:
            await asyncio.gather(*(close_peer(peer) for peer in box.peers))
            daemon.stop()
            await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What the process takes: change it at any time."""
    used = [100]
    monkeypatch.setattr(module, "resident_bytes", lambda pid: used[0])
    monkeypatch.setattr(DepthService, "worker_memory", lambda self: 0)
    monkeypatch.setattr(module, "limit_bytes", lambda: LIMIT)
    monkeypatch.setattr(module, "CHECK_EVERY_S", 0.02)
    monkeypatch.setattr(memory, "LASTS_S", 0.0)
    monkeypatch.setattr(memory, "HOLD_S", 1.0)
    return used


def recorded(stream: Stream) -> list[str]:
    return list(stream.status.recording_active)


async def mjpeg_ends(answer: aiohttp.ClientResponse) -> None:
    async with timeout(10):
        while await answer.content.read(65536):
            pass


async def test_views_are_let_go_and_come_back_when_there_is_memory_again(tmp_path: Path, used: list[int]) -> None:
    async with running(tmp_path) as box:
        stream = box.daemon.streams["porch"]
        await box.until(lambda: sorted(recorded(stream)) == ["depth", "overlay"])
        assert [(await box.watch(view))[0] for view in ("depth", "overlay")] == [201, 201]
        mjpeg: Any = await box.http.get(f"{box.url}api/v1/streams/porch/mjpeg?view=overlay")
        assert mjpeg.status == 200

        used[0] = 900  # 90 %: all steps up to that of letting views go, not the restart
        ending: Awaitable[None] = mjpeg_ends(mjpeg)
        await box.until(lambda: box.views() == ["depth"])
        await ending
        await box.until(lambda: recorded(stream) == ["depth"])
        for view in ("depth", "overlay"):
            status, code, retry_after_s = await box.watch(view)
            assert (status, code) == (503, "memory_short")
            assert retry_after_s >= memory.MIN_RETRY_S
        async with box.http.get(f"{box.url}api/v1/streams/porch/mjpeg") as refused:
            assert (refused.status, (await refused.json())["error"]["code"]) == (503, "memory_short")

        used[0] = 100
        await box.until(lambda: not box.daemon.memory.active)
        await box.until(lambda: sorted(recorded(stream)) == ["depth", "overlay"])
        assert (await box.watch("overlay"))[0] == 201
