"""Whether anybody listens, without asking for anything."""

from __future__ import annotations

import errno
import select
import socket
import threading
import time

POLL_MS = 50


def is_reachable(host: str, port: int, timeout_s: float, stop: threading.Event) -> bool:
    """Whether a TCP connection can be made. Gives up on ``stop``. A name is looked up each time, for as long
    as that takes."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError:
        return False
    until = time.monotonic() + timeout_s
    with socket.socket(family, kind) as probe:
        probe.setblocking(False)
        if probe.connect_ex(address) not in (0, errno.EINPROGRESS):
            return False
        poll = select.poll()
        poll.register(probe, select.POLLOUT)
        while not stop.is_set() and time.monotonic() < until:
            if poll.poll(POLL_MS):
                return probe.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
    return False
