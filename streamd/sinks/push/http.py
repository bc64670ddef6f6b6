"""One HTTP request at a time, on the event loop: aiohttp is kept for the server, and http.client blocks.

What is read of an answer is bounded and has a deadline; http.client makes sense of it. Redirects are not followed.
"""

from __future__ import annotations

import asyncio
import http.client
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from streamd import __version__
from streamd.config.address import SourceAddress
from streamd.errors import PushFailed
from streamd.sinks.push.connection import connected, phrase

MAX_ANSWER = 256 * 1024
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,9})[ \t]*\r\n", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:[ \t]*chunked[ \t]*\r\n", re.IGNORECASE)


@dataclass(frozen=True)
class HttpAnswer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes


async def ask(
    address: SourceAddress, method: str, path: str, headers: Mapping[str, str], body: bytes = b"", *, within_s: float
) -> HttpAnswer:
    """``headers`` hold nothing that ends a line. Raises PushFailed."""
    tls = address.scheme == "https"
    host = address.netloc.removesuffix(":443" if tls else ":80")
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", f"User-Agent: streamd/{__version__}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if body or method == "POST":
        lines.append(f"Content-Length: {len(body)}")
    try:
        async with asyncio.timeout(within_s), connected(address, tls=tls) as (reader, writer):
            writer.write("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
            await writer.drain()
            data = await _read(reader)
    except TimeoutError as error:
        raise PushFailed(phrase(error)) from None
    return _parsed(data, method)


async def _read(reader: asyncio.StreamReader) -> bytes:
    """Until the answer is complete, or the server hangs up."""
    data = b""
    while not _is_complete(data):
        more = await reader.read(MAX_ANSWER)
        if not more:
            break
        data += more
        if len(data) > MAX_ANSWER:
            raise PushFailed("answers more than it was asked for", refused=True)
    return data


def _is_complete(data: bytes) -> bool:
    """Some servers keep the connection though they were asked not to."""
    head, end, body = data.partition(b"\r\n\r\n")
    if not end:
        return False
    if length := _LENGTH.search(head + b"\r\n"):
        return len(body) >= int(length[1])
    return bool(_CHUNKED.search(head + b"\r\n")) and body.endswith(b"0\r\n\r\n")


class _Received:
    """What http.client wants of a socket."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, *_: Any) -> io.BytesIO:
        return io.BytesIO(self._data)


def _parsed(data: bytes, method: str) -> HttpAnswer:
    response = http.client.HTTPResponse(_Received(data), method=method)  # type: ignore[arg-type]
    try:
        response.begin()
        return HttpAnswer(response.status, response.headers, response.read())
    except (http.client.HTTPException, ValueError):
        raise PushFailed("hangs up" if not data else "does not speak HTTP as it should", refused=bool(data)) from None
    finally:
        response.close()
