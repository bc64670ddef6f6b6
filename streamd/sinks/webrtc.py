"""WebRTC viewers: one session each, all fed by the packets that were encoded once.

The only file that imports aiortc and aioice, pinned to ``aiortc>=1.15,<2`` and ``aioice<1``.
Whatever they do not offer in public is reached for in ``_hook_sender`` (per viewer) and
``_tune_aioice`` (per process), nowhere else, and is done without if a release moves it.
Everything runs on the event loop.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import secrets
from collections.abc import Callable
from typing import Any

import aioice.ice
import av
from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCPeerConnection,
    RTCRtpSender,
    RTCSessionDescription,
)
from aiortc.codecs import HEADER_EXTENSIONS
from aiortc.codecs.h264 import H264Encoder
from aiortc.exceptions import InvalidStateError, OperationError
from aiortc.mediastreams import MediaStreamError
from aiortc.rtcrtpparameters import RTCRtpHeaderExtensionParameters, RTCRtpParameters
from aiortc.rtp import HeaderExtensions, HeaderExtensionsMap
from aiortc.sdp import candidate_from_sdp
from aiortc.stats import RTCRemoteInboundRtpStreamStats, RTCTransportStats

from streamd.errors import OfferRejected, ViewersFull
from streamd.hub import PacketHub, Subscription
from streamd.media import TIME_BASE, EncodedPacket
from streamd.metrics import StreamMetrics

JOINS_AT_ONCE = 4
CLOSE_TIMEOUT_S = 5.0
MAX_CANDIDATES = 32
MAX_SECTIONS = 8

PLAYOUT_DELAY = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay"
CODECS = [c for c in RTCRtpSender.getCapabilities("video").codecs if c.mimeType in ("video/H264", "video/rtx")]

# What aiortc's parser and negotiation raise on SDP that is not what it should be (fuzzed).
_MALFORMED = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    InvalidStateError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)

log = logging.getLogger(__name__)

_system_addresses: Callable[..., list[str]] = getattr(aioice.ice, "get_host_addresses", lambda **_: [])

if all(extension.uri != PLAYOUT_DELAY for extension in HEADER_EXTENSIONS["video"]):
    HEADER_EXTENSIONS["video"].append(RTCRtpHeaderExtensionParameters(id=14, uri=PLAYOUT_DELAY))


class Session:
    """One viewer, from its offer to its end."""

    def __init__(self, stream: str, view: str) -> None:
        self.id = secrets.token_urlsafe(16)
        self.stream, self.view = stream, view
        self.answer = ""
        self.gone = asyncio.Event()
        """Set when nothing of the viewer is left."""
        self.over: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        """Why it has to end, once it has to."""
        self._offer: list[str] = []
        self._candidates = 0
        self._peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._peer.on("connectionstatechange", self._on_state)
        # Ours before the offer comes, so that the preferences filter the answer.
        self._transceiver = self._peer.addTransceiver("video", direction="sendonly")
        self._transceiver.setCodecPreferences(CODECS)

    @property
    def connected(self) -> bool:
        return self._peer.connectionState == "connected"

    async def negotiate(self, offer_sdp: str, hub: PacketHub, on_drop: Callable[[int], None]) -> None:
        """Answers the offer and takes a seat at the hub. Raises OfferRejected."""
        self._offer = [line for line in offer_sdp.splitlines() if self._is_wanted(line)]
        if sum(line.startswith("m=") for line in self._offer) > MAX_SECTIONS:
            raise OfferRejected("bad_offer", f"more than {MAX_SECTIONS} media sections")
        if not any(line.startswith("a=fingerprint:") for line in self._offer):
            raise OfferRejected("bad_offer", "no a=fingerprint: streamd sends encrypted media only")
        try:
            await self._peer.setRemoteDescription(RTCSessionDescription("\r\n".join(self._offer) + "\r\n", "offer"))
            # The keyframe asked for here is encoded while the viewer shakes hands.
            track = _ViewerTrack(Subscription(hub, on_drop=on_drop))
            track.on("ended", functools.partial(self.end, "the viewer left"))
            sender = self._transceiver.sender
            sender.replaceTrack(track)
            track.hooked = _hook_sender(sender, functools.partial(hub.request_keyframe, "pli"))
            await self._peer.setLocalDescription()
        except OperationError:
            raise OfferRejected("no_codec", "no codec in common: streamd sends H.264, packetization-mode 1") from None
        except _MALFORMED as error:
            raise OfferRejected("bad_offer", f"not a usable SDP offer: {str(error) or type(error).__name__}") from error
        if self._transceiver.currentDirection != "sendonly":
            raise OfferRejected("bad_offer", "the offer has no video section that wants to receive")
        self.answer = self._peer.localDescription.sdp

    async def trickle(self, fragment: str) -> None:
        """Takes the candidates of a ``trickle-ice-sdpfrag``. Raises OfferRejected."""
        section = None
        for line in fragment.splitlines():
            if line.startswith("a=ice-ufrag:") and line not in self._offer:
                raise OfferRejected("no_ice_restart", "ICE restart is not supported: post a new offer")
            if line.startswith("a=mid:"):
                section = line.removeprefix("a=mid:")
            elif line.startswith("a=candidate:") and self._is_wanted(line):
                try:
                    candidate = candidate_from_sdp(line.removeprefix("a=candidate:"))
                except _MALFORMED as error:
                    raise OfferRejected("bad_offer", f"not a candidate: {line}") from error
                candidate.sdpMid, candidate.sdpMLineIndex = section, 0 if section is None else None
                await self._peer.addIceCandidate(candidate)

    def _is_wanted(self, line: str) -> bool:
        """Whether aiortc gets to see this line of SDP.

        Not a ``.local`` name, which costs 1 s to look up in vain (the viewer's own checks show its
        address); not the end of candidates, after which aioice gives up on viewers that sent none
        of use; and no more candidates than an honest viewer has.
        """
        if line.startswith("a=end-of-candidates"):
            return False
        if not line.startswith("a=candidate:"):
            return True
        words = line.lower().split()
        if len(words) > 4 and (words[1:3] != ["1", "udp"] or words[4].endswith(".local")):
            return False
        self._candidates += 1
        return self._candidates <= MAX_CANDIDATES

    async def heard(self) -> int | None:
        """How many packets came from the viewer so far; None before its first receiver report."""
        stats = (await self._transceiver.sender.getStats()).values()
        if not any(isinstance(s, RTCRemoteInboundRtpStreamStats) for s in stats):
            return None
        return sum(s.packetsReceived for s in stats if isinstance(s, RTCTransportStats))

    def _on_state(self) -> None:
        if self._peer.connectionState in ("failed", "closed"):
            self.end(f"connection {self._peer.connectionState}")

    def end(self, reason: str) -> None:
        """The first reason counts."""
        if not self.over.done():
            self.over.set_result(reason)

    async def discard(self) -> None:
        """Frees the seat at the hub, sockets and tasks."""
        track = self._transceiver.sender.track
        if track is not None:
            track.stop()
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._peer.close()
        except TimeoutError:
            log.warning("%s: viewer %s: aiortc did not close in %g s", self.stream, self.id[:6], CLOSE_TIMEOUT_S)
        except _MALFORMED as error:  # nothing is open yet after an offer that bundles sections it does not have
            log.debug("%s: viewer %s: %r at closing", self.stream, self.id[:6], error)


class WebRtcSink:
    """All WebRTC viewers of the daemon."""

    def __init__(
        self,
        max_viewers: int = 64,
        *,
        loopback: bool = False,
        join_timeout_s: float = 15.0,
        report_timeout_s: float = 8.0,
    ) -> None:
        """``loopback`` offers 127.0.0.1 too, for viewers on this box."""
        _tune_aioice(loopback)
        self.max_viewers = max_viewers
        self._join_timeout_s = join_timeout_s
        self._report_timeout_s = report_timeout_s
        self._joining = asyncio.Semaphore(JOINS_AT_ONCE)  # a join costs 13 ms of CPU: 16 at once stall the loop 150 ms
        self._sessions: dict[str, Session] = {}
        self._attending: set[asyncio.Task[None]] = set()

    @property
    def count(self) -> int:
        return len(self._sessions)

    def session(self, session_id: str) -> Session | None:
        return self._sessions.get(session_id)

    def sessions_of(self, stream: str) -> list[Session]:
        return [session for session in self._sessions.values() if session.stream == stream]

    async def open(self, offer_sdp: str, hub: PacketHub, metrics: StreamMetrics, *, stream: str, view: str) -> Session:
        """Answers a viewer's offer. Raises OfferRejected and ViewersFull."""
        if len(self._sessions) >= self.max_viewers:
            raise ViewersFull(self.max_viewers)
        session = Session(stream, view)
        self._sessions[session.id] = session  # its seat is taken while it waits for the semaphore
        try:
            async with self._joining:
                await session.negotiate(offer_sdp, hub, metrics.viewer_drops.inc)
        except BaseException:
            await self._discard(session)
            raise
        task = asyncio.create_task(self._attend(session, metrics), name=f"viewer-{session.id[:6]}")
        self._attending.add(task)
        task.add_done_callback(self._attending.discard)
        return session

    async def trickle(self, session_id: str, fragment: str) -> None:
        """Raises KeyError for an unknown session and OfferRejected."""
        await self._sessions[session_id].trickle(fragment)

    async def close(self, session_id: str, reason: str = "closed") -> None:
        """Returns when the session is gone. Safe to repeat."""
        session = self._sessions.get(session_id)
        if session is not None:
            session.end(reason)
            await session.gone.wait()

    async def shutdown(self) -> None:
        """Closes every session; no viewer gets in any more."""
        self.max_viewers = 0
        await asyncio.gather(*(self.close(session_id, "shutdown") for session_id in tuple(self._sessions)))

    async def _attend(self, session: Session, metrics: StreamMetrics) -> None:
        """Stays with a session until it has to end, then clears up behind it."""
        name, short = session.stream, session.id[:6]
        metrics.viewers(session.view, +1)
        log.info("%s: viewer %s opened: %s, %d in all", name, short, session.view, self.count)
        try:
            session.end(await self._until_over(session))
            log.info("%s: viewer %s closed: %s", name, short, session.over.result())
        finally:
            metrics.viewers(session.view, -1)
            await self._discard(session)

    async def _discard(self, session: Session) -> None:
        try:
            await session.discard()
        finally:
            del self._sessions[session.id]
            session.gone.set()

    async def _until_over(self, session: Session) -> str:
        """Why the session has to end.

        A browser that is killed says nothing, and one that never connects stays in "connecting"
        for ever. Receiver reports and ICE consent end them; a viewer that never reports is left to
        consent alone.
        """
        clock = asyncio.get_running_loop().time
        since, last = clock(), None
        while True:
            await asyncio.wait({session.over}, timeout=min(self._join_timeout_s, self._report_timeout_s) / 4)
            if session.over.done():
                return session.over.result()
            if not session.connected:
                if clock() - since > self._join_timeout_s:
                    return "never connected"
                continue
            heard = await session.heard()
            if heard is None or heard != last:
                since, last = clock(), heard
            elif clock() - since > self._report_timeout_s:
                return "no receiver reports"


class _ViewerTrack(MediaStreamTrack):
    """What aiortc's sender reads. One per viewer: the sender stops it at the end."""

    kind = "video"

    def __init__(self, subscription: Subscription) -> None:
        super().__init__()
        self._subscription = subscription
        self.hooked = False
        """The sender takes our packets as they are."""

    async def recv(self) -> Any:
        """An EncodedPacket for our packer, else an ``av.Packet``."""
        packet = await self._subscription.get()
        if packet is None:
            raise MediaStreamError
        return packet if self.hooked else _public(packet)

    def stop(self) -> None:
        self._subscription.close()
        super().stop()


def _public(packet: EncodedPacket) -> av.Packet[Any]:
    """What aiortc takes in public. Refers to the same bytes."""
    public: av.Packet[Any] = av.Packet(packet.data)
    public.pts = public.dts = packet.pts
    public.time_base = TIME_BASE
    public.is_keyframe = packet.is_keyframe
    return public


class _Packer:
    """Takes the place of a sender's encoder: what is encoded already is only split into RTP payloads."""

    def pack(self, packet: EncodedPacket) -> tuple[list[bytes], int]:
        return _rtp_payloads(packet)


@functools.lru_cache(maxsize=16)
def _rtp_payloads(packet: EncodedPacket) -> tuple[list[bytes], int]:
    """Split once, not once per viewer: they all come for a packet at about the same time."""
    return H264Encoder().pack(_public(packet))


class _NoPlayoutDelay(HeaderExtensionsMap):
    """Adds playout-delay 0/0 to every packet: Chromium then paints at once, not 40 ms later (measured)."""

    _element = b""

    def configure(self, parameters: RTCRtpParameters) -> None:
        super().configure(parameters)
        for extension in parameters.headerExtensions:
            if extension.uri == PLAYOUT_DELAY and 0 < extension.id < 15:
                self._element = bytes((extension.id << 4 | 2, 0, 0, 0))

    def set(self, values: HeaderExtensions) -> tuple[int, bytes]:
        profile, value = super().set(values)
        if self._element and profile in (0, 0xBEDE):  # RFC 8285 one-byte headers, padded to 4 bytes as is our element
            return 0xBEDE, value + self._element
        return profile, value


def _hook_sender(sender: RTCRtpSender, on_keyframe_request: Callable[[], None]) -> bool:
    """Everything private in aiortc that streamd touches; True when the sender takes EncodedPackets.

    - ``_send_keyframe``: what PLI and FIR call. Without it a viewer that lost a keyframe waits for the next.
    - ``__rtp_header_extensions_map``: playout-delay. Without it Chromium buffers 40 ms more.
    - ``__encoder``: split once for all. Without it every sender splits the public ``av.Packet`` for
      itself, which costs a quarter more.
    """
    attributes = vars(sender)
    if hasattr(sender, "_send_keyframe"):
        attributes["_send_keyframe"] = on_keyframe_request
    if "_RTCRtpSender__rtp_header_extensions_map" in attributes:
        attributes["_RTCRtpSender__rtp_header_extensions_map"] = _NoPlayoutDelay()
    if "_RTCRtpSender__encoder" in attributes:
        attributes["_RTCRtpSender__encoder"] = _Packer()
        return True
    return False


def _tune_aioice(loopback: bool) -> None:
    """Sets what aioice has no option for, for the whole process; the newest sink wins.

    - Consent (RFC 7675): a viewer that vanished is noticed after 7 s, not 30.
    - Addresses: aioice never offers 127.0.0.1, so nobody on a box without a network could watch.
      Offered on request, and when there is nothing else.
    """

    def host_addresses(use_ipv4: bool, use_ipv6: bool) -> list[str]:
        addresses = _system_addresses(use_ipv4=use_ipv4, use_ipv6=use_ipv6)
        return [*addresses, "127.0.0.1"] if use_ipv4 and (loopback or not addresses) else addresses

    aioice.ice.CONSENT_FAILURES, aioice.ice.CONSENT_INTERVAL = 3, 2
    aioice.ice.get_host_addresses = host_addresses
