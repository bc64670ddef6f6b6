"""MCAP files make room, and what is said without foxglove-sdk."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from streamd.config.robots import FoxgloveConfig
from streamd.errors import ConfigError
from streamd.robots.foxglove import PARTS, Foxglove, _make_room


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


class Writer:
    def __init__(self, file: Path) -> None:
        self.file, self.closed = file, False
        file.touch()

    def grow(self, size: int) -> None:
        self.file.write_bytes(bytes(size))

    def close(self) -> None:
        self.closed = True


def test_a_file_ends_when_it_is_large_and_all_together_keep_their_bound(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """At ten frames a second a camera writes gigabytes in the hour that a file may take."""
    writers: list[Writer] = []

    def open_mcap(file: Path, context: Any) -> Writer:
        writers.append(Writer(file))
        return writers[-1]

    monkeypatch.setitem(sys.modules, "foxglove", SimpleNamespace(Context=object, open_mcap=open_mcap))
    times = iter(range(0, 10**12, 10**9))
    monkeypatch.setattr("time.time_ns", lambda: next(times))
    monkeypatch.setattr("time.gmtime", lambda: (2026, 1, 1, 0, 0, len(writers), 0, 1, 0))
    foxglove, most = Foxglove(FoxgloveConfig(mcap=tmp_path, mcap_max_gb=8e-6)), 8000
    for _ in range(3 * PARTS):
        foxglove._turn_over()
        writers[-1].grow(most // PARTS - 1)
        foxglove._turn_over()
        assert not writers[-1].closed
        writers[-1].grow(most // PARTS)
        assert sum(file.stat().st_size for file in tmp_path.iterdir()) <= most
    assert [writer.closed for writer in writers] == [True] * (len(writers) - 1) + [False]
    assert len(writers) == 3 * PARTS


def test_a_file_that_somebody_deletes_is_followed_by_another(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    files: list[Path] = []

    def open_mcap(file: Path, context: Any) -> Writer:
        files.append(file)
        return Writer(file)

    monkeypatch.setitem(sys.modules, "foxglove", SimpleNamespace(Context=object, open_mcap=open_mcap))
    foxglove = Foxglove(FoxgloveConfig(mcap=tmp_path))
    foxglove._turn_over()
    files[0].unlink()
    foxglove._turn_over()
    foxglove._turn_over()
    assert len(files) == 2
