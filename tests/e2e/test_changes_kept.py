"""What the API changes, over restarts."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

from tests.e2e.conftest import Shared, StartDaemon
from tests.e2e.processes import Answer, Daemon
from tests.support.settings import write_settings
from tests.support.waiting import until

BARS = "lavfi:testsrc2=size=320x180:rate=20"


def send(daemon: Daemon, method: str, stream: str, **body: Any) -> Answer:
    return daemon.request(
        method, f"/api/v1/streams/{stream}", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )


def test_what_the_api_adds_survives_a_power_cut(daemon: StartDaemon, tmp_path: Path) -> None:
    settings = write_settings(tmp_path / "streamd.toml", {"porch": {"source": BARS}})
    running = daemon("--config", settings)
    assert send(running, "PUT", "door", source=BARS, max_fps=5).status == 201
    assert send(running, "PATCH", "door", height=144).status == 200
    assert send(running, "PUT", "gone", source=BARS).status == 201
    assert running.request("DELETE", "/api/v1/streams/gone").status == 200
    assert send(running, "PATCH", "porch", max_fps=5).status == 200
    running.kill()
    running.start()
    streams = {stream["name"]: stream for stream in running.get("/api/v1/streams").json["streams"]}
    assert {name: stream["origin"] for name, stream in streams.items()} == {"porch": "file", "door": "api"}
    assert (streams["door"]["settings"]["max_fps"], streams["door"]["settings"]["height"]) == (5, 144)
    assert streams["porch"]["settings"]["max_fps"] is None, "the file's are changed until the next start only"

    write_settings(settings, {"door": {"source": BARS, "max_fps": 3}})
    os.kill(running.pid, signal.SIGHUP)
    until("the file wins", lambda: running.stream("door")["settings"]["max_fps"] == 3)
    assert running.stream("door")["origin"] == "file"
    until("the other one has gone", lambda: running.get("/api/v1/streams/porch").status == 404)


def test_a_damaged_file_does_not_keep_it_from_starting(daemon: StartDaemon) -> None:
    running = daemon("demo:")
    assert send(running, "PUT", "door", source=BARS).status == 201
    assert running.stop() == 0
    kept = running.home / "streams.json"
    kept.write_bytes(kept.read_bytes()[:-20])
    running.start()
    assert [stream["name"] for stream in running.get("/api/v1/streams").json["streams"]] == ["demo"]
    assert running.log.count("streams.json is damaged") == 1


def test_keeping_can_be_switched_off(daemon: StartDaemon) -> None:
    running = daemon("demo:", STREAMD_SERVER__KEEP_CHANGES="false")
    assert send(running, "PUT", "door", source=BARS).status == 201
    assert not (running.home / "streams.json").exists()


def test_the_model_that_the_api_chose_survives_a_restart_until_the_file_says_otherwise(
    daemon: StartDaemon, midas_small: Shared, tmp_path: Path
) -> None:
    settings = write_settings(tmp_path / "streamd.toml", {"porch": {"source": BARS}}, model={"name": "midas_small"})
    running = daemon("--config", settings, model="midas_small").until_ready()
    running.arguments = ("--config", str(settings))
    body = json.dumps({"name": "embedded", "precision": "fp32"}).encode()
    assert running.request("PUT", "/api/v1/model", body, {"Content-Type": "application/json"}).status in (200, 202)
    until("it runs", lambda: model(running) == ("embedded", "fp32", 256), within_s=30)
    shown = running.metrics()
    assert shown.value("streamd_model_info", model="embedded", runtime="openvino", precision="fp32") == 1
    assert shown.value("streamd_input_size_pixels") == 256
    running.kill()
    running.start().until_ready()
    assert model(running) == ("embedded", "fp32", 256)

    # The same file says nothing new, but a reload gives it the word.
    changed = {"name": "midas_small", "precision": "fp32", "input_size": 128}
    write_settings(settings, {"porch": {"source": BARS}}, model=changed)
    os.kill(running.pid, signal.SIGHUP)
    until("the file wins", lambda: model(running) == ("midas_small", "fp32", 128), within_s=30)
    assert running.state("porch") == "running"
    assert not (running.home / "model.json").exists()
    assert running.metrics().value("streamd_input_size_pixels") == 128

    write_settings(settings, {"porch": {"source": BARS}}, model={**changed, "input_size": 100})
    os.kill(running.pid, signal.SIGHUP)
    until("it is told", lambda: "configuration not taken: model.input_size: 100" in running.log)
    assert model(running) == ("midas_small", "fp32", 128)


def model(running: Daemon) -> tuple[str, str, int]:
    described = running.get("/api/v1/models").json["model"]
    return described["name"], described.get("precision", ""), described.get("input_size", 0)
