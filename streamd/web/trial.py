"""A source is tried over HTTP before it is saved: its picture, or what is wrong in plain words."""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web

from streamd.errors import (
    SourceEnded,
    SourceError,
    SourceRejected,
    SourceStalled,
    SourceUnreachable,
    SourceUnsupported,
)
from streamd.sources import MediaDirectories, open_source
from streamd.states import Origin
from streamd.streams.trial import Trials
from streamd.web import settings
from streamd.web.context import CONTEXT, WebContext
from streamd.web.errors import Refusal
from streamd.web.requests import BODY_ERRORS, MAX_SETTINGS_BYTES, json_object
from streamd.web.routes import Body, Route
from streamd.web.schemas import json_content, reference
from streamd.web.streaming import alive
from streamd.web.tokens import Scope

PATH = "/api/v1/streams/{name}/trial"
TRIALS = web.AppKey("trials", Trials)
CHECK_S = 0.25
_CODES: dict[type[SourceError], str] = {
    SourceRejected: "rejected",
    SourceUnreachable: "unreachable",
    SourceStalled: "stalled",
    SourceUnsupported: "unsupported",
    SourceEnded: "ended",
}


def build(context: WebContext) -> Trials:
    media = MediaDirectories(context.server.media_directories)

    return Trials(lambda config, stop, origin: open_source(config, stop, 1, media, origin))


async def trial(request: web.Request) -> web.Response:
    """The stream need not be there. One that is keeps its password where the body has ``***``. Raises ConfigError,
    with every problem: 422."""
    context, name = request.app[CONTEXT], request.match_info["name"]
    body = await json_object(request, "with the keys of a stream, such as source", MAX_SETTINGS_BYTES)
    stream = context.streams.get(name)
    media = MediaDirectories(context.server.media_directories)
    config = settings.replaced(name, stream.wanted if stream else None, body, media)
    is_unchanged = stream is not None and stream.wanted.source == config.source
    origin = stream.origin if stream is not None and is_unchanged else Origin.API
    trying = asyncio.ensure_future(request.app[TRIALS].run(config, origin))
    try:
        while not trying.done() and alive(request):
            await asyncio.wait([trying], timeout=CHECK_S)
    finally:
        if not trying.done():
            trying.cancel()
    if trying.cancelled() or not trying.done():
        raise Refusal(422, "cancelled", "nobody waits for it any more")
    return _answer(trying)


def _answer(trying: asyncio.Future[Any]) -> web.Response:
    try:
        tried = trying.result()
    except SourceError as error:
        code = next((code for kind, code in _CODES.items() if isinstance(error, kind)), "failed")
        raise Refusal(422, code, str(error)) from None
    size = {"X-Source-Width": str(tried.width), "X-Source-Height": str(tried.height), "Cache-Control": "no-store"}
    return web.Response(body=tried.jpeg, content_type="image/jpeg", headers=size)


async def end(app: web.Application) -> None:
    """The server is about to close."""
    app[TRIALS].close()


ROUTES = (
    Route(
        "POST",
        PATH,
        trial,
        Scope.CONTROL,
        "Try a source before it is saved: its first picture; 422 says what is wrong",
        {200: {"image/jpeg": {}}},
        errors=(503,),
        body=Body(json_content(reference("StreamConfig")), BODY_ERRORS),
    ),
)
