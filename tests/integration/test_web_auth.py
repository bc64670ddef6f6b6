"""The access check of a running server: every route, the cookie, pages of other origins, wrong guesses.

The whole matrix is tests/unit/web/test_auth.py."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from streamd.web import tokens
from streamd.web.app import ROUTES
from streamd.web.auth import ACCESS
from streamd.web.mjpeg import FEEDS
from streamd.web.openapi import OpenApi
from streamd.web.routes import canonical
from streamd.web.tokens import Scope
from tests.integration.web_site import CONTROL_TOKEN, VIEW_TOKEN, Reply, Site, served

pytestmark = pytest.mark.timeout(30)

BEARERS = {
    "none": "",
    "bad": "Bearer not-a-token",
    "view": f"Bearer {VIEW_TOKEN}",
    "control": f"Bearer {CONTROL_TOKEN}",
}
EVIL: dict[str, Any] = {"Origin": "https://evil.example", "Sec_Fetch_Site": "cross-site"}
REFUSED = (401, 403, 429)


def routes_of(app: web.Application) -> set[tuple[str, str]]:
    return {(route.method, route.resource.canonical) for route in app.router.routes() if route.resource is not None}


@pytest.fixture
async def site(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    monkeypatch.setattr(tokens, "FAILURES", 1000)
    async with served(view_tokens=[VIEW_TOKEN], control_tokens=[CONTROL_TOKEN]) as site:
        yield site


async def test_the_description_has_every_route_and_no_other(site: Site) -> None:
    paths = OpenApi(ROUTES).document()["paths"]
    described = {(method.upper(), path) for path, operations in paths.items() for method in operations}
    assert described == routes_of(site.app)


async def answer_of(site: Site, method: str, path: str, bearer: str) -> Reply:
    """Of an answer that goes on, its beginning."""
    headers = {"Authorization": bearer} if bearer else {}
    async with site.http.request(method, site.url + path, headers=headers) as response:
        endless = response.content_type in ("text/event-stream", "multipart/x-mixed-replace", "video/mp4")
        return Reply(response.status, response.headers, b"" if endless else await response.read())


async def test_every_route_is_behind_the_check(site: Site) -> None:
    """What is asked for does not exist, so that whoever passes learns that, and nothing is done."""
    scopes: dict[tuple[str, str], Scope] = {
        (route.method, canonical(route.path)): route.scope for route in ROUTES.routes
    }
    for method, route in sorted(routes_of(site.app)):
        path = route.replace("{name}", "nobody").replace("{session}", "none").replace("{path}", "nothing")
        path = path.replace("{model}", "none")
        if route == "/api/v1/session":
            continue
        scope = scopes["GET" if method == "HEAD" else method, route]
        answers = {who: (await answer_of(site, method, path, bearer)).status for who, bearer in BEARERS.items()}
        passed = {who for who, status in answers.items() if status not in REFUSED}
        allowed = {Scope.OPEN: set(BEARERS), Scope.VIEW: {"view", "control"}, Scope.CONTROL: {"control"}}[scope]
        assert passed == allowed, (method, route, answers)


async def test_a_refusal_names_the_remedy(site: Site) -> None:
    none, bad = await site.get("/api/v1/streams"), await site.get("/api/v1/streams", Authorization="Bearer wrong")
    assert (none.error, none.headers["WWW-Authenticate"]) == ((401, "unauthorized"), 'Bearer realm="streamd"')
    assert bad.error == (401, "bad_token")
    assert bad.headers["WWW-Authenticate"] == 'Bearer realm="streamd", error="invalid_token"'
    view = await site.ask("DELETE", "/api/v1/streams/porch", Authorization=BEARERS["view"])
    assert view.error == (403, "forbidden")
    assert "default-src 'none'" in none.headers["Content-Security-Policy"]


async def test_players_on_other_pages_can_read_a_refusal(site: Site) -> None:
    for method, path, error in (
        ("POST", "/whep/porch", (401, "unauthorized")),
        ("PUT", "/whep/porch", (405, "method_not_allowed")),
        ("POST", "/whep/porch/a/b", (404, "not_found")),
    ):
        reply = await site.ask(method, path, b"v=0", **EVIL)
        assert reply.error == error
        assert reply.headers["Access-Control-Allow-Origin"] == "*"
    assert "Access-Control-Allow-Origin" not in (await site.ask("GET", "/api/v1/streams", **EVIL)).headers
    headers = {"Content_Type": "application/sdp", "Authorization": BEARERS["view"], **EVIL}
    assert (await site.ask("POST", "/whep/porch", b"v=0", **headers)).error == (400, "bad_offer")


async def test_what_is_not_there_or_not_allowed_reveals_nothing_else(site: Site) -> None:
    assert (await site.get("/nothing")).error == (404, "not_found")
    assert (await site.ask("DELETE", "/healthz")).error == (405, "method_not_allowed")


@pytest.mark.parametrize(
    ("server", "none", "view"),
    [
        ({}, (True, True), (True, True)),
        ({"view_tokens": [VIEW_TOKEN]}, (False, False), (True, False)),
        ({"allow_anonymous": True}, (True, False), (True, False)),
        ({"control_tokens": [CONTROL_TOKEN]}, (True, False), (False, False)),
        ({"view_tokens": [VIEW_TOKEN], "control_tokens": [CONTROL_TOKEN]}, (False, False), (True, False)),
    ],
    ids=["no tokens", "view tokens", "allow anonymous", "control tokens", "both"],
)
async def test_what_is_configured_decides(
    server: dict[str, Any], none: tuple[bool, bool], view: tuple[bool, bool]
) -> None:
    """(may view, may control) without a token and with the view token, which may not be known."""
    async with served(**server) as site:
        for bearer, expected in (("", none), (BEARERS["view"], view)):
            viewed = await answer_of(site, "GET", "/api/v1/streams", bearer)
            control = await answer_of(site, "DELETE", "/api/v1/streams/nobody", bearer)
            assert (viewed.status == 200, control.status == 404) == expected
        if "control_tokens" in server:
            assert (await answer_of(site, "DELETE", "/api/v1/streams/nobody", BEARERS["control"])).status == 404


class TestSession:
    async def log_in(self, site: Site, token: str, **headers: str) -> Reply:
        body = json.dumps({"token": token}).encode()
        return await site.ask("POST", "/api/v1/session", body, Content_Type="application/json", **headers)

    async def test_a_token_for_a_cookie(self, site: Site) -> None:
        assert (await site.get("/api/v1/session")).json == {"access": None, "by": "nobody", "tokens": True}
        reply = await self.log_in(site, VIEW_TOKEN)
        assert (reply.status, reply.json["access"]) == (200, "view")
        cookie = reply.headers["Set-Cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        assert "Secure" not in cookie, "there is no TLS here"
        assert VIEW_TOKEN not in cookie
        assert (await site.get("/api/v1/streams")).status == 200
        assert (await site.ask("DELETE", "/api/v1/streams/nobody")).error == (403, "forbidden")
        assert (await site.get("/api/v1/session")).json == {"access": "view", "by": "cookie", "tokens": True}

    async def test_logging_out(self, site: Site) -> None:
        await self.log_in(site, CONTROL_TOKEN)
        [cookie] = [f"{cookie.key}={cookie.value}" for cookie in site.http.cookie_jar]
        assert (await site.ask("DELETE", "/api/v1/session")).status == 200
        assert list(site.http.cookie_jar) == []
        assert (await site.get("/api/v1/streams", Cookie=cookie)).status == 401, "nor is it known here any more"
        assert len(site.app[ACCESS].sessions) == 0

    async def test_behind_a_proxy_with_tls_the_cookie_is_secure(self, site: Site) -> None:
        assert "Secure" in (await self.log_in(site, VIEW_TOKEN, X_Forwarded_Proto="https")).headers["Set-Cookie"]

    @pytest.mark.parametrize(
        ("body", "error"),
        [
            (b'{"token": "wrong-one"}', (401, "bad_token")),
            (b'{"token": 7}', (422, "bad_value")),
            (b"{}", (422, "bad_value")),
            (b"[]", (422, "bad_value")),
            (b"{", (400, "bad_request")),
            (b"[" * 4000, (400, "bad_request")),
            (b" " * 5000, (413, "too_large")),
        ],
    )
    async def test_what_is_no_token(self, site: Site, body: bytes, error: tuple[int, str]) -> None:
        reply = await site.ask("POST", "/api/v1/session", body, Content_Type="application/json")
        assert reply.error == error

    async def test_without_tokens_there_is_nothing_to_log_in_to(self) -> None:
        async with served() as site:
            reply = await self.log_in(site, "whatever")
            assert reply.json == {"access": "control", "by": "nobody", "tokens": False}
            assert "Set-Cookie" not in reply.headers

    @pytest.mark.parametrize(
        ("headers", "status"),
        [
            ({}, 404),
            ({"Sec_Fetch_Site": "same-origin", "Origin": "https://behind.a.proxy"}, 404),
            ({"Sec_Fetch_Site": "none"}, 404),
            ({"Sec_Fetch_Site": "same-site"}, 403),
            ({"Sec_Fetch_Site": "cross-site"}, 403),
            ({"Origin": "http://evil.example"}, 403),
            ({"Origin": "null"}, 403),
            ({"Origin": "http://127.0.0.1:1"}, 403),
            ({"Origin": "http://[::1"}, 403),
        ],
    )
    async def test_a_cookie_is_for_our_own_pages(self, site: Site, headers: dict[str, str], status: int) -> None:
        await self.log_in(site, CONTROL_TOKEN)
        assert (await site.ask("DELETE", "/api/v1/streams/nobody", **headers)).status == status
        assert (await site.ask("DELETE", "/api/v1/streams/nobody", Origin=site.url)).status == 404
        bearer = {"Authorization": BEARERS["control"]}
        assert (await site.ask("DELETE", "/api/v1/streams/nobody", **headers, **bearer)).status == 404

    async def test_nobody_is_logged_in_by_another_page(self, site: Site) -> None:
        assert (await self.log_in(site, VIEW_TOKEN, **EVIL)).error == (403, "foreign_origin")


class TestNobodyNeedsAToken:
    """On the loopback address, where any page that the visitor opens can reach us."""

    @pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
    async def test_other_pages_change_nothing(self, method: str) -> None:
        async with served() as site:
            body = b'{"source": "demo:"}'
            for path in ("/api/v1/streams/porch", "/api/v1/streams/porch/recording"):
                reply = await site.ask(method, path, body, **EVIL)
                assert reply.error in ((403, "foreign_origin"), (405, "method_not_allowed"))
            assert list(site.fleet) == ["porch"]
            assert site.stream().config.source == "rtsp://h/live"
            assert (await site.ask("POST", "/api/v1/depth", b"x", **EVIL)).error == (403, "foreign_origin")

    @pytest.mark.parametrize("path", ["/mjpeg", "/snapshot", ""])
    @pytest.mark.parametrize("site_of_page", ["cross-site", "same-site"])
    async def test_other_pages_show_nothing_and_wake_nothing(self, path: str, site_of_page: str) -> None:
        async with served(streams={"porch": {"mode": "on_demand"}}) as site:
            image = {"Sec_Fetch_Site": site_of_page, "Sec_Fetch_Mode": "no-cors", "Sec_Fetch_Dest": "image"}
            reply = await site.get(f"/api/v1/streams/porch{path}", **image)
            assert reply.error == (403, "foreign_origin")
            assert reply.headers["Cross-Origin-Resource-Policy"] == "same-origin"
            assert site.app[FEEDS].clients == 0
            assert site.cameras["porch"].opened == 0

    async def test_they_may_frame_the_embedded_page(self) -> None:
        async with served() as site:
            frame = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "iframe"}
            reply = await site.get("/embed/porch", **frame)
            assert reply.status == 200
            assert "frame-ancestors *" in reply.headers["Content-Security-Policy"]
            assert reply.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
            own = {"Sec_Fetch_Site": "same-origin", "Sec_Fetch_Mode": "no-cors"}
            assert (await site.get("/static/embed.js", **own)).status == 200
            assert (await site.get("/api/v1/streams", **own)).status == 200

    async def test_what_a_proxy_passes_on_is_not_of_this_machine(self) -> None:
        async with served() as site:
            reply = await site.get("/api/v1/streams", X_Forwarded_For="192.0.2.7")
            assert reply.error == (403, "forwarded")
            assert (await site.get("/api/v1/session", X_Forwarded_For="192.0.2.7")).json["access"] is None

    @pytest.mark.parametrize(
        ("host", "status"),
        [
            ("localhost:8080", 200),
            ("127.0.0.1", 200),
            ("127.1.2.3:80", 200),
            ("[::1]:8080", 200),
            ("depth.localhost", 200),
            ("evil.example", 403),
            ("evil.example:8080", 403),
            ("localhost.evil.example", 403),
            ("127.0.0.1.evil.example", 403),
            ("", 403),
        ],
    )
    async def test_a_name_that_leads_here_is_not_enough(self, host: str, status: int) -> None:
        async with served() as site:
            reply = await site.get("/api/v1/streams", Host=host)
            assert reply.status == status
            assert (await site.get("/healthz", Host=host)).status == 200

    @pytest.mark.parametrize("server", [{"allow_anonymous": True}, {"view_tokens": [VIEW_TOKEN]}])
    async def test_other_names_are_fine_where_that_is_wanted(self, server: dict[str, Any]) -> None:
        async with served(**server) as site:
            headers = {"Host": "depth.example", "Authorization": BEARERS["view"]}
            assert (await site.get("/api/v1/streams", **headers)).status == 200

    @pytest.mark.parametrize(
        ("server", "origin", "error"),
        [
            ({}, "http://localhost:3000", (400, "bad_offer")),
            ({}, "http://127.0.0.1:3000", (400, "bad_offer")),
            ({}, "https://evil.example", (403, "foreign_origin")),
            ({}, "null", (403, "foreign_origin")),
            ({"allow_anonymous": True}, "https://dashboard.example", (400, "bad_offer")),
            ({"control_tokens": [CONTROL_TOKEN]}, "https://evil.example", (403, "foreign_origin")),
        ],
    )
    async def test_players_on_other_pages(self, server: dict[str, Any], origin: str, error: tuple[int, str]) -> None:
        async with served(**server) as site:
            headers = {"Content_Type": "application/sdp", "Origin": origin, "Sec_Fetch_Site": "cross-site"}
            reply = await site.ask("POST", "/whep/porch", b"v=0", **headers)
            assert reply.error == error
            assert reply.headers["Access-Control-Allow-Origin"] == "*"
            ended = await site.ask("DELETE", "/whep/porch/none", **headers)
            assert ended.error == (error if error[0] == 403 else (404, "unknown_session"))

    async def test_a_token_that_means_nothing_opens_nothing(self) -> None:
        async with served() as site:
            reply = await site.ask("DELETE", "/api/v1/streams/porch", Authorization="Bearer x", **EVIL)
            assert reply.error == (403, "foreign_origin")


async def test_guessing_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "FAILURES", 3)
    async with served(view_tokens=[VIEW_TOKEN]) as site:
        await TestSession().log_in(site, VIEW_TOKEN)
        bad = [(await site.get("/api/v1/streams", Authorization="Bearer guess")).status for _ in range(4)]
        assert bad == [401, 401, 401, 429]
        right = await site.get("/api/v1/streams", Authorization=BEARERS["view"])
        assert right.error == (429, "too_many_failures"), "else one could go on guessing"
        assert 0 < int(right.headers["Retry-After"]) <= tokens.FAILURE_S
        assert (await TestSession().log_in(site, VIEW_TOKEN)).status == 429
        assert (await site.get("/api/v1/streams")).status == 200, "who is logged in stays so"
