"""What a failing disk leaves of an MCAP file, and how room is made."""

from __future__ import annotations

import resource
import signal
from pathlib import Path

import pytest

from streamd.robots.mcap_file import McapFile, make_room


def test_the_oldest_files_go(tmp_path: Path) -> None:
    for number in range(4):
        (tmp_path / f"streamd-20260101T00000{number}Z-000.mcap").write_bytes(bytes(1000))
    (tmp_path / "mine.mcap").write_bytes(bytes(9000))
    make_room(tmp_path, 2500e-9)
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "mine.mcap",
        "streamd-20260101T000002Z-000.mcap",
        "streamd-20260101T000003Z-000.mcap",
    ]


def test_what_cannot_be_written_leaves_no_empty_file(tmp_path: Path) -> None:
    file = McapFile(tmp_path / "streamd-1.mcap")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            file.write(b"MCAP")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    file.close()
    assert file.failure is not None
    assert list(tmp_path.iterdir()) == []
