"""``python -m tests.support.whip_server PORT [--token TOKEN] [--vp8]``: a WHIP endpoint of aiortc's, which decodes.

POST /whip is the endpoint; GET /seen tells how many pictures came, in which codec, and how sessions ended.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import secrets
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from aiortc import RTCConfiguration, RTCPeerConnection, RTCRtpReceiver, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError

from streamd.sinks.webrtc.gather import Gatherer
from streamd.sinks.webrtc.ice import prepare
from streamd.sinks.webrtc.ports import PortRange
from tests.support.camera import Camera
from tests.support.ports import free_port
from tests.support.waiting import timeout

STARTED = secrets.token_hex(4)
"""Sessions of a server that was started anew are unknown to it."""


class Endpoint:
    def __init__(self, token: str, *, vp8: bool) -> None:
        self._token = token
        self._vp8 = vp8
        self.peers: dict[str, RTCPeerConnection] = {}
        self.seen: dict[str, Any] = {"pictures": 0, "newest_at": 0.0, "codec": "", "deleted": 0, "posted": 0}
        self._tasks: set[asyncio.Task[None]] = set()

    async def post(self, request: web.Request) -> web.Response:
        if self._token and request.headers.get("Authorization") != f"Bearer {self._token}":
            return web.Response(status=401)
        self.seen["posted"] += 1
        peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        peer.on("track", lambda track: self._watch(track))
        if self._vp8:
            known: Any = RTCRtpReceiver.getCapabilities("video")
            codecs = [codec for codec in known.codecs if codec.mimeType == "video/VP8"]
            peer.addTransceiver("video", direction="recvonly").setCodecPreferences(codecs)
        await peer.setRemoteDescription(RTCSessionDescription(await request.text(), "offer"))
        prepare(peer, Gatherer(PortRange(), ("lo",), loopback=True))
        await peer.setLocalDescription(await peer.createAnswer())
        sdp = peer.localDescription.sdp
        self.seen["codec"] = "H264" if "H264/90000" in sdp else "VP8"
        name = f"{STARTED}-{len(self.peers)}"
        self.peers[name] = peer
        headers = {"Location": f"/whip/{name}", "Content-Type": "application/sdp"}
        return web.Response(status=201, text=sdp, headers=headers)

    def _watch(self, track: Any) -> None:
        task = asyncio.create_task(self._count(track))
        self._tasks.add(task)

    async def _count(self, track: Any) -> None:
        try:
            while True:
                await track.recv()
                self.seen["pictures"] += 1
                self.seen["newest_at"] = time.time()
        except MediaStreamError:
            pass

    async def delete(self, request: web.Request) -> web.Response:
        peer = self.peers.pop(request.match_info["name"], None)
        if peer is None:
            return web.Response(status=404)
        self.seen["deleted"] += 1
        await peer.close()
        return web.Response()

    async def options(self, request: web.Request) -> web.Response:
        return web.Response(status=204 if request.match_info["name"] in self.peers else 404)

    async def show(self, request: web.Request) -> web.Response:
        return web.json_response(self.seen | {"sessions": len(self.peers)})


class WhipServer(Camera):
    """Its process: may be killed, stopped, and started again at the same address."""

    def command(self) -> list[str]:
        return [sys.executable, "-m", "tests.support.whip_server", str(self.port), *self._options]

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.port}/whip"

    async def seen(self) -> dict[str, Any]:
        async with (
            timeout(5),
            aiohttp.ClientSession() as http,
            http.get(f"http://127.0.0.1:{self.port}/seen") as answer,
        ):
            found: dict[str, Any] = json.loads(await answer.text())
            return found

    async def until(self, key: str, least: int) -> dict[str, Any]:
        """What it has seen by then."""
        async with timeout(15):
            while (found := await self.seen())[key] < least:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        return found


@asynccontextmanager
async def whip_server(folder: Path, *options: str) -> AsyncIterator[WhipServer]:
    server = WhipServer(folder / f"whip-{free_port()}.log", *options)
    try:
        yield await asyncio.to_thread(server.start)
    finally:
        await asyncio.to_thread(server.kill)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("--token", default="")
    parser.add_argument("--vp8", action="store_true")
    options = parser.parse_args()
    endpoint = Endpoint(options.token, vp8=options.vp8)
    app = web.Application()
    app.router.add_post("/whip", endpoint.post)
    app.router.add_delete("/whip/{name}", endpoint.delete)
    app.router.add_options("/whip/{name}", endpoint.options)
    app.router.add_get("/seen", endpoint.show)
    web.run_app(app, host="127.0.0.1", port=options.port, print=lambda _: print("ready", options.port, flush=True))


if __name__ == "__main__":
    main()
