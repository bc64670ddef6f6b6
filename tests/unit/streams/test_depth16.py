"""Depth as data on its way to the recorder."""

from __future__ import annotations

import time
from typing import Any

import av
import numpy as np
import pytest

from streamd.media.depth16 import Scale, restore
from streamd.media.frames import DepthFrame, Provenance, Stamp
from streamd.streams.depth16 import Depth16Output
from tests.support.played import PlayedHub
from tests.support.segments import depth_of


def frame(number: int, pts: int) -> DepthFrame:
    depth = depth_of(number)
    stamp = Stamp(number, pts, time.monotonic(), epoch=2)
    luma = np.zeros(depth.shape, np.uint8)
    return DepthFrame(stamp, av.VideoFrame(64, 48, "yuv420p"), depth, luma, depth, Provenance("m", "s", "p", "r", "q"))


def made() -> tuple[Depth16Output, PlayedHub]:
    hub: Any = PlayedHub()
    return Depth16Output(hub), hub


def test_codes_with_their_scale() -> None:
    output, hub = made()
    assert output.publish(frame(3, 900), is_new=False), "the recording begins"
    assert not output.publish(frame(3, 950), is_new=False)
    [packet] = hub.packets
    assert (packet.pts, packet.size, packet.epoch, packet.codec, packet.is_keyframe) == (
        900,
        (64, 32),
        2,
        "gray16",
        True,
    )
    codes = np.frombuffer(packet.data, np.uint16).reshape(32, 64)
    assert np.abs(restore(codes, Scale(*packet.scale)) - depth_of(3)).max() <= np.ptp(depth_of(3)) / 65535


def test_depth_that_is_reused_comes_each_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a recording of a still scene that is cut short has lost what lies behind the last new depth."""
    output, _ = made()
    now, sent = 0.0, []
    monkeypatch.setattr("time.monotonic", lambda: now)
    for number in range(50):
        now = 100 + number / 8
        if output.publish(frame(0, number), is_new=number in (0, 14)):
            sent.append(number)
    assert sent == [0, 8, 14, 22, 30, 38, 46]


def test_a_recording_begins_with_depth_that_is_reused() -> None:
    output, hub = made()
    assert output.publish(frame(0, 0), is_new=True)
    hub.watched = False
    assert not output.publish(frame(0, 0), is_new=False)
    hub.watched = True
    assert output.publish(frame(0, 0), is_new=False)


def test_times_only_grow() -> None:
    output, hub = made()
    for pts in (900, 900, 5):
        output.publish(frame(0, pts), is_new=True)
    assert [packet.pts for packet in hub.packets] == [900, 901, 902]


def test_a_notice_has_no_picture() -> None:
    output, hub = made()
    output.publish_notice(Stamp(0, 7, 0.0))
    [packet] = hub.packets
    assert (packet.is_notice, packet.data) == (True, b"")


def test_nothing_while_nobody_records() -> None:
    output, hub = made()
    hub.watched = False
    assert not output.publish(frame(0, 0), is_new=True)
    hub.watched, output.abandoned = True, True
    assert not output.publish(frame(0, 0), is_new=True)
    output.publish_notice(Stamp(0, 7, 0.0))
    assert hub.packets == []
