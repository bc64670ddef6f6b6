"""streamd.streams.kept: what the API has added, over restarts."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from streamd.config.sections import StreamConfig
from streamd.streams import kept
from streamd.streams.kept import KeptStreams

PORCH = StreamConfig(source="rtsp://u:hunter2@h/live", max_fps=5.0, masks=(((0.0, 0.0), (1.0, 0.0), (1.0, 1.0)),))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "home" / "streams.json"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def put(file: Path, data: bytes) -> None:
    file.parent.mkdir()
    file.write_bytes(data)


def content(file: Path) -> bytes:
    return file.read_bytes()


def mode(file: Path) -> int:
    return file.stat().st_mode & 0o777


@contextmanager
def opened(file: Path) -> Iterator[KeptStreams]:
    """As one life of the daemon."""
    found = KeptStreams(file)
    try:
        yield found
    finally:
        found.close()


async def test_what_was_saved_is_there_after_a_restart(file: Path) -> None:
    with opened(file) as before:
        assert await before.load() == {}
        await before.save({"porch": PORCH})
    with opened(file) as after:
        assert await after.load() == {"porch": PORCH}
        await after.save({})
    with opened(file) as last:
        assert await last.load() == {}


async def test_only_its_owner_may_read_it_and_nothing_is_beside_it(file: Path) -> None:
    with opened(file) as found:
        await found.load()
        assert names(file.parent) == ["streams.lock"], "nothing is written before there is something to keep"
        await found.save({"porch": PORCH})
    assert mode(file) == 0o600
    assert names(file.parent) == ["streams.json", "streams.lock"]


async def test_defaults_are_not_kept_so_that_they_may_change(file: Path) -> None:
    with opened(file) as found:
        await found.load()
        await found.save({"porch": PORCH})
    assert set(json.loads(content(file))["streams"]["porch"]) == {"source", "max_fps", "masks"}


@pytest.mark.parametrize(
    ("damaged", "reason"),
    [
        (b"", "is not JSON"),
        (b'{"version": 1, "streams": {"porch": {"sou', "is not JSON"),
        (b"\xff\xfe\x00", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[]", "is not a list of streams"),
        (b'{"version": 1}', "is not a list of streams"),
        (b'{"version": 2, "streams": {}}', "version 2 is unknown"),
        (b'{"version": 1, "streams": {"porch": {"source": "rtsp://u:hunter2@h/", "max_fps": -1}}}', "max_fps"),
        (b'{"version": 1, "streams": {"../x": {"source": "demo:"}}}', "streams"),
    ],
    ids=[
        "empty",
        "cut short",
        "no text",
        "deep",
        "a list",
        "no streams",
        "a later version",
        "a bad value",
        "a bad name",
    ],
)
async def test_a_damaged_file_is_put_aside_and_logged_in_one_line(
    file: Path, damaged: bytes, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    put(file, damaged)
    with opened(file) as found:
        assert await found.load() == {}
        assert content(file.with_suffix(".damaged")) == damaged
        await found.save({"porch": PORCH})
    [line] = [record.getMessage() for record in caplog.records]
    assert reason in line
    assert "\n" not in line
    assert "hunter2" not in line
    with opened(file) as after:
        assert await after.load() == {"porch": PORCH}


async def test_a_second_daemon_neither_reads_nor_writes_it(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    with opened(file) as first:
        await first.load()
        await first.save({"porch": PORCH})
        with opened(file) as second:
            assert await second.load() == {}
            await second.save({"yard": PORCH})
    assert "belongs to another streamd that runs" in caplog.text
    with opened(file) as after:
        assert set(await after.load()) == {"porch"}


async def test_a_disk_that_cannot_be_written_is_no_fault_of_the_request(
    file: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with opened(file) as found:
        await found.load()
        with monkeypatch.context() as broken:
            broken.setattr(os, "replace", full)
            await found.save({"porch": PORCH})
        assert "streams that the API adds are not kept: No space left on device" in caplog.text
        await found.save({"porch": PORCH})
    with opened(file) as after:
        assert await after.load() == {"porch": PORCH}


async def test_a_disk_that_hangs_holds_up_nobody_for_long(
    file: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    back, sync = threading.Event(), os.fsync
    started: list[str] = []

    def hang(handle: int) -> None:
        started.append(threading.current_thread().name)
        back.wait(10)
        sync(handle)

    monkeypatch.setattr(kept, "WAIT_S", 0.05)
    monkeypatch.setattr(os, "fsync", hang)
    with opened(file) as found:
        await found.load()
        for number in range(5):
            await found.save({f"s{number}": PORCH})
        assert started == ["kept-streams"], "one thread, however often it is tried"
        assert "the disk is slow" in caplog.text
        back.set()
        monkeypatch.setattr(kept, "WAIT_S", 5.0)
        await found.save({"last": PORCH})
    with opened(file) as after:
        assert set(await after.load()) == {"last"}


async def test_many_changes_at_once_are_written_together(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[int] = []
    write: Callable[[KeptStreams, bytes], None] = KeptStreams._write

    def counted(self: KeptStreams, content: bytes) -> None:
        written.append(len(content))
        write(self, content)

    monkeypatch.setattr(KeptStreams, "_write", counted)
    with opened(file) as found:
        await found.load()
        await asyncio.gather(*(found.save({f"s{n}": PORCH for n in range(count)}) for count in range(1, 30)))
        assert len(written) <= 2
    with opened(file) as after:
        assert len(await after.load()) == 29
