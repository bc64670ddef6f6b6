"""Motion JPEG: for clients without WebRTC. A picture is made once for all clients of the same view.

Each client gets the newest picture when it has taken the one before: a slow one skips frames and delays
no other. Pictures are drawn and encoded in a thread of their own, never in a stream's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial

import cv2
from aiohttp import web

from streamd.concurrency.threads import SerialExecutor
from streamd.config.sections import StreamConfig, View
from streamd.errors import Busy, PictureError
from streamd.media.frames import NormalisedFrame, Picture, Scaler, to_i420
from streamd.media.hub import DEPTH_VIEWS
from streamd.render.notice import Notice, draw_notice
from streamd.render.views import Renderer
from streamd.states import StreamState
from streamd.streams.notices import NOTICE_SIZE
from streamd.streams.stills import NICENESS
from streamd.streams.stream import Stream
from streamd.web.context import CONTEXT
from streamd.web.errors import RETRY_AFTER_S, Refusal
from streamd.web.parameters import VIEW, Whole
from streamd.web.requests import find_stream
from streamd.web.routes import Route
from streamd.web.streaming import CHECK_S, alive, keep_short, send
from streamd.web.tokens import Scope

PATH = "/api/v1/streams/{name}/mjpeg"
MAX_CLIENTS = 32
FPS = Whole("fps", default=10, minimum=1, maximum=30, description="At most so many a second")
REPEAT_S = 3.0
"""A picture at least this often, though it is the same: proxies close silent connections, often after 5 s or more."""
QUALITY = 80
CLOSE_S = 1.0
_BOUNDARY = "streamd-picture"
_HEADERS = {
    "Content-Type": f"multipart/x-mixed-replace; boundary={_BOUNDARY}",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # nginx would collect pictures
}


async def mjpeg(request: web.Request) -> web.StreamResponse:
    stream, view, fps = find_stream(request), VIEW.read(request), FPS.read(request)
    if request.method == "HEAD":
        return web.Response(headers=_HEADERS)
    memory = request.app[CONTEXT].memory
    memory.admit()
    with request.app[FEEDS].join(stream, view, fps) as client:
        response = web.StreamResponse(headers=_HEADERS)
        await response.prepare(request)
        keep_short(request)
        while alive(request) and not client.feed.closed and _is_there(request, stream) and not memory.sheds(view):
            part = await client.next()
            if part is not None and not await send(request, response, part):
                break
    return response


def _is_there(request: web.Request, stream: Stream) -> bool:
    """Whether it has not been removed. ``find_stream`` would refuse what has been answered already."""
    return request.app[CONTEXT].streams.get(stream.name) is stream


class Client:
    """A reader of a feed, at its own pace."""

    def __init__(self, feed: Feed, fps: int) -> None:
        self.feed = feed
        self.fps = fps
        self._seen = 0
        self._sent_s = 0.0
        """By the loop's clock."""

    async def next(self) -> bytes | None:
        """The newest picture as a part of the answer; None when none is due yet."""
        loop = asyncio.get_running_loop()
        await asyncio.sleep(max(0.0, self._sent_s + 0.9 / self.fps - loop.time()))
        await self.feed.after(self._seen, CHECK_S)
        is_due = self.feed.number > self._seen or loop.time() - self._sent_s > REPEAT_S
        if self.feed.closed or not self.feed.number or not is_due:
            return None
        self._seen, self._sent_s = self.feed.number, loop.time()
        return self.feed.part


class Feed:
    """The pictures of one view of one stream, while it has clients."""

    def __init__(self, stream: Stream, view: View, maker: JpegMaker) -> None:
        self.clients: set[Client] = set()
        self.part = b""
        """The newest picture, as a part of the answer."""
        self.number = 0
        """Counts the pictures."""
        self.closed = False
        self._stream = stream
        self._view: View = view
        self._maker = maker
        self._changed = asyncio.Event()
        """Set, and replaced, at the next picture or the end."""
        self._jpeg = b""
        self._shown: NormalisedFrame | Notice | None = None
        """What the newest picture shows."""
        self._task = asyncio.create_task(self._run(), name=f"mjpeg-{stream.name}")

    async def after(self, number: int, timeout_s: float) -> None:
        """Returns when there is a later picture than this, at the end, or after the time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while self.number <= number and not self.closed:
                    await self._changed.wait()

    def close(self) -> None:
        """Safe to repeat."""
        self.closed = True
        self._task.cancel()
        self._wake_clients()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            with self._stream.keep_awake():
                while self._stream.state != StreamState.STOPPING:
                    began = loop.time()
                    await self._update()
                    pause_s = 1 / max((client.fps for client in self.clients), default=FPS.default)
                    await asyncio.sleep(max(0.0, began + pause_s - loop.time()))
        finally:
            self.closed = True
            self._wake_clients()

    async def _update(self) -> None:
        """A new picture, if there is anything new to show."""
        newest: NormalisedFrame | Notice | None = self._stream.notice
        if newest is None and self._stream.state is StreamState.RUNNING:
            newest = self._stream.newest
        if newest is None or newest == self._shown or self._looks_the_same(newest):
            return
        with suppress(Busy, PictureError):  # the next time, then
            jpeg = await self._maker.jpeg(newest, self._view, self._stream)
            self._shown = newest
            self._publish(jpeg)

    def _looks_the_same(self, newest: NormalisedFrame | Notice) -> bool:
        """As what is shown: nothing has changed since."""
        shown = self._shown
        if not isinstance(shown, NormalisedFrame) or not isinstance(newest, NormalisedFrame):
            return False
        return newest.normalised is shown.normalised and (
            self._view in DEPTH_VIEWS or newest.frame.seen == shown.frame.seen
        )

    def _publish(self, jpeg: bytes) -> None:
        if jpeg == self._jpeg:
            return
        head = f"--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
        self._jpeg, self.part = jpeg, head.encode() + jpeg + b"\r\n"
        self.number += 1
        self._wake_clients()

    def _wake_clients(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


class JpegMaker:
    """Draws and encodes in a thread of its own, which starts with the first picture."""

    def __init__(self) -> None:
        self._scaler = Scaler()
        """Used in that thread only."""
        self._executor: SerialExecutor | None = None

    async def jpeg(self, newest: NormalisedFrame | Notice, view: View, stream: Stream) -> bytes:
        """Raises Busy."""
        if self._executor is None:
            self._executor = SerialExecutor("mjpeg", capacity=MAX_CLIENTS, niceness=NICENESS, calls="pictures")
        if isinstance(newest, Notice):
            draw = partial(draw_notice, newest, *NOTICE_SIZE)
        else:
            draw = partial(draw_frame, newest, view, stream.config, self._scaler)
        return await asyncio.wrap_future(self._executor.submit(lambda: encode_jpeg(draw()), owner=stream))

    async def leave(self) -> None:
        """Not for longer than a moment: a picture that takes its time is left to itself."""
        if self._executor is not None:
            await self._executor.leave(CLOSE_S)


class Feeds:
    """All feeds. Lives on the event loop, as long as the server."""

    def __init__(self) -> None:
        self._feeds: dict[tuple[Stream, View], Feed] = {}
        self._maker = JpegMaker()
        self.clients = 0
        self._closed = False

    @contextmanager
    def join(self, stream: Stream, view: View, fps: int) -> Iterator[Client]:
        """A feed runs from its first client to its last. Raises Refusal when there are too many."""
        if self.clients >= MAX_CLIENTS or self._closed:
            message = f"all {MAX_CLIENTS} places for MJPEG are taken; try again"
            raise Refusal(503, "full", message, {"Retry-After": str(RETRY_AFTER_S)})
        feed = self._feeds.get((stream, view))
        if feed is None or feed.closed:
            feed = self._feeds[stream, view] = Feed(stream, view, self._maker)
        client = Client(feed, fps)
        feed.clients.add(client)
        self.clients += 1
        try:
            yield client
        finally:
            self.clients -= 1
            feed.clients.discard(client)
            if not feed.clients:
                feed.close()
                if self._feeds.get((stream, view)) is feed:
                    del self._feeds[stream, view]

    async def end(self, app: web.Application) -> None:
        """The server is about to close: those who watch are let go."""
        self._closed = True
        for feed in tuple(self._feeds.values()):
            feed.close()

    async def clean_up(self, app: web.Application) -> None:
        await self._maker.leave()


FEEDS = web.AppKey("feeds", Feeds)
ROUTES = (
    Route(
        "GET",
        PATH,
        mjpeg,
        Scope.VIEW,
        "Motion JPEG",
        {200: {"multipart/x-mixed-replace": {}}},
        errors=(404, 422, 503),
        parameters=(VIEW, FPS),
    ),
)


def draw_frame(frame: NormalisedFrame, view: View, config: StreamConfig, scaler: Scaler) -> Picture:
    """What viewers of the video see of it."""
    renderer = Renderer(config.overlay_alpha, scaler, config.edges)
    renderer.begin(frame.normalised, frame.frame.picture, config.height)
    return renderer.draw(view)


def encode_jpeg(picture: Picture) -> bytes:
    """Of a yuv420p picture."""
    bgr = cv2.cvtColor(to_i420(picture), cv2.COLOR_YUV2BGR_I420)
    return bytes(cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1])
