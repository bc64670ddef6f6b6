"""The recordings on disk: which are listed, and that nothing else can be had."""

from __future__ import annotations

import os
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from streamd.sinks.recording.library import Library, key_of

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
    assert [segment.path for segment in found] == paths[::-1]
    assert more is None
    newest = found[0]
    assert (newest.stream, newest.view, newest.size_bytes, newest.finished) == ("door", "depth", len(END), True)
    assert newest.started == datetime(2026, 11, 25, 3, 41, 3, 500_000, UTC)


def test_page_by_page_nothing_is_missed_or_repeated(root: Path) -> None:
    paths = {record(root, "porch", second, view) for second in range(5) for view in ("depth", "side-by-side")}
    paths |= {record(root, "yard", second) for second in range(5)}
    library, before, seen = Library(root), None, []
    while True:
        found, before = library.page(4, before)
        seen += [segment.path for segment in found]
        if before is None:
            break
        assert len(found) == 4
        assert key_of(before.path) == before
    assert sorted(seen) == sorted(paths)
    assert [path.partition("/")[2][:24] for path in seen] == sorted(
        (p.partition("/")[2][:24] for p in paths), reverse=True
    )


def test_before_a_moment_and_of_one_stream(root: Path) -> None:
    for second in range(4):
        record(root, "porch", second)
        record(root, "yard", second)
    found, _ = Library(root).page(10, key_of("2026-11-25T04:41:02+01:00"), "yard")
    assert [segment.path for segment in found] == [
        f"yard/2026-11-25T03-41-{second:02}.500Z-depth.mp4" for second in (1, 0)
    ]
    assert Library(root).page(10, None, "../porch") == ([], None)
    with pytest.raises(ValueError, match="isoformat"):
        key_of("yesterday")


@pytest.mark.parametrize("data", [b"", b"abc", b"x" * 1000, END + b"more than a trailer"])
def test_what_was_cut_short(root: Path, data: bytes) -> None:
    record(root, "porch", 0, data=data)
    [segment] = Library(root).page(1)[0]
    assert not segment.finished
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


@pytest.mark.parametrize(
    "path",
    [
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
    ],
)
def test_nothing_else_can_be_had(root: Path, path: str) -> None:
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
    with pytest.raises(FileNotFoundError):
        Library(root).open(path)


def prune(root: Path, **limits: float) -> int:
    deleted, failure = Library(root).prune(threading.Event(), **limits)
    assert failure is None
    return deleted


class TestPruning:
    @pytest.fixture
    def aged(self, root: Path) -> dict[int, str]:
        """Segments of 100 bytes, by their age in hours."""
        paths = {}
        for age_h in (0, 3, 1, 2):
            paths[age_h] = record(root, "porch" if age_h % 2 else "gone", age_h, data=b"x" * 100)
            ended_s = time.time() - 3600 * age_h
            os.utime(root / paths[age_h], (ended_s, ended_s))
        return paths

    def left(self, root: Path, aged: dict[int, str]) -> list[int]:
        return sorted(age_h for age_h, path in aged.items() if (root / path).exists())

    def test_what_is_too_old_goes(self, root: Path, aged: dict[int, str]) -> None:
        assert prune(root, max_age_s=1.5 * 3600) == 2
        assert self.left(root, aged) == [0, 1]

    def test_the_oldest_go_while_there_is_too_much(self, root: Path, aged: dict[int, str]) -> None:
        assert prune(root, max_bytes=299) == 2
        assert self.left(root, aged) == [0, 1]

    def test_what_may_still_be_written_stays(self, root: Path, aged: dict[int, str]) -> None:
        assert prune(root, max_age_s=0, max_bytes=0) == 3
        assert self.left(root, aged) == [0]

    def test_nothing_else_is_touched(self, root: Path, aged: dict[int, str]) -> None:
        elsewhere = root.parent / "elsewhere"
        elsewhere.mkdir()
        others = [root / "porch" / "notes.txt", root / "porch" / "upload.mp4", elsewhere / Path(aged[3]).name]
        for other in others:
            other.write_bytes(b"x" * 100)
            os.utime(other, (0, 0))
        (root / "link").symlink_to(elsewhere)
        prune(root, max_age_s=60, max_bytes=0)
        assert self.left(root, aged) == [0]
        assert all(other.exists() for other in others)

    def test_without_a_rule_all_stay(self, root: Path, aged: dict[int, str]) -> None:
        assert prune(root) == 0
        assert prune(root / "not there", max_bytes=0) == 0

    def test_one_that_cannot_be_deleted_keeps_none_of_the_others(
        self, root: Path, aged: dict[int, str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        unlink = Path.unlink

        def refuse(path: Path, missing_ok: bool = False) -> None:
            if path == root / aged[3]:
                raise PermissionError(1, "Operation not permitted", str(path))
            unlink(path, missing_ok)

        monkeypatch.setattr(Path, "unlink", refuse)
        deleted, failure = Library(root).prune(threading.Event(), max_bytes=0)
        assert (deleted, failure and failure.filename) == (2, str(root / aged[3]))
        assert self.left(root, aged) == [0, 3]

    def test_told_to_stop_it_does(self, root: Path, aged: dict[int, str]) -> None:
        stop = threading.Event()
        stop.set()
        assert Library(root).prune(stop, max_bytes=0) == (0, None)
