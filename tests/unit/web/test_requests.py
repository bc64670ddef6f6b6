"""Bodies: how long they may be, together too, and how long they may take."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.streams import StreamReader
from aiohttp.test_utils import make_mocked_request

from streamd.web import requests
from streamd.web.errors import Refusal
from streamd.web.requests import MAX_JSON_BYTES, ByteBudget, body_timeout, json_object, limited


async def read_of(*pieces: bytes, max_bytes: int = 10, **options: object) -> bytearray:
    waiting = [*pieces, b""]

    async def read() -> bytes:
        return waiting.pop(0)

    return await limited(read, max_bytes, **options)  # type: ignore[arg-type]


async def test_a_body_is_as_long_as_it_may_be_and_no_longer() -> None:
    assert await read_of(b"12345", b"67890") == b"1234567890"
    with pytest.raises(Refusal) as refusal:
        await read_of(b"12345", b"67890", b"1")
    assert refusal.value.status == 413


async def test_there_is_memory_for_so_many_together_and_all_is_given_back() -> None:
    budget = ByteBudget(12)
    with budget.reserve() as take:
        await read_of(b"12345678", take=take)
        with pytest.raises(Refusal) as refusal, budget.reserve() as other:
            await read_of(b"1234", b"5", take=other)
        assert refusal.value.status == 503
        with budget.reserve() as other:
            await read_of(b"1234", take=other)
    with budget.reserve() as take:
        take(12)
        with pytest.raises(Refusal):
            take(1)


async def test_who_sends_nothing_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "BODY_TIMEOUT_S", 0.01)
    with pytest.raises(Refusal) as refusal:
        async with body_timeout():
            await asyncio.sleep(60)
    assert refusal.value.status == 408


async def test_who_goes_is_no_fault_of_ours() -> None:
    with pytest.raises(Refusal) as refusal:
        async with body_timeout():
            raise ConnectionResetError("Connection lost")
    assert refusal.value.status == 400


def request_with(body: bytes, content_type: str = "application/json") -> web.Request:
    loop = asyncio.get_running_loop()
    payload = StreamReader(BaseProtocol(loop), 2**16, loop=loop)
    payload.feed_data(body)
    payload.feed_eof()
    return make_mocked_request("PUT", "/", {"Content-Type": content_type}, payload=payload)


@pytest.mark.parametrize(
    ("body", "found"), [(b"{}", {}), (b"", {}), (b'{"a": [1]}', {"a": [1]}), (b" " * 100 + b"{}", {})]
)
async def test_an_object(body: bytes, found: dict[str, object]) -> None:
    assert await json_object(request_with(body), "with keys") == found


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"{", "application/json", 400),
        (b"\xff", "application/json", 400),
        (b"[" * 60_000, "application/json", 400),
        (b"9" * 60_000, "application/json", 400),
        (b"[]", "application/json", 422),
        (b"null", "application/json", 422),
        (b"{}", "text/" + "x" * 8000, 415),
        (b" " * (MAX_JSON_BYTES + 1), "application/json", 413),
    ],
)
async def test_what_is_no_object(body: bytes, content_type: str, status: int) -> None:
    with pytest.raises(Refusal) as refusal:
        await json_object(request_with(body, content_type), "with keys")
    assert refusal.value.status == status
    assert len(refusal.value.message) < 200
