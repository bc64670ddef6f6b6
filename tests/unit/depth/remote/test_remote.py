"""Clients by themselves, and by TLS."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from pathlib import Path

import numpy as np
import pytest

from streamd.config.endpoints import EndpointAddress
from streamd.depth.remote import Client, NoAnswer, open_client
from streamd.errors import DepthError
from tests.support.certificates import make_certificate
from tests.support.inference_server import Engine, red, serve_grpc, serve_http
from tests.support.waiting import scaled

PICTURES = np.random.default_rng(0).integers(0, 256, (1, 32, 64, 3), np.uint8)
Serve = Callable[..., AbstractContextManager[int]]
BOTH = pytest.mark.parametrize(("scheme", "serve"), [("https", serve_http), ("grpcs", serve_grpc)])


def soon() -> float:
    return time.monotonic() + scaled(5)


def reach(client: Client) -> None:
    client.connect(soon())
    client.check_ready(time.monotonic() + scaled(1))


@BOTH
def test_with_tls_and_a_token(scheme: str, serve: Serve, tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path, "127.0.0.1")
    with serve(Engine(red, "hunter2-hunter2"), tls=(certificate, key)) as port:
        address = EndpointAddress.parse(f"{scheme}://127.0.0.1:{port}")
        with closing(open_client(address, "embedded", "hunter2-hunter2", str(certificate))) as client:
            client.connect(soon())
            client.check_ready(soon())
            client.check_metadata(soon())
            for _ in range(3):
                np.testing.assert_array_equal(client.infer(PICTURES, soon()), red(PICTURES)[0])


@BOTH
def test_nothing_is_sent_to_one_that_nobody_trusts(scheme: str, serve: Serve, tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path, "127.0.0.1")
    engine = Engine(red)
    with serve(engine, tls=(certificate, key)) as port:
        address = EndpointAddress.parse(f"{scheme}://127.0.0.1:{port}")
        with closing(open_client(address, "embedded", "hunter2-hunter2")) as client:
            with pytest.raises(NoAnswer) as refused:
                reach(client)
            assert "hunter2" not in str(refused.value)
            with pytest.raises(NoAnswer):
                client.infer(PICTURES, time.monotonic() + scaled(1))
    assert not engine.asked


def test_no_such_authority(tmp_path: Path) -> None:
    for scheme in ("https", "grpcs"):
        with pytest.raises(DepthError, match=r"model.endpoint_ca: .*none.pem: cannot be used: No such file"):
            open_client(EndpointAddress.parse(f"{scheme}://h"), "embedded", ca=str(tmp_path / "none.pem"))


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_asked_before_it_is_connected(scheme: str) -> None:
    client = open_client(EndpointAddress.parse(f"{scheme}://127.0.0.1:1"), "embedded")
    with closing(client), pytest.raises(NoAnswer, match="is not connected"):
        client.infer(PICTURES, soon())
