"""Still pictures over HTTP: one in, its depth out; and the cameras of this machine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any, TypeVar, cast

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from streamd.concurrency.threads import SharedCall
from streamd.config.sections import PictureFormat, View
from streamd.depth.models import MODELS
from streamd.depth.service import DepthService
from streamd.errors import ModelMissing
from streamd.jobs.picture import depth_of_picture
from streamd.render.pictures import CONTENT_TYPES
from streamd.sources.v4l2 import Camera, cameras
from streamd.web.context import CONTEXT
from streamd.web.errors import Refusal
from streamd.web.parameters import VIEW, Text, picture_format, shortened
from streamd.web.requests import BODY_ERRORS, UNSPECIFIED, UPLOADS, ByteBudget, body_timeout, check_length, limited
from streamd.web.routes import Body, Route
from streamd.web.schemas import PICTURES, json_content, listing, record
from streamd.web.streaming import send
from streamd.web.tokens import Scope

T = TypeVar("T")

MAX_PICTURE_BYTES = 32 * 1024 * 1024
MAX_ANSWER_BYTES = 256 * 1024 * 1024
"""Of all pictures together that are being sent."""
PIECE_BYTES = 256 * 1024
MAX_FORM_BYTES = 64 * 1024
"""What a form may have around its picture."""
ANSWERS = ByteBudget(MAX_ANSWER_BYTES)
DEVICES = web.AppKey("devices", SharedCall[list[Camera]])
FORMAT = picture_format("png")
MODEL = Text("model", "Any that is installed: one that the streams do not use takes a moment to start")


async def list_devices(request: web.Request) -> web.Response:
    """The cameras of this machine. A driver may be slow: requests that come meanwhile get the same answer."""
    found = await asyncio.shield(asyncio.wrap_future(request.app[DEVICES].start()))
    return web.json_response({"devices": [camera.describe() for camera in found]})


def device_list() -> SharedCall[list[Camera]]:
    return SharedCall("devices", cameras)


async def clean_up(app: web.Application) -> None:
    app[DEVICES].close()


async def depth(request: web.Request) -> web.StreamResponse:
    """One picture, as the raw body or as the field ``image`` of a form."""
    view, format = VIEW.read(request), FORMAT.read(request)
    model = known_model(MODEL.read(request))
    with UPLOADS.reserve() as take:
        data = await _image(request, take)
        try:
            work = partial(_depth, data, view, format)
            made = await finished(_submit(request, model, work))
        except ModelMissing as error:
            if model is None:
                raise
            raise Refusal(409, "not_running", str(error)) from None
    return await send_picture(request, made, format, f"depth-{view}")


def _depth(data: bytearray, view: View, format: PictureFormat, service: DepthService) -> memoryview:
    return depth_of_picture(data, service, view, format)


def _submit(request: web.Request, model: str | None, work: Callable[[DepthService], memoryview]) -> Future[memoryview]:
    """To the model of the streams, unless another one is asked for."""
    context = request.app[CONTEXT]
    status = context.service.status
    if model in (None, status.info.spec.reference if status.info else status.wanted):
        return context.uploads.submit(partial(work, context.service), owner=request.remote)
    assert model is not None
    return context.guest.submit(model, work, owner=request.remote)


def known_model(name: Any) -> str | None:
    """Raises Refusal: 422."""
    if name is not None and (not isinstance(name, str) or name not in MODELS):
        raise Refusal(422, "bad_value", f"model {shortened(name)}: unknown; there are: {', '.join(MODELS)}")
    return name


async def _image(request: web.Request, take: Callable[[int], None]) -> bytearray:
    check_length(request, MAX_PICTURE_BYTES + MAX_FORM_BYTES)
    if request.content_type == "multipart/form-data":
        try:
            async with body_timeout():  # what is before the picture may not go on for ever either
                async for part in await request.multipart():
                    if getattr(part, "name", None) == "image":
                        return await limited(cast(Any, part).read_chunk, MAX_PICTURE_BYTES, take)
        except (ValueError, HttpProcessingError):
            raise Refusal(400, "bad_request", "the body is not valid multipart/form-data: see RFC 7578") from None
        raise Refusal(422, "bad_value", "the form has no field called image")
    if not request.content_type.startswith("image/") and request.content_type not in UNSPECIFIED:
        raise Refusal(415, "wrong_type", f"send a picture (image/...), not {shortened(request.content_type)}")
    return await limited(lambda: request.content.read(65536), MAX_PICTURE_BYTES, take)


async def finished(future: Future[T]) -> T:
    try:
        return await asyncio.wrap_future(future)
    finally:
        del future  # else an error would hold this frame, and this frame the error, until the next collection


async def send_picture(request: web.Request, data: memoryview, format: PictureFormat, stem: str) -> web.StreamResponse:
    """Piece by piece: at once, a large picture would be copied on the event loop, and buffered for its reader.
    A client that does not read is cut off."""
    extension = "png" if format == "png16" else format
    headers = {"Content-Disposition": f'inline; filename="{stem}.{extension}"', "Cache-Control": "no-store"}
    response = web.StreamResponse(headers=headers)
    response.content_type, response.content_length = CONTENT_TYPES[format], len(data)
    with ANSWERS.reserve() as take:
        take(len(data))
        await response.prepare(request)
        if request.method != "HEAD":
            for start in range(0, len(data), PIECE_BYTES):
                if not await send(request, response, data[start : start + PIECE_BYTES]):
                    break
    return response


ROUTES = (
    Route(
        "GET",
        "/api/v1/devices",
        list_devices,
        Scope.VIEW,
        "The cameras of this machine",
        {200: json_content(record({"devices": listing({"type": "object"})}))},
        errors=(503,),
    ),
    Route(
        "POST",
        "/api/v1/depth",
        depth,
        Scope.VIEW,
        "A picture in, its depth out",
        {200: PICTURES},
        errors=(409, 503),
        parameters=(VIEW, FORMAT, MODEL),
        body=Body(
            {
                "image/*": {},
                "application/octet-stream": {},
                "multipart/form-data": record({"image": {"type": "string", "contentMediaType": "image/*"}}),
            },
            BODY_ERRORS,
        ),
    ),
)
