"""How RTSP is opened, and when a source that was away is tried again."""

from __future__ import annotations

import errno
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from streamd.config.sections import StreamConfig
from streamd.sources import network, open_source
from streamd.sources.http import HttpSource
from streamd.sources.network import NetworkSource, PushedSource, RtspSource
from tests.support.waiting import own_time


def test_how_rtsp_is_opened() -> None:
    source = RtspSource(StreamConfig(source="rtsp://h/", read_timeout_s=8), threading.Event())
    for transport in ("tcp", "udp"):
        options = source.open_options(transport)
        assert options["rtsp_transport"] == transport
        assert options["timeout"] == "8000000", "µs: who accepts and says nothing is noticed as one who stalls"


def test_how_what_is_pushed_is_opened() -> None:
    source = PushedSource(StreamConfig(source="UDP://@239.1.1.1:5000", read_timeout_s=8), threading.Event())
    assert source.url == "udp://@239.1.1.1:5000"
    assert source.open_options()["timeout"] == "8000000"


def test_udp_has_no_port_to_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "is_reachable", lambda *_: pytest.fail("asked"))
    stop = threading.Event()
    stop.set()
    PushedSource(StreamConfig(source="udp://:5000"), stop).await_return(30)


def test_the_wait_asks_the_host_whatever_is_in_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """An @ in path or query once was taken for the end of a login."""
    asked: list[tuple[str, int]] = []
    stop = threading.Event()

    def reachable(host: str, port: int, timeout_s: float, stop: threading.Event) -> bool:
        asked.append((host, port))
        stop.set()
        return True

    monkeypatch.setattr(network, "is_reachable", reachable)
    for url in ("http://host/live?to=me@example.org", "rtsp://u:p@host:80/a@b", "rtsp://u:pa/ss@host:80/live"):
        stop.clear()
        open_source(StreamConfig(source=url), stop).await_return(30)
    assert asked == [("host", 80)] * 3


class TestReturn:
    """A host that is away, as seen by a port that is closed and opened."""

    @pytest.fixture
    def port(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
        monkeypatch.setattr(network, "PROBE_EVERY_S", 0.02)
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))  # not listening: nobody else gets it
            self.camera = taken
            yield taken.getsockname()[1]

    def source(self, port: int, stop: threading.Event | None = None, kind: type = RtspSource) -> NetworkSource:
        scheme = "rtsp" if kind is RtspSource else "http"
        config = StreamConfig(source=f"{scheme}://user:file:/run/x@127.0.0.1:{port}/live")
        return kind(config, stop or threading.Event())

    @pytest.mark.parametrize("kind", [RtspSource, HttpSource])
    def test_ends_the_wait(self, port: int, kind: type) -> None:
        timer = threading.Timer(0.2, self.camera.listen)
        timer.start()
        started = time.monotonic()
        self.source(port, kind=kind).await_return(30)
        assert 0.15 < time.monotonic() - started < 5
        timer.join()

    def test_of_a_host_that_was_there_all_the_time_is_none(self, port: int) -> None:
        """It hangs, or refuses: to ask it earlier does not help."""
        self.camera.listen()
        started = time.monotonic()
        self.source(port).await_return(0.3)
        assert time.monotonic() - started >= 0.3

    def test_that_does_not_come_is_waited_for_no_longer(self, port: int) -> None:
        started = time.monotonic()
        self.source(port).await_return(0.3)
        assert 0.3 <= time.monotonic() - started < 2

    @pytest.mark.parametrize("where", ["closed", "open", "no answer"])
    def test_stop_ends_it_at_once(self, port: int, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
        stop = threading.Event()
        if where == "open":
            self.camera.listen()
        if where == "no answer":
            monkeypatch.setattr(socket.socket, "connect_ex", lambda *_: errno.EINPROGRESS)
            monkeypatch.setattr("streamd.sources.connection.select.poll", lambda: Deaf(stop))
        timer = threading.Timer(0.1, stop.set)
        timer.start()
        started = own_time()
        self.source(port, stop).await_return(30)
        assert own_time() - started < 0.5
        timer.join()

    def test_a_name_that_is_not_known_is_away(self, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
        answers = iter([OSError("unknown"), None])
        known = socket.getaddrinfo

        def look_up(*args: Any, **options: Any) -> Any:
            if (error := next(answers, None)) is not None:
                raise error
            return known(*args, **options)

        monkeypatch.setattr("streamd.sources.connection.socket.getaddrinfo", look_up)
        self.camera.listen()
        started = time.monotonic()
        self.source(port).await_return(30)
        assert time.monotonic() - started < 5


class Deaf:
    """A connection that is never made."""

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop

    def register(self, *_: object) -> None:
        pass

    def poll(self, timeout_ms: float) -> list[object]:
        self._stop.wait(timeout_ms / 1000)
        return []
