"""MCAP files make room, and what is said without foxglove-sdk."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from streamd.config.robots import FoxgloveConfig
from streamd.errors import ConfigError
from streamd.robots.foxglove import Foxglove, _make_room


def test_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "foxglove", None)
    with pytest.raises(ConfigError, match=r'needs foxglove-sdk: pip install "streamd\[foxglove\]"$'):
        Foxglove(FoxgloveConfig(listen="127.0.0.1:0"))


def test_the_oldest_files_go(tmp_path: Path) -> None:
    for number in range(4):
        (tmp_path / f"streamd-20260101T00000{number}Z-000.mcap").write_bytes(bytes(1000))
    (tmp_path / "mine.mcap").write_bytes(bytes(9000))
    _make_room(tmp_path, 2500e-9)
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "mine.mcap",
        "streamd-20260101T000002Z-000.mcap",
        "streamd-20260101T000003Z-000.mcap",
    ]
