"""Streams by RTSP, read by players that nobody here wrote."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from streamd.errors import SourceEnded
from streamd.states import StreamState
from tests.integration.rtsp_site import FFMPEG, rtsp_served, run
from tests.integration.web_site import CONTROL_TOKEN, VIEW_TOKEN
from tests.support import rtsp_fuzz
from tests.support.rtsp_client import porch_served
from tests.support.waiting import timeout

pytestmark = pytest.mark.timeout(60)

COUNT = 20
GST_READER = Path(__file__).parents[1] / "support" / "gst_reader.py"
OPENCV = """
import cv2, os, sys
url, transport, count = sys.argv[1:]
os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"] = f"rtsp_transport;{transport}"
capture = cv2.VideoCapture(url, cv2.CAP_FFMPEG)
seen = [capture.read()[1].shape for _ in range(int(count))]
assert set(seen) == {(240, 320, 3)}, seen
print(len(seen), "pictures")
"""
PYAV = """
import av, itertools, sys
url, transport, count = sys.argv[1:]
with av.open(url, options={"rtsp_transport": transport}) as container:
    seen = list(itertools.islice(container.decode(video=0), int(count)))
assert all(later.pts > earlier.pts for earlier, later in itertools.pairwise(seen[1:]))  # FFmpeg gives the first none
print(len(seen), "pictures")
"""


def player(name: str, url: str, transport: str) -> list[str]:
    """A command that decodes COUNT pictures, prints how many, and else only what is wrong."""
    arguments = [url, transport, str(COUNT)]
    if name == "gstreamer":
        return ["/usr/bin/python3", str(GST_READER), *arguments]
    if name in ("opencv", "pyav"):
        return [sys.executable, "-c", OPENCV if name == "opencv" else PYAV, *arguments]
    quiet = [FFMPEG, "-nostdin", "-hide_banner", "-loglevel", "warning", "-rtsp_transport", transport, "-i", url]
    as_they_come = ["-fps_mode", "passthrough", "-enc_time_base", "1:90000"]
    return [*quiet, *as_they_come, "-frames:v", str(COUNT), "-f", "framemd5", "-"]


def pictures(name: str, written: str) -> int:
    """How many; -1 when it complains."""
    lines = written.splitlines()
    if name == "ffmpeg":
        complains = any(not line.startswith(("#", "0,")) for line in lines)
        return -1 if complains else sum(line.startswith("0,") for line in lines)
    return int(lines[0].split()[0]) if len(lines) == 1 and lines[0].endswith("pictures") else -1


@pytest.mark.parametrize("transport", ["tcp", "udp"])
async def test_players_decode_it_without_complaint(transport: str) -> None:
    names = ("ffmpeg", "gstreamer", "opencv", "pyav")
    async with rtsp_served() as site:
        ran = await asyncio.gather(*(run(player(name, f"{site.url}/porch/gray", transport)) for name in names))
        found = {name: pictures(name, written) for name, (_, written) in zip(names, ran, strict=True)}
        assert {name: count >= COUNT for name, count in found.items()} == dict.fromkeys(names, True), ran
        await site.site.until(lambda: site.rtsp.connections == 0)
        assert site.viewers == 0


@pytest.mark.parametrize(
    ("user", "password", "good"), [("", VIEW_TOKEN, True), ("me", CONTROL_TOKEN, True), ("me", "wrong", False)]
)
async def test_a_player_logs_in_with_a_token(user: str, password: str, good: bool) -> None:
    tokens = {"view_tokens": (VIEW_TOKEN,), "control_tokens": (CONTROL_TOKEN,)}
    async with rtsp_served(server=tokens) as site:
        url = f"{site.url.replace('://', f'://{user}:{password}@')}/porch"
        code, written = await run(player("ffmpeg", url, "tcp"))
        assert (code == 0) == good
        assert ("401 Unauthorized" in written) == (not good)


async def test_a_token_that_is_known_by_its_digest_only() -> None:
    digest = "sha256:b33ae3dd6bbbc73e5e1d51f3b4f3ad4d9b0b4f0f5b6f4e9a9c2b7b0e3a1d5f60"
    async with rtsp_served(server={"view_tokens": (digest, VIEW_TOKEN)}) as site, site.client() as client:
        assert (await client.ask("DESCRIBE", "/porch")).get("WWW-Authenticate") == b'Basic realm="streamd"'
        url = f"{site.url.replace('://', f'://:{VIEW_TOKEN}@')}/porch"
        assert (await run(player("ffmpeg", url, "tcp")))[0] == 0


async def test_wrong_tokens_count_with_those_of_http() -> None:
    async with rtsp_served(server={"view_tokens": (VIEW_TOKEN,)}) as site, site.client() as client:
        for _ in range(10):
            assert (await site.site.get("/api/v1/streams", Authorization="Bearer wrong-one")).status == 401
        assert await client.status("DESCRIBE", "/porch") == 403


async def test_the_picture_goes_on_when_the_camera_is_away() -> None:
    async with rtsp_served() as site, site.client() as client:
        assert await client.play() == 200
        await client.picture()
        site.site.cameras["porch"].end(SourceEnded("porch", "test"))
        for _ in range(30):
            await client.picture()
        assert site.viewers == 1


async def test_looking_wakes_a_stream_and_it_lingers() -> None:
    streams = {"porch": {"mode": "on_demand", "linger_s": 0.2}}
    async with rtsp_served(streams=streams) as site, site.client() as client:
        stream = site.site.stream()
        await site.site.until(lambda: stream.state is StreamState.IDLE)
        answer = await client.ask("DESCRIBE", "/porch")
        assert b"sprop-parameter-sets" in answer.body
        assert stream.state in (StreamState.STARTING, StreamState.RUNNING)
        await asyncio.sleep(0.4)  # until it plays it stays awake
        assert await client.play() == 200
        await client.picture()
        opened = site.site.cameras["porch"].opened
        assert await client.status("TEARDOWN", "/porch") == 200
        await site.site.until(lambda: stream.state is StreamState.IDLE)
        assert site.site.cameras["porch"].opened == opened == 1


async def test_a_stream_that_is_removed_takes_its_readers_along() -> None:
    async with rtsp_served(streams={"porch": {}, "yard": {}}) as site, site.client() as client, site.client() as other:
        assert await client.play() == 200
        assert await other.play("/yard") == 200
        await client.picture()
        assert (await site.site.ask("DELETE", "/api/v1/streams/porch")).status == 200
        assert await client.hung_up()
        for _ in range(5):
            await other.picture()


async def test_the_first_picture_is_a_keyframe_and_comes_soon() -> None:
    async with rtsp_served() as site, site.client() as first, site.client() as second:
        assert await first.play() == 200
        for _ in range(5):
            await first.picture()
        async with timeout(2):
            assert await second.play() == 200
            units = await second.picture()
        assert units[0][12] & 31 == 24  # STAP-A
        assert units[0][15] & 31 == 7  # the SPS in front of a keyframe
        assert (await site.site.get("/api/v1/streams/porch")).json["viewers"] == 2


async def test_rubbish_does_no_harm() -> None:
    """A short run of ``python -m tests.support.rtsp_fuzz``, which sends 100,000 and looks at memory too."""
    async with porch_served() as open_, porch_served(login=rtsp_fuzz.login()) as locked, open_.client() as client:
        assert await client.play() == 200
        for server in (open_, locked):
            outcome = await rtsp_fuzz.attack(2000, 20, server)
            assert outcome.faults == []
            assert outcome.statuses["200"] > 100
        assert (open_.porch.watching(), locked.porch.watching()) == (1, 0)
        assert (len(open_.porch.depth), len(locked.porch.depth)) == (1, 0)
        await client.picture()
