"""Viewers who mean harm, with all that a viewer may have: they harm themselves at most."""

from __future__ import annotations

import asyncio
import random
import re
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pylibsrtp
import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

from streamd.config.sections import WebRtcConfig
from streamd.errors import OfferRejected
from streamd.media.hub import PacketHub
from streamd.sinks.webrtc import Session, WebRtcSink, rtp
from streamd.sinks.webrtc.closing import close_peer
from streamd.sinks.webrtc.ice import prepare
from streamd.sinks.webrtc.probe import _moving_picture
from streamd.telemetry.metrics import Metrics
from tests.support.ports import free_ports
from tests.support.waiting import timeout
from tests.support.webrtc_peers import LO, VIEWERS

pytestmark = pytest.mark.timeout(60)

Edit = Callable[[str], str]


class Viewer:
    """An aiortc peer and its session."""

    def __init__(self) -> None:
        self.peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.receiver = self.peer.addTransceiver("video", direction="recvonly").receiver
        self.session: Session | None = None

    async def offer(self) -> str:
        offer = await self.peer.createOffer()
        prepare(self.peer, VIEWERS)
        await self.peer.setLocalDescription(offer)
        return self.peer.localDescription.sdp

    async def pictures(self, count: int = 3) -> None:
        async with timeout(8):
            for _ in range(count):
                await self.receiver.track.recv()

    @property
    def source(self) -> int:
        return self.receiver.getSynchronizationSources()[0].source

    async def sends(self, packet: bytes) -> None:
        """Encrypted, as all that it sends."""
        await self.receiver.transport._send_rtp(packet)


class House:
    """One port for all, where one viewer's harm would be everybody's."""

    def __init__(self, hub: PacketHub) -> None:
        self.sink = WebRtcSink(WebRtcConfig(udp_ports=str(free_ports(1)[0]), interfaces=LO), loopback=True)
        self.viewers: list[Viewer] = []
        self._hub = hub
        self._metrics = Metrics().of_stream("porch")

    async def open(self, offer: str) -> Session:
        return await self.sink.open(offer, lambda *_: self._hub, self._metrics, stream="porch", view="depth")

    async def viewer(self, edit: Edit = lambda offer: offer) -> Viewer:
        one = Viewer()
        self.viewers.append(one)
        one.session = await self.open(edit(await one.offer()))
        await one.peer.setRemoteDescription(RTCSessionDescription(one.session.answer, "answer"))
        return one

    async def close(self) -> None:
        await self.sink.shutdown()
        await asyncio.gather(*(close_peer(one.peer) for one in self.viewers))


@pytest.fixture
async def house() -> AsyncIterator[House]:
    async with _moving_picture() as hub:
        house = House(hub)
        yield house
        await house.close()


@asynccontextmanager
async def calm_loop(*allowed: type[Exception]) -> AsyncIterator[None]:
    """Nothing is an error of ours. ``allowed`` are aiortc's, which end a viewer's own connection."""
    loop = asyncio.get_running_loop()
    errors: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: errors.append(context))
    yield
    loop.set_exception_handler(None)
    assert [each for each in errors if not isinstance(each.get("exception"), allowed)] == []


BAD_CANDIDATES = "".join(
    f"a=candidate:1 1 udp 1 {address} {port} typ host\r\n"
    for address, port in [
        ("127.0.0.1", 70_000),
        ("127.0.0.1", -1),
        ("127.0.0.1", 0),
        ("224.0.0.1", 9),
        ("255.255.255.255", 9),
        ("fe80::1%lo", 9),
        ("attacker.example", 9),
        ("0.0.0.0", 9),
    ]
)


async def test_candidates_that_close_sockets_close_none(house: House) -> None:
    """asyncio closes a socket that is to send to port 70,000."""
    good, bad = await house.viewer(), Viewer()
    house.viewers.append(bad)
    await good.pictures()
    async with calm_loop():
        session = await house.open(await bad.offer() + BAD_CANDIDATES)  # and it never connects: all are checked
        await session.trickle(BAD_CANDIDATES)
        await asyncio.sleep(0.5)  # a check each 20 ms
        await good.pictures()


async def test_a_nack_storm_is_answered_in_bounds(house: House) -> None:
    good, bad = await house.viewer(), await house.viewer()
    await asyncio.gather(good.pictures(), bad.pictures())
    assert bad.session is not None
    sender = bad.session._transceiver.sender
    history = vars(sender)["_RTCRtpSender__rtp_history"]
    lost = struct.pack("!HH", max(packet.sequence_number for packet in history.values()), 0)
    before = sender.transport._get_stats()
    storm = struct.pack("!BBHLL", 0x81, 205, 2 + 300, 1, sender._ssrc) + lost * 300
    for _ in range(100):
        await bad.sends(storm)
        await asyncio.sleep(0.001)
    await good.pictures(10)
    after = sender.transport._get_stats()
    sent = [next(iter(each.values())).packetsSent for each in (before, after)]
    assert 0 < sent[1] - sent[0] < 4 * rtp.MAX_RETRANSMITS_PER_S, "of 30,000 that it asked for"


async def test_rtp_and_rtcp_that_are_none_end_their_own_session_at_most(house: House) -> None:
    good, chance = await house.viewer(), random.Random(9)
    await good.pictures()
    remb = struct.pack("!BBHLL", 0x8F, 206, 4, 1, 0) + b"REMB" + b"\xff" + bytes(3)  # 255 sources, and none there
    packets = [remb, b"\xa0\x60" + bytes(10) + b"\xff", b"\xa1\xc9\0\1" + b"\xff" * 4, b"\x80\xc8\xff\xff" + bytes(4)]
    packets += [
        struct.pack("!BBH", 0x80 | chance.randrange(64), chance.choice(range(200, 207)), words)
        + chance.randbytes(4 * words)
        for words in [chance.randrange(2, 12) for _ in range(300)]
    ]
    packets += [bytes([0x80 | chance.randrange(64), chance.randrange(128)]) + chance.randbytes(40) for _ in range(300)]
    async with calm_loop(struct.error):  # of its REMB parser
        for start in range(0, len(packets), 50):
            bad = await house.viewer()
            await bad.pictures(1)
            for packet in packets[start : start + 50]:
                # Its own library refuses some; and the session may have been ended.
                with suppress(pylibsrtp.Error, ConnectionError):
                    await bad.sends(packet)
            await good.pictures(1)
    await good.pictures()


async def test_nothing_that_a_viewer_sends_is_decoded_or_kept(house: House) -> None:
    """Sections that send, and a data channel, as some players open one."""
    one = Viewer()
    house.viewers.append(one)
    for kind, direction in [("video", "sendonly"), ("audio", "sendrecv")]:
        one.peer.addTransceiver(kind, direction=direction)
    channel = one.peer.createDataChannel("x")
    session = await house.open(await one.offer())
    await one.peer.setRemoteDescription(RTCSessionDescription(session.answer, "answer"))
    assert re.findall("a=(sendonly|recvonly|sendrecv|inactive)", session.answer) == ["sendonly", "inactive", "inactive"]
    await one.pictures()
    async with timeout(8):
        while channel.readyState != "closed":  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    assert session._peer.sctp is not None
    assert session._peer.sctp.state == "closed"
    await one.pictures()


SLOW: dict[str, Edit] = {
    "rtcp-fb": lambda offer: offer + "a=rtpmap:96 x/1\r\n" * 1500 + "a=rtcp-fb:96 a\r\n" * 1800,
    "ssrc": lambda offer: offer + "".join(f"a=ssrc:{number} cname:a\r\n" for number in range(2500)),
    "extmap": lambda offer: offer + "".join(f"a=extmap:{number} x\r\n" for number in range(3000)),
    "sections": lambda offer: offer + ("m=" + offer.split("m=")[1]) * 40,
    "candidates": lambda offer: offer + "a=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n" * 1300,
    "payload types": lambda offer: re.sub("(m=video .*)", r"\1" + " 97" * 15000, offer),
    "group": lambda offer: offer.replace("a=group:BUNDLE 0", "a=group:BUNDLE 0" + " 7" * 20000),
}


@pytest.mark.parametrize("kind", SLOW)
async def test_no_offer_stalls_the_loop(house: House, kind: str) -> None:
    """The work is counted, not timed: what aiortc's parser gets is bounded."""
    seen: list[str] = []
    asking = Viewer()
    house.viewers.append(asking)
    offer = SLOW[kind](await asking.offer())[:65536]
    parse = RTCPeerConnection.setRemoteDescription

    async def watched(self: RTCPeerConnection, description: RTCSessionDescription) -> None:
        seen.append(description.sdp)
        await parse(self, description)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RTCPeerConnection, "setRemoteDescription", watched)
        with suppress(OfferRejected):
            session = await house.open(offer)
            await house.sink.close(session.id)
    assert all(len(sdp.splitlines()) <= 300 for sdp in seen)


async def test_a_storm_of_trickled_fragments_adds_nothing(house: House) -> None:
    one = await house.viewer()
    assert one.session is not None
    many = "".join(f"a=candidate:1 1 udp 1 192.0.2.1 {port} typ host\r\n" for port in range(1000, 2300))
    for _ in range(20):
        await one.session.trickle(many)
    (connection,) = {each.receiver for each in one.session._filters}
    assert len(connection.remote_candidates) <= 40
    await one.pictures()
