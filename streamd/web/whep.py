"""WHEP (draft-ietf-wish-whep-03): a viewer posts an SDP offer and gets the answer and a session URL.

The handlers hold no state: sessions live in the WebRtcSink, streams with the daemon.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol

from aiohttp import web

from streamd.media.frames import Codec
from streamd.media.hub import PacketHub
from streamd.sinks.webrtc import Session, WebRtcSink
from streamd.states import StreamState
from streamd.telemetry.metrics import StreamMetrics
from streamd.web.errors import RETRY_AFTER_S, Refusal
from streamd.web.requests import check_length, limited

ROOT = "/whep/"
ENDPOINT = f"{ROOT}{{name}}"
SESSION = f"{ENDPOINT}/{{session}}"
SDP = "application/sdp"
FRAGMENT = "application/trickle-ice-sdpfrag"
DEFAULT_VIEW = "depth"
NOT_RUNNING = (StreamState.ENDED, StreamState.FAILED, StreamState.STOPPING)
"""The other states have a picture, or will: NO SIGNAL while a source is away, and looking wakes an idle stream."""

MAX_BODY = 64 * 1024
BODY_TIMEOUT_S = 10.0

CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "Location, ETag, Link, Accept-Post, Retry-After",
}
PREFLIGHT = {
    "Access-Control-Allow-Methods": "OPTIONS, GET, HEAD, POST, PATCH, DELETE",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, If-Match",
    "Access-Control-Max-Age": "3600",
    "Accept-Post": SDP,
    "Accept-Patch": FRAGMENT,
}


class WatchableStream(Protocol):
    """What WHEP needs of a stream."""

    @property
    def name(self) -> str: ...

    @property
    def state(self) -> StreamState: ...

    @property
    def metrics(self) -> StreamMetrics: ...

    def hub(self, view: str, codec: Codec = "h264", *, light: bool = False) -> PacketHub:
        """Raises UsageError for a view that does not exist."""


def routes(streams: Callable[[str], WatchableStream | None], sink: WebRtcSink) -> list[web.RouteDef]:
    """``streams`` finds a stream by its name."""
    whep = _Whep(streams, sink)
    table: list[tuple[str, str, Callable[[web.Request], Awaitable[web.Response]]]] = [
        ("POST", ENDPOINT, whep.open),
        ("GET", ENDPOINT, whep.describe),  # aiohttp adds HEAD
        ("OPTIONS", ENDPOINT, whep.options),
        ("PATCH", SESSION, whep.trickle),
        ("DELETE", SESSION, whep.close),
        ("GET", SESSION, whep.describe),
        ("OPTIONS", SESSION, whep.options),
    ]
    return [web.route(*each) for each in table]


async def for_any_page(request: web.Request, response: web.StreamResponse) -> None:
    """Before headers go out: lets players on pages of other origins read the answer, errors too."""
    if request.path.startswith(ROOT):
        response.headers.update(CORS)


class _Whep:
    def __init__(self, streams: Callable[[str], WatchableStream | None], sink: WebRtcSink) -> None:
        self._streams = streams
        self._sink = sink

    async def open(self, request: web.Request) -> web.Response:
        stream = self._stream(request)
        offer = await _body(request, SDP)
        view = request.query.get("view", DEFAULT_VIEW)
        stream.hub(view)  # says what is wrong with the view
        if stream.state in NOT_RUNNING:
            wait = {"Retry-After": str(RETRY_AFTER_S)}
            raise Refusal(409, "not_running", f"stream {stream.name} is not running: {stream.state}", wait)
        hubs = partial(_rendition, stream, view)
        session = await self._sink.open(offer, hubs, stream.metrics, stream=stream.name, view=view)
        location = request.rel_url.with_query(None) / session.id
        response = web.Response(
            status=201, body=session.answer.encode(), content_type=SDP, headers={"Location": str(location)}
        )
        return self._with_links(response)

    async def trickle(self, request: web.Request) -> web.Response:
        fragment = await _body(request, FRAGMENT)
        await self._sink.trickle(self._session(request).id, fragment)
        return web.Response(status=204)

    async def close(self, request: web.Request) -> web.Response:
        await self._sink.close(self._session(request).id, "DELETE")
        return web.Response(status=200)

    async def describe(self, request: web.Request) -> web.Response:
        """By the draft GET has no content, and HEAD tells players that this is WHEP."""
        if "session" in request.match_info:
            self._session(request)
        else:
            self._stream(request)
        return self._with_links(web.Response(status=200, content_type=SDP))

    def _with_links(self, response: web.Response) -> web.Response:
        """The STUN and TURN servers. Not on OPTIONS: that needs no token, and these have passwords."""
        for link in self._sink.reach.links:
            response.headers.add("Link", link)
        return response

    async def options(self, request: web.Request) -> web.Response:
        return web.Response(status=200, headers=PREFLIGHT)

    def _stream(self, request: web.Request) -> WatchableStream:
        name = request.match_info["name"]
        stream = self._streams(name)
        if stream is None:
            raise Refusal(404, "unknown_stream", f"no stream is called {name}")
        return stream

    def _session(self, request: web.Request) -> Session:
        session = self._sink.session(request.match_info["session"])
        if session is None or session.stream != request.match_info["name"]:
            raise Refusal(404, "unknown_session", "no such session: it has ended, or never was")
        return session


def _rendition(stream: WatchableStream, view: str, codec: Codec, light: bool) -> PacketHub:
    return stream.hub(view, codec, light=light)


async def _body(request: web.Request, media_type: str) -> str:
    if request.content_type != media_type:
        raise Refusal(415, "wrong_type", f"expected Content-Type: {media_type}, not {request.content_type}")
    check_length(request, MAX_BODY)
    body = await limited(lambda: request.content.read(65536), MAX_BODY, timeout_s=BODY_TIMEOUT_S)
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise Refusal(400, "bad_offer", "not UTF-8 text") from None
