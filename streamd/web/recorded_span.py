"""Which recordings a request means: of a stream, a view, a span of time."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import NamedTuple

from aiohttp import web

from streamd.config.sections import RECORDED_VIEWS
from streamd.sinks.recording.names import SegmentName, date_at
from streamd.sinks.recording.store import Filter
from streamd.web.errors import Refusal
from streamd.web.parameters import Text, shortened

OF_STREAM = Text("stream", "Of this stream only")
OF_VIEW = Text("view", "Of this view only")
FROM = Text("from", "What ends later than this time (RFC 3339)")
TO = Text("to", "What begins earlier than this time (RFC 3339)")
_UNESCAPED_PLUS = re.compile(r" (\d\d:\d\d)$")


class RecordedSpan(NamedTuple):
    stream: str
    view: str | None
    from_s: float
    """Unix time."""
    to_s: float

    @property
    def filter(self) -> Filter:
        return Filter(self.stream, self.view, self.from_s, self.to_s)


def read_filter(request: web.Request, before: SegmentName | None = None) -> Filter:
    """Raises Refusal: 422."""
    from_s, to_s = read_moment(request, FROM), read_moment(request, TO)
    _check_order(from_s, to_s)
    return Filter(OF_STREAM.read(request), read_view(request), from_s, to_s, before)


def read_span(request: web.Request) -> RecordedSpan:
    """With all but the view. Raises Refusal: 422."""
    stream, view = required(request, OF_STREAM), read_view(request)
    from_s, to_s = (moment(text.name, required(request, text)) for text in (FROM, TO))
    _check_order(from_s, to_s)
    return RecordedSpan(stream, view, from_s, to_s)


def required(request: web.Request, parameter: Text) -> str:
    """Raises Refusal: 422."""
    text = parameter.read(request)
    if not text:
        raise Refusal(422, "bad_value", f"{parameter.name}: is missing")
    return text


def read_view(request: web.Request) -> str | None:
    """Raises Refusal: 422."""
    view = OF_VIEW.read(request)
    if view is not None and view not in RECORDED_VIEWS:
        raise Refusal(422, "bad_value", f"view {shortened(view)}: unknown; there are: {', '.join(RECORDED_VIEWS)}")
    return view


def read_moment(request: web.Request, parameter: Text) -> float | None:
    """Unix time. Raises Refusal: 422."""
    text = parameter.read(request)
    return None if text is None else moment(parameter.name, text)


def moment(name: str, text: str) -> float:
    """Unix time. Of RFC 3339, whose letters may be small; without a zone, UTC. Raises Refusal: 422."""
    try:
        time = datetime.fromisoformat(_UNESCAPED_PLUS.sub(r"+\1", text).upper())
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        message = f"{name} {shortened(text)}: should be a time such as 2026-11-25T03:41:23Z"
        raise Refusal(422, "bad_value", message) from None


def rfc3339(unix_s: float) -> str:
    """UTC, to the millisecond; the nearest that there is, for what is before the year 1, or after 9999."""
    return date_at(round(unix_s, 3)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _check_order(from_s: float | None, to_s: float | None) -> None:
    if from_s is not None and to_s is not None and from_s >= to_s:
        raise Refusal(422, "bad_value", "from: should be earlier than to")
