from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from streamd.config.outgoing import HooksConfig
from streamd.notify.hooks import Hooks
from streamd.states import StreamState
from tests.support.receiver import receiving
from tests.support.waiting import until_async
from tests.unit.notify.test_message import NEAR

pytestmark = pytest.mark.timeout(20)


async def test_streams_are_told_when_they_come_and_go_and_zones_at_once() -> None:
    fleet: Any = SimpleNamespace(watchers=set(), zone_watchers=set())
    states = [
        StreamState(name)
        for name in ("starting", "running", "reconnecting", "reconnecting", "running", "idle", "running")
    ]
    with receiving() as receiver:
        hooks = Hooks(HooksConfig(webhook=receiver.url), fleet)
        hooks.start()
        (changed,), (tell,) = fleet.watchers, fleet.zone_watchers
        for state in states:
            changed(SimpleNamespace(name="porch", state=state, reason=f"why {state}"), "state")
        tell(NEAR)
        changed(SimpleNamespace(name="porch", state=StreamState.STOPPING, reason=None), "removed")
        changed(SimpleNamespace(name="porch", state=StreamState.FAILED, reason="no"), "added")

        async def all_came() -> bool:
            return len(receiver.came) == 5

        await until_async("all came", all_came)
        await hooks.close()
    told = [json.loads(body) for _, _, body in receiver.came]
    assert [each["type"] for each in told] == [
        "stream.running",
        "stream.away",
        "stream.running",
        "zone.near",
        "stream.away",
    ]
    assert told[1]["data"]["reason"] == "why reconnecting"
    assert not fleet.watchers
    assert not fleet.zone_watchers


async def test_without_targets_nothing_is_watched() -> None:
    fleet: Any = SimpleNamespace(watchers=set(), zone_watchers=set())
    hooks = Hooks(HooksConfig(), fleet)
    hooks.start()
    assert not fleet.watchers
    await hooks.close()
