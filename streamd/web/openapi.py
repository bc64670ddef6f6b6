"""GET /openapi.json: what the server can be asked, and what it may answer (OpenAPI 3.1).

Made from the table of routes. What all have in common is added here: HEAD, and the answers of the access
check, which follow from a route's scope.
"""

from __future__ import annotations

import json
from functools import cached_property
from typing import Any

from aiohttp import web

from streamd import __version__
from streamd.config.sections import STREAM_NAME
from streamd.web.routes import Route, RouteTable, canonical
from streamd.web.schemas import Content, components, json_content, reference
from streamd.web.tokens import Scope

REASONS = {
    200: "Done",
    201: "Made",
    202: "Taken, and not in force yet",
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
_SHAPES = {"name": {"pattern": STREAM_NAME}}
"""Of what stands in a path."""
_RETRY_AFTER = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds"}}
_SECURITY_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "cookie": {"type": "apiKey", "in": "cookie", "name": "streamd_PORT", "description": "From POST /api/v1/session"},
}


class OpenApi:
    """The description of a table. Its text is made when it is asked for."""

    def __init__(self, table: RouteTable) -> None:
        self._table = table

    @cached_property
    def text(self) -> str:
        return json.dumps(self.document())

    def document(self) -> dict[str, Any]:
        return {
            "openapi": "3.1.0",
            "info": {
                "title": "streamd",
                "version": __version__,
                "description": "Cameras in, live depth video out. Views and formats: see the parameters. "
                "Without configured tokens nobody has to show one.",
            },
            "paths": self._paths(),
            "components": {"schemas": components(), "securitySchemes": _SECURITY_SCHEMES},
        }

    def _paths(self) -> dict[str, dict[str, Any]]:
        paths: dict[str, dict[str, Any]] = {}
        for route in self._table.routes:
            path = paths.setdefault(canonical(route.path), {})
            path[route.method.lower()] = _operation(route)
            if route.method == "GET":
                path["head"] = _headers_only(path["get"])
        return paths


OPENAPI = web.AppKey("openapi", OpenApi)


async def show(request: web.Request) -> web.Response:
    return web.Response(text=request.app[OPENAPI].text, content_type="application/json")


ROUTES = (Route("GET", "/openapi.json", show, Scope.VIEW, "This document", {200: json_content({"type": "object"})}),)


def _operation(route: Route) -> dict[str, Any]:
    is_open = route.scope == Scope.OPEN
    described: dict[str, Any] = {
        "summary": route.summary,
        "parameters": [*_path_parameters(canonical(route.path)), *(each.describe() for each in route.parameters)],
        "responses": {str(status): _answer(status, route) for status in sorted(_statuses(route))},
        "security": [] if is_open else [{}, {"bearer": []}, {"cookie": []}],
    }
    if not is_open:
        described["x-scope"] = route.scope.name.lower()
    if route.body:
        described["requestBody"] = {"required": route.body.required, "content": _content(route.body.content)}
    return described


def _headers_only(operation: dict[str, Any]) -> dict[str, Any]:
    """HEAD, from GET."""
    responses = {
        status: {key: value for key, value in answer.items() if key != "content"}
        for status, answer in operation["responses"].items()
    }
    return operation | {"summary": f"{operation['summary']}: the headers only", "responses": responses}


def _statuses(route: Route) -> set[int]:
    statuses = {*route.answers, *route.errors, *(route.body.errors if route.body else ())}
    if route.scope > Scope.OPEN:
        return statuses | {401, 403, 429}
    return statuses | {403} if route.changes else statuses


def _answer(status: int, route: Route) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": REASONS[status]}
    if status in route.answers:
        content = route.answers[status]
        return answer | {"content": _content(content)} if content else answer
    answer["content"] = _content(json_content(route.error_schemas.get(status, reference("Error"))))
    return answer | {"headers": _RETRY_AFTER} if status in (429, 503) else answer


def _content(content: Content) -> dict[str, Any]:
    return {kind: {"schema": schema} for kind, schema in content.items()}


def _path_parameters(path: str) -> list[dict[str, Any]]:
    names = [part.partition("}")[0] for part in path.split("{")[1:]]
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"} | _SHAPES.get(name, {})}
        for name in names
    ]
