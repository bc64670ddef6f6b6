"""What a WHIP endpoint may answer, and what becomes of one that does not behave. Media is in test_push.py."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from streamd.config.push import PushTarget
from streamd.errors import PushFailed
from streamd.media.hub import Subscription
from streamd.sinks.push.feed import Feed
from streamd.sinks.webrtc import whip
from tests.support.rtsp_client import Porch
from tests.support.taker import listening
from tests.support.waiting import timeout

LINES = [
    "v=0",
    "o=- 1 1 IN IP4 127.0.0.1",
    "s=-",
    "t=0 0",
    "a=group:BUNDLE 0",
    "m=video 9 UDP/TLS/RTP/SAVPF 96",
    "c=IN IP4 0.0.0.0",
    "a=mid:0",
    "a=recvonly",
    "a=ice-ufrag:abcd",
    "a=ice-pwd:0123456789abcdef012345",
    "a=fingerprint:sha-256 " + ":".join(["AB"] * 32),
    "a=setup:passive",
    "a=rtcp-mux",
    "a=rtpmap:96 VP8/90000",
    "a=candidate:1 1 udp 1 192.0.2.1 9 typ host",
]


class Endpoint:
    """Answers each request as its method says; remembers what it was asked."""

    def __init__(self, **answers: bytes) -> None:
        self.answers = answers
        self.asked: list[tuple[str, bytes]] = []
        """Method and path, and all of the request."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        data = await reader.read(65536)
        if data:
            start = data.partition(b" HTTP/")[0].decode()
            self.asked.append((start, data))
            writer.write(self.answers.get(start.partition(" ")[0], b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))
        writer.close()

    @property
    def starts(self) -> list[str]:
        return [start for start, _ in self.asked]


def answer(status: int = 201, sdp: str | bytes = "", **headers: str) -> bytes:
    body = sdp.encode() if isinstance(sdp, str) else sdp
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", *(f"{k}: {v}" for k, v in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body


def sdp(*more: str, without: str = "nothing") -> str:
    return "".join(f"{line}\r\n" for line in [*LINES, *more] if not line.startswith(without))


@asynccontextmanager
async def pushed(endpoint: Endpoint, login: str = "") -> AsyncIterator[asyncio.Task[None]]:
    porch = Porch()
    feed = Feed("porch depth", lambda codec: Subscription(porch.depth, on_drop=lambda count: None), lambda: None)
    async with listening(endpoint.serve) as port:
        target = PushTarget.parse(f"whip://{login}127.0.0.1:{port}/whip/cam")
        task = asyncio.create_task(whip.push(target, feed))
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.wait([task])


async def failure(endpoint: Endpoint, login: str = "") -> PushFailed:
    async with pushed(endpoint, login) as task, timeout(10):
        with pytest.raises(PushFailed) as caught:
            await task
    return caught.value


async def test_what_is_offered() -> None:
    endpoint = Endpoint(POST=answer(404))
    assert (await failure(endpoint, "s3cret@")).reason == "answers 404: there is no such endpoint"
    ((start, request),) = endpoint.asked
    head, _, offer = request.decode().partition("\r\n\r\n")
    assert start == "POST /whip/cam"
    assert {"Content-Type: application/sdp", "Authorization: Bearer s3cret"} < set(head.split("\r\n"))
    lines = offer.split("\r\n")
    assert sum(line.startswith("m=") for line in lines) == 1
    assert {"a=sendonly", "a=setup:actpass", "a=rtcp-mux"} < set(lines)
    codecs = [line.partition(" ")[2] for line in lines if line.startswith("a=rtpmap:")]
    assert [codec for codec in codecs if "rtx" not in codec] == ["H264/90000", "H264/90000", "VP8/90000"]
    assert any(line.startswith("a=candidate:") for line in lines)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (answer(401), "answers 401: the token is not right"),
        (answer(307, Location="http://192.0.2.1/"), "answers 307: redirects are not followed"),
        (answer(200, sdp()), "answers 200"),
        (answer(503), "answers 503"),
        (answer(201, "no SDP"), "answers with no SDP that takes H.264 or VP8 video"),
        (answer(201, b"\xff\xfe"), "answers no SDP"),
        (answer(201, sdp(without="a=fingerprint")), "answers with no SDP that takes"),
        (answer(201, sdp(without="a=ice-pwd")), "answers with no SDP that takes"),
        (answer(201, sdp().replace("VP8", "VP9")), "answers with no SDP that takes"),
        (answer(201, sdp().replace("recvonly", "inactive")), "answers with no SDP that takes"),
        (answer(201, sdp().replace("m=video 9", "m=audio 9")), "answers with no SDP that takes"),
        (answer(201, sdp(*["a=rtcp-fb:96 nack"] * 5000)), "answers with no SDP that takes"),
        (answer(201, sdp() + sdp()[sdp().index("m=") :]), "answers with no SDP that takes"),
    ],
)
async def test_what_is_no_answer(said: bytes, reason: str) -> None:
    found = await failure(Endpoint(POST=said))
    assert found.reason.startswith(reason)
    assert found.refused != reason.startswith("answers 5")  # something behind it is away: it is back soon


async def test_a_token_that_no_header_can_hold() -> None:
    endpoint = Endpoint()
    assert (await failure(endpoint, "a%0d%0aX%3a%20y@")).reason == "the token has a character that no header can hold"
    assert endpoint.asked == []


async def test_no_media_connection_ends_the_session(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whip, "CONNECT_S", 0.3)
    endpoint = Endpoint(POST=answer(201, sdp(), Location="sessions/1?x=y"))
    found = await failure(endpoint, "s3cret@")
    assert found.reason == "no connection for media comes about: UDP may be blocked"
    assert not found.refused
    assert endpoint.starts == ["POST /whip/cam", "DELETE /whip/sessions/1?x=y"]
    assert b"\r\nAuthorization: Bearer s3cret\r\n" in endpoint.asked[1][1]


async def test_another_server_does_not_get_the_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whip, "CONNECT_S", 0.3)
    other = Endpoint()
    async with listening(other.serve) as port:
        for location in (f"http://127.0.0.1:{port}/x", f"//127.0.0.1:{port}/x", "http://[/", "file:///etc/passwd"):
            endpoint = Endpoint(POST=answer(201, sdp(), Location=location))
            await failure(endpoint, "s3cret@")
            assert endpoint.starts == ["POST /whip/cam"]
    assert other.asked == []


async def test_the_end_of_the_stream_ends_what_has_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint = Endpoint(POST=answer(201, sdp(), Location="/s"))
    async with pushed(endpoint) as task:
        async with timeout(5):
            while not endpoint.asked:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.wait([task])
    assert endpoint.starts == ["POST /whip/cam", "DELETE /s"]


async def test_nobody_listens() -> None:
    async with listening(Endpoint().serve) as port:
        pass
    porch = Porch()
    feed = Feed("porch depth", lambda codec: Subscription(porch.depth, on_drop=lambda count: None), lambda: None)
    with pytest.raises(PushFailed, match="connection refused") as caught:
        await whip.push(PushTarget.parse(f"whip://127.0.0.1:{port}/"), feed)
    assert not caught.value.refused
