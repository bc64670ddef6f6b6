"""Watches streamd as a browser would, and tests its STUN and TURN servers: for ``streamd doctor --webrtc``.

Everything here is one short visit, on an event loop of its own.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from aioice import stun, turn
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError
from aiortc.rtcicetransport import parse_stun_turn_uri
from aiortc.sdp import candidate_from_sdp

from streamd.config.sections import WebRtcConfig
from streamd.media.encode import LiveEncoder
from streamd.media.frames import Picture, StampClock
from streamd.media.hub import PacketHub
from streamd.sinks.webrtc.closing import close_peer
from streamd.sinks.webrtc.gather import Gatherer
from streamd.sinks.webrtc.ice import prepare
from streamd.sinks.webrtc.ports import PortRange
from streamd.sinks.webrtc.sink import WebRtcSink
from streamd.telemetry.metrics import Metrics

CALL_S = 5.0
ANSWER_S = 2.0
PICTURE_EVERY_S = 0.05
Step = Literal["", "ICE", "DTLS", "SRTP"]


@dataclass(frozen=True)
class Call:
    """One try to watch, through one of the addresses that a viewer is offered."""

    address: str
    kind: str
    """host, srflx (advertised, or found by STUN) or relay (TURN)."""
    failed: Step
    """The first step that did; empty when a picture came."""
    seconds: float


async def call(config: WebRtcConfig, *, loopback: bool) -> list[Call]:
    """Through each address in turn. Raises ConfigError, and ViewersFull when no port can be had."""
    sink = WebRtcSink(config, loopback=loopback)
    try:
        async with _moving_picture() as hub:
            return [
                await _call_through(address, kind, sink, hub) for address, kind in await _what_is_offered(sink, hub)
            ]
    finally:
        await sink.shutdown()


@asynccontextmanager
async def _moving_picture() -> AsyncIterator[PacketHub]:
    """A hub where a small gray picture goes round."""
    encoder, clock = LiveEncoder(64, 64), StampClock()
    hub = PacketHub(asyncio.get_running_loop(), lambda reason: encoder.request_keyframe())
    gray = np.full((96, 64), 128, np.uint8)

    async def publish() -> None:
        while True:
            hub.publish_threadsafe(encoder.encode(Picture.from_ndarray(gray, format="yuv420p"), clock.stamp()))
            await asyncio.sleep(PICTURE_EVERY_S)

    publishing = asyncio.create_task(publish(), name="probe")
    try:
        yield hub
    finally:
        publishing.cancel()
        await asyncio.gather(publishing, return_exceptions=True)


async def _what_is_offered(sink: WebRtcSink, hub: PacketHub) -> list[tuple[str, str]]:
    """(address, kind) of each candidate."""
    async with _visit(sink, hub) as (_, answer):
        lines = re.findall(r"^a=candidate:(.*?)\r?$", answer, re.MULTILINE)
    candidates = [candidate_from_sdp(line) for line in lines]
    return list(dict.fromkeys((each.ip, each.type) for each in candidates))


@asynccontextmanager
async def _visit(
    sink: WebRtcSink, hub: PacketHub, *, interfaces: tuple[str, ...] = (), known: bool = False
) -> AsyncIterator[tuple[RTCPeerConnection, str]]:
    """A viewer that has its answer and has not taken it yet. ``known``: its addresses are in its offer."""
    viewer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    try:
        viewer.addTransceiver("video", direction="recvonly")
        prepare(viewer, Gatherer(PortRange(), interfaces))
        await viewer.setLocalDescription(await viewer.createOffer())
        offer = viewer.localDescription.sdp
        if not known:
            offer = re.sub(r"^a=(candidate|end-of-candidates).*\r\n", "", offer, flags=re.MULTILINE)
        metrics = Metrics().of_stream("doctor")
        session = await sink.open(offer, lambda codec, light: hub, metrics, stream="doctor", view="depth")
        try:
            yield viewer, session.answer
        finally:
            await sink.close(session.id, "the doctor has seen enough")
    finally:
        await close_peer(viewer)


async def _call_through(address: str, kind: str, sink: WebRtcSink, hub: PacketHub) -> Call:
    """From the same address when it is this box's own; a relay must know the viewer before it lets it in."""
    mine = (address,) if kind == "host" else ()
    started = time.monotonic()
    async with _visit(sink, hub, interfaces=mine, known=kind == "relay") as (viewer, answer):
        this = re.compile(rf"a=candidate:.* {re.escape(address)} \d+ typ {kind}\b")
        lines = [line for line in answer.splitlines() if not line.startswith("a=candidate:") or this.match(line)]
        await viewer.setRemoteDescription(RTCSessionDescription("\r\n".join(lines) + "\r\n", "answer"))
        receiver = viewer.getReceivers()[0]
        try:
            async with asyncio.timeout(CALL_S):
                await receiver.track.recv()
        except (TimeoutError, MediaStreamError):
            failed = _failed_step(receiver.transport)
        else:
            failed = ""
    return Call(address, kind, failed, time.monotonic() - started)


def _failed_step(dtls: Any) -> Step:
    """Of aiortc's DTLS transport, which has the ICE transport below it."""
    if dtls.transport.state != "completed":
        return "ICE"
    return "SRTP" if dtls.state == "connected" else "DTLS"


async def ask(url: str, username: str, credential: str) -> str:
    """The address that a STUN server sees us at, or that a TURN server gives us.

    Raises OSError (TimeoutError after 2 s) with what went wrong, ValueError for a URL that aiortc cannot use.
    """
    parsed = parse_stun_turn_uri(url)
    where = parsed["host"], parsed["port"]
    try:
        async with asyncio.timeout(ANSWER_S):
            if parsed["scheme"] == "stun":
                return await _binding(where)
            secure = parsed["scheme"] == "turns"
            return await _allocation(where, username, credential, secure, parsed["transport"])
    except stun.TransactionFailed as error:
        code, reason = error.response.attributes.get("ERROR-CODE", (0, "no reason given"))
        raise ConnectionRefusedError(f"refuses: {code} {reason}") from None
    except (TimeoutError, stun.TransactionTimeout):
        raise TimeoutError(f"no answer within {ANSWER_S:g} s") from None


async def _binding(where: tuple[str, int]) -> str:
    """RFC 8489, section 12."""
    transport, client = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: turn.TurnClientUdpProtocol(where, None, None, 0, 0), remote_addr=where
    )
    try:
        response, _ = await client.request(stun.Message(stun.Method.BINDING, stun.Class.REQUEST))
        return str(response.attributes["XOR-MAPPED-ADDRESS"][0])
    finally:
        transport.close()


async def _allocation(where: tuple[str, int], username: str, credential: str, secure: bool, transport: str) -> str:
    """RFC 8656, section 7; given back at once."""
    lost = asyncio.Event()

    class Relayed(asyncio.DatagramProtocol):
        def connection_lost(self, exc: Exception | None) -> None:
            lost.set()

    relay, _ = await turn.create_turn_endpoint(
        Relayed, where, username=username, password=credential, ssl=secure, transport=transport
    )
    address = str(relay.get_extra_info("sockname")[0])
    relay.close()
    await lost.wait()
    return address
