"""Still pictures over HTTP: one in, its depth out, several, and a zip; and the cameras of this machine."""

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
from streamd.web.archive import Upload, send_depths
from streamd.web.context import CONTEXT
from streamd.web.errors import Refusal
from streamd.web.parameters import VIEW, Text, picture_format, shortened
from streamd.web.requests import BODY_ERRORS, UNSPECIFIED, UPLOADS, ByteBudget, body_timeout, check_length, limited
from streamd.web.routes import Body, Route
from streamd.web.schemas import PICTURES, json_content, listing, record
from streamd.web.streaming import PIECE_BYTES, send
from streamd.web.tokens import Scope

T = TypeVar("T")

MAX_PICTURE_BYTES = 32 * 1024 * 1024
MAX_ANSWER_BYTES = 256 * 1024 * 1024
"""Of all pictures together that are being sent."""
MAX_PICTURES = 100
"""Of one form; together they may be as large as one alone."""
MAX_FORM_BYTES = 64 * 1024
"""What a form may have around its picture."""
ANSWERS = ByteBudget(MAX_ANSWER_BYTES)
DEVICES = web.AppKey("devices", SharedCall[list[Camera]])
FORMAT = picture_format("png")
_IMAGE = {"type": "string", "contentMediaType": "image/*"}
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
    """One picture, as the raw body or as the field ``image`` of a form. Several of these: a zip."""
    view, format = VIEW.read(request), FORMAT.read(request)
    model = known_model(MODEL.read(request))

    async def make(data: bytearray) -> memoryview:
        try:
            return await finished(_submit(request, model, partial(_depth, data, view, format)))
        except ModelMissing as error:
            if model is None:
                raise
            raise Refusal(409, "not_running", str(error)) from None

    with UPLOADS.reserve() as take:
        uploads = await _uploads(request, take)
        if len(uploads) > 1:
            with ANSWERS.reserve() as room:
                return await send_depths(request, uploads, make, room, _ending(format))
        made = await make(uploads[0].data)
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
    context.memory.admit()  # its worker takes as much as that of the streams, or more
    return context.guest.submit(model, work, owner=request.remote)


def known_model(name: Any) -> str | None:
    """Raises Refusal: 422."""
    if name is not None and (not isinstance(name, str) or name not in MODELS):
        raise Refusal(422, "bad_value", f"model {shortened(name)}: unknown; there are: {', '.join(MODELS)}")
    return name


async def _uploads(request: web.Request, take: Callable[[int], None]) -> list[Upload]:
    check_length(request, MAX_PICTURE_BYTES + MAX_FORM_BYTES)
    if request.content_type == "multipart/form-data":
        uploads: list[Upload] = []
        try:
            async with body_timeout():  # of all parts together, pictures or not
                await _read_parts(request, uploads, take)
        except (ValueError, HttpProcessingError):
            if not uploads:  # of a form that is cut short, or ends oddly, the pictures that came are tried
                raise Refusal(400, "bad_request", "the body is not valid multipart/form-data: see RFC 7578") from None
        if not uploads:
            raise Refusal(422, "bad_value", "the form has no field called image")
        return uploads
    if not request.content_type.startswith("image/") and request.content_type not in UNSPECIFIED:
        raise Refusal(415, "wrong_type", f"send a picture (image/...), not {shortened(request.content_type)}")
    return [Upload(None, await limited(lambda: request.content.read(65536), MAX_PICTURE_BYTES, take))]


async def _read_parts(request: web.Request, uploads: list[Upload], take: Callable[[int], None]) -> None:
    """Adds the fields called image. All together may be as large as one alone."""
    left = MAX_PICTURE_BYTES
    async for part in await request.multipart():
        if getattr(part, "name", None) != "image":
            continue
        if len(uploads) == MAX_PICTURES:
            raise Refusal(413, "too_large", f"more than {MAX_PICTURES} pictures")
        field = cast(Any, part)
        uploads.append(Upload(field.filename, await limited(field.read_chunk, left, take)))
        left -= len(uploads[-1].data)


async def finished(future: Future[T]) -> T:
    try:
        return await asyncio.wrap_future(future)
    finally:
        del future  # else an error would hold this frame, and this frame the error, until the next collection


async def send_picture(request: web.Request, data: memoryview, format: PictureFormat, stem: str) -> web.StreamResponse:
    """A client that does not read is cut off."""
    headers = {"Content-Disposition": f'inline; filename="{stem}.{_ending(format)}"', "Cache-Control": "no-store"}
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


def _ending(format: PictureFormat) -> str:
    return "png" if format == "png16" else format


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
        "A picture in, its depth out; several in a form: a zip, where errors.txt names those that cannot be read",
        {200: {**PICTURES, "application/zip": {}}},
        errors=(409, 503),
        parameters=(VIEW, FORMAT, MODEL),
        body=Body(
            {
                "image/*": {},
                "application/octet-stream": {},
                "multipart/form-data": record({"image": {"anyOf": [_IMAGE, listing(_IMAGE)]}}),
            },
            BODY_ERRORS,
        ),
    ),
)
