"""The live encoder by what is in its bytes: any browser decodes it, anyone can join at a keyframe."""

from __future__ import annotations

import re

import av
import cv2
import numpy as np
import pytest

from streamd.errors import EncodeError
from streamd.media import encode
from streamd.media.encode import LiveEncoder, bitrate_kbps, file_options
from streamd.media.frames import CLOCK_RATE, TIME_BASE, EncodedPacket, Stamp
from tests.support.clips import HEIGHT, WIDTH, number_in, picture_of

SLICE, IDR, SEI, SPS, PPS = 1, 5, 6, 7, 8


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    moment = [100.0]
    monkeypatch.setattr("streamd.media.encode.time.monotonic", lambda: moment[0])
    return moment


def stamp(number: int, fps: float = 30) -> Stamp:
    return Stamp(number, round(number * CLOCK_RATE / fps), 100 + number / fps)


def encoded(encoder: LiveEncoder, numbers: range, now: list[float] | None = None) -> list[EncodedPacket]:
    packets = []
    for number in numbers:
        packets += encoder.encode(picture_of(number), stamp(number))
        if now:
            now[0] += 0.125
    return packets


def units(packet: EncodedPacket) -> list[bytes]:
    """The NAL units between Annex B start codes."""
    assert packet.data.startswith((b"\0\0\1", b"\0\0\0\1")), "Annex B"
    return [unit for unit in re.split(rb"\x00{2,3}\x01", packet.data) if unit]


def kinds(packet: EncodedPacket) -> list[int]:
    found = [unit[0] & 31 for unit in units(packet)]
    return [kind for kind in dict.fromkeys(found) if kind != SEI]


def decoded(packets: list[EncodedPacket]) -> list[av.VideoFrame]:
    decoder = av.CodecContext.create("h264", "r")
    frames = []
    for packet in packets:
        given = av.Packet(packet.data)
        given.pts, given.time_base = packet.pts, TIME_BASE
        frames += decoder.decode(given)
    return [*frames, *decoder.decode(None)]


@pytest.mark.parametrize("half", [False, True])
def test_it_is_constrained_baseline(half: bool) -> None:
    (packet,) = encoded(LiveEncoder(WIDTH, HEIGHT, half=half), range(1))
    (sps,) = [unit for unit in units(packet) if unit[0] & 31 == SPS]
    assert sps[1] == 66, "baseline"
    assert sps[2] & 0x40, "constrained"


def test_headers_stand_in_front_of_every_keyframe(now: list[float]) -> None:
    encoder = LiveEncoder(WIDTH, HEIGHT)
    packets = []
    for start in (0, 20, 40):
        encoder.request_keyframe()
        packets += encoded(encoder, range(start, start + 20), now)
    assert [n for n, packet in enumerate(packets) if packet.is_keyframe] == [0, 20, 40]
    for packet in packets:
        assert kinds(packet) == ([SPS, PPS, IDR] if packet.is_keyframe else [SLICE])


def test_each_picture_gives_its_packet_at_once_and_none_is_a_b_frame() -> None:
    """So pts is dts, and nothing waits in the encoder."""
    encoder = LiveEncoder(WIDTH, HEIGHT)
    for number in range(40):
        (packet,) = encoder.encode(picture_of(number), stamp(number))
        assert (packet.pts, packet.captured_at) == (stamp(number).pts, stamp(number).captured_at)
        assert packet.size == (WIDTH, HEIGHT)


def test_what_was_put_in_comes_out() -> None:
    frames = decoded(encoded(LiveEncoder(WIDTH, HEIGHT), range(40)))
    assert [number_in(frame) for frame in frames] == list(range(40))
    assert [frame.pts for frame in frames] == [stamp(n).pts for n in range(40)]
    luma = frames[20].to_ndarray(format="gray").astype(int)
    assert np.abs(luma - picture_of(20).to_ndarray(format="gray")).mean() < 3


def test_headers_name_the_colours() -> None:
    (frame,) = decoded(encoded(LiveEncoder(WIDTH, HEIGHT), range(1)))
    assert (frame.colorspace, frame.color_range) == (6, 1), "BT.601 in limited range"


def test_anyone_can_join_at_any_keyframe(now: list[float]) -> None:
    encoder = LiveEncoder(WIDTH, HEIGHT)
    before = encoded(encoder, range(25), now)
    encoder.request_keyframe()
    after = encoded(encoder, range(25, 40), now)
    assert [number_in(frame) for frame in decoded(after)] == list(range(25, 40))
    assert not any(packet.is_keyframe for packet in before[1:])


def test_keyframes_have_a_limit_and_a_request_is_never_lost(now: list[float]) -> None:
    """A hundred viewers who ask at once cost one."""
    encoder = LiveEncoder(WIDTH, HEIGHT)
    keys = []
    for number in range(60):
        encoder.request_keyframe()
        due = encoder.keyframe_due
        (packet,) = encoder.encode(picture_of(number), stamp(number))
        assert packet.is_keyframe == due or number == 0
        if packet.is_keyframe:
            keys.append(number)
        now[0] += 0.125
    assert keys == [0, *range(4, 60, 4)], "two a second"


def test_a_request_too_soon_is_kept(now: list[float]) -> None:
    encoder = LiveEncoder(WIDTH, HEIGHT)
    encoded(encoder, range(2), now)
    encoder.request_keyframe()
    packets = encoded(encoder, range(2, 20), now)
    assert [n for n, packet in enumerate(packets, 2) if packet.is_keyframe] == [4]


def test_a_keyframe_comes_by_itself_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encode, "KEYFRAME_EVERY_S", 0.5)
    packets = encoded(LiveEncoder(WIDTH, HEIGHT, fps=30), range(40))
    assert [n for n, packet in enumerate(packets) if packet.is_keyframe] == [0, 15, 30]


def test_it_comes_in_time_though_few_pictures_do(now: list[float]) -> None:
    encoder, keys = LiveEncoder(WIDTH, HEIGHT, fps=30), []
    for number in range(25):
        keys += [number for packet in encoded(encoder, range(number, number + 1), now) if packet.is_keyframe]
        now[0] += 1.0
    assert len(keys) == 3, "every ten seconds"


def test_pts_grow_though_a_picture_is_shown_again() -> None:
    encoder = LiveEncoder(WIDTH, HEIGHT)
    same, older = stamp(5), stamp(4)
    packets = [packet for s in (same, same, older, same, stamp(6)) for packet in encoder.encode(picture_of(1), s)]
    assert [packet.pts for packet in packets] == [15_000, 15_001, 15_002, 15_003, 18_000]


def test_the_rate_is_kept() -> None:
    """Noise would cost many times as much."""
    encoder = LiveEncoder(WIDTH, HEIGHT, kbps=300, fps=30)
    chance, size = np.random.default_rng(0), 0
    for number in range(90):
        noise = chance.integers(16, 236, (HEIGHT * 3 // 2, WIDTH), dtype=np.uint8)
        for packet in encoder.encode(av.VideoFrame.from_ndarray(noise, format="yuv420p"), stamp(number)):
            size += len(packet.data)
    assert 8 * size / 3 < 1.5 * 300_000


@pytest.mark.parametrize(("size", "kbps"), [((1280, 720), 1500), ((640, 360), 495), ((160, 90), 200)])
def test_the_default_rate_goes_with_the_size(size: tuple[int, int], kbps: int) -> None:
    assert bitrate_kbps(*size) == pytest.approx(kbps, rel=0.02)


def test_what_is_to_be_enlarged_may_have_less_than_the_full_size_and_more_than_its_own() -> None:
    assert bitrate_kbps(640, 360, half=True) == 1050


def waves(number: int, width: int, height: int) -> av.VideoFrame:
    """Smooth, and moving: the same at every size."""
    x, y = np.meshgrid(*((np.arange(side) + 0.5) / side for side in (width, height)))
    luma = 125 + 60 * np.sin(9 * x + 0.1 * number) + 40 * np.sin(7 * y - 5 * x * y + 0.07 * number)
    chroma = np.full((height // 2, width), 128, np.uint8)
    return av.VideoFrame.from_ndarray(np.vstack([luma.round().astype(np.uint8), chroma]), format="yuv420p")


def test_half_the_size_is_enlarged_as_good_as_the_full_one_for_less() -> None:
    db, size = {}, {}
    for half in (False, True):
        width, height = (320, 180) if half else (640, 360)
        encoder = LiveEncoder(width, height, half=half)
        packets = [packet for n in range(20) for packet in encoder.encode(waves(n, width, height), stamp(n))]
        errors = []
        for number, frame in enumerate(decoded(packets)):
            shown = cv2.resize(frame.to_ndarray(format="gray"), (640, 360), interpolation=cv2.INTER_LINEAR)
            errors.append(np.mean((shown.astype(float) - waves(number, 640, 360).to_ndarray(format="gray")) ** 2))
        db[half], size[half] = 10 * np.log10(255**2 / np.mean(errors)), sum(len(packet.data) for packet in packets)
    assert db[True] > 49.5
    assert size[True] < 0.75 * size[False]


@pytest.mark.parametrize("fps", [0.01, 7.3, 29.97, 240, 100_000])
def test_any_measured_rate_is_taken(fps: float) -> None:
    assert encoded(LiveEncoder(WIDTH, HEIGHT, fps=fps), range(2))[0].is_keyframe


@pytest.mark.parametrize("size", [(0, 0), (191, 112), (100_000, 16)])
def test_an_impossible_size_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(EncodeError, match="encoder refuses"):
        LiveEncoder(*size)


def test_files_are_encoded_by_quality() -> None:
    options = file_options()
    assert options["crf"]
    options["crf"] = "0"
    assert file_options()["crf"] != "0", "a copy"
