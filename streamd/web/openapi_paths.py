"""Every route: what it takes and what it may answer. A test compares it with the router."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from streamd.config.sections import FORMATS, VIEWS
from streamd.render.pictures import CONTENT_TYPES
from streamd.states import StreamState

Schema = Mapping[str, Any]
Content = Mapping[str, Schema]
"""By media type."""


@dataclass(frozen=True)
class Operation:
    """A method of a route. What the guard may answer is added elsewhere."""

    summary: str
    good: Mapping[int, Content]
    bad: tuple[int, ...] = ()
    parameters: tuple[Schema, ...] = ()
    body: Content = field(default_factory=dict)
    body_required: bool = True
    shown: Mapping[int, Schema] = field(default_factory=dict)
    """Bad answers that tell more than an Error."""


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _object(required: Mapping[str, Schema], **optional: Schema) -> Schema:
    return {"type": "object", "required": [*required], "properties": {**required, **optional}}


def _query(name: str, schema: Schema, description: str) -> Schema:
    return {"name": name, "in": "query", "required": False, "schema": schema, "description": description}


def _json(schema: Schema) -> Content:
    return {"application/json": schema}


TEXT, NUMBER, COUNT, YES = (
    {"type": "string"},
    {"type": "number"},
    {"type": "integer", "minimum": 0},
    {"type": "boolean"},
)
MAYBE_TEXT, MAYBE_NUMBER, MAYBE_COUNT = ({"type": [kind, "null"]} for kind in ("string", "number", "integer"))
VIEW_NAME = {"type": "string", "enum": [*VIEWS]}
VIEW = _query("view", VIEW_NAME | {"default": "depth"}, "What is drawn")
PICTURES: Content = {kind: {} for kind in dict.fromkeys(CONTENT_TYPES.values())}
VIDEO: Content = {"video/mp4": {}}
JSON_BODY = (400, 408, 413, 415, 422)
WHEP_BODY = (400, 404, 408, 413, 415, 422)
SDP: Content = {"application/sdp": {"type": "string"}}


def _format(default: str) -> Schema:
    return _query("format", {"type": "string", "enum": [*FORMATS], "default": default}, "Of the file")


SCHEMAS: dict[str, Schema] = {
    "Error": _object({"error": _object({"code": TEXT, "message": TEXT})}),
    "NotReady": _object(
        {"error": _object({"code": TEXT, "message": TEXT}), "reasons": {"type": "array", "items": TEXT}}
    ),
    "Stream": _object(
        {
            "name": TEXT,
            "state": {"enum": [*StreamState]},
            "reason": MAYBE_TEXT,
            "mode": {"enum": ["always", "on_demand"]},
            "source": TEXT,
            "width": MAYBE_COUNT,
            "height": MAYBE_COUNT,
            "fps_in": NUMBER,
            "fps_out": NUMBER,
            "skipped": {"type": "object", "additionalProperties": COUNT},
            "latency_ms": _object({"p50": MAYBE_NUMBER, "p95": MAYBE_NUMBER}),
            "viewers": COUNT,
            "recording": YES,
            "recording_views": {"type": "array", "items": VIEW_NAME},
            "recording_error": MAYBE_TEXT,
            "flicker": NUMBER,
            "views": {"type": "array", "items": VIEW_NAME},
        }
    ),
    "Model": _object({"state": TEXT, "wanted": TEXT, "message": MAYBE_TEXT, "name": MAYBE_TEXT}),
    "Streams": _object(
        {
            "time": NUMBER | {"description": "The server's clock, Unix seconds"},
            "streams": {"type": "array", "items": _ref("Stream")},
            "model": _ref("Model"),
            "version": TEXT,
        }
    ),
    "Recording": _object(
        {
            "path": TEXT | {"description": "Below /recordings/"},
            "stream": TEXT,
            "view": VIEW_NAME,
            "started": TEXT | {"format": "date-time"},
            "size_bytes": COUNT,
            "complete": YES | {"description": "False while it is being written"},
            "cut_short": YES | {"description": "It ended without its end, as in a power cut; it can be played"},
        }
    ),
    "Access": _object({"access": {"enum": ["view", "control", None]}, "by": TEXT, "tokens": YES}),
}

_STREAM = _json(_ref("Stream"))
PATHS: dict[str, dict[str, Operation]] = {
    "/": {"get": Operation("The viewer page", {200: {"text/html": {}}})},
    "/static/{file}": {"get": Operation("A file of the page", {200: {"*/*": {}}}, (404,))},
    "/embed/{name}": {
        "get": Operation("One stream, for a frame on another page", {200: {"text/html": {}}}, (404,), (VIEW,))
    },
    "/openapi.json": {"get": Operation("This document", {200: _json({"type": "object"})})},
    "/healthz": {"get": Operation("Whether it lives", {200: _json(_object({"status": TEXT}))})},
    "/readyz": {
        "get": Operation(
            "Whether model and streams are ready",
            {200: _json(_object({"status": TEXT}))},
            (503,),
            shown={503: _ref("NotReady")},
        )
    },
    "/metrics": {
        "get": Operation("For Prometheus", {200: {"text/plain": {}, "application/openmetrics-text": {}}}),
    },
    "/api/v1/session": {
        "get": Operation("What you may do", {200: _json(_ref("Access"))}, (401, 429)),
        "post": Operation(
            "Log in: a cookie for a token",
            {200: _json(_ref("Access"))},
            (*JSON_BODY, 401, 429),
            body=_json(_object({"token": TEXT})),
        ),
        "delete": Operation("Log out", {200: _json(_ref("Access"))}),
    },
    "/api/v1/devices": {
        "get": Operation(
            "The cameras of this machine",
            {200: _json(_object({"devices": {"type": "array", "items": {"type": "object"}}}))},
            (503,),
        )
    },
    "/api/v1/events": {
        "get": Operation("State changes at once, statistics each second", {200: {"text/event-stream": {}}}, (503,))
    },
    "/api/v1/streams": {"get": Operation("All streams", {200: _json(_ref("Streams"))})},
    "/api/v1/streams/{name}": {
        "get": Operation("One stream", {200: _STREAM}, (404,)),
        "put": Operation(
            "Add a stream, or give it these settings",
            {200: _STREAM, 201: _STREAM},
            JSON_BODY,
            body=_json(_ref("StreamConfig")),
        ),
        "patch": Operation(
            "Change some settings",
            {200: _STREAM},
            (*JSON_BODY, 404),
            body=_json(_ref("StreamChange")),
            body_required=False,
        ),
        "delete": Operation("Remove a stream", {200: _STREAM}, (404,)),
    },
    "/api/v1/streams/{name}/snapshot": {
        "get": Operation("The newest frame", {200: PICTURES}, (404, 422, 503), (VIEW, _format("jpg")))
    },
    "/api/v1/streams/{name}/mjpeg": {
        "get": Operation(
            "Motion JPEG",
            {200: {"multipart/x-mixed-replace": {}}},
            (404, 422, 503),
            (
                VIEW,
                _query(
                    "fps", {"type": "integer", "minimum": 1, "maximum": 30, "default": 10}, "At most so many a second"
                ),
            ),
        )
    },
    "/api/v1/streams/{name}/recording": {
        "put": Operation(
            "Record these views too; none named: those of its settings",
            {200: _STREAM},
            (*JSON_BODY, 404, 409),
            body=_json(
                {
                    "type": "object",
                    "properties": {"views": {"type": "array", "items": VIEW_NAME}},
                    "additionalProperties": False,
                }
            ),
            body_required=False,
        ),
        "delete": Operation("Stop recording", {200: _STREAM}, (404,)),
    },
    "/api/v1/recordings": {
        "get": Operation(
            "Recorded files, the newest first",
            {200: _json(_object({"recordings": {"type": "array", "items": _ref("Recording")}, "next": MAYBE_TEXT}))},
            (422,),
            (
                _query("limit", {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100}, "At most so many"),
                _query("before", TEXT, "Older than this path (next of the page before) or UTC time"),
                _query("stream", TEXT, "Of this stream only"),
            ),
        )
    },
    "/recordings/{path}": {
        "get": Operation(
            "A recorded file, or a part of it",
            {200: VIDEO, 206: VIDEO, 304: {}},
            (404, 416, 503),
            ({"name": "Range", "in": "header", "required": False, "schema": TEXT},),
        )
    },
    "/api/v1/depth": {
        "post": Operation(
            "A picture in, its depth out",
            {200: PICTURES},
            (*JSON_BODY, 409, 503),
            (VIEW, _format("png"), _query("model", TEXT, "Refused when another one is running")),
            body={
                "image/*": {},
                "application/octet-stream": {},
                "multipart/form-data": _object({"image": {"type": "string", "contentMediaType": "image/*"}}),
            },
        )
    },
    "/whep/{name}": {
        "post": Operation("WHEP: offer in, answer out", {201: SDP}, (*WHEP_BODY, 409, 503), (VIEW,), body=SDP),
        "get": Operation("WHEP: whether there is such an endpoint", {200: {}}, (404,)),
        "options": Operation("WHEP: what can be asked", {200: {}}),
    },
    "/whep/{name}/{session}": {
        "patch": Operation("WHEP: candidates", {204: {}}, WHEP_BODY, body={"application/trickle-ice-sdpfrag": TEXT}),
        "delete": Operation("WHEP: end the session", {200: {}}, (404,)),
        "get": Operation("WHEP: whether there is such a session", {200: {}}, (404,)),
        "options": Operation("WHEP: what can be asked", {200: {}}),
    },
}
