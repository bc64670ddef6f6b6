"""Addresses to listen on."""

from __future__ import annotations

import pytest

from streamd.config.listen import is_loopback, split_address


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("127.0.0.1:80", ("127.0.0.1", 80)),
        ("[::1]:80", ("::1", 80)),
        ("localhost:0", ("localhost", 0)),
    ],
)
def test_parts(text: str, parts: tuple[str, int]) -> None:
    assert split_address(text) == parts


@pytest.mark.parametrize("text", ["", "8080", ":80", "host:", "host:-1", "host:65536", "host:x"])
def test_what_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="not HOST:PORT"):
        split_address(text)


@pytest.mark.parametrize(
    ("host", "only_here"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("box", False)],
)
def test_whether_only_this_machine_reaches_it(host: str, only_here: bool) -> None:
    assert is_loopback(host) is only_here
