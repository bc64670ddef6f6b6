from __future__ import annotations

import pytest

from streamd.sinks.webrtc.rendition import CONGESTED_S, HEALTHY_S, MAX_HEALTHY_S, RenditionChoice

FULL, LIGHT = 1_500_000.0, 400_000.0
GOOD, BAD = 2_000_000.0, 400_000.0


class Viewer:
    """Reports once a second, as browsers do."""

    def __init__(self) -> None:
        self.choice, self.now = RenditionChoice(), 0.0
        self.changes: list[tuple[float, bool]] = []

    def reports(self, seconds: float, remb_bps: float | None = GOOD, lost: float = 0.0) -> None:
        for _ in range(round(seconds)):
            self.now += 1
            sent = LIGHT if self.choice.light else FULL
            if self.choice.report(self.now, remb_bps=remb_bps, lost=lost, sent_bps=sent):
                self.changes.append((self.now, self.choice.light))


@pytest.mark.parametrize("bad", [{"remb_bps": BAD}, {"lost": 0.2}, {"remb_bps": None, "lost": 0.2}])
def test_three_bad_seconds_move_it_to_light_and_fifteen_good_ones_back(bad: dict[str, float]) -> None:
    viewer = Viewer()
    viewer.reports(10)
    viewer.reports(10, **bad)
    viewer.reports(30)
    assert viewer.changes == [(11 + CONGESTED_S, True), (21 + HEALTHY_S, False)] or viewer.changes == [
        (11 + CONGESTED_S, True),
        (15 + HEALTHY_S, False),
    ], "an estimate that is enough for light is good at once"


@pytest.mark.parametrize("remb_bps", [None, GOOD, 0.9 * FULL])
def test_a_good_link_stays_full(remb_bps: float | None) -> None:
    viewer = Viewer()
    viewer.reports(300, remb_bps, lost=0.05)
    assert viewer.changes == []


def test_an_estimate_that_still_climbs_after_a_still_scene_is_no_bad_link() -> None:
    """Chromium's, on loopback, when 2 kbit/s had become 500: it takes half a minute to be above what is sent."""
    viewer, remb_bps = Viewer(), 12_100.0
    viewer.reports(5, remb_bps=3 * FULL)
    while remb_bps < FULL:
        viewer.reports(1, remb_bps)
        remb_bps *= 1.07
    assert viewer.changes == []
    viewer.reports(5, BAD)
    assert [light for _, light in viewer.changes] == [True]


def test_a_short_fault_changes_nothing() -> None:
    viewer = Viewer()
    for _ in range(20):
        viewer.reports(2, BAD)
        viewer.reports(5)
    assert viewer.changes == []


def test_each_relapse_doubles_its_patience() -> None:
    viewer = Viewer()
    while len(viewer.changes) < 14:
        viewer.reports(1, BAD if not viewer.choice.light else GOOD)
    stays = [back - away for (away, light), (back, _) in zip(viewer.changes, viewer.changes[1:], strict=False) if light]
    assert stays[:4] == [HEALTHY_S + 1, 2 * HEALTHY_S + 1, 4 * HEALTHY_S + 1, 8 * HEALTHY_S + 1]
    assert max(stays) == MAX_HEALTHY_S + 1


def test_a_long_good_time_is_remembered() -> None:
    viewer = Viewer()
    for _ in range(3):
        viewer.reports(5, lost=0.5)
        viewer.reports(100)
    stays = [back - away for (away, light), (back, _) in zip(viewer.changes, viewer.changes[1:], strict=False) if light]
    assert len(set(stays)) == 1
