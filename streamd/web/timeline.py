"""When something was recorded, as spans on a line of time, and the end of a span of it."""

from __future__ import annotations

import json
import time
from functools import partial

from aiohttp import web

from streamd.sinks.recording.index import Segment, Timeline
from streamd.web.errors import Refusal
from streamd.web.recorded_span import (
    FROM,
    OF_STREAM,
    OF_VIEW,
    TO,
    RecordedSpan,
    read_moment,
    read_span,
    read_view,
    rfc3339,
)
from streamd.web.recording_files import ARCHIVE
from streamd.web.routes import Route
from streamd.web.schemas import BOOLEAN, COUNT, MOMENT, RECORDED_VIEW_NAME, TEXT, json_content, listing, record
from streamd.web.tokens import Scope

DAY_S = 86400.0
ROUNDED_S = 0.01
"""The times of an answer are rounded: what was asked for by them is inside."""

_SPAN = record({"from": MOMENT, "to": MOMENT})
_TRACK = record({"stream": TEXT, "view": RECORDED_VIEW_NAME, "spans": listing(_SPAN)})
_MOMENT_OR_NULL = {"type": ["string", "null"], "format": "date-time"}


async def timeline(request: web.Request) -> web.Response:
    """The last day, unless the query says otherwise."""
    from_s, to_s = read_moment(request, FROM), read_moment(request, TO)
    to_s = to_s if to_s is not None else from_s + DAY_S if from_s is not None else time.time()
    from_s = from_s if from_s is not None else to_s - DAY_S
    if from_s >= to_s:
        raise Refusal(422, "bad_value", "from: should be earlier than to")

    def write(found: Timeline) -> str:
        return _write(from_s, to_s, found)

    archive = request.app[ARCHIVE]
    text = await archive.timeline(from_s, to_s, OF_STREAM.read(request), read_view(request), write)
    return web.json_response(text=text or write(Timeline([], None, None, complete=True)))


def _write(from_s: float, to_s: float, found: Timeline) -> str:
    tracks = [
        {"stream": track.stream, "view": track.view, "spans": [_span(*span) for span in track.spans]}
        for track in found.tracks
    ]
    return json.dumps(
        {
            **_span(from_s, to_s),
            "tracks": tracks,
            "before": None if found.before_s is None else rfc3339(found.before_s),
            "after": None if found.after_s is None else rfc3339(found.after_s),
            "complete": found.complete,
        }
    )


def _span(from_s: float, to_s: float) -> dict[str, str]:
    return {"from": rfc3339(from_s), "to": rfc3339(to_s)}


async def delete_span(request: web.Request) -> web.Response:
    """Files that reach beyond it are kept, and those that are being recorded."""
    span, archive = read_span(request), request.app[ARCHIVE]
    count, complete = await archive.within(span.filter, partial(_complete, span))
    deleted = await archive.delete_all(complete)
    return web.json_response({"deleted": deleted, "kept": count - deleted})


def _complete(span: RecordedSpan, found: list[Segment]) -> tuple[int, list[Segment]]:
    """How many there are, and those that lie in the span and are written no more."""
    first_s, last_s = span.from_s - ROUNDED_S, span.to_s + ROUNDED_S
    inside = [each for each in found if each.started.timestamp() >= first_s and each.ended_s <= last_s]
    return len(found), [each for each in inside if not each.written]


ROUTES = (
    Route(
        "GET",
        "/api/v1/recordings/timeline",
        timeline,
        Scope.VIEW,
        "When streams were recorded, of a day or any other span; spans that touch are one",
        {
            200: json_content(
                record(
                    {
                        "from": MOMENT,
                        "to": MOMENT,
                        "tracks": listing(_TRACK),
                        "before": _MOMENT_OR_NULL | {"description": "When the last recording before it ends"},
                        "after": _MOMENT_OR_NULL | {"description": "When the first one after it begins"},
                        "complete": BOOLEAN | {"description": "False while recordings are read for the first time"},
                    }
                )
            )
        },
        errors=(422, 503),
        parameters=(OF_STREAM, OF_VIEW, FROM, TO),
    ),
    Route(
        "DELETE",
        "/api/v1/recordings",
        delete_span,
        Scope.CONTROL,
        "Delete what was recorded of a stream in a span of time: the files that lie in it, none that is being recorded",
        {200: json_content(record({"deleted": COUNT, "kept": COUNT | {"description": "They reach beyond it"}}))},
        errors=(422, 503),
        parameters=(OF_STREAM, OF_VIEW, FROM, TO),
    ),
)
