"""One rendition: its encoder, and what happens when the encoder will not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import av
import pytest

from streamd.errors import EncodeError
from streamd.media.encode import HALF_BITRATE, LIGHT_BITRATE, LiveEncoder
from streamd.media.frames import EncodedPacket, Stamp
from streamd.media.hub import Rendition
from streamd.streams import renditions
from streamd.streams.renditions import MIN_FPS, RETRY_S, USUAL_FPS, RenditionOutput
from streamd.telemetry.statistics import Rate
from tests.support.played import PlayedHub

DEPTH, LIGHT, HALF = Rendition("depth"), Rendition("depth", light=True), Rendition("depth", half=True)


class Encoders:
    """Those that were made, and whether they work."""

    def __init__(self) -> None:
        self.made: list[dict[str, Any]] = []
        self.refuses = self.fails = False

    def __call__(self, width: int, height: int, **options: Any) -> LiveEncoder:
        if self.refuses:
            raise EncodeError("refused")
        self.made.append(options)
        encoder = LiveEncoder(width, height, **options)
        encode = encoder.encode

        def maybe(*arguments: Any, **more: Any) -> list[EncodedPacket]:
            if self.fails:
                raise EncodeError("failed")
            return encode(*arguments, **more)

        encoder.encode = maybe  # type: ignore[method-assign]
        return encoder


class Bench:
    def __init__(self, rendition: Rendition = DEPTH, kbps: int | None = None) -> None:
        self.hub, self.rate = PlayedHub(), Rate()
        self.output = RenditionOutput("porch", rendition, self.hub, kbps, self.rate)  # type: ignore[arg-type]
        self._pts = 0

    def publish(self, size: tuple[int, int] = (64, 48), **how: bool) -> bool:
        self._pts += 3000
        stamp = Stamp(self._pts, self._pts, self._pts / 90_000)
        return self.output.publish(av.VideoFrame(*size, "yuv420p"), stamp, **how)


@pytest.fixture
def encoders(monkeypatch: pytest.MonkeyPatch) -> Encoders:
    encoders = Encoders()
    monkeypatch.setattr(renditions, "LiveEncoder", encoders)
    return encoders


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    moment = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: moment[0])
    yield moment
    monkeypatch.undo()


def test_a_repeat_is_due_soon_after_a_new_picture_and_each_second_from_then_on(now: list[float]) -> None:
    bench = Bench()
    assert bench.output.repeat_due, "nothing was published yet"
    repeats = []
    for number in range(40):
        now[0] = 1000 + number / 8
        if number in (0, 21):
            bench.publish()
        elif bench.output.repeat_due:
            bench.publish(is_repeat=True)
            repeats.append(number)
    assert repeats == [2, 10, 18, 23, 31, 39]


def test_a_viewer_whose_request_was_dropped_does_not_wait_for_a_repeat() -> None:
    bench = Bench()
    bench.publish()
    bench.output.release()
    assert not bench.output.keyframe_wanted
    assert bench.output.repeat_due
    bench.publish(is_repeat=True)
    assert bench.hub.packets[-1].is_keyframe


def test_one_encoder_for_one_size(encoders: Encoders) -> None:
    bench = Bench()
    assert all(bench.publish() for _ in range(3))
    assert bench.publish((96, 64))
    assert [packet.is_keyframe for packet in bench.hub.packets] == [True, False, False, True]
    assert len(encoders.made) == 2
    assert encoders.made[1]["after_pts"] == bench.hub.packets[2].pts


def test_nothing_but_a_keyframe_that_is_wanted_and_due(encoders: Encoders, now: list[float]) -> None:
    bench = Bench()
    bench.publish()
    assert not bench.publish(only_keyframe=True), "none is wanted"
    bench.output.keyframe_wanted = True
    assert not bench.publish(only_keyframe=True), "the last was just now"
    assert bench.output.keyframe_wanted, "it is not forgotten"
    now[0] += 1
    assert bench.publish(only_keyframe=True)
    assert not bench.output.keyframe_wanted
    assert [packet.is_keyframe for packet in bench.hub.packets] == [True, True]


def test_an_encoder_that_fails_is_replaced(encoders: Encoders, caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench()
    bench.publish()
    encoders.fails = True
    assert not bench.publish()
    encoders.fails = False
    assert bench.publish()
    assert [packet.is_keyframe for packet in bench.hub.packets] == [True, True]
    assert bench.hub.packets[1].pts > bench.hub.packets[0].pts
    assert caplog.messages == ["stream porch: view depth: failed"]


@pytest.mark.parametrize("fault", ["refuses", "fails"])
def test_a_size_that_is_refused_is_not_tried_at_every_frame(
    encoders: Encoders, now: list[float], caplog: pytest.LogCaptureFixture, fault: str
) -> None:
    """By an encoder that does not open, or that does and never encodes."""
    bench = Bench()
    setattr(encoders, fault, True)
    bench.output.keyframe_wanted = True
    assert not any(bench.publish() for _ in range(10))
    assert not bench.output.keyframe_wanted, "the thread shall not wake up for it again and again"
    bench.output.keyframe_wanted = True
    bench.publish()
    assert not bench.output.keyframe_wanted, "nor for the next who asks for a keyframe"
    assert len(caplog.messages) == 1
    setattr(encoders, fault, False)
    assert not bench.publish()
    assert bench.publish((96, 64)), "another size is tried at once"


def test_a_size_that_is_refused_is_tried_again_in_time(encoders: Encoders, now: list[float]) -> None:
    bench = Bench()
    encoders.refuses = True
    bench.publish()
    encoders.refuses = False
    now[0] += RETRY_S - 0.1
    assert not bench.publish()
    now[0] += 0.2
    assert bench.publish()


def test_a_size_that_is_refused_is_tried_again_for_the_next_viewer(encoders: Encoders) -> None:
    bench = Bench()
    encoders.refuses = True
    bench.publish()
    encoders.refuses = False
    bench.output.release()
    assert bench.publish()


@pytest.mark.parametrize(("rendition", "kbps"), [(DEPTH, 1000), (LIGHT, 250), (HALF, 700)])
def test_the_cap_on_the_bitrate(encoders: Encoders, rendition: Rendition, kbps: int) -> None:
    assert (LIGHT_BITRATE, HALF_BITRATE) == (0.25, 0.7)
    bench = Bench(rendition, 1000)
    bench.publish()
    assert encoders.made[0]["kbps"] == kbps
    assert encoders.made[0]["half"] is (rendition is HALF)


class TestFollowing:
    """One output's packets for another's hub."""

    def test_both_hubs_get_the_packets_of_one_encoder_from_a_keyframe_on(self, encoders: Encoders) -> None:
        full, half = Bench(), Bench(HALF)
        full.publish()
        half._pts = full._pts
        half.publish((32, 24))
        half.output.follow(full.output)
        half.output.follow(full.output)
        assert (half.output.watched, full.output.watched) == (False, True)
        full._pts = half._pts
        assert full.publish()
        assert full.publish()
        assert [packet.size for packet in half.hub.packets] == [(32, 24), (64, 48), (64, 48)]
        assert half.hub.packets[1:] == full.hub.packets[1:]
        assert [packet.is_keyframe for packet in half.hub.packets] == [True, True, False]
        assert len(encoders.made) == 3

    def test_its_viewers_keep_the_other_awake_and_ask_it_for_keyframes(self) -> None:
        full, half = Bench(), Bench(HALF)
        half.output.follow(full.output)
        full.hub.watched = False
        assert full.output.watched
        half.output.request_keyframe()
        assert (full.output.keyframe_wanted, half.output.keyframe_wanted) == (True, False)
        half.hub.watched = False
        assert not full.output.watched

    def test_its_own_again(self, encoders: Encoders, now: list[float]) -> None:
        full, half = Bench(), Bench(HALF)
        half.output.follow(full.output)
        now[0] += 1
        full.publish(), full.publish()
        half.output.follow(None)
        half._pts = full._pts - 3000  # a picture that was shown before
        half.publish((32, 24))
        full.publish()
        assert [packet.size for packet in half.hub.packets] == [(64, 48), (64, 48), (32, 24)]
        assert half.hub.packets[2].is_keyframe
        assert half.hub.packets[2].pts == half.hub.packets[1].pts + 1
        assert len(full.hub.packets) == 3


@pytest.mark.parametrize(
    ("pauses_s", "fps"), [([], USUAL_FPS), ([0.1] * 10, 10), ([5, 5], MIN_FPS), ([0.1, 7200], MIN_FPS)]
)
def test_the_frame_rate_that_the_encoder_reckons_with(
    encoders: Encoders, now: list[float], pauses_s: list[float], fps: float
) -> None:
    """x264 takes no rate of 0: neither a slow camera nor a long silence shall make one."""
    bench = Bench()
    for pause_s in pauses_s:
        bench.rate.tick()
        now[0] += pause_s
    assert bench.publish()
    assert encoders.made[0]["fps"] == pytest.approx(fps)
