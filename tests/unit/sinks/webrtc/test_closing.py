from __future__ import annotations

import asyncio

import pytest
from aiortc import RTCConfiguration, RTCDtlsTransport, RTCPeerConnection

from streamd.sinks.webrtc.closing import close_peer
from streamd.sinks.webrtc.ice import prepare
from tests.support.waiting import timeout
from tests.support.webrtc_peers import VIEWERS

OTHER = {"sendonly": "recvonly", "recvonly": "sendonly"}


async def connecting(first: RTCPeerConnection, second: RTCPeerConnection) -> None:
    """Both have an answer, and shake hands."""
    prepare(first, VIEWERS)
    await first.setLocalDescription(await first.createOffer())
    await second.setRemoteDescription(first.localDescription)
    prepare(second, VIEWERS)
    await second.setLocalDescription(await second.createAnswer())
    await first.setRemoteDescription(second.localDescription)


async def until(transport: RTCDtlsTransport, state: str) -> None:
    async with timeout(10):
        while transport.state != state:  # noqa: ASYNC110
            await asyncio.sleep(0)


@pytest.mark.parametrize("direction", OTHER)
async def test_a_handshake_that_ends_meanwhile_leaves_nothing(direction: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fixture of all tests looks for tasks and threads."""
    peer, other = (RTCPeerConnection(RTCConfiguration(iceServers=[])) for _ in range(2))
    transport = peer.addTransceiver("video", direction=direction).receiver.transport
    other.addTransceiver("video", direction=OTHER[direction])
    stop = transport.stop

    async def stop_late() -> None:
        await until(transport, "connected")
        await stop()

    await connecting(peer, other)
    await until(transport, "connecting")
    monkeypatch.setattr(transport, "stop", stop_late)
    await close_peer(peer)
    await close_peer(peer)
    await close_peer(other)


async def test_one_that_never_connected() -> None:
    peer = RTCPeerConnection()
    peer.addTransceiver("video")
    await close_peer(peer)
