"""`runtime = "remote"` with real workers, and servers that run what `models export --format triton` wrote."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamd.depth.agreement import MAX_ERROR, error_share
from streamd.depth.export import Source, export
from streamd.depth.profiler import calibration_inputs
from streamd.depth.service import DepthService
from streamd.errors import ConfigError
from streamd.jobs.convert import convert
from streamd.media.depth16 import read_depth
from streamd.media.frames import FloatImage
from tests.integration.conftest import Installed, MakeService
from tests.integration.test_depth_service import notes
from tests.support.clips import write_clip
from tests.support.inference_server import PlayedServer
from tests.support.waiting import scaled, until

pytestmark = pytest.mark.timeout(60, func_only=True)  # a network may have to be converted first

TOKEN = "hunter2-hunter2"


@pytest.fixture(scope="module")
def network(embedded: Installed, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file that a server runs."""
    source = Source(embedded.spec, embedded.weights, embedded.sha256)
    written = export(source, "triton", tmp_path_factory.mktemp("models"))
    return next(path for path in written.files if path.name in ("model.onnx", "model.xml"))


@pytest.fixture(scope="module")
def played(network: Path) -> Iterator[dict[str, PlayedServer]]:
    with ExitStack() as stack:
        yield {scheme: stack.enter_context(PlayedServer(scheme, network, token=TOKEN)) for scheme in ("grpc", "http")}


@pytest.fixture
def servers(played: dict[str, PlayedServer]) -> Iterator[list[PlayedServer]]:
    yield list(played.values())
    for server in played.values():
        if not server.is_alive:
            server.start()


def remote(make_service: MakeService, *urls: str, **more: Any) -> DepthService:
    return make_service(runtime="remote", endpoints=urls, service={"slots": 4}, **more)


def infer(service: DepthService, planes: FloatImage) -> FloatImage:
    """As of a file: a busy box makes no answer too late."""
    return service.submit(service.wait_ready(20), planes, patient=True).result(scaled(20))


def serve(service: DepthService, planes: FloatImage, count: int) -> None:
    """Until so many of its endpoints do."""
    infer(service, planes)
    until("the endpoints serve", lambda: sum(notes(service).endpoints_up) == count)


def test_depth_is_that_of_the_network_here(
    make_service: MakeService,
    servers: list[PlayedServer],
    embedded: Installed,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    service = remote(make_service, *(server.url for server in servers), endpoint_token=f"file:{tmp_path / 'token'}")
    inputs, compiled = calibration_inputs(embedded.spec.preprocessing), embedded.compiled()
    serve(service, inputs[0], 2)
    asked = sum(server.asked for server in servers)
    for planes in inputs:
        assert error_share(infer(service, planes), compiled(planes)) < MAX_ERROR / 2
    assert sum(server.asked for server in servers) >= asked + len(inputs)
    assert service.info is not None
    assert (service.info.runtime, service.info.precision) == ("remote", "fp32")
    command = Path(f"/proc/{service.worker_pid}/cmdline").read_text()
    assert TOKEN not in command
    assert "endpoint grpc://127.0.0.1" in caplog.text
    assert TOKEN not in caplog.text


def test_a_file_whose_servers_fail_is_as_it_is_here(
    make_service: MakeService, servers: list[PlayedServer], tmp_path: Path
) -> None:
    clip = write_clip(tmp_path / "in.mp4", 60)
    service = remote(make_service, *(server.url for server in servers), endpoint_token=TOKEN)
    serve(service, np.zeros((3, 160, 256), np.float32), 2)
    frames, actions = 0, {10: servers[0].kill, 30: servers[1].stop}

    def observe(stage: str, seconds: float) -> None:
        nonlocal frames
        if stage == "infer":
            frames += 1
            actions.get(frames, lambda: None)()

    try:
        done = convert(str(clip), tmp_path / "remote.mkv", service, view="depth16", observe=observe, quiet=True)
    finally:
        servers[1].go_on()
    assert done.frames == 60
    here = remote(make_service, "http://127.0.0.1:1")
    convert(str(clip), tmp_path / "here.mkv", here, view="depth16", quiet=True)
    pairs = zip(read_depth(tmp_path / "remote.mkv"), read_depth(tmp_path / "here.mkv"), strict=True)
    for (time_s, depth), (expected_s, expected) in pairs:
        assert time_s == expected_s
        assert error_share(depth, expected) < 1e-3


def test_all_away_and_back_while_a_worker_is_replaced(make_service: MakeService, servers: list[PlayedServer]) -> None:
    service, planes = remote(make_service, servers[1].url, endpoint_token=TOKEN), np.zeros((3, 128, 256), np.float32)
    serve(service, planes, 1)
    servers[1].kill()
    until("it serves no more", lambda: not any(notes(service).endpoints_up))
    infer(service, planes)
    servers[1].start()
    until("it is back", lambda: any(notes(service).endpoints_up))
    service.recycle()
    until("the worker is gone", lambda: notes(service).lost)
    serve(service, planes, 1)


def test_frames_at_once_are_answered_by_all(make_service: MakeService, servers: list[PlayedServer]) -> None:
    service = remote(make_service, *(server.url for server in servers), endpoint_token=TOKEN, threads=1)
    planes = np.random.default_rng(0).standard_normal((8, 3, 128, 256), np.float32)
    expected = [infer(service, each) for each in planes]
    serve(service, planes[0], 2)

    def ask(each: FloatImage, wanted: FloatImage) -> None:
        results.extend(error_share(infer(service, each), wanted) for _ in range(5))

    results: list[float] = []
    threads = [threading.Thread(target=ask, args=pair) for pair in zip(planes, expected, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 40
    assert max(results) < 1e-3


class TestRefused:
    def test_a_token_that_is_not_there(self, make_service: MakeService, tmp_path: Path) -> None:
        service = remote(make_service, "http://127.0.0.1:1", endpoint_token=f"file:{tmp_path / 'none'}")
        until("it says why", lambda: service.failure)
        assert "model.endpoint_token: cannot read its token" in str(service.failure)

    def test_an_authority_that_is_none(self, make_service: MakeService, tmp_path: Path) -> None:
        (tmp_path / "ca.pem").write_text("none")
        service = remote(make_service, "https://127.0.0.1:1", endpoint_ca=tmp_path / "ca.pem")
        until("it says why", lambda: service.failure)
        assert "ca.pem: cannot be used" in str(service.failure)

    def test_grpc_without_its_packages(self, make_service: MakeService, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("streamd.depth.runtimes._is_installed", lambda package: False)
        with pytest.raises(ConfigError, match=r'grpc is not installed: pip install "streamd\[remote\]"'):
            remote(make_service, "grpc://127.0.0.1:1")

    def test_int8(self, make_service: MakeService) -> None:
        with pytest.raises(ConfigError, match="remote does not compute in it"):
            remote(make_service, "http://127.0.0.1:1", precision="int8")
