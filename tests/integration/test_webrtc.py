"""WHEP and the WebRTC sink with real peers: aiortc clients, a real HTTP server, real H.264.

The camera is synthetic: every picture has its number burnt in, so what arrives can be told.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
import aiortc.codecs.h264
import av
import numpy as np
import pytest
from aiohttp import web
from aiortc import RTCConfiguration, RTCPeerConnection, RTCRtpReceiver, RTCSessionDescription
from aiortc.rtcrtpparameters import RTCRtpHeaderExtensionParameters, RTCRtpParameters
from aiortc.rtp import RtpPacket, unpack_header_extensions
from prometheus_client import CollectorRegistry

from streamd.config.sections import WebRtcConfig
from streamd.errors import UsageError
from streamd.media.encode import LiveEncoder
from streamd.media.frames import TIME_BASE, ByteImage, Stamp
from streamd.media.hub import PacketHub
from streamd.sinks.watched import NOT_RUNNING
from streamd.sinks.webrtc import WebRtcSink, addresses, rtp
from streamd.sinks.webrtc import offer as offer_module
from streamd.sinks.webrtc import session as session_module
from streamd.sinks.webrtc.closing import close_peer
from streamd.sinks.webrtc.gather import Gatherer
from streamd.sinks.webrtc.ice import prepare
from streamd.sinks.webrtc.ports import PortRange
from streamd.states import StreamState
from streamd.telemetry.metrics import Metrics
from streamd.web import whep
from streamd.web.errors import json_errors
from streamd.web.routes import RouteTable
from tests.support.waiting import scaled, timeout, wait_for

pytestmark = pytest.mark.timeout(40)

WIDTH, HEIGHT, BLOCK, BITS = 320, 192, 32, 16
SDP = {"Content-Type": "application/sdp"}
FRAGMENT = {"Content-Type": "application/trickle-ice-sdpfrag"}
VIEWERS = Gatherer(PortRange(), loopback=True)


def picture_of(number: int) -> av.VideoFrame:
    """The number in 16 black or white blocks on a ramp."""
    luma = np.tile(np.linspace(60, 190, WIDTH, dtype=np.uint8), (HEIGHT, 1))
    for bit in range(BITS):
        y, x = BLOCK * (bit // 8), BLOCK * (bit % 8)
        luma[y : y + BLOCK, x : x + BLOCK] = 235 if number >> bit & 1 else 16
    chroma = np.full((HEIGHT // 2, WIDTH), 128, np.uint8)
    return av.VideoFrame.from_ndarray(np.vstack([luma, chroma]), format="yuv420p")


def luma_of(frame: av.VideoFrame) -> ByteImage:
    plane = frame.planes[0]
    return np.frombuffer(bytes(plane), np.uint8).reshape(-1, plane.line_size)[: frame.height, : frame.width]


def half_of(picture: av.VideoFrame) -> av.VideoFrame:
    return picture.reformat(picture.width // 2, picture.height // 2)


def number_in(frame: av.VideoFrame) -> int:
    luma, half = luma_of(frame), BLOCK // 2
    return sum((luma[half + BLOCK * (b // 8), half + BLOCK * (b % 8)] > 128) << b for b in range(BITS))


class Camera:
    """A stream with one view, encoded in a thread of its own in each rendition that somebody watches."""

    def __init__(self, fps: float = 15) -> None:
        self.name, self.state = "porch", StreamState.RUNNING
        self.registry = CollectorRegistry()
        self.metrics = Metrics(self.registry).of_stream(self.name)
        self.requests: list[str] = []
        self.heights: list[int | None] = []
        """That viewers wanted."""
        self.pts: list[int] = []
        """Of each picture that was encoded."""
        self.keyframes = 0
        self._fps = fps
        loop = asyncio.get_running_loop()
        self._hubs = {
            (codec, light): PacketHub(loop, self._request_keyframe)
            for codec in ("h264", "vp8")
            for light in (False, True)
        }
        self._key_wanted, self._wake, self._stopped = False, threading.Event(), False
        self._thread = threading.Thread(target=self._run, name="camera")
        self._thread.start()

    def live_hub(self, view: str, codec: str = "h264", *, light: bool = False, height: int | None = None) -> PacketHub:
        self.heights.append(height)
        return self.hub(view, codec, light=light)

    def hub(self, view: str, codec: str = "h264", *, light: bool = False) -> PacketHub:
        if view != "depth":
            raise UsageError(f"view {view}: unknown")
        return self._hubs[codec, light]

    @property
    def encoded(self) -> int:
        return len(self.pts)

    def _request_keyframe(self, reason: str) -> None:
        self.requests.append(reason)
        self._key_wanted = True
        self._wake.set()

    def _run(self) -> None:
        encoders = {
            (codec, light): LiveEncoder(WIDTH // (1 + light), HEIGHT // (1 + light), codec=codec, fps=30)  # type: ignore[arg-type]
            for codec, light in self._hubs
        }
        while not self._stopped:
            self._wake.wait(1 / self._fps)
            self._wake.clear()
            key_wanted, self._key_wanted = self._key_wanted, False
            now = time.monotonic()
            stamp = Stamp(self.encoded, int(now * 90_000), now)
            number = self.encoded
            self.pts.append(stamp.pts)
            for key, encoder in encoders.items():
                if key_wanted:
                    encoder.request_keyframe()
                picture = picture_of(number)
                packets = encoder.encode(picture if not key[1] else half_of(picture), stamp)
                self.keyframes += sum(p.is_keyframe for p in packets if key == ("h264", False))
                self._hubs[key].publish_threadsafe(packets)

    def close(self) -> None:
        self._stopped = True
        self._wake.set()
        self._thread.join()


class Viewer:
    """An aiortc client that watches over WHEP."""

    def __init__(self, site: Site, *, audio: bool = False) -> None:
        self._site = site
        self.location = ""
        self.answer = ""
        self.peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        if audio:
            self.peer.addTransceiver("audio", direction="recvonly")
        self.video: RTCRtpReceiver = self.peer.addTransceiver("video", direction="recvonly").receiver

    async def offer(self) -> str:
        offer = await self.peer.createOffer()
        prepare(self.peer, VIEWERS)
        await self.peer.setLocalDescription(offer)
        return self.peer.localDescription.sdp

    async def join(self, edit: Callable[[str], str] = lambda offer: offer) -> Viewer:
        answer = await self._site.post(edit(await self.offer()))
        assert answer.status == 201, answer.text
        self.location, self.answer = answer.headers["Location"], answer.text
        await self.peer.setRemoteDescription(RTCSessionDescription(answer.text, "answer"))
        return self

    @property
    def id(self) -> str:
        return self.location.rpartition("/")[2]

    async def picture(self) -> av.VideoFrame:
        async with timeout(5):
            frame = await self.video.track.recv()
        assert isinstance(frame, av.VideoFrame)
        return frame

    async def numbers(self, count: int) -> list[int]:
        return [number_in(await self.picture()) for _ in range(count)]

    async def lose_a_picture(self) -> None:
        """Says PLI, as a browser does that cannot decode."""
        source = self.video.getSynchronizationSources()[0].source
        await self.video._send_rtcp_pli(source)

    def die(self) -> None:
        """Closes its sockets and says nothing, as kill -9 does."""
        for protocol in self.video.transport.transport._connection._protocols:
            protocol.transport.abort()


@dataclass
class Reply:
    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def code(self) -> str:
        return str(json.loads(self.text)["error"]["code"])


class Site:
    """The server and a client for it."""

    def __init__(self, camera: Camera, sink: WebRtcSink, base: str, http: aiohttp.ClientSession) -> None:
        self.camera, self.sink, self.base, self._http = camera, sink, base, http

    async def request(self, method: str, path: str, body: str | bytes | None = None, **headers: str) -> Reply:
        async with self._http.request(method, self.base + path, data=body, headers=headers) as response:
            return Reply(response.status, response.headers, await response.text())

    async def post(self, offer: str | bytes, path: str = "/whep/porch") -> Reply:
        return await self.request("POST", path, offer, **SDP)

    def viewers_metric(self) -> float:
        return self.camera.registry.get_sample_value("streamd_viewers", {"stream": "porch", "view": "depth"}) or 0


@asynccontextmanager
async def served(camera: Camera, sink: WebRtcSink) -> AsyncIterator[Site]:
    app = web.Application(middlewares=[json_errors])
    app.on_response_prepare.append(whep.for_any_page)
    app[whep.ENDPOINTS] = whep.Endpoints(lambda name: camera if name == "porch" else None, sink)
    app.add_routes(RouteTable(whep.ROUTES).definitions())
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    try:
        async with aiohttp.ClientSession() as http:
            yield Site(camera, sink, f"http://127.0.0.1:{port}", http)
    finally:
        await sink.shutdown()
        await runner.cleanup()


@pytest.fixture
async def camera() -> AsyncIterator[Camera]:
    camera = Camera()
    yield camera
    camera.close()


@pytest.fixture
async def sink() -> WebRtcSink:
    return WebRtcSink(WebRtcConfig(max_viewers=4))


@pytest.fixture
async def site(camera: Camera, sink: WebRtcSink) -> AsyncIterator[Site]:
    async with served(camera, sink) as site:
        yield site


@pytest.fixture
async def viewer(site: Site) -> AsyncIterator[Callable[..., Viewer]]:
    """Makes viewers and sees them off."""
    viewers: list[Viewer] = []

    def make(**options: bool) -> Viewer:
        viewers.append(Viewer(site, **options))
        return viewers[-1]

    yield make
    await asyncio.gather(*(close_peer(viewer.peer) for viewer in viewers))


async def gone(site: Site, viewer: Viewer, within_s: float = 5) -> None:
    session = site.sink.session(viewer.id)
    if session is not None:
        await wait_for(session.gone.wait(), within_s)
    assert site.sink.session(viewer.id) is None


MakeViewer = Callable[..., Viewer]


async def test_the_picture_arrives(site: Site, viewer: MakeViewer) -> None:
    watching = await viewer().join()
    frames = [await watching.picture() for _ in range(15)]
    numbers = [number_in(frame) for frame in frames]
    assert numbers == list(range(numbers[0], numbers[0] + 15)), "in order, none missing"
    assert numbers[-1] >= site.camera.encoded - 8, "and live"
    difference = luma_of(frames[-1]).astype(int) - luma_of(picture_of(numbers[-1]))
    assert abs(difference).mean() < 4, "and what was put in"


async def test_timestamps_are_the_cameras(site: Site, viewer: MakeViewer) -> None:
    watching = await viewer().join()
    frames = [await watching.picture() for _ in range(10)]
    sent = [site.camera.pts[number_in(frame)] for frame in frames]
    arrived = [frame.pts or 0 for frame in frames]
    assert {frame.time_base for frame in frames} == {TIME_BASE}
    assert [pts - sent[0] for pts in sent] == [pts - arrived[0] for pts in arrived]


async def test_four_viewers_share_one_encoder(site: Site, viewer: MakeViewer, monkeypatch: pytest.MonkeyPatch) -> None:
    def encode(*_: object) -> None:
        raise AssertionError("aiortc encodes by itself")

    monkeypatch.setattr(aiortc.codecs.h264.H264Encoder, "encode", encode)
    rtp.rtp_payloads.cache_clear()
    first = site.camera.encoded
    viewers = await asyncio.gather(*(viewer().join() for _ in range(4)))
    seen = await asyncio.gather(*(one.numbers(20) for one in viewers))
    encoded = site.camera.encoded - first
    assert set.intersection(*map(set, seen)), "all see the same pictures"
    cache = rtp.rtp_payloads.cache_info()
    assert cache.misses <= encoded, "each packet is split once"
    assert cache.hits >= 2 * cache.misses, "and what was split serves the others"
    assert site.viewers_metric() == 4
    assert site.sink.count == 4


async def test_who_joins_sees_a_picture_within_a_second(site: Site, viewer: MakeViewer) -> None:
    await (await viewer().join()).picture()
    for _ in range(3):
        started = time.monotonic()
        late = await viewer().join()
        await late.picture()
        took_s = time.monotonic() - started
        logging.getLogger(__name__).info("join: %.0f ms", took_s * 1000)
        assert took_s < scaled(1)


async def test_pli_gets_a_keyframe(site: Site, viewer: MakeViewer) -> None:
    watching = await viewer().join()
    await watching.numbers(3)
    keyframes = site.camera.keyframes
    await watching.lose_a_picture()
    await watching.numbers(15)  # a second: there are two keyframes in one at most
    assert "pli" in site.camera.requests
    assert site.camera.keyframes > keyframes


async def test_delete_frees_everything(site: Site, viewer: MakeViewer) -> None:
    await site.request("GET", "/whep/porch")
    before = asyncio.all_tasks()
    watching = await viewer().join()
    await watching.picture()
    session = site.sink.session(watching.id)
    assert session is not None
    assert site.camera.hub("depth").watched
    assert (await site.request("DELETE", watching.location)).status == 200
    assert (site.sink.count, site.viewers_metric()) == (0, 0)
    assert not site.camera.hub("depth").watched
    assert session.gone.is_set()
    await close_peer(watching.peer)
    await asyncio.sleep(0)
    assert asyncio.all_tasks() <= before
    again = await site.request("DELETE", watching.location)
    assert (again.status, again.code) == (404, "unknown_session")


async def test_a_viewer_that_leaves_is_gone_at_once(site: Site, viewer: MakeViewer) -> None:
    watching = await viewer().join()
    await watching.picture()
    await close_peer(watching.peer)
    await gone(site, watching, within_s=2)
    assert not site.camera.hub("depth").watched


async def test_a_dead_viewer_is_gone(camera: Camera) -> None:
    async with served(camera, WebRtcSink(report_timeout_s=2)) as site:
        watching = await Viewer(site).join()
        session = site.sink.session(watching.id)
        assert session is not None
        while await session.packets_received() is None:
            await watching.picture()
        watching.die()
        await gone(site, watching, within_s=4)
        assert session.over.result() == "no receiver reports"
        assert not camera.hub("depth").watched
        await close_peer(watching.peer)


async def test_a_viewer_whose_camera_is_silent_stays(camera: Camera) -> None:
    async with served(camera, WebRtcSink(report_timeout_s=2)) as site:
        watching = await Viewer(site).join()
        await watching.picture()
        camera.close()
        session = site.sink.session(watching.id)
        assert session is not None
        with pytest.raises(TimeoutError):
            await wait_for(asyncio.shield(session.over), 4)
        await close_peer(watching.peer)


async def test_who_never_connects_is_timed_out(camera: Camera, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "streamd")
    async with served(camera, WebRtcSink(join_timeout_s=0.4)) as site:
        stuck = Viewer(site)
        reply = await site.post(await stuck.offer())
        stuck.location = reply.headers["Location"]
        await gone(site, stuck, within_s=2)
        assert not camera.hub("depth").watched
        await close_peer(stuck.peer)
    opened, closed = (record.getMessage() for record in caplog.records if record.name == "streamd.sinks.webrtc.sink")
    assert opened == f"porch: viewer {stuck.id[:6]} opened: depth, 1 in all"
    assert closed == f"porch: viewer {stuck.id[:6]} closed: never connected"


async def test_full(site: Site, viewer: MakeViewer) -> None:
    viewers = await asyncio.gather(*(viewer().join() for _ in range(4)))
    late = viewer()
    reply = await site.post(await late.offer())
    assert (reply.status, reply.code, reply.headers["Retry-After"]) == (503, "full", "5")
    await site.request("DELETE", viewers[0].location)
    await (await viewer().join()).picture()


async def test_shutdown_ends_all(site: Site, viewer: MakeViewer) -> None:
    viewers = [await viewer().join() for _ in range(2)]
    await viewers[0].picture()
    await site.sink.shutdown()
    assert site.sink.count == 0
    assert not site.camera.hub("depth").watched
    assert (await site.post(await viewer().offer())).status == 503


def without_codecs(offer: str) -> str:
    return re.sub("H264|VP8", "AV1", offer)


def sending(offer: str) -> str:
    return offer.replace("a=recvonly", "a=sendonly")


def only_audio(offer: str) -> str:
    head, audio, _ = re.split(r"(?=m=)", offer)
    return re.sub("(a=group:BUNDLE \\d+) \\d+", r"\1", head) + audio


def crowded(offer: str) -> str:
    head, video = re.split(r"(?=m=)", offer, maxsplit=1)
    return head + video * 9


@pytest.mark.parametrize(
    ("edit", "status", "code"),
    [
        (lambda offer: "", 400, "bad_offer"),
        (lambda offer: "hello", 400, "bad_offer"),
        (lambda offer: "v=0\r\nm=video\r\n", 400, "bad_offer"),
        (lambda offer: b"\xff\xfe", 400, "bad_offer"),
        (lambda offer: offer.replace("a=ice-pwd", "a=ice-pw"), 400, "bad_offer"),
        (lambda offer: offer.replace("a=fingerprint", "a=x"), 400, "bad_offer"),
        (lambda offer: offer.replace("a=group:BUNDLE 0", "a=group:BUNDLE 7 0"), 400, "bad_offer"),
        (lambda offer: offer.replace("a=rtcp-mux\r\n", ""), 400, "bad_offer"),
        (lambda offer: re.sub("a=mid:.", "a=fingerprint:", offer), 400, "bad_offer"),
        (lambda offer: offer.replace("a=candidate:", "a=candidate:x "), 201, ""),
        (sending, 400, "bad_offer"),
        (crowded, 400, "bad_offer"),
        (without_codecs, 422, "no_codec"),
        (lambda offer: offer + "a=x:" + "x" * whep.MAX_BODY, 413, "too_large"),
    ],
)
async def test_bad_offers(
    site: Site, viewer: MakeViewer, edit: Callable[[str], str | bytes], status: int, code: str
) -> None:
    before = asyncio.all_tasks()
    reply = await site.post(edit(await viewer().offer()))
    assert (reply.status, reply.code if code else "") == (status, code), reply.text
    assert reply.headers["Access-Control-Allow-Origin"] == "*"
    if status != 201:
        assert site.sink.count == 0
        assert not site.camera.hub("depth").watched
        assert {task.get_name() for task in asyncio.all_tasks() - before if "viewer" in task.get_name()} == set()
    assert (await site.request("GET", "/whep/porch")).status == 200, "the server is well"


async def test_an_offer_of_audio_alone(site: Site, viewer: MakeViewer) -> None:
    reply = await site.post(only_audio(await viewer(audio=True).offer()))
    assert (reply.status, reply.code) == (400, "bad_offer")
    assert "the offer has no video section that wants to receive" in reply.text


def with_codec(offer: str, fmtp: str) -> str:
    """Of H.264 alone, with these parameters."""
    offer = re.sub(r"(m=video \d+ \S+) .*?\r", "\\1 96\r", re.sub(r"a=(rtpmap|fmtp|rtcp-fb):.*\r\n", "", offer))
    return offer + f"a=rtpmap:96 H264/90000\r\na=fmtp:96 {fmtp}\r\n"


@pytest.mark.parametrize(
    ("edit", "status", "text"),
    [
        (lambda offer: with_codec(offer, "packetization-mode=1;profile-level-id=42E034"), 201, ""),
        (
            lambda offer: with_codec(offer, "packetization-mode=1;profile-level-id=640c34"),
            422,
            "the offer has H.264 Constrained High (640c34, packetization-mode 1); streamd sends H.264 Constrained",
        ),
        (
            lambda offer: with_codec(offer, "profile-level-id=42e01f"),
            422,
            "the offer has H.264 Constrained Baseline (42e01f, packetization-mode 0); streamd sends",
        ),
        (lambda offer: offer.replace("a=recvonly\r\n", ""), 201, ""),
        (lambda offer: re.sub("a=group:BUNDLE.*\r\n", "", offer), 201, ""),
        (lambda offer: offer + "a=fmtp:35 apt=34\r\n", 201, ""),
        (lambda offer: re.sub(r"m=video \d+", "m=video x", offer), 400, "this line cannot be read: m=video x "),
        (lambda offer: re.sub(r"m=video (\d+ \S+) .*", r"m=video \1 999", offer), 400, "cannot be read: m=video "),
        (lambda offer: offer + "a=rtpmap:96 VP8\r\n", 400, "this line cannot be read: a=rtpmap:96 VP8"),
        (lambda offer: offer + "a=ssrc:x y\r\n", 400, "this line cannot be read: a=ssrc:x y"),
        (lambda offer: offer.replace("a=rtcp-mux\r\n", ""), 400, "a section lacks a=mid, "),
        (lambda offer: offer.replace("BUNDLE 0", "BUNDLE 7 0"), 400, "a=group:BUNDLE names one that is not there"),
    ],
)
async def test_what_is_wrong_with_an_offer_is_told(
    site: Site, viewer: MakeViewer, edit: Callable[[str], str], status: int, text: str
) -> None:
    reply = await site.post(edit(await viewer().offer()))
    assert reply.status == status, reply.text
    assert text in reply.text


@pytest.mark.parametrize(
    ("path", "headers", "status", "code"),
    [
        ("/whep/porch", {"Content-Type": "text/plain"}, 415, "wrong_type"),
        ("/whep/nowhere", SDP, 404, "unknown_stream"),
        ("/whep/porch?view=x-ray", SDP, 422, "bad_value"),
        ("/whep/porch?height=0", SDP, 422, "bad_value"),
        ("/whep/porch?height=720p", SDP, 422, "bad_value"),
    ],
)
async def test_bad_requests(
    site: Site, viewer: MakeViewer, path: str, headers: dict[str, str], status: int, code: str
) -> None:
    reply = await site.request("POST", path, await viewer().offer(), **headers)
    assert (reply.status, reply.code) == (status, code)


async def test_a_viewer_may_want_a_height(site: Site, viewer: MakeViewer) -> None:
    for query in ("", "?height=1080", "?view=depth&height=1"):
        assert (await site.post(await viewer().offer(), f"/whep/porch{query}")).status == 201
    assert site.camera.heights == [None, 1080, 1]


@pytest.mark.parametrize("state", list(StreamState))
async def test_a_stream_that_does_not_run(site: Site, viewer: MakeViewer, state: StreamState) -> None:
    site.camera.state = state
    reply = await site.post(await viewer().offer())
    if state in NOT_RUNNING:
        assert (reply.status, reply.code, reply.headers["Retry-After"]) == (409, "not_running", "5")
    else:
        assert reply.status == 201


async def test_a_view_by_name(site: Site, viewer: MakeViewer) -> None:
    reply = await site.post(await viewer().offer(), "/whep/porch?view=depth&token=secret")
    assert reply.status == 201
    assert re.fullmatch(r"/whep/porch/[\w-]{22}", reply.headers["Location"])
    assert reply.headers["Content-Type"] == "application/sdp"


async def test_audio_and_video(site: Site, viewer: MakeViewer) -> None:
    watching = await viewer(audio=True).join()
    await watching.picture()
    _, audio, video = re.split(r"(?=m=)", watching.answer)
    assert audio.startswith("m=audio")
    assert "a=inactive" in audio
    assert video.startswith("m=video")
    assert "a=sendonly" in video


async def test_local_names_cost_nothing(site: Site, viewer: MakeViewer) -> None:
    """What Chromium sends, and the end of candidates on top, which must not make aioice give up."""

    def hide(offer: str) -> str:
        offer = re.sub(r"(a=candidate:\S+ 1 udp \d+) \S+", r"\1 5e7a2d3c-0000-4000-8000-000000000000.local", offer)
        assert ".local" in offer
        assert "a=end-of-candidates" in offer
        return offer

    started = time.monotonic()
    watching = await viewer().join(hide)
    assert time.monotonic() - started < scaled(0.8)
    await watching.picture()


def split_candidates(offer: str) -> tuple[str, str]:
    """The offer without candidates, and the fragment that brings them afterwards."""
    lines = offer.splitlines(keepends=True)
    late = [line for line in lines if re.match("a=(candidate|end-of)", line)]
    ufrag = next(line for line in lines if line.startswith("a=ice-ufrag"))
    return "".join(line for line in lines if line not in late), ufrag + "m=video 9 X 0\r\na=mid:0\r\n" + "".join(late)


async def test_trickle(site: Site, viewer: MakeViewer) -> None:
    fragment = ""

    def keep_back(offer: str) -> str:
        nonlocal fragment
        bare, fragment = split_candidates(offer)
        return bare

    watching = await viewer().join(keep_back)
    assert (await site.request("PATCH", watching.location, fragment, **FRAGMENT)).status == 204
    bare = re.sub("a=mid.*\r\n", "", fragment)
    assert (await site.request("PATCH", watching.location, bare, **FRAGMENT)).status == 204
    await watching.picture()

    restart = re.sub("(a=ice-ufrag:).*", r"\1new", fragment)
    for body, headers, status, code in [
        (restart, FRAGMENT, 422, "no_ice_restart"),
        (fragment, SDP, 415, "wrong_type"),
        ("a=candidate:1 1 udp", FRAGMENT, 400, "bad_offer"),
        ("x" * (whep.MAX_BODY + 1), FRAGMENT, 413, "too_large"),
    ]:
        reply = await site.request("PATCH", watching.location, body, **headers)
        assert (reply.status, reply.code) == (status, code)
    await watching.picture()
    for path in ("/whep/porch/guess", f"/whep/garden/{watching.id}"):
        assert (await site.request("PATCH", path, fragment, **FRAGMENT)).status == 404
        assert (await site.request("DELETE", path)).status == 404


async def test_candidates_are_bounded(site: Site, viewer: MakeViewer) -> None:
    candidates = "".join(f"a=candidate:1 1 udp 1 192.0.2.1 {port} typ host\r\n" for port in range(1000, 1500))
    watching = await viewer().join(lambda offer: offer + candidates)
    assert (await site.request("PATCH", watching.location, candidates, **FRAGMENT)).status == 204
    session = site.sink.session(watching.id)
    assert session is not None
    assert session._peer.remoteDescription.sdp.count("a=candidate:") <= offer_module.MAX_CANDIDATES
    await watching.picture()


async def test_what_players_ask_first(site: Site, viewer: MakeViewer) -> None:
    watching = await viewer().join()
    for path in ("/whep/porch", watching.location):
        options = await site.request("OPTIONS", path)
        assert options.status == 200
        assert options.headers["Accept-Post"] == "application/sdp"
        assert "Location" in options.headers["Access-Control-Expose-Headers"]
        assert "PATCH" in options.headers["Access-Control-Allow-Methods"]
        for method in ("GET", "HEAD"):
            reply = await site.request(method, path)
            assert (reply.status, reply.text, reply.headers["Content-Type"]) == (200, "", "application/sdp")
    assert (await site.request("HEAD", "/whep/nowhere")).status == 404
    put = await site.request("PUT", "/whep/porch")
    assert (put.status, put.code) == (405, "method_not_allowed")
    assert "POST" in put.headers["Allow"]


async def test_on_a_box_without_a_network(camera: Camera, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "interface_names", lambda: {"127.0.0.1": "lo"})
    async with served(camera, WebRtcSink()) as site:
        watching = await Viewer(site).join()
        assert set(re.findall(r"udp \d+ (\S+)", watching.answer)) == {"127.0.0.1"}
        await watching.picture()
        await close_peer(watching.peer)


async def test_loopback_on_request(camera: Camera, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "interface_names", lambda: {"127.0.0.1": "lo", "127.0.0.2": "eth0"})
    for loopback, offered in [(False, {"127.0.0.2"}), (True, {"127.0.0.1", "127.0.0.2"})]:
        async with served(camera, WebRtcSink(loopback=loopback)) as site:
            watching = await Viewer(site).join()
            assert set(re.findall(r"udp \d+ (\S+)", watching.answer)) == offered
            await close_peer(watching.peer)


async def test_it_works_without_the_private_names(
    site: Site, viewer: MakeViewer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A release of aiortc may move what ``hook_sender`` reaches for."""
    monkeypatch.setattr(session_module, "hook_sender", lambda *_, **__: None)
    watching = await viewer().join()
    numbers = await watching.numbers(10)
    assert numbers == list(range(numbers[0], numbers[0] + 10))


async def test_the_private_names_are_where_we_look(site: Site, viewer: MakeViewer) -> None:
    watching = await viewer().join()
    session = site.sink.session(watching.id)
    assert session is not None
    track = session._transceiver.sender.track
    assert isinstance(track, rtp.ViewerTrack)
    assert track.hooked
    assert f"a=extmap:14 {rtp.PLAYOUT_DELAY}" in watching.answer


def test_playout_delay_is_in_every_packet() -> None:
    extensions = rtp.OurExtensions()
    offered = [
        RTCRtpHeaderExtensionParameters(id=4, uri="urn:ietf:params:rtp-hdrext:sdes:mid"),
        RTCRtpHeaderExtensionParameters(id=6, uri=rtp.PLAYOUT_DELAY),
    ]
    extensions.configure(RTCRtpParameters(headerExtensions=offered))
    packet = RtpPacket(payload_type=100, payload=b"video")
    for mid, expected in [
        (None, [(6, bytes(3))]),
        ("0", [(4, b"0"), (6, bytes(3))]),
        ("vid", [(4, b"vid"), (6, bytes(3))]),
    ]:
        packet.extensions.mid = mid
        profile, value = extensions.set(packet.extensions)
        assert len(value) % 4 == 0
        assert unpack_header_extensions(profile, value) == expected
        assert RtpPacket.parse(packet.serialize(extensions)).payload == b"video"


def test_the_capture_time_is_in_the_first_packet_of_each_picture() -> None:
    extensions = rtp.OurExtensions(playout_delay_max_ms=150)
    offered = [
        RTCRtpHeaderExtensionParameters(id=4, uri="urn:ietf:params:rtp-hdrext:sdes:mid"),
        RTCRtpHeaderExtensionParameters(id=6, uri=rtp.PLAYOUT_DELAY),
        RTCRtpHeaderExtensionParameters(id=9, uri=rtp.ABS_CAPTURE_TIME),
    ]
    extensions.configure(RTCRtpParameters(headerExtensions=offered))
    packet = RtpPacket(payload_type=100, payload=b"video")
    packet.extensions.mid = "0"
    extensions.captured_at = time.monotonic() - 5
    first, second = (unpack_header_extensions(*extensions.set(packet.extensions)) for _ in range(2))
    assert first[:2] == second == [(4, b"0"), (6, bytes((0, 0, 15)))]
    number, capture = first[2]
    since_1900_s = int.from_bytes(capture, "big") / 2**32
    assert number == 9
    assert since_1900_s - 2_208_988_800 == pytest.approx(time.time() - 5, abs=0.5)


async def test_a_viewer_without_h264_gets_vp8(site: Site, viewer: MakeViewer) -> None:
    watching = viewer()
    await watching.join(lambda offer: offer.replace("H264", "AV1"))
    numbers = await watching.numbers(10)
    assert numbers == list(range(numbers[0], numbers[0] + 10))
    assert "VP8/90000" in watching.answer
    assert "H264" not in watching.answer
    assert site.camera.hub("depth", "vp8").watched
    assert not site.camera.hub("depth").watched


async def test_the_answer_names_the_level_of_what_is_sent(site: Site, viewer: MakeViewer) -> None:
    await (await viewer().join()).picture()
    site.camera.close()
    await asyncio.sleep(0)  # what it published last
    site.camera.hub("depth").size = (1920, 1080)
    assert "profile-level-id=42e028" in (await viewer().join()).answer
    site.camera.hub("depth").size = None
    assert "profile-level-id=42e01f" in (await viewer().join()).answer


async def test_a_viewer_on_a_bad_link_goes_on_in_the_light_rendition(
    site: Site, viewer: MakeViewer, monkeypatch: pytest.MonkeyPatch
) -> None:
    watching, other = await viewer().join(), await viewer().join()
    frame = await watching.picture()
    assert frame.width == WIDTH
    session = site.sink.session(watching.id)
    assert session is not None
    monkeypatch.setattr("streamd.sinks.webrtc.rendition.CONGESTED_S", 0.0)
    monkeypatch.setattr(session, "_adapt", lambda lost: type(session)._adapt(session, 0.5))  # half is lost
    sizes = [frame.width]
    async with timeout(15):
        while sizes[-1] == WIDTH:
            sizes.append((await watching.picture()).width)
    assert sizes[-1] == WIDTH // 2
    assert len(site.camera.hub("depth", light=True)) == 1
    assert len(site.camera.hub("depth")) == 1, "the other is not punished"
    assert (await other.picture()).width == WIDTH
    monkeypatch.setattr(session._choice, "_patience_s", 0.0)
    monkeypatch.setattr(session, "_adapt", lambda lost: type(session)._adapt(session, 0.0))
    async with timeout(15):
        while (await watching.picture()).width != WIDTH:
            pass
    assert not site.camera.hub("depth", light=True).watched


async def test_a_viewer_goes_on_in_the_size_it_wants_once_that_of_the_source_is_known(
    site: Site, viewer: MakeViewer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or when the source has another: both change which rendition is the smallest that will do."""
    watching = await viewer().join()
    assert (await watching.picture()).width == WIDTH
    smaller = site.camera.hub("depth", light=True)
    monkeypatch.setattr(site.camera, "live_hub", lambda *_, **__: smaller)
    async with timeout(15):
        while (await watching.picture()).width == WIDTH:
            pass
    assert (len(smaller), len(site.camera.hub("depth"))) == (1, 0)


async def test_viewers_get_the_ice_servers_but_strangers_do_not(camera: Camera) -> None:
    servers = [{"urls": ["turn:192.0.2.1:3478"], "username": "u", "credential": "hunter22"}]
    async with served(camera, WebRtcSink(WebRtcConfig.model_validate({"ice_servers": servers}))) as site:
        reported = (await site.request("GET", "/whep/porch")).headers["Link"]
        assert reported.startswith('<turn:192.0.2.1:3478>; rel="ice-server"')
        assert "hunter22" in reported
        assert "Link" not in (await site.request("OPTIONS", "/whep/porch")).headers


async def test_who_hangs_up_in_mid_body_is_no_fault_of_ours(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    host, port = site.base.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        b"POST /whep/porch HTTP/1.1\r\nHost: h\r\nContent-Type: application/sdp\r\nContent-Length: 999\r\n\r\nv=0"
    )
    await writer.drain()
    await asyncio.sleep(0.05)  # the server reads the body now
    writer.transport.abort()
    assert (await site.request("GET", "/whep/porch")).status == 200
    await asyncio.sleep(0.05)
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []
