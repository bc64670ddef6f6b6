"""Logging in and out: a token for a cookie, for what cannot send headers."""

from __future__ import annotations

from aiohttp import web

from streamd.web.auth import ACCESS, Identity, cookie_name
from streamd.web.errors import Refusal
from streamd.web.requests import BODY_ERRORS, json_object
from streamd.web.routes import Body, Route
from streamd.web.schemas import ACCESS as ACCESS_CONTENT
from streamd.web.schemas import TEXT, json_content, record
from streamd.web.tokens import Scope

PATH = "/api/v1/session"
MAX_BYTES = 4096


async def show(request: web.Request) -> web.Response:
    """What this client may do: null, view or control; and whether tokens are needed at all."""
    return _answer(request, request.app[ACCESS].identify(request))


async def log_in(request: web.Request) -> web.Response:
    token = (await json_object(request, "with a token", MAX_BYTES)).get("token")
    if not isinstance(token, str):
        raise Refusal(422, "bad_value", 'send {"token": "..."}')
    access = request.app[ACCESS]
    if not access.tokens.configured:
        return _answer(request, access.identify(request))
    scope = access.log_in(request, token)
    access.sessions.close(request.cookies.get(cookie_name(request), ""))
    response = _answer(request, Identity(scope, "cookie"))
    response.set_cookie(
        cookie_name(request),
        access.sessions.open(scope),
        httponly=True,
        samesite="Strict",
        secure=request.secure or request.headers.get("X-Forwarded-Proto") == "https",
    )
    return response


async def log_out(request: web.Request) -> web.Response:
    access, name = request.app[ACCESS], cookie_name(request)
    access.sessions.close(request.cookies.get(name, ""))
    response = _answer(request, Identity(access.without_token(request), "nobody"))
    response.del_cookie(name)
    return response


def _answer(request: web.Request, identity: Identity) -> web.Response:
    scope = None if identity.scope == Scope.OPEN else identity.scope.name.lower()
    answer = {"access": scope, "by": identity.by, "tokens": request.app[ACCESS].tokens.configured}
    return web.json_response(answer, headers={"Cache-Control": "no-store"})


ROUTES = (
    Route("GET", PATH, show, Scope.OPEN, "What you may do", {200: ACCESS_CONTENT}, errors=(401, 429)),
    Route(
        "POST",
        PATH,
        log_in,
        Scope.OPEN,
        "Log in: a cookie for a token",
        {200: ACCESS_CONTENT},
        errors=(401, 429),
        body=Body(json_content(record({"token": TEXT})), BODY_ERRORS),
    ),
    Route("DELETE", PATH, log_out, Scope.OPEN, "Log out", {200: ACCESS_CONTENT}),
)
