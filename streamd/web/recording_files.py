"""The recordings for the handlers: found, read and cut in threads of their own, and sent to who asks."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager, suppress
from email.utils import formatdate
from functools import partial
from typing import Any, Protocol, TypeVar

from aiohttp import web

from streamd.concurrency import threads
from streamd.errors import Busy
from streamd.sinks.recording import clip
from streamd.sinks.recording.index import Index, Segment, Timeline
from streamd.sinks.recording.library import BeingWritten, Library, OpenFile
from streamd.sinks.recording.names import SegmentName
from streamd.sinks.recording.store import Filter
from streamd.web.errors import RETRY_AFTER_S, Refusal
from streamd.web.ranges import Part, parse_range
from streamd.web.streaming import alive, cut_off, send

T = TypeVar("T")


class Handle(Protocol):
    """What has a file open."""

    @property
    def descriptor(self) -> int: ...


Opened = TypeVar("Opened", bound=Handle)
Making = Callable[[Library, threading.Event], clip.Clip]
"""Cuts a clip; ends early by the event."""

MAX_DOWNLOADS = 16
MAX_CLIPS = 8
"""Being cut, one after the other, or waiting for it."""
CHUNK_BYTES = 256 * 1024
STALLED_S = 60.0
"""A paused player takes nothing for long; it asks for the rest again when it was let go."""
DISK_TIMEOUT_S = 10.0
"""A disk that does not answer for so long is not waited for."""
CATCH_UP_S = 0.02
"""What is read of new recordings at once: others wait for it."""
LOOK_EVERY_S = 1.0
DELETED_AT_ONCE = 50


class Archive:
    """The recordings, in threads of their own: aiohttp's FileResponse would use the default executor,
    and the event loop itself for ``sendfile``, and a disk may take its time, or hang. Bounded.
    """

    def __init__(self, library: Library | None) -> None:
        """Without a library there are no recordings."""
        self._library = library
        self._index = Index(library) if library is not None else None
        """The finder's."""
        self._listing = asyncio.Semaphore()
        self._finder: threads.SerialExecutor | None = None
        """Lists, opens, deletes."""
        self._reader: threads.SerialExecutor | None = None
        """Reads and closes."""
        self._cutter: threads.SerialExecutor | None = None
        self._keeping_up: asyncio.Task[None] | None = None
        self.downloads = 0

    async def start(self, app: web.Application) -> None:
        """The index is read, and kept up to date, before anybody asks for it."""
        if self._index is not None:
            self._keeping_up = asyncio.create_task(self._keep_up(self._index))

    async def _keep_up(self, index: Index) -> None:
        while True:
            is_more = False
            with suppress(OSError, Busy):  # who asks for a list is told
                is_more = await asyncio.wrap_future(self._find(partial(index.catch_up, CATCH_UP_S)))
            await asyncio.sleep(CATCH_UP_S if is_more else LOOK_EVERY_S)

    async def page(
        self, limit: int, filter: Filter, write: Callable[[list[Segment], SegmentName | None], str]
    ) -> str | None:
        """What ``write`` makes of it in the thread; None without recordings. Raises Refusal 503."""
        if self._index is None:
            return None
        index = self._index
        async with _disk_answers(), self._listing:
            return await asyncio.wrap_future(self._find(lambda: write(*index.page(limit, filter))))

    async def timeline(
        self, from_s: float, to_s: float, stream: str | None, view: str | None, write: Callable[[Timeline], str]
    ) -> str | None:
        """As ``page``."""
        if self._index is None:
            return None
        index = self._index
        async with _disk_answers(), self._listing:
            return await asyncio.wrap_future(self._find(lambda: write(index.timeline(from_s, to_s, stream, view))))

    async def within(self, filter: Filter, choose: Callable[[list[Segment]], T]) -> T:
        """What ``choose`` makes of them in the thread: there may be a hundred thousand. Raises Refusal 503."""
        if self._index is None:
            return choose([])
        index = self._index
        async with _disk_answers():
            return await asyncio.wrap_future(self._find(lambda: choose(index.within(filter))))

    async def delete(self, path: str) -> None:
        """Raises Refusal 404, 409, 503."""
        if self._library is None:
            raise unknown_recording()
        try:
            async with _disk_answers():
                await asyncio.wrap_future(self._find(partial(self._library.delete, path)))
        except BeingWritten as error:
            raise Refusal(409, "being_recorded", str(error)) from None

    async def delete_all(self, segments: Sequence[Segment]) -> int:
        """But those that are being recorded. Returns how many went. Raises Refusal 503."""
        deleted = 0
        for first in range(0, len(segments), DELETED_AT_ONCE):
            some = segments[first : first + DELETED_AT_ONCE]
            async with _disk_answers():
                deleted += await asyncio.wrap_future(self._find(partial(self._delete_some, some)))
        return deleted

    def _delete_some(self, segments: Sequence[Segment]) -> int:
        assert self._library is not None
        deleted = 0
        for segment in segments:
            with suppress(BeingWritten, FileNotFoundError):
                self._library.delete(segment.name.path)
                deleted += 1
        return deleted

    @asynccontextmanager
    async def opened(self, path: str) -> AsyncIterator[OpenFile]:
        """For one download. Raises Refusal: 404, and 503 when there are too many."""
        async with self._place(self._open(path)) as file:
            yield file

    @asynccontextmanager
    async def cut(self, request: web.Request, make: Making) -> AsyncIterator[clip.Clip]:
        """The clip that ``make`` makes in the thread, for one download. Raises Refusal: 404, 413, 503."""
        async with self._place(self._cut(request, make)) as made:
            yield made

    @asynccontextmanager
    async def _place(self, opening: Coroutine[Any, Any, Opened]) -> AsyncIterator[Opened]:
        if self.downloads >= MAX_DOWNLOADS:
            opening.close()
            message = f"all {MAX_DOWNLOADS} places for downloads are taken; try again"
            raise Refusal(503, "full", message, {"Retry-After": str(RETRY_AFTER_S)})
        self.downloads += 1
        try:
            file = await opening
        except BaseException:
            self.downloads -= 1
            raise
        try:
            yield file
        finally:  # after a read that may be under way: else that would read from another file of this number
            asyncio.wrap_future(self._read(partial(os.close, file.descriptor))).add_done_callback(self._leave)

    async def read(self, descriptor: int, offset: int, count: int) -> bytes:
        """Nothing when the disk has gone."""
        try:
            async with _disk_answers():
                return await asyncio.wrap_future(self._read(partial(os.pread, descriptor, count, offset)))
        except Refusal:
            return b""

    async def clean_up(self, app: web.Application) -> None:
        if self._keeping_up is not None:
            self._keeping_up.cancel()
            await asyncio.wait([self._keeping_up])
        if self._index is not None and self._finder is not None:
            with suppress(Busy):
                self._find(self._index.close)
        executors = [each for each in (self._finder, self._reader, self._cutter) if each is not None]
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

    async def _cut(self, request: web.Request, make: Making) -> clip.Clip:
        """Ends with its client, and with the server."""
        if self._library is None:
            raise unknown_recording()
        stop = threading.Event()
        self._cutter = self._cutter or threads.SerialExecutor("clips", MAX_CLIPS, niceness=5, calls="clips")
        cutting = self._cutter.submit(partial(make, self._library, stop))
        making = asyncio.wrap_future(cutting)
        making.add_done_callback(lambda done: done.cancelled() or done.exception())  # or asyncio logs what nobody asks
        try:
            while not making.done() and alive(request):
                await asyncio.wait([making], timeout=0.5)
            if not making.done():
                raise ConnectionResetError
            return making.result()
        except clip.NothingThen as error:
            raise Refusal(404, "unknown_recording", str(error)) from None
        except clip.ClipRefused as error:
            raise Refusal(413, "too_large", str(error)) from None
        except clip.NoRoom as error:
            raise Refusal(503, "disk_full", str(error), {"Retry-After": str(RETRY_AFTER_S)}) from None
        except FileNotFoundError:
            raise unknown_recording() from None
        except OSError as error:
            raise _disk_failed(error.strerror) from None
        finally:
            stop.set()
            if not making.done():
                cutting.add_done_callback(_close_unclaimed)

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
        raise _disk_failed("it does not answer" if isinstance(error, TimeoutError) else error.strerror) from None


def _disk_failed(reason: str | None) -> Refusal:
    message = f"the disk with the recordings cannot be used: {reason}"
    return Refusal(503, "disk_failed", message, {"Retry-After": str(RETRY_AFTER_S)})


def unknown_recording() -> Refusal:
    return Refusal(404, "unknown_recording", "there is no such recording")


def _close_unclaimed(opening: Future[Opened]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        os.close(opening.result().descriptor)


ARCHIVE = web.AppKey("archive", Archive)


async def send_file(request: web.Request, opened: OpenFile, content_type: str) -> web.StreamResponse:
    """All of it or one part."""
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
    response = web.StreamResponse(status=206 if part else 200, headers=headers)
    response.content_type = content_type
    return await send_bytes(request, response, opened.descriptor, part or Part(0, opened.size_bytes - 1))


async def send_bytes(
    request: web.Request, response: web.StreamResponse, descriptor: int, part: Part
) -> web.StreamResponse:
    response.content_length = part.size
    await response.prepare(request)
    if request.method == "HEAD":
        return response
    end = part.first + part.size
    for offset in range(part.first, end, CHUNK_BYTES):
        data = await request.app[ARCHIVE].read(descriptor, offset, min(CHUNK_BYTES, end - offset))
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
