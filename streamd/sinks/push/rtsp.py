"""To an RTSP server: ANNOUNCE, SETUP and RECORD (RFC 2326), and RTP between the messages on one TCP connection.

Our own client, over the messages and the RTP that the house has: PyAV's muxer keeps Python's lock while its peer
stalls, for ever, so that it would take a process for each target. Here nothing waits but a socket with a deadline.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from urllib.parse import quote

from streamd.config.push import PushTarget
from streamd.errors import PushFailed
from streamd.media.frames import EncodedPacket
from streamd.media.http_login import Challenge
from streamd.media.hub import Subscription
from streamd.media.rtsp_messages import Message, NotRtsp, Reader
from streamd.sinks.push.connection import connected, login_of
from streamd.sinks.push.feed import CONNECT_S, GOODBYE_S, SILENT_S, Feed
from streamd.sinks.rtsp.answers import REASONS
from streamd.sinks.rtsp.description import TRACK, sdp
from streamd.sinks.rtsp.rtp import RtpStream
from streamd.sinks.rtsp.transport import Interleaved

MAX_HEAD, MAX_BODY = 8192, 65536
READ_BYTES = 8192
MAX_BYTES_PER_S = 256 * 1024
"""From a server: it has receiver reports and short answers to send, a thousandth of this."""
ASK_EVERY_S = 3.0
"""Whether it is there; also keeps the session, for no server has a time-out as short as this."""
PICTURE_S = 10.0
"""A stream that wakes has its first picture by then, or shows that there is none."""
_PRINTABLE = "".join(map(chr, range(33, 127)))
_CHANNELS = re.compile(rb"interleaved=(\d{1,3})-(\d{1,3})", re.IGNORECASE)


async def push(target: PushTarget, feed: Feed) -> None:
    """Until the stream has gone. Raises PushFailed."""
    login = await login_of(target)
    address = target.address
    async with connected(address, tls=target.tls) as (reader, writer):
        uri = f"{address.scheme}://{address.netloc}{quote(address.path, safe=_PRINTABLE)}"
        client = _Client(reader, writer, uri, login)
        await client.greet()
        subscription = feed.subscribe("h264")
        try:
            first = await _first(subscription)
            if first is not None:
                await client.record(await client.announce(feed.title, first), feed, subscription, first)
        finally:
            subscription.close()


async def _first(subscription: Subscription) -> EncodedPacket | None:
    """A keyframe; None: the stream has gone. Raises PushFailed."""
    try:
        async with asyncio.timeout(PICTURE_S):
            return await subscription.get()
    except TimeoutError:
        raise PushFailed("the stream has no picture yet") from None


class _Client:
    """Of one connection. ``ask`` and ``_hear`` are one task's at a time."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, uri: str, login: tuple[str, str] | None
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._uri = uri
        self._login = login
        self._loop = asyncio.get_running_loop()
        self._reading = Reader(MAX_HEAD, MAX_BODY)
        self._sequence = 0
        self._session: bytes | None = None
        self._challenge: Challenge | None = None
        self._keeper = "OPTIONS"
        self._second = self._heard_bytes = 0
        self._is_up = False

    async def greet(self) -> None:
        """Whether there is an RTSP server at all, before a sleeping stream is woken for it."""
        answered = await self._ask_in_time("OPTIONS", self._uri)
        if b"GET_PARAMETER" in answered.get("Public"):
            self._keeper = "GET_PARAMETER"

    async def announce(self, title: str, first: EncodedPacket) -> Interleaved:
        """Returns how packets reach the server."""
        host = self._writer.get_extra_info("sockname")[0]
        body = sdp(title, host, first)
        await self._ask_in_time("ANNOUNCE", self._uri, [("Content-Type", b"application/sdp")], body)
        wanted = b"RTP/AVP/TCP;unicast;interleaved=0-1;mode=record"
        track = f"{self._uri.rstrip('/')}/{TRACK}"
        answered = await self._ask_in_time("SETUP", track, [("Transport", wanted)])
        self._session = answered.get("Session").partition(b";")[0].strip() or None
        transport = answered.get("Transport")
        if b"TCP" not in transport.upper():
            raise PushFailed("does not take RTP on the same connection (TCP)", refused=True)
        found = _CHANNELS.search(transport)
        rtp, rtcp = (int(found[1]), int(found[2])) if found else (0, 1)
        if max(rtp, rtcp) > 255 or rtp == rtcp:
            raise PushFailed("names channels that there are not", refused=True)
        await self._ask_in_time("RECORD", self._uri, [("Range", b"npt=0.000-")])
        return Interleaved(self._writer, (rtp, rtcp), 0)

    async def record(
        self, transport: Interleaved, feed: Feed, subscription: Subscription, first: EncodedPacket
    ) -> None:
        """Until the stream has gone, or the task is cancelled: says goodbye then. Raises PushFailed and OSError."""
        self._is_up = True
        feed.on_up()
        rtp = RtpStream()
        sending = asyncio.create_task(_send(transport, rtp, subscription, first), name="push-send")
        hearing = asyncio.create_task(self._look_after(), name="push-hear")
        try:
            done, _ = await asyncio.wait({sending, hearing}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (sending, hearing):
                task.cancel()
            await asyncio.wait({sending, hearing})
            if not any(not task.cancelled() and task.exception() for task in (sending, hearing)):
                await self._part(transport, rtp)
        for task in done:
            task.result()

    async def _look_after(self) -> None:
        """Asks now and then, and hears what it says. Raises PushFailed."""
        heard_at = ask_at = self._loop.time()
        while True:
            now = self._loop.time()
            if now >= ask_at:
                self._write(self._keeper, self._uri)
                ask_at = now + ASK_EVERY_S
            try:
                async with asyncio.timeout_at(min(ask_at, heard_at + SILENT_S)):
                    await self._hear()
                heard_at = self._loop.time()
            except TimeoutError:
                if self._loop.time() >= heard_at + SILENT_S:
                    raise PushFailed("has gone silent") from None

    async def _part(self, transport: Interleaved, rtp: RtpStream) -> None:
        transport.goodbye(rtp.bye())
        with suppress(PushFailed, OSError):
            async with asyncio.timeout(GOODBYE_S):
                await self._ask("TEARDOWN", self._uri)

    # -- messages ---------------------------------------------------------------------------------

    async def _ask_in_time(
        self, method: str, uri: str, headers: Sequence[tuple[str, bytes]] = (), body: bytes = b""
    ) -> Message:
        async with asyncio.timeout(CONNECT_S):
            return await self._ask(method, uri, headers, body)

    async def _ask(
        self, method: str, uri: str, headers: Sequence[tuple[str, bytes]] = (), body: bytes = b""
    ) -> Message:
        """The answer, of a good status. Raises PushFailed for any other."""
        answered = await self._answer(self._write(method, uri, headers, body))
        if answered.status == 401 and self._can_log_in(answered):
            answered = await self._answer(self._write(method, uri, headers, body))
        status = answered.status or 0
        if not 200 <= status < 300:
            known = REASONS.get(status, "redirects are not followed" if 300 <= status < 400 else "")
            raise PushFailed(f"answers {status} {known}".rstrip() + f" to {method}", refused=status < 500)
        return answered

    def _can_log_in(self, answered: Message) -> bool:
        """Once, for a login that is wrong stays so; again when the server wants another nonce only."""
        challenge = Challenge.best(os.fsdecode(value) for value in answered.all("WWW-Authenticate"))
        if self._login is None or challenge is None:
            return False
        if self._challenge is not None and challenge.fields.get("stale", "").lower() != "true":
            return False
        self._challenge = challenge
        return True

    def _write(self, method: str, uri: str, headers: Sequence[tuple[str, bytes]] = (), body: bytes = b"") -> bytes:
        """Returns the number of the request."""
        self._sequence += 1
        number = b"%d" % self._sequence
        message = Message(f"{method} {uri} RTSP/1.0".encode("latin-1"), [("CSeq", number), ("User-Agent", b"streamd")])
        message.headers += headers
        if self._session is not None:
            message.set("Session", self._session)
        if self._challenge is not None and self._login is not None:
            message.set("Authorization", os.fsencode(self._challenge.answer(method, uri, self._login)))
        message.body = body
        self._writer.write(bytes(message))
        return number

    async def _answer(self, number: bytes) -> Message:
        while True:
            for message in await self._hear():
                if message.status is not None and message.get("CSeq").strip() == number:
                    return message

    async def _hear(self) -> list[Message]:
        """What has come: messages; RTCP is of no use here. Raises PushFailed."""
        data = await self._reader.read(READ_BYTES)
        if not data:
            raise PushFailed("has hung up", refused=not self._is_up)
        second = int(self._loop.time())
        self._heard_bytes = len(data) + (self._heard_bytes if second == self._second else 0)
        self._second = second
        if self._heard_bytes > MAX_BYTES_PER_S:
            raise PushFailed("sends more than a server has to say", refused=True)
        try:
            return [unit for unit in self._reading.read(data) if isinstance(unit, Message)]
        except NotRtsp:
            raise PushFailed("does not speak RTSP", refused=True) from None


async def _send(transport: Interleaved, rtp: RtpStream, subscription: Subscription, first: EncodedPacket) -> None:
    """Until the stream has gone. Raises PushFailed and OSError."""
    packet: EncodedPacket | None = first
    while packet is not None:
        try:
            async with asyncio.timeout(SILENT_S):
                await transport.send(rtp, packet)
        except TimeoutError:
            raise PushFailed("takes nothing any more") from None
        packet = await subscription.get()
