"""Finds an RTSP camera, and where its redirects lead."""

from __future__ import annotations

import socket
import threading
import time
from urllib.parse import quote

from streamd.config.address import SourceAddress, SourceKind
from streamd.errors import SourceRejected
from streamd.sources.connection import Connection, dial
from streamd.sources.destinations import Destinations
from streamd.sources.tls import any_certificate

_PRINTABLE = "".join(map(chr, range(33, 127)))


class Dialler:
    """One thread's at a time."""

    def __init__(self, address: SourceAddress, name: str, silence_s: float) -> None:
        self.name = name
        self._configured = address
        self._silence_s = silence_s
        self._destinations = Destinations(name, address.host, address.port)
        self._configured_ip: str | None = None
        """Found by the first connection, so that the name cannot mean another machine later (DNS rebinding)."""

    def dial(self, address: SourceAddress, stop: threading.Event, ends: threading.Event) -> tuple[Connection, str]:
        """The connection, which ``ends`` ends, and the address that was dialled. Raises SourceRejected and OSError."""
        is_configured = self._destinations.is_configured(address.host, address.port)
        permit = self._destinations.permit_configured if is_configured else self._destinations.permit
        host = (self._configured_ip if is_configured else None) or address.host
        plain = dial(host.replace("%25", "%"), address.port, time.monotonic() + self._silence_s, stop, permit)
        ip = socket.getnameinfo(plain.getpeername(), socket.NI_NUMERICHOST)[0]
        if is_configured:
            self._configured_ip = ip
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = Connection(plain, ends, self._silence_s)
        try:
            if address.scheme == "rtsps":
                connection.start_tls(any_certificate(), address.host)
        except BaseException:
            connection.hang_up()
            raise
        return connection, ip

    def redirected(self, location: bytes, current: SourceAddress) -> SourceAddress:
        """Raises SourceRejected for what is no RTSP."""
        text = quote(location.strip(), safe=_PRINTABLE)
        if text.startswith("/"):
            text = f"{current.scheme}://{current.netloc}{text}"
        try:
            address = SourceAddress.parse(text)
        except ValueError:
            address = None
        if address is None or address.kind is not SourceKind.RTSP:
            raise SourceRejected(self.name, "leads to an address that is not one of rtsp:// or rtsps://: refused")
        return address

    def is_configured(self, address: SourceAddress) -> bool:
        """Who may have the login."""
        is_same = address.scheme == self._configured.scheme
        return is_same and self._destinations.is_configured(address.host, address.port)
