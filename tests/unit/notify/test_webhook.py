"""Webhooks to a receiver that takes them, fails, hangs, leads elsewhere or is away."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from streamd.concurrency.backoff import Backoff
from streamd.config.outgoing import HooksConfig
from streamd.errors import ConfigError
from streamd.notify import webhook
from streamd.notify.webhook import Webhook
from tests.support.ports import free_port
from tests.support.receiver import receiving
from tests.support.waiting import until_async
from tests.unit.notify.test_message import AWAY, NEAR

pytestmark = pytest.mark.timeout(20)

SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef").decode()
SOON = Backoff(first_s=0.01, cap_s=0.02)


@asynccontextmanager
async def hook(url: str, secret: str = SECRET, timeout_s: float = 5.0) -> AsyncIterator[Webhook]:
    made = Webhook(HooksConfig(webhook=url, webhook_secret=secret), SOON, timeout_s)
    made.start()
    try:
        yield made
    finally:
        await made.close()


async def comes_true(what: str, check: Callable[[], bool]) -> None:
    async def asked() -> bool:
        return check()

    await until_async(what, asked, step_s=0.005)


async def test_each_event_is_posted_once_and_signed() -> None:
    with receiving() as receiver:
        async with hook(f"{receiver.url}?a=b") as made:
            made.tell(NEAR)
            made.tell(AWAY)
            await comes_true("both came", lambda: len(receiver.came) == 2)
    path, headers, body = receiver.came[0]
    assert (path, json.loads(body)["type"]) == ("/hook?a=b", "zone.near")
    assert abs(int(headers["webhook-timestamp"]) - time.time()) < 5
    # As the page tells people to do it.
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.digest(b"0123456789abcdef", signed, "sha256")).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    assert len(set(receiver.ids)) == 2


async def test_without_a_secret_it_is_not_signed() -> None:
    with receiving() as receiver:
        async with hook(receiver.url.replace("://", "://user:p%40ss@"), secret="") as made:
            made.tell(NEAR)
            await comes_true("it came", lambda: bool(receiver.came))
    _, headers, _ = receiver.came[0]
    assert "webhook-signature" not in headers
    assert headers["authorization"] == "Basic " + base64.b64encode(b"user:p@ss").decode()


@pytest.mark.parametrize("status", [500, 503, 429, 404, 302])
async def test_one_that_fails_is_tried_again_with_the_same_id(status: int) -> None:
    with receiving() as receiver:
        receiver.answers, receiver.headers = [status, status], {"Location": f"{receiver.url}/elsewhere"}
        async with hook(receiver.url) as made:
            made.tell(NEAR)
            made.tell(AWAY)
            await comes_true("all came", lambda: len(receiver.came) == 4)
    assert len(set(receiver.ids[:3])) == 1
    assert {path for path, _, _ in receiver.came} == {"/hook"}, "no redirect is followed"
    assert json.loads(receiver.came[3][2])["type"] == "stream.away", "in order"


async def test_one_who_refuses_again_and_again_is_believed(caplog: pytest.LogCaptureFixture) -> None:
    with receiving() as receiver:
        receiver.answers = [401] * webhook.MAX_REFUSALS
        async with hook(receiver.url) as made:
            made.tell(NEAR)
            made.tell(AWAY)
            await comes_true("the next came", lambda: len(receiver.came) == webhook.MAX_REFUSALS + 1)
    assert "given up: it answered 401" in caplog.text


async def test_one_that_hangs_is_left_after_a_while() -> None:
    silent = threading.Event()
    with receiving() as receiver:
        receiver.answers = [silent]
        async with hook(receiver.url, timeout_s=0.2) as made:
            made.tell(NEAR)
            await comes_true("it was tried again", lambda: len(receiver.came) == 2)
            silent.set()


async def test_one_that_is_away_gets_it_when_it_is_back() -> None:
    port = free_port()
    async with hook(f"http://127.0.0.1:{port}/hook") as made:
        made.tell(NEAR)
        await asyncio.sleep(0.05)
        with receiving(port) as receiver:
            await comes_true("it came", lambda: bool(receiver.came))


async def test_the_queue_is_bounded_and_the_newest_count(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(webhook, "MAX_WAITING", 3)
    silent = threading.Event()
    with receiving() as receiver:
        receiver.answers = [silent]
        async with hook(receiver.url) as made:
            made.tell(AWAY)
            await comes_true("one is under way", lambda: bool(receiver.came))
            began = time.monotonic()
            for _ in range(1000):
                made.tell(NEAR)
            assert time.monotonic() - began < 1, "it never waits"
            assert len(made._waiting) == 3
            silent.set()
    assert "the oldest event is not told" in caplog.text


async def test_what_is_too_old_is_given_up(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(webhook, "MAX_AGE_S", 0.05)
    caplog.set_level(logging.ERROR)
    with receiving() as receiver:
        receiver.answers = [500] * 100
        async with hook(receiver.url) as made:
            made.tell(NEAR)
            await comes_true("given up", lambda: "given up: it answered 500" in caplog.text)


async def test_the_end_does_not_wait_for_one_that_hangs() -> None:
    silent = threading.Event()
    with receiving() as receiver:
        receiver.answers = [silent]
        async with hook(receiver.url) as made:
            made.tell(NEAR)
            await comes_true("one is under way", lambda: bool(receiver.came))
            began = time.monotonic()
            await made.close()
            assert time.monotonic() - began < webhook.CLOSE_S
            silent.set()


def test_references_are_read_and_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for config, line in [
        ({"webhook": "env:NO_HOOK"}, "hooks.webhook: the environment variable NO_HOOK with its address is not set"),
        (
            {"webhook": "http://h/", "webhook_secret": f"file:{tmp_path}/none"},
            f"hooks.webhook_secret: cannot read its secret from {tmp_path}/none: No such file or directory",
        ),
        ({"webhook": "http://h/", "webhook_secret": "whsec_hunter2!!!!!!!"}, "what follows whsec_ is not base64"),
    ]:
        with pytest.raises(ConfigError) as caught:
            Webhook(HooksConfig.model_validate(config))
        assert line in str(caught.value)
        assert "hunter2" not in str(caught.value)
    monkeypatch.setenv("HOOK", "gopher://hunter2")
    with pytest.raises(ConfigError, match="not an address such as"):
        Webhook(HooksConfig(webhook="env:HOOK"))


async def test_neither_address_nor_secret_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    port = free_port()
    async with hook(f"http://u:hunter2@127.0.0.1:{port}/hunter3", secret="hunter4 hunter4 hunter4") as made:
        made.tell(NEAR)
        await comes_true("it is logged", lambda: "trying again" in caplog.text)
    assert "hunter" not in caplog.text
