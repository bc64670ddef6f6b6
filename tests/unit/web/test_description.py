from __future__ import annotations

import json
from dataclasses import replace

from streamd.config.sections import StreamConfig
from streamd.states import PushState
from streamd.streams.pushes import PushStatus
from streamd.web.description import describe_settings, describe_stream
from tests.unit.streams.test_status import CONFIG, STATUS


def test_all_of_it_is_json_without_secrets() -> None:
    changed = CONFIG.model_copy(update={"max_fps": 5.0})
    text = json.dumps(describe_stream(replace(STATUS, wanted=changed)))
    assert "hunter2" not in text
    shown = json.loads(text)
    assert (shown["name"], shown["origin"], shown["state"], shown["source"]) == (
        "porch",
        "api",
        "running",
        "rtsp://***@h/live",
    )
    assert (shown["width"], shown["height"]) == (1280, 720)
    assert (shown["recording"], shown["recording_views"], shown["recording_active"]) == (False, ["depth"], [])
    assert (shown["settings"]["max_fps"], shown["wanted"]["max_fps"]) == (None, 5.0)


def test_what_is_wanted_is_shown_only_while_it_is_not_in_force() -> None:
    assert "wanted" not in describe_stream(STATUS)


def test_settings_are_every_key_in_force() -> None:
    assert set(describe_settings(CONFIG)) == set(StreamConfig.model_fields)


def test_where_a_stream_is_pushed_to_shows_no_secret() -> None:
    config = CONFIG.model_copy(update={"push": ("rtsp://me:hunter2@h/cam", "whips://hunter2@h/hunter2#view=gray")})
    push = PushStatus(1, "whip", "gray", PushState.WAITING, "answers 503")
    shown = json.loads(json.dumps(describe_stream(replace(STATUS, settings=config, wanted=config, pushes=(push,)))))
    assert shown["push"] == [
        {"target": 1, "kind": "whip", "view": "gray", "state": "waiting", "reason": "answers 503"},
    ]
    assert shown["settings"]["push"] == ["rtsp://***@h/cam", "whips://***@h:443/***#view=gray"]
    assert "hunter2" not in json.dumps(shown)
