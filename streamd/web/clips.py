"""A span of recorded time as one MP4, for who wants to keep it."""

from __future__ import annotations

import threading

from aiohttp import web

from streamd.sinks.recording.clip import MAX_CLIP_S, Clip, cut
from streamd.sinks.recording.library import Library
from streamd.sinks.recording.names import moment_at
from streamd.web.context import CONTEXT
from streamd.web.errors import Refusal
from streamd.web.ranges import Part
from streamd.web.recorded_span import FROM, OF_STREAM, OF_VIEW, TO, RecordedSpan, read_span, rfc3339
from streamd.web.recording_files import ARCHIVE, send_bytes
from streamd.web.routes import Route
from streamd.web.schemas import VIDEO
from streamd.web.tokens import Scope


async def clip(request: web.Request) -> web.StreamResponse:
    """X-Clip-From and X-Clip-To tell what it shows, X-Clip-Keyframe when its first picture was taken: players that do
    not honour edit lists begin there. X-Clip-Left-Out-Seconds: for which nothing was recorded in between."""
    span, archive = read_span(request), request.app[ARCHIVE]
    span = span._replace(view=span.view or "depth")
    if span.view == "depth16":
        raise Refusal(422, "bad_value", "view depth16 is data, not video: download its files as they are")
    if span.to_s - span.from_s > MAX_CLIP_S:
        raise Refusal(422, "bad_value", f"to: a clip has {MAX_CLIP_S / 3600:g} hours at most")
    segments = await archive.within(span.filter, list)
    if not segments:
        raise Refusal(404, "unknown_recording", f"{span.stream}, view {span.view}: nothing was recorded then")
    min_free_bytes = 1e9 * request.app[CONTEXT].recording.min_free_gb

    def make(library: Library, stop: threading.Event) -> Clip:
        return cut(library, segments, span.from_s, span.to_s, min_free_bytes=min_free_bytes, stop=stop)

    async with archive.cut(request, make) as made:
        response = web.StreamResponse(headers=_headers(span, made))
        response.content_type = "video/mp4"
        return await send_bytes(request, response, made.descriptor, Part(0, made.size_bytes - 1))


def _headers(span: RecordedSpan, made: Clip) -> dict[str, str]:
    name = f"{span.stream}-{span.view}-{moment_at(made.from_s)}.mp4"
    return {
        "Content-Disposition": f'attachment; filename="{name}"',
        "Cache-Control": "no-store",
        "Accept-Ranges": "none",
        "X-Clip-From": rfc3339(made.from_s),
        "X-Clip-To": rfc3339(made.to_s),
        "X-Clip-Keyframe": rfc3339(made.keyframe_s),
        "X-Clip-Left-Out-Seconds": f"{made.left_out_s:.3f}",
    }


ROUTES = (
    Route(
        "GET",
        "/api/v1/recordings/clip",
        clip,
        Scope.VIEW,
        "A span of recorded time as one MP4, nothing encoded again; its headers X-Clip-* tell what it has",
        {200: VIDEO},
        errors=(404, 413, 422, 503),
        parameters=(OF_STREAM, OF_VIEW, FROM, TO),
    ),
)
