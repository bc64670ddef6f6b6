"""What is deleted and what stays: by recorded time, whatever the clock does."""

from __future__ import annotations

import errno
import logging
import os
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from streamd.config.sections import RecordingConfig
from streamd.sinks.recording import segment as segment_module
from streamd.sinks.recording.library import Library
from streamd.sinks.recording.names import name_segment
from streamd.sinks.recording.retention import Retention

NOW = datetime(2026, 12, 1, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
UNSET = datetime(1970, 1, 1, 0, 5, tzinfo=UTC)


class Box:
    """Its clock can be set; what is recorded has 100 bytes."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.clock, self.up_s = NOW, 1000.0

    def retention(self, *, hours: float | None = None, size: int | None = None) -> Retention:
        rules = RecordingConfig(max_age_hours=hours, max_gb=size / 1e9 if size else None, segment_seconds=60)
        return Retention(
            Library(self.directory), rules, now=lambda: self.clock.timestamp(), monotonic=lambda: self.up_s
        )

    def wait(self, time: timedelta) -> None:
        self.clock += time
        self.up_s += time.total_seconds()

    def record(
        self, started: datetime | None = None, *, stream: str = "porch", lasted: timedelta | None = HOUR / 60
    ) -> Path:
        """``lasted`` None: the file was copied here a moment ago."""
        started = started or self.clock
        path = self.directory / name_segment(stream, "depth", started).path
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x" * 100)
        ended = NOW if lasted is None else started + lasted
        os.utime(path, (ended.timestamp(), ended.timestamp()))
        return path


def prune(retention: Retention) -> int:
    return retention.prune(threading.Event())


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path)


def test_what_ended_too_long_ago_goes(box: Box) -> None:
    paths = [box.record(NOW - age * HOUR, stream="porch" if age % 2 else "gone") for age in (0, 3, 1, 2)]
    assert prune(box.retention(hours=1.5)) == 2
    assert [path.exists() for path in paths] == [True, False, True, False]


def test_the_end_counts_not_the_beginning(box: Box) -> None:
    long = box.record(NOW - 20 * HOUR, lasted=19.5 * HOUR)
    short = box.record(NOW - 20 * HOUR, stream="yard")
    assert prune(box.retention(hours=1)) == 1
    assert (long.exists(), short.exists()) == (True, False)


def test_the_time_in_the_name_counts_not_that_of_the_file(box: Box) -> None:
    old = box.record(NOW - 50 * HOUR, lasted=None)
    new = box.record(NOW - HOUR / 2)
    os.utime(new, (0, 0))
    assert prune(box.retention(hours=1)) == 1
    assert (old.exists(), new.exists()) == (False, True)


def test_the_oldest_go_while_there_is_too_much(box: Box) -> None:
    paths = [box.record(NOW - age * HOUR, stream="porch" if age % 2 else "gone") for age in (0, 3, 1, 2)]
    assert prune(box.retention(size=299)) == 2
    assert [path.exists() for path in paths] == [True, False, True, False]


def test_without_a_rule_all_stay(box: Box) -> None:
    box.record(datetime(2025, 6, 1, tzinfo=UTC))
    assert prune(box.retention()) == 0


def test_nothing_there(tmp_path: Path) -> None:
    assert prune(Box(tmp_path / "nowhere").retention(size=1)) == 0


class TestAClockThatJumps:
    """A box without a battery starts in 1970, or where it was when it was switched off."""

    @pytest.mark.parametrize("start", [UNSET, NOW - 90 * 24 * HOUR])
    def test_what_was_recorded_before_the_time_was_set_stays(self, box: Box, start: datetime) -> None:
        before = box.record(NOW - 2 * HOUR)
        box.clock = start
        retention = box.retention(hours=24)
        prune(retention)
        box.wait(HOUR)
        unset = box.record()
        box.wait(HOUR)
        assert prune(retention) == 0
        box.clock = NOW
        assert prune(retention) == 0
        assert (before.exists(), unset.exists()) == (True, True)

    def test_and_goes_when_it_is_old_indeed(self, box: Box) -> None:
        box.record(NOW - 23 * HOUR)
        box.clock = UNSET
        retention = box.retention(hours=24)
        prune(retention)
        unset = box.record()
        prune(retention)
        box.clock = NOW
        box.wait(2 * HOUR)
        assert prune(retention) == 1, "the one from before"
        assert unset.exists()
        box.wait(23 * HOUR)
        assert prune(retention) == 1

    def test_one_of_an_earlier_run_without_a_clock_is_not_taken_for_ancient(self, box: Box) -> None:
        unset = box.record(UNSET)
        retention = box.retention(hours=24)
        assert prune(retention) == 0
        box.wait(25 * HOUR)
        assert prune(retention) == 1, "we have seen it for a day"
        assert not unset.exists()

    def test_while_the_clock_is_not_set_nothing_is_from_the_future(self, box: Box) -> None:
        paths = [box.record(NOW - age * HOUR) for age in (1, 50)]
        box.clock = UNSET
        assert prune(box.retention(hours=24)) == 0
        assert all(path.exists() for path in paths)

    def test_what_is_recorded_now_is_the_newest_whatever_its_name_says(self, box: Box) -> None:
        before = [box.record(NOW - age * HOUR) for age in (3, 2)]
        retention = box.retention(size=250)
        prune(retention)
        box.clock = UNSET
        now = [box.record(UNSET + n * HOUR) for n in range(2)]
        assert prune(retention) == 2
        assert [path.exists() for path in before + now] == [False, False, True, True]

    def test_a_clock_that_is_set_back_deletes_nothing(self, box: Box) -> None:
        path = box.record(NOW)
        box.clock = NOW - 1000 * HOUR
        assert prune(box.retention(hours=1)) == 0
        assert path.exists()


def test_a_disk_that_comes_late_has_old_recordings(box: Box, tmp_path: Path) -> None:
    """Mounted after the start: what is on it was recorded before."""
    retention = box.retention(hours=1)
    assert prune(retention) == 0
    old = box.record(NOW - 3 * HOUR)
    assert prune(retention) == 1
    assert not old.exists()


def test_what_is_written_stays_and_is_young_when_it_ends(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    path = box.record(NOW - 5 * HOUR)
    monkeypatch.setattr(segment_module, "_open", {path})
    retention = box.retention(hours=1)
    assert prune(retention) == 0
    box.wait(2 * HOUR)
    assert prune(retention) == 0
    path.write_bytes(b"x" * 1000)
    monkeypatch.setattr(segment_module, "_open", set())
    box.wait(HOUR / 2)
    assert prune(retention) == 0, "it ended half an hour ago at most"
    box.wait(HOUR)
    assert prune(retention) == 1


def test_its_size_is_what_it_has_at_the_end(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    old, growing = box.record(NOW - HOUR), box.record(NOW)
    retention = box.retention(size=1000)
    monkeypatch.setattr(segment_module, "_open", {growing})
    assert prune(retention) == 0
    growing.write_bytes(b"x" * 950)
    monkeypatch.setattr(segment_module, "_open", set())
    assert prune(retention) == 1
    assert (old.exists(), growing.exists()) == (False, True)


def test_nothing_else_is_touched(box: Box) -> None:
    box.record(NOW - 5 * HOUR)
    elsewhere = box.directory.parent / "elsewhere"
    elsewhere.mkdir()
    others = [box.directory / "porch" / "notes.txt", box.directory / "porch" / "upload.mp4", elsewhere / "x.mp4"]
    for other in others:
        other.write_bytes(b"x" * 100)
        os.utime(other, (0, 0))
    (box.directory / "link").symlink_to(elsewhere)
    assert prune(box.retention(hours=1, size=1)) == 1
    assert all(other.exists() for other in others)


class TestADiskInTrouble:
    def test_one_that_cannot_be_deleted_keeps_none_of_the_others(
        self, box: Box, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        paths = [box.record(NOW - age * HOUR) for age in (4, 3, 2)]
        unlink = os.unlink

        def refuse(path: str, *, dir_fd: int | None = None) -> None:
            if path == paths[0].name:
                raise PermissionError(errno.EPERM, "Operation not permitted")
            unlink(path, dir_fd=dir_fd)

        monkeypatch.setattr(os, "unlink", refuse)
        retention = box.retention(hours=1)
        assert [prune(retention), prune(retention)] == [2, 0]
        assert [path.exists() for path in paths] == [True, False, False]
        warnings = [entry.getMessage() for entry in caplog.records if entry.levelno == logging.WARNING]
        assert len(warnings) == 1, "once, not every minute"
        assert warnings[0].endswith("Operation not permitted")

    @pytest.mark.parametrize("code", [errno.EIO, errno.ESTALE, errno.ENODEV, errno.EACCES])
    def test_one_that_fails_is_tried_again(self, box: Box, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
        path = box.record(NOW - 3 * HOUR)
        retention = box.retention(hours=1)

        def fail(*_: object) -> list[str]:
            raise OSError(code, os.strerror(code))

        with monkeypatch.context() as patched:
            patched.setattr(Library, "streams", fail)
            assert prune(retention) == 0
        with monkeypatch.context() as patched:
            patched.setattr(Library, "status", fail)
            assert prune(retention) == 0
        assert prune(retention) == 1
        assert not path.exists()

    def test_it_stops_when_asked(self, box: Box) -> None:
        box.record(NOW - 3 * HOUR)
        stop = threading.Event()
        stop.set()
        assert box.retention(hours=1).prune(stop) == 0
