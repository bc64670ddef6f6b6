"""Peers on 127.0.0.1 that misbehave as real cameras do: silent, trickling, refusing, sending rubbish.

A peer is a script that is run for each connection: ``with peer(rtsp(play)) as address``.
"""

from __future__ import annotations

import hashlib
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import av

Script = Callable[[socket.socket, threading.Event], None]


class Line:
    """Where a camera's RTP goes."""

    def __init__(self, connection: socket.socket, udp: socket.socket) -> None:
        self.connection = connection
        self._udp = udp
        self.udp_port: int | None = None

    def send(self, rtp: bytes) -> None:
        if self.udp_port:
            self._udp.sendto(rtp, ("127.0.0.1", self.udp_port))
        else:
            self.connection.sendall(self.interleaved(rtp))

    @staticmethod
    def interleaved(rtp: bytes) -> bytes:
        """As it is in the RTSP connection."""
        return struct.pack(">cBH", b"$", 0, len(rtp)) + rtp


Play = Callable[[Line, threading.Event], object]

SDP = """v=0
o=- 1 1 IN IP4 127.0.0.1
s=test
c=IN IP4 127.0.0.1
t=0 0
m=video 0 RTP/AVP 96
a=rtpmap:96 H264/90000
a=fmtp:96 packetization-mode=1
a=control:track1
"""
REALM, NONCE = "camera", "0123456789"


@contextmanager
def peer(script: Script) -> Iterator[str]:
    """Runs ``script`` in a thread for each connection; gives "127.0.0.1:PORT"."""
    stop, threads, connections = threading.Event(), [], []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            while not stop.is_set():
                with suppress(OSError):
                    connection, _ = server.accept()
                    connections.append(connection)
                    threads.append(threading.Thread(target=serve, args=(connection,)))
                    threads[-1].start()

        def serve(connection: socket.socket) -> None:
            with connection, suppress(OSError):
                script(connection, stop)

        threads.append(threading.Thread(target=accept))
        threads[0].start()
        try:
            yield f"127.0.0.1:{server.getsockname()[1]}"
        finally:
            stop.set()
            with suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)
            for connection in connections:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join()


def silent(connection: socket.socket, stop: threading.Event) -> None:
    """Accepts and sends nothing."""
    stop.wait()


def sends(data: bytes, every_s: float = 0.0) -> Script:
    """Answers whatever it is asked with ``data``: at once and closes, or a byte at a time, for ever."""

    def script(connection: socket.socket, stop: threading.Event) -> None:
        connection.recv(4096)
        if not every_s:
            connection.sendall(data)
        while every_s and not stop.is_set():
            for byte in data:
                connection.sendall(bytes([byte]))
                if stop.wait(every_s):
                    return

    return script


def rtsp(
    play: Play = lambda line, stop: None,
    *,
    sdp: str = SDP,
    refuse: dict[str, str] | None = None,
    login: tuple[str, str] | None = None,
    log: list[str] | None = None,
    delay_s: float = 0.0,
) -> Script:
    """A camera: what comes after PLAY is ``play``'s, which is given the line. ``refuse`` says with which
    status it answers a method ("SETUP", or "SETUP/TCP"); ``log`` gets every request; ``delay_s`` precedes answers."""

    def script(connection: socket.socket, stop: threading.Event) -> None:
        with connection.makefile("rb") as lines, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.bind(("127.0.0.1", 0))
            line = Line(connection, udp)
            while not stop.is_set():
                request = _request(lines)
                if request is None:
                    return
                if log is not None:
                    log.append(request)
                method = request.split()[0]
                over_tcp = "RTP/AVP/TCP" in request
                status = (refuse or {}).get(method) or (refuse or {}).get(f"{method}/{'TCP' if over_tcp else 'UDP'}")
                headers, body = [], ""
                if login and method != "OPTIONS" and not _knows(request, *login):
                    status, headers = "401 Unauthorized", [f'WWW-Authenticate: Digest realm="{REALM}", nonce="{NONCE}"']
                elif method == "DESCRIBE":
                    headers, body = ["Content-Type: application/sdp"], sdp.replace("\n", "\r\n")
                elif method == "SETUP":
                    transport = "RTP/AVP/TCP;unicast;interleaved=0-1"
                    if not over_tcp and (ports := re.search(r"client_port=(\d+)", request)):
                        port, own = int(ports[1]), udp.getsockname()[1]
                        transport = f"RTP/AVP;unicast;client_port={port}-{port + 1};server_port={own}-{own + 1}"
                        line.udp_port = port
                    headers = [f"Transport: {transport}"]
                sequence = re.search(r"CSeq: *(\d+)", request)
                answer = [f"RTSP/1.0 {status or '200 OK'}", f"CSeq: {sequence[1] if sequence else 0}", "Session: 1"]
                if stop.wait(delay_s):
                    return
                text = "\r\n".join([*answer, *headers, f"Content-Length: {len(body)}", "", body])
                connection.sendall(text.encode())
                if method == "PLAY" and not status:
                    play(line, stop)
                    return

    return script


def _request(lines: object) -> str | None:
    text = ""
    for line in lines:  # type: ignore[attr-defined]
        text += line.decode()
        if line == b"\r\n":
            return text
    return None


def _knows(request: str, user: str, password: str) -> bool:
    """Whether its digest is that of user and password."""
    fields = dict(re.findall(r'(\w+)="([^"]*)"', request))
    if "response" not in fields:
        return False

    def md5(text: str) -> str:
        return hashlib.md5(text.encode()).hexdigest()

    secret, what = md5(f"{user}:{REALM}:{password}"), md5(f"{request.split()[0]}:{fields['uri']}")
    return fields["username"] == user and fields["response"] == md5(f"{secret}:{NONCE}:{what}")


class Film:
    """H.264 pictures as RTP: ``rtp(number)`` gives one picture's packets."""

    def __init__(self, clip: Path, fps: int = 25) -> None:
        with av.open(str(clip)) as container:
            video = container.streams.video[0]
            filter = av.bitstream.BitStreamFilterContext("h264_mp4toannexb", video)
            self.units = [bytes(unit) for packet in container.demux(video) for unit in filter.filter(packet)]
        self._step = 90_000 // fps
        self._sequence = 0

    def rtp(self, number: int, time: int | None = None) -> list[bytes]:
        """``time`` in units of 1/90000 s; by default that of its number."""
        stamp = (self._step * number if time is None else time) & 0xFFFFFFFF
        payloads = [part for nal in _nals(self.units[number % len(self.units)]) for part in _fragments(nal)]
        packets = []
        for index, payload in enumerate(payloads):
            last = index == len(payloads) - 1
            packets.append(struct.pack(">BBHII", 0x80, 96 | 0x80 * last, self._sequence & 0xFFFF, stamp, 7) + payload)
            self._sequence += 1
        return packets

    def play(self, line: Line, stop: threading.Event, numbers: Sequence[int] | None = None) -> None:
        """In real time; for ever unless told which."""
        for number in numbers if numbers is not None else range(1 << 30):
            for packet in self.rtp(number):
                line.send(packet)
            if stop.wait(self._step / 90_000):
                return


def _nals(unit: bytes) -> list[bytes]:
    return [nal for nal in re.split(rb"\x00{2,3}\x01", unit) if nal]


def _fragments(nal: bytes, size: int = 600) -> Iterator[bytes]:
    """FU-A when it does not fit (RFC 6184, 5.8)."""
    if len(nal) <= size:
        yield nal
        return
    body = nal[1:]
    for at in range(0, len(body), size):
        first, last = at == 0, at + size >= len(body)
        yield bytes([nal[0] & 0xE0 | 28, first << 7 | last << 6 | nal[0] & 0x1F]) + body[at : at + size]
