"""Basic and Digest against the examples of their RFCs."""

from __future__ import annotations

import hashlib
import re

import pytest

from streamd.media import http_login
from streamd.media.http_login import Challenge

RFC_2617 = (
    'Digest realm="testrealm@host.com", qop="auth,auth-int", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", opaque="5ccc"'
)
RFC_7616 = (
    'Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm={}, '
    'nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"'
)


def best(*headers: str) -> Challenge:
    found = Challenge.best(headers)
    assert found is not None
    return found


def test_basic() -> None:  # RFC 7617, 2
    answer = best('Basic realm="WallyWorld"').answer("GET", "/", ("Aladdin", "open sesame"))
    assert answer == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="


@pytest.mark.parametrize(
    ("challenge", "nonce", "user", "password", "response"),
    [
        (RFC_2617, "0a4f113b", "Mufasa", "Circle Of Life", "6629fae49393a05397450978507c4ef1"),
        (
            RFC_7616.format("MD5"),
            "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
            "Mufasa",
            "Circle of Life",
            "8ca523f5e9506fed4657c9700eebdbec",
        ),
        (
            RFC_7616.format("SHA-256"),
            "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
            "Mufasa",
            "Circle of Life",
            "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
        ),
    ],
)
def test_digest(
    monkeypatch: pytest.MonkeyPatch, challenge: str, nonce: str, user: str, password: str, response: str
) -> None:
    monkeypatch.setattr(http_login, "new_nonce", lambda: nonce)
    answer = best(challenge).answer("GET", "/dir/index.html", (user, password))
    assert f'response="{response}"' in answer
    assert "qop=auth, nc=00000001" in answer
    assert 'uri="/dir/index.html"' in answer


def test_an_old_digest_without_qop() -> None:
    answer = best('Digest realm="r", nonce="n"').answer("GET", "/", ("ü", "pä"))
    first = hashlib.md5("ü:r:pä".encode()).hexdigest()
    second = hashlib.md5(b"GET:/").hexdigest()
    assert f'response="{hashlib.md5(f"{first}:n:{second}".encode()).hexdigest()}"' in answer
    assert "qop" not in answer


def test_each_answer_counts() -> None:
    challenge = best(RFC_2617)
    counts = [re.findall(r"nc=(\w+)", challenge.answer("GET", "/", ("u", "p"))) for _ in range(3)]
    assert counts == [["00000001"], ["00000002"], ["00000003"]]


@pytest.mark.parametrize(
    ("headers", "scheme"),
    [
        (['Basic realm="r"', 'Digest realm="r", nonce="n"'], "digest"),
        (['Basic realm="r", Digest realm="r", nonce="n"'], "digest"),
        (['Digest realm="r", nonce="n", algorithm=SHA-512', 'Basic realm="r"'], "basic"),
        (['Basic realm="Digest camera"'], "basic"),
        (["DIGEST realm=r, nonce=n"], "digest"),
    ],
)
def test_a_digest_is_better_than_a_plain_password(headers: list[str], scheme: str) -> None:
    assert best(*headers).scheme == scheme


@pytest.mark.parametrize("headers", [[], [""], ["Bearer x"], ["Digest algorithm=SHA-512"], ["x" * 10_000]])
def test_what_cannot_be_answered(headers: list[str]) -> None:
    assert Challenge.best(headers) is None


def test_nothing_of_a_camera_ends_the_header() -> None:
    challenge = Challenge("digest", {"realm": 'a"b\r\nX: y', "nonce": "n\r\n", "qop": "auth"})
    answer = challenge.answer("GET", "/", ("u", "p"))
    assert "\r" not in answer
    assert "\n" not in answer
