"""One viewer: its offer answered, its candidates taken, its end."""

from __future__ import annotations

import asyncio
import functools
import logging
import secrets
from collections.abc import Callable

from aiortc import RTCPeerConnection, RTCRtpSender, RTCRtpTransceiver, RTCSessionDescription
from aiortc.exceptions import OperationError
from aiortc.stats import RTCRemoteInboundRtpStreamStats, RTCTransportStats

from streamd.config.sections import WebRtcConfig
from streamd.errors import OfferRejected
from streamd.media.frames import Codec
from streamd.media.hub import PacketHub, Subscription
from streamd.sinks.webrtc import privates
from streamd.sinks.webrtc.closing import close_peer
from streamd.sinks.webrtc.filter import FilteredProtocol
from streamd.sinks.webrtc.ice import Connectivity, ice_transports
from streamd.sinks.webrtc.levels import with_level
from streamd.sinks.webrtc.offer import MALFORMED, Offer
from streamd.sinks.webrtc.rendition import RenditionChoice
from streamd.sinks.webrtc.rtp import Packer, ViewerTrack, hook_sender
from streamd.states import KeyframeReason

CLOSE_TIMEOUT_S = 5.0
MIME_TYPES: dict[Codec, str] = {"h264": "video/H264", "vp8": "video/VP8"}
"""Those that come first are tried first."""

log = logging.getLogger(__name__)


Hubs = Callable[[Codec, bool], PacketHub]
"""The hub of a view's rendition: in this codec, light or not. Asked again with each report: what a stream has for the
viewer's height changes with the size of its source."""


class Session:
    """One viewer, from its offer to its end."""

    def __init__(self, stream: str, view: str, config: WebRtcConfig, connectivity: Connectivity) -> None:
        self.id = secrets.token_urlsafe(16)
        self.stream, self.view = stream, view
        self.answer = ""
        self.opened_at = asyncio.get_running_loop().time()
        self.gone = asyncio.Event()
        """Set when nothing of the viewer is left."""
        self.over: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        """Why it has to end, once it has to."""
        self._config = config
        self._connectivity = connectivity
        self._offer: Offer | None = None
        self._choice = RenditionChoice()
        self._codec: Codec = "h264"
        self._peer, self._transceiver = self._connect(self._codec)
        self._hubs: Hubs | None = None
        self._subscription: Subscription | None = None
        self._packer: Packer | None = None
        self._filters: tuple[FilteredProtocol, ...] = ()

    def _connect(self, codec: Codec) -> tuple[RTCPeerConnection, RTCRtpTransceiver]:
        """A peer that sends in this codec and no other."""
        peer = RTCPeerConnection(self._connectivity.configuration)
        peer.on("connectionstatechange", functools.partial(self._on_state, peer))
        # Ours before the offer comes, so that the preferences filter the answer.
        transceiver = peer.addTransceiver("video", direction="sendonly")
        wanted = (MIME_TYPES[codec], "video/rtx")
        known = RTCRtpSender.getCapabilities("video").codecs
        transceiver.setCodecPreferences([c for c in known if c.mimeType in wanted])
        return peer, transceiver

    @property
    def connected(self) -> bool:
        return self._peer.connectionState == "connected"

    async def negotiate(self, offer_sdp: str, hubs: Hubs, on_drop: Callable[[int], None]) -> None:
        """Answers the offer and subscribes to a hub. Raises OfferRejected."""
        self._offer, self._hubs = Offer(offer_sdp), hubs
        try:
            await self._agree(self._offer)
            for other in self._peer.getTransceivers():
                # aiortc would decode what a viewer sends, into a queue without bound.
                if other is not self._transceiver:
                    other.direction = "inactive"
            # The keyframe asked for here is encoded while the viewer shakes hands.
            subscription = Subscription(hubs(self._codec, False), on_drop=on_drop)
            self._send(subscription)
            self._connectivity.prepare(self._peer)
            await self._peer.setLocalDescription()
        except MALFORMED as error:
            raise self._offer.unusable() from error
        if self._transceiver.currentDirection != "sendonly":
            raise OfferRejected("bad_offer", "the offer has no video section that wants to receive")
        self._filters = privates.filters(ice_transports(self._peer))
        self.answer = self._connectivity.answer(with_level(self._peer.localDescription.sdp, subscription.hub.size))

    async def _agree(self, offer: Offer) -> None:
        """Takes the offer in the first codec that both know. Raises OfferRejected when there is none."""
        for codec in MIME_TYPES:
            if codec != self._codec:
                refused = self._peer
                self._codec = codec
                self._peer, self._transceiver = self._connect(codec)
                await close_peer(refused)
            try:
                return await self._peer.setRemoteDescription(RTCSessionDescription(offer.sdp, "offer"))
            except OperationError:
                continue
        raise offer.no_codec()

    def _send(self, subscription: Subscription) -> None:
        track = ViewerTrack(subscription)
        track.on("ended", functools.partial(self.end, "the viewer left"))
        sender = self._transceiver.sender
        sender.replaceTrack(track)
        self._subscription = subscription
        self._packer = hook_sender(
            sender,
            lambda: subscription.hub.request_keyframe(KeyframeReason.PLI),
            playout_delay_max_ms=self._config.playout_delay_max_ms,
        )
        track.hooked = self._packer is not None

    async def trickle(self, fragment: str) -> None:
        """Takes the candidates of a ``trickle-ice-sdpfrag``. Raises OfferRejected."""
        if self._offer is None:
            raise OfferRejected("bad_offer", "the offer is not answered yet")
        for candidate in self._offer.candidates(fragment):
            await self._peer.addIceCandidate(candidate)

    async def packets_received(self) -> int | None:
        """How many came from the viewer so far; None before its first receiver report. Moves the viewer to the
        rendition that its connection carries."""
        await self._close_data_channels()
        stats = (await self._transceiver.sender.getStats()).values()
        report = next((s for s in stats if isinstance(s, RTCRemoteInboundRtpStreamStats)), None)
        if report is None:
            return None
        self._adapt(report.fractionLost / 256)
        return sum(s.packetsReceived for s in stats if isinstance(s, RTCTransportStats))

    async def _close_data_channels(self) -> None:
        """Some players open one; it is not needed, and aiortc buffers its fragments without a bound."""
        sctp = self._peer.sctp
        if sctp is not None and sctp.state in ("connecting", "connected"):
            await sctp.stop()

    @property
    def last_packet_at(self) -> float | None:
        """When the last packet of any kind came, ICE's checks among them, by the loop's clock; None: never, or not
        known."""
        return max((each.last_packet_at for each in self._filters if each.last_packet_at is not None), default=None)

    def _adapt(self, lost: float) -> None:
        if self._subscription is None or self._hubs is None:
            return
        remb_bps = self._packer.target_bitrate if self._packer else None
        now, sent_bps = asyncio.get_running_loop().time(), self._subscription.hub.bits_per_second
        if self._choice.report(now, remb_bps=remb_bps, lost=lost, sent_bps=sent_bps):
            kind = "light" if self._choice.light else "full"
            log.info("%s: viewer %s goes on in the %s rendition", self.stream, self.id[:6], kind)
        hub = self._hubs(self._codec, self._choice.light)
        if hub is not self._subscription.hub:  # or the size of the source is known by now, or is another
            self._subscription.move(hub)

    def _on_state(self, peer: RTCPeerConnection) -> None:
        if peer is self._peer and peer.connectionState in ("failed", "closed"):
            self.end(f"connection {peer.connectionState}")

    def end(self, reason: str) -> None:
        """The first reason counts."""
        if not self.over.done():
            self.over.set_result(reason)

    async def discard(self) -> None:
        """Frees the subscription, sockets and tasks."""
        track = self._transceiver.sender.track
        if track is not None:
            track.stop()
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await close_peer(self._peer)
        except TimeoutError:
            log.warning("%s: viewer %s: aiortc did not close in %g s", self.stream, self.id[:6], CLOSE_TIMEOUT_S)
        except MALFORMED as error:  # nothing is open yet after an offer that bundles sections it does not have
            log.debug("%s: viewer %s: %r at closing", self.stream, self.id[:6], error)
