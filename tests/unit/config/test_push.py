"""Where streams are pushed to, as it is written."""

from __future__ import annotations

import pytest

from streamd.config.load import parse
from streamd.config.push import PushTarget, redact_push
from streamd.errors import ConfigError


def parts(text: str) -> tuple[str, bool, str, int, str, str]:
    found = PushTarget.parse(text)
    return found.kind, found.tls, found.address.host, found.address.port, found.address.path, found.view


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("rtsp://h/cam", ("rtsp", False, "h", 554, "/cam", "depth")),
        ("RTSPS://h:8322/a/b?c=d#view=overlay", ("rtsp", True, "h", 8322, "/a/b?c=d", "overlay")),
        ("whip://h/whip/endpoint/x", ("whip", False, "h", 80, "/whip/endpoint/x", "depth")),
        ("whips://t@[2001:db8::1]/w#view=gray", ("whip", True, "2001:db8::1", 443, "/w", "gray")),
        ("whips://h", ("whip", True, "h", 443, "", "depth")),
        ("rtsp://me:p#q@h/cam#view=source", ("rtsp", False, "h", 554, "/cam", "source")),
        ("rtsp://h/cam#", ("rtsp", False, "h", 554, "/cam", "depth")),
    ],
)
def test_what_there_is(text: str, found: tuple[str, bool, str, int, str, str]) -> None:
    assert parts(text) == found


@pytest.mark.parametrize(
    ("text", "login"),
    [
        ("rtsp://h/", None),
        ("rtsp://me:a%40b@h/", ("me", "a@b")),
        ("rtsp://me@h/", ("me", "")),
        ("rtsp://me:env:SECRET@h/", ("me", "you:s3cret")),
        ("rtsp://env:SECRET@h/", ("you", "s3cret")),
        ("whip://t0ken@h/", ("t0ken", "t0ken")),
        ("whip://any:t0ken@h/", ("any", "t0ken")),
        ("whip://env:SECRET@h/", ("", "you:s3cret")),
    ],
)
def test_logins(text: str, login: tuple[str, str] | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "you:s3cret")
    assert PushTarget.parse(text).login() == login


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "has one that is not rtsp://, rtsps://, whip:// or whips://"),
        ("rtmp://h/live/key", "has one that is not rtsp://, rtsps://, whip:// or whips://"),
        ("https://h/whip", "has one that is not rtsp://, rtsps://, whip:// or whips://"),
        ("rtsp:/h/x", "has one that is not rtsp://, rtsps://, whip:// or whips://"),
        ("rtsp://", "has one that has no host"),
        ("whip:///x", "has one that has no host"),
        ("whip://h:0/x", "has one that has no port from 1 to 65535 after its host"),
        ("rtsp://h/a b", "has one that has a space or a control character in it; a space is written %20"),
        ("rtsp://h/a\r\nX: y", "has one with a character that is not plain ASCII: escape it as in %C3%A9"),
        ("rtsp://h/h\xf6he", "has one with a character that is not plain ASCII: escape it as in %C3%A9"),
        ("rtsp://h/x#token=t", "has one with something else than #view=NAME behind #"),
        ("rtsp://h/x#view=colour", "has one with an unknown view; there are: "),
        ("rtsp://h/x#view=depth16", "has one with an unknown view; there are: "),
    ],
)
def test_what_is_refused_without_showing_it(text: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse({"streams": {"cam": {"source": "demo:", "push": [text]}}})
    (problem,) = caught.value.problems
    assert (problem.path, problem.value) == ("streams.cam.push", "")
    assert problem.reason.startswith(reason)


@pytest.mark.parametrize(
    ("targets", "reason"),
    [
        (["rtsp://h/x", "rtsp://h:554/x#view=depth"], "names a target twice"),
        ([f"rtsp://h/{number}" for number in range(9)], "has too many items"),
        (["rtsp://h/" + "x" * 5000], "is too long"),
    ],
)
def test_how_many(targets: list[str], reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse({"streams": {"cam": {"source": "demo:", "push": targets}}})
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("rtsp://me:s3cret@h:8554/cam#view=overlay", "rtsp://***@h:8554/cam#view=overlay"),
        ("rtsp://h/cam?token=s3cret", "rtsp://h/cam?token=***"),
        ("whip://s3cret@h/whip/s3cret", "whip://***@h:80/***#view=depth"),
        ("whips://h/s3cret#view=gray", "whips://h:443/***#view=gray"),
        ("nonsense s3cret", "***"),
    ],
)
def test_what_is_shown(text: str, shown: str) -> None:
    assert redact_push(text) == shown


def test_what_a_log_shows() -> None:
    assert PushTarget.parse("whips://s3cret@h/s3cret").place == "whip h:443"
