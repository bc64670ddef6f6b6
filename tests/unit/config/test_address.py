"""What the text of a source names, and what is refused in it."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.config.address import Login, SourceAddress, SourceKind, as_it_is, is_odd_path
from streamd.config.sections import StreamConfig

NAMES = st.from_regex(r"[a-z][a-z0-9-]{0,8}[a-z0-9](\.[a-z]{2,5})?", fullmatch=True)


@pytest.mark.parametrize(
    ("source", "kind", "path"),
    [
        ("demo:", SourceKind.DEMO, ""),
        ("lavfi:testsrc2=size=64x64", SourceKind.LAVFI, "testsrc2=size=64x64"),
        ("LAVFI:testsrc2", SourceKind.LAVFI, "testsrc2"),
        ("v4l2:/dev/v4l/by-id/usb-HD", SourceKind.WEBCAM, "/dev/v4l/by-id/usb-HD"),
        ("/dev/video0", SourceKind.WEBCAM, "/dev/video0"),
        ("clip.mp4", SourceKind.FILE, "clip.mp4"),
        ("file:/videos/a@b.mp4", SourceKind.FILE, "/videos/a@b.mp4"),
        ("file:///videos/a.mp4", SourceKind.FILE, "///videos/a.mp4"),
        ("file:rtsp:clip.mp4", SourceKind.FILE, "rtsp:clip.mp4"),
        ("rtsp.mp4", SourceKind.FILE, "rtsp.mp4"),
        ("C:clip.mp4", SourceKind.FILE, "C:clip.mp4"),
        ("yard: noon.mp4", SourceKind.FILE, "yard: noon.mp4"),
        ("concat:a.ts|b.ts", SourceKind.FILE, "concat:a.ts|b.ts"),
        ("/videos/rtsp://x.mp4", SourceKind.FILE, "/videos/rtsp://x.mp4"),
        ("demo:x", SourceKind.FILE, "demo:x"),
        ("/dev/video99", SourceKind.WEBCAM, "/dev/video99"),
        ("/dev/v4l/by-id/usb-none", SourceKind.WEBCAM, "/dev/v4l/by-id/usb-none"),
        ("/dev/shm/none.mp4", SourceKind.FILE, "/dev/shm/none.mp4"),
        ("/dev/stdin", SourceKind.FILE, "/dev/stdin"),
        ("/dev/fd/3", SourceKind.FILE, "/dev/fd/3"),
    ],
)
def test_what_is_no_url(source: str, kind: SourceKind, path: str) -> None:
    assert SourceAddress.parse(source) == SourceAddress(kind, path)


def test_a_file_right_below_dev_is_no_camera(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "stat", lambda path: os.lstat(__file__))
    assert SourceAddress.parse("/dev/clip.mp4").kind is SourceKind.FILE


ODD = [
    "12:30.mp4",
    "rtsp:x",
    "RTSP:x",
    "file:x.mp4",
    "v4l2:x",
    "demo:",
    "lavfi:x",
    "rtsp://h/x",
    "%d.mp4",
    "~",
    "é ",
    "a\nb",
]


@pytest.mark.parametrize("name", [*ODD, os.fsdecode(b"\xff.mp4")])
def test_a_file_that_is_there_is_meant(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / name
    assert as_it_is(name) == name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    address = SourceAddress.parse(as_it_is(name))
    assert address.kind is SourceKind.FILE
    assert os.path.samefile(address.path, file)
    assert StreamConfig(source=as_it_is(name)).source == as_it_is(name)


def test_a_link_to_a_camera_is_a_camera(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("porch").symlink_to("/dev/null")
    assert as_it_is("porch") == "v4l2:porch"
    assert as_it_is("/dev/null") == "/dev/null"


def test_only_a_name_of_a_file_may_be_no_text() -> None:
    assert is_odd_path("/videos/\udcff.mp4")
    for text in ("x.mp4", "é.mp4", "rtsp://h/\udcff", "lavfi:\udcff", "/\ud800.mp4", "\udcff" * 5000, None):
        assert not is_odd_path(text)


@pytest.mark.parametrize(
    ("source", "kind", "netloc", "path"),
    [
        ("RTSP://H/Live", SourceKind.RTSP, "H:554", "/Live"),
        ("rtsps://h", SourceKind.RTSP, "h:322", ""),
        ("http://h?a=b", SourceKind.HTTP, "h:80", "?a=b"),
        ("https://[2001:db8::1]/x", SourceKind.HTTP, "[2001:db8::1]:443", "/x"),
        ("https://[fe80::1%25eth0]:8443/x", SourceKind.HTTP, "[fe80::1%25eth0]:8443", "/x"),
        ("http://2130706433:81/", SourceKind.HTTP, "2130706433:81", "/"),
        ("http://bücher.example/", SourceKind.HTTP, "bücher.example:80", "/"),
        ("http://h./", SourceKind.HTTP, "h.:80", "/"),
        ("rtmp://h/app/name", SourceKind.RTMP, "h:1935", "/app/name"),
        ("srt://h:9000?mode=caller", SourceKind.SRT, "h:9000", "?mode=caller"),
        ("udp://@239.1.1.1:5000", SourceKind.UDP, "239.1.1.1:5000", ""),
        ("udp://:5000", SourceKind.UDP, ":5000", ""),
        ("http://host/live?to=me@example.org", SourceKind.HTTP, "host:80", "/live?to=me@example.org"),
        ("http://host:8080/a@b/c", SourceKind.HTTP, "host:8080", "/a@b/c"),
    ],
)
def test_a_url_without_a_login(source: str, kind: SourceKind, netloc: str, path: str) -> None:
    address = SourceAddress.parse(source)
    assert (address.kind, address.netloc, address.path, address.login) == (kind, netloc, path, None)


@pytest.mark.parametrize(
    ("source", "login", "netloc", "path"),
    [
        ("rtsp://user@h/x", Login("user", None), "h:554", "/x"),
        ("rtsp://user:@h/x", Login("user", ""), "h:554", "/x"),
        ("rtsp://u:p%40:q@h:80/a@b", Login("u", "p%40:q"), "h:80", "/a@b"),
        ("rtsp://u:p@q@h/x", Login("u", "p@q"), "h:554", "/x"),
        ("rtsp://u:/ss@h:80/x", Login("u", "/ss"), "h:80", "/x"),
        ("rtsp://u:pa/ss@h:80/x", Login("u", "pa/ss"), "h:80", "/x"),
        ("rtsp://u:p#a?s]s@h/x?y=z", Login("u", "p#a?s]s"), "h:554", "/x?y=z"),
        ("rtsp://u:pa/s@s@127.0.0.1:9/x", Login("u", "pa/s@s"), "127.0.0.1:9", "/x"),
        ("rtsp://u:env:PW@h/x", Login("u", "env:PW", is_reference=True), "h:554", "/x"),
        ("rtsp://u:file:/run/x@h/a@b", Login("u", "file:/run/x", is_reference=True), "h:554", "/a@b"),
        ("http://file:/run/x@h/", Login(None, "file:/run/x", is_reference=True), "h:80", "/"),
        ("http://env:LOGIN@[::1]/", Login(None, "env:LOGIN", is_reference=True), "[::1]:80", "/"),
    ],
)
def test_a_url_with_a_login(source: str, login: Login, netloc: str, path: str) -> None:
    address = SourceAddress.parse(source)
    assert (address.login, address.netloc, address.path) == (login, netloc, path)


PORT, NAME, IPV6 = "no port from 1 to 65535", "neither a name nor an address", "no IPv6 address in its brackets"


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("", "must not be empty"),
        ("a\0b", "zero byte"),
        ("lavfi:", "nothing after lavfi:"),
        ("file:", "nothing after file:"),
        ("gopher://h/", "gopher:// is no kind of source; there are: rtsp:// rtsps:// http:// https:// rtmp:// srt://"),
        ("ftp://h/", "no kind of source"),
        ("rtp://h:5000", "no kind of source"),
        ("a://b", "no kind of source"),
        (f"{'x' * 1000}://b", "no kind of source"),
        ("rtsp:/user:secret@cam/live", r"needs // after rtsp: .* file:rtsp:\.\.\.$"),
        ("rtsp:user:secret@cam", "needs // after rtsp:"),
        ("RTSP:\\\\user:secret@cam", "needs // after rtsp:"),
        ("udp:", "needs // after udp:"),
        ("rtsp://", "has no host"),
        ("rtsp:///x", "has no host"),
        ("rtsp://u:p@/x", "has no host"),
        ("rtsp://h:99999/", PORT),
        ("rtsp://h:0/", PORT),
        ("rtsp://h:²/", PORT),
        ("rtsp://h:80:80/", PORT),
        ("rtsp://[::1]:x/", PORT),
        ("rtsp://admin:pa/ss@h:x/", PORT),
        ("srt://h", PORT),
        ("udp://5000", PORT),
        ("rtsp://[bad/", IPV6),
        ("rtsp://[bad]/", IPV6),
        ("rtsp://[127.0.0.1]/", IPV6),
        ("rtsp://[::1]x/", IPV6),
        ("rtsp://cam..local/", NAME),
        ("rtsp://-cam/", NAME),
        ("rtsp://ca\\m/", NAME),
        ("http://a%00b/", NAME),
        (f"rtsp://{'a' * 64}/", "too long"),
        (f"rtsp://{'a.' * 200}a/", "too long"),
        (f"rtsp://{'ü' * 80}/", "can be looked up"),
        ("rtsp://h h/", "a space or a control character"),
        ("rtsp://h/a\nb", "a space or a control character"),
        ("rtsp://h/\x7f", "a space or a control character"),
        ("rtsp://h/\u2028", "a space or a control character"),
    ],
)
def test_what_is_refused(source: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as caught:
        SourceAddress.parse(source)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)
    assert len(str(caught.value)) < 200


@given(st.text())
def test_any_text_is_an_address_or_a_value_error(text: str) -> None:
    for source in (text, f"rtsp://{text}", f"http://h:{text}", f"udp://[{text}"):
        with suppress(ValueError):
            SourceAddress.parse(source)


@given(NAMES, st.integers(1, 65535), st.text("abcXYZ019._~!$&'()*+,;=:@%/?#[]-", min_size=1))
def test_the_host_is_found_behind_any_password(host: str, port: int, password: str) -> None:
    source = f"rtsp://user:x{password}@{host}:{port}/live"
    try:
        address = SourceAddress.parse(source)
    except ValueError:
        return
    if not set(password) & set("/?#"):
        assert (address.host, address.port, address.login) == (host, port, Login("user", f"x{password}"))


@pytest.mark.parametrize("text", ["a:", "@", "/", "://", "[", "x.", "env:", "é"])
def test_long_ones_take_no_longer_than_their_length(text: str) -> None:
    started = time.process_time()
    for scheme in ("rtsp://", "udp://", ""):
        with suppress(ValueError):
            SourceAddress.parse(scheme + text * 100_000)
    assert time.process_time() - started < 5, "a quadratic one takes minutes"
