"""Tokens and a real daemon: who may do what, and that no token is told to anybody."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import StartDaemon
from tests.e2e.processes import Answer, Daemon, streamd

VIEW, CHANGE = "look-7c4e1b", "change-93d5fa"
NAME = "lavfi-smptebars"


@pytest.fixture(scope="module")
def site(module_daemon: StartDaemon, tmp_path_factory: pytest.TempPathFactory) -> Daemon:
    file = tmp_path_factory.mktemp("secrets") / "tokens"
    file.write_text(f"{CHANGE}\n")
    tokens = {
        "STREAMD_SERVER__VIEW_TOKENS": '["env:VIEWERS"]',
        "STREAMD_SERVER__CONTROL_TOKENS": json.dumps([f"file:{file}"]),
        "VIEWERS": VIEW,
    }
    return module_daemon("--debug", "lavfi:smptebars=size=320x180:rate=10", **tokens).until_ready()


def ask(site: Daemon, method: str, path: str, token: str = "", body: bytes | None = None, **headers: str) -> Answer:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return site.request(method, path, body, given | ({"Authorization": f"Bearer {token}"} if token else {}))


@pytest.mark.parametrize(
    "path", ["/", "/photo", "/static/app.js", "/healthz", "/readyz", "/api/v1/session", f"/embed/{NAME}"]
)
def test_open_to_all(site: Daemon, path: str) -> None:
    assert site.get(path).status == 200


@pytest.mark.parametrize(
    "path",
    [
        *("/metrics", "/openapi.json", "/api/v1/streams", "/api/v1/recordings", "/api/v1/devices"),
        *(f"/api/v1/streams/{NAME}", f"/api/v1/streams/{NAME}/snapshot", f"/whep/{NAME}"),
    ],
)
def test_with_a_token(site: Daemon, path: str) -> None:
    assert ask(site, "GET", path).status == 401
    for token in (VIEW, CHANGE):
        assert ask(site, "GET", path, token).status == 200


def test_only_some_may_change_things(site: Daemon) -> None:
    body = json.dumps({"source": "lavfi:color=black:size=64x64:rate=5"}).encode()
    for method, path in (("PUT", "/api/v1/streams/wall"), ("DELETE", "/api/v1/streams/wall")):
        assert ask(site, method, path, body=body).error == (401, "unauthorized")
        assert ask(site, method, path, VIEW, body).error == (403, "forbidden")
        assert ask(site, method, path, CHANGE, body).status in (200, 201)


def test_the_page_logs_in(site: Daemon) -> None:
    """With a cookie there is everything that cannot send a header."""
    logged_in = ask(site, "POST", "/api/v1/session", body=json.dumps({"token": VIEW}).encode())
    assert logged_in.json["access"] == "view"
    cookie = logged_in.headers["Set-Cookie"].partition(";")[0]
    assert ask(site, "GET", f"/api/v1/streams/{NAME}/snapshot", Cookie=cookie).status == 200
    foreign = {"Cookie": cookie, "Origin": "http://evil.example", "Content_Type": "application/sdp"}
    assert ask(site, "POST", f"/whep/{NAME}", body=b"v=0", **foreign).error == (403, "foreign_origin")
    foreign["Origin"] = site.url.rstrip("/")
    assert ask(site, "POST", f"/whep/{NAME}", body=b"v=0", **foreign).error == (400, "bad_offer")


def test_no_token_is_shown(site: Daemon) -> None:
    ask(site, "GET", "/api/v1/streams", VIEW)
    ask(site, "GET", "/api/v1/streams", "guess-what-it-is")
    reported = [site.log, site.out, Path(f"/proc/{site.pid}/cmdline").read_text()]
    reported += [
        ask(site, "GET", path, CHANGE).text for path in ("/metrics", "/api/v1/streams", "/openapi.json", "/readyz")
    ]
    for text in reported:
        for secret in (VIEW, CHANGE, "guess-what-it-is"):
            assert secret not in text


def test_a_token_that_is_not_to_be_had(home: Path) -> None:
    tokens: dict[str, Any] = {"STREAMD_SERVER__VIEW_TOKENS": '["env:NOT_THERE"]'}
    ended = streamd(home, "run", "--listen", "127.0.0.1:0", "--model", "embedded", "demo:", **tokens)
    assert ended.code == 78
    assert "server.view_tokens" in ended.stderr
    assert "NOT_THERE" in ended.stderr
    assert "Traceback" not in ended.stderr
