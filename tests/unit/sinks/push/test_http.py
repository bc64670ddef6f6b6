"""One HTTP request: what is sent, and what is made of whatever comes back."""

from __future__ import annotations

import asyncio

import pytest

from streamd.config.address import SourceAddress
from streamd.errors import PushFailed
from streamd.sinks.push.http import HttpAnswer, ask
from tests.support.taker import Serve, listening, says


async def asked(serve: Serve, *, method: str = "GET", within_s: float = 5.0) -> HttpAnswer:
    async with listening(serve) as port:
        address = SourceAddress.parse(f"http://127.0.0.1:{port}/")
        return await ask(address, method, "/a?b", {"X-Y": "z"}, b"body" if method == "POST" else b"", within_s=within_s)


async def test_what_is_sent() -> None:
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read(65536))
        writer.write(b"HTTP/1.1 201 Created\r\nLocation: /x\r\nContent-Length: 2\r\n\r\nok")

    answer = await asked(serve, method="POST")
    assert (answer.status, answer.headers["Location"], answer.body) == (201, "/x", b"ok")
    head, _, body = heard[0].partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    assert (first, body) == ("POST /a?b HTTP/1.1", b"body")
    assert {"Connection: close", "X-Y: z", "Content-Length: 4"} < set(lines)


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\ngo\r\n2\r\nod\r\n0\r\n\r\n",
    ],
)
async def test_a_server_that_keeps_the_connection_is_not_waited_for(data: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65536)
        for byte in data:
            writer.write(bytes([byte]))
            await writer.drain()
        await reader.read(-1)

    assert (await asked(serve)).body == b"good"


async def test_without_a_length_it_ends_with_the_connection() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65536)
        writer.write(b"HTTP/1.0 200 OK\r\n\r\ngood")
        writer.close()

    assert (await asked(serve)).body == b"good"


@pytest.mark.parametrize(
    ("data", "every_s", "reason", "refused"),
    [
        (b"220 mail ready\r\n\r\n" * 1000, 0.0, "answers more than it was asked for", True),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 10000, 0.0, "answers more than it was asked for", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n" + bytes(99999), 0.0, "answers more than it", True),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"Content-Length: 0\r\n\r\n", None, "does not speak HTTP", True),
        (b"HTTP/9 x\r\nContent-Length: 0\r\n\r\n", None, "does not speak HTTP as it should", True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n0\r\n\r\n", None, "does not speak HTTP", True),
        (b"", None, "does not answer", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx", None, "does not answer", False),
    ],
)
async def test_a_hostile_server(data: bytes, every_s: float | None, reason: str, refused: bool) -> None:
    with pytest.raises(PushFailed) as caught:
        await asked(says(data, every_s=every_s), within_s=5.0 if refused else 0.3)
    assert caught.value.reason.startswith(reason)
    assert caught.value.refused == refused


async def test_one_that_hangs_up() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65536)
        writer.close()

    with pytest.raises(PushFailed, match="hangs up"):
        await asked(serve)
