"""Recording over HTTP: start and stop it, list the files, download them, seek in them and delete them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from contextlib import asynccontextmanager
from email.utils import formatdate
from functools import partial
from typing import Any, TypeVar

from aiohttp import web

from streamd.concurrency import threads
from streamd.config.sections import View
from streamd.sinks.recording.library import BeingWritten, Library, OpenFile, Segment
from streamd.sinks.recording.names import SegmentName, position
from streamd.web.context import CONTEXT
from streamd.web.description import describe_stream
from streamd.web.errors import RETRY_AFTER_S, Refusal
from streamd.web.parameters import VIEW, Header, Text, Whole, shortened
from streamd.web.ranges import Part, parse_range
from streamd.web.requests import BODY_ERRORS, find_stream, json_object
from streamd.web.routes import Body, Route
from streamd.web.schemas import (
    NOTHING,
    STREAM,
    TEXT_OR_NULL,
    VIDEO,
    VIEW_NAME,
    json_content,
    listing,
    record,
    reference,
)
from streamd.web.streaming import cut_off, send
from streamd.web.tokens import Scope
from streamd.web.whep import NOT_RUNNING

T = TypeVar("T")

RECORDING = "/api/v1/streams/{name}/recording"
LIST = "/api/v1/recordings"
FILE = "/recordings/{path:.+}"
LIMIT = Whole("limit", default=100, minimum=1, maximum=1000, description="At most so many")
BEFORE = Text("before", "Older than this path (next of the page before) or UTC time")
OF_STREAM = Text("stream", "Of this stream only")
STOPPED = Text("view", "One of those that are to be stopped; may be there more than once")
HINT = 'such as {"views": ["depth"]}'
MAX_DOWNLOADS = 16
CHUNK_BYTES = 256 * 1024
STALLED_S = 60.0
"""A paused player takes nothing for long; it asks for the rest again when it was let go."""
DISK_TIMEOUT_S = 10.0
"""A disk that does not answer for so long is not waited for."""


async def start(request: web.Request) -> web.Response:
    """What is recorded already goes on. The answer has the views that are wanted, and those that are recorded."""
    stream = find_stream(request)
    views = _views(await json_object(request, HINT))
    if request.app[CONTEXT].recording.directory is None:
        raise Refusal(409, "not_configured", "nowhere to record to: set recording.directory")
    if stream.state in NOT_RUNNING:
        raise Refusal(409, "not_running", f"stream {stream.name} is not running: {stream.state}")
    stream.start_recording(views)
    return web.json_response(describe_stream(stream.status))


async def stop(request: web.Request) -> web.Response:
    """The views of the query and of the body; none named: all. Answers when their files are complete."""
    stream = find_stream(request)
    views = _views(await json_object(request, HINT))
    views += [VIEW.parse(view) for view in request.query.getall("view", [])]
    await stream.stop_recording(views)
    return web.json_response(describe_stream(stream.status))


def _views(body: dict[str, Any]) -> list[View]:
    views = body.pop("views", [])
    if body:
        raise Refusal(422, "bad_value", f"{shortened(', '.join(sorted(body)))}: unknown key; there is: views")
    if not isinstance(views, list):
        raise Refusal(422, "bad_value", "views: should be a list")
    return [VIEW.parse(view) for view in views]


async def list_recordings(request: web.Request) -> web.Response:
    limit, text = LIMIT.read(request), BEFORE.read(request)
    try:
        before = position(text) if text else None
    except ValueError:
        message = "before: should be the path of a recording, or a UTC time such as 2026-11-25T03:41:23Z"
        raise Refusal(422, "bad_value", message) from None
    found, more = await request.app[ARCHIVE].page(limit, before, OF_STREAM.read(request))
    return web.json_response({"recordings": [_described(each) for each in found], "next": more.path if more else None})


def _described(segment: Segment) -> dict[str, Any]:
    return {
        "path": segment.name.path,
        "stream": segment.name.stream,
        "view": segment.name.view,
        "started": segment.started.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "size_bytes": segment.size_bytes,
        "complete": not segment.written,
        "cut_short": segment.cut_short,
    }


async def delete(request: web.Request) -> web.Response:
    """Not one that is being recorded."""
    await request.app[ARCHIVE].delete(request.match_info["path"])
    return web.Response(status=204)


async def download(request: web.Request) -> web.StreamResponse:
    """All of it or one part; of a file that is being written what is there now."""
    async with request.app[ARCHIVE].opened(request.match_info["path"]) as opened:
        return await _send(request, opened)


async def _send(request: web.Request, opened: OpenFile) -> web.StreamResponse:
    headers = {
        "ETag": opened.tag,
        "Last-Modified": formatdate(opened.modified_s, usegmt=True),
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, no-cache",
    }
    if request.headers.get("If-None-Match") == opened.tag:
        return web.Response(status=304, headers=headers)
    part = _part(request, opened)
    if part is not None:
        headers["Content-Range"] = f"bytes {part.first}-{part.last}/{opened.size_bytes}"
    first, size = (part.first, part.size) if part else (0, opened.size_bytes)
    response = web.StreamResponse(status=206 if part else 200, headers=headers)
    response.content_type, response.content_length = "video/mp4", size
    await response.prepare(request)
    if request.method == "HEAD":
        return response
    for offset in range(first, first + size, CHUNK_BYTES):
        data = await request.app[ARCHIVE].read(opened, offset, min(CHUNK_BYTES, first + size - offset))
        if not data:  # the file has become shorter than Content-Length, or the disk has gone
            cut_off(request)
        if not data or not await send(request, response, data, STALLED_S):
            break
    return response


def _part(request: web.Request, opened: OpenFile) -> Part | None:
    """None for the whole. Raises Refusal 416 for a part that is not there."""
    unchanged = request.headers.get("If-Range", opened.tag) in (opened.tag, formatdate(opened.modified_s, usegmt=True))
    try:
        return parse_range(request.headers.get("Range", ""), opened.size_bytes) if unchanged else None
    except IndexError:
        headers = {"Content-Range": f"bytes */{opened.size_bytes}", "Accept-Ranges": "bytes"}
        raise Refusal(416, "no_such_range", f"the file has {opened.size_bytes} bytes", headers) from None


class Archive:
    """The recordings, in threads of their own: aiohttp's FileResponse would use the default executor,
    and the event loop itself for ``sendfile``, and a disk may take its time, or hang. Bounded.
    """

    def __init__(self, library: Library | None) -> None:
        """Without a library there are no recordings."""
        self._library = library
        self._listing = asyncio.Semaphore()
        self._finder: threads.SerialExecutor | None = None
        """Lists, opens, deletes."""
        self._reader: threads.SerialExecutor | None = None
        """Reads and closes."""
        self.downloads = 0

    async def page(
        self, limit: int, before: SegmentName | None, stream: str | None
    ) -> tuple[list[Segment], SegmentName | None]:
        """Raises Refusal 503."""
        if self._library is None:
            return [], None
        async with _disk_answers(), self._listing:
            return await asyncio.wrap_future(self._find(partial(self._library.page, limit, before, stream)))

    async def delete(self, path: str) -> None:
        """Raises Refusal 404, 409, 503."""
        if self._library is None:
            raise unknown_recording()
        try:
            async with _disk_answers():
                await asyncio.wrap_future(self._find(partial(self._library.delete, path)))
        except BeingWritten as error:
            raise Refusal(409, "being_recorded", str(error)) from None

    @asynccontextmanager
    async def opened(self, path: str) -> AsyncIterator[OpenFile]:
        """For one download. Raises Refusal: 404, and 503 when there are too many."""
        if self.downloads >= MAX_DOWNLOADS:
            message = f"all {MAX_DOWNLOADS} places for downloads are taken; try again"
            raise Refusal(503, "full", message, {"Retry-After": str(RETRY_AFTER_S)})
        self.downloads += 1
        try:
            file = await self._open(path)
        except BaseException:
            self.downloads -= 1
            raise
        try:
            yield file
        finally:  # after a read that may be under way: else that would read from another file of this number
            asyncio.wrap_future(self._read(partial(os.close, file.descriptor))).add_done_callback(self._leave)

    async def read(self, opened: OpenFile, offset: int, count: int) -> bytes:
        """Nothing when the disk has gone."""
        try:
            async with _disk_answers():
                return await asyncio.wrap_future(self._read(partial(os.pread, opened.descriptor, count, offset)))
        except Refusal:
            return b""

    async def clean_up(self, app: web.Application) -> None:
        executors = [executor for executor in (self._finder, self._reader) if executor is not None]
        await asyncio.gather(*(executor.leave(within_s=1.0) for executor in executors))

    async def _open(self, path: str) -> OpenFile:
        if self._library is None:
            raise unknown_recording()
        opening = self._find(partial(self._library.open, path))
        try:
            async with _disk_answers():
                return await asyncio.wrap_future(opening)
        except BaseException:  # the client has gone, or the wait is over
            opening.add_done_callback(_close_unclaimed)
            raise

    def _leave(self, _: asyncio.Future[None]) -> None:
        """Only when its file is closed: so that a disk that hangs has no more than two calls for each place."""
        self.downloads -= 1

    def _find(self, call: Callable[[], T]) -> Future[T]:
        """Raises Busy."""
        self._finder = self._finder or threads.SerialExecutor("recordings", capacity=MAX_DOWNLOADS)
        return self._finder.submit(call)

    def _read(self, call: Callable[[], T]) -> Future[T]:
        self._reader = self._reader or threads.SerialExecutor(
            "downloads", capacity=2 * MAX_DOWNLOADS, calls="downloads"
        )
        return self._reader.submit(call)


@asynccontextmanager
async def _disk_answers() -> AsyncIterator[None]:
    """Raises Refusal: 404 for what is not there, 503 when the disk fails, or does not answer in time."""
    try:
        async with asyncio.timeout(DISK_TIMEOUT_S):
            yield
    except FileNotFoundError:
        raise unknown_recording() from None
    except OSError as error:
        reason = "it does not answer" if isinstance(error, TimeoutError) else error.strerror
        message = f"the disk with the recordings cannot be used: {reason}"
        raise Refusal(503, "disk_failed", message, {"Retry-After": str(RETRY_AFTER_S)}) from None


def unknown_recording() -> Refusal:
    return Refusal(404, "unknown_recording", "there is no such recording")


def _close_unclaimed(opening: Future[OpenFile]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        os.close(opening.result().descriptor)


ARCHIVE = web.AppKey("archive", Archive)
VIEWS = Body(
    json_content({**record({}, views=listing(VIEW_NAME)), "additionalProperties": False}), BODY_ERRORS, required=False
)
ROUTES = (
    Route(
        "PUT",
        RECORDING,
        start,
        Scope.CONTROL,
        "Record these views too; none named: those of its settings",
        {200: STREAM},
        errors=(404, 409),
        body=VIEWS,
    ),
    Route(
        "DELETE",
        RECORDING,
        stop,
        Scope.CONTROL,
        "Record these views no more, of the body or the query; none named: all",
        {200: STREAM},
        errors=(404,),
        parameters=(STOPPED,),
        body=VIEWS,
    ),
    Route(
        "GET",
        LIST,
        list_recordings,
        Scope.VIEW,
        "Recorded files, the newest first",
        {200: json_content(record({"recordings": listing(reference("Recording")), "next": TEXT_OR_NULL}))},
        errors=(422, 503),
        parameters=(LIMIT, BEFORE, OF_STREAM),
    ),
    Route(
        "GET",
        FILE,
        download,
        Scope.VIEW,
        "A recorded file, or a part of it",
        {200: VIDEO, 206: VIDEO, 304: NOTHING},
        errors=(404, 416, 503),
        parameters=(Header("Range", "The part: one span of bytes"),),
    ),
    Route(
        "DELETE",
        FILE,
        delete,
        Scope.CONTROL,
        "Delete a recorded file; not one that is being recorded",
        {204: NOTHING},
        errors=(404, 409, 503),
    ),
)
