"""What goes on for as long as somebody looks: Motion JPEG and server-sent events of a real daemon."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.e2e.conftest import StartDaemon
from tests.e2e.pictures import Rgb, off_inferno, read
from tests.e2e.processes import Daemon
from tests.support.waiting import until

SOURCE, NAME, WIDTH, HEIGHT = "lavfi:testsrc2=size=320x180:rate=20", "lavfi-testsrc2", 320, 180


@contextmanager
def opened(daemon: Daemon, path: str) -> Iterator[http.client.HTTPResponse]:
    connection = http.client.HTTPConnection(urlsplit(daemon.url).netloc, timeout=20)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        assert response.status == 200
        yield response
    finally:
        connection.close()


def jpeg(response: http.client.HTTPResponse) -> Rgb:
    """The next part."""
    assert response.readline() == b"--streamd-picture\r\n"
    lines = [response.readline() for _ in range(3)]
    assert lines[0] == b"Content-Type: image/jpeg\r\n"
    picture = read(response.read(int(lines[1].split()[1])))
    assert response.read(2) == b"\r\n"
    return picture  # type: ignore[return-value]


def event(response: http.client.HTTPResponse, kind: str) -> dict[str, Any]:
    """The next of this kind."""
    while True:
        line = response.readline()
        assert line, "the answer has ended"
        if line == f"event: {kind}\n".encode():
            found: dict[str, Any] = json.loads(response.readline().removeprefix(b"data: "))
            return found


@pytest.fixture(scope="module")
def site(module_daemon: StartDaemon) -> Daemon:
    return module_daemon(SOURCE).until_ready()


def test_mjpeg_moves_and_is_depth(site: Daemon) -> None:
    with opened(site, f"/api/v1/streams/{NAME}/mjpeg?fps=20") as response:
        until("the notice that it connects is over", lambda: jpeg(response).shape == (HEIGHT, WIDTH, 3))
        pictures = [jpeg(response) for _ in range(5)]
    for picture in pictures:
        assert (off_inferno(picture) <= 24).mean() > 0.95
    assert all((a != b).any() for a, b in pairwise(pictures))


def test_many_watch_and_nothing_is_left(site: Daemon) -> None:
    open_files = Path(f"/proc/{site.pid}/fd")
    before = len(list(open_files.iterdir()))
    for _ in range(10):
        with opened(site, f"/api/v1/streams/{NAME}/mjpeg?view=source") as one, opened(site, "/api/v1/events") as other:
            jpeg(one)
            event(other, "statistics")
    until("their connections are closed", lambda: len(list(open_files.iterdir())) <= before + 1)


def test_events_report_streams_that_come_and_go(site: Daemon) -> None:
    with opened(site, "/api/v1/events") as response:
        reported = event(response, "statistics")
        assert [stream["name"] for stream in reported["streams"]] == [NAME]
        body = json.dumps({"source": "lavfi:color=black:size=64x64:rate=5"}).encode()
        assert site.request("PUT", "/api/v1/streams/wall", body).status == 201
        added = event(response, "state")
        assert (added["name"], added["change"], added["state"]) == ("wall", "added", "starting")
        while event(response, "state")["state"] != "running":
            pass
        assert site.request("DELETE", "/api/v1/streams/wall").status == 200
        while event(response, "state")["change"] != "removed":
            pass


def test_a_sleeping_camera_wakes_for_mjpeg(daemon: StartDaemon) -> None:
    running = daemon(
        SOURCE, **{f"STREAMD_STREAMS__{NAME}__MODE": "on_demand", f"STREAMD_STREAMS__{NAME}__LINGER_S": "0"}
    )
    until("it sleeps", lambda: running.state(NAME) == "idle")
    with opened(running, f"/api/v1/streams/{NAME}/mjpeg") as response:
        until("there is a picture", lambda: jpeg(response).shape == (HEIGHT, WIDTH, 3))
        assert running.state(NAME) == "running"
    until("it sleeps again", lambda: running.state(NAME) == "idle")


def test_the_end_comes_in_time_with_all_of_them_watching(daemon: StartDaemon) -> None:
    running = daemon(SOURCE).until_ready()
    with opened(running, f"/api/v1/streams/{NAME}/mjpeg") as one, opened(running, "/api/v1/events") as other:
        jpeg(one)
        event(other, "statistics")
        assert running.stop() == 0


def test_the_frame_for_other_pages(site: Daemon) -> None:
    embed = site.get(f"/embed/{NAME}?view=gray")
    assert embed.status == 200
    assert "frame-ancestors *" in embed.headers["Content-Security-Policy"]
    assert "default-src 'none'" in embed.headers["Content-Security-Policy"]
    for path in ("/", "/static/embed.html", "/healthz"):
        assert "frame-ancestors 'self'" in site.get(path).headers["Content-Security-Policy"]


def test_the_description(site: Daemon) -> None:
    described = site.get("/openapi.json").json
    assert described["openapi"].startswith("3.1")
    assert set(described["paths"]["/api/v1/streams/{name}"]) == {"get", "head", "put", "patch", "delete"}
    settings = described["components"]["schemas"]["StreamConfig"]["properties"]
    assert "horizontal_fov_degrees" in settings
    stream = described["components"]["schemas"]["Stream"]
    assert set(stream["required"]) <= set(site.stream(NAME))
