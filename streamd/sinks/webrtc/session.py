"""One viewer: its offer answered, its candidates taken, its end."""

from __future__ import annotations

import asyncio
import functools
import logging
import secrets
from collections.abc import Callable

from aiortc import RTCPeerConnection, RTCRtpSender, RTCSessionDescription
from aiortc.exceptions import InvalidStateError, OperationError
from aiortc.sdp import candidate_from_sdp
from aiortc.stats import RTCRemoteInboundRtpStreamStats, RTCTransportStats

from streamd.config.sections import WebRtcConfig
from streamd.errors import OfferRejected
from streamd.media.frames import Codec
from streamd.media.hub import PacketHub, Subscription
from streamd.sinks.webrtc.ice import Reach
from streamd.sinks.webrtc.levels import with_level
from streamd.sinks.webrtc.link import Link
from streamd.sinks.webrtc.rtp import Packer, ViewerTrack, hook_receiver, hook_sender
from streamd.states import KeyframeReason

CLOSE_TIMEOUT_S = 5.0
MAX_CANDIDATES = 32
MAX_SECTIONS = 8
MIME_TYPES: dict[Codec, str] = {"h264": "video/H264", "vp8": "video/VP8"}
"""Those that come first are tried first."""

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


Hubs = Callable[[Codec, bool], PacketHub]
"""The hub of a view's rendition: in this codec, light or not."""


class Session:
    """One viewer, from its offer to its end."""

    def __init__(self, stream: str, view: str, config: WebRtcConfig, reach: Reach) -> None:
        self.id = secrets.token_urlsafe(16)
        self.stream, self.view = stream, view
        self.answer = ""
        self.gone = asyncio.Event()
        """Set when nothing of the viewer is left."""
        self.over: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        """Why it has to end, once it has to."""
        self._config = config
        self._reach = reach
        self._offer: list[str] = []
        self._candidates = 0
        self._link = Link()
        self._packer: Packer | None = None
        self._connect("h264")

    def _connect(self, codec: Codec) -> None:
        """A peer that sends in this codec and no other."""
        self._codec: Codec = codec
        self._peer = RTCPeerConnection(self._reach.configuration)
        self._peer.on("connectionstatechange", functools.partial(self._on_state, self._peer))
        # Ours before the offer comes, so that the preferences filter the answer.
        self._transceiver = self._peer.addTransceiver("video", direction="sendonly")
        hook_receiver(self._transceiver.receiver)
        wanted = (MIME_TYPES[codec], "video/rtx")
        known = RTCRtpSender.getCapabilities("video").codecs
        self._transceiver.setCodecPreferences([c for c in known if c.mimeType in wanted])

    @property
    def connected(self) -> bool:
        return self._peer.connectionState == "connected"

    async def negotiate(self, offer_sdp: str, hubs: Hubs, on_drop: Callable[[int], None]) -> None:
        """Answers the offer and takes a seat at a hub. Raises OfferRejected."""
        self._offer = [line for line in offer_sdp.splitlines() if self._is_wanted(line)]
        if sum(line.startswith("m=") for line in self._offer) > MAX_SECTIONS:
            raise OfferRejected("bad_offer", f"more than {MAX_SECTIONS} media sections")
        if not any(line.startswith("a=fingerprint:") for line in self._offer):
            raise OfferRejected("bad_offer", "no a=fingerprint: streamd sends encrypted media only")
        try:
            await self._agree(RTCSessionDescription("\r\n".join(self._offer) + "\r\n", "offer"))
            # The keyframe asked for here is encoded while the viewer shakes hands.
            self._hubs = hubs
            seat = Subscription(hubs(self._codec, False), on_drop=on_drop)
            self._take_seat(seat)
            with self._reach.gathering():
                await self._peer.setLocalDescription()
        except _MALFORMED as error:
            raise OfferRejected("bad_offer", f"not a usable SDP offer: {str(error) or type(error).__name__}") from error
        if self._transceiver.currentDirection != "sendonly":
            raise OfferRejected("bad_offer", "the offer has no video section that wants to receive")
        self.answer = self._reach.answer(with_level(self._peer.localDescription.sdp, seat.hub.size))

    async def _agree(self, offer: RTCSessionDescription) -> None:
        """Takes the offer in the first codec that both know. Raises OfferRejected when there is none."""
        for codec in MIME_TYPES:
            if codec != self._codec:
                refused = self._peer
                self._connect(codec)
                await refused.close()
            try:
                return await self._peer.setRemoteDescription(offer)
            except OperationError:
                continue
        raise OfferRejected("no_codec", "no codec in common: streamd sends H.264 (packetization-mode 1) and VP8")

    def _take_seat(self, seat: Subscription) -> None:
        track = ViewerTrack(seat)
        track.on("ended", functools.partial(self.end, "the viewer left"))
        sender = self._transceiver.sender
        sender.replaceTrack(track)
        self._seat = seat
        self._packer = hook_sender(
            sender,
            lambda: seat.hub.request_keyframe(KeyframeReason.PLI),
            playout_delay_max_ms=self._config.playout_delay_max_ms,
        )
        track.hooked = self._packer is not None

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
        """How many packets came from the viewer so far; None before its first receiver report. Moves the
        viewer to the rendition that its link carries."""
        stats = (await self._transceiver.sender.getStats()).values()
        report = next((s for s in stats if isinstance(s, RTCRemoteInboundRtpStreamStats)), None)
        if report is None:
            return None
        self._adapt(report.fractionLost / 256)
        return sum(s.packetsReceived for s in stats if isinstance(s, RTCTransportStats))

    def _adapt(self, lost: float) -> None:
        remb_bps = self._packer.target_bitrate if self._packer else None
        now = asyncio.get_running_loop().time()
        if self._link.report(now, remb_bps=remb_bps, lost=lost, sent_bps=self._seat.hub.bits_per_second):
            self._seat.move(self._hubs(self._codec, self._link.light))
            kind = "light" if self._link.light else "full"
            log.info("%s: viewer %s goes on in the %s rendition", self.stream, self.id[:6], kind)

    def _on_state(self, peer: RTCPeerConnection) -> None:
        if peer is self._peer and peer.connectionState in ("failed", "closed"):
            self.end(f"connection {peer.connectionState}")

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
