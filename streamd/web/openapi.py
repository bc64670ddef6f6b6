"""GET /openapi.json: what the server can be asked, and what it may answer (OpenAPI 3.1).

The table is ``openapi_paths.PATHS``; what all routes have in common is added here: HEAD, and the answers
of the guard, which follow from a route's scope.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from aiohttp import web

from streamd import __version__
from streamd.config.sections import STREAM_NAME, StreamConfig
from streamd.web.auth import SAFE_METHODS, SCOPES
from streamd.web.openapi_paths import PATHS, SCHEMAS, Operation
from streamd.web.tokens import Scope

PATH = "/openapi.json"
REASONS = {
    200: "Done",
    201: "Made",
    204: "Taken",
    206: "A part of it",
    304: "As you know it",
    400: "Not understood",
    401: "No token, or a wrong one",
    403: "Not with this token, or not for a page of another origin",
    404: "There is none of that name",
    408: "The body took too long",
    409: "Not in this state",
    413: "Too large",
    415: "Not of this type",
    416: "The file has no such part",
    422: "A value that is not one of those possible",
    429: "Too many wrong tokens from this address",
    503: "Not ready, or full: try again",
}
_ERROR = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
_SHAPES = {"name": {"pattern": STREAM_NAME}}
"""Of what stands in a path."""
_RETRY_AFTER = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds"}}


def routes() -> list[web.RouteDef]:
    return [web.get(PATH, show)]


async def show(request: web.Request) -> web.Response:
    return web.Response(text=_text(), content_type="application/json")


@cache
def _text() -> str:
    return json.dumps(document())


def document() -> dict[str, Any]:
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "streamd",
            "version": __version__,
            "description": "Cameras in, live depth video out. Views and formats: see the parameters. "
            "Without configured tokens nobody has to show one.",
        },
        "paths": {path: _path(path, operations) for path, operations in PATHS.items()},
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "cookie": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": "streamd_PORT",
                    "description": "From POST /api/v1/session",
                },
            },
        },
    }


def _path(path: str, operations: Mapping[str, Operation]) -> dict[str, Any]:
    made = {method: _operation(method, path, operation) for method, operation in operations.items()}
    if "get" in operations:
        made["head"] = made["get"] | {"summary": f"{operations['get'].summary}: the headers only"}
        made["head"]["responses"] = {
            status: {key: value for key, value in answer.items() if key != "content"}
            for status, answer in made["get"]["responses"].items()
        }
    return made


def _operation(method: str, path: str, operation: Operation) -> dict[str, Any]:
    scope = Scope.OPEN if method == "options" else SCOPES[method.upper(), path]
    statuses = {*operation.good, *operation.bad}
    if scope > Scope.OPEN:
        statuses |= {401, 403, 429}
    elif method.upper() not in SAFE_METHODS:
        statuses |= {403}
    made: dict[str, Any] = {
        "summary": operation.summary,
        "parameters": [*_path_parameters(path), *operation.parameters],
        "responses": {str(status): _answer(status, operation) for status in sorted(statuses)},
        "security": [{}, {"bearer": []}, {"cookie": []}] if scope > Scope.OPEN else [],
    }
    if scope > Scope.OPEN:
        made["x-scope"] = scope.name.lower()
    if operation.body:
        content = {kind: {"schema": schema} for kind, schema in operation.body.items()}
        made["requestBody"] = {"required": operation.body_required, "content": content}
    return made


def _answer(status: int, operation: Operation) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": REASONS[status]}
    if status in operation.good:
        content = operation.good[status]
        return answer | ({"content": {kind: {"schema": schema} for kind, schema in content.items()}} if content else {})
    known = operation.shown.get(status)
    answer["content"] = {"application/json": {"schema": known}} if known else _ERROR
    return answer | ({"headers": _RETRY_AFTER} if status in (429, 503) else {})


def _path_parameters(path: str) -> list[dict[str, Any]]:
    names = [part.partition("}")[0] for part in path.split("{")[1:]]
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"} | _SHAPES.get(name, {})}
        for name in names
    ]


def _schemas() -> dict[str, Any]:
    """The settings of a stream are those of the configuration file."""
    settings = StreamConfig.model_json_schema(ref_template="#/components/schemas/{model}")
    settings.pop("$defs", None)
    change = {key: value for key, value in settings.items() if key != "required"} | {"title": "StreamChange"}
    return {**SCHEMAS, "StreamConfig": settings, "StreamChange": change}
