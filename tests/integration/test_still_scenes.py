"""Streams of a scene that stands still, with hardly a packet: who joins, who loses one, what is recorded."""

from __future__ import annotations

import asyncio
import itertools
import json
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

from streamd.config.sections import RecordedView, RecordingConfig
from streamd.media.depth16 import read_depth
from streamd.media.encode import MIN_KEYFRAME_INTERVAL_S
from streamd.media.frames import Codec, EncodedPacket
from streamd.media.hub import Subscription
from streamd.sinks.recording.names import parse_path
from streamd.states import KeyframeReason
from tests.integration.web_site import Site, served
from tests.support.clips import frames_of, number_in, times_of
from tests.support.waiting import scaled, timeout, wait_for

pytestmark = pytest.mark.timeout(30)

FPS = 10
SOON_S = 0.5
"""Until who joins, or has lost a picture, has one."""


@asynccontextmanager
async def still(**options: Any) -> AsyncIterator[Site]:
    """The camera films the same picture all the time."""

    async def film() -> None:
        while True:
            site.cameras["porch"].linger()
            await asyncio.sleep(1 / FPS)

    async with served(**options) as site:
        site.cameras["porch"].film()
        filming = asyncio.create_task(film())
        try:
            yield site
        finally:
            filming.cancel()
            with suppress(asyncio.CancelledError):
                await filming


async def settle(site: Site) -> None:
    """It runs, and nothing is inferred any more."""
    labels = {"stream": "porch"}
    await site.until(
        lambda: (site.metrics.registry.get_sample_value("streamd_frames_unchanged_total", labels) or 0) > 2
    )


def sit(site: Site, codec: Codec = "h264", view: str = "depth", *, live: bool = False) -> Subscription:
    """``live``: as a viewer does, in half the size. Its pictures are so small that it gets the full one's packets."""
    stream = site.stream()
    hub = stream.live_hub(view, codec) if live else stream.hub(view, codec)
    return Subscription(hub, on_drop=lambda count: None)


async def keyframe(seat: Subscription) -> tuple[EncodedPacket, float]:
    """The next, and how long it took."""
    began = time.monotonic()
    async with timeout(5):
        while (packet := await seat.get()) is not None:
            if packet.is_keyframe and not packet.is_notice:
                return packet, time.monotonic() - began
    raise AssertionError("closed")


@pytest.mark.parametrize(
    ("codec", "view", "live"),
    [("h264", "depth", False), ("h264", "depth", True), ("vp8", "depth", True), ("h264", "source", False)],
)
async def test_who_joins_has_a_picture_at_once(codec: Codec, view: str, live: bool) -> None:
    async with still() as site:
        await settle(site)
        seats = []
        for pause_s in (0.0, 0.0, 0.35):
            await asyncio.sleep(pause_s)
            seats.append(sit(site, codec, view, live=live))
            packet, took_s = await keyframe(seats[-1])
            assert took_s < scaled(SOON_S)
            assert packet.size == (192, 112)
        for seat in seats:
            seat.close()


async def test_eight_who_join_at_once_share_one_keyframe() -> None:
    async with still() as site:
        await settle(site)
        seats = [sit(site) for _ in range(8)]
        found = await asyncio.gather(*(keyframe(seat) for seat in seats))
        assert all(took_s < scaled(SOON_S) for _, took_s in found)
        late = [sit(site) for _ in range(8)]
        again = await asyncio.gather(*(keyframe(seat) for seat in late))
        assert {packet.pts for packet, _ in found + again} == {found[0][0].pts}
        assert all(took_s < scaled(0.1) for _, took_s in again)
        for seat in seats + late:
            seat.close()


@pytest.mark.parametrize(("codec", "live"), [("h264", False), ("h264", True), ("vp8", True)])
async def test_who_has_lost_a_picture_has_one_again_soon(codec: Codec, live: bool) -> None:
    """Of the picture that has not changed, also when the keyframe itself was lost."""
    async with still() as site:
        await settle(site)
        seat = sit(site, codec, live=live)
        await keyframe(seat)
        for pause_s in (0.0, 0.2, MIN_KEYFRAME_INTERVAL_S):
            await asyncio.sleep(pause_s)
            seat.hub.request_keyframe(KeyframeReason.PLI)
            _, took_s = await keyframe(seat)
            assert took_s < scaled(SOON_S + 0.1)
        seat.close()


@pytest.mark.parametrize("live", [False, True])
async def test_one_that_sleeps_is_woken_and_seen_soon(live: bool) -> None:
    async with still(streams={"porch": {"mode": "on_demand", "linger_s": 0}}) as site:
        for _ in range(2):
            await site.until(lambda: site.stream().state == "idle")
            seat = sit(site, live=live)
            await keyframe(seat)
            await settle(site)
            _, again = await keyframe(other := sit(site, live=live))
            assert again < scaled(SOON_S)
            other.close()
            seat.close()


async def test_events_and_status_tell_that_it_stands_still() -> None:
    async with still() as site:
        await settle(site)
        async with site.http.get(site.url + "/api/v1/events") as response, timeout(10):
            async for line in response.content:
                if line.startswith(b"data: {") and b"inferred_share" in line:
                    told = json.loads(line[6:])
                    (stream,) = [each for each in told.get("streams", [told]) if each["name"] == "porch"]
                    if 0 < (stream["inferred_share"] or 1) < 0.4:
                        break


class Watching:
    """An aiortc client."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self.peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.video = self.peer.addTransceiver("video", direction="recvonly").receiver

    async def join(self, codec: str) -> float:
        """From the POST to the first picture, s."""
        await self.peer.setLocalDescription(await self.peer.createOffer())
        offer = self.peer.localDescription.sdp
        if codec == "vp8":
            offer = offer.replace("H264/90000", "H265/90000")
        began = time.monotonic()
        reply = await self._site.ask("POST", "/whep/porch", offer.encode(), Content_Type="application/sdp")
        assert reply.status == 201
        await self.peer.setRemoteDescription(RTCSessionDescription(reply.body.decode(), "answer"))
        await wait_for(self.video.track.recv(), 5)
        return time.monotonic() - began


@pytest.mark.parametrize("codec", ["h264", "vp8"])
async def test_a_viewer_has_a_picture_within_half_a_second(codec: str) -> None:
    async with still() as site:
        await settle(site)
        viewers = [Watching(site) for _ in range(3)]
        times_s = [await viewer.join(codec) for viewer in viewers]
        assert min(times_s) < scaled(SOON_S), times_s
        assert max(times_s) < scaled(2 * SOON_S), times_s
        source = viewers[0].video.getSynchronizationSources()[0].source
        await viewers[0].video._send_rtcp_pli(source)
        seat = sit(site, "vp8" if codec == "vp8" else "h264")
        seat._needs_keyframe = True
        _, took_s = await keyframe(seat)
        assert took_s < scaled(2 * SOON_S)
        seat.close()
        await asyncio.gather(*(viewer.peer.close() for viewer in viewers))


def probe(path: Path) -> dict[str, Any]:
    command = ["ffprobe", "-v", "error", "-of", "json", "-show_entries", "format=duration:packet=pts_time,flags"]
    done = subprocess.run([*command, str(path)], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    found: dict[str, Any] = json.loads(done.stdout)
    return found


async def test_recordings_are_as_long_as_they_took_and_cut_in_time(tmp_path: Path) -> None:
    views: tuple[RecordedView, ...] = ("depth", "source", "depth16")
    recording = RecordingConfig(directory=tmp_path, segment_seconds=1)
    async with still(recording=recording, streams={"porch": {"record": views}}) as site:
        await site.until(lambda: len(list((tmp_path / "porch").glob("*"))) == 3)
        await asyncio.sleep(3.5)
        ended_s = time.time()
        await site.stream()._recorders.stop()
    for view in views:
        files = sorted((tmp_path / "porch").glob(f"*-{view}.m*"))
        found = await asyncio.gather(*(asyncio.to_thread(probe, file) for file in files))
        lengths = [float(each["format"]["duration"]) for each in found]
        assert len(files) >= 2, "cut though nothing changes"
        assert all(1 <= length < 1 + scaled(1.3) for length in lengths[:-1])
        took_s = ended_s - parse_path(f"porch/{files[0].name}").started.timestamp()
        assert sum(lengths) == pytest.approx(took_s, abs=scaled(0.25)), "and nothing is missing in between"
        for file, each in zip(files, found, strict=True):
            assert "K" in each["packets"][0]["flags"]
            depth16 = view == "depth16"
            shown = [time_s for time_s, _ in read_depth(file)] if depth16 else [float(at) for at in times_of(file)]
            assert shown[0] == 0
            assert all(0 < after - before < scaled(1.3) for before, after in itertools.pairwise(shown))
            assert view != "source" or {number_in(frame) for frame in frames_of(file)} == {0}
