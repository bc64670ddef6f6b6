"""Which UDP ports the sockets of viewers get: any, one each of a range, or a single one for all (mux.py)."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import os
import random
import socket
from typing import Protocol

from aioice.ice import Connection

from streamd.errors import ViewersFull
from streamd.sinks.webrtc.filter import FilteredProtocol

ANY_PORT = range(1)
RECEIVE_BUFFER_BYTES = 262_144
"""As aioice has it."""


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
    """How a viewer's socket at an address of this box is opened."""

    async def open(self, connection: Connection, address: str) -> FilteredProtocol:
        """Raises OSError."""


class PortRange:
    """Each socket has a port of its own of these; ANY_PORT: any that is free."""

    def __init__(self, ports: range = ANY_PORT) -> None:
        self._ports = ports

    async def open(self, connection: Connection, address: str) -> FilteredProtocol:
        sock = bind(address, self._ports)
        try:
            _, protocol = await asyncio.get_running_loop().create_datagram_endpoint(
                lambda: FilteredProtocol(connection), sock=sock
            )
        except BaseException:
            sock.close()
            raise
        return protocol


def bind(address: str, ports: range) -> socket.socket:
    """A UDP socket on a free one of these ports. Raises OSError: EADDRINUSE when none is.

    In random order, so that a port is not used again at once, while packets to its last viewer may be under way.
    """
    family = socket.AF_INET6 if ipaddress.ip_address(address).version == 6 else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
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
