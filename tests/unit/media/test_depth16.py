"""Depth as 16-bit codes and back, and as a file: every value within half a step, every stamp exact."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

import streamd
from streamd.media import depth16
from streamd.media.depth16 import LEVELS, NotDepth16, Scale, _parse, quantise, read_depth, restore
from streamd.media.frames import FloatImage
from tests.support.clips import write_clip
from tests.support.segments import depth_of, depths, segment


@pytest.mark.parametrize("number", range(6))
def test_each_frame_to_within_half_a_step_of_its_own_range(number: int) -> None:
    depth = depth_of(number)
    codes, scale = quantise(depth)
    assert (codes.min(), codes.max()) == (0, LEVELS)
    assert np.abs(restore(codes, scale) - depth).max() <= 0.51 * np.ptp(depth) / LEVELS


@pytest.mark.parametrize(
    ("depth", "codes", "scale"),
    [
        ([[3.0, 3.0]], [[0, 0]], Scale(3.0, 3.0)),
        ([[np.nan, 1.0, 2.0]], [[0, 0, 65535]], Scale(1.0, 2.0)),
        ([[np.inf, -np.inf, 1.0, 2.0]], [[65535, 0, 0, 65535]], Scale(1.0, 2.0)),
        ([[np.nan, np.inf]], [[0, 0]], Scale(0.0, 0.0)),
        ([[-3e38, 3e38]], [[0, 65535]], Scale(float(np.float32(-3e38)), float(np.float32(3e38)))),
    ],
)
def test_odd_values(depth: list[list[float]], codes: list[list[int]], scale: Scale) -> None:
    found = quantise(np.array(depth, np.float32))
    assert found[0].tolist() == codes
    assert found[1] == scale
    assert np.isfinite(restore(*found)).all()


def write(path: Path, frames: list[FloatImage], times: list[int], time_base: Fraction) -> None:
    with av.open(str(path), "w", options=depth16.MUXER) as container:
        tracks = depth16.Tracks(container, 30)
        height, width = frames[0].shape
        tracks.size(width, height, time_base)
        for depth, pts in zip(frames, times, strict=True):
            codes, scale = quantise(depth)
            picture = depth16.picture_of(codes)
            picture.pts, picture.time_base = pts, time_base
            container.mux(tracks.packets(picture, scale))


@pytest.mark.parametrize(
    ("time_base", "step"), [(Fraction(1, 90000), 3003), (Fraction(1, 30000), 1001), (Fraction(1, 1_000_000), 17)]
)
def test_stamps_are_exact_and_ranges_may_grow(tmp_path: Path, time_base: Fraction, step: int) -> None:
    """Matroska counts milliseconds: several frames may have the same."""
    frames, times = [depth_of(number) * 10.0**number for number in range(8)], [step * number for number in range(8)]
    write(tmp_path / "x.mkv", [frame.astype(np.float32) for frame in frames], times, time_base)
    found = list(streamd.read_depth(tmp_path / "x.mkv"))
    assert [time_s for time_s, _ in found] == [float(pts * time_base) for pts in times]
    for frame, (_, depth) in zip(frames, found, strict=True):
        assert depth.dtype == np.float32
        assert np.abs(depth - frame).max() <= np.ptp(frame) / LEVELS


def test_anybody_can_look_at_it(tmp_path: Path) -> None:
    write(tmp_path / "x.mkv", [depth_of(0)], [0], Fraction(1, 1000))
    with av.open(tmp_path / "x.mkv") as container:
        video = container.streams.video[0]
        assert (video.codec_context.name, video.pix_fmt, video.metadata["title"]) == (
            "ffv1",
            "gray16le",
            "streamd depth16",
        )
        assert "near" in container.metadata["COMMENT"]
        texts = [bytes(packet) for packet in container.demux(subtitles=0) if packet.size]
    assert b'"near": ' in texts[0]


def test_of_a_recording_that_was_cut_short_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / segment(tmp_path, 0, depths(100), view="depth16", cut_short=True).path
    found = list(read_depth(path))
    assert 75 <= len(found) <= 100, "a second at most is missing"
    data = path.read_bytes()
    for size in range(len(data) // 3, len(data), len(data) // 20):
        path.write_bytes(data[:size])
        for number, (time_s, depth) in enumerate(read_depth(path)):
            assert time_s == number / 25
            assert np.abs(depth - depth_of(number)).max() <= np.ptp(depth_of(number)) / LEVELS


def test_damaged_frames_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / segment(tmp_path, 0, depths(50), view="depth16").path
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 8] = b"\x55" * 8
    path.write_bytes(data)
    found = list(read_depth(path))
    assert 25 <= len(found) < 51
    for time_s, depth in found:
        assert np.abs(depth - depth_of(round(time_s * 25))).max() <= np.ptp(depth) / LEVELS


def test_what_is_no_depth16(tmp_path: Path) -> None:
    (tmp_path / "x.mkv").write_bytes(b"nothing of the kind" * 50)
    for path in (write_clip(tmp_path / "clip.mkv", 5), tmp_path / "x.mkv"):
        with pytest.raises(NotDepth16, match="no depth16"):
            next(read_depth(path))
    with pytest.raises(FileNotFoundError):
        next(streamd.read_depth(tmp_path / "nowhere.mkv"))


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"{}",
        b'{"pts": 1, "time_base": "1/0", "far": 0, "near": 1}',
        b'{"pts": 1' + b"0" * 400 + b', "time_base": "1/90000", "far": 0, "near": 1}',
        b'{"pts": 1, "time_base": "1/90000", "far": null, "near": 1}',
    ],
)
def test_a_scale_that_makes_no_sense(text: bytes) -> None:
    with pytest.raises(NotDepth16, match="cannot be read"):
        _parse(text)
