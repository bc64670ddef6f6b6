"""Ports for what tests start, and start again. They are below those that the kernel gives to clients: one of these
might get the port of a server that is away, or even be connected to itself by it."""

from __future__ import annotations

import random
import socket
from contextlib import ExitStack

FIRST, BEHIND = 10_000, 32_768
"""Clients begin there: net.ipv4.ip_local_port_range."""


def free_port() -> int:
    return free_ports(1)[0]


def free_ports(wanted: int, address: str = "127.0.0.1") -> range:
    """That many neighbours, for TCP and UDP, all free a moment ago."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    while True:
        first = random.randrange(FIRST, BEHIND - wanted)
        with ExitStack() as held:
            try:
                for port in range(first, first + wanted):
                    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                        held.enter_context(socket.socket(family, kind)).bind((address, port))
            except OSError:
                continue
        return range(first, first + wanted)
