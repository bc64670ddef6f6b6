"""A bad line between streamd and a camera: a TCP proxy on 127.0.0.1 whose faults the test switches on and off."""

from __future__ import annotations

import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

TRICKLE_S = 1.0
"""One byte each."""
_POLL_S = 0.02
_CHUNK = 16 * 1024
_RTP_HEADER = 12

Damage = Callable[[bytes, random.Random], bytes]
"""An interleaved packet to what arrives of it."""


class Proxy:
    """Change the fields at any time; they hold for all connections, also for those to come."""

    def __init__(self, target_port: int, seed: int = 0) -> None:
        self.stalled = False
        """What the camera says does not arrive: with this from the start, a peer that accepts and says nothing."""
        self.trickling = False
        """A byte a second of it arrives."""
        self.damages: tuple[Damage, ...] = ()
        """Each packet of video meets one of these."""
        self.accepted_at = 0.0
        """The first connection."""
        self.damaged: Counter[str] = Counter()
        """How many packets, by the name of the damage."""
        self._target_port = target_port
        self._random = random.Random(seed)
        self._closing = threading.Event()
        self._lines: set[_Line] = set()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._accepting = threading.Thread(target=self._accept, name="proxy")
        self._accepting.start()

    def cut(self) -> int:
        """Every connection there is; returns how many."""
        with self._lock:
            lines = list(self._lines)
        for line in lines:
            line.cut()
        return len(lines)

    def close(self) -> None:
        self._closing.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._accepting.join()
        self._listener.close()
        with self._lock:
            lines = list(self._lines)
        for line in lines:
            line.cut()
        for line in lines:
            line.join()

    def damage(self, packet: bytes) -> bytes:
        """Lines call it with each interleaved packet of video."""
        if not self.damages:
            return packet
        with self._lock:
            chosen = self._random.choice(self.damages)
            self.damaged[chosen.__name__] += 1
            return chosen(packet, self._random)

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                camera = socket.create_connection(("127.0.0.1", self._target_port), timeout=5)
            except OSError:  # no camera there
                client.close()
                continue
            camera.settimeout(None)
            line = _Line(self, client, camera, self._left)
            with self._lock:
                self.accepted_at = self.accepted_at or time.monotonic()
                self._lines.add(line)
            line.start()

    def _left(self, line: _Line) -> None:
        with self._lock:
            self._lines.discard(line)


class _Line:
    """One connection: a thread each way."""

    def __init__(
        self, proxy: Proxy, client: socket.socket, camera: socket.socket, on_end: Callable[[_Line], None]
    ) -> None:
        self._proxy, self._client, self._camera, self._on_end = proxy, client, camera, on_end
        self._ended = threading.Event()
        self._down = threading.Thread(target=self._run_down, name="proxy-down")
        self._up = threading.Thread(target=self._run_up, name="proxy-up")

    def start(self) -> None:
        self._up.start()
        self._down.start()

    def cut(self) -> None:
        self._ended.set()
        for end in (self._client, self._camera):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def join(self) -> None:
        self._down.join()

    def _run_up(self) -> None:
        with suppress(OSError):
            while data := self._camera_bound():
                self._camera.sendall(data)
        self.cut()

    def _camera_bound(self) -> bytes:
        return self._client.recv(_CHUNK)

    def _run_down(self) -> None:
        units = Units()
        with suppress(OSError):
            while data := self._camera.recv(_CHUNK):
                for unit in units.split(data):
                    self._send(self._proxy.damage(unit) if is_video(unit) else unit)
        self.cut()
        self._up.join()
        self._client.close()
        self._camera.close()
        self._on_end(self)

    def _send(self, data: bytes) -> None:
        while data:
            while self._proxy.stalled and not self._ended.wait(_POLL_S):
                pass
            if self._ended.is_set():
                raise ConnectionError
            now, data = (data[:1], data[1:]) if self._proxy.trickling else (data, b"")
            self._client.sendall(now)
            if data:
                self._ended.wait(TRICKLE_S)


class Units:
    """Splits what an RTSP server sends into answers and interleaved packets (RFC 2326, 10.12)."""

    def __init__(self) -> None:
        self._buffer = b""

    def split(self, data: bytes) -> Iterator[bytes]:
        self._buffer += data
        while size := self._first():
            unit, self._buffer = self._buffer[:size], self._buffer[size:]
            yield unit

    def _first(self) -> int:
        """Length of the first whole unit; 0 while it is not all there."""
        buffer = self._buffer
        if buffer[:1] == b"$":
            size = 4 + int.from_bytes(buffer[2:4], "big") if len(buffer) >= 4 else len(buffer) + 1
        else:
            head, end, _ = buffer.partition(b"\r\n\r\n")
            size = len(head) + 4 + _content_length(head) if end else len(buffer) + 1
        return size if size <= len(buffer) else 0


def _content_length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name == b"content-length":
            return int(value)
    return 0


def is_video(unit: bytes) -> bool:
    """RTP, on an even channel; RTCP has the odd ones."""
    return unit[:1] == b"$" and unit[1] % 2 == 0


# -- what may happen to a packet ------------------------------------------------------------------


def spared(packet: bytes, _: random.Random) -> bytes:
    return packet


def flipped(packet: bytes, random: random.Random) -> bytes:
    """Some bits of the picture are wrong."""
    data = bytearray(packet)
    for _ in range(random.randint(1, 8)):
        data[random.randrange(4 + _RTP_HEADER, len(data))] ^= 1 << random.randrange(8)
    return bytes(data)


def header_flipped(packet: bytes, random: random.Random) -> bytes:
    """Sequence number, time or payload type are wrong."""
    data = bytearray(packet)
    data[random.randrange(4, 4 + _RTP_HEADER)] ^= 1 << random.randrange(8)
    return bytes(data)


def shortened(packet: bytes, random: random.Random) -> bytes:
    """A piece is missing at the end; the length says so."""
    payload = packet[4 : random.randrange(5, len(packet))]
    return packet[:2] + len(payload).to_bytes(2, "big") + payload


def lost(_: bytes, __: random.Random) -> bytes:
    return b""


def torn(packet: bytes, random: random.Random) -> bytes:
    """A piece is missing and the length is as it was: where the next packet begins is lost."""
    return packet[: random.randrange(5, len(packet))]


@contextmanager
def proxies() -> Iterator[Callable[[int], Proxy]]:
    """``proxy(port)`` is one more, before that port; all end with the context."""
    started: list[Proxy] = []

    def start(target_port: int) -> Proxy:
        started.append(Proxy(target_port))
        return started[-1]

    try:
        yield start
    finally:
        for one in started:
            one.close()
