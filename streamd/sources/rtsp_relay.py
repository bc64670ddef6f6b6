"""Between FFmpeg's RTSP and the camera: a camera is dialled only where ``Destinations`` permits, and FFmpeg never has
its password.

FFmpeg follows each redirect of an RTSP camera to any address, logs in there, and has no option against either. So it
gets an address on loopback; a thread passes on what both say, follows redirects itself and answers for the login.
"""

from __future__ import annotations

import os
import re
import secrets
import select
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType

from streamd.config.address import SourceAddress
from streamd.errors import SourceError, SourceRejected, SourceUnreachable
from streamd.media.http_login import Challenge
from streamd.media.rtsp_messages import Message, NotRtsp, Reader
from streamd.sources.connection import Connection
from streamd.sources.credentials import Credentials
from streamd.sources.rtsp_dialler import Dialler

MAX_REDIRECTS = 8
BUFFER = 256 * 1024
GRACE_S = 0.5
"""For FFmpeg's last words to the camera (TEARDOWN)."""
FIRST_S = 1.0
"""How long whoever connects may say nothing: FFmpeg speaks at once."""
MAX_WAITING = 32
_SOURCE = re.compile(rb";\s*source\s*=[^;,]*", re.IGNORECASE)


@dataclass
class _Request:
    """One that waits for its answer."""

    message: Message
    method: str
    uri: str
    """As FFmpeg wrote it."""
    sequence: bytes
    """FFmpeg's number for it."""
    is_authorised: bool = False
    is_repeated: bool = False


class RtspRelay:
    """While its context lasts, FFmpeg finds the camera at ``url``. For one connection of FFmpeg's."""

    def __init__(
        self, address: SourceAddress, name: str, login: Credentials | None, silence_s: float, stop: threading.Event
    ) -> None:
        """Dials the camera. ``silence_s`` limits that and each write. Raises OSError."""
        self._ending = threading.Event()
        self._dialler = Dialler(address, name, silence_s)
        self._path = address.path
        self._target = address
        self._camera, self._ip = self._dialler.dial(address, stop, self._ending)
        self._login = login
        self._challenge: Challenge | None = None
        self._sequence = 0
        self._redirects = 0
        self._waiting: dict[bytes, _Request] = {}
        self._answering = Reader()
        try:  # RTP by UDP comes to a socket of the family of this address
            own, family = ("::1", socket.AF_INET6) if ":" in self._ip else ("127.0.0.1", socket.AF_INET)
            self._listener = socket.create_server((own, 0), family=family)
        except OSError:
            self._camera.hang_up()
            raise
        host, port = self._listener.getsockname()[:2]
        self._token = secrets.token_hex(8)
        """Other programs on this machine do not know it."""
        self._local = f"rtsp://{f'[{host}]' if ':' in host else host}:{port}/{self._token}"
        self._thread = threading.Thread(target=self._run, name="rtsp-relay", daemon=True)
        self.failure: SourceError | None = None
        """Why it hung up, where FFmpeg cannot know."""

    @property
    def url(self) -> str:
        return f"{self._local}{self._path}"

    def __enter__(self) -> RtspRelay:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """After FFmpeg has closed its connection."""
        self._thread.join(GRACE_S)
        self._ending.set()
        self._thread.join()

    # -- its thread -------------------------------------------------------------------------------

    def _run(self) -> None:
        player: Connection | None = None
        try:
            with self._listener:
                player, first = self._accepted()
            self._relay(player, first)
        except SourceError as error:
            self.failure = error
        except (OSError, UnicodeError, NotRtsp):
            pass  # FFmpeg finds out by itself
        finally:
            self._camera.hang_up()
            if player is not None:
                player.hang_up()

    def _accepted(self) -> tuple[Connection, bytes]:
        """FFmpeg's connection, and what came first. Raises OSError when none comes."""
        while not self._ending.is_set():
            if not _readable(self._listener, timeout_ms=50):
                continue
            plain, _ = self._listener.accept()
            with suppress(OSError):
                plain.settimeout(FIRST_S)
                first = plain.recv(BUFFER)
                if self._token.encode() in first.partition(b"\n")[0]:
                    plain.setblocking(False)
                    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    return Connection(plain, self._ending, float("inf")), first
            plain.close()
        raise OSError("not wanted any more")

    def _relay(self, player: Connection, first: bytes) -> None:
        """Until one of them hangs up."""
        buffer, asking = memoryview(bytearray(BUFFER)), Reader()
        self._ask(asking, first)
        while not self._ending.is_set():
            camera = self._camera
            ready = {camera.fileno()} if camera.has_more else _readable(player, camera, timeout_ms=500)
            if player.fileno() in ready:
                count = player.recv_into(buffer)
                if not count:
                    return
                self._ask(asking, bytes(buffer[:count]))
            if camera is self._camera and camera.fileno() in ready:
                count = camera.recv_into(buffer)
                if not count:
                    return
                player.sendall(b"".join(self._answers(bytes(buffer[:count]))))

    def _ask(self, reader: Reader, data: bytes) -> None:
        for unit in reader.read(data):
            request = unit.request if isinstance(unit, Message) else None
            if isinstance(unit, bytes) or request is None:
                self._camera.sendall(bytes(unit))
            else:
                self._send(_Request(unit, *request, sequence=unit.get("CSeq")))

    def _send(self, request: _Request) -> None:
        self._sequence += 1
        number, uri, message = b"%d" % self._sequence, self._remote(request.uri), request.message
        message.start = f"{request.method} {uri} RTSP/1.0".encode("latin-1")
        message.set("CSeq", number)
        request.is_authorised = False
        if self._login and self._challenge and self._dialler.is_configured(self._target):
            answer = self._challenge.answer(request.method, uri, self._login.plain)
            message.set("Authorization", os.fsencode(answer))
            request.is_authorised = True
        else:
            message.headers = message.without("Authorization")
        self._waiting[number] = request
        if len(self._waiting) > MAX_WAITING:
            del self._waiting[next(iter(self._waiting))]
        self._camera.sendall(bytes(message))

    def _remote(self, uri: str) -> str:
        """What the camera calls it. Those from its own answers are so already."""
        for own, other in (
            (self.url, self._target.url()),
            (self._local, f"{self._target.scheme}://{self._target.netloc}"),
        ):
            if uri.startswith(own):
                return other + uri[len(own) :]
        return uri

    def _answers(self, data: bytes) -> Iterator[bytes]:
        """What FFmpeg is to have of what came from the camera. Raises SourceError."""
        camera = self._camera
        for unit in self._answering.read(data):
            message = self._answered(unit) if isinstance(unit, Message) and unit.status is not None else unit
            if message is not None:
                yield bytes(message)
            if camera is not self._camera:
                return

    def _answered(self, message: Message) -> Message | None:
        """None: it was for us."""
        request = self._waiting.pop(message.get("CSeq"), None)
        if request is None and self._waiting:  # some cameras do not count
            request = self._waiting.pop(next(iter(self._waiting)))
        if message.status is not None and 300 <= message.status < 400:
            self._redirect(request, message.get("Location"))
            return None
        if message.status == 401 and request is not None and self._can_log_in(request, message):
            request.is_repeated = True
            self._send(request)
            return None
        message.headers = message.without("Location", "WWW-Authenticate")
        if request is not None:
            message.set("CSeq", request.sequence)
        if transport := message.get("Transport"):
            message.set("Transport", self._from_camera_only(transport))
        return message

    def _can_log_in(self, request: _Request, message: Message) -> bool:
        """Once for each request: some cameras lock an account after a few wrong passwords."""
        if not self._login or request.is_repeated or not self._dialler.is_configured(self._target):
            return False
        challenge = Challenge.best(os.fsdecode(value) for value in message.all("WWW-Authenticate"))
        if challenge is None or (request.is_authorised and challenge.fields.get("stale", "").lower() != "true"):
            return False
        self._challenge = challenge
        return True

    def _redirect(self, request: _Request | None, location: bytes) -> None:
        """Raises SourceError."""
        self._redirects += 1
        if self._redirects > MAX_REDIRECTS:
            raise SourceUnreachable(self._dialler.name, "redirects without end")
        if request is None or request.method not in ("OPTIONS", "DESCRIBE"):
            raise SourceRejected(self._dialler.name, "redirects when it is open already: refused")
        self._target = self._dialler.redirected(location, self._target)
        try:
            camera, self._ip = self._dialler.dial(self._target, self._ending, self._ending)
        except (OSError, UnicodeError):
            raise SourceUnreachable(self._dialler.name, "redirects to an address that does not answer") from None
        self._camera.hang_up()
        self._camera, self._answering, self._challenge = camera, Reader(), None
        self._waiting.clear()
        request.is_repeated = False
        self._send(request)

    def _from_camera_only(self, transport: bytes) -> bytes:
        """FFmpeg sends RTP and RTCP where it says, by default to this relay."""
        if b"TCP" in transport.upper():
            return transport
        return _SOURCE.sub(b"", transport).rstrip(b"; ") + b";source=" + self._ip.encode()


def _readable(*sockets: socket.socket | Connection, timeout_ms: int) -> set[int]:
    """Numbers of those that can be read, or have ended."""
    poll = select.poll()
    for each in sockets:
        poll.register(each.fileno(), select.POLLIN)
    return {number for number, _ in poll.poll(timeout_ms)}
