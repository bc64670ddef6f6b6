"""The publish thread: what it encodes and for whom, with a hub that only notes."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import av
import numpy as np
import pytest

from streamd.concurrency import threads
from streamd.concurrency.mailbox import Mailbox
from streamd.config.sections import StreamConfig, View
from streamd.errors import EncodeError
from streamd.media import encode
from streamd.media.frames import CLOCK_RATE, DepthFrame, EncodedPacket, Provenance, Stamp, StampClock, yuv_planes
from streamd.media.hub import Rendition
from streamd.render.notice import Notice
from streamd.states import Change, KeyframeReason
from streamd.streams import notices, publisher, renditions
from streamd.streams.publisher import Publisher
from streamd.streams.renditions import RenditionOutput
from streamd.telemetry.metrics import Metrics
from tests.support.waiting import until

pytestmark = pytest.mark.timeout(10)

LIGHT, VP8, HALF = Rendition("depth", light=True), Rendition("depth", "vp8"), Rendition("depth", half=True)
LARGE = (256, 128)
"""Of which half holds all of the depth map."""
PROVENANCE = Provenance("embedded", "ab", "inverse_depth", "openvino", "fp32")


class Hub:
    def __init__(self) -> None:
        self.watched = False
        self.packets: list[EncodedPacket] = []
        self._came = threading.Condition()

    def publish_threadsafe(self, packets: list[EncodedPacket]) -> None:
        with self._came:
            self.packets += packets
            self._came.notify_all()

    def wait_for(self, count: int) -> list[EncodedPacket]:
        with self._came:
            assert self._came.wait_for(lambda: len(self.packets) >= count, 3), f"{len(self.packets)} of {count} packets"
            return list(self.packets)


class Bench:
    def __init__(self, **config: Any) -> None:
        self.metrics = Metrics()
        self.started: list[float] = []
        self.inbox: Mailbox[DepthFrame] = Mailbox(every=True)
        self.hubs = {view: Hub() for view in ("depth", "source", "side-by-side")}
        self.light, self.vp8, self.half, self.depth16 = Hub(), Hub(), Hub(), Hub()
        hubs = {Rendition(view): hub for view, hub in self.hubs.items()}  # type: ignore[arg-type]
        hubs |= {LIGHT: self.light, VP8: self.vp8, HALF: self.half}
        self.publisher = Publisher(
            "porch",
            StreamConfig(source="demo:", **config),
            self.inbox,
            hubs,  # type: ignore[arg-type]
            self.depth16,  # type: ignore[arg-type]
            self.metrics.of_stream("porch"),
            StampClock(),
            lambda: self.started.append(time.monotonic()),
        )
        self.worker = threads.start("publish", self.publisher.run)
        self._began = time.monotonic()
        self._count = 0

    def watch(self, view: str) -> Hub:
        hub = self.hubs[view]
        hub.watched = True
        self.publisher.request_keyframe(Rendition(view), KeyframeReason.JOIN)  # type: ignore[arg-type]
        return hub

    def watch_half(self) -> Hub:
        self.half.watched = True
        self.publisher.request_keyframe(HALF, KeyframeReason.JOIN)
        return self.half

    def output(self, view: View) -> RenditionOutput:
        return self.publisher._outputs[Rendition(view)]

    def put(self, count: int = 1, size: tuple[int, int] = (64, 48)) -> None:
        for _ in range(count):
            picture = av.VideoFrame(*size, "yuv420p")
            for plane in yuv_planes(picture):
                plane[:] = 128
            now = time.monotonic()
            stamp = Stamp(self._count, int((now - self._began) * CLOCK_RATE) + self._count, now)
            self._count += 1
            depth = np.tile(np.arange(64, dtype=np.float32), (32, 1))
            self.inbox.put(DepthFrame(stamp, picture, depth, np.zeros((32, 64), np.uint8), depth, PROVENANCE))

    def put_unchanged(self, *, shows: bool = False) -> DepthFrame:
        """The newest frame's depth with a new picture, published when this returns. ``shows``: it, or one since the
        newest, shows something new."""
        newest = self.publisher.newest
        assert newest is not None
        now = time.monotonic()
        stamp = Stamp(self._count, int((now - self._began) * CLOCK_RATE) + self._count, now)
        picture = av.VideoFrame(newest.frame.picture.width, newest.frame.picture.height, "yuv420p")
        seen = self._count if shows else newest.frame.seen
        frame = replace(newest.frame, stamp=stamp, change=Change.NONE, seen=seen, picture=picture)
        self.inbox.put(frame)
        until("it is the newest", lambda: self.publisher.newest is not newest)
        return frame

    def settle(self) -> None:
        """Returns when all that was put has been published."""
        give_up_at = time.monotonic() + 3
        while self.metric("streamd_capture_to_publish_seconds_count") < self._count:
            assert time.monotonic() < give_up_at
            time.sleep(0.001)

    def metric(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, {"stream": "porch", **labels}) or 0


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.inbox.close()
    bench.worker.finished.result(3)


def test_nobody_watches_nothing_is_encoded(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renditions, "LiveEncoder", None)
    bench.put(3)
    bench.settle()
    assert all(hub.packets == [] for hub in bench.hubs.values())
    assert len(bench.started) == 1
    assert bench.metric("streamd_capture_to_publish_seconds_count") == 3


def test_each_watched_view_is_encoded_once_per_frame(bench: Bench) -> None:
    depth, wide = bench.watch("depth"), bench.watch("side-by-side")
    bench.put(5)
    assert len(depth.wait_for(5)) == len(wide.wait_for(5)) == 5
    assert (depth.packets[0].size, wide.packets[0].size) == ((64, 48), (128, 48))
    assert depth.packets[0].is_keyframe
    assert bench.hubs["source"].packets == []
    assert bench.metric("streamd_frames_published_total", view="depth") == 5
    assert bench.metric("streamd_frames_published_total", view="source") == 0
    assert bench.metric("streamd_stage_seconds_count", stage="encode") == 10


def test_the_encoder_goes_when_the_last_viewer_does(bench: Bench) -> None:
    hub = bench.watch("depth")
    bench.put(2)
    hub.wait_for(2)
    hub.watched = False
    bench.put()
    bench.settle()
    assert len(hub.packets) == 2
    assert bench.output("depth")._encoder is None
    hub.watched = True
    bench.put()
    assert hub.wait_for(3)[2].is_keyframe, "who comes back can begin at once"


def test_who_joins_a_silent_stream_gets_the_last_picture(bench: Bench) -> None:
    bench.put()
    bench.settle()
    time.sleep(publisher.STALE_S * 1.5)
    hub = bench.watch("depth")
    (packet,) = hub.wait_for(1)
    assert packet.is_keyframe
    assert packet.pts > publisher.STALE_S * CLOCK_RATE, "at the time that it is now"
    assert bench.metric("streamd_capture_to_publish_seconds_count") == 1, "which is no new frame"


def test_a_keyframe_asked_for_too_soon_comes_later_though_nothing_else_does(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encode, "MIN_KEYFRAME_INTERVAL_S", 0.3)
    hub = bench.watch("depth")
    bench.put()
    hub.wait_for(1)
    bench.publisher.request_keyframe(Rendition("depth"), KeyframeReason.PLI)
    first, second = hub.wait_for(2)
    assert second.is_keyframe
    assert second.pts - first.pts >= 0.28 * CLOCK_RATE
    assert bench.metric("streamd_keyframe_requests_total", reason=KeyframeReason.PLI) == 1


def test_pts_grow_over_repeats(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encode, "MIN_KEYFRAME_INTERVAL_S", 0.0)
    hub = bench.watch("depth")
    for round in range(3):
        bench.put(2)
        hub.wait_for(3 * round + 2)
        time.sleep(publisher.STALE_S * 1.2)
        bench.publisher.request_keyframe(Rendition("depth"), KeyframeReason.PLI)
        hub.wait_for(3 * round + 3)
    pts = [packet.pts for packet in hub.packets]
    assert pts == sorted(set(pts))


def test_a_new_size_gets_a_new_encoder_and_a_keyframe(bench: Bench) -> None:
    hub = bench.watch("depth")
    bench.put(2)
    bench.put(2, size=(96, 64))
    packets = hub.wait_for(4)
    assert [packet.size for packet in packets] == [(64, 48)] * 2 + [(96, 64)] * 2
    assert [packet.is_keyframe for packet in packets] == [True, False, True, False]
    assert bench.publisher.size == (96, 64)


def test_the_newest_frame_is_what_all_views_are_drawn_from(bench: Bench) -> None:
    assert bench.publisher.newest is None
    bench.put(2, size=(96, 64))
    bench.settle()
    newest = bench.publisher.newest
    assert newest is not None
    assert newest.frame.stamp.sequence == 1
    assert (newest.normalised.min(), newest.normalised.max()) == (0, 1)
    assert bench.publisher.size == (96, 64)


class TestHalf:
    """What live viewers get of the depth view."""

    def test_is_half_as_large_from_an_encoder_of_its_own(self, bench: Bench) -> None:
        half = bench.watch_half()
        bench.put(2, size=LARGE)
        assert [packet.size for packet in half.wait_for(2)] == [(128, 64)] * 2
        assert bench.hubs["depth"].packets == [], "nobody wants the full one"
        full = bench.watch("depth")
        bench.put(2, size=LARGE)
        assert [packet.size for packet in full.wait_for(2)] == [LARGE] * 2
        assert [packet.is_keyframe for packet in half.wait_for(4)] == [True, False, False, False]
        assert bench.metric("streamd_stage_seconds_count", stage="encode") == 6

    def test_is_the_full_one_where_half_would_lose_detail(self, bench: Bench) -> None:
        half, full = bench.watch_half(), bench.watch("depth")
        bench.put(3, size=(126, 62))
        assert half.wait_for(3) == full.wait_for(3)
        assert bench.metric("streamd_stage_seconds_count", stage="encode") == 3

    def test_changes_with_the_picture_and_with_the_depth_map(self, bench: Bench) -> None:
        half = bench.watch_half()
        bench.put(size=(64, 48))
        bench.put(2, size=LARGE)
        bench.settle()
        newest = bench.publisher.newest
        assert newest is not None
        larger = np.tile(np.arange(160, dtype=np.float32), (80, 1))
        bench.inbox.put(replace(newest.frame, inverse_depth=larger, luma=np.zeros((80, 160), np.uint8)))
        packets = half.wait_for(4)
        assert [packet.size for packet in packets] == [(64, 48), (128, 64), (128, 64), LARGE]
        assert [packet.is_keyframe for packet in packets] == [True, True, False, True]
        assert all(a.pts < b.pts for a, b in pairwise(packets))

    def test_a_notice_is_as_large_as_the_pictures(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(notices, "NOTICE_EVERY_S", 0.02)
        half = bench.watch_half()
        bench.publisher.show(Notice("CONNECTING"))
        assert half.wait_for(2)[-1].size == notices.NOTICE_SIZE, "nothing is known yet"
        bench.publisher.show(None)
        bench.put(size=LARGE)
        half.wait_for(len(half.packets) + 1)
        bench.publisher.show(Notice("NO SIGNAL"))
        count = len(half.packets)
        packets = half.wait_for(count + 2)
        assert packets[-1].is_notice
        assert packets[-1].size == (128, 64)
        assert all(a.pts < b.pts for a, b in pairwise(packets))

    def test_who_joins_a_silent_stream_gets_the_last_picture(self, bench: Bench) -> None:
        bench.put(size=LARGE)
        bench.settle()
        time.sleep(publisher.STALE_S * 1.5)
        (packet,) = bench.watch_half().wait_for(1)
        assert (packet.is_keyframe, packet.size) == (True, (128, 64))


class TestUnchanged:
    def test_it_is_neither_drawn_nor_encoded_but_the_newest(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(renditions, "FIRST_REPEAT_S", 9.0)
        hub = bench.watch("depth")
        bench.put()
        hub.wait_for(1)
        bench.settle()
        for _ in range(5):
            frame = bench.put_unchanged()
        newest = bench.publisher.newest
        assert newest is not None
        assert newest.frame is frame
        assert len(hub.packets) == 1
        assert bench.metric("streamd_capture_to_publish_seconds_count") == 1

    def test_new_depth_that_comes_with_a_later_picture_looks_no_quicker_than_it_is(self, bench: Bench) -> None:
        """The frame that it was inferred for was skipped."""
        hub = bench.watch("depth")
        bench.put()
        hub.wait_for(1)
        bench.settle()
        newest = bench.publisher.newest
        assert newest is not None
        bench.inbox.put(replace(newest.frame, inverse_depth=newest.frame.inverse_depth.copy(), change=Change.NONE))
        assert hub.wait_for(2)
        until("it is the newest", lambda: bench.publisher.newest is not newest)
        assert bench.metric("streamd_frames_published_total", view="depth") == 2
        assert bench.metric("streamd_capture_to_publish_seconds_count") == 1

    def test_who_joins_has_a_keyframe_at_once(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without another frame, and of the newest: what nobody watched was not drawn."""
        monkeypatch.setattr(publisher, "STALE_S", 60.0)
        bench.put()
        bench.settle()
        newest = bench.put_unchanged()
        hub = bench.watch("source")
        (packet,) = hub.wait_for(1)
        assert packet.is_keyframe
        assert bench.publisher._renderer._picture is newest.picture

    def test_who_has_lost_a_keyframe_has_another_as_soon_as_may_be(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(publisher, "STALE_S", 60.0)
        monkeypatch.setattr(encode, "MIN_KEYFRAME_INTERVAL_S", 0.2)
        hub = bench.watch("depth")
        bench.put()
        hub.wait_for(1)
        bench.settle()
        bench.put_unchanged()
        bench.publisher.request_keyframe(Rendition("depth"), KeyframeReason.PLI)
        *_, second = hub.wait_for(2)
        assert second.is_keyframe or hub.wait_for(3)[2].is_keyframe

    def test_a_picture_comes_now_and_then(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(renditions, "FIRST_REPEAT_S", 0.0)
        hub = bench.watch("depth")
        bench.put()
        bench.settle()
        bench.put_unchanged()
        hub.wait_for(2)
        bench.put_unchanged()
        bench.put_unchanged()
        assert len(hub.packets) == 2, "and the next is not due yet"
        monkeypatch.setattr(renditions, "REPEAT_S", 0.0)
        bench.put_unchanged()
        hub.wait_for(3)

    def test_what_is_faint_is_drawn_where_the_picture_is_seen(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(renditions, "FIRST_REPEAT_S", 9.0)
        depth, source = bench.watch("depth"), bench.watch("source")
        bench.put()
        source.wait_for(1)
        bench.settle()
        bench.put_unchanged(shows=True)
        source.wait_for(2)
        bench.put_unchanged()
        assert (len(depth.packets), len(source.packets)) == (1, 2)

    def test_new_depth_is_shown_though_its_own_frame_was_skipped(self, bench: Bench) -> None:
        hub = bench.watch("depth")
        bench.put()
        hub.wait_for(1)
        bench.settle()
        newest = bench.publisher.newest
        assert newest is not None
        bench.inbox.put(replace(newest.frame, inverse_depth=newest.frame.inverse_depth * 2, change=Change.NONE))
        hub.wait_for(2)


def test_a_fault_ends_the_thread_and_closes_its_inbox(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench()

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("test")

    monkeypatch.setattr(bench.publisher, "_take", fail)
    bench.put()
    assert str(bench.worker.finished.exception(3)) == "test"
    assert bench.inbox.closed


def test_flicker_fades_while_depth_is_reused(bench: Bench) -> None:
    bench.put()
    bench.settle()
    bench.publisher._flicker.ratio = 0.1
    for _ in range(30):
        bench.put_unchanged()
    faded = 0.1 * 0.95**29
    until("it has faded", lambda: bench.metric("streamd_depth_flicker_ratio") <= faded)
    assert bench.publisher.flicker >= 0.1 * 0.95**31


def test_flicker_is_measured(bench: Bench) -> None:
    bench.put(3)
    bench.settle()
    assert bench.publisher.flicker == bench.metric("streamd_depth_flicker_ratio") == 0


def test_a_range_that_still_moves_is_shown_soon_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The range opens: without that the brightness would go on in one step a second."""
    monkeypatch.setattr(renditions, "FIRST_REPEAT_S", 0.0)
    hub = bench.watch("depth")
    bench.put()
    hub.wait_for(1)
    bench.settle()
    newest = bench.publisher.newest
    assert newest is not None
    now = time.monotonic()
    wider = replace(newest.frame, inverse_depth=newest.frame.inverse_depth * 2, stamp=Stamp(9, 9 * CLOCK_RATE, now))
    bench.inbox.put(wider)
    until("it is shown", lambda: bench.publisher.newest is not newest)
    for _ in range(3):
        bench.put_unchanged()
    hub.wait_for(5)


class TestNotices:
    """NO SIGNAL and the like."""

    @pytest.fixture(autouse=True)
    def quick(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(notices, "NOTICE_EVERY_S", 0.02)

    def test_come_again_and_again_until_there_is_a_picture(self, bench: Bench) -> None:
        hub = bench.watch("depth")
        bench.publisher.show(Notice("NO SIGNAL", "went silent"))
        assert all(packet.is_notice for packet in hub.wait_for(3))
        bench.publisher.show(None)
        bench.put()
        packets = hub.wait_for(len(hub.packets) + 1)
        assert not packets[-1].is_notice
        assert all(a.pts < b.pts for a, b in pairwise(packets)), "across a change of size too"
        assert bench.metric("streamd_frames_published_total", view="depth") == 1, "a notice is no frame"

    def test_give_way_to_a_picture_in_which_nothing_has_changed(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(renditions, "FIRST_REPEAT_S", 9.0)
        hub = bench.watch("depth")
        bench.put()
        hub.wait_for(1)
        bench.settle()
        bench.publisher.show(Notice("NO SIGNAL"))
        hub.wait_for(2)
        bench.publisher.show(None)
        bench.put_unchanged()
        until("it is shown", lambda: not hub.packets[-1].is_notice)

    def test_have_the_size_of_the_picture_before(self, bench: Bench) -> None:
        hub, wide = bench.watch("depth"), bench.watch("side-by-side")
        bench.put(size=(96, 64))
        hub.wait_for(1)
        bench.publisher.show(Notice("NO SIGNAL"))
        assert hub.wait_for(3)[-1].size == (96, 64)
        assert wide.wait_for(3)[-1].size == (192, 64)

    def test_cost_nothing_when_nobody_watches(self, bench: Bench) -> None:
        bench.publisher.show(Notice("NO SIGNAL"))
        hub = bench.watch("source")
        hub.wait_for(2)
        assert bench.hubs["depth"].packets == []


class TestRenditions:
    """Of one view: each is encoded once, and only while somebody wants it."""

    def test_light_is_half_the_size(self, bench: Bench) -> None:
        bench.light.watched = True
        bench.put(3, size=(96, 64))
        assert {packet.size for packet in bench.light.wait_for(3)} == {(48, 32)}
        assert bench.hubs["depth"].packets == []

    def test_vp8_is_made_for_those_who_know_no_h264(self, bench: Bench) -> None:
        hub = bench.watch("depth")
        bench.vp8.watched = True
        bench.put(5, size=(96, 64))
        packets = bench.vp8.wait_for(5)
        decoder = av.CodecContext.create("libvpx", "r")
        frames = [frame for packet in packets for frame in decoder.decode(av.Packet(packet.data))]
        assert {(frame.width, frame.height) for frame in frames} == {(96, 64)}
        assert len(frames) == 5
        assert [packet.is_keyframe for packet in packets] == [True, False, False, False, False]
        assert {packet.codec for packet in packets} == {"vp8"}
        assert {packet.codec for packet in hub.wait_for(5)} == {"h264"}
        bench.vp8.watched = False
        bench.put(2, size=(96, 64))
        hub.wait_for(7)
        assert len(bench.vp8.packets) == 5

    def test_a_keyframe_of_one_is_none_of_the_other(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(encode, "MIN_KEYFRAME_INTERVAL_S", 0.0)
        hub = bench.watch("depth")
        bench.vp8.watched = True
        bench.put()
        bench.vp8.wait_for(1)
        bench.publisher.request_keyframe(VP8, KeyframeReason.PLI)
        bench.put()
        assert [packet.is_keyframe for packet in bench.vp8.wait_for(2)] == [True, True]
        assert [packet.is_keyframe for packet in hub.wait_for(2)] == [True, False]

    def test_one_that_is_refused_leaves_the_thread_asleep(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """No frame comes, and the encoder has refused the size that is there: nothing to wake up for."""

        def refuse(*_: object, **__: object) -> None:
            raise EncodeError("test")

        monkeypatch.setattr(renditions, "LiveEncoder", refuse)
        bench = Bench()
        bench.put()
        bench.settle()
        hub = bench.watch("depth")
        output = bench.output("depth")
        give_up_at = time.monotonic() + 3
        while output.keyframe_wanted and time.monotonic() < give_up_at:
            time.sleep(0.001)
        assert bench.publisher._wait_s() is None
        monkeypatch.undo()
        bench.put(size=(96, 64))
        assert hub.wait_for(1)[0].size == (96, 64), "tried again when the size is another"
        bench.inbox.close()
        bench.worker.finished.result(3)
