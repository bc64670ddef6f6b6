"""Passwords from the environment and from files."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamd.config.address import SourceAddress
from streamd.config.redact import redact_source
from streamd.config.sections import StreamConfig
from streamd.errors import SourceRejected
from streamd.sources.credentials import credentials

NAME = "rtsp://***@h/live"


def resolve(url: str, name: str) -> str:
    """The URL with its password in it, as FFmpeg gets it."""
    address = SourceAddress.parse(url)
    login = credentials(address, name)
    return address.url(login.escaped if login else "")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CAM", "p@ss:w/rd %1")
    monkeypatch.setenv("LOGIN", "jo:p:w")
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    (tmp_path / "cam").write_bytes(b"hunter2\r\nsecond line\n")
    (tmp_path / "login").write_text("jo@home:p w")
    (tmp_path / "empty").write_text("\n")
    return tmp_path


@pytest.mark.parametrize("scheme", ["rtsp", "rtsps", "http", "https"])
@pytest.mark.parametrize(
    ("login", "resolved"),
    [
        ("user:env:CAM", "user:p%40ss%3Aw%2Frd%20%251"),
        ("user:file:{}/cam", "user:hunter2"),
        ("env:LOGIN", "jo:p%3Aw"),
        ("file:{}/login", "jo%40home:p%20w"),
        ("file:{}/cam", "hunter2"),
        ("user:literal", "user:literal"),
        ("user", "user"),
    ],
)
def test_the_password_is_put_in(folder: Path, scheme: str, login: str, resolved: str) -> None:
    url = f"{scheme}://{login.format(folder)}@h:8554/live?a=b@c"
    assert resolve(url, NAME) == f"{scheme}://{resolved}@h:8554/live?a=b@c"


@pytest.mark.parametrize("url", ["rtsp://h/live", "rtsp://h/user:env:CAM", "/dev/video0", "file:a@b.mp4"])
def test_others_have_none(folder: Path, url: str) -> None:
    assert credentials(SourceAddress.parse(url), NAME) is None


def test_what_should_have_been_escaped_is() -> None:
    assert resolve("rtsp://u:pa/s@s#%41@h/live", NAME) == "rtsp://u:pa%2Fs%40s%23%41@h:554/live"


def test_it_cannot_be_printed_by_accident(folder: Path) -> None:
    found = credentials(SourceAddress.parse("http://user:hunter2@h/"), NAME)
    assert found is not None
    assert "hunter2" not in f"{found} {found!r} {[found]}"
    assert found.plain == ("user", "hunter2")


def test_it_is_read_each_time(folder: Path) -> None:
    url = f"rtsp://user:file:{folder}/cam@h/"
    assert "hunter2" in resolve(url, NAME)
    (folder / "cam").write_text("next")
    assert resolve(url, NAME) == "rtsp://user:next@h:554/"


def test_systemd_has_a_folder_for_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(folder))
    assert resolve("rtsp://user:file:cam@h/", NAME) == "rtsp://user:hunter2@h:554/"
    assert resolve(f"rtsp://user:file:{folder}/cam@h/", NAME) == "rtsp://user:hunter2@h:554/"


def test_bytes_that_are_no_text(folder: Path) -> None:
    (folder / "cam").write_bytes(b"\xff\xfe1")
    assert resolve(f"rtsp://user:file:{folder}/cam@h/", NAME) == "rtsp://user:%FF%FE1@h:554/"


@pytest.mark.parametrize(
    ("login", "reason"),
    [
        ("user:env:NONE", "the environment variable NONE with its password is not set"),
        ("env:NONE", "the environment variable NONE with its password is not set"),
        ("user:file:{}/none", "cannot read its password from {}/none: No such file or directory"),
        ("user:file:{}", "cannot read its password from {}: Is a directory"),
        ("user:file:{}/empty", "there is no password in {}/empty"),
    ],
)
def test_what_is_missing_is_named(folder: Path, login: str, reason: str) -> None:
    with pytest.raises(SourceRejected) as caught:
        resolve(f"rtsp://{login.format(folder)}@h/live", NAME)
    assert str(caught.value) == f"{NAME}: {reason.format(folder)}"


@pytest.mark.parametrize("login", ["user:env:CAM", "user:file:/run/secrets/cam", "env:CAM", "file:/run/cam"])
def test_the_name_shows_nothing_of_it(login: str) -> None:
    assert redact_source(StreamConfig(source=f"rtsp://{login}@h/live").source) == NAME


def test_it_may_be_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """FFmpeg's own RTSP would cut it off: it never sees it."""
    monkeypatch.setenv("LONG", "x" * 500)
    assert len(resolve("rtsp://joe:env:LONG@h/", NAME)) == len("rtsp://joe:@h:554/") + 500
