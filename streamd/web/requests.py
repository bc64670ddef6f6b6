"""What handlers read from a request. Each raises a Refusal with the reason when it is wrong."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from aiohttp import web

from streamd.streams.stream import Stream
from streamd.web.context import CONTEXT
from streamd.web.errors import RETRY_AFTER_S, Refusal
from streamd.web.parameters import shortened

UNSPECIFIED = ("application/octet-stream", "application/x-www-form-urlencoded")
"""What clients send as the type of a body that they know nothing of; the second is curl's."""
MAX_JSON_BYTES = 64 * 1024
MAX_SETTINGS_BYTES = 256 * 1024
"""Of a stream: with all areas that it may have; what is too long in it is named."""
MAX_UPLOADED_BYTES = 128 * 1024 * 1024
"""What the pictures that are arriving, wait or are worked on may take together."""
BODY_TIMEOUT_S = 60.0
BODY_ERRORS = (400, 408, 413, 415, 422)
"""How a body is refused."""


def find_stream(request: web.Request) -> Stream:
    name = request.match_info["name"]
    stream = request.app[CONTEXT].streams.get(name)
    if stream is None:
        raise unknown_stream(name)
    return stream


def unknown_stream(name: str) -> Refusal:
    return Refusal(404, "unknown_stream", f"no stream is called {shortened(name)}")


class ByteBudget:
    """Bounds the memory for all large bodies together. On the event loop; the handlers of one server share it."""

    def __init__(self, max_bytes: int) -> None:
        self._left = max_bytes

    @contextmanager
    def reserve(self) -> Iterator[Callable[[int], None]]:
        """Yields ``take(count)``, which raises Refusal when too little is left; all is given back at the end."""
        taken = 0

        def take(count: int) -> None:
            nonlocal taken
            if count > self._left:
                message = "too many pictures at once; try again"
                raise Refusal(503, "busy", message, {"Retry-After": str(RETRY_AFTER_S)})
            self._left -= count
            taken += count

        try:
            yield take
        finally:
            self._left += taken


UPLOADS = ByteBudget(MAX_UPLOADED_BYTES)


async def json_object(request: web.Request, hint: str, max_bytes: int = MAX_JSON_BYTES) -> dict[str, Any]:
    """The body; empty when there is none. ``hint`` shows in an error what it should be."""
    if not request.body_exists:
        return {}
    if request.content_type not in ("application/json", *UNSPECIFIED):
        raise Refusal(415, "wrong_type", f"send JSON (application/json), not {shortened(request.content_type)}")
    try:
        check_length(request, max_bytes)
        found = json.loads(await limited(lambda: request.content.read(65536), max_bytes) or b"{}")
    except (ValueError, RecursionError) as error:
        raise Refusal(400, "bad_request", f"not JSON: {error}") from None
    if not isinstance(found, dict):
        raise Refusal(422, "bad_value", f"send an object {hint}")
    return found


def check_length(request: web.Request, max_bytes: int) -> None:
    """Refuses a body by its Content-Length, before any of it is read."""
    if (request.content_length or 0) > max_bytes:
        raise _too_large(max_bytes)


async def limited(
    read: Callable[[], Awaitable[bytes]],
    max_bytes: int,
    take: Callable[[int], None] | None = None,
    timeout_s: float | None = None,
) -> bytearray:
    """All that ``read`` gives, until it gives nothing. ``take`` is called for each piece before it is kept."""
    data = bytearray()
    async with body_timeout(timeout_s):
        while chunk := await read():
            if len(data) + len(chunk) > max_bytes:
                raise _too_large(max_bytes)
            if take is not None:
                take(len(chunk))
            data += chunk
    return data


@asynccontextmanager
async def body_timeout(seconds: float | None = None) -> AsyncIterator[None]:
    """Refuses a body that takes longer to arrive (408), or whose sender hangs up before its end (400)."""
    seconds = BODY_TIMEOUT_S if seconds is None else seconds
    try:
        async with asyncio.timeout(seconds):
            yield
    except ConnectionError:
        raise Refusal(400, "bad_request", "the body ends before its end") from None
    except TimeoutError:
        raise Refusal(408, "timeout", f"the body did not arrive within {seconds:g} s") from None


def _too_large(max_bytes: int) -> Refusal:
    return Refusal(413, "too_large", f"more than {max_bytes // 1024} KiB")
