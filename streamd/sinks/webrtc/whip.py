"""To a WHIP endpoint (RFC 9725): POST of an offer, the answer, DELETE; the media as any viewer gets it.

In H.264 where the server takes it, else VP8. From a free port of any address of this machine: what a server answers
comes back through the router, so no STUN or TURN server is asked.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from urllib.parse import quote, urljoin, urlsplit

from aiortc import RTCConfiguration, RTCPeerConnection, RTCRtpSender, RTCSessionDescription
from aiortc.exceptions import InternalError, OperationError

from streamd.config.address import SourceAddress
from streamd.config.listen import is_loopback
from streamd.config.push import PushTarget
from streamd.errors import NoWebRtc, OfferRejected, PushFailed
from streamd.media.frames import Codec
from streamd.media.hub import Subscription
from streamd.sinks.push.connection import connected, login_of
from streamd.sinks.push.feed import CONNECT_S, GOODBYE_S, SILENT_S, Feed
from streamd.sinks.push.http import HttpAnswer, ask
from streamd.sinks.webrtc import privates
from streamd.sinks.webrtc.closing import close_peer
from streamd.sinks.webrtc.gather import Gatherer
from streamd.sinks.webrtc.ice import ice_transports, prepare
from streamd.sinks.webrtc.offer import MALFORMED, Offer
from streamd.sinks.webrtc.ports import PortRange
from streamd.sinks.webrtc.rtp import ViewerTrack, hook_sender
from streamd.states import KeyframeReason

LOOK_EVERY_S = 0.5
ASK_S = 2.0
"""Of silence, then the session is asked for: a server that was started anew does not know it. Servers report once a
second; ICE asks every 5 s."""
ANSWER_S = 1.5
CLOSE_S = 5.0
"""For aiortc."""
_SDP = {"Content-Type": "application/sdp", "Accept": "application/sdp"}
_PRINTABLE = "".join(map(chr, range(33, 127)))
_MIME_TYPES = ("video/H264", "video/VP8", "video/rtx")
_REASONS = {401: "the token is not right", 403: "the token is not good for this", 404: "there is no such endpoint"}


async def push(target: PushTarget, feed: Feed) -> None:
    """Until the stream has gone. Raises PushFailed."""
    resource = _Resource(target.address, await login_of(target))
    async with connected(target.address, tls=False):
        pass  # somebody is there: worth a certificate, sockets and an offer
    call = _Call(loopback=is_loopback(target.address.host))
    try:
        offer = await call.offer()
        await call.take(await resource.post(offer))
        await call.connected()
        call.send(feed)
        feed.on_up()
        await call.over(resource)
    except NoWebRtc:
        raise PushFailed("this release of aiortc or aioice is not supported; see the log", refused=True) from None
    finally:
        await asyncio.gather(call.close(), resource.delete())


class _Resource:
    """The endpoint, and then the session there. By HTTP."""

    def __init__(self, address: SourceAddress, login: tuple[str, str] | None) -> None:
        """Raises PushFailed."""
        self._address = address
        self._path = quote(address.path, safe=_PRINTABLE) or "/"
        self._session: str | None = None
        token = login[1] if login else ""
        if not token.isascii() or not token.isprintable():
            raise PushFailed("the token has a character that no header can hold", refused=True)
        self._login = {"Authorization": f"Bearer {token}"} if token else {}
        self._tells: bool | None = None
        """Whether it tells of a session that is there; some servers know no OPTIONS. None: not asked yet."""

    async def post(self, offer: str) -> str:
        """The answer. Raises PushFailed."""
        answered = await self._ask("POST", self._path, {**_SDP, **self._login}, offer.encode())
        if answered.status != 201:
            raise PushFailed(_refusal(answered.status), refused=answered.status < 500)
        self._session = self._own(answered.headers.get("Location"))
        try:
            return answered.body.decode()
        except UnicodeDecodeError:
            raise PushFailed("answers no SDP", refused=True) from None

    def _own(self, location: str | None) -> str | None:
        """Where the session is. Another server does not get our token."""
        if not location:
            return None
        base = f"{self._address.scheme}://{self._address.netloc}"
        try:
            found = urlsplit(urljoin(base + self._path, location.strip()))
            port = found.port or (443 if found.scheme == "https" else 80)
        except ValueError:
            return None
        own = (self._address.scheme, self._address.host.lower(), self._address.port)
        if (found.scheme, found.hostname, port) != own:
            return None
        return quote(found.path + (f"?{found.query}" if found.query else ""), safe=_PRINTABLE) or "/"

    async def is_known(self) -> bool:
        """Whether the session may be there still. To be asked first when it is there for sure."""
        if self._session is None:
            return True
        try:
            answered = await self._ask("OPTIONS", self._session, self._login, within_s=ANSWER_S)
        except PushFailed as error:
            return error.reason == "does not answer"  # it may have been stopped; refused is gone
        is_known = answered.status not in (404, 410)
        if self._tells is None:
            self._tells = is_known
        return is_known or not self._tells

    async def delete(self) -> None:
        """Once, if there is a session."""
        session, self._session = self._session, None
        if session is not None:
            with suppress(PushFailed):
                await self._ask("DELETE", session, self._login, within_s=GOODBYE_S)

    async def _ask(
        self, method: str, path: str, headers: dict[str, str], body: bytes = b"", *, within_s: float = CONNECT_S
    ) -> HttpAnswer:
        return await ask(self._address, method, path, headers, body, within_s=within_s)


def _refusal(status: int) -> str:
    if 300 <= status < 400:
        return f"answers {status}: redirects are not followed, write the address that it leads to"
    return f"answers {status}" + (f": {_REASONS[status]}" if status in _REASONS else "")


class _Call:
    """The WebRTC connection."""

    def __init__(self, *, loopback: bool) -> None:
        self._gatherer = Gatherer(PortRange(), loopback=loopback)
        self._peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._transceiver = self._peer.addTransceiver("video", direction="sendonly")
        known = RTCRtpSender.getCapabilities("video").codecs
        self._transceiver.setCodecPreferences([c for name in _MIME_TYPES for c in known if c.mimeType == name])
        self._codec: Codec = "h264"
        self._changed = asyncio.Event()
        self._peer.on("connectionstatechange", self._changed.set)
        self._ended = False
        self._subscription: Subscription | None = None
        self._packer = hook_sender(self._transceiver.sender, self._on_lost_picture)

    async def offer(self) -> str:
        """Raises NoWebRtc and PushFailed."""
        prepare(self._peer, self._gatherer)
        await self._peer.setLocalDescription(await self._peer.createOffer())
        sdp = self._peer.localDescription.sdp
        if "a=candidate:" not in sdp:
            raise PushFailed("this machine has no address to send from")
        return sdp

    async def take(self, answer: str) -> None:
        """Bounded and looked at as the offers of viewers are. Raises PushFailed."""
        try:
            sdp = Offer(answer).sdp
            await self._peer.setRemoteDescription(RTCSessionDescription(sdp, "answer"))
        except (OfferRejected, InternalError, OperationError, *MALFORMED):
            raise PushFailed("answers with no SDP that takes H.264 or VP8 video", refused=True) from None
        if self._transceiver.currentDirection != "sendonly":
            raise PushFailed("takes no video", refused=True)
        self._codec = "h264" if "packetization-mode=1" in sdp else "vp8"

    async def connected(self) -> None:
        """Raises PushFailed."""
        try:
            async with asyncio.timeout(CONNECT_S):
                while self._peer.connectionState != "connected":
                    self._check()
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise PushFailed("no connection for media comes about: UDP may be blocked") from None

    def _check(self) -> None:
        if self._peer.connectionState in ("failed", "closed"):
            raise PushFailed("the connection for media ended")

    def send(self, feed: Feed) -> None:
        """Raises StreamGone."""
        self._subscription = feed.subscribe(self._codec)
        track = ViewerTrack(self._subscription)
        track.hooked = self._packer is not None
        track.on("ended", self._end)
        self._transceiver.sender.replaceTrack(track)

    def _on_lost_picture(self) -> None:
        if self._subscription is not None:
            self._subscription.hub.request_keyframe(KeyframeReason.PLI)

    def _end(self) -> None:
        self._ended = True
        self._changed.set()

    async def over(self, resource: _Resource) -> None:
        """Returns when the stream has gone. Raises PushFailed."""
        await resource.is_known()
        clock = asyncio.get_running_loop().time
        filters, since, ask_s = privates.filters(ice_transports(self._peer)), clock(), ASK_S
        while not self._ended:
            self._check()
            silent_s = clock() - max((each.last_packet_at or since for each in filters), default=clock())
            if silent_s > SILENT_S:
                raise PushFailed("has gone silent")
            if silent_s < ASK_S:
                ask_s = ASK_S
            elif silent_s > ask_s:
                if not await resource.is_known():
                    raise PushFailed("has ended the session")
                ask_s = silent_s + ASK_S
            self._changed.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY_S):
                    await self._changed.wait()

    async def close(self) -> None:
        if self._subscription is not None:
            self._subscription.close()
        with suppress(TimeoutError, *MALFORMED):
            async with asyncio.timeout(CLOSE_S):
                await close_peer(self._peer)
