"""A healthy stream beside one that suffers: it must lose nothing by that."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.e2e.processes import Daemon, Window
from tests.support.waiting import until

FPS = 10
SIBLING = {"source": f"lavfi:testsrc2=size=320x180:rate={FPS}"}
"""The configuration of the stream "sibling"."""
BUSY = 0.1
"""Share of its frames that a box busy with other things may be late for. A daemon that stood still as long as the
fault lasts would lose most of them."""


def recorded(folder: Path) -> dict[str, str]:
    """The section that has somebody look at the sibling, so that its frames are published."""
    return {"directory": str(folder / "recordings")}


class Sibling:
    """Made before the fault, past the first frames, which wait for the network."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        until("the sibling is published", lambda: self._published() > FPS)
        self._before, self._began = daemon.metrics(), time.monotonic()

    def _published(self) -> float:
        return self._daemon.metrics().value("streamd_frames_published_total", stream="sibling", view="depth")

    def assert_lost_nothing(self) -> None:
        """Every frame was captured in its time, and published unless it is counted as skipped."""
        seconds, window = time.monotonic() - self._began, Window(self._before, self._daemon.metrics())
        captured = window.more("streamd_frames_captured_total", stream="sibling")
        skipped = window.more("streamd_frames_skipped_total", stream="sibling")
        published = window.more("streamd_frames_published_total", stream="sibling", view="depth")
        print(f"sibling: {captured:g} frames in {seconds:.1f} s, {skipped:g} skipped, {published:g} published")
        assert captured >= (1 - BUSY) * FPS * seconds - 2
        assert skipped <= BUSY * captured
        assert published == pytest.approx(captured - skipped, abs=3)  # on their way
        assert window.more("streamd_source_restarts_total", stream="sibling") == 0
