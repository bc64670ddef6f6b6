"""Listening for a first datagram."""

from __future__ import annotations

import errno
import os
import socket
import threading
import time

import pytest

from streamd.config.address import SourceAddress
from streamd.sources.udp import await_datagram, listening
from tests.support.ports import free_port
from tests.support.waiting import scaled


def send(host: str, port: int, data: bytes = b"G") -> None:
    kind = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(kind, socket.SOCK_DGRAM) as sender:
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 0)
        sender.sendto(data, (host, port))


@pytest.mark.parametrize(
    ("form", "to"),
    [
        ("udp://:{}", "127.0.0.1"),
        ("udp://0.0.0.0:{}", "127.0.0.1"),
        ("udp://@127.0.0.1:{}", "127.0.0.1"),
        ("udp://127.0.0.1:{}?reuse=1", "127.0.0.1"),
        ("udp://:{}?localaddr=127.0.0.1", "127.0.0.1"),
        ("udp://@[::1]:{}", "::1"),
        ("udp://@239.255.1.9:{}", "239.255.1.9"),
        ("udp://239.255.1.9:{}?fifo_size=1000", "239.255.1.9"),
    ],
)
def test_what_is_sent_here_is_noticed(form: str, to: str) -> None:
    address = SourceAddress.parse(form.format(free_port()))
    with listening(address) as receiver:
        receiver.settimeout(scaled(5))
        send(to, address.port)
        assert receiver.recv(10) == b"G"


def test_another_sender_than_wanted_is_not_noticed() -> None:
    address = SourceAddress.parse(f"udp://@239.255.1.9:{free_port()}?sources=192.0.2.1")
    with listening(address) as receiver:
        receiver.settimeout(0.2)
        send(address.host, address.port)
        with pytest.raises(TimeoutError):
            receiver.recv(10)


def test_the_wait_ends_at_its_time_limit() -> None:
    address = SourceAddress.parse(f"udp://:{free_port()}")
    started = time.monotonic()
    assert not await_datagram(address, started + 0.2, threading.Event())
    assert 0.2 <= time.monotonic() - started < scaled(1)


def test_the_wait_ends_with_a_datagram_or_a_stop() -> None:
    address = SourceAddress.parse(f"udp://127.0.0.1:{free_port()}")
    stop, over = threading.Event(), threading.Event()

    def keep_sending() -> None:
        while not over.wait(0.02):
            send("127.0.0.1", address.port)

    sender = threading.Thread(target=keep_sending)
    sender.start()
    try:
        assert await_datagram(address, time.monotonic() + scaled(10), stop)
    finally:
        over.set()
        sender.join()
    stop.set()
    assert not await_datagram(address, time.monotonic() + 60, stop)


@pytest.mark.parametrize(
    ("form", "number"),
    [("udp://192.0.2.1:{}", errno.EADDRNOTAVAIL), ("udp://@239.255.1.9:{}?localaddr=192.0.2.1", errno.ENODEV)],
)
def test_where_it_cannot_listen(form: str, number: int) -> None:
    address = SourceAddress.parse(form.format(free_port()))
    with pytest.raises(OSError, match=os.strerror(number)), listening(address):
        pass
