"""Answers without an end: sent while the client reads, cut off when it does not."""

from __future__ import annotations

import asyncio
import socket

from aiohttp import web

STALLED_S = 15.0
"""A client that takes nothing for this long is cut off."""
CHECK_S = 1.0
"""How often to check that the client is still there, while there is nothing to send."""
PIECE_BYTES = 256 * 1024
"""Of a large answer: at once, it would be copied on the event loop, and buffered for its reader."""
UNSENT_BYTES = 128 * 1024
"""What may wait in the system for one connection: the rest would be old when it arrives."""


def alive(request: web.Request) -> bool:
    return request.transport is not None and not request.transport.is_closing()


def keep_short(request: web.Request) -> None:
    """Let little wait in the system's own buffer, which else takes megabytes."""
    option = getattr(socket, "TCP_NOTSENT_LOWAT", 25)  # Linux's number; Python names it from 3.12 on
    connection = request.transport.get_extra_info("socket") if request.transport else None
    if connection is not None and connection.family in (socket.AF_INET, socket.AF_INET6):
        connection.setsockopt(socket.IPPROTO_TCP, option, UNSENT_BYTES)


async def send(
    request: web.Request, response: web.StreamResponse, data: bytes | memoryview, stalled_s: float = STALLED_S
) -> bool:
    """Whether it went, and there is room for more. A client that does not read is cut off."""
    try:
        async with asyncio.timeout(stalled_s):
            await response.write(data)
    except ConnectionError:
        return False
    except TimeoutError:
        cut_off(request)
        return False
    return True


def cut_off(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()
