"""By gRPC: what no HTTP server can do."""

from __future__ import annotations

import time
from contextlib import closing

import numpy as np
import pytest

from streamd.config.endpoints import EndpointAddress
from streamd.depth.remote.answer import NoAnswer
from streamd.depth.remote.grpc import GrpcClient
from tests.support.inference_server import Engine, red, serve_grpc
from tests.support.waiting import scaled

PICTURES = np.zeros((1, 32, 32, 3), np.uint8)


def soon() -> float:
    return time.monotonic() + scaled(5)


def test_an_answer_without_end_is_not_taken() -> None:
    engine = Engine(lambda pictures: np.zeros((1, 4096, 2048), np.float32))
    with serve_grpc(engine) as port:
        client = GrpcClient(EndpointAddress("grpc", "127.0.0.1", port), "embedded", "", "")
        with closing(client):
            client.connect(soon())
            with pytest.raises(NoAnswer, match="RESOURCE_EXHAUSTED"):
                client.infer(PICTURES, soon())


def test_it_can_be_connected_anew() -> None:
    with serve_grpc(Engine(red)) as port:
        with closing(GrpcClient(EndpointAddress("grpc", "127.0.0.1", port), "embedded", "", "")) as client:
            for _ in range(2):
                client.connect(soon())
                np.testing.assert_array_equal(client.infer(PICTURES, soon()), red(PICTURES)[0])
        with pytest.raises(NoAnswer, match="is not connected"):
            client.infer(PICTURES, soon())


def test_a_machine_with_a_folder_of_authorities_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[bytes | None] = []
    monkeypatch.setattr("grpc.ssl_channel_credentials", given.append)
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere")
    GrpcClient(EndpointAddress("grpcs", "127.0.0.1", 443), "embedded", "", "")
    assert given == [None]
