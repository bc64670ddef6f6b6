"""A route is described once, here: the router, the access check and OpenAPI are all made from it.

Each module of handlers has its table, ``ROUTES``; ``app`` puts them together.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from aiohttp import web

from streamd.web.parameters import Parameter
from streamd.web.schemas import Content, Schema
from streamd.web.tokens import Scope

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


@dataclass(frozen=True)
class Body:
    """What a request carries."""

    content: Content
    errors: tuple[int, ...]
    """How it is refused."""
    required: bool = True


@dataclass(frozen=True)
class Route:
    """One method of one address. GET answers HEAD too."""

    method: Method
    path: str
    """As aiohttp takes it: ``/recordings/{path:.+}``."""
    handler: Handler
    scope: Scope
    """What a request must be allowed to do."""
    summary: str
    answers: Mapping[int, Content]
    errors: tuple[int, ...] = ()
    """Besides those of the body and of the scope."""
    parameters: tuple[Parameter, ...] = ()
    body: Body | None = None
    error_schemas: Mapping[int, Schema] = field(default_factory=dict)
    """Errors that have more than an Error."""
    cross_origin: bool = False
    """Whether pages of other origins may ask without a token, where none is needed (see ``auth``)."""

    @property
    def changes(self) -> bool:
        return self.method not in SAFE_METHODS

    def definition(self) -> web.RouteDef:
        return web.route(self.method, self.path, self.handler)


class RouteTable:
    """All routes of a server."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self.routes = tuple(routes)
        self._by_request = {(route.method, canonical(route.path)): route for route in self.routes}
        """Methods are text here: a request may have any."""

    def definitions(self) -> list[web.RouteDef]:
        return [route.definition() for route in self.routes]

    def find(self, request: web.Request) -> Route | None:
        """None when no route answers this: a 404 or 405."""
        resource = request.match_info.route.resource
        if resource is None or request.match_info.http_exception is not None:
            return None
        method: Any = "GET" if request.method == "HEAD" else request.method
        return self._by_request[method, resource.canonical]


TABLE = web.AppKey("table", RouteTable)


def canonical(path: str) -> str:
    """``/recordings/{path:.+}`` to ``/recordings/{path}``, as aiohttp and OpenAPI name it."""
    parts = [part.partition("}") for part in path.split("{")]
    return parts[0][0] + "".join(f"{{{name.partition(':')[0]}}}{rest}" for name, _, rest in parts[1:])
