"""streamd.streams.kept: what the API has added, over restarts."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from streamd.concurrency import threads
from streamd.concurrency.backoff import Backoff
from streamd.config.sections import StreamConfig
from streamd.streams import kept
from streamd.streams.kept import KeptStreams, Streams
from streamd.streams.kept_file import Entries, KeptFile
from tests.support.waiting import scaled, until, until_async

PORCH = StreamConfig(source="rtsp://u:hunter2@h/live", max_fps=5.0, masks=(((0.0, 0.0), (1.0, 0.0), (1.0, 1.0)),))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "home" / "streams.json"


def test_a_file_that_was_released_is_left_to_others(file: Path) -> None:
    """Also by a thread that a slow disk has held."""
    late, other = KeptFile(file), KeptFile(file)
    late.release()
    assert late.read().entries == {}
    other.read()  # raises InUse when the lock is taken
    other.release()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def put(file: Path, data: bytes) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(data)


def content(file: Path) -> bytes:
    return file.read_bytes()


def entries(file: Path) -> dict[str, Any]:
    """In the file, if there is one."""
    streams: dict[str, Any] = json.loads(content(file))["streams"] if file.exists() else {}
    return streams


def mode(file: Path) -> int:
    return file.stat().st_mode & 0o777


@asynccontextmanager
async def opened(file: Path) -> AsyncIterator[KeptStreams]:
    """As one life of the daemon."""
    found = KeptStreams(file)
    try:
        yield found
    finally:
        await found.close()


async def test_what_was_saved_is_there_after_a_restart(file: Path) -> None:
    async with opened(file) as before:
        assert await before.load() == {}
        await before.save({"porch": PORCH})
    async with opened(file) as after:
        assert await after.load() == {"porch": PORCH}
        await after.save({})
    async with opened(file) as last:
        assert await last.load() == {}


async def test_only_its_owner_may_read_it_and_nothing_is_beside_it(file: Path) -> None:
    async with opened(file) as found:
        await found.load()
        assert names(file.parent) == ["streams.lock"], "nothing is written before there is something to keep"
        await found.save({"porch": PORCH})
    assert mode(file) == 0o600
    assert names(file.parent) == ["streams.json", "streams.lock"]


async def test_defaults_are_not_kept_so_that_they_may_change(file: Path) -> None:
    async with opened(file) as found:
        await found.load()
        await found.save({"porch": PORCH})
    assert set(entries(file)["porch"]) == {"source", "max_fps", "masks"}


@pytest.mark.parametrize(
    ("damaged", "reason"),
    [
        (b"", "is not JSON"),
        (b'{"version": 1, "streams": {"porch": {"sou', "is not JSON"),
        (b"\xff\xfe\x00", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[]", "is not a list of streams"),
        (b'{"streams": []}', "is not a list of streams"),
    ],
    ids=["empty", "cut short", "no text", "deep", "a list", "streams in a list"],
)
async def test_a_damaged_file_is_put_aside_and_logged_in_one_line(
    file: Path, damaged: bytes, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    put(file, damaged)
    async with opened(file) as found:
        assert await found.load() == {}
        assert content(file.with_suffix(".damaged")) == damaged
        await found.save({"porch": PORCH})
    [line] = [record.getMessage() for record in caplog.records]
    assert reason in line
    assert "\n" not in line
    async with opened(file) as after:
        assert await after.load() == {"porch": PORCH}


async def test_a_damaged_file_never_replaces_an_earlier_one(file: Path) -> None:
    for number in range(1, 4):
        put(file, b"%d damaged" % number)
        async with opened(file) as found:
            await found.load()
    assert names(file.parent) == ["streams.damaged", "streams.damaged-2", "streams.damaged-3", "streams.lock"]
    assert content(file.with_suffix(".damaged")) == b"1 damaged"
    for number in range(4, 13):
        put(file, b"%d damaged" % number)
        async with opened(file) as found:
            await found.load()
    aside = [path for path in file.parent.iterdir() if "damaged" in path.name]
    assert {content(path) for path in aside} == {b"%d damaged" % number for number in range(8, 13)}


@pytest.mark.parametrize(
    ("name", "entry", "reason"),
    [
        ("newer", {"source": "rtsp://u:hunter2@h/", "colour": []}, "unknown key"),
        ("strict", {"source": "rtsp://u:hunter2@h/", "max_fps": -1}, "max_fps"),
        ("../x\n", {"source": "rtsp://u:hunter2@h/"}, "a name has"),
        ("text", "rtsp://u:hunter2@h/", "should be a table"),
    ],
)
async def test_a_stream_that_cannot_be_read_stays_in_the_file_and_takes_no_other_along(
    file: Path, name: str, entry: object, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    good = {"source": "demo:"}
    put(file, json.dumps({"version": 2, "extra": [1], "streams": {"good": good, name: entry}}).encode())
    async with opened(file) as found:
        assert await found.load() == {"good": StreamConfig(source="demo:")}
        lines = [record.getMessage() for record in caplog.records if "not started" in record.getMessage()]
        assert len(lines) == 1
        assert reason in lines[0]
        assert "\n" not in lines[0]
        assert "hunter2" not in caplog.text
        await found.save({"good": StreamConfig(source="demo:"), "porch": PORCH})
    document = json.loads(content(file))
    assert document["streams"][name] == entry
    assert set(document["streams"]) == {"good", name, "porch"}
    assert (document["version"], document["extra"]) == (2, [1])
    assert names(file.parent) == ["streams.json", "streams.lock"]


async def test_a_stream_that_could_not_be_read_is_gone_when_one_of_its_name_is_put(file: Path) -> None:
    put(file, b'{"version": 1, "streams": {"porch": {"source": "demo:", "colour": []}}}')
    async with opened(file) as found:
        assert await found.load() == {}
        await found.save({"porch": PORCH})
        await found.save({})
    assert entries(file) == {}


async def test_a_second_daemon_neither_reads_nor_writes_it(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with opened(file) as first:
        await first.load()
        await first.save({"porch": PORCH})
        async with opened(file) as second:
            assert await second.load() == {}
            await second.save({"yard": PORCH})
    assert "belongs to another streamd that runs" in caplog.text
    async with opened(file) as after:
        assert set(await after.load()) == {"porch"}


def full(*_: object) -> None:
    raise OSError(28, "No space left on device")


class Slow:
    """A blocking call that waits until the disk is well again."""

    def __init__(self, call: Callable[..., Any]) -> None:
        self.call = call
        self.well, self.asked = threading.Event(), threading.Event()
        self.threads: list[str] = []

    def __call__(self, *arguments: Any) -> Any:
        self.threads.append(threading.current_thread().name)
        self.asked.set()
        assert self.well.wait(scaled(10))
        return self.call(*arguments)


async def is_kept(file: Path, *expected: str) -> None:
    """In the end."""

    async def look() -> bool:
        return entries(file).keys() == set(expected)

    await until_async(f"kept: {expected}", look, 5, step_s=0.005)


async def test_a_disk_that_cannot_be_written_is_no_fault_of_the_request(
    file: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(file) as found:
        await found.load()
        with monkeypatch.context() as broken:
            broken.setattr(os, "replace", full)
            await found.save({"porch": PORCH})
            await found.save({"porch": PORCH, "yard": PORCH})
        assert caplog.text.count("streams that the API adds are not kept: No space left on device") == 1
        await found.save({"porch": PORCH})
    async with opened(file) as after:
        assert await after.load() == {"porch": PORCH}


async def test_a_write_that_failed_is_tried_again_by_itself(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "BACKOFF", Backoff(first_s=0.01))
    async with opened(file) as found:
        await found.load()
        with monkeypatch.context() as broken:
            broken.setattr(os, "replace", full)
            await found.save({"porch": PORCH})
        await is_kept(file, "porch")


async def test_a_write_that_failed_is_tried_once_more_at_the_end(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "BACKOFF", Backoff(first_s=1000))
    async with opened(file) as found:
        await found.load()
        with monkeypatch.context() as broken:
            broken.setattr(os, "replace", full)
            await found.save({"porch": PORCH})
    await is_kept(file, "porch")


async def test_a_disk_that_hangs_holds_up_nobody_for_long(
    file: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    slow = Slow(os.fsync)
    monkeypatch.setattr(kept, "WAIT_S", 0.05)
    monkeypatch.setattr(os, "fsync", slow)
    async with opened(file) as found:
        await found.load()
        for number in range(5):
            await found.save({f"s{number}": PORCH})
        assert slow.threads == ["kept-streams"], "one thread, however often it is tried"
        assert "the disk is slow" in caplog.text
        slow.well.set()
        await is_kept(file, "s4")


async def test_what_was_changed_while_the_disk_was_slow_is_written_at_the_end(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "WAIT_S", 0.01)
    slow = Slow(KeptFile.write)
    monkeypatch.setattr(KeptFile, "write", lambda *arguments: slow(*arguments))
    found = KeptStreams(file)
    await found.load()
    await found.save({"porch": PORCH})
    await found.save({"porch": PORCH, "yard": PORCH})
    closing = asyncio.create_task(found.close(scaled(5)))
    await asyncio.sleep(0)
    slow.well.set()
    await closing
    await is_kept(file, "porch", "yard")


async def test_a_late_write_that_fails_is_logged(
    file: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(kept, "WAIT_S", 0.01)
    slow = Slow(full)
    monkeypatch.setattr(os, "replace", slow)
    async with opened(file) as found:
        await found.load()
        await found.save({"porch": PORCH})
        slow.well.set()

        async def look() -> bool:
            return "No space left on device" in caplog.text

        await until_async("logged", look, 5, step_s=0.005)


async def test_a_disk_that_hangs_at_the_end_is_left_to_itself_and_lets_go_of_the_file_later(
    file: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(kept, "WAIT_S", 0.01)
    slow = Slow(os.fsync)
    monkeypatch.setattr(os, "fsync", slow)
    found = KeptStreams(file)
    await found.load()
    await found.save({"porch": PORCH})
    await found.close(0.01)
    await asyncio.sleep(0)
    assert threads.any_abandoned(), "or the process would wait for it"
    assert "the last changes of streams are not kept" in caplog.text
    async with opened(file) as second:
        assert await second.load() == {}
        assert "belongs to another streamd" in caplog.text, "while it may still be written"
    slow.well.set()
    await is_kept(file, "porch")
    until("nobody is left", lambda: not threads.any_abandoned(), 5, step_s=0.005)
    async with opened(file) as third:
        assert await third.load() == {"porch": PORCH}


@pytest.fixture
async def slow_boot(file: Path, monkeypatch: pytest.MonkeyPatch) -> Slow:
    """Of a file that holds "old" and "porch"."""
    async with opened(file) as before:
        await before.load()
        await before.save({"old": PORCH, "porch": PORCH})
    slow = Slow(KeptFile.read)
    monkeypatch.setattr(KeptFile, "read", lambda *arguments: slow(*arguments))
    monkeypatch.setattr(kept, "WAIT_S", 0.01)
    return slow


async def test_what_a_slow_disk_gives_late_is_adopted_and_merged(file: Path, slow_boot: Slow) -> None:
    adopted: list[Streams] = []
    changed = StreamConfig(source="demo:")

    def adopt(streams: Streams) -> bool:
        adopted.append(streams)
        found.want({"porch": changed, **streams})
        return True

    async with opened(file) as found:
        assert await found.load(adopt) == {}
        await found.save({"porch": changed, "gone": changed})
        await found.save({"porch": changed})
        slow_boot.well.set()
        await is_kept(file, "old", "porch")

        async def look() -> bool:
            return entries(file)["porch"]["source"] == "demo:"

        await until_async("the change wins", look, 5, step_s=0.005)
    assert adopted == [{"old": PORCH}]


async def test_what_is_read_late_and_not_adopted_stays_in_the_file(file: Path, slow_boot: Slow) -> None:
    async with opened(file) as found:
        assert await found.load() == {}
        await found.save({"new": PORCH})
        slow_boot.well.set()
        await is_kept(file, "old", "porch", "new")


async def test_nothing_is_written_before_it_was_read(
    file: Path, slow_boot: Slow, caplog: pytest.LogCaptureFixture
) -> None:
    found = KeptStreams(file)
    assert await found.load() == {}
    await found.save({"new": PORCH})
    await found.close(0.01)
    await asyncio.sleep(0)
    assert threads.any_abandoned()
    slow_boot.well.set()
    until("nobody is left", lambda: not threads.any_abandoned(), 5, step_s=0.005)
    assert "the last changes of streams are not kept" in caplog.text
    await is_kept(file, "old", "porch")
    async with opened(file) as after:
        assert set(await after.load()) == {"old", "porch"}, "nothing holds the file"


async def test_a_file_that_cannot_be_read_is_tried_again_and_not_written_before(
    file: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(kept, "BACKOFF", Backoff(first_s=0.01))
    async with opened(file) as before:
        await before.load()
        await before.save({"old": PORCH})
    adopted: list[Streams] = []

    def adopt(streams: Streams) -> bool:
        adopted.append(streams)
        found.want({"new": PORCH, **streams})
        return True

    async with opened(file) as found:
        with monkeypatch.context() as broken:
            broken.setattr(os, "open", full)
            assert await found.load(adopt) == {}
            await found.save({"new": PORCH})
            assert "No space left on device" in caplog.text
        await is_kept(file, "new", "old")
    assert adopted == [{"old": PORCH}]


async def test_a_start_that_is_cancelled_leaves_the_thread_to_itself(slow_boot: Slow, file: Path) -> None:
    found = KeptStreams(file)
    loading = asyncio.create_task(found.load())
    await asyncio.to_thread(slow_boot.asked.wait, scaled(5))
    loading.cancel()
    await asyncio.wait([loading])
    await found.close(0)
    await asyncio.sleep(0)
    assert threads.any_abandoned()
    slow_boot.well.set()
    until("nobody is left", lambda: not threads.any_abandoned(), 5, step_s=0.005)


async def test_many_changes_at_once_are_written_together(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[int] = []
    write = KeptFile.write

    def counted(self: KeptFile, entries: Entries, other: dict[str, Any]) -> None:
        written.append(len(entries))
        write(self, entries, other)

    monkeypatch.setattr(KeptFile, "write", counted)
    async with opened(file) as found:
        await found.load()
        await asyncio.gather(*(found.save({f"s{n}": PORCH for n in range(count)}) for count in range(1, 30)))
        assert len(written) <= 2
    async with opened(file) as after:
        assert len(await after.load()) == 29
