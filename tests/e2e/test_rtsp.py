"""A real RTSP camera: GStreamer's server, which comes, goes and comes back."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import StartDaemon
from tests.e2e.pictures import off_inferno, read
from tests.e2e.processes import Daemon
from tests.e2e.waiting import until

PYTHON = "/usr/bin/python3"  # the one with gi
SERVER = Path(__file__).parent.parent / "support" / "rtsp_server.py"
NAME = "127.0.0.1-live"
NEEDED = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer"
INSTALLED = subprocess.run([PYTHON, "-c", NEEDED], capture_output=True, check=False).returncode == 0

pytestmark = pytest.mark.skipif(
    not INSTALLED, reason="NO RTSP TEST RUNS: install gir1.2-gst-rtsp-server-1.0 and python3-gi (`make test` does)"
)


class Camera:
    """The server's process; started again, it has the same address."""

    def __init__(self, log: Path, *options: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self._log, self._options = log, options
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Camera:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [PYTHON, str(SERVER), str(self.port), *self._options], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        until("the camera listens", self._listens)
        return self

    def _listens(self) -> bool:
        assert self._process is not None
        said = self._log.read_text()
        assert self._process.poll() is None, said
        return f"ready {self.port}" in said

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


@pytest.fixture
def camera(tmp_path: Path) -> Iterator[Callable[..., Camera]]:
    cameras: list[Camera] = []

    def start(*options: str) -> Camera:
        cameras.append(Camera(tmp_path / "camera.log", *options))
        return cameras[-1].start()

    yield start
    for one in cameras:
        one.kill()


def captured(daemon: Daemon) -> float:
    return daemon.metrics().value("streamd_frames_captured_total")


def state(daemon: Daemon) -> str:
    return daemon.state(NAME)


def test_depth_of_a_camera_that_comes_and_goes(daemon: StartDaemon, camera: Callable[..., Camera]) -> None:
    porch = camera()
    running = daemon(f"rtsp://127.0.0.1:{porch.port}/live")
    began = time.monotonic()
    until("the stream runs", lambda: state(running) == "running")
    picture = running.get(f"/api/v1/streams/{NAME}/snapshot?format=png")
    assert time.monotonic() - began < 10
    assert picture.status == 200
    assert read(picture.body).shape == (480, 640, 3)
    assert off_inferno(read(picture.body)).max() == 0  # type: ignore[arg-type]

    porch.kill()
    until("its loss is noticed", lambda: state(running) == "reconnecting")
    assert running.stream(NAME)["reason"]
    assert running.get("/readyz").status == 503
    assert running.metrics().value("streamd_source_up") == 0

    porch.start()
    before = captured(running)
    until("the stream runs again", lambda: state(running) == "running")
    until("it delivers", lambda: captured(running) > before + 5)
    assert running.stream(NAME)["reason"] is None
    assert running.get("/readyz").status == 200
    assert running.metrics().value("streamd_source_up") == 1
    assert running.metrics().value("streamd_source_restarts_total", stream=NAME) >= 1


def test_a_camera_with_a_password(daemon: StartDaemon, camera: Callable[..., Camera]) -> None:
    porch = camera("--digest", "user:secret")
    address = f"127.0.0.1:{porch.port}/live"
    running = daemon("--debug", f"rtsp://user:secret@{address}", f"rtsp://user:s3cret-wrong@{address}")
    until("the right password opens it", lambda: state(running) == "running")
    until("the wrong one is refused", lambda: running.state(f"{NAME}-2") == "reconnecting")
    assert "access refused" in running.stream(f"{NAME}-2")["reason"]
    told = running.log + "".join(running.get(path).text for path in ("/api/v1/streams", "/readyz", "/metrics"))
    assert "secret" not in told
    assert "s3cret" not in told
