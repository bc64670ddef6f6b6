"""Recording over HTTP: start and stop it, list the files, download them, seek in them and delete them."""

from __future__ import annotations

import json
from typing import Any

from aiohttp import web

from streamd.config.sections import RECORDED_VIEWS, RecordedView
from streamd.sinks.recording.index import Segment
from streamd.sinks.recording.names import SegmentName, position
from streamd.sinks.watched import NOT_RUNNING
from streamd.web.context import CONTEXT
from streamd.web.description import describe_stream
from streamd.web.errors import Refusal
from streamd.web.parameters import Choice, Header, Text, Whole, shortened
from streamd.web.recorded_span import FROM, OF_STREAM, OF_VIEW, TO, read_filter, rfc3339
from streamd.web.recording_files import ARCHIVE, send_file
from streamd.web.requests import BODY_ERRORS, find_stream, json_object
from streamd.web.routes import Body, Route
from streamd.web.schemas import (
    NOTHING,
    RECORDED_VIEW_NAME,
    RECORDING_FILE,
    STREAM,
    TEXT_OR_NULL,
    json_content,
    listing,
    record,
    reference,
)
from streamd.web.tokens import Scope

RECORDING = "/api/v1/streams/{name}/recording"
LIST = "/api/v1/recordings"
FILE = "/recordings/{path:.+}"
LIMIT = Whole("limit", default=100, minimum=1, maximum=1000, description="At most so many")
BEFORE = Text("before", "Older than this path (next of the page before) or UTC time")
STOPPED = Text("view", "One of those that are to be stopped; may be there more than once")
VIEW: Choice[RecordedView] = Choice("view", RECORDED_VIEWS, "depth", "What is recorded")
HINT = 'such as {"views": ["depth"]}'


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


def _views(body: dict[str, Any]) -> list[RecordedView]:
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
    filter = read_filter(request, before)
    return web.json_response(text=await request.app[ARCHIVE].page(limit, filter, _write_page) or _write_page([], None))


def _write_page(found: list[Segment], more: SegmentName | None) -> str:
    return json.dumps({"recordings": [_described(each) for each in found], "next": more.path if more else None})


def _described(segment: Segment) -> dict[str, Any]:
    return {
        "path": segment.name.path,
        "stream": segment.name.stream,
        "view": segment.name.view,
        "started": rfc3339(segment.started.timestamp()),
        "duration_s": round(segment.seconds, 3),
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
    path = request.match_info["path"]
    async with request.app[ARCHIVE].opened(path) as opened:
        return await send_file(request, opened, "video/x-matroska" if path.endswith(".mkv") else "video/mp4")


VIEWS = Body(
    json_content({**record({}, views=listing(RECORDED_VIEW_NAME)), "additionalProperties": False}),
    BODY_ERRORS,
    required=False,
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
        parameters=(LIMIT, BEFORE, OF_STREAM, OF_VIEW, FROM, TO),
    ),
    Route(
        "GET",
        FILE,
        download,
        Scope.VIEW,
        "A recorded file, or a part of it",
        {200: RECORDING_FILE, 206: RECORDING_FILE, 304: NOTHING},
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
