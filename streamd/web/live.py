"""The video of a view over HTTP, as a file without an end, for players without WebRTC.

From the same packets as all viewers get, put into a container for each reader. One that reads too slowly goes on at
a later keyframe; one that does not read is cut off.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import closing, contextmanager

from aiohttp import web

from streamd.media.frames import EncodedPacket
from streamd.media.hub import Subscription
from streamd.sinks.live import CONTAINERS, LiveMuxer
from streamd.sinks.watched import NOT_RUNNING
from streamd.streams.stream import Stream
from streamd.web.context import CONTEXT
from streamd.web.errors import RETRY_AFTER_S, Refusal
from streamd.web.parameters import VIEW, Choice
from streamd.web.requests import find_stream
from streamd.web.routes import Route
from streamd.web.streaming import CHECK_S, alive, keep_short, send
from streamd.web.tokens import Scope

PATH = "/api/v1/streams/{name}/live"
CONTAINER = Choice("container", CONTAINERS, "mp4", "Fragmented MP4, or MPEG-TS")
TYPES = {"mp4": "video/mp4", "ts": "video/mp2t"}


async def live(request: web.Request) -> web.StreamResponse:
    stream, view, container = find_stream(request), VIEW.read(request), CONTAINER.read(request)
    headers = {
        "Content-Type": TYPES[container],
        "Cache-Control": "no-store",
        "X-Accel-Buffering": "no",  # nginx would collect pictures
    }
    if stream.state in NOT_RUNNING:
        wait = {"Retry-After": str(RETRY_AFTER_S)}
        raise Refusal(409, "not_running", f"stream {stream.name} is not running: {stream.state}", wait)
    if request.method == "HEAD":
        return web.Response(headers=headers)
    context = request.app[CONTEXT]
    with context.viewers.seat(), _watching(stream, view) as subscription:
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
        keep_short(request)
        first = await _next(request, subscription)
        if first is None:
            return response
        with closing(LiveMuxer(container, first)) as muxer:
            packet: EncodedPacket | None = first
            while packet is not None and not context.memory.sheds(view):
                if (data := muxer.mux(packet)) and not await send(request, response, data):
                    break
                packet = await _next(request, subscription)
    return response


@contextmanager
def _watching(stream: Stream, view: str) -> Iterator[Subscription]:
    """A seat at the hub, as a viewer. Raises StreamGone."""
    subscription = Subscription(stream.hub(view), on_drop=stream.metrics.viewer_drops.inc)
    stream.metrics.viewers(view, +1)
    try:
        yield subscription
    finally:
        subscription.close()
        stream.metrics.viewers(view, -1)


async def _next(request: web.Request, subscription: Subscription) -> EncodedPacket | None:
    """None when the client or the stream has gone."""
    while alive(request):
        try:
            async with asyncio.timeout(CHECK_S):
                return await subscription.get()
        except TimeoutError:
            continue
    return None


ROUTES = (
    Route(
        "GET",
        PATH,
        live,
        Scope.VIEW,
        "The video, without an end: for players without WebRTC",
        {200: {media_type: {} for media_type in TYPES.values()}},
        errors=(404, 409, 422, 503),
        parameters=(VIEW, CONTAINER),
    ),
)
