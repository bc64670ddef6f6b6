"""Every route, for whoever asks, from whatever page, by whatever name, in each set-up: the whole matrix."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import cast

import pytest
from aiohttp import hdrs, web
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from streamd.config.sections import ServerConfig
from streamd.errors import ConfigError
from streamd.web import tokens
from streamd.web.app import ROUTES
from streamd.web.auth import Access, cookie_name
from streamd.web.errors import Refusal
from streamd.web.routes import Route
from streamd.web.tokens import Scope

VIEW, CONTROL = "look-at-it", "change-it-all"
SETUPS = {
    "none": ServerConfig(),
    "view": ServerConfig(view_tokens=(VIEW,)),
    "control": ServerConfig(control_tokens=(CONTROL,)),
    "both": ServerConfig(view_tokens=(VIEW,), control_tokens=(CONTROL,)),
    "anonymous": ServerConfig(allow_anonymous=True),
    "anonymous-lan": ServerConfig(listen="0.0.0.0:8080", allow_anonymous=True),
    "anonymous-control": ServerConfig(listen="0.0.0.0:8080", allow_anonymous=True, control_tokens=(CONTROL,)),
    "control-lan": ServerConfig(listen="0.0.0.0:8080", control_tokens=(CONTROL,)),
    "view-lan": ServerConfig(listen="0.0.0.0:8080", view_tokens=(VIEW,)),
}
SHOWN = ("nothing", "wrong-token", "view-token", "control-token", "old-cookie", "view-cookie", "control-cookie")
PAGES: dict[str, dict[str, str]] = {
    "no-page": {},
    "own-page": {"Sec-Fetch-Site": "same-origin", "Origin": "http://localhost:8080"},
    "address-bar": {"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"},
    "link": {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"},
    "foreign-image": {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"},
    "foreign-frame": {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"},
    "foreign-prerender": {
        "Sec-Fetch-Site": "cross-site",
        "Sec-Fetch-Mode": "navigate",
        "Sec-Fetch-Dest": "document",
        "Sec-Purpose": "prefetch;prerender",
    },
    "foreign-script": {"Origin": "https://evil.example"},
    "neighbour-image": {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"},
    "neighbour-script": {"Origin": "http://localhost:3000", "Sec-Fetch-Site": "same-site"},
}
WAYS = {
    "here": {"Host": "localhost:8080"},
    "elsewhere": {"Host": "depth.example:8080"},
    "proxy": {"Host": "127.0.0.1:8080", "X-Forwarded-For": "203.0.113.9"},
}
NEEDS: dict[str, str] = {
    "GET /": "open",
    "GET /static/{file}": "open",
    "GET /embed/{name}": "open",
    "GET /photo": "open",
    "GET /healthz": "open",
    "GET /readyz": "open",
    "GET /api/v1/session": "open",
    "POST /api/v1/session": "log",
    "DELETE /api/v1/session": "log",
    "OPTIONS /whep/{name}": "open",
    "OPTIONS /whep/{name}/{session}": "open",
    "GET /metrics": "read",
    "GET /openapi.json": "read",
    "GET /api/v1/devices": "read",
    "GET /api/v1/events": "read",
    "GET /api/v1/recordings": "read",
    "GET /api/v1/recordings/timeline": "read",
    "GET /api/v1/recordings/clip": "read",
    "GET /recordings/{path:.+}": "read",
    "GET /api/v1/models": "read",
    "GET /api/v1/streams": "read",
    "GET /api/v1/streams/{name}": "read",
    "GET /api/v1/streams/{name}/snapshot": "read",
    "GET /api/v1/streams/{name}/value": "read",
    "GET /api/v1/streams/{name}/calibration": "read",
    "GET /api/v1/streams/{name}/mjpeg": "read",
    "GET /api/v1/streams/{name}/live": "read",
    "GET /whep/{name}": "whep",
    "GET /whep/{name}/{session}": "whep",
    "POST /api/v1/depth": "send",
    "POST /whep/{name}": "watch",
    "PATCH /whep/{name}/{session}": "watch",
    "DELETE /whep/{name}/{session}": "watch",
    "PUT /api/v1/model": "change",
    "POST /api/v1/models/{model}/fetch": "change",
    "PUT /api/v1/streams/{name}": "change",
    "PATCH /api/v1/streams/{name}": "change",
    "DELETE /api/v1/streams/{name}": "change",
    "PUT /api/v1/streams/{name}/calibration": "change",
    "DELETE /api/v1/streams/{name}/calibration": "change",
    "POST /api/v1/streams/{name}/trial": "change",
    "PUT /api/v1/streams/{name}/recording": "change",
    "DELETE /api/v1/streams/{name}/recording": "change",
    "DELETE /api/v1/recordings": "change",
    "DELETE /recordings/{path:.+}": "change",
}
"""What asking for it is: reading with GET, sending a picture, watching by WHEP (its GET and the rest), changing."""
COLUMNS = ("read", "whep", "send", "watch", "change")
WRONG = "bad_token bad_token bad_token bad_token bad_token"
VIEWER = "ok ok ok ok forbidden"
ALL = "ok ok ok ok ok"
MATRIX = [
    # set-up, what is shown, page, way: the first row that fits counts
    ("none", "*", "*", "elsewhere", "foreign_host foreign_host foreign_host foreign_host foreign_host"),
    ("none", "*", "*", "proxy", "forwarded forwarded forwarded forwarded forwarded"),
    ("none", "*", "neighbour-script", "*", "foreign_origin ok foreign_origin ok foreign_origin"),
    ("none", "*", "link", "*", "ok ok foreign_origin foreign_origin foreign_origin"),
    ("none", "*", "foreign-*", "*", "foreign_origin foreign_origin foreign_origin foreign_origin foreign_origin"),
    ("none", "*", "neighbour-*", "*", "foreign_origin foreign_origin foreign_origin foreign_origin foreign_origin"),
    ("none", "*", "*", "*", ALL),
    #
    ("view*", "wrong-token", "*", "*", WRONG),
    ("view*", "control-token", "*", "*", WRONG),
    ("view*", "view-token", "*", "*", VIEWER),
    ("view*", "view-cookie", "link", "*", "ok ok foreign_origin foreign_origin forbidden"),
    ("view*", "view-cookie", "foreign-*", "*", "foreign_origin foreign_origin foreign_origin foreign_origin forbidden"),
    (
        "view*",
        "view-cookie",
        "neighbour-*",
        "*",
        "foreign_origin foreign_origin foreign_origin foreign_origin forbidden",
    ),
    ("view*", "view-cookie", "*", "*", VIEWER),
    ("view*", "*", "*", "*", "unauthorized unauthorized unauthorized unauthorized forbidden"),
    #
    ("both", "wrong-token", "*", "*", WRONG),
    ("both", "view-token", "*", "*", VIEWER),
    ("both", "control-token", "*", "*", ALL),
    ("both", "view-cookie", "link", "*", "ok ok foreign_origin foreign_origin forbidden"),
    ("both", "view-cookie", "foreign-*", "*", "foreign_origin foreign_origin foreign_origin foreign_origin forbidden"),
    (
        "both",
        "view-cookie",
        "neighbour-*",
        "*",
        "foreign_origin foreign_origin foreign_origin foreign_origin forbidden",
    ),
    ("both", "view-cookie", "*", "*", VIEWER),
    ("both", "control-cookie", "link", "*", "ok ok foreign_origin foreign_origin foreign_origin"),
    ("both", "control-cookie", "foreign-*", "*", " ".join(["foreign_origin"] * 5)),
    ("both", "control-cookie", "neighbour-*", "*", " ".join(["foreign_origin"] * 5)),
    ("both", "control-cookie", "*", "*", ALL),
    ("both", "*", "*", "*", "unauthorized unauthorized unauthorized unauthorized unauthorized"),
    #
    ("control", "wrong-token", "*", "*", WRONG),
    ("control", "view-token", "*", "*", WRONG),
    ("control", "control-token", "*", "*", ALL),
    ("control", "control-cookie", "link", "*", "ok ok foreign_origin foreign_origin foreign_origin"),
    ("control", "control-cookie", "neighbour-script", "here", "foreign_origin ok foreign_origin ok foreign_origin"),
    ("control", "control-cookie", "foreign-*", "*", " ".join(["foreign_origin"] * 5)),
    ("control", "control-cookie", "neighbour-*", "*", " ".join(["foreign_origin"] * 5)),
    ("control", "control-cookie", "*", "*", ALL),
    ("control", "*", "*", "elsewhere", "foreign_host foreign_host foreign_host foreign_host unauthorized"),
    ("control", "*", "*", "proxy", "forwarded forwarded forwarded forwarded unauthorized"),
    ("control", "*", "neighbour-script", "*", "foreign_origin ok foreign_origin ok unauthorized"),
    ("control", "*", "link", "*", "ok ok foreign_origin foreign_origin unauthorized"),
    ("control", "*", "foreign-*", "*", "foreign_origin foreign_origin foreign_origin foreign_origin unauthorized"),
    ("control", "*", "neighbour-*", "*", "foreign_origin foreign_origin foreign_origin foreign_origin unauthorized"),
    ("control", "*", "*", "*", "ok ok ok ok unauthorized"),
    #
    ("control-lan", "wrong-token", "*", "*", WRONG),
    ("control-lan", "view-token", "*", "*", WRONG),
    ("control-lan", "control-token", "*", "*", ALL),
    ("control-lan", "control-cookie", "link", "*", "ok ok foreign_origin foreign_origin foreign_origin"),
    ("control-lan", "control-cookie", "foreign-*", "*", " ".join(["foreign_origin"] * 5)),
    ("control-lan", "control-cookie", "neighbour-*", "*", " ".join(["foreign_origin"] * 5)),
    ("control-lan", "control-cookie", "*", "*", ALL),
    ("control-lan", "*", "*", "*", "unauthorized unauthorized unauthorized unauthorized unauthorized"),
    #
    ("anonymous-control", "wrong-token", "*", "*", WRONG),
    ("anonymous-control", "view-token", "*", "*", WRONG),
    ("anonymous-control", "control-token", "*", "*", ALL),
    ("anonymous-control", "control-cookie", "foreign-*", "*", "ok ok foreign_origin ok foreign_origin"),
    ("anonymous-control", "control-cookie", "neighbour-*", "*", "ok ok foreign_origin ok foreign_origin"),
    ("anonymous-control", "control-cookie", "link", "*", "ok ok foreign_origin ok foreign_origin"),
    ("anonymous-control", "control-cookie", "*", "*", ALL),
    ("anonymous-control", "*", "foreign-*", "*", "ok ok foreign_origin ok unauthorized"),
    ("anonymous-control", "*", "neighbour-*", "*", "ok ok foreign_origin ok unauthorized"),
    ("anonymous-control", "*", "link", "*", "ok ok foreign_origin ok unauthorized"),
    ("anonymous-control", "*", "*", "*", "ok ok ok ok unauthorized"),
    #
    ("anonymous*", "*", "foreign-*", "*", "ok ok foreign_origin ok forbidden"),
    ("anonymous*", "*", "neighbour-*", "*", "ok ok foreign_origin ok forbidden"),
    ("anonymous*", "*", "link", "*", "ok ok foreign_origin ok forbidden"),
    ("anonymous*", "*", "*", "*", VIEWER),
]
FOREIGN_PAGES = {page for page in PAGES if page.startswith(("foreign", "neighbour", "link"))}
"""What logging in and out is not for."""


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "FAILURES", 10**9)


def expected(setup: str, shown: str, page: str, way: str) -> dict[str, str]:
    given = (setup, shown, page, way)
    row = next(row for row in MATRIX if all(fnmatch(*pair) for pair in zip(given, row[:4], strict=True)))
    return {
        "open": "ok",
        "log": "foreign_origin" if page in FOREIGN_PAGES else "ok",
        **dict(zip(COLUMNS, row[4].split(), strict=True)),
    }


@dataclass(frozen=True)
class Request:
    """What the access check reads; 50,000 of aiohttp's own would take minutes to make."""

    headers: CIMultiDict[str]
    cookies: dict[str, str]
    remote = "192.0.2.1"


def asked(access: Access, shown: str, **headers: str) -> web.Request:
    request = Request(CIMultiDict(headers), {})
    what, _, kind = shown.partition("-")
    if kind == "token":
        request.headers["Authorization"] = f"Bearer {({'view': VIEW, 'control': CONTROL}).get(what, 'guess')}"
    if kind == "cookie":
        scope = {"view": Scope.VIEW, "control": Scope.CONTROL}.get(what)
        request.cookies["streamd_8080"] = access.sessions.open(scope) if scope else "an-old-one"
    return cast(web.Request, request)


def outcome(access: Access, route: Route, request: web.Request) -> str:
    try:
        access.check(request, route)
    except Refusal as refusal:
        status = {"unauthorized": 401, "bad_token": 401}.get(refusal.code, 403)
        return refusal.code if refusal.status == status else f"{refusal.code} {refusal.status}"
    return "ok"


def possible(setup: str) -> Iterator[tuple[str, str, str]]:
    """Cookies are those that a daemon of this set-up gives."""
    config = SETUPS[setup]
    given = {"view-cookie": config.view_tokens, "control-cookie": config.control_tokens}
    shown = [each for each in SHOWN if given.get(each, True)]
    return itertools.product(shown, PAGES, WAYS)


def test_the_matrix_names_every_route() -> None:
    assert set(NEEDS) == {f"{route.method} {route.path}" for route in ROUTES.routes}


@pytest.mark.parametrize("setup", SETUPS)
def test_the_matrix(setup: str) -> None:
    access = Access(SETUPS[setup])
    for shown, page, way in possible(setup):
        wanted, request = expected(setup, shown, page, way), asked(access, shown, **PAGES[page], **WAYS[way])
        for route in ROUTES.routes:
            found = outcome(access, route, request)
            assert found == wanted[NEEDS[f"{route.method} {route.path}"]], (route.method, route.path, shown, page, way)


@pytest.mark.parametrize("setup", ["view", "view-lan", "anonymous", "anonymous-lan"])
def test_without_control_tokens_the_refusal_names_them(setup: str) -> None:
    access = Access(SETUPS[setup])
    [route] = [each for each in ROUTES.routes if (each.method, each.path) == ("DELETE", "/api/v1/streams/{name}")]
    with pytest.raises(Refusal, match=r"set server\.control_tokens"):
        access.check(asked(access, "nothing", **WAYS["here"]), route)


def test_a_token_that_means_nothing_gives_nothing() -> None:
    """A daemon that is open to others, though its configuration would not pass the check."""
    access = Access(ServerConfig.model_construct(listen="0.0.0.0:80"))
    assert access.without_token(asked(access, "nothing", **WAYS["here"])) == Scope.OPEN


@pytest.mark.parametrize(
    ("setup", "policy"),
    [
        ("none", "same-origin"),
        ("both", "same-origin"),
        ("control", "same-origin"),
        ("control-lan", "same-origin"),
        ("anonymous-lan", "cross-origin"),
    ],
)
def test_pages_of_other_origins_show_only_what_all_may_see(setup: str, policy: str) -> None:
    assert Access(SETUPS[setup]).resource_policy == policy


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("box:8080", "streamd_8080"),
        ("box", "streamd"),
        ("[::1]:80", "streamd_80"),
        ("[::1]", "streamd"),
        ("", "streamd"),
    ],
)
def test_cookies_differ_by_port(host: str, name: str) -> None:
    assert cookie_name(make_mocked_request("GET", "/", {hdrs.HOST: host})) == name


def test_no_token_stays_in_memory() -> None:
    access = Access(ServerConfig(view_tokens=(VIEW,)))
    assert VIEW not in repr(vars(access.tokens))


def test_a_token_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIEWERS", VIEW)
    assert Access(ServerConfig(view_tokens=("env:VIEWERS",))).tokens.scope(VIEW) == Scope.VIEW
    with pytest.raises(ConfigError, match=r"^server.view_tokens: the environment variable NOBODY"):
        Access(ServerConfig(view_tokens=("env:NOBODY",)))
