from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from streamd.config.sections import StreamConfig
from streamd.errors import ConfigError
from streamd.sources import MediaDirectories
from streamd.web.settings import merged, replaced

WANTED = StreamConfig(source="rtsp://u:hunter2@h/live?token=t0k", max_fps=5.0, height=480)
SHOWN = "rtsp://***@h/live?token=***"


def test_a_merge_changes_what_is_named_and_leaves_the_rest() -> None:
    found = merged("porch", WANTED, {"height": 240})
    assert (found.source, found.max_fps, found.height) == (WANTED.source, 5.0, 240)


@pytest.mark.parametrize("key", sorted(StreamConfig.model_fields.keys() - {"source"}))
def test_null_takes_any_key_back_to_its_default(key: str) -> None:
    default = StreamConfig(source=WANTED.source)
    wanted = default.model_copy(update={**WANTED.model_dump(exclude_unset=True), "loop": True, "range": "frame"})
    found = merged("porch", wanted, {key: None})
    assert getattr(found, key) == getattr(default, key)
    assert found.model_fields_set == wanted.model_fields_set - {key}


@pytest.mark.parametrize("body", [{"source": None}, {"nonsense": None}])
def test_null_is_refused_where_there_is_no_default(body: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        merged("porch", WANTED, body)


def test_a_replacement_starts_from_the_defaults() -> None:
    found = replaced("porch", WANTED, {"source": "demo:"})
    assert (found.source, found.max_fps, found.height) == ("demo:", None, 720)


def test_a_source_as_it_is_shown_keeps_its_password() -> None:
    assert merged("porch", WANTED, {"source": SHOWN, "max_fps": 1}).source == WANTED.source
    assert replaced("porch", WANTED, {"source": SHOWN}).source == WANTED.source


@pytest.mark.parametrize(
    ("wanted", "source"),
    [
        (WANTED, "rtsp://***@elsewhere/live?token=***"),
        (WANTED, "rtsp://u:other@h/live?token=***"),
        (None, SHOWN),
    ],
    ids=["another host", "half hidden", "a new stream"],
)
def test_a_hidden_password_goes_nowhere_else(wanted: StreamConfig | None, source: str) -> None:
    with pytest.raises(ConfigError, match=r"streams\.porch\.source: has \*\*\* in place of a password") as refused:
        replaced("porch", wanted, {"source": source})
    assert "hunter2" not in str(refused.value)


def test_a_file_may_be_named_with_asterisks() -> None:
    body, media = {"source": "/videos/a***b.mp4"}, MediaDirectories([Path("/videos")])
    assert replaced("porch", None, body, media).source == "/videos/a***b.mp4"


def test_what_the_api_may_not_set_is_refused_unless_it_was_there() -> None:
    wanted = StreamConfig(source="/etc/passwd")
    with pytest.raises(ConfigError, match="the API may not set a file"):
        replaced("porch", None, {"source": "/etc/passwd"})
    assert merged("porch", wanted, {"max_fps": 1}).source == "/etc/passwd"


def test_a_password_of_the_file_that_looks_hidden_does_not_lock_it() -> None:
    wanted = StreamConfig(source="http://h/?token=***abc")
    assert merged("porch", wanted, {"max_fps": 1}).source == wanted.source


PUSHED = WANTED.model_copy(update={"push": ("rtsp://me:hunter2@h/cam",)})


def test_where_a_stream_is_pushed_to_stays() -> None:
    pushed = StreamConfig.model_validate(PUSHED.model_dump(exclude_unset=True))
    assert merged("porch", pushed, {"height": 240}).push == pushed.push
    assert replaced("porch", pushed, {"source": "demo:"}).push == pushed.push
    assert merged("porch", pushed, {"push": ["rtsp://***@h/cam"]}).push == pushed.push
    assert merged("porch", pushed, {"push": list(pushed.push)}).push == pushed.push


@pytest.mark.parametrize(
    ("wanted", "push"),
    [
        (None, ["rtsp://127.0.0.1/x"]),
        (WANTED, ["whip://h/x"]),
        (PUSHED, []),
        (PUSHED, None),
        (PUSHED, ["rtsp://me:hunter2@h/other"]),
        (PUSHED, ["rtsp://***@other/cam"]),
        (PUSHED, ["rtsp://***@h/cam", "rtsp://h/more"]),
    ],
)
def test_the_api_may_not_set_where_to(wanted: StreamConfig | None, push: list[str] | None) -> None:
    change = merged if wanted is not None else replaced
    with pytest.raises(ConfigError) as refused:
        change("porch", wanted, {"source": WANTED.source, "push": push})  # type: ignore[arg-type]
    assert str(refused.value) == (
        "streams.porch.push: the API may not set where a stream is sent to; the configuration file may"
    )
