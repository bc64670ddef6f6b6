"""When MCAP files begin and end, and what is said without foxglove-sdk."""

from __future__ import annotations

import errno
import sys
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from streamd.config.load import parse
from streamd.config.robots import FoxgloveConfig
from streamd.daemon import build_robots
from streamd.errors import ConfigError
from streamd.robots.foxglove import PARTS, RETRY_S, Foxglove
from streamd.robots.mcap_file import McapFile


def test_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "foxglove", None)
    with pytest.raises(ConfigError, match=r'needs foxglove-sdk: pip install "streamd\[foxglove\]"$'):
        Foxglove(FoxgloveConfig(listen="127.0.0.1:0"))


class Sdk:
    """As much of foxglove-sdk as a server and files need."""

    Context = object
    port = 8765

    def __init__(self) -> None:
        self.files: list[McapFile] = []
        self.closed = 0

    def open_mcap(self, file: McapFile, context: object) -> Sdk:
        self.files.append(file)
        file.write(b"MCAP")
        return self

    def start_server(self, **options: object) -> Sdk:
        return self

    def stop(self) -> None: ...

    def close(self) -> None:
        self.closed += 1
        if self.files[-1].failure is not None:
            raise RuntimeError("attempted another write after a write method failed")


@pytest.fixture
def sdk(monkeypatch: pytest.MonkeyPatch) -> Sdk:
    sdk, times = Sdk(), count(0, 10**9)
    monkeypatch.setitem(sys.modules, "foxglove", sdk)
    monkeypatch.setattr("time.gmtime", lambda: (2026, 1, 1, 0, 0, next(times) // 10**9, 0, 1, 0))
    return sdk


def test_server_and_files_do_not_wait_for_each_other(sdk: Sdk, tmp_path: Path) -> None:
    config = parse({"foxglove": {"listen": "127.0.0.1:8765", "mcap": str(tmp_path), "max_fps": 5}})
    streams: Any = {}
    outputs = [feed._output for feed in build_robots(config, streams)]
    found = [(output.port, output._config.mcap) for output in outputs if isinstance(output, Foxglove)]
    assert found == [(8765, None), (None, tmp_path)]


def test_a_file_ends_when_it_is_large_and_all_together_keep_their_bound(sdk: Sdk, tmp_path: Path) -> None:
    """At ten frames a second a camera writes gigabytes in the hour that a file may take."""
    foxglove, most = Foxglove(FoxgloveConfig(mcap=tmp_path, mcap_max_gb=8e-6)), 8000
    for number in range(1, 3 * PARTS):
        foxglove._turn_over()
        sdk.files[-1].write(bytes(most // PARTS - 5))
        foxglove._turn_over()
        assert len(sdk.files) == number
        sdk.files[-1].write(b"x")
        assert sum(file.stat().st_size for file in tmp_path.iterdir()) <= most
    assert sdk.closed == len(sdk.files) - 1
    assert len(list(tmp_path.iterdir())) == PARTS
    foxglove.close()


def test_a_file_that_somebody_deletes_is_followed_by_another(sdk: Sdk, tmp_path: Path) -> None:
    foxglove = Foxglove(FoxgloveConfig(mcap=tmp_path))
    foxglove._turn_over()
    next(tmp_path.iterdir()).unlink()
    foxglove._turn_over()
    foxglove._turn_over()
    assert len(sdk.files) == 2
    foxglove.close()


def test_after_a_full_disk_it_begins_another_file(sdk: Sdk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    foxglove = Foxglove(FoxgloveConfig(mcap=tmp_path))
    foxglove._turn_over()
    full = OSError(errno.ENOSPC, "no space left")
    sdk.files[-1].failure = full
    with pytest.raises(OSError, match="no space left"):
        foxglove._turn_over()
    for _ in range(3):
        foxglove._turn_over()
    assert len(sdk.files) == 1, "it is not tried with each frame"
    now += RETRY_S
    foxglove._turn_over()
    assert len(sdk.files) == 2
    foxglove.close()
