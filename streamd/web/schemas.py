"""The shapes of what is asked and answered, as OpenAPI names them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from streamd.config.push import PushKind
from streamd.config.sections import RECORDED_VIEWS, VIEWS, Precision, StreamConfig
from streamd.depth.calibration import MAX_METRES, MAX_POINTS, MIN_POINTS
from streamd.render.pictures import CONTENT_TYPES
from streamd.states import Origin, PushState, StreamState
from streamd.streams.zone import ZoneState

Schema = Mapping[str, Any]
Content = Mapping[str, Schema]
"""By media type."""


def reference(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def record(required: Mapping[str, Schema], **optional: Schema) -> Schema:
    return {"type": "object", "required": [*required], "properties": {**required, **optional}}


def listing(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def json_content(schema: Schema) -> Content:
    return {"application/json": schema}


TEXT: dict[str, Any] = {"type": "string"}
NUMBER: dict[str, Any] = {"type": "number"}
COUNT: dict[str, Any] = {"type": "integer", "minimum": 0}
BOOLEAN: dict[str, Any] = {"type": "boolean"}
TEXT_OR_NULL: dict[str, Any] = {"type": ["string", "null"]}
NUMBER_OR_NULL: Schema = {"type": ["number", "null"]}
COUNT_OR_NULL: Schema = {"type": ["integer", "null"]}
VIEW_NAME: Schema = {"type": "string", "enum": [*VIEWS]}
RECORDED_VIEW_NAME: Schema = {"type": "string", "enum": [*RECORDED_VIEWS]}
MOMENT: dict[str, Any] = {"type": "string", "format": "date-time"}

NUMBER_PAIR_OR_NULL: Schema = {"type": ["array", "null"], "items": NUMBER_OR_NULL, "minItems": 2, "maxItems": 2}
POINT: dict[str, Schema] = {
    "x": NUMBER | {"minimum": 0, "maximum": 1},
    "y": NUMBER | {"minimum": 0, "maximum": 1},
    "metres": NUMBER | {"exclusiveMinimum": 0, "maximum": MAX_METRES},
}
METRES: dict[str, Schema] = {
    "metres": {**NUMBER_OR_NULL, "description": "Null: not calibrated, or too far away to say"},
    "uncertainty_metres": {**NUMBER_OR_NULL, "description": "Half of the 95 % interval, its wider side"},
    "interval_metres": {**NUMBER_PAIR_OR_NULL, "description": "95 %; null at its far end: no limit"},
}

NOTHING: Content = {}
HTML: Content = {"text/html": {}}
VIDEO: Content = {"video/mp4": {}}
RECORDING_FILE: Content = {"video/mp4": {}, "video/x-matroska": {}}
PICTURES: Content = {kind: {} for kind in dict.fromkeys(CONTENT_TYPES.values())}
STREAM: Content = json_content(reference("Stream"))
ACCESS: Content = json_content(reference("Access"))

_ERROR = record({"code": TEXT, "message": TEXT})
_COMPONENTS: dict[str, Schema] = {
    "Error": record({"error": _ERROR}),
    "NotReady": record({"error": _ERROR, "reasons": listing(TEXT)}),
    "Stream": record(
        {
            "name": TEXT,
            "origin": {"enum": [*Origin]},
            "state": {"enum": [*StreamState]},
            "reason": TEXT_OR_NULL,
            "mode": {"enum": ["always", "on_demand"]},
            "source": TEXT,
            "width": COUNT_OR_NULL,
            "height": COUNT_OR_NULL,
            "fps_in": NUMBER,
            "fps_out": NUMBER,
            "inferred_share": {**NUMBER_OR_NULL, "description": "Of the newest frames, those that the network saw"},
            "skipped": {"type": "object", "additionalProperties": COUNT},
            "latency_ms": record({"p50": NUMBER_OR_NULL, "p95": NUMBER_OR_NULL}),
            "viewers": COUNT,
            "recording": BOOLEAN | {"description": "Whether a view is recorded now"},
            "recording_views": {**listing(RECORDED_VIEW_NAME), "description": "Those that are to be recorded"},
            "recording_active": {**listing(RECORDED_VIEW_NAME), "description": "Those that are recorded"},
            "recording_error": {**TEXT_OR_NULL, "description": "Why another is not, until it is again"},
            "flicker": NUMBER,
            "views": listing(VIEW_NAME),
            "calibration": record({"calibrated": BOOLEAN, "in_use": BOOLEAN, "reason": TEXT_OR_NULL}),
            "push": listing(reference("Push")),
            "zones": listing(reference("Zone")),
            "settings": {"type": "object"} | {"description": "In force; passwords as ***"},
        },
        wanted={"type": "object"} | {"description": "While these settings are not in force yet"},
    ),
    "Push": record(
        {
            "target": COUNT | {"description": "Its number in the settings, from 0"},
            "kind": {"enum": [*get_args(PushKind)]},
            "view": VIEW_NAME,
            "state": {"enum": [*PushState]},
            "reason": {**TEXT_OR_NULL, "description": "Why it is not up"},
        }
    ),
    "Zone": record(
        {
            "name": TEXT,
            "state": {"enum": [*ZoneState]},
            "area": {
                **NUMBER_OR_NULL,
                "description": "Share of the zone that is near; null while there are no pictures",
            },
            "nearest_share": {**NUMBER_OR_NULL, "description": "Of the range; 1 is nearest"},
            "nearest_metres": {**NUMBER_OR_NULL, "description": "With a calibration"},
            "problem": {**TEXT_OR_NULL, "description": "Why it does not work"},
            "polygon": {
                "anyOf": [listing(listing(NUMBER)), {"type": "null"}],
                "description": "In shares of width and height",
            },
        }
    ),
    "Model": record(
        {"state": TEXT, "wanted": TEXT, "message": TEXT_OR_NULL, "name": TEXT_OR_NULL},
        title=TEXT_OR_NULL,
        coarse={"type": ["boolean", "null"]},
        licence=TEXT,
        runtime=TEXT,
        precision=TEXT,
        sha256=TEXT,
        input_size=COUNT | {"description": "What the network is given, px"},
        full_input_size=COUNT | {"description": "As configured: input_size is below it while min_fps asks for it"},
    ),
    "Models": record({"models": listing(reference("KnownModel")), "model": reference("Model")}),
    "KnownModel": record(
        {
            "name": TEXT,
            "title": TEXT,
            "licence": TEXT,
            "coarse": BOOLEAN,
            "input_size": COUNT,
            "installed": BOOLEAN,
            "built_in": BOOLEAN,
            "official": {"type": ["boolean", "null"], "description": "Whether the digest is the published one"},
            "sha256": TEXT_OR_NULL,
            "size_bytes": COUNT_OR_NULL,
            "download_bytes": COUNT_OR_NULL,
            "notice": TEXT_OR_NULL | {"description": "What one who fetches it should know of its licence"},
            "note": TEXT | {"description": "Where it is from, or what it needs"},
            "running": BOOLEAN,
            "wanted": BOOLEAN,
            "can_fetch": BOOLEAN,
            "fetch": {
                "anyOf": [
                    record(
                        {
                            "active": BOOLEAN,
                            "done_bytes": COUNT,
                            "total_bytes": COUNT_OR_NULL,
                            "error": TEXT_OR_NULL | {"description": "Why the last attempt failed"},
                        }
                    ),
                    {"type": "null"},
                ]
            },
            "measured": {
                "anyOf": [
                    record(
                        {
                            "width": COUNT,
                            "height": COUNT,
                            "chosen": TEXT,
                            "ms": {"type": "object", "additionalProperties": NUMBER},
                        }
                    ),
                    {"type": "null"},
                ],
                "description": "Time of an inference on this machine by precision; null: not measured yet",
            },
        }
    ),
    "ModelChange": {
        "type": "object",
        "properties": {"name": TEXT, "precision": {"enum": [*get_args(Precision)]}},
        "additionalProperties": False,
    },
    "Streams": record(
        {
            "time": NUMBER | {"description": "The server's clock, Unix seconds"},
            "streams": listing(reference("Stream")),
            "model": reference("Model"),
            "version": TEXT,
        }
    ),
    "Recording": record(
        {
            "path": TEXT | {"description": "Below /recordings/"},
            "stream": TEXT,
            "view": RECORDED_VIEW_NAME,
            "started": MOMENT,
            "duration_s": NUMBER | {"description": "What can be played of it"},
            "size_bytes": COUNT,
            "complete": BOOLEAN | {"description": "False while it is being written"},
            "cut_short": BOOLEAN | {"description": "It ended without its end, as in a power cut; it can be played"},
        }
    ),
    "Value": record(
        {
            "x": NUMBER,
            "y": NUMBER,
            "inverse_depth": NUMBER | {"description": "As the network gives it, larger is nearer"},
            "share": NUMBER | {"description": "Of the range shown, 1 is nearest"},
            **METRES,
        }
    ),
    "CalibrationPoints": {
        **record(
            {
                "points": {
                    "type": "array",
                    "items": {**record(POINT), "additionalProperties": False},
                    "minItems": MIN_POINTS,
                    "maxItems": MAX_POINTS,
                }
            }
        ),
        "additionalProperties": False,
    },
    "Calibration": record(
        {
            "calibrated": BOOLEAN,
            "in_use": BOOLEAN | {"description": "Whether it holds for the newest frame"},
            "reason": TEXT_OR_NULL | {"description": "Why there is none any more, or why it is not in use"},
            "points": listing(record({**POINT, "inverse_depth": NUMBER, "fitted": record(METRES)})),
        },
        a=NUMBER | {"description": "1 / metres = a * inverse depth + b"},
        b=NUMBER,
        standard_error=NUMBER | {"description": "Of 1 / metres at a point"},
        model=TEXT,
        sha256=TEXT,
        input_size=COUNT,
        made=TEXT | {"format": "date-time"},
    ),
    "Access": record({"access": {"enum": ["view", "control", None]}, "by": TEXT, "tokens": BOOLEAN}),
}


def components() -> dict[str, Schema]:
    """By name. The settings of a stream are those of the configuration file."""
    settings = StreamConfig.model_json_schema(ref_template="#/components/schemas/{model}")
    parts = settings.pop("$defs", {})
    change = {key: value for key, value in settings.items() if key != "required"} | {"title": "StreamChange"}
    change["properties"] = {
        key: schema if key in settings["required"] else _or_null(schema)
        for key, schema in settings["properties"].items()
    }
    return {**_COMPONENTS, **parts, "StreamConfig": settings, "StreamChange": change}


def _or_null(schema: Schema) -> Schema:
    """Null takes a key back to its default."""
    null = {"type": "null"}
    return schema if null in schema.get("anyOf", ()) else {"anyOf": [schema, null]}
