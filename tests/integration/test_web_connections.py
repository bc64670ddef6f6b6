"""Clients that open connections and do nothing, or next to nothing, with them."""

from __future__ import annotations

import asyncio
import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from streamd.web import connections
from tests.integration.web_site import Site, served
from tests.support.certificates import make_certificate

pytestmark = pytest.mark.timeout(60)


class Idle(ExitStack):
    """Clients that only connect."""

    def __init__(self, site: Site) -> None:
        super().__init__()
        host, _, port = site.url.removeprefix("http://").removeprefix("https://").partition(":")
        self._address = (host, int(port))

    async def connect(self) -> socket.socket:
        client = self.enter_context(socket.socket())
        client.setblocking(False)
        await asyncio.get_running_loop().sock_connect(client, self._address)
        return client


async def received(client: socket.socket, within_s: float = 5) -> bytes:
    """Until the connection ends."""
    data = b""
    async with asyncio.timeout(within_s):
        try:
            while chunk := await asyncio.get_running_loop().sock_recv(client, 65536):
                data += chunk
        except ConnectionResetError:
            pass
    return data


def is_open(client: socket.socket) -> bool:
    try:
        return bool(client.recv(65536))
    except BlockingIOError:
        return True
    except ConnectionResetError:
        return False


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(8192, hard), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_past_the_bound_they_are_refused_and_the_others_go_on() -> None:
    async with served(max_connections=16) as site:
        assert (await site.get("/healthz")).status == 200, "and its connection stays open"
        with Idle(site) as idle:
            clients = [await idle.connect() for _ in range(15)]
            refused = await idle.connect()
            answer = await received(refused)
            assert answer.startswith(b"HTTP/1.1 503 ")
            assert b'{"error": {"code": "full", ' in answer
            assert (await site.get("/healthz")).status == 200
            assert all(is_open(client) for client in clients)
            clients[0].close()
            await site.until(lambda: site.listening.connections == 15)
            late = await idle.connect()
            await asyncio.get_running_loop().sock_sendall(late, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert (await asyncio.get_running_loop().sock_recv(late, 100)).startswith(b"HTTP/1.1 200 ")


async def test_two_thousand_that_do_nothing(many_descriptors: None) -> None:
    async with served() as site:
        assert (await site.get("/healthz")).status == 200
        with Idle(site) as idle:
            clients = [await idle.connect() for _ in range(2000)]
            await site.until(lambda: sum(map(is_open, clients)) <= 511)
            assert (await site.get("/api/v1/streams")).status == 200


class TestTooSlow:
    @pytest.fixture(autouse=True)
    def soon(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(connections.HTTP_LIMITS, "keepalive_timeout", 0.3)
        monkeypatch.setattr(connections, "UNREAD_S", 0.5)

    async def test_one_that_never_asks(self) -> None:
        async with served() as site:
            with Idle(site) as idle:
                assert await received(await idle.connect()) == b""

    @pytest.mark.parametrize("first", [b"", b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"])
    async def test_one_that_asks_byte_by_byte(self, first: bytes) -> None:
        loop = asyncio.get_running_loop()
        async with served() as site:
            with Idle(site) as idle:
                client = await idle.connect()
                await loop.sock_sendall(client, first + b"GET /healthz HTTP/1.1\r\nX: ")
                async with asyncio.timeout(5):
                    while is_open(client):
                        try:
                            await loop.sock_sendall(client, b"x")
                        except ConnectionError:
                            break
                        await asyncio.sleep(0.05)

    async def test_one_that_does_not_take_what_it_asked_for(self) -> None:
        """Though nothing of ours counts the time: the answer has been handed over."""
        loop = asyncio.get_running_loop()
        ask = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n"
        async with served() as site:
            with Idle(site) as idle:
                client = await idle.connect()
                asking = asyncio.create_task(loop.sock_sendall(client, ask * 1000))
                await site.until(lambda: site.listening.connections == 1)
                await site.until(lambda: site.listening.connections == 0, within_s=10)
                asking.cancel()
                await asyncio.gather(asking, return_exceptions=True)


@pytest.mark.parametrize(
    "head",
    [
        b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"x" * 9000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"".join(b"X-%d: x\r\n" % number for number in range(200)) + b"\r\n",
        b"GET / HTTP/1.1\r\n" + b"X" * 9000 + b": x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
    ],
    ids=["line", "header", "headers", "name", "TLS"],
)
async def test_a_head_that_is_too_large_or_none(head: bytes) -> None:
    async with served() as site:
        with Idle(site) as idle:
            client = await idle.connect()
            await asyncio.get_running_loop().sock_sendall(client, head)
            answer = await received(client)
            assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.0 400 "))
            assert len(answer) < 2000


async def test_tls_that_never_begins_counts_and_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HANDSHAKE_S", 0.5)
    certificate, key = make_certificate(tmp_path, "here")
    files: dict[str, Any] = {"tls_certificate": certificate, "tls_key": key}
    async with served(max_connections=16, **files) as site:
        with Idle(site) as idle:
            clients = [await idle.connect() for _ in range(16)]
            await site.until(lambda: site.listening.connections == 16)
            assert await received(await idle.connect()) == b""
            for client in clients:
                assert await received(client) == b""
            await site.until(lambda: site.listening.connections == 0)
