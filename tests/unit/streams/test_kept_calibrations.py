"""The file of calibrations. What ends one is in tests/integration/test_web_calibration.py."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from streamd.concurrency.backoff import Backoff
from streamd.depth.calibration import Reading, calibrate
from streamd.streams import kept_calibrations
from streamd.streams.calibrated import Calibrated
from streamd.streams.kept_calibrations import KeptCalibrations, read, write
from tests.support.waiting import timeout

LINE = calibrate([Reading(0.1, 0.2, 1.0, 9.0), Reading(0.8, 0.9, 3.0, 4.0, 0.1)])
PORCH = Calibrated(LINE, "midas_small", "ab", 256, (256, 128), "rtsp://***@h/live", 1.5)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "home" / "calibrations.json"


class Stream:
    """As much of one as the keeper asks."""

    def __init__(self) -> None:
        self.name = "porch"
        self.config = SimpleNamespace(source="rtsp://u:hunter2@h/live")
        self.calibrated: Calibrated | None = None

    def calibrate(self, calibrated: Calibrated | None, reason: str | None = None) -> None:
        self.calibrated = calibrated


class Fleet(dict[str, Any]):
    def __init__(self) -> None:
        super().__init__(porch=Stream())
        self.watchers: set[Any] = set()


def keeper(file: Path, fleet: Any) -> asyncio.Task[None]:
    service: Any = SimpleNamespace(watchers=set(), status=SimpleNamespace(info=None))
    return asyncio.create_task(KeptCalibrations(file, fleet, service).run())


async def until(check: Callable[[], object]) -> None:
    async with timeout(5):
        while not check():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


def test_what_is_written_is_read(file: Path) -> None:
    assert read(file) == {}
    write(file, {"porch": PORCH})
    assert read(file) == {"porch": PORCH}
    assert "hunter2" not in file.read_text()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"5", b'{"streams": []}', b'{"streams": 5}', b"[" * 100_000])
def test_a_damaged_file_is_logged_in_one_line(file: Path, content: bytes, caplog: pytest.LogCaptureFixture) -> None:
    file.parent.mkdir()
    file.write_bytes(content)
    assert read(file) == {}
    assert "the calibrations cannot be read" in caplog.text


ALIKE = {"x": 0.1, "y": 0.2, "metres": 1.0, "inverse_depth": 9.0, "scatter": 0.0}


@pytest.mark.parametrize(
    "change",
    [
        {"calibration": None},
        {"size": 5},
        {"input_size": "x"},
        {"input_size": math.inf},
        {"made_at": 10**400},
        {"made_at": math.nan},
        {"made_at": 1e20},
        {"calibration": {"a": -1, "readings": []}},
        {
            "calibration": {
                "a": 1,
                "b": math.nan,
                "standard_error": 0,
                "readings": [ALIKE, ALIKE | {"inverse_depth": 1}],
            }
        },
        {"calibration": {"a": 1, "b": 0, "standard_error": 0, "readings": [ALIKE, ALIKE]}},
        {"calibration": {"a": 1, "b": 0, "standard_error": 0, "readings": [ALIKE, ALIKE | {"inverse_depth": 1e999}]}},
    ],
)
def test_a_damaged_entry_takes_no_other_along(
    file: Path, change: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    write(file, {"porch": PORCH, "yard": PORCH})
    content = json.loads(file.read_text())
    content["streams"]["porch"].update(change)
    file.write_text(json.dumps(content))
    assert read(file) == {"yard": PORCH}
    assert "'porch'" in caplog.text


async def test_another_password_is_the_same_camera(file: Path) -> None:
    write(file, {"porch": PORCH})
    fleet = Fleet()
    task = keeper(file, fleet)
    await until(lambda: fleet["porch"].calibrated == PORCH)
    task.cancel()


async def test_what_cannot_be_written_is_tried_again(
    file: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(kept_calibrations, "BACKOFF", Backoff(first_s=0.01, cap_s=0.01))
    file.parent.write_bytes(b"in the way")
    fleet = Fleet()
    task = keeper(file, fleet)
    await until(lambda: fleet.watchers)
    fleet["porch"].calibrate(PORCH)
    for watcher in fleet.watchers:
        watcher(fleet["porch"], "calibration")
    await until(lambda: "calibrations are not kept" in caplog.text)
    file.parent.unlink()
    await until(file.exists)
    assert read(file) == {"porch": PORCH}
    task.cancel()


async def test_the_last_change_is_written_at_the_end(file: Path) -> None:
    fleet = Fleet()
    task = keeper(file, fleet)
    await until(lambda: fleet.watchers)
    await asyncio.sleep(0.05)
    fleet["porch"].calibrate(PORCH)
    for watcher in fleet.watchers:
        watcher(fleet["porch"], "calibration")
    task.cancel()
    await asyncio.wait([task])
    assert read(file) == {"porch": PORCH}
