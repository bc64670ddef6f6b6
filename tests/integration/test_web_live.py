"""The video over HTTP, as fragmented MP4 and MPEG-TS."""

from __future__ import annotations

import asyncio
from functools import partial

import numpy as np
import pytest

from streamd.media.encode import LiveEncoder
from streamd.media.frames import Picture, Stamp
from streamd.states import StreamState
from streamd.web import live
from streamd.web.context import CONTEXT
from streamd.web.streaming import send
from tests.integration.rtsp_site import FFMPEG, RtspSite, rtsp_served, run
from tests.integration.web_site import VIEW_TOKEN, served
from tests.support.waiting import timeout

pytestmark = pytest.mark.timeout(60)

PATH = "/api/v1/streams/porch/live"
COUNT = 20


async def begins(site: RtspSite, query: str = "") -> bytes:
    async with timeout(5), site.site.http.get(site.site.url + PATH + query) as response:
        assert response.status == 200, await response.text()
        return await response.content.readexactly(188)


@pytest.mark.parametrize(("container", "media_type"), [("mp4", "video/mp4"), ("ts", "video/mp2t")])
async def test_ffmpeg_plays_it_without_complaint(container: str, media_type: str) -> None:
    async with rtsp_served() as site:
        path = f"{PATH}?view=gray&container={container}"
        head = await site.site.ask("HEAD", path)
        assert (head.status, head.headers["Content-Type"]) == (200, media_type)
        quiet = [FFMPEG, "-nostdin", "-hide_banner", "-loglevel", "warning", "-analyzeduration", "500000"]
        limited = ["-fps_mode", "passthrough", "-enc_time_base", "1:90000", "-frames:v", str(COUNT)]
        code, written = await run([*quiet, "-i", site.site.url + path, *limited, "-f", "framemd5", "-"])
        lines = written.splitlines()
        assert code == 0
        assert [line for line in lines if not line.startswith(("#", "0,"))] == []
        assert sum(line.startswith("0,") for line in lines) == COUNT
        await site.site.until(lambda: site.viewers == 0)


async def test_it_begins_as_its_container_does() -> None:
    async with rtsp_served() as site:
        assert (await begins(site))[4:8] == b"ftyp"
        assert (await begins(site, "?container=ts"))[0] == 0x47


@pytest.mark.parametrize(
    ("path", "error"),
    [
        (PATH.replace("porch", "yard"), (404, "unknown_stream")),
        (f"{PATH}?container=avi", (422, "bad_value")),
        (f"{PATH}?view=depth16", (422, "bad_value")),
    ],
)
async def test_what_is_refused(path: str, error: tuple[int, str]) -> None:
    async with served() as site:
        assert (await site.get(path)).error == error


async def test_it_takes_a_token_where_viewing_does() -> None:
    async with rtsp_served(server={"view_tokens": (VIEW_TOKEN,)}) as site:
        assert (await site.site.get(PATH)).error == (401, "unauthorized")
        async with site.site.http.get(site.site.url + PATH, headers={"Authorization": f"Bearer {VIEW_TOKEN}"}) as good:
            assert good.status == 200
            await good.content.readexactly(100)


async def test_its_readers_are_viewers() -> None:
    async with rtsp_served() as site:
        viewers = site.site.app[CONTEXT].viewers
        viewers.max_viewers = 1
        async with site.site.http.get(site.site.url + PATH) as response:
            await response.content.readexactly(100)
            assert (await site.site.get("/api/v1/streams/porch")).json["viewers"] == 1
            sample = {"stream": "porch", "view": "depth"}
            assert site.site.metrics.registry.get_sample_value("streamd_viewers", sample) == 1
            assert (await site.site.get(PATH)).error == (503, "full")
        await site.site.until(lambda: site.viewers == 0)
        await begins(site)


async def test_looking_wakes_a_stream() -> None:
    async with rtsp_served(streams={"porch": {"mode": "on_demand", "linger_s": 0.1}}) as site:
        stream = site.site.stream()
        await site.site.until(lambda: stream.state is StreamState.IDLE)
        await begins(site)
        await site.site.until(lambda: stream.state is StreamState.IDLE)


async def test_a_stream_that_is_removed_ends_it() -> None:
    async with rtsp_served() as site, site.site.http.get(site.site.url + PATH) as response:
        await response.content.readexactly(100)
        assert (await site.site.ask("DELETE", "/api/v1/streams/porch")).status == 200
        async with timeout(5):
            await response.content.read()


async def test_one_that_does_not_read_is_cut_off_and_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "send", partial(send, stalled_s=0.3))
    encoder, chance = LiveEncoder(640, 480), np.random.default_rng(1)
    noise = [chance.integers(16, 235, (720, 640), np.uint8) for _ in range(4)]
    async with served() as site:
        hub = site.stream().hub("depth")
        async with site.http.get(f"{site.url}{PATH}?container=ts") as stuck, site.http.get(site.url + PATH) as good:
            assert stuck.connection is not None
            assert stuck.connection.transport is not None
            stuck.connection.transport.pause_reading()
            got = 0
            for number in range(3000):
                picture = Picture.from_ndarray(noise[number % 4], "yuv420p")
                encoder.request_keyframe()
                hub.publish_threadsafe(encoder.encode(picture, Stamp(number, 3600 * number, 0.0)))
                got += len(await good.content.readany())
                if len(hub) == 1:
                    break
                await asyncio.sleep(0.005)
            assert len(hub) == 1
            assert got > 100_000
        await site.until(lambda: len(hub) == 0)
