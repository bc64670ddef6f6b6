"""Listening for whoever sends by UDP, which FFmpeg can only be made to end by its time limit."""

from __future__ import annotations

import ipaddress
import select
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import parse_qsl

from streamd.config.address import SourceAddress

POLL_MS = 50
_ADD_SOURCE_MEMBERSHIP = 39
"""Linux's IP_ADD_SOURCE_MEMBERSHIP, which Python 3.11 does not name."""


def await_datagram(address: SourceAddress, until_s: float, stop: threading.Event) -> bool:
    """Whether one comes until then, by the monotonic clock, and before ``stop``. Raises OSError, UnicodeError."""
    with listening(address) as receiver:
        poll = select.poll()
        poll.register(receiver, select.POLLIN)
        while not stop.is_set() and (left_s := until_s - time.monotonic()) > 0:
            if poll.poll(min(POLL_MS, 1000 * left_s)):
                return True
    return False


@contextmanager
def listening(address: SourceAddress) -> Iterator[socket.socket]:
    """Where FFmpeg would: at this address or any, in this group."""
    options = dict(parse_qsl(address.path.partition("?")[2]))
    group = _group(address.host)
    host = address.host if group else options.get("localaddr") or address.host or "0.0.0.0"
    family, kind, _, _, where = socket.getaddrinfo(host, address.port, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind) as receiver:
        if group or options.get("reuse") == "1":
            receiver.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        receiver.bind(where)
        if isinstance(group, ipaddress.IPv6Address):
            receiver.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, struct.pack("16sI", group.packed, 0))
        elif group:
            interface = socket.inet_aton(options.get("localaddr", "0.0.0.0"))
            for sender in filter(None, options.get("sources", "").split(",")):
                membership = group.packed + interface + socket.inet_aton(sender)
                receiver.setsockopt(socket.IPPROTO_IP, _ADD_SOURCE_MEMBERSHIP, membership)
            if not options.get("sources"):
                receiver.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group.packed + interface)
        yield receiver


def _group(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """None: it is no multicast group."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    return address if address.is_multicast else None
