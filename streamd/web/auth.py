"""Who may ask for what.

Each route needs a scope (see ``routes``). A request has the scope of,
the first that is there:

1. its bearer token (``Authorization: Bearer``): a wrong one is refused even if nobody needs one here;
2. its session cookie, which ``POST /api/v1/session`` gives for a token: <img>, <video> and
   EventSource cannot send headers. HttpOnly, SameSite=Strict, a random id that says nothing;
3. nobody: everything without tokens; without view tokens, whoever it is may look.

Browsers send cookies, and ask this machine, on behalf of any page. So without a bearer token:

- Methods that change something are for pages of our own origin, or no page at all (curl).
- WHEP, which players on other pages speak, may come from any origin where nobody needs a token. But
  on a loopback address without ``allow_anonymous`` the only lock is that strangers cannot reach us,
  and the visitor's browser can: there it is for pages of this machine only (http://localhost:3000).
- There, too, Host must be a name of this machine, else a page whose name was made to point to
  127.0.0.1 (DNS rebinding) would count as ours. A proxy that sends on another Host needs tokens, or
  ``allow_anonymous``.

An address that has shown too many wrong tokens is not listened to for a while (429), but for its
sessions. Behind a proxy all clients have one address: let the proxy brake them one by one.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from aiohttp import web
from aiohttp.typedefs import Handler

from streamd.config.secret import read_secret
from streamd.config.sections import MIN_TOKEN, ServerConfig
from streamd.errors import ConfigError, Problem
from streamd.web.errors import Refusal
from streamd.web.origin import is_foreign, is_of_this_machine
from streamd.web.routes import TABLE, Route
from streamd.web.tokens import Failures, Scope, Sessions, Tokens

OPEN = Scope.OPEN


class Caller(NamedTuple):
    """Who asks."""

    scope: Scope
    by: str
    """bearer, cookie or nobody."""


class Access:
    """Lives on the event loop, as long as the server."""

    def __init__(self, config: ServerConfig) -> None:
        """Raises ConfigError for a token that cannot be read."""
        self.tokens = Tokens(*(_read(config, key) for key in ("view_tokens", "control_tokens")))
        self.sessions = Sessions()
        self.failures = Failures()
        self._is_private = config.loopback and not config.allow_anonymous
        """Whether nothing but the address keeps strangers out, as long as no token is asked for."""

    def check(self, request: web.Request, route: Route) -> None:
        """Raises Refusal: 401, 403, 429."""
        needed = route.scope
        if needed > OPEN:
            caller = self.who(request)
            if caller.scope < needed:
                raise _too_little(caller)
            if caller.by == "bearer":
                return
            if self.tokens.anonymous >= needed and self._is_private:
                self._check_host(request)
        if route.changes and is_foreign(request.headers):
            self._check_origin(request, route)

    def who(self, request: web.Request) -> Caller:
        """Raises Refusal for a wrong bearer token."""
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        if kind.lower() == "bearer" and self.tokens.configured:
            return Caller(self.log_in(request, token.strip()), "bearer")
        scope = self.sessions.scope_of(request.cookies.get(cookie_name(request), ""))
        return Caller(self.tokens.anonymous, "nobody") if scope is None else Caller(scope, "cookie")

    def log_in(self, request: web.Request, token: str) -> Scope:
        """What this token may. Raises Refusal: 401, 429."""
        wait_s = self.failures.wait_s(request.remote)
        if wait_s > 0:
            headers = {"Retry-After": str(math.ceil(wait_s))}
            raise Refusal(429, "too_many_failures", "too many wrong tokens from this address: wait", headers)
        scope = self.tokens.scope_of(token)
        if scope is None:
            self.failures.note(request.remote)
            raise unauthorized("bad_token", "this token is not one of those configured", ' error="invalid_token"')
        return scope

    def _check_host(self, request: web.Request) -> None:
        host = request.headers.get("Host")  # not request.host, which may ask the DNS; without one it is no browser
        if host is not None and not is_of_this_machine(f"//{host}"):
            raise Refusal(
                403,
                "foreign_host",
                f"host {host[:80]} is not this machine: set server.view_tokens, or server.allow_anonymous = true",
            )

    def _check_origin(self, request: web.Request, route: Route) -> None:
        is_open = not self._is_private or is_of_this_machine(request.headers.get("Origin", ""))
        if route.cross_origin and self.tokens.anonymous >= route.scope and is_open:
            return
        raise Refusal(403, "foreign_origin", "a page of another origin asks: it has to show a bearer token")


ACCESS = web.AppKey("access", Access)


def _too_little(caller: Caller) -> Refusal:
    if caller.by == "nobody":
        return unauthorized("unauthorized", "show a token: Authorization: Bearer TOKEN, or log in on the page")
    return Refusal(403, "forbidden", "this token may look only: changing things needs a control token")


def unauthorized(code: str, message: str, detail: str = "") -> Refusal:
    return Refusal(401, code, message, {"WWW-Authenticate": f'Bearer realm="streamd"{"," if detail else ""}{detail}'})


def cookie_name(request: web.Request) -> str:
    """Browsers keep cookies by host name, whatever the port: two daemons on a box need two."""
    port = request.headers.get("Host", "").rpartition(":")[2]
    return f"streamd_{port}" if port.isascii() and port.isdecimal() else "streamd"


@web.middleware
async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Raises Refusal before a handler hears of a request that it is not to answer."""
    route = request.app[TABLE].find(request)
    if route is not None:  # else it is a 404 or 405
        request.app[ACCESS].check(request, route)
    return await handler(request)


def _read(config: ServerConfig, key: str) -> list[str]:
    """Those that are elsewhere are looked up; a digest stays one."""
    try:
        tokens = [read_secret(text, "token") for text in getattr(config, key)]
    except ValueError as error:
        raise ConfigError([Problem(f"server.{key}", "", str(error))]) from None
    if any(len(token) < MIN_TOKEN for token in tokens):
        reason = f"has a token that is too easy to guess: {MIN_TOKEN} characters at least"
        raise ConfigError([Problem(f"server.{key}", "", reason)])
    return tokens
