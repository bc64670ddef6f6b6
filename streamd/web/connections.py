"""Accepts connections and bounds them: how many there are, and how long they may do nothing.

- Past ``server.max_connections`` a new one is refused at once: 503 by HTTP, closed by TLS. Those that are there
  go on.
- One address may have half of them, so that one client does not keep all others out. This machine may have all:
  a proxy here stands for many. Its last ``RESERVED`` are for this machine, so that it can be maintained.
- One that sends no whole head of a request for ``IDLE_S``, at first or after an answer, is closed by aiohttp.
- One that takes nothing of what it asked for, for ``UNREAD_S``, is closed by the kernel.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections import Counter
from collections.abc import Callable
from typing import Any

from aiohttp import web

from streamd.config.listen import is_loopback
from streamd.web.address import client_network
from streamd.web.errors import RETRY_AFTER_S
from streamd.web.tls import Tls

log = logging.getLogger(__name__)

IDLE_S = 20.0
UNREAD_S = 60.0
HANDSHAKE_S = 10.0
"""For TLS to begin, and to end."""
MAX_LINE_BYTES = 8190
MAX_HEADER_BYTES = 8190
MAX_HEADERS = 64
RESERVED = 8
BACKLOG = 512
BATCH = 64
"""Connections that are accepted before anything else has a turn."""
NO_DESCRIPTORS = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
PAUSE_S = 1.0
"""Until it is tried again when there are no descriptors left."""
_BODY = b'{"error": {"code": "full", "message": "too many connections; try again"}}'
_REFUSAL = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nConnection: close\r\n"
    b"Retry-After: %d\r\nContent-Length: %d\r\n\r\n%b" % (RETRY_AFTER_S, len(_BODY), _BODY)
)
HTTP_LIMITS: dict[str, Any] = {
    "keepalive_timeout": IDLE_S,
    "max_line_size": MAX_LINE_BYTES,
    "max_field_size": MAX_HEADER_BYTES,
    "max_headers": MAX_HEADERS,
}
"""Of each connection, as aiohttp takes them."""


class Places:
    """Counts the connections of each client. On the event loop."""

    def __init__(self, maximum: int) -> None:
        self._maximum = maximum
        self._reserved = min(RESERVED, maximum // 8)
        self._share = max(1, maximum // 2)
        self._taken: Counter[str] = Counter()
        """By network."""

    @property
    def taken(self) -> int:
        return self._taken.total()

    def take(self, address: str) -> Callable[[], None] | None:
        """What gives the place back, once however often it is called; None when there is none for this address."""
        here, owner = is_loopback(address), client_network(address)
        left = self._maximum - self.taken - (0 if here else self._reserved)
        if left <= 0 or (not here and self._taken[owner] >= self._share):
            return None
        self._taken[owner] += 1
        held = True

        def give_back() -> None:
            nonlocal held
            if held:
                held = False
                self._taken[owner] -= 1
                if not self._taken[owner]:
                    del self._taken[owner]

        return give_back


class PlacedSocket(socket.socket):
    """Holds its place until it is closed, wherever that happens: a TLS handshake counts too."""

    def __init__(self, accepted: socket.socket, give_back: Callable[[], None]) -> None:
        super().__init__(accepted.family, accepted.type, accepted.proto, accepted.detach())
        self._give_back = give_back

    def close(self) -> None:
        super().close()
        self._give_back()


class Listener:
    """Accepts what comes in on some sockets, as long as there are places. On the event loop."""

    def __init__(self, sockets: list[socket.socket], server: web.Server, places: Places, tls: Tls | None) -> None:
        self._loop = asyncio.get_running_loop()
        self._sockets = sockets
        self._server = server
        self._places = places
        self._tls = tls
        self._opening: set[asyncio.Task[None]] = set()
        for each in sockets:
            self._listen(each)

    @property
    def address(self) -> tuple[str, int]:
        host, port = self._sockets[0].getsockname()[:2]
        return host, port

    @property
    def connections(self) -> int:
        return self._places.taken

    async def close(self) -> None:
        """Accepts no more; those that are open stay so. Safe to repeat."""
        while self._sockets:
            listening = self._sockets.pop()
            self._loop.remove_reader(listening)
            listening.close()
        await asyncio.sleep(0)  # those that were accepted just now begin: from then on asyncio closes what it was given
        for task in self._opening:
            task.cancel()
        await asyncio.gather(*self._opening, return_exceptions=True)

    def _listen(self, listening: socket.socket) -> None:
        if listening in self._sockets:
            self._loop.add_reader(listening, self._accept, listening)

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(BATCH):
            try:
                accepted, (host, *_rest) = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in NO_DESCRIPTORS:
                    raise
                log.warning("cannot accept connections for the moment: %s", error.strerror)
                self._loop.remove_reader(listening)
                self._loop.call_later(PAUSE_S, self._listen, listening)
                return
            accepted.setblocking(False)
            give_back = self._places.take(host)
            if give_back is None:
                self._refuse(accepted)
                continue
            task = self._loop.create_task(self._open(PlacedSocket(accepted, give_back)), name="accept")
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)

    def _refuse(self, accepted: socket.socket) -> None:
        log.warning("a connection was refused: %d are open, or its address has too many", self._places.taken)
        with accepted:
            if self._tls is None:
                try:
                    accepted.send(_REFUSAL)
                    accepted.shutdown(socket.SHUT_WR)
                except OSError:  # it has gone
                    pass

    async def _open(self, accepted: PlacedSocket) -> None:
        encrypted: dict[str, Any] = {}
        if self._tls is not None:
            times = {"ssl_handshake_timeout": HANDSHAKE_S, "ssl_shutdown_timeout": HANDSHAKE_S}
            encrypted = {"ssl": self._tls.context, **times}
        try:
            await self._loop.connect_accepted_socket(self._server, accepted, **encrypted)
        except OSError as error:  # no TLS, or it has gone
            log.debug("a connection failed: %s", error)


def bind(host: str, port: int) -> list[socket.socket]:
    """Sockets that listen on every address of this name. Asks the DNS for it. Raises OSError."""
    flags = socket.AI_PASSIVE
    sockets: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags):
            listening = socket.socket(family, kind, protocol)
            sockets.append(listening)
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # Linux gives it to those that are accepted.
            listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(1000 * UNREAD_S))
            if family == socket.AF_INET6:
                listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listening.setblocking(False)
            listening.bind(address)
            listening.listen(BACKLOG)
    except OSError:
        for each in sockets:
            each.close()
        raise
    return sockets
