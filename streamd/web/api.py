"""The HTTP API: what streams do, snapshots, and one picture in, depth out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from functools import partial
from typing import Any, TypeVar, cast

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from prometheus_client.exposition import choose_encoder

from streamd import __version__
from streamd.config import FORMATS, VIEWS, PictureFormat, View
from streamd.errors import PictureError
from streamd.render.pictures import CONTENT_TYPES
from streamd.still import depth_of_picture
from streamd.stream import Stream
from streamd.web.context import CONTEXT
from streamd.web.errors import RETRY_AFTER_S, Refusal

T = TypeVar("T")

SNAPSHOT_TIMEOUT_S = 10.0
UNSAID = ("application/octet-stream", "application/x-www-form-urlencoded")
"""What clients say of a body when nobody told them what it is; the second is curl's."""
MAX_PICTURE_BYTES = 32 * 1024 * 1024


def routes() -> list[web.RouteDef]:
    table: list[tuple[str, Callable[[web.Request], Awaitable[web.StreamResponse]]]] = [
        ("/healthz", healthz),
        ("/readyz", readyz),
        ("/metrics", metrics),
        ("/api/v1/streams", list_streams),
        ("/api/v1/streams/{name}", show_stream),
        ("/api/v1/streams/{name}/snapshot", snapshot),
    ]
    return [*(web.get(path, handler) for path, handler in table), web.post("/api/v1/depth", depth)]


async def healthz(request: web.Request) -> web.Response:
    """The loop answers, so it lives; and a supervisor that died would have ended the process."""
    return web.json_response({"status": "ok"})


async def readyz(request: web.Request) -> web.Response:
    context = request.app[CONTEXT]
    reasons = []
    status = context.service.status
    if status.state != "ready":
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
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    return web.Response(body=encode(context.metrics.registry), headers={"Content-Type": content_type})


async def list_streams(request: web.Request) -> web.Response:
    context = request.app[CONTEXT]
    return web.json_response(
        {
            "streams": [stream.describe() for stream in context.streams.values()],
            "model": _model(request),
            "version": __version__,
        }
    )


async def show_stream(request: web.Request) -> web.Response:
    return web.json_response(_stream(request).describe() | {"model": _model(request)})


async def snapshot(request: web.Request) -> web.Response:
    stream = _stream(request)
    view, format = _view(request), _format(request, default="jpg")
    try:
        data = await asyncio.wait_for(_await(stream.snapshot(view, format)), SNAPSHOT_TIMEOUT_S)
    except (PictureError, TimeoutError) as error:
        reason = str(error) or f"no frame within {SNAPSHOT_TIMEOUT_S:.0f} s"
        raise Refusal(
            503, "not_ready", f"stream {stream.name}: {reason}", {"Retry-After": str(RETRY_AFTER_S)}
        ) from None
    return _picture(data, format, f"{stream.name}-{view}")


async def depth(request: web.Request) -> web.Response:
    """One picture, as the raw body or as the field ``image`` of a form."""
    context = request.app[CONTEXT]
    view, format = _view(request), _format(request, default="png")
    wanted, info = request.query.get("model"), context.service.info
    if wanted and info and wanted != info.spec.name:
        raise Refusal(409, "not_running", f"model {wanted} is not running, {info.spec.name} is")
    data = await _image(request)
    work = partial(depth_of_picture, data, context.service, view, format)
    return _picture(await _await(context.stills.submit(work)), format, f"depth-{view}")


async def _image(request: web.Request) -> bytes:
    if request.content_type == "multipart/form-data":
        try:
            async for part in await request.multipart():
                if getattr(part, "name", None) == "image":
                    return await _limited(cast(Any, part).read_chunk)
        except (ValueError, HttpProcessingError):
            raise Refusal(400, "bad_request", "the form is not one: see RFC 7578") from None
        raise Refusal(422, "bad_value", "the form has no field called image")
    if not request.content_type.startswith("image/") and request.content_type not in UNSAID:
        raise Refusal(415, "wrong_type", f"send a picture (image/...), not {request.content_type}")
    return await _limited(lambda: request.content.read(65536))


async def _limited(read: Callable[[], Awaitable[bytes]]) -> bytes:
    data = bytearray()
    while chunk := await read():
        data += chunk
        if len(data) > MAX_PICTURE_BYTES:
            raise Refusal(413, "too_large", f"a picture may have {MAX_PICTURE_BYTES // 2**20} MiB")
    return bytes(data)


async def _await(future: Future[T]) -> T:
    return await asyncio.wrap_future(future)


def _stream(request: web.Request) -> Stream:
    name = request.match_info["name"]
    stream = request.app[CONTEXT].streams.get(name)
    if stream is None:
        raise Refusal(404, "unknown_stream", f"no stream is called {name}")
    return stream


def _view(request: web.Request) -> View:
    view = request.query.get("view", "depth")
    if view not in VIEWS:
        raise Refusal(422, "bad_value", f"view {view}: unknown; there are: {', '.join(VIEWS)}")
    return view


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


def _model(request: web.Request) -> dict[str, Any]:
    status = request.app[CONTEXT].service.status
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
