"""WHEP with rubbish: never a 5xx but 503, always an answer soon, and nothing is left of it."""

from __future__ import annotations

import asyncio
import gc
import os
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

import aiohttp
import pytest
from aiohttp import web
from aiortc import RTCConfiguration, RTCPeerConnection
from hypothesis import given, settings
from hypothesis import strategies as st

from streamd.config.sections import WebRtcConfig
from streamd.media.hub import PacketHub
from streamd.sinks.webrtc import WebRtcSink
from streamd.states import StreamState
from streamd.telemetry.metrics import Metrics
from streamd.web import whep
from streamd.web.errors import json_errors
from streamd.web.routes import RouteTable
from tests.support.waiting import scaled, timeout

pytestmark = pytest.mark.timeout(110)

SDP, FRAGMENT = whep.SDP, whep.FRAGMENT
ANSWERED_S = 5.0
"""However busy the box is; what goes wrong here hangs."""
LEFT_S = 10.0
MAX_VIEWERS = 8
JOIN_TIMEOUT_S = 0.4


class Porch:
    """A stream without a picture: the offers are what counts."""

    name, state = "porch", StreamState.RUNNING

    def __init__(self) -> None:
        self.metrics = Metrics().of_stream(self.name)
        self._hub = PacketHub(asyncio.get_running_loop(), lambda reason: None)

    def hub(self, view: str, codec: str = "h264", *, light: bool = False) -> PacketHub:
        return self._hub

    def live_hub(self, view: str, codec: str = "h264", *, light: bool = False, height: int | None = None) -> PacketHub:
        return self._hub


class Site:
    """The server, and what it holds."""

    def __init__(self, porch: Porch, sink: WebRtcSink, runner: web.AppRunner, offer: str) -> None:
        self.porch, self.sink, self._runner, self.offer = porch, sink, runner, offer
        self.base = f"http://127.0.0.1:{runner.addresses[0][1]}"
        self.answers: Counter[int] = Counter()
        self._http = aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True))
        self._before = self._held()

    @classmethod
    async def opened(cls) -> Site:
        porch = Porch()
        sink = WebRtcSink(WebRtcConfig(max_viewers=MAX_VIEWERS), join_timeout_s=JOIN_TIMEOUT_S)
        app = web.Application(middlewares=[json_errors])
        app.on_response_prepare.append(whep.for_any_page)
        app[whep.ENDPOINTS] = whep.Endpoints(lambda name: porch if name == "porch" else None, sink)
        app.add_routes(RouteTable(whep.ROUTES).definitions())
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return cls(porch, sink, runner, await offer_of_a_viewer())

    async def close(self) -> None:
        await self._http.close()
        await self.sink.shutdown()
        await self._runner.cleanup()

    def _held(self) -> tuple[int, int, int]:
        gc.collect()
        return self.sink.count, len(asyncio.all_tasks()), len(os.listdir("/proc/self/fd"))

    async def leaves_nothing(self) -> None:
        give_up_at = time.monotonic() + scaled(LEFT_S)
        while any(now > before for now, before in zip(self._held(), self._before, strict=True)):
            assert time.monotonic() < give_up_at, f"sessions, tasks, descriptors: {self._before} became {self._held()}"
            await asyncio.sleep(0.1)
        assert not self.porch.hub("depth").watched

    async def ask(self, method: str, path: str, body: bytes, media_type: str) -> int:
        """The status, after checking what holds for all answers."""
        headers = {"Content-Type": media_type} if media_type else {}
        ask = self._http.request(method, self.base + path, data=body, headers=headers)
        async with timeout(ANSWERED_S), ask as answer:
            text = await answer.text()
        self.answers[answer.status] += 1
        assert answer.status < 500 or answer.status == 503, (answer.status, text, body)
        if answer.status != 405 and re.fullmatch(r"/whep/\w+(/[\w-]+)?(\?.*)?", path):
            assert answer.headers["Access-Control-Allow-Origin"] == "*"
        if answer.status >= 400:
            assert answer.content_type == "application/json"
            assert '"code"' in text
        if answer.status == 201:
            self.session = answer.headers["Location"]
        return answer.status

    async def hang_up(self, times: int) -> None:
        """At once after a whole offer, so that its answer finds nobody, and before the end of one."""
        address = urlsplit(self.base)
        offer = self.offer.encode()
        head = f"POST /whep/porch HTTP/1.1\r\nHost: x\r\nContent-Type: {SDP}\r\nContent-Length: {len(offer)}\r\n\r\n"
        for number in range(times):
            _, writer = await asyncio.open_connection(address.hostname, address.port)
            writer.write(head.encode() + offer[: len(offer) if number % 2 else number * 20])
            await writer.drain()
            writer.transport.abort()


async def offer_of_a_viewer() -> str:
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    peer.addTransceiver("audio", direction="recvonly")
    peer.addTransceiver("video", direction="recvonly")
    await peer.setLocalDescription(await peer.createOffer())
    offer = peer.localDescription.sdp
    await peer.close()
    return offer


@dataclass
class Fuzzed:
    """A site on a loop of its own: hypothesis does not know coroutines."""

    site: Site
    runner: asyncio.Runner

    def ask(self, method: str, path: str, body: bytes = b"", media_type: str = SDP) -> int:
        return self.runner.run(self.site.ask(method, path, body, media_type))


@pytest.fixture
def fuzzed() -> Iterator[Fuzzed]:
    with asyncio.Runner() as runner:
        site = runner.run(Site.opened())
        try:
            yield Fuzzed(site, runner)
            runner.run(site.leaves_nothing())
        finally:
            runner.run(site.close())


# -- what is done to an offer -------------------------------------------------------------------------

Lines = list[bytes]
JUNK = (b"", b"\0", b"\xff", b"-1", b"0", b"9" * 40, b"%s", b"a" * 2000, b" ", b"\r\n", "\N{SNOWMAN}".encode())


def dropped(lines: Lines, at: int, other: int, junk: bytes) -> Lines:
    return lines[:at] + lines[at + 1 :]


def doubled(lines: Lines, at: int, other: int, junk: bytes) -> Lines:
    return lines[:at] + [lines[at]] * (2 + other % 20) + lines[at + 1 :]


def swapped(lines: Lines, at: int, other: int, junk: bytes) -> Lines:
    lines[at], lines[other] = lines[other], lines[at]
    return lines


def cut_off(lines: Lines, at: int, other: int, junk: bytes) -> Lines:
    return [*lines[:at], lines[at][: other % (len(lines[at]) + 1)]]


def shortened(lines: Lines, at: int, other: int, junk: bytes) -> Lines:
    return [*lines[:at], lines[at][: other % (len(lines[at]) + 1)] + b"\r\n", *lines[at + 1 :]]


def word_replaced(lines: Lines, at: int, other: int, junk: bytes) -> Lines:
    words = re.split(rb"([ :=/;,])", lines[at])
    words[other % len(words)] = junk
    return [*lines[:at], b"".join(words), *lines[at + 1 :]]


def byte_replaced(lines: Lines, at: int, other: int, junk: bytes) -> Lines:
    line = bytearray(lines[at] or b"\n")
    line[other % len(line)] = junk[0] if junk else other % 256
    return [*lines[:at], bytes(line), *lines[at + 1 :]]


def inserted(lines: Lines, at: int, other: int, junk: bytes) -> Lines:
    return [*lines[:at], junk + b"\r\n", *lines[at:]]


DEEDS = (dropped, doubled, swapped, cut_off, shortened, word_replaced, byte_replaced, inserted)
WHERE = st.integers(0, 10_000)
DAMAGE = st.lists(
    st.tuples(st.sampled_from(DEEDS), WHERE, WHERE, st.sampled_from(JUNK) | st.binary(max_size=12)),
    min_size=1,
    max_size=5,
)
Damage = list[tuple[Callable[[Lines, int, int, bytes], Lines], int, int, bytes]]


def damaged(text: str, damage: Damage) -> bytes:
    lines = text.encode().splitlines(keepends=True)
    for deed, at, other, junk in damage:
        if lines:
            lines = deed(lines, at % len(lines), other % len(lines), junk)
    return b"".join(lines)


# -- the tests ----------------------------------------------------------------------------------------


def test_damaged_offers(fuzzed: Fuzzed) -> None:
    @settings(max_examples=300)
    @given(DAMAGE)
    def post(damage: Damage) -> None:
        if fuzzed.ask("POST", "/whep/porch", damaged(fuzzed.site.offer, damage)) == 201:
            assert fuzzed.ask("DELETE", fuzzed.site.session) in (200, 404)

    post()
    answers = fuzzed.site.answers
    assert answers[201] > 20, "hardly an offer gets through: the damage is too great to find anything"
    assert answers[400] > 20, "nearly all offers get through: the damage is too small"
    assert set(answers) <= {200, 201, 400, 404, 422}


def test_fragments(fuzzed: Fuzzed) -> None:
    ufrag = re.search("a=ice-ufrag:.*\r\n", fuzzed.site.offer)
    assert ufrag
    candidates = "".join(f"a=candidate:1 1 udp 1 127.0.0.1 {port} typ host\r\n" for port in range(9, 12))
    fragment = f"{ufrag[0]}m=video 9 X 0\r\na=mid:1\r\n{candidates}a=end-of-candidates\r\n"

    @settings(max_examples=200)
    @given(DAMAGE)
    def patch(damage: Damage) -> None:
        if fuzzed.ask("GET", fuzzed.site.session) == 404:  # nobody has connected, so it has ended
            assert fuzzed.ask("POST", "/whep/porch", fuzzed.site.offer.encode()) == 201
        fuzzed.ask("PATCH", fuzzed.site.session, damaged(fragment, damage), FRAGMENT)

    fuzzed.ask("POST", "/whep/porch", fuzzed.site.offer.encode())
    patch()
    assert fuzzed.site.answers[204] > 10
    assert fuzzed.site.answers[400] > 10


PATHS = st.sampled_from(("/whep/porch", "/whep/nowhere", "/whep/", "/whep", "/whep/porch?view=x", "/whep/%00")) | (
    st.text(max_size=30).map(lambda guess: f"/whep/porch/{quote(guess, safe='')}")
)
TYPES = st.sampled_from((SDP, FRAGMENT, "", "text/plain", "application/json", "application/sdp; charset=utf-7", "x"))
METHODS = st.sampled_from(("POST", "PATCH", "DELETE", "GET", "OPTIONS", "PUT", "TRACE"))


def test_rubbish(fuzzed: Fuzzed) -> None:
    @settings(max_examples=250)
    @given(METHODS, PATHS, TYPES, st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
    def send(method: str, path: str, media_type: str, body: bytes) -> None:
        assert fuzzed.ask(method, path, body, media_type) not in (201, 204)

    send()
    assert {200, 400, 404, 405, 415} <= set(fuzzed.site.answers)


@pytest.mark.parametrize("method", ["POST", "PATCH"])
@pytest.mark.parametrize("size", [whep.MAX_BODY + 1, 1_000_000])
def test_huge_bodies(fuzzed: Fuzzed, method: str, size: int) -> None:
    """Of an offer that would do but for its size, and of one line."""
    offer = fuzzed.site.offer.encode()
    fuzzed.ask("POST", "/whep/porch", offer)
    path, media_type = ("/whep/porch", SDP) if method == "POST" else (fuzzed.site.session, FRAGMENT)
    for body in (offer.ljust(size), (offer + b"a=x\r\n" * (size // 5))[:size], b"x" * size):
        try:
            assert fuzzed.ask(method, path, body, media_type) == 413
        except aiohttp.ClientOSError:
            assert size > 1_000_000, "it hung up although so little was left to read"
    assert fuzzed.ask("GET", "/whep/porch") == 200


def test_offers_of_nobody_end_by_themselves(fuzzed: Fuzzed) -> None:
    """Who posts and never comes takes a seat only until the time to join has gone by."""
    offer = fuzzed.site.offer.encode()
    answers = [fuzzed.ask("POST", "/whep/porch", offer) for _ in range(3 * MAX_VIEWERS)]
    assert set(answers) == {201, 503}
    fuzzed.runner.run(fuzzed.site.leaves_nothing())
    assert fuzzed.ask("POST", "/whep/porch", offer) == 201


def test_who_hangs_up_in_the_middle_of_an_offer(fuzzed: Fuzzed) -> None:
    fuzzed.runner.run(fuzzed.site.hang_up(40))
    assert fuzzed.ask("POST", "/whep/porch", fuzzed.site.offer.encode()) in (201, 503)
