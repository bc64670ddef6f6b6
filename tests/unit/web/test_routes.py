from __future__ import annotations

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from streamd.web.app import ROUTES
from streamd.web.routes import Route, RouteTable, canonical
from streamd.web.tokens import Scope


async def answer(request: web.Request) -> web.Response:
    return web.Response()


def route(method: str = "GET", path: str = "/a/{name}", scope: Scope = Scope.VIEW) -> Route:
    return Route(method, path, answer, scope, "Something", {200: {}})  # type: ignore[arg-type]


async def resolved(table: RouteTable, method: str, path: str, *more: web.RouteDef) -> web.Request:
    app = web.Application()
    app.add_routes([*table.definitions(), *more])
    request = make_mocked_request(method, path, app=app)
    match = await app.router.resolve(request)
    request._match_info = match
    return request


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/", "/"),
        ("/whep/{name}/{session}", "/whep/{name}/{session}"),
        ("/recordings/{path:.+}", "/recordings/{path}"),
    ],
)
def test_canonical_as_aiohttp_names_it(path: str, name: str) -> None:
    assert canonical(path) == name
    resource = web.Application().router.add_resource(path)
    assert resource.canonical == name


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_request_finds_its_route(method: str) -> None:
    table = RouteTable([route(), route("PUT")])
    assert table.find(await resolved(table, method, "/a/b")) is table.routes[0]


@pytest.mark.parametrize(("method", "path"), [("GET", "/b"), ("DELETE", "/a/b")])
async def test_no_route_for_what_is_not_there_or_not_allowed(method: str, path: str) -> None:
    table = RouteTable([route()])
    assert table.find(await resolved(table, method, path)) is None


async def test_a_handler_beside_the_table_is_never_reached() -> None:
    table = RouteTable([route()])
    request = await resolved(table, "GET", "/unlisted", web.get("/unlisted", answer))
    with pytest.raises(KeyError):
        table.find(request)


def test_the_server_has_each_route_once() -> None:
    routes = [(each.method, canonical(each.path)) for each in ROUTES.routes]
    assert len(routes) == len(set(routes))
