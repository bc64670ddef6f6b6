from __future__ import annotations

import os
from pathlib import Path

import pytest

from streamd.installer import files


def test_a_file_is_on_the_disk_before_it_takes_the_place_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "file"
    place.write_text("old")
    seen: list[tuple[str, str]] = []
    monkeypatch.setattr(
        os, "fsync", lambda handle: seen.append((os.readlink(f"/proc/self/fd/{handle}"), place.read_text()))
    )
    files.write(place, b"new", 0o640)
    assert seen == [(str(tmp_path / ".file.new"), "old"), (str(tmp_path), "new")]
    assert place.stat().st_mode & 0o777 == 0o640


def test_a_link_is_turned_in_one_step(tmp_path: Path) -> None:
    place = tmp_path / "link"
    (tmp_path / ".link.new").symlink_to("left by one that was killed")
    for target in ("one", "two"):
        files.link(place, Path(target))
        assert os.readlink(place) == target
    assert [path.name for path in tmp_path.iterdir()] == ["link"]


def test_removes_what_it_may(tmp_path: Path) -> None:
    tree, full, empty = (tmp_path / name for name in ("tree", "full", "empty"))
    for folder in (tree, full, empty):
        folder.mkdir()
    (tree / "file").touch()
    (full / "of others").touch()
    (tmp_path / ".gone.new").touch()
    (tmp_path / "link").symlink_to(tree)
    for path in (full, empty, tmp_path / "gone", tmp_path / "link"):
        files.remove(path)
    assert {path.name for path in tmp_path.iterdir()} == {"tree", "full"}
    files.remove(tree, "tree")
    assert {path.name for path in tmp_path.iterdir()} == {"full"}
