from __future__ import annotations

from dataclasses import replace

import pytest

from streamd.config.sections import StreamConfig
from streamd.states import Origin, StreamState
from streamd.streams.status import StreamStatus

CONFIG = StreamConfig(source="rtsp://u:hunter2@h/live")
STATUS = StreamStatus(
    name="porch",
    origin=Origin.API,
    state=StreamState.RUNNING,
    reason=None,
    settings=CONFIG,
    wanted=CONFIG,
    size=(1280, 720),
    fps_in=25.0,
    fps_out=20.4,
    publishes=True,
    inferred_share=1.0,
    skipped={},
    latency_p50_ms=30.0,
    latency_p95_ms=40.0,
    viewers=1,
    recording_wanted=("depth",),
    recording_active=(),
    recording_error="the disk is full",
    flicker=0.0,
    stuck=False,
)


def test_settings_are_in_force_when_they_are_those_that_are_wanted() -> None:
    assert STATUS.is_in_force
    assert not replace(STATUS, wanted=CONFIG.model_copy(update={"max_fps": 5.0})).is_in_force


@pytest.mark.parametrize("state", StreamState)
def test_there_is_nothing_to_wait_for_where_it_runs_sleeps_or_has_ended(state: StreamState) -> None:
    settled = {StreamState.RUNNING, StreamState.IDLE, StreamState.ENDED}
    assert replace(STATUS, state=state).is_settled == (state in settled)
