"""The soak in fast motion: whatever is not a matter of hours. `make soak` is the long form."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.soak.chaos import Plan, soak
from tests.support.camera import needs_rtsp_server

PLAN = Plan(seconds=14, period_s=6, sample_s=1)


@needs_rtsp_server
@pytest.mark.timeout(180)
async def test_a_short_soak(tmp_path: Path) -> None:
    report = await soak(PLAN, tmp_path)
    print(report.table())
    assert len(report.samples) > 0.25 * PLAN.seconds / PLAN.sample_s, "a busy box takes its time"
    assert len(report.visits) > PLAN.viewers
    assert [verdict for verdict in report.verdicts() if verdict.met is False] == []
