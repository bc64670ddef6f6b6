"""WHEP (draft-ietf-wish-whep-03): a viewer posts an SDP offer and gets the answer and a session URL.

The handlers hold no state: sessions live in the WebRtcSink, streams with the daemon.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from aiohttp import web

from streamd.media.frames import Codec
from streamd.media.hub import PacketHub
from streamd.sinks.watched import NOT_RUNNING, WatchableStream
from streamd.sinks.webrtc import Session, WebRtcSink
from streamd.web.errors import RETRY_AFTER_S, Refusal
from streamd.web.parameters import VIEW, Whole, shortened
from streamd.web.requests import BODY_ERRORS, check_length, limited, unknown_stream
from streamd.web.routes import Body, Route
from streamd.web.schemas import NOTHING, TEXT
from streamd.web.tokens import Scope

ROOT = "/whep/"
ENDPOINT = f"{ROOT}{{name}}"
SESSION = f"{ENDPOINT}/{{session}}"
SDP = "application/sdp"
FRAGMENT = "application/trickle-ice-sdpfrag"
HEIGHT = Whole(
    "height",
    default=None,
    minimum=1,
    maximum=4320,
    description="The smallest picture that is no less high, else the full one. Without it depth and gray come at half "
    "the height, to be enlarged, where that holds all of their detail",
)
MAX_BODY = 64 * 1024
BODY_TIMEOUT_S = 10.0

CORS = {
    "Access-Control-Allow-Origin": "*",
    "Cross-Origin-Resource-Policy": "cross-origin",
    "Access-Control-Expose-Headers": "Location, ETag, Link, Accept-Post, Retry-After",
}
PREFLIGHT = {
    "Access-Control-Allow-Methods": "OPTIONS, GET, HEAD, POST, PATCH, DELETE",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, If-Match",
    "Access-Control-Max-Age": "3600",
    "Accept-Post": SDP,
    "Accept-Patch": FRAGMENT,
}


PREFLIGHT_SUMMARY = "WHEP: what can be asked"


async def for_any_page(request: web.Request, response: web.StreamResponse) -> None:
    """Before headers go out: lets players on pages of other origins read the answer, errors too."""
    if request.path.startswith(ROOT):
        response.headers.update(CORS)


class Endpoints(NamedTuple):
    """What the handlers reach."""

    find_stream: Callable[[str], WatchableStream | None]
    sink: WebRtcSink


ENDPOINTS = web.AppKey("whep", Endpoints)


async def open_session(request: web.Request) -> web.Response:
    stream, sink = _stream(request), request.app[ENDPOINTS].sink
    offer = await _body(request, SDP)
    view, height = VIEW.read(request), HEIGHT.read(request)
    if stream.state in NOT_RUNNING:
        wait = {"Retry-After": str(RETRY_AFTER_S)}
        raise Refusal(409, "not_running", f"stream {stream.name} is not running: {stream.state}", wait)
    hubs = partial(_rendition, stream, view, height)
    session = await sink.open(offer, hubs, stream.metrics, stream=stream.name, view=view)
    location = request.rel_url.with_query(None) / session.id
    response = web.Response(
        status=201, body=session.answer.encode(), content_type=SDP, headers={"Location": str(location)}
    )
    return _with_links(response, sink)


async def trickle(request: web.Request) -> web.Response:
    fragment = await _body(request, FRAGMENT)
    await request.app[ENDPOINTS].sink.trickle(_session(request).id, fragment)
    return web.Response(status=204)


async def close_session(request: web.Request) -> web.Response:
    await request.app[ENDPOINTS].sink.close(_session(request).id, "DELETE")
    return web.Response(status=200)


async def describe_endpoint(request: web.Request) -> web.Response:
    """By the draft GET has no content, and HEAD shows players that this is WHEP."""
    _stream(request)
    return _with_links(web.Response(status=200, content_type=SDP), request.app[ENDPOINTS].sink)


async def describe_session(request: web.Request) -> web.Response:
    _session(request)
    return _with_links(web.Response(status=200, content_type=SDP), request.app[ENDPOINTS].sink)


async def preflight(request: web.Request) -> web.Response:
    return web.Response(status=200, headers=PREFLIGHT)


def _with_links(response: web.Response, sink: WebRtcSink) -> web.Response:
    """The STUN and TURN servers. Not on OPTIONS: that needs no token, and these have passwords."""
    for link in sink.connectivity.links:
        response.headers.add("Link", link)
    return response


def _stream(request: web.Request) -> WatchableStream:
    name = request.match_info["name"]
    stream = request.app[ENDPOINTS].find_stream(name)
    if stream is None:
        raise unknown_stream(name)
    return stream


def _session(request: web.Request) -> Session:
    session = request.app[ENDPOINTS].sink.session(request.match_info["session"])
    if session is None or session.stream != request.match_info["name"]:
        raise Refusal(404, "unknown_session", "no such session: it has ended, or never was")
    return session


def _rendition(stream: WatchableStream, view: str, height: int | None, codec: Codec, light: bool) -> PacketHub:
    return stream.live_hub(view, codec, light=light, height=height)


async def _body(request: web.Request, media_type: str) -> str:
    if request.content_type != media_type:
        raise Refusal(415, "wrong_type", f"expected Content-Type: {media_type}, not {shortened(request.content_type)}")
    check_length(request, MAX_BODY)
    body = await limited(lambda: request.content.read(65536), MAX_BODY, timeout_s=BODY_TIMEOUT_S)
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise Refusal(400, "bad_offer", "not UTF-8 text") from None


ROUTES = (
    Route(
        "POST",
        ENDPOINT,
        open_session,
        Scope.VIEW,
        "WHEP: offer in, answer out",
        {201: {SDP: TEXT}},
        errors=(404, 409, 503),
        parameters=(VIEW, HEIGHT),
        body=Body({SDP: TEXT}, BODY_ERRORS),
        cross_origin=True,
    ),
    Route(
        "GET",
        ENDPOINT,
        describe_endpoint,
        Scope.VIEW,
        "WHEP: whether there is such an endpoint",
        {200: NOTHING},
        errors=(404,),
        cross_origin=True,
    ),
    Route("OPTIONS", ENDPOINT, preflight, Scope.OPEN, PREFLIGHT_SUMMARY, {200: NOTHING}, cross_origin=True),
    Route(
        "PATCH",
        SESSION,
        trickle,
        Scope.VIEW,
        "WHEP: candidates",
        {204: NOTHING},
        errors=(404,),
        body=Body({FRAGMENT: TEXT}, BODY_ERRORS),
        cross_origin=True,
    ),
    Route(
        "DELETE",
        SESSION,
        close_session,
        Scope.VIEW,
        "WHEP: end the session",
        {200: NOTHING},
        errors=(404,),
        cross_origin=True,
    ),
    Route(
        "GET",
        SESSION,
        describe_session,
        Scope.VIEW,
        "WHEP: whether there is such a session",
        {200: NOTHING},
        errors=(404,),
        cross_origin=True,
    ),
    Route("OPTIONS", SESSION, preflight, Scope.OPEN, PREFLIGHT_SUMMARY, {200: NOTHING}, cross_origin=True),
)
