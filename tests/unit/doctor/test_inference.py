"""What the doctor says of servers that run the network."""

from __future__ import annotations

import socket

import pytest

from streamd.config.load import parse
from streamd.doctor import inference
from streamd.doctor.finding import Finding
from tests.support.inference_server import Engine, red, serve_http

TOKEN = "hunter2-hunter2"


def found(*urls: str, **model: object) -> list[Finding]:
    return list(inference.endpoints(parse({"model": {"runtime": "remote", "endpoints": urls, **model}})))


def test_nothing_where_nobody_asks_them() -> None:
    assert not list(inference.endpoints(parse({"model": {"endpoints": ["http://127.0.0.1:1"]}})))


def test_each_by_its_number() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        silent = server.getsockname()[1]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(inference, "CONNECT_S", 0.2)
            first, second = found("http://127.0.0.1:1", f"http://127.0.0.1:{silent}")
    assert (first.status, first.found) == ("warning", "1 (http://127.0.0.1:1): no connection: Connection refused")
    assert second.found == f"2 (http://127.0.0.1:{silent}): no answer in time"
    assert first.advice


def test_one_that_is_ready_and_lets_us_in() -> None:
    engine = Engine(red, TOKEN)
    with serve_http(engine) as port:
        url = f"http://127.0.0.1:{port}"
        (good,) = found(url, name="embedded", endpoint_token=TOKEN)
        assert (good.status, good.found) == ("ok", f"1 ({url}): ready, and has embedded")
        (stranger,) = found(url, name="embedded")
        assert "HTTP 401" in stranger.found
        (other,) = found(url, name="midas_small", endpoint_token=TOKEN)
        assert "HTTP 404: unknown model" in other.found
        engine.fault = "other-metadata"
        (changed,) = found(url, name="embedded", endpoint_token=TOKEN)
        assert "has no 'pictures', but 'images'" in changed.found
        assert TOKEN not in repr([good, stranger, other, changed])


def test_a_token_that_cannot_be_read() -> None:
    (finding,) = found("http://127.0.0.1:1", endpoint_token="file:/nowhere/token")
    assert "cannot read its token from /nowhere/token" in finding.found
