"""The disk that is recorded to: measured in a thread, and never mistaken for the one below an empty mount point."""

from __future__ import annotations

import asyncio
import errno
import math
import os
import threading
from pathlib import Path

import pytest

from streamd.concurrency import threads
from streamd.sinks.recording import disk
from streamd.sinks.recording.disk import DiskWatch, require_directory


async def measured(watch: DiskWatch) -> float:
    async with asyncio.timeout(5):
        while math.isnan(watch.free_bytes):  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    return watch.free_bytes


async def test_free_space_also_before_the_directory_is_there(tmp_path: Path) -> None:
    watch = DiskWatch(tmp_path / "not" / "there")
    assert await measured(watch) > 0
    await watch.stop()


async def test_of_a_disk_that_hangs_nothing_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes one thread, however long, and the end does not wait for it."""
    released, began, asked = threading.Event(), threading.Event(), []

    def hang(path: Path) -> int:
        asked.append(path)
        began.set()
        released.wait(10)
        return 1

    monkeypatch.setattr(disk, "free_bytes", hang)
    monkeypatch.setattr(disk, "MEASURE_EVERY_S", 0.001)
    watch = DiskWatch(tmp_path)
    assert began.wait(5), "a thread that is stopped before it has begun asks nothing"
    assert math.isnan(watch.free_bytes)
    await watch._thread.stop(within_s=0.05)
    assert len(asked) == 1
    assert threads.any_abandoned()
    released.set()
    await asyncio.to_thread(watch._thread._worker.join, 5)
    assert not threads.any_abandoned()


async def test_what_was_measured_is_known_for_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watch = DiskWatch(tmp_path)
    await measured(watch)
    monkeypatch.setattr(disk, "OUTDATED_S", 0.0)
    assert math.isnan(watch.free_bytes)
    await watch.stop()


def test_a_failing_disk_has_no_free_space_that_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Path) -> int:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(disk, "free_bytes", fail)
    monkeypatch.setattr(disk, "Periodic", lambda *_: None)
    watch = DiskWatch(tmp_path)
    watch._measure(threading.Event())
    assert math.isnan(watch.free_bytes)


def test_the_directory_is_made_and_made_anew_when_it_was_removed(tmp_path: Path) -> None:
    directory = tmp_path / "a" / "b"
    for _ in range(2):
        require_directory(directory)
        directory.rmdir()
        directory.parent.rmdir()


def test_it_is_not_made_anew_on_another_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = tmp_path / "disk"
    monkeypatch.setattr(Path, "is_mount", lambda path: path in (disk, Path("/")))
    directory = tmp_path / "link"
    directory.symlink_to(disk)
    disk.mkdir()
    require_directory(directory)
    directory.unlink()
    with pytest.raises(OSError, match="is no longer on the disk at"):
        require_directory(directory)
    assert not directory.exists()


def test_what_is_below_an_empty_mount_point_is_not_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounted = {tmp_path, Path("/")}
    monkeypatch.setattr(Path, "is_mount", lambda path: path in mounted)
    directory = tmp_path / "recordings"
    require_directory(directory)
    mounted.discard(tmp_path)
    with pytest.raises(OSError, match="the disk is not mounted"):
        require_directory(directory)
    mounted.add(tmp_path)
    require_directory(directory)
    assert os.path.isdir(directory)
