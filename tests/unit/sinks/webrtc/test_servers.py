"""STUN and TURN servers: what aiortc gets, and what viewers get."""

from __future__ import annotations

from typing import Any

import pytest

from streamd.config.load import parse
from streamd.config.sections import Config, WebRtcConfig
from streamd.errors import ConfigError
from streamd.sinks.webrtc.servers import PAUSE_S, Servers, configuration, is_for_us, links

STUN = "stun:stun.example:3478"
TURN = {
    "urls": ["turn:turn.example:3478?transport=udp", "turns:turn.example"],
    "username": "jo",
    "credential": "env:PW",
}


def config(*servers: Any) -> WebRtcConfig:
    return parse({"webrtc": {"ice_servers": servers}}).webrtc


@pytest.fixture(autouse=True)
def password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PW", "hunter2")


def test_no_third_party_by_default() -> None:
    assert configuration(Config().webrtc).iceServers == []
    assert links(Config().webrtc) == []


def test_what_aiortc_gets() -> None:
    stun, turn = configuration(config(STUN, TURN)).iceServers or []
    assert (stun.urls, stun.username, stun.credential) == ([STUN], None, None)
    assert (turn.urls, turn.username, turn.credential) == (TURN["urls"], "jo", "hunter2")


@pytest.mark.parametrize(
    ("url", "usable"),
    [
        ("stun:h", True),
        ("stun:h:3478", True),
        ("stuns:h", False),
        ("stun:[::1]:3478", False),
        ("stun:h?transport=udp", False),
        ("turn:h", True),
        ("turn:h?transport=tcp", True),
        ("turns:h:5349?transport=tcp", True),
        ("turns:h?transport=udp", False),
    ],
)
def test_what_aiortc_cannot_use_is_for_viewers_alone(url: str, usable: bool) -> None:
    assert is_for_us(url) is usable
    assert [server.urls for server in configuration(config(url)).iceServers or []] == ([[url]] if usable else [])
    assert links(config(url)) == [f'<{url}>; rel="ice-server"']


def test_links() -> None:
    login = '; username="jo"; credential="hunter2"; credential-type="password"'
    assert links(config(STUN, TURN)) == [
        '<stun:stun.example:3478>; rel="ice-server"',
        f'<turn:turn.example:3478?transport=udp>; rel="ice-server"{login}',
        f'<turns:turn.example>; rel="ice-server"{login}',
    ]


def test_links_are_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PW", 'a"b\\c; d,e')
    (link,) = links(config({"urls": ['turn:h>"x'], "username": '"', "credential": "env:PW"}))
    assert link == (
        r'<turn:h%3E%22x>; rel="ice-server"; username="\""; credential="a\"b\\c; d,e"; credential-type="password"'
    )


@pytest.mark.parametrize("text", ["a\r\nSet-Cookie: x", "hünter2", "a\0b"])
@pytest.mark.parametrize("key", ["username", "credential"])
def test_nothing_breaks_out_of_the_header(key: str, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        links(config(STUN, {"urls": ["turn:h"], "username": "jo", key: text}))
    assert caught.value.problems[0].path == f"webrtc.ice_servers.1.{key}"
    assert text not in str(caught.value)


def test_a_secret_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PW")
    for make in (links, configuration, Servers):
        with pytest.raises(ConfigError) as caught:
            make(config(STUN, TURN))
        assert str(caught.value) == "webrtc.ice_servers.1: the environment variable PW with its credential is not set"


def kinds(servers: Servers) -> list[str]:
    return [url[:4] for server in servers.configuration().iceServers or [] for url in server.urls]


def test_a_server_that_is_silent_is_left_alone_for_a_while(caplog: pytest.LogCaptureFixture) -> None:
    now = [100.0]
    servers = Servers(config({"urls": [STUN]}, TURN), clock=lambda: now[0])
    assert kinds(servers) == ["stun", "turn", "turn"]
    servers.note_answer("typ host\r\na=candidate:1 1 udp 1 192.0.2.1 1 typ relay raddr 0.0.0.0 rport 9")
    assert kinds(servers) == ["turn", "turn"]
    servers.note_answer(" typ relay ")  # STUN was not asked
    assert len(caplog.records) == 1
    now[0] += PAUSE_S
    assert kinds(servers) == ["stun", "turn", "turn"]
    servers.note_answer(" typ host ")
    assert kinds(servers) == []
    now[0] += PAUSE_S
    servers.note_answer(" typ srflx  typ relay ")
    assert kinds(servers) == ["stun", "turn", "turn"]


def test_without_servers_nothing_is_missed(caplog: pytest.LogCaptureFixture) -> None:
    Servers(config()).note_answer("typ host")
    assert caplog.records == []
