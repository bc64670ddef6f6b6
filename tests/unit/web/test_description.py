from __future__ import annotations

import json
from dataclasses import replace

from streamd.config.sections import StreamConfig
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
