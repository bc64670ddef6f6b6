"""Many viewers, one encoder; and what they notice when the depth worker dies: nothing but a short pause."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp
import pytest

from tests.e2e.conftest import StartDaemon
from tests.e2e.processes import Daemon, Metrics, Window, alive
from tests.e2e.viewer import Viewer
from tests.support.waiting import scaled, timeout, until, until_async

CAMERA, NAME = "lavfi:testsrc2=size=320x180:rate=20", "lavfi-testsrc2"
JOIN_S = 1.0
REPLACED_S = 5.0
DEADLINE_S = 3.0
"""model.timeout_s by default."""

Join = Callable[[Daemon], Awaitable[Viewer]]


@pytest.fixture
async def join() -> AsyncIterator[Join]:
    """``await join(daemon)`` is one more viewer."""
    viewers: list[Viewer] = []
    async with aiohttp.ClientSession() as client:

        async def join_one(daemon: Daemon) -> Viewer:
            viewer = Viewer(client, f"{daemon.url}whep/{NAME}")
            viewers.append(viewer)
            return await viewer.join()

        yield join_one
        await asyncio.gather(*(viewer.close() for viewer in viewers))


async def look(daemon: Daemon) -> Metrics:
    return await asyncio.to_thread(daemon.metrics)


async def test_four_viewers_cost_one_encoder(daemon: StartDaemon, join: Join) -> None:
    running = await asyncio.to_thread(lambda: daemon(CAMERA).until_ready())
    before_anyone = await look(running)
    assert before_anyone.value("streamd_frames_published_total") == 0, "encodes although nobody watches"

    viewers = [await join(running) for _ in range(4)]
    await asyncio.gather(*(viewer.sees(1) for viewer in viewers))
    before, decoded_before = await look(running), [viewer.frames for viewer in viewers]
    await asyncio.gather(*(viewer.sees(60) for viewer in viewers))
    window = Window(before, await look(running))

    assert window.after.value("streamd_viewers") == 4
    captured = window.more("streamd_frames_captured_total")
    published = window.more("streamd_frames_published_total", view="depth")
    decoded = [viewer.frames - before for viewer, before in zip(viewers, decoded_before, strict=True)]
    assert min(decoded) >= 60
    assert published == pytest.approx(captured - window.more("streamd_frames_skipped_total"), abs=4)
    assert published <= captured + 2
    assert published == window.more("streamd_frames_published_total"), "a view that nobody watches is encoded"
    assert window.more("streamd_stage_seconds_count", stage="encode") == pytest.approx(published, abs=1)

    fifth = await join(running)
    await fifth.sees(1)
    assert fifth.first_frame_at - fifth.posted_at < scaled(JOIN_S)

    await asyncio.gather(*(viewer.close() for viewer in [*viewers, fifth]))

    async def encoder_rests() -> bool:
        first = await look(running)
        await asyncio.to_thread(wait_for_capture, running, first)
        return Window(first, await look(running)).more("streamd_frames_published_total") == 0

    await until_async("nothing is encoded when all have left", encoder_rests)
    assert (await look(running)).value("streamd_viewers") == 0


def wait_for_capture(daemon: Daemon, since: Metrics) -> None:
    """Until some more frames have gone by."""
    captured = since.value("streamd_frames_captured_total")
    until("frames are captured", lambda: daemon.metrics().value("streamd_frames_captured_total") > captured + 5)


@pytest.mark.parametrize(
    ("fault", "reason", "within_s"),
    [(signal.SIGKILL, "crashed", REPLACED_S), (signal.SIGSTOP, "deadline", DEADLINE_S + REPLACED_S)],
    ids=["killed", "hung"],
)
async def test_a_viewer_outlives_the_worker(
    daemon: StartDaemon, join: Join, fault: signal.Signals, reason: str, within_s: float
) -> None:
    running = await asyncio.to_thread(lambda: daemon(CAMERA).until_ready())
    viewer = await join(running)
    await viewer.sees(5)
    before = running.worker()
    assert before

    os.kill(before, fault)

    async def replaced() -> bool:
        metrics = await look(running)
        return (
            metrics.value("streamd_worker_restarts_total") >= 1
            and running.worker() not in (0, before)
            and metrics.value("streamd_worker_resident_memory_bytes") > 0
        )

    async with timeout(within_s):
        await until_async("another worker is there", replaced, within_s)
        await viewer.sees(5, within_s=within_s)

    assert viewer.state == "connected"
    assert await viewer.is_known()
    assert not alive(before)
    metrics = await look(running)
    assert metrics.value("streamd_worker_restarts_total", reason=reason) == 1
    assert metrics.value("streamd_worker_restarts_total") == 1
    stream = await asyncio.to_thread(running.stream, NAME)
    assert stream["state"] == "running"
    assert stream["viewers"] == 1
