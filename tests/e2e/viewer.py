"""A viewer that nobody here wrote the receiving side of: aiortc's, over WHEP."""

from __future__ import annotations

import asyncio
import time
from urllib.parse import urljoin

import aiohttp
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError
from av import VideoFrame

from streamd.sinks.webrtc.closing import close_peer
from tests.support.waiting import until_async

SDP = {"Content-Type": "application/sdp"}


class Viewer:
    """Counts the pictures that it decodes."""

    def __init__(self, client: aiohttp.ClientSession, url: str) -> None:
        """``url`` is that of the WHEP endpoint, with its ``?view=``."""
        self._client, self._url = client, url
        self._peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._receiver = self._peer.addTransceiver("video", direction="recvonly").receiver
        self._watching: asyncio.Task[None] | None = None
        self.session = ""
        self.frames = 0
        self.size = (0, 0)
        """(width, height) of the newest picture, px."""
        self.posted_at = 0.0
        self.first_frame_at = 0.0

    async def join(self) -> Viewer:
        await self._peer.setLocalDescription(await self._peer.createOffer())
        offer = self._peer.localDescription.sdp
        self.posted_at = time.monotonic()
        async with self._client.post(self._url, data=offer, headers=SDP) as answer:
            text = await answer.text()
            assert answer.status == 201, text
            self.session = urljoin(self._url, answer.headers["Location"])
        await self._peer.setRemoteDescription(RTCSessionDescription(text, "answer"))
        self._watching = asyncio.create_task(self._watch())
        return self

    async def _watch(self) -> None:
        try:
            while True:
                frame = await self._receiver.track.recv()
                assert isinstance(frame, VideoFrame)
                self.frames += 1
                self.size = (frame.width, frame.height)
                if self.frames == 1:
                    self.first_frame_at = time.monotonic()
        except MediaStreamError:
            pass

    @property
    def state(self) -> str:
        return str(self._peer.connectionState)

    async def sees(self, more: int = 1, within_s: float = 10.0) -> None:
        """Waits for ``more`` new pictures."""
        wanted = self.frames + more

        async def enough() -> bool:
            return self.frames >= wanted

        await until_async(f"{more} more pictures arrive (connection {self.state})", enough, within_s)

    async def is_known(self) -> bool:
        """Whether the server still has the session."""
        async with self._client.get(self.session) as answer:
            return answer.status == 200

    async def close(self) -> None:
        if self.session:
            async with self._client.delete(self.session) as answer:
                assert answer.status in (200, 404)
        await close_peer(self._peer)
        if self._watching:
            await self._watching
