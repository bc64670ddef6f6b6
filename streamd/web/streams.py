"""Streams over HTTP: what they do, their settings, and a still of the newest frame."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import Any

from aiohttp import web

from streamd import __version__
from streamd.config.sections import StreamConfig
from streamd.errors import PictureError
from streamd.sources import MediaDirectories
from streamd.streams.fleet import Settings
from streamd.web import settings
from streamd.web.context import CONTEXT, WebContext
from streamd.web.description import describe_model, describe_stream
from streamd.web.errors import RETRY_AFTER_S, Refusal
from streamd.web.parameters import VIEW, picture_format
from streamd.web.pictures import send_picture
from streamd.web.requests import BODY_ERRORS, MAX_SETTINGS_BYTES, find_stream, json_object, unknown_stream
from streamd.web.routes import Body, Route
from streamd.web.schemas import PICTURES, STREAM, json_content, reference
from streamd.web.tokens import Scope

SNAPSHOT_TIMEOUT_S = 10.0
IN_FORCE_S = 5.0
"""A camera that does not let go holds up a change for longer than this only when the network hangs too."""
SETTINGS = "with the keys of a stream, such as source"
PATH = "/api/v1/streams/{name}"
FORMAT = picture_format("jpg")


async def list_streams(request: web.Request) -> web.Response:
    return web.json_response(describe(request.app[CONTEXT]))


def describe(context: WebContext) -> dict[str, Any]:
    """All streams, now."""
    return {
        "time": time.time(),
        "streams": [describe_stream(stream.status) for stream in context.streams.values()],
        "model": describe_model(context.service.status),
        "version": __version__,
    }


async def show_stream(request: web.Request) -> web.Response:
    model = describe_model(request.app[CONTEXT].service.status)
    return web.json_response(describe_stream(find_stream(request).status) | {"model": model})


async def put_stream(request: web.Request) -> web.Response:
    """Adds the stream, or gives it these settings and no others."""
    name, body = request.match_info["name"], await json_object(request, SETTINGS, MAX_SETTINGS_BYTES)
    media = MediaDirectories(request.app[CONTEXT].server.media_directories)
    return await _change(request, lambda wanted: settings.replaced(name, wanted, body, media))


async def patch_stream(request: web.Request) -> web.Response:
    """Changes what the body names and leaves the rest: JSON Merge Patch (RFC 7396)."""
    name, body = request.match_info["name"], await json_object(request, SETTINGS, MAX_SETTINGS_BYTES)
    media = MediaDirectories(request.app[CONTEXT].server.media_directories)

    def merge(wanted: StreamConfig | None) -> StreamConfig:
        if wanted is None:
            raise unknown_stream(name)
        return settings.merged(name, wanted, body, media)

    return await _change(request, merge)


async def _change(request: web.Request, make: Settings) -> web.Response:
    """Answers when the settings are in force; 202 when that takes longer. Raises ConfigError, with every problem."""
    name, streams = request.match_info["name"], request.app[CONTEXT].streams
    created = await streams.change(name, make)
    stream = find_stream(request)  # it may have been removed again meanwhile
    with suppress(TimeoutError):
        async with asyncio.timeout(IN_FORCE_S):
            await stream.settings_in_force()
    status = stream.status
    code = 202 if not status.is_in_force else 201 if created else 200
    return web.json_response(describe_stream(status), status=code)


async def delete_stream(request: web.Request) -> web.Response:
    """Answers when nothing of it is left: files complete, viewers gone."""
    stream = find_stream(request)
    try:
        await request.app[CONTEXT].streams.remove(stream.name)
    except KeyError:  # another request was faster
        raise unknown_stream(stream.name) from None
    return web.json_response(describe_stream(stream.status))


async def snapshot(request: web.Request) -> web.StreamResponse:
    stream, context = find_stream(request), request.app[CONTEXT]
    view, format = VIEW.read(request), FORMAT.read(request)
    try:
        data = await asyncio.wait_for(context.stills.make(stream, view, format), SNAPSHOT_TIMEOUT_S)
    except (PictureError, TimeoutError) as error:
        reason = str(error) or f"no frame within {SNAPSHOT_TIMEOUT_S:.0f} s"
        raise Refusal(
            503, "not_ready", f"stream {stream.name}: {reason}", {"Retry-After": str(RETRY_AFTER_S)}
        ) from None
    return await send_picture(request, data, format, f"{stream.name}-{view}")


ROUTES = (
    Route("GET", "/api/v1/streams", list_streams, Scope.VIEW, "All streams", {200: json_content(reference("Streams"))}),
    Route("GET", PATH, show_stream, Scope.VIEW, "One stream", {200: STREAM}, errors=(404,)),
    Route(
        "PUT",
        PATH,
        put_stream,
        Scope.CONTROL,
        "Add a stream, or give it these settings; 202: not in force yet",
        {200: STREAM, 201: STREAM, 202: STREAM},
        errors=(503,),
        body=Body(json_content(reference("StreamConfig")), BODY_ERRORS),
    ),
    Route(
        "PATCH",
        PATH,
        patch_stream,
        Scope.CONTROL,
        "Change some settings, null: back to the default; 202: not in force yet",
        {200: STREAM, 202: STREAM},
        errors=(404, 503),
        body=Body(json_content(reference("StreamChange")), BODY_ERRORS, required=False),
    ),
    Route("DELETE", PATH, delete_stream, Scope.CONTROL, "Remove a stream", {200: STREAM}, errors=(404, 503)),
    Route(
        "GET",
        f"{PATH}/snapshot",
        snapshot,
        Scope.VIEW,
        "The newest frame",
        {200: PICTURES},
        errors=(404, 422, 503),
        parameters=(VIEW, FORMAT),
    ),
)
