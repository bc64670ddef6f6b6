"""Streams over HTTP: what they do, their settings, and a still of the newest frame."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from streamd import __version__
from streamd.config.load import parse
from streamd.errors import ConfigError, PictureError
from streamd.sources import MediaDirectories, permitted
from streamd.web.context import CONTEXT, WebContext
from streamd.web.errors import RETRY_AFTER_S, Refusal
from streamd.web.parameters import VIEW, picture_format
from streamd.web.pictures import send_picture
from streamd.web.requests import BODY_ERRORS, MAX_SETTINGS_BYTES, json_object, stream_of
from streamd.web.routes import Body, Route
from streamd.web.schemas import PICTURES, STREAM, json_content, reference
from streamd.web.tokens import Scope

SNAPSHOT_TIMEOUT_S = 10.0
SETTINGS = "with the keys of a stream, such as source"
PATH = "/api/v1/streams/{name}"
FORMAT = picture_format("jpg")


async def list_streams(request: web.Request) -> web.Response:
    return web.json_response(describe(request.app[CONTEXT]))


def describe(context: WebContext) -> dict[str, Any]:
    """All streams, now."""
    return {
        "time": time.time(),
        "streams": [stream.describe() for stream in context.streams.values()],
        "model": _model(context),
        "version": __version__,
    }


async def show_stream(request: web.Request) -> web.Response:
    return web.json_response(stream_of(request).describe() | {"model": _model(request.app[CONTEXT])})


async def put_stream(request: web.Request) -> web.Response:
    """Adds the stream, or gives it these settings and no others."""
    return await _put(request, await json_object(request, SETTINGS, MAX_SETTINGS_BYTES))


async def patch_stream(request: web.Request) -> web.Response:
    """Changes what the body names and leaves the rest."""
    before = stream_of(request).config.model_dump(mode="json", exclude_unset=True)
    return await _put(request, before | await json_object(request, SETTINGS, MAX_SETTINGS_BYTES))


async def _put(request: web.Request, settings: Mapping[str, Any]) -> web.Response:
    """Raises ConfigError, with every problem."""
    name, streams = request.match_info["name"], request.app[CONTEXT].streams
    config = parse({"streams": {name: settings}}).streams[name]
    current = streams[name].config if name in streams else None
    media = MediaDirectories(request.app[CONTEXT].server.media_directories)
    if problems := permitted.problems(name, config, current, media):
        raise ConfigError(problems)
    created = streams.put(name, config)
    return web.json_response(streams[name].describe(), status=201 if created else 200)


async def delete_stream(request: web.Request) -> web.Response:
    """Answers when nothing of it is left: files complete, viewers gone."""
    stream = stream_of(request)
    await request.app[CONTEXT].streams.remove(stream.name)
    return web.json_response(stream.describe())


async def snapshot(request: web.Request) -> web.StreamResponse:
    stream, context = stream_of(request), request.app[CONTEXT]
    view, format = VIEW.read(request), FORMAT.read(request)
    try:
        data = await asyncio.wait_for(context.stills.make(stream, view, format), SNAPSHOT_TIMEOUT_S)
    except (PictureError, TimeoutError) as error:
        reason = str(error) or f"no frame within {SNAPSHOT_TIMEOUT_S:.0f} s"
        raise Refusal(
            503, "not_ready", f"stream {stream.name}: {reason}", {"Retry-After": str(RETRY_AFTER_S)}
        ) from None
    return await send_picture(request, data, format, f"{stream.name}-{view}")


def _model(context: WebContext) -> dict[str, Any]:
    status = context.service.status
    info = status.info
    described: dict[str, Any] = {"state": status.state, "wanted": status.wanted, "message": status.message}
    if info is None:
        return described | {"name": None, "title": None, "coarse": None}
    return described | {
        "name": info.spec.name,
        "title": info.spec.title,
        "coarse": info.spec.coarse,
        "licence": info.spec.licence,
        "runtime": info.runtime,
        "precision": info.precision,
        "sha256": info.sha256,
    }


ROUTES = (
    Route("GET", "/api/v1/streams", list_streams, Scope.VIEW, "All streams", {200: json_content(reference("Streams"))}),
    Route("GET", PATH, show_stream, Scope.VIEW, "One stream", {200: STREAM}, errors=(404,)),
    Route(
        "PUT",
        PATH,
        put_stream,
        Scope.CONTROL,
        "Add a stream, or give it these settings",
        {200: STREAM, 201: STREAM},
        body=Body(json_content(reference("StreamConfig")), BODY_ERRORS),
    ),
    Route(
        "PATCH",
        PATH,
        patch_stream,
        Scope.CONTROL,
        "Change some settings",
        {200: STREAM},
        errors=(404,),
        body=Body(json_content(reference("StreamChange")), BODY_ERRORS, required=False),
    ),
    Route("DELETE", PATH, delete_stream, Scope.CONTROL, "Remove a stream", {200: STREAM}, errors=(404,)),
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
