"""The infer thread with a network that a test plays: order, what is skipped, what is tried again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import av
import numpy as np
import pytest

from streamd.concurrency import threads
from streamd.concurrency.mailbox import Closed, Mailbox
from streamd.depth.estimator import ModelInfo
from streamd.depth.gate import ChangeGate
from streamd.errors import WeightsRejected
from streamd.media.frames import CapturedFrame, DepthFrame, Stamp
from streamd.states import Change
from streamd.streams.inference import Inference
from tests.support.played import INFO, LOST, PlayedService
from tests.support.waiting import until

pytestmark = pytest.mark.timeout(10)


class Bench:
    def __init__(self, info: ModelInfo | None = INFO, **options: Any) -> None:
        self.service = PlayedService(info)
        every = options.get("every", False)
        self.frames: Mailbox[CapturedFrame] = Mailbox(every=every, capacity=100 if every else 1)
        self.depths: Mailbox[DepthFrame] = Mailbox(every=True, capacity=100)
        self.skipped: list[int] = []
        self.stages: list[str] = []
        self.inference = Inference(
            self.service,  # type: ignore[arg-type]
            self.frames,
            self.depths,
            observe=lambda stage, seconds: self.stages.append(stage),
            on_error=lambda frame: self.skipped.append(frame.stamp.sequence),
            **options,
        )
        self.worker = threads.start("infer", self.inference.run)

    def put(self, *numbers: int) -> None:
        for number in numbers:
            self.frames.put(frame(number))

    def next(self) -> int | None:
        depth = self.depths.get(timeout_s=2)
        return None if depth is None else depth.stamp.sequence

    def rest(self) -> list[int]:
        """Ends it and tells what else came out."""
        self.frames.close()
        found = []
        try:
            while (depth := self.depths.get(timeout_s=2)) is not None:
                found.append(depth.stamp.sequence)
        except Closed:
            pass
        self.worker.join()
        return found


def frame(number: int) -> CapturedFrame:
    return CapturedFrame(Stamp(number, number * 3000, 0.0), av.VideoFrame(64, 64, "yuv420p"))


@pytest.fixture
def live() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.rest()


@pytest.fixture
def every() -> Iterator[Bench]:
    bench = Bench(every=True, in_flight=4)
    yield bench
    bench.rest()


def test_a_frame_becomes_depth_with_its_stamp_and_origin(live: Bench) -> None:
    live.put(7)
    depth = live.depths.get(timeout_s=2)
    assert depth is not None
    assert depth.stamp == Stamp(7, 21_000, 0.0)
    assert depth.provenance == INFO.provenance
    assert depth.inverse_depth.shape == depth.luma.shape == (256, 256)
    assert depth.inverse_depth is depth.network_output
    assert live.stages == ["wait", "preprocess", "infer"]


def test_depth_is_inverse_whatever_the_network_gives(live: Bench) -> None:
    live.service.info = replace(INFO, spec=replace(INFO.spec, polarity="depth"))
    live.put(0)
    depth = live.depths.get(timeout_s=2)
    assert depth is not None
    np.testing.assert_array_equal(depth.inverse_depth, -depth.network_output)


def test_live_a_lost_frame_is_skipped_and_counted(live: Bench) -> None:
    live.service.lost = [0, 1, 0]
    live.put(0)
    assert live.next() == 0
    live.put(1)
    live.service.submitted.acquire(timeout=1)
    live.service.submitted.acquire(timeout=1)
    live.put(2)
    assert live.next() == 2
    assert live.skipped == [1]


def test_live_one_frame_is_under_way_and_the_latest_follows(live: Bench) -> None:
    live.service.paused = True
    live.put(0)
    live.service.submitted.acquire(timeout=1)
    live.put(1, 2, 3)
    assert len(live.service.waiting) == 1
    live.service.paused = False
    live.service.answer(0)
    assert [live.next(), live.next()] == [0, 3]


def test_a_change_of_network_costs_no_frame(live: Bench) -> None:
    """It changed between preprocessing and submitting."""
    other, wait_ready = replace(INFO, sha256="cd"), live.service.wait_ready
    answers = iter([INFO])

    def wait(timeout_s: float | None = None) -> ModelInfo:
        live.service.info = other
        return next(answers, None) or wait_ready()

    live.service.wait_ready = wait  # type: ignore[method-assign]
    live.put(0)
    depth = live.depths.get(timeout_s=2)
    assert depth is not None
    assert depth.provenance.sha256 == "cd"
    assert live.skipped == []


def test_until_there_is_a_network_a_frame_waits_to_be_replaced() -> None:
    bench = Bench(info=None)
    bench.put(0, 1, 2)
    bench.service.info = INFO
    assert bench.next() == 2
    assert bench.rest() == bench.skipped == []


def test_a_job_keeps_several_under_way_and_their_order(every: Bench) -> None:
    every.service.paused = True
    every.put(*range(4))
    for _ in range(4):
        assert every.service.submitted.acquire(timeout=1)
    for number in (3, 1, 2, 0):
        every.service.answer(number)
    every.service.paused = False
    every.put(*range(4, 9))
    assert every.rest() == list(range(9))


def test_a_job_tries_lost_frames_again_and_keeps_their_order(every: Bench) -> None:
    """A worker dies with four frames under way."""
    every.service.lost = [1, 1, 1, 1]
    every.put(*range(10))
    assert every.rest() == list(range(10))
    assert every.skipped == []
    assert every.worker.finished.exception() is None


def test_a_job_gives_up_on_what_is_impossible(every: Bench) -> None:
    every.service.info, every.service.failure = None, WeightsRejected("a.pt", "bad")
    every.put(0)
    assert isinstance(every.worker.finished.exception(2), WeightsRejected)
    with pytest.raises(Closed):
        every.depths.get()
    with pytest.raises(Closed):
        every.frames.put(frame(1))


def test_a_job_waits_for_a_worker_to_come_back(every: Bench) -> None:
    every.service.info = None
    every.put(0, 1)
    assert every.depths.get(timeout_s=0.05) is None
    every.service.info = INFO
    assert every.rest() == [0, 1]


@pytest.mark.parametrize("options", [{}, {"every": True}])
def test_without_a_network_it_ends_when_nobody_wants_the_frames(options: dict[str, Any]) -> None:
    bench = Bench(info=None, **options)
    bench.put(0)
    bench.frames.close(discard=True)
    assert bench.worker.finished.exception(2) is None


def test_a_job_does_not_try_one_frame_for_ever(every: Bench) -> None:
    every.service.lost = [1] * 100
    every.put(0)
    every.frames.close()
    assert every.worker.finished.exception(2) is LOST


@pytest.mark.parametrize("options", [{}, {"every": True, "in_flight": 3}])
def test_closing_the_inbox_ends_it_after_what_is_under_way(options: dict[str, Any]) -> None:
    bench = Bench(**options)
    bench.put(0)
    assert bench.rest() == [0]
    assert bench.worker.finished.exception() is None


class TestGate:
    @pytest.fixture
    def gated(self) -> Iterator[Bench]:
        bench = Bench(gate=ChangeGate(refresh_s=2.0))
        yield bench
        bench.rest()

    @staticmethod
    def look(
        bench: Bench, number: int, luma: int, at_s: float = 0.0, epoch: int = 0, speck: int | None = None
    ) -> DepthFrame:
        """``speck``: luma of the first pixel."""
        picture = av.VideoFrame(64, 64, "gray")
        pixels = bytearray([luma]) * picture.planes[0].buffer_size
        pixels[0] = luma if speck is None else speck
        picture.planes[0].update(bytes(pixels))
        bench.frames.put(CapturedFrame(Stamp(number, number, at_s, epoch), picture))
        depth = bench.depths.get(timeout_s=2)
        assert depth is not None
        assert depth.stamp.sequence == number
        return depth

    def test_a_picture_in_which_nothing_has_changed_takes_the_last_depth(self, gated: Bench) -> None:
        first = self.look(gated, 0, 100)
        second = self.look(gated, 1, 101, 0.1)
        assert second.inverse_depth is first.inverse_depth
        assert [first.change, second.change] == [Change.CHANGED, Change.NONE]
        assert len(gated.service.waiting) == 1

    def test_what_is_faint_takes_the_last_depth_and_is_told(self, gated: Bench) -> None:
        depths = [self.look(gated, 0, 100), *(self.look(gated, 1 + n, 100, 0.1, speck=130) for n in range(2))]
        assert [depth.change for depth in depths] == [Change.CHANGED, Change.FAINT, Change.NONE]
        assert [depth.seen for depth in depths] == [0, 1, 1], "also by those who never get the second"
        assert depths[1].inverse_depth is depths[0].inverse_depth

    def test_what_changes_slowly_adds_up(self, gated: Bench) -> None:
        changes = [self.look(gated, luma, luma, luma / 100).change for luma in range(100, 120)]
        assert changes.count(Change.CHANGED) == 4

    def test_it_looks_again_after_a_while(self, gated: Bench) -> None:
        changes = [self.look(gated, number, 100, number).change for number in range(5)]
        assert changes == [Change.CHANGED, Change.NONE, Change.DUE, Change.NONE, Change.DUE]

    def test_those_that_move_go_first(self, gated: Bench) -> None:
        self.look(gated, 0, 100)
        gated.service.turns.resize(0)
        assert self.look(gated, 1, 100, 3.0).change is Change.NONE
        gated.service.turns.resize(2)
        assert self.look(gated, 2, 100, 3.1).change is Change.DUE

    def test_another_network_or_another_life_of_the_source_is_looked_at(self, gated: Bench) -> None:
        self.look(gated, 0, 100)
        gated.service.info = replace(INFO, sha256="cd")
        assert self.look(gated, 1, 100).provenance.sha256 == "cd"
        assert self.look(gated, 2, 100, epoch=1).change is Change.CHANGED

    def test_what_was_not_inferred_is_no_reference(self, gated: Bench) -> None:
        self.look(gated, 0, 100)
        gated.service.lost = [1]
        picture = av.VideoFrame(64, 64, "gray")
        picture.planes[0].update(bytes([200]) * picture.planes[0].buffer_size)
        gated.frames.put(CapturedFrame(Stamp(1, 1, 0.0), picture))
        until("it failed", lambda: gated.skipped)
        assert self.look(gated, 2, 100).change is Change.NONE
