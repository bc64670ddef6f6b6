"""Who may log in, how they are asked, and how often they may guess."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from collections.abc import Callable

import pytest

from streamd.media.rtsp_messages import Message
from streamd.sinks.rtsp import Login
from streamd.sinks.rtsp.answers import Refused
from streamd.web.tokens import FAILURES, Failures, Tokens
from tests.support.rtsp_client import porch_served
from tests.support.waiting import own_time, wait_for

HERE, ELSEWHERE = "127.0.0.1", "192.0.2.1"
TOKEN, OTHER, NONCE = "look-at-it", "grüße:mit:doppelpunkt", b"abc"
URI = "rtsp://h/porch"


def login(*hashed: str, plain: tuple[str, ...] = (TOKEN, OTHER), failures: Failures | None = None) -> Login:
    digests = [f"sha256:{hashlib.sha256(token.encode()).hexdigest()}" for token in hashed]
    tokens = Tokens((*plain, *digests))
    knows: Callable[[str], bool] = lambda token: tokens.scope(token) is not None  # noqa: E731
    return Login(plain, knows, failures or Failures(), hashed=bool(hashed))


def basic(token: str, user: str = "") -> bytes:
    return b"Basic " + base64.b64encode(f"{user}:{token}".encode())


def md5(*parts: str) -> str:
    return hashlib.md5(":".join(parts).encode()).hexdigest()


def digest(token: str, *, user: str = "me", nonce: bytes = NONCE, qop: str = "", method: str = "DESCRIBE") -> bytes:
    more = ("00000001", "c", qop) if qop else ()
    response = md5(md5(user, "streamd", token), nonce.decode(), *more, md5(method, URI))
    fields = f'username="{user}", realm="streamd", nonce="{nonce.decode()}", uri="{URI}", response="{response}"'
    return (f"Digest {fields}" + (f', qop={qop}, nc=00000001, cnonce="c"' if qop else "")).encode()


def attempt(login: Login, authorization: bytes, address: str = ELSEWHERE) -> tuple[int, str]:
    """Status, and how one is asked to log in."""
    headers = [("Authorization", authorization)] if authorization else []
    try:
        login.check(Message(b"DESCRIBE", headers), "DESCRIBE", NONCE, address)
    except Refused as refused:
        challenge = dict(refused.headers).get("WWW-Authenticate", b"").decode()
        return refused.status, challenge.partition(" ")[0] + (" stale" if "stale=true" in challenge else "")
    return 200, ""


@pytest.mark.parametrize(
    ("authorization", "expected"),
    [
        (b"", (401, "Digest")),
        (digest(TOKEN), (200, "")),
        (digest(TOKEN, user=""), (200, "")),
        (digest(OTHER, user="ü"), (200, "")),
        (digest(TOKEN, qop="auth"), (200, "")),
        (digest(TOKEN).replace(b"Digest", b"DIGEST").replace(b", ", b","), (200, "")),
        (digest(TOKEN, nonce=b"old"), (401, "Digest stale")),
        (digest("wrong"), (401, "Digest")),
        (digest(TOKEN, method="PLAY"), (401, "Digest")),
        (digest(TOKEN).replace(b"response", b"answer"), (401, "Digest")),
        (b"Digest " + b'"' * 5000, (401, "Digest stale")),
        (basic(TOKEN), (401, "Digest")),  # it has gone over the network as it is
        (b"Bearer look-at-it", (401, "Digest")),
    ],
)
def test_from_other_machines(authorization: bytes, expected: tuple[int, str]) -> None:
    assert attempt(login(), authorization) == expected


@pytest.mark.parametrize("user", ["", "admin"])
def test_on_this_machine_basic_will_do(user: str) -> None:
    assert attempt(login(), basic(TOKEN, user), HERE) == (200, "")
    assert attempt(login(), basic(OTHER, user), HERE) == (200, "")
    assert attempt(login(), basic("wrong", user), HERE) == (401, "Digest")
    assert attempt(login(), b"Basic !!!", HERE) == (401, "Digest")
    assert attempt(login(), digest(TOKEN), HERE) == (200, "")


def test_tokens_of_which_only_a_digest_is_known() -> None:
    some = login("hashed-one")
    assert attempt(some, b"", HERE) == (401, "Basic")
    assert attempt(some, basic("hashed-one"), HERE) == (200, "")
    assert attempt(some, basic(TOKEN), HERE) == (200, "")
    assert attempt(some, b"") == (401, "Digest")
    assert attempt(some, digest(TOKEN)) == (200, "")
    assert attempt(some, digest("hashed-one")) == (401, "Digest")


def test_guesses_are_limited_by_address() -> None:
    login_ = login(failures=Failures(lambda: 0.0))
    for _ in range(FAILURES):
        assert attempt(login_, b"")[0] == 401  # asking is no guess
        assert attempt(login_, digest("wrong"))[0] == 401
    assert attempt(login_, digest(TOKEN)) == (403, "")
    assert attempt(login_, digest(TOKEN), HERE) == (200, "")


def test_credentials_of_any_form_take_no_time() -> None:
    """They are read on the event loop, of whoever connects."""
    began = own_time()
    for filling in (b"a", b"a=", b'a="', b"a ", b'"', b"= "):
        assert attempt(login(), b"Digest " + filling * (8000 // len(filling)))[0] == 401
    assert own_time() - began < 0.2


async def test_who_does_not_log_in_is_hung_up_on_whatever_else_it_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else strangers could take all places."""
    monkeypatch.setattr("streamd.sinks.rtsp.connection.IDLE_S", 0.3)
    monkeypatch.setattr("streamd.sinks.rtsp.server.LOOK_EVERY_S", 0.02)
    async with porch_served(login=login()) as server, server.client() as client:

        async def ask_on() -> None:
            while True:
                assert await client.status("OPTIONS", "*") == 200
                await asyncio.sleep(0.01)

        with pytest.raises((EOFError, ConnectionError)):
            await wait_for(ask_on(), 5)


async def test_one_logs_in_once_for_a_connection() -> None:
    async with porch_served(login=login()) as server:
        async with server.client() as client:
            assert await client.status("OPTIONS", "*") == 200
            refused = await client.ask("DESCRIBE", "/porch")
            assert refused.status == 401
            assert len(server.porch.depth) == 0
            found = re.fullmatch(rb'Digest realm="streamd", nonce="([0-9a-f]{32})"', refused.get("WWW-Authenticate"))
            assert found
            answer = ("Authorization", digest(TOKEN, nonce=found[1]))
            assert await client.status("DESCRIBE", "/porch", answer) == 200
            assert await client.play() == 200
        async with server.client() as another:
            for method in ("DESCRIBE", "SETUP", "PLAY", "PAUSE", "GET_PARAMETER", "TEARDOWN"):
                assert await another.status(method, "/porch", answer) == 401
