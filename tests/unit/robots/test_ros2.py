"""Without cyclonedds: what to do."""

from __future__ import annotations

import sys

import pytest

from streamd.config.robots import Ros2Config
from streamd.errors import ConfigError
from streamd.robots.ros2 import Ros2


def test_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "streamd.robots.ros2_messages", raising=False)
    monkeypatch.delattr("streamd.robots.ros2_messages", raising=False)
    monkeypatch.setitem(sys.modules, "cyclonedds.idl", None)
    with pytest.raises(ConfigError, match=r'^ros2.enabled: true: needs cyclonedds: pip install "streamd\[ros2\]"$'):
        Ros2(Ros2Config(enabled=True))
