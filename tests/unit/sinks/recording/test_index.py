"""Which recordings are listed, from when to when they go, and that hand and power cut are noticed."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from streamd.sinks.recording import index as index_module
from streamd.sinks.recording import segment as segment_module
from streamd.sinks.recording.index import Index, Track
from streamd.sinks.recording.length import Length, measure
from streamd.sinks.recording.library import Library
from streamd.sinks.recording.names import SegmentName, name_segment, position
from streamd.sinks.recording.store import FILE, MEMORY, Filter, Row, Store, open_store
from tests.support.segments import BEGIN, BEGIN_S, END, depths, packets, record, segment


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "recordings"
    root.mkdir()
    return root


@pytest.fixture
def index(root: Path) -> Iterator[Index]:
    index = Index(Library(root))
    yield index
    index.close()


def paths(index: Index, filter: Filter | None = None) -> list[str]:
    return [found.name.path for found in index.page(1000, filter)[0]]


class TestPages:
    def test_the_newest_first_whichever_stream(self, root: Path, index: Index) -> None:
        made = [record(root, stream, second) for second, stream in enumerate(["porch", "yard", "porch", "door"])]
        found, more = index.page(10)
        assert [segment.name.path for segment in found] == made[::-1]
        assert more is None
        newest = found[0]
        assert (newest.name.stream, newest.name.view, newest.size_bytes) == ("door", "depth", len(END))
        assert (newest.written, newest.cut_short) == (False, False)
        assert newest.started == datetime(2026, 11, 25, 3, 41, 3, 500_000, UTC)

    def test_nothing_is_missed_or_repeated(self, root: Path, index: Index) -> None:
        made = {record(root, "porch", second, view) for second in range(5) for view in ("depth", "side-by-side")}
        made |= {record(root, "yard", second) for second in range(5)}
        before, seen = None, []
        while True:
            found, before = index.page(4, Filter(before=before))
            seen += [segment.name.path for segment in found]
            if before is None:
                break
            assert len(found) == 4
            assert position(before.path) == before
        assert sorted(seen) == sorted(made)

    def test_before_a_moment_and_of_one_stream(self, root: Path, index: Index) -> None:
        for second in range(4):
            record(root, "porch", second)
            record(root, "yard", second)
        found = paths(index, Filter("yard", before=position("2026-11-25T04:41:02+01:00")))
        assert found == [f"yard/2026-11-25T03-41-{second:02}.500Z-depth.mp4" for second in (1, 0)]
        assert index.page(10, Filter("../porch")) == ([], None)

    @pytest.mark.parametrize("data", [b"", b"abc", b"x" * 1000, END + b"more than a trailer"])
    def test_what_was_cut_short(self, root: Path, index: Index, data: bytes) -> None:
        record(root, "porch", 0, data=data)
        [segment] = index.page(1)[0]
        assert (segment.written, segment.cut_short) == (False, True)
        assert segment.size_bytes == len(data)

    def test_a_directory_that_is_not_there(self, tmp_path: Path) -> None:
        index = Index(Library(tmp_path / "later"))
        assert index.page(10) == ([], None)
        assert not index.catch_up(1)
        (tmp_path / "later").mkdir()
        record(tmp_path / "later", "porch", 0)
        assert len(index.page(10)[0]) == 1
        assert (tmp_path / "later" / FILE).exists()
        index.close()

    def test_one_that_is_written(self, root: Path, index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
        name = segment(root, 0, packets(50), cut_short=True)
        os.utime(root / name.path, (0, BEGIN_S + 2.5))
        monkeypatch.setattr(segment_module, "_open", {root / name.path})
        [found] = index.page(1)[0]
        assert (found.written, found.cut_short, found.seconds) == (True, False, 2.5)
        index.catch_up(1)
        [track] = index.timeline(BEGIN_S, BEGIN_S + 60).tracks
        assert track.spans == [(BEGIN_S, BEGIN_S + 2.5)]
        monkeypatch.setattr(segment_module, "_open", set())
        index.catch_up(1)
        [found] = index.page(1)[0]
        assert (found.written, found.cut_short) == (False, True)
        assert found.seconds < 2.1, "by the file itself"


@pytest.mark.parametrize("jump_s", [-3600, 56 * 365 * 86400])
def test_the_clock_is_set_while_one_is_written(
    root: Path, index: Index, monkeypatch: pytest.MonkeyPatch, jump_s: float
) -> None:
    name = segment(root, 0, packets(100), cut_short=True)
    os.utime(root / name.path, (0, BEGIN_S + jump_s))
    monkeypatch.setattr(segment_module, "_open", {root / name.path})
    index.catch_up(1)
    [found] = index.page(1)[0]
    assert found.written
    assert 2.9 <= found.seconds <= 4.1
    [track] = index.timeline(BEGIN_S, BEGIN_S + 60).tracks
    assert track.spans == [(BEGIN_S, BEGIN_S + found.seconds)]


def test_a_bad_sector_under_one_file(root: Path, index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hides no other, and is forgotten with the next disk."""
    names = [segment(root, 60 * number, packets(50)) for number in range(3)]
    inode = os.stat(root / names[1].path).st_ino

    def measured(descriptor: int, size: int) -> Length:
        if os.fstat(descriptor).st_ino == inode:
            raise OSError(errno.EIO, "Input/output error")
        return measure(descriptor, size)

    monkeypatch.setattr(index_module, "measure", measured)
    assert not index.catch_up(5)
    assert len(index.timeline(BEGIN_S, BEGIN_S + 600).tracks[0].spans) == 2
    assert [(found.name, found.cut_short) for found in index.page(9)[0]] == [
        (names[2], False),
        (names[1], True),
        (names[0], False),
    ]
    monkeypatch.setattr(index_module, "measure", measure)
    assert [found.cut_short for found in index.page(9)[0]] == [False] * 3


def test_only_what_is_new_is_read(root: Path, index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[int] = []

    def counted(descriptor: int, size: int) -> Length:
        reads.append(size)
        return measure(descriptor, size)

    monkeypatch.setattr(index_module, "measure", counted)
    for second in range(20):
        record(root, "porch", second)
    index.page(3)
    assert len(reads) == 3
    while index.catch_up(1):
        pass
    again = Index(Library(root))
    before = len(reads)
    assert len(again.page(1000)[0]) == 20
    record(root, "porch", 20)
    assert not again.catch_up(1)
    assert len(reads) == before + 1
    again.close()


class TestByHand:
    @pytest.mark.parametrize("many", [0, 16])
    @pytest.mark.parametrize("gone", [[0], [1], [2], [0, 1], [1, 2], [0, 2], [0, 1, 2]])
    def test_nothing_is_left_of_what_was_joined(
        self, root: Path, index: Index, monkeypatch: pytest.MonkeyPatch, gone: list[int], many: int
    ) -> None:
        """Not even of the moments between two files; and what goes on beside it is not touched."""
        monkeypatch.setattr(index_module, "MANY", many)
        begins = [0.0, 3.5, 4.5]  # the clock was set back before the third
        names = [segment(root, begin, packets(50)) for begin in begins]
        index.catch_up(5)
        assert len(index.timeline(BEGIN_S, BEGIN_S + 600).tracks[0].spans) == 1
        for number in gone:
            (root / names[number].path).unlink()
        index.catch_up(5)
        fresh = Index(Library(root))
        tracks = index.timeline(BEGIN_S, BEGIN_S + 600).tracks
        assert tracks == fresh.timeline(BEGIN_S, BEGIN_S + 600).tracks
        assert len(tracks) == (len(gone) < 3)
        fresh.close()

    def test_what_is_deleted_disappears(self, root: Path, index: Index) -> None:
        names = [segment(root, 60 * number, packets(50)) for number in range(3)]
        index.catch_up(5)
        assert len(index.timeline(BEGIN_S, BEGIN_S + 600).tracks[0].spans) == 3
        (root / names[1].path).unlink()
        assert [found.name for found in index.within(Filter())] == [names[0], names[2]]
        assert [round(a - BEGIN_S) for a, _ in index.timeline(BEGIN_S, BEGIN_S + 600).tracks[0].spans] == [0, 120]
        for name in names[::2]:
            (root / name.path).unlink()
        (root / "porch").rmdir()
        assert index.page(10) == ([], None)
        assert index.timeline(BEGIN_S, BEGIN_S + 600).tracks == []

    def test_what_is_changed_is_read_again(self, root: Path, index: Index) -> None:
        path = record(root, "porch", 0)
        assert not index.page(1)[0][0].cut_short
        record(root, "porch", 0, data=b"cut")
        os.utime(root / path, (1, 1))
        [found] = index.page(1)[0]
        assert (found.cut_short, found.size_bytes) == (True, 3)

    def test_the_index_itself(self, root: Path, index: Index) -> None:
        made = record(root, "porch", 0)
        assert paths(index) == [made]
        (root / FILE).unlink()
        assert paths(index) == [made]
        assert (root / FILE).exists()

    def test_the_disk_goes_and_comes_back(self, root: Path, index: Index) -> None:
        made = record(root, "porch", 0)
        assert paths(index) == [made]
        root.rename(root.with_name("away"))
        assert paths(index) == []
        root.with_name("away").rename(root)
        assert paths(index) == [made]


@pytest.mark.parametrize("broken", ["damaged", "full"])
def test_an_index_that_fails_costs_nothing_else(
    root: Path, index: Index, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    made = record(root, "porch", 0)
    assert paths(index) == [made]
    made = [record(root, "porch", 1), made]  # type: ignore[assignment]
    add = Store.add

    def fail(store: Store, names: object) -> None:
        if store.path != MEMORY and (broken == "full" or not failed):
            failed.append(store)
            raise sqlite3.OperationalError("database or disk is full")
        add(store, names)  # type: ignore[arg-type]

    failed: list[Store] = []
    monkeypatch.setattr(Store, "add", fail)
    assert paths(index) == list(made)


class TestTimeline:
    def test_days_of_several_streams(self, root: Path, index: Index) -> None:
        for offset in (0, 2, 4, 60):
            segment(root, offset, packets(50))
        segment(root, 0, depths(50), view="depth16")
        segment(root, 86400, packets(50), stream="yard", cut_short=True)
        assert not index.catch_up(5)
        found = index.timeline(BEGIN_S, BEGIN_S + 600)
        assert [(track.stream, track.view) for track in found.tracks if track.spans] == [
            ("porch", "depth"),
            ("porch", "depth16"),
        ]
        spans = [[round(at - BEGIN_S, 1) for at in span] for span in found.tracks[0].spans]
        assert spans == [[0, 6.0], [60, 62.0]]
        assert (found.before_s, found.after_s, found.complete) == (None, BEGIN_S + 86400, True)
        assert index.timeline(BEGIN_S, BEGIN_S + 600, "yard").tracks == [Track("yard", "depth", [])], "at another time"
        assert len(index.timeline(BEGIN_S, BEGIN_S + 90000, "porch", "depth16").tracks) == 1

    def test_what_cannot_be_told_apart_is_one(self, root: Path, index: Index) -> None:
        for offset in (0, 10, 20):
            segment(root, offset, packets(50))
        index.catch_up(5)
        assert len(index.timeline(BEGIN_S, BEGIN_S + 60).tracks[0].spans) == 3
        assert len(index.timeline(BEGIN_S, BEGIN_S + 86400).tracks[0].spans) == 1


def test_100_000_recordings_of_8_streams(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A minute each, without files. Of how long it takes, benchmarks/recordings.py has the figures."""
    minutes = [BEGIN + timedelta(minutes=minute) for minute in range(12_500)]
    files = {
        stream: frozenset(name_segment(stream, "depth", minute).file for minute in minutes)
        for stream in (f"cam{number}" for number in range(8))
    }
    about = os.stat(root)
    library = Library(root)
    monkeypatch.setattr(library, "streams", lambda: list(files))
    monkeypatch.setattr(library, "files", files.__getitem__)
    monkeypatch.setattr(library, "status", lambda name: about)

    store = open_store(root)
    names = [name_segment(stream, "depth", minute) for stream in files for minute in minutes]
    store.add(names)
    store.measured(Row(name, 0, 60.0, True, about.st_size, about.st_mtime_ns) for name in names)
    store.close()
    monkeypatch.setattr(Index, "_read", None)
    again = Index(library)
    assert not again.catch_up(1), "nothing is read a second time"
    day = BEGIN_S + 86400, BEGIN_S + 2 * 86400
    assert [track.spans for track in again.timeline(*day).tracks] == [[day]] * 8
    assert len(again.within(Filter("cam3", "depth", *day))) == 24 * 60
    found, more = again.page(1000, Filter(to_s=day[0]))
    assert len({segment.name for segment in found}) == 1000
    assert more is not None
    assert found[0].name == SegmentName(
        name_segment("", "", BEGIN + timedelta(hours=24, minutes=-1)).moment, "cam7", "depth"
    )
    again.close()
