"""Depth at a point over HTTP, and the calibration that turns it into metres."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from streamd.config.redact import redact_source
from streamd.depth.calibration import MAX_METRES, MAX_POINTS, MIN_POINTS, Calibration
from streamd.errors import PictureError
from streamd.streams.readings import Mark, calibrate_by, value_at
from streamd.streams.stream import Stream
from streamd.web.context import CONTEXT
from streamd.web.errors import RETRY_AFTER_S, Refusal
from streamd.web.parameters import Share, shortened
from streamd.web.requests import BODY_ERRORS, find_stream, json_object
from streamd.web.routes import Body, Route
from streamd.web.schemas import json_content, reference
from streamd.web.tokens import Scope

PATH = "/api/v1/streams/{name}/calibration"
CALIBRATION = json_content(reference("Calibration"))
HINT = 'such as {"points": [{"x": 0.5, "y": 0.5, "metres": 2.0}, ...]}'
X = Share("x", "Share of the picture's width, from the left")
Y = Share("y", "Share of the picture's height, from the top")
_LIMITS = {"x": 1.0, "y": 1.0, "metres": MAX_METRES}


async def value(request: web.Request) -> web.Response:
    stream, x, y = find_stream(request), X.read(request), Y.read(request)
    with _frames_of(stream):
        found = await value_at(stream, x, y)
    json = {"x": x, "y": y, "inverse_depth": found.inverse_depth, "share": found.share}
    return web.json_response(json | _metres(found.calibration, found.inverse_depth))


async def show(request: web.Request) -> web.Response:
    return web.json_response(describe(find_stream(request)))


async def put(request: web.Request) -> web.Response:
    """Reads the points in the newest frames, which takes a moment. Raises UsageError: 422."""
    stream, service = find_stream(request), request.app[CONTEXT].service
    marks = _marks(await json_object(request, HINT))
    with _frames_of(stream):
        made = await calibrate_by(
            stream, marks, lambda: service.status.full_input_size, redact_source(stream.config.source)
        )
    if find_stream(request) is not stream:  # removed meanwhile, and added again
        raise Refusal(409, "not_running", f"stream {stream.name} was removed meanwhile")
    stream.calibrate(made)
    return web.json_response(describe(stream))


async def delete(request: web.Request) -> web.Response:
    stream = find_stream(request)
    stream.calibrate(None)
    return web.json_response(describe(stream))


def describe(stream: Stream) -> dict[str, Any]:
    """Also why there is none any more, or why it does not hold for now."""
    made, json = stream.calibrated, asdict(stream.calibration_status)
    if made is None:
        return json | {"points": []}
    line = made.calibration
    points = [
        {"x": each.x, "y": each.y, "metres": each.metres, "fitted": _metres(line, each.inverse_depth)}
        | {"inverse_depth": each.inverse_depth}
        for each in line.readings
    ]
    return json | {
        "points": points,
        "a": line.a,
        "b": line.b,
        "standard_error": line.standard_error,
        "model": made.model,
        "sha256": made.sha256,
        "input_size": made.input_size,
        "made": datetime.fromtimestamp(made.made_at, UTC).isoformat(timespec="seconds"),
    }


def _metres(calibration: Calibration | None, inverse_depth: float) -> dict[str, Any]:
    """Null: not known, or farther than any number says. JSON has no infinity."""
    if calibration is None:
        return {"metres": None, "uncertainty_metres": None, "interval_metres": None}
    metres = calibration.metres(inverse_depth)
    low, high = calibration.interval(inverse_depth)
    return {
        "metres": _finite(metres),
        "uncertainty_metres": _finite(max(high - metres, metres - low)) if math.isfinite(metres) else None,
        "interval_metres": [_finite(low), _finite(high)],
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


@contextmanager
def _frames_of(stream: Stream) -> Iterator[None]:
    """Without a frame there is nothing to tell: 503."""
    try:
        yield
    except PictureError as error:
        message = f"stream {stream.name}: {error}"
        raise Refusal(503, "not_ready", message, {"Retry-After": str(RETRY_AFTER_S)}) from None


def _marks(body: dict[str, Any]) -> list[Mark]:
    """Raises Refusal: 422, with the first thing that is wrong."""
    points = body.get("points")
    if set(body) != {"points"} or not isinstance(points, list):
        raise Refusal(422, "bad_value", f"send points and nothing else, {HINT}")
    if not MIN_POINTS <= len(points) <= MAX_POINTS:
        raise Refusal(422, "bad_value", f"points: {len(points)}: from {MIN_POINTS} to {MAX_POINTS} are needed")
    return [_mark(f"points[{index}]", point) for index, point in enumerate(points)]


def _mark(where: str, point: Any) -> Mark:
    if not isinstance(point, dict) or set(point) != set(_LIMITS):
        raise Refusal(422, "bad_value", f"{where}: should have x, y and metres, and nothing else")
    for key, limit in _LIMITS.items():
        number = point[key]
        is_number = isinstance(number, int | float) and not isinstance(number, bool)
        if not is_number or not 0 <= number <= limit or (key == "metres" and not number > 0):
            wanted = f"above 0, at most {limit:g}" if key == "metres" else "from 0 to 1: a point in the picture"
            raise Refusal(422, "bad_value", f"{where}.{key}: {shortened(number)}: should be a number {wanted}")
    return Mark(*(float(point[key]) for key in _LIMITS))


ROUTES = (
    Route(
        "GET",
        "/api/v1/streams/{name}/value",
        value,
        Scope.VIEW,
        "Depth at a point of the newest frame",
        {200: json_content(reference("Value"))},
        errors=(404, 422, 503),
        parameters=(X, Y),
    ),
    Route("GET", PATH, show, Scope.VIEW, "How depth becomes metres, if it does", {200: CALIBRATION}, errors=(404,)),
    Route(
        "PUT",
        PATH,
        put,
        Scope.CONTROL,
        "Find out by points of known distance, in the newest frames",
        {200: CALIBRATION},
        errors=(404, 409, 503),
        body=Body(json_content(reference("CalibrationPoints")), BODY_ERRORS),
    ),
    Route("DELETE", PATH, delete, Scope.CONTROL, "Know no metres any more", {200: CALIBRATION}, errors=(404,)),
)
