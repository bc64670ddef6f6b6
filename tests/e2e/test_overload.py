"""A source faster than the network: frames are left out, those that come are fresh."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.conftest import StartDaemon
from tests.e2e.processes import Daemon, Metrics, Window
from tests.support.waiting import until

FRAMES = 80
"""In a window."""
LATENCY = "streamd_capture_to_publish_seconds"


@pytest.mark.usefixtures("midas_small")
def test_latency_stays_flat(daemon: StartDaemon, tmp_path: Path) -> None:
    # Recorded, so that encoding is part of what is measured.
    running = daemon("lavfi:testsrc2=size=640x360:rate=240", "--record", tmp_path, model="midas_small").until_ready()
    one = window_of(running, after(running, 20))
    two = window_of(running, one.after)

    for window in (one, two):
        captured, skipped = window.more("streamd_frames_captured_total"), window.more("streamd_frames_skipped_total")
        assert window.more("streamd_frames_skipped_total", reason="superseded") > 0.5 * FRAMES
        # What is neither skipped nor published is on its way: two or three frames, not a queue.
        assert captured - skipped == pytest.approx(window.more("streamd_frames_published_total"), abs=4)
        infer_s = window.mean("streamd_stage_seconds", stage="infer")
        # A queue would be seconds long: 240 frames a second come, and a few dozen go.
        assert window.mean(LATENCY) <= 4 * infer_s
        assert window.quantile(0.95, LATENCY) <= 10 * infer_s
    assert two.mean(LATENCY) < 1.5 * one.mean(LATENCY), "latency grows"


def after(daemon: Daemon, frames: int) -> Metrics:
    """What is counted once so many frames more have been published."""
    wanted = daemon.metrics().value("streamd_frames_published_total") + frames

    def look() -> Metrics | None:
        now = daemon.metrics()
        return now if now.value("streamd_frames_published_total") >= wanted else None

    found = until(f"{frames} frames are published", look, within_s=40)
    assert found
    return found


def window_of(daemon: Daemon, since: Metrics) -> Window:
    return Window(since, after(daemon, FRAMES))
