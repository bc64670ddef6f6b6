"""The recordings on disk: which are listed, and that nothing else can be had."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from streamd.sinks.recording import library as library_module
from streamd.sinks.recording import segment as segment_module
from streamd.sinks.recording.library import BeingWritten, Library
from streamd.sinks.recording.names import SegmentName, position

END = b"....mfra\x00\x00\x00\x10mfro\x00\x00\x00\x00\x00\x00\x00\x18"


def record(root: Path, stream: str, second: int, view: str = "depth", data: bytes = END) -> str:
    path = f"{stream}/2026-11-25T03-41-{second:02}.500Z-{view}.mp4"
    (root / stream).mkdir(exist_ok=True)
    (root / path).write_bytes(data)
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "recordings"
    root.mkdir()
    return root


def test_the_newest_first_whichever_stream(root: Path) -> None:
    paths = [record(root, stream, second) for second, stream in enumerate(["porch", "yard", "porch", "door"])]
    found, more = Library(root).page(10)
    assert [segment.name.path for segment in found] == paths[::-1]
    assert more is None
    newest = found[0]
    assert (newest.name.stream, newest.name.view, newest.size_bytes) == ("door", "depth", len(END))
    assert (newest.written, newest.cut_short) == (False, False)
    assert newest.started == datetime(2026, 11, 25, 3, 41, 3, 500_000, UTC)


def test_page_by_page_nothing_is_missed_or_repeated(root: Path) -> None:
    paths = {record(root, "porch", second, view) for second in range(5) for view in ("depth", "side-by-side")}
    paths |= {record(root, "yard", second) for second in range(5)}
    library, before, seen = Library(root), None, []
    while True:
        found, before = library.page(4, before)
        seen += [segment.name.path for segment in found]
        if before is None:
            break
        assert len(found) == 4
        assert position(before.path) == before
    assert sorted(seen) == sorted(paths)
    assert [path.partition("/")[2][:24] for path in seen] == sorted(
        (p.partition("/")[2][:24] for p in paths), reverse=True
    )


def test_before_a_moment_and_of_one_stream(root: Path) -> None:
    for second in range(4):
        record(root, "porch", second)
        record(root, "yard", second)
    found, _ = Library(root).page(10, position("2026-11-25T04:41:02+01:00"), "yard")
    assert [segment.name.path for segment in found] == [
        f"yard/2026-11-25T03-41-{second:02}.500Z-depth.mp4" for second in (1, 0)
    ]
    assert Library(root).page(10, None, "../porch") == ([], None)


@pytest.mark.parametrize("data", [b"", b"abc", b"x" * 1000, END + b"more than a trailer"])
def test_what_was_cut_short(root: Path, data: bytes) -> None:
    record(root, "porch", 0, data=data)
    [segment] = Library(root).page(1)[0]
    assert (segment.written, segment.cut_short) == (False, True)
    assert segment.size_bytes == len(data)


def test_what_is_no_recording_is_not_listed(root: Path) -> None:
    record(root, "porch", 0)
    (root / "porch" / "notes.txt").touch()
    (root / "porch" / "2026-11-25T03-41-00.500Z-x-ray.mp4").touch()
    (root / "porch" / "2026-11-25T03-41-01.500Z-depth.mp4").mkdir()
    (root / "2026-11-25T03-41-00.500Z-depth.mp4").touch()
    (root / ".hidden").mkdir()
    assert len(Library(root).page(10)[0]) == 1
    assert Library(root / "nowhere").page(10) == ([], None)


def read(library: Library, path: str) -> bytes:
    opened = library.open(path)
    try:
        return os.pread(opened.descriptor, opened.size_bytes, 0)
    finally:
        os.close(opened.descriptor)


def test_a_recording_is_opened(root: Path) -> None:
    library, path = Library(root), record(root, "porch", 0)
    assert read(library, path) == END
    one = library.open(path)
    record(root, "porch", 0, data=END * 2)
    other = library.open(path)
    assert one.tag != other.tag
    os.close(one.descriptor)
    os.close(other.descriptor)


ELSEWHERE = [
    "",
    "/",
    "porch",
    "porch/",
    "porch/notes.txt",
    "../secret.txt",
    "porch/../../secret.txt",
    "../recordings/porch/2026-11-25T03-41-00.500Z-depth.mp4",
    "./porch/2026-11-25T03-41-00.500Z-depth.mp4",
    "porch//2026-11-25T03-41-00.500Z-depth.mp4",
    "/etc/passwd",
    "porch/2026-11-25T03-41-00.500Z-depth.mp4/",
    "porch/2026-11-25T03-41-00.500Z-depth.mp4\n",
    "porch/2026-11-25T03-41-00.500Z-depth.mp4\0",
    "porch\\2026-11-25T03-41-00.500Z-depth.mp4",
    "porch/2026-11-25T03-41-59.500Z-depth.mp4",
    "porch/\udcff.mp4",
    "link/2026-11-25T03-41-00.500Z-depth.mp4",
    "porch/2026-11-25T03-41-01.500Z-depth.mp4",
    "porch/2026-11-25T03-41-02.500Z-depth.mp4",
    "porch/2026-11-25T03-41-03.500Z-depth.mp4",
]


@pytest.fixture
def full(root: Path) -> Path:
    """Of what is no recording, too."""
    (root.parent / "secret.txt").write_text("secret")
    record(root, "porch", 0)
    (root / "porch" / "notes.txt").write_text("secret")
    elsewhere = root.parent / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "2026-11-25T03-41-00.500Z-depth.mp4").write_text("secret")
    (root / "link").symlink_to(elsewhere)
    (root / "porch" / "2026-11-25T03-41-01.500Z-depth.mp4").symlink_to(root.parent / "secret.txt")
    (root / "porch" / "2026-11-25T03-41-02.500Z-depth.mp4").mkdir()
    os.mkfifo(root / "porch" / "2026-11-25T03-41-03.500Z-depth.mp4")
    return root


@pytest.mark.parametrize("path", ELSEWHERE)
def test_nothing_else_can_be_had(full: Path, path: str) -> None:
    with pytest.raises(FileNotFoundError):
        Library(full).open(path)


class TestTheIndex:
    """Only what has changed is read."""

    @pytest.fixture
    def scans(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        scans, scan = [], library_module._scan

        def counted(stream: str, folder: Path) -> Iterator[SegmentName]:
            scans.append(stream)
            return scan(stream, folder)

        monkeypatch.setattr(library_module, "_scan", counted)
        return scans

    def settle(self, root: Path) -> None:
        """As if nothing had changed for a while."""
        for folder in root.iterdir():
            os.utime(folder, (0, folder.stat().st_mtime - 10))

    def test_a_folder_is_read_again_when_it_has_changed(self, root: Path, scans: list[str]) -> None:
        record(root, "porch", 0)
        record(root, "yard", 0)
        self.settle(root)
        library = Library(root)
        for _ in range(3):
            assert len(library.page(10)[0]) == 2
        assert sorted(scans) == ["porch", "yard"]
        record(root, "yard", 1)
        assert len(library.page(10)[0]) == 3
        assert sorted(scans) == ["porch", "yard", "yard"]

    def test_one_that_changed_a_moment_ago_may_change_within_the_same_time_stamp(
        self, root: Path, scans: list[str]
    ) -> None:
        record(root, "porch", 0)
        library = Library(root)
        assert len(library.page(10)[0]) == 1
        stamp = (root / "porch").stat().st_mtime_ns
        record(root, "porch", 1)
        os.utime(root / "porch", ns=(stamp, stamp))
        assert len(library.page(10)[0]) == 2

    def test_a_folder_that_goes_and_comes_back(self, root: Path, scans: list[str]) -> None:
        record(root, "porch", 0)
        self.settle(root)
        library = Library(root)
        assert len(library.page(10)[0]) == 1
        (root / "porch").rename(root.parent / "away")
        assert library.page(10) == ([], None)
        (root.parent / "away").rename(root / "porch")
        assert len(library.page(10)[0]) == 1

    def test_only_the_files_of_the_page_are_opened(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for second in range(50):
            record(root, "porch", second)
        opened, open_one = [], Library.open

        def counted(self: Library, path: str) -> library_module.OpenFile:
            opened.append(path)
            return open_one(self, path)

        monkeypatch.setattr(Library, "open", counted)
        Library(root).page(3, position("2026-11-25T03:41:20Z"))
        assert [path[23:25] for path in opened] == ["19", "18", "17"]


def test_a_disk_that_fails_is_no_empty_list(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record(root, "porch", 0)

    def fail(*_: object, **__: object) -> os.stat_result:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "stat", fail)
    with pytest.raises(OSError, match="Input/output"):
        Library(root).page(10)


class TestDeleting:
    def test_it_goes(self, root: Path) -> None:
        path, other = record(root, "porch", 0), record(root, "porch", 1)
        Library(root).delete(path)
        assert [segment.name.path for segment in Library(root).page(10)[0]] == [other]
        with pytest.raises(FileNotFoundError):
            Library(root).delete(path)

    def test_not_while_it_is_written(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = record(root, "porch", 0, data=b"")
        monkeypatch.setattr(segment_module, "_open", {root / path})
        [segment] = Library(root).page(10)[0]
        assert (segment.written, segment.cut_short) == (True, False)
        with pytest.raises(BeingWritten, match="is being recorded"):
            Library(root).delete(path)
        assert (root / path).exists()

    @pytest.mark.parametrize("path", ELSEWHERE)
    def test_nothing_else_can_be_deleted(self, full: Path, path: str) -> None:
        before = sorted(full.parent.rglob("*"))
        with pytest.raises(FileNotFoundError):
            Library(full).delete(path)
        assert sorted(full.parent.rglob("*")) == before
