"""Packets as a file without an end."""

from __future__ import annotations

import io
import resource
import time
from dataclasses import replace
from pathlib import Path

import av
import pytest

from streamd.media.encode import LiveEncoder
from streamd.media.frames import EncodedPacket, Stamp
from streamd.sinks.live import LiveContainer, LiveMuxer
from tests.support.clips import number_in, picture_of

LATER = 10**7
"""Streams have run for a while when someone looks."""


def encoded(count: int, width: int = 320, height: int = 240, first: int = 0) -> list[EncodedPacket]:
    encoder, now = LiveEncoder(width, height), time.monotonic()
    return [
        packet
        for number in range(first, first + count)
        for packet in encoder.encode(picture_of(number, width, height), Stamp(number, LATER + 3600 * number, now))
    ]


@pytest.mark.parametrize("container", ["mp4", "ts"])
def test_it_plays_from_its_first_picture_whatever_size_comes_later(container: LiveContainer) -> None:
    packets = encoded(5) + encoded(5, 640, 480, first=5)
    muxer = LiveMuxer(container, packets[0])
    pieces = [muxer.mux(packet) for packet in packets]
    muxer.close()
    assert all(pieces), "nothing waits for more than the next picture"
    with av.open(io.BytesIO(b"".join(pieces)), "r") as file:
        shown = list(file.decode(video=0))
    count = 9 if container == "mp4" else 10  # the last is written when the next one comes
    assert [number_in(each) for each in shown] == list(range(count))
    assert [(each.width, each.height) for each in shown] == ([(320, 240)] * 5 + [(640, 480)] * 5)[:count]
    assert [each.time for each in shown] == [pytest.approx(number / 25, abs=1e-4) for number in range(count)]


@pytest.mark.parametrize("container", ["mp4", "ts"])
def test_nothing_is_kept_of_what_has_gone(container: LiveContainer) -> None:
    first, second = encoded(2)
    second = replace(second, data=second.data[:50])
    muxer = LiveMuxer(container, first)
    kept_kb = []
    for _ in range(2):  # once to settle
        for _ in range(60_000):
            muxer.mux(second)
        kept_kb.append(resident_kb())
    assert kept_kb[1] - kept_kb[0] < 1000
    muxer.close()


def resident_kb() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() // 1024


def test_times_only_go_on() -> None:
    first, second, *_ = encoded(3)
    muxer = LiveMuxer("mp4", first)
    for packet in (first, second, replace(second, pts=first.pts - 5), second):
        muxer.mux(packet)
    muxer.close()
