"""TCP connections that always end on ``stop`` and at a time limit."""

from __future__ import annotations

import errno
import io
import os
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from streamd.sources.budget import Budget

POLL_MS = 50
Permit = Callable[[str, int], None]
"""Takes an address and a port; raises an error when it is not permitted to connect there."""
Answer = TypeVar("Answer")


class Interrupted(OSError):
    """``stop`` was set."""


def is_reachable(host: str, port: int, timeout_s: float, stop: threading.Event) -> bool:
    """Whether a TCP connection can be made, without asking for anything. Gives up on ``stop``."""
    try:
        dial(host, port, time.monotonic() + timeout_s, stop).close()
    except (OSError, UnicodeError):
        return False
    return True


def dial(
    host: str, port: int, deadline_s: float, stop: threading.Event, permit: Permit = lambda ip, port: None
) -> socket.socket:
    """A connection to the first of the host's addresses that takes one; its socket does not block.

    A name is looked up each time, for as long as that takes, and the address that was permitted is the one that is
    connected to. Raises OSError, UnicodeError and what ``permit`` raises.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    for *_, address in found:
        permit(str(address[0]), port)
    failure: OSError = OSError(errno.EHOSTUNREACH, "no address")
    for family, kind, _, _, address in found:
        connection = socket.socket(family, kind)
        try:
            connection.setblocking(False)
            _connect(connection, address, deadline_s, stop)
        except OSError as error:
            failure = error
            connection.close()
        else:
            return connection
    raise failure


def _connect(connection: socket.socket, address: tuple[object, ...], deadline_s: float, stop: threading.Event) -> None:
    number = connection.connect_ex(address)
    if number == errno.EINPROGRESS:
        _wait(connection, select.POLLOUT, deadline_s, stop)
        number = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if number:
        raise OSError(number, os.strerror(number))


def _wait(connection: socket.socket, event: int, until_s: float, stop: threading.Event) -> None:
    poll = select.poll()
    poll.register(connection, event)
    while not poll.poll(min(POLL_MS, 1000 * _check(until_s, stop))):
        pass


def _check(until_s: float, stop: threading.Event) -> float:
    """Seconds left. Raises TimeoutError and Interrupted."""
    if stop.is_set():
        raise Interrupted(errno.ECANCELED, "stopped")  # at EINTR io.BufferedReader reads again, for ever
    left_s = until_s - time.monotonic()
    if left_s <= 0:
        raise TimeoutError(errno.ETIMEDOUT, "timed out")
    return left_s


class Connection:
    """What ``http.client`` wants of a socket. One thread's."""

    def __init__(
        self, connection: socket.socket, stop: threading.Event, silence_s: float, budget: Budget | None = None
    ) -> None:
        """``connection`` must not block; ``silence_s`` is how long it may move nothing. Without a budget it may bring
        any number of bytes: for what is passed on at once."""
        self._socket = connection
        self._stop = stop
        self._silence_s = silence_s
        self._budget = budget

    def start_tls(self, context: ssl.SSLContext, host: str) -> None:
        tls = context.wrap_socket(self._socket, server_hostname=host, do_handshake_on_connect=False)
        self._socket = tls
        self._patiently(tls.do_handshake, select.POLLIN)

    def sendall(self, data: Any) -> None:
        rest = memoryview(data).cast("B")
        while rest:
            rest = rest[self._patiently(partial(self._socket.send, rest), select.POLLOUT) :]

    def recv_into(self, buffer: Any) -> int:
        """Raises OverBudget too."""
        count = self._patiently(lambda: self._socket.recv_into(buffer), select.POLLIN)
        if self._budget is not None:
            self._budget.spend(count)
        return count

    def fileno(self) -> int:
        return self._socket.fileno()

    @property
    def has_more(self) -> bool:
        """Whether there is something to receive that a poll does not show."""
        return isinstance(self._socket, ssl.SSLSocket) and self._socket.pending() > 0

    @property
    def is_dry(self) -> bool:
        """Whether receiving would wait."""
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return not self.has_more and not poll.poll(0)

    def makefile(self, mode: str) -> io.BufferedReader:
        assert mode == "rb"
        return io.BufferedReader(_Reader(self))

    def close(self) -> None:
        """By ``http.client``, which leaves the answer's body to be read, as a socket would allow: nothing."""

    def hang_up(self) -> None:
        self._socket.close()

    def _patiently(self, call: Callable[[], Answer], event: int) -> Answer:
        """Raises TimeoutError and Interrupted, also when the socket would never block."""
        until_s = time.monotonic() + self._silence_s
        if self._budget is not None:
            until_s = min(self._budget.deadline_s, until_s)
        while True:
            _check(until_s, self._stop)
            try:
                return call()
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError) as error:
                wanted = select.POLLOUT if isinstance(error, ssl.SSLWantWriteError) else event
            _wait(self._socket, wanted, until_s, self._stop)


class _Reader(io.RawIOBase):
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with suppress(ssl.SSLEOFError):  # closed without a word, as many cameras do
            return self._connection.recv_into(buffer)
        return 0
