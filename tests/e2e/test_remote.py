"""`runtime = "remote"`, by its metrics: a server that comes, fails and comes back under a live stream."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from streamd.depth.export import Source, export
from streamd.depth.models import find_model
from streamd.depth.store import ModelStore
from tests.e2e.conftest import StartDaemon
from tests.e2e.processes import Window, streamd
from tests.support.inference_server import PlayedServer
from tests.support.waiting import until

TOKEN = "hunter2-hunter2"
FPS = 10


@pytest.fixture
def server(tmp_path: Path) -> Iterator[PlayedServer]:
    spec = find_model("embedded")
    source = Source(spec, *ModelStore(tmp_path / "m", tmp_path / "c").weights(spec.name))
    files = export(source, "triton", tmp_path / "export").files
    network = next(path for path in files if path.name in ("model.onnx", "model.xml"))
    with PlayedServer("http", network, token=TOKEN) as played:
        yield played


def test_a_live_stream_loses_two_frames_at_most(daemon: StartDaemon, server: PlayedServer, tmp_path: Path) -> None:
    config = tmp_path / "streamd.toml"
    config.write_text(f"""
        [model]
        name = "embedded"
        runtime = "remote"
        endpoints = ["grpc://127.0.0.1:1", "{server.url}"]
        endpoint_token = "{TOKEN}"
        [recording]
        directory = "{tmp_path / "recordings"}"
        [streams.a]
        source = "lavfi:testsrc2=size=320x180:rate={FPS}"
        inference = "every"
    """)
    running = daemon("--config", str(config)).until_ready()

    def up(number: int) -> float:
        return running.metrics().value("streamd_model_endpoint_up", endpoint=str(number))

    until("it serves", lambda: up(2) == 1)
    assert up(1) == 0
    assert running.metrics().value("streamd_model_info", model="embedded", runtime="remote") == 1
    before = running.metrics()
    server.kill()
    until("it serves no more", lambda: up(2) == 0)
    window = Window(before, running.metrics())
    assert window.more("streamd_frames_skipped_total", stream="a") <= 2
    server.start()
    until("it serves again", lambda: up(2) == 1)
    asked = server.asked
    until("frames go there", lambda: server.asked > asked + FPS)
    shown = json.dumps(running.get("/api/v1/models").json) + running.get("/metrics").text + running.log
    assert TOKEN not in shown


def test_a_job_takes_them_from_the_environment(server: PlayedServer, clip: Path, home: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.mp4"
    done = streamd(
        home,
        *("convert", clip, output, "--model", "embedded"),
        STREAMD_MODEL__RUNTIME="remote",
        STREAMD_MODEL__ENDPOINTS=json.dumps([server.url, "http://127.0.0.1:1"]),
        STREAMD_MODEL__ENDPOINT_TOKEN=TOKEN,
    )
    assert done.code == 0, done.stderr
    assert output.stat().st_size > 0
    assert server.asked > 0
    assert TOKEN not in done.stderr
