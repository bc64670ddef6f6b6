"""Motion JPEG: for what cannot do WebRTC. A picture is made once for all who watch the same view.

Each client gets the newest picture when it has taken the one before: a slow one skips, and nobody
waits for it. JPEGs are made in a thread of our own, so that the video is not late for them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import cv2
from aiohttp import web

from streamd.concurrency import threads
from streamd.config.sections import View
from streamd.errors import Busy, PictureError
from streamd.media.frames import ByteImage, Stamp, i420_of
from streamd.render.notice import Notice, draw_notice
from streamd.states import StreamState
from streamd.streams.publisher import NOTICE_SIZE
from streamd.streams.stream import Stream
from streamd.web.errors import RETRY_AFTER_S, Refusal
from streamd.web.parameters import VIEW, Whole
from streamd.web.requests import stream_of
from streamd.web.routes import Route
from streamd.web.streaming import LOOK_S, alive, keep_short, send
from streamd.web.tokens import Scope

PATH = "/api/v1/streams/{name}/mjpeg"
MAX_CLIENTS = 32
FPS = Whole("fps", default=10, minimum=1, maximum=30, description="At most so many a second")
REPEAT_S = 3.0
"""A picture at least this often, though it is the same: proxies close what is silent, often after 5 s or more."""
QUALITY = 80
_BOUNDARY = "streamd-picture"
_HEADERS = {
    "Content-Type": f"multipart/x-mixed-replace; boundary={_BOUNDARY}",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # nginx would collect pictures
}


async def mjpeg(request: web.Request) -> web.StreamResponse:
    stream, view, fps = stream_of(request), VIEW.read(request), FPS.read(request)
    if request.method == "HEAD":
        return web.Response(headers=_HEADERS)
    with request.app[FEEDS].join(stream, view, fps) as client:
        response = web.StreamResponse(headers=_HEADERS)
        await response.prepare(request)
        keep_short(request)
        while alive(request) and not client.feed.closed and stream_of(request) is stream:
            part = await client.next()
            if part is not None and not await send(request, response, part):
                break
    return response


class Client:
    """One who watches a feed, at its own pace."""

    def __init__(self, feed: Feed, fps: int) -> None:
        self.feed = feed
        self.fps = fps
        self._seen = 0
        self._sent_s = 0.0
        """By the loop's clock."""

    async def next(self) -> bytes | None:
        """The newest picture as a part of the answer, when one is due; None: look whether to go on."""
        loop = asyncio.get_running_loop()
        await asyncio.sleep(max(0.0, self._sent_s + 0.9 / self.fps - loop.time()))
        await self.feed.after(self._seen, LOOK_S)
        is_due = self.feed.number > self._seen or loop.time() - self._sent_s > REPEAT_S
        if self.feed.closed or not self.feed.number or not is_due:
            return None
        self._seen, self._sent_s = self.feed.number, loop.time()
        return self.feed.part


class Feed:
    """The pictures of one view of one stream, while somebody watches."""

    def __init__(self, stream: Stream, view: View, encoder: threads.SerialExecutor) -> None:
        self.clients: set[Client] = set()
        self.part = b""
        self.number = 0
        """Counts the pictures."""
        self.closed = False
        self._stream = stream
        self._view: View = view
        self._encoder = encoder
        self._came = asyncio.Event()
        """Set, and replaced, at the next picture or the end."""
        self._newest = b""
        self._stamp: Stamp | None = None
        """Of the frame that is shown."""
        self._notice: Notice | None = None
        """The one that is shown."""
        self._task = asyncio.create_task(self._run(), name=f"mjpeg-{stream.name}")

    async def after(self, number: int, timeout_s: float) -> None:
        """Returns when there is a later picture than this, at the end, or after the time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while self.number <= number and not self.closed:
                    await self._came.wait()

    def close(self) -> None:
        """Safe to repeat."""
        self.closed = True
        self._task.cancel()
        self._tell()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            with self._stream.looking():
                while self._stream.state != "stopping":
                    began = loop.time()
                    self._show(await self._picture())
                    pause_s = 1 / max((client.fps for client in self.clients), default=FPS.default)
                    await asyncio.sleep(max(0.0, began + pause_s - loop.time()))
        finally:
            self.closed = True
            self._tell()

    def _show(self, jpeg: bytes | None) -> None:
        if jpeg is None or jpeg == self._newest:
            return
        head = f"--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
        self._newest, self.part = jpeg, head.encode() + jpeg + b"\r\n"
        self.number += 1
        self._tell()

    def _tell(self) -> None:
        self._came.set()
        self._came = asyncio.Event()

    async def _picture(self) -> bytes | None:
        """None when there is nothing new."""
        notice = self._stream.notice
        before, self._notice = self._notice, notice
        try:
            if notice is None:
                return await self._frame() if self._stream.state is StreamState.RUNNING else None
            if notice == before:
                return None
            self._stamp = None
            return await self._jpeg(i420_of(draw_notice(notice, *NOTICE_SIZE)))
        except (Busy, PictureError):  # no frame yet, or too much to do: the next time
            self._notice = before
            return None

    async def _frame(self) -> bytes | None:
        shown = await self._stream.shown(self._view, self._stamp)
        if shown is None:
            return None
        jpeg = await self._jpeg(shown[1])
        self._stamp = shown[0]
        return jpeg

    async def _jpeg(self, i420: ByteImage) -> bytes:
        return await asyncio.wrap_future(self._encoder.submit(lambda: jpeg_of(i420)))


class Feeds:
    """All feeds. Lives on the event loop, as long as the server."""

    def __init__(self) -> None:
        self._feeds: dict[tuple[Stream, View], Feed] = {}
        self._encoder: threads.SerialExecutor | None = None
        """Started for the first client."""
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
            self._encoder = self._encoder or threads.SerialExecutor("mjpeg", capacity=16)
            feed = self._feeds[stream, view] = Feed(stream, view, self._encoder)
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
        if self._encoder is not None:
            self._encoder.close()


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


def jpeg_of(i420: ByteImage) -> bytes:
    """(h * 3/2, w), as ``i420_of`` gives it."""
    bgr = cv2.cvtColor(i420, cv2.COLOR_YUV2BGR_I420)
    return bytes(cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1])
