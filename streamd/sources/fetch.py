"""HTTP for cameras: what FFmpeg's own does for video, but it goes only where ``Destinations`` permits.

FFmpeg follows every redirect and every address in a playlist by itself; so its requests come here, by ``io_open``.
"""

from __future__ import annotations

import http.client
import socket
import threading
import time
from functools import partial
from urllib.parse import quote, urljoin

from streamd import __version__
from streamd.config.address import SourceAddress, SourceKind
from streamd.errors import SourceRejected, SourceUnreachable
from streamd.media.http_login import Challenge
from streamd.sources.body import Body
from streamd.sources.budget import Budget
from streamd.sources.connection import Connection, dial
from streamd.sources.credentials import Credentials
from streamd.sources.destinations import Destinations
from streamd.sources.tls import any_certificate

MAX_REDIRECTS = 8
"""As FFmpeg."""
GRACE_S = 0.5
"""What came is judged first, and described better."""
_REDIRECTS = (301, 302, 303, 307, 308)
_PRINTABLE = "".join(map(chr, range(33, 127)))


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
                again = partial(self.get, address.url())
                return Body(self.name, address.url(), response, connection, first_byte or 0, again, self.budget.spend)
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
