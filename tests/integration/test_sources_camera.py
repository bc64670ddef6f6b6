"""A real camera: GStreamer's RTSP server, killed, stopped and restarted."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from streamd.config.sections import StreamConfig
from streamd.errors import SourceEnded, SourceError, SourceRejected, SourceStalled, SourceUnreachable
from streamd.sources import open_source
from streamd.sources.base import Source
from tests.support.waiting import scaled

PYTHON = "/usr/bin/python3"  # the one with gi
SERVER = Path(__file__).parent.parent / "support" / "rtsp_server.py"
NEEDED = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer"
INSTALLED = subprocess.run([PYTHON, "-c", NEEDED], capture_output=True, check=False).returncode == 0

pytestmark = [
    pytest.mark.timeout(60),
    pytest.mark.skipif(not INSTALLED, reason="NO RTSP TEST RUNS: install gir1.2-gst-rtsp-server-1.0 and python3-gi"),
]


class Server:
    def __init__(self, log: Path, *options: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.log, self._options = log, options
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        with self.log.open("wb") as log:
            process = subprocess.Popen(
                [PYTHON, str(SERVER), str(self.port), *self._options], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        while f"ready {self.port}" not in self.log.read_text():
            assert process.poll() is None, self.log.read_text()
            time.sleep(0.02)
        return process

    def restart(self) -> None:
        self.kill()
        self.process = self._start()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def start(*options: str) -> Server:
        servers.append(Server(tmp_path / "server.log", *options))
        return servers[-1]

    yield start
    for one in servers:
        one.kill()


@pytest.fixture(scope="module")
def all_day(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One that nobody harms."""
    server = Server(tmp_path_factory.mktemp("all-day") / "server.log")
    yield server
    server.kill()


def source_of(server: Server, path: str = "live", login: str = "", **config: Any) -> Source:
    url = f"rtsp://{login}127.0.0.1:{server.port}/{path}"
    return open_source(StreamConfig(source=url, **{"read_timeout_s": 2, **config}), threading.Event())


def sizes(source: Source, most: int = 20) -> list[tuple[int, int]]:
    with contextlib.closing(source.frames()) as frames:
        return [(frame.width, frame.height) for frame in islice(frames, most)]


def opened_again(source: Source, most: int = 3) -> list[tuple[int, int]]:
    """The server answers 503 while it takes down what the reader before had."""
    for _ in range(20):
        with contextlib.suppress(SourceUnreachable):
            return sizes(source, most)
        time.sleep(0.1)
    return []


@pytest.mark.parametrize(
    ("path", "transport", "size"),
    [
        ("live", "tcp", (640, 480)),
        ("live", "udp", (640, 480)),
        ("live", "auto", (640, 480)),
        ("udponly", "auto", (320, 180)),
        ("bframes", "tcp", (320, 180)),
        ("h265", "tcp", (320, 180)),
        ("h265", "udp", (320, 180)),
        ("mjpeg", "tcp", (320, 176)),
        ("mjpeg", "udp", (320, 176)),
    ],
)
def test_pictures_come(all_day: Server, path: str, transport: str, size: tuple[int, int]) -> None:
    skipped: list[str] = []
    source = source_of(all_day, path, transport=transport)
    source.on_skip = skipped.append
    assert opened_again(source, 10) == [size] * 10
    assert not skipped


def test_a_password_with_everything_in_it(server: Callable[..., Server], monkeypatch: pytest.MonkeyPatch) -> None:
    """A colon too is in the tests with peers: this server's command line has none to spare."""
    password = "p@ss/w%rd ?#&"
    monkeypatch.setenv("CAM_PASSWORD", password)
    monkeypatch.setenv("CAM_LOGIN", f"user:{password}")
    camera = server("--digest", f"user:{password}")
    for login in ("user:env:CAM_PASSWORD@", "env:CAM_LOGIN@"):
        assert len(opened_again(source_of(camera, login=login))) == 3
    monkeypatch.setenv("CAM_PASSWORD", "wrong")
    with pytest.raises(SourceRejected, match="access refused"):
        sizes(source_of(camera, login="user:env:CAM_PASSWORD@"))


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_killed_it_is_lost_and_back_it_is_seen(server: Callable[..., Server], transport: str) -> None:
    camera = server()
    source = source_of(camera, transport=transport)
    with contextlib.closing(source.frames()) as frames:
        next(frames)
        camera.kill()
        killed = time.monotonic()
        with pytest.raises(SourceError) as caught:
            list(frames)
    assert type(caught.value) in (SourceEnded, SourceStalled)
    assert time.monotonic() - killed < scaled(3)

    back = threading.Timer(1.0, camera.restart)
    back.start()
    waiting = time.monotonic()
    source.await_return(30)
    assert 1.0 < time.monotonic() - waiting < scaled(6)
    back.join()
    assert len(sizes(source, 5)) == 5


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_stopped_it_is_a_stall_within_the_read_timeout(server: Callable[..., Server], transport: str) -> None:
    camera = server()
    times: list[float] = []
    source = source_of(camera, transport=transport)
    with contextlib.closing(source.frames()) as frames:
        times.extend(time.monotonic() for _ in islice(frames, 5))
        os.kill(camera.process.pid, signal.SIGSTOP)
        with pytest.raises(SourceStalled, match="went silent"):
            times.extend(time.monotonic() for _ in frames)
        silent_s = time.monotonic() - times[-1]
        os.kill(camera.process.pid, signal.SIGCONT)
    assert silent_s < scaled(source.config.read_timeout_s + 1)
