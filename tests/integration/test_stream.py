"""One stream from the camera to the hub, with a camera and a network that the test plays."""

from __future__ import annotations

import asyncio
import gc
import json
import threading
import time
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from itertools import groupby, pairwise, product
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from streamd.concurrency import threads
from streamd.concurrency.backoff import Backoff
from streamd.config.sections import PictureFormat, RecordingConfig, StreamConfig, View
from streamd.errors import (
    PictureError,
    SourceEnded,
    SourceStalled,
    SourceUnreachable,
    SourceUnsupported,
    StreamGone,
    UsageError,
    WeightsRejected,
)
from streamd.media.frames import TIME_BASE, EncodedPacket
from streamd.media.hub import Subscription
from streamd.sinks.recording import recorder
from streamd.states import StreamState
from streamd.streams import capture, life, notices, pipeline, recovery, run
from streamd.streams.capture import Pacer
from streamd.streams.publisher import Publisher
from streamd.streams.stills import Stills
from streamd.streams.stream import Stream
from streamd.telemetry.metrics import Metrics
from streamd.web.description import describe_stream
from tests.support.clips import frames_of, number_in
from tests.support.played import PlayedCamera, PlayedService
from tests.support.waiting import scaled, timeout, wait_for

pytestmark = pytest.mark.timeout(20)

SOON, LATER = Backoff(first_s=0), Backoff(first_s=60)
NAME = "rtsp://***@h/live"


class Bench:
    def __init__(
        self,
        camera: PlayedCamera,
        service: PlayedService,
        recording: RecordingConfig,
        backoff: Backoff,
        patience_s: float,
        **config: Any,
    ) -> None:
        self.camera, self.service = camera, service
        self.registry = CollectorRegistry()
        self.states: list[tuple[str, str | None]] = []
        self.stream = Stream(
            "porch",
            StreamConfig(**{"source": "rtsp://u:hunter2@h/live", **config}),
            service,  # type: ignore[arg-type]
            Metrics(self.registry).of_stream("porch"),
            recording,
            backoff=backoff,
            open_source=camera,
            patience_s=patience_s,
        )
        enter = self.stream._states.enter

        def noted(state: StreamState, reason: str | None = None) -> None:
            enter(state, reason)
            if self.states[-1:] != [(state, reason)] and (self.states or state != "starting" or reason):
                self.states.append((state, reason))

        self.stream._states.enter = noted  # type: ignore[method-assign]

    def metric(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(name, {"stream": "porch", **labels}) or 0

    @property
    def published(self) -> int:
        return int(self.metric("streamd_capture_to_publish_seconds_count"))

    async def until(self, done: Callable[[], object], within_s: float = 5) -> None:
        async with timeout(within_s):
            while not done():  # noqa: ASYNC110
                await asyncio.sleep(0.002)

    async def state(self, state: str) -> None:
        await self.until(lambda: self.stream.state == state)

    async def answer_two(self) -> None:
        """One after the other: the publisher skips as well."""
        self.service.answer(0)
        await self.until(lambda: self.published == 1 and len(self.service.waiting) == 2)
        self.service.answer(1)
        await self.until(lambda: self.published == 2)

    async def film_until(self, done: Callable[[], object], within_s: float = 5) -> None:
        async with timeout(within_s):
            while not done():
                self.camera.film()
                await asyncio.sleep(0.02)

    async def film_one(self) -> None:
        """And see it published."""
        before = self.published
        self.camera.film()
        await self.until(lambda: self.published > before)


@asynccontextmanager
async def playing(
    *,
    live: bool = True,
    service: PlayedService | None = None,
    recording: RecordingConfig | None = None,
    backoff: Backoff = SOON,
    patience_s: float = 15.0,
    **config: Any,
) -> AsyncIterator[Bench]:
    played = (PlayedCamera(live=live), service or PlayedService(), recording or RecordingConfig())
    bench = Bench(*played, backoff, patience_s, **config)
    running = asyncio.create_task(bench.stream.run())
    try:
        yield bench
    finally:
        bench.stream.stop()
        await wait_for(running, 5)


@contextmanager
def without_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@pytest.fixture
def stills() -> Iterator[Stills]:
    stills = Stills()
    yield stills
    stills.close()


async def watch(bench: Bench, view: str = "depth") -> Subscription:
    return Subscription(bench.stream.hub(view), on_drop=lambda count: None)


async def packets(seat: Subscription, count: int) -> list[EncodedPacket]:
    """Of the camera's pictures; notices are left out."""
    found: list[EncodedPacket] = []
    while len(found) < count:
        packet = await wait_for(seat.get(), 5)
        assert packet is not None
        found += [] if packet.is_notice else [packet]
    return found


async def all_packets(seat: Subscription) -> AsyncIterator[EncodedPacket]:
    """Until it is closed."""
    while (packet := await seat.get()) is not None:
        yield packet


def decoded(packets: list[EncodedPacket]) -> list[av.VideoFrame]:
    decoder = av.CodecContext.create("h264", "r")
    frames = []
    for packet in packets:
        given = av.Packet(packet.data)
        given.pts, given.time_base = packet.pts, TIME_BASE
        frames += decoder.decode(given)
    return [*frames, *decoder.decode(None)]


class TestStates:
    async def test_it_runs_from_the_first_published_frame_and_a_file_ends(self) -> None:
        async with playing(live=False) as bench:
            assert (bench.stream.state, bench.stream.status.is_settled) == ("starting", False)
            bench.camera.film()
            await bench.state("running")
            assert bench.metric("streamd_source_up") == 1
            assert bench.stream.status.is_settled
            bench.camera.end()
            await bench.state("ended")
            assert bench.metric("streamd_source_up") == 0
            assert bench.stream.status.is_settled
        assert bench.states == [("running", None), ("ended", None)]
        assert bench.metric("streamd_stream_state", state="ended") == 1
        assert bench.metric("streamd_stream_state", state="running") == 0

    @pytest.mark.parametrize(
        "error",
        [
            SourceStalled(NAME, "went silent"),
            SourceEnded(NAME, "stopped sending"),
            SourceUnreachable(NAME, "connection refused"),
            SourceUnsupported(NAME, "is not a video that can be decoded"),
        ],
        ids=lambda error: error.code,
    )
    async def test_a_camera_that_fails_is_opened_again(self, error: Any) -> None:
        async with playing() as bench:
            await bench.film_one()
            seat = await watch(bench)
            bench.camera.end(error)
            await bench.until(lambda: bench.camera.opened == 2)
            await bench.film_one()
            await bench.state("running")
            seat.close()
        assert bench.states == [
            ("running", None),
            ("reconnecting", "stalled: went silent" if error.code == "stalled" else error.reason),
            ("running", None),
            ("stopping", None),
        ]
        assert bench.metric("streamd_source_restarts_total", reason=error.code) == 1

    async def test_viewers_stay_through_a_loss_and_pts_go_on(self) -> None:
        async with playing() as bench:
            seat = await watch(bench)
            for _ in range(2):
                await bench.film_one()
                await bench.film_one()
                bench.camera.end(SourceStalled(NAME, "went silent"))
            await bench.film_one()
            got = await packets(seat, 5)
            newest = bench.stream.newest
            assert newest is not None
            assert (newest.frame.stamp.epoch, newest.frame.stamp.sequence) == (2, 4)
            seat.close()
        assert [packet.is_keyframe for packet in got] == [True, False, False, False, False]
        assert all(a.pts < b.pts for a, b in pairwise(got))
        assert len(decoded(got)) == 5

    async def test_a_camera_that_is_never_there_is_tried_again_and_again(self) -> None:
        async with playing() as bench:
            for _ in range(5):
                bench.camera.end(SourceUnreachable(NAME, "not found"))
            await bench.until(lambda: bench.camera.opened > 5)
            assert bench.stream.state == "reconnecting"
            assert describe_stream(bench.stream.status)["reason"] == "not found"
            await bench.film_one()
            await bench.state("running")

    async def test_a_file_that_is_no_video_fails_for_good(self) -> None:
        async with playing(live=False) as bench:
            bench.camera.end(SourceUnsupported("a.txt", "is not a video that can be decoded"))
            await bench.state("failed")
            await asyncio.sleep(0.05)
            assert bench.camera.opened == 1
            assert describe_stream(bench.stream.status)["reason"] == "is not a video that can be decoded"
            assert not bench.stream.status.is_settled

    async def test_without_a_network_it_does_not_open_the_camera(self) -> None:
        service = PlayedService(info=None)
        async with playing(service=service) as bench:
            service.failure = WeightsRejected("a.pt", "cut short")
            await bench.until(lambda: bench.stream.reason == "a.pt: weights refused: cut short")
            assert bench.stream.state == "starting"
            assert bench.camera.opened == 0
            service.info, service.failure = PlayedService().info, None
            await bench.film_one()
            await bench.state("running")
            assert bench.stream.reason is None

    @pytest.mark.parametrize("part", ["_take", "_publish_frame"])
    async def test_a_fault_of_ours_fails_this_stream_and_says_so(
        self, part: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: object, **__: object) -> None:
            raise ZeroDivisionError("test")

        async with playing(backoff=LATER) as bench:
            await bench.film_one()
            with monkeypatch.context() as broken:
                broken.setattr(Publisher, part, fail)
                bench.camera.film()
                await bench.state("failed")
            assert bench.stream.reason == "internal error: test"
            assert bench.metric("streamd_source_restarts_total", reason="error") == 1
            with pytest.raises(PictureError):
                await bench.stream.frame()

    async def test_a_fault_in_a_source_fails_this_stream_too(self) -> None:
        async with playing(backoff=LATER) as bench:
            bench.camera.end(ZeroDivisionError("test"))
            await bench.state("failed")
            assert bench.stream.reason == "internal error: test"

    async def test_after_a_fault_of_ours_it_starts_anew_and_viewers_stay(self) -> None:
        async with playing() as bench:
            seat = await watch(bench)
            await bench.film_one()
            (before,) = await packets(seat, 1)
            bench.camera.end(ZeroDivisionError("test"))
            await bench.until(lambda: bench.camera.opened == 2)
            await bench.film_one()
            (after,) = await packets(seat, 1)
            assert after.pts > before.pts
            seat.close()
        assert [state for state, _ in bench.states] == ["running", "failed", "starting", "running", "stopping"]

    async def test_one_that_waits_after_a_fault_ends_at_once(self) -> None:
        async with playing(backoff=LATER) as bench:
            bench.camera.end(ZeroDivisionError("test"))
            await bench.state("failed")
        assert bench.stream.state == "failed"


class TestAfterAFault:
    async def test_viewers_see_a_notice_while_it_waits(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """And no frozen picture."""
        async with playing(backoff=LATER) as bench:
            seat = await watch(bench)
            await bench.film_one()
            monkeypatch.setattr(Publisher, "_publish_frame", broken_publication)
            await bench.film_until(lambda: bench.stream.state == "failed")
            shown = 0
            while shown < 2:
                packet = await wait_for(seat.get(), 5)
                assert packet is not None
                shown += packet.is_notice
            assert (bench.stream.state, bench.camera.opened) == ("failed", 1)
            seat.close()

    async def test_it_waits_though_not_even_a_notice_can_be_shown(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async with playing(backoff=LATER) as bench:
            await bench.film_one()
            monkeypatch.setattr(Publisher, "_publish_frame", broken_publication)
            monkeypatch.setattr(Publisher, "__init__", broken_publication)
            await bench.film_until(lambda: bench.stream.state == "failed")
            await asyncio.sleep(0.05)
            assert bench.stream.state == "failed"


def broken_publication(*_: Any, **__: Any) -> None:
    raise ZeroDivisionError("test")


def passed(at: float) -> bool:
    return time.monotonic() > at


class TestStuck:
    """The network says that it is ready, and answers nothing."""

    async def test_it_is_started_anew_and_runs_again(self) -> None:
        async with playing(patience_s=0.2) as bench:
            await bench.film_one()
            bench.service.paused = True
            reason = "its source delivers, but nothing has been published for 0 s"
            await bench.film_until(lambda: ("failed", reason) in bench.states)
            bench.service.paused = False
            await bench.film_until(lambda: bench.stream.state == "running")
            assert bench.metric("streamd_source_restarts_total", reason="stuck") >= 1
            assert not bench.stream.status.stuck

    async def test_it_is_known_when_starting_anew_does_not_help(self) -> None:
        async with playing(patience_s=0.1) as bench:
            bench.service.paused = True
            await bench.film_until(lambda: bench.stream.status.stuck)
            assert bench.metric("streamd_source_restarts_total", reason="stuck") == recovery.HOPELESS_AFTER
            bench.service.paused = False
            await bench.film_until(lambda: not bench.stream.status.stuck)

    async def test_a_camera_that_is_away_is_not_stuck(self) -> None:
        async with playing(patience_s=0.05) as bench:
            await bench.film_one()
            await asyncio.sleep(0.3)
            assert (bench.stream.state, bench.camera.opened) == ("running", 1)

    async def test_threads_that_hang_are_abandoned_and_publish_nothing_more(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(pipeline, "END_S", 0.05)
        release, take = threading.Event(), Publisher._take

        def hang(self: Publisher, frame: Any, *, is_new: bool) -> None:
            take(self, frame, is_new=is_new)
            release.wait(10)

        async def read(seat: Subscription) -> list[int]:
            return [packet.pts async for packet in all_packets(seat)]

        async with playing(patience_s=0.2) as bench:
            seat = await watch(bench)
            reading = asyncio.create_task(read(seat))
            await bench.film_one()
            with monkeypatch.context() as broken:
                broken.setattr(Publisher, "_take", hang)
                await bench.film_until(lambda: "the thread publish-porch does not end" in caplog.text)
            await bench.film_until(lambda: bench.stream.state == "running")
            release.set()
            await bench.until(lambda: not threads.any_abandoned())
            await bench.film_until(lambda: bench.stream.state == "running")
            seat.close()
            shown = await reading
        assert len(shown) > 1
        assert all(a < b for a, b in pairwise(shown))

    @pytest.mark.parametrize("way", ["a thread ends", "other settings"])
    async def test_threads_that_hang_do_not_pile_up(self, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
        monkeypatch.setattr(pipeline, "END_S", 0.05)
        held: list[threading.Event] = []

        def hang(self: Publisher, frame: Any) -> None:
            held.append(threading.Event())
            held[-1].wait(10)

        async with playing(patience_s=0.1) as bench:
            with monkeypatch.context() as broken:
                broken.setattr(Publisher, "_publish_frame", hang)
                await bench.film_until(lambda: life.HANGING in str(bench.stream.reason))
                assert len(held) == recovery.MAX_ABANDONED
                before = bench.camera.opened
                await bench.film_until(partial(passed, time.monotonic() + 0.3))
                assert (bench.stream.state, bench.camera.opened, len(held)) == ("failed", before, len(held))
            if way == "a thread ends":
                held[0].set()
            else:
                bench.stream.reconfigure(bench.stream.config.model_copy(update={"max_fps": 100.0}))
            await bench.film_until(lambda: bench.stream.state == "running")
            for each in held:
                each.set()
            await bench.until(lambda: not threads.any_abandoned())


@pytest.fixture(autouse=True)
def quick_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "CHECK_EVERY_S", 0.02)


class TestFrames:
    async def test_what_the_network_has_no_time_for_is_skipped_and_counted(self) -> None:
        async with playing() as bench:
            bench.service.paused = True
            bench.camera.film()
            await bench.until(lambda: bench.service.waiting)
            bench.camera.film(20)
            await bench.until(lambda: describe_stream(bench.stream.status)["skipped"] == {"superseded": 19})
            await bench.answer_two()
            assert describe_stream(bench.stream.status)["skipped"] == {"superseded": 19}
            assert bench.metric("streamd_frames_skipped_total", reason="superseded") == 19

    async def test_after_a_pause_the_newest_is_shown(self) -> None:
        async with playing() as bench:
            seat = await watch(bench, "source")
            bench.service.paused = True
            bench.camera.film()
            await bench.until(lambda: bench.service.waiting)
            bench.camera.film(20)
            await bench.until(lambda: describe_stream(bench.stream.status)["skipped"] == {"superseded": 19})
            await bench.answer_two()
            got = await packets(seat, 2)
            seat.close()
        assert [number_in(frame) for frame in decoded(got)] == [0, 20]

    async def test_nothing_is_lost_uncounted(self) -> None:
        async with playing() as bench:
            bench.service.lost = [0, 1, 0, 1, 1]
            for _ in range(30):
                bench.camera.film(3)
                await asyncio.sleep(0.001)
            await bench.until(lambda: bench.metric("streamd_frames_captured_total") == 90)

            def accounted() -> float:
                return bench.published + sum(describe_stream(bench.stream.status)["skipped"].values())

            await bench.until(lambda: accounted() == 90)
            assert describe_stream(bench.stream.status)["skipped"]["error"] == 3

    async def test_every_frame_of_a_file_that_is_not_played_live(self) -> None:
        async with playing(live=False, realtime=False) as bench:
            seat = await watch(bench, "source")
            bench.camera.film(60)
            bench.camera.end()
            got = await packets(seat, 60)
            await bench.state("ended")
            assert describe_stream(bench.stream.status)["skipped"] == {}
            seat.close()
        assert [number_in(frame) for frame in decoded(got)] == list(range(60))

    def test_a_rate_limit_keeps_an_even_beat(self, monkeypatch: pytest.MonkeyPatch) -> None:
        pacer, now, shown = Pacer(10), 1000.0, []
        for number in range(60):  # 30 fps, with jitter
            monkeypatch.setattr(time, "monotonic", lambda now=now: now)
            if not pacer.is_too_soon():
                shown.append(number)
            now += 1 / 30 + (0.004 if number % 2 else -0.004)
        monkeypatch.undo()
        assert set(np.diff(shown)) == {3}

    async def test_frames_beyond_the_limit_are_counted(self) -> None:
        async with playing(max_fps=1) as bench:
            bench.camera.film(20)
            await bench.until(lambda: bench.metric("streamd_frames_captured_total") == 20)
            await bench.until(lambda: bench.published == 1)
            assert describe_stream(bench.stream.status)["skipped"] == {"max_fps": 19}

    async def test_each_view_has_its_hub_and_costs_nothing_unwatched(self) -> None:
        async with playing() as bench:
            seats = {view: await watch(bench, view) for view in ("depth", "rgbd")}
            await bench.film_one()
            sizes = {view: (await packets(seat, 1))[0].size for view, seat in seats.items()}
            assert sizes == {"depth": (192, 112), "rgbd": (384, 112)}
            assert describe_stream(bench.stream.status)["viewers"] == 2
            for seat in seats.values():
                seat.close()
            await bench.film_one()
            assert bench.metric("streamd_frames_published_total", view="depth") == 1
            with pytest.raises(UsageError, match="view x: unknown; there are: depth, overlay"):
                bench.stream.hub("x")

    async def test_live_viewers_get_the_smallest_depth_that_will_do(self) -> None:
        async with playing() as bench:
            stream = bench.stream
            half, full, light = stream.live_hub("depth"), stream.hub("depth"), stream.hub("depth", light=True)
            assert half is not full
            assert stream.live_hub("depth", height=100) is full, "nothing is known yet"
            bench.camera.film(size=(1280, 720))
            await bench.until(lambda: bench.published == 1)
            chosen = {height: stream.live_hub("depth", height=height) for height in (1, 360, 361, 720, 1080)}
            assert chosen == {1: half, 360: half, 361: full, 720: full, 1080: full}
            assert stream.live_hub("depth", light=True) is light
            assert stream.live_hub("overlay") is stream.hub("overlay")
            assert stream.live_hub("depth", "vp8") is not stream.hub("depth", "vp8")
            seats = [Subscription(hub, on_drop=lambda count: None) for hub in (half, half, full)]
            bench.camera.film(size=(1280, 720))
            assert [(await packets(seat, 1))[0].size for seat in seats] == [(640, 360)] * 2 + [(1280, 720)]
            await bench.until(lambda: bench.metric("streamd_stage_seconds_count", stage="encode") == 2)
            for seat in seats:
                seat.close()

    async def test_each_stage_is_measured(self) -> None:
        async with playing() as bench:
            seat = await watch(bench)
            await bench.film_one()
            await packets(seat, 1)
            seat.close()
            for stage in ("wait", "preprocess", "infer", "render", "encode"):
                assert bench.metric("streamd_stage_seconds_count", stage=stage) == 1, stage

    async def test_a_published_height_has_a_limit(self) -> None:
        async with playing(height=64) as bench:
            seat = await watch(bench)
            await bench.film_one()
            assert (await packets(seat, 1))[0].size == (110, 64)
            seat.close()


class TestDescription:
    async def test_is_json_without_secrets(self) -> None:
        async with playing() as bench:
            empty = json.loads(json.dumps(describe_stream(bench.stream.status)))
            for _ in range(5):
                await bench.film_one()
            full = json.loads(json.dumps(describe_stream(bench.stream.status)))
        assert empty["source"] == NAME
        assert (empty["width"], empty["latency_ms"], empty["fps_out"]) == (None, {"p50": None, "p95": None}, 0)
        assert (full["width"], full["height"], full["state"]) == (192, 112, "running")
        assert full["fps_in"] > 0
        assert full["fps_out"] > 0
        assert 0 < full["latency_ms"]["p50"] <= full["latency_ms"]["p95"] < 2000
        assert set(full) >= {"name", "reason", "skipped", "viewers", "recording", "flicker", "views"}

    async def test_the_newest_frame(self, stills: Stills) -> None:
        async with playing() as bench:
            with pytest.raises(PictureError, match="no frame yet"):
                await bench.stream.frame()
            await bench.film_one()
            await bench.film_one()
            data = await stills.make(bench.stream, "source", "png")
            pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
            assert pixels is not None
            assert number_in(av.VideoFrame.from_ndarray(pixels, format="bgr24")) == 1

    async def test_frames_do_not_wait_for_a_still(self, stills: Stills, monkeypatch: pytest.MonkeyPatch) -> None:
        """Nor does the end of the stream."""
        began, go_on = threading.Event(), threading.Event()

        def block(*_: object) -> memoryview:
            began.set()
            go_on.wait(10)
            return memoryview(b"still")

        monkeypatch.setattr("streamd.streams.stills.make_still", block)
        async with playing() as bench:
            await bench.film_one()
            views: tuple[View, ...] = ("depth", "side-by-side")
            formats: tuple[PictureFormat, ...] = ("jpg", "png", "npz", "ply")
            asked = [
                asyncio.create_task(stills.make(bench.stream, view, format)) for view, format in product(views, formats)
            ]
            await bench.until(began.is_set)
            for _ in range(5):
                await bench.film_one()
        assert bench.stream.state == "stopping"
        go_on.set()
        assert {bytes(data) for data in await asyncio.gather(*asked)} == {b"still"}


def recorder_of(bench: Bench, view: View) -> recorder.Recorder:
    found = bench.stream._recorders._recordings[view]._recorder
    assert found is not None
    return found


class TestRecording:
    async def test_each_view_that_is_asked_for_is_recorded(self, tmp_path: Path) -> None:
        async with playing(recording=RecordingConfig(directory=tmp_path), record=("depth", "source")) as bench:
            for _ in range(10):
                await bench.film_one()
            description = describe_stream(bench.stream.status)
            assert (description["recording"], description["viewers"]) == (True, 0)
        (depth,), (source,) = ([*(tmp_path / "porch").glob(f"*Z-{view}.mp4")] for view in ("depth", "source"))
        assert len(frames_of(depth)) == 10
        assert [number_in(frame) for frame in frames_of(source)] == list(range(10))
        size = sum(path.stat().st_size for path in (depth, source))
        assert bench.metric("streamd_recorded_bytes_total") == size

    async def test_a_full_disk_ends_the_recording_only(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        rules = RecordingConfig(directory=tmp_path, min_free_gb=1e9)
        async with playing(recording=rules) as bench:
            seat = await watch(bench)
            await bench.film_one()
            await bench.until(lambda: not describe_stream(bench.stream.status)["recording"])
            await bench.film_one()
            assert len(await packets(seat, 2)) == 2
            assert (bench.stream.state, describe_stream(bench.stream.status)["viewers"]) == ("running", 1)
            seat.close()
            assert describe_stream(bench.stream.status)["recording_views"] == ["depth"], "it is still wanted"
        (line,) = [entry.getMessage() for entry in caplog.records if entry.levelname == "ERROR"]
        assert line.startswith(f"stream porch: {tmp_path}/porch: recording stopped: ")

    async def test_a_fault_in_a_recorder_ends_the_recording_only(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: object) -> None:
            raise ZeroDivisionError

        monkeypatch.setattr(recorder.Recorder, "_write", fail)
        async with playing(recording=RecordingConfig(directory=tmp_path)) as bench:
            await bench.film_one()
            await bench.until(lambda: not describe_stream(bench.stream.status)["recording"])
            await bench.film_one()
            assert bench.stream.state == "running"

    async def test_after_the_source_ended_the_recording_is_whole(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Though the stream goes on to exist."""
        monkeypatch.setattr(recorder, "IDLE_S", 0.5)
        async with playing(live=False, recording=RecordingConfig(directory=tmp_path)) as bench:
            for _ in range(5):
                await bench.film_one()
            bench.camera.end()
            await bench.state("ended")
            await bench.until(lambda: recorder_of(bench, "depth")._segment is None)
            (segment,) = (tmp_path / "porch").iterdir()
            assert len(frames_of(segment)) == 5


@pytest.fixture
def quick_notices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notices, "NOTICE_EVERY_S", 0.02)


STALLED = SourceStalled(NAME, "went silent")


@pytest.mark.usefixtures("quick_notices")
class TestAway:
    async def test_viewers_see_no_signal_and_then_the_camera_again(self) -> None:
        async with playing() as bench:
            seat = await watch(bench)
            await bench.film_one()
            (before,) = await packets(seat, 1)
            bench.camera.end(STALLED)
            notices = [await wait_for(seat.get(), 5) for _ in range(4)]
            await bench.state("reconnecting")
            await bench.film_one()
            while (after := await wait_for(seat.get(), 5)) and after.is_notice:
                notices.append(after)
            seat.close()
        everything = [before, *notices, after]
        assert all(packet is not None and packet.is_notice and packet.size == before.size for packet in notices)
        assert all(a.pts < b.pts for a, b in pairwise(everything))  # type: ignore[union-attr]
        assert (before.epoch, after.epoch) == (0, 1)  # type: ignore[union-attr]
        shown = decoded(everything)  # type: ignore[arg-type]
        assert len(shown) == len(everything)
        background, letters = np.percentile(shown[2].to_ndarray(format="gray"), (20, 99.5))
        assert (background < 40, letters > 120) == (True, True), "light letters on a dark ground"

    @pytest.mark.parametrize("view", ["depth", "rgbd"])
    async def test_who_comes_while_it_is_away_is_told_at_once(self, view: str) -> None:
        async with playing() as bench:
            bench.camera.end(SourceUnreachable(NAME, "connection refused"))
            await bench.state("reconnecting")
            seat = await watch(bench, view)
            packet = await wait_for(seat.get(), 2)
            assert packet is not None
            assert (packet.is_keyframe, packet.is_notice) == (True, True)
            assert packet.size == ((640, 360) if view == "depth" else (1280, 360))
            seat.close()

    async def test_it_is_not_recorded_and_the_camera_goes_on_in_a_new_segment(self, tmp_path: Path) -> None:
        async with playing(recording=RecordingConfig(directory=tmp_path), record=("source",)) as bench:
            seat = await watch(bench, "source")
            for _ in range(3):
                await bench.film_one()
            bench.camera.end(STALLED)
            await bench.state("reconnecting")
            while (packet := await wait_for(seat.get(), 5)) and not packet.is_notice:
                pass
            for _ in range(60):  # a keyframe may be due only half a second after the last
                await bench.film_one()
                await asyncio.sleep(0.02)
            seat.close()
        first, second = sorted((tmp_path / "porch").iterdir())
        assert [number_in(frame) for frame in frames_of(first)] == [0, 1, 2]
        again = [number for number, _ in groupby(number_in(frame) for frame in frames_of(second))]
        assert again == list(range(again[0], 63))
        assert again[0] >= 3

    async def test_a_camera_without_pictures_counts_as_stalled(self) -> None:
        async with playing(read_timeout_s=0.1) as bench:
            await bench.film_one()
            await bench.until(lambda: bench.camera.opened == 2)
        assert bench.states[:2] == [("running", None), ("reconnecting", "stalled: no picture for 0.1 s")]
        assert bench.metric("streamd_source_restarts_total", reason="stalled") >= 1

    async def test_a_stall_is_told_before_ffmpeg_lets_go(self) -> None:
        async with playing(read_timeout_s=0.1) as bench:
            await bench.film_one()
            bench.camera.stuck = threading.Event()
            await bench.state("reconnecting")
            assert bench.camera.opened == 1
            assert bench.metric("streamd_source_up") == 0
            bench.camera.stuck.set()
            await bench.until(lambda: bench.camera.opened == 2)
            await bench.film_one()
            await bench.state("running")

    async def test_a_file_may_take_its_time(self) -> None:
        async with playing(live=False, read_timeout_s=0.05) as bench:
            await bench.film_one()
            await asyncio.sleep(0.2)
            assert (bench.stream.state, bench.camera.opened) == ("running", 1)

    async def test_a_camera_that_does_not_let_go_does_not_hold_up_the_end(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(capture, "LEAVE_S", 0.05)
        async with playing() as bench:
            await bench.film_one()
            bench.camera.stuck = threading.Event()
        assert "leaving it to its time-out" in caplog.text
        assert threads.any_abandoned()
        bench.camera.stuck.set()
        await bench.until(lambda: not threads.any_abandoned())


class TestOnDemand:
    async def test_nothing_runs_until_someone_looks_and_again_when_all_have_left(self) -> None:
        async with playing(mode="on_demand", linger_s=0.05) as bench:
            await bench.state("idle")
            assert bench.stream.status.is_settled
            assert (bench.camera.opened, bench.service.leases) == (0, 0)
            assert not [thread.name for thread in threading.enumerate() if "porch" in thread.name]

            seat = await watch(bench)
            bench.camera.film()
            await bench.state("running")
            assert (bench.camera.opened, bench.service.leases) == (1, 1)
            (first,) = await packets(seat, 1)
            seat.close()
            await bench.state("idle")
            assert bench.service.leases == 0
            await bench.until(lambda: not [each.name for each in threading.enumerate() if "porch" in each.name])

            seat = await watch(bench)
            bench.camera.film()
            (second,) = await packets(seat, 1)
            seat.close()
        assert second.is_keyframe
        assert second.pts > first.pts
        assert [state for state, _ in bench.states if state != "starting"][:4] == ["idle", "running", "idle", "running"]

    async def test_what_has_run_goes_at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Its scalers have threads of their own, and it has frames: neither waits for the garbage collector."""
        made: list[weakref.ref[pipeline.Pipeline]] = []
        start = pipeline.Pipeline.start

        def noted(self: pipeline.Pipeline, on_end: Callable[[], None]) -> None:
            made.append(weakref.ref(self))
            start(self, on_end)

        monkeypatch.setattr(pipeline.Pipeline, "start", noted)
        with without_collector():
            async with playing(mode="on_demand", linger_s=0.01) as bench:
                seat = await watch(bench)
                await bench.film_until(lambda: bench.stream.state == "running")
                seat.close()
                await bench.state("idle")
                await bench.until(lambda: [each() for each in made] == [None])

    async def test_it_lingers_for_who_comes_back(self) -> None:
        async with playing(mode="on_demand", linger_s=60) as bench:
            seat = await watch(bench)
            await bench.film_one()
            seat.close()
            await bench.state("running")
            seat = await watch(bench)
            await bench.film_one()
            seat.close()
            await bench.film_one()
            assert bench.camera.opened == 1

    async def test_a_snapshot_wakes_it_and_waits_for_its_picture(self, stills: Stills) -> None:
        async with playing(mode="on_demand", linger_s=0) as bench:
            await bench.state("idle")
            asked = asyncio.create_task(stills.make(bench.stream, "source", "png"))
            await bench.until(lambda: bench.camera.opened)
            bench.camera.film()
            pixels = cv2.imdecode(np.frombuffer(await wait_for(asked, 5), np.uint8), cv2.IMREAD_COLOR)
            assert pixels is not None
            assert pixels.shape == (112, 192, 3)
            await bench.state("idle")

    async def test_a_recording_is_someone(self, tmp_path: Path) -> None:
        async with playing(mode="on_demand", linger_s=0, recording=RecordingConfig(directory=tmp_path)) as bench:
            await bench.film_one()
            await bench.state("running")

    async def test_the_camera_is_opened_while_the_network_loads(self) -> None:
        service = PlayedService(info=None)
        async with playing(mode="on_demand", service=service) as bench:
            seat = await watch(bench)
            await bench.until(lambda: bench.camera.opened)
            service.info = PlayedService().info
            bench.camera.film()
            await bench.state("running")
            seat.close()


class TestChanges:
    async def test_viewers_stay_when_the_settings_change(self, tmp_path: Path) -> None:
        async with playing(recording=RecordingConfig(directory=tmp_path), record=("depth",)) as bench:
            seat = await watch(bench)
            await bench.film_one()
            (before,) = await packets(seat, 1)
            changed = bench.stream.config.model_copy(update={"height": 64, "record": ("source",)})
            bench.stream.reconfigure(changed)
            await bench.until(lambda: bench.camera.opened == 2)
            await bench.film_one()
            await bench.state("running")
            (after,) = await packets(seat, 1)
            assert (before.size, after.size) == ((192, 112), (110, 64))
            assert after.is_keyframe
            assert after.pts > before.pts
            seat.close()
        assert sorted(path.name.split("Z-")[1] for path in (tmp_path / "porch").iterdir()) == [
            "depth.mp4",
            "source.mp4",
        ]

    async def test_the_same_settings_change_nothing(self) -> None:
        async with playing() as bench:
            await bench.film_one()
            bench.stream.reconfigure(bench.stream.config.model_copy())
            await bench.film_one()
            assert bench.camera.opened == 1

    async def test_what_is_wanted_is_in_force_only_when_it_was_taken(self) -> None:
        async with playing() as bench:
            await bench.film_one()
            before = bench.stream.config
            changed = before.model_copy(update={"max_fps": 5.0})
            bench.stream.reconfigure(changed)
            assert (bench.stream.status.settings, bench.stream.status.wanted) == (before, changed)
            assert not bench.stream.status.is_in_force
            await wait_for(bench.stream.settings_in_force(), 5)
            assert bench.stream.status.is_in_force
            bench.stream.reconfigure(before)
            bench.stream.stop()
            await wait_for(bench.stream.settings_in_force(), 5)

    async def test_other_settings_help_one_that_has_failed(self) -> None:
        async with playing(live=False) as bench:
            bench.camera.end(SourceUnsupported("a.txt", "is not a video that can be decoded"))
            await bench.state("failed")
            bench.stream.reconfigure(bench.stream.config.model_copy(update={"max_fps": 100.0}))
            await bench.until(lambda: bench.camera.opened == 2)
            await bench.film_one()
            await bench.state("running")

    async def test_masks_black_out_what_is_shown(self) -> None:
        everything = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0))
        async with playing(masks=(everything,)) as bench:
            seat = await watch(bench, "source")
            await bench.film_one()
            (shown,) = decoded(await packets(seat, 1))
            assert shown.to_ndarray(format="gray").max() < 24
            seat.close()


class TestStopping:
    async def test_a_network_that_hangs_holds_up_neither_a_change_nor_the_end(self) -> None:
        """M5: an answer may take a minute."""
        async with playing() as bench:
            bench.service.paused = True
            bench.camera.film()
            await bench.until(lambda: bench.service.waiting)
            started = time.monotonic()
            bench.stream.reconfigure(bench.stream.config.model_copy(update={"max_fps": 5.0}))
            await bench.stream.settings_in_force()
            bench.camera.film()
            await bench.until(lambda: len(bench.service.waiting) == 2)
        assert time.monotonic() - started < pipeline.END_S
        assert not threads.any_abandoned()

    async def test_after_the_end_nobody_gets_in(self) -> None:
        async with playing() as bench:
            await bench.film_one()
        with pytest.raises(StreamGone):
            await watch(bench)

    async def test_a_silent_camera_does_not_hold_it_up(self) -> None:
        async with playing() as bench:
            await bench.until(lambda: bench.camera.opened)
            started = time.monotonic()
        assert time.monotonic() - started < scaled(1)
        assert bench.states == [("stopping", None)]
        assert not [thread.name for thread in threading.enumerate() if "porch" in thread.name]

    async def test_a_network_that_does_not_come_does_not_hold_it_up(self) -> None:
        async with playing(service=PlayedService(info=None)):
            await asyncio.sleep(0.02)
            started = time.monotonic()
        assert time.monotonic() - started < scaled(1.5)

    async def test_a_picture_that_comes_after_the_end_does_not_undo_it(self) -> None:
        async with playing(live=False) as bench:
            bench.service.paused = True
            bench.camera.film()
            await bench.until(lambda: bench.service.waiting)
            bench.camera.end()
            await bench.state("ended")
            bench.service.answer(0)
            await bench.until(lambda: bench.published == 1)
            await asyncio.sleep(0.01)
            assert bench.stream.state == "ended"

    async def test_an_end_stays_an_end(self) -> None:
        async with playing(live=False) as bench:
            await bench.film_one()
            bench.camera.end()
            await bench.state("ended")
        assert bench.stream.state == "ended"
