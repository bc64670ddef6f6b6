"""How packets reach a reader: between the messages on its TCP connection, or by UDP, to its own address only."""

from __future__ import annotations

import asyncio
import re
import socket
from typing import Protocol

from streamd.media.frames import EncodedPacket
from streamd.sinks.rtsp.answers import Refused
from streamd.sinks.rtsp.rtp import RtpStream

BURST, PAUSE_S = 16, 0.001
"""Datagrams at once, and then: a keyframe would overflow small buffers on the way."""
MAX_PAUSES = 50
"""While our own buffer is full; what is left of the picture is lost then."""
SEND_BUFFER, RECEIVE_BUFFER = 512 * 1024, 4096
MIN_CLIENT_PORT = 1024
"""Below are services that nobody wants packets for."""
PAIRS_TRIED = 64
_ONE_WAY = re.compile(r"RTP/AVP(/TCP|/UDP)?", re.IGNORECASE)
_PAIR = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?")


class Transport(Protocol):
    """On the event loop."""

    kind: str
    heard_at: float | None
    """When the reader's last packet came, by the loop's clock; None: it does not have to send any."""

    @property
    def header(self) -> bytes:
        """As SETUP answers it."""

    async def send(self, stream: RtpStream, packet: EncodedPacket) -> None:
        """A picture. Raises OSError when the reader has gone."""

    def goodbye(self, packet: bytes) -> None:
        """RTCP's, if it can go at once."""

    def close(self) -> None:
        """Safe to repeat."""


class Interleaved:
    """Frames that begin with ``$`` (RFC 2326, 10.12)."""

    kind = "TCP"
    heard_at: float | None = None

    def __init__(self, writer: asyncio.StreamWriter, channels: tuple[int, int], ssrc: int) -> None:
        self.waiting_since: float | None = None
        """For the reader to take what was sent, by the loop's clock."""
        self._writer = writer
        self._channels = channels
        self._ssrc = ssrc

    @property
    def header(self) -> bytes:
        return b"RTP/AVP/TCP;unicast;interleaved=%d-%d;ssrc=%08X" % (*self._channels, self._ssrc)

    async def send(self, stream: RtpStream, packet: EncodedPacket) -> None:
        rtp, rtcp = self._channels
        parts: list[bytes] = []
        for head, payload in stream.units(packet):
            parts += (_frame_head(rtp, len(head) + len(payload)), head, payload)
        if report := stream.report(packet):
            parts += (_frame_head(rtcp, len(report)), report)
        self._writer.write(b"".join(parts))
        self.waiting_since = asyncio.get_running_loop().time()
        try:
            await self._writer.drain()
        finally:  # also when it is paused meanwhile: the time until it goes on is not one in which it takes nothing
            self.waiting_since = None

    def goodbye(self, packet: bytes) -> None:
        if not self._writer.transport.is_closing():
            self._writer.write(_frame_head(self._channels[1], len(packet)) + packet)

    def close(self) -> None:
        """The connection is not ours."""
        self.waiting_since = None


class Datagrams:
    """A pair of ports of ours to a pair of the reader's."""

    kind = "UDP"

    def __init__(self, own: tuple[str, ...], peer: tuple[str, ...], client_ports: tuple[int, int], ssrc: int) -> None:
        """``own`` and ``peer`` are the ends of its TCP connection. Raises Refused."""
        self._loop = asyncio.get_running_loop()
        self.heard_at: float | None = self._loop.time()
        self._client_ports = client_ports
        self._ssrc = ssrc
        family = socket.AF_INET6 if ":" in own[0] else socket.AF_INET
        self._sockets = _bound_pair(family, own)
        self._ports = tuple(each.getsockname()[1] for each in self._sockets)
        try:
            for each, port in zip(self._sockets, client_ports, strict=True):
                each.connect((peer[0], port, *peer[2:]))  # so the system drops what comes from anywhere else
        except OSError:
            self.close()
            raise Refused(461) from None
        self._loop.add_reader(self._sockets[1], self._hear)

    @property
    def header(self) -> bytes:
        ports = (*self._client_ports, *self._ports)
        return b"RTP/AVP;unicast;client_port=%d-%d;server_port=%d-%d;ssrc=%08X" % (*ports, self._ssrc)

    async def send(self, stream: RtpStream, packet: EncodedPacket) -> None:
        rtp, rtcp = self._sockets
        for number, unit in enumerate(stream.units(packet), 1):
            if not await self._sent(rtp, b"".join(unit)):
                break
            if number % BURST == 0:
                await asyncio.sleep(PAUSE_S)
        if report := stream.report(packet):
            await self._sent(rtcp, report)

    async def _sent(self, through: socket.socket, data: bytes) -> bool:
        for _ in range(MAX_PAUSES):
            try:
                through.send(data)
                return True
            except BlockingIOError:
                await asyncio.sleep(PAUSE_S)
            except ConnectionRefusedError:  # nobody listens there now, said of an earlier one
                continue
        return False

    def _hear(self) -> None:
        """Receiver reports, or whatever it sends: it is there."""
        try:
            if self._sockets[1].recv(2048):
                self.heard_at = self._loop.time()
        except OSError:
            pass

    def goodbye(self, packet: bytes) -> None:
        try:
            self._sockets[1].send(packet)
        except OSError:
            pass

    def close(self) -> None:
        self._loop.remove_reader(self._sockets[1])
        for each in self._sockets:
            each.close()


def choose(
    offered: str, writer: asyncio.StreamWriter, own: tuple[str, ...], peer: tuple[str, ...], ssrc: int
) -> Interleaved | Datagrams:
    """The first that we know of those that the reader can do, as the header Transport lists them. Raises Refused."""
    for each in offered.split(","):
        kind, *options = (part.strip() for part in each.split(";"))
        known = _ONE_WAY.fullmatch(kind)
        values = {name.lower(): value.strip('"') for name, _, value in (option.partition("=") for option in options)}
        if known is None or "multicast" in values or values.get("mode", "play").lower() != "play":
            continue
        if (known[1] or "").upper() == "/TCP":
            channels = _pair(values.get("interleaved", "0-1"), 0, 255)
            if channels is not None:
                return Interleaved(writer, channels, ssrc)
        elif (ports := _pair(values.get("client_port", ""), MIN_CLIENT_PORT, 65535)) is not None:
            return Datagrams(own, peer, ports, ssrc)
    raise Refused(461)


def _pair(text: str, least: int, most: int) -> tuple[int, int] | None:
    found = _PAIR.fullmatch(text)
    if found is None:
        return None
    first = int(found[1])
    second = int(found[2] or first + 1)
    return (first, second) if least <= first <= most and least <= second <= most and first != second else None


def _frame_head(channel: int, size: int) -> bytes:
    return b"$%c%c%c" % (channel, size >> 8, size & 0xFF)


def _bound_pair(family: socket.AddressFamily, own: tuple[str, ...]) -> tuple[socket.socket, socket.socket]:
    """An even port and the next (RFC 3550, 11). Raises Refused."""
    for _ in range(PAIRS_TRIED):
        pair = socket.socket(family, socket.SOCK_DGRAM), socket.socket(family, socket.SOCK_DGRAM)
        try:
            pair[0].bind((own[0], 0, *own[2:]))
            port = pair[0].getsockname()[1]
            if port % 2 == 0:
                pair[1].bind((own[0], port + 1, *own[2:]))
                for each in pair:
                    each.setblocking(False)
                    each.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
                    each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
                return pair
        except OSError:
            pass
        for each in pair:
            each.close()
    raise Refused(503)
