"""HTTP for cameras: what FFmpeg's own does for video, but it goes only where ``Destinations`` permits.

FFmpeg follows every redirect and every address in a playlist by itself; so its requests come here, by ``io_open``.
"""

from __future__ import annotations

import http.client
import re
import socket
import threading
import time
from urllib.parse import quote, urljoin

from streamd import __version__
from streamd.config.address import SourceAddress, SourceKind
from streamd.errors import SourceEnded, SourceRejected, SourceUnreachable, SourceUnsupported
from streamd.sources.budget import Budget
from streamd.sources.connection import Connection, dial
from streamd.sources.credentials import Credentials
from streamd.sources.destinations import Destinations
from streamd.sources.http_login import Challenge
from streamd.sources.inflated import ENCODINGS, Inflated, Stream
from streamd.sources.tls import any_certificate

CANNOT_SKIP = "the server cannot skip (no byte ranges)"
MAX_REDIRECTS = 8
"""As FFmpeg."""
GRACE_S = 0.5
"""What came is judged first, and described better."""
ENDLESS_BYTES = 1 << 40
"""Servers of live video that must name a length name such."""
_REDIRECTS = (301, 302, 303, 307, 308)
_PRINTABLE = "".join(map(chr, range(33, 127)))


class CannotSkip(SourceUnsupported):
    """A server said that it gives any part of a file, and does not."""


class _Dialled(http.client.HTTPConnection):
    """One whose connection was made already."""

    def __init__(self, host: str, port: int, connection: Connection) -> None:
        super().__init__(host, port)
        self.sock = connection  # has all that http.client uses of a socket


class HttpClient:
    """Requests on behalf of one source. One thread's."""

    def __init__(
        self,
        address: SourceAddress,
        name: str,
        login: Credentials | None,
        stop: threading.Event,
        silence_s: float,
        deadline_s: float,
    ) -> None:
        """``name`` is for errors; ``silence_s`` is how long an answer may stand still, ``deadline_s`` when the
        opening must be done, by the monotonic clock."""
        self.name = name
        self._address = address
        self._login = login
        self._stop = stop
        self._silence_s = silence_s
        self.budget = Budget(name, deadline_s)
        self._destinations = Destinations(name, address.host, address.port)
        self._configured_ip: str | None = None
        """Found by the first connection, so that the name cannot mean another machine later (DNS rebinding)."""
        self._challenge: Challenge | None = None

    def await_picture(self) -> None:
        """A picture came, or the opening is done: the next has its own budget."""
        self.budget.renew(self._silence_s + GRACE_S)

    def get(self, url: str, first_byte: int | None = 0, end_byte: int | None = None) -> Body:
        """The whole answer, or bytes ``first_byte`` to before ``end_byte``, after redirects and logging in.

        Raises SourceError and, for what went wrong on the way, OSError and HTTPException.
        """
        base = ""
        for _ in range(MAX_REDIRECTS + 1):
            address = self._parse(url, base)
            url = base = address.url()
            response, connection = self._ask(address, first_byte, end_byte)
            if response.status == 416 and first_byte == 0:  # by some that know no ranges
                connection.hang_up()
                first_byte = None
                continue
            location = response.getheader("Location")
            if response.status not in _REDIRECTS or not location:
                return Body(self, address, response, connection, first_byte or 0)
            connection.hang_up()
            url = location
        raise SourceUnreachable(self.name, "redirects without end")

    def _parse(self, url: str, base: str) -> SourceAddress:
        try:
            address = SourceAddress.parse(quote(urljoin(base, url.strip()), safe=_PRINTABLE))
        except ValueError:
            address = None
        if address is None or address.kind is not SourceKind.HTTP:
            raise SourceRejected(self.name, "leads to an address that is not one of http:// or https://: refused")
        return address

    def _ask(
        self, address: SourceAddress, first_byte: int | None, end_byte: int | None
    ) -> tuple[http.client.HTTPResponse, Connection]:
        """The answer, after a login when one is asked for."""
        is_configured = self._destinations.is_configured(address.host, address.port)
        target = quote(address.path.partition("#")[0], safe=_PRINTABLE) or "/"
        target = target if target.startswith("/") else f"/{target}"
        headers = {"User-Agent": f"streamd/{__version__}", "Accept": "*/*", "Connection": "close"}
        if first_byte is not None:
            headers["Range"] = f"bytes={first_byte}-" + ("" if end_byte is None else str(end_byte - 1))
        login = self._login if is_configured else None
        for is_last in (False, True):
            if login and self._challenge:
                headers["Authorization"] = self._challenge.answer("GET", target, login.plain)
            connection = self._connect(address, is_configured)
            try:
                request = _Dialled(address.host, address.port, connection)
                request.default_port = 443 if address.scheme == "https" else 80
                request.request("GET", target, headers=headers)
                response = request.getresponse()
            except BaseException:
                connection.hang_up()
                raise
            if response.status != 401 or is_last or not login:
                break
            self._challenge = Challenge.best(response.headers.get_all("WWW-Authenticate") or [])
            if self._challenge is None:
                break
            connection.hang_up()
        return response, connection

    def _connect(self, address: SourceAddress, is_configured: bool) -> Connection:
        deadline_s = min(self.budget.deadline_s, time.monotonic() + self._silence_s)
        host = (self._configured_ip if is_configured else None) or address.host
        permit = self._destinations.permit_configured if is_configured else self._destinations.permit
        plain = dial(host.replace("%25", "%"), address.port, deadline_s, self._stop, permit)
        if is_configured and self._configured_ip is None:
            self._configured_ip = socket.getnameinfo(plain.getpeername(), socket.NI_NUMERICHOST)[0]
        connection = Connection(plain, self._stop, self._silence_s, self.budget)
        try:
            if address.scheme == "https":
                connection.start_tls(any_certificate(), address.host)
        except BaseException:
            connection.hang_up()
            raise
        return connection


class Body:
    """A body as PyAV reads a file. Seeking asks again, from there on, at the next read."""

    def __init__(
        self,
        client: HttpClient,
        address: SourceAddress,
        response: http.client.HTTPResponse,
        connection: Connection,
        position: int,
    ) -> None:
        self._client = client
        self._response, self._connection = response, connection
        encoding = response.getheader("Content-Encoding", "").strip().lower()
        self._stream: Stream = Inflated(response, client.budget.spend) if encoding in ENCODINGS else response
        self.name = address.url()
        """Where it came from in the end: what is relative in it is relative to that. Without a login."""
        self._position = self._wanted = self._first(response, position) if response.status == 206 else 0
        self.length = self._total(response) if self._stream is response else None
        is_part = response.status == 206
        self._has_failed = False
        self._can_seek = self.length is not None and (
            is_part or response.getheader("Accept-Ranges", "").strip().lower() == "bytes"
        )

    @property
    def status(self) -> int:
        return self._response.status

    @property
    def content_type(self) -> str:
        """In small letters, without its parameters."""
        return self._response.getheader("Content-Type", "").partition(";")[0].strip().lower()

    def peek(self) -> bytes:
        """Some of what comes first."""
        return self._stream.peek(64)

    @property
    def is_dry(self) -> bool:
        """Whether the next read would wait, or need not: a little may be there already."""
        return self._connection.is_dry

    def read(self, size: int) -> bytes:
        """What is there, at least a byte; nothing at the end, and after an error: FFmpeg reads on, and PyAV raises the
        first one. Raises SourceError, TimeoutError, Interrupted."""
        if self._has_failed:
            return b""
        self._has_failed = True
        data = self._read(size)
        self._has_failed = False
        return data

    def _read(self, size: int) -> bytes:
        try:
            if self._wanted != self._position:
                self._ask_again()
            data = self._stream.read1(size)
        except http.client.HTTPException:  # a chunk is cut off
            data = b""
            if self.length is None:
                raise SourceEnded(self._client.name, "stopped sending") from None
        if len(data) > size:  # a chunk of a negative length; FFmpeg has no room for more
            raise SourceUnsupported(self._client.name, "does not answer as HTTP does")
        if not data and self.length is not None and self._position < self.length:
            raise SourceEnded(self._client.name, "stopped sending")
        self._position = self._wanted = self._position + len(data)
        return data

    def seekable(self) -> bool:
        return self._can_seek

    def seek(self, offset: int, whence: int = 0) -> int:
        base = (0, self._wanted, self.length or 0)[whence]
        self._wanted = max(0, base + offset)
        return self._wanted

    def tell(self) -> int:
        return self._wanted

    def close(self) -> None:
        self._response.close()
        self._connection.hang_up()

    def _ask_again(self) -> None:
        self.close()
        if self.length is not None and self._wanted >= self.length:
            self._response.read1(0)
            self._position = self._wanted
            return
        again = self._client.get(self.name, self._wanted)
        if again.status not in (200, 206):
            again.close()
            raise SourceEnded(self._client.name, "stopped sending")
        if again._position != self._wanted or again._stream is not again._response:
            again.close()
            raise CannotSkip(self._client.name, CANNOT_SKIP)
        self._response, self._connection, self._position = again._response, again._connection, self._wanted
        self._stream = again._stream

    @staticmethod
    def _first(response: http.client.HTTPResponse, asked: int) -> int:
        """Number of the first byte; as asked for when it is not said."""
        found = re.match(
            r"bytes\s+(\d{1,18})-", response.getheader("Content-Range", "").strip(), re.ASCII | re.IGNORECASE
        )
        return int(found[1]) if found else asked

    @staticmethod
    def _total(response: http.client.HTTPResponse) -> int | None:
        """Bytes of the whole, or of the part that was asked for; None when unknown."""
        total, count = response.getheader("Content-Range", "").rpartition("/")[2], response.length
        if response.status == 206 and total.isascii() and total.isdecimal():
            count = int(total[:18])
        return count if count is None or count < ENDLESS_BYTES else None
