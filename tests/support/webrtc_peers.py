"""Viewers as aiortc has them, and what streamd has for each: a peer that gathers as a session does.

A data channel shows whether each viewer talks to its own peer, over ICE and DTLS.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

from aioice.ice import Connection
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

from streamd.config.sections import WebRtcConfig
from streamd.sinks.webrtc import privates
from streamd.sinks.webrtc.closing import close_peer
from streamd.sinks.webrtc.filter import FilteredProtocol
from streamd.sinks.webrtc.gather import Gatherer
from streamd.sinks.webrtc.ice import Connectivity, ice_transports, prepare
from streamd.sinks.webrtc.ports import PortRange
from tests.support.waiting import timeout

LO = ("127.0.0.1",)
VIEWERS = Gatherer(PortRange(), ("lo",))
_ids = count()


def connectivity_of(udp_ports: range | None = None, **config: Any) -> Connectivity:
    if udp_ports is not None:
        config["udp_ports"] = f"{udp_ports[0]}-{udp_ports[-1]}" if len(udp_ports) > 1 else str(udp_ports[0])
    return Connectivity(WebRtcConfig(**{"interfaces": LO, **config}), loopback=True)


class Pair:
    """A viewer and what streamd has for it. The latter says its number to whatever it hears."""

    def __init__(self, connectivity: Connectivity, *, relay_only: bool = False) -> None:
        self.number = str(next(_ids))
        self._connectivity = connectivity
        self._heard: asyncio.Queue[str] = asyncio.Queue()
        self.viewer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.server = RTCPeerConnection(connectivity.configuration)
        self.server.on("datachannel", lambda channel: channel.on("message", lambda _: channel.send(self.number)))
        self.channel = self.viewer.createDataChannel("x")
        self.channel.on("message", self._heard.put_nowait)
        self.answer = ""

    async def gather(self) -> None:
        """The viewer's offer, with a socket on 127.0.0.1, which aioice by itself never takes."""
        offer = await self.viewer.createOffer()
        prepare(self.viewer, VIEWERS)
        await self.viewer.setLocalDescription(offer)

    async def join(self, edit: Callable[[str], str] = lambda answer: answer, *, offer: str = "") -> Pair:
        await self.get_answer(offer=offer)
        return await self.take_answer(edit)

    async def get_answer(self, edit: Callable[[str], str] = lambda offer: offer, *, offer: str = "") -> Pair:
        await self.gather()
        # Without candidates, as whip-whep does it: the viewer's checks show where it is.
        offer = offer or re.sub(r"a=(candidate|end-of).*\r\n", "", self.viewer.localDescription.sdp)
        await self.server.setRemoteDescription(RTCSessionDescription(edit(offer), "offer"))
        self._connectivity.prepare(self.server)
        await self.server.setLocalDescription()
        self.answer = self._connectivity.answer(self.server.localDescription.sdp)
        return self

    async def take_answer(self, edit: Callable[[str], str] = lambda answer: answer) -> Pair:
        await self.viewer.setRemoteDescription(RTCSessionDescription(edit(self.answer), "answer"))
        return self

    @property
    def places(self) -> set[tuple[str, int]]:
        return {(ip, int(port)) for ip, port in re.findall(r"a=candidate:\S+ 1 udp \d+ (\S+) (\d+)", self.answer)}

    @property
    def connection(self) -> Connection:
        """streamd's."""
        (transport,) = ice_transports(self.server)
        found = privates.connection(transport)
        assert found is not None
        return found

    @property
    def filters(self) -> tuple[FilteredProtocol, ...]:
        return privates.filters(ice_transports(self.server))

    async def talks(self, within_s: float = 8) -> None:
        """The viewer hears its own peer, and it alone."""
        async with timeout(within_s):
            if self.channel.readyState != "open":
                opened = asyncio.Event()
                self.channel.once("open", opened.set)
                await opened.wait()
            self.channel.send("who is there?")
            assert await self._heard.get() == self.number

    async def close(self) -> None:
        await close_peer(self.server)
        await close_peer(self.viewer)


MakePair = Callable[[Connectivity], Pair]


@asynccontextmanager
async def pairs() -> AsyncIterator[MakePair]:
    """Makes pairs, and closes them at the end."""
    made: list[Pair] = []

    def make(connectivity: Connectivity) -> Pair:
        made.append(Pair(connectivity))
        return made[-1]

    yield make
    await asyncio.gather(*(one.close() for one in made))
