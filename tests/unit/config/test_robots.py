"""[ros2] and [foxglove]."""

from __future__ import annotations

from typing import Any

import pytest

from streamd.config.load import parse
from streamd.errors import ConfigError


def test_both_are_off() -> None:
    config = parse({})
    assert not config.ros2.enabled
    assert not config.foxglove.listen
    assert config.foxglove.mcap is None


def test_strangers_are_kept_out_of_foxglove() -> None:
    given: dict[str, Any] = {"foxglove": {"listen": "0.0.0.0:8765"}}
    with pytest.raises(ConfigError, match="Foxglove has no tokens"):
        parse(given | {"server": {"view_tokens": ["a-good-token"]}})
    assert parse(given | {"server": {"allow_anonymous": True}}).foxglove.address == ("0.0.0.0", 8765)
    assert parse({"foxglove": {"listen": "localhost:8765"}}).foxglove.address == ("localhost", 8765)
