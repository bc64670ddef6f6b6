"""What an RTSP server is told and sent, and what becomes of one that does not behave."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from streamd.config.push import PushTarget
from streamd.errors import PushFailed
from streamd.media.hub import Subscription
from streamd.media.rtsp_messages import Message
from streamd.sinks.push import rtsp
from streamd.sinks.push.feed import Feed
from tests.support.rtsp_client import Porch
from tests.support.taker import Taker, listening, says, taking
from tests.support.waiting import timeout


class Pushed:
    """A push of a porch in a task."""

    def __init__(self, url: str) -> None:
        self.porch = Porch()
        self.up = asyncio.Event()
        feed = Feed("porch depth", lambda codec: Subscription(self.porch.depth, on_drop=lambda n: None), self.up.set)
        self.task = asyncio.create_task(rtsp.push(PushTarget.parse(url), feed))

    async def is_up(self) -> None:
        async with timeout(5):
            await self.up.wait()

    async def failure(self) -> PushFailed:
        async with timeout(5):
            with pytest.raises(PushFailed) as caught:
                await self.task
        return caught.value


@asynccontextmanager
async def pushed(url: str) -> AsyncIterator[Pushed]:
    push = Pushed(url)
    try:
        yield push
    finally:
        push.task.cancel()
        await asyncio.wait([push.task])


async def test_it_announces_sets_up_and_records() -> None:
    async with taking() as taker, pushed(taker.url) as push:
        await push.is_up()
        uri = taker.url
        assert [(method, uri) for method, uri, _ in taker.asked[:4]] == [
            ("OPTIONS", uri),
            ("ANNOUNCE", uri),
            ("SETUP", f"{uri}/trackID=0"),
            ("RECORD", uri),
        ]
        announce, setup, record = (message for _, _, message in taker.asked[1:4])
        assert announce.get("Content-Type") == b"application/sdp"
        assert b"m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n" in announce.body
        assert b";profile-level-id=42C01F;sprop-parameter-sets=Z0LAH9o=,aM48gA==\r\n" in announce.body
        assert setup.get("Transport") == b"RTP/AVP/TCP;unicast;interleaved=0-1;mode=record"
        assert record.get("Session") == b"s1"


async def test_packets_come_on_the_channels_that_the_server_chose_without_a_gap() -> None:
    async with taking() as taker, pushed(taker.url) as push:
        await push.is_up()
        for _ in range(10):
            push.porch.publish(3000)
        await taker.until(lambda: sum(channel == 2 for channel, _ in taker.packets()) >= 32)
        rtp = [packet for channel, packet in taker.packets() if channel == 2]
        numbers = [int.from_bytes(packet[2:4]) for packet in rtp]
        assert {(later - first) & 0xFFFF for first, later in itertools.pairwise(numbers)} == {1}
        assert sum(packet[1] >> 7 for packet in rtp) >= 11  # markers: a keyframe and ten pictures
        assert {channel for channel, _ in taker.packets()} == {2, 3}  # and a sender report


async def test_at_the_end_it_says_goodbye() -> None:
    async with taking() as taker, pushed(taker.url) as push:
        await push.is_up()
        push.task.cancel()
        await asyncio.wait([push.task])
        assert (taker.methods[-1], taker.asked[-1][2].get("Session")) == ("TEARDOWN", b"s1")
        assert not push.porch.depth.watched


async def test_it_ends_with_its_stream() -> None:
    async with taking() as taker, pushed(taker.url) as push:
        await push.is_up()
        push.porch.depth.close()
        async with timeout(5):
            await push.task
        assert taker.methods[-1] == "TEARDOWN"


def digest(method: str, uri: str, nonce: str) -> str:
    def md5(*parts: str) -> str:
        return hashlib.md5(":".join(parts).encode()).hexdigest()

    return md5(md5("me", "gate", "s3cret"), nonce, md5(method, uri))


@pytest.mark.parametrize(("password", "good"), [("s3cret", True), ("wrong", False)])
async def test_it_logs_in_by_digest(password: str, good: bool) -> None:
    def check(method: str, message: Message) -> list[tuple[str, bytes]] | None:
        uri = taker.url if method != "SETUP" else f"{taker.url}/trackID=0"
        if method == "OPTIONS" or f'response="{digest(method, uri, "n1")}"'.encode() in message.get("Authorization"):
            return None
        return [("WWW-Authenticate", b'Digest realm="gate", nonce="n1"')]

    async with taking() as taker:
        taker.checks = check
        async with pushed(taker.url.replace("://", f"://me:{password}@")) as push:
            if good:
                await push.is_up()
            else:
                failure = await push.failure()
                assert (failure.reason, failure.refused) == ("answers 401 Unauthorized to ANNOUNCE", True)
                assert taker.methods.count("ANNOUNCE") == 2  # once: some servers lock an account
            assert not any(b"s3cret" in bytes(message) for _, _, message in taker.asked)


async def test_a_password_may_be_in_a_variable_and_is_asked_for_in_vain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_SUCH", raising=False)
    async with pushed("rtsp://me:env:NO_SUCH@127.0.0.1:9/x") as push:
        failure = await push.failure()
        assert failure.reason == "the environment variable NO_SUCH with its password is not set"


@pytest.mark.parametrize(
    ("method", "status", "reason"),
    [
        ("ANNOUNCE", 404, "answers 404 Not Found to ANNOUNCE"),
        ("ANNOUNCE", 302, "answers 302 redirects are not followed to ANNOUNCE"),
        ("SETUP", 461, "answers 461 Unsupported Transport to SETUP"),
        ("RECORD", 503, "answers 503 Service Unavailable to RECORD"),
        ("RECORD", 599, "answers 599 to RECORD"),
    ],
)
async def test_a_refusal_is_named(method: str, status: int, reason: str) -> None:
    async with taking(Taker(statuses={method: status})) as taker, pushed(taker.url) as push:
        failure = await push.failure()
        assert (failure.reason, failure.refused) == (reason, status < 500)


@pytest.mark.parametrize(
    ("transport", "reason"),
    [
        (b"RTP/AVP;unicast;server_port=5000-5001", "does not take RTP on the same connection (TCP)"),
        (b"RTP/AVP/TCP;interleaved=7-7", "names channels that there are not"),
        (b"RTP/AVP/TCP;interleaved=999-1", "names channels that there are not"),
    ],
)
async def test_a_transport_of_no_use_is_refused(transport: bytes, reason: str) -> None:
    async with taking() as taker:
        taker.headers["SETUP"] = [("Transport", transport)]
        async with pushed(taker.url) as push:
            assert (await push.failure()).reason == reason


async def test_nobody_listens() -> None:
    async with listening(says(b"")) as port:
        pass
    async with pushed(f"rtsp://127.0.0.1:{port}/x") as push:
        failure = await push.failure()
        assert (failure.reason, failure.refused) == ("connection refused", False)
        assert not push.porch.depth.watched


@pytest.mark.parametrize(
    ("data", "every_s", "reason"),
    [
        (b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", None, "does not speak RTSP"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", None, "does not speak RTSP"),
        (b"RTSP/1.0 200 OK\r\nCSeq: 1\r\n" + b"X: y\r\n" * 4000, None, "does not speak RTSP"),
        (b"RTSP/1.0 200 OK\r\nCSeq: 1\r\nContent-Length: 9999999\r\n\r\n", None, "does not speak RTSP"),
        (b"$\0\0\x20" + bytes(32), 0.0, "sends more than a server has to say"),
        (b"RTSP/1.0 200 OK\r\nCSeq: 77\r\n\r\n" * 1000, 0.0, "sends more than a server has to say"),
    ],
)
async def test_one_that_is_hostile_is_left(data: bytes, every_s: float | None, reason: str) -> None:
    async with listening(says(data, every_s=every_s)) as port, pushed(f"rtsp://127.0.0.1:{port}/x") as push:
        failure = await push.failure()
        assert (failure.reason, failure.refused) == (reason, True)


async def test_one_that_never_answers_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rtsp, "CONNECT_S", 0.1)
    async with taking(Taker(silent=True)) as taker, pushed(taker.url) as push:
        failure = await push.failure()
        assert (failure.reason, failure.refused) == ("does not answer", False)


async def test_one_that_goes_silent_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rtsp, "ASK_EVERY_S", 0.05)
    monkeypatch.setattr(rtsp, "SILENT_S", 0.3)
    async with taking() as taker, pushed(taker.url) as push:
        await push.is_up()
        await taker.until(lambda: taker.methods.count("GET_PARAMETER") > 8)  # it answers: nothing is wrong
        taker.silent = True
        assert (await push.failure()).reason == "has gone silent"
        assert "TEARDOWN" not in taker.methods


async def test_one_that_takes_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rtsp, "SILENT_S", 0.3)
    async with taking() as taker, pushed(taker.url) as push:
        await push.is_up()
        taker.writers[0].transport.pause_reading()  # type: ignore[attr-defined]

        async def publish() -> None:
            while True:
                push.porch.publish(60_000)
                await asyncio.sleep(0.001)

        publishing = asyncio.create_task(publish())
        assert (await push.failure()).reason in ("takes nothing any more", "has gone silent")
        publishing.cancel()


async def test_one_that_hangs_up_is_noticed_at_once() -> None:
    async with taking() as taker, pushed(taker.url) as push:
        await push.is_up()
        taker.writers[0].transport.abort()
        failure = await push.failure()
        assert not failure.refused
        assert re.fullmatch("has hung up|connection reset by peer|cannot be reached", failure.reason)
