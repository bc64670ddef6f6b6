from __future__ import annotations

import asyncio
import logging

import pytest

from streamd.states import StreamState
from streamd.streams.state import StateMachine
from streamd.telemetry.metrics import Metrics
from tests.support.waiting import wait_for


class Bench:
    def __init__(self) -> None:
        self.metrics = Metrics()
        self.changes: list[tuple[StreamState, str | None]] = []
        self.machine = StateMachine("porch", self.metrics.of_stream("porch"), self._changed)

    def _changed(self) -> None:
        self.changes.append((self.machine.current, self.machine.reason))

    def metric(self, state: StreamState) -> float | None:
        return self.metrics.registry.get_sample_value("streamd_stream_state", {"stream": "porch", "state": state})


async def test_each_transition_is_logged_counted_and_reported_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    bench = Bench()
    assert bench.metric(StreamState.STARTING) == 1
    for state, reason in [
        (StreamState.RUNNING, None),
        (StreamState.RUNNING, None),
        (StreamState.RECONNECTING, "gone"),
        (StreamState.RECONNECTING, "gone"),
        (StreamState.RECONNECTING, "refused"),
    ]:
        bench.machine.enter(state, reason)
    assert bench.changes == [("running", None), ("reconnecting", "gone"), ("reconnecting", "refused")]
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("INFO", "stream porch: running"),
        ("WARNING", "stream porch: reconnecting: gone"),
        ("WARNING", "stream porch: reconnecting: refused"),
    ]
    assert (bench.metric(StreamState.STARTING), bench.metric(StreamState.RECONNECTING)) == (0, 1)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (StreamState.ENDED, StreamState.RUNNING),
        (StreamState.IDLE, StreamState.RUNNING),
        (StreamState.FAILED, StreamState.RUNNING),
        (StreamState.IDLE, StreamState.ENDED),
        (StreamState.STOPPING, StreamState.STARTING),
        (StreamState.STOPPING, StreamState.FAILED),
    ],
)
async def test_a_transition_that_is_not_legal_changes_nothing(before: StreamState, after: StreamState) -> None:
    bench = Bench()
    bench.machine.enter(before)
    with pytest.raises(ValueError, match=f"a stream that is {before} cannot become {after}"):
        bench.machine.enter(after)
    assert bench.machine.current is before


async def test_who_waits_is_woken_by_the_next_state() -> None:
    bench = Bench()
    waiting = asyncio.create_task(bench.machine.entered.wait())
    await asyncio.sleep(0)
    bench.machine.enter(StreamState.RUNNING)
    await wait_for(waiting, 1)


async def test_viewers_see_a_notice_where_there_is_no_picture() -> None:
    bench = Bench()
    assert bench.machine.notice is not None
    bench.machine.enter(StreamState.RECONNECTING, "connection refused")
    notice = bench.machine.notice
    assert (notice.title, notice.detail) == ("NO SIGNAL", "connection refused")
    bench.machine.enter(StreamState.RUNNING)
    assert bench.machine.notice is None
