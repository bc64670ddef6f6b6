"""What handlers read from a request. Each raises the Refusal that says what is wrong with it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from streamd.config import VIEWS, View
from streamd.stream import Stream
from streamd.web.context import CONTEXT
from streamd.web.errors import Refusal

UNSAID = ("application/octet-stream", "application/x-www-form-urlencoded")
"""What clients say of a body when nobody told them what it is; the second is curl's."""
MAX_JSON_BYTES = 64 * 1024
BODY_TIMEOUT_S = 60.0


def stream_of(request: web.Request) -> Stream:
    name = request.match_info["name"]
    stream = request.app[CONTEXT].streams.get(name)
    if stream is None:
        raise Refusal(404, "unknown_stream", f"no stream is called {name}")
    return stream


def view_of(request: web.Request) -> View:
    return known_view(request.query.get("view", "depth"))


def known_view(view: object) -> View:
    found = next((known for known in VIEWS if known == view), None)
    if found is None:
        raise Refusal(422, "bad_value", f"view {view}: unknown; there are: {', '.join(VIEWS)}")
    return found


def number_of(request: web.Request, key: str, default: int, least: int, most: int) -> int:
    text = request.query.get(key, str(default))
    if not (text.isascii() and text.isdecimal() and len(text) < 10 and least <= int(text) <= most):
        raise Refusal(422, "bad_value", f"{key} {text}: should be a whole number from {least} to {most}")
    return int(text)


async def json_object(request: web.Request, hint: str, most: int = MAX_JSON_BYTES) -> dict[str, Any]:
    """The body; ``hint`` says what should be in it. Empty when there is none."""
    if not request.body_exists:
        return {}
    if request.content_type not in ("application/json", *UNSAID):
        raise Refusal(415, "wrong_type", f"send JSON (application/json), not {request.content_type}")
    try:
        found = json.loads(await limited(lambda: request.content.read(65536), most) or b"{}")
    except (ValueError, RecursionError) as error:
        raise Refusal(400, "bad_request", f"not JSON: {error}") from None
    if not isinstance(found, dict):
        raise Refusal(422, "bad_value", f"send an object {hint}")
    return found


async def limited(read: Callable[[], Awaitable[bytes]], most: int) -> bytes:
    """All that ``read`` gives, until it gives nothing."""
    data = bytearray()
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            while chunk := await read():
                data += chunk
                if len(data) > most:
                    raise Refusal(413, "too_large", f"more than {most // 1024} KiB")
    except TimeoutError:
        raise Refusal(408, "timeout", f"the body did not arrive within {BODY_TIMEOUT_S:g} s") from None
    return bytes(data)
