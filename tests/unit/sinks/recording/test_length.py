"""How long a file is, by the file itself: whole, cut short anywhere, growing, or none of ours."""

from __future__ import annotations

import math
import os
import random
import struct
from pathlib import Path

import av
import pytest

from streamd.media.frames import EncodedPacket
from streamd.sinks.recording.length import Length, measure, prolong
from tests.support.segments import FPS, depths, packets, segment


def length_of(path: Path) -> Length:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return measure(descriptor, os.fstat(descriptor).st_size)
    finally:
        os.close(descriptor)


@pytest.fixture(params=["depth", "depth16"])
def view(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def film(view: str, count: int, step: int = 1) -> list[EncodedPacket]:
    return depths(count, step=step) if view == "depth16" else packets(count, step=step)


def test_of_a_whole_file(tmp_path: Path, view: str) -> None:
    path = tmp_path / segment(tmp_path, 0, film(view, 100), view=view).path
    assert length_of(path) == (pytest.approx(4.0, abs=0.02), True)


def test_what_kill_9_leaves(tmp_path: Path, view: str) -> None:
    """A second at most is missing, and what there is counts."""
    path = tmp_path / segment(tmp_path, 0, film(view, 100), view=view, cut_short=True).path
    found = length_of(path)
    assert not found.is_whole
    assert 3.0 <= found.seconds <= 4.02


@pytest.mark.parametrize(("count", "step"), [(100, 1), (100, 24), (1, 1), (30, 24)])
def test_the_last_picture_is_seen_until_it_ends(tmp_path: Path, view: str, count: int, step: int) -> None:
    """Of a still scene up to a second: no muxer knows that."""
    units = film(view, count, step)
    newest_s = (count - 1) // step * step / FPS
    path = tmp_path / segment(tmp_path, 0, units, view=view, ends_s=newest_s + 0.8).path
    assert length_of(path) == (pytest.approx(newest_s + 0.8, abs=0.002), True)
    with av.open(str(path)) as container:
        assert (container.duration or 0) / av.time_base == pytest.approx(newest_s + 0.8, abs=0.002)
        times = [
            packet.pts * float(packet.time_base or 0) for packet in container.demux(video=0) if packet.pts is not None
        ]
        assert times == pytest.approx([number / FPS for number in range(0, count, step)], abs=0.001)


def test_it_is_made_no_shorter(tmp_path: Path, view: str) -> None:
    path = tmp_path / segment(tmp_path, 0, film(view, 100), view=view, ends_s=2.0).path
    assert length_of(path).seconds == pytest.approx(4.0, abs=0.02)


@pytest.mark.parametrize("data", [b"", b"abc", b"x" * 1000, b"\x1a\x45\xdf\xa3", b"\0\0\0\x08moov" * 9])
def test_what_is_none_of_ours_stays_as_it_is(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x").write_bytes(data)
    with (tmp_path / "x").open("r+b") as file:
        prolong(file.fileno(), len(data), 9.0)
    assert (tmp_path / "x").read_bytes() == data


def test_a_fragment_without_a_picture_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / segment(tmp_path, 0, packets(100)).path
    data = bytearray(path.read_bytes())
    count_at = data.rindex(b"trun") + 8
    data[count_at : count_at + 4] = bytes(4)
    path.write_bytes(data)
    with path.open("r+b") as file:
        prolong(file.fileno(), len(data), 9.0)
    assert path.read_bytes() == data


def test_what_kill_9_leaves_of_a_still_scene(tmp_path: Path, view: str) -> None:
    """Each second but the last: a picture comes each 0.96 s, as at 25 fps."""
    path = tmp_path / segment(tmp_path, 0, film(view, 250, 24), view=view, cut_short=True).path
    assert length_of(path).seconds == pytest.approx(240 / FPS, abs=0.1), "up to the newest picture"


def test_cut_anywhere_it_is_never_too_long(tmp_path: Path, view: str) -> None:
    path = tmp_path / segment(tmp_path, 0, film(view, 100), view=view).path
    data, before = path.read_bytes(), 0.0
    for size in range(0, len(data) - 1, max(1, len(data) // 200)):
        path.write_bytes(data[:size])
        seconds = length_of(path).seconds
        assert before <= seconds <= 4.05
        before = seconds
    assert before > 3.0


@pytest.mark.parametrize("data", [b"", b"abc", b"x" * 1000, b"\x1a\x45\xdf\xa3", b"\0\0\0\x08moov" * 9])
def test_of_none_of_ours(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x").write_bytes(data)
    assert length_of(tmp_path / "x") == (0.0, False)


def test_damaged_bytes_end_soon_and_raise_nothing(tmp_path: Path, view: str) -> None:
    path = tmp_path / segment(tmp_path, 0, film(view, 30), view=view).path
    data, chance = path.read_bytes(), random.Random(5)
    for _ in range(300):
        damaged = bytearray(data)
        for _ in range(8):
            damaged[chance.randrange(len(data))] = chance.randrange(256)
        path.write_bytes(damaged)
        assert length_of(path).seconds >= 0


@pytest.mark.parametrize("claimed", [math.nan, math.inf, -1.0, 1e300])
def test_one_that_claims_what_cannot_be(tmp_path: Path, claimed: float) -> None:
    """A bit that fell over makes centuries of two seconds, which no date holds."""
    path = tmp_path / segment(tmp_path, 0, depths(50), view="depth16").path
    data = bytearray(path.read_bytes())
    at = data.index(b"\x44\x89\x88") + 3
    data[at : at + 8] = struct.pack(">d", claimed)
    path.write_bytes(data)
    assert length_of(path) == (0.0, False)
