"""Who may ask for what.

Each route needs a scope (see ``routes``). A request has the scope of, the first that is there:

1. its bearer token (``Authorization: Bearer``): a wrong one is refused even if nobody needs one here;
2. its session cookie, which ``POST /api/v1/session`` gives for a token: <img>, <video> and
   EventSource cannot send headers. HttpOnly, SameSite=Strict, a random id;
3. neither. Then it may

   - control, on a loopback address without any tokens and without ``allow_anonymous``;
   - view, where there are no view tokens: on a loopback address, or with ``allow_anonymous``.

So control takes a control token everywhere but on a loopback address that has no tokens; where there
are none, nothing can be changed.

Where ``allow_anonymous`` is not set, a request without a token is one of this machine, or refused:

- its Host has to be a name of this machine, else a page whose name was made to point to 127.0.0.1
  (DNS rebinding) would count as ours;
- it must not have come through a proxy (``X-Forwarded-For`` and the like): the clients of a proxy are
  elsewhere.

Browsers send cookies, and ask this machine, on behalf of any page. So without a bearer token:

- What changes something is for pages of our own origin, or no page at all (curl).
- Where a cookie or this machine's own address is what gives access, looking too is for our own pages.
  Links on other pages may be followed, and ``/embed`` may be framed by them.
- WHEP, which players on other pages speak, may come from any origin with ``allow_anonymous``, and
  from pages of this machine (http://localhost:3000) on a loopback address.

An address that has shown too many wrong tokens is refused for a while (429), but for its sessions.
Behind a proxy all clients have one address: let the proxy limit each of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal, NamedTuple

from aiohttp import web
from aiohttp.typedefs import Handler

from streamd.config.secret import read_secret
from streamd.config.sections import MIN_TOKEN, ServerConfig
from streamd.errors import ConfigError, Problem
from streamd.web.errors import Refusal
from streamd.web.origin import is_foreign, is_forwarded, is_link, is_of_this_machine
from streamd.web.parameters import shortened
from streamd.web.routes import TABLE, Route
from streamd.web.tokens import Failures, Scope, Sessions, Tokens


class Identity(NamedTuple):
    """What a request has shown, and what it may do."""

    scope: Scope
    by: Literal["bearer", "cookie", "nobody"]


class Access:
    """Lives on the event loop, as long as the server."""

    def __init__(self, config: ServerConfig) -> None:
        """Raises ConfigError for a token that cannot be read."""
        self.tokens = Tokens(*(read_tokens(config, key) for key in ("view_tokens", "control_tokens")))
        self.sessions = Sessions()
        self.failures = Failures()
        self._without_token = _scope_without_token(config)
        self._is_private = config.loopback and not config.allow_anonymous
        """Whether that is for requests of this machine only."""
        self._has_control = bool(config.control_tokens) or self._without_token == Scope.CONTROL

    @property
    def resource_policy(self) -> str:
        """Cross-Origin-Resource-Policy: whether pages of other origins may show what is here."""
        is_public = self._without_token >= Scope.VIEW and not self._is_private
        return "cross-origin" if is_public else "same-origin"

    def check(self, request: web.Request, route: Route) -> None:
        """Raises Refusal: 401, 403, 429."""
        if route.scope == Scope.OPEN:
            if route.changes and is_foreign(request.headers):
                raise _foreign_origin()
            return
        identity = self.identify(request)
        if identity.scope < route.scope:
            raise self._too_little(request, route, identity)
        if identity.by != "bearer" and is_foreign(request.headers):
            self._check_foreign_page(request, route)

    def identify(self, request: web.Request) -> Identity:
        """Raises Refusal for a wrong bearer token: 401, 429."""
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        if kind.lower() == "bearer" and self.tokens.configured:
            return Identity(self.log_in(request, token.strip()), "bearer")
        anonymous = self.without_token(request)
        scope = self.sessions.scope(request.cookies.get(cookie_name(request), ""))
        return Identity(anonymous, "nobody") if scope is None else Identity(max(scope, anonymous), "cookie")

    def without_token(self, request: web.Request) -> Scope:
        """What it may do if it shows nothing."""
        return Scope.OPEN if self._is_private and _stranger(request.headers) else self._without_token

    def log_in(self, request: web.Request, token: str) -> Scope:
        """What this token may. Raises Refusal: 401, 429."""
        wait_s = self.failures.wait_s(request.remote)
        if wait_s > 0:
            headers = {"Retry-After": str(math.ceil(wait_s))}
            raise Refusal(429, "too_many_failures", "too many wrong tokens from this address: wait", headers)
        scope = self.tokens.scope(token)
        if scope is None:
            self.failures.note(request.remote)
            raise unauthorized("bad_token", "this token is not one of those configured", ' error="invalid_token"')
        return scope

    def _too_little(self, request: web.Request, route: Route, identity: Identity) -> Refusal:
        stranger = _stranger(request.headers)
        if self._is_private and stranger and self._without_token >= route.scope:
            return stranger
        if route.scope == Scope.CONTROL and not self._has_control:
            return Refusal(403, "forbidden", "nobody may change anything here: set server.control_tokens")
        if identity.by == "nobody":
            return unauthorized("unauthorized", "show a token: Authorization: Bearer TOKEN, or log in on the page")
        return Refusal(403, "forbidden", "this token may only view: changing things needs a control token")

    def _check_foreign_page(self, request: web.Request, route: Route) -> None:
        """Of a request with a cookie or nothing. Raises Refusal for what such a page may not ask."""
        needs_nothing = self.without_token(request) >= route.scope
        is_public = needs_nothing and not self._is_private
        if not route.changes and (is_public or is_link(request.headers)):
            return
        of_this_machine = is_of_this_machine(request.headers.get("Origin", ""))
        if route.cross_origin and needs_nothing and (is_public or of_this_machine):
            return
        raise _foreign_origin()


ACCESS = web.AppKey("access", Access)


def _scope_without_token(config: ServerConfig) -> Scope:
    """Control only where strangers cannot reach us and no token is configured."""
    if config.view_tokens:
        return Scope.OPEN
    if config.allow_anonymous:
        return Scope.VIEW
    if config.loopback:
        return Scope.VIEW if config.control_tokens else Scope.CONTROL
    return Scope.OPEN


def _stranger(headers: Mapping[str, str]) -> Refusal | None:
    """Why a request that reached a loopback address is not one of this machine; None when it is."""
    remedy = "set server.view_tokens and server.control_tokens, or server.allow_anonymous = true for looking only"
    host = headers.get("Host")  # not request.host, which may ask the DNS; without one it is no browser
    if host is not None and not is_of_this_machine(f"//{host}"):
        return Refusal(403, "foreign_host", f"host {shortened(host)} is not this machine: {remedy}")
    if is_forwarded(headers):
        return Refusal(403, "forwarded", f"a proxy passed this on for somebody elsewhere: {remedy}")
    return None


def _foreign_origin() -> Refusal:
    return Refusal(403, "foreign_origin", "requests by pages of another origin need a bearer token")


def unauthorized(code: str, message: str, detail: str = "") -> Refusal:
    return Refusal(401, code, message, {"WWW-Authenticate": f'Bearer realm="streamd"{"," if detail else ""}{detail}'})


def cookie_name(request: web.Request) -> str:
    """Browsers keep cookies by host name without the port: two daemons on a box need two names."""
    port = request.headers.get("Host", "").rpartition(":")[2]
    return f"streamd_{port}" if port.isascii() and port.isdecimal() else "streamd"


@web.middleware
async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Raises Refusal before a handler sees a request that it is not to answer."""
    route = request.app[TABLE].find(request)
    if route is not None:  # else it is a 404 or 405
        request.app[ACCESS].check(request, route)
    return await handler(request)


def read_tokens(config: ServerConfig, key: str) -> list[str]:
    """Those that are elsewhere are looked up; a digest stays one. Raises ConfigError."""
    try:
        tokens = [read_secret(text, "token") for text in getattr(config, key)]
    except ValueError as error:
        raise ConfigError([Problem(f"server.{key}", "", str(error))]) from None
    if any(len(token) < MIN_TOKEN for token in tokens):
        reason = f"has a token that is too easy to guess: {MIN_TOKEN} characters at least"
        raise ConfigError([Problem(f"server.{key}", "", reason)])
    return tokens
