"""RTSP: how it is opened and logged in to, and that every way to be silent ends in bounded time.

Peers are scripts on 127.0.0.1 (tests/unit/sources/peers.py); what they send is real H.264.
"""

from __future__ import annotations

import contextlib
import logging
import random
import re
import ssl
import struct
import subprocess
import threading
import time
import traceback
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from streamd.config.sections import StreamConfig
from streamd.errors import (
    SourceEnded,
    SourceError,
    SourceRejected,
    SourceStalled,
    SourceUnreachable,
    SourceUnsupported,
)
from streamd.sources import open_source
from streamd.sources.base import Source
from tests.support.clips import number_in, write_clip
from tests.support.waiting import scaled
from tests.unit.sources.peers import SDP, Film, Line, Script, peer, rtsp, sends, silent

pytestmark = pytest.mark.timeout(30)

OPEN_S, READ_S = 1.0, 0.8
GRACE_S = 0.7
"""For a busy machine; the promise is 1 s."""


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("rtsp") / "a.mp4", 48)


@pytest.fixture
def film(clip: Path) -> Film:
    """A hurried one, to save time."""
    return Film(clip, fps=100)


@pytest.fixture
def short_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamd.sources.base.OPEN_TIMEOUT_S", OPEN_S)


def source_of(address: str, stop: threading.Event | None = None, login: str = "", **config: Any) -> Source:
    url = config.pop("scheme", "rtsp") + f"://{login}{address}/live"
    return open_source(StreamConfig(source=url, **{"read_timeout_s": 5, **config}), stop or threading.Event())


def numbers(source: Source, most: int = 15) -> list[int]:
    with contextlib.closing(source.frames()) as frames:
        return [number_in(frame) for frame in islice(frames, most)]


class TestTransport:
    @pytest.mark.parametrize("transport", ["tcp", "udp", "auto"])
    def test_pictures_come(self, film: Film, transport: str) -> None:
        log: list[str] = []
        with peer(rtsp(film.play, log=log)) as address:
            assert numbers(source_of(address, transport=transport)) == list(range(15))
        assert self.asked(log) == ["RTP/AVP/UDP" if transport == "udp" else "RTP/AVP/TCP"]

    @pytest.mark.parametrize("status", ["461 Unsupported Transport", "400 Bad Request"])
    def test_auto_takes_udp_when_tcp_is_refused(self, film: Film, status: str) -> None:
        log: list[str] = []
        with peer(rtsp(film.play, refuse={"SETUP/TCP": status}, log=log)) as address:
            assert len(numbers(source_of(address, transport="auto"))) == 15
        assert self.asked(log) == ["RTP/AVP/TCP", "RTP/AVP/UDP"]

    def test_auto_asks_for_tcp_first_each_time(self, film: Film) -> None:
        """A camera may have been replaced meanwhile."""
        log: list[str] = []
        refuse = {"SETUP/TCP": "461 Unsupported Transport"}
        with peer(rtsp(film.play, refuse=refuse, log=log)) as address:
            source = source_of(address, transport="auto")
            numbers(source)
            refuse.clear()
            assert len(numbers(source)) == 15
        assert self.asked(log)[2:] == ["RTP/AVP/TCP"]

    @pytest.mark.parametrize("transport", ["tcp", "udp"])
    def test_otherwise_it_is_as_configured(self, transport: str) -> None:
        refuse = {f"SETUP/{transport.upper()}": "461 Unsupported Transport"}
        with peer(rtsp(refuse=refuse)) as address, pytest.raises(SourceUnreachable, match="protocol not supported"):
            numbers(source_of(address, transport=transport))

    def test_other_failures_are_not_tried_twice(self) -> None:
        log: list[str] = []
        refusing = rtsp(refuse={"DESCRIBE": "404 Not Found"}, log=log)
        with peer(refusing) as address, pytest.raises(SourceUnreachable, match="not found"):
            numbers(source_of(address, transport="auto"))
        assert sum(request.startswith("DESCRIBE") for request in log) == 1

    def test_sound_is_not_asked_for(self, film: Film) -> None:
        log: list[str] = []
        sound = "m=audio 0 RTP/AVP 0\na=control:track2\n"
        for place in ("before", "after"):
            head, video, tail = SDP.partition("m=video")
            sdp = head + sound + video + tail if place == "before" else head + video + tail + sound
            with peer(rtsp(film.play, sdp=sdp, log=log)) as address:
                assert len(numbers(source_of(address))) == 15
        assert not [request for request in log if "track2" in request]

    @staticmethod
    def asked(log: list[str]) -> list[str]:
        """The transport of each SETUP."""
        found = [re.search(r"Transport: ([^;]+)", request) for request in log if request.startswith("SETUP")]
        return [match[1].removesuffix("/UDP") + ("" if "TCP" in match[1] else "/UDP") for match in found if match]


def test_rtsps_is_the_same_over_tls(film: Film, tmp_path: Path) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-subj", "/CN=camera", "-days", "2", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    talk = rtsp(film.play, login=("user", "p:w"))

    def secure(connection: Any, stop: threading.Event) -> None:
        with context.wrap_socket(connection, server_side=True) as channel:
            talk(channel, stop)

    for transport in ("tcp", "auto"):
        with peer(secure) as address:
            source = source_of(address, login="user:p%3Aw@", scheme="rtsps", transport=transport)
            assert numbers(source) == list(range(15))


SECRET = "a@b:c/d%e f?g#h&i"


class TestLogin:
    @pytest.fixture(autouse=True)
    def secrets(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CAM_PASSWORD", SECRET)
        monkeypatch.setenv("CAM_LOGIN", f"jo:{SECRET}")
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
        (tmp_path / "cam").write_text(SECRET + "\n")

    @pytest.mark.parametrize(
        "login", ["jo:env:CAM_PASSWORD@", "jo:file:cam@", "env:CAM_LOGIN@", "jo:a%40b%3Ac%2Fd%25e%20f%3Fg%23h%26i@"]
    )
    def test_with_digest(self, film: Film, login: str) -> None:
        with peer(rtsp(film.play, login=("jo", SECRET))) as address:
            assert len(numbers(source_of(address, login=login))) == 15

    def test_the_password_may_change(self, film: Film, monkeypatch: pytest.MonkeyPatch) -> None:
        with peer(rtsp(film.play, login=("jo", "next"))) as address:
            source = source_of(address, login="jo:env:CAM_PASSWORD@")
            with pytest.raises(SourceRejected):
                numbers(source)
            monkeypatch.setenv("CAM_PASSWORD", "next")
            assert len(numbers(source)) == 15

    @pytest.mark.parametrize("fault", ["wrong", "unreachable", "silent", "garbage", "missing"])
    def test_nothing_ever_shows_it(
        self, fault: str, caplog: pytest.LogCaptureFixture, short_open: None, capfd: pytest.CaptureFixture[str]
    ) -> None:
        scripts: dict[str, Script] = {
            "wrong": rtsp(login=("jo", "other")),
            "unreachable": rtsp(refuse={"DESCRIBE": "503 Service Unavailable"}),
            "silent": silent,
            "garbage": sends(b"\xff" * 5000),
            "missing": rtsp(refuse={"DESCRIBE": "404 Not Found"}),
        }
        with caplog.at_level(logging.DEBUG), peer(scripts[fault]) as address:
            source = source_of(address, login="jo:env:CAM_PASSWORD@")
            with pytest.raises(SourceError) as caught:
                numbers(source)
            logging.getLogger("test").error("lost", exc_info=caught.value)
        printed = "".join(capfd.readouterr())
        reported = "".join([str(caught.value), repr(caught.value.__cause__), source.name, caplog.text, printed])
        reported += "".join(traceback.format_exception(caught.value))
        for form in (SECRET, "a%40b", "c/d", "c%2Fd", "CAM_PASSWORD"):
            assert form not in reported.replace('login="jo:env:CAM_PASSWORD@"', "")

    def test_a_missing_variable_is_refused_before_anything_is_opened(self) -> None:
        log: list[str] = []
        with peer(rtsp(log=log)) as address, pytest.raises(SourceRejected, match="variable NO_SUCH with its password"):
            numbers(source_of(address, login="jo:env:NO_SUCH@"))
        assert log == []


def ends_within(source: Source, seconds: float) -> tuple[SourceError, int]:
    """The error, and how many pictures came; ``seconds`` from the beginning, or from the last picture."""
    count, newest = 0, time.monotonic()
    try:
        for _ in source.frames():
            count, newest = count + 1, time.monotonic()
    except SourceError as error:
        assert time.monotonic() - newest < scaled(seconds + GRACE_S)
        return error, count
    pytest.fail("it ended")


@pytest.mark.usefixtures("short_open")
class TestSilenceBeforeThePicture:
    @pytest.mark.parametrize(
        ("name", "script"),
        [
            ("says nothing", silent),
            ("a byte now and then", sends(b"RTSP/1.0 200 OK\r\nX: " + b"y" * 5000, 0.2)),
            ("many bytes, one by one", sends(b"RTSP/1.0 200 OK\r\nX: " + b"y" * 5000, 0.01)),
            ("slow answers", rtsp(lambda line, stop: stop.wait(), delay_s=0.3)),
            ("plays nothing", rtsp(lambda line, stop: stop.wait())),
            ("slow, then plays nothing", rtsp(lambda line, stop: stop.wait(), delay_s=0.22)),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_is_reported_within_the_time_to_open(self, name: str, script: Script) -> None:
        with peer(script) as address:
            error, _ = ends_within(source_of(address, transport="auto"), OPEN_S)
        assert type(error) is SourceUnreachable
        assert error.reason in ("no answer within 1 s", "no video within 1 s")

    @pytest.mark.parametrize("answer", [b"", b"\xff\x00garbage\r\n\r\n" * 50, b"HTTP/1.0 404 Not Found\r\n\r\n"])
    def test_nonsense_is_reported_at_once(self, answer: bytes) -> None:
        with peer(sends(answer)) as address:
            error, _ = ends_within(source_of(address), 0)
        assert type(error) is SourceUnsupported


def trickle(line: Line, film: Film, stop: threading.Event, every_s: float) -> None:
    """The same stream, byte by byte."""
    for number in range(12, 48):
        for packet in film.rtp(number):
            for byte in line.interleaved(packet):
                line.connection.sendall(bytes([byte]))
                if stop.wait(every_s):
                    return


def rubbish(line: Line, film: Film, stop: threading.Event, every_s: float) -> None:
    """RTP as it should be, but for what is in it."""
    chance = random.Random(1)
    for number in range(12, 10_000):
        for packet in film.rtp(number):
            line.send(packet[:13] + chance.randbytes(len(packet) - 13))
        if stop.wait(every_s):
            return


def reports(line: Line, film: Film, stop: threading.Event, every_s: float) -> None:
    """RTCP only."""
    report = struct.pack(">cBHBBH", b"$", 1, 28, 0x80, 200, 6) + bytes(24)
    while not stop.wait(every_s):
        line.connection.sendall(report)


def silence(line: Line, film: Film, stop: threading.Event, every_s: float) -> None:
    stop.wait()


THEN = {
    "silence": (silence, 0.0, "tcp"),
    "silence over udp": (silence, 0.0, "udp"),
    "few bytes": (trickle, 0.2, "tcp"),
    "more bytes": (trickle, 0.02, "tcp"),
    "reports": (reports, 0.05, "tcp"),
    "rubbish": (rubbish, 0.02, "tcp"),
    "rubbish over udp": (rubbish, 0.02, "udp"),
}


class TestSilenceInMidStream:
    @pytest.fixture
    def camera(self, film: Film, then: str) -> Script:
        """A dozen pictures, and then no more that are of use."""
        follow, every_s, _ = THEN[then]

        def play(line: Line, stop: threading.Event) -> None:
            film.play(line, stop, range(12))
            follow(line, film, stop, every_s)

        return rtsp(play)

    @pytest.mark.parametrize("then", THEN)
    def test_is_a_stall_within_the_read_timeout(self, camera: Script, then: str) -> None:
        with peer(camera) as address:
            error, count = ends_within(source_of(address, transport=THEN[then][2], read_timeout_s=READ_S), READ_S)
        assert type(error) is SourceStalled
        assert count >= 11
        assert error.reason == ("sends no pictures that can be decoded" if "rubbish" in then else "went silent")

    @pytest.mark.parametrize("then", ["silence", "silence over udp", "more bytes", "rubbish"])
    def test_stop_ends_it_within_the_read_timeout(self, camera: Script, then: str) -> None:
        stop, count = threading.Event(), 0
        with peer(camera) as address, contextlib.suppress(SourceStalled):
            for _ in source_of(address, stop, transport=THEN[then][2], read_timeout_s=READ_S).frames():
                count += 1
                if count == 11:
                    started = time.monotonic()
                    stop.set()
        assert time.monotonic() - started < scaled(READ_S + GRACE_S)


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_a_camera_that_hangs_up_is_lost_at_once(film: Film, transport: str) -> None:
    with peer(rtsp(lambda line, stop: film.play(line, stop, range(24)))) as address:
        error, count = ends_within(source_of(address, transport=transport), 0.2)
    assert (type(error), error.reason) == (SourceEnded, "stopped sending")
    assert count >= 23


def test_the_first_picture_comes_soon(clip: Path) -> None:
    """Of a small picture, whose packets do not fill FFmpeg's probe: it would wait for 20 to know the rate."""
    with peer(rtsp(Film(clip).play)) as address, contextlib.closing(source_of(address).frames()) as frames:
        started = time.monotonic()
        next(frames)
    assert time.monotonic() - started < scaled(0.75)
