"""Which page asks."""

from __future__ import annotations

import pytest

from streamd.web.origin import is_foreign, is_of_this_machine


@pytest.mark.parametrize(
    ("headers", "foreign"),
    [
        ({"Host": "a:8080"}, False),
        ({"Host": "a:8080", "Origin": "http://a:8080"}, False),
        ({"Host": "A.", "Origin": "https://a"}, False),
        ({"Host": "a:443", "Origin": "https://a"}, False),
        ({"Host": "a", "Origin": "https://a:443"}, False),
        ({"Host": "a:80", "Origin": "https://a"}, True),
        ({"Host": "a:8080", "Origin": "http://a:8081"}, True),
        ({"Host": "a:8080", "Origin": "http://b:8080"}, True),
        ({"Host": "a", "Origin": "null"}, True),
        ({"Host": "a", "Origin": ""}, True),
        ({"Host": "a", "Origin": "http://a:x"}, True),
        ({"Origin": "http://a"}, True),
        ({"Host": "a", "Origin": "http://b", "Sec-Fetch-Site": "same-origin"}, False),
        ({"Host": "a", "Sec-Fetch-Site": "none"}, False),
        ({"Host": "a", "Origin": "http://a", "Sec-Fetch-Site": "cross-site"}, True),
        ({"Host": "a", "Sec-Fetch-Site": "same-site"}, True),
        ({"Host": "a", "Sec-Fetch-Site": "anything"}, True),
    ],
)
def test_foreign(headers: dict[str, str], foreign: bool) -> None:
    assert is_foreign(headers) == foreign


@pytest.mark.parametrize(
    ("url", "here"),
    [
        ("http://localhost", True),
        ("http://grafana.localhost:3000", True),
        ("//127.9.9.9:1", True),
        ("//[::1]:1", True),
        ("http://localhost.", True),
        ("http://localhost.example", False),
        ("http://127.0.0.1@evil.example", False),
        ("//0.0.0.0", False),
        ("null", False),
        ("", False),
        ("//[::1", False),
        ("//", False),
    ],
)
def test_of_this_machine(url: str, here: bool) -> None:
    assert is_of_this_machine(url) == here
