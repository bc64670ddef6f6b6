"""Recording over HTTP: start and stop it, list the files, download them and seek in them."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.utils import formatdate
from functools import partial
from typing import Any, TypeVar

from aiohttp import web

from streamd.concurrency import threads
from streamd.config.sections import View
from streamd.sinks.recording.library import Key, Library, OpenFile, Segment, key_of
from streamd.web.context import CONTEXT
from streamd.web.errors import RETRY_AFTER_S, Refusal
from streamd.web.parameters import VIEW, Header, Text, Whole
from streamd.web.ranges import Part, parse_range
from streamd.web.requests import BODY_ERRORS, json_object, stream_of
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
MAX_DOWNLOADS = 16
CHUNK_BYTES = 256 * 1024
STALLED_S = 60.0
"""A paused player takes nothing for long; it asks for the rest again when it was let go."""
WRITTEN_S = 10.0
"""A file that is being written was written to this lately: a recorder does so each second, or ends it."""


async def start(request: web.Request) -> web.Response:
    """What is recorded already goes on."""
    stream = stream_of(request)
    views = _views(await json_object(request, 'such as {"views": ["depth"]}'))
    if request.app[CONTEXT].recording.directory is None:
        raise Refusal(409, "not_configured", "nowhere to record to: set recording.directory")
    if stream.state in NOT_RUNNING:
        raise Refusal(409, "not_running", f"stream {stream.name} is not running: {stream.state}")
    stream.start_recording(views)
    return web.json_response(stream.describe())


async def stop(request: web.Request) -> web.Response:
    """Answers when the files are complete."""
    stream = stream_of(request)
    await stream.stop_recording()
    return web.json_response(stream.describe())


def _views(body: dict[str, Any]) -> list[View]:
    views = body.pop("views", [])
    if body:
        raise Refusal(422, "bad_value", f"{', '.join(sorted(body))}: unknown key; there is: views")
    if not isinstance(views, list):
        raise Refusal(422, "bad_value", "views: should be a list")
    return [VIEW.parse(view) for view in views]


async def list_recordings(request: web.Request) -> web.Response:
    limit = LIMIT.read(request)
    before, archive = BEFORE.read(request), request.app[ARCHIVE]
    try:
        key = key_of(before) if before else None
    except ValueError:
        message = "before: should be the path of a recording, or a UTC time such as 2026-11-25T03:41:23Z"
        raise Refusal(422, "bad_value", message) from None
    found, more = await archive.page(limit, key, OF_STREAM.read(request))
    streams = request.app[CONTEXT].streams
    recorded: set[tuple[str, str]] = {(name, view) for name in streams for view in streams[name].recorded_views}
    described = [_described(segment, _is_written(segment, recorded)) for segment in found]
    return web.json_response({"recordings": described, "next": more.path if more else None})


def _is_written(segment: Segment, recorded: set[tuple[str, str]]) -> bool:
    """The newest of a view that is recorded, if it has no end yet; then the view is taken from ``recorded``."""
    view = (segment.stream, segment.view)
    if segment.finished or view not in recorded or time.time() - segment.modified_s > WRITTEN_S:
        return False
    recorded.discard(view)  # an older one without an end was cut short, however lately
    return True


def _described(segment: Segment, is_written: bool) -> dict[str, Any]:
    return {
        "path": segment.path,
        "stream": segment.stream,
        "view": segment.view,
        "started": segment.started.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "size_bytes": segment.size_bytes,
        "complete": not is_written,
        "cut_short": not (is_written or segment.finished),
    }


async def download(request: web.Request) -> web.StreamResponse:
    """All of it or one part; of a file that is being written what is there now."""
    archive = request.app[ARCHIVE]
    with archive.place():
        opened = await archive.open(request.match_info["path"])
        try:
            return await _send(request, opened)
        finally:
            archive.close_file(opened)


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
        if not data:  # the file has become shorter than we said
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
    """The recordings, read in a thread of their own: aiohttp's FileResponse would use the default
    executor, and the event loop itself for ``sendfile``, and a disk may take its time. Bounded.
    """

    def __init__(self, library: Library | None) -> None:
        """Without a library there are no recordings."""
        self._library = library
        self._disk: threads.SerialExecutor | None = None
        self._listing = asyncio.Semaphore()
        self.downloads = 0

    @contextmanager
    def place(self) -> Iterator[None]:
        """For one download. Raises Refusal when there are too many."""
        if self.downloads >= MAX_DOWNLOADS:
            message = f"all {MAX_DOWNLOADS} places for downloads are taken; try again"
            raise Refusal(503, "full", message, {"Retry-After": str(RETRY_AFTER_S)})
        self.downloads += 1
        try:
            yield
        finally:
            self.downloads -= 1

    async def page(self, limit: int, before: Key | None, stream: str | None) -> tuple[list[Segment], Key | None]:
        if self._library is None:
            return [], None
        async with self._listing:
            return await self._call(partial(self._library.page, limit, before, stream))

    async def open(self, path: str) -> OpenFile:
        """Raises Refusal 404."""
        try:
            if self._library is None:
                raise FileNotFoundError
            return await self._call(partial(self._library.open, path))
        except (FileNotFoundError, ValueError):  # a path with a NUL is the latter
            raise Refusal(404, "unknown_recording", "there is no such recording") from None

    async def read(self, opened: OpenFile, offset: int, count: int) -> bytes:
        return await self._call(partial(os.pread, opened.descriptor, count, offset))

    def close_file(self, opened: OpenFile) -> None:
        """After a read that may be under way: else that would read from another file of this number."""
        self._caller().submit(partial(os.close, opened.descriptor))

    async def clean_up(self, app: web.Application) -> None:
        if self._disk is not None:
            self._disk.close()

    async def _call(self, call: Callable[[], T]) -> T:
        return await asyncio.wrap_future(self._caller().submit(call))

    def _caller(self) -> threads.SerialExecutor:
        # Of a download one call waits, and its end; of lists one.
        self._disk = self._disk or threads.SerialExecutor("recordings", capacity=2 * MAX_DOWNLOADS + 2)
        return self._disk


ARCHIVE = web.AppKey("archive", Archive)
ROUTES = (
    Route(
        "PUT",
        RECORDING,
        start,
        Scope.CONTROL,
        "Record these views too; none named: those of its settings",
        {200: STREAM},
        errors=(404, 409),
        body=Body(
            json_content({**record({}, views=listing(VIEW_NAME)), "additionalProperties": False}),
            BODY_ERRORS,
            required=False,
        ),
    ),
    Route("DELETE", RECORDING, stop, Scope.CONTROL, "Stop recording", {200: STREAM}, errors=(404,)),
    Route(
        "GET",
        LIST,
        list_recordings,
        Scope.VIEW,
        "Recorded files, the newest first",
        {200: json_content(record({"recordings": listing(reference("Recording")), "next": TEXT_OR_NULL}))},
        errors=(422,),
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
)
