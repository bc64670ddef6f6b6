from __future__ import annotations

import asyncio

import pytest

from streamd.config.sections import RECORDED_VIEWS
from streamd.errors import StreamGone, UsageError
from streamd.media.hub import RENDITIONS, Rendition, Subscription
from streamd.states import KeyframeReason
from streamd.streams.hubs import Hubs


class Bench:
    def __init__(self) -> None:
        self.keyframes: list[tuple[Rendition, KeyframeReason]] = []
        self.changes = 0
        self.hubs = Hubs(asyncio.get_running_loop(), lambda *request: self.keyframes.append(request), self._changed)

    def _changed(self) -> None:
        self.changes += 1

    def join(self, view: str, *, light: bool = False) -> Subscription:
        return Subscription(self.hubs.find(view, light=light), on_drop=lambda count: None)


async def test_there_is_one_for_each_rendition() -> None:
    hubs = Bench().hubs
    assert set(hubs) == set(RENDITIONS)
    assert list(hubs.recorded) == list(RECORDED_VIEWS)
    assert hubs.find("depth") is hubs.recorded["depth"]
    assert hubs.find("depth", "vp8", light=True) is hubs[Rendition("depth", "vp8", True)]
    assert hubs.find("depth", half=True) is hubs[Rendition("depth", half=True)]
    assert hubs.find("depth", light=True, half=True) is hubs[Rendition("depth", light=True)]
    assert hubs.find("gray", half=True) is hubs[Rendition("gray", half=True)]
    assert hubs.find("rgbd", half=True) is hubs.recorded["rgbd"], "it holds more detail"
    with pytest.raises(UsageError, match="view x: unknown; there are: depth, overlay"):
        hubs.find("x")


async def test_who_joins_is_counted_and_asks_for_a_keyframe_of_that_rendition() -> None:
    bench = Bench()
    assert not bench.hubs.watched
    seats = [bench.join("depth"), bench.join("depth"), bench.join("gray", light=True)]
    assert (bench.hubs.watched, bench.hubs.subscribers, bench.changes) == (True, 3, 3)
    assert bench.keyframes[-1] == (Rendition("gray", "h264", True), KeyframeReason.JOIN)
    bench.hubs.close()
    assert all(seat.closed for seat in seats)
    assert not bench.hubs.watched
    with pytest.raises(StreamGone):
        bench.join("depth")
