"""The HTTP API: what streams do, snapshots, and one picture in, depth out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future
from functools import partial
from typing import Any, TypeVar, cast

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from streamd import __version__
from streamd.config.sections import FORMATS, PictureFormat, parse
from streamd.errors import PictureError
from streamd.jobs.picture import depth_of_picture
from streamd.render.pictures import CONTENT_TYPES
from streamd.sources.v4l2 import cameras
from streamd.web.context import CONTEXT, WebContext
from streamd.web.errors import RETRY_AFTER_S, Refusal
from streamd.web.exposition import Exposition
from streamd.web.requests import UNSAID, UPLOADS, body_timeout, check_length, json_object, limited, stream_of, view_of

T = TypeVar("T")

SNAPSHOT_TIMEOUT_S = 10.0
MAX_PICTURE_BYTES = 32 * 1024 * 1024
MAX_FORM_BYTES = 64 * 1024
"""What a form may have around its picture."""
SETTINGS = "with the keys of a stream, such as source"
STREAM = "/api/v1/streams/{name}"


EXPOSITION = web.AppKey("exposition", Exposition)


def routes() -> list[web.RouteDef]:
    table: list[tuple[str, str, Callable[[web.Request], Awaitable[web.StreamResponse]]]] = [
        ("GET", "/healthz", healthz),
        ("GET", "/readyz", readyz),
        ("GET", "/metrics", metrics),
        ("GET", "/api/v1/devices", list_devices),
        ("GET", "/api/v1/streams", list_streams),
        ("GET", STREAM, show_stream),
        ("PUT", STREAM, put_stream),
        ("PATCH", STREAM, patch_stream),
        ("DELETE", STREAM, delete_stream),
        ("GET", f"{STREAM}/snapshot", snapshot),
        ("POST", "/api/v1/depth", depth),
    ]
    return [web.route(method, path, handler) for method, path, handler in table]


async def healthz(request: web.Request) -> web.Response:
    """The loop answers, so it lives; and a supervisor that died would have ended the process."""
    return web.json_response({"status": "ok"})


async def readyz(request: web.Request) -> web.Response:
    context = request.app[CONTEXT]
    reasons = []
    status = context.service.status
    if status.state not in ("ready", "idle"):
        reasons.append(f"model: {status.message or status.state}")
    reasons += [
        f"stream {stream.name}: {stream.state}" + (f": {stream.reason}" if stream.reason else "")
        for stream in context.streams.values()
        if not stream.is_settled
    ]
    if not reasons:
        return web.json_response({"status": "ready"})
    error = {"code": "not_ready", "message": "; ".join(reasons)}
    headers = {"Retry-After": str(RETRY_AFTER_S)}
    return web.json_response({"error": error, "reasons": reasons}, status=503, headers=headers)


async def metrics(request: web.Request) -> web.Response:
    context = request.app[CONTEXT]
    context.refresh_metrics()
    body, content_type = request.app[EXPOSITION].answer(request.headers.get("Accept", ""))
    return web.Response(body=body, headers={"Content-Type": content_type})


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
    return await _put(request, await json_object(request, SETTINGS))


async def patch_stream(request: web.Request) -> web.Response:
    """Changes what the body names and leaves the rest."""
    before = stream_of(request).config.model_dump(mode="json", exclude_unset=True)
    return await _put(request, before | await json_object(request, SETTINGS))


async def _put(request: web.Request, settings: Mapping[str, Any]) -> web.Response:
    """Raises ConfigError, with every problem."""
    name, streams = request.match_info["name"], request.app[CONTEXT].streams
    config = parse({"streams": {name: settings}}).streams[name]
    created = streams.put(name, config)
    return web.json_response(streams[name].describe(), status=201 if created else 200)


async def delete_stream(request: web.Request) -> web.Response:
    """Answers when nothing of it is left: files complete, viewers gone."""
    stream = stream_of(request)
    await request.app[CONTEXT].streams.remove(stream.name)
    return web.json_response(stream.describe())


async def list_devices(request: web.Request) -> web.Response:
    """The cameras of this machine. Asked for in a thread: a driver may take its time."""
    found = await _await(request.app[CONTEXT].stills.submit(cameras))
    return web.json_response({"devices": [camera.describe() for camera in found]})


async def snapshot(request: web.Request) -> web.Response:
    stream = stream_of(request)
    view, format = view_of(request), _format(request, default="jpg")
    try:
        data = await asyncio.wait_for(stream.snapshot(view, format), SNAPSHOT_TIMEOUT_S)
    except (PictureError, TimeoutError) as error:
        reason = str(error) or f"no frame within {SNAPSHOT_TIMEOUT_S:.0f} s"
        raise Refusal(
            503, "not_ready", f"stream {stream.name}: {reason}", {"Retry-After": str(RETRY_AFTER_S)}
        ) from None
    return _picture(data, format, f"{stream.name}-{view}")


async def depth(request: web.Request) -> web.Response:
    """One picture, as the raw body or as the field ``image`` of a form."""
    context = request.app[CONTEXT]
    view, format = view_of(request), _format(request, default="png")
    status, wanted = context.service.status, request.query.get("model")
    running = status.info.spec.name if status.info else status.wanted
    if wanted and wanted != running:
        raise Refusal(409, "not_running", f"model {wanted} is not running, {running} is")
    with UPLOADS.share() as take:
        data = await _image(request, take)
        work = partial(depth_of_picture, data, context.service, view, format)
        return _picture(await _await(context.stills.submit(work)), format, f"depth-{view}")


async def _image(request: web.Request, take: Callable[[int], None]) -> bytes:
    check_length(request, MAX_PICTURE_BYTES + MAX_FORM_BYTES)
    if request.content_type == "multipart/form-data":
        try:
            async with body_timeout():  # what is before the picture may not go on for ever either
                async for part in await request.multipart():
                    if getattr(part, "name", None) == "image":
                        return await limited(cast(Any, part).read_chunk, MAX_PICTURE_BYTES, take)
        except (ValueError, HttpProcessingError):
            raise Refusal(400, "bad_request", "the form is not one: see RFC 7578") from None
        raise Refusal(422, "bad_value", "the form has no field called image")
    if not request.content_type.startswith("image/") and request.content_type not in UNSAID:
        raise Refusal(415, "wrong_type", f"send a picture (image/...), not {request.content_type}")
    return await limited(lambda: request.content.read(65536), MAX_PICTURE_BYTES, take)


async def _await(future: Future[T]) -> T:
    try:
        return await asyncio.wrap_future(future)
    finally:
        del future  # else an error would hold this frame, and this frame the error, until the next collection


def _format(request: web.Request, default: PictureFormat) -> PictureFormat:
    format = request.query.get("format", default)
    if format not in FORMATS:
        raise Refusal(422, "bad_value", f"format {format}: unknown; there are: {', '.join(FORMATS)}")
    return format


def _picture(data: bytes, format: PictureFormat, stem: str) -> web.Response:
    extension = "png" if format == "png16" else format
    return web.Response(
        body=data,
        content_type=CONTENT_TYPES[format],
        headers={"Content-Disposition": f'inline; filename="{stem}.{extension}"', "Cache-Control": "no-store"},
    )


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
