from __future__ import annotations

import json

from streamd.notify.message import fields, message
from streamd.streams.events import Measured, StreamEvent, ZoneEvent

NEAR = ZoneEvent("porch", "door", "near", None, Measured(0.123456, 0.98765, None), time=1796131000.25)
AWAY = StreamEvent("porch", "away", "reconnecting", "no answer", time=1796131000.0)


def test_it_is_what_standard_webhooks_recommends() -> None:
    assert json.loads(message(NEAR)) == {
        "type": "zone.near",
        "timestamp": "2026-12-01T13:16:40.250Z",
        "data": {
            "time": 1796131000.25,
            "stream": "porch",
            "zone": "door",
            "kind": "near",
            "reason": None,
            "area": 0.1235,
            "nearest_share": 0.988,
            "nearest_metres": None,
        },
    }
    assert json.loads(message(AWAY))["data"]["state"] == "reconnecting"


def test_what_an_event_has_not_is_empty() -> None:
    assert fields(NEAR)["state"] == fields(AWAY)["zone"] == ""
    assert (fields(NEAR)["zone"], fields(AWAY)["kind"], fields(AWAY)["type"]) == ("door", "away", "stream.away")
