from __future__ import annotations

import pytest

from streamd.host.memory import LASTS_S, MemoryWatch, Step, limit_bytes


class Box:
    """Looked at every second."""

    def __init__(self) -> None:
        self.watch, self.now = MemoryWatch(1000), 0.0

    def uses(self, used: int, seconds: float = 60) -> list[Step]:
        taken = []
        for _ in range(round(seconds)):
            self.now += 1
            if step := self.watch.look(self.now, used):
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
