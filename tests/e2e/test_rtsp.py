"""A real RTSP camera: GStreamer's server, which comes, goes and comes back."""

from __future__ import annotations

import time

from tests.e2e.conftest import StartDaemon
from tests.e2e.pictures import off_inferno, read
from tests.e2e.processes import Daemon
from tests.support.camera import StartCamera, needs_rtsp_server
from tests.support.waiting import until

NAME = "127.0.0.1-live"

pytestmark = needs_rtsp_server


def captured(daemon: Daemon) -> float:
    return daemon.metrics().value("streamd_frames_captured_total")


def state(daemon: Daemon) -> str:
    return daemon.state(NAME)


def test_depth_of_a_camera_that_comes_and_goes(daemon: StartDaemon, camera: StartCamera) -> None:
    porch = camera()
    running = daemon(porch.url("live"))
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
    assert running.get("/readyz?strict=1").status == 503
    assert running.metrics().value("streamd_source_up") == 0

    porch.start()
    before = captured(running)
    until("the stream runs again", lambda: state(running) == "running")
    until("it delivers", lambda: captured(running) > before + 5)
    assert running.stream(NAME)["reason"] is None
    assert running.get("/readyz?strict=1").status == 200
    assert running.metrics().value("streamd_source_up") == 1
    assert running.metrics().value("streamd_source_restarts_total", stream=NAME) >= 1


def test_a_camera_with_a_password(daemon: StartDaemon, camera: StartCamera) -> None:
    porch = camera("--digest", "user:secret")
    address = f"127.0.0.1:{porch.port}/live"
    running = daemon("--debug", f"rtsp://user:secret@{address}", f"rtsp://user:s3cret-wrong@{address}")
    until("the right password opens it", lambda: state(running) == "running")
    until("the wrong one is refused", lambda: running.state(f"{NAME}-2") == "reconnecting")
    assert "access refused" in running.stream(f"{NAME}-2")["reason"]
    reported = running.log + "".join(running.get(path).text for path in ("/api/v1/streams", "/readyz", "/metrics"))
    assert "secret" not in reported
    assert "s3cret" not in reported
