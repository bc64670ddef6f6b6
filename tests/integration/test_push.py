"""Streams that are pushed: to a real RTSP server, and by WHIP to aiortc, which go and come back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import av
import pytest

from streamd.config.sections import RecordingConfig
from streamd.media.hub import Subscription
from streamd.sinks.push import rtsp
from streamd.sinks.webrtc import whip
from tests.integration.rtsp_site import FFMPEG, run
from tests.integration.web_site import Site, served
from tests.support.camera import Camera, cameras, needs_rtsp_server
from tests.support.ports import free_port
from tests.support.taker import Taker, taking
from tests.support.waiting import own_time
from tests.support.whip_server import WhipServer, whip_server

pytestmark = pytest.mark.timeout(60)

EVERY_S = 0.04
BACK_S = 5.0
MAX_LAG_S = 0.05


class Watch:
    """A viewer of the same stream, the event loop and what the target gets."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._drops = 0
        self.longest_gap_s = self.worst_lag_s = 0.0

    def _dropped(self, count: int) -> None:
        self._drops += count

    async def look(self) -> None:
        seat = Subscription(self._site.stream().hub("depth"), on_drop=self._dropped)
        before = None
        try:
            while await seat.get() is not None:
                now = own_time()
                self.longest_gap_s = max(self.longest_gap_s, now - before if before else 0.0)
                before = now
        finally:
            seat.close()

    async def beat(self) -> None:
        while True:
            due = own_time() + 0.01
            await asyncio.sleep(0.01)
            self.worst_lag_s = max(self.worst_lag_s, own_time() - due)

    def assert_nothing_was_noticed(self) -> None:
        print(f"longest gap {self.longest_gap_s:.3f} s, lag {self.worst_lag_s:.3f} s, {self._drops} dropped")
        assert self._drops == 0
        assert self.longest_gap_s < 0.5
        assert self.worst_lag_s < MAX_LAG_S


@asynccontextmanager
async def pushing(*targets: str, **more: Any) -> AsyncIterator[tuple[Site, Watch]]:
    async with served(streams={"porch": {"push": targets}}, **more) as site:
        watch = Watch(site)

        async def film() -> None:
            while True:
                site.cameras["porch"].film(size=(320, 240))
                await asyncio.sleep(EVERY_S)

        tasks = [asyncio.create_task(each) for each in (film(), watch.look(), watch.beat())]
        try:
            yield site, watch
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)


async def states(site: Site) -> list[tuple[str, str | None]]:
    return [(push["state"], push["reason"]) for push in (await site.get("/api/v1/streams/porch")).json["push"]]


async def enters(site: Site, state: str, within_s: float = BACK_S) -> None:
    await site.until(lambda: site.stream().status.pushes[0].state == state, within_s)


@needs_rtsp_server
async def test_a_real_rtsp_server_takes_it(tmp_path: Path) -> None:
    pushed = tmp_path / "pushed.ts"
    with cameras(tmp_path) as start:
        server = await asyncio.to_thread(start, "--record", str(pushed), "--digest", "me:s3cret")
        async with pushing(server.url("push", login="me:s3cret")) as (site, _):
            await enters(site, "up")
            await site.until(lambda: pushed.exists() and pushed.stat().st_size > 20_000, 15)
            assert await states(site) == [("up", None)]
            assert site.metrics.registry.get_sample_value("streamd_push_up", {"stream": "porch", "target": "0"}) == 1
            assert site.stream().status.viewers == 1  # who looks in this test
    with av.open(str(pushed)) as container:
        pictures = list(container.decode(video=0))
    assert len(pictures) > 10
    assert (pictures[-1].width, pictures[-1].height) == (320, 240)  # it may begin with a notice, of another size
    times = [picture.time or 0.0 for picture in pictures]
    assert times == sorted(set(times))


@asynccontextmanager
async def rtsp_target(folder: Path) -> AsyncIterator[tuple[Camera, str]]:
    with cameras(folder) as start:
        server = await asyncio.to_thread(start, "--record", str(folder / "pushed.ts"))
        yield server, server.url("push")


@asynccontextmanager
async def whip_target(folder: Path) -> AsyncIterator[tuple[WhipServer, str]]:
    async with whip_server(folder) as server:
        yield server, f"whip://{server.target}"


@pytest.mark.parametrize(
    "target", [pytest.param(rtsp_target, marks=needs_rtsp_server, id="rtsp"), pytest.param(whip_target, id="whip")]
)
async def test_a_server_that_goes_is_back_within_5_s_and_nobody_else_notices(
    target: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for pusher in (rtsp, whip):
        monkeypatch.setattr(pusher, "SILENT_S", 4.0)
    recording = RecordingConfig(directory=tmp_path / "recorded", min_free_gb=0)
    async with target(tmp_path) as (server, url), pushing(url, recording=recording) as (site, watch):
        await enters(site, "up", 10)
        for fault in ("killed", "stopped"):
            await asyncio.to_thread(server.kill if fault == "killed" else server.hang)
            await enters(site, "waiting", 25)
            if fault == "killed":
                await asyncio.to_thread(server.start)
            else:
                server.wake()
            returned = time.monotonic()
            await enters(site, "up", BACK_S)
            print(f"{fault}: back after {time.monotonic() - returned:.1f} s")
        watch.assert_nothing_was_noticed()
        status = site.stream().status
        assert (status.recording_active, status.recording_error) == (("depth",), None)


async def test_ffmpeg_takes_it(tmp_path: Path) -> None:
    port, pushed = free_port(), tmp_path / "pushed.mkv"
    url = f"rtsp://127.0.0.1:{port}/cam"
    listen = [FFMPEG, "-nostdin", "-loglevel", "error", "-rtsp_flags", "listen", "-i", url]
    async with pushing(url):
        code, written = await run([*listen, "-c", "copy", "-frames:v", "20", str(pushed)])
        assert (code, written) == (0, "")
    with av.open(str(pushed)) as container:
        assert len(list(container.decode(video=0))) == 20


async def test_eight_targets_at_once_and_one_that_takes_nothing_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rtsp, "SILENT_S", 1.0)
    async with AsyncExitStack() as stack:
        takers = [await stack.enter_async_context(taking()) for _ in range(8)]
        site, watch = await stack.enter_async_context(pushing(*(taker.url for taker in takers)))

        def up() -> list[bool]:
            return [push.state == "up" for push in site.stream().status.pushes]

        await site.until(lambda: all(up()), 10)
        takers[3].silent = True
        takers[3].writers[0].transport.pause_reading()  # type: ignore[attr-defined]
        await site.until(lambda: up() == [number != 3 for number in range(8)])
        before = [len(taker.frames) for taker in takers]
        await site.until(lambda: sum(len(t.frames) > b for t, b in zip(takers, before, strict=True)) == 7)
        assert site.stream().status.viewers == 1
        watch.assert_nothing_was_noticed()
    assert [taker.methods[-1] == "TEARDOWN" for taker in takers] == [number != 3 for number in range(8)]


async def test_a_target_wakes_a_stream_on_demand_while_it_takes_it() -> None:
    async with taking(Taker(silent=True)) as taker:
        asleep = {"push": (taker.url,), "mode": "on_demand", "linger_s": 0}
        async with served(streams={"porch": asleep}) as site:
            await taker.until(lambda: taker.methods == ["OPTIONS"])
            await site.until(lambda: site.stream().state == "idle")
            taker.silent = False
            taker.writers[0].transport.abort()
            await site.until(lambda: site.stream().state != "idle")
            await site.film()
            await enters(site, "up")
            await site.until(lambda: taker.frames)


async def test_a_target_that_hangs_does_not_delay_the_end() -> None:
    async with taking() as taker:
        async with pushing(taker.url) as (site, _):
            await enters(site, "up")
            taker.silent = True
            began = time.monotonic()
        assert time.monotonic() - began < 2


async def test_whip_is_decoded_and_deleted(tmp_path: Path) -> None:
    async with whip_server(tmp_path, "--token", "s3cret") as server:
        async with pushing(f"whip://s3cret@{server.target}#view=overlay", f"whip://wrong@{server.target}") as (site, _):
            await enters(site, "up", 10)
            await server.until("pictures", 30)
            assert await states(site) == [("up", None), ("waiting", "answers 401: the token is not right")]
        seen = await server.seen()
        assert (seen["codec"], seen["posted"], seen["deleted"], seen["sessions"]) == ("H264", 1, 1, 0)


async def test_whip_without_h264_gets_vp8(tmp_path: Path) -> None:
    async with whip_server(tmp_path, "--vp8") as server, pushing(f"whip://{server.target}") as (site, _):
        await enters(site, "up", 10)
        assert (await server.until("pictures", 10))["codec"] == "VP8"


async def test_targets_change_alone(tmp_path: Path) -> None:
    async with whip_server(tmp_path) as server, pushing() as (site, watch):
        stream = site.stream()
        await site.until(lambda: stream.state == "running")
        before = site.captured()
        stream.reconfigure(stream.wanted.model_copy(update={"push": (f"whip://{server.target}",)}))
        assert stream.config == stream.wanted
        await enters(site, "up", 10)
        stream.reconfigure(stream.wanted.model_copy(update={"push": ()}))
        assert stream.status.pushes == ()
        assert site.metrics.registry.get_sample_value("streamd_push_up", {"stream": "porch", "target": "0"}) is None
        await server.until("deleted", 1)
        assert stream.state == "running"
        assert site.captured() > before
        watch.assert_nothing_was_noticed()
