"""A crowd watches: how soon one more has a picture, who asks for keyframes all the time, who comes and goes."""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path

import aiohttp
import pytest

from tests.e2e.conftest import StartDaemon
from tests.e2e.processes import Daemon, resident_mb
from tests.e2e.viewer import Viewer
from tests.support.crowd import Crowd, crowd
from tests.support.waiting import until

pytestmark = pytest.mark.timeout(120)

CAMERA, NAME = "lavfi:testsrc2=size=320x180:rate=20", "lavfi-testsrc2"
PRESENT = 16
JOINS = 10
JOIN_S = 1.0
KEYFRAMES_PER_S = 2.0
WARM_UP, POLITE, SILENT, AT_ONCE = 20, 30, 30, 5
GONE_S = 10.0
RSS_SHARE = 0.1
"""Still settling after so few: 300 are within 3 %."""


def watch(daemon: StartDaemon, **environment: str) -> tuple[Daemon, str]:
    running = daemon(CAMERA, **environment).until_ready()
    return running, f"{running.url}whep/{NAME}"


@pytest.mark.parametrize("present", [1, PRESENT])
async def test_one_more_has_a_picture_within_a_second(daemon: StartDaemon, present: int) -> None:
    """Decoded, not only arrived. ``benchmarks/latency.py --joins`` shows the distribution."""
    _, url = await asyncio.to_thread(watch, daemon)
    times_s = []
    async with crowd(url, raw=True) as others:
        await asyncio.to_thread(others.join, present, at_once=True)
        async with aiohttp.ClientSession() as http:
            for _ in range(JOINS):
                viewer = await Viewer(http, url).join()
                await viewer.sees(1)
                times_s.append(viewer.first_frame_at - viewer.posted_at)
                await viewer.close()
        counts = await asyncio.to_thread(others.counts)
        assert min(viewer["pictures"] for viewer in counts) > 10, "the others had to wait"
    print(f"{present} present: the slowest of {JOINS} after {max(times_s):.3f} s")
    assert sorted(times_s)[int(0.9 * JOINS) - 1] < JOIN_S, times_s


def test_a_storm_of_plis_makes_two_keyframes_a_second_at_most(daemon: StartDaemon) -> None:
    running, url = watch(daemon)
    asked_before = running.metrics().value("streamd_keyframe_requests_total", reason="pli")
    with Crowd(url) as viewers:
        viewers.join(PRESENT, at_once=True)
        counts = viewers.storm(3.0)
    asked = running.metrics().value("streamd_keyframe_requests_total", reason="pli") - asked_before
    print(f"{asked:g} PLIs, keyframes a second: {max(each['keyframes'] / each['s'] for each in counts):.1f}")
    assert asked > 10 * PRESENT, "the storm did not arrive"
    for viewer in counts:
        assert viewer["pictures"] > 10 * viewer["s"], "the picture stood still"
        assert 2 <= viewer["keyframes"] <= KEYFRAMES_PER_S * viewer["s"] + 1, viewer


def test_whoever_came_and_went_leaves_nothing_behind(daemon: StartDaemon) -> None:
    """Half of them say goodbye, the others are killed. ``benchmarks/viewers.py --cycles 300`` is the long form."""
    running, url = watch(daemon)
    come_and_go(url, WARM_UP)  # what libraries keep from their first viewers is there now
    before, resident_before_mb = held(running.pid), resident_mb(running.pid)
    silent = Crowd(url, raw=True)
    silent.join(SILENT, at_once=True)
    come_and_go(url, POLITE)
    assert running.stream(NAME)["viewers"] == SILENT
    silent.vanish()
    until("the dead are forgotten", lambda: running.stream(NAME)["viewers"] == 0, GONE_S)
    until(f"what it holds is {before} again", lambda: held(running.pid) == before, GONE_S)
    assert resident_mb(running.pid) < resident_before_mb * (1 + RSS_SHARE)


def come_and_go(url: str, cycles: int) -> None:
    """A few at once, and with DELETE."""
    with Crowd(url, raw=True) as viewers:
        for _ in range(cycles // AT_ONCE):
            viewers.join(AT_ONCE, at_once=True)
            viewers.leave()


def held(pid: int) -> dict[str, int]:
    """Open descriptors by kind, and threads."""
    names = [re.sub(r":\[\d+\]$", "", os.readlink(file)) for file in Path(f"/proc/{pid}/fd").iterdir()]
    kinds = {name: names.count(name) for name in names}
    return {**kinds, "threads": len(list(Path(f"/proc/{pid}/task").iterdir()))}
