"""Which UDP ports aioice gets: any, one each of a range, or a single one for all (mux.py).

aioice binds ``(address, 0)`` through the loop's ``create_datagram_endpoint`` and has no option for the port
(aioice #47). So that method of the running loop is wrapped, once; what it does changes only while a session
of ours gathers (a context variable says so) and only for that call. Everything else of the process, TURN
clients and peers of tests among it, gets the loop's own.
"""

from __future__ import annotations

import asyncio
import errno
import functools
import ipaddress
import logging
import os
import random
import socket
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol

from streamd.errors import ViewersFull

Endpoint = tuple[Any, asyncio.DatagramProtocol]
Create = Callable[..., Coroutine[Any, Any, Endpoint]]
"""``loop.create_datagram_endpoint``."""
Factory = Callable[[], asyncio.DatagramProtocol]

log = logging.getLogger(__name__)

_used: ContextVar[Ports | None] = ContextVar("ports", default=None)
"""Of the session that gathers in this context."""


class NoPort(ViewersFull):
    """No socket for a viewer. A kind of ViewersFull, so that it becomes 503 with Retry-After as that does."""

    def __init__(self, ports: range | None) -> None:
        super().__init__(len(ports or ()))
        if ports is None:
            text = "no UDP socket for this viewer could be opened"
        elif len(ports) == 1:
            text = f"UDP port {ports[0]} (webrtc.udp_ports) cannot be opened: another program may hold it"
        else:
            text = f"all UDP ports of webrtc.udp_ports ({ports[0]}-{ports[-1]}) are taken"
        self.args = (f"{text}; try again",)


class Ports(Protocol):
    """How a socket for a viewer is opened."""

    async def open(self, create: Create, factory: Factory, address: str) -> Endpoint:
        """As ``create`` does for ``local_addr=(address, 0)``. Raises OSError."""


class PortRange:
    """Each socket of a viewer has a port of its own of these."""

    def __init__(self, ports: range) -> None:
        self._ports = ports

    async def open(self, create: Create, factory: Factory, address: str) -> Endpoint:
        sock = bind(address, self._ports)
        try:
            return await create(factory, sock=sock)
        except BaseException:
            sock.close()
            raise


def bind(address: str, ports: range) -> socket.socket:
    """A UDP socket on a free one of these ports. Raises OSError: EADDRINUSE when none is.

    In random order, so that a port is not used again at once, while packets to its last viewer may be under way.
    """
    family = socket.AF_INET6 if ipaddress.ip_address(address).version == 6 else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        for port in random.sample(ports, len(ports)):
            try:
                sock.bind((address, port))
                return sock
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
        raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
    except BaseException:
        sock.close()
        raise


@contextmanager
def used(ports: Ports | None) -> Iterator[None]:
    """What aioice gathers inside, gets its sockets from these; None: any port. On the event loop."""
    if ports is not None:
        _wrap(asyncio.get_running_loop())
    token = _used.set(ports)
    try:
        yield
    finally:
        _used.reset(token)


def _wrap(loop: asyncio.AbstractEventLoop) -> None:
    """Safe to repeat. A loop that does not allow it (uvloop's) goes on with its own ports, and says so once."""
    own = loop.create_datagram_endpoint
    if isinstance(own, functools.partial) and own.func is _create:
        return
    try:
        loop.create_datagram_endpoint = functools.partial(_create, own)  # type: ignore[method-assign,assignment]
    except AttributeError:
        complain("this event loop has no place for webrtc.udp_ports")


async def _create(own: Create, factory: Factory, local_addr: Any = None, *rest: Any, **options: Any) -> Endpoint:
    """The loop's method, but for aioice's sockets of a session that gathers: those bind (address, 0)."""
    ports = _used.get()
    if ports is None or local_addr is None or local_addr[1] != 0:
        return await own(factory, local_addr, *rest, **options)
    return await ports.open(own, factory, local_addr[0])


@functools.cache
def complain(reason: str) -> None:
    """Once each: a name that a release moved must not fill the log."""
    log.warning("%s: going on without", reason)
