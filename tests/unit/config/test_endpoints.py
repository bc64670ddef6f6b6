"""The addresses of servers that run the network."""

from __future__ import annotations

import pytest

from streamd.config.endpoints import EndpointAddress


@pytest.mark.parametrize(
    ("url", "shown", "host", "port", "path"),
    [
        ("grpc://gpu:8001", "grpc://gpu:8001", "gpu", 8001, ""),
        ("GRPC://gpu", "grpc://gpu:8001", "gpu", 8001, ""),
        ("grpcs://gpu.example/", "grpcs://gpu.example:443", "gpu.example", 443, ""),
        ("http://127.0.0.1", "http://127.0.0.1:8000", "127.0.0.1", 8000, ""),
        ("https://gpu/a/b/", "https://gpu:443/a/b", "gpu", 443, "/a/b"),
        ("http://[::1]:9", "http://[::1]:9", "::1", 9, ""),
    ],
)
def test_what_is_one(url: str, shown: str, host: str, port: int, path: str) -> None:
    address = EndpointAddress.parse(url)
    assert str(address) == shown
    assert (address.host, address.port, address.path) == (host, port, path)


def test_what_it_speaks() -> None:
    assert [
        (address.is_grpc, address.tls)
        for address in map(EndpointAddress.parse, ("grpc://h", "grpcs://h", "http://h", "https://h"))
    ] == [(True, False), (True, True), (False, False), (False, True)]


@pytest.mark.parametrize(
    "url",
    [
        "",
        "gpu:8001",
        "tcp://gpu:8001",
        "grpc:/gpu",
        "grpc://",
        "grpc://gpu:0",
        "grpc://gpu:65536",
        "grpc://gpu:80a",
        "grpc://gpu/path",
        "http://gpu/a?token=hunter2",
        "http://gpu/a#b",
        "http://gpu/a\r\nX: y",
        "http://gp u/",
        "http://user:hunter2@gpu/",
        "grpc://hunter2@gpu:1",
    ],
)
def test_what_is_none(url: str) -> None:
    with pytest.raises(ValueError, match=r"has one (that is|with a login|without a host)") as refused:
        EndpointAddress.parse(url)
    assert "hunter2" not in str(refused.value)
