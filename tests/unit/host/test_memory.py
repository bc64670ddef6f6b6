from __future__ import annotations

import pytest

from streamd.errors import MemoryShort
from streamd.host.memory import HOLD_S, LASTS_S, MIN_RETRY_S, MemoryRelief, MemoryWatch, Step, limit_bytes


class Box:
    """Looked at every second."""

    def __init__(self) -> None:
        self.watch, self.now = MemoryWatch(1000), 0.0

    def uses(self, used: int, seconds: float = 60) -> list[Step]:
        taken = []
        for _ in range(round(seconds)):
            self.now += 1
            if step := self.watch.check(self.now, used):
                taken.append(step)
        return taken


def test_the_mildest_step_comes_first() -> None:
    assert Box().uses(990) == [Step.WARN, Step.RECYCLE_WORKER, Step.SHED_VIEWS, Step.RESTART]


@pytest.mark.parametrize(
    ("used", "steps"),
    [
        (700, []),
        (760, [Step.WARN]),
        (830, [Step.WARN, Step.RECYCLE_WORKER]),
        (900, [Step.WARN, Step.RECYCLE_WORKER, Step.SHED_VIEWS]),
    ],
)
def test_no_more_is_done_than_needed_and_each_once(used: int, steps: list[Step]) -> None:
    assert Box().uses(used, 600) == steps


def test_a_peak_is_none() -> None:
    box = Box()
    for _ in range(20):
        assert box.uses(990, LASTS_S - 1) == []
        assert box.uses(500, 2) == []


def test_what_helped_once_may_help_again() -> None:
    box = Box()
    assert box.uses(830) == [Step.WARN, Step.RECYCLE_WORKER]
    assert box.uses(780) == [], "not yet calm"
    assert box.watch.step == Step.RECYCLE_WORKER
    assert box.uses(500) == []
    assert box.watch.step == Step.CALM
    assert box.uses(830) == [Step.WARN, Step.RECYCLE_WORKER]


def test_the_limit_is_that_of_the_group_or_of_the_machine() -> None:
    assert limit_bytes() > 100_000_000


class TestRelief:
    """Views are let go for a while, and nobody new is let in."""

    def test_nothing_is_shed_while_there_is_memory(self) -> None:
        relief = MemoryRelief()
        for step in (Step.CALM, Step.WARN, Step.RECYCLE_WORKER):
            relief.update(step)
            relief.admit()
            assert not relief.sheds("overlay")

    def test_all_views_but_depth_go_and_new_viewers_wait(self) -> None:
        now = [100.0]
        relief = MemoryRelief(clock=lambda: now[0])
        relief.update(Step.SHED_VIEWS)
        assert [relief.sheds(view) for view in ("depth", "overlay", "rgbd")] == [False, True, True]
        now[0] += 20
        with pytest.raises(MemoryShort, match="try again in 40 s") as refused:
            relief.admit()
        assert refused.value.retry_after_s == HOLD_S - 20

    def test_it_lasts_a_while_however_soon_memory_is_free(self) -> None:
        now = [100.0]
        relief = MemoryRelief(clock=lambda: now[0])
        relief.update(Step.SHED_VIEWS)
        relief.update(Step.CALM)
        assert relief.sheds("overlay"), "they would be back at once, and take the memory again"
        now[0] += HOLD_S
        relief.update(Step.RECYCLE_WORKER)
        assert not relief.active
        relief.admit()

    def test_it_lasts_until_memory_is_free(self) -> None:
        now = [100.0]
        relief = MemoryRelief(clock=lambda: now[0])
        for _ in range(5):
            relief.update(Step.SHED_VIEWS)
            now[0] += HOLD_S
        with pytest.raises(MemoryShort) as refused:
            relief.admit()
        assert refused.value.retry_after_s == MIN_RETRY_S
        relief.update(Step.WARN)
        relief.admit()

    def test_each_step_is_named_in_the_log(self) -> None:
        assert all(step.action for step in Step)
