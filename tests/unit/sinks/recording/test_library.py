"""The recordings on disk: which are listed, and that nothing else can be had."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from streamd.sinks.recording import library as library_module
from streamd.sinks.recording import segment as segment_module
from streamd.sinks.recording.library import BeingWritten, Library
from tests.support.segments import END, record


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "recordings"
    root.mkdir()
    return root


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


class TestFiles:
    """Only what has changed is read."""

    @pytest.fixture
    def looks(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        looks, look = [], library_module._is_regular

        def counted(folder: Path, entry: str) -> bool:
            looks.append(f"{folder.name}/{entry}")
            return look(folder, entry)

        monkeypatch.setattr(library_module, "_is_regular", counted)
        return looks

    def settle(self, root: Path) -> None:
        """As if nothing had changed for a while."""
        for folder in root.iterdir():
            os.utime(folder, (0, folder.stat().st_mtime - 10))

    def test_only_new_ones_are_looked_at(self, root: Path, looks: list[str]) -> None:
        paths = [record(root, "porch", 0), record(root, "porch", 1)]
        (root / "porch" / "notes.txt").touch()
        library = Library(root)
        assert library.files("porch") == {Path(path).name for path in paths}
        assert sorted(looks) == paths
        paths.append(record(root, "porch", 2))
        (root / paths.pop(0)).unlink()
        assert library.files("porch") == {Path(path).name for path in paths}
        assert looks[2:] == paths[-1:]
        (root / "porch" / "more.txt").touch()
        assert library.files("porch") is library.files("porch"), "no recording came or went"

    def test_a_folder_is_read_again_when_it_has_changed(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        record(root, "porch", 0)
        self.settle(root)
        library, lists, listdir = Library(root), [], os.listdir

        def counted(path: Path) -> list[str]:
            lists.append(path)
            return listdir(path)

        monkeypatch.setattr(os, "listdir", counted)
        first = library.files("porch")
        assert library.files("porch") is first
        assert len(lists) == 1
        record(root, "porch", 1)
        assert len(library.files("porch")) == 2
        assert len(lists) == 2

    def test_one_that_changed_a_moment_ago_may_change_within_the_same_time_stamp(
        self, root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(library_module, "SETTLED_NS", 10_000_000_000)
        record(root, "porch", 0)
        library = Library(root)
        assert len(library.files("porch")) == 1
        stamp = (root / "porch").stat().st_mtime_ns
        record(root, "porch", 1)
        os.utime(root / "porch", ns=(stamp, stamp))
        assert len(library.files("porch")) == 2

    def test_what_is_no_recording(self, full: Path) -> None:
        library = Library(full)
        assert library.files("porch") == {"2026-11-25T03-41-00.500Z-depth.mp4"}
        assert library.files("link") == library.files("../porch") == library.files("nobody") == frozenset()
        assert library.streams() == ["porch"]


def test_a_disk_that_fails_is_no_empty_list(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record(root, "porch", 0)

    def fail(*_: object, **__: object) -> os.stat_result:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "stat", fail)
    with pytest.raises(OSError, match="Input/output"):
        Library(root).files("porch")


class TestDeleting:
    def test_it_goes(self, root: Path) -> None:
        path, other = record(root, "porch", 0), record(root, "porch", 1)
        Library(root).delete(path)
        assert Library(root).files("porch") == {Path(other).name}
        with pytest.raises(FileNotFoundError):
            Library(root).delete(path)

    def test_not_while_it_is_written(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = record(root, "porch", 0, data=b"")
        monkeypatch.setattr(segment_module, "_open", {root / path})
        with pytest.raises(BeingWritten, match="is being recorded"):
            Library(root).delete(path)
        assert (root / path).exists()

    @pytest.mark.parametrize("path", ELSEWHERE)
    def test_nothing_else_can_be_deleted(self, full: Path, path: str) -> None:
        before = sorted(full.parent.rglob("*"))
        with pytest.raises(FileNotFoundError):
            Library(full).delete(path)
        assert sorted(full.parent.rglob("*")) == before
